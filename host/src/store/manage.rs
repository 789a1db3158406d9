//! Webhooks, tokens and settings: few, kept in memory, each change a commit of its own.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::engine::Txn;
use super::record::Counts;
use super::vault::Vault;
use super::writer::Writer;
use super::{Rotated, StoreError, Updated, keys, record};
use crate::model::audit::{self, Action, Actor, AuditEvent, FieldChange};
use crate::model::event::{EventType, Severity};
use crate::model::id::{TokenId, WebhookId};
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::model::token::{Role, Token};
use crate::model::url::DeliveryUrl;
use crate::model::webhook::{
    Activity, Batch, Filter, Health, HealthValues, OldSecret, RateLimit, Subscription, TlsNames, Webhook, WebhookConfig,
};

/// Secrets of one webhook that may sign beside the newest.
const MAX_OLD_SECRETS: usize = 4;

/// A webhook on the disk. What would let a reader in or speak in our name is sealed.
#[derive(Serialize, Deserialize)]
struct WebhookRecord {
    name: String,
    url: Vec<u8>,
    secret: Option<Vec<u8>>,
    /// Empty: every type.
    event_types: Vec<EventType>,
    format: String,
    /// Of records of before options were sealed: a format may have to put a credential into its payload.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    format_options: String,
    #[serde(default)]
    sealed_options: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
    min_severity: Option<Severity>,
    engagement_ids: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate_limit: Option<RateLimit>,
    #[serde(default, skip_serializing_if = "TlsNames::is_empty")]
    tls: TlsNames,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch: Option<Batch>,
    retry_count: u32,
    timeout_ms: u32,
    activity: ActivityRecord,
    revision: u64,
    #[serde(rename = "epoch")]
    activation: u32,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// Secrets that were replaced and still sign, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    old_secrets: Vec<(Vec<u8>, i64)>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ActivityRecord {
    Active,
    OffByAdmin,
    Tripped(String),
}

/// The place that a sealed text is bound to.
fn place(id: WebhookId, field: &str) -> Vec<u8> {
    [id.as_bytes(), field.as_bytes()].concat()
}

fn write(webhook: &Webhook, vault: &Vault) -> Result<Vec<u8>, StoreError> {
    let seal = |field: &str, text: &str| {
        vault.seal(&place(webhook.id, field), text).map_err(|_| {
            tracing::error!("the system gave no randomness to encrypt a secret with");
            StoreError::Unavailable
        })
    };
    let config = &webhook.config;
    let headers = config.headers.iter();
    let record = WebhookRecord {
        name: config.name.clone(),
        url: seal("url", config.url.expose())?,
        secret: config.secret.as_ref().map(|secret| seal("secret", secret.expose())).transpose()?,
        event_types: match &config.event_types {
            Subscription::All => Vec::new(),
            Subscription::Only(types) => types.clone(),
        },
        format: config.format.clone(),
        format_options: String::new(),
        sealed_options: Some(seal("format_options", &config.format_options)?),
        headers: headers
            .map(|(name, value)| Ok((name.clone(), seal(&format!("header {name}"), value.expose())?)))
            .collect::<Result<_, StoreError>>()?,
        min_severity: config.filter.min_severity,
        engagement_ids: config.filter.engagement_ids.clone(),
        rate_limit: config.rate_limit,
        tls: config.tls.clone(),
        batch: config.batch,
        retry_count: config.retry_count,
        timeout_ms: config.timeout_ms,
        activity: match &webhook.activity {
            Activity::Active => ActivityRecord::Active,
            Activity::OffByAdmin => ActivityRecord::OffByAdmin,
            Activity::Tripped { reason } => ActivityRecord::Tripped(reason.clone()),
        },
        revision: webhook.revision,
        activation: webhook.activation,
        created_at: webhook.created_at,
        updated_at: webhook.updated_at,
        old_secrets: webhook
            .old_secrets
            .iter()
            .map(|old| Ok((seal("old secret", old.secret.expose())?, old.until_ms)))
            .collect::<Result<_, StoreError>>()?,
    };
    Ok(record::pack_json(&record))
}

/// A webhook from the disk; `None` when it is damaged or the master key does not open it.
pub(super) fn read_webhook(id: WebhookId, bytes: &[u8], health: HealthValues, vault: &Vault) -> Option<Webhook> {
    let record: WebhookRecord = record::unpack_json(bytes).ok()?;
    let open = |field: &str, sealed: &[u8]| vault.open(&place(id, field), sealed).ok();
    let headers = record.headers.into_iter();
    let old_secrets = record.old_secrets.iter();
    let old_secrets = old_secrets
        .map(|(sealed, until_ms)| Some(OldSecret { secret: open("old secret", sealed)?, until_ms: *until_ms }))
        .collect::<Option<_>>()?;
    let config = WebhookConfig {
        name: record.name,
        url: DeliveryUrl::parse(open("url", &record.url)?.expose()).ok()?,
        secret: match record.secret {
            Some(sealed) => Some(open("secret", &sealed)?),
            None => None,
        },
        event_types: if record.event_types.is_empty() {
            Subscription::All
        } else {
            Subscription::Only(record.event_types)
        },
        format: record.format,
        format_options: match record.sealed_options {
            Some(sealed) => open("format_options", &sealed)?.expose().to_owned(),
            None => record.format_options,
        },
        headers: headers
            .map(|(name, sealed)| {
                let value: Secret = open(&format!("header {name}"), &sealed)?;
                Some((name, value))
            })
            .collect::<Option<_>>()?,
        filter: Filter { min_severity: record.min_severity, engagement_ids: record.engagement_ids },
        rate_limit: record.rate_limit,
        tls: record.tls,
        batch: record.batch,
        retry_count: record.retry_count,
        timeout_ms: record.timeout_ms,
        is_active: matches!(record.activity, ActivityRecord::Active),
    };
    Some(Webhook {
        id,
        config,
        activity: match record.activity {
            ActivityRecord::Active => Activity::Active,
            ActivityRecord::OffByAdmin => Activity::OffByAdmin,
            ActivityRecord::Tripped(reason) => Activity::Tripped { reason },
        },
        revision: record.revision,
        activation: record.activation,
        created_at: record.created_at,
        updated_at: record.updated_at,
        old_secrets,
        health: Health::new(health),
    })
}

impl Writer {
    pub(super) fn create_webhook(&mut self, config: WebhookConfig, by: Actor) -> Result<Arc<Webhook>, StoreError> {
        let now = self.now();
        let webhook = Webhook {
            id: WebhookId::generate(),
            activity: if config.is_active { Activity::Active } else { Activity::OffByAdmin },
            config,
            revision: 1,
            activation: 0,
            created_at: now,
            updated_at: now,
            old_secrets: Vec::new(),
            health: Health::default(),
        };
        let audit_event = AuditEvent::webhook(by, Action::WebhookCreated, webhook.id, &webhook.config.name, Vec::new());
        self.store_webhook(webhook, Some(audit_event))
    }

    pub(super) fn update_webhook(
        &mut self,
        id: WebhookId,
        revision: u64,
        mut config: WebhookConfig,
        switch: Option<bool>,
        by: Actor,
    ) -> Result<Updated, StoreError> {
        let table = self.webhooks.load_full();
        let Some(old) = table.get(id) else { return Ok(Updated::Missing) };
        if old.revision != revision {
            return Ok(Updated::Stale);
        }
        let mut health = old.health.values();
        let (activity, activation) = match switch {
            // What was queued before stays held: switching on sends nothing old.
            Some(true) if !old.activity.is_active() => (Activity::Active, old.activation + 1),
            Some(true) => (Activity::Active, old.activation),
            Some(false) => (Activity::OffByAdmin, old.activation),
            None => (old.activity.clone(), old.activation),
        };
        if switch == Some(true) {
            health.failure_count = 0;
        }
        config.is_active = activity.is_active();
        let unchanged = config == old.config && activity == old.activity;
        let webhook = Webhook {
            id,
            // Whoever sets a secret means that one alone.
            old_secrets: if config.secret == old.config.secret { old.old_secrets.clone() } else { Vec::new() },
            config,
            activity,
            revision: if unchanged { old.revision } else { old.revision + 1 },
            activation,
            created_at: old.created_at,
            updated_at: if unchanged { old.updated_at } else { self.now() },
            health: Health::new(health),
        };
        let audit_event = (!unchanged).then(|| {
            let changes = audit::differences(old, &webhook);
            AuditEvent::webhook(by, Action::WebhookUpdated, id, &webhook.config.name, changes)
        });
        self.store_webhook(webhook, audit_event).map(Updated::Done)
    }

    pub(super) fn rotate_secret(
        &mut self,
        id: WebhookId,
        secret: Secret,
        overlap: Duration,
        by: Actor,
    ) -> Result<Rotated, StoreError> {
        let table = self.webhooks.load_full();
        let Some(old) = table.get(id) else { return Ok(Rotated::Missing) };
        let (now, steady_ms) = (self.now(), self.clock.steady_ms());
        let mut old_secrets: Vec<OldSecret> = old.old_secrets_at(steady_ms).cloned().collect();
        let mut until = None;
        if let Some(replaced) = old.config.secret.clone().filter(|_| !overlap.is_zero()) {
            if old_secrets.len() >= MAX_OLD_SECRETS {
                return Ok(Rotated::TooMany);
            }
            let until_ms = steady_ms.saturating_add(i64::try_from(overlap.as_millis()).unwrap_or(i64::MAX));
            old_secrets.insert(0, OldSecret { secret: replaced, until_ms });
            until = Some(now.plus(overlap));
        }
        let webhook = Webhook {
            id,
            config: WebhookConfig { secret: Some(secret), ..old.config.clone() },
            activity: old.activity.clone(),
            revision: old.revision + 1,
            activation: old.activation,
            created_at: old.created_at,
            updated_at: now,
            old_secrets,
            health: Health::new(old.health.values()),
        };
        let until_text = until.map(|until| FieldChange::to("old_secret_valid_until", until.to_string()));
        let changes = std::iter::once(FieldChange::secret("secret")).chain(until_text).collect();
        let audit_event = AuditEvent::webhook(by, Action::SecretRotated, id, &webhook.config.name, changes);
        Ok(Rotated::Done(self.store_webhook(webhook, Some(audit_event))?, until))
    }

    /// Writes a change with its lines in the audit log, and how much there is with it.
    fn write_counted(&mut self, mut txn: Txn, counts: Counts, audit_events: &[AuditEvent]) -> Result<(), StoreError> {
        txn.put(keys::meta(record::COUNTS), record::pack(&counts));
        self.write_noted(&txn, audit_events)?;
        self.counts = counts;
        Ok(())
    }

    fn store_webhook(&mut self, webhook: Webhook, audit_event: Option<AuditEvent>) -> Result<Arc<Webhook>, StoreError> {
        let mut txn = Txn::default();
        txn.put(keys::webhook(webhook.id), write(&webhook, &self.vault)?);
        txn.put(keys::counters(webhook.id), self.counters(&webhook, webhook.health.values()));
        // What outcomes said of this webhook must not overwrite it later.
        self.pending.counters.remove(&webhook.id);
        self.pending.txn.forget(&keys::webhook(webhook.id));
        self.pending.txn.forget(&keys::counters(webhook.id));
        let is_new = u64::from(self.webhooks.load().get(webhook.id).is_none());
        let counts = Counts { webhooks: self.counts.webhooks + is_new, ..self.counts };
        self.write_counted(txn, counts, audit_event.as_slice())?;
        let webhook = Arc::new(webhook);
        self.publish(self.webhooks.load().with(Arc::clone(&webhook)), webhook.id);
        Ok(webhook)
    }

    pub(super) fn delete_webhook(&mut self, id: WebhookId, by: Actor) -> Result<bool, StoreError> {
        let table = self.webhooks.load_full();
        let Some(webhook) = table.get(id) else { return Ok(false) };
        let mut txn = Txn::default();
        txn.remove(keys::webhook(id));
        txn.remove(keys::counters(id));
        // Its history and queue may be long; the sweep removes them in pieces.
        txn.put(keys::tombstone(id), record::pack(&self.now()));
        self.pending.counters.remove(&id);
        self.pending.attempts.remove(&id);
        self.history.remove(&id);
        self.pending.txn.forget(&keys::webhook(id));
        self.pending.txn.forget(&keys::counters(id));
        let audit_event = AuditEvent::webhook(by, Action::WebhookDeleted, id, &webhook.config.name, Vec::new());
        let counts = Counts { webhooks: self.counts.webhooks.saturating_sub(1), ..self.counts };
        self.write_counted(txn, counts, &[audit_event])?;
        self.publish(table.without(id), id);
        Ok(true)
    }

    /// Switches a webhook off because of what its destination did.
    pub(super) fn trip(&mut self, webhook: &Webhook, reason: String, health: HealthValues) {
        tracing::warn!(webhook = %webhook.id, failures = health.failure_count, reason, "a webhook was switched off");
        let mut config = webhook.config.clone();
        config.is_active = false;
        let changes = vec![FieldChange::to("disabled_reason", reason.as_str())];
        let audit_event =
            AuditEvent::webhook(Actor::Host, Action::WebhookDisabled, webhook.id, &webhook.config.name, changes);
        self.pending.audit_events.push(audit_event);
        let tripped = Webhook {
            id: webhook.id,
            config,
            activity: Activity::Tripped { reason },
            revision: webhook.revision + 1,
            activation: webhook.activation,
            created_at: webhook.created_at,
            updated_at: webhook.updated_at,
            old_secrets: webhook.old_secrets.clone(),
            health: Health::new(health),
        };
        // Without randomness it cannot be written now; it is off in memory all the same.
        if let Ok(bytes) = write(&tripped, &self.vault) {
            self.pending.txn.put(keys::webhook(tripped.id), bytes);
        }
        self.publish(self.webhooks.load().with(Arc::new(tripped)), webhook.id);
    }

    pub(super) fn create_token(
        &mut self,
        name: String,
        role: Role,
        hash: [u8; 32],
        by: Actor,
    ) -> Result<Token, StoreError> {
        let token = Token { id: TokenId::generate(), name, role, created_at: self.now() };
        let mut txn = Txn::default();
        txn.put(keys::token(&hash), record::pack_json(&token));
        let counts = Counts { tokens: self.counts.tokens + 1, ..self.counts };
        self.write_counted(txn, counts, &[AuditEvent::token(by, Action::TokenCreated, &token)])?;
        self.tokens.store(Arc::new(self.tokens.load().with(hash, token.clone())));
        Ok(token)
    }

    pub(super) fn delete_token(&mut self, id: TokenId, by: Actor) -> Result<bool, StoreError> {
        let tokens = self.tokens.load_full();
        let Some((hash, token)) = tokens.with_id(id) else { return Ok(false) };
        let mut txn = Txn::default();
        txn.remove(keys::token(&hash));
        let counts = Counts { tokens: self.counts.tokens.saturating_sub(1), ..self.counts };
        self.write_counted(txn, counts, &[AuditEvent::token(by, Action::TokenDeleted, token)])?;
        self.tokens.store(Arc::new(tokens.without(&hash)));
        Ok(true)
    }

    pub(super) fn setting(
        &mut self,
        name: &'static str,
        value: Option<String>,
        default: String,
    ) -> Result<String, StoreError> {
        let key = keys::meta(name);
        let stored = self.engine.get(&key)?.and_then(|bytes| {
            let stored = record::unpack::<String>(&bytes);
            stored.inspect_err(|_| self.damage.stepped_over("setting")).ok()
        });
        let chosen = match (value, stored) {
            (None, Some(stored)) => return Ok(stored),
            (Some(value), Some(stored)) if value == stored => return Ok(stored),
            (Some(value), _) => value,
            (None, None) => default,
        };
        let mut txn = Txn::default();
        txn.put(key, record::pack(&chosen));
        self.write(&[Some(&txn)])?;
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A webhook's record with everything that it may have, and one with nothing of it, as they are on existing disks.
    #[test]
    fn a_webhook_is_written_as_before() {
        let full = r#"{"name":"team","url":[1],"secret":[2],"event_types":["report_ready","finding_added"],"format":"json","sealed_options":[3],"headers":[["X-A",[4]]],"min_severity":"high","engagement_ids":["e"],"rate_limit":{"count":10,"per_seconds":1},"tls":{"ca":"corp","client_cert":"us"},"batch":{"max_events":10,"max_wait_ms":100},"retry_count":3,"timeout_ms":5000,"activity":{"tripped":"why"},"revision":7,"epoch":2,"created_at":"2026-11-17T10:12:45.120Z","updated_at":"2026-11-17T10:12:46.120Z","old_secrets":[[[5],1800000000000]]}"#;
        let bare = r#"{"name":"team","url":[1],"secret":null,"event_types":[],"format":"json","format_options":"{}","sealed_options":null,"headers":[],"min_severity":null,"engagement_ids":null,"retry_count":3,"timeout_ms":5000,"activity":"off_by_admin","revision":7,"epoch":0,"created_at":"2026-11-17T10:12:45.120Z","updated_at":"2026-11-17T10:12:46.120Z"}"#;
        for text in [full, bare] {
            let record: WebhookRecord = serde_json::from_str(text).expect("a webhook");
            assert_eq!(serde_json::to_string(&record).expect("encoded"), text);
        }
        assert_eq!(serde_json::to_string(&ActivityRecord::Active).expect("encoded"), r#""active""#);
    }
}
