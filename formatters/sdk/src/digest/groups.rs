//! The engagements that the events of a digest belong to.

use super::Counts;
use crate::Event;

/// The events of one engagement, or those without one.
#[derive(Debug)]
pub struct Group<'e> {
    /// The engagement's name, else its id; `None` for events without an engagement.
    pub name: Option<&'e str>,
    /// The client that the engagement is done for.
    pub client: Option<&'e str>,
    /// How many events it has of each severity.
    pub counts: Counts,
}

impl<'e> Group<'e> {
    /// Client and engagement, as far as there are any.
    pub fn names(&self) -> impl Iterator<Item = &'e str> + use<'e> {
        [self.client, self.name].into_iter().flatten()
    }
}

/// One group for each engagement, that with the worst events first.
pub(super) fn of<'e>(events: &[&'e Event<'_>]) -> Vec<Group<'e>> {
    // Sorted rather than compared each with each: a thousand long names that differ at their end would take too long.
    let mut by_key: Vec<_> = events.iter().enumerate().map(|(place, event)| (key(event), place)).collect();
    by_key.sort_unstable();
    let mut groups: Vec<(usize, Group<'e>)> = Vec::new();
    for same in by_key.chunk_by(|(one, _), (other, _)| one == other) {
        let first = same[0].1;
        let event = events[first];
        let mut group = Group {
            name: event.engagement_name().or(event.engagement_id()),
            client: event.engagement_client(),
            counts: Counts::default(),
        };
        same.iter().for_each(|(_, place)| group.counts.add(events[*place]));
        groups.push((first, group));
    }
    groups.sort_by_key(|(first, group)| (std::cmp::Reverse(group.counts.badness()), *first));
    groups.into_iter().map(|(_, group)| group).collect()
}

/// What two events of one engagement have in common: its id, else its name and client.
fn key<'e>(event: &'e Event<'_>) -> [Option<&'e str>; 3] {
    match event.engagement_id() {
        Some(id) => [Some(id), None, None],
        None => [None, event.engagement_name(), event.engagement_client()],
    }
}
