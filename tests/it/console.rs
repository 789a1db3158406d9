//! The console in a browser that runs no script: sessions, roles, forms.

use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{BufferQueue, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};
use serde_json::{Value, json};

use crate::support::{Answer, Client, Host};

const NOWHERE: &str = "http://127.0.0.1:9/";
/// What must never become markup.
const HOSTILE: &str = "\"'><img src=x onerror=alert(1)>{{7*7}}</title></textarea><script>alert(1)</script>\u{202e}";

/// A browser that is logged in.
struct Browser {
    http: Client,
    cookie: String,
}

impl Browser {
    async fn enter(host: &Host, token: &str) -> Self {
        let http = host.visitor().outside();
        let response = send(&http, "/console/login", &format!("token={token}"), "").await.expect(303);
        let cookie = response.header("set-cookie");
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        let cookie = cookie.split(';').next().expect("a cookie").to_owned();
        Self { http, cookie }
    }

    async fn get(&self, path: &str) -> Answer {
        self.http.request("GET", path).header("cookie", &self.cookie).send().await
    }

    /// Sends a form with the field of this session, as the page at `page` has it.
    async fn form(&self, page: &str, path: &str, fields: &str) -> Answer {
        let shown = self.get(page).await.expect(200);
        let (_, after) = shown.text().split_once("name=\"form\" value=\"").expect("a form");
        let field = after.split('"').next().expect("its value");
        send(&self.http, path, &format!("form={field}&{fields}"), &self.cookie).await
    }
}

/// Sends a form as a page of the console does.
async fn send(http: &Client, path: &str, fields: &str, cookie: &str) -> Answer {
    let request = http.request("POST", path).header("sec-fetch-site", "same-origin").header("cookie", cookie);
    request.body("application/x-www-form-urlencoded", fields.to_owned()).send().await
}

/// The tags of a page with the names of their attributes.
#[derive(Default)]
struct Tags(RefCell<Vec<String>>);

impl TokenSink for Tags {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        if let Token::TagToken(tag) = token {
            let attributes: Vec<String> = tag.attrs.iter().map(|attribute| attribute.name.local.to_string()).collect();
            self.0.borrow_mut().push(format!("{:?} {} {}", tag.kind, tag.name, attributes.join(" ")));
        }
        TokenSinkResult::Continue
    }
}

fn tags(page: &Answer) -> Vec<String> {
    let (queue, tokenizer) = (BufferQueue::default(), Tokenizer::new(Tags::default(), TokenizerOpts::default()));
    queue.push_back(StrTendril::from(page.text()));
    let _ = tokenizer.feed(&queue);
    tokenizer.end();
    tokenizer.sink.0.take()
}

/// A webhook with this text wherever the API takes any text.
fn webhook_with(text: &str) -> Value {
    json!({
        "name": text, "url": NOWHERE, "event_types": ["*"], "is_active": false,
        "filter": {"engagement_ids": [text], "expression": format!("type != {}", json!(text))},
    })
}

#[tokio::test]
async fn no_text_of_a_webhook_or_a_token_becomes_markup() {
    let host = Host::start().await;
    let admin = host.admin();
    let mut pages = Vec::new();
    for text in ["plain", HOSTILE] {
        let token = admin.post("/tokens", &json!({"name": text, "role": "admin"})).await.expect(201).json();
        let browser = Browser::enter(&host, token["token"].as_str().expect("a token")).await;
        let made = admin.post("/webhooks", &webhook_with(text)).await.expect(201).json();
        let one = format!("/console/webhooks/{}", made["id"].as_str().expect("an id"));
        let tested = browser.form(&one, &format!("{one}/test"), "").await.expect(200);
        let mut shown = vec![tags(&tested)];
        for path in
            ["/console", "/console/webhooks", "/console/webhooks/new", "/console/nothing", &one, &format!("{one}/edit")]
        {
            let page = browser.get(path).await;
            assert!(!tags(&page).is_empty(), "{path}");
            shown.push(tags(&page));
        }
        let query: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        shown.push(tags(&browser.get(&format!("/console/webhooks?q={query}")).await.expect(200)));
        admin.delete(&format!("/webhooks/{}", made["id"].as_str().expect("an id"))).await.expect(204);
        pages.push(shown);
    }
    for (plain, hostile) in pages[0].iter().zip(&pages[1]) {
        assert_eq!(plain, hostile);
    }
}

#[tokio::test]
async fn a_session_is_a_cookie_that_opens_pages_and_nothing_of_the_api() {
    let host = Host::start().await;
    let admin = host.admin();
    let outside = host.visitor().outside();
    outside.request("GET", "/console/webhooks").send().await.expect(303);
    send(&outside, "/console/login", "token=wrong", "").await.expect(401);
    let made = admin.post("/tokens", &json!({"name": HOSTILE, "role": "admin"})).await.expect(201).json();
    let browser = Browser::enter(&host, made["token"].as_str().expect("a token")).await;
    let page = browser.get("/console").await.expect(200);
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    assert_eq!((page.header("cache-control"), page.header("x-content-type-options")), ("no-store", "nosniff"));
    assert!(!page.text().contains("<img") && !page.text().contains("<script") && page.text().contains("[U+202E]"));
    browser.get("/api/v1/webhooks").await.expect(401);
    browser.get("/console/nothing").await.expect(404);
    let abroad = browser.http.request("GET", "/console").header("cookie", &browser.cookie);
    abroad.header("host", "evil.example").send().await.expect(403);
    let id = made["id"].as_str().expect("an id");
    admin.delete(&format!("/tokens/{id}")).await.expect(204);
    browser.get("/console").await.expect(303);
}

#[tokio::test]
async fn a_log_out_ends_the_session_for_good() {
    let host = Host::start().await;
    let browser = Browser::enter(&host, host.admin().token()).await;
    browser.form("/console", "/console/logout", "").await.expect(303);
    browser.get("/console").await.expect(303);
}

#[tokio::test]
async fn a_link_is_used_up_by_its_button_alone() {
    let host = Host::start().await;
    let link = host.admin().post("/console-links", &json!({})).await.expect(201).json();
    let url = link["url"].as_str().expect("a link");
    let path = url.strip_prefix(host.visitor().origin()).expect("a link to this host");
    let http = host.visitor().outside();
    for _ in 0..2 {
        let page = http.request("GET", path).send().await.expect(200);
        assert!(page.text().contains("admin") && page.header("set-cookie").is_empty());
    }
    http.request("POST", path).body("application/x-www-form-urlencoded", "").send().await.expect(403);
    let entered = send(&http, path, "", "").await.expect(303);
    assert!(entered.header("set-cookie").starts_with("heraldry-"));
    send(&http, path, "", "").await.expect(404);
    http.request("GET", path).send().await.expect(404);
}

#[tokio::test]
async fn a_form_needs_its_page_its_session_and_an_admin() {
    let host = Host::start().await;
    let admin = host.admin();
    let webhook = admin.webhook(NOWHERE, json!({"is_active": false})).await;
    let (page, path) = (format!("/console/webhooks/{webhook}"), format!("/console/webhooks/{webhook}/switch"));
    let browser = Browser::enter(&host, admin.token()).await;
    let other = Browser::enter(&host, admin.token()).await;
    send(&browser.http, &path, "to=on", &browser.cookie).await.expect(403);
    send(&browser.http, &path, "form=AAAA&to=on", &browser.cookie).await.expect(403);
    send(&browser.http, &path, "to=on", "").await.expect(401);
    let shown = other.get(&page).await.expect(200);
    let (_, after) = shown.text().split_once("name=\"form\" value=\"").expect("a form");
    let foreign = after.split('"').next().expect("its value");
    send(&browser.http, &path, &format!("form={foreign}&to=on"), &browser.cookie).await.expect(403);
    for (header, value) in [("sec-fetch-site", "cross-site"), ("origin", "http://evil.example"), ("x", "y")] {
        let request = browser.http.request("POST", &path).header(header, value).header("cookie", &browser.cookie);
        let request = request.body("application/x-www-form-urlencoded", format!("form={foreign}&to=on"));
        request.send().await.expect(403);
    }
    let operator = Browser::enter(&host, admin.new_token("operator").await.token()).await;
    operator.form("/console", &path, "to=on").await.expect(403);
    assert_eq!(admin.get(&format!("/webhooks/{webhook}")).await.json()["is_active"], false, "nothing was changed");
    browser.form(&page, &path, "to=on").await.expect(303);
    assert_eq!(admin.get(&format!("/webhooks/{webhook}")).await.json()["is_active"], true);
}

#[tokio::test]
async fn roles_see_what_the_api_shows_them() {
    let host = Host::start().await;
    let admin = host.admin();
    let fields = json!({"name": HOSTILE, "is_active": false, "filter": {"expression": "type == 'canary'"}});
    let webhook = admin.webhook("http://127.0.0.1:9/canary-path", fields).await;
    let one = format!("/console/webhooks/{webhook}");
    for (role, pages) in [
        ("admin", [200, 200, 200, 200, 200]),
        ("operator", [200, 200, 403, 200, 403]),
        ("pentester", [200, 200, 403, 200, 403]),
        ("ingest", [200, 403, 403, 403, 403]),
    ] {
        let browser = Browser::enter(&host, admin.new_token(role).await.token()).await;
        let edit = format!("{one}/edit");
        for (path, expected) in
            ["/console", "/console/webhooks", "/console/webhooks/new", &one, &edit].into_iter().zip(pages)
        {
            let page = browser.get(path).await.expect(expected);
            assert!(!page.text().contains("<img") && !page.text().contains("<script"), "{role} {path}: {page}");
            assert!(role == "admin" || !page.text().contains("canary-path"), "{role} {path}");
            assert!(role != "pentester" || !page.text().contains("canary"), "{role} {path}");
        }
    }
}

#[tokio::test]
async fn a_webhook_is_made_changed_tested_and_deleted_by_forms() {
    let host = Host::start().await;
    let admin = host.admin();
    let browser = Browser::enter(&host, admin.token()).await;
    let new = "/console/webhooks/new";
    let bad =
        browser.form(new, new, "name=&url=ftp%3A%2F%2Fa&format=json&order=arrival&is_active=true&secret=none").await;
    let api = admin.post("/webhooks", &json!({"name": "", "url": "ftp://a", "event_types": []})).await.expect(422);
    let page = bad.expect(422);
    let shown = page.text().replace("&#39;", "'").replace("&#34;", "\"").replace("&#60;", "<").replace("&#38;", "&");
    for error in api.json()["errors"].as_array().expect("errors") {
        let detail = error["detail"].as_str().expect("words");
        assert!(shown.contains(detail), "{detail}: {page}");
    }
    assert!(page.text().contains("aria-invalid=\"true\"") && page.text().contains("value=\"ftp://a\""), "{page}");
    let fields = "name=ops&url=http%3A%2F%2F127.0.0.1%3A9%2F&format=json&order=strict&event_types=report_ready\
                  &is_active=false&secret=generate&retry_count=2";
    let made = browser.form(new, new, fields).await.expect(200);
    assert!(made.text().contains("whsec_"), "{made}");
    let webhook = admin.get("/webhooks").await.list().remove(0);
    assert_eq!(
        (&webhook["name"], &webhook["order"], &webhook["retry_count"]),
        (&json!("ops"), &json!("strict"), &json!(2))
    );
    let path = format!("/console/webhooks/{}", webhook["id"].as_str().expect("an id"));
    let edit = format!("{path}/edit");
    let change = "name=ops+2&url=http%3A%2F%2F127.0.0.1%3A9%2F&format=json&order=strict&event_types=*&secret=keep";
    browser.form(&edit, &edit, &format!("{change}&etag=%22r0%22")).await.expect(412);
    browser.form(&edit, &edit, change).await.expect(303);
    let tested = browser.form(&path, &format!("{path}/test"), "event_type=report_ready").await.expect(200);
    assert!(tested.text().contains("failed") && tested.text().contains("report_ready"), "{tested}");
    let since = "since=2026-01-01T00%3A00%3A00Z";
    let recovered = browser.form(&path, &format!("{path}/recover"), since).await.expect(303);
    assert!(recovered.header("location").ends_with("?done=recovered&count=0"), "{recovered}");
    browser.form(&path, &format!("{path}/delete"), "name=ops").await.expect(422);
    browser.form(&path, &format!("{path}/delete"), "name=ops+2").await.expect(303);
    browser.get(&path).await.expect(404);
    assert_eq!(admin.get("/audit").await.expect(200).list()[0]["action"], "webhook.deleted");
}
