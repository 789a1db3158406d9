//! Liveness, readiness and metrics, without a token.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, VARY};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::media_type;
use super::problem::{ApiError, Code};
use super::state::Shared;
use super::workload::Workload;
use crate::formatter::{FormatterInfo, Standing, State as Loaded};
use crate::model::time::Timestamp;
use crate::model::webhook::{Activity, Webhook};
use crate::telemetry::{Exposition, FormatterSnapshot, Snapshot, WebhookSnapshot, webhook_labels};

/// `Retry-After` of a host that is not ready.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(5);

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz)).routes(routes!(metrics))
}

/// The host's state.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Health {
    /// `ok` if the process is alive, `ready` if it accepts work.
    status: &'static str,
}

/// Liveness: succeeds while the process can respond at all.
#[utoipa::path(get, path = "/healthz", tag = "host",
    responses((status = 200, description = "The host is alive", body = Health)))]
pub(super) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Readiness: the store is open and writable, no formatter that an active webhook names is still loading, every thread that
/// the host needs lives and moves, and no shutdown was requested.
#[utoipa::path(get, path = "/readyz", tag = "host",
    responses(
        (status = 200, description = "The host accepts work", body = Health),
        (status = 503, description = "The host does not accept work; `detail` has the cause")))]
async fn readyz(State(api): State<Shared>) -> Result<Json<Health>, ApiError> {
    match not_ready(&api) {
        None => Ok(Json(Health { status: "ready" })),
        Some(cause) => Err(ApiError::new(Code::Unavailable, cause).retry_after(RETRY_AFTER)),
    }
}

/// The reason why the host does not accept work, in a sentence; `None` if it does.
pub(super) fn not_ready(api: &Shared) -> Option<String> {
    // First the threads: what they hang on, others may wait for.
    if let Some(fault) = api.watchdog.fault() {
        return Some(fault);
    }
    if api.draining.is_cancelled() {
        return Some("the host is stopping".to_owned());
    }
    if !api.store.is_writable() {
        return Some("the store cannot be written".to_owned());
    }
    loading(api)
}

/// The formats that active webhooks name and that are still loading, in a sentence.
fn loading(api: &Shared) -> Option<String> {
    if api.catalog.is_settled() {
        return None;
    }
    let names: BTreeSet<String> = api.store.webhooks().active_formats();
    let is_loading = |name: &String| matches!(api.catalog.standing(name), Standing::Loading(_));
    let loading: Vec<_> = names.into_iter().filter(is_loading).collect();
    (!loading.is_empty())
        .then(|| format!("formatters that active webhooks name are being loaded: {}", loading.join(", ")))
}

/// The host's metrics for Prometheus: as OpenMetrics if `Accept` names it, else in the text format 0.0.4.
#[utoipa::path(get, path = "/metrics", tag = "host",
    responses((status = 200, description = "The metrics",
        content((String = "text/plain"), (String = "application/openmetrics-text")))))]
async fn metrics(State(api): State<Shared>, headers: HeaderMap) -> Response {
    let (content_type, exposition) = exposition(&headers);
    let headers = [(CONTENT_TYPE, content_type), (VARY, "accept")];
    (headers, api.telemetry.render(snapshot(&api), exposition)).into_response()
}

/// A format of metrics that a client may ask for.
struct Offer {
    media_type: &'static str,
    version: &'static str,
    content_type: &'static str,
    exposition: Exposition,
}

/// The first of those that a client likes best is used. The two versions of OpenMetrics do not differ in what this host has.
const OFFERS: [Offer; 3] = [
    Offer {
        media_type: "application/openmetrics-text",
        version: "1.0.0",
        content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8",
        exposition: Exposition::OpenMetrics,
    },
    Offer {
        media_type: "application/openmetrics-text",
        version: "0.0.1",
        content_type: "application/openmetrics-text; version=0.0.1; charset=utf-8",
        exposition: Exposition::OpenMetrics,
    },
    Offer {
        media_type: "text/plain",
        version: "0.0.4",
        content_type: "text/plain; version=0.0.4; charset=utf-8",
        exposition: Exposition::Text,
    },
];

/// The content type and the format that `Accept` asks for (RFC 9110, section 12.5.1). OpenMetrics must be named: many
/// agents send `*/*` and parse the text format only. What is not acceptable at all gets the text format.
fn exposition(headers: &HeaderMap) -> (&'static str, Exposition) {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let ranges: Vec<_> = lines.flat_map(|line| media_type::split(line, ',')).filter_map(media_type::parse).collect();
    let quality = |offer: &Offer| {
        let matching = ranges.iter().filter_map(|range| {
            let specificity = match (range.essence_str(), range.get_param("version")) {
                (named, Some(wanted)) if named == offer.media_type && wanted == offer.version => 3,
                (named, None) if named == offer.media_type => 2,
                (_, Some(_)) => return None,
                ("text/*", None) if offer.media_type == "text/plain" => 1,
                ("*/*", None) if offer.media_type == "text/plain" => 0,
                _ => return None,
            };
            Some((specificity, media_type::quality(range)?))
        });
        // The most specific range counts.
        matching.max().map(|(_, quality)| quality).filter(|quality| *quality > 0)
    };
    let liked = OFFERS.iter().rev().filter_map(|offer| Some((quality(offer)?, offer)));
    // Of equal ones the last is taken, which is the first of the table.
    let best = liked.max_by_key(|(quality, _)| *quality).map_or(&OFFERS[2], |(_, offer)| offer);
    (best.content_type, best.exposition)
}

/// One formatter's counters as metrics.
fn measured(api: &Shared, formatter: FormatterInfo) -> FormatterSnapshot {
    FormatterSnapshot {
        calls_waiting: api.catalog.calls_waiting(&formatter.name),
        name: formatter.name,
        version: formatter.version.unwrap_or_default(),
        digest: formatter.digest.unwrap_or_default(),
        memory_peak_bytes: formatter.numbers.memory_peak_bytes,
    }
}

/// One webhook's state as metrics.
fn measured_webhook(api: &Shared, webhook: &Webhook, label: String) -> WebhookSnapshot {
    let work = Workload::of(api, webhook);
    let age = |at: Timestamp| api.clock.now().since(at).as_secs();
    WebhookSnapshot {
        id: webhook.id,
        label,
        waiting: work.waiting,
        held: work.held,
        oldest_seconds: work.oldest_waiting_at.map_or(0, age),
        next_probe: work.next_probe_at.map(Timestamp::unix_seconds),
    }
}

fn snapshot(api: &Shared) -> Snapshot {
    let mut snapshot = Snapshot {
        store_writable: api.store.is_writable(),
        damaged_records: api.store.damaged_records(),
        formatters_loading: api.catalog.loading(),
        previews_waiting: api.catalog.previews_waiting(),
        disk: api.store.disk(),
        threads: api.watchdog.threads().into_iter().map(|thread| (thread.name, thread.healthy)).collect(),
        ..Snapshot::default()
    };
    let mut oldest_first = api.store.webhooks().newest_first();
    oldest_first.reverse();
    let named = oldest_first.iter().map(|webhook| (webhook.id, webhook.config.name.as_str()));
    let labels = webhook_labels(api.metrics_labels, named);
    let label = |webhook: &Webhook| labels.get(&webhook.id).cloned().unwrap_or_default();
    // The oldest ones have series of their own, so that a new one displaces none.
    for webhook in &oldest_first {
        snapshot.webhooks.push(measured_webhook(api, webhook, label(webhook)));
        match webhook.activity {
            Activity::Active => snapshot.active += 1,
            Activity::OffByAdmin => snapshot.off += 1,
            Activity::Tripped { .. } if snapshot.tripped.len() < api.metrics_webhooks => {
                snapshot.tripped.push(label(webhook));
            }
            Activity::Tripped { .. } => snapshot.tripped_others += 1,
        }
    }
    for formatter in api.catalog.list() {
        match formatter.state {
            Loaded::Ready => snapshot.formatters.push(measured(api, formatter)),
            Loaded::Loading => {}
            Loaded::Rejected { code, .. } => *snapshot.rejected.entry(code).or_default() += 1,
        }
    }
    snapshot
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn content_type(accept: &[&'static str]) -> &'static str {
        let lines = accept.iter().map(|line| (ACCEPT, HeaderValue::from_static(line)));
        exposition(&lines.collect()).0
    }

    #[test]
    fn the_format_of_metrics_is_negotiated() {
        let [new, old, text] = OFFERS.map(|offer| offer.content_type);
        for (accept, expected) in [
            (&[][..], text),
            (&[""], text),
            (&["*/*"], text),
            (&["*/*;q=0.1"], text),
            (&["application/*"], text),
            (&["application/json"], text),
            (&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], text),
            (&["text/plain"], text),
            (&["text/plain;version=0.0.4;q=1,*/*;q=0.1"], text),
            (&["application/openmetrics-text"], new),
            (&["Application/OpenMetrics-Text; Version=1.0.0; charset=utf-8"], new),
            (&["application/openmetrics-text;version=\"1.0.0\";"], new),
            (&["application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"], old),
            // Prometheus 2 and 3.
            (
                &["application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                   text/plain;version=0.0.4;q=0.3,*/*;q=0.2"],
                new,
            ),
            (
                &["application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                   text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"],
                new,
            ),
            (&["application/openmetrics-text;q=0.3, text/plain;q=0.4"], text),
            (&["application/openmetrics-text;q=0.4, text/plain;q=0.3"], new),
            (&["application/openmetrics-text;q=0.4", "text/plain;q=0.5"], text),
            (&["application/openmetrics-text, text/plain"], new),
            (&["application/openmetrics-text;q=0"], text),
            (&["application/openmetrics-text;q=0.0, */*"], text),
            (&["application/openmetrics-text;q=0, text/plain;q=0"], text),
            (&["application/openmetrics-text;q=2, text/plain;q=0.1"], text),
            (&["application/openmetrics-text;version=2.0.0"], text),
            (&["application/openmetrics-text;version=1.0.0;q=0, application/openmetrics-text"], old),
            (&["nonsense, ;, application/openmetrics-text"], new),
            (&["text/*;q=0.9, application/openmetrics-text;q=0.8"], text),
        ] {
            assert_eq!(content_type(accept), expected, "{accept:?}");
        }
    }
}
