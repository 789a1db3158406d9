//! The secrets of a webhook, and the texts by which they are recognised.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;

use super::SHORTEST;
use super::view::percent_decoded;
use super::write_only::write_only;
use crate::model::url::DeliveryUrl;
use crate::model::webhook::Webhook;

/// Words in the paths of services that many webhooks go to. Any other segment of [`SHORTEST`] characters counts as a
/// credential.
const PLAIN_SEGMENTS: [&str; 16] = [
    "services",
    "webhooks",
    "webhookb2",
    "incoming",
    "IncomingWebhook",
    "collector",
    "workflows",
    "triggers",
    "powerautomate",
    "automations",
    "callback",
    "callbacks",
    "notifications",
    "integrations",
    "deliveries",
    "heraldry",
];

/// Every text that is to be masked: each secret of at least [`SHORTEST`] characters, and its base64.
pub(super) fn needles(webhook: &Webhook, options_schema: &Value) -> Vec<Vec<u8>> {
    let mut needles = Vec::new();
    for secret in secrets(webhook, options_schema) {
        if String::from_utf8_lossy(&secret).chars().count() < SHORTEST {
            continue;
        }
        for before in 0..3 {
            needles.push(base64_within(&secret, before, &STANDARD_NO_PAD));
            needles.push(base64_within(&secret, before, &URL_SAFE_NO_PAD));
        }
        if secret.contains(&b' ') {
            // In a form (`application/x-www-form-urlencoded`).
            needles.push(secret.iter().map(|byte| if *byte == b' ' { b'+' } else { *byte }).collect());
        }
        needles.push(secret);
    }
    needles.sort_unstable();
    needles.dedup();
    needles
}

fn secrets(webhook: &Webhook, options_schema: &Value) -> Vec<Vec<u8>> {
    let config = &webhook.config;
    let mut secrets = Vec::new();
    for secret in config.secret.iter().chain(webhook.old_secrets.iter().map(|old| &old.secret)) {
        secrets.extend(secret.expose().strip_prefix("whsec_").map(Into::into));
        secrets.push(secret.expose().into());
    }
    for (_, value) in &config.headers {
        of_header(value.expose(), &mut secrets);
    }
    of_url(&config.url, &mut secrets);
    let options = serde_json::from_str(&config.format_options).unwrap_or(Value::Null);
    let mut found = Vec::new();
    match write_only(options_schema, &options) {
        Some(pointers) => {
            pointers.iter().filter_map(|at| options.pointer(at)).for_each(|value| strings(value, &mut found));
        }
        None => strings(&options, &mut found),
    }
    secrets.extend(found.into_iter().map(String::into_bytes));
    secrets
}

/// A header's value; without its authentication scheme (RFC 9110, section 11.4); its parameters' values; and what basic
/// credentials encode (RFC 7617), together and the password alone.
fn of_header(value: &str, secrets: &mut Vec<Vec<u8>>) {
    let (scheme, credentials) = value.split_once([' ', '\t']).unwrap_or(("", value));
    let credentials = credentials.trim_start();
    let parameters = value.split([',', ';', ' ', '\t']).filter_map(|one| one.split_once('='));
    secrets.extend(parameters.map(|(_, value)| value.trim_matches('"').into()));
    if scheme.eq_ignore_ascii_case("basic")
        && let Ok(pair) = STANDARD_NO_PAD.decode(credentials.trim_end_matches('='))
    {
        secrets.extend(pair.iter().position(|byte| *byte == b':').map(|colon| pair[colon + 1..].to_vec()));
        secrets.push(pair);
    }
    secrets.push(credentials.into());
    secrets.push(value.into());
}

/// The parts of path and query that may be credentials, as written and decoded.
fn of_url(url: &DeliveryUrl, secrets: &mut Vec<Vec<u8>>) {
    let mut add = |part: &str| {
        secrets.push(percent_decoded(part.as_bytes()));
        secrets.push(part.into());
    };
    for segment in url.path_segments().filter(|segment| !PLAIN_SEGMENTS.contains(segment)) {
        // As in `/bot123456:TOKEN/send`.
        segment.split([':', '=', ';', ',']).for_each(&mut add);
        add(segment);
    }
    for pair in url.query().into_iter().flat_map(|query| query.split('&')) {
        let value = pair.split_once('=').map_or(pair, |(_, value)| value);
        add(&value.replace('+', " "));
        add(value);
    }
}

/// The base64 of a secret that `before` bytes (modulo 3) precede, without the characters that depend on its neighbours
/// too: these tell at most four bits of it.
fn base64_within(secret: &[u8], before: usize, engine: &impl base64::Engine) -> Vec<u8> {
    let bytes = [&[0; 2][..before], secret].concat();
    let whole_characters = bytes.len() * 8 / 6;
    let mut encoded = engine.encode(&bytes).into_bytes();
    encoded.truncate(whole_characters);
    encoded.drain(..(before * 8).div_ceil(6));
    encoded
}

/// The texts and numbers in a value.
fn strings(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Number(number) => found.push(number.to_string()),
        Value::Array(elements) => elements.iter().for_each(|element| strings(element, found)),
        Value::Object(members) => members.values().for_each(|member| strings(member, found)),
        Value::Null | Value::Bool(_) => {}
    }
}
