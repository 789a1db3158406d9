//! Misbehaving destinations of every kind, and a healthy one beside them.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::support::{Authority, Client, Destination, Host, Reply, certificate, events, eventually};

/// Timeout of an attempt to the misbehaving destinations.
const TIMEOUT_MS: u64 = 3000;
/// Allowed deviation from the timeout.
const SLACK_MS: u64 = 250;
/// The wait before the first retry, before jitter: no second attempt comes during the test.
const RETRY_MINUTES: i64 = 10;
/// Cap on `Retry-After`.
const LONGEST_WAIT: time::Duration = time::Duration::hours(1);
/// Long enough for everything in flight to arrive.
const QUIET: Duration = Duration::from_millis(500);

/// The expected outcome of an attempt.
#[derive(Clone, Copy)]
enum Expected {
    /// Delivered with this status, well before the timeout.
    Delivered(u16),
    /// Failed well before the timeout: status, class, words of the message.
    Fails(Option<u16>, &'static str, &'static str),
    /// Failed at the timeout: status, class, words of the message.
    TimesOut(Option<u16>, &'static str, &'static str),
}
use Expected::{Delivered, Fails, TimesOut};

/// Cases with a listener of their own; the name is the webhook's.
fn rows() -> Vec<(&'static str, Reply, Expected)> {
    let slowly = Duration::from_millis(100);
    let raw = Reply::raw;
    let huge = format!("HTTP/1.1 200 OK\r\nSet-Cookie: {}\r\n\r\n", "c".repeat(80 * 1024));
    vec![
        ("200", Reply::full(200, &[], b"thanks"), Delivered(200)),
        ("299", Reply::status(299), Delivered(299)),
        ("204 with a body", raw("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nhi"), Delivered(204)),
        ("no length, closed at the end", raw("HTTP/1.1 200 OK\r\n\r\nall of it"), Delivered(200)),
        ("a body without end", Reply::endless_body(200), Delivered(200)),
        ("a 500 without end", Reply::endless_body(500), Fails(Some(500), "status", "500")),
        ("404", Reply::full(404, &[], b"no such hook"), Fails(Some(404), "status", "404 Not Found")),
        (
            "101",
            raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
            Fails(Some(101), "status", "101"),
        ),
        ("999", Reply::status(999), Fails(Some(999), "status", "999")),
        ("099", raw("HTTP/1.1 099 Early\r\nContent-Length: 0\r\n\r\n"), Fails(None, "protocol", "not valid HTTP")),
        ("another protocol", raw("SSH-2.0-OpenSSH_9.9\r\n"), Fails(None, "protocol", "not HTTP")),
        ("HTTP/0.9", raw("<html>hello</html>"), Fails(None, "protocol", "not HTTP")),
        (
            "two lengths",
            raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!"),
            Fails(None, "protocol", "not valid HTTP"),
        ),
        ("150 short fields", raw(&many_fields(150)), Delivered(200)),
        ("4000 short fields", raw(&many_fields(4000)), Delivered(200)),
        ("HTTP/1.2", raw("HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok"), Delivered(200)),
        ("a folded line", raw("HTTP/1.1 200 OK\r\nX-Note: a\r\n b\r\nContent-Length: 2\r\n\r\nok"), Delivered(200)),
        ("a head without end", Reply::endless_head(200), Fails(None, "protocol", "64 KiB")),
        ("a huge head", raw(&huge), Fails(None, "protocol", "64 KiB")),
        ("100 Continue without end", Reply::endless_continue(Duration::ZERO), Fails(None, "protocol", "64 KiB")),
        ("100 Continue now and then", Reply::endless_continue(slowly), TimesOut(None, "timeout", "no response")),
        ("silence", Reply::silence(), TimesOut(None, "timeout", "no response")),
        ("a head drop by drop", Reply::dripping_head(200, slowly), TimesOut(None, "timeout", "its head did not end")),
        (
            "half a head that stops",
            Reply::raw_then_silence("HTTP/1.1 200 OK\r\nContent-"),
            TimesOut(None, "timeout", "its head did not end"),
        ),
        ("a body drop by drop", Reply::dripping_body(200, slowly), TimesOut(Some(200), "timeout", "did not end")),
        ("a body that stops", Reply::stalled(200), TimesOut(Some(200), "timeout", "did not end")),
        ("half an answer", Reply::half(200), Fails(Some(200), "connect", "in the middle of its response")),
        ("half a 503", Reply::half(503), Fails(Some(503), "status", "503")),
        ("reset", Reply::reset(), Fails(None, "connect", "was sent, but")),
        ("closed", Reply::close(), Fails(None, "connect", "was sent, but")),
        ("half a head", raw("HTTP/1.1 200 OK\r\nContent-"), Fails(None, "connect", "was sent, but")),
        (
            "bad chunks",
            raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            Fails(Some(200), "protocol", "framing"),
        ),
    ]
}

/// A response with so many short fields before its length.
fn many_fields(count: usize) -> String {
    let fields: String = (0..count).map(|n| format!("X-{n}: {n}\r\n")).collect();
    format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok")
}

#[track_caller]
fn time(value: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(value.as_str().expect("a time"), &Rfc3339).expect("RFC 3339")
}

/// A webhook for the event type that goes to the misbehaving destinations only.
async fn bad_webhook(admin: &Client, name: &str, url: &str) -> String {
    let fields = json!({"name": name, "event_types": ["report_ready"], "timeout_ms": TIMEOUT_MS});
    admin.webhook(url, fields).await
}

/// Accepts connections, reads something, responds with these bytes and closes.
async fn talkative(response: &'static [u8]) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut some = [0; 16];
            // The peer may have disconnected already.
            let _ = stream.read(&mut some).await;
            let _ = stream.write_all(response).await;
            let _ = stream.shutdown().await;
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        }
    });
    (address, server)
}

/// A port of this machine on which nothing listens.
async fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address").port()
}

#[tokio::test]
async fn each_misbehaving_destination_fails_as_documented_and_a_healthy_one_is_unaffected() {
    // Requests arrive here if a proxy variable is obeyed or a redirect is followed.
    let trap = Destination::start().await;
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a folder");
    let trusted = folder.path().join("trusted.pem");
    std::fs::write(&trusted, authority.pem()).expect("a file");
    let minutes = format!("{RETRY_MINUTES}min");
    let host = Host::with(|options| {
        let proxies = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
        let options = proxies.iter().fold(options, |options, name| options.env(name, &trap.url("/")));
        options.retry_every(&minutes).env("SSL_CERT_FILE", trusted.to_str().expect("a path"))
    })
    .await;
    let admin = host.admin();

    let mut destinations = Vec::new();
    let mut expected = Vec::new();
    for (name, reply, end) in rows() {
        let destination = Destination::always(reply).await;
        let webhook = bad_webhook(&admin, name, &destination.url("/secret-path?key=secret-key")).await;
        expected.push((name.to_owned(), webhook, end));
        destinations.push(destination);
    }
    for status in [301, 302, 303, 307, 308] {
        let name = format!("redirect {status}");
        let destination = Destination::always(Reply::redirect(status, &trap.url("/"))).await;
        let webhook = bad_webhook(&admin, &name, &destination.url("/secret-path?key=secret-key")).await;
        expected.push((name, webhook, Fails(Some(status), "status", "redirects are not followed")));
        destinations.push(destination);
    }
    let local = &["127.0.0.1", "localhost"];
    for (name, config, end) in [
        ("a good certificate", authority.issue(local), Delivered(200)),
        (
            "an untrusted certificate",
            certificate::self_signed(local),
            Fails(None, "tls", "not signed by a CA that this host trusts"),
        ),
        ("an expired certificate", authority.issue_until(local, 2001), Fails(None, "tls", "expired")),
        ("another's certificate", authority.issue(&["other.example"]), Fails(None, "tls", "another name")),
    ] {
        let destination = Destination::tls(config).await;
        let webhook = bad_webhook(&admin, name, &destination.url("/")).await;
        expected.push((name.to_owned(), webhook, end));
        destinations.push(destination);
    }
    let tls = Destination::tls(authority.issue(local)).await;
    let (plain, _plain) = talkative(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    let silent = Destination::start().await;
    for (name, url, end) in [
        ("TLS by name", tls.url_by_name("/"), Delivered(200)),
        ("plain HTTP to a TLS port", tls.url("/").replace("https:", "http:"), Fails(None, "protocol", "not HTTP")),
        ("TLS to a plain port", format!("https://{plain}/"), Fails(None, "tls", "does not speak TLS")),
        (
            "TLS to a port that waits",
            silent.url("/").replace("http:", "https:"),
            TimesOut(None, "tls", "the TLS handshake"),
        ),
        ("nothing listens", format!("http://127.0.0.1:{}/", closed_port().await), Fails(None, "connect", "refused")),
        // The trailing dot suppresses search domains. RFC 6761: no name server is queried.
        ("no such name", "http://nowhere.invalid./".into(), Fails(None, "dns", "nowhere.invalid")),
    ] {
        let webhook = bad_webhook(&admin, name, &url).await;
        expected.push((name.to_owned(), webhook, end));
    }

    let healthy = Destination::start().await;
    let good = admin.webhook(&healthy.url("/"), json!({})).await;
    let silence = expected.iter().position(|(name, ..)| name == "silence").expect("a row");
    let event = admin.event(&events::sample("report_ready")).await;
    destinations[silence].wait_for(1).await;
    for event in events::findings(20) {
        admin.event(&event).await;
    }
    healthy.wait_for(21).await;
    assert!(admin.history(&expected[silence].1).await.is_empty(), "the healthy webhook had to wait for the others");

    let mut wrong = Vec::new();
    for (name, webhook, end) in &expected {
        let attempt = admin.history_of(webhook, 1).await.remove(0);
        if let Err(what) = compare(&attempt, *end) {
            wrong.push(format!("{name}: {what}: {attempt}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(trap.connections(), 0, "a redirect or a proxy variable was followed");
    assert_eq!(healthy.received().len(), 21);
    assert!(admin.history(&good).await.iter().all(|attempt| attempt["success"] == true));

    let deliveries = admin.get(&format!("/events/{event}")).await.expect(200).json();
    for (name, webhook, end) in &expected {
        let delivery = deliveries["deliveries"].as_array().expect("a list").iter();
        let delivery = delivery.clone().find(|delivery| delivery["webhook_id"] == **webhook).expect("a delivery");
        let status = if matches!(end, Delivered(_)) { "delivered" } else { "pending" };
        assert_eq!((&delivery["status"], &delivery["attempts"]), (&json!(status), &json!(1)), "{name}");
        assert_eq!(delivery["next_attempt_at"].is_null(), status == "delivered", "{name}");
    }
    assert!(!host.log().contains("secret-"), "a URL's path or query is in the log");
}

/// Compares an attempt with the expected outcome; the error says how it differs.
fn compare(attempt: &Value, end: Expected) -> Result<(), String> {
    let (status, class, words) = match end {
        Delivered(status) => (Some(status), None, ""),
        Fails(status, class, words) => (status, Some(class), words),
        TimesOut(status, class, words) => (status, Some(class), words),
    };
    let must = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    must(attempt["success"] == class.is_none(), "success")?;
    must(attempt["status_code"] == json!(status), "the status")?;
    must(attempt["response_excerpt"].is_null() == status.is_none(), "an excerpt comes with a response")?;
    must(attempt["response_excerpt"].as_str().is_none_or(|text| text.len() <= 1024), "the excerpt is too long")?;
    let took = attempt["duration_ms"].as_u64().ok_or("no duration")?;
    match end {
        TimesOut(..) => must((TIMEOUT_MS..=TIMEOUT_MS + SLACK_MS).contains(&took), "its time was not kept")?,
        _ => must(took < TIMEOUT_MS, "it took all its time")?,
    }
    let Some(class) = class else { return must(attempt["error"].is_null(), "there is no error to tell of") };
    let error = attempt["error"].as_str().ok_or("no error")?;
    let sentence = error.strip_prefix(class).and_then(|rest| rest.strip_prefix(": ")).ok_or("the class")?;
    must(sentence.contains(words), "the words")?;
    must(sentence.split(' ').count() >= 4, "that is no sentence")?;
    for internal in ["hyper", "reqwest", "rustls", "os error", "Error(", "{", "(", "Some", "secret-"] {
        // Parentheses explain the code for people.
        let is_explained = internal == "(" && (sentence.contains("self-signed") || sentence.contains("TLS 1.2"));
        must(!sentence.contains(internal) || is_explained, "words for programmers")?;
    }
    let ended = time(&attempt["created_at"]) + Duration::from_millis(took);
    let wait = time(&attempt["next_attempt_at"]) - ended;
    let longest = time::Duration::minutes(RETRY_MINUTES);
    let slack = time::Duration::seconds(2);
    must((longest / 2 - slack..=longest + slack).contains(&wait), "the next attempt's time")
}

/// `Retry-After` is a floor for the wait after every response that is retried, up to a cap; an unreadable value is ignored.
#[tokio::test]
async fn retry_after_is_obeyed_up_to_its_cap() {
    let minutes = format!("{RETRY_MINUTES}min");
    let host = Host::with(|options| options.retry_every(&minutes)).await;
    let admin = host.admin();
    let in_future = |minutes: u64| {
        let at = std::time::SystemTime::now() + Duration::from_secs(minutes * 60);
        httpdate::fmt_http_date(at)
    };
    let usual = time::Duration::minutes(RETRY_MINUTES / 2)..=time::Duration::minutes(RETRY_MINUTES);
    let exactly = |minutes| time::Duration::minutes(minutes)..=time::Duration::minutes(minutes);
    let far = LONGEST_WAIT..=LONGEST_WAIT;
    let rows = [
        (429, "1200".to_owned(), exactly(20)),
        (503, "1200".to_owned(), exactly(20)),
        (429, in_future(20), exactly(20)),
        (429, in_future(60 * 24 * 365), far.clone()),
        (429, "3540".to_owned(), exactly(59)),
        (429, "3600".to_owned(), far.clone()),
        (429, "3660".to_owned(), far.clone()),
        (429, "1000000000".to_owned(), far.clone()),
        (429, "9".repeat(60), far.clone()),
        (429, "1".to_owned(), usual.clone()),
        (429, "0".to_owned(), usual.clone()),
        (429, "-1".to_owned(), usual.clone()),
        (429, "abc".to_owned(), usual.clone()),
        (429, "1200.5".to_owned(), usual.clone()),
        (429, "Sun, 06 Nov 1994 08:49:37 GMT".to_owned(), usual.clone()),
        (500, in_future(60 * 24 * 365), far),
        (500, "1".to_owned(), usual),
    ];
    let every = [302, 400, 401, 404, 408, 413, 425, 500, 502, 504, 529, 599];
    let rows: Vec<_> = rows.into_iter().chain(every.map(|status| (status, "1200".to_owned(), exactly(20)))).collect();
    let destination = Destination::start().await;
    let responses: Vec<_> = rows.iter().map(|(status, value, _)| (*status, value.clone())).collect();
    destination.decide(move |request| {
        let row: usize = request.path.trim_start_matches('/').parse().expect("a row's number");
        let (status, value) = &responses[row];
        Reply::full(*status, &[("Retry-After", value)], b"")
    });
    let mut webhooks = Vec::new();
    for row in 0..rows.len() {
        webhooks.push(admin.webhook(&destination.url(&format!("/{row}")), json!({})).await);
    }
    admin.event(&events::minimal("phase_changed")).await;
    for (webhook, (status, value, waits)) in webhooks.iter().zip(&rows) {
        let attempt = admin.history_of(webhook, 1).await.remove(0);
        assert_eq!(attempt["status_code"], *status);
        let ended = time(&attempt["created_at"]) + Duration::from_millis(attempt["duration_ms"].as_u64().expect("ms"));
        let wait = time(&attempt["next_attempt_at"]) - ended;
        let slack = time::Duration::seconds(3);
        let within = *waits.start() - slack..=*waits.end() + slack;
        assert!(within.contains(&wait), "{status}, {value}: the next attempt comes after {wait}");
    }
}

/// A 503 that names a time pauses the whole webhook, as a 429 does; after any other status the delivery waits alone.
#[tokio::test]
async fn a_503_with_a_time_pauses_the_webhook_and_a_500_does_not() {
    let host = Host::with(|options| options.retry_every("10ms")).await;
    let admin = host.admin();
    for (status, pauses) in [(503, true), (429, true), (500, false), (413, false), (302, false)] {
        let busy = Reply::full(status, &[("Retry-After", "1"), ("Retry-After", "3000"), ("Retry-After", "2")], b"");
        let destination = Destination::answering([busy]).await;
        let webhook = admin.webhook(&destination.url("/"), json!({})).await;
        admin.event(&events::minimal("phase_changed")).await;
        let waits = &admin.history_of(&webhook, 1).await[0]["next_attempt_at"];
        assert!(time(waits) - OffsetDateTime::now_utc() > time::Duration::minutes(49), "{status}: {waits}");
        admin.event(&events::minimal("report_ready")).await;
        if pauses {
            destination.stays_quiet(QUIET).await;
            assert_eq!(destination.received().len(), 1, "{status}: a request during the pause");
        } else {
            assert_eq!(destination.wait_for(2).await[1].header("x-webhook-event"), "report_ready", "{status}");
        }
        admin.delete(&format!("/webhooks/{webhook}")).await.expect(204);
    }
}

/// The halves of a batch that was too large go at once, whatever `Retry-After` says; a single event waits.
#[tokio::test]
async fn halves_of_a_batch_that_was_too_large_do_not_wait() {
    let host = Host::with(|options| options.retry_every("10min")).await;
    let admin = host.admin();
    let destination = Destination::start().await;
    destination.decide(|request| {
        let is_too_large = request.header("x-webhook-batch-size") != "1" || request.text().contains("too large alone");
        let headers: &[_] = if is_too_large { &[("Retry-After", "3000")] } else { &[] };
        Reply::full(if is_too_large { 413 } else { 200 }, headers, b"")
    });
    let fields = json!({"batch": {"max_events": 4, "max_wait_ms": 200}});
    let webhook = admin.webhook(&destination.url("/"), fields).await;
    let mut posted = events::findings(3);
    posted.push(events::finding("too large alone", "low"));
    admin.post("/events", &Value::Array(posted)).await.expect(202);
    // Four together, two and two, each alone.
    let received = destination.wait_for(7).await;
    assert_eq!(received.iter().filter(|request| request.header("x-webhook-batch-size") == "1").count(), 4);
    let history = eventually("all attempts", async || {
        let history = admin.history(&webhook).await;
        (history.len() == 12).then_some(history)
    })
    .await;
    let alone: Vec<_> = history.iter().filter(|attempt| attempt["note"].is_null()).collect();
    let waiting: Vec<_> = alone.iter().filter(|attempt| attempt["status_code"] == 413).collect();
    assert_eq!((alone.len(), waiting.len()), (4, 1), "{history:?}");
    let wait = time(&waiting[0]["next_attempt_at"]) - time(&waiting[0]["created_at"]);
    assert!(wait >= time::Duration::minutes(50), "{wait}");
}

/// Twice as many floods as the delivery runtime has threads: they do not delay any timer.
#[tokio::test]
async fn floods_delay_no_other_webhook() {
    let host = Host::with(|options| options.retry_every("10min")).await;
    let admin = host.admin();
    let mut floods = Vec::new();
    for reply in [Reply::endless_continue(Duration::ZERO), Reply::endless_head(200)].iter().cycle().take(8) {
        let flood = Destination::always(reply.clone()).await;
        bad_webhook(&admin, "flood", &flood.url("/")).await;
        floods.push(flood);
    }
    let slow = Destination::always(Reply::silence()).await;
    let slow_webhook = bad_webhook(&admin, "slow", &slow.url("/")).await;
    let healthy = Destination::start().await;
    admin.webhook(&healthy.url("/"), json!({})).await;
    admin.event(&events::minimal("report_ready")).await;
    for event in events::findings(10) {
        admin.event(&event).await;
    }
    healthy.wait_for(11).await;
    let attempt = admin.history_of(&slow_webhook, 1).await.remove(0);
    compare(&attempt, TimesOut(None, "timeout", "no response")).unwrap_or_else(|what| panic!("{what}: {attempt}"));
}
