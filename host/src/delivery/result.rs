//! Results: how attempts end, and the outcomes that the store records of them.

use std::sync::Arc;
use std::time::Duration;

use super::claim::Claim;
use crate::formatter::{Component, RenderError};
use crate::model::delivery::{Attempt, ErrorClass, FormatterRef, Step};
use crate::model::event::{Event, EventType};
use crate::model::id::{AttemptId, DeliveryId, EventId, WebhookId};
use crate::model::mask::Mask;
use crate::model::retry::{self, Failure};
use crate::model::settings::RetryPolicy;
use crate::model::time::Timestamp;
use crate::model::webhook::Webhook;
use crate::store::{DueKey, Outcome, Pin, Sent, Store};

/// An attempt that is over: one request, or none.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The webhook.
    pub(crate) webhook: WebhookId,
    /// When the attempt began.
    pub(crate) started: Timestamp,
    /// One for each claimed delivery, in the order of the claims.
    pub(crate) results: Vec<AttemptResult>,
    /// True if its runner ended before it did.
    pub(crate) is_lost: bool,
}

impl Finished {
    /// How long the destination wants nothing more of anything, if it said so.
    pub(crate) fn pause(&self, policy: &RetryPolicy) -> Option<Duration> {
        let asked = |result: &AttemptResult| match &result.ending {
            // The parts of what is split go at once.
            Ending::Attempted(attempted) if attempted.split.is_none() => {
                retry::pause(policy, &attempted.failure.as_ref()?.0)
            }
            _ => None,
        };
        self.results.iter().filter_map(asked).max()
    }
}

/// One delivery's part of an attempt.
#[derive(Debug)]
pub(crate) struct AttemptResult {
    /// The delivery, as it was claimed.
    pub(crate) claim: Claim,
    /// Its ending.
    pub(crate) ending: Ending,
    /// The queue entry that is done with this delivery, once the lane has said so.
    pub(crate) closes: Option<DueKey>,
}

/// How a claimed delivery came out of an attempt.
#[derive(Debug)]
pub(crate) enum Ending {
    /// It was sent, or could not be: it has a line in the history.
    Attempted(Box<Attempted>),
    /// The formatter does not render this event type.
    Skipped,
    /// The event or the webhook is gone.
    Gone,
    /// Its formatter is not loaded: it stays pending.
    NotLoaded,
    /// The attempt was cut by a shutdown or a deletion, perhaps after the destination had accepted it.
    Interrupted,
    /// It did not go into one request with the deliveries before it: nothing was done.
    Unsent,
}

/// A claimed delivery's event; else how the delivery ends without it.
pub(crate) async fn event_of(claim: &mut Claim, store: &Store) -> Result<Arc<Event>, Ending> {
    match claim.load(store).await {
        Ok(Some(event)) => Ok(event),
        Ok(None) => Err(Ending::Gone),
        // The store is closed: the process ends or is to be restarted, and the delivery is made then.
        Err(_) => Err(Ending::Interrupted),
    }
}

/// The id of an attempt that the store has not recorded.
const UNRECORDED: AttemptId = AttemptId::from_bytes([0; 16]);

/// Everything that the history tells of an attempt, and what the decision after it needs.
#[derive(Clone, Debug)]
pub(crate) struct Attempted {
    pub(super) event_type: EventType,
    /// The webhook's retry count at that time.
    pub(super) retry_count: u32,
    /// The failure with its words for people; `None`: the destination accepted it.
    pub(super) failure: Option<(Failure, String)>,
    pub(super) status: Option<u16>,
    pub(super) excerpt: Option<String>,
    pub(super) duration: Duration,
    pub(super) formatter: Option<FormatterRef>,
    pub(super) note: Option<String>,
    pub(super) pin: Option<Pin>,
    /// What it was sent together with goes out again in another way.
    pub(super) split: Option<Split>,
}

/// How a delivery goes out again that was sent with others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Split {
    /// With the earlier ones of a batch.
    FirstHalf,
    /// With the later ones.
    SecondHalf,
    /// By itself: it was in a digest.
    Singly,
}

impl Attempted {
    /// An attempt of which nothing is known yet: a success without a response.
    pub(crate) fn new(event_type: EventType) -> Self {
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
            split: None,
        }
    }

    /// An attempt to send this webhook an event that this component renders.
    pub(super) fn by(webhook: &Webhook, event: &Event, component: &Component) -> Self {
        let retry_count = webhook.config.retry_count;
        Self { retry_count, formatter: Some(component.reference().clone()), ..Self::new(event.event_type) }
    }

    /// The attempt of a destination that is not real: no formatter, no bytes.
    #[cfg(test)]
    pub(crate) fn simulated(
        webhook: &Webhook,
        event: &Event,
        status: Option<u16>,
        failure: Option<Failure>,
        split: Option<Split>,
    ) -> Self {
        let failure = failure.map(|failure| (failure, failure.class.as_str().to_owned()));
        Self { retry_count: webhook.config.retry_count, status, failure, split, ..Self::new(event.event_type) }
    }

    /// The attempt, rejected by us before anything was sent.
    pub(super) fn rejected(self, words: &str) -> Self {
        let class = ErrorClass::Formatter;
        Self { failure: Some((Failure::of(class), format!("{}: {words}", class.as_str()))), ..self }
    }

    /// The attempt, of which the formatter made no payload. Its words may quote the options.
    pub(super) fn unrendered(self, error: &RenderError, mask: &Mask<'_>) -> Self {
        let class = ErrorClass::Formatter;
        let failure = Failure { is_transient: !error.is_deterministic(), ..Failure::of(class) };
        Self { failure: Some((failure, mask.text(&format!("{}: {error}", class.as_str())))), ..self }
    }

    fn interrupted(event_type: EventType, duration: Duration) -> Self {
        let words = "interrupted: the host was stopped during this attempt; it is made again after the start";
        let failure = Some((Failure::of(ErrorClass::Interrupted), words.to_owned()));
        Self { failure, duration, ..Self::new(event_type) }
    }

    /// The line of the history. The store gives it its id, and the time of the next attempt, when it records it.
    pub(super) fn into_history(
        self,
        delivery: DeliveryId,
        event: Option<EventId>,
        attempt: u32,
        started: Timestamp,
    ) -> Attempt {
        Attempt {
            id: UNRECORDED,
            delivery_id: delivery,
            event_id: event,
            event_type: self.event_type.as_str().into(),
            attempt,
            success: self.failure.is_none(),
            status_code: self.status,
            error: self.failure.map(|(_, words)| words),
            duration_ms: u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX),
            response_excerpt: self.excerpt,
            formatter: self.formatter,
            note: self.note,
            is_test: false,
            next_attempt_at: None,
            created_at: started,
        }
    }

    /// The decision after this attempt, the `try_number`th of its round.
    fn step(&self, policy: &RetryPolicy, try_number: u32, jitter: f64) -> Step {
        match &self.failure {
            None => Step::Delivered,
            // The request failed, not the delivery: no retry is used up.
            Some(_) if self.split.is_some() => Step::Again { after: Duration::ZERO, counts: false },
            Some((failure, _)) => retry::after_failure(policy, self.retry_count, try_number, failure, jitter),
        }
    }
}

/// The outcomes that the store records of a finished attempt. One jitter serves for all of it: deliveries that failed together are
/// due again together, in one queue entry, and so go out together again.
pub(crate) fn outcomes(finished: Finished, policy: &RetryPolicy, now: Timestamp, jitter: f64) -> Vec<Outcome> {
    let Finished { webhook, started, results, .. } = finished;
    let mut outcomes = Vec::with_capacity(results.len());
    for AttemptResult { claim: Claim { item, event, .. }, ending, closes } in results {
        let requeue = Step::Again { after: Duration::ZERO, counts: false };
        let (mut split, mut sent) = (None, item.sent);
        let history =
            |attempted: Attempted| Some(attempted.into_history(item.delivery, Some(item.event), item.attempt, started));
        let (attempt, step) = match ending {
            Ending::Attempted(attempted) => {
                let step = attempted.step(policy, item.try_number(), jitter);
                split = attempted.split;
                sent = if split == Some(Split::Singly) { Sent::Alone } else { item.sent.again(attempted.pin) };
                (history(*attempted), step)
            }
            Ending::Skipped => (None, Step::Skipped),
            Ending::Gone => (None, Step::Dropped),
            // The lane stops until a formatter of that name is loaded.
            Ending::NotLoaded | Ending::Unsent => (None, requeue),
            Ending::Interrupted => match event {
                // It may have been accepted: whatever went out with it goes out with it again, under the same id.
                Some(event) => {
                    sent = item.sent.again(item.sent.pin());
                    (history(Attempted::interrupted(event.event_type, now.since(started))), requeue)
                }
                // Cut before its event was read: nothing was made of it.
                None => (None, requeue),
            },
        };
        // The halves of a split batch are two requests, so two groups.
        let group = u32::from(split == Some(Split::SecondHalf));
        outcomes.push(Outcome { webhook, item, attempt, step, sent, group, closes, probe: None });
    }
    outcomes
}
