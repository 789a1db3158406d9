//! The checks of a webhook's `digest`: what it excludes, and whether the formatter makes digests.

use super::formats::names;
use crate::api::problem::ApiError;
use crate::api::state::{Shared, still_loading};
use crate::formatter::{Declared, Standing};
use crate::json::fault::Faults;
use crate::model::webhook::input::{DEFAULT_FORMAT, Draft};
use crate::model::webhook::{Order, WebhookConfig};

/// Checks the digest of a draft, or that of the webhook as the draft would leave it.
///
/// # Errors
/// 503 if the host has just started and it is not known yet whether the formatter makes digests.
pub(super) async fn check(
    api: &Shared,
    draft: &Draft,
    current: Option<&WebhookConfig>,
    faults: &mut Faults,
) -> Result<(), ApiError> {
    let digest = draft.digest.unwrap_or_else(|| current.and_then(|config| config.digest));
    let Some(digest) = digest else { return Ok(()) };
    // The field that the body names is the one to correct.
    let pointer = |own: &'static str, other: &'static str| if draft.digest.is_some() { own } else { other };
    let batch = draft.batch.unwrap_or_else(|| current.and_then(|config| config.batch));
    if batch.is_some() {
        let detail = "digest and batch exclude each other; set one of them to null, or leave it out";
        faults.add(pointer("/digest", "/batch"), "exclusive", detail);
    }
    let order = draft.order.or(current.map(|config| config.order)).unwrap_or_default();
    if order == Order::Strict && digest.bypass_severity.is_some() {
        let detail = "with order strict nothing goes out before its turn; leave out digest.bypass_severity, or choose another order";
        faults.add(pointer("/digest/bypass_severity", "/order"), "exclusive", detail);
    }
    let url = draft.url.as_ref().or(current.map(|config| &config.url));
    if url.is_some_and(|url| url.scheme().is_syslog()) {
        let detail = "a digest goes over HTTP; leave out digest, or use a URL that begins with https:// or http://";
        faults.add(pointer("/digest", "/url"), "not_http", detail);
    }
    if current.is_some() && !draft.touches_format() {
        return Ok(());
    }
    let format = draft.format.as_deref().or(current.map(|config| config.format.as_str())).unwrap_or(DEFAULT_FORMAT);
    match api.catalog.standing_soon(format).await {
        Standing::Ready(component) if !component.digests() => {
            let able = match names(api, Declared::digests) {
                able if able.is_empty() => "no loaded format does".to_owned(),
                able => format!("{able} do"),
            };
            let detail =
                format!("the format {format} makes no digests; {able}; leave out digest, or choose another format");
            faults.add(pointer("/digest", "/format"), "no_digests", detail);
            Ok(())
        }
        Standing::Loading(_) => Err(still_loading(format)),
        // An unknown format is a fault of its own.
        Standing::Ready(_) | Standing::Unknown => Ok(()),
    }
}
