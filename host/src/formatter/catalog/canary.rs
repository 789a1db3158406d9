//! Canary and rollback: a new version runs with its predecessor at hand until it has succeeded a thousand times. When
//! it fails on an event that the predecessor can format, the predecessor formats that event and is used again.

use std::sync::Arc;
use std::time::Duration;

use super::component::Component;
use super::shared::Shared;
use super::table::{ROLLED_BACK, Rejected};
use super::versions::{Origin, Withdrawn};
use crate::formatter::admission::Rejection;
use crate::formatter::digest::hex;
use crate::formatter::runtime::{Digested, OnLong, Payload, RenderError};
use crate::model::audit::{Action, Actor, AuditEvent, FieldChange};
use crate::model::delivery::{FormatterRef, Part};
use crate::model::event::Event;
use crate::model::host_event::{About, FormatterFacts, HostEvent};
use crate::model::url::TransportKind;

/// Successful calls after which a version is no canary any more and is not rolled back.
const CANARY_CALLS: u64 = 1000;

/// A rendered event.
pub struct Rendering {
    /// The payload to send.
    pub payload: Payload,
    /// The component that made the payload, if it is not the one that was asked: that one failed.
    pub instead: Option<Arc<Component>>,
    /// An explanation for the webhook's admin, if `instead` is set.
    pub note: Option<String>,
}

impl Rendering {
    fn new(payload: Payload, instead: Option<Instead>) -> Self {
        let (instead, note) = instead.unzip();
        Self { payload, instead, note }
    }
}

/// A rendered digest.
pub struct RenderedDigest {
    /// The message.
    pub rendering: Rendering,
    /// The events that the format has no message for, by their place in the list, in ascending order.
    pub unsupported: Vec<usize>,
}

/// The component that did what the asked one failed at, with an explanation for the webhook's admin.
type Instead = (Arc<Component>, String);

/// Makes a component a canary, with the version that it replaces as its predecessor. Only one predecessor is kept.
pub(super) fn begin(component: &Arc<Component>, before: Option<Arc<Component>>) {
    if let Some(before) = before.filter(|before| before.digest() != component.digest()) {
        before.predecessor.store(None);
        component.predecessor.store(Some(before));
    }
}

/// The rejection of a version that was rolled back.
pub(super) fn rolled_back(component: &Component, reason: &str) -> Rejected {
    let reason = format!("{reason}; the version before is used until the file changes");
    Rejected { digest: Some(component.digest()), rejection: Rejection::new(ROLLED_BACK, reason) }
}

impl Shared {
    /// Renders one event with a component, or with its predecessor if it is a canary that fails.
    pub(super) fn render(
        &self,
        component: &Arc<Component>,
        event: &Event,
        options: &str,
        transport_kind: TransportKind,
        on_long: Option<OnLong>,
    ) -> Result<Rendering, RenderError> {
        let call = |component: &Component| self.call(component, event, options, transport_kind, on_long.clone()).result;
        let subject = || format!("a {} event ({})", event.event_type.as_str(), event.id);
        let (payload, instead) = self.with_predecessor(component, "event", subject, call)?;
        Ok(Rendering::new(payload, instead))
    }

    /// Makes one message of many events with a component, or with its predecessor if it is a canary that fails.
    pub(super) fn render_digest(
        &self,
        component: &Arc<Component>,
        events: &[Arc<Event>],
        part: Part,
        options: &str,
        on_long: Option<OnLong>,
    ) -> Result<RenderedDigest, RenderError> {
        let call = |component: &Component| {
            let made = self.digest(component, events, part, options, on_long.clone());
            made.unwrap_or_else(|| Err(RenderError::NotRun(format!("{} makes no digests", component.name()))))
        };
        let subject = || {
            let first = events.first().map(|event| format!(", the first of them {}", event.id)).unwrap_or_default();
            format!("a digest of {} events{first}", events.len())
        };
        let (Digested { payload, unsupported }, instead) = self.with_predecessor(component, "digest", subject, call)?;
        Ok(RenderedDigest { rendering: Rendering::new(payload, instead), unsupported })
    }

    /// Calls a component, and its predecessor if it is a canary that fails where that one does not; then it is rolled back.
    /// `kind` and `subject` say in words what the call was about, in short and at length.
    fn with_predecessor<T>(
        &self,
        component: &Arc<Component>,
        kind: &str,
        subject: impl Fn() -> String,
        call: impl Fn(&Component) -> Result<T, RenderError>,
    ) -> Result<(T, Option<Instead>), RenderError> {
        let error = match call(component) {
            Ok(made) => {
                self.succeeded(component);
                return Ok((made, None));
            }
            // What another try may do is no reason to roll back: the limit on time is crossed on a busy machine, too.
            Err(error) if !error.is_fault() || !error.is_deterministic() => return Err(error),
            Err(error) => error,
        };
        let other = component.predecessor.load_full().or_else(|| {
            // The component was replaced while this call ran: its successor may do better.
            self.current(component.name()).filter(|current| current.origin != Origin::BuiltIn)
        });
        let Some(other) = other.filter(|other| other.digest() != component.digest()) else { return Err(error) };
        let Ok(made) = call(&other) else { return Err(error) };
        let then = if self.withdraw(component, &other, &subject(), &error) { ", and was rolled back" } else { "" };
        let note = format!(
            "formatted by version {} of {}: version {} fails on this {kind}, where {0} does not{then} ({error})",
            other.manifest().version,
            other.name(),
            component.manifest().version,
        );
        Ok((made, Some((other, note))))
    }

    /// Renders one event on a thread that others wait for. Returns the processor time, and the payload if there is one:
    /// whatever else happens is left to a call on the pool, and only that is counted.
    pub(super) fn render_here(
        &self,
        component: &Arc<Component>,
        event: &Event,
        options: &str,
        transport_kind: TransportKind,
    ) -> (Duration, Option<Rendering>) {
        let run = self.runtime.run_here(&component.loaded, event, options, transport_kind);
        let used = run.processor;
        if run.result.is_err() {
            return (used, None);
        }
        self.count(component, &run, event);
        self.succeeded(component);
        (used, run.result.ok().map(|payload| Rendering::new(payload, None)))
    }

    /// A canary that has succeeded often enough is none any more.
    fn succeeded(&self, component: &Component) {
        if component.predecessor.load().is_some() && component.stats.successes() >= CANARY_CALLS {
            component.predecessor.store(None);
        }
    }

    /// Rolls back from `bad`, which failed on `subject`, to `good`. Returns false if `bad` is not in use any more: a
    /// concurrent change wins.
    fn withdraw(&self, bad: &Arc<Component>, good: &Arc<Component>, subject: &str, error: &RenderError) -> bool {
        let name = bad.name();
        let mut sources = self.sources();
        if self.current(name).is_none_or(|current| current.digest() != bad.digest()) {
            return false;
        }
        let reason = format!(
            "version {} failed on {subject} where version {} did not: {error}",
            bad.manifest().version,
            good.manifest().version
        );
        tracing::warn!(
            formatter = name,
            from = bad.manifest().version,
            to = good.manifest().version,
            on = subject,
            code = error.code(),
            "a formatter was rolled back; its list of versions has the reason: correct the new version and install it again"
        );
        let version = FieldChange {
            field: "version".into(),
            from: bad.manifest().version.as_str().into(),
            to: good.manifest().version.as_str().into(),
        };
        let changes = vec![version, FieldChange::to("reason", reason.as_str())];
        (self.audit_events)(AuditEvent::formatter(Actor::Host, Action::FormatterRolledBack, name, changes));
        // The error may quote a webhook's options.
        let words = format!(
            "version {} failed on {subject} where version {} did not ({}); that version is used again",
            bad.manifest().version,
            good.manifest().version,
            error.code(),
        );
        let FormatterRef { name: format, version, digest } = bad.reference().clone();
        let facts = FormatterFacts { name: format, version: Some(version), digest: Some(digest) };
        (self.host_events)(HostEvent::new(About::FormatterRolledBack(facts), &words));
        if bad.origin == Origin::Upload {
            sources.uploads.insert(name.to_owned(), Ok(Arc::clone(good)));
        } else if let Some(drop_in) = bad.file.as_ref().and_then(|file| sources.files.get_mut(file)) {
            drop_in.good = Some(Arc::clone(good));
            drop_in.rejected = Some(rolled_back(bad, &reason));
        }
        if let Some(mut history) = sources.versions.get(name).cloned() {
            let withdrawn = Withdrawn { at: self.clock.now(), reason };
            history.withdraw(&hex(&bad.digest()), &hex(&good.digest()), withdrawn);
            self.remember(&mut sources, name, Some(history));
        }
        self.publish(&sources);
        true
    }
}
