//! One attempt: event, formatter, signature, transport; and what its end is to the store.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use super::batch::{self, Group, Ready};
use super::decide::{self, Decision, Failure, Said};
use super::lane::Claim;
use super::{Courier, Message};
use crate::formatter::{Component, RenderError, RenderedKey, Verdict};
use crate::model::delivery::{Attempt, ErrorClass, FormatterRef};
use crate::model::event::Event;
use crate::model::id::{AttemptId, DeliveryId, EventId, WebhookId};
use crate::model::secret::Secret;
use crate::model::settings::DeliverySettings;
use crate::model::time::Timestamp;
use crate::model::url::TransportKind;
use crate::model::webhook::Webhook;
use crate::signature;
use crate::store::{DueItem, DueKey, Outcome, Pin, Sent, Step};
use crate::transport::{self, Content, Outcome as Ended, Report, Request};

/// An attempt that ended, one way or another: one request, or none.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) webhook: WebhookId,
    /// The deliveries that were in it.
    pub(super) parts: Vec<Part>,
    /// Those that were claimed with them and could not go into one request with them: nothing was done about these.
    pub(super) unsent: Vec<(DueKey, DueItem)>,
    started: Timestamp,
}

/// One delivery's part of it.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) key: DueKey,
    pub(super) item: DueItem,
    end: End,
}

impl Finished {
    /// How long the destination wants nothing more of anything, if it said so: what a 429 asks for holds for all that
    /// waits, not for what it was said to alone.
    pub(super) fn pause(&self, settings: &DeliverySettings) -> Option<Duration> {
        let asked = |part: &Part| {
            let End::Made(made) = &part.end else { return None };
            let (failure, _) = made.failure.as_ref()?;
            let throttled = failure.status == Some(429) && !matches!(failure.said, Some(Said::Final { .. }));
            match failure.retry_after {
                Some(after) if throttled || failure.said == Some(Said::TryAgain) => Some(after),
                None if throttled => Some(settings.retry.base),
                _ => None,
            }
        };
        let longest = self.parts.iter().filter_map(asked).max()?;
        Some(longest.min(settings.retry.retry_after_cap))
    }
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

#[cfg(test)]
impl End {
    /// What an attempt at a test's destination came to.
    fn of(webhook: &Webhook, event: &Event, ended: super::tests::Ended) -> Self {
        use super::tests::Ended;
        let begun = Made { retry_count: webhook.config.retry_count, ..Made::begun(event.event_type.as_str()) };
        Self::Made(Box::new(match ended {
            Ended::Skipped => return Self::Skipped,
            Ended::Delivered => Made { status: Some(200), ..begun },
            Ended::Failed { class, status, retry_after } => {
                let failure = Failure { status, retry_after, ..Failure::of(class) };
                Made { failure: Some((failure, class.as_str().into())), status, ..begun }
            }
        }))
    }
}

/// An attempt that was made: everything that the history tells of it.
#[derive(Clone, Debug)]
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
    /// The batch that it was in goes out again in two halves: whether this one is in the second.
    half: Option<bool>,
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
            half: None,
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
    webhook: WebhookId,
    started: Timestamp,
    claimed: Vec<(DueKey, DueItem)>,
}

impl Teller {
    /// The first of what was claimed came to these ends; there are none for the rest.
    fn tell(&mut self, ends: impl IntoIterator<Item = End>) {
        let mut claimed = std::mem::take(&mut self.claimed).into_iter();
        let parts = ends.into_iter().zip(claimed.by_ref());
        let parts: Vec<_> = parts.map(|(end, (key, item))| Part { key, item, end }).collect();
        if !parts.is_empty() {
            let unsent = claimed.collect();
            let finished = Finished { webhook: self.webhook, parts, unsent, started: self.started };
            // A scheduler that is gone is a process that ends; the deliveries are queued on the disk.
            let _ = self.messages.send(Message::Finished(finished));
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.tell(std::iter::repeat_with(|| End::Interrupted));
    }
}

/// Starts an attempt on the deliveries' runtime: at one delivery, or at several together.
pub(super) fn start(
    courier: &Arc<Courier>,
    deliveries: &Handle,
    webhook: WebhookId,
    claims: Vec<Claim>,
    messages: UnboundedSender<Message>,
) -> AbortHandle {
    let courier = Arc::clone(courier);
    let started = courier.clock.now();
    let claimed = claims.iter().map(|claim| (claim.key, claim.item.clone())).collect();
    let mut teller = Teller { messages, webhook, started, claimed };
    let task = deliveries.spawn(async move {
        let ends = courier.attempt(webhook, claims, started).await;
        teller.tell(ends);
    });
    task.abort_handle()
}

/// What identifies a rendering beside event and component.
fn rendering(webhook: &Webhook) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(webhook.config.format.as_bytes());
    hash.update([0]);
    hash.update(webhook.config.format_options.as_bytes());
    let transport_kind = webhook.config.url.scheme().transport_kind();
    // What was pinned before there was another way than HTTP stays what it was.
    if transport_kind != TransportKind::Http {
        hash.update([0]);
        hash.update(transport_kind.name());
    }
    hash.finalize().into()
}

impl Courier {
    /// Makes an attempt: one request. The ends of the claims that it is about, in their order; what does not go into one
    /// request with those before it has none.
    async fn attempt(&self, webhook: WebhookId, claims: Vec<Claim>, started: Timestamp) -> Vec<End> {
        let Some(webhook) = self.store.webhooks().get(webhook).cloned() else {
            return claims.iter().map(|_| End::Gone).collect();
        };
        let mut ends: Vec<Option<End>> = Vec::with_capacity(claims.len());
        let mut group = Group::default();
        for (place, claim) in claims.into_iter().enumerate() {
            match self.prepare(&webhook, place, claim).await {
                Ok(one) => {
                    // One request is made: it has one outcome, one time and one place in the pace.
                    if !group.takes(one) {
                        break;
                    }
                    ends.push(None);
                }
                Err(end) => ends.push(Some(end)),
            }
        }
        for (place, made) in self.send(&webhook, group.into_ready(), started).await {
            if let Some(end) = ends.get_mut(place) {
                *end = Some(End::Made(Box::new(made)));
            }
        }
        ends.into_iter().map(|end| end.unwrap_or(End::Interrupted)).collect()
    }

    /// Renders one delivery; else how it ends without being sent.
    async fn prepare(&self, webhook: &Webhook, place: usize, claim: Claim) -> Result<Ready, End> {
        let Claim { item, event, .. } = claim;
        let event = match event {
            Some(event) => event,
            None => match self.store.event_plain(item.event).await {
                Ok(Some(event)) => Arc::new(event),
                Ok(None) => return Err(End::Gone),
                // The store is closed: the process ends or is to be restarted; it is made again then.
                Err(_) => return Err(End::Interrupted),
            },
        };
        #[cfg(test)]
        if let Some(double) = &self.double {
            return Err(End::of(webhook, &event, double.attempt(webhook, &event, &item).await));
        }
        let rendering = rendering(webhook);
        let Some(component) = self.component(webhook, item.sent.pin().filter(|pin| pin.rendering == rendering)).await
        else {
            return Err(End::NotLoaded);
        };
        let key = RenderedKey { event: event.id, component: component.digest(), rendering };
        let options: Arc<str> = webhook.config.format_options.as_str().into();
        let transport_kind = webhook.config.url.scheme().transport_kind();
        match self.rendered.get_or(key, self.registry.render(&component, &event, &options, transport_kind)).await {
            Err(RenderError::Unsupported(_)) => Err(End::Skipped),
            Err(RenderError::Stopping) => Err(End::Interrupted),
            Err(error) => {
                let pin = Some(Pin { component: component.digest(), rendering });
                Err(End::Made(Box::new(Made { pin, ..refused(webhook, &event, &component, &error.to_string()) })))
            }
            Ok(rendered) => {
                // The component that did render it is the one that it keeps.
                let by = rendered.instead.as_ref().map_or(component, Arc::clone);
                let pin = Pin { component: by.digest(), rendering };
                if let Err(why) = fits(webhook, &by, &rendered.payload.body) {
                    let made = Made { pin: Some(pin), ..refused(webhook, &event, &by, &why) };
                    return Err(End::Made(Box::new(made)));
                }
                let (delivery, attempt) = (item.delivery, item.attempt);
                let is_last = item.try_number() > webhook.config.retry_count;
                let is_again = item.sent.is_again();
                Ok(Ready { place, event, delivery, attempt, is_last, is_again, by, rendering: rendered, pin })
            }
        }
    }

    /// Whether a formatter of this name can be used.
    pub(super) fn has_formatter(&self, format: &str) -> bool {
        #[cfg(test)]
        if self.double.is_some() {
            return true;
        }
        self.registry.current(format).is_some()
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

    /// Signs and sends what was rendered, as one request; what it came to, for each by its place.
    async fn send(&self, webhook: &Webhook, group: Vec<Ready>, started: Timestamp) -> Vec<(usize, Made)> {
        let Some(first) = group.first() else { return Vec::new() };
        let deliveries: Vec<_> = group.iter().map(|one| one.delivery).collect();
        let id = batch::id(&deliveries);
        let content = match self.content(webhook, &group, &id, started) {
            Ok(content) => content,
            Err(why) => {
                let made = |one: &Ready| Made { pin: Some(one.pin), ..refused(webhook, &one.event, &one.by, why) };
                return group.iter().map(|one| (one.place, made(one))).collect();
            }
        };
        let timeout = Duration::from_millis(webhook.config.timeout_ms.into());
        let (url, tls, by) = (&webhook.config.url, &webhook.config.tls, &first.by);
        let report = self.transport.deliver(Request { url, tls, content, timeout, keep_answer: by.interprets() }).await;
        let (report, said) = self.interpreted(by, report).await;
        self.telemetry.attempt(report.outcome.error_class(), report.duration);
        let failure = report.outcome.error_class().map(|class| {
            let failure = Failure { class, status: report.status, retry_after: report.retry_after, said };
            (failure, report.outcome.error_text().unwrap_or_default())
        });
        // Where nothing is answered, one message that the collector closes on may be all that is wrong: before they fail
        // for good, it is looked for.
        let is_unclear = matches!(report.outcome, Ended::Failed(transport::Failure::NotTaken));
        let is_last_hope = group.len() > 1 && is_unclear && group.iter().all(|one| one.is_last);
        let splits = is_last_hope || failure.as_ref().is_some_and(|(failure, _)| batch::splits(group.len(), failure));
        let together = (group.len() > 1).then(|| {
            let again = if splits { "; they go out again in two halves" } else { "" };
            format!("one of {} events in one request, {id}{again}", group.len())
        });
        let made = |place: usize, one: &Ready| Made {
            retry_count: webhook.config.retry_count,
            failure: failure.clone(),
            status: report.status,
            excerpt: report.excerpt.clone(),
            duration: report.duration,
            formatter: Some(one.by.reference()),
            note: one.rendering.note.clone().or_else(|| together.clone()),
            pin: Some(one.pin),
            half: splits.then_some(place >= group.len() / 2),
            ..Made::begun(one.event.event_type.as_str())
        };
        group.iter().enumerate().map(|(place, one)| (one.place, made(place, one))).collect()
    }

    /// What a group is to the transport; else why it cannot be sent.
    fn content(
        &self,
        webhook: &Webhook,
        group: &[Ready],
        id: &str,
        started: Timestamp,
    ) -> Result<Content, &'static str> {
        if webhook.config.url.scheme().is_syslog() {
            let messages = group.iter().map(|one| one.payload().body.clone()).collect();
            // Before they fail for good they go where nobody else's message can take the connection down.
            let alone = webhook.config.batch.is_some() && group.iter().all(|one| one.is_last && one.is_again);
            return Ok(Content::Messages { messages, alone });
        }
        let body = batch::joined(group);
        let now = self.clock.steady_ms();
        let old_secrets: Vec<&Secret> = webhook.old_secrets_at(now).map(|old| &old.secret).collect();
        let headers = headers(webhook, &old_secrets, group, id, &body, started);
        headers.map(|headers| Content::Body { headers, body }).ok_or("a header cannot be sent")
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
        let event_type = event.event_type.as_str();
        let made = match self.registry.current(&webhook.config.format) {
            Some(component) => self.test_with(webhook, component, event, delivery, started).await,
            None => {
                let error = RenderError::NotLoaded(webhook.config.format.clone());
                Made::begun(event_type).refused(&error.to_string())
            }
        };
        Attempt { is_test: true, ..history(made, delivery, None, 1, started) }
    }

    async fn test_with(
        &self,
        webhook: &Webhook,
        component: Arc<Component>,
        event: Arc<Event>,
        delivery: DeliveryId,
        started: Timestamp,
    ) -> Made {
        let options: Arc<str> = webhook.config.format_options.as_str().into();
        let transport_kind = webhook.config.url.scheme().transport_kind();
        let rendering = match self.registry.render(&component, &event, &options, transport_kind).await {
            Ok(rendering) => Arc::new(rendering),
            Err(error) => return refused(webhook, &event, &component, &error.to_string()),
        };
        let event_type = event.event_type.as_str();
        let by = rendering.instead.as_ref().map_or(component, Arc::clone);
        if let Err(why) = fits(webhook, &by, &rendering.payload.body) {
            return refused(webhook, &event, &by, &why);
        }
        let pin = Pin { component: by.digest(), rendering: [0; 32] };
        let ready = Ready { place: 0, event, delivery, attempt: 1, is_last: true, is_again: false, by, rendering, pin };
        let made = self.send(webhook, vec![ready], started).await.pop();
        made.map_or_else(|| Made::begun(event_type), |(_, made)| made)
    }

    /// What an attempt's end is to the store; `closes` are the queue entries that each part was the last of.
    pub(super) fn conclude(
        &self,
        settings: &DeliverySettings,
        finished: Finished,
        closes: Vec<Option<DueKey>>,
    ) -> Vec<Outcome> {
        let Finished { webhook, parts, started, unsent: _ } = finished;
        // One jitter for all: what failed together is due again together.
        let moment = Moment { now: self.clock.now(), jitter: fastrand::f64() };
        parts
            .into_iter()
            .zip(closes)
            .map(|(part, closes)| self.outcome(settings, webhook, part, started, moment, closes))
            .collect()
    }

    fn outcome(
        &self,
        settings: &DeliverySettings,
        webhook: WebhookId,
        part: Part,
        started: Timestamp,
        moment: Moment,
        closes: Option<DueKey>,
    ) -> Outcome {
        let Part { item, end, .. } = part;
        let again_now = |sent| Step::Again { after: Duration::ZERO, sent, counts: false, group: 0 };
        let (attempt, step) = match end {
            End::Made(made) => {
                let step = step(settings, &item, &made, moment);
                (Some(history(*made, item.delivery, Some(item.event), item.attempt, started)), step)
            }
            End::Skipped => (None, Step::Skipped),
            End::Gone => (None, Step::Dropped),
            // The lane stops until a formatter of that name is loaded; nothing is counted.
            End::NotLoaded => (None, again_now(item.sent)),
            End::Interrupted => {
                let event_type = self.store.plain_event(item.event).ok().flatten().map(|event| event.event_type);
                let event_type = event_type.map_or("", crate::model::event::EventType::as_str);
                let made = Made {
                    failure: Some((
                        Failure::of(ErrorClass::Interrupted),
                        "interrupted: the host was stopped during this attempt; it is made again after the start"
                            .into(),
                    )),
                    duration: moment.now.since(started),
                    ..Made::begun(event_type)
                };
                // It may have been taken: whatever it went out with, it goes out with again, under the same id. By which
                // component it was rendered is not known here.
                let sent = Sent::Before(item.sent.pin());
                let attempt = history(made, item.delivery, Some(item.event), item.attempt, started);
                (Some(attempt), again_now(sent))
            }
        };
        Outcome { webhook, item, attempt, step, closes }
    }
}

/// When an attempt was concluded, and the chance that its retry's wait is cut by.
#[derive(Clone, Copy)]
struct Moment {
    now: Timestamp,
    jitter: f64,
}

fn step(settings: &DeliverySettings, item: &DueItem, made: &Made, moment: Moment) -> Step {
    let Some((failure, _)) = &made.failure else { return Step::Delivered };
    let sent = made.pin.map_or(Sent::Never, |pin| Sent::Before(Some(pin)));
    if let Some(second) = made.half {
        // Two places in the queue, so two requests. It is the batch that failed: no delivery's retry is used up.
        let group = u32::from(second);
        return Step::Again { after: Duration::ZERO, sent, counts: false, group };
    }
    match decide::after_failure(&settings.retry, made.retry_count, item.try_number(), *failure, moment.jitter) {
        Decision::Final(deactivate) => Step::Failed { deactivate },
        Decision::Retry(after) => Step::Again { after, sent, counts: true, group: 0 },
    }
}

/// Whether a payload can go the webhook's way; else why not. A webhook is checked when it is saved; its formatter may
/// have been replaced since.
fn fits(webhook: &Webhook, by: &Component, body: &[u8]) -> Result<(), String> {
    let scheme = webhook.config.url.scheme();
    if scheme.is_syslog() && !by.makes_lines() {
        return Err("the format makes documents, and this transport takes lines".to_owned());
    }
    transport::fits(scheme, body)
}

/// An attempt that was refused by us before anything was sent.
fn refused(webhook: &Webhook, event: &Event, component: &Component, why: &str) -> Made {
    let begun = Made::begun(event.event_type.as_str());
    Made { retry_count: webhook.config.retry_count, formatter: Some(component.reference()), ..begun }.refused(why)
}

fn history(made: Made, delivery: DeliveryId, event: Option<EventId>, attempt: u32, started: Timestamp) -> Attempt {
    Attempt {
        // The store sets this and the time of the next attempt when it is recorded.
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
        next_attempt_at: None,
        created_at: started,
    }
}

/// The request's headers: the formatter's, the webhook's over them, the host's over both. `None` when one
/// cannot be sent; all were checked when they came in.
fn headers(
    webhook: &Webhook,
    old_secrets: &[&Secret],
    group: &[Ready],
    id: &str,
    body: &[u8],
    started: Timestamp,
) -> Option<HeaderMap> {
    let first = group.first()?;
    let mut headers = HeaderMap::with_capacity(16);
    for (name, value) in &first.payload().headers {
        headers.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?);
    }
    for (name, value) in &webhook.config.headers {
        let mut value = HeaderValue::from_str(value.expose()).ok()?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, value);
    }
    let event_type = first.event.event_type;
    let alike = group.iter().all(|one| one.event.event_type == event_type);
    let event_type = if alike { event_type.as_str() } else { signature::SEVERAL };
    headers.insert(CONTENT_TYPE, HeaderValue::from_str(&first.payload().content_type).ok()?);
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("heraldry/", env!("CARGO_PKG_VERSION"))));
    headers.insert(signature::EVENT, HeaderValue::from_static(event_type));
    headers.insert(signature::DELIVERY, HeaderValue::from_str(id).ok()?);
    let attempt = group.iter().map(|one| one.attempt).max()?;
    headers.insert(signature::ATTEMPT, HeaderValue::from(attempt));
    if webhook.config.batch.is_some() {
        headers.insert(signature::BATCH_SIZE, HeaderValue::from(group.len()));
    }
    signature::sign(webhook.config.secret.as_ref(), old_secrets, id, started.unix_seconds(), body, &mut headers)?;
    Some(headers)
}
