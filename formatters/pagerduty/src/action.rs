//! The action of an event on an alert: trigger or resolve, and the alert's key.

use heraldry_formatter::text::{Rule, bare, is_blank, tidy, utf16};
use heraldry_formatter::value::{Object, Value};
use heraldry_formatter::{Event, EventType, Severity};

/// The longest `dedup_key`, in UTF-16 units: PagerDuty limits "characters", and this is the upper bound of any unit.
const DEDUP_KEY: usize = 255;

/// The note for a retest whose fixes one request cannot resolve.
const RESOLVE_BY_HAND: &str =
    "The alerts of the fixed findings are still open: one request can resolve one alert only. Resolve them by hand.";

/// An action on an alert.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Opens an alert, or updates the open one with this key.
    Trigger {
        dedup_key: String,
        severity: Level,
        /// Instructions for the reader, in addition to the event's content.
        note: Option<&'static str>,
    },
    /// Closes the open alert with this key; does nothing if there is none.
    Resolve { dedup_key: String },
}

/// PagerDuty's severities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Info,
    Warning,
    Error,
    Critical,
}

impl From<Severity> for Level {
    /// The mapping of FORMATS, section 8.
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Info | Severity::Low => Self::Info,
            Severity::Medium => Self::Warning,
            Severity::High => Self::Error,
            Severity::Critical => Self::Critical,
        }
    }
}

impl Action {
    /// The action for an event; `None` for an event that is not an alert.
    pub(crate) fn of(event: &Event<'_>) -> Option<Self> {
        match event.kind {
            kind if kind.is_finding() => {
                let id = event.group().text("id").and_then(|id| key(&id));
                Some(Self::trigger(event, id, event.severity().into()))
            }
            EventType::MonitorAlert => Some(Self::trigger(event, None, event.severity().into())),
            EventType::RetestCompleted => Self::retest(event),
            _ => None,
        }
    }

    /// An alert for an event that normally is not one, for the option `all_events`.
    pub(crate) fn informational(event: &Event<'_>) -> Self {
        Self::trigger(event, None, event.severity().into())
    }

    /// The action for a retest, as described in the crate's documentation.
    fn retest(event: &Event<'_>) -> Option<Self> {
        let (fixed, regressed) = (Listed::of(event.group(), "fixed"), Listed::of(event.group(), "regressed"));
        match (fixed, regressed) {
            (Listed::None, Listed::None) => None,
            (Listed::One(dedup_key), Listed::None) => Some(Self::Resolve { dedup_key }),
            (Listed::None, Listed::One(dedup_key)) => Some(Self::trigger(event, Some(dedup_key), Level::Warning)),
            (Listed::None, _) => Some(Self::trigger(event, None, Level::Warning)),
            (_, Listed::None) => Some(Self::trigger(event, None, Level::Info).with_note(RESOLVE_BY_HAND)),
            (_, _) => Some(Self::trigger(event, None, Level::Warning).with_note(RESOLVE_BY_HAND)),
        }
    }

    fn trigger(event: &Event<'_>, dedup_key: Option<String>, severity: Level) -> Self {
        Self::Trigger { dedup_key: dedup_key.unwrap_or_else(|| event.id.into()), severity, note: None }
    }

    fn with_note(mut self, words: &'static str) -> Self {
        if let Self::Trigger { note, .. } = &mut self {
            *note = Some(words);
        }
        self
    }
}

/// The findings in one list of a retest.
enum Listed {
    None,
    /// Exactly one, with its id.
    One(String),
    /// Several, or one without an id.
    Some,
}

impl Listed {
    fn of(retest: &Object<'_>, member: &str) -> Self {
        let Some(list) = retest.get(member) else { return Self::None };
        // A bare number in place of a list is the number of findings.
        if list.is_number() {
            return if list.number() == Some(0.0) { Self::None } else { Self::Some };
        }
        match list.items()[..] {
            [] => Self::None,
            [one] => id(one).map_or(Self::Some, Self::One),
            _ => Self::Some,
        }
    }
}

/// The id of a list item: the item itself, or the object's member `id`.
fn id(finding: Value<'_>) -> Option<String> {
    let id = if finding.is_object() { finding.object().text("id") } else { finding.text() };
    key(&id?)
}

/// A finding's id as a key: the same for the alert and for the request that closes it.
fn key(id: &str) -> Option<String> {
    let key = tidy(bare(id), Rule::ONE_LINE, DEDUP_KEY, utf16, "");
    (!is_blank(&key)).then(|| key.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use heraldry_formatter::RawEvent;

    fn action(kind: &str, data: &str) -> Option<Action> {
        let raw = RawEvent {
            id: "019a".into(),
            type_: kind.into(),
            occurred_at: "2026-11-17T10:12:45.120Z".into(),
            json: format!(r#"{{"type":"{kind}","data":{data}}}"#),
        };
        Action::of(&Event::parse(&raw).expect("an event"))
    }

    fn trigger(dedup_key: &str, severity: Level) -> Option<Action> {
        Some(Action::Trigger { dedup_key: dedup_key.into(), severity, note: None })
    }

    #[test]
    fn a_retest_acts_on_one_alert() {
        let resolve = |key: &str| Some(Action::Resolve { dedup_key: key.into() });
        let by_hand = |action: Option<Action>| action.map(|action| action.with_note(RESOLVE_BY_HAND));
        let informational = || by_hand(trigger("019a", Level::Info));
        let warning = |key: &str| trigger(key, Level::Warning);
        for (lists, expected) in [
            (r#""fixed":["F-1"]"#, resolve("F-1")),
            (r#""fixed":"F-1""#, resolve("F-1")),
            (r#""fixed":[7]"#, resolve("7")),
            (r#""fixed":[{"id":"F-1","title":"t"}],"still_open":["F-2"],"regressed":[]"#, resolve("F-1")),
            (r#""fixed":[null,"F-1",""],"regressed":0"#, resolve("F-1")),
            (r#""fixed":["F-1","F-2"]"#, informational()),
            (r#""fixed":[{"title":"t"}]"#, informational()),
            (r#""fixed":[" \u0000"]"#, informational()),
            (r#""fixed":1"#, informational()),
            (r#""regressed":["F-3"]"#, warning("F-3")),
            (r#""fixed":["F-1"],"regressed":["F-3"]"#, by_hand(warning("019a"))),
            (r#""fixed":[],"regressed":["F-3","F-4"]"#, warning("019a")),
            (r#""fixed":["F-1"],"regressed":2"#, by_hand(warning("019a"))),
            (r#""fixed":[],"still_open":["F-1"],"regressed":[]"#, None),
            (r#""fixed":0,"regressed":null"#, None),
            ("", None),
        ] {
            assert_eq!(action("retest_completed", &format!(r#"{{"retest":{{{lists}}}}}"#)), expected, "{lists}");
        }
    }

    #[test]
    fn a_finding_has_its_own_key() {
        let finding = |members: &str| action("finding_added", &format!(r#"{{"finding":{{"title":"t"{members}}}}}"#));
        assert_eq!(finding(r#","id":"F-1","severity":"high""#), trigger("F-1", Level::Error));
        assert_eq!(finding(r#","id":7,"severity":"low""#), trigger("7", Level::Info));
        assert_eq!(finding(r#","id":" ","severity":"medium""#), trigger("019a", Level::Warning));
        assert_eq!(finding(r#","cvss":9.8"#), trigger("019a", Level::Critical));
        let long = "x".repeat(300);
        assert_eq!(finding(&format!(r#","id":"{long}""#)), trigger(&long[..255], Level::Info));
        let fixed = action("retest_completed", &format!(r#"{{"retest":{{"fixed":["{long}"]}}}}"#));
        assert_eq!(fixed, Some(Action::Resolve { dedup_key: long[..255].into() }));
    }

    #[test]
    fn events_that_are_not_alerts() {
        for (kind, group) in [
            ("phase_changed", "phase"),
            ("engagement_completed", "summary"),
            ("engagement_signed", "authorization"),
            ("report_ready", "report"),
            ("surface_changed", "surface"),
        ] {
            assert_eq!(action(kind, &format!(r#"{{"{group}":{{"id":"x"}}}}"#)), None, "{kind}");
        }
        assert_eq!(
            action("monitor_alert", r#"{"monitor":{"id":"M","severity":"high"}}"#),
            trigger("019a", Level::Error)
        );
    }
}
