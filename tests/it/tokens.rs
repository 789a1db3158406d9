//! Tokens: created, shown once, listed, deleted; and the first token of a host.

use serde_json::json;

use crate::support::{Client, Host, is_id, is_time};
use crate::webhooks::files_with;

#[tokio::test]
async fn a_token_is_shown_once_and_works_until_it_is_deleted() {
    let host = Host::start().await;
    let admin = host.admin();
    made_and_listed(&admin).await;
    fields(&admin).await;
    deleted(&admin).await;
    kept(host).await;
}

async fn made_and_listed(admin: &Client) {
    let mut made = Vec::new();
    for role in ["admin", "pentester", "ingest", "operator"] {
        let response = admin.post("/tokens", &json!({"name": format!("the {role}"), "role": role})).await.expect(201);
        let mut token = response.json();
        let names: Vec<&String> = token.as_object().expect("an object").keys().collect();
        assert_eq!(names, ["created_at", "id", "name", "role", "token"]);
        assert!(is_id(&token["id"]) && is_time(&token["created_at"]), "{response}");
        assert_eq!((&token["name"], &token["role"]), (&json!(format!("the {role}")), &json!(role)));
        let text = token["token"].as_str().expect("a text").to_owned();
        assert!((16..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
        admin.with_token(&text).get("/webhooks/event-types").await.expect(200);
        token.as_object_mut().expect("an object").remove("token");
        made.push((token, text));
    }
    let listed = admin.get("/tokens").await.expect(200);
    let newest_first: Vec<_> = made.iter().rev().map(|(token, _)| token.clone()).collect();
    assert_eq!(listed.list()[..4], newest_first[..]);
    assert_eq!(listed.list()[4]["role"], "admin", "the first token is listed like any other");
    assert!(made.iter().all(|(_, text)| !listed.text().contains(text)), "a text is shown again: {listed}");
}

async fn fields(admin: &Client) {
    for name in ["n".to_owned(), "é".repeat(200)] {
        let made = admin.post("/tokens", &json!({"name": name, "role": "ingest"})).await.expect(201);
        assert_eq!(made.json()["name"], json!(name));
    }
    let before = admin.get("/tokens").await.list().len();
    for (body, faults) in [
        (json!({}), vec![("/name", "required"), ("/role", "required")]),
        (json!([]), vec![("", "wrong_type")]),
        (json!({"name": "", "role": "ingest"}), vec![("/name", "empty")]),
        (json!({"name": "é".repeat(201), "role": "ingest"}), vec![("/name", "too_long")]),
        (json!({"name": null, "role": null}), vec![("/name", "wrong_type"), ("/role", "wrong_type")]),
        (json!({"name": "n", "role": "root"}), vec![("/role", "invalid")]),
        (json!({"name": "n", "role": "Admin"}), vec![("/role", "invalid")]),
        (
            json!({"name": "n", "role": "admin", "token": "chosen", "id": 1, "created_at": 1, "scope": 1}),
            vec![
                ("/token", "read_only"),
                ("/id", "read_only"),
                ("/created_at", "read_only"),
                ("/scope", "unknown_field"),
            ],
        ),
    ] {
        admin.post("/tokens", &body).await.faults(&faults);
    }
    assert_eq!(admin.get("/tokens").await.list().len(), before, "a rejected token was created");
}

async fn deleted(admin: &Client) {
    let made = admin.post("/tokens", &json!({"name": "short-lived", "role": "admin"})).await.expect(201).json();
    let bearer = admin.with_token(made["token"].as_str().expect("a text"));
    let path = format!("/tokens/{}", made["id"].as_str().expect("an id"));
    bearer.get("/webhooks").await.expect(200);
    // A token may delete itself; the next request with it is rejected.
    let gone = bearer.delete(&path).await.expect(204);
    assert_eq!(gone.text(), "");
    bearer.get("/webhooks").await.problem(401, "unauthorized");
    bearer.delete(&path).await.problem(401, "unauthorized");
    admin.delete(&path).await.problem(404, "not_found");
    assert!(admin.get("/tokens").await.list().iter().all(|token| token["id"] != made["id"]));
}

/// Creation and deletion survive a restart, and no token is on the disk or in the log.
async fn kept(host: Host) {
    let admin = host.admin();
    let ingest = admin.new_token("ingest").await;
    let made = admin.post("/tokens", &json!({"name": "gone", "role": "ingest"})).await.expect(201).json();
    let gone = admin.with_token(made["token"].as_str().expect("a text"));
    admin.delete(&format!("/tokens/{}", made["id"].as_str().expect("an id"))).await.expect(204);
    let before = host.log();
    let mut host = host.restart().await;
    assert_eq!(host.log().matches("admin token").count(), 0, "{}", host.log());
    let visitor = host.visitor();
    visitor.with_token(admin.token()).get("/tokens").await.expect(200);
    visitor.with_token(ingest.token()).get("/webhooks/event-types").await.expect(200);
    visitor.with_token(gone.token()).get("/webhooks/event-types").await.problem(401, "unauthorized");
    host.kill();
    for text in [admin.token(), ingest.token(), gone.token()] {
        assert_eq!(files_with(host.folder().path(), text.as_bytes()), [] as [String; 0], "a token in the clear");
    }
    assert_eq!(before.matches("admin token: ").count(), 1, "{before}");
    assert!(!before.contains(ingest.token()) && !host.log().contains(ingest.token()), "a token in the log");
}

#[tokio::test]
async fn a_given_admin_token_is_the_first_and_never_printed() {
    let shortest = "0123456789abcdef";
    let longest = "~".repeat(256);
    for text in ["0123456789abcde", "", "a token with spaces!", "0123456789abcdéf", &"x".repeat(257)] {
        let (code, log) = Host::refused(|options| options.env("HERALDRY_ADMIN_TOKEN", text)).await;
        assert_eq!(code, Some(64), "{text}: {log}");
        assert!(log.contains("HERALDRY_ADMIN_TOKEN"), "{log}");
        assert!(text.is_empty() || !log.contains(text), "the message shows the token: {log}");
    }
    let host = Host::with(|options| options.env("HERALDRY_ADMIN_TOKEN", shortest)).await;
    host.admin().get("/tokens").await.expect(200);
    assert!(!host.log().contains(shortest) && !host.log().contains("admin token: "), "{}", host.log());

    // The store has tokens now: another value of the variable changes nothing.
    let mut host = host;
    assert!(host.terminate().await.success());
    let host = host.start_again_with(|options| options.env("HERALDRY_ADMIN_TOKEN", &longest)).await;
    host.admin().get("/tokens").await.expect(200);
    host.visitor().with_token(&longest).get("/tokens").await.problem(401, "unauthorized");
    assert_eq!(host.admin().get("/tokens").await.list().len(), 1);
    drop(host);

    let host = Host::with(|options| options.env("HERALDRY_ADMIN_TOKEN", &longest)).await;
    host.visitor().with_token(&longest).get("/tokens").await.expect(200);
}

#[tokio::test]
async fn the_last_admin_token_stays() {
    let host = Host::start().await;
    let first = host.admin();
    let path_of = |token: &serde_json::Value| format!("/tokens/{}", token["id"].as_str().expect("an id"));
    let own = path_of(&first.get("/tokens").await.expect(200).list()[0]);
    // Other roles do not count.
    first.new_token("ingest").await;
    first.new_token("pentester").await;
    let kept = first.delete(&own).await;
    assert!(kept.problem(409, "conflict").json()["detail"].to_string().contains("the last admin token"), "{kept}");
    first.get("/tokens").await.expect(200);
    // Two delete themselves at the same time: one stays.
    let mut survivor = (first, own);
    for _ in 0..5 {
        let (first, first_path) = survivor;
        let made = first.post("/tokens", &json!({"name": "second", "role": "admin"})).await.expect(201).json();
        let (second, second_path) = (first.with_token(made["token"].as_str().expect("a text")), path_of(&made));
        let (a, b) = tokio::join!(first.delete(&first_path), second.delete(&second_path));
        survivor = match (a.status(), b.status()) {
            (409, 204) => (first, first_path),
            (204, 409) => (second, second_path),
            _ => panic!("{a} {b}"),
        };
        let tokens = survivor.0.get("/tokens").await.expect(200).list();
        assert_eq!(tokens.iter().filter(|token| token["role"] == "admin").count(), 1);
    }
}
