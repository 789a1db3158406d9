//! The extension: which part of an event goes under which key, how long it may be there, and how it is
//! written. Keys that a consumer sets, and such as nobody knows, are never used.

use std::borrow::Cow;
use std::net::IpAddr;

use heraldry_formatter::event::instant;
use heraldry_formatter::line::{Field, LINE_FEEDS, Target, prose, sentence, value};
use heraldry_formatter::value::Value;
use heraldry_formatter::{Event, EventType};

/// The longest `msg`, and of most other strings, in bytes.
const MAX_BYTES: usize = 1023;

/// The longest `cs1` to `cs6`.
const MAX_CUSTOM_BYTES: usize = 4000;

/// The longest `act`.
const MAX_ACT_BYTES: usize = 63;

/// The longest `externalId`.
const MAX_EXTERNAL_ID_BYTES: usize = 40;

/// What may stand in front of a description in `msg` for each thing that has no key: half of it.
const MAX_ASIDE_BYTES: usize = 511;

/// Collects the pairs of `event` behind what `fields` holds, those that matter most first, and returns
/// `msg`, which gives way first when the record is too long. `target` is the group's.
pub(crate) fn collect<'a>(event: &'a Event<'_>, target: Option<&'a str>, fields: &mut Vec<Field<'a>>) -> Field<'a> {
    let group = event.group();
    let mut pairs = Pairs { fields };
    pairs.time("rt", None, Some(event.occurred_at));
    pairs.text("externalId", Some(event.id.into()), MAX_EXTERNAL_ID_BYTES);
    pairs.atomic();
    pairs.text("cat", Some(event.kind.name().into()), MAX_BYTES);
    pairs.atomic();
    let parts = target.map(Target::parse).unwrap_or_default();
    pairs.text("dhost", parts.host.map(Cow::Borrowed), MAX_BYTES);
    pairs.number("dpt", None, parts.port.map(|port| port.to_string()));
    pairs.addresses(event, parts.host);
    pairs.text("request", parts.url.map(Cow::Borrowed), MAX_BYTES);
    if event.kind == EventType::PhaseChanged {
        pairs.text("act", group.text("status"), MAX_ACT_BYTES);
        let index = group.get("index").and_then(|index| whole(index.number()?));
        pairs.number("cn1", Some("phaseIndex"), index);
    }
    if event.kind.is_finding() {
        let score = event.cvss().and_then(|cvss| cvss.score);
        pairs.number("cfp1", Some("cvss"), score.map(|score| score.to_string()));
    }
    pairs.custom("cs1", "objectId", group.text("id"));
    pairs.custom("cs2", "engagementId", event.engagement_id().map(Cow::Borrowed));
    pairs.custom("cs3", "engagementName", event.engagement_name().map(Cow::Borrowed));
    pairs.custom("cs4", "client", event.engagement_client().map(Cow::Borrowed));
    pairs.custom("cs5", "weakness", weakness(event));

    let verification = event.verification();
    let proof = verification.text("poc_url");
    let link = group.text("url").or_else(|| group.text("report_url"));
    let has_link = link.is_some();
    // A target that no other key holds whole.
    let loose_target = target.filter(|whole| parts.url.is_none() && parts.host != Some(whole.trim()));
    match (link.or_else(|| proof.clone()), loose_target) {
        (Some(link), _) => pairs.custom("cs6", "link", Some(link)),
        (None, target) => pairs.custom("cs6", "target", target.map(Cow::Borrowed)),
    }
    let target_aside = loose_target.filter(|_| has_link || proof.is_some());
    let asides = [("Target", target_aside.map(Cow::Borrowed)), ("Proof of concept", proof.filter(|_| has_link))];

    let signer = group.text("signer").filter(|_| event.kind == EventType::EngagementSigned);
    pairs.text("suser", verification.text("verified_by").or(signer), MAX_BYTES);
    pairs.text("reason", verification.text("method"), MAX_BYTES);
    pairs.text("sourceServiceName", group.text("tool"), MAX_BYTES);
    let count = group.get("occurrences").and_then(Value::number);
    let count = count.filter(|count| (0.0..=f64::from(i32::MAX)).contains(count));
    pairs.number("cnt", None, count.and_then(whole));
    pairs.time("start", None, group.text("started_at").as_deref());
    pairs.time("end", None, group.text("completed_at").as_deref());
    pairs.time("deviceCustomDate1", Some("signedAt"), group.text("signed_at").as_deref());
    field("msg", None, value(message(event, asides), LINE_FEEDS, MAX_BYTES))
}

/// `msg`: what the finding or monitor says of itself, else the event in a sentence. In front of it, each
/// on its line, what found no key.
fn message<'a>(event: &'a Event<'_>, asides: [(&str, Option<Cow<'a, str>>); 2]) -> Cow<'a, str> {
    let text = match prose(event) {
        Some(text) => text,
        None if event.kind.is_finding() => Cow::Borrowed(""),
        None => sentence(event),
    };
    if asides.iter().all(|(_, aside)| aside.is_none()) {
        return text;
    }
    let mut out = String::new();
    for (label, aside) in asides {
        if let Some(aside) = aside {
            out.push_str(label);
            out.push_str(": ");
            out.push_str(&value(aside, LINE_FEEDS, MAX_ASIDE_BYTES));
            out.push('\n');
        }
    }
    out.push_str(&text);
    Cow::Owned(out)
}

/// `CVE-2021-44228, CWE-502`.
fn weakness<'a>(event: &Event<'a>) -> Option<Cow<'a, str>> {
    if !event.kind.is_finding() {
        return None;
    }
    let mut all = event.cve();
    all.append(&mut event.cwe());
    match all.len() {
        0 => None,
        1 => all.pop(),
        _ => Some(Cow::Owned(all.join(", "))),
    }
}

/// A number without a fraction, exactly, within what both a double and a long hold.
fn whole(number: f64) -> Option<String> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    // Adding zero turns -0 into 0.
    (number.fract() == 0.0 && number.abs() <= EXACT).then(|| (number + 0.0).to_string())
}

struct Pairs<'a, 'f> {
    fields: &'f mut Vec<Field<'a>>,
}

impl<'a> Pairs<'a, '_> {
    fn push(&mut self, field: Field<'a>) {
        if !field.value.is_empty() {
            self.fields.push(field);
        }
    }

    /// The last pair is cut by nobody.
    fn atomic(&mut self) {
        if let Some(field) = self.fields.last_mut() {
            field.atomic = true;
        }
    }

    fn text(&mut self, key: &'static str, text: Option<Cow<'a, str>>, max_bytes: usize) {
        if let Some(text) = text {
            self.push(field(key, None, value(text, LINE_FEEDS, max_bytes)));
        }
    }

    /// `cs1` to `cs6`.
    fn custom(&mut self, key: &'static str, label: &'static str, text: Option<Cow<'a, str>>) {
        if let Some(text) = text {
            self.push(field(key, Some(label), value(text, LINE_FEEDS, MAX_CUSTOM_BYTES)));
        }
    }

    fn number(&mut self, key: &'static str, label: Option<&'static str>, number: Option<String>) {
        if let Some(number) = number {
            let number = field(key, label, Cow::Owned(number));
            self.push(Field { atomic: true, ..number });
        }
    }

    /// A time as milliseconds since 1970; what is none, or was before, is left out.
    fn time(&mut self, key: &'static str, label: Option<&'static str>, text: Option<&str>) {
        let milliseconds = text
            .and_then(instant)
            .map(|time| time.unix_timestamp_nanos().div_euclid(1_000_000))
            .filter(|milliseconds| *milliseconds >= 0);
        self.number(key, label, milliseconds.map(|milliseconds| milliseconds.to_string()));
    }

    /// `dst` takes IPv4 only, `c6a3` is for IPv6: the first of each that the event names, else the target
    /// when it is an address.
    fn addresses(&mut self, event: &Event<'_>, host: Option<&str>) {
        let parse = |text: &str| text.trim().parse::<IpAddr>().ok();
        let mut found: Vec<IpAddr> =
            event.group().items("ip").into_iter().filter_map(|item| parse(&item.text()?)).collect();
        if found.is_empty() {
            found.extend(host.and_then(parse));
        }
        let v4 = found.iter().find(|address| address.is_ipv4());
        let v6 = found.iter().find(|address| address.is_ipv6());
        self.number("dst", None, v4.map(IpAddr::to_string));
        self.number("c6a3", Some("Destination IPv6 Address"), v6.map(IpAddr::to_string));
    }
}

/// A pair beside its value: a space, its key and `=`, and once more for the label.
fn field<'a>(name: &'static str, label: Option<&'static str>, value: Cow<'a, str>) -> Field<'a> {
    let label_bytes = label.map_or(0, |label| " Label=".len() + name.len() + label.len());
    Field { name, label, value, frame_bytes: name.len() + 2 + label_bytes, is_special: must_be_escaped, atomic: false }
}

/// What a value escapes; `|` stays.
fn must_be_escaped(byte: u8) -> bool {
    matches!(byte, b'\\' | b'=' | b'\n')
}

/// Appends the pairs, one space between two.
pub(crate) fn push<'f, 'a: 'f>(line: &mut String, fields: impl Iterator<Item = &'f Field<'a>>) {
    let begin = line.len();
    for field in fields.filter(|field| !field.value.is_empty()) {
        if line.len() > begin {
            line.push(' ');
        }
        if let Some(label) = field.label {
            for text in [field.name, "Label=", label, " "] {
                line.push_str(text);
            }
        }
        line.push_str(field.name);
        line.push('=');
        push_value(line, &field.value);
    }
}

/// Backslash and `=` take a backslash, a line feed becomes one and an `n`.
fn push_value(line: &mut String, value: &str) {
    let mut from = 0;
    for (at, byte) in value.bytes().enumerate().filter(|(_, byte)| must_be_escaped(*byte)) {
        line.push_str(&value[from..at]);
        line.push('\\');
        if byte == b'\n' {
            line.push('n');
            from = at + 1;
        } else {
            from = at;
        }
    }
    line.push_str(&value[from..]);
}
