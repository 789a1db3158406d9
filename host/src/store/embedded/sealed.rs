//! Webhooks as they are on the disk, with their secrets sealed under the master key.

use serde::{Deserialize, Serialize};

use super::{StoreError, record};
use crate::keyring::Keyring;
use crate::model::event::{EventType, Severity};
use crate::model::id::{AttemptId, WebhookId};
use crate::model::probe::{Cause, Probes, Trip};
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::model::url::DeliveryUrl;
use crate::model::webhook::{
    Activity, Batch, Digest, Filter, Health, HealthValues, OldSecret, Order, RateLimit, Subscription, TlsNames,
    Webhook, WebhookConfig,
};

/// A webhook on the disk. Everything that is a credential, or may hold one, is sealed.
#[derive(Serialize, Deserialize)]
struct WebhookRecord {
    name: String,
    url: Vec<u8>,
    secret: Option<Vec<u8>>,
    /// The subscribed types; empty: every type.
    event_types: Vec<EventType>,
    /// Every type of the platform, and what is in `event_types` as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    and_all: bool,
    format: String,
    /// Only in records from before options were sealed. Options are sealed since a format may have to put a credential
    /// into its payload.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    format_options: String,
    #[serde(default)]
    sealed_options: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
    min_severity: Option<Severity>,
    engagement_ids: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expression: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    critical_once: bool,
    #[serde(default, skip_serializing_if = "Order::is_arrival")]
    order: Order,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate_limit: Option<RateLimit>,
    #[serde(default, skip_serializing_if = "TlsNames::is_empty")]
    tls: TlsNames,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch: Option<Batch>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    retry_count: u32,
    timeout_ms: u32,
    activity: ActivityRecord,
    /// Since webhooks are probed; absent where the cause is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trip: Option<TripRecord>,
    revision: u64,
    #[serde(rename = "epoch")]
    activation: u32,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// Secrets that were replaced and still sign, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    old_secrets: Vec<(Vec<u8>, i64)>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ActivityRecord {
    Active,
    OffByAdmin,
    Tripped(String),
}

/// What [`Trip`] has, beside the reason.
#[derive(Serialize, Deserialize)]
struct TripRecord {
    cause: Cause,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempt: Option<AttemptId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    probes: Option<Probes>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_healing: bool,
}

impl TripRecord {
    /// A trip of an unknown cause is written as before there were causes.
    fn of(trip: &Trip) -> Option<Self> {
        let Trip { cause, attempt, probes, is_healing } = *trip;
        (cause != Cause::Unknown).then_some(Self { cause, attempt, probes, is_healing })
    }
}

impl From<TripRecord> for Trip {
    fn from(TripRecord { cause, attempt, probes, is_healing }: TripRecord) -> Self {
        Self { cause, attempt, probes, is_healing }
    }
}

/// The additional data that a sealed text is bound to: the record and the field.
fn aad(id: WebhookId, field: &str) -> Vec<u8> {
    [id.as_bytes(), field.as_bytes()].concat()
}

/// A webhook's record.
///
/// # Errors
/// [`StoreError::Unavailable`] when the system has no randomness to encrypt with.
pub(super) fn write_webhook(webhook: &Webhook, keyring: &Keyring) -> Result<Vec<u8>, StoreError> {
    let seal = |field: &str, text: &str| {
        keyring.seal(&aad(webhook.id, field), text).map_err(|_| {
            tracing::error!("the system has no randomness to encrypt a secret with; nothing was changed");
            StoreError::Unavailable
        })
    };
    let config = &webhook.config;
    let headers = config.headers.iter();
    let record = WebhookRecord {
        name: config.name.clone(),
        url: seal("url", config.url.expose())?,
        secret: config.secret.as_ref().map(|secret| seal("secret", secret.expose())).transpose()?,
        event_types: match &config.event_types {
            Subscription::All => Vec::new(),
            Subscription::AllAnd(types) | Subscription::Only(types) => types.clone(),
        },
        and_all: matches!(config.event_types, Subscription::AllAnd(_)),
        format: config.format.clone(),
        format_options: String::new(),
        sealed_options: Some(seal("format_options", &config.format_options)?),
        headers: headers
            .map(|(name, value)| Ok((name.clone(), seal(&format!("header {name}"), value.expose())?)))
            .collect::<Result<_, StoreError>>()?,
        min_severity: config.filter.min_severity,
        engagement_ids: config.filter.engagement_ids.clone(),
        expression: config.filter.expression.clone(),
        critical_once: config.critical_once,
        order: config.order,
        rate_limit: config.rate_limit,
        tls: config.tls.clone(),
        batch: config.batch,
        digest: config.digest,
        retry_count: config.retry_count,
        timeout_ms: config.timeout_ms,
        activity: match &webhook.activity {
            Activity::Active => ActivityRecord::Active,
            Activity::OffByAdmin => ActivityRecord::OffByAdmin,
            Activity::Tripped { reason, .. } => ActivityRecord::Tripped(reason.clone()),
        },
        trip: webhook.activity.trip().and_then(TripRecord::of),
        revision: webhook.revision,
        activation: webhook.activation,
        created_at: webhook.created_at,
        updated_at: webhook.updated_at,
        old_secrets: webhook
            .old_secrets
            .iter()
            .map(|old| Ok((seal("old secret", old.secret.expose())?, old.until_ms)))
            .collect::<Result<_, StoreError>>()?,
    };
    Ok(record::pack_json(&record))
}

/// A webhook from the disk; `None` when it is damaged or the master key does not open it.
pub(super) fn read_webhook(id: WebhookId, bytes: &[u8], health: HealthValues, keyring: &Keyring) -> Option<Webhook> {
    let record: WebhookRecord = record::unpack_json(bytes).ok()?;
    let open = |field: &str, sealed: &[u8]| keyring.open(&aad(id, field), sealed).ok();
    let headers = record.headers.into_iter();
    let old_secrets = record.old_secrets.iter();
    let old_secrets = old_secrets
        .map(|(sealed, until_ms)| Some(OldSecret { secret: open("old secret", sealed)?, until_ms: *until_ms }))
        .collect::<Option<_>>()?;
    let config = WebhookConfig {
        name: record.name,
        url: DeliveryUrl::parse(open("url", &record.url)?.expose()).ok()?,
        secret: match record.secret {
            Some(sealed) => Some(open("secret", &sealed)?),
            None => None,
        },
        event_types: if record.and_all || record.event_types.is_empty() {
            Subscription::all_and(record.event_types)
        } else {
            Subscription::Only(record.event_types)
        },
        format: record.format,
        format_options: match record.sealed_options {
            Some(sealed) => open("format_options", &sealed)?.expose().to_owned(),
            None => record.format_options,
        },
        headers: headers
            .map(|(name, sealed)| {
                let value: Secret = open(&format!("header {name}"), &sealed)?;
                Some((name, value))
            })
            .collect::<Option<_>>()?,
        filter: Filter {
            min_severity: record.min_severity,
            engagement_ids: record.engagement_ids,
            expression: record.expression,
        },
        critical_once: record.critical_once,
        order: record.order,
        rate_limit: record.rate_limit,
        tls: record.tls,
        batch: record.batch,
        digest: record.digest,
        retry_count: record.retry_count,
        timeout_ms: record.timeout_ms,
    };
    Some(Webhook {
        id,
        config,
        activity: match record.activity {
            ActivityRecord::Active => Activity::Active,
            ActivityRecord::OffByAdmin => Activity::OffByAdmin,
            ActivityRecord::Tripped(reason) => {
                Activity::Tripped { reason, trip: record.trip.map(Trip::from).unwrap_or_default() }
            }
        },
        revision: record.revision,
        activation: record.activation,
        created_at: record.created_at,
        updated_at: record.updated_at,
        old_secrets,
        health: Health::new(health),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A webhook's record with everything that it may have, and one with nothing of it, as they are on existing disks.
    #[test]
    fn a_webhook_is_written_as_before() {
        let full = r#"{"name":"team","url":[1],"secret":[2],"event_types":["report_ready","finding_added"],"format":"json","sealed_options":[3],"headers":[["X-A",[4]]],"min_severity":"high","engagement_ids":["e"],"expression":"severity >= HIGH","critical_once":true,"order":"severity","rate_limit":{"count":10,"per_seconds":1},"tls":{"ca":"corp","client_cert":"us"},"batch":{"max_events":10,"max_wait_ms":100},"digest":{"window_seconds":60,"over":3,"bypass_severity":"critical"},"retry_count":3,"timeout_ms":5000,"activity":{"tripped":"why"},"revision":7,"epoch":2,"created_at":"2026-11-17T10:12:45.120Z","updated_at":"2026-11-17T10:12:46.120Z","old_secrets":[[[5],1800000000000]]}"#;
        let bare = r#"{"name":"team","url":[1],"secret":null,"event_types":[],"format":"json","format_options":"{}","sealed_options":null,"headers":[],"min_severity":null,"engagement_ids":null,"retry_count":3,"timeout_ms":5000,"activity":"off_by_admin","revision":7,"epoch":0,"created_at":"2026-11-17T10:12:45.120Z","updated_at":"2026-11-17T10:12:46.120Z"}"#;
        let host = bare.replace(r#""event_types":[]"#, r#""event_types":["webhook_disabled"],"and_all":true"#);
        for text in [full, bare, &host] {
            let record: WebhookRecord = serde_json::from_str(text).expect("a webhook");
            assert_eq!(serde_json::to_string(&record).expect("encoded"), text);
        }
        assert_eq!(serde_json::to_string(&ActivityRecord::Active).expect("encoded"), r#""active""#);
    }

    #[test]
    fn a_trip_is_written_as_before() {
        let full = r#"{"cause":"breaker","attempt":"01020304-0506-7708-890a-0b0c0d0e0f10","probes":{"made":2,"next_ms":1800000000000},"is_healing":true}"#;
        for text in [full, r#"{"cause":"gone"}"#] {
            let record: TripRecord = serde_json::from_str(text).expect("a trip");
            assert_eq!(serde_json::to_string(&TripRecord::of(&record.into())).expect("encoded"), text);
        }
        assert!(TripRecord::of(&Trip::default()).is_none(), "of webhooks from before there is nothing");
    }
}
