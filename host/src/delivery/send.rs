//! Sending: what was rendered becomes one signed request, and the response becomes an attempt for each delivery in it.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::batch::{self, Ready};
use super::digest;
use super::prepared::{Prepared, PreparedWebhooks};
use super::result::{Attempted, Split};
use crate::formatter::{Catalog, Component, Verdict};
use crate::model::mask::Mask;
use crate::model::retry::{self, Failure, Ruling};
use crate::model::time::{Clock, Timestamp};
use crate::model::webhook::Webhook;
use crate::signature::{self, Values};
use crate::telemetry::Telemetry;
use crate::transport::{self, Content, Report, Request, Transport};

/// The most headers of the host's that differ between requests, `Host` included.
const MAX_OWN: usize = 10;

/// Sends rendered deliveries.
pub(super) struct Sender {
    pub(super) transport: Arc<Transport>,
    /// Reads responses with the component that made the payload.
    pub(super) catalog: Arc<Catalog>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) prepared: PreparedWebhooks,
}

impl Sender {
    /// Signs and sends a batch as one request. Returns each delivery's attempt beside its index among the claims.
    pub(super) async fn send(
        &self,
        webhook: &Webhook,
        batch: Vec<Ready>,
        started: Timestamp,
    ) -> Vec<(usize, Attempted)> {
        let Some(first) = batch.first() else { return Vec::new() };
        let deliveries: Vec<_> = batch.iter().map(|one| one.delivery).collect();
        let id = batch::id(&deliveries);
        let prepared = self.prepared.get(webhook, &first.by);
        let content = prepared.as_ref().and_then(|prepared| self.content(webhook, prepared, &batch, &id, started));
        let (Some(prepared), Some(content)) = (prepared, content) else {
            let why = "a header cannot be sent";
            let attempted = |one: &Ready| Attempted { pin: Some(one.pin), ..one.attempted(webhook).rejected(why) };
            return batch.iter().map(|one| (one.index, attempted(one))).collect();
        };
        let timeout = Duration::from_millis(webhook.config.timeout_ms.into());
        let (url, tls, by) = (&webhook.config.url, &webhook.config.tls, &first.by);
        let mask = &Mask::with(webhook, &by.manifest().options_schema, &prepared.needles);
        let request = Request { url, tls, content, timeout, keep_response: by.interprets(), mask };
        let report = self.transport.deliver(request).await;
        let (report, ruling) = self.interpret(by, report).await;
        let failed = report.outcome.as_ref().err();
        let class = failed.map(transport::Failure::class);
        self.telemetry.attempt(webhook.id, class, report.duration, self.clock.steady_ms());
        let failure = failed.map(|failed| {
            let (class, status, retry_after) = (failed.class(), report.status, report.retry_after);
            let failure = Failure { status, retry_after, ruling, ..Failure::of(class) };
            (failure, mask.text(&failed.sentence()))
        });
        let split = self::split(&batch, &report, failure.as_ref().map(|(failure, _)| failure));
        let together = note(&batch, &id, split.is_some());
        let attempted = |position: usize, one: &Ready| Attempted {
            failure: failure.clone(),
            status: report.status,
            excerpt: report.excerpt.clone(),
            duration: report.duration,
            // The note of a rollback has the formatter's words.
            note: both(together.clone(), one.rendering.note.as_ref().map(|note| mask.text(note))),
            pin: Some(one.pin),
            split: split.map(|split| if position < batch.len() / 2 { split.0 } else { split.1 }),
            ..one.attempted(webhook)
        };
        batch.iter().enumerate().map(|(position, one)| (one.index, attempted(position, one))).collect()
    }

    /// The batch as the transport takes it; `None` if a header cannot be sent.
    fn content(
        &self,
        webhook: &Webhook,
        prepared: &Prepared,
        batch: &[Ready],
        id: &str,
        started: Timestamp,
    ) -> Option<Content> {
        if webhook.config.url.scheme().is_syslog() {
            let messages = batch.iter().map(|one| one.payload().body.clone()).collect();
            // Before they fail for good they get a connection that no other message can take down.
            let alone = webhook.config.batch.is_some() && batch.iter().all(|one| one.is_last && one.is_again);
            return Some(Content::Messages { messages, alone });
        }
        let body = digest::body(batch);
        let mut values = Values::default();
        let id = values.add(id)?;
        let mut headers = headers(webhook, prepared, batch, &id, &mut values)?;
        let now = self.clock.steady_ms();
        let old = prepared.old_signers.iter().filter(|(until_ms, _)| *until_ms > now).map(|(_, signer)| signer);
        signature::sign(prepared.signer.as_ref(), old, &id, started.unix_seconds(), &body, &mut values, &mut headers);
        Some(Content::Body { headers, body })
    }

    /// Lets the formatter read the response, where it knows better than the status what it means.
    async fn interpret(&self, component: &Arc<Component>, mut report: Report) -> (Report, Option<Ruling>) {
        let Some(response) = report.response.take() else { return (report, None) };
        let status = response.status;
        let failed = |reason: String| Err(transport::Failure::Interpreted { status, reason: reason.into() });
        match self.catalog.interpret(component, response).await {
            Verdict::ByStatus => (report, None),
            Verdict::Delivered => (Report { outcome: Ok(()), ..report }, None),
            Verdict::Retry { after, reason } => {
                (Report { outcome: failed(reason), ..report }, Some(Ruling::Retry { after }))
            }
            Verdict::Failed { reason, deactivate } => {
                (Report { outcome: failed(reason), ..report }, Some(Ruling::Final { deactivate }))
            }
        }
    }
}

/// How the earlier and the later deliveries of a failed request go out again, if it is split.
fn split(batch: &[Ready], report: &Report, failure: Option<&Failure>) -> Option<(Split, Split)> {
    if batch.first()?.part.is_some() {
        return retry::takes_apart(failure?).then_some((Split::Singly, Split::Singly));
    }
    // Syslog has no responses, so one message that the collector closes on may be all that is wrong: before a batch
    // fails for good, halves look for it.
    let is_unclear = report.outcome.as_ref().err() == Some(&transport::Failure::ClosedAfterSend);
    let is_last_chance = batch.len() > 1 && is_unclear && batch.iter().all(|one| one.is_last);
    let splits = is_last_chance || retry::splits(batch.len(), failure?);
    splits.then_some((Split::FirstHalf, Split::SecondHalf))
}

/// Two notes as one.
fn both(first: Option<String>, second: Option<String>) -> Option<String> {
    match (first, second) {
        (Some(first), Some(second)) => Some(format!("{first}; {second}")),
        (first, second) => first.or(second),
    }
}

/// What the history says of deliveries that were sent together.
fn note(batch: &[Ready], id: &str, is_split: bool) -> Option<String> {
    if let Some(part) = batch.first()?.part {
        return Some(digest::note(part, batch.len(), id, is_split));
    }
    let again = if is_split { "; they go out again in two halves" } else { "" };
    (batch.len() > 1).then(|| format!("one of {} events in one request, {id}{again}", batch.len()))
}

/// The request's headers but for the signatures: the formatter's, the webhook's over them, the host's over both. `None` when
/// one cannot be sent.
fn headers(
    webhook: &Webhook,
    prepared: &Prepared,
    batch: &[Ready],
    id: &HeaderValue,
    values: &mut Values,
) -> Option<HeaderMap> {
    let first = batch.first()?;
    let mut headers = HeaderMap::with_capacity(first.payload().headers.len() + prepared.headers.len() + MAX_OWN);
    for (name, value) in &first.payload().headers {
        headers.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?);
    }
    for (name, value) in &prepared.headers {
        headers.insert(name, value.clone());
    }
    let event_type = first.event.event_type;
    let alike = batch.iter().all(|one| one.event.event_type == event_type);
    let event_type = if alike { event_type.as_str() } else { signature::SEVERAL };
    headers.insert(CONTENT_TYPE, values.add(&first.payload().content_type)?);
    headers.insert(signature::EVENT, HeaderValue::from_static(event_type));
    headers.insert(signature::DELIVERY, id.clone());
    let attempt = batch.iter().map(|one| one.attempt).max()?;
    headers.insert(signature::ATTEMPT, values.add(attempt)?);
    if webhook.config.batch.is_some() || first.part.is_some() {
        headers.insert(signature::BATCH_SIZE, values.add(batch.len())?);
    }
    Some(headers)
}
