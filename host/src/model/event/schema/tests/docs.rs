//! `docs/EVENTS.md`.

use std::fmt::Write as _;

use super::Property;
use crate::json::fault::Faults;
use crate::json::fields::{Field, Kind};
use crate::model::event::EventType;
use crate::samples;

const HEAD: &str = r#"<!-- Made from wit/schemas and wit/samples by UPDATE_GOLDEN=1 cargo test -p heraldry --lib event::schema -->

# Events

What a platform posts to `POST /api/v1/events`. The same as JSON Schema: `GET /api/v1/webhooks/event-types` (`schema` and
`sample` of each type), [`wit/schemas`](../wit/schemas), and the OpenAPI document (`/docs`).

| member | type | |
| --- | --- | --- |
| `type` | string, required | one of the ten types below, no host event |
| `data` | object, required | what happened; has at least the group of its type |
| `occurred_at` | string | when it happened, as RFC 3339 writes it: a `T` between date and time, an offset or `Z`. Absent: the time of acceptance |
| `id` | string | a UUID. Posting the same event with the same id again has no further effect. Absent: the host generates one |
| `engagement` | object | `id` and `name` (required), `client`: all strings. Filters compare `id` |

Another member beside these, or inside `engagement`, is rejected (422).

**`data` passes through byte for byte**, whatever it holds: members that are not listed here, values of other types, numbers
beyond a double (`1e400`). The host requires the group of the type, `finding.title` and a known word in `finding.severity`;
everything else is optional. Formats show the members that are listed here; a value of an unusual type is shown as text.

A member of a group that is not listed is accepted with a warning, since formats do not show it. Often it is a listed
member under another name:

```json
{"id": "01a1e8fe-a5c0-7f18-bf64-0f9de5134f3f", "deliveries": 1, "derived": [], "warnings": [
  {"pointer": "/data/finding/desc", "code": "unknown_member",
   "detail": "is no usual member of finding and formats do not show it; did you mean description?"}]}
```

A response lists at most 20 warnings of an event and 100 in all; `more_warnings` is the number of further ones. A repeated
request has the same warnings again.

Two events are the same if their JSON values are: the order of members, white space, escapes and the spelling of numbers do
not matter. Numbers are compared exactly (`1e400` is `10e399`, and `0.1` is not `0.10000000000000000001`); only with an
exponent of more than 18 digits another spelling is another number.

The samples have no `id`, so that each of them can be posted as often as you like.
"#;

const HOST: &str = r#"
# Host events

What happened to Heraldry itself: a destination that fails, a formatter that was rejected, a disk that is nearly full. The
host makes these events and delivers them like any other, in every format, with filters, signatures and retries.

- A webhook gets them only if its `event_types` name the type, also beside `*`, which does not include them:
  `["*", "webhook_disabled"]`. They cannot be posted (422, `host_event_type`).
- A webhook never gets an event about itself: have another one, of another destination, tell about it.
- Of a type there is at most one event a minute about the same webhook, formatter or part of the host: `count` says how often
  it happened, the other members are of the last time.
- They have no `engagement`, so a webhook whose filter names engagements does not get them.
- `reason` is in words. Secrets are masked in it, and nothing of a destination's response is quoted.
"#;

pub(super) fn text() -> String {
    let mut text = HEAD.to_owned();
    for event_type in EventType::posted() {
        section(&mut text, event_type);
    }
    text.push_str(
        "\n## The finding\n\nThe group `finding` of `finding_added`, `finding_verified` and `critical_finding`.\n",
    );
    table(&mut text, &Property::finding());
    text.push_str(HOST);
    for event_type in EventType::hosts() {
        section(&mut text, event_type);
    }
    text
}

fn section(text: &mut String, event_type: EventType) {
    write!(text, "\n## {}\n\n{}\n", event_type.as_str(), event_type.description()).expect("written to a string");
    if event_type == EventType::CriticalFinding {
        text.push_str(
            "The host makes it by itself of each `finding_added` with severity critical, with an id of its own and `caused_by`; a\n\
             platform may also post it.\n",
        );
    }
    for group in Property::groups(event_type) {
        if group.name == "finding" {
            text.push_str("\n`data.finding`: see [The finding](#the-finding).\n");
        } else {
            write!(text, "\n`data.{}`: {}\n", group.name, lower(&group.description)).expect("written to a string");
            table(text, &group);
        }
    }
    let sample = samples::without_id(event_type).expect("a sample");
    write!(text, "\n```json\n{}\n```\n", pretty(&Field::new(&sample, ""), 0)).expect("written to a string");
}

fn table(text: &mut String, group: &Property) {
    text.push_str("\n| member | type | meaning | example |\n| --- | --- | --- | --- |\n");
    for member in &group.properties {
        let required = if member.is_required { ", required" } else { "" };
        let description = &member.description;
        let example = member.example.as_deref().unwrap_or_default();
        let row = format!("| `{}` | {}{required} | {description} | `{example}` |", member.name, types(member));
        writeln!(text, "{row}").expect("written to a string");
    }
}

/// The types in words.
fn types(member: &Property) -> String {
    let single: Vec<String> =
        member.types.iter().filter(|name| *name != "array").map(|name| one(name, member)).collect();
    let mut words = single.join(" or ");
    if let Some(items) = &member.items {
        let same = items.types.iter().all(|name| member.is(name)) && items.types.len() == single.len();
        let list = if same {
            "a list of them".to_owned()
        } else {
            let each: Vec<String> = items.types.iter().map(|name| one(name, items)).collect();
            format!("a list of {}", each.join(" or "))
        };
        words.push_str(", or ");
        words.push_str(&list);
    }
    words
}

fn one(name: &str, property: &Property) -> String {
    if name == "object" && !property.properties.is_empty() {
        let names: Vec<String> = property.properties.iter().map(|member| format!("`{}`", member.name)).collect();
        return format!("object ({})", names.join(", "));
    }
    name.to_owned()
}

fn lower(sentence: &str) -> String {
    let mut chars = sentence.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// JSON with a member a line; lists of texts and numbers stay on one.
fn pretty(field: &Field<'_>, depth: usize) -> String {
    let faults = &mut Faults::new();
    let (outer, inner) = ("  ".repeat(depth), "  ".repeat(depth + 1));
    let lines = |open: char, lines: Vec<String>, close: char| {
        format!("{open}\n{inner}{}\n{outer}{close}", lines.join(&format!(",\n{inner}")))
    };
    match field.kind() {
        Kind::Object => {
            let members = field.members(faults).expect("an object");
            let member = |(name, value): &(String, Field<'_>)| format!("\"{name}\": {}", pretty(value, depth + 1));
            lines('{', members.iter().map(member).collect(), '}')
        }
        Kind::Array if field.text().contains('{') => {
            let elements = field.elements(faults).expect("a list");
            lines('[', elements.iter().map(|element| pretty(element, depth + 1)).collect(), ']')
        }
        Kind::Array => field.text().replace("\",\"", "\", \""),
        _ => field.text().to_owned(),
    }
}
