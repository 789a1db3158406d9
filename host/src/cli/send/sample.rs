//! The sample events of `send --sample`.

use super::input::{Event, with_id};
use crate::cli::failure::Failure;
use crate::cli::terminal::escape;
use crate::model::event::EventType;
use crate::model::spelling::edits;
use crate::samples;

/// The samples of these event types, each with an id of its own.
///
/// # Errors
/// When there is no such type, or the host alone makes its events.
pub(super) fn events(types: &[String]) -> Result<Vec<Event>, Failure> {
    types.iter().enumerate().map(|(index, name)| event(name, index + 1)).collect()
}

fn event(name: &str, line: usize) -> Result<Event, Failure> {
    let event_type = EventType::from_name(name).ok_or_else(|| unknown(name))?;
    if event_type.is_host() {
        let error = anyhow::anyhow!("{name} is made by the host itself, of what happens to it, and cannot be posted");
        let hint = format!("`heraldry webhook test WEBHOOK --event-type {name}` delivers its sample");
        return Err(Failure::usage(error, hint));
    }
    let json = samples::without_id(event_type).and_then(|sample| with_id(&sample).ok()).ok_or_else(|| unknown(name))?;
    Ok(Event { line, json })
}

fn unknown(name: &str) -> Failure {
    let names: Vec<&str> =
        EventType::ALL.iter().filter(|one| !one.is_host()).map(|event_type| event_type.as_str()).collect();
    let near = names.iter().filter_map(|known| Some((edits(name, known)?, *known))).min();
    let meant = near.map(|(_, known)| format!("; did you mean {known}?")).unwrap_or_default();
    let error = anyhow::anyhow!("there is no event type `{}`{meant}", escape(name));
    Failure::usage(error, format!("the types with a sample are {}", names.join(", ")))
}

/// What was posted, in words: type, id, title and engagement.
pub(super) fn describe(name: &str, event: &Event) -> String {
    let event: serde_json::Value = serde_json::from_str(&event.json).unwrap_or_default();
    let text = |pointer: &str| event.pointer(pointer).and_then(serde_json::Value::as_str);
    let mut words = format!("posted the sample of {name}");
    if let Some(title) = text("/data/finding/title") {
        words.push_str(&format!(" ({title})"));
    }
    if let (Some(engagement), Some(id)) = (text("/engagement/name"), text("/engagement/id")) {
        words.push_str(&format!(" in the engagement {engagement} ({id})"));
    }
    words.push_str(&format!(" as the event {}", text("/id").unwrap_or_default()));
    escape(&words).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::NewEvent;

    #[test]
    fn each_type_that_can_be_posted_has_a_sample() {
        let names: Vec<String> = EventType::ALL.iter().map(|one| one.as_str().to_owned()).collect();
        for name in &names {
            let made = events(std::slice::from_ref(name));
            let is_host = EventType::from_name(name).is_some_and(EventType::is_host);
            match made {
                Ok(made) => {
                    let read = NewEvent::parse(&made[0].json, "").expect("an event");
                    let id = read.id.expect("an id");
                    assert!(!is_host && read.event_type.as_str() == name);
                    assert!(describe(name, &made[0]).ends_with(&format!(" as the event {id}")));
                }
                Err(failure) => {
                    let (message, _) = failure.message().expect("a message");
                    assert!(is_host && message.contains("cannot be posted"), "{name}: {message}");
                }
            }
        }
        let twice = events(&[names[0].clone(), names[0].clone()]).expect("events");
        assert_ne!(twice[0].json, twice[1].json);
    }

    #[test]
    fn a_type_that_does_not_exist_is_rejected_with_the_nearest() {
        for (name, meant) in [("finding_aded", "did you mean finding_added?"), ("*", "`*`"), ("", "``")] {
            let failure = events(&[name.to_owned()]).expect_err(name);
            let (message, hint) = failure.message().expect("a message");
            assert!(message.contains(meant) && hint.contains("report_ready"), "{message} {hint}");
            assert!(!hint.contains("host_degraded"), "{hint}");
        }
    }
}
