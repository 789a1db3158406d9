//! Clients that are many, slow or silent.

use super::*;
use crate::support::events;

/// Responses that a client asks for and never reads, far more than the kernel buffers.
const PIPELINED: usize = 50;

#[tokio::test]
async fn clients_that_never_read_do_not_keep_others_out() {
    let few_files = ["sh", "-c", "ulimit -n 256 && exec \"$0\" \"$@\""];
    let host = Host::with(|options| options.under(few_files)).await;
    let destination = Destination::start().await;
    host.admin().webhook(&destination.url("/"), json!({})).await;
    let request = "GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n".repeat(PIPELINED);
    let mut crowd = Vec::new();
    for _ in 0..260 {
        let mut stream = TcpStream::connect(address(&host)).await.expect("a connection");
        // One that is turned away may be closed already.
        let _ = stream.write_all(request.as_bytes()).await;
        crowd.push(stream);
    }
    // Everybody else is served, and deliveries are made.
    for _ in 0..5 {
        eventually("a place", async || {
            let reply = raw(address(&host), LAST.as_bytes()).await;
            assert!(matches!(statuses(&reply)[..], [200 | 503]), "{reply:?}");
            (statuses(&reply) == [200]).then_some(())
        })
        .await;
    }
    eventually("an event to be accepted", async || {
        let request = host.admin().request("POST", "/events").json(&events::finding("x", "low"));
        (request.try_send().await?.status() == 202).then_some(())
    })
    .await;
    destination.wait_for(1).await;
    // Nobody was left without a word.
    for (number, mut stream) in crowd.into_iter().enumerate() {
        let mut reply = [0; 12];
        let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut reply)).await.expect("a word");
        assert!(read.is_ok() && [b"HTTP/1.1 200", b"HTTP/1.1 503"].contains(&&reply), "{number}: {read:?} {reply:?}");
    }
    assert!(!host.log().contains("cannot accept"), "{}", host.log());
}

#[tokio::test]
async fn a_host_without_file_descriptors_accepts_again_when_it_has_some() {
    let host = Host::start().await;
    host.limit_files(8);
    let mut stream = TcpStream::connect(address(&host)).await.expect("the kernel accepts");
    stream.write_all(LAST.as_bytes()).await.expect("written");
    host.logged("cannot accept a connection").await;
    host.limit_files(1024);
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.expect("a response");
    assert_eq!(statuses(&reply), [200], "{reply}");
    // It was tried many times, and said once.
    assert_eq!(host.log().matches("cannot accept a connection").count(), 1, "{}", host.log());
}

#[tokio::test]
async fn the_limits_on_connections_are_settings() {
    let host = Host::with(|options| options.args(["--connections", "3", "--connections-per-address", "2"])).await;
    let (_first, _second) = (TcpStream::connect(address(&host)).await, TcpStream::connect(address(&host)).await);
    let reply = raw(address(&host), LAST.as_bytes()).await;
    // Where this test was held up, the first has kept the host waiting long enough.
    assert!(matches!(statuses(&reply)[..], [503 | 200]), "{reply}");
    eventually("a place", async || (statuses(&raw(address(&host), LAST.as_bytes()).await) == [200]).then_some(()))
        .await;
}

#[tokio::test]
async fn series_of_webhooks_are_bounded() {
    let host = Host::with(|options| options.args(["--metrics-webhooks", "2", "--breaker-threshold", "1"])).await;
    let admin = host.admin();
    let destination = Destination::always(Reply::status(500)).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(admin.webhook(&destination.url("/"), json!({"retry_count": 0})).await);
    }
    admin.event(&events::minimal("report_ready")).await;
    let shown = async || {
        let text = admin.outside().get("/metrics").await.expect(200).text().to_owned();
        let lines = text.lines().filter(|line| line.starts_with("heraldry_webhook_tripped{")).map(str::to_owned);
        let mut lines: Vec<String> = lines.collect();
        lines.sort();
        (lines, text)
    };
    let series = |webhook: &str, count: usize| format!("heraldry_webhook_tripped{{webhook=\"{webhook}\"}} {count}");
    let all = "heraldry_webhooks{state=\"tripped\"} 4";
    let (lines, _) =
        eventually("all to be tripped", async || Some(shown().await).filter(|(_, text)| text.contains(all))).await;
    let mut expected = vec![series(&ids[0], 1), series(&ids[1], 1), series("others", 2)];
    expected.sort();
    assert_eq!(lines, expected, "the oldest ones have series of their own");
    // One recovers: the next oldest takes its place.
    admin.put(&format!("/webhooks/{}", ids[0]), &json!({"is_active": true})).await.expect(200);
    let mut expected = vec![series(&ids[1], 1), series(&ids[2], 1), series("others", 1)];
    expected.sort();
    assert_eq!(shown().await.0, expected);
    admin.put(&format!("/webhooks/{}", ids[1]), &json!({"is_active": true})).await.expect(200);
    assert!(shown().await.0.iter().all(|line| !line.contains("others")), "exactly as many as the limit");
}
