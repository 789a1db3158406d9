//! Events that the host makes from others.

use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{EventType, NewEvent, Severity};
use crate::model::id::EventId;
use crate::model::time::Timestamp;

#[derive(serde::Deserialize)]
struct Posted<'a> {
    #[serde(borrow)]
    engagement: Option<&'a RawValue>,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Serialize)]
struct Derived<'a> {
    id: EventId,
    #[serde(rename = "type")]
    event_type: EventType,
    occurred_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    engagement: Option<&'a RawValue>,
    caused_by: EventId,
    data: &'a RawValue,
}

impl NewEvent {
    /// The type of the event that follows from this one, if one does: a `critical_finding` from a `finding_added` with
    /// critical severity.
    pub fn derives(&self) -> Option<EventType> {
        let is_new = self.event_type == EventType::FindingAdded && self.severity == Some(Severity::Critical);
        is_new.then_some(EventType::CriticalFinding)
    }

    /// The event that follows from this one, which got `id` and `occurred_at`, with the same data; its own id is made
    /// unless it is given.
    pub fn derive(&self, derived_id: Option<EventId>, id: EventId, occurred_at: Timestamp) -> Option<Self> {
        let event_type = self.derives()?;
        let posted: Posted<'_> = serde_json::from_str(&self.json).ok()?;
        let derived_id = derived_id.unwrap_or_else(EventId::generate);
        let json = serde_json::to_string(&Derived {
            id: derived_id,
            event_type,
            occurred_at,
            engagement: posted.engagement,
            caused_by: id,
            data: posted.data,
        })
        .ok()?;
        let digest = Sha256::digest(json.as_bytes()).into();
        Some(Self {
            id: Some(derived_id),
            event_type,
            occurred_at: Some(occurred_at),
            engagement_id: self.engagement_id.clone(),
            finding_id: self.finding_id.clone(),
            severity: self.severity,
            json,
            digest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(event_type: EventType, severity: Option<Severity>) -> NewEvent {
        NewEvent {
            id: None,
            event_type,
            occurred_at: None,
            engagement_id: None,
            finding_id: None,
            severity,
            json: r#"{"type":"finding_added","data":{ "finding" : {"title":"x","n":1.50} }}"#.into(),
            digest: [0; 32],
        }
    }

    #[test]
    fn only_a_critical_new_finding_is_derived_from_and_its_data_stays_as_posted() {
        let id = EventId::generate();
        let at = Timestamp::from_unix_ms(1);
        let derived = finding(EventType::FindingAdded, Some(Severity::Critical)).derive(None, id, at).expect("derived");
        assert!(derived.json.contains(r#""data":{ "finding" : {"title":"x","n":1.50} }"#), "{}", derived.json);
        assert!(derived.json.contains(&format!(r#""caused_by":"{id}""#)));
        assert!(derived.id.is_some_and(|derived| derived != id));
        assert!(finding(EventType::FindingAdded, Some(Severity::High)).derive(None, id, at).is_none());
        assert!(finding(EventType::CriticalFinding, Some(Severity::Critical)).derive(None, id, at).is_none());
    }
}
