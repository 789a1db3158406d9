//! Does an event make a delivery for a webhook? One judgement for everything that asks: acceptance, `explain`, dry runs and
//! previews of filters.

use std::fmt;

use super::expression::ExpressionVerdict;
use super::{Activity, Filter, Subscription, Webhook};
use crate::model::event::{EventType, NewEvent, Searchable, Severity};
use crate::model::time::Timestamp;

/// Engagements that a reason names; a filter may have a thousand.
const NAMED: usize = 5;
/// The longest expression that a reason repeats, in characters.
const EXPRESSION_CHARS: usize = 200;

/// An event, as far as types and filters go by it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its type.
    pub event_type: EventType,
    /// The severity of the finding, alert or host event.
    pub severity: Option<Severity>,
    /// Its engagement's id.
    pub engagement_id: Option<&'a str>,
}

impl<'a> Subject<'a> {
    /// An event that is being accepted.
    pub fn of_new(event: &'a NewEvent) -> Self {
        let NewEvent { event_type, severity, engagement_id, .. } = event;
        Self { event_type: *event_type, severity: *severity, engagement_id: engagement_id.as_deref() }
    }

    /// A stored event, by the members that searches go by.
    pub fn of_stored(event_type: EventType, found: &'a Searchable) -> Self {
        Self { event_type, severity: found.severity, engagement_id: found.engagement_id.as_deref() }
    }
}

/// The reason why an event makes no delivery for a webhook, with the values that were compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason<'a> {
    /// An admin switched the webhook off.
    Off {
        /// When it was last changed.
        since: Timestamp,
    },
    /// The webhook did not subscribe to the event's type.
    NotSubscribed {
        /// The event's type.
        event_type: EventType,
        /// The types that it did subscribe to.
        subscribed: &'a Subscription,
    },
    /// The event is less severe than the filter's `min_severity`.
    BelowSeverity {
        /// The event's severity.
        severity: Severity,
        /// The least that passes.
        least: Severity,
    },
    /// The event has no engagement, and the filter names some.
    NoEngagement {
        /// The engagements whose events pass.
        wanted: &'a [String],
    },
    /// The event is of another engagement than the filter names.
    OtherEngagement {
        /// The event's engagement.
        id: &'a str,
        /// The engagements whose events pass.
        wanted: &'a [String],
    },
    /// The filter's expression is false.
    Expression {
        /// The expression.
        expression: &'a str,
        /// The values that decided, in words; may be empty.
        seen: &'a str,
    },
    /// The webhook gets the critical finding that is derived from the event instead.
    CriticalOnce,
}

/// Judges whether an event makes a delivery for a webhook, perhaps a held one. `verdict` is that of the filter's expression
/// on the event; without one the expression does not count.
///
/// # Errors
/// The reason why it makes none.
pub fn judge<'a>(
    webhook: &'a Webhook,
    event: &Subject<'a>,
    verdict: Option<&'a ExpressionVerdict>,
) -> Result<(), Reason<'a>> {
    if webhook.activity == Activity::OffByAdmin {
        return Err(Reason::Off { since: webhook.updated_at });
    }
    judge_filter(&webhook.config.event_types, &webhook.config.filter, event, verdict)
}

/// Judges by subscription and filter alone, whether a webhook that has them is on or not.
///
/// # Errors
/// The reason why the event does not pass.
pub fn judge_filter<'a>(
    subscribed: &'a Subscription,
    filter: &'a Filter,
    event: &Subject<'a>,
    verdict: Option<&'a ExpressionVerdict>,
) -> Result<(), Reason<'a>> {
    if !subscribed.wants(event.event_type) {
        return Err(Reason::NotSubscribed { event_type: event.event_type, subscribed });
    }
    if let (Some(least), Some(severity)) = (filter.min_severity, event.severity)
        && severity < least
    {
        return Err(Reason::BelowSeverity { severity, least });
    }
    if let Some(wanted) = filter.engagement_ids.as_deref() {
        let Some(id) = event.engagement_id else { return Err(Reason::NoEngagement { wanted }) };
        if !wanted.iter().any(|wanted| wanted == id) {
            return Err(Reason::OtherEngagement { id, wanted });
        }
    }
    match (filter.expression.as_deref(), verdict) {
        (Some(expression), Some(ExpressionVerdict::False { seen })) => Err(Reason::Expression { expression, seen }),
        _ => Ok(()),
    }
}

/// Judges an event that passes, beside the critical finding that the host derives from it: a webhook with `critical_once`
/// gets only the latter where it gets that one at all.
///
/// # Errors
/// [`Reason::CriticalOnce`].
pub fn judge_beside_derived(webhook: &Webhook, derived_goes: bool) -> Result<(), Reason<'static>> {
    if webhook.config.critical_once && derived_goes { Err(Reason::CriticalOnce) } else { Ok(()) }
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off { since } => write!(f, "off since {since}"),
            Self::NotSubscribed { event_type, subscribed: Subscription::All } => {
                write!(f, "not subscribed: * does not include {}", event_type.as_str())
            }
            Self::NotSubscribed { event_type, subscribed } => {
                write!(f, "not subscribed: {} is not one of {}", event_type.as_str(), subscribed.names().join(", "))
            }
            Self::BelowSeverity { severity, least } => {
                write!(f, "severity {} is below {}", severity.as_str(), least.as_str())
            }
            Self::NoEngagement { wanted } => {
                write!(f, "the event has no engagement, and only those of ")?;
                named(f, wanted)?;
                f.write_str(" pass")
            }
            Self::OtherEngagement { id, wanted } => {
                write!(f, "engagement {id} is not one of ")?;
                named(f, wanted)
            }
            Self::Expression { expression, seen } => {
                f.write_str("expression: ")?;
                match expression.char_indices().nth(EXPRESSION_CHARS) {
                    Some((end, _)) => write!(f, "{}…", &expression[..end])?,
                    None => f.write_str(expression)?,
                }
                f.write_str(" is false")?;
                if seen.is_empty() { Ok(()) } else { write!(f, ", {seen}") }
            }
            Self::CriticalOnce => f.write_str("critical_once: the critical_finding derived from it goes instead"),
        }
    }
}

/// A list of ids that stays readable.
fn named(f: &mut fmt::Formatter<'_>, ids: &[String]) -> fmt::Result {
    for (index, id) in ids.iter().take(NAMED).enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        f.write_str(id)?;
    }
    match ids.len().saturating_sub(NAMED) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: Subject<'static> =
        Subject { event_type: EventType::FindingAdded, severity: Some(Severity::Medium), engagement_id: Some("eng-7") };

    fn filter(min_severity: Option<Severity>, engagement_ids: &[&str], expression: Option<&str>) -> Filter {
        let ids: Vec<String> = engagement_ids.iter().map(|id| (*id).to_owned()).collect();
        Filter {
            min_severity,
            engagement_ids: Some(ids).filter(|ids| !ids.is_empty()),
            expression: expression.map(str::to_owned),
        }
    }

    fn words(filter: &Filter, event: &Subject<'_>, verdict: Option<&ExpressionVerdict>) -> String {
        match judge_filter(&Subscription::All, filter, event, verdict) {
            Ok(()) => "passes".to_owned(),
            Err(reason) => reason.to_string(),
        }
    }

    #[test]
    fn a_reason_says_what_was_compared() {
        let none = Subject { severity: None, engagement_id: None, ..EVENT };
        for (filter, event, expected) in [
            (filter(None, &[], None), &EVENT, "passes"),
            (filter(Some(Severity::Medium), &["x", "eng-7"], None), &EVENT, "passes"),
            (filter(Some(Severity::High), &[], None), &EVENT, "severity medium is below high"),
            (filter(Some(Severity::Critical), &[], None), &none, "passes"),
            (filter(None, &["eng-1", "eng-2"], None), &EVENT, "engagement eng-7 is not one of eng-1, eng-2"),
            (filter(None, &["eng-1"], None), &none, "the event has no engagement, and only those of eng-1 pass"),
            (
                filter(None, &["1", "2", "3", "4", "5", "6", "8"], None),
                &EVENT,
                "engagement eng-7 is not one of 1, 2, 3, 4, 5 and 2 more",
            ),
            // The first that does not hold is the reason.
            (filter(Some(Severity::High), &["eng-1"], None), &EVENT, "severity medium is below high"),
        ] {
            assert_eq!(words(&filter, event, None), expected);
        }
    }

    #[test]
    fn a_subscription_says_what_it_has() {
        let filter = Filter::default();
        let only = Subscription::Only(vec![EventType::PhaseChanged, EventType::ReportReady]);
        let reason = judge_filter(&only, &filter, &EVENT, None).expect_err("not subscribed");
        assert_eq!(reason.to_string(), "not subscribed: finding_added is not one of phase_changed, report_ready");
        let host = Subject { event_type: EventType::HostDegraded, ..EVENT };
        let reason = judge_filter(&Subscription::All, &filter, &host, None).expect_err("not subscribed");
        assert_eq!(reason.to_string(), "not subscribed: * does not include host_degraded");
    }

    #[test]
    fn an_expression_counts_by_its_verdict() {
        let of = |expression: &str| filter(None, &[], Some(expression));
        let is_false = |seen: &str| ExpressionVerdict::False { seen: seen.to_owned() };
        let failed = ExpressionVerdict::Failed { reason: "no such key".to_owned() };
        let cvss = of("finding.cvss >= 9.0");
        assert_eq!(
            words(&cvss, &EVENT, Some(&is_false("it is 8.1"))),
            "expression: finding.cvss >= 9.0 is false, it is 8.1"
        );
        assert_eq!(words(&of("false"), &EVENT, Some(&is_false(""))), "expression: false is false");
        for passes in [Some(&ExpressionVerdict::True), Some(&failed), None] {
            assert_eq!(words(&cvss, &EVENT, passes), "passes");
        }
        let long = "é".repeat(300);
        let cut = format!("expression: {}… is false", "é".repeat(200));
        assert_eq!(words(&of(&long), &EVENT, Some(&is_false(""))), cut);
    }
}
