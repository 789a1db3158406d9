//! `events.d.ts` of the JavaScript template.

use std::fmt::Write as _;

use super::Property;
use crate::model::event::EventType;

const HEAD: &str = r#"// Types of events, and of what a formatter gets and returns. Made from the host's `wit/schemas`: do not edit.
//
// The host checks a finding's `title` and `severity`. Every other member may be absent or of another type than it says
// here, and there may be others, so test what you use.

/** The event as the contract hands it over: its JSON text is in `json`, as posted. */
export interface Event {
  /** The event's id, a UUID. */
  id: string;
  /** The event's type. Later hosts may know more than `EventType`. */
  type: string;
  /** When it happened: RFC 3339, UTC, milliseconds. */
  occurredAt: string;
  /** The whole event as one JSON object: `JSON.parse` makes a `PostedEvent` of it. */
  json: string;
}

/** What surrounds the event. */
export interface Context {
  /** How the payload travels. */
  transport: "http" | "syslog" | (string & {});
  /** The most bytes that the body may have; absent: the host's limit on every output. */
  maxBytes?: number;
  /** The name of the machine that Heraldry speaks for. */
  hostName: string;
  /** Heraldry's version. */
  productVersion: string;
}

/** What one delivery carries. */
export interface Payload {
  /** The value of `Content-Type`. */
  contentType: string;
  /** Headers beside it, at most 32. */
  headers: { name: string; value: string }[];
  /** The body, to the byte. */
  body: Uint8Array;
}

/** The engagement that an event belongs to. */
export interface Engagement {
  id: string;
  name: string;
  client?: string;
}

"#;

pub(super) fn text() -> String {
    let mut text = HEAD.to_owned();
    for group in Property::groups_of(EventType::posted()) {
        interface(&mut text, &group);
    }
    text.push_str("/** What `data` has, by event type. */\nexport interface EventData {\n");
    EventType::posted().for_each(|event_type| data(&mut text, event_type));
    text.push_str(
        "}\n\n// Host events: what happened to Heraldry itself. Nobody posts them, and they have no engagement.\n\n",
    );
    for group in Property::groups_of(EventType::hosts()) {
        interface(&mut text, &group);
    }
    text.push_str("/** What `data` has, by type of host event. */\nexport interface HostEventData {\n");
    EventType::hosts().for_each(|event_type| data(&mut text, event_type));
    text.push_str(
        "}\n\n/** The event types of this version. */\nexport type EventType = keyof EventData | keyof HostEventData;\n\n\
         /** A host event; `type` decides what `data` has. */\n\
         export type HostEvent = {\n  [Type in keyof HostEventData]: {\n    type: Type;\n    id: string;\n    occurred_at: string;\n    \
         engagement?: undefined;\n    data: HostEventData[Type];\n  };\n}[keyof HostEventData];\n\n\
         /** An event as it was posted; `type` decides what `data` has. */\n\
         export type PostedEvent = {\n  [Type in keyof EventData]: {\n    type: Type;\n    id?: string;\n    occurred_at?: string;\n    \
         engagement?: Engagement;\n    /** The event that the host derived this one from. */\n    caused_by?: string;\n    \
         data: EventData[Type];\n  };\n}[keyof EventData];\n",
    );
    text
}

/// The member of a type in the interface of what `data` has.
fn data(text: &mut String, event_type: EventType) {
    let member = |group: &Property| {
        let optional = if group.is_required { "" } else { "?" };
        format!("{}{optional}: {};", group.name, type_name(&group.name))
    };
    let members: Vec<String> = Property::groups(event_type).iter().map(member).collect();
    let (what, name) = (event_type.description(), event_type.as_str());
    write!(text, "  /** {what} */\n  {name}: {{ {} [member: string]: unknown }};\n", members.join(" "))
        .expect("a string");
}

/// `finding` as `Finding`.
pub(super) fn type_name(group: &str) -> String {
    let (first, rest) = group.split_at(1);
    first.to_uppercase() + rest
}

fn interface(text: &mut String, group: &Property) {
    write!(text, "/** {} */\nexport interface {} {{\n", group.description, type_name(&group.name)).expect("a string");
    for member in &group.properties {
        let optional = if member.is_required { "" } else { "?" };
        let example = member.example.as_deref().map(|example| format!(" Example: `{example}`")).unwrap_or_default();
        // A comment must not end inside of it.
        let comment = format!("{}{example}", member.description).replace("*/", "*\\/");
        write!(text, "  /** {comment} */\n  {}{optional}: {};\n", member.name, types(member)).expect("a string");
    }
    text.push_str("  [member: string]: unknown;\n}\n\n");
}

fn types(property: &Property) -> String {
    let each = property.types.iter().map(|name| match (name.as_str(), &property.items) {
        ("integer", _) => "number".to_owned(),
        ("array", Some(items)) if items.types.len() == 1 => format!("{}[]", types(items)),
        ("array", Some(items)) => format!("({})[]", types(items)),
        ("object", _) => {
            let member = |member: &Property| format!("{}?: {}; ", member.name, types(member));
            format!("{{ {}[member: string]: unknown }}", property.properties.iter().map(member).collect::<String>())
        }
        (name, _) => name.to_owned(),
    });
    each.collect::<Vec<_>>().join(" | ")
}
