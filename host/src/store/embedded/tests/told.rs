//! Host events of the writer: what a full disk does to them, and what is told of one.

use std::sync::atomic::Ordering;

use super::faults::{Fault, Step as DiskStep};
use super::inline::open_inline;
use crate::model::audit::Actor;
use crate::model::delivery::Step;
use crate::model::event::EventType;
use crate::model::host_event::{About, HostEvent, HostPart};
use crate::model::id::TokenId;
use crate::model::webhook::expression::ExpressionVerdict;
use crate::model::webhook::{Filter, Subscription, WebhookConfig};
use crate::store::conformance::{Opened, START_MS, attempt, config, event, folder_in_memory};
use crate::store::{AcceptError, Outcome, StoreError};

/// The host events of a store: their types, and what stands in their group.
async fn told(opened: &Opened) -> Vec<(EventType, serde_json::Value)> {
    let mut told = Vec::new();
    for id in opened.store.accepted().into_iter().flat_map(|(_, events)| events) {
        let event = opened.store.event(id).await.expect("read").expect("there").event;
        if event.event_type.is_host() {
            let json: serde_json::Value = serde_json::from_str(&event.json).expect("JSON");
            told.push((event.event_type, json["data"][event.event_type.group()].clone()));
        }
    }
    told
}

fn later(opened: &Opened, ms: i64) {
    opened.clock.0.fetch_add(ms, Ordering::Relaxed);
    opened.store.tick();
}

#[tokio::test]
async fn a_full_disk_is_told_of_once_there_is_space_and_what_happened_meanwhile_too() {
    let folder = folder_in_memory();
    let opened = open_inline(folder.path(), START_MS);
    let webhook = opened.webhook().await;
    opened.post(event(None, 1)).await;
    let (key, item) = opened.due().remove(0);
    opened.store.faults().fail(DiskStep::Write, 1, 1000, Fault::NoSpace);
    let rejected = opened.accept(TokenId::from_bytes([1; 16]), None, vec![event(None, 2)]).await;
    assert_eq!(rejected, Err(AcceptError::Store(StoreError::Full)));
    let failed = Step::Failed { deactivate: None };
    let outcome = Outcome::new(webhook.id, item.clone(), Some(attempt(&item, false)), failed, Some(key));
    opened.store.record(vec![outcome]);
    later(&opened, 30_000);
    later(&opened, 60_000);
    assert_eq!(told(&opened).await, []);
    opened.store.faults().release();
    (0..3).for_each(|_| later(&opened, 1000));
    let mut told = told(&opened).await;
    told.sort_by_key(|(event_type, _)| *event_type);
    let types: Vec<_> = told.iter().map(|(event_type, _)| *event_type).collect();
    assert_eq!(types, [EventType::WebhookFailing, EventType::HostDegraded]);
    assert_eq!(told[0].1["reason"], "status: it answered 500");
    assert_eq!(told[1].1["kind"], "store");
    let reason = told[1].1["reason"].as_str().expect("words");
    assert!(reason.starts_with("the store could not be written for 9"), "{reason}");
    assert!(reason.ends_with(" s: the disk is full; it accepts events again"), "{reason}");
}

#[tokio::test]
async fn deliveries_that_fail_in_one_minute_are_told_of_together() {
    let folder = folder_in_memory();
    let opened = open_inline(folder.path(), START_MS);
    let webhook = opened.webhook().await;
    for number in 0..6 {
        opened.post(event(None, 1)).await;
        let (key, item) = opened.due().remove(0);
        // A formatter's failures move no counter, so nothing is switched off.
        let step = if number == 0 { Step::Failed { deactivate: None } } else { Step::Unrendered };
        let outcome = Outcome::new(webhook.id, item.clone(), Some(attempt(&item, false)), step, Some(key));
        opened.store.record(vec![outcome]);
        later(&opened, 1000);
    }
    let counts = async || -> Vec<_> {
        told(&opened).await.into_iter().map(|(of, group)| (of, group["count"].clone())).collect()
    };
    let first: [(EventType, serde_json::Value); 2] =
        [(EventType::WebhookFailing, 1.into()), (EventType::DeliveryFailed, 1.into())];
    assert_eq!(counts().await, first);
    later(&opened, 56_000);
    assert_eq!(counts().await.len(), 3, "the minute is over");
    assert_eq!(counts().await[2], (EventType::DeliveryFailed, 4.into()));
    later(&opened, 600_000);
    assert_eq!(counts().await.len(), 3);
}

#[tokio::test]
async fn a_host_event_waits_for_its_verdicts_but_not_for_long() {
    const EXPRESSION: &str = "data.host.count > 1";
    let folder = folder_in_memory();
    let opened = open_inline(folder.path(), START_MS);
    let config = WebhookConfig {
        event_types: Subscription::Only(vec![EventType::HostDegraded]),
        filter: Filter { expression: Some(EXPRESSION.into()), ..Filter::default() },
        ..config()
    };
    opened.store.create_webhook(config, true, Actor::Host).await.expect("created");
    let degraded = |part| HostEvent::new(About::HostDegraded(part), "a reason");
    let told = async || -> Vec<usize> {
        let mut deliveries = Vec::new();
        for id in opened.store.accepted().into_iter().flat_map(|(_, events)| events) {
            deliveries.push(opened.store.event(id).await.expect("read").expect("there").deliveries.len());
        }
        deliveries
    };
    for (part, verdict, expected) in [
        (HostPart::Disk, ExpressionVerdict::False { seen: String::new() }, vec![0]),
        (HostPart::Records, ExpressionVerdict::True, vec![0, 1]),
    ] {
        let before = told().await;
        opened.store.tell(degraded(part));
        later(&opened, 1000);
        assert_eq!(told().await, before, "it is not judged yet");
        let event = opened.store.next_unjudged().await.expect("an event");
        opened.store.judged(event.id.expect("an id"), [(EXPRESSION.into(), verdict)].into_iter().collect());
        later(&opened, 1000);
        assert_eq!(told().await, expected);
    }
    // Nobody judges it: it goes to all that subscribed.
    opened.store.tell(degraded(HostPart::Certificate));
    later(&opened, 1000);
    assert_eq!(told().await.len(), 2);
    later(&opened, 5000);
    assert_eq!(told().await, [0, 1, 1]);
    // So does what is not judged at the end.
    opened.store.tell(degraded(HostPart::Store));
    later(&opened, 1000);
    opened.store.close();
    drop(opened);
    let opened = open_inline(folder.path(), START_MS);
    assert_eq!(opened.store.accepted().iter().map(|(_, events)| events.len()).sum::<usize>(), 4);
}

#[tokio::test]
async fn what_is_held_back_is_told_after_a_kill_once() {
    let folder = folder_in_memory();
    let opened = open_inline(folder.path(), START_MS);
    let webhook = opened.webhook().await;
    for _ in 0..4 {
        opened.post(event(None, 1)).await;
        let (key, item) = opened.due().remove(0);
        let outcome = Outcome::new(webhook.id, item.clone(), Some(attempt(&item, false)), Step::Unrendered, Some(key));
        opened.store.record(vec![outcome]);
        later(&opened, 1000);
    }
    let counts = async |opened: &Opened| -> Vec<_> {
        told(opened).await.into_iter().map(|(_, group)| group["count"].clone()).collect()
    };
    assert_eq!(counts(&opened).await, [1]);
    opened.store.crash();
    drop(opened);
    for _ in 0..2 {
        let opened = open_inline(folder.path(), START_MS + 10_000);
        later(&opened, 1000);
        assert_eq!(counts(&opened).await, [1, 3]);
        later(&opened, 120_000);
        assert_eq!(counts(&opened).await.len(), 2);
        opened.store.crash();
    }
}

#[tokio::test]
async fn what_a_kill_kept_from_being_judged_is_judged_again() {
    let folder = folder_in_memory();
    let opened = open_inline(folder.path(), START_MS);
    let config = WebhookConfig {
        event_types: Subscription::Only(vec![EventType::HostDegraded]),
        filter: Filter { expression: Some("data.host.count > 1".into()), ..Filter::default() },
        ..config()
    };
    opened.store.create_webhook(config, true, Actor::Host).await.expect("created");
    opened.store.tell(HostEvent::new(About::HostDegraded(HostPart::Disk), "nearly full"));
    later(&opened, 1000);
    assert_eq!(told(&opened).await, []);
    opened.store.crash();
    drop(opened);
    let opened = open_inline(folder.path(), START_MS + 10_000);
    later(&opened, 1000);
    let event = opened.store.next_unjudged().await.expect("an event");
    let verdicts = [("data.host.count > 1".into(), ExpressionVerdict::True)].into_iter().collect();
    opened.store.judged(event.id.expect("an id"), verdicts);
    later(&opened, 1000);
    assert_eq!(told(&opened).await.len(), 1);
}

/// What is due in the moment in which something further happens is counted with it.
#[tokio::test]
async fn what_is_due_when_the_next_one_comes_is_not_forgotten() {
    let folder = folder_in_memory();
    let opened = open_inline(folder.path(), START_MS);
    let webhook = opened.webhook().await;
    for ms in [0, 1000, 60_000] {
        opened.post(event(None, 1)).await;
        let (key, item) = opened.due().remove(0);
        opened.clock.0.store(START_MS + ms, Ordering::Relaxed);
        let outcome = Outcome::new(webhook.id, item.clone(), Some(attempt(&item, false)), Step::Unrendered, Some(key));
        opened.store.record(vec![outcome]);
        opened.store.tick();
    }
    later(&opened, 1000);
    let counts: Vec<_> = told(&opened).await.into_iter().map(|(_, group)| group["count"].clone()).collect();
    assert_eq!(counts, [1, 2]);
}

#[tokio::test]
async fn a_store_that_was_closed_for_good_is_told_of_after_the_restart_once() {
    let folder = folder_in_memory();
    let opened = open_inline(folder.path(), START_MS);
    opened.post(event(None, 1)).await;
    opened.store.faults().fail(DiskStep::Sync, 1, 1000, Fault::Broken);
    let rejected = opened.accept(TokenId::from_bytes([1; 16]), None, vec![event(None, 2)]).await;
    assert_eq!(rejected, Err(AcceptError::Store(StoreError::Unavailable)));
    later(&opened, 30_000);
    opened.store.crash();
    drop(opened);
    for _ in 0..2 {
        let opened = open_inline(folder.path(), START_MS + 90_000);
        later(&opened, 1000);
        later(&opened, 1000);
        let told = told(&opened).await;
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].0, &told[0].1["kind"]), (EventType::HostDegraded, &"store".into()));
        let expected = "the store could not be written for 90 s: a write to the disk failed, and the store was closed until \
            the restart; it accepts events again";
        assert_eq!(told[0].1["reason"], expected);
        opened.store.crash();
    }
}
