//! The content of an event for people, independent of any layout: which facts, in which order, with which labels.
//! Formats for people lay it out and do not choose the content again.
//!
//! All text is the event's raw text: the format cleans, truncates and escapes it.

#[cfg(test)]
mod tests;
mod title;

use std::borrow::Cow;
use std::net::Ipv6Addr;

use time::{Duration, OffsetDateTime};

pub(crate) use self::title::headline;
use self::title::{has_long_status, has_no_findings, has_status, is_good_news, symbol, title};
use crate::Severity;
use crate::event::{Event, EventType, instant};
use crate::link::web_url;
use crate::options::Evidence;
use crate::text::is_blank;
use crate::value::{LIST_ITEMS, LIST_TEXT, Object, Value, joined};

/// The most items of a list that are shown; the rest is counted (FORMATS, section 1).
pub const LIST_SHOWN: usize = 10;

/// A longer value, in bytes, is shown as a labelled fact instead of in the summary.
const BRIEF: usize = 60;

/// The longest list, in bytes, whose items share one line.
const SHORT_LIST: usize = 100;

const ENGAGEMENT: &str = "Engagement";
const PARAMETER: &str = "Parameter";

/// The most steps that are shown as dots.
const MAX_DOTS: u32 = 12;

/// The content of one event in the order of importance for a reader.
#[derive(Debug)]
pub struct Outline<'a> {
    /// A symbol shown before the title: the severity, else the kind of event.
    pub symbol: &'static str,
    /// True for good news: something is signed, done, fixed or back.
    pub is_good_news: bool,
    /// The headline: what happened, or what was found.
    pub title: Cow<'a, str>,
    /// Values contained in the title; needed only if the title is truncated.
    pub title_facts: Vec<Fact<'a>>,
    /// Short statements without labels: `Critical finding`, `CVSS 9.8`.
    pub summary: Vec<Brief<'a>>,
    /// The number of findings of each severity, worst first.
    pub tally: Vec<Count<'a>>,
    /// The progress of the engagement.
    pub step: Option<Step>,
    /// The affected target: `finding.target` or `monitor.target`.
    pub target: Option<Cow<'a, str>>,
    /// Labelled values.
    pub facts: Vec<Fact<'a>>,
    /// Prose, possibly of several lines: the description, a monitor's message, the verification of a finding, the reason
    /// of a host event.
    pub passages: Vec<Cow<'a, str>>,
    /// True if the first passage is the news, which compact layouts show as well.
    pub passage_is_news: bool,
    /// The evidence, to be shown verbatim.
    pub evidence: Option<Cow<'a, str>>,
    /// Lists of assets or findings.
    pub lists: Vec<List<'a>>,
    /// Links to further details, as the event has them; they may not be web addresses at all.
    pub links: Vec<Link<'a>>,
    /// Small print: identifiers, and how the finding was made.
    pub notes: Vec<Fact<'a>>,
    /// True if the first passage says how a finding was verified.
    has_method: bool,
    /// Who verified it, where that passage says so, too.
    verifier: Option<Cow<'a, str>>,
}

/// A labelled value.
#[derive(Debug, Clone)]
pub struct Fact<'a> {
    /// The label: `Parameter`.
    pub label: &'static str,
    /// The value, raw.
    pub value: Cow<'a, str>,
    /// The value as a time, if it is meant to be one and can be parsed.
    pub time: Option<OffsetDateTime>,
}

/// A short statement.
#[derive(Debug)]
pub struct Brief<'a> {
    /// The statement: `61 pages`.
    pub text: Cow<'a, str>,
    /// The value in it with its label, for a table; `None` if the value is the event's type or severity.
    pub fact: Option<Fact<'a>>,
}

/// The number of findings of one severity.
#[derive(Debug)]
pub struct Count<'a> {
    /// The severity that is counted.
    pub severity: Severity,
    /// The count as posted: a number, or any other text.
    pub count: Cow<'a, str>,
}

/// A step of a process with several steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The step's number, 1 to `total`.
    pub index: u32,
    /// The number of steps.
    pub total: u32,
    /// True if the step is completed.
    pub is_done: bool,
}

impl Step {
    /// A progress bar of discs, filled for completed steps: `●◐○○○`. `None` if there are too many steps.
    pub fn dots(self) -> Option<String> {
        let disc = |step: u32| match step.cmp(&self.index) {
            std::cmp::Ordering::Less => '●',
            std::cmp::Ordering::Equal if self.is_done => '●',
            std::cmp::Ordering::Equal => '◐',
            std::cmp::Ordering::Greater => '○',
        };
        (self.total <= MAX_DOTS).then(|| (1..=self.total).map(disc).collect())
    }
}

/// The first items of a list, with the total.
#[derive(Debug)]
pub struct List<'a> {
    /// The label of the items: `Still open`.
    pub label: &'static str,
    /// A symbol for the label.
    pub symbol: &'static str,
    /// The number of items.
    pub total: usize,
    /// The first items, at most [`LIST_SHOWN`].
    pub shown: Vec<Cow<'a, str>>,
}

impl List<'_> {
    /// Returns true if the items shown fit on one line and can be separated by commas.
    pub fn is_short(&self) -> bool {
        let is_word = |item: &Cow<'_, str>| !item.contains([' ', ',']);
        self.shown.iter().map(|item| item.len()).sum::<usize>() <= SHORT_LIST && self.shown.iter().all(is_word)
    }
}

/// A link to further details.
#[derive(Debug)]
pub struct Link<'a> {
    /// The label of a button: `Open finding`.
    pub label: &'static str,
    /// The address as posted; [`web_url`] decides whether it may become a link.
    pub address: Cow<'a, str>,
}

impl<'a> Outline<'a> {
    /// Returns true if the title contains the engagement's name, so that it need not be shown again.
    pub fn title_has_engagement(&self) -> bool {
        self.title_facts.iter().any(|fact| fact.label == ENGAGEMENT)
    }

    /// The outline without evidence and details of the request, if the option says so: without the evidence, the parameter,
    /// what follows `?` or `#` in the target, and the method by which a finding was verified.
    #[must_use]
    pub fn showing(mut self, evidence: Evidence) -> Self {
        if evidence == Evidence::Shown {
            return self;
        }
        self.evidence = None;
        self.facts.retain(|fact| fact.label != PARAMETER);
        if let Some(target) = &mut self.target
            && let Some(end) = target.find(['?', '#'])
        {
            *target = target[..end].to_owned().into();
        }
        self.target = self.target.filter(|target| !is_blank(target));
        if self.has_method {
            self.passages.remove(0);
            let verifier = self.verifier.take();
            self.fact("Verified by", verifier);
        }
        self
    }

    /// All labelled values except for the target and those in the title, for formats that lay out tables and show these
    /// values nowhere else. No label appears twice, nor does one of `title_facts`.
    pub fn table(&self) -> Vec<Fact<'a>> {
        let mut table: Vec<_> = self.summary.iter().filter_map(|brief| brief.fact.clone()).collect();
        let counts: Vec<_> =
            self.tally.iter().map(|count| format!("{} {}", count.count, count.severity.word())).collect();
        table.extend(Fact::new("Findings", counts.join(", ").into()));
        let step = self.step.map(|step| format!("{} of {}", step.index, step.total));
        table.extend(step.and_then(|step| Fact::new("Step", step.into())));
        table.extend(self.facts.iter().cloned());
        table.extend(self.notes.iter().cloned().map(|note| match note.label {
            "Monitor" => Fact { label: "Monitor id", ..note },
            "Webhook" => Fact { label: "Webhook id", ..note },
            "Report" => Fact { label: "Report id", ..note },
            _ => note,
        }));
        table
    }

    /// Builds the outline of an event.
    pub fn of(event: &Event<'a>) -> Self {
        let mut outline = Self {
            symbol: symbol(event),
            is_good_news: is_good_news(event),
            title: title(event),
            title_facts: Vec::new(),
            summary: Vec::new(),
            tally: Vec::new(),
            step: None,
            target: None,
            facts: Vec::new(),
            passages: Vec::new(),
            passage_is_news: event.kind == EventType::MonitorAlert || event.kind.is_host(),
            evidence: None,
            lists: Vec::new(),
            links: Vec::new(),
            notes: Vec::new(),
            has_method: false,
            verifier: None,
        };
        let group = event.group();
        match event.kind {
            EventType::FindingAdded | EventType::CriticalFinding => outline.finding(event),
            EventType::FindingVerified => {
                outline.verification(event.verification());
                outline.finding(event);
                // The proof of concept is the news, but its button comes second, after the finding's.
                outline.link("Open proof of concept", event.verification(), "poc_url");
            }
            EventType::PhaseChanged => outline.phase(event),
            EventType::EngagementCompleted => outline.summary_of_findings(event),
            EventType::EngagementSigned => outline.authorization(event),
            EventType::RetestCompleted => outline.retest(group),
            EventType::ReportReady => outline.report(group),
            EventType::SurfaceChanged => outline.surface(group),
            EventType::MonitorAlert => outline.monitor(event),
            EventType::WebhookFailing | EventType::WebhookDisabled | EventType::WebhookRecovered => {
                outline.host(event, "Webhook");
                outline.webhook(event.webhook());
            }
            EventType::DeliveryFailed => {
                outline.host(event, "Webhook");
                outline.fact("Event type", group.text("event_type"));
                outline.webhook(event.webhook());
                outline.note("Delivery", group.text("id"));
                outline.note("Undelivered event", group.text("event_id"));
            }
            EventType::FormatterRejected | EventType::FormatterRolledBack => {
                outline.host(event, "Formatter");
                outline.fact("Version", group.text("version"));
                outline.note("Digest", group.text("digest"));
            }
            EventType::HostDegraded => outline.host(event, "Part"),
        }
        outline
    }

    fn finding(&mut self, event: &Event<'a>) {
        let finding = event.group();
        let severity = event.severity();
        self.title_fact("Title", event.title());
        self.state(event.kind.phrase());
        // A critical finding with severity critical is called so once.
        if event.kind != EventType::CriticalFinding || severity != Severity::Critical {
            self.state(severity.title());
        }
        self.brief("CVSS", event.cvss().map(|cvss| cvss.text), |score| format!("CVSS {score}").into());
        for (label, identifiers) in [("CWE", event.cwe()), ("CVE", event.cve())] {
            // `CWE-89` is self-explanatory; an identifier in any other form needs its label.
            let is_clear = identifiers.iter().all(|identifier| identifier.starts_with(label));
            let identifiers = joined(identifiers, ", ", LIST_TEXT);
            if is_clear {
                self.brief(label, identifiers, |identifiers| identifiers);
            } else {
                self.fact(label, identifiers);
            }
        }
        self.target = event.target();
        self.fact(PARAMETER, finding.text("parameter"));
        self.fact("IP", finding.text("ip"));
        self.passages.extend(finding.text("description"));
        self.evidence = finding.text("evidence");
        self.link("Open finding", finding, "url");
        self.note("Finding", finding.text("id"));
        self.note("Tool", finding.text("tool"));
        // One occurrence is what a reader expects.
        self.note("Occurrences", finding.text("occurrences").filter(|times| times != "1"));
        // With a link to the full finding, these values are one click away.
        let reachable = self.links.iter().any(|link| web_url(&link.address, usize::MAX).is_some());
        if !reachable {
            let remediation = finding.text("remediation");
            self.passages.extend(remediation.map(|text| format!("Remediation: {text}").into()));
            self.list("References", "🔗", finding);
            self.list("Tags", "🏷️", finding);
        }
    }

    fn verification(&mut self, verification: &Object<'a>) {
        match (verification.text("verified_by"), verification.text("method")) {
            (Some(by), Some(method)) => {
                self.passages.push(format!("Verified by {by}: {method}").into());
                (self.has_method, self.verifier) = (true, Some(by));
            }
            (None, Some(method)) => {
                self.passages.push(format!("Verified: {method}").into());
                self.has_method = true;
            }
            (by, None) => self.fact("Verified by", by),
        }
    }

    fn phase(&mut self, event: &Event<'a>) {
        let phase = event.group();
        self.title_fact("Phase", phase.text("name"));
        match phase.text("status") {
            status if has_long_status(event) => self.fact("Status", status),
            status => self.title_fact("Status", status),
        }
        let whole = |member| phase.text(member)?.trim().parse().ok();
        self.step = match (whole("index"), whole("total")) {
            (Some(index), Some(total)) if (1..=total).contains(&index) => {
                Some(Step { index, total, is_done: has_status(event, "completed") })
            }
            _ => None,
        };
        if self.step.is_none() {
            let step = match (phase.text("index"), phase.text("total")) {
                (Some(index), Some(total)) => Some(Cow::Owned(format!("{index} of {total}"))),
                (index, _) => index,
            };
            self.fact("Step", step);
        }
    }

    fn summary_of_findings(&mut self, event: &Event<'a>) {
        let summary = event.group();
        self.title_fact(ENGAGEMENT, event.engagement_name().map(|name| name.to_owned().into()));
        let count = |(severity, count): (Severity, Value<'a>)| Some(Count { severity, count: count.text()? });
        let counts = event.counts();
        if counts.is_empty() {
            self.fact("Findings", summary.text("findings"));
        } else if has_no_findings(event) {
            self.summary.push(Brief { text: "No findings".into(), fact: Fact::new("Findings", "none".into()) });
        } else {
            self.tally = counts.into_iter().filter_map(count).collect();
        }
        self.time("Started", summary.text("started_at"), event);
        self.time("Completed", summary.text("completed_at"), event);
        self.link("Open report", summary, "report_url");
    }

    fn authorization(&mut self, event: &Event<'a>) {
        let authorization = event.group();
        self.title_fact("Signer", authorization.text("signer"));
        self.brief("Role", authorization.text("role"), |role| role);
        self.time("Signed", authorization.text("signed_at"), event);
        self.list("Scope", "🎯", authorization);
        self.link("Open authorization", authorization, "url");
    }

    fn retest(&mut self, retest: &Object<'a>) {
        for (label, symbol) in [("Fixed", "✅"), ("Still open", "❌"), ("Regressed", "⚠️")] {
            self.list_unless_counted(label, symbol, retest);
        }
        self.link("Open retest", retest, "url");
        self.note("Retest", retest.text("id"));
    }

    fn report(&mut self, report: &Object<'a>) {
        self.title_fact("Report", report.text("title"));
        self.brief("Kind", report.text("kind"), |kind| kind);
        self.brief("Framework", report.text("framework"), |framework| framework);
        self.brief("Format", report.text("format"), |format| format.to_ascii_uppercase().into());
        self.brief("Pages", report.text("pages"), |pages| {
            format!("{pages} {}", if pages == "1" { "page" } else { "pages" }).into()
        });
        self.link("Open report", report, "url");
        self.note("Report", report.text("id"));
    }

    fn surface(&mut self, surface: &Object<'a>) {
        for (label, symbol) in [("Added", "➕"), ("Removed", "➖"), ("Changed", "✏️")] {
            self.list_unless_counted(label, symbol, surface);
        }
        self.link("Open surface", surface, "url");
    }

    fn monitor(&mut self, event: &Event<'a>) {
        let monitor = event.group();
        self.title_fact("Monitor", monitor.text("name"));
        self.state(format!("{} severity", event.severity().title()));
        self.target = event.target();
        self.passages.extend(monitor.text("message"));
        self.link("Open monitor", monitor, "url");
        self.note("Monitor", monitor.text("id"));
    }

    /// What all host events have: their subject is labelled `subject`.
    fn host(&mut self, event: &Event<'a>, subject: &'static str) {
        self.title_fact(subject, event.subject());
        if !self.is_good_news {
            self.state(format!("{} severity", event.severity().title()));
        }
        self.passages.extend(event.reason());
        match event.kind {
            // The title has the number.
            EventType::DeliveryFailed => self.title_fact("Deliveries", event.repetitions()),
            _ => self.fact("Times", event.repetitions()),
        }
    }

    fn webhook(&mut self, webhook: &Object<'a>) {
        self.fact("Destination", webhook.text("url_host"));
        self.fact("Format", webhook.text("format"));
        self.note("Webhook", webhook.text("id"));
    }

    fn state(&mut self, text: impl Into<Cow<'a, str>>) {
        self.summary.push(Brief { text: text.into(), fact: None });
    }

    fn fact(&mut self, label: &'static str, value: Option<Cow<'a, str>>) {
        self.facts.extend(value.and_then(|value| Fact::new(label, value)));
    }

    fn title_fact(&mut self, label: &'static str, value: Option<Cow<'a, str>>) {
        self.title_facts.extend(value.and_then(|value| Fact::new(label, value)));
    }

    fn note(&mut self, label: &'static str, value: Option<Cow<'a, str>>) {
        self.notes.extend(value.and_then(|value| Fact::new(label, value)));
    }

    /// Adds a time, unless it is the event's own.
    fn time(&mut self, label: &'static str, value: Option<Cow<'a, str>>, event: &Event<'a>) {
        let Some(fact) = value.and_then(|value| Fact::new(label, value)) else {
            return;
        };
        let time = instant(fact.value.trim());
        let at_once = time.zip(event.time()).is_some_and(|(a, b)| (a - b).abs() < Duration::MINUTE);
        self.facts.extend((!at_once).then_some(Fact { time, ..fact }));
    }

    /// Adds a value to the summary, phrased by `phrase`; a value that is too long for it becomes a fact.
    fn brief(
        &mut self,
        label: &'static str,
        value: Option<Cow<'a, str>>,
        phrase: impl Fn(Cow<'a, str>) -> Cow<'a, str>,
    ) {
        match value.filter(|value| !is_blank(value)) {
            Some(value) if value.len() <= BRIEF => {
                let fact = Fact::new(label, value.clone());
                self.summary.push(Brief { text: phrase(value), fact });
            }
            value => self.fact(label, value),
        }
    }

    /// Adds a link. Of several addresses the first is used: a button has one.
    fn link(&mut self, label: &'static str, group: &Object<'a>, member: &str) {
        let first = group.items(member).next().and_then(Value::text);
        self.links.extend(first.map(|address| Link { label, address }));
    }

    /// Adds a list, unless a bare number stands in its place: the title contains that count.
    fn list_unless_counted(&mut self, label: &'static str, symbol: &'static str, group: &Object<'a>) {
        if !group.get(&member_name(label)).is_some_and(Value::is_number) {
            self.list(label, symbol, group);
        }
    }

    /// Adds the list in the member named like the label: `Still open` is `still_open`.
    fn list(&mut self, label: &'static str, symbol: &'static str, group: &Object<'a>) {
        let member = &member_name(label);
        let shown: Vec<_> = group.items(member).take(LIST_SHOWN).map(item_text).collect();
        if !shown.is_empty() {
            self.lists.push(List { label, symbol, total: group.count(member), shown });
        }
    }
}

impl<'a> Fact<'a> {
    fn new(label: &'static str, value: Cow<'a, str>) -> Option<Self> {
        (!is_blank(&value)).then_some(Self { label, value, time: None })
    }
}

fn member_name(label: &str) -> String {
    label.to_ascii_lowercase().replace(' ', "_")
}

/// A list item for people. Assets and findings are names or objects; for an object its name comes first, then its other
/// members: `staging.contoso.example:8443 (service: nginx 1.25)`.
pub fn item_text<'a>(item: Value<'a>) -> Cow<'a, str> {
    if !item.is_object() {
        return item.text().unwrap_or_else(|| Cow::Borrowed(item.json()));
    }
    let members = item.object();
    let name = members.first_text(&["asset", "id", "name", "title", "host", "target", "url"]);
    let Some(mut name) = name else {
        // An item without visible text still counts: show its JSON.
        return item.text().unwrap_or_else(|| Cow::Borrowed(item.json()));
    };
    let details: Vec<_> = ["title", "kind", "detail"]
        .into_iter()
        .filter_map(|member| members.text(member))
        .filter(|detail| *detail != name)
        .collect();
    if !details.is_empty() {
        name = Cow::Owned(format!("{name} ({})", details.join(": ")));
    }
    name
}

/// A target for people and parsers: an object by its address, or by its host and port.
pub fn target_text(target: Value<'_>) -> Option<Cow<'_, str>> {
    if target.is_list() && target.items().next().is_some_and(Value::is_object) {
        return joined(target.items().take(LIST_ITEMS).filter_map(target_text), ", ", LIST_TEXT);
    }
    if !target.is_object() {
        return target.text();
    }
    let members = target.object();
    if let Some(url) = members.first_text(&["url", "uri", "href"]) {
        return Some(url);
    }
    let host = members.first_text(&["host", "hostname", "fqdn", "ip", "address"]).or_else(|| target.text())?;
    Some(match members.text("port") {
        Some(port) if host.parse::<Ipv6Addr>().is_ok() => format!("[{host}]:{port}").into(),
        Some(port) => format!("{host}:{port}").into(),
        None => host,
    })
}
