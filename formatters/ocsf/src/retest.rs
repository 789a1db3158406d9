//! A retest: a Vulnerability Finding (class 2002) for each finding in its lists.

use heraldry_formatter::value::Value;
use heraldry_formatter::{Level, log};

use crate::record::{Activity, Class, KnownAs, Maker, Record, Status, Vulnerability};
use crate::text::{self, line};

/// The most findings that one retest has records for: each takes 3 KiB at most where ids and titles are sane.
const FINDINGS: usize = 200;
/// Of a title in a list, in bytes.
const TITLE: usize = 300;

/// Empty where the retest names no finding. The event as it was posted is in the first record only.
pub(crate) fn records<'a>(maker: &Maker<'a, '_>) -> Vec<Record<'a>> {
    let retest = maker.event.group();
    let mut records = Vec::new();
    let mut left_out = 0;
    for (member, words, activity, status) in [
        ("fixed", "Fixed", Activity::Close, Status::Resolved),
        ("still_open", "Still open", Activity::Update, Status::InProgress),
        ("regressed", "Open again", Activity::Update, Status::New),
    ] {
        // A bare number says how many there are, and not which.
        if retest.get(member).is_some_and(Value::is_number) {
            continue;
        }
        for (uid, title) in retest.items(member).into_iter().filter_map(finding) {
            if records.len() == FINDINGS {
                left_out += 1;
                continue;
            }
            let what = title.clone().unwrap_or_else(|| uid.clone());
            let message = line(&format!("{words} after a retest: {what}"), text::MESSAGE).unwrap_or_default();
            let mut record = maker.record(Class::Vulnerability, activity, None, Some(status), message);
            record.finding_info = Some(maker.finding_info(Some(uid.clone()), what, activity));
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
            // Each record is one of its own.
            record.metadata.uid = format!("{}/{}", maker.event.id, records.len() + 1);
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

/// The id of a finding and its title: an item is an id, or an object that has one.
fn finding(item: Value<'_>) -> Option<(String, Option<String>)> {
    if !item.is_object() {
        return Some((text::id(&item.text()?)?, None));
    }
    let members = item.object();
    let title = members.text("title").and_then(|title| line(&title, TITLE));
    Some((text::id(&members.text("id")?)?, title))
}
