//! Retests: a Vulnerability Finding (class 2002) for each finding in the lists.

use heraldry_formatter::value::Value;
use heraldry_formatter::{Level, log};

use crate::record::{Activity, Class, KnownAs, Record, RecordBuilder, Status, Vulnerability};
use crate::text::{self, line};

/// The most findings of one retest that get records: each record takes at most 3 KiB with ids and titles of usual
/// length.
const FINDINGS: usize = 200;
/// The most JSON that is read of the lists, in bytes; further findings have no record, either.
const READ: usize = 64 * 1024;
/// The longest title of a list item, in bytes.
const TITLE: usize = 300;

/// The records; none if the retest names no finding. Only the first contains the event as posted.
pub(crate) fn records<'a>(builder: &RecordBuilder<'a, '_>) -> Vec<Record<'a>> {
    let retest = builder.event.group();
    let mut records = Vec::new();
    let mut left_out = 0;
    let mut read = 0;
    for (member, words, activity, status) in [
        ("fixed", "Fixed", Activity::Close, Status::Resolved),
        ("still_open", "Still open", Activity::Update, Status::InProgress),
        ("regressed", "Open again", Activity::Update, Status::New),
    ] {
        // A bare number is the number of findings, without their ids.
        if retest.get(member).is_some_and(Value::is_number) {
            continue;
        }
        for (index, item) in retest.items(member).enumerate() {
            read += item.json().len();
            if records.len() == FINDINGS || read > READ {
                left_out += retest.count(member) - index;
                break;
            }
            let Some((uid, name, title)) = finding(builder, item) else { continue };
            let what = title.clone().unwrap_or(name);
            let message = line(&format!("{words} after a retest: {what}"), text::MESSAGE).unwrap_or_default();
            let mut record = builder.record(Class::Vulnerability, activity, None, Some(status), message);
            record.finding_info = Some(builder.finding_info(Some(uid.clone()), what, activity));
            record.vulnerabilities.push(Vulnerability {
                known_as: KnownAs::Advisory { uid },
                title,
                severity: None,
                is_exploit_available: None,
                references: Vec::new(),
                remediation: None,
            });
            if !records.is_empty() {
                record.unmapped = None;
            }
            // Each record needs a unique id.
            record.metadata.uid = format!("{}/{}", builder.event.id, records.len() + 1);
            records.push(record);
        }
    }
    if left_out > 0 {
        log(Level::Warn, &format!("{left_out} findings of the retest have no record of their own"));
        if let Some(first) = records.first_mut() {
            first.leave_out_findings(left_out);
        }
    }
    records
}

/// The uid, the id for people, and the title of a list item, which is an id, or an object that has one.
fn finding(builder: &RecordBuilder<'_, '_>, item: Value<'_>) -> Option<(String, String, Option<String>)> {
    let members = item.object();
    let id = if item.is_object() { members.text("id")? } else { item.text()? };
    let title = members.text("title").and_then(|title| line(&title, TITLE));
    Some((builder.uid(&id)?, line(&id, text::NAME)?, title))
}
