//! Digests of an author's component: `preview --digest` and the golden files of `test`.

use std::sync::Arc;

use heraldry_formatter::golden::digests;
use heraldry_formatter::{RawEvent, digest, golden};

use super::super::failure::Failure;
use super::parse_event;
use crate::formatter::{ComponentRuntime, Digested, Loaded, RenderError, Run};
use crate::model::delivery::Part;
use crate::model::event::Event;

/// A digest with a golden file of its own.
pub(super) struct Case {
    /// File stem of the golden file.
    name: String,
    events: Vec<Arc<Event>>,
}

/// The findings of a scan, an event each.
pub(super) fn scan(count: usize) -> Result<Vec<Arc<Event>>, Failure> {
    digests::scan(count).iter().map(|event| parse_event("the scan", &event.json).map(Arc::new)).collect()
}

/// One event again and again, each with an id of its own.
pub(super) fn repeated(event: &Event, count: usize) -> Result<Vec<Arc<Event>>, Failure> {
    cycled(&[event], count)
}

fn cycled(events: &[&Event], count: usize) -> Result<Vec<Arc<Event>>, Failure> {
    let raw: Vec<RawEvent> = events.iter().map(|event| raw(event)).collect();
    let with_id = |(event, raw): (&&Event, RawEvent)| {
        let id = raw.id.parse().map_err(|error| {
            Failure::failed(anyhow::anyhow!("{}: {error}", raw.id), "this is a bug in Heraldry: report it")
        })?;
        Ok(Arc::new(Event { id, ..(*event).clone() }))
    };
    events.iter().cycle().zip(digests::cycled(&raw, count)).map(with_id).collect()
}

fn raw(event: &Event) -> RawEvent {
    RawEvent {
        id: event.id.to_string(),
        type_: event.event_type.as_str().to_owned(),
        occurred_at: event.occurred_at.to_string(),
        json: event.json.clone(),
    }
}

/// Makes one message of the events.
pub(super) fn make(
    runtime: &ComponentRuntime,
    loaded: &Loaded,
    events: &[Arc<Event>],
    options: &str,
) -> Result<Run<Digested>, Failure> {
    let total = u32::try_from(events.len()).unwrap_or(u32::MAX);
    runtime.digest(loaded, events, Part { number: 1, parts: 1, total }, options).ok_or_else(|| {
        let error = anyhow::anyhow!("{} has no digests: it does not export `digest`", loaded.manifest.name);
        Failure::failed(error, "formatters/AUTHORS.md, \"Digests\", says how a format gets them")
    })
}

/// The digests whose golden files are compared: none if the component makes no digests.
pub(super) fn cases(runtime: &ComponentRuntime, loaded: &Loaded) -> Result<Vec<Case>, Failure> {
    if !loaded.digests() {
        return Ok(Vec::new());
    }
    let scans = digests::SIZES.iter().map(|size| Ok(Case { name: format!("scan-{size}"), events: scan(*size)? }));
    let mut cases: Vec<Case> = scans.collect::<Result<_, Failure>>()?;
    // In the order of their names, as `cargo test` in a Rust project reads them.
    let mut samples: Vec<_> = runtime.samples().iter().collect();
    samples.sort_by(|one, other| one.name.cmp(&other.name));
    let samples: Vec<&Event> = samples.into_iter().map(|sample| &sample.event).collect();
    cases.push(Case { name: "samples-100".into(), events: cycled(&samples, 100)? });
    Ok(cases)
}

/// Name and text of the golden file of one digest.
pub(super) fn output(runtime: &ComponentRuntime, loaded: &Loaded, case: &Case) -> Result<(String, String), Failure> {
    let made = match make(runtime, loaded, &case.events, "{}")?.result {
        Ok(Digested { payload, unsupported }) => Ok(digest::Message {
            content_type: payload.content_type,
            headers: payload.headers.into_iter().map(|(name, value)| digest::Header { name, value }).collect(),
            body: payload.body.to_vec(),
            unsupported: unsupported.into_iter().filter_map(|place| u32::try_from(place).ok()).collect(),
        }),
        Err(RenderError::Internal(message)) => Err(message),
        Err(error) => {
            let error = anyhow::anyhow!("{}: {error}", case.name);
            return Err(Failure::failed(error, "run `heraldry formatter preview --digest 100` to see the call"));
        }
    };
    let (extension, text) = golden::show_digest(&made);
    Ok((format!("{}.{extension}", case.name), text))
}
