//! Digests: one message of many deliveries, made by the formatter.
//!
//! Which deliveries a message has was written to their queue entry before it is first sent. Here the formatter makes its
//! bytes, the same at every attempt. A message that it cannot make, and one that the destination finds too large, is taken
//! apart: its deliveries go out one by one.

use std::sync::Arc;

use super::batch::{self, Ready};
use super::claim::Claim;
use super::render::{Renderer, rendering};
use super::result::{Attempted, Ending, Split};
use crate::formatter::{Component, RenderError, RenderedDigest, Rendering};
use crate::model::delivery::Part;
use crate::model::event::Event;
use crate::model::mask::Mask;
use crate::model::webhook::Webhook;
use crate::store::Pin;

/// Calls of the formatter for one attempt: it may name events as unsupported, and is asked again for the others, so that a
/// retry, which does not have those, gets the same bytes.
const ROUNDS: usize = 3;

/// A delivery of the message, with its index among the claims.
type Member = (usize, Arc<Event>);

/// Why there is no message.
enum NotMade {
    /// The formatter failed.
    Failed(RenderError),
    /// The format or the transport has none, in words.
    Impossible(String),
}

impl Renderer {
    /// Renders the message of these deliveries. What ends without being sent is in `endings`, by the index of the claim;
    /// nothing is returned if all of them do.
    pub(super) async fn render_digest(
        &self,
        webhook: &Webhook,
        claims: &mut [Claim],
        part: Part,
        endings: &mut [Option<Ending>],
    ) -> Vec<Ready> {
        let mut members: Vec<Member> = Vec::with_capacity(claims.len());
        for (index, (claim, ending)) in claims.iter_mut().zip(endings.iter_mut()).enumerate() {
            match self.event(claim).await {
                Ok(event) => members.push((index, event)),
                // The store is closed: a part of the message would be another one.
                Err(Ending::Interrupted) => return Vec::new(),
                Err(gone) => *ending = Some(gone),
            }
        }
        let (Some(first), rendering) = (claims.first(), rendering(webhook)) else { return Vec::new() };
        let pinned = first.item.sent.pin().filter(|pin| pin.rendering == rendering);
        let Some(component) = self.component(webhook, pinned).await else {
            members.iter().for_each(|(index, _)| endings[*index] = Some(Ending::NotLoaded));
            return Vec::new();
        };
        let message = match self.message(webhook, &component, &mut members, part, endings).await {
            Ok(Some(message)) => Arc::new(message),
            Ok(None) => return Vec::new(),
            Err(why) => {
                take_apart(webhook, &component, &members, &why, endings);
                return Vec::new();
            }
        };
        // The message keeps the component that did make it.
        let by = message.instead.as_ref().unwrap_or(&component);
        let pin = Pin { component: by.digest(), rendering };
        let ready = |(index, event): Member| {
            let (by, message) = (Arc::clone(by), Arc::clone(&message));
            Ready::claimed(index, &claims[index].item, webhook, event, by, message, pin)
        };
        members.into_iter().map(ready).collect()
    }

    /// The message of the members; those that the format has no message for leave them. `None`: nothing is to be sent.
    async fn message(
        &self,
        webhook: &Webhook,
        component: &Arc<Component>,
        members: &mut Vec<Member>,
        part: Part,
        endings: &mut [Option<Ending>],
    ) -> Result<Option<Rendering>, NotMade> {
        if webhook.config.url.scheme().is_syslog() {
            return Err(NotMade::Impossible("a digest goes over HTTP, and this webhook uses syslog".to_owned()));
        }
        for _ in 0..ROUNDS {
            if members.is_empty() {
                return Ok(None);
            }
            let events: Vec<_> = members.iter().map(|(_, event)| Arc::clone(event)).collect();
            let made = self.catalog.digest(component, &events, part, &webhook.config.format_options).await;
            let no_digests = || NotMade::Impossible(format!("the format {} makes no digests", webhook.config.format));
            match made.ok_or_else(no_digests)? {
                Err(RenderError::Stopping) => return Ok(None),
                Err(error) => return Err(NotMade::Failed(error)),
                Ok(RenderedDigest { rendering, unsupported }) if unsupported.is_empty() => return Ok(Some(rendering)),
                Ok(RenderedDigest { unsupported, .. }) => {
                    for place in unsupported.into_iter().rev() {
                        let (index, _) = members.remove(place);
                        endings[index] = Some(Ending::Skipped);
                    }
                }
            }
        }
        let reason = "the formatter names other events as unsupported each time that it makes the digest";
        if members.is_empty() { Ok(None) } else { Err(NotMade::Impossible(reason.to_owned())) }
    }
}

/// Ends the attempt at a message that was not made.
fn take_apart(
    webhook: &Webhook,
    component: &Component,
    members: &[Member],
    why: &NotMade,
    endings: &mut [Option<Ending>],
) {
    let mask = Mask::new(webhook, &component.manifest().options_schema);
    let note = match members.len() {
        1 => "the digest of this event could not be made; it goes out by itself".to_owned(),
        several => format!("the digest of this and {} could not be made; it goes out by itself", others(several)),
    };
    for (index, event) in members {
        let attempted = Attempted::by(webhook, event, component);
        let attempted = match why {
            NotMade::Failed(error) => attempted.unrendered(error, &mask),
            NotMade::Impossible(words) => attempted.rejected(words),
        };
        let attempted = Attempted { note: Some(note.clone()), split: Some(Split::Singly), ..attempted };
        endings[*index] = Some(Ending::Attempted(Box::new(attempted)));
    }
}

/// What the history says of a member of this message.
pub(super) fn note(part: Part, deliveries: usize, id: &str, is_apart: bool) -> String {
    let with = if deliveries > 1 { format!(", with {}", others(deliveries)) } else { String::new() };
    let place = if part.parts > 1 { format!(", part {} of {}", part.number, part.parts) } else { String::new() };
    let apart = if is_apart { "; it goes out by itself now" } else { "" };
    format!("in the digest {id}{with}{place}{apart}")
}

/// The other members of a message of so many.
fn others(members: usize) -> String {
    match members.saturating_sub(1) {
        1 => "1 other".to_owned(),
        several => format!("{several} others"),
    }
}

/// The body of the message that these deliveries share, or of each of them joined.
pub(super) fn body(ready: &[Ready]) -> bytes::Bytes {
    match ready {
        [first, ..] if first.part.is_some() => first.payload().body.clone(),
        _ => batch::joined(ready),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_says_which_message_it_was() {
        let part = Part { number: 1, parts: 1, total: 300 };
        assert_eq!(note(part, 300, "x", false), "in the digest x, with 299 others");
        assert_eq!(note(part, 2, "x", true), "in the digest x, with 1 other; it goes out by itself now");
        let second = Part { number: 2, parts: 3, total: 2001 };
        assert_eq!(note(second, 1, "x", false), "in the digest x, part 2 of 3");
    }
}
