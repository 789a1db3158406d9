//! Host events that are not made yet, on the disk: what is held back until its minute is over, and what waits for the
//! verdicts of expressions. They are written in the commit of what they tell of, so that a kill loses none.

use serde::{Deserialize, Serialize};

use super::engine::Engine;
use super::record::{self, Damage};
use super::tell::{Key, Summed};
use super::txn::Txn;
use super::{StoreError, keys};
use crate::model::host_event::{HostPart, Subject};

/// What the names of these records begin with, among the facts about the store.
const NAME: &str = "untold/";

/// The events of one kind about one subject, oldest first.
#[derive(Serialize, Deserialize)]
struct Untold {
    events: Vec<Summed>,
}

fn key_of((event_type, subject): &Key) -> Vec<u8> {
    let subject = match subject {
        Subject::Webhook(id) => id.to_string(),
        Subject::Formatter(name) => name.clone(),
        Subject::Host(part) => match part {
            HostPart::Disk => "disk".to_owned(),
            HostPart::Records => "records".to_owned(),
            HostPart::Certificate => "certificate".to_owned(),
            HostPart::Store => "store".to_owned(),
        },
    };
    keys::meta(&format!("{NAME}{}/{subject}", event_type.as_str()))
}

/// Adds what is untold of a kind and subject now.
pub(super) fn put(key: &Key, events: Vec<Summed>, txn: &mut Txn) {
    if events.is_empty() {
        txn.remove(key_of(key));
    } else {
        txn.put(key_of(key), record::pack_json(&Untold { events }));
    }
}

/// What an earlier process did not tell.
pub(super) fn load(engine: &Engine, damage: &Damage) -> Result<Vec<Summed>, StoreError> {
    let mut found = Vec::new();
    engine.scan_prefix(&keys::meta(NAME), None, |_, value| {
        match record::unpack_json::<Untold>(value) {
            Ok(untold) => found.extend(untold.events),
            Err(_) => damage.skipped("host events that were not told yet"),
        }
        true
    })?;
    Ok(found)
}
