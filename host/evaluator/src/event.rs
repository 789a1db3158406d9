//! The variables of an event.

use cel::Context;
use cel::common::types::{CelInt, CelString};
use cel::common::value::Val;

use crate::json;
use crate::object::Object;

/// The variables that an event has a value for.
pub const VARIABLES: [&str; 7] = ["event_type", "id", "occurred_at", "engagement", "data", "finding", "severity"];

/// The severities in ascending order: constants, so that an expression can compare `severity` with them.
pub const SEVERITIES: [&str; 5] = ["INFO", "LOW", "MEDIUM", "HIGH", "CRITICAL"];

/// An event, as expressions see it.
#[derive(Clone, Debug)]
pub struct EventFacts {
    /// Its type.
    pub event_type: String,
    /// Its id.
    pub id: String,
    /// When it happened: RFC 3339, in UTC.
    pub occurred_at: String,
    /// 0 to 4, as in [`SEVERITIES`]; -1 without one.
    pub severity: i32,
    /// The event as it was posted.
    pub json: String,
}

/// Declares the names of the severities.
pub(crate) fn declare_constants(context: &mut Context<'_, '_>) {
    for (value, name) in (0..).zip(SEVERITIES) {
        context.add_variable_as_val(name, Box::new(CelInt::from(value)));
    }
}

/// Declares the variables of an event; false if its JSON cannot be read.
pub(crate) fn declare(context: &mut Context<'_, '_>, event: EventFacts) -> bool {
    let posted = json::read_object(&event.json);
    let is_read = posted.is_some();
    let posted = posted.unwrap_or_default();
    let data = posted.object("data").unwrap_or_default();
    let finding = data.object("finding").unwrap_or_default();
    let text = |text: String| -> Box<dyn Val> { Box::new(CelString::from(text)) };
    let map = |object: Object| -> Box<dyn Val> { Box::new(object) };
    context.add_variable_as_val("event_type", text(event.event_type));
    context.add_variable_as_val("id", text(event.id));
    context.add_variable_as_val("occurred_at", text(event.occurred_at));
    context.add_variable_as_val("engagement", map(posted.object("engagement").unwrap_or_default()));
    context.add_variable_as_val("finding", map(finding));
    context.add_variable_as_val("data", map(data));
    context.add_variable_as_val("severity", Box::new(CelInt::from(i64::from(event.severity))));
    is_read
}
