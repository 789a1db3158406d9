//! What all requests of a webhook have in common, prepared once and not for each attempt.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::{HeaderName, HeaderValue, USER_AGENT};

use crate::formatter::Component;
use crate::model::id::WebhookId;
use crate::model::mask::Needles;
use crate::model::webhook::Webhook;
use crate::signature::Signer;

/// Webhooks that are kept. Beyond that all are forgotten, and prepared again with their next request.
const MAX_KEPT: usize = 1024;

/// The common parts of one webhook's requests.
pub(super) struct Prepared {
    /// The webhook's revision, and the component's digest, that it was made of.
    of: (u64, [u8; 32]),
    /// The headers that are always the same: the webhook's, and the host's over them.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) signer: Option<Signer>,
    /// Signers of secrets that were replaced, and until when they sign, in milliseconds of the steady clock.
    pub(super) old_signers: Vec<(i64, Signer)>,
    /// What is masked in responses, once there was one.
    pub(super) needles: Needles,
}

impl Prepared {
    /// `None` if a header or a secret cannot be used; all were checked when they were saved.
    fn new(webhook: &Webhook, of: (u64, [u8; 32])) -> Option<Self> {
        let mut headers = Vec::with_capacity(webhook.config.headers.len() + 1);
        for (name, value) in &webhook.config.headers {
            let mut value = HeaderValue::from_str(value.expose()).ok()?;
            value.set_sensitive(true);
            headers.push((HeaderName::from_bytes(name.as_bytes()).ok()?, value));
        }
        headers.push((USER_AGENT, HeaderValue::from_static(concat!("heraldry/", env!("CARGO_PKG_VERSION")))));
        let signer = match &webhook.config.secret {
            Some(secret) => Some(Signer::new(secret)?),
            None => None,
        };
        let old_signers = webhook.old_secrets.iter().map(|old| Some((old.until_ms, Signer::new(&old.secret)?)));
        let old_signers = old_signers.collect::<Option<_>>()?;
        Some(Self { of, headers, signer, old_signers, needles: Needles::default() })
    }
}

/// The webhooks that were last delivered to.
#[derive(Default)]
pub(super) struct PreparedWebhooks(Mutex<HashMap<WebhookId, Arc<Prepared>>>);

impl PreparedWebhooks {
    /// What is prepared of this webhook, as it is, for payloads of this component.
    pub(super) fn get(&self, webhook: &Webhook, component: &Component) -> Option<Arc<Prepared>> {
        let of = (webhook.revision, component.digest());
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(prepared) = kept.get(&webhook.id).filter(|prepared| prepared.of == of) {
            return Some(Arc::clone(prepared));
        }
        let prepared = Arc::new(Prepared::new(webhook, of)?);
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(webhook.id, Arc::clone(&prepared));
        Some(prepared)
    }
}
