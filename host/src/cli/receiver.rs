//! A destination: takes any HTTP request as a delivery, checks its signatures, answers as told.
//! `listen` and `demo` put it behind a port.

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

/// Above the largest payload that a host may be set to take from a formatter.
const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;

/// How the destination behaves.
#[derive(Clone, Default)]
pub(super) struct Behaviour {
    /// Signatures are verified with it; absent: they are not looked at.
    pub(super) secret: Option<Secret>,
    /// The status of a bad answer; absent: every answer is 200.
    pub(super) respond: Option<StatusCode>,
    /// How many requests get the bad answer before all others get 200; absent: every request does.
    pub(super) fail_first: Option<u64>,
    /// How long an answer takes.
    pub(super) delay: Duration,
}

impl Behaviour {
    /// The status for request number `number`, counted from 1.
    fn answer(&self, number: u64) -> StatusCode {
        match (self.respond, self.fail_first) {
            (bad, Some(count)) if number <= count => bad.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            (_, Some(_)) | (None, None) => StatusCode::OK,
            (Some(bad), None) => bad,
        }
    }
}

/// One request as it arrived.
pub(super) struct Delivery {
    pub(super) at: Timestamp,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// What it is answered with.
    pub(super) answer: StatusCode,
    /// Absent without a secret.
    pub(super) verdicts: Option<Verdicts>,
}

impl Delivery {
    /// A header's value as text; empty when it is absent.
    pub(super) fn header(&self, name: &str) -> String {
        self.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
    }
}

/// What the two signatures of a delivery are worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Verdicts {
    /// `X-Webhook-Signature`, over the body.
    pub(super) body: Verdict,
    /// `webhook-signature` of Standard Webhooks, over id, time and body.
    pub(super) standard: Verdict,
}

impl Verdicts {
    /// Whether both are there and right.
    pub(super) fn all_verify(self) -> bool {
        self.body == Verdict::Verifies && self.standard == Verdict::Verifies
    }
}

/// What one signature is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It is the secret's.
    Verifies,
    /// It is not.
    Wrong,
    /// There is none.
    Missing,
}

impl Verdict {
    /// The word that people and programs read.
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

/// Serves until `stop` is done. Each delivery goes into `deliveries` when it arrives, before its answer.
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
    let Ok(body) = read(body).await else { return (StatusCode::PAYLOAD_TOO_LARGE, "cannot read this body\n") };
    let behaviour = &destination.behaviour;
    let answer = behaviour.answer(destination.requests.fetch_add(1, Ordering::Relaxed) + 1);
    let verdicts = behaviour.secret.as_ref().map(|secret| verify(secret, &head.headers, &body));
    let delivery = Delivery {
        at,
        method: head.method.to_string(),
        path: head.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        headers: head.headers,
        body,
        answer,
        verdicts,
    };
    // Whoever printed them has gone: the answer is still owed.
    drop(destination.deliveries.send(delivery).await);
    if !behaviour.delay.is_zero() {
        tokio::time::sleep(behaviour.delay).await;
    }
    (answer, if answer.is_success() { "ok\n" } else { "as told by --respond\n" })
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
    fn a_bad_destination_is_bad_as_long_as_told() {
        let of = |respond: Option<StatusCode>, fail_first| {
            let behaviour = Behaviour { respond, fail_first, ..Behaviour::default() };
            [1, 2, 3].map(|number| behaviour.answer(number).as_u16())
        };
        assert_eq!(of(None, None), [200, 200, 200]);
        assert_eq!(of(Some(StatusCode::GONE), None), [410, 410, 410]);
        assert_eq!(of(Some(StatusCode::SERVICE_UNAVAILABLE), Some(2)), [503, 503, 200]);
        assert_eq!(of(None, Some(1)), [500, 200, 200]);
        assert_eq!(of(None, Some(0)), [200, 200, 200]);
    }

    #[tokio::test]
    async fn a_delivery_is_handed_over_whole_and_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/in?a=b", listener.local_addr().expect("an address"));
        let (sender, mut deliveries) = mpsc::channel(1);
        let behaviour = Behaviour { secret: Some(Secret::new("s")), fail_first: Some(1), ..Behaviour::default() };
        let server = tokio::spawn(serve(listener, behaviour, sender, std::future::pending()));

        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let response =
            client.post(url).header("X-Webhook-Event", "finding_added").body("{}").send().await.expect("an answer");
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
