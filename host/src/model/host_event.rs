//! Host events: what happens to Heraldry itself, as events that webhooks can subscribe to.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::event::{EventType, NewEvent, Severity};
use super::id::{DeliveryId, EventId, WebhookId};
use super::time::Timestamp;
use super::url::DeliveryUrl;
use super::webhook::Webhook;

/// The longest reason, in characters: an event is small, whatever a formatter has to say.
const MAX_REASON: usize = 1_000;

/// A webhook, as a host event names it. Its URL may hold a credential: of that only the host is told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WebhookFacts {
    /// The webhook's id.
    pub id: WebhookId,
    /// The webhook's name.
    pub name: String,
    /// The host of its URL, with the port if that is not the usual one.
    pub url_host: String,
    /// The webhook's format.
    pub format: String,
}

impl WebhookFacts {
    /// The facts of this webhook.
    pub fn of(webhook: &Webhook) -> Self {
        let config = &webhook.config;
        Self {
            id: webhook.id,
            name: config.name.clone(),
            url_host: url_host(&config.url),
            format: config.format.clone(),
        }
    }
}

/// The host of a URL, with the port if that is not the usual one.
pub fn url_host(url: &DeliveryUrl) -> String {
    let host = url.host();
    if url.port() == url.scheme().default_port() { host.to_string() } else { format!("{host}:{}", url.port()) }
}

/// A delivery, as a host event names it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeliveryFacts {
    /// The delivery's id.
    pub id: DeliveryId,
    /// The event that was not delivered.
    pub event_id: EventId,
    /// That event's type.
    pub event_type: String,
    /// The webhook that it was for.
    pub webhook: WebhookFacts,
}

/// A formatter, as a host event names it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FormatterFacts {
    /// The formatter's name; of a component that was rejected before that is known, its file's stem.
    pub name: String,
    /// Its version; absent when it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `sha256:` and the component's digest; absent when it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// A part of the host that needs attention.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostPart {
    /// The disk of the data folder.
    Disk,
    /// Records of the store.
    Records,
    /// A certificate of the configuration.
    Certificate,
    /// The store itself.
    Store,
}

/// Something that happened. Its names are on disks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HostEvent {
    /// What it is about.
    pub about: About,
    /// Why, in words; masked, and nothing of a destination's response.
    pub reason: String,
}

/// The kinds of host events, with what each is about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "they are the event types of the same names")]
pub enum About {
    WebhookFailing(WebhookFacts),
    WebhookDisabled(WebhookFacts),
    WebhookRecovered(WebhookFacts),
    DeliveryFailed(DeliveryFacts),
    FormatterRejected(FormatterFacts),
    FormatterRolledBack(FormatterFacts),
    HostDegraded(HostPart),
}

/// The subject of host events: events of one kind about one subject are told at most once a minute.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Subject {
    Webhook(WebhookId),
    Formatter(String),
    Host(HostPart),
}

#[derive(Serialize)]
struct Told<'a> {
    id: EventId,
    r#type: EventType,
    occurred_at: Timestamp,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Data<'a> {
    Webhook(Group<'a, &'a WebhookFacts>),
    Delivery(Group<'a, &'a DeliveryFacts>),
    Formatter(Group<'a, &'a FormatterFacts>),
    Host(Group<'a, Part>),
}

#[derive(Serialize)]
struct Part {
    kind: HostPart,
}

#[derive(Serialize)]
struct Group<'a, T> {
    #[serde(flatten)]
    facts: T,
    reason: &'a str,
    count: u32,
}

impl HostEvent {
    /// An event with a reason that is cut to a readable length.
    pub fn new(about: About, reason: &str) -> Self {
        let reason = match reason.char_indices().nth(MAX_REASON) {
            Some((end, _)) => format!("{}…", &reason[..end]),
            None => reason.to_owned(),
        };
        Self { about, reason }
    }

    /// The event's type.
    pub fn event_type(&self) -> EventType {
        match self.about {
            About::WebhookFailing(_) => EventType::WebhookFailing,
            About::WebhookDisabled(_) => EventType::WebhookDisabled,
            About::WebhookRecovered(_) => EventType::WebhookRecovered,
            About::DeliveryFailed(_) => EventType::DeliveryFailed,
            About::FormatterRejected(_) => EventType::FormatterRejected,
            About::FormatterRolledBack(_) => EventType::FormatterRolledBack,
            About::HostDegraded(_) => EventType::HostDegraded,
        }
    }

    /// The severity that filters compare.
    pub fn severity(&self) -> Severity {
        match self.about {
            About::WebhookRecovered(_) => Severity::Info,
            About::WebhookDisabled(_) | About::HostDegraded(_) => Severity::High,
            About::WebhookFailing(_)
            | About::DeliveryFailed(_)
            | About::FormatterRejected(_)
            | About::FormatterRolledBack(_) => Severity::Medium,
        }
    }

    /// The webhook, formatter or part of the host that it is about.
    pub fn subject(&self) -> Subject {
        match &self.about {
            About::WebhookFailing(facts) | About::WebhookDisabled(facts) | About::WebhookRecovered(facts) => {
                Subject::Webhook(facts.id)
            }
            About::DeliveryFailed(facts) => Subject::Webhook(facts.webhook.id),
            About::FormatterRejected(facts) | About::FormatterRolledBack(facts) => {
                Subject::Formatter(facts.name.clone())
            }
            About::HostDegraded(part) => Subject::Host(*part),
        }
    }

    /// The event to accept, which stands for so many of its kind.
    pub fn to_event(&self, count: u32, occurred_at: Timestamp) -> NewEvent {
        let (id, reason) = (EventId::generate(), self.reason.as_str());
        let data = match &self.about {
            About::WebhookFailing(facts) | About::WebhookDisabled(facts) | About::WebhookRecovered(facts) => {
                Data::Webhook(Group { facts, reason, count })
            }
            About::DeliveryFailed(facts) => Data::Delivery(Group { facts, reason, count }),
            About::FormatterRejected(facts) | About::FormatterRolledBack(facts) => {
                Data::Formatter(Group { facts, reason, count })
            }
            About::HostDegraded(kind) => Data::Host(Group { facts: Part { kind: *kind }, reason, count }),
        };
        let event_type = self.event_type();
        // Plain values have a JSON text.
        let json = serde_json::to_string(&Told { id, r#type: event_type, occurred_at, data }).unwrap_or_default();
        let digest = Sha256::digest(json.as_bytes()).into();
        NewEvent {
            id: Some(id),
            event_type,
            occurred_at: Some(occurred_at),
            engagement_id: None,
            finding_id: None,
            severity: Some(self.severity()),
            json,
            digest,
        }
    }
}

/// The members of a stored host event that name the webhook which it is about.
#[derive(Deserialize)]
struct Stored {
    data: StoredData,
}

#[derive(Deserialize)]
struct StoredData {
    webhook: Option<Named>,
    delivery: Option<StoredDelivery>,
}

#[derive(Deserialize)]
struct StoredDelivery {
    webhook: Named,
}

#[derive(Deserialize)]
struct Named {
    id: WebhookId,
}

/// The webhook that a stored event is about, which does not get it; `None` for every event but a host event about one.
pub fn subject_of_stored(event_type: EventType, json: &str) -> Option<WebhookId> {
    if !event_type.is_host() {
        return None;
    }
    let StoredData { webhook, delivery } = serde_json::from_str::<Stored>(json).ok()?.data;
    webhook.or(delivery.map(|delivery| delivery.webhook)).map(|named| named.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook() -> WebhookFacts {
        let id = WebhookId::from_bytes([7; 16]);
        WebhookFacts { id, name: "SOC \"Slack\"".into(), url_host: "hooks.slack.com".into(), format: "slack".into() }
    }

    fn delivery() -> DeliveryFacts {
        let (id, event_id) = (DeliveryId::from_bytes([8; 16]), EventId::from_bytes([9; 16]));
        DeliveryFacts { id, event_id, event_type: "finding_added".into(), webhook: webhook() }
    }

    fn formatter() -> FormatterFacts {
        FormatterFacts { name: "acme".into(), version: Some("1.2.0".into()), digest: None }
    }

    fn all() -> Vec<About> {
        vec![
            About::WebhookFailing(webhook()),
            About::WebhookDisabled(webhook()),
            About::WebhookRecovered(webhook()),
            About::DeliveryFailed(delivery()),
            About::FormatterRejected(formatter()),
            About::FormatterRolledBack(formatter()),
            About::HostDegraded(HostPart::Disk),
        ]
    }

    #[test]
    fn each_kind_has_a_type_of_its_own_with_the_group_of_that_type() {
        let at = Timestamp::from_unix_ms(1_800_000_000_000);
        let mut types = Vec::new();
        for about in all() {
            let event = HostEvent::new(about, "why").to_event(3, at);
            let json: serde_json::Value = serde_json::from_str(&event.json).expect("JSON");
            let group = &json["data"][event.event_type.group()];
            assert_eq!((&group["reason"], &group["count"]), (&"why".into(), &3.into()), "{json}");
            assert_eq!(json["type"], event.event_type.as_str());
            assert_eq!(json["id"], event.id.expect("an id").to_string());
            assert!(event.event_type.is_host() && event.severity.is_some() && event.engagement_id.is_none());
            types.push(event.event_type);
        }
        let host: Vec<_> = EventType::ALL.iter().copied().filter(|event_type| event_type.is_host()).collect();
        assert_eq!(types, host);
    }

    #[test]
    fn the_members_are_those_of_the_contract() {
        let at = Timestamp::from_unix_ms(1_800_000_000_000);
        let data = |about| {
            let json = HostEvent::new(about, "why").to_event(1, at).json;
            serde_json::from_str::<serde_json::Value>(&json).expect("JSON")["data"].take()
        };
        let webhook = serde_json::json!({"id": WebhookId::from_bytes([7; 16]), "name": "SOC \"Slack\"", "url_host": "hooks.slack.com", "format": "slack"});
        let delivery = serde_json::json!({"delivery": {"id": DeliveryId::from_bytes([8; 16]), "event_id": EventId::from_bytes([9; 16]), "event_type": "finding_added", "webhook": webhook, "reason": "why", "count": 1}});
        assert_eq!(data(About::DeliveryFailed(self::delivery())), delivery);
        let formatter =
            serde_json::json!({"formatter": {"name": "acme", "version": "1.2.0", "reason": "why", "count": 1}});
        assert_eq!(data(About::FormatterRejected(self::formatter())), formatter);
        let host = serde_json::json!({"host": {"kind": "certificate", "reason": "why", "count": 1}});
        assert_eq!(data(About::HostDegraded(HostPart::Certificate)), host);
    }

    #[test]
    fn a_stored_event_names_the_webhook_that_it_is_about() {
        for about in all() {
            let told = HostEvent::new(about, "why");
            let expected = match told.subject() {
                Subject::Webhook(id) => Some(id),
                Subject::Formatter(_) | Subject::Host(_) => None,
            };
            let event = told.to_event(1, Timestamp::from_unix_ms(1_800_000_000_000));
            assert_eq!(subject_of_stored(event.event_type, &event.json), expected, "{}", event.json);
            assert_eq!(subject_of_stored(EventType::FindingAdded, &event.json), None, "a sender's own member");
        }
    }

    #[test]
    fn a_long_reason_is_cut() {
        let event = HostEvent::new(About::HostDegraded(HostPart::Disk), &"ä".repeat(5_000));
        assert_eq!(event.reason.chars().count(), MAX_REASON + 1);
        assert!(event.reason.ends_with('…'));
    }

    #[test]
    fn the_host_of_a_url_has_its_port_only_if_that_is_unusual() {
        for (url, host) in [
            ("https://hooks.example/secret", "hooks.example"),
            ("https://hooks.example:8443/secret", "hooks.example:8443"),
            ("syslog+tcp://10.0.0.1:6514", "10.0.0.1:6514"),
            ("http://[2001:db8::1]:8080/", "[2001:db8::1]:8080"),
        ] {
            assert_eq!(url_host(&DeliveryUrl::parse(url).expect("a URL")), host);
        }
    }
}
