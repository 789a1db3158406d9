//! What an admin does with one webhook: test, recover, rotate its secret, switch it, delete it.

use askama::Template;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Answer;
use super::super::frame::Frame;
use super::super::visit::{Failure, Visit, read};
use super::view::Webhook;

#[derive(Deserialize)]
struct Recovered {
    deliveries: u64,
}

#[derive(Deserialize)]
struct Rotated {
    secret: String,
    old_secret_valid_until: Option<String>,
}

#[derive(Template)]
#[template(path = "console/webhook_secret.html")]
pub(super) struct SecretPage {
    pub(super) frame: Frame,
    pub(super) path: String,
    pub(super) secret: String,
    pub(super) until: Option<String>,
}

#[derive(Template)]
#[template(path = "console/webhook_tested.html")]
struct TestedPage {
    frame: Frame,
    path: String,
    state: &'static str,
    word: &'static str,
    error: String,
    attempt: String,
}

fn api_path(visit: &Visit) -> String {
    format!("/webhooks/{}", visit.segment("id"))
}

fn page_path(visit: &Visit) -> String {
    format!("/console/webhooks/{}", visit.segment("id"))
}

/// `POST /console/webhooks/{id}/test`: one attempt now, whatever the filter.
pub(crate) async fn test(visit: Visit) -> Answer {
    let (kind, event) = (visit.form.get("event_type"), visit.form.get("event_id").trim());
    let body = match (event, kind) {
        ("", "") => json!({}),
        ("", kind) => json!({"event_type": kind}),
        (event, _) => json!({"event_id": event}),
    };
    let reply = visit.call(Method::POST, &format!("{}/test", api_path(&visit)), Some(&body)).await?;
    let attempt: Value = read(&reply)?;
    let success = attempt["success"] == true;
    let page = TestedPage {
        frame: visit.frame("Test", "webhooks"),
        path: page_path(&visit),
        state: if success { "good" } else { "bad" },
        word: if success { "delivered" } else { "failed" },
        error: attempt["error"].as_str().unwrap_or_default().to_owned(),
        attempt: super::one::pretty(&attempt),
    };
    visit.page(&page)
}

/// `POST /console/webhooks/{id}/recover`.
pub(crate) async fn recover(visit: Visit) -> Answer {
    let body = json!({"since": visit.form.get("since").trim()});
    let reply = visit.call(Method::POST, &format!("{}/recover", api_path(&visit)), Some(&body)).await?;
    let Recovered { deliveries } = read(&reply)?;
    visit.see(&page_path(&visit), &format!("recovered&count={deliveries}"))
}

/// `POST /console/webhooks/{id}/rotate`: shows the new secret, once.
pub(crate) async fn rotate(visit: Visit) -> Answer {
    let reply = visit.call(Method::POST, &format!("{}/rotate-secret", api_path(&visit)), Some(&json!({}))).await?;
    let rotated: Rotated = read(&reply)?;
    visit.page(&SecretPage {
        frame: visit.frame("New secret", "webhooks"),
        path: page_path(&visit),
        secret: rotated.secret,
        until: rotated.old_secret_valid_until,
    })
}

/// `POST /console/webhooks/{id}/switch`.
pub(crate) async fn switch(visit: Visit) -> Answer {
    let on = visit.form.get("to") == "on";
    visit.call(Method::PUT, &api_path(&visit), Some(&json!({"is_active": on}))).await?;
    visit.see(&page_path(&visit), if on { "switched-on" } else { "switched-off" })
}

/// `POST /console/webhooks/{id}/delete`: only with the webhook's name typed.
pub(crate) async fn delete(visit: Visit) -> Answer {
    let webhook: Webhook = visit.get(&api_path(&visit)).await?;
    // A name with marks cannot be typed as it is stored; what is shown counts.
    if visit.form.get("name").trim() != webhook.name.trim() {
        let detail = "Type the webhook's name as it is shown to delete it. Nothing was changed";
        return Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    visit.call(Method::DELETE, &api_path(&visit), None).await?;
    visit.see("/console/webhooks", "deleted")
}
