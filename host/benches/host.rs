//! The whole host in one table: ingest and delivery throughput, latency, memory, compared with floors of the same run.
//!
//! `cargo bench --bench host` measures every row; `cargo bench --bench host -- ingest deliver` those of some groups, and
//! `-- json-10` the deliveries of one format and fan-out.
#![allow(missing_docs, clippy::disallowed_methods, reason = "a benchmark measures time")]

mod support;

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use support::{
    ADMIN, Bare, Collector, Counter, Host, Sink, Table, bare, event, events, events_of, per_second, runtime, send,
};

/// Concurrent clients that post single events.
const CLIENTS: usize = 64;
/// Concurrent clients that post requests of a hundred events.
const BATCH_CLIENTS: usize = 8;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let wants = |group: &str| wanted.is_empty() || wanted.iter().any(|word| word == group);
    let mut table = Table::new();
    runtime().block_on(async {
        let sink = Sink::start().await;
        let client = bare();
        // Warm-up: the first requests open connections and fill caches.
        send(&client, &sink.url(), None, CLIENTS, events(5_000)).await;
        let took = send(&client, &sink.url(), None, CLIENTS, events(60_000)).await;
        let loop_rate = per_second(60_000, took);
        if wants("ingest") {
            ingest(&mut table, &client, loop_rate).await;
        }
        if wants("expressions") {
            expressions(&mut table, &client).await;
        }
        for (format, fan_out, posts, goal) in [
            ("json", 1, 30_000, "0.30"),
            ("json", 10, 6_000, "0.60"),
            ("json", 100, 600, ""),
            ("slack", 1, 20_000, "0.25"),
            ("syslog", 1, 20_000, ""),
        ] {
            if !wants("deliver") && !wants(&format!("{format}-{fan_out}")) {
                continue;
            }
            let (rate, cpu) = deliver(&client, &sink, format, fan_out, posts).await;
            table.row(&format!("{format}, fan-out {fan_out}: deliveries/s"), rate, Some(loop_rate), goal);
            table.row("… the host's CPU for a delivery: us", cpu, None, "");
        }
        if wants("collect") {
            syslog(&mut table, &client).await;
            hec(&mut table, &client, &sink).await;
        }
        if wants("latency") {
            latency(&mut table, &client, &sink).await;
        }
        if wants("webhooks") {
            webhooks(&mut table, &client, &sink).await;
        }
        if wants("dead") {
            dead(&mut table, &client, &sink).await;
        }
        if wants("dying") {
            dying(&mut table, &client).await;
        }
        if wants("neighbours") {
            neighbours(&mut table, &client, &sink).await;
        }
        if wants("hanging") {
            hanging(&mut table, &client).await;
        }
    });
    table.finish();
}

async fn ingest(table: &mut Table, client: &Bare, loop_rate: f64) {
    let host = Host::start();
    send(client, &host.events(), Some(ADMIN), 16, events(500)).await;
    for (clients, posts, batch, goal) in
        [(1, 2_000, 1, ""), (16, 20_000, 1, ""), (256, 40_000, 1, "0.50"), (1, 200, 100, ""), (16, 1_600, 100, "0.70")]
    {
        let cpu = host.cpu();
        let took = send(client, &host.events(), Some(ADMIN), clients, bodies(posts, batch)).await;
        let cpu = (host.cpu() - cpu).as_secs_f64() * 1e6 / (posts * batch) as f64;
        let rate = per_second(posts * batch, took);
        let what = format!("{clients} clients x {batch}: events/s");
        table.row(
            &format!("{what} (floor: append and sync)"),
            rate,
            Some(append(clients * batch, posts * batch)),
            goal,
        );
        if batch == 1 {
            table.row("… (floor: the bare HTTP loop)", rate, Some(loop_rate), "");
        }
        table.row("… the host's CPU for an event: us", cpu, None, "");
    }
}

/// Accepted events with a hundred webhooks that have a hundred different expressions, beside a hundred whose engagement is
/// another one. None of them gets an event, so that only accepting is measured.
async fn expressions(table: &mut Table, client: &Bare) {
    for (clients, posts, batch) in [(16, 10_000, 1), (256, 20_000, 1), (16, 400, 100)] {
        let mut rates = Vec::new();
        for has_expressions in [false, true] {
            let host = Host::start();
            for number in 0..100 {
                let expression = format!(
                    "severity >= HIGH && finding.cvss >= 9.{number:02} && finding.target.startsWith('https://{number}.')"
                );
                let filter = match has_expressions {
                    true => serde_json::json!({ "expression": expression }),
                    false => serde_json::json!({ "engagement_ids": ["another"] }),
                };
                let webhook = serde_json::json!({
                    "name": format!("webhook {number}"), "url": "http://127.0.0.1:9/", "event_types": ["finding_added"],
                    "filter": filter,
                });
                host.create(client, &webhook).await;
            }
            send(client, &host.events(), Some(ADMIN), 16, events(500)).await;
            let cpu = host.cpu();
            let took = send(client, &host.events(), Some(ADMIN), clients, bodies(posts, batch)).await;
            let cpu = (host.cpu() - cpu).as_secs_f64() * 1e6 / (posts * batch) as f64;
            rates.push((per_second(posts * batch, took), cpu));
        }
        let [(without, _), (with, cpu)] = rates[..] else { unreachable!("two hosts") };
        let what = format!("100 expressions, {clients} clients x {batch}: events/s (floor: none)");
        table.row(&what, with, Some(without), "");
        table.row("… the host's CPU for an event: us", cpu, None, "");
    }
}

fn bodies(posts: usize, batch: usize) -> Arc<Vec<Bytes>> {
    if batch == 1 {
        return events(posts);
    }
    let body = Bytes::from(format!("[{}]", vec![event(); batch].join(",")));
    Arc::new(vec![body; posts])
}

/// The floor of group commit: events per second when `group` of them are appended and synced at once, for at most 5 s.
fn append(group: usize, events: usize) -> f64 {
    let mut file = tempfile::tempfile().expect("a file");
    let bytes = event().repeat(group);
    let start = Instant::now();
    let mut written = 0;
    while written < events && start.elapsed() < Duration::from_secs(5) {
        file.write_all(bytes.as_bytes()).expect("written");
        file.sync_data().expect("synced");
        written += group;
    }
    per_second(written, start.elapsed())
}

/// Deliveries per second, from the first post to the last arrival, and the host's CPU time per delivery in microseconds.
async fn deliver(client: &Bare, sink: &Sink, format: &str, fan_out: usize, posts: usize) -> (f64, f64) {
    let host = Host::start();
    for number in 0..fan_out {
        host.webhook(client, &sink.url(), format, number).await;
    }
    warm_up(client, sink, &host, fan_out).await;
    measure(client, sink, &host, fan_out, posts).await
}

async fn measure(client: &Bare, sink: &Sink, host: &Host, fan_out: usize, posts: usize) -> (f64, f64) {
    post_and_wait(client, sink, host, CLIENTS, events(posts), posts * fan_out).await
}

/// Posts events and waits for their deliveries: deliveries per second, from the first post to the last arrival, and the
/// host's CPU time per delivery in microseconds.
async fn post_and_wait(
    client: &Bare,
    counter: &Counter,
    host: &Host,
    clients: usize,
    posts: Arc<Vec<Bytes>>,
    deliveries: usize,
) -> (f64, f64) {
    let (from, cpu, start) = (counter.received(), host.cpu(), Instant::now());
    send(client, &host.events(), Some(ADMIN), clients, posts).await;
    let received = counter.wait(from, deliveries, Duration::from_secs(120)).await;
    assert!(received >= deliveries, "{received} of {deliveries}");
    let rate = per_second(deliveries, start.elapsed());
    (rate, (host.cpu() - cpu).as_secs_f64() * 1e6 / deliveries as f64)
}

/// The same for requests of a hundred events and one webhook, after a warm-up.
async fn in_hundreds(client: &Bare, counter: &Counter, host: &Host, posts: usize) -> (f64, f64) {
    post_and_wait(client, counter, host, BATCH_CLIENTS, bodies(20, 100), 2_000).await;
    post_and_wait(client, counter, host, BATCH_CLIENTS, bodies(posts, 100), posts * 100).await
}

async fn warm_up(client: &Bare, sink: &Sink, host: &Host, fan_out: usize) {
    let (from, posts) = (sink.received(), 2_000 / fan_out.min(20));
    send(client, &host.events(), Some(ADMIN), CLIENTS, events(posts)).await;
    sink.wait(from, posts * fan_out, Duration::from_secs(60)).await;
}

/// Messages over one TCP connection to a syslog collector, one by one and in batches, compared with a loop that writes
/// messages of the same size to a socket without waiting.
async fn syslog(table: &mut Table, client: &Bare) {
    let collector = Collector::start().await;
    for (what, batch, posts) in [
        ("one by one", serde_json::Value::Null, 200),
        ("batches of 100", serde_json::json!({"max_events": 100, "max_wait_ms": 20}), 800),
    ] {
        let host = Host::start();
        let webhook = serde_json::json!({
            "name": "collector", "url": format!("syslog+tcp://{}", collector.address),
            "event_types": ["*"], "format": "syslog", "batch": batch,
        });
        host.create(client, &webhook).await;
        let (rate, cpu) = in_hundreds(client, &collector, &host, posts).await;
        let floor = collector.bare(400_000).await;
        table.row(&format!("syslog+tcp, {what}: messages/s (floor: bare socket)"), rate, Some(floor), "");
        table.row("… the host's CPU for a message: us", cpu, None, "");
    }
}

/// Events to an HTTP Event Collector in batches, compared with a loop that posts bodies of the same size.
async fn hec(table: &mut Table, client: &Bare, sink: &Sink) {
    let host = Host::start();
    let webhook = serde_json::json!({
        "name": "collector", "url": sink.url(), "event_types": ["*"], "format": "splunk-hec",
        "headers": {"Authorization": "Splunk 11111111-2222-3333-4444-555555555555"},
        "batch": {"max_events": 100, "max_wait_ms": 20},
    });
    host.create(client, &webhook).await;
    let posts = 800;
    let (rate, cpu) = in_hundreds(client, sink, &host, posts).await;
    let bodies = Arc::new(vec![Bytes::from(vec![b'x'; sink.size()]); posts]);
    let floor = per_second(posts * 100, send(client, &sink.url(), None, BATCH_CLIENTS, bodies).await);
    table.row("HEC, batches of 100: events/s (floor: bare HTTP loop)", rate, Some(floor), "");
    table.row("… the host's CPU for an event: us", cpu, None, "");
}

/// Latency from post to arrival, on an idle host and on one at half of its full load.
async fn latency(table: &mut Table, client: &Bare, sink: &Sink) {
    let probe = Sink::start().await;
    let host = Host::start();
    host.webhook_for(client, &probe.url(), "json", 0, &["report_ready"]).await;
    host.webhook_for(client, &sink.url(), "json", 1, &["finding_added"]).await;
    let from = sink.received();
    send(client, &host.events(), Some(ADMIN), CLIENTS, events(2_000)).await;
    sink.wait(from, 2_000, Duration::from_secs(60)).await;
    let idle = probe_latency(client, &host, &probe, 500).await;
    table.row("latency, post to sink, idle: p50 ms", idle.0, None, "5");
    table.row("… p99 ms", idle.1, None, "15");
    let (full, _) = measure(client, sink, &host, 1, 10_000).await;
    let load = support::Load::start(client, &host.events(), full / 2.0);
    let half = probe_latency(client, &host, &probe, 1_000).await;
    load.stop().await;
    table.row("latency at half load: p50 ms", half.0, None, "5");
    table.row("… p99 ms", half.1, None, "15");
}

/// p50 and p99 of the latency in milliseconds.
async fn probe_latency(client: &Bare, host: &Host, probe: &Sink, probes: usize) -> (f64, f64) {
    quantiles(latencies(client, host, probe, probes).await)
}

/// p50 and p99 in milliseconds.
fn quantiles(mut took: Vec<Duration>) -> (f64, f64) {
    took.sort_unstable();
    let ms = |share: f64| took[(took.len() as f64 * share) as usize].as_secs_f64() * 1e3;
    (ms(0.5), ms(0.99))
}

/// The time from post to sink of so many events, one after the other.
async fn latencies(client: &Bare, host: &Host, probe: &Sink, probes: usize) -> Vec<Duration> {
    let body = Bytes::from_static(br#"{"type":"report_ready","data":{"report":{"title":"probe"}}}"#);
    let body = Arc::new(vec![body]);
    let mut took = Vec::new();
    for _ in 0..probes {
        let (from, start) = (probe.received(), Instant::now());
        send(client, &host.events(), Some(ADMIN), 1, Arc::clone(&body)).await;
        assert_eq!(probe.wait(from, 1, Duration::from_secs(10)).await, 1);
        took.push(start.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    took
}

/// Ten webhooks, then ten thousand of which the same ten match the events; then a long history.
async fn webhooks(table: &mut Table, client: &Bare, sink: &Sink) {
    let host = Host::start();
    for number in 0..10 {
        host.webhook_for(client, &sink.url(), "json", number, &["finding_added"]).await;
    }
    warm_up(client, sink, &host, 10).await;
    // The only event of its finding, the oldest that a search has to find.
    let from = sink.received();
    let rare = events_of(1, |text| text.replace("F-0101", "F-0407"));
    send(client, &host.events(), Some(ADMIN), 1, rare).await;
    sink.wait(from, 10, Duration::from_secs(10)).await;
    let (few, _) = measure(client, sink, &host, 10, 3_000).await;
    for number in 10..10_000 {
        host.webhook_for(client, &sink.url(), "json", number, &["report_ready"]).await;
    }
    let (many, _) = measure(client, sink, &host, 10, 3_000).await;
    table.row("10,000 webhooks, fan-out 10: deliveries/s (floor: 10)", many, Some(few), "0.90");
    table.row("… resident memory: MiB", host.resident_kib() as f64 / 1024.0, None, "");
    // The history has more than a hundred thousand attempts by now; fill it up to a million.
    let mut made = 0;
    while made < 1_000_000 {
        let (from, posts) = (sink.received(), 20_000);
        send(client, &host.events(), Some(ADMIN), CLIENTS, events(posts)).await;
        made += sink.wait(from, posts * 10, Duration::from_secs(300)).await;
    }
    let (late, _) = measure(client, sink, &host, 10, 3_000).await;
    table.row("a history of 1,000,000 attempts: deliveries/s (floor: none)", late, Some(few), "0.90");
    table.row("… resident memory: MiB", host.resident_kib() as f64 / 1024.0, None, "");
    search(table, client, &host).await;
}

/// Pages of the lists over everything, with so long a history; the goal is for any of them.
async fn search(table: &mut Table, client: &Bare, host: &Host) {
    for (path, is_empty) in [
        ("/deliveries", false),
        ("/deliveries?success=false", true),
        ("/deliveries?finding_id=F-0101", false),
        ("/deliveries?finding_id=F-0407", false),
        ("/deliveries?finding_id=F-9999", true),
        ("/deliveries?engagement_id=eng-9&success=true", true),
        ("/events?finding_id=F-0407", false),
        ("/events?finding_id=F-9999", true),
        ("/events?min_severity=critical", true),
    ] {
        let mut took = Vec::new();
        for _ in 0..SEARCHES {
            let start = Instant::now();
            let (status, body) = host.read(client, path).await;
            assert_eq!(status, StatusCode::OK, "{path}");
            assert_eq!(body == "[]", is_empty, "{path}");
            took.push(start.elapsed());
        }
        let (median, _) = quantiles(took);
        table.row(&format!("GET {path}: ms, median of {SEARCHES}"), median, None, "20");
    }
}

/// Webhooks whose destinations die at once, and a healthy one beside: first alone, then while they are switched off and
/// until the first probe of each was made.
async fn dying(table: &mut Table, client: &Bare) {
    let probe = Sink::start().await;
    let host = Host::with(&["--breaker-threshold", "1"]);
    host.webhook_for(client, &probe.url(), "json", 0, &["report_ready"]).await;
    for number in 0..1000 {
        let body = serde_json::json!({
            // Nothing listens on the discard port.
            "name": format!("dying {number}"), "url": format!("http://127.0.0.1:9/{number}"),
            "event_types": ["finding_added"], "retry_count": 0,
        });
        host.create(client, &body).await;
    }
    probe_latency(client, &host, &probe, 100).await;
    let alone = probe_latency(client, &host, &probe, 8000).await;
    send(client, &host.events(), Some(ADMIN), 1, events(1)).await;
    let (until, mut took) = (Instant::now() + FIRST_PROBES, Vec::new());
    while Instant::now() < until {
        took.extend(latencies(client, &host, &probe, 100).await);
    }
    let beside = quantiles(took);
    table.row("healthy p50 beside 1,000 that die at once: ms (floor: alone)", beside.0, Some(alone.0), "<1.20");
    table.row("healthy p99 beside 1,000 that die at once: ms (floor: alone)", beside.1, Some(alone.1), "<1.20");
}

/// A hundred webhooks at a steady rate, without and with a dead one among them.
async fn dead(table: &mut Table, client: &Bare, sink: &Sink) {
    let probe = Sink::start().await;
    let silent = support::Silent::start().await;
    let host = Host::start();
    host.webhook_for(client, &probe.url(), "json", 0, &["report_ready"]).await;
    for number in 1..99 {
        host.webhook_for(client, &sink.url(), "json", number, &["finding_added"]).await;
    }
    let load = support::Load::start(client, &host.events(), 20.0);
    probe_latency(client, &host, &probe, 100).await;
    let alone = probe_latency(client, &host, &probe, 800).await;
    host.webhook_for(client, &silent.url(), "json", 100, &["finding_added"]).await;
    let beside = probe_latency(client, &host, &probe, 800).await;
    load.stop().await;
    table.row("healthy p99 beside a dead one of a hundred: ms (floor: alone)", beside.1, Some(alone.1), "<1.20");
}

/// Times that a page of a list is read.
const SEARCHES: usize = 21;
/// By then each webhook that was switched off was probed once: after a minute, with a tenth of jitter.
const FIRST_PROBES: Duration = Duration::from_secs(70);
/// Probes of one round beside a neighbour.
const PROBES: usize = 800;
/// Rounds beside a neighbour and alone, in turn: a p99 of one round depends on what the disk does in that second.
const ROUNDS: usize = 3;
/// Connections that preview at the same time.
const PREVIEWERS: usize = 64;

/// A formatter that takes `turns` turns of a loop; without end on an event that contains the word `Boom`, as no sample
/// does.
fn turns(name: &str, turns: u32) -> Vec<u8> {
    let (loops, counts) = (support::component::on_the_word("(loop (br 0))"), support::component::turns(turns, ""));
    let code = format!("(local $at i32) (local $end i32) (local $left i32) {loops} {counts} (i32.const 528)");
    support::component::Handmade::new(name, "1.0.0", "x").format(&code).build()
}

/// Instructions of a call that is far enough from the limit of 200,000,000.
const MOST_INSTRUCTIONS: f64 = 180e6;

/// Turns that take about this long on this machine, or as long as the limit on instructions allows.
async fn turns_for(client: &Bare, host: &Host, wanted: Duration) -> u32 {
    const TURNS: u32 = 5_000_000;
    host.install(client, "gauge", turns("gauge", TURNS)).await;
    let (mut took, mut instructions) = (Vec::new(), 0.0);
    for _ in 0..9 {
        let (_, body) = host.preview(client, &format!("Bearer {ADMIN}"), "gauge", &event()).await;
        let preview: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        took.push(preview["duration_us"].as_f64().expect("a duration"));
        instructions = preview["instructions"].as_f64().expect("a count");
    }
    took.sort_by(f64::total_cmp);
    let turns = f64::from(TURNS) * wanted.as_secs_f64() * 1e6 / took[took.len() / 2];
    turns.min(f64::from(TURNS) * MOST_INSTRUCTIONS / instructions) as u32
}

/// A json webhook's latency beside formatters that are slow or loop, and beside looping previews. The formatters are the
/// same in every measurement; the neighbours' deliveries are paused where they are not measured, since they are queued
/// only then.
async fn neighbours(table: &mut Table, client: &Bare, sink: &Sink) {
    let probe = Sink::start().await;
    for (what, neighbour) in [
        ("a formatter of 35 ms at full rate", Neighbour::Takes(35)),
        ("a formatter of 3 ms at full rate", Neighbour::Takes(3)),
        ("a formatter that loops to its limit", Neighbour::Loops),
        ("64 connections that preview a loop", Neighbour::Previews),
    ] {
        let (mut with, mut alone) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            with.extend(beside(client, &probe, sink, neighbour).await);
            alone.extend(beside(client, &probe, sink, Neighbour::None).await);
        }
        let (with, alone) = (quantiles(with), quantiles(alone));
        table.row(&format!("json beside {what}: p50 ms"), with.0, Some(alone.0), "<1.20");
        table.row("… p99 ms", with.1, Some(alone.1), "<1.20");
    }
}

#[derive(Clone, Copy)]
enum Neighbour {
    None,
    /// Each call takes so many milliseconds.
    Takes(u64),
    Loops,
    Previews,
}

async fn beside(client: &Bare, probe: &Sink, sink: &Sink, neighbour: Neighbour) -> Vec<Duration> {
    let host = Host::with(&["--breaker-threshold", "1000000"]);
    host.webhook_for(client, &probe.url(), "json", 0, &["report_ready"]).await;
    let ms = if let Neighbour::Takes(ms) = neighbour { ms } else { 1 };
    let turns_of_call = turns_for(client, &host, Duration::from_millis(ms)).await;
    host.install(client, "slow", turns("slow", turns_of_call)).await;
    host.webhook_for(client, &sink.url(), "slow", 1, &["finding_added"]).await;
    probe_latency(client, &host, probe, 200).await;
    let boom = event().replace("SQL", "Boom");
    let mut previewers = tokio::task::JoinSet::<()>::new();
    match neighbour {
        Neighbour::None => {}
        // More than it can do while it is measured.
        Neighbour::Takes(ms) => {
            let backlog = usize::try_from(20_000 / ms).expect("few");
            send(client, &host.events(), Some(ADMIN), 16, events(backlog)).await;
        }
        Neighbour::Loops => {
            let body = Bytes::from(boom.clone());
            send(client, &host.events(), Some(ADMIN), 16, Arc::new(vec![body; 1000])).await;
        }
        Neighbour::Previews => {
            let tokens = [host.token(client, "pentester").await, host.token(client, "ingest").await];
            for number in 0..PREVIEWERS {
                let (client, token, boom) = (client.clone(), tokens[number % 2].clone(), boom.clone());
                let url = host.url.clone();
                previewers.spawn(async move {
                    loop {
                        support::preview(&client, &url, &token, "slow", &boom).await;
                    }
                });
            }
        }
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let measured = latencies(client, &host, probe, PROBES).await;
    previewers.shutdown().await;
    measured
}

/// A healthy webhook, new ones and one whose first attempts fail, beside destinations that hold every attempt for 10 s.
async fn hanging(table: &mut Table, client: &Bare) {
    let mut alone = None;
    for count in [0, 7, 50, 500] {
        let host = Host::with(&["--retry-base", "1s", "--breaker-threshold", "1000000"]);
        let (probe, new) = (Sink::start().await, Sink::start().await);
        let (failing, silent) = (Sink::failing_first().await, support::Silent::start().await);
        host.webhook_for(client, &probe.url(), "json", 0, &["report_ready"]).await;
        host.webhook_for(client, &failing.url(), "json", 1, &["phase_changed"]).await;
        for number in 0..count {
            let webhook = serde_json::json!({
                "name": format!("hangs {number}"), "url": format!("{}/{number}", silent.url()),
                "event_types": ["finding_added"], "timeout_ms": 10_000,
            });
            host.create(client, &webhook).await;
        }
        probe_latency(client, &host, &probe, 50).await;
        // From here on they hang, and more is due all the time.
        let load = support::Load::start(client, &host.events(), 2.0);
        let post = async |body: &'static str| {
            send(client, &host.events(), Some(ADMIN), 1, Arc::new(vec![Bytes::from_static(body.as_bytes())])).await;
        };
        let (mut firsts, mut retries) = (Duration::ZERO, Duration::ZERO);
        for number in 0..20 {
            host.webhook_for(client, &new.url(), "json", number, &["monitor_alert"]).await;
            let (from, start) = (new.received(), Instant::now());
            post(r#"{"type":"monitor_alert","data":{"monitor":{"name":"new"}}}"#).await;
            let arrived = new.wait(from, number + 1, Duration::from_secs(60)).await;
            assert_eq!(arrived, number + 1, "the first event of the new webhook, and one for each before it");
            firsts = firsts.max(start.elapsed());
            let from = failing.received();
            post(r#"{"type":"phase_changed","data":{"phase":{"name":"exploitation"}}}"#).await;
            failing.wait(from, 1, Duration::from_secs(60)).await;
            let start = Instant::now();
            assert_eq!(failing.wait(from, 2, Duration::from_secs(60)).await, 2);
            retries = retries.max(start.elapsed());
        }
        let healthy = probe_latency(client, &host, &probe, 500).await;
        load.stop().await;
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let beside = format!("beside {count} that hang:");
        table.row(&format!("{beside} a new webhook's first event, longest: ms"), ms(firsts), None, "500");
        table.row(&format!("{beside} a retry due after 500 to 1000 ms, longest: ms"), ms(retries), None, "1500");
        table.row(&format!("{beside} healthy p50: ms"), healthy.0, None, "");
        table.row(&format!("{beside} healthy p99: ms (floor: beside none)"), healthy.1, alone, "<1.20");
        alone = alone.or(Some(healthy.1));
    }
}
