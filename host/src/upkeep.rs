//! Background maintenance of a running host: retention, repair of damaged queue entries, removal of unused components,
//! verdicts on host events.

mod degraded;
mod host_events;

use std::sync::Arc;
use std::time::Duration;

use crate::formatter::Catalog;
use crate::model::settings::DeliverySettings;
use crate::model::time::{Clock, Timestamp};
use crate::store::{Retention, Store};

pub(crate) use host_events::judge_host_events;

use degraded::{Degraded, State};

/// Between two sweeps.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Between two chunks of one sweep, so that a large backlog of deletions does not starve the store's other commands.
const CHUNK_PAUSE: Duration = Duration::from_millis(50);

/// Between two blocks of an index that is being made.
const INDEX_PAUSE: Duration = Duration::from_millis(5);
/// Rows between two lines of the log about it.
const INDEX_REPORT: usize = 100_000;

/// Sweeps once a minute, the first time at once. Never returns; the caller aborts the task.
///
/// `certificates` are those of the configuration, each with the time after which it is not valid.
pub(crate) async fn run(
    store: Arc<Store>,
    catalog: Arc<Catalog>,
    settings: DeliverySettings,
    clock: Arc<dyn Clock>,
    certificates: Vec<(String, Timestamp)>,
) {
    if let Err(error) = store.missing_events().await {
        tracing::warn!(%error, "cannot look for lost events; `heraldry store check` does it on a stopped host");
    }
    let retention = Retention {
        age: settings.retention,
        audit: settings.audit_retention,
        max_events: settings.max_events_kept,
        max_history: settings.max_history,
    };
    tokio::join!(index_all(&store), sweep_forever(&store, &catalog, &clock, &certificates, settings, retention));
}

/// Makes the indexes of a store of an earlier format, while the host serves.
async fn index_all(store: &Store) {
    let (mut rows, mut reported) = (0, 0);
    loop {
        match store.index_more().await {
            Ok(None) => break,
            Ok(Some((index, more))) => {
                rows += more;
                if rows - reported >= INDEX_REPORT {
                    reported = rows;
                    tracing::info!(index, rows, "the store's index is being made");
                }
                tokio::time::sleep(INDEX_PAUSE).await;
            }
            Err(error) => {
                tracing::warn!(%error, "the store's index cannot be made; it is tried again");
                tokio::time::sleep(SWEEP_INTERVAL).await;
            }
        }
    }
    if rows > 0 {
        tracing::info!(rows, "the store's index is complete");
    }
}

async fn sweep_forever(
    store: &Store,
    catalog: &Catalog,
    clock: &Arc<dyn Clock>,
    certificates: &[(String, Timestamp)],
    settings: DeliverySettings,
    retention: Retention,
) {
    let mut degraded = Degraded::default();
    let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
    loop {
        ticks.tick().await;
        remove_expired(store, retention).await;
        requeue_lost(store).await;
        let (disk, damaged) = (store.disk(), store.damaged_records());
        let state = State { disk, damaged, certificates, now: clock.now() };
        degraded.look(state).into_iter().for_each(|event| store.tell(event));
        // Files have ages by the same clock.
        if !store.trusts_clock() {
            continue;
        }
        // A delivery may begin at the end of one retention period and wait for another, with its formatter pinned.
        if let Err(error) = catalog.forget_unused(settings.retention * 2) {
            tracing::warn!(%error, "cannot remove unused components; check the permissions of the data folder");
        }
    }
}

/// Removes everything past its retention, chunk by chunk.
async fn remove_expired(store: &Store, retention: Retention) {
    loop {
        match store.sweep(retention).await {
            Ok(true) => tokio::time::sleep(CHUNK_PAUSE).await,
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(%error, "cannot remove expired records; the next sweep tries again");
                return;
            }
        }
    }
}

/// Queues deliveries again whose queue entry was damaged on the disk.
async fn requeue_lost(store: &Store) {
    match store.requeue_lost().await {
        Ok(0) => {}
        Ok(deliveries) => tracing::warn!(deliveries, "deliveries of damaged queue entries were queued again"),
        Err(error) => {
            tracing::warn!(%error, "cannot look for deliveries of damaged queue entries; the next sweep tries again");
        }
    }
}
