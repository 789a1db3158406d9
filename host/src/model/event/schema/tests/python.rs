//! `events.pyi` of the Python template.

use std::fmt::Write as _;

use super::Property;
use super::typescript::type_name;
use crate::model::event::EventType;

const HEAD: &str = r#""""Types of events, and of what a formatter gets and returns. Made from the host's `wit/schemas`: do not edit.

For type checkers only: import it under `if TYPE_CHECKING:`. The host checks a finding's `title` and `severity`. Every other
member may be absent or of another type than it says here, and there may be others, so test what you use.
"""

from typing import Any, Literal, NotRequired, Protocol, TypedDict, Union

class Event(Protocol):
    """The event as the contract hands it over: `json.loads(event.json)` makes a `PostedEvent` of it."""

    id: str
    type: str
    occurred_at: str
    json: str

class Context(Protocol):
    """What surrounds the event: `transport` is `http` or `syslog`; `max_bytes` is the most that the body may have."""

    transport: str
    max_bytes: int | None
    host_name: str
    product_version: str

class Header(Protocol):
    """A header beside the content type."""

    name: str
    value: str

class Payload(Protocol):
    """What one delivery carries."""

    content_type: str
    headers: list[Header]
    body: bytes

class Engagement(TypedDict):
    """The engagement that an event belongs to."""

    id: str
    name: str
    client: NotRequired[str]

"#;

pub(super) fn text() -> String {
    let mut text = HEAD.to_owned();
    let posted = "id: NotRequired[str]\n    occurred_at: NotRequired[str]\n    engagement: NotRequired[Engagement]\n    \
                  caused_by: NotRequired[str]";
    section(&mut text, "PostedEvent", posted, &EventType::posted().collect::<Vec<_>>());
    text.push_str(
        "\n# Host events: what happened to Heraldry itself. Nobody posts them, and they have no engagement.\n\n",
    );
    section(&mut text, "HostEvent", "id: str\n    occurred_at: str", &EventType::hosts().collect::<Vec<_>>());
    text
}

/// The groups and events of these types, and the union of the events.
fn section(text: &mut String, union: &str, envelope: &str, event_types: &[EventType]) {
    for group in Property::groups_of(event_types.iter().copied()) {
        class(text, &group);
    }
    for &event_type in event_types {
        let name = format!("{event_type:?}");
        write!(text, "class {name}Data(TypedDict):\n    \"\"\"`data` of `{}`.\"\"\"\n\n", event_type.as_str())
            .expect("a string");
        for group in Property::groups(event_type) {
            let class = type_name(&group.name);
            let class = if group.is_required { class } else { format!("NotRequired[{class}]") };
            writeln!(text, "    {}: {class}", group.name).expect("a string");
        }
        write!(
            text,
            "\nclass {name}(TypedDict):\n    \"\"\"{}\"\"\"\n\n    type: Literal[\"{}\"]\n    {envelope}\n    data: {name}Data\n\n",
            event_type.description(),
            event_type.as_str()
        )
        .expect("a string");
    }
    let names: Vec<String> = event_types.iter().map(|event_type| format!("    {event_type:?},\n")).collect();
    write!(text, "{union} = Union[\n{}]\n", names.concat()).expect("a string");
}

fn class(text: &mut String, group: &Property) {
    let (name, about) = (type_name(&group.name), &group.description);
    write!(text, "class {name}(TypedDict):\n    \"\"\"{about}\"\"\"\n\n").expect("a string");
    for member in &group.properties {
        let types = types(member);
        let types = if member.is_required { types } else { format!("NotRequired[{types}]") };
        write!(text, "    {}: {types}\n    \"\"\"{}\"\"\"\n", member.name, member.description).expect("a string");
    }
    text.push('\n');
}

fn types(property: &Property) -> String {
    let each = property.types.iter().map(|name| match (name.as_str(), &property.items) {
        ("string", _) => "str".to_owned(),
        ("integer", _) => "int".to_owned(),
        ("number", _) => "float".to_owned(),
        ("boolean", _) => "bool".to_owned(),
        ("array", Some(items)) => format!("list[{}]", types(items)),
        _ => "dict[str, Any]".to_owned(),
    });
    each.collect::<Vec<_>>().join(" | ")
}
