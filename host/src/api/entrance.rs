//! The API of a host that is starting. It answers from the first moment: `/healthz`, and `/readyz` with what the host waits
//! for. Once the store is open, all of it is there.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use super::health;
use super::problem::{ApiError, Code};
use super::service::{Service, routed};

/// How long a request waits for the store, which usually opens within milliseconds; shorter than clients wait.
const OPEN_WAIT: Duration = Duration::from_secs(5);
/// `Retry-After` of a request that waited in vain.
const RETRY_AFTER: Duration = Duration::from_secs(1);
const OPENING: &str = "the store is being opened";

/// What connections are served by: the routes of the start, and the whole API once it is [`Entrance::open`]. Cheap to clone.
#[derive(Clone)]
pub struct Entrance {
    start: Router,
    whole: Arc<Whole>,
}

#[derive(Default)]
struct Whole {
    service: OnceLock<Service>,
    opened: CancellationToken,
}

impl Entrance {
    /// An entrance without an API behind it.
    pub fn new() -> Self {
        let whole = Arc::new(Whole::default());
        let start = Router::new()
            .route("/healthz", get(health::healthz))
            .route("/readyz", get(not_ready))
            .fallback(when_open)
            .with_state(Arc::clone(&whole));
        Self { start, whole }
    }

    /// Puts the whole API behind it, for all requests from now on, and for those that wait.
    pub fn open(&self, service: Service) {
        // A second one is ignored.
        let _ = self.whole.service.set(service);
        self.whole.opened.cancel();
    }

    /// The response to a request.
    pub(super) async fn call(&self, request: Request) -> Response {
        match self.whole.service.get() {
            Some(service) => service.call(request).await,
            None => routed(self.start.clone(), request).await,
        }
    }
}

impl Default for Entrance {
    fn default() -> Self {
        Self::new()
    }
}

async fn not_ready() -> ApiError {
    ApiError::new(Code::Unavailable, OPENING).retry_after(RETRY_AFTER)
}

/// Hands a request to the whole API as soon as it is there.
async fn when_open(State(whole): State<Arc<Whole>>, request: Request) -> Response {
    let opened = tokio::time::timeout(OPEN_WAIT, whole.opened.cancelled()).await;
    match whole.service.get().filter(|_| opened.is_ok()) {
        Some(service) => service.call(request).await,
        None => {
            let detail = format!("{OPENING}, and nothing was changed; try again");
            ApiError::new(Code::Unavailable, detail).retry_after(RETRY_AFTER).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    async fn ask(entrance: &Entrance, path: &str) -> (u16, bool, String) {
        let request = Request::builder().uri(path).body(Body::empty()).expect("a request");
        let response = entrance.call(request).await;
        let (status, has_retry) = (response.status().as_u16(), response.headers().contains_key("retry-after"));
        let bytes = axum::body::to_bytes(response.into_body(), 4096).await.expect("a body");
        (status, has_retry, String::from_utf8_lossy(&bytes).into_owned())
    }

    fn whole() -> Service {
        let router = Router::new().route("/readyz", get(async || "ready")).route("/x", get(async || "the API"));
        Service { router, ingest: None, console: None, inside: None }
    }

    #[tokio::test(start_paused = true)]
    async fn before_the_store_is_open_liveness_is_all_there_is() {
        let entrance = Entrance::new();
        assert_eq!(ask(&entrance, "/healthz").await, (200, false, r#"{"status":"ok"}"#.to_owned()));
        let (status, has_retry, body) = ask(&entrance, "/readyz").await;
        assert_eq!((status, has_retry, body.contains(OPENING)), (503, true, true), "{body}");
        let (status, has_retry, body) = ask(&entrance, "/x").await;
        assert_eq!((status, has_retry, body.contains(OPENING)), (503, true, true), "{body}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_for_the_store_and_no_longer_than_clients_do() {
        let entrance = Entrance::new();
        let opens_in = |wait: Duration| {
            let entrance = entrance.clone();
            async move {
                tokio::time::sleep(wait).await;
                entrance.open(whole());
            }
        };
        let tick = Duration::from_millis(1);
        let (early, ()) = tokio::join!(ask(&entrance, "/x"), tokio::time::sleep(OPEN_WAIT + tick));
        assert_eq!(early.0, 503);
        let (late, ()) = tokio::join!(ask(&entrance, "/x"), opens_in(OPEN_WAIT - tick));
        assert_eq!(late, (200, false, "the API".to_owned()));
        assert_eq!(ask(&entrance, "/readyz").await.2, "ready");
        assert_eq!(ask(&entrance, "/healthz").await.0, 404, "the whole API has taken over");
    }
}
