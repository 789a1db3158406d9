//! Host events that webhooks want if an expression is true. The store's writer makes host events, and evaluates nothing: it
//! hands them out, and accepts them once they are judged.

use std::sync::Arc;

use crate::filter::{Expressions, Question, Words};
use crate::model::event::NewEvent;
use crate::store::Store;

/// Judges host events. Ends with the store.
pub(crate) async fn judge_host_events(store: Arc<Store>, expressions: Arc<Expressions>) {
    while let Some(event) = store.next_unjudged().await {
        judge(&store, &expressions, event).await;
    }
}

async fn judge(store: &Store, expressions: &Expressions, event: NewEvent) {
    let (Some(id), Some(occurred_at)) = (event.id, event.occurred_at) else { return };
    let table = store.webhooks();
    let webhooks = || table.expressions(event.event_type, event.severity, event.engagement_id.as_deref());
    let mut needed: Vec<Arc<str>> = webhooks().map(|(_, expression)| Arc::from(expression)).collect();
    needed.sort_unstable();
    needed.dedup();
    let question = Question {
        event_type: event.event_type.as_str(),
        id: id.to_string(),
        occurred_at: occurred_at.to_string(),
        severity: event.severity,
        json: event.json.clone(),
        expressions: needed,
    };
    let verdicts = expressions.judge(vec![question], Words::No).await.pop().unwrap_or_default();
    expressions.failures().count(webhooks().map(|(webhook, _)| &**webhook), &verdicts);
    store.judged(id, verdicts);
}
