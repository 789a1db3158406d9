//! The state that all requests share. Handlers get it as [`Shared`]; it sits below them, so that no handler needs
//! another.

use std::ops::Deref;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::budget::BodyBudget;
use super::ingest_limit::IngestLimit;
use super::links::Links;
use super::problem::{ApiError, Code};
use super::trial_limit::TrialLimit;
use crate::filter::Expressions;
use crate::formatter::{Catalog, Standing};
use crate::model::id::WebhookId;
use crate::model::settings::{ConsoleSettings, Limits, MetricsLabels};
use crate::model::time::Clock;
use crate::model::webhook::Webhook;
use crate::scheduler::Scheduler;
use crate::store::Store;
use crate::telemetry::Telemetry;
use crate::transport::Transport;
use crate::watchdog::Watchdog;

/// The parts of the host that the API calls.
pub struct Api {
    /// Persists events, webhooks, tokens and the audit log.
    pub store: Arc<Store>,
    /// Sends test deliveries, and drops the queue of a deleted webhook.
    pub scheduler: Arc<Scheduler>,
    /// Renders previews, validates format options, installs formatters.
    pub catalog: Arc<Catalog>,
    /// Checks and judges filter expressions.
    pub expressions: Arc<Expressions>,
    /// Checks a destination against the SSRF guard before its webhook is saved.
    pub transport: Arc<Transport>,
    /// Limits on one request.
    pub limits: Limits,
    /// Counts requests.
    pub telemetry: Arc<Telemetry>,
    /// Wall clock and steady clock.
    pub clock: Arc<dyn Clock>,
    /// Knows of threads that have died or do not move.
    pub watchdog: Watchdog,
    /// Cancelled when the host begins to drain; `/readyz` fails from then on.
    pub draining: CancellationToken,
    /// Webhooks with a series of their own in each metric.
    pub metrics_webhooks: usize,
    /// The text that stands for a webhook in metrics.
    pub metrics_labels: MetricsLabels,
    /// The console; `None` if it is switched off.
    pub console: Option<ConsoleSettings>,
}

/// `Retry-After` of a request that needs a formatter which is still loading.
const LOADING_RETRY: Duration = Duration::from_secs(1);

/// 503 for a formatter that is still loading after the host's start.
pub(super) fn still_loading(format: &str) -> ApiError {
    let detail = format!("the formatter {format} is still being loaded after the host's start; try again");
    ApiError::new(Code::Unavailable, detail).retry_after(LOADING_RETRY)
}

/// [`Api`] with the limits that all requests share; cheap to clone.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Inner>);

struct Inner {
    api: Api,
    bodies: BodyBudget,
    ingest_limit: IngestLimit,
    trial_limit: TrialLimit,
    /// One permit: an export reads the whole store, so only one runs at a time.
    exports: Arc<Semaphore>,
    /// Links to the console that were not used yet.
    links: Links,
    /// When the API began to answer, by the steady clock.
    started_ms: i64,
    /// The OpenAPI document, rendered on the first request for it. Clients share it: anybody may ask for it, and for more
    /// copies than they read.
    openapi: LazyLock<Bytes>,
}

impl Deref for Shared {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.0.api
    }
}

impl Shared {
    pub(super) fn new(api: Api, bodies: BodyBudget, document: fn() -> Bytes) -> Self {
        let ingest_limit = IngestLimit::new(api.limits.token_rate);
        let exports = Arc::new(Semaphore::new(1));
        let trial_limit = TrialLimit::new();
        let (started_ms, openapi) = (api.clock.steady_ms(), LazyLock::new(document));
        Self(Arc::new(Inner {
            api,
            bodies,
            ingest_limit,
            trial_limit,
            exports,
            links: Links::default(),
            started_ms,
            openapi,
        }))
    }

    pub(super) fn bodies(&self) -> &BodyBudget {
        &self.0.bodies
    }

    pub(super) fn ingest_limit(&self) -> &IngestLimit {
        &self.0.ingest_limit
    }

    pub(super) fn trial_limit(&self) -> &TrialLimit {
        &self.0.trial_limit
    }

    /// How long the API has been answering.
    pub(super) fn uptime(&self) -> Duration {
        let ms = self.clock.steady_ms().saturating_sub(self.0.started_ms);
        Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }

    pub(super) fn links(&self) -> &Links {
        &self.0.links
    }

    pub(super) fn exports(&self) -> &Arc<Semaphore> {
        &self.0.exports
    }

    pub(super) fn openapi(&self) -> Bytes {
        self.0.openapi.clone()
    }

    /// Waits until the formatter of this name is loaded, if the host has just started and is about to load it.
    ///
    /// # Errors
    /// 503 if that takes too long.
    pub(super) async fn loaded(&self, format: &str) -> Result<(), ApiError> {
        match self.catalog.standing_soon(format).await {
            Standing::Loading(_) => Err(still_loading(format)),
            Standing::Ready(_) | Standing::Unknown => Ok(()),
        }
    }

    /// Looks up a webhook.
    ///
    /// # Errors
    /// 404 if there is none with this id.
    pub(super) fn webhook(&self, id: WebhookId) -> Result<Arc<Webhook>, ApiError> {
        self.store.webhooks().get(id).cloned().ok_or_else(|| ApiError::not_found("webhook"))
    }
}
