//! Detection Findings (class 2004): monitor alerts and surface drift. Each has the event's id as its own: a monitor
//! that alerts twice has made two findings.

use heraldry_formatter::outline::{item_text, target_text};
use heraldry_formatter::value::Value;

use crate::record::{Activity, Analytic, Class, FindingInfo, Record, RecordBuilder, Resource, Status};
use crate::text::{self, line, lines};

/// The most assets listed as resources; the event in `unmapped` has all.
const ASSETS: usize = 100;

/// A monitor alert.
pub(crate) fn alert<'a>(builder: &RecordBuilder<'a, '_>) -> Record<'a> {
    let monitor = builder.event.group();
    let mut record = record(builder);
    let (name, uid) = (
        monitor.text("name").and_then(|name| line(&name, text::NAME)),
        monitor.text("id").and_then(|id| text::id(&id)),
    );
    record.finding_info = Some(FindingInfo {
        desc: monitor.text("message").and_then(|message| lines(&message, text::DESCRIPTION)),
        analytic: (name.is_some() || uid.is_some()).then_some(Analytic { name, uid, type_id: 0 }),
        ..builder.finding_info(None, builder.title(), Activity::Create)
    });
    let targets = monitor.items("target").take(ASSETS);
    record.resources = targets.filter_map(|target| Resource::of(&target_text(target)?)).collect();
    record.is_alert = Some(true);
    record
}

/// Surface drift: assets that were added, removed and changed.
pub(crate) fn drift<'a>(builder: &RecordBuilder<'a, '_>) -> Record<'a> {
    let mut record = record(builder);
    let mut desc = String::new();
    for (member, label) in [("added", "Added"), ("removed", "Removed"), ("changed", "Changed")] {
        // A bare number in place of a list is the number of assets, which the title contains.
        if builder.event.group().get(member).is_some_and(Value::is_number) {
            continue;
        }
        let room = ASSETS - record.resources.len();
        for item in builder.event.group().items(member).take(room) {
            desc.push_str(&format!("{label}: {}\n", line(&item_text(item), text::NAME).unwrap_or_default()));
            record.resources.extend(asset(item, member));
        }
    }
    record.finding_info = Some(FindingInfo {
        desc: lines(&desc, text::DESCRIPTION),
        ..builder.finding_info(None, builder.title(), Activity::Create)
    });
    record
}

/// The common part of a new finding.
fn record<'a>(builder: &RecordBuilder<'a, '_>) -> Record<'a> {
    let severity = Some(builder.event.severity());
    builder.record(Class::Detection, Activity::Create, severity, Some(Status::New), builder.sentence())
}

/// An asset: a name, or an object that has one.
fn asset(item: Value<'_>, label: &'static str) -> Option<Resource> {
    let members = item.object();
    let name = match members.first_text(&["asset", "name", "host", "target", "id"]) {
        Some(name) => name,
        None => item.text()?,
    };
    let mut resource = Resource::of(&name)?;
    let kind = members.text("kind").and_then(|kind| line(&kind, text::NAME));
    resource.kind = kind.or(resource.kind);
    resource.labels.push(label);
    Some(resource)
}
