//! One attempt: event, formatter, signature, transport; and what its end is to the store.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use super::decide::{self, Decision, Failure, Said};
use super::lane::Claim;
use super::{Courier, Message};
use crate::formatter::{Component, Payload, RenderError, RenderedKey, Rendering, Verdict};
use crate::model::delivery::{Attempt, ErrorClass, FormatterRef};
use crate::model::event::Event;
use crate::model::id::{AttemptId, DeliveryId, EventId, WebhookId};
use crate::model::settings::DeliverySettings;
use crate::model::time::Timestamp;
use crate::model::webhook::Webhook;
use crate::signature;
use crate::store::{DueItem, DueKey, Outcome, Pin, Step};
use crate::transport::{self, Outcome as Ended, Report, Request};

/// An attempt that ended, one way or another.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) key: DueKey,
    pub(super) item: DueItem,
    started: Timestamp,
    end: End,
}

#[derive(Debug)]
enum End {
    /// It was made.
    Made(Box<Made>),
    /// The formatter does not do this event type.
    Skipped,
    /// The event or the webhook is gone.
    Gone,
    /// Its formatter is not loaded: it waits.
    NotLoaded,
    /// It was cut.
    Interrupted,
}

/// An attempt that was made: everything that the history tells of it.
#[derive(Debug)]
pub(super) struct Made {
    event_type: &'static str,
    retry_count: u32,
    failure: Option<(Failure, String)>,
    status: Option<u16>,
    excerpt: Option<String>,
    duration: Duration,
    formatter: Option<FormatterRef>,
    note: Option<String>,
    pin: Option<Pin>,
}

impl Made {
    /// An attempt of which nothing is known yet.
    fn begun(event_type: &'static str) -> Self {
        Self {
            event_type,
            retry_count: 0,
            failure: None,
            status: None,
            excerpt: None,
            duration: Duration::ZERO,
            formatter: None,
            note: None,
            pin: None,
        }
    }

    /// Refused by us, before anything was sent.
    fn refused(self, words: &str) -> Self {
        let class = ErrorClass::Formatter;
        Self { failure: Some((Failure::of(class), format!("{}: {words}", class.as_str()))), ..self }
    }
}

/// Tells the scheduler that an attempt ended, also when its task was aborted or panicked.
struct Teller {
    messages: UnboundedSender<Message>,
    finished: Option<(DueKey, DueItem, Timestamp)>,
}

impl Teller {
    fn tell(&mut self, end: End) {
        if let Some((key, item, started)) = self.finished.take() {
            // A scheduler that is gone is a process that ends; the delivery is queued on the disk.
            let _ = self.messages.send(Message::Finished(Finished { key, item, started, end }));
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.tell(End::Interrupted);
    }
}

/// Starts an attempt on the deliveries' runtime.
pub(super) fn start(
    courier: &Arc<Courier>,
    deliveries: &Handle,
    claim: Claim,
    messages: UnboundedSender<Message>,
) -> AbortHandle {
    let courier = Arc::clone(courier);
    let Claim { key, item, event } = claim;
    let started = courier.clock.now();
    let mut teller = Teller { messages, finished: Some((key, item.clone(), started)) };
    let task = deliveries.spawn(async move {
        let end = courier.attempt(key.webhook, &item, event, started).await;
        teller.tell(end);
    });
    task.abort_handle()
}

/// What identifies a rendering beside event and component.
fn rendering(webhook: &Webhook) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(webhook.config.format.as_bytes());
    hash.update([0]);
    hash.update(webhook.config.format_options.as_bytes());
    hash.finalize().into()
}

impl Courier {
    async fn attempt(&self, webhook: WebhookId, item: &DueItem, event: Option<Arc<Event>>, started: Timestamp) -> End {
        let Some(webhook) = self.store.webhooks().get(webhook).cloned() else { return End::Gone };
        let event = match event {
            Some(event) => event,
            None => match self.store.plain_event(item.event) {
                Ok(Some(event)) => Arc::new(event),
                Ok(None) => return End::Gone,
                // The store is closed: the process ends or is to be restarted; it is made again then.
                Err(_) => return End::Interrupted,
            },
        };
        let rendering = rendering(&webhook);
        let Some(component) = self.component(&webhook, item.pin.filter(|pin| pin.rendering == rendering)).await else {
            return End::NotLoaded;
        };
        let key = RenderedKey { event: event.id, component: component.digest(), rendering };
        let options: Arc<str> = webhook.config.format_options.as_str().into();
        let rendered = self.rendered.get_or(key, self.registry.render(&component, &event, &options)).await;
        match rendered {
            Err(RenderError::Unsupported(_)) => End::Skipped,
            Err(RenderError::Stopping) => End::Interrupted,
            rendered => {
                // The component that did render it is the one that it keeps.
                let instead = rendered.as_ref().ok().and_then(|rendering| rendering.instead.as_ref());
                let by = instead.map_or(component.digest(), |instead| instead.digest());
                let made = self.send(&webhook, &event, item.delivery, item.attempt, &component, rendered, started);
                End::Made(Box::new(Made { pin: Some(Pin { component: by, rendering }), ..made.await }))
            }
        }
    }

    /// The component that this delivery began with, as long as format and options stayed as they were;
    /// else the current one.
    async fn component(&self, webhook: &Webhook, pin: Option<Pin>) -> Option<Arc<Component>> {
        let current = self.registry.current(&webhook.config.format);
        match (pin, &current) {
            (Some(pin), Some(component)) if component.digest() == pin.component => current,
            (Some(pin), _) => self.registry.pinned(pin.component).await.or(current),
            (None, _) => current,
        }
    }

    /// Signs and sends what was rendered.
    #[expect(clippy::too_many_arguments, reason = "each is one fact about the attempt")]
    async fn send(
        &self,
        webhook: &Webhook,
        event: &Event,
        delivery: DeliveryId,
        attempt: u32,
        component: &Arc<Component>,
        rendered: Result<Arc<Rendering>, RenderError>,
        started: Timestamp,
    ) -> Made {
        let event_type = event.event_type.as_str();
        let made = Made {
            retry_count: webhook.config.retry_count,
            formatter: Some(component.reference()),
            ..Made::begun(event_type)
        };
        let rendering = match rendered {
            Ok(rendering) => rendering,
            Err(error) => return made.refused(&error.to_string()),
        };
        let Rendering { payload, instead, note } = &*rendering;
        let by = instead.as_ref().unwrap_or(component);
        let made = Made { formatter: Some(by.reference()), note: note.clone(), ..made };
        let Some(headers) = headers(webhook, event_type, delivery, attempt, payload, started) else {
            return made.refused("a header cannot be sent");
        };
        let timeout = Duration::from_millis(webhook.config.timeout_ms.into());
        let (url, body) = (&webhook.config.url, payload.body.clone());
        let request = Request { url, headers, body, timeout, keep_answer: by.interprets() };
        let report = self.transport.deliver(request).await;
        let (report, said) = self.interpreted(by, report).await;
        let failure = report.outcome.error_class().map(|class| {
            let failure = Failure { class, status: report.status, retry_after: report.retry_after, said };
            (failure, report.outcome.error_text().unwrap_or_default())
        });
        self.telemetry.attempt(report.outcome.error_class(), report.duration);
        Made { failure, status: report.status, excerpt: report.excerpt, duration: report.duration, ..made }
    }

    /// Lets the formatter say what the answer means, where it knows that better than the status.
    async fn interpreted(&self, component: &Arc<Component>, mut report: Report) -> (Report, Option<Said>) {
        let Some(answer) = report.answer.take() else { return (report, None) };
        let status = answer.status;
        let said = |reason: String| Ended::Failed(transport::Failure::Said { status, reason: reason.into() });
        match self.registry.interpret(component, answer).await {
            Verdict::ByStatus => (report, None),
            Verdict::Delivered => (Report { outcome: Ended::Delivered, ..report }, None),
            Verdict::Retry { after, reason } => {
                let retry_after = after.or(report.retry_after);
                (Report { outcome: said(reason), retry_after, ..report }, Some(Said::TryAgain))
            }
            Verdict::Failed { reason, deactivate } => {
                (Report { outcome: said(reason), ..report }, Some(Said::Final { deactivate }))
            }
        }
    }

    /// A test delivery; the attempt for the history.
    pub(super) async fn test(&self, webhook: &Webhook, event: Arc<Event>) -> Attempt {
        let started = self.clock.now();
        let delivery = DeliveryId::generate();
        let options: Arc<str> = webhook.config.format_options.as_str().into();
        let made = match self.registry.current(&webhook.config.format) {
            Some(component) => {
                let rendered = self.registry.render(&component, &event, &options).await.map(Arc::new);
                self.send(webhook, &event, delivery, 1, &component, rendered, started).await
            }
            None => {
                let error = RenderError::NotLoaded(webhook.config.format.clone());
                Made::begun(event.event_type.as_str()).refused(&error.to_string())
            }
        };
        Attempt { is_test: true, ..history(made, delivery, None, 1, started, None) }
    }

    /// What an attempt's end is to the store.
    pub(super) fn conclude(&self, settings: &DeliverySettings, finished: Finished, closes: Option<DueKey>) -> Outcome {
        let Finished { key, item, started, end } = finished;
        let webhook = key.webhook;
        let again_now =
            |counts| Step::Again { due_ms: self.clock.steady_ms(), at: self.clock.now(), pin: item.pin, counts };
        let (attempt, step) = match end {
            End::Made(made) => {
                let step = self.step(settings, &item, &made);
                let next = match &step {
                    Step::Again { at, .. } => Some(*at),
                    _ => None,
                };
                (Some(history(*made, item.delivery, Some(item.event), item.attempt, started, next)), step)
            }
            End::Skipped => (None, Step::Skipped),
            End::Gone => (None, Step::Dropped),
            // The lane stops until a formatter of that name is loaded; nothing is counted.
            End::NotLoaded => (None, again_now(false)),
            End::Interrupted => {
                let step = again_now(false);
                let event_type = self.store.plain_event(item.event).ok().flatten().map(|event| event.event_type);
                let event_type = event_type.map_or("", crate::model::event::EventType::as_str);
                let made = Made {
                    failure: Some((
                        Failure::of(ErrorClass::Interrupted),
                        "interrupted: the host was stopped during this attempt; it is made again after the start"
                            .into(),
                    )),
                    duration: self.clock.now().since(started),
                    ..Made::begun(event_type)
                };
                let at = self.clock.now();
                (Some(history(made, item.delivery, Some(item.event), item.attempt, started, Some(at))), step)
            }
        };
        Outcome { webhook, item, attempt, step, closes }
    }

    fn step(&self, settings: &DeliverySettings, item: &DueItem, made: &Made) -> Step {
        let Some((failure, _)) = &made.failure else { return Step::Delivered };
        match decide::after_failure(&settings.retry, made.retry_count, item.attempt, *failure, fastrand::f64()) {
            Decision::Final(deactivate) => Step::Failed { deactivate },
            Decision::Retry(wait) => Step::Again {
                due_ms: self.clock.steady_ms() + i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 2),
                at: self.clock.now().plus(wait),
                pin: made.pin,
                counts: true,
            },
        }
    }
}

fn history(
    made: Made,
    delivery: DeliveryId,
    event: Option<EventId>,
    attempt: u32,
    started: Timestamp,
    next: Option<Timestamp>,
) -> Attempt {
    Attempt {
        // The store gives it its own when it is recorded.
        id: AttemptId::generate(),
        delivery_id: delivery,
        event_id: event,
        event_type: made.event_type.to_owned(),
        attempt,
        success: made.failure.is_none(),
        status_code: made.status,
        error: made.failure.map(|(_, words)| words),
        duration_ms: u64::try_from(made.duration.as_millis()).unwrap_or(u64::MAX),
        response_excerpt: made.excerpt,
        formatter: made.formatter,
        note: made.note,
        is_test: false,
        next_attempt_at: next,
        created_at: started,
    }
}

/// The request's headers: the formatter's, the webhook's over them, the host's over both. `None` when one
/// cannot be sent; all were checked when they came in.
fn headers(
    webhook: &Webhook,
    event_type: &'static str,
    delivery: DeliveryId,
    attempt: u32,
    payload: &Payload,
    started: Timestamp,
) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(16);
    for (name, value) in &payload.headers {
        headers.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?);
    }
    for (name, value) in &webhook.config.headers {
        let mut value = HeaderValue::from_str(value.expose()).ok()?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, value);
    }
    let id = delivery.to_string();
    headers.insert(CONTENT_TYPE, HeaderValue::from_str(&payload.content_type).ok()?);
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("heraldry/", env!("CARGO_PKG_VERSION"))));
    headers.insert(signature::EVENT, HeaderValue::from_static(event_type));
    headers.insert(signature::DELIVERY, HeaderValue::from_str(&id).ok()?);
    headers.insert(signature::ATTEMPT, HeaderValue::from(attempt));
    signature::sign(webhook.config.secret.as_ref(), &id, started.unix_seconds(), &payload.body, &mut headers)?;
    Some(headers)
}
