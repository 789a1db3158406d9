//! Liveness, readiness and metrics, without a token.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{ApiError, Code};
use super::state::Shared;
use crate::formatter::{FormatterInfo, State as Loaded};
use crate::model::webhook::Activity;
use crate::telemetry::{FormatterSnapshot, Snapshot};

/// `Retry-After` of a host that is not ready.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(5);

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz)).routes(routes!(metrics))
}

/// The host's state.
#[derive(Serialize, utoipa::ToSchema)]
struct Health {
    /// `ok` if the process is alive, `ready` if it accepts work.
    status: &'static str,
}

/// Liveness: succeeds while the process can respond at all.
#[utoipa::path(get, path = "/healthz", tag = "host",
    responses((status = 200, description = "The host is alive", body = Health)))]
async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Readiness: the store is open and writable, the formatters are loaded, and no shutdown was requested.
#[utoipa::path(get, path = "/readyz", tag = "host",
    responses(
        (status = 200, description = "The host accepts work", body = Health),
        (status = 503, description = "The host does not accept work; `detail` has the cause")))]
async fn readyz(State(api): State<Shared>) -> Result<Json<Health>, ApiError> {
    let missing = if api.draining.is_cancelled() {
        "the host is stopping"
    } else if !api.store.is_writable() {
        "the store cannot be written"
    } else if !api.catalog.is_settled() {
        "formatters are being loaded"
    } else {
        return Ok(Json(Health { status: "ready" }));
    };
    Err(ApiError::new(Code::Unavailable, missing).retry_after(RETRY_AFTER))
}

/// The host's metrics in the OpenMetrics text format, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "host",
    responses((status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text")))]
async fn metrics(State(api): State<Shared>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, content_type)], api.telemetry.render(snapshot(&api))).into_response()
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

fn snapshot(api: &Shared) -> Snapshot {
    let mut snapshot = Snapshot {
        store_writable: api.store.is_writable(),
        damaged_records: api.store.damaged_records(),
        previews_waiting: api.catalog.previews_waiting(),
        ..Snapshot::default()
    };
    for webhook in api.store.webhooks().newest_first() {
        match webhook.activity {
            Activity::Active => snapshot.active += 1,
            Activity::OffByAdmin => snapshot.off += 1,
            Activity::Tripped { .. } => snapshot.tripped.push(webhook.id.to_string()),
        }
    }
    for formatter in api.catalog.list() {
        match formatter.state {
            Loaded::Ready => snapshot.formatters.push(measured(api, formatter)),
            Loaded::Rejected { code, .. } => *snapshot.rejected.entry(code).or_default() += 1,
        }
    }
    snapshot
}
