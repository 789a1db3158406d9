//! Retention: what is too old, or belonged to a deleted webhook, is removed in bounded pieces.

use std::time::Duration;

use super::engine::Txn;
use super::keys::{self, DueKey};
use super::writer::Writer;
use super::{StoreError, record};
use crate::model::id::{EventId, WebhookId};
use crate::model::time::Timestamp;

/// Keys that one piece removes, so that the writer is soon free for others.
const PIECE: usize = 2_000;

impl Writer {
    /// Removes one piece; `true` when there is more.
    pub(super) fn sweep(&mut self, retention: Duration) -> Result<bool, StoreError> {
        let now = self.now();
        let cutoff = now.minus(retention);
        // Due times are of the steady clock, which the wall clock may have left behind.
        let due_cutoff = Timestamp::from_unix_ms(self.clock.steady_ms()).minus(retention);
        let mut gone = Gone { txn: Txn::default(), keys: 0 };
        self.sweep_events(cutoff, &mut gone)?;
        self.sweep_idempotency(now, &mut gone)?;
        self.sweep_deleted(&mut gone)?;
        let webhooks: Vec<(WebhookId, u32)> =
            self.webhooks.load().iter().map(|webhook| (webhook.id, webhook.epoch)).collect();
        for (webhook, epoch) in webhooks {
            if gone.full() {
                break;
            }
            self.sweep_attempts(webhook, cutoff, &mut gone)?;
            for epoch in 0..=epoch {
                self.sweep_due(webhook, epoch, due_cutoff, &mut gone)?;
            }
        }
        let more = gone.full();
        if !gone.txn.is_empty() {
            self.write(&[Some(&gone.txn)])?;
        }
        Ok(more)
    }

    /// Events that were accepted before the cutoff, with where their deliveries stand.
    fn sweep_events(&self, cutoff: Timestamp, gone: &mut Gone) -> Result<(), StoreError> {
        let end = keys::timed_end(keys::ACCEPTED, cutoff.unix_ms());
        self.engine.scan_prefix(&[keys::ACCEPTED], None, |key, value| {
            if key >= end.as_slice() || gone.full() {
                return false;
            }
            for event in record::unpack::<Vec<EventId>>(value).unwrap_or_default() {
                gone.remove(keys::event(event));
                gone.remove(keys::state(event));
            }
            gone.remove(key.to_vec());
            true
        })
    }

    fn sweep_idempotency(&self, now: Timestamp, gone: &mut Gone) -> Result<(), StoreError> {
        let end = keys::timed_end(keys::EXPIRY, now.unix_ms());
        self.engine.scan_prefix(&[keys::EXPIRY], None, |key, value| {
            if key >= end.as_slice() || gone.full() {
                return false;
            }
            for taken in record::unpack::<Vec<Vec<u8>>>(value).unwrap_or_default() {
                gone.remove(taken);
            }
            gone.remove(key.to_vec());
            true
        })
    }

    /// What deleted webhooks left behind.
    fn sweep_deleted(&self, gone: &mut Gone) -> Result<(), StoreError> {
        let mut deleted = Vec::new();
        self.engine.scan_prefix(&[keys::TOMBSTONE], None, |key, _| {
            deleted.extend(keys::id_of(key).map(WebhookId::from_bytes));
            true
        })?;
        for webhook in deleted {
            for prefix in [keys::attempts_prefix(webhook), keys::due_webhook(webhook)] {
                self.engine.scan_prefix(&prefix, None, |key, _| {
                    if gone.full() {
                        return false;
                    }
                    gone.remove(key.to_vec());
                    true
                })?;
            }
            if gone.full() {
                break;
            }
            gone.remove(keys::counters(webhook));
            gone.remove(keys::tombstone(webhook));
        }
        Ok(())
    }

    fn sweep_attempts(&self, webhook: WebhookId, cutoff: Timestamp, gone: &mut Gone) -> Result<(), StoreError> {
        self.engine.scan_prefix(&keys::attempts_prefix(webhook), None, |key, value| {
            let old = match record::unpack_attempts(value) {
                Ok(attempts) => attempts.last().is_none_or(|attempt| attempt.created_at < cutoff),
                Err(_) => true,
            };
            if old && !gone.full() {
                gone.remove(key.to_vec());
            }
            old && !gone.full()
        })
    }

    fn sweep_due(&self, webhook: WebhookId, epoch: u32, cutoff: Timestamp, gone: &mut Gone) -> Result<(), StoreError> {
        self.engine.scan_prefix(&keys::due_prefix(webhook, epoch), None, |key, _| {
            let old = DueKey::decode(key).is_none_or(|due| due.due_ms < cutoff.unix_ms());
            if old && !gone.full() {
                gone.remove(key.to_vec());
            }
            old && !gone.full()
        })
    }
}

struct Gone {
    txn: Txn,
    keys: usize,
}

impl Gone {
    fn remove(&mut self, key: Vec<u8>) {
        self.txn.remove(key);
        self.keys += 1;
    }

    fn full(&self) -> bool {
        self.keys >= PIECE
    }
}
