//! Lists over everything: attempts of all webhooks, events. They are found by the indexes and then compared, one by one,
//! with what was asked for.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use super::engine::Engine;
use super::index::{Chunks, Index, Step, Walk, Wanted, place_of_attempt, place_of_event};
use super::read::ACCEPTED_WITHIN;
use super::record::{self, Damage};
use super::{
    AttemptSearch, AttemptsError, Embedded, EventSearch, EventView, FoundAttempt, Indexing, SearchPage, Start,
    StoreError, WebhookTable, keys,
};
use crate::model::delivery::Attempt;
use crate::model::event::{EventType, Searchable};
use crate::model::id::{AttemptId, EventId};

impl Embedded {
    pub(in crate::store) async fn search_attempts(
        &self,
        search: AttemptSearch,
    ) -> Result<SearchPage<FoundAttempt>, AttemptsError> {
        let indexing = self.indexing(Index::Attempts);
        let (engine, damage, table) = (Arc::clone(&self.engine), self.damage.clone(), self.webhooks());
        let page = tokio::task::spawn_blocking(move || attempts(&engine, &damage, &table, &search));
        let (found, more, keys_read) = page.await.map_err(|_| AttemptsError::Store(StoreError::Unavailable))??;
        Ok(SearchPage { found, more, indexing, keys_read })
    }

    pub(in crate::store) async fn search_events(
        &self,
        search: EventSearch,
    ) -> Result<SearchPage<EventView>, AttemptsError> {
        let indexing = self.indexing(Index::Events);
        let (engine, damage) = (Arc::clone(&self.engine), self.damage.clone());
        let page = tokio::task::spawn_blocking(move || events(&engine, &damage, &search));
        let (ids, more, keys_read) = page.await.map_err(|_| AttemptsError::Store(StoreError::Unavailable))??;
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            // What retention removes meanwhile is left out.
            found.extend(self.event(id)?);
        }
        Ok(SearchPage { found, more, indexing, keys_read })
    }

    fn indexing(&self, index: Index) -> Indexing {
        self.backfill.incomplete_before(index).map_or(Indexing::Whole, Indexing::Since)
    }

    /// Indexes one block of what an earlier format did not index; the name of its index and how many rows, `None` when
    /// everything is indexed.
    pub(in crate::store) async fn index_more(&self) -> Result<Option<(&'static str, usize)>, StoreError> {
        if self.backfill.is_done() {
            return Ok(None);
        }
        let (engine, source) = (Arc::clone(&self.engine), Arc::clone(&self.source));
        let step =
            tokio::task::spawn_blocking(move || source.lock().unwrap_or_else(PoisonError::into_inner).next(&engine));
        let Some(step) = step.await.map_err(|_| StoreError::Unavailable)?? else { return Ok(None) };
        let done = (step.name(), step.rows());
        let backfill = self.backfill.clone();
        self.manage(move |writer| writer.index_block(&step, &backfill)).await?;
        Ok(Some(done))
    }
}

impl super::Writer {
    fn index_block(&mut self, step: &Step, backfill: &super::Backfill) -> Result<(), StoreError> {
        let stamp = self.seq();
        if let Some(txn) = step.txn(&self.engine, stamp)? {
            self.write(&[Some(&txn)])?;
            step.written(backfill);
        }
        Ok(())
    }
}

/// A page: what was found, true if there is more, and how many keys of the index were read.
type Page<T> = (Vec<T>, bool, u64);

fn attempts(
    engine: &Engine,
    damage: &Damage,
    table: &WebhookTable,
    search: &AttemptSearch,
) -> Result<Page<FoundAttempt>, AttemptsError> {
    let mut wanted = Wanted::default();
    wanted.webhook(search.webhook);
    wanted.success(search.success);
    wanted.class(search.class);
    wanted.status(search.status_code);
    wanted.event_type(search.event_type);
    wanted.event(search.event);
    wanted.about(search.engagement_id.as_deref(), search.finding_id.as_deref());
    wanted.times(search.since, search.until);
    let from = match search.start {
        Start::Newest => None,
        Start::Before(id) | Start::After(id) => Some((place_of_attempt(id), *id.as_bytes())),
    };
    let backwards = !matches!(search.start, Start::After(_));
    let mut walk = Walk { engine, damage, index: Index::Attempts, wanted, backwards, from, keys_read: 0 };
    let is_cursor = match search.start {
        Start::Newest => true,
        Start::Before(_) => walk.has_beginning()?,
        // Who reads forward goes on when the attempt that was last is gone with its webhook.
        Start::After(id) => id.made_at().is_some() || walk.has_beginning()?,
    };
    if !is_cursor {
        return Err(AttemptsError::BadCursor);
    }
    let mut chunks = Chunks { engine, last: None };
    let mut events = About { engine, known: HashMap::new() };
    let mut found = Vec::new();
    walk.run(&mut |candidate| {
        let id = AttemptId::from_bytes(candidate.id);
        // The history of a deleted webhook is removed bit by bit.
        if table.get(candidate.webhook).is_none() {
            return Ok(true);
        }
        let Some(attempt) = chunks.attempt(candidate.webhook, id)? else { return Ok(true) };
        if fits(&attempt, search) && events.fit(attempt.event_id, search)? {
            found.push(FoundAttempt { webhook: candidate.webhook, attempt });
        }
        Ok(found.len() <= search.limit)
    })?;
    let more = found.len() > search.limit;
    found.truncate(search.limit);
    Ok((found, more, walk.keys_read))
}

/// True if an attempt is what was asked for, its event's content aside.
fn fits(attempt: &Attempt, search: &AttemptSearch) -> bool {
    search.success.is_none_or(|success| attempt.success == success)
        && search.class.is_none_or(|class| attempt.error_class() == Some(class))
        && search.status_code.is_none_or(|status| attempt.status_code == Some(status))
        && search.event_type.is_none_or(|event_type| attempt.event_type == event_type.as_str())
        && search.event.is_none_or(|event| attempt.event_id == Some(event))
        && search.since.is_none_or(|since| attempt.created_at >= since)
        && search.until.is_none_or(|until| attempt.created_at <= until)
}

/// The members that searches go by, of the events of a page.
struct About<'a> {
    engine: &'a Engine,
    known: HashMap<EventId, Option<Searchable>>,
}

impl About<'_> {
    /// True if an attempt's event is about what was asked for. An event that the limit by count has removed is taken at
    /// its hash.
    fn fit(&mut self, event: Option<EventId>, search: &AttemptSearch) -> Result<bool, StoreError> {
        if search.engagement_id.is_none() && search.finding_id.is_none() {
            return Ok(true);
        }
        let Some(event) = event else { return Ok(false) };
        if !self.known.contains_key(&event) {
            let known = self.engine.get(&keys::event(event))?.and_then(|bytes| record::unpack_event(&bytes).ok());
            self.known.insert(event, known.map(|known| Searchable::of(known.event_type, &known.json)));
        }
        let known = self.known.get(&event).and_then(Option::as_ref);
        Ok(known.is_none_or(|known| is_about(known, search.engagement_id.as_ref(), search.finding_id.as_ref())))
    }
}

fn is_about(found: &Searchable, engagement_id: Option<&String>, finding_id: Option<&String>) -> bool {
    engagement_id.is_none_or(|wanted| found.engagement_id.as_ref() == Some(wanted))
        && finding_id.is_none_or(|wanted| found.finding_id.as_ref() == Some(wanted))
}

fn events(engine: &Engine, damage: &Damage, search: &EventSearch) -> Result<Page<EventId>, AttemptsError> {
    let mut wanted = Wanted::default();
    wanted.event_type(search.event_type);
    wanted.least(search.min_severity);
    wanted.about(search.engagement_id.as_deref(), search.finding_id.as_deref());
    wanted.times(search.since, search.until);
    let from = match search.before {
        None => None,
        Some(id) => {
            let known = engine.get(&keys::event(id)).map_err(AttemptsError::Store)?;
            let known = known.and_then(|bytes| record::unpack_event(&bytes).ok()).ok_or(AttemptsError::BadCursor)?;
            let place = place_of_event(engine, id, known.accepted_at, ACCEPTED_WITHIN)?;
            Some((place.ok_or(AttemptsError::BadCursor)?, *id.as_bytes()))
        }
    };
    let mut walk = Walk { engine, damage, index: Index::Events, wanted, backwards: true, from, keys_read: 0 };
    let mut found = Vec::new();
    walk.run(&mut |candidate| {
        let id = EventId::from_bytes(candidate.id);
        let known = engine.get(&keys::event(id))?.and_then(|bytes| record::unpack_event(&bytes).ok());
        let fits = known.is_some_and(|known| {
            let is_type = |event_type: EventType| known.event_type == event_type;
            let about = Searchable::of(known.event_type, &known.json);
            search.event_type.is_none_or(is_type)
                && search.min_severity.is_none_or(|least| about.severity.is_some_and(|severity| severity >= least))
                && search.since.is_none_or(|since| known.accepted_at >= since)
                && search.until.is_none_or(|until| known.accepted_at <= until)
                && is_about(&about, search.engagement_id.as_ref(), search.finding_id.as_ref())
        });
        if fits {
            found.push(id);
        }
        Ok(found.len() <= search.limit)
    })?;
    let more = found.len() > search.limit;
    found.truncate(search.limit);
    Ok((found, more, walk.keys_read))
}
