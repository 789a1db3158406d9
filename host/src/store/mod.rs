//! The store: webhooks, tokens, events, their deliveries and queues, on a disk.
//!
//! Its operations are whole facts ("these events were accepted", "this attempt ended like this"), each atomic: when one
//! returns, it is on the disk. Reads see every write that has returned. Changes reach the scheduler as [`Change`]s, in
//! the order of the commits.
//!
//! This file has [`Store`]; [`facts`] are what it takes and gives, [`protocol`] is the interface to the engine that keeps them,
//! [`embedded`] the engine of a single host: sled behind a journal. Everything that an engine must do is in the suite
//! `conformance`.

#[cfg(test)]
pub(crate) mod conformance;
mod embedded;
mod facts;
mod protocol;
pub mod rank;
mod table;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::keyring::Keyring;
use crate::model::audit::{Actor, AuditEntry, AuditEvent};
use crate::model::delivery::{Attempt, DeliveryView};
use crate::model::event::{Event, NewEvent};
use crate::model::host_event::HostEvent;
use crate::model::id::{AuditId, DeliveryId, EventId, TokenId, WebhookId};
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::model::token::{Role, Token};
use crate::model::webhook::expression::Verdicts;
use crate::model::webhook::{Webhook, WebhookConfig};

pub use embedded::{
    ChainReport, CheckReport, CompactError, ImportError, Imported, KindReport, Maintenance, Missing, Repaired,
    UnsignedImport, import,
};
pub use facts::{
    AcceptError, Acceptance, Accepted, AttemptPage, AttemptQuery, AttemptSearch, AttemptsError, Backlog, Deleted,
    EventSearch, EventVerdicts, EventView, FoundAttempt, Idempotency, Indexing, OpenError, Retention, Rotated,
    SearchPage, Start, StoreError, Updated,
};
pub use protocol::{
    Candidate, Change, Cursor, DueEntry, DueItem, DueKey, Options, Origin, Outcome, PageRequest, Pin, Recovery, Rest,
    Sent,
};
pub use table::{Tokens, WebhookTable};

#[cfg(fuzzing)]
pub(crate) use embedded::{fuzz_export, fuzz_journal, fuzz_record};

use embedded::Embedded;

/// The store, shared by everyone.
pub struct Store {
    /// The engine. Each operation is spelled here for callers and in the engine's writer or reader for what it does; an
    /// engine for several hosts would be a second variant.
    engine: Embedded,
}

impl Store {
    /// Opens the store of a data folder, or makes an empty one there. A store of an earlier format is brought up to
    /// date.
    ///
    /// # Errors
    /// [`OpenError`], each a sentence with a remedy.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        Embedded::open(options).map(|engine| Self { engine })
    }

    /// Commits what is pending and closes the store. Everything fails with [`StoreError::Unavailable`] afterwards.
    pub fn close(&self) {
        self.engine.close();
    }

    /// The master key that the store is encrypted with.
    pub fn keyring(&self) -> &Keyring {
        self.engine.keyring()
    }

    /// True if writes are accepted.
    pub fn is_writable(&self) -> bool {
        self.engine.is_writable()
    }

    /// The webhooks as they are now.
    pub fn webhooks(&self) -> Arc<WebhookTable> {
        self.engine.webhooks()
    }

    /// The tokens as they are now, newest first.
    pub fn tokens(&self) -> Vec<Token> {
        self.engine.tokens().newest_first()
    }

    /// The token with this text.
    pub fn find_token(&self, text: &str) -> Option<Token> {
        self.engine.tokens().find(text)
    }
}

/// Events and their deliveries.
impl Store {
    /// Accepts events with their deliveries; when this returns they are on the disk.
    ///
    /// # Errors
    /// [`AcceptError`]; then nothing of the request was accepted.
    pub async fn accept(&self, acceptance: Acceptance) -> Result<Vec<Accepted>, AcceptError> {
        self.engine.accept(acceptance).await
    }

    /// For each of these events the response that the token got when it was accepted, `None` for a new one: by the request's
    /// idempotency key, then by the events' ids. Nothing is accepted.
    ///
    /// # Errors
    /// [`AcceptError`], as when they were accepted.
    pub async fn recognize(
        &self,
        token: TokenId,
        idempotency: Option<&Idempotency>,
        events: &[NewEvent],
        now: Timestamp,
    ) -> Result<Vec<Option<Accepted>>, AcceptError> {
        self.engine.recognize(token, idempotency, events, now)
    }

    /// An event without its deliveries.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn event_plain(&self, id: EventId) -> Result<Option<Event>, StoreError> {
        self.engine.event_plain(id)
    }

    /// An event with its deliveries and their states.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn event(&self, id: EventId) -> Result<Option<EventView>, StoreError> {
        self.engine.event(id)
    }

    /// A page of a webhook's history.
    ///
    /// # Errors
    /// [`AttemptsError`].
    pub async fn attempts(&self, webhook: WebhookId, query: AttemptQuery) -> Result<AttemptPage, AttemptsError> {
        self.engine.attempts(webhook, query).await
    }

    /// A page of the attempts of all webhooks.
    ///
    /// # Errors
    /// [`AttemptsError`].
    pub async fn search_attempts(&self, search: AttemptSearch) -> Result<SearchPage<FoundAttempt>, AttemptsError> {
        self.engine.search_attempts(search).await
    }

    /// A page of events, the newest first by acceptance.
    ///
    /// # Errors
    /// [`AttemptsError`].
    pub async fn search_events(&self, search: EventSearch) -> Result<SearchPage<EventView>, AttemptsError> {
        self.engine.search_events(search).await
    }

    /// What waits for a webhook, by the state of its deliveries alone: the store does not know formatters.
    pub fn backlog(&self, webhook: &Webhook) -> Backlog {
        self.engine.backlog(webhook)
    }

    /// Records how attempts ended. It rides on the next commit, at most 20 ms later; a crash before it makes the
    /// attempts again.
    pub fn record(&self, outcomes: Vec<Outcome>) {
        self.engine.record(outcomes);
    }

    /// Records a test attempt in the webhook's history; the attempt with its id, or `None` when the webhook is gone.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn record_test(&self, webhook: WebhookId, attempt: Attempt) -> Result<Option<Attempt>, StoreError> {
        self.engine.manage(move |writer| writer.record_test(webhook, attempt)).await
    }

    /// Asks for a page of a webhook's queue; it comes as [`Change::Loaded`].
    pub fn load_page(&self, request: PageRequest) {
        self.engine.load_page(request);
    }

    /// [`Store::load_page`] of all ranks.
    #[cfg(test)]
    pub fn load_due(&self, webhook: WebhookId, activation: u32, after: Option<DueKey>, limit: usize) {
        let ranks = rank::UNKNOWN..=rank::STRICT;
        self.load_page(PageRequest { webhook, activation, ranks, after, limit, number: 0 });
    }

    /// Puts deliveries of a webhook with a digest together that wait under this activation, up to a number: if the window is
    /// `closed`, to messages, or to deliveries that go out one by one where there are few; else only those are queued that
    /// wait for no window. Entries that are `busy` are left out. What is queued comes as [`Change::Due`], then comes
    /// [`Change::Collected`].
    pub fn collect(&self, webhook: WebhookId, activation: u32, closed: bool, busy: Vec<DueKey>) {
        self.engine.collect(webhook, activation, closed, busy);
    }

    /// When the first delivery was queued that waits for the window of a webhook's digest, in milliseconds of the steady
    /// clock; `None` when none does.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn window_opened(&self, webhook: &Webhook) -> Result<Option<i64>, StoreError> {
        self.engine.window_opened(webhook)
    }

    /// When the next attempt of an active webhook's deliveries is due, in milliseconds of the steady clock; in the past
    /// for one that is in flight or waits for its turn, `None` when nothing is pending.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn next_due(&self, webhook: &Webhook) -> Result<Option<i64>, StoreError> {
        self.engine.next_due(webhook)
    }

    /// Asks for the delivery that the next probe of a webhook tries; it comes as [`Change::Candidate`].
    pub fn load_probe(&self, webhook: WebhookId) {
        self.engine.load_probe(webhook);
    }

    /// Makes a new delivery of the event of an earlier one; `None` when there is no such delivery or webhook.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn redeliver(
        &self,
        webhook: WebhookId,
        delivery: DeliveryId,
        by: Actor,
    ) -> Result<Option<DeliveryView>, StoreError> {
        let Some(event) = self.engine.find_delivery(webhook, delivery).await? else { return Ok(None) };
        self.engine.manage(move |writer| writer.redeliver(webhook, event, delivery, &by)).await
    }

    /// Queues again what failed or is held since then (the dead-letter queue), a bounded page beginning at the cursor;
    /// `None` when there is no such webhook.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn recover(
        &self,
        webhook: WebhookId,
        since: Timestamp,
        cursor: Cursor,
        by: Actor,
    ) -> Result<Option<Recovery>, StoreError> {
        self.engine.manage(move |writer| writer.recover(webhook, since, cursor, &by)).await
    }
}

/// Host events.
impl Store {
    /// Tells webhooks that subscribed to such events what happened to the host. The event rides on the next commit; of
    /// one kind about one subject there is one a minute, with a count.
    pub fn tell(&self, event: HostEvent) {
        self.engine.tell(event);
    }

    /// Waits for a host event that a webhook wants if its expression is true; it is accepted once [`Store::judged`] is
    /// called with the verdicts, or without them after a few seconds, or when the store is closed. `None` once it is.
    pub async fn next_unjudged(&self) -> Option<NewEvent> {
        self.engine.next_unjudged().await
    }

    /// The verdicts on the host event with this id.
    pub fn judged(&self, id: EventId, verdicts: Verdicts) {
        self.engine.judged(id, verdicts);
    }
}

/// Configuration: webhooks, tokens, settings. Each change is a commit of its own, with its line in the audit log.
impl Store {
    /// Creates a webhook, active or switched off.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn create_webhook(
        &self,
        config: WebhookConfig,
        active: bool,
        by: Actor,
    ) -> Result<Arc<Webhook>, StoreError> {
        self.engine.manage(move |writer| writer.create_webhook(config, active, by)).await
    }

    /// Replaces a webhook's configuration, if it is still at `revision`. `switch` is the change's `is_active`: `true`
    /// sets the failure counter to zero and begins a new activation when the webhook was off.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn update_webhook(
        &self,
        id: WebhookId,
        revision: u64,
        config: WebhookConfig,
        switch: Option<bool>,
        by: Actor,
    ) -> Result<Updated, StoreError> {
        self.engine.manage(move |writer| writer.update_webhook(id, revision, config, switch, by)).await
    }

    /// Gives a webhook a new secret. The old one signs too until `overlap` is over.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn rotate_secret(
        &self,
        id: WebhookId,
        secret: Secret,
        overlap: Duration,
        by: Actor,
    ) -> Result<Rotated, StoreError> {
        self.engine.manage(move |writer| writer.rotate_secret(id, secret, overlap, by)).await
    }

    /// Deletes a webhook with its history; `false` when there is none.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn delete_webhook(&self, id: WebhookId, by: Actor) -> Result<bool, StoreError> {
        Ok(self.delete_webhook_at(id, None, by).await? == Deleted::Done)
    }

    /// Deletes a webhook, with a revision only if it is still at that.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn delete_webhook_at(
        &self,
        id: WebhookId,
        revision: Option<u64>,
        by: Actor,
    ) -> Result<Deleted, StoreError> {
        self.engine.manage(move |writer| writer.delete_webhook(id, revision, by)).await
    }

    /// Makes a token; its text is known only to the caller.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn create_token(&self, name: String, role: Role, by: Actor) -> Result<(Token, Secret), StoreError> {
        let text = table::new_token_text().ok_or(StoreError::Unavailable)?;
        let token = self.add_token(name, role, &text, by).await?;
        Ok((token, text))
    }

    /// Stores a token with this text.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn add_token(&self, name: String, role: Role, text: &Secret, by: Actor) -> Result<Token, StoreError> {
        let hash = table::hash(text.expose());
        self.engine.manage(move |writer| writer.create_token(name, role, hash, by)).await
    }

    /// Deletes a token, unless it is the last one of an admin; it is rejected from now on.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn delete_token(&self, id: TokenId, by: Actor) -> Result<Deleted, StoreError> {
        self.engine.manage(move |writer| writer.delete_token(id, by)).await
    }

    /// A setting that is chosen once, at the first start: the stored text, or `default` stored now.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn setting(
        &self,
        name: &'static str,
        value: Option<String>,
        default: String,
    ) -> Result<String, StoreError> {
        self.engine.manage(move |writer| writer.setting(name, value, default)).await
    }
}

/// The audit log.
impl Store {
    /// Adds a line about a change that is not the store's own.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn audit(&self, audit_event: AuditEvent) -> Result<(), StoreError> {
        self.engine.manage(move |writer| writer.audit(audit_event)).await
    }

    /// [`Store::audit`] for a caller that cannot wait: the line rides on the next commit.
    pub fn audit_soon(&self, audit_event: AuditEvent) {
        self.engine.audit_soon(audit_event);
    }

    /// A page of the log, newest first, and true if older entries follow; `None` when no entry has the id `before`.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn audit_page(
        &self,
        limit: usize,
        before: Option<AuditId>,
    ) -> Result<Option<(Vec<AuditEntry>, bool)>, StoreError> {
        self.engine.audit_page(limit, before).await
    }
}

/// Upkeep of a running host's store; [`Maintenance`] is for a stopped one.
impl Store {
    /// Records that could not be read because the disk changed them.
    pub fn damaged_records(&self) -> u64 {
        self.engine.damaged_records()
    }

    /// Free and total bytes of the data folder's disk; `None` when it does not say.
    pub fn disk(&self) -> Option<(u64, u64)> {
        self.engine.disk()
    }

    /// False while a jump of the wall clock keeps [`Store::sweep`] from removing anything for its age.
    pub fn trusts_clock(&self) -> bool {
        self.engine.trusts_clock()
    }

    /// Removes one page of what is older than the retention; true if there is more to remove.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn sweep(&self, retention: Retention) -> Result<bool, StoreError> {
        self.engine.manage(move |writer| writer.sweep(retention)).await
    }

    /// Counts the events that were there at the start, since a damaged page can take records with it without a trace,
    /// and reports how many are missing. Reads every event while the host goes on; nothing may be swept before it is
    /// done.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn missing_events(&self) -> Result<u64, StoreError> {
        self.engine.missing_events().await
    }

    /// Indexes a part of what an earlier format did not index, while the host goes on: the name of the index and the
    /// number of rows, `None` when everything is indexed.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read or written; the next call tries again.
    pub async fn index_more(&self) -> Result<Option<(&'static str, usize)>, StoreError> {
        self.engine.index_more().await
    }

    /// When a damaged queue entry was found, looks for the deliveries that were in it and queues them again; the number
    /// of them. Reads every event while the host goes on.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read or written; the next call tries again.
    pub async fn requeue_lost(&self) -> Result<usize, StoreError> {
        self.engine.requeue_lost().await
    }

    /// Writes an export, which [`import`] makes a store of. `files` are those of the host that belong to it, by their
    /// name in the data folder. Blocks; `sink` is called with one line at a time and returns false to end early.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn export(
        &self,
        files: &[(String, PathBuf)],
        now: Timestamp,
        sink: &mut dyn FnMut(Vec<u8>) -> bool,
    ) -> Result<(), StoreError> {
        self.engine.export(files, now, sink)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}
