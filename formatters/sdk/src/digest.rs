//! The optional digest of a formatter: one message of many events, for webhooks that collect what happens within a window
//! (interface `digest`, since contract 1.2.0).
//!
//! ```
//! use heraldry_formatter::{
//!     Context, Digest, Digester, Error, Event, Formatter, Manifest, NoOptions, Payload, digest,
//! };
//!
//! pub struct Headlines;
//! # impl Formatter for Headlines {
//! #     type Options = NoOptions;
//! #     fn manifest() -> Manifest { Manifest::new("headlines", "1.0.0") }
//! #     fn render(_: &Event<'_>, _: &Context, _: &NoOptions) -> Result<Payload, Error> { Err(Error::Internal("".into())) }
//! # }
//!
//! impl Digester for Headlines {
//!     fn digest(digest: &Digest<'_, '_>, _: &NoOptions) -> Result<Payload, Error> {
//!         let mut text = format!("{}: {}\n", digest.headline(), digest.counts().words());
//!         for event in digest.worst().take(10) {
//!             text.push_str(&format!("- {}\n", event.headline()));
//!         }
//!         text.push_str(&digest.rest_words(10).unwrap_or_default());
//!         Ok(Payload { content_type: "text/plain; charset=utf-8".into(), headers: vec![], body: text.into_bytes() })
//!     }
//! }
//!
//! heraldry_formatter::export_digester!(Headlines);
//!
//! let finding = |title: &str| digest::RawEvent {
//!     id: title.into(),
//!     type_: "finding_added".into(),
//!     occurred_at: "2026-11-17T10:12:45.120Z".into(),
//!     json: format!(r#"{{"data":{{"finding":{{"title":"{title}","severity":"{title}"}}}}}}"#),
//! };
//! let message = digest::<Headlines>(vec![finding("low"), finding("high")], &digest::Context::alone(2), "{}")?;
//! assert_eq!(message.body, b"2 findings: 1 high, 1 low\n- high\n- low\n");
//! # Ok::<(), String>(())
//! ```

mod counts;
mod groups;
#[cfg(test)]
mod tests;

pub use counts::Counts;
pub use groups::Group;

pub use crate::digest_bindings::exports::heraldry::formatter::digest::{Context, Event as RawEvent, Header, Message};

use crate::component::parse_options;
use crate::event::{Event, EventType, instant};
use crate::{Error, Formatter, Payload, Severity};

/// The longest time that is part of a command, in bytes: that of the host has 24.
const TIME: usize = 40;

/// Makes digests. Implemented by the type that is the [`Formatter`], whose options it shares.
pub trait Digester: Formatter {
    /// Returns false for an event that has no message in this format: its delivery is skipped, which is not a failure.
    /// The same rule as that by which `render` returns `unsupported-event`. Types that the SDK does not know are left
    /// out already.
    fn takes(event: &Event<'_>, options: &Self::Options) -> bool {
        let _ = (event, options);
        true
    }

    /// Makes one message of the events of a digest. The same arguments give the same bytes. A message has at most
    /// 1 MiB; the destination may accept less.
    ///
    /// # Errors
    /// Any [`Error`]; it becomes a sentence in the log and the history, and the host sends the events one by one.
    fn digest(digest: &Digest<'_, '_>, options: &Self::Options) -> Result<Payload, Error>;
}

/// The component's `digest`: parses options and events, leaves out those that the format has no message for, and makes the
/// message. The sandbox runs exactly this function.
///
/// # Errors
/// A sentence: for invalid options, for an event that cannot be parsed, and any
/// error of [`Digester::digest`].
pub fn digest<D: Digester>(events: Vec<RawEvent>, context: &Context, options: &str) -> Result<Message, String> {
    let options = parse_options::<D::Options>(options).map_err(words)?;
    let raw: Vec<crate::RawEvent> = events.into_iter().map(Into::into).collect();
    let mut parsed = Vec::with_capacity(raw.len());
    let mut unsupported = Vec::new();
    for (place, event) in (0_u32..).zip(&raw) {
        match Event::parse_to(event, D::LEVELS) {
            Ok(event) if D::takes(&event, &options) => parsed.push(event),
            Ok(_) | Err(Error::UnsupportedEvent(_)) => unsupported.push(place),
            Err(error) => return Err(format!("event {}: {}", event.id, words(error))),
        }
    }
    if parsed.is_empty() {
        // There is nothing to send; the host skips every delivery.
        return Ok(Message { content_type: String::new(), headers: Vec::new(), body: Vec::new(), unsupported });
    }
    let Payload { content_type, headers, body } = D::digest(&Digest::of(&parsed, context), &options).map_err(words)?;
    let headers = headers.into_iter().map(|header| Header { name: header.name, value: header.value }).collect();
    Ok(Message { content_type, headers, body, unsupported })
}

/// An error of the contract in one sentence.
fn words(error: Error) -> String {
    let (what, problems) = match error {
        Error::Internal(message) => return message,
        Error::UnsupportedEvent(kind) => return format!("there is no message for events of the type {kind}"),
        Error::InvalidOptions(problems) => ("the options are invalid", problems),
        Error::InvalidEvent(problems) => ("the event is invalid", problems),
    };
    let problems: Vec<_> =
        problems.iter().map(|problem| format!("{} {}", problem.pointer, problem.message).trim().to_owned()).collect();
    format!("{what}: {}", problems.join("; "))
}

impl From<RawEvent> for crate::RawEvent {
    fn from(event: RawEvent) -> Self {
        Self { id: event.id, type_: event.type_, occurred_at: event.occurred_at, json: event.json }
    }
}

impl From<crate::RawEvent> for RawEvent {
    fn from(event: crate::RawEvent) -> Self {
        Self { id: event.id, type_: event.type_, occurred_at: event.occurred_at, json: event.json }
    }
}

impl Context {
    /// The context of a digest that is a single message of `total` events, for tests.
    pub fn alone(total: u32) -> Self {
        Self { part: 1, parts: 1, total, host_name: "heraldry.example".into(), product_version: "0.1.0".into() }
    }
}

/// The events of one message: how many of what severity, of which engagements, and the worst first.
///
/// A finding whose `critical_finding` is in the same message is counted and named once, as that.
#[derive(Debug)]
pub struct Digest<'e, 'a> {
    context: &'e Context,
    all: &'e [Event<'a>],
    /// The distinct ones, the worst first.
    ranked: Vec<&'e Event<'a>>,
    counts: Counts,
    groups: Vec<Group<'e>>,
}

impl<'e, 'a> Digest<'e, 'a> {
    /// Of events in order of acceptance.
    pub fn of(events: &'e [Event<'a>], context: &'e Context) -> Self {
        let mut causes: Vec<&str> = events.iter().filter_map(|event| event.caused_by.as_deref()).collect();
        causes.sort_unstable();
        let is_distinct = |event: &&Event<'_>| causes.binary_search(&event.id).is_err();
        let distinct: Vec<&Event<'a>> = events.iter().filter(is_distinct).collect();
        // Events that name each other as their cause, which no host derives, are all shown.
        let distinct = if distinct.is_empty() { events.iter().collect() } else { distinct };
        let mut counts = Counts::default();
        distinct.iter().for_each(|event| counts.add(event));
        let groups = groups::of(&distinct);
        Self { context, all: events, ranked: ranked(distinct), counts, groups }
    }

    /// All events in order of acceptance, a finding beside its `critical_finding`.
    pub fn all(&self) -> &'e [Event<'a>] {
        self.all
    }

    /// The distinct events, the worst first: by severity, then by score, then in order of acceptance. Those without a
    /// severity (a report is ready, an engagement is completed) come after the high ones.
    pub fn worst(&self) -> impl Iterator<Item = &'e Event<'a>> + '_ {
        self.ranked.iter().copied()
    }

    /// The number of distinct events, at least 1.
    pub fn len(&self) -> usize {
        self.ranked.len()
    }

    /// Returns false: a digest has at least one event.
    pub fn is_empty(&self) -> bool {
        self.ranked.is_empty()
    }

    /// How many distinct events there are of each severity.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The engagements, that with the worst events first.
    pub fn groups(&self) -> &[Group<'e>] {
        &self.groups
    }

    /// The severities of the events, worst first; those without one count as info, as in a message of one event.
    pub fn severities(&self) -> impl Iterator<Item = Severity> + '_ {
        Severity::ALL.into_iter().rev().filter(|severity| self.ranked.iter().any(|event| event.severity() == *severity))
    }

    /// The worst severity.
    pub fn severity(&self) -> Severity {
        self.severities().next().unwrap_or_default()
    }

    /// `300 findings`, or `12 events` where not each is a new finding.
    pub fn headline(&self) -> String {
        let is_new = |event: &&Event<'_>| matches!(event.kind, EventType::FindingAdded | EventType::CriticalFinding);
        let are_findings = self.ranked.iter().all(is_new);
        match (self.len(), are_findings) {
            (1, true) => "1 finding".into(),
            (1, false) => "1 event".into(),
            (count, true) => format!("{count} findings"),
            (count, false) => format!("{count} events"),
        }
    }

    /// `part 1 of 3, 2345 events in all`; `None` if there is one part.
    pub fn part_words(&self) -> Option<String> {
        let Context { part, parts, total, .. } = self.context;
        (*parts > 1).then(|| format!("part {part} of {parts}, {total} events in all"))
    }

    /// `and 290 more: 15 high, 51 medium, 85 low, 135 info`: the events behind the first `shown` of [`Digest::worst`].
    /// `None` if there are none.
    pub fn rest_words(&self, shown: usize) -> Option<String> {
        let rest = self.ranked.get(shown..).filter(|rest| !rest.is_empty())?;
        let mut counts = Counts::default();
        rest.iter().for_each(|event| counts.add(event));
        Some(format!("and {} more: {}", rest.len(), counts.words()))
    }

    /// The events behind the first `shown` of [`Digest::worst`] by their titles, the worst first: of those that have the same
    /// title and severity the first, and how many there are. A scan finds the same on many hosts.
    pub fn titles(&self, shown: usize) -> Vec<(&'e Event<'a>, usize)> {
        let rest = self.ranked.get(shown..).unwrap_or_default();
        let mut by_title: Vec<_> =
            rest.iter().enumerate().map(|(place, event)| (event.headline(), event.severity(), place)).collect();
        by_title.sort_unstable();
        let same = by_title.chunk_by(|one, other| (&one.0, one.1) == (&other.0, other.1));
        let mut titles: Vec<_> = same.map(|same| (same[0].2, same.len())).collect();
        titles.sort_unstable();
        titles.into_iter().map(|(place, count)| (rest[place], count)).collect()
    }

    /// The command that lists the events in full: `heraldry event list --since 2026-11-17T10:12:45.120Z`, from the time
    /// of the earliest on. `None` if a time is not one.
    pub fn command(&self) -> Option<String> {
        let harmless = |b: u8| b.is_ascii_digit() || b"TZ:.+-".contains(&b);
        let time = |event: &'e Event<'a>| {
            let text = event.occurred_at;
            let is_sane = text.len() <= TIME && text.bytes().all(harmless);
            instant(text).filter(|_| is_sane).map(|time| (time, text))
        };
        let times: Option<Vec<_>> = self.all.iter().map(time).collect();
        let (_, first) = times?.into_iter().min()?;
        Some(format!("heraldry event list --since {first}"))
    }

    /// Number of this message, number of all messages, and number of the events of all of them.
    pub fn context(&self) -> &'e Context {
        self.context
    }
}

/// The events, the worst first.
fn ranked<'e, 'a>(events: Vec<&'e Event<'a>>) -> Vec<&'e Event<'a>> {
    let mut ranked: Vec<_> = events
        .into_iter()
        .map(|event| {
            let score = if event.kind.is_finding() { event.cvss().and_then(|cvss| cvss.score) } else { None };
            (rank(event), score.unwrap_or_default(), event)
        })
        .collect();
    ranked.sort_by(|(rank, score, _), (other_rank, other_score, _)| {
        other_rank.cmp(rank).then_with(|| other_score.total_cmp(score))
    });
    ranked.into_iter().map(|(_, _, event)| event).collect()
}

/// What has no severity is news that a list of three hundred findings must not hide.
fn rank(event: &Event<'_>) -> u8 {
    match (event.kind.names_severity(), event.severity()) {
        (true, Severity::Critical) => 5,
        (true, Severity::High) => 4,
        (false, _) => 3,
        (true, Severity::Medium) => 2,
        (true, Severity::Low) => 1,
        (true, Severity::Info) => 0,
    }
}

/// Exports the type, a [`Digester`], as the component's `digest`, in addition to
/// [`export_formatter!`](crate::export_formatter). A crate that does not call this has no digests. Natively the crate stays
/// an ordinary library.
#[macro_export]
macro_rules! export_digester {
    ($digester:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Component;

            impl $crate::digest_bindings::exports::heraldry::formatter::digest::Guest for Component {
                fn digest(
                    events: ::std::vec::Vec<$crate::digest::RawEvent>,
                    context: $crate::digest::Context,
                    options: ::std::string::String,
                ) -> ::std::result::Result<$crate::digest::Message, ::std::string::String> {
                    $crate::component::log_panics();
                    $crate::digest::<$digester>(events, &context, &options)
                }
            }

    $crate::digest_bindings::export!(Component with_types_in $crate::digest_bindings);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(
            ::std::vec::Vec<$crate::digest::RawEvent>,
            &$crate::digest::Context,
            &str,
        ) -> ::std::result::Result<$crate::digest::Message, ::std::string::String> = $crate::digest::<$digester>;
    };
}
