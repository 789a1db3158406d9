//! The action of an event on an alert: trigger or resolve, and the alert's key.

use heraldry_formatter::identifier::{FindingKey, Scope, identifier};
use heraldry_formatter::text::{Rule, bare, is_blank, tidy, utf16};
use heraldry_formatter::value::Value;
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
    pub(crate) fn of(event: &Event<'_>, dedup: FindingKey) -> Option<Self> {
        match event.kind {
            kind if kind.is_finding() => {
                let id = event.group().text("id").and_then(|id| Keys::of(event, dedup).key(&id));
                Some(Self::trigger(event, id, event.severity().into()))
            }
            EventType::MonitorAlert => Some(Self::trigger(event, None, event.severity().into())),
            EventType::RetestCompleted => Self::retest(event, &Keys::of(event, dedup)),
            EventType::WebhookRecovered => {
                Some(Self::Resolve { dedup_key: host_key(event).unwrap_or_else(|| event.id.into()) })
            }
            kind if kind.is_host() => Some(Self::trigger(event, host_key(event), event.severity().into())),
            _ => None,
        }
    }

    /// An alert for an event that normally is not one, for the option `all_events`.
    pub(crate) fn informational(event: &Event<'_>) -> Self {
        Self::trigger(event, None, event.severity().into())
    }

    /// The action for a retest, as described in the crate's documentation.
    fn retest(event: &Event<'_>, keys: &Keys) -> Option<Self> {
        let (fixed, regressed) = (Listed::of(event, "fixed", keys), Listed::of(event, "regressed", keys));
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

/// The key of the alert about a part of the host: the webhook's id, which all events about a webhook share, so that its
/// recovery closes what its failures opened; else the name of the formatter or part after two slashes, which no key of a
/// finding has. `None` without such a text.
fn host_key(event: &Event<'_>) -> Option<String> {
    let key = match event.kind {
        EventType::FormatterRejected | EventType::FormatterRolledBack | EventType::HostDegraded => {
            format!("heraldry/{}/{}", event.kind.group(), event.subject()?)
        }
        _ => event.webhook().text("id")?.into_owned(),
    };
    identifier(&key, DEDUP_KEY, utf16)
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
    fn of(event: &Event<'_>, member: &str, keys: &Keys) -> Self {
        let Some(list) = event.group().get(member) else { return Self::None };
        // A bare number in place of a list is the number of findings.
        if list.is_number() {
            return if list.number() == Some(0.0) { Self::None } else { Self::Some };
        }
        let mut items = list.items();
        match (items.next(), items.next()) {
            (None, _) => Self::None,
            (Some(one), None) => keys.key_of(one).map_or(Self::Some, Self::One),
            _ => Self::Some,
        }
    }
}

/// The keys of alerts: the same for the alert and for the request that closes it.
enum Keys {
    /// Of engagement and finding.
    Scoped(Scope),
    /// Of the finding alone.
    Finding,
}

impl Keys {
    fn of(event: &Event<'_>, dedup: FindingKey) -> Self {
        match dedup {
            FindingKey::Engagement => Self::Scoped(Scope::of(event)),
            FindingKey::Finding => Self::Finding,
        }
    }

    /// The key of the finding with this id.
    fn key(&self, id: &str) -> Option<String> {
        match self {
            Self::Scoped(scope) => scope.identifier(id, DEDUP_KEY, utf16),
            Self::Finding => {
                let key = tidy(bare(id), Rule::ONE_LINE, DEDUP_KEY, utf16, "");
                (!is_blank(&key)).then(|| key.into_owned())
            }
        }
    }

    /// The key of a list item: the item itself is the id, or the object's member `id`.
    fn key_of(&self, finding: Value<'_>) -> Option<String> {
        let id = if finding.is_object() { finding.object().text("id") } else { finding.text() };
        self.key(&id?)
    }
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
        Action::of(&Event::parse(&raw).expect("an event"), FindingKey::Engagement)
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
    fn a_recovered_webhook_closes_what_its_failures_opened() {
        let webhook = r#"{"webhook":{"id":"W-1","name":"SOC"}}"#;
        let delivery = r#"{"delivery":{"id":"D-1","webhook":{"id":"W-1"}}}"#;
        for (kind, data, expected) in [
            ("webhook_failing", webhook, trigger("W-1", Level::Warning)),
            ("delivery_failed", delivery, trigger("W-1", Level::Warning)),
            ("webhook_disabled", webhook, trigger("W-1", Level::Error)),
            ("webhook_recovered", webhook, Some(Action::Resolve { dedup_key: "W-1".into() })),
            ("webhook_disabled", r#"{"webhook":{"id":" "}}"#, trigger("019a", Level::Error)),
            ("webhook_recovered", r#"{"webhook":{}}"#, Some(Action::Resolve { dedup_key: "019a".into() })),
            ("delivery_failed", r#"{"delivery":[]}"#, trigger("019a", Level::Warning)),
        ] {
            assert_eq!(action(kind, data), expected, "{kind} {data}");
        }
    }

    #[test]
    fn a_part_of_the_host_has_one_alert() {
        let formatter = r#"{"formatter":{"name":"acme","version":"1.0.0"}}"#;
        for (kind, data, expected) in [
            ("formatter_rejected", formatter, trigger("heraldry/formatter/acme", Level::Warning)),
            ("formatter_rolled_back", formatter, trigger("heraldry/formatter/acme", Level::Warning)),
            ("host_degraded", r#"{"host":{"kind":"disk"}}"#, trigger("heraldry/host/disk", Level::Error)),
            ("host_degraded", r#"{"host":{}}"#, trigger("019a", Level::Error)),
        ] {
            assert_eq!(action(kind, data), expected, "{kind} {data}");
        }
    }

    #[test]
    fn a_finding_has_its_own_key() {
        let finding = |members: &str| action("finding_added", &format!(r#"{{"finding":{{"title":"t"{members}}}}}"#));
        assert_eq!(finding(r#","id":"F-1","severity":"high""#), trigger("F-1", Level::Error));
        assert_eq!(finding(r#","id":7,"severity":"low""#), trigger("7", Level::Info));
        assert_eq!(finding(r#","id":" ","severity":"medium""#), trigger("019a", Level::Warning));
        assert_eq!(finding(r#","cvss":9.8"#), trigger("019a", Level::Critical));
    }

    /// The keys of the alert that a finding opens, and of the one that its retest closes.
    fn keys(engagement: Option<&str>, id: &str, dedup: FindingKey) -> [String; 2] {
        let engagement = engagement.map(|id| serde_json::json!({"id": id, "name": "n"}));
        let data = serde_json::json!({"finding": {"title": "t", "id": id}, "retest": {"fixed": [{"id": id}]}});
        ["finding_added", "retest_completed"].map(|kind| {
            let raw = RawEvent {
                id: "019a".into(),
                type_: kind.into(),
                occurred_at: "2026-11-17T10:12:45.120Z".into(),
                json: serde_json::json!({"type": kind, "engagement": engagement, "data": data}).to_string(),
            };
            match Action::of(&Event::parse(&raw).expect("an event"), dedup) {
                Some(Action::Trigger { dedup_key, .. } | Action::Resolve { dedup_key }) => dedup_key,
                None => panic!("{kind} is an alert"),
            }
        })
    }

    #[test]
    fn a_key_is_of_one_finding_in_one_engagement() {
        let long = "x".repeat(255);
        let mut seen = std::collections::BTreeSet::new();
        for engagement in [None, Some("ENG-A"), Some("ENG-B"), Some(long.as_str())] {
            for id in ["F-1".to_owned(), format!("{long}a"), format!("{long}b"), long.clone()] {
                let [opened, closed] = keys(engagement, &id, FindingKey::Engagement);
                assert_eq!(opened, closed, "a retest closes the alert");
                assert!(opened.encode_utf16().count() <= DEDUP_KEY, "{opened}");
                assert!(seen.insert(opened), "{engagement:?} {id}");
            }
        }
        assert_eq!(keys(Some("ENG-A"), "F-1", FindingKey::Engagement), ["ENG-A/F-1"; 2]);
    }

    #[test]
    fn the_key_of_earlier_versions_is_the_findings_own() {
        assert_eq!(keys(Some("ENG-A"), " F-1", FindingKey::Finding), ["F-1"; 2]);
        let long = "x".repeat(300);
        assert_eq!(keys(Some("ENG-A"), &long, FindingKey::Finding), [&long[..255]; 2]);
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
