//! Thousands of swaps of a component under steady traffic.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Semaphore;

use crate::support::{Destination, Handmade, Host, events};

/// Swaps in a usual run, and in the long one.
const SHORT: usize = 60;
const LONG: usize = 3000;
/// Events posted during one swap, each by itself. Few, since an event costs the store some hundred bytes of memory for as
/// long as it is kept, and what is measured are the swaps.
const EVENTS_A_SWAP: usize = 2;

#[tokio::test]
async fn swaps_lose_and_fail_nothing() {
    swap(SHORT).await;
}

#[tokio::test]
#[ignore = "takes minutes: three thousand swaps"]
async fn three_thousand_swaps_lose_and_fail_nothing_and_memory_stays_flat() {
    swap(LONG).await;
}

#[expect(clippy::print_stdout, reason = "the tally is the purpose of the long run")]
async fn swap(swaps: usize) {
    // The store's cache and the cache of rendered payloads grow with the events, not with the swaps: the first is kept
    // small, the second (4,096 payloads) is filled before anything is measured.
    // Huge pages are off, since how many the kernel has filled at a moment is up to a twelfth of the memory.
    let host = Host::with(|options| options.args(["--cache", "1MiB"]).env("MIMALLOC_ALLOW_THP", "0")).await;
    let admin = host.admin();
    let destination = Destination::start().await;
    // Ten versions in turn: after the first round, compiled code comes from the disk cache.
    let versions: Vec<Vec<u8>> = (0..10)
        .map(|number| Handmade::new("swapped", &format!("1.0.{number}"), &format!("version {number}")).build())
        .collect();
    admin.install("swapped", &versions[0]).await.expect(201);
    let webhook = admin.webhook(&destination.url("/"), json!({"format": "swapped"})).await;

    let before = if swaps == LONG { 5000 } else { 0 };
    for _ in 0..before / 500 {
        admin.post("/events", &json!(events::findings(500))).await.expect(202);
    }
    destination.wait_for(before).await;
    // As much traffic for each swap on every machine, since events cost memory too.
    let turns = Arc::new(Semaphore::new(0));
    let traffic = tokio::spawn({
        let (admin, turns) = (admin.clone(), Arc::clone(&turns));
        async move {
            let mut sent = 0;
            while let Ok(turn) = turns.acquire().await {
                turn.forget();
                admin.post("/events", &json!(events::findings(1))).await.expect(202);
                sent += 1;
            }
            sent
        }
    });
    // What the store and the allocator have not given back yet comes and goes, about once in a thousand swaps: the least of
    // each third is compared.
    let (mut warm, mut now) = (u64::MAX, u64::MAX);
    for swap in 0..swaps {
        let number = (swap + 1) % versions.len();
        turns.add_permits(EVENTS_A_SWAP);
        admin.install("swapped", &versions[number]).await.expect(200);
        match swap * 3 / swaps {
            1 => warm = warm.min(host.resident_kib()),
            2 => now = now.min(host.resident_kib()),
            _ => {}
        }
    }
    turns.close();
    let sent: usize = before + traffic.await.expect("the traffic ended well");
    let received = destination.wait_for(sent).await;
    assert_eq!(received.len(), sent);
    assert!(received.iter().all(|request| request.text().starts_with("version ")));
    let failed = admin.get(&format!("/webhooks/{webhook}/deliveries?success=false")).await.expect(200).list();
    assert!(failed.is_empty(), "{failed:?}");
    let webhook = admin.get(&format!("/webhooks/{webhook}")).await.expect(200).json();
    assert_eq!((&webhook["failure_count"], &webhook["is_active"]), (&json!(0), &json!(true)));
    println!(
        "{swaps} swaps, {sent} deliveries, failed 0, lost 0; resident {warm} KiB in the second third, {now} KiB in the last"
    );
    // A short run is still filling caches; in the long one they are full after a fifth.
    if swaps == LONG {
        assert!(now * 100 <= warm * 105, "resident memory grew from {warm} to {now} KiB");
    }
}
