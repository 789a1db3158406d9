//! Expressions that failed: counted by webhook, and the last reason of each, for people.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::id::WebhookId;
use crate::model::webhook::Webhook;
use crate::model::webhook::expression::{ExpressionVerdict, Verdicts};
use crate::telemetry::Telemetry;

/// Webhooks whose last failure is kept. There are rarely more webhooks than that, let alone such ones.
const KEPT: usize = 10_000;

/// Failures since the start.
pub struct Failures {
    telemetry: Arc<Telemetry>,
    last: Mutex<HashMap<WebhookId, Failure>>,
}

/// A webhook's last failure.
struct Failure {
    /// The expression that failed: another one has not.
    expression: String,
    reason: String,
}

impl Failures {
    pub(super) fn new(telemetry: Arc<Telemetry>) -> Self {
        Self { telemetry, last: Mutex::default() }
    }

    /// Counts the failures among the verdicts on an event that would go to these webhooks.
    pub fn count<'a>(&self, webhooks: impl Iterator<Item = &'a Webhook>, verdicts: &Verdicts) {
        if !verdicts.has_failed() {
            return;
        }
        for webhook in webhooks {
            let Some(expression) = webhook.config.filter.expression.as_deref() else { continue };
            let Some(ExpressionVerdict::Failed { reason }) = verdicts.get(expression) else { continue };
            self.telemetry.expression_failed(webhook.id);
            let mut last = self.last();
            if last.len() >= KEPT && !last.contains_key(&webhook.id) {
                last.clear();
            }
            match last.get_mut(&webhook.id) {
                Some(known) if known.expression == expression => reason.clone_into(&mut known.reason),
                _ => {
                    tracing::warn!(
                        webhook = %webhook.id, name = webhook.config.name, reason,
                        "a webhook's expression fails on an event, which passes; correct the expression"
                    );
                    let failure = Failure { expression: expression.to_owned(), reason: reason.clone() };
                    last.insert(webhook.id, failure);
                }
            }
        }
    }

    /// The last failure of a webhook's expression in words; `None` if it did not fail since the start.
    pub fn last_of(&self, webhook: &Webhook) -> Option<String> {
        let last = self.last();
        let failure = last.get(&webhook.id)?;
        let is_current = webhook.config.filter.expression.as_deref() == Some(failure.expression.as_str());
        is_current.then(|| failure.reason.clone())
    }

    fn last(&self) -> MutexGuard<'_, HashMap<WebhookId, Failure>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
