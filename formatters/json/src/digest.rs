//! The document of a digest: `{"digest": {counts}, "events": [..]}`.

use heraldry_formatter::digest::Counts;
use heraldry_formatter::{Digest, Error, Event, EventType};
use serde::{Serialize, Serializer};

use crate::{ENVELOPE_VERSION, Shape, document as event_document};

/// The most bytes of the events: a message has 1 MiB at most, and the counts need their room.
const EVENTS_BYTES: usize = 1024 * 1024 - 4096;

/// The counts. Those by severity and type are of all events of the message, the omitted ones included.
#[derive(Serialize)]
struct Head {
    version: u32,
    /// The events in this message.
    events: usize,
    /// Those of them that are not in the list, because the message would be too large: large ones, and mild ones.
    omitted: usize,
    part: u32,
    parts: u32,
    /// The events of all parts.
    total: u32,
    severities: BySeverity,
    types: ByType,
}

/// Numbers by severity, worst first; events without a severity are in none.
struct BySeverity(Counts);

impl Serialize for BySeverity {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(severity, count)| (severity.word(), count)))
    }
}

/// Numbers by event type, in the order of the contract.
struct ByType(Vec<(&'static str, usize)>);

impl Serialize for ByType {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().copied())
    }
}

pub(crate) fn document(digest: &Digest<'_, '_>, shape: Shape) -> Result<Vec<u8>, Error> {
    let documents = chosen(digest, shape)?;
    let mut severities = Counts::default();
    digest.all().iter().for_each(|event| severities.add(event));
    let of_type = |kind: EventType| digest.all().iter().filter(|event| event.kind == kind).count();
    let types = EventType::ALL.into_iter().map(|kind| (kind.name(), of_type(kind))).filter(|(_, count)| *count > 0);
    let context = digest.context();
    let head = Head {
        version: ENVELOPE_VERSION,
        events: digest.all().len(),
        omitted: documents.iter().filter(|document| document.is_none()).count(),
        part: context.part,
        parts: context.parts,
        total: context.total,
        severities: BySeverity(severities),
        types: ByType(types.collect()),
    };
    let length: usize = documents.iter().flatten().map(|document| document.len() + 1).sum();
    let mut body = Vec::with_capacity(length + 1024);
    body.extend_from_slice(b"{\"digest\":");
    serde_json::to_writer(&mut body, &head).map_err(|e| Error::Internal(e.to_string()))?;
    body.extend_from_slice(b",\"events\":[");
    for (n, document) in documents.iter().flatten().enumerate() {
        if n > 0 {
            body.push(b',');
        }
        body.extend_from_slice(document);
    }
    body.extend_from_slice(b"]}");
    Ok(body)
}

/// The document of each event in order of acceptance; `None` for those that there is no room for. The worst have the first
/// choice of it.
fn chosen(digest: &Digest<'_, '_>, shape: Shape) -> Result<Vec<Option<Vec<u8>>>, Error> {
    let all = digest.all();
    let mut places: Vec<usize> = (0..all.len()).collect();
    places.sort_by_key(|place| std::cmp::Reverse(all[*place].severity()));
    let mut documents: Vec<Option<Vec<u8>>> = all.iter().map(|_| None).collect();
    let mut room = EVENTS_BYTES;
    for place in places {
        let event: &Event<'_> = &all[place];
        // An envelope has more than what it holds.
        if event.data().len() >= room {
            continue;
        }
        let document = event_document(event, shape)?;
        if document.len() < room {
            room -= document.len() + 1;
            documents[place] = Some(document);
        }
    }
    Ok(documents)
}
