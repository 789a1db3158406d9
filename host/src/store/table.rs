//! Webhooks and tokens in memory, for every request and every delivery.

use std::collections::HashMap;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::model::event::{EventType, Severity};
use crate::model::id::{TokenId, WebhookId};
use crate::model::secret::Secret;
use crate::model::token::{Role, Token};
use crate::model::webhook::judge::{Subject, judge};
use crate::model::webhook::{Activity, Webhook};

/// An immutable snapshot of all webhooks.
#[derive(Default, Clone)]
pub struct WebhookTable {
    by_id: HashMap<WebhookId, Arc<Webhook>>,
    /// The subscribers of each type, the oldest first.
    by_type: HashMap<EventType, Vec<Arc<Webhook>>>,
    /// Those of them that make deliveries and have an expression.
    with_expression: HashMap<EventType, Vec<Arc<Webhook>>>,
}

impl WebhookTable {
    pub(super) fn new(webhooks: impl IntoIterator<Item = Arc<Webhook>>) -> Self {
        let mut table =
            Self { by_id: webhooks.into_iter().map(|webhook| (webhook.id, webhook)).collect(), ..Self::default() };
        table.index();
        table
    }

    fn index(&mut self) {
        let all = self.newest_first();
        self.by_type = EventType::ALL
            .iter()
            .map(|&event_type| {
                let oldest_first = all.iter().rev();
                let subscribed = oldest_first.filter(|webhook| webhook.config.event_types.wants(event_type));
                (event_type, subscribed.map(Arc::clone).collect())
            })
            .collect();
        let is_judged =
            |webhook: &Webhook| webhook.config.filter.expression.is_some() && webhook.activity != Activity::OffByAdmin;
        for (event_type, subscribed) in &self.by_type {
            let judged: Vec<_> = subscribed.iter().filter(|webhook| is_judged(webhook)).map(Arc::clone).collect();
            if !judged.is_empty() {
                self.with_expression.insert(*event_type, judged);
            }
        }
    }

    /// A table with this webhook added or replaced.
    pub(super) fn with(&self, webhook: Arc<Webhook>) -> Self {
        let mut by_id = self.by_id.clone();
        by_id.insert(webhook.id, webhook);
        let mut table = Self { by_id, ..Self::default() };
        table.index();
        table
    }

    /// A table without this webhook.
    pub(super) fn without(&self, id: WebhookId) -> Self {
        let mut by_id = self.by_id.clone();
        by_id.remove(&id);
        let mut table = Self { by_id, ..Self::default() };
        table.index();
        table
    }

    /// The webhook with this id.
    pub fn get(&self, id: WebhookId) -> Option<&Arc<Webhook>> {
        self.by_id.get(&id)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Webhook>> {
        self.by_id.values()
    }

    /// The formats that active webhooks name.
    pub fn active_formats<C: FromIterator<String>>(&self) -> C {
        let active = self.by_id.values().filter(|webhook| webhook.activity.is_active());
        active.map(|webhook| webhook.config.format.clone()).collect()
    }

    /// All of them, the newest first.
    pub fn newest_first(&self) -> Vec<Arc<Webhook>> {
        let mut all: Vec<_> = self.by_id.values().map(Arc::clone).collect();
        all.sort_unstable_by_key(|webhook| std::cmp::Reverse(webhook.id));
        all
    }

    /// Returns true if a webhook that makes deliveries has an expression.
    pub fn has_expressions(&self) -> bool {
        !self.with_expression.is_empty()
    }

    /// The expressions that decide to which webhooks an event goes, with their webhooks: those whose other conditions hold.
    pub fn expressions<'a>(
        &'a self,
        event_type: EventType,
        severity: Option<Severity>,
        engagement_id: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Arc<Webhook>, &'a str)> {
        let judged = self.with_expression.get(&event_type).map_or(&[][..], Vec::as_slice);
        let subject = Subject { event_type, severity, engagement_id };
        let judged = judged.iter().filter(move |webhook| judge(webhook, &subject, None).is_ok());
        judged.filter_map(|webhook| Some((webhook, webhook.config.filter.expression.as_deref()?)))
    }

    /// The webhooks that subscribed to this type, the oldest first.
    pub(super) fn subscribed(&self, event_type: EventType) -> &[Arc<Webhook>] {
        self.by_type.get(&event_type).map_or(&[], Vec::as_slice)
    }
}

/// An immutable snapshot of all tokens, by the SHA-256 of their text.
#[derive(Default, Clone)]
pub struct Tokens(HashMap<[u8; 32], Token>);

impl Tokens {
    pub(super) fn new(tokens: impl IntoIterator<Item = ([u8; 32], Token)>) -> Self {
        Self(tokens.into_iter().collect())
    }

    /// The token with this text. The time of a look-up by hash reveals nothing about the text.
    pub(super) fn find(&self, text: &str) -> Option<Token> {
        self.0.get(&hash(text)).cloned()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn newest_first(&self) -> Vec<Token> {
        let mut all: Vec<_> = self.0.values().cloned().collect();
        all.sort_unstable_by_key(|token| std::cmp::Reverse(token.id));
        all
    }

    pub(super) fn with(&self, hash: [u8; 32], token: Token) -> Self {
        let mut tokens = self.0.clone();
        tokens.insert(hash, token);
        Self(tokens)
    }

    pub(super) fn without(&self, hash: &[u8; 32]) -> Self {
        let mut tokens = self.0.clone();
        tokens.remove(hash);
        Self(tokens)
    }

    /// The number of admin tokens.
    pub(super) fn admins(&self) -> usize {
        self.0.values().filter(|token| token.role == Role::Admin).count()
    }

    pub(super) fn with_id(&self, id: TokenId) -> Option<([u8; 32], &Token)> {
        self.0.iter().find(|(_, token)| token.id == id).map(|(hash, token)| (*hash, token))
    }
}

/// The stored form of a token's text. The text has 256 random bits, or is an operator's own choice of at least 16
/// characters; a slow hash would only slow every request down.
pub(super) fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// A new token's text: a prefix that secret scanners can look for, and 32 random bytes in hexadecimal. `None` when the
/// system has no randomness.
pub(super) fn new_token_text() -> Option<Secret> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).ok()?;
    Some(Secret::new(format!("hrld_{}", HEXLOWER.encode(&random))))
}
