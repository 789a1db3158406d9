//! Webhooks, tokens and settings: few, kept in memory, each change a commit of its own.

use std::sync::Arc;
use std::time::Duration;

use super::record::Counts;
use super::sealed::write_webhook;
use super::txn::Txn;
use super::writer::Writer;
use super::{Deleted, Rotated, StoreError, Updated, keys, record};
use crate::model::audit::{self, Action, Actor, AuditEvent, FieldChange};
use crate::model::host_event::{About, HostEvent, WebhookFacts, url_host};
use crate::model::id::{AttemptId, TokenId, WebhookId};
use crate::model::probe::{Cause, Probes, Trip};
use crate::model::secret::Secret;
use crate::model::token::{Role, Token};
use crate::model::webhook::{Activity, Health, HealthValues, OldSecret, Webhook, WebhookConfig};

/// Secrets of one webhook that may sign beside the newest.
const MAX_OLD_SECRETS: usize = 4;

/// A webhook's activity with a new configuration: a probe is due at once if its requests are other ones now.
fn probed_soon(old: &Webhook, config: &WebhookConfig, now_ms: i64) -> Activity {
    let before = &old.config;
    let is_same = before.url == config.url
        && before.headers == config.headers
        && before.secret == config.secret
        && before.tls == config.tls
        && before.format == config.format
        && before.format_options == config.format_options;
    match &old.activity {
        Activity::Tripped { reason, trip } if !is_same => {
            let probes = trip.probes.map(|probes| probes.by(now_ms));
            Activity::Tripped { reason: reason.clone(), trip: Trip { probes, ..trip.clone() } }
        }
        same => same.clone(),
    }
}

impl Writer {
    pub(in crate::store) fn create_webhook(
        &mut self,
        config: WebhookConfig,
        active: bool,
        by: Actor,
    ) -> Result<Arc<Webhook>, StoreError> {
        let now = self.now();
        let webhook = Webhook {
            id: WebhookId::generate(),
            activity: if active { Activity::Active } else { Activity::OffByAdmin },
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

    pub(in crate::store) fn update_webhook(
        &mut self,
        id: WebhookId,
        revision: u64,
        config: WebhookConfig,
        switch: Option<bool>,
        by: Actor,
    ) -> Result<Updated, StoreError> {
        let table = self.webhooks.load_full();
        let Some(old) = table.get(id) else { return Ok(Updated::Missing) };
        if old.revision != revision {
            return Ok(Updated::Stale);
        }
        let (activity, activation) = match switch {
            // Queued deliveries stay held: switching on sends nothing old.
            Some(true) if !old.activity.is_active() => (Activity::Active, old.activation + 1),
            Some(true) => (Activity::Active, old.activation),
            Some(false) => (Activity::OffByAdmin, old.activation),
            None => (probed_soon(old, &config, self.clock.steady_ms()), old.activation),
        };
        let mut health = old.health.values();
        if switch == Some(true) {
            health.failure_count = 0;
        }
        if config == old.config && activity == old.activity {
            if health == old.health.values() {
                return Ok(Updated::Done(Arc::clone(old)));
            }
            // Only the failure counter is another: no change of the configuration.
            let same = Webhook { health: Health::new(health), ..old.unchanged() };
            return self.store_webhook(same, None).map(Updated::Done);
        }
        let webhook = Webhook {
            // An admin who sets a secret means that one alone.
            old_secrets: if config.secret == old.config.secret { old.old_secrets.clone() } else { Vec::new() },
            config,
            activity,
            activation,
            updated_at: self.now(),
            health: Health::new(health),
            ..old.changed()
        };
        let changes = audit::differences(old, &webhook);
        let audit_event = AuditEvent::webhook(by, Action::WebhookUpdated, id, &webhook.config.name, changes);
        self.store_webhook(webhook, Some(audit_event)).map(Updated::Done)
    }

    pub(in crate::store) fn rotate_secret(
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
        let config = WebhookConfig { secret: Some(secret), ..old.config.clone() };
        let webhook = Webhook { config, old_secrets, updated_at: now, ..old.changed() };
        let until_text = until.map(|until| FieldChange::to("old_secret_valid_until", until.to_string()));
        let changes = std::iter::once(FieldChange::secret("secret")).chain(until_text).collect();
        let audit_event = AuditEvent::webhook(by, Action::SecretRotated, id, &webhook.config.name, changes);
        Ok(Rotated::Done(self.store_webhook(webhook, Some(audit_event))?, until))
    }

    /// Writes a change with its lines in the audit log and the counts that it leads to.
    fn write_counted(&mut self, mut txn: Txn, counts: Counts, audit_events: &[AuditEvent]) -> Result<(), StoreError> {
        txn.put(keys::meta(record::COUNTS), record::pack(&counts));
        self.write_audited(&txn, audit_events)?;
        self.counts = counts;
        Ok(())
    }

    fn store_webhook(&mut self, webhook: Webhook, audit_event: Option<AuditEvent>) -> Result<Arc<Webhook>, StoreError> {
        let mut txn = Txn::default();
        txn.put(keys::webhook(webhook.id), write_webhook(&webhook, &self.keyring)?);
        txn.put(keys::counters(webhook.id), self.counters(&webhook, webhook.health.values()));
        // Pending outcomes of this webhook must not overwrite it later.
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

    /// Deletes a webhook; with a revision only if it is still at that one.
    pub(in crate::store) fn delete_webhook(
        &mut self,
        id: WebhookId,
        revision: Option<u64>,
        by: Actor,
    ) -> Result<Deleted, StoreError> {
        let table = self.webhooks.load_full();
        let Some(webhook) = table.get(id) else { return Ok(Deleted::Missing) };
        if revision.is_some_and(|revision| revision != webhook.revision) {
            return Ok(Deleted::Rejected);
        }
        let mut txn = Txn::default();
        txn.remove(keys::webhook(id));
        txn.remove(keys::counters(id));
        // Its history and queue may be long; the sweep removes them page by page.
        txn.put(keys::tombstone(id), record::pack(&self.now()));
        self.pending.counters.remove(&id);
        self.pending.attempts.remove(&id);
        self.pending.rows.retain(|row| row.webhook() != id);
        self.pending.waits.retain(|wait| wait.webhook != id);
        self.history.remove(&id);
        self.pending.txn.forget(&keys::webhook(id));
        self.pending.txn.forget(&keys::counters(id));
        let audit_event = AuditEvent::webhook(by, Action::WebhookDeleted, id, &webhook.config.name, Vec::new());
        let counts = Counts { webhooks: self.counts.webhooks.saturating_sub(1), ..self.counts };
        self.write_counted(txn, counts, &[audit_event])?;
        self.tallies.forget(id);
        self.publish(table.without(id), id);
        Ok(Deleted::Done)
    }

    /// Trips the circuit breaker: switches a webhook off because of its destination's failures.
    pub(super) fn trip(
        &mut self,
        webhook: &Webhook,
        reason: String,
        health: HealthValues,
        cause: Cause,
        attempt: Option<AttemptId>,
    ) {
        let (name, host) = (&webhook.config.name, webhook.config.url.host());
        let is_probed = self.breaker_probe && cause == Cause::Breaker;
        let next = if is_probed {
            "it is probed, and switched on again once its destination accepts a delivery"
        } else {
            "repair its destination, switch it on and recover what it missed"
        };
        tracing::warn!(
            webhook = %webhook.id, name, host = url_host(&webhook.config.url), failures = health.failure_count, reason, next,
            "a webhook was switched off"
        );
        self.tell(HostEvent::new(About::WebhookDisabled(WebhookFacts::of(webhook)), &reason));
        let reason = format!("{reason} (webhook {name:?}, host {host})");
        let changes = vec![FieldChange::to("disabled_reason", reason.as_str())];
        let audit_event =
            AuditEvent::webhook(Actor::Host, Action::WebhookDisabled, webhook.id, &webhook.config.name, changes);
        self.pending.audit_events.push(audit_event);
        let probes = is_probed.then(|| Probes::begin(self.clock.steady_ms(), fastrand::f64()));
        let activity = Activity::Tripped { reason, trip: Trip { cause, attempt, probes, is_healing: false } };
        let tripped = Webhook { activity, health: Health::new(health), ..webhook.changed() };
        // Without randomness it cannot be written now; it is off in memory all the same.
        if let Ok(bytes) = write_webhook(&tripped, &self.keyring) {
            self.pending.txn.put(keys::webhook(tripped.id), bytes);
        }
        self.publish(self.webhooks.load().with(Arc::new(tripped)), webhook.id);
        // Readers see that it is off from now on: what failed last is not to be shown as held for longer than a commit takes.
        self.commit_soon();
    }

    pub(in crate::store) fn create_token(
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

    pub(in crate::store) fn delete_token(&mut self, id: TokenId, by: Actor) -> Result<Deleted, StoreError> {
        let tokens = self.tokens.load_full();
        let Some((hash, token)) = tokens.with_id(id) else { return Ok(Deleted::Missing) };
        if token.role == Role::Admin && tokens.admins() == 1 {
            // Nobody could manage the host any more.
            return Ok(Deleted::Rejected);
        }
        let mut txn = Txn::default();
        txn.remove(keys::token(&hash));
        let counts = Counts { tokens: self.counts.tokens.saturating_sub(1), ..self.counts };
        self.write_counted(txn, counts, &[AuditEvent::token(by, Action::TokenDeleted, token)])?;
        self.tokens.store(Arc::new(tokens.without(&hash)));
        Ok(Deleted::Done)
    }

    pub(in crate::store) fn setting(
        &mut self,
        name: &'static str,
        value: Option<String>,
        default: String,
    ) -> Result<String, StoreError> {
        let key = keys::meta(name);
        let stored = self.engine.get(&key)?.and_then(|bytes| {
            let stored = record::unpack::<String>(&bytes);
            stored.inspect_err(|_| self.damage.skipped("setting")).ok()
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
