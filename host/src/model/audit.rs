//! Entries of the audit log: the actor, the action, its target and the changed fields.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::id::{AuditId, TokenId, WebhookId};
use super::time::Timestamp;
use super::token::Token;
use super::webhook::{Filter, Webhook};

/// The actor of a change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Actor {
    /// The bearer of a token.
    Token {
        /// The token's id.
        #[schema(value_type = uuid::Uuid)]
        id: TokenId,
        /// The token's name at that time.
        name: String,
    },
    /// The host itself, as when the breaker switches a webhook off.
    Host,
    /// An operator, with a command on a stopped host.
    CommandLine,
}

impl From<&Token> for Actor {
    fn from(token: &Token) -> Self {
        Self::Token { id: token.id, name: token.name.clone() }
    }
}

/// The action of an entry. The names are under the entry's authentication code, so they never change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub enum Action {
    /// A webhook was made.
    #[serde(rename = "webhook.created")]
    WebhookCreated,
    /// A webhook's configuration was changed, or it was switched on or off.
    #[serde(rename = "webhook.updated")]
    WebhookUpdated,
    /// A webhook was deleted.
    #[serde(rename = "webhook.deleted")]
    WebhookDeleted,
    /// The breaker or the destination switched a webhook off.
    #[serde(rename = "webhook.disabled")]
    WebhookDisabled,
    /// A webhook has a new secret.
    #[serde(rename = "webhook.secret_rotated")]
    SecretRotated,
    /// Failed and held deliveries were queued again.
    #[serde(rename = "webhook.recovered")]
    WebhookRecovered,
    /// One delivery was made again.
    #[serde(rename = "delivery.redelivered")]
    Redelivered,
    /// A token was made.
    #[serde(rename = "token.created")]
    TokenCreated,
    /// A token was deleted.
    #[serde(rename = "token.deleted")]
    TokenDeleted,
    /// A formatter was uploaded.
    #[serde(rename = "formatter.installed")]
    FormatterInstalled,
    /// Another version of a formatter was activated.
    #[serde(rename = "formatter.activated")]
    FormatterActivated,
    /// The version from before was activated again.
    #[serde(rename = "formatter.rolled_back")]
    FormatterRolledBack,
    /// An uploaded formatter was deleted.
    #[serde(rename = "formatter.deleted")]
    FormatterDeleted,
    /// The store was exported.
    #[serde(rename = "store.exported")]
    StoreExported,
    /// The store was made from an export.
    #[serde(rename = "store.imported")]
    StoreImported,
}

/// The target of an action.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Target {
    /// `webhook`, `token`, `formatter`, `delivery` or `store`.
    pub r#type: String,
    /// Its id; a formatter's is its name.
    pub id: String,
    /// Its name at that time; null when it has no name of its own.
    pub name: Option<String>,
}

/// One field's change. A secret field has neither value.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FieldChange {
    /// The field.
    pub field: String,
    /// Its value before, when it had one that may be shown.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub from: Value,
    /// Its value now, when it has one that may be shown.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub to: Value,
}

/// A change, before it has an entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AuditEvent {
    /// The actor.
    pub actor: Actor,
    /// The action.
    pub action: Action,
    /// The target.
    pub target: Target,
    /// The changed fields.
    pub changes: Vec<FieldChange>,
}

/// One line of the audit log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditEntry {
    /// The entry's id; a page's `before` takes it.
    #[schema(value_type = uuid::Uuid)]
    pub id: AuditId,
    /// The entry's number, from 1, without gaps.
    pub sequence: u64,
    /// The actor of the change.
    pub actor: Actor,
    /// The action.
    pub action: Action,
    /// The target of the action.
    pub target: Target,
    /// The changed fields.
    pub changes: Vec<FieldChange>,
    /// The time of the change.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl AuditEvent {
    /// A change of a webhook.
    pub fn webhook(actor: Actor, action: Action, id: WebhookId, name: &str, changes: Vec<FieldChange>) -> Self {
        let target = Target { r#type: "webhook".into(), id: id.to_string(), name: Some(name.to_owned()) };
        Self { actor, action, target, changes }
    }

    /// A change of a token.
    pub fn token(actor: Actor, action: Action, token: &Token) -> Self {
        let target = Target { r#type: "token".into(), id: token.id.to_string(), name: Some(token.name.clone()) };
        let changes = if action == Action::TokenCreated {
            vec![FieldChange::to("role", token.role.as_str())]
        } else {
            Vec::new()
        };
        Self { actor, action, target, changes }
    }

    /// A change of a formatter.
    pub fn formatter(actor: Actor, action: Action, name: &str, changes: Vec<FieldChange>) -> Self {
        let target = Target { r#type: "formatter".into(), id: name.to_owned(), name: Some(name.to_owned()) };
        Self { actor, action, target, changes }
    }

    /// An action on the whole store.
    pub fn store(actor: Actor, action: Action) -> Self {
        let target = Target { r#type: "store".into(), id: "store".into(), name: None };
        Self { actor, action, target, changes: Vec::new() }
    }

    /// The same with these values of its own.
    #[must_use]
    pub fn with(self, changes: Vec<FieldChange>) -> Self {
        Self { changes, ..self }
    }
}

impl FieldChange {
    /// A field with a value that it did not have before.
    pub fn to(field: &str, to: impl Into<Value>) -> Self {
        Self { field: field.to_owned(), from: Value::Null, to: to.into() }
    }

    /// A field whose values are not logged.
    pub fn secret(field: &str) -> Self {
        Self { field: field.to_owned(), from: Value::Null, to: Value::Null }
    }
}

/// The differences between a webhook's old and new state. URLs, secrets, headers and options may hold credentials: of
/// those only the field is named.
pub fn differences(old: &Webhook, new: &Webhook) -> Vec<FieldChange> {
    let (a, b) = (&old.config, &new.config);
    let mut changes = Vec::new();
    let mut shown = |field: &str, from: Value, to: Value| {
        if from != to {
            changes.push(FieldChange { field: field.to_owned(), from, to });
        }
    };
    shown("name", a.name.as_str().into(), b.name.as_str().into());
    shown("event_types", a.event_types.names().into(), b.event_types.names().into());
    shown("format", a.format.as_str().into(), b.format.as_str().into());
    shown("filter", filter(&a.filter), filter(&b.filter));
    shown("critical_once", a.critical_once.into(), b.critical_once.into());
    shown("order", a.order.as_str().into(), b.order.as_str().into());
    shown("rate_limit", serde_json::json!(a.rate_limit), serde_json::json!(b.rate_limit));
    shown("tls", serde_json::json!(a.tls), serde_json::json!(b.tls));
    shown("batch", serde_json::json!(a.batch), serde_json::json!(b.batch));
    shown("digest", serde_json::json!(a.digest), serde_json::json!(b.digest));
    shown("retry_count", a.retry_count.into(), b.retry_count.into());
    shown("timeout_ms", a.timeout_ms.into(), b.timeout_ms.into());
    shown("is_active", old.activity.is_active().into(), new.activity.is_active().into());
    let hidden = [
        ("url", a.url != b.url),
        ("secret", a.secret != b.secret),
        ("format_options", a.format_options != b.format_options),
        ("headers", a.headers != b.headers),
    ];
    changes.extend(hidden.iter().filter(|(_, differs)| *differs).map(|(field, _)| FieldChange::secret(field)));
    changes
}

fn filter(filter: &Filter) -> Value {
    serde_json::json!({
        "min_severity": filter.min_severity.map(super::event::Severity::as_str),
        "engagement_ids": filter.engagement_ids,
        "expression": filter.expression,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry's text is covered by its authentication code: what an older host wrote has to be read, and read alike.
    #[test]
    fn stored_entries_read_as_before() {
        let actions = [
            (Action::WebhookCreated, "webhook.created"),
            (Action::WebhookUpdated, "webhook.updated"),
            (Action::WebhookDeleted, "webhook.deleted"),
            (Action::WebhookDisabled, "webhook.disabled"),
            (Action::SecretRotated, "webhook.secret_rotated"),
            (Action::WebhookRecovered, "webhook.recovered"),
            (Action::Redelivered, "delivery.redelivered"),
            (Action::TokenCreated, "token.created"),
            (Action::TokenDeleted, "token.deleted"),
            (Action::FormatterInstalled, "formatter.installed"),
            (Action::FormatterActivated, "formatter.activated"),
            (Action::FormatterRolledBack, "formatter.rolled_back"),
            (Action::FormatterDeleted, "formatter.deleted"),
            (Action::StoreExported, "store.exported"),
            (Action::StoreImported, "store.imported"),
        ];
        for (action, name) in actions {
            assert_eq!(serde_json::to_string(&action).expect("encoded"), format!("\"{name}\""));
            assert_eq!(serde_json::from_str::<Action>(&format!("\"{name}\"")).expect("decoded"), action);
        }
        let actors = [r#"{"type":"host"}"#, r#"{"type":"command_line"}"#];
        assert_eq!(
            [Actor::Host, Actor::CommandLine].map(|actor| serde_json::to_string(&actor).expect("encoded")),
            actors
        );
        let stored = concat!(
            r#"{"id":"01020304-0506-7708-890a-0b0c0d0e0f10","sequence":7,"#,
            r#""actor":{"type":"token","id":"01020304-0506-7708-890a-0b0c0d0e0f11","name":"admin"},"#,
            r#""action":"webhook.updated","#,
            r#""target":{"type":"webhook","id":"01020304-0506-7708-890a-0b0c0d0e0f12","name":"team"},"#,
            r#""changes":[{"field":"retry_count","from":3,"to":5},{"field":"secret"}],"#,
            r#""created_at":"2026-11-17T10:12:45.120Z"}"#,
        );
        let entry: AuditEntry = serde_json::from_str(stored).expect("an entry");
        assert_eq!(serde_json::to_string(&entry).expect("encoded"), stored);
    }
}
