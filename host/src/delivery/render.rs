//! Rendering: one delivery's payload, made by the component that made it before, if there is one.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::batch::Ready;
use super::claim::Claim;
use super::event_cache::EventCache;
use super::result::{Attempted, Ending, event_of};
use crate::formatter::{Catalog, Component, RenderCache, RenderError, RenderKey};
use crate::model::event::Event;
use crate::model::id::DeliveryId;
use crate::model::mask::Mask;
use crate::model::url::TransportKind;
use crate::model::webhook::Webhook;
use crate::store::{Pin, Store};
use crate::transport;

/// Renders deliveries with the loaded formatters.
pub(super) struct Renderer {
    pub(super) store: Arc<Store>,
    pub(super) catalog: Arc<Catalog>,
    /// Events that are in no lane's window.
    pub(super) events: EventCache,
    /// Payloads of the last moments: a fan-out to webhooks of one format and options renders once.
    pub(super) rendered: RenderCache,
}

impl Renderer {
    /// Renders one claimed delivery, the `index`th; else how it ends without being sent.
    pub(super) async fn render(&self, webhook: &Webhook, index: usize, claim: &mut Claim) -> Result<Ready, Ending> {
        let event = self.event(claim).await?;
        let item = &claim.item;
        let rendering = rendering(webhook);
        let pinned = item.sent.pin().filter(|pin| pin.rendering == rendering);
        let Some(component) = self.component(webhook, pinned).await else { return Err(Ending::NotLoaded) };
        let key = RenderKey { event: event.id, component: component.digest(), rendering };
        let options = webhook.config.format_options.as_str();
        let transport_kind = webhook.config.url.scheme().transport_kind();
        let render = self.catalog.render(&component, &event, options, transport_kind);
        // The claim and this function have the event; whoever else has it may want it rendered, too.
        let rendered = if Arc::strong_count(&event) > 2 {
            self.rendered.get_or(key, render).await
        } else {
            self.rendered.get_or_alone(key, render).await
        };
        match rendered {
            Err(RenderError::Unsupported(_)) => Err(Ending::Skipped),
            Err(RenderError::Stopping) => Err(Ending::Interrupted),
            Err(error) => {
                let pin = Pin { component: component.digest(), rendering };
                let attempted = unrendered(webhook, &event, &component, &error);
                Err(Ending::Attempted(Box::new(Attempted { pin: Some(pin), ..attempted })))
            }
            Ok(rendered) => {
                // The delivery keeps the component that did render it.
                let by = rendered.instead.as_ref().map_or(component, Arc::clone);
                let pin = Pin { component: by.digest(), rendering };
                if let Err(why) = fits(webhook, &by, &rendered.payload.body) {
                    let attempted = Attempted::by(webhook, &event, &by).rejected(&why);
                    return Err(Ending::Attempted(Box::new(Attempted { pin: Some(pin), ..attempted })));
                }
                Ok(Ready::claimed(index, item, webhook, event, by, rendered, pin))
            }
        }
    }

    /// The claimed delivery's event: at hand if it was just accepted, else from the cache or the store.
    pub(super) async fn event(&self, claim: &mut Claim) -> Result<Arc<Event>, Ending> {
        if let Some(event) = &claim.event {
            return Ok(Arc::clone(event));
        }
        claim.event = self.events.get(claim.item.event);
        let is_read = claim.event.is_none();
        let event = event_of(claim, &self.store).await?;
        if is_read {
            self.events.put(&event);
        }
        Ok(event)
    }

    /// Renders a test delivery with this component; else the attempt that could not be made.
    pub(super) async fn render_test(
        &self,
        webhook: &Webhook,
        component: Arc<Component>,
        event: Arc<Event>,
        delivery: DeliveryId,
    ) -> Result<Ready, Box<Attempted>> {
        let options = webhook.config.format_options.as_str();
        let transport_kind = webhook.config.url.scheme().transport_kind();
        let rendered = match self.catalog.render(&component, &event, options, transport_kind).await {
            Ok(rendered) => Arc::new(rendered),
            Err(error) => {
                return Err(Box::new(unrendered(webhook, &event, &component, &error)));
            }
        };
        let by = rendered.instead.as_ref().map_or(component, Arc::clone);
        if let Err(why) = fits(webhook, &by, &rendered.payload.body) {
            return Err(Box::new(Attempted::by(webhook, &event, &by).rejected(&why)));
        }
        let pin = Pin { component: by.digest(), rendering: rendering(webhook) };
        let (index, attempt, is_last, is_again, part) = (0, 1, true, false, None);
        Ok(Ready { index, event, delivery, attempt, is_last, is_again, by, rendering: rendered, pin, part })
    }

    /// The component that this delivery is pinned to, as long as format and options stayed as they were; else the
    /// format's current one.
    pub(super) async fn component(&self, webhook: &Webhook, pin: Option<Pin>) -> Option<Arc<Component>> {
        let current = self.catalog.current(&webhook.config.format);
        match (pin, &current) {
            (Some(pin), Some(component)) if component.digest() == pin.component => current,
            (Some(pin), _) => self.catalog.pinned(pin.component).await.or(current),
            (None, _) => current,
        }
    }
}

/// An attempt that ended with this error of the component.
fn unrendered(webhook: &Webhook, event: &Event, component: &Component, error: &RenderError) -> Attempted {
    let mask = Mask::new(webhook, &component.manifest().options_schema);
    Attempted::by(webhook, event, component).unrendered(error, &mask)
}

/// The digest of everything but event and component that a rendering depends on.
pub(super) fn rendering(webhook: &Webhook) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(webhook.config.format.as_bytes());
    hash.update([0]);
    hash.update(webhook.config.format_options.as_bytes());
    let transport_kind = webhook.config.url.scheme().transport_kind();
    // Pins that were stored before there was another transport than HTTP keep their digest.
    if transport_kind != TransportKind::Http {
        hash.update([0]);
        hash.update(transport_kind.name());
    }
    hash.finalize().into()
}

/// Checks that a payload can go over the webhook's transport; the error says why not. A webhook is checked when it is
/// saved, but its formatter may have been replaced since.
fn fits(webhook: &Webhook, by: &Component, body: &[u8]) -> Result<(), String> {
    let scheme = webhook.config.url.scheme();
    if scheme.is_syslog() && !by.makes_lines() {
        return Err("the format makes documents, and this transport takes lines".to_owned());
    }
    transport::fits(scheme, body)
}
