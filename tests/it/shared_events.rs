//! Real events, if a folder of them is beside the project.

use std::path::Path;

use serde_json::json;

use crate::support::{Destination, Host};

/// The files, each with its number of events.
const FILES: [(&str, usize); 2] = [("scanner-findings.jsonl", 68), ("lifecycle.jsonl", 13)];

#[tokio::test]
async fn real_events_are_accepted_and_delivered_in_every_format() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/events");
    if !folder.is_dir() {
        println!("skipped: there is no folder ../shared/events beside the project");
        return;
    }
    let host = Host::start().await;
    let admin = host.admin();
    let all = admin.get("/formatters").await.expect(200).list();
    let built_in = all.iter().filter(|formatter| formatter["origin"] == "built-in");
    let formats: Vec<&str> = built_in.map(|formatter| formatter["name"].as_str().expect("a name")).collect();
    assert_eq!(formats.len(), 10, "{formats:?}");
    let destination = Destination::start().await;
    // These formats support findings and alerts only.
    let supports_all = |format: &str| !["ocsf", "pagerduty"].contains(&format);
    let all_type_formats = || formats.iter().filter(|format| supports_all(format));
    for format in all_type_formats() {
        admin.webhook(&destination.url(&format!("/{format}")), json!({"format": format})).await;
    }
    let mut expected = 0;
    for (file, count) in FILES {
        let text = std::fs::read_to_string(folder.join(file)).expect("a file of events");
        let events: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        assert_eq!(events.len(), count, "{file}");
        for (number, event) in events.iter().enumerate() {
            for format in formats.iter().filter(|format| file == FILES[0].0 || supports_all(format)) {
                let body = format!("{{\"event\":{event}}}");
                let preview = admin.post_text(&format!("/formatters/{format}/preview"), body).await;
                let preview = preview.expect(200).json();
                let body = preview["body"].as_str().unwrap_or_default();
                assert!(body.len() > 20, "{file}, line {}, {format}: {preview}", number + 1);
                assert!(!preview["content_type"].as_str().unwrap_or_default().is_empty());
            }
        }
        let receipts = admin.post_lines("/events", text).await.expect(202).list();
        assert_eq!(receipts.len(), count, "{file}");
        let warned: Vec<_> = receipts.iter().filter(|receipt| receipt.get("warnings").is_some()).collect();
        assert!(warned.is_empty(), "{file}: every member is a usual one: {warned:?}");
        let deliveries = receipts.iter().map(|receipt| receipt["deliveries"].as_u64().expect("a number"));
        expected += usize::try_from(deliveries.sum::<u64>()).expect("not many");
    }
    assert!(expected >= (68 + 13) * all_type_formats().count(), "{expected} deliveries");
    let received = destination.wait_for(expected).await;
    let mut ids: Vec<&str> = received.iter().map(|request| request.delivery()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), received.len()), (expected, expected), "each arrives once");
}
