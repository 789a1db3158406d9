//! What readers of the API ask for.

use super::record::{self, EventRecord, Progress, SlotState};
use super::{EventView, Store, StoreError, keys};
use crate::model::delivery::{Attempt, DeliveryView, Status};
use crate::model::event::{Event, EventType};
use crate::model::id::{AttemptId, EventId, WebhookId};

/// Which attempts of a webhook are asked for.
#[derive(Clone, Copy, Debug)]
pub struct AttemptQuery {
    /// At most so many.
    pub limit: usize,
    /// Only those before this one.
    pub before: Option<AttemptId>,
    /// Only those that succeeded, or only those that did not.
    pub success: Option<bool>,
    /// Only those of events of this type.
    pub event_type: Option<EventType>,
}

/// A page of a webhook's history.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptPage {
    /// Newest first.
    pub attempts: Vec<Attempt>,
    /// Whether older ones follow.
    pub more: bool,
}

/// Why there is no page.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttemptsError {
    /// No attempt of this webhook has the id that was given as `before`.
    #[error("no such attempt")]
    BadCursor,
    /// The store could not read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// An event without its deliveries.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn plain_event(&self, id: EventId) -> Result<Option<Event>, StoreError> {
        Ok(self.event_record(id)?.map(|record| into_event(id, record)))
    }

    /// An event with where its deliveries stand.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn event(&self, id: EventId) -> Result<Option<EventView>, StoreError> {
        let Some(record) = self.event_record(id)? else { return Ok(None) };
        let states = match self.engine.get(&keys::state(id))? {
            Some(bytes) => self.decoded(record::unpack::<Vec<SlotState>>(&bytes).ok(), "delivery states"),
            None => None,
        };
        let states = states.unwrap_or_else(|| record::initial_states(&record));
        let table = self.webhooks();
        let deliveries = record.slots.iter().zip(states).map(|(slot, state)| {
            let webhook = table.get(slot.webhook);
            let status = match (state.progress, webhook) {
                (Progress::Delivered, _) => Status::Delivered,
                (Progress::Failed, _) => Status::Failed,
                (Progress::Skipped, _) => Status::Skipped,
                (Progress::Waiting, None) => Status::Cancelled,
                (Progress::Waiting, Some(webhook)) if webhook.activity.is_active() && webhook.epoch == state.epoch => {
                    Status::Pending
                }
                (Progress::Waiting, Some(_)) => Status::Held,
            };
            DeliveryView {
                id: slot.delivery,
                webhook_id: slot.webhook,
                status,
                attempts: state.attempts,
                next_attempt_at: state.next_attempt_at.filter(|_| status == Status::Pending),
            }
        });
        let deliveries = deliveries.collect();
        Ok(Some(EventView { token: record.token, event: into_event(id, record), deliveries }))
    }

    /// A page of a webhook's history.
    ///
    /// # Errors
    /// [`AttemptsError`].
    pub async fn attempts(&self, webhook: WebhookId, query: AttemptQuery) -> Result<AttemptPage, AttemptsError> {
        let engine = std::sync::Arc::clone(&self.engine);
        let damaged = std::sync::Arc::clone(&self.damaged);
        let page = tokio::task::spawn_blocking(move || page(&engine, webhook, query, &damaged));
        page.await.map_err(|_| AttemptsError::Store(StoreError::Unavailable))?
    }

    fn event_record(&self, id: EventId) -> Result<Option<EventRecord>, StoreError> {
        let Some(bytes) = self.engine.get(&keys::event(id))? else { return Ok(None) };
        Ok(self.decoded(record::unpack(&bytes).ok(), "event"))
    }

    fn decoded<T>(&self, value: Option<T>, what: &'static str) -> Option<T> {
        if value.is_none() {
            self.damaged.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tracing::error!(what, "a damaged record was found in the store and is stepped over");
        }
        value
    }
}

fn into_event(id: EventId, record: EventRecord) -> Event {
    Event {
        id,
        event_type: record.event_type,
        occurred_at: record.occurred_at,
        accepted_at: record.accepted_at,
        caused_by: record.caused_by,
        json: record.json,
    }
}

fn page(
    engine: &super::Engine,
    webhook: WebhookId,
    query: AttemptQuery,
    damaged: &std::sync::atomic::AtomicU64,
) -> Result<AttemptPage, AttemptsError> {
    let prefix = keys::attempts_prefix(webhook);
    let from = match query.before {
        // The chunk that holds it begins with it or with an earlier one.
        Some(before) => [keys::attempts(webhook, before), vec![0]].concat(),
        None => [prefix.clone(), vec![0xff; 17]].concat(),
    };
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut known = query.before.is_none();
    engine.scan(&from, true, |key, value| {
        if !key.starts_with(&prefix) {
            return false;
        }
        let Ok(chunk) = record::unpack_attempts(value) else {
            damaged.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tracing::error!(what = "attempts", "a damaged record was found in the store and is stepped over");
            known = true;
            return true;
        };
        for attempt in chunk.into_iter().rev() {
            if query.before.is_some_and(|before| attempt.id >= before) {
                known |= query.before == Some(attempt.id);
                continue;
            }
            let wanted = query.success.is_none_or(|success| attempt.success == success)
                && query.event_type.is_none_or(|event_type| attempt.event_type == event_type.as_str());
            if wanted {
                attempts.push(attempt);
            }
        }
        // The first chunk is where the cursor stands, or nowhere.
        known && attempts.len() <= query.limit
    })?;
    if !known {
        return Err(AttemptsError::BadCursor);
    }
    let more = attempts.len() > query.limit;
    attempts.truncate(query.limit);
    Ok(AttemptPage { attempts, more })
}
