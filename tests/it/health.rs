//! `/healthz`, `/readyz` and `/metrics`: what a supervisor asks, without a token.

use serde_json::json;

use crate::support::{Destination, Host, events};

#[tokio::test]
async fn a_supervisor_needs_no_token_and_learns_whether_the_host_lives_and_takes_work() {
    let host = Host::start().await;
    let anyone = host.visitor().outside();
    let alive = anyone.get("/healthz").await.expect(200);
    assert_eq!(alive.json(), json!({"status": "ok"}));
    let ready = anyone.get("/readyz").await.expect(200);
    assert_eq!(ready.json(), json!({"status": "ready"}));
    let destination = Destination::start().await;
    let admin = host.admin();
    admin.webhook(&destination.url("/"), json!({})).await;
    admin.event(&events::minimal("phase_changed")).await;
    destination.wait_for(1).await;
}
