//! A test destination: accepts any HTTP request as a delivery, checks its signatures and responds as
//! configured. Shared by `listen` and `demo`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::clock::SystemClock;
use crate::model::secret::Secret;
use crate::model::time::{Clock as _, Timestamp};
use crate::signature;

/// Above the largest payload that a host can be configured to accept from a formatter.
const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;

/// Configured behaviour of the destination.
#[derive(Clone, Default)]
pub(super) struct Behaviour {
    /// Secret that signatures are verified with; None: they are not checked.
    pub(super) secret: Option<Secret>,
    /// The failure status; None: 200, or 500 together with `fail_first`.
    pub(super) respond: Option<StatusCode>,
    /// Number of requests that get the failure status before all others get 200; None: every request.
    pub(super) fail_first: Option<u64>,
    /// Wait before each response.
    pub(super) delay: Duration,
}

impl Behaviour {
    /// The response status of a request; `number` counts from 1.
    fn status_for(&self, number: u64) -> StatusCode {
        match (self.respond, self.fail_first) {
            (bad, Some(count)) if number <= count => bad.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            (_, Some(_)) | (None, None) => StatusCode::OK,
            (Some(bad), None) => bad,
        }
    }
}

/// One request as received.
pub(super) struct Delivery {
    pub(super) at: Timestamp,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The status that it is responded to with.
    pub(super) status: StatusCode,
    /// The signature checks; None without a secret.
    pub(super) verdicts: Option<Verdicts>,
}

impl Delivery {
    /// A header's value as text; empty if the header is absent.
    pub(super) fn header(&self, name: &str) -> String {
        self.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
    }
}

/// The results of checking the two signatures of a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Verdicts {
    /// `X-Webhook-Signature`, over the body.
    pub(super) body: Verdict,
    /// `webhook-signature` of Standard Webhooks, over id, time and body.
    pub(super) standard: Verdict,
}

impl Verdicts {
    /// True if both signatures are present and valid.
    pub(super) fn all_verify(self) -> bool {
        self.body == Verdict::Verifies && self.standard == Verdict::Verifies
    }
}

/// The result of checking one signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Valid for the secret.
    Verifies,
    /// Present, but not valid for the secret.
    Wrong,
    /// The header is absent.
    Missing,
}

impl Verdict {
    /// The word in the output, for people and in JSON.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Verifies => "verifies",
            Self::Wrong => "wrong",
            Self::Missing => "missing",
        }
    }

    fn of(present: bool, verifies: bool) -> Self {
        match (present, verifies) {
            (false, _) => Self::Missing,
            (true, true) => Self::Verifies,
            (true, false) => Self::Wrong,
        }
    }
}

struct Destination {
    behaviour: Behaviour,
    clock: SystemClock,
    requests: AtomicU64,
    deliveries: mpsc::Sender<Delivery>,
}

/// Serves until `stop` completes. Each delivery is sent to `deliveries` before its response.
///
/// # Errors
/// When the listener fails.
pub(super) async fn serve(
    listener: TcpListener,
    behaviour: Behaviour,
    deliveries: mpsc::Sender<Delivery>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let clock = SystemClock::start();
    let destination = Arc::new(Destination { behaviour, clock, requests: AtomicU64::new(0), deliveries });
    let router = Router::new().fallback(receive).with_state(destination);
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

async fn receive(State(destination): State<Arc<Destination>>, request: Request) -> (StatusCode, &'static str) {
    let at = destination.clock.now();
    let (head, body) = request.into_parts();
    let Ok(body) = read(body).await else { return (StatusCode::PAYLOAD_TOO_LARGE, "cannot read the request body\n") };
    let behaviour = &destination.behaviour;
    let status = behaviour.status_for(destination.requests.fetch_add(1, Ordering::Relaxed) + 1);
    let verdicts = behaviour.secret.as_ref().map(|secret| verify(secret, &head.headers, &body));
    let delivery = Delivery {
        at,
        method: head.method.to_string(),
        path: head.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        headers: head.headers,
        body,
        status,
        verdicts,
    };
    // Fails only while the command is ending; the sender still gets its response.
    drop(destination.deliveries.send(delivery).await);
    if !behaviour.delay.is_zero() {
        tokio::time::sleep(behaviour.delay).await;
    }
    (status, if status.is_success() { "ok\n" } else { "failure requested by --respond or --fail-first\n" })
}

async fn read(body: Body) -> Result<Bytes, axum::Error> {
    axum::body::to_bytes(body, MAX_BODY_BYTES).await
}

fn verify(secret: &Secret, headers: &HeaderMap, body: &[u8]) -> Verdicts {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let body_signature = text("x-webhook-signature");
    let standard_signature = text("webhook-signature");
    let (id, timestamp) = (text("webhook-id").unwrap_or_default(), text("webhook-timestamp").unwrap_or_default());
    Verdicts {
        body: Verdict::of(
            headers.contains_key("x-webhook-signature"),
            body_signature.is_some_and(|given| signature::verify_body(secret, body, given)),
        ),
        standard: Verdict::of(
            headers.contains_key("webhook-signature"),
            standard_signature.is_some_and(|given| signature::verify_standard(secret, id, timestamp, body, given)),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_destination_fails_as_long_as_configured() {
        let of = |respond: Option<StatusCode>, fail_first| {
            let behaviour = Behaviour { respond, fail_first, ..Behaviour::default() };
            [1, 2, 3].map(|number| behaviour.status_for(number).as_u16())
        };
        assert_eq!(of(None, None), [200, 200, 200]);
        assert_eq!(of(Some(StatusCode::GONE), None), [410, 410, 410]);
        assert_eq!(of(Some(StatusCode::SERVICE_UNAVAILABLE), Some(2)), [503, 503, 200]);
        assert_eq!(of(None, Some(1)), [500, 200, 200]);
        assert_eq!(of(None, Some(0)), [200, 200, 200]);
    }

    #[tokio::test]
    async fn a_delivery_is_passed_on_whole_and_responded_to() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/in?a=b", listener.local_addr().expect("an address"));
        let (sender, mut deliveries) = mpsc::channel(1);
        let behaviour = Behaviour { secret: Some(Secret::new("s")), fail_first: Some(1), ..Behaviour::default() };
        let server = tokio::spawn(serve(listener, behaviour, sender, std::future::pending()));

        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let response =
            client.post(url).header("X-Webhook-Event", "finding_added").body("{}").send().await.expect("a response");
        assert_eq!(response.status().as_u16(), 500);
        let delivery = deliveries.recv().await.expect("a delivery");
        assert_eq!(
            (delivery.method.as_str(), delivery.path.as_str(), &delivery.body[..]),
            ("POST", "/in?a=b", &b"{}"[..])
        );
        assert_eq!(delivery.header("x-webhook-event"), "finding_added");
        assert_eq!(delivery.verdicts, Some(Verdicts { body: Verdict::Missing, standard: Verdict::Missing }));
        server.abort();
    }
}
