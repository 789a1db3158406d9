//! Verdicts of webhooks' filter expressions on posted events, before the store accepts them.

use std::sync::Arc;

use crate::api::state::Shared;
use crate::filter::{Expressions, Question, Words};
use crate::model::event::{Event, EventType, NewEvent, Searchable};
use crate::model::id::EventId;
use crate::model::time::Timestamp;
use crate::model::webhook::expression::Verdicts;
use crate::store::{AcceptError, Acceptance, Accepted, EventVerdicts, WebhookTable};

/// Judges events and has the store accept them. Should a webhook with an expression be added or changed in between, they
/// are judged again.
///
/// # Errors
/// [`AcceptError`]
pub(super) async fn accept(api: &Shared, mut acceptance: Acceptance) -> Result<Vec<Accepted>, AcceptError> {
    loop {
        let table = api.store.webhooks();
        if table.has_expressions() {
            let (events, now) = (&mut acceptance.events, api.clock.now());
            acceptance.verdicts = judge(&api.expressions, &table, events, now, Words::No).await;
            count_failures(api, &table, &acceptance);
        }
        match api.store.accept(acceptance).await {
            Err(AcceptError::Unjudged(again)) => acceptance = *again,
            result => return result,
        }
    }
}

/// The verdicts of these expressions on each of these events, in the order of the events, with the values that decided.
pub(in crate::api) async fn verdicts(api: &Shared, events: &[Event], expressions: &[&str]) -> Vec<Verdicts> {
    if expressions.is_empty() {
        return vec![Verdicts::default(); events.len()];
    }
    let expressions: Vec<Arc<str>> = expressions.iter().map(|expression| Arc::from(*expression)).collect();
    let question = |event: &Event| Question {
        event_type: event.event_type.as_str(),
        id: event.id.to_string(),
        occurred_at: event.occurred_at.to_string(),
        severity: Searchable::of(event.event_type, &event.json).severity,
        json: event.json.clone(),
        expressions: expressions.clone(),
    };
    api.expressions.judge(events.iter().map(question).collect(), Words::Yes).await
}

/// The verdicts of the expressions that decide to which webhooks each of these events goes, and the one that is derived
/// from it. What is judged gets the id and the time that it is accepted with: expressions see both.
pub(super) async fn judge(
    expressions: &Expressions,
    table: &WebhookTable,
    events: &mut [NewEvent],
    now: Timestamp,
    words: Words,
) -> Vec<EventVerdicts> {
    let mut asked = Asked { questions: Vec::new(), places: Vec::new() };
    let mut verdicts = vec![EventVerdicts::default(); events.len()];
    for (index, event) in events.iter_mut().enumerate() {
        let own = needed(table, event, event.event_type);
        let derives = event.derives().map(|derives| (derives, needed(table, event, derives)));
        let derives = derives.filter(|(_, expressions)| !expressions.is_empty());
        if own.is_empty() && derives.is_none() {
            continue;
        }
        let id = *event.id.get_or_insert_with(EventId::generate);
        event.occurred_at.get_or_insert(now);
        if !own.is_empty() {
            asked.add(event, event.event_type, id, own, (index, false));
        }
        if let Some((event_type, expressions)) = derives {
            let derived_id = EventId::generate();
            verdicts[index].derived = Some((derived_id, Verdicts::default()));
            // It has the data and the engagement of the one that it is derived from.
            asked.add(event, event_type, derived_id, expressions, (index, true));
        }
    }
    if asked.questions.is_empty() {
        return Vec::new();
    }
    let judged = expressions.judge(asked.questions, words).await;
    for ((index, is_derived), judged) in asked.places.into_iter().zip(judged) {
        match &mut verdicts[index].derived {
            Some((_, derived)) if is_derived => *derived = judged,
            _ => verdicts[index].own = judged,
        }
    }
    verdicts
}

/// Questions, with the event that each is about, and whether it is about the derived one.
struct Asked {
    questions: Vec<Question>,
    places: Vec<(usize, bool)>,
}

impl Asked {
    fn add(
        &mut self,
        event: &NewEvent,
        event_type: EventType,
        id: EventId,
        expressions: Vec<Arc<str>>,
        place: (usize, bool),
    ) {
        self.questions.push(Question {
            event_type: event_type.as_str(),
            id: id.to_string(),
            occurred_at: event.occurred_at.map(|at| at.to_string()).unwrap_or_default(),
            severity: event.severity,
            json: event.json.clone(),
            expressions,
        });
        self.places.push(place);
    }
}

/// The expressions that decide to which webhooks the event goes if it is of this type, each once.
fn needed(table: &WebhookTable, event: &NewEvent, event_type: EventType) -> Vec<Arc<str>> {
    let expressions = table.expressions(event_type, event.severity, event.engagement_id.as_deref());
    let mut expressions: Vec<&str> = expressions.map(|(_, expression)| expression).collect();
    expressions.sort_unstable();
    expressions.dedup();
    expressions.into_iter().map(Arc::from).collect()
}

/// Counts the expressions that failed, and remembers the reasons for the webhooks' views.
fn count_failures(api: &Shared, table: &WebhookTable, acceptance: &Acceptance) {
    for (event, EventVerdicts { own, derived }) in acceptance.events.iter().zip(&acceptance.verdicts) {
        let derived = derived.as_ref().map(|(_, verdicts)| verdicts);
        for (event_type, verdicts) in [(Some(event.event_type), Some(own)), (event.derives(), derived)] {
            let (Some(event_type), Some(verdicts)) = (event_type, verdicts) else { continue };
            let expressions = table.expressions(event_type, event.severity, event.engagement_id.as_deref());
            api.expressions.failures().count(expressions.map(|(webhook, _)| &**webhook), verdicts);
        }
    }
}
