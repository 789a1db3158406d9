//! What a person needs to know of an event, before any layout: which facts, in which order, under which
//! names. Formats for people lay it out; none decides again what matters.
//!
//! All text in here is the event's, as it came: cleaning, cutting and escaping are the format's.

use std::borrow::Cow;

use crate::event::{Event, EventType};
use crate::link::web_url;
use crate::text::is_blank;
use crate::value::{Object, Value};

/// Of a list so many items are shown; the rest is counted (FORMATS, section 1).
pub const LIST_SHOWN: usize = 10;

/// One event's content in the order in which a person wants it.
#[derive(Debug, Default)]
pub struct Outline<'a> {
    /// Short values with their names.
    pub facts: Vec<Fact<'a>>,
    /// What it is about: `finding.target` or `monitor.target`.
    pub target: Option<Cow<'a, str>>,
    /// Running text, perhaps of many lines: the description, a monitor's message, how a finding was
    /// verified.
    pub passages: Vec<Cow<'a, str>>,
    /// What was seen, to be shown to the letter.
    pub evidence: Option<Cow<'a, str>>,
    /// Things that come in numbers.
    pub lists: Vec<List<'a>>,
    /// Where to read on: what the event offers, which may not be a web address at all.
    pub links: Vec<Link<'a>>,
}

/// A short value and its name.
#[derive(Debug)]
pub struct Fact<'a> {
    /// What the value is: `Parameter`.
    pub label: &'static str,
    /// The value.
    pub value: Cow<'a, str>,
}

/// The first items of a list, and how many it has.
#[derive(Debug)]
pub struct List<'a> {
    /// What the items are: `Still open`.
    pub label: &'static str,
    /// How many there are.
    pub total: usize,
    /// At most [`LIST_SHOWN`].
    pub shown: Vec<Cow<'a, str>>,
}

/// Where to read on.
#[derive(Debug)]
pub struct Link<'a> {
    /// What a button would say: `Open finding`.
    pub label: &'static str,
    /// The address as it came; [`web_url`] says whether it may be pressed.
    pub address: Cow<'a, str>,
}

impl<'a> Outline<'a> {
    /// The outline of an event.
    pub fn of(event: &Event<'a>) -> Self {
        let mut outline = Self::default();
        let group = event.group();
        match event.kind {
            EventType::FindingAdded | EventType::CriticalFinding => outline.finding(event),
            EventType::FindingVerified => {
                outline.verification(&event.verification());
                outline.finding(event);
                // The proof is the news: its button is the second, after the finding's.
                outline.link("Open proof of concept", &event.verification(), "poc_url");
            }
            EventType::PhaseChanged => outline.phase(group),
            EventType::EngagementCompleted => outline.summary(event),
            EventType::EngagementSigned => outline.authorization(group),
            EventType::RetestCompleted => outline.retest(group),
            EventType::ReportReady => outline.report(group),
            EventType::SurfaceChanged => outline.surface(group),
            EventType::MonitorAlert => outline.monitor(group),
        }
        outline
    }

    fn finding(&mut self, event: &Event<'a>) {
        let finding = event.group();
        self.fact("CVSS", event.cvss().map(|cvss| cvss.text));
        self.fact("CWE", joined(&event.cwe()));
        self.fact("CVE", joined(&event.cve()));
        self.fact("Parameter", finding.text("parameter"));
        self.fact("IP", finding.text("ip"));
        self.fact("Tool", finding.text("tool"));
        self.fact("Occurrences", finding.text("occurrences"));
        self.fact("Finding", finding.text("id"));
        self.target = finding.text("target");
        self.passages.extend(finding.text("description"));
        self.evidence = finding.text("evidence");
        self.link("Open finding", finding, "url");
        // With a link to the whole of it, these are one click away.
        let reachable = self.links.iter().any(|link| web_url(&link.address, usize::MAX).is_some());
        if !reachable {
            let remediation = finding.text("remediation");
            self.passages.extend(remediation.map(|text| format!("Remediation: {text}").into()));
            self.list("References", finding);
            self.list("Tags", finding);
        }
    }

    fn verification(&mut self, verification: &Object<'a>) {
        match (verification.text("verified_by"), verification.text("method")) {
            (Some(by), Some(method)) => self.passages.push(format!("Verified by {by}: {method}").into()),
            (None, Some(method)) => self.passages.push(format!("Verified: {method}").into()),
            (by, None) => self.fact("Verified by", by),
        }
    }

    fn phase(&mut self, phase: &Object<'a>) {
        self.fact("Phase", phase.text("name"));
        self.fact("Status", phase.text("status"));
        let step = match (phase.text("index"), phase.text("total")) {
            (Some(index), Some(total)) => Some(Cow::Owned(format!("{index} of {total}"))),
            (index, _) => index,
        };
        self.fact("Step", step);
    }

    fn summary(&mut self, event: &Event<'a>) {
        let summary = event.group();
        let counts = event.counts();
        let findings = if counts.is_empty() {
            summary.text("findings")
        } else {
            let count = |(severity, count): &(crate::Severity, Value<'a>)| {
                Some(format!("{} {}", count.text()?, severity.word()))
            };
            let counts: Vec<_> = counts.iter().filter_map(count).collect();
            Some(Cow::Owned(counts.join(", ")))
        };
        self.fact("Findings", findings);
        self.fact("Started", summary.text("started_at"));
        self.fact("Completed", summary.text("completed_at"));
        self.link("Open report", summary, "report_url");
    }

    fn authorization(&mut self, authorization: &Object<'a>) {
        self.fact("Signer", authorization.text("signer"));
        self.fact("Role", authorization.text("role"));
        self.fact("Signed", authorization.text("signed_at"));
        self.list("Scope", authorization);
        self.link("Open authorization", authorization, "url");
    }

    fn retest(&mut self, retest: &Object<'a>) {
        self.fact("Retest", retest.text("id"));
        for label in ["Fixed", "Still open", "Regressed"] {
            self.list_unless_counted(label, retest);
        }
        self.link("Open retest", retest, "url");
    }

    fn report(&mut self, report: &Object<'a>) {
        self.fact("Report", report.text("title"));
        self.fact("Kind", report.text("kind"));
        self.fact("Framework", report.text("framework"));
        self.fact("Format", report.text("format"));
        self.fact("Pages", report.text("pages"));
        self.fact("Report id", report.text("id"));
        self.link("Open report", report, "url");
    }

    fn surface(&mut self, surface: &Object<'a>) {
        for label in ["Added", "Removed", "Changed"] {
            self.list_unless_counted(label, surface);
        }
        self.link("Open surface", surface, "url");
    }

    fn monitor(&mut self, monitor: &Object<'a>) {
        self.fact("Monitor", monitor.text("name"));
        self.fact("Monitor id", monitor.text("id"));
        self.target = monitor.text("target");
        self.passages.extend(monitor.text("message"));
        self.link("Open monitor", monitor, "url");
    }

    fn fact(&mut self, label: &'static str, value: Option<Cow<'a, str>>) {
        if let Some(value) = value.filter(|value| !is_blank(value)) {
            self.facts.push(Fact { label, value });
        }
    }

    /// Of several addresses the first: a button has one.
    fn link(&mut self, label: &'static str, group: &Object<'a>, member: &str) {
        let first = group.items(member).first().and_then(|address| address.text());
        self.links.extend(first.map(|address| Link { label, address }));
    }

    /// A bare number in the place of a list says how many there are, which the headline tells.
    fn list_unless_counted(&mut self, label: &'static str, group: &Object<'a>) {
        if !group.get(&member_name(label)).is_some_and(Value::is_number) {
            self.list(label, group);
        }
    }

    /// The list in the member that is called like the label: `Still open` is `still_open`.
    fn list(&mut self, label: &'static str, group: &Object<'a>) {
        let items = group.items(&member_name(label));
        if !items.is_empty() {
            self.lists.push(List {
                label,
                total: items.len(),
                shown: items.iter().take(LIST_SHOWN).map(|item| item_text(*item)).collect(),
            });
        }
    }
}

fn member_name(label: &str) -> String {
    label.to_ascii_lowercase().replace(' ', "_")
}

/// See [`Event::headline`].
pub(crate) fn headline<'a>(event: &Event<'a>) -> Cow<'a, str> {
    let group = event.group();
    let phrase = event.kind.phrase();
    let with = |what: Option<Cow<'a, str>>| match what {
        Some(what) => Cow::Owned(format!("{phrase}: {what}")),
        None => Cow::Borrowed(phrase),
    };
    match event.kind {
        EventType::FindingAdded | EventType::FindingVerified | EventType::CriticalFinding => {
            event.title().unwrap_or(Cow::Borrowed(phrase))
        }
        EventType::PhaseChanged => match (group.text("status"), group.text("name")) {
            (Some(status), Some(name)) => format!("Phase {status}: {name}").into(),
            (Some(status), None) => format!("Testing phase {status}").into(),
            (None, name) => with(name),
        },
        EventType::EngagementCompleted => {
            let found = |(severity, count): (crate::Severity, Value<'a>)| {
                count.number().filter(|count| *count > 0.0)?;
                Some(format!("{} {}", count.text()?, severity.word()))
            };
            let found: Vec<_> = event.counts().into_iter().filter_map(found).collect();
            with((!found.is_empty()).then(|| found.join(", ").into()))
        }
        EventType::EngagementSigned => match group.text("signer") {
            Some(signer) => format!("{phrase} by {signer}").into(),
            None => phrase.into(),
        },
        EventType::RetestCompleted => {
            with(counted(group, [("fixed", "fixed"), ("still_open", "still open"), ("regressed", "regressed")]))
        }
        EventType::SurfaceChanged => {
            with(counted(group, [("added", "added"), ("removed", "removed"), ("changed", "changed")]))
        }
        EventType::ReportReady => with(group.text("title")),
        EventType::MonitorAlert => with(group.text("name")),
    }
}

/// `1 fixed, 2 still open, 0 regressed`: how many there are in each list that the group has.
fn counted<'a>(group: &Object<'a>, lists: [(&str, &str); 3]) -> Option<Cow<'a, str>> {
    let count = |(member, word): (&str, &str)| {
        let value = group.get(member)?;
        Some(if value.is_number() {
            format!("{} {word}", value.json())
        } else {
            format!("{} {word}", value.items().len())
        })
    };
    let counts: Vec<_> = lists.into_iter().filter_map(count).collect();
    (!counts.is_empty()).then(|| counts.join(", ").into())
}

fn joined<'a>(items: &[Cow<'a, str>]) -> Option<Cow<'a, str>> {
    match items {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(Cow::Owned(many.join(", "))),
    }
}

/// A list's item for people. Assets and findings come as a name or as an object: of one, what names it
/// comes first, then what is said of it: `staging.contoso.example:8443 (service: nginx 1.25)`.
pub fn item_text<'a>(item: Value<'a>) -> Cow<'a, str> {
    let members = item.object();
    let name =
        ["asset", "id", "name", "title", "host", "target", "url"].into_iter().find_map(|member| members.text(member));
    let Some(mut name) = name else {
        // A text of which nothing would be seen still counts: its JSON shows what it is.
        return item.text().unwrap_or_else(|| Cow::Borrowed(item.json()));
    };
    let said: Vec<_> = ["title", "kind", "detail"]
        .into_iter()
        .filter_map(|member| members.text(member))
        .filter(|said| *said != name)
        .collect();
    if !said.is_empty() {
        name = Cow::Owned(format!("{name} ({})", said.join(": ")));
    }
    name
}
