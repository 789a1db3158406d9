//! Long queues that move between the orders of a webhook.

use tokio::time::{Instant, sleep};

use super::*;
use crate::model::webhook::Order;

/// Deliveries that wait, and events that one request posts.
const WAITING: usize = 1_000_000;
const POSTED: usize = 1_000;

/// The process's resident memory, in MiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") / 1024
}

/// The move of a long queue keeps nobody waiting for long, and takes no memory to speak of.
#[tokio::test]
#[ignore = "minutes: a million deliveries"]
async fn a_million_deliveries_move_in_portions() {
    let folder = TempDir::new().expect("a folder");
    let opened = open_folder(folder.path(), None, START_MS, Store::open).expect("opened");
    let webhook = opened.webhook().await;
    for _ in 0..WAITING / POSTED {
        let events = (0..POSTED).map(|_| event(None, 1)).collect();
        opened.accept(TokenId::from_bytes([1; 16]), None, events).await.expect("accepted");
        opened.changes.lock().expect("not poisoned").try_iter().for_each(drop);
    }
    for order in [Order::Strict, Order::Arrival] {
        let (before, began) = (resident(), Instant::now());
        let now = Arc::clone(opened.store.webhooks().get(webhook.id).expect("kept"));
        let config = WebhookConfig { order, ..now.config.clone() };
        let updated = opened.store.update_webhook(now.id, now.revision, config, None, Actor::Host).await;
        assert!(updated.is_ok());
        opened.store.load_due(webhook.id, webhook.activation, None, 256);
        let (mut longest, mut most, mut posted) = (Duration::ZERO, before, 0);
        loop {
            let asked = Instant::now();
            opened.post(event(None, 1)).await;
            (longest, most, posted) = (longest.max(asked.elapsed()), most.max(resident()), posted + 1);
            let mut changes = Vec::new();
            changes.extend(opened.changes.lock().expect("not poisoned").try_iter());
            if changes.iter().any(|change| matches!(change, Change::Loaded { .. })) {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        eprintln!(
            "{WAITING} deliveries to {order:?} in {:?}; the longest of {posted} requests meanwhile took {longest:?}; \
             {before} MiB before, {most} MiB at most",
            began.elapsed()
        );
        assert!(longest < Duration::from_secs(1), "{longest:?}");
        assert!(most < before + 100, "{most} MiB after {before}");
    }
}
