//! Builds the body of a POST or PUT from flags: only fields that were named are in it. The host validates the values.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::cli::failure::Failure;

/// The fields of a webhook, as flags.
#[derive(clap::Args, Default)]
pub(in crate::cli) struct Fields {
    /// Name for people, 1 to 200 characters
    #[arg(long)]
    name: Option<String>,
    /// Destination of deliveries: https:// or http://; for formats of the kind `line` also syslog+tls://, syslog+tcp://
    /// or syslog+udp:// with host:port
    #[arg(long)]
    url: Option<String>,
    /// Signing secret, 1 to 256 characters; base64 if it begins with whsec_ (write-only) [default: unsigned]
    #[arg(long)]
    secret: Option<String>,
    /// Have the host generate a signing secret (whsec_…), shown in this command's output alone
    #[arg(long, conflicts_with = "secret")]
    generate_secret: bool,
    /// Event type to deliver, repeatable; '*' for all but host events [default: finding_added, phase_changed,
    /// engagement_completed]
    #[arg(long, value_name = "TYPE")]
    event_type: Vec<String>,
    /// Name of the formatter that renders deliveries [default: json]
    #[arg(long, value_name = "NAME")]
    format: Option<String>,
    /// The formatter's options, a JSON object [default: {}]
    #[arg(long, value_name = "JSON", value_parser = parse_options)]
    options: Option<Value>,
    /// Header to send with each delivery, as in 'Authorization: Bearer abc', repeatable (write-only; an
    /// update replaces all of them)
    #[arg(long, value_name = "NAME: VALUE", value_parser = parse_header)]
    header: Vec<(String, String)>,
    /// Only findings of this severity or worse: info, low, medium, high, critical; events without one pass
    #[arg(long, value_name = "SEVERITY")]
    min_severity: Option<String>,
    /// Only events of this engagement, repeatable
    #[arg(long, value_name = "ID")]
    engagement_id: Vec<String>,
    /// Only events for which this is true, in CEL, as in 'severity >= HIGH'
    #[arg(long, value_name = "CEL")]
    expression: Option<String>,
    /// Get a critical finding once: without the finding_added that the critical_finding was derived from
    #[arg(long, value_name = "BOOL")]
    critical_once: Option<bool>,
    /// Of what waits: arrival, severity (the most severe first) or strict (one at a time) [default: arrival]
    #[arg(long, value_name = "ORDER")]
    order: Option<String>,
    /// At most COUNT attempts in SECONDS, as in 1/1 [default: no limit]
    #[arg(long, value_name = "COUNT/SECONDS", value_parser = parse_pair)]
    rate_limit: Option<(u32, u32)>,
    /// Up to EVENTS in one request, collected for at most MS milliseconds, as in 100/500 [default: one each]
    #[arg(long, value_name = "EVENTS/MS", value_parser = parse_pair)]
    batch: Option<(u32, u32)>,
    /// Collect events for SECONDS, and tell of more than OVER in one message, as in 60/3 [default: each on its own]
    #[arg(long, value_name = "SECONDS/OVER", value_parser = parse_pair)]
    digest: Option<(u32, u32)>,
    /// Events of this severity and above do not wait for the digest
    #[arg(long, value_name = "SEVERITY", requires = "digest")]
    digest_bypass: Option<String>,
    /// CA bundle to verify the destination with, by its name in the server's --tls-ca (an update replaces both it and
    /// the client certificate) [default: the system's]
    #[arg(long, value_name = "NAME")]
    tls_ca: Option<String>,
    /// Client certificate, by its name in the server's --tls-client-cert
    #[arg(long, value_name = "NAME")]
    tls_client_cert: Option<String>,
    /// Retries after the first attempt, 0 to 10 [default: 3]
    #[arg(long, value_name = "COUNT")]
    retry_count: Option<i64>,
    /// Time limit of a whole attempt, 1000 to 30000 milliseconds [default: 5000]
    #[arg(long, value_name = "MS")]
    timeout_ms: Option<i64>,
    /// Disable the webhook: no events are queued for it
    #[arg(long)]
    inactive: bool,
}

/// Changes of an update that no field expresses.
#[derive(clap::Args, Default)]
pub(in crate::cli) struct Changes {
    /// Remove the signing secret: deliveries go unsigned
    #[arg(long, conflicts_with_all = ["secret", "generate_secret"])]
    no_secret: bool,
    /// Remove all headers
    #[arg(long, conflicts_with = "header")]
    no_headers: bool,
    /// Remove the filter
    #[arg(long, conflicts_with_all = ["min_severity", "engagement_id", "expression"])]
    pub(super) no_filter: bool,
    /// Remove the rate limit
    #[arg(long, conflicts_with = "rate_limit")]
    no_rate_limit: bool,
    /// Send each event in a request of its own
    #[arg(long, conflicts_with = "batch")]
    no_batch: bool,
    /// Tell of each event on its own
    #[arg(long, conflicts_with = "digest")]
    no_digest: bool,
    /// Trust the system's CAs and present no client certificate
    #[arg(long, conflicts_with_all = ["tls_ca", "tls_client_cert"])]
    no_tls: bool,
    /// Enable the webhook and reset its failure count; held deliveries stay held until `recover` sends them
    #[arg(long, conflicts_with = "inactive")]
    pub(super) active: bool,
}

/// The filter of a webhook as the host shows it.
#[derive(Deserialize)]
pub(super) struct CurrentFilter {
    pub(super) filter: Option<Map<String, Value>>,
}

fn parse_options(text: &str) -> Result<Value, String> {
    let value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    if matches!(value, Value::Object(_)) { Ok(value) } else { Err("expected a JSON object".to_owned()) }
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or_else(|| "expected 'Name: value'".to_owned())?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn parse_pair(text: &str) -> Result<(u32, u32), String> {
    let numbers = text.split_once('/').and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)));
    numbers.ok_or_else(|| "expected two whole numbers, as in 1/1".to_owned())
}

impl Fields {
    /// Checks for the fields that have no default: name and URL.
    pub(super) fn require_for_create(&self) -> Result<(), Failure> {
        let missing: Vec<_> =
            [("--name", &self.name), ("--url", &self.url)].into_iter().filter(|(_, value)| value.is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let flags: Vec<_> = missing.into_iter().map(|(flag, _)| flag).collect();
        let error = anyhow::anyhow!("a new webhook needs {}", flags.join(" and "));
        Err(Failure::usage(error, "add it, as in: heraldry webhook create --name ops --url http://127.0.0.1:9000/"))
    }

    /// True if some of the filter's three fields were named and some not.
    pub(super) fn sets_part_of_filter(&self) -> bool {
        let named = [self.min_severity.is_some(), !self.engagement_id.is_empty(), self.expression.is_some()];
        named.contains(&true) && named.contains(&false)
    }

    /// The named fields as JSON; those of the filter are merged into `filter`.
    pub(super) fn to_json(&self, filter: Option<Map<String, Value>>) -> Result<Map<String, Value>, Failure> {
        let mut object = Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                object.insert(name.to_owned(), value);
            }
        };
        set("name", self.name.clone().map(Value::from));
        set("url", self.url.clone().map(Value::from));
        set("secret", self.secret.clone().map(Value::from));
        set("generate_secret", self.generate_secret.then_some(Value::Bool(true)));
        set("event_types", (!self.event_type.is_empty()).then(|| self.event_type.clone().into()));
        set("format", self.format.clone().map(Value::from));
        set("format_options", self.options.clone());
        set("headers", self.headers()?);
        set("filter", self.filter(filter));
        set("critical_once", self.critical_once.map(Value::Bool));
        set("order", self.order.clone().map(Value::from));
        set("rate_limit", self.rate_limit.map(|(count, seconds)| json!({"count": count, "per_seconds": seconds})));
        set("batch", self.batch.map(|(events, ms)| json!({"max_events": events, "max_wait_ms": ms})));
        set("digest", self.digest());
        let has_tls = self.tls_ca.is_some() || self.tls_client_cert.is_some();
        set("tls", has_tls.then(|| json!({"ca": self.tls_ca, "client_cert": self.tls_client_cert})));
        set("retry_count", self.retry_count.map(Value::from));
        set("timeout_ms", self.timeout_ms.map(Value::from));
        set("is_active", self.inactive.then_some(Value::Bool(false)));
        Ok(object)
    }

    fn digest(&self) -> Option<Value> {
        let (seconds, over) = self.digest?;
        let mut digest = json!({"window_seconds": seconds, "over": over});
        if let Some(severity) = &self.digest_bypass {
            digest["bypass_severity"] = severity.clone().into();
        }
        Some(digest)
    }

    fn headers(&self) -> Result<Option<Value>, Failure> {
        let mut headers = Map::new();
        for (name, value) in &self.header {
            if headers.keys().any(|known| known.eq_ignore_ascii_case(name)) {
                let error = anyhow::anyhow!("--header names `{name}` twice");
                return Err(Failure::usage(error, "name each header once"));
            }
            headers.insert(name.clone(), value.clone().into());
        }
        Ok((!headers.is_empty()).then_some(Value::Object(headers)))
    }

    fn filter(&self, now: Option<Map<String, Value>>) -> Option<Value> {
        let mut filter = now.unwrap_or_default();
        if self.min_severity.is_none() && self.engagement_id.is_empty() && self.expression.is_none() {
            return None;
        }
        if let Some(severity) = &self.min_severity {
            filter.insert("min_severity".to_owned(), severity.clone().into());
        }
        if !self.engagement_id.is_empty() {
            filter.insert("engagement_ids".to_owned(), self.engagement_id.clone().into());
        }
        if let Some(expression) = &self.expression {
            filter.insert("expression".to_owned(), expression.clone().into());
        }
        // The host shows an absent member as null, but does not accept null.
        filter.retain(|_, value| !value.is_null());
        Some(Value::Object(filter))
    }
}

impl Changes {
    /// Adds the changes to the body.
    pub(super) fn apply(&self, object: &mut Map<String, Value>) {
        for (named, field, value) in [
            (self.no_secret, "secret", Value::Null),
            (self.no_headers, "headers", Value::Object(Map::new())),
            (self.no_filter, "filter", Value::Object(Map::new())),
            (self.no_rate_limit, "rate_limit", Value::Null),
            (self.no_batch, "batch", Value::Null),
            (self.no_digest, "digest", Value::Null),
            (self.no_tls, "tls", Value::Null),
            (self.active, "is_active", Value::Bool(true)),
        ] {
            if named {
                object.insert(field.to_owned(), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_fields_are_sent() {
        let none = Fields::default().to_json(None).expect("no fault");
        assert!(none.is_empty());
        let fields = Fields {
            event_type: vec!["*".to_owned()],
            header: vec![parse_header("Authorization: Bearer a:b").expect("a header")],
            rate_limit: Some(parse_pair("1/60").expect("a rate")),
            batch: Some(parse_pair("100/500").expect("a batch")),
            tls_ca: Some("corp".to_owned()),
            retry_count: Some(0),
            generate_secret: true,
            inactive: true,
            ..Fields::default()
        };
        let body = Value::Object(fields.to_json(None).expect("no fault"));
        let wanted = json!({
            "event_types": ["*"], "headers": {"Authorization": "Bearer a:b"},
            "rate_limit": {"count": 1, "per_seconds": 60}, "batch": {"max_events": 100, "max_wait_ms": 500},
            "tls": {"ca": "corp", "client_cert": null}, "retry_count": 0, "generate_secret": true, "is_active": false,
        });
        assert_eq!(body, wanted);
    }

    #[test]
    fn a_named_filter_field_keeps_the_other_one() {
        let fields = Fields { min_severity: Some("high".to_owned()), ..Fields::default() };
        assert!(fields.sets_part_of_filter());
        let now = json!({"min_severity": null, "engagement_ids": ["e-1"]});
        let body = fields.to_json(now.as_object().cloned()).expect("no fault");
        assert_eq!(body["filter"], json!({"min_severity": "high", "engagement_ids": ["e-1"]}));
    }

    #[test]
    fn a_repeated_header_is_rejected() {
        let twice = Fields { header: vec![("A".into(), "1".into()), ("a".into(), "2".into())], ..Fields::default() };
        assert!(twice.to_json(None).is_err());
        assert!(parse_header("no colon").is_err());
        assert!(["1", "1/", "/1", "a/1", "1/-1"].iter().all(|text| parse_pair(text).is_err()));
        assert!(parse_options("[]").is_err() && parse_options("{").is_err() && parse_options("{}").is_ok());
    }

    #[test]
    fn removals_are_explicit() {
        let mut body = Map::new();
        Changes { no_secret: true, no_tls: true, active: true, ..Changes::default() }.apply(&mut body);
        assert_eq!(Value::Object(body), json!({"secret": null, "tls": null, "is_active": true}));
    }
}
