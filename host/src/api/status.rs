//! The host's status on one page: what an operator looks at first. Webhooks with trouble come first, formatters are listed
//! only if they have some.

use std::cmp::Reverse;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Reader;
use super::health;
use super::problem::ApiError;
use super::state::Shared;
use super::workload::{self, Workload};
use crate::formatter::{FormatterInfo, LastError, Standing, State as Loaded};
use crate::model::delivery::Attempt;
use crate::model::id::{EventId, WebhookId};
use crate::model::time::Timestamp;
use crate::model::webhook::{Activity, Webhook};
use crate::store::{AttemptQuery, AttemptsError};

/// The most webhooks that are listed; the number of the others is in the response.
const MOST_WEBHOOKS: usize = 200;
/// The most webhooks whose last error is read from the history.
const MOST_ERRORS_READ: usize = 50;
/// The most errors in `last_errors`.
const MOST_ERRORS: usize = 10;
/// A formatter's last error is trouble for this long.
const FORMATTER_TROUBLE: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(status))
}

/// The host at a glance.
#[derive(Serialize, utoipa::ToSchema)]
struct StatusView {
    /// The host itself.
    host: HostView,
    /// Sums over all webhooks.
    totals: TotalsView,
    /// Webhooks, those with trouble first; at most 200.
    webhooks: Vec<WebhookStatus>,
    /// The number of webhooks that are not listed; absent if all are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    more_webhooks: Option<usize>,
    /// Formatters that were rejected, are still loading, or failed in the last 24 hours.
    formatters: Vec<FormatterStatus>,
    /// The last error of each webhook whose last attempt failed, newest first; at most 10.
    last_errors: Vec<ErrorView>,
}

/// The host itself.
#[derive(Serialize, utoipa::ToSchema)]
struct HostView {
    /// Its name, as formatters see it.
    name: String,
    /// Heraldry's version.
    version: &'static str,
    /// How long it has been answering, in seconds.
    uptime_seconds: u64,
    /// True if it accepts work, as `GET /readyz` says.
    ready: bool,
    /// The reason why it does not; null if it does.
    not_ready_reason: Option<String>,
    /// True if the store accepts writes.
    store_writable: bool,
    /// Records with a wrong checksum.
    damaged_records: u64,
    /// The disk that the store is on; null if the file system does not say.
    disk: Option<DiskView>,
}

/// Room on a disk.
#[derive(Serialize, utoipa::ToSchema)]
struct DiskView {
    /// Bytes that may still be written.
    free_bytes: u64,
    /// Bytes of the file system.
    total_bytes: u64,
}

/// Sums over all webhooks.
#[derive(Default, Serialize, utoipa::ToSchema)]
struct TotalsView {
    /// Webhooks that deliver.
    webhooks_active: usize,
    /// Webhooks that an admin switched off.
    webhooks_off: usize,
    /// Webhooks that the circuit breaker or a 410 switched off.
    webhooks_tripped: usize,
    /// Deliveries that are pending, those in flight included.
    waiting: u64,
    /// Deliveries that are held.
    held: u64,
    /// Attempts in flight.
    in_flight: u64,
    /// Attempts in the last minute.
    attempts_last_minute: u64,
}

/// How a webhook does, the worst first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum WebhookState {
    /// The circuit breaker or a 410 switched it off.
    Tripped,
    /// Its formatter is not loaded: its deliveries are held.
    NoFormatter,
    /// Its last attempt failed.
    Failing,
    /// An admin switched it off.
    Off,
    /// It delivers.
    Active,
}

/// A webhook's status.
#[derive(Serialize, utoipa::ToSchema)]
struct WebhookStatus {
    /// The webhook's id.
    #[schema(value_type = uuid::Uuid)]
    id: WebhookId,
    /// A name for people.
    name: String,
    /// The formatter's name.
    format: String,
    /// The host of the destination's URL.
    url_host: String,
    /// How it does.
    state: WebhookState,
    /// True if somebody should look: it is tripped, has no formatter, fails, or is off and holds deliveries.
    trouble: bool,
    /// The reason why the circuit breaker switched it off; null if it did not.
    disabled_reason: Option<String>,
    /// Consecutive deliveries that failed for good.
    failure_count: u32,
    /// Deliveries that are pending, those in flight included.
    waiting: u64,
    /// Deliveries that are held.
    held: u64,
    /// When the oldest of both was accepted; null when there is none.
    #[schema(value_type = Option<String>, format = DateTime)]
    oldest_waiting_at: Option<Timestamp>,
    /// When the next attempt is due; null when none is.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_attempt_at: Option<Timestamp>,
    /// When it is probed next; null when it is not.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_probe_at: Option<Timestamp>,
    /// Time of the last successful attempt.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_success_at: Option<Timestamp>,
    /// Time of the last failed attempt.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_failure_at: Option<Timestamp>,
    /// The last error in words, of a webhook whose last attempt failed.
    last_error: Option<String>,
}

/// A formatter with trouble.
#[derive(Serialize, utoipa::ToSchema)]
struct FormatterStatus {
    /// The format's name.
    name: String,
    /// The formatter's own version; null when it is not known.
    version: Option<String>,
    /// Ready, loading, or rejected with the reason.
    #[serde(flatten)]
    state: Loaded,
    /// Calls that gave no payload, since it was loaded.
    errors: u64,
    /// Its last call that gave no payload.
    last_error: Option<LastError>,
}

/// The last error of a webhook.
#[derive(Serialize, utoipa::ToSchema)]
struct ErrorView {
    /// When the attempt was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// The webhook.
    #[schema(value_type = uuid::Uuid)]
    webhook_id: WebhookId,
    /// Its name.
    webhook_name: String,
    /// The event; null for a test.
    #[schema(value_type = Option<uuid::Uuid>)]
    event_id: Option<EventId>,
    /// The event's type.
    event_type: String,
    /// Which try it was, from 1.
    attempt: u32,
    /// The error's class and a sentence.
    error: String,
}

/// The host at a glance: its health, what waits, webhooks with trouble first, formatters with trouble, the last errors.
#[utoipa::path(get, operation_id = "get_status", path = "/api/v1/status", tag = "host", security(("bearer" = [])),
    responses((status = 200, description = "The status", body = StatusView)))]
async fn status(_: Reader, State(api): State<Shared>) -> Result<Json<StatusView>, ApiError> {
    let table = api.store.webhooks();
    let mut webhooks: Vec<_> = table.iter().map(|webhook| WebhookStatus::of(&api, webhook)).collect();
    let totals = totals(&api, &webhooks);
    webhooks.sort_by_cached_key(|webhook| {
        (!webhook.trouble, webhook.state, Reverse(webhook.undone()), webhook.name.clone(), webhook.id)
    });
    let more = webhooks.len().saturating_sub(MOST_WEBHOOKS);
    webhooks.truncate(MOST_WEBHOOKS);
    for listed in &mut webhooks {
        listed.next_attempt_at = table.get(listed.id).and_then(|webhook| workload::next_attempt_at(&api, webhook));
    }
    let last_errors = last_errors(&api, &mut webhooks).await?;
    let more_webhooks = (more > 0).then_some(more);
    Ok(Json(StatusView {
        host: host(&api),
        totals,
        webhooks,
        more_webhooks,
        formatters: formatters(&api),
        last_errors,
    }))
}

fn host(api: &Shared) -> HostView {
    let not_ready_reason = health::not_ready(api);
    HostView {
        name: api.catalog.host_name().to_owned(),
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: api.uptime().as_secs(),
        ready: not_ready_reason.is_none(),
        not_ready_reason,
        store_writable: api.store.is_writable(),
        damaged_records: api.store.damaged_records(),
        disk: api.store.disk().map(|(free_bytes, total_bytes)| DiskView { free_bytes, total_bytes }),
    }
}

fn totals(api: &Shared, webhooks: &[WebhookStatus]) -> TotalsView {
    let sum = |count: fn(&WebhookStatus) -> u64| webhooks.iter().map(count).fold(0, u64::saturating_add);
    let mut totals = TotalsView {
        waiting: sum(|webhook| webhook.waiting),
        held: sum(|webhook| webhook.held),
        in_flight: api.telemetry.in_flight(),
        attempts_last_minute: api.telemetry.attempts_in_last_minute(api.clock.steady_ms()),
        ..TotalsView::default()
    };
    for webhook in api.store.webhooks().iter() {
        match webhook.activity {
            Activity::Active => totals.webhooks_active += 1,
            Activity::OffByAdmin => totals.webhooks_off += 1,
            Activity::Tripped { .. } => totals.webhooks_tripped += 1,
        }
    }
    totals
}

/// Reads the last error of each webhook whose last attempt failed.
async fn last_errors(api: &Shared, webhooks: &mut [WebhookStatus]) -> Result<Vec<ErrorView>, ApiError> {
    let query = AttemptQuery { limit: 1, before: None, success: Some(false), event_type: None };
    let mut errors = Vec::new();
    let failed = |webhook: &&mut WebhookStatus| webhook.last_attempt_failed();
    for webhook in webhooks.iter_mut().filter(failed).take(MOST_ERRORS_READ) {
        let page = match api.store.attempts(webhook.id, query).await {
            Ok(page) => page,
            Err(AttemptsError::BadCursor) => continue,
            Err(AttemptsError::Store(error)) => return Err(error.into()),
        };
        let Some(Attempt { created_at, event_id, event_type, attempt, error: Some(error), .. }) =
            page.attempts.into_iter().next()
        else {
            continue;
        };
        webhook.last_error = Some(error.clone());
        errors.push(ErrorView {
            created_at,
            webhook_id: webhook.id,
            webhook_name: webhook.name.clone(),
            event_id,
            event_type: event_type.into_owned(),
            attempt,
            error,
        });
    }
    errors.sort_by_key(|error| Reverse(error.created_at));
    errors.truncate(MOST_ERRORS);
    Ok(errors)
}

fn formatters(api: &Shared) -> Vec<FormatterStatus> {
    let now = api.clock.now();
    let has_trouble = |info: &FormatterInfo| {
        let is_recent = |error: &LastError| now.since(error.at) < FORMATTER_TROUBLE;
        info.state != Loaded::Ready || info.last_error.as_ref().is_some_and(is_recent)
    };
    let listed = api.catalog.list().into_iter().filter(has_trouble);
    let status = |info: FormatterInfo| FormatterStatus {
        name: info.name,
        version: info.version,
        state: info.state,
        errors: info.numbers.errors,
        last_error: info.last_error,
    };
    listed.map(status).collect()
}

impl WebhookStatus {
    fn of(api: &Shared, webhook: &Webhook) -> Self {
        let (config, health) = (&webhook.config, webhook.health.values());
        let work = Workload::of(api, webhook);
        let is_unformatted = matches!(api.catalog.standing(&config.format), Standing::Unknown);
        let failed = last_attempt_failed(health.last_success_at, health.last_failure_at);
        let state = match &webhook.activity {
            Activity::Tripped { .. } => WebhookState::Tripped,
            Activity::OffByAdmin => WebhookState::Off,
            Activity::Active if is_unformatted => WebhookState::NoFormatter,
            Activity::Active if failed => WebhookState::Failing,
            Activity::Active => WebhookState::Active,
        };
        Self {
            id: webhook.id,
            name: config.name.clone(),
            format: config.format.clone(),
            url_host: config.url.host().to_string(),
            state,
            trouble: state < WebhookState::Off || (state == WebhookState::Off && work.held > 0),
            disabled_reason: match &webhook.activity {
                Activity::Tripped { reason, .. } => Some(reason.clone()),
                Activity::Active | Activity::OffByAdmin => None,
            },
            failure_count: health.failure_count,
            waiting: work.waiting,
            held: work.held,
            oldest_waiting_at: work.oldest_waiting_at,
            next_attempt_at: None,
            next_probe_at: work.next_probe_at,
            last_success_at: health.last_success_at,
            last_failure_at: health.last_failure_at,
            last_error: None,
        }
    }

    fn last_attempt_failed(&self) -> bool {
        last_attempt_failed(self.last_success_at, self.last_failure_at)
    }

    /// Deliveries that are neither done nor given up.
    fn undone(&self) -> u64 {
        self.waiting.saturating_add(self.held)
    }
}

fn last_attempt_failed(success: Option<Timestamp>, failure: Option<Timestamp>) -> bool {
    // Of two in the same millisecond nobody knows which was last; trouble is shown.
    failure.is_some_and(|failure| success.is_none_or(|success| failure >= success))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_attempt_decides_whether_a_webhook_fails() {
        let at = |ms| Some(Timestamp::from_unix_ms(ms));
        for (success, failure, failed) in [
            (None, None, false),
            (at(2), None, false),
            (None, at(1), true),
            (at(2), at(1), false),
            (at(1), at(2), true),
        ] {
            assert_eq!(last_attempt_failed(success, failure), failed, "{success:?} {failure:?}");
        }
    }

    #[test]
    fn the_worst_states_come_first() {
        use WebhookState::{Active, Failing, NoFormatter, Off, Tripped};
        let mut states = [Active, Off, Failing, NoFormatter, Tripped];
        states.sort();
        assert_eq!(states, [Tripped, NoFormatter, Failing, Off, Active]);
    }
}
