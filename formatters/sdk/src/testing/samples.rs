//! The events of `wit/samples`: a full and a minimal one of each type, and hostile ones.
//!
//! They are read from `../../wit/samples` relative to the SDK's own folder: `formatters/sdk` in Heraldry,
//! `vendor/heraldry-formatter` in an author's project, which has the WIT in the same place.

use std::path::Path;
use std::{fs, iter};

use crate::{Context, RawEvent};

/// A sample event with its name, `finding_added--hostile`.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The file's name without `.json`.
    pub name: String,
    /// The event as the host would pass it.
    pub event: RawEvent,
}

/// All samples, sorted by name.
///
/// # Panics
/// If a file cannot be read or is not an event with `id`, `type` and `occurred_at`.
pub fn all() -> Vec<Sample> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/samples");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("wit/samples is there")
        .map(|entry| entry.expect("wit/samples can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| Sample {
            name: path.file_stem().expect("a name").to_string_lossy().into_owned(),
            event: event(&fs::read_to_string(&path).expect("a sample is UTF-8")),
        })
        .collect()
}

/// JSON pointers to the content that a reader wants to see, for all event types.
const CONTENT: [&str; 19] = [
    "/engagement/name",
    "/data/finding/title",
    "/data/finding/target",
    "/data/report/title",
    "/data/phase/name",
    "/data/monitor/name",
    "/data/monitor/message",
    "/data/monitor/target",
    "/data/authorization/signer",
    "/data/verification/method",
    "/data/verification/verified_by",
    "/data/verification/poc_url",
    "/data/webhook/name",
    "/data/webhook/reason",
    "/data/delivery/webhook/name",
    "/data/delivery/reason",
    "/data/formatter/name",
    "/data/formatter/reason",
    "/data/host/reason",
];

/// Asserts that `output` contains the sample's content, including the values at the further JSON pointers `more`.
///
/// # Panics
/// If a value is missing.
pub fn assert_shown(sample: &Sample, more: &[&str], output: &str) {
    let posted: serde_json::Value = serde_json::from_str(&sample.event.json).expect("JSON");
    for pointer in CONTENT.iter().chain(more) {
        if let Some(text) = posted.pointer(pointer).and_then(serde_json::Value::as_str) {
            assert!(output.contains(text), "{}: {pointer} is missing", sample.name);
        }
    }
}

/// Makes an event from JSON text with `id`, `type` and `occurred_at`.
///
/// # Panics
/// If the text is not such an event.
pub fn event(json: &str) -> RawEvent {
    let json = json.trim_end();
    let members = crate::value::Object::parse(json).expect("a JSON object");
    let member = |name| members.text(name).expect("id, type, occurred_at").into_owned();
    RawEvent { id: member("id"), type_: member("type"), occurred_at: member("occurred_at"), json: json.to_owned() }
}

/// A finding whose description has `length` characters. Generated, so that no file of the maximum event size has to be
/// kept.
pub fn finding_of_length(length: usize) -> RawEvent {
    let description: String =
        iter::repeat_n("<Größe> & \\\"x\\\" | a=b ", length / 20 + 1).flat_map(str::chars).take(length).collect();
    let description = description.trim_end_matches('\\');
    event(&format!(
        r#"{{"type":"finding_added","id":"019a8f00-0000-7000-8000-000000000000","occurred_at":"2026-11-17T10:12:45.120Z","data":{{"finding":{{"title":"Large","severity":"low","description":"{description}"}}}}}}"#
    ))
}

/// Findings all of whose texts are longer than any line: characters that need escapes, characters of several bytes or
/// code points, and a single long text.
///
/// # Panics
/// Never: the events built here are valid.
pub fn oversized() -> Vec<Sample> {
    let of = |name: &str, id: u8, part: &str| {
        let text = part.repeat(9000 / part.len() + 1);
        let json = serde_json::json!({
            "type": "finding_added", "id": format!("019a8f00-0000-7000-8000-0000000000{id:02}"), "occurred_at": "2026-11-07T10:12:45.120Z",
            "engagement": {"id": text, "name": text, "client": text},
            "data": {"finding": {
                "title": text, "severity": "high", "cvss": 8.1, "id": text, "cve": [text], "cwe": [text],
                "target": format!("https://a.example/{text}"), "tool": text, "url": format!("https://b.example/{text}"),
                "description": text,
            }},
        });
        Sample { name: name.into(), event: event(&json.to_string()) }
    };
    vec![
        of("escapes", 1, "a\"]\\=|^\n"),
        of("characters", 2, "é漢😀👩\u{200D}💻e\u{301}"),
        Sample { name: "description".into(), event: finding_of_length(256 * 1024) },
    ]
}

/// The default context of the samples: HTTP, without a size limit.
pub fn http() -> Context {
    Context {
        transport: "http".into(),
        max_bytes: None,
        host_name: "heraldry.example".into(),
        product_version: "0.1.0".into(),
    }
}

/// A syslog context with this size limit.
pub fn syslog(max_bytes: u32) -> Context {
    Context { transport: "syslog".into(), max_bytes: Some(max_bytes), ..http() }
}
