//! Reads of the API: events with their deliveries, the history, the audit log. They do not pass the writer.

use std::sync::Arc;

use super::engine::Engine;
use super::record::{self, Damage, EventRecord, Further, Progress, Slot, SlotState};
use super::{AttemptPage, AttemptQuery, AttemptsError, Embedded, EventView, StoreError, audit, keys};
use crate::model::audit::AuditEntry;
use crate::model::delivery::{Attempt, DeliveryView, Status};
use crate::model::event::Event;
use crate::model::id::{AuditId, DeliveryId, EventId, WebhookId};

/// The most time between the making of a delivery's id and the end of the commit that accepts it.
pub(super) const ACCEPTED_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

impl Embedded {
    pub(in crate::store) fn event_plain(&self, id: EventId) -> Result<Option<Event>, StoreError> {
        Ok(self.event_record(id)?.map(|record| into_event(id, record)))
    }

    pub(in crate::store) fn event(&self, id: EventId) -> Result<Option<EventView>, StoreError> {
        // Before the event: a checkpoint may join them to its record.
        let states = match self.engine.get(&keys::state(id))? {
            Some(bytes) => self.decoded(record::unpack::<Vec<SlotState>>(&bytes).ok(), "delivery states"),
            None => None,
        };
        let Some(record) = self.event_record(id)? else { return Ok(None) };
        let states = states.unwrap_or_else(|| record.states());
        let further = if states.len() > record.slots.len() { self.further(id)? } else { Vec::new() };
        let own = record.slots.iter().map(|slot| (slot, None));
        let slots = own.chain(further.iter().map(|further| (&further.slot, Some(further.redelivery_of))));
        let table = self.webhooks();
        let deliveries = slots.zip(states).map(|((slot, redelivery_of), state)| {
            let webhook = table.get(slot.webhook);
            let status = match (state.progress, webhook) {
                (Progress::Delivered, _) => Status::Delivered,
                (Progress::Failed, _) => Status::Failed,
                (Progress::Skipped, _) => Status::Skipped,
                (Progress::Waiting, None) => Status::Cancelled,
                (Progress::Waiting, Some(webhook))
                    if webhook.activity.is_active() && webhook.activation == state.activation =>
                {
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
                redelivery_of,
            }
        });
        let deliveries = deliveries.collect();
        let (token, derived) = (record.token, record.derived.clone());
        Ok(Some(EventView { token, event: into_event(id, record), deliveries, derived }))
    }

    pub(in crate::store) async fn attempts(
        &self,
        webhook: WebhookId,
        query: AttemptQuery,
    ) -> Result<AttemptPage, AttemptsError> {
        let (engine, damage) = (Arc::clone(&self.engine), self.damage.clone());
        let page = tokio::task::spawn_blocking(move || page(&engine, webhook, query, &damage));
        page.await.map_err(|_| AttemptsError::Store(StoreError::Unavailable))?
    }

    pub(in crate::store) async fn audit_page(
        &self,
        limit: usize,
        before: Option<AuditId>,
    ) -> Result<Option<(Vec<AuditEntry>, bool)>, StoreError> {
        let engine = Arc::clone(&self.engine);
        let page = tokio::task::spawn_blocking(move || audit::page(&engine, limit, before));
        page.await.map_err(|_| StoreError::Unavailable)?
    }

    /// An event's redeliveries, in order.
    fn further(&self, event: EventId) -> Result<Vec<Further>, StoreError> {
        let mut further = Vec::new();
        self.engine.scan_prefix(&keys::further_prefix(event), None, |_, value| {
            further.extend(self.decoded(record::unpack::<Further>(value).ok(), "redelivery"));
            true
        })?;
        Ok(further)
    }

    /// The event that a delivery to this webhook belongs to.
    pub(in crate::store) async fn find_delivery(
        &self,
        webhook: WebhookId,
        delivery: DeliveryId,
    ) -> Result<Option<EventId>, StoreError> {
        let (engine, damage) = (Arc::clone(&self.engine), self.damage.clone());
        let found = tokio::task::spawn_blocking(move || find_delivery(&engine, webhook, delivery, &damage));
        found.await.map_err(|_| StoreError::Unavailable)?
    }

    fn event_record(&self, id: EventId) -> Result<Option<EventRecord<'static>>, StoreError> {
        let Some(bytes) = self.engine.get(&keys::event(id))? else { return Ok(None) };
        Ok(self.decoded(record::unpack_event(&bytes).ok(), "event"))
    }

    fn decoded<T>(&self, value: Option<T>, what: &'static str) -> Option<T> {
        if value.is_none() {
            self.damage.skipped(what);
        }
        value
    }
}

fn into_event(id: EventId, record: EventRecord<'_>) -> Event {
    Event {
        id,
        event_type: record.event_type,
        occurred_at: record.occurred_at,
        accepted_at: record.accepted_at,
        caused_by: record.caused_by,
        json: record.json.into_owned(),
    }
}

/// Deliveries have no index, which each of them would have to pay for. A redelivery has one; any other delivery is
/// looked for among the events that were accepted when its id was made, and then in the history.
fn find_delivery(
    engine: &Engine,
    webhook: WebhookId,
    delivery: DeliveryId,
    damage: &Damage,
) -> Result<Option<EventId>, StoreError> {
    let is_it = |slot: &Slot| slot.delivery == delivery && slot.webhook == webhook;
    if let Some(bytes) = engine.get(&keys::redelivery(delivery))? {
        let Ok((event, slot)) = record::unpack::<(EventId, u32)>(&bytes) else {
            damage.skipped("redelivery index");
            return Ok(None);
        };
        let further = engine.get(&keys::further(event, slot))?;
        let further = further.and_then(|bytes| record::unpack::<Further>(&bytes).ok());
        return Ok(further.filter(|further| is_it(&further.slot)).map(|_| event));
    }
    if let Some(made) = delivery.made_at() {
        let end = keys::timed_end(keys::ACCEPTED, made.plus(ACCEPTED_WITHIN).unix_ms());
        let mut groups = Vec::new();
        engine.scan(&keys::timed_end(keys::ACCEPTED, made.unix_ms()), false, |key, value| {
            groups.extend(record::unpack_listed(value).ok().filter(|_| key < end.as_slice()));
            key < end.as_slice()
        })?;
        for (_, event) in groups.into_iter().flatten() {
            let known = engine.get(&keys::event(event))?;
            let known = known.and_then(|bytes| record::unpack_event(&bytes).ok());
            if known.is_some_and(|known| known.slots.iter().any(is_it)) {
                return Ok(Some(event));
            }
        }
    }
    let mut found = None;
    engine.scan_prefix(&keys::attempts_prefix(webhook), None, |_, value| {
        let attempts = record::unpack_attempts(value).unwrap_or_default();
        found = attempts.iter().find(|attempt| attempt.delivery_id == delivery).and_then(|attempt| attempt.event_id);
        found.is_none()
    })?;
    Ok(found)
}

fn page(
    engine: &Engine,
    webhook: WebhookId,
    query: AttemptQuery,
    damage: &Damage,
) -> Result<AttemptPage, AttemptsError> {
    let prefix = keys::attempts_prefix(webhook);
    let from = match query.before {
        // The chunk that it is in begins with it or with an earlier attempt.
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
            damage.skipped("attempts");
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
        // The cursor is in the first chunk or nowhere.
        known && attempts.len() <= query.limit
    })?;
    if !known {
        return Err(AttemptsError::BadCursor);
    }
    let more = attempts.len() > query.limit;
    attempts.truncate(query.limit);
    Ok(AttemptPage { attempts, more })
}
