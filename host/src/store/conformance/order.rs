//! Orders: which of a webhook's deliveries is next.

use super::*;
use crate::store::rank;

/// A finding of this severity.
fn finding(severity: Severity) -> NewEvent {
    let word = severity.as_str();
    let json = format!(r#"{{"type":"finding_added","data":{{"finding":{{"title":"t","severity":"{word}"}}}}}}"#);
    NewEvent { event_type: EventType::FindingAdded, severity: Some(severity), json, ..event(None, 1) }
}

/// A webhook with this order for findings alone: what is derived from them is not its.
async fn hook(opened: &Opened, order: Order) -> Arc<Webhook> {
    let event_types = Subscription::Only(vec![EventType::FindingAdded]);
    let config = WebhookConfig { order, event_types, ..config() };
    opened.store.create_webhook(config, true, Actor::Host).await.expect("created")
}

async fn reorder(opened: &Opened, webhook: &Webhook, order: Order) -> Arc<Webhook> {
    let now = Arc::clone(opened.store.webhooks().get(webhook.id).expect("kept"));
    let config = WebhookConfig { order, ..now.config.clone() };
    match opened.store.update_webhook(now.id, now.revision, config, None, Actor::Host).await.expect("written") {
        Updated::Done(webhook) => webhook,
        other => panic!("{other:?}"),
    }
}

/// Posts findings in one request; their events.
async fn post(opened: &Opened, severities: &[Severity]) -> Vec<EventId> {
    let findings = severities.iter().map(|severity| finding(*severity)).collect();
    let accepted = opened.accept(TokenId::from_bytes([1; 16]), None, findings).await.expect("accepted");
    accepted.into_iter().map(|one| one.id).collect()
}

/// A webhook's whole queue, in small pages.
fn queue(opened: &Opened, webhook: &Webhook) -> Vec<(DueKey, DueItem)> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        opened.store.load_due(webhook.id, webhook.activation, after, 3);
        let changes = opened.changes.lock().expect("not poisoned");
        let (entries, complete) = loop {
            let change = changes.recv_timeout(Duration::from_secs(10)).expect("a change");
            if let Change::Loaded { entries, complete, .. } = change {
                break (entries, complete);
            }
        };
        after = entries.last().map(|entry| entry.key).or(after);
        let items =
            entries.into_iter().flat_map(|entry| entry.items.into_iter().map(move |(item, _)| (entry.key, item)));
        all.extend(items);
        if complete {
            return all;
        }
    }
}

fn events(queue: &[(DueKey, DueItem)]) -> Vec<EventId> {
    queue.iter().map(|(_, item)| item.event).collect()
}

const MIXED: [Severity; 5] = [Severity::Info, Severity::Critical, Severity::High, Severity::Info, Severity::Critical];

pub(crate) async fn the_most_severe_waits_first_also_of_what_was_queued_in_another_order<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = hook(&opened, Order::Arrival).await;
    let first = post(&opened, &MIXED).await;
    let arrived = queue(&opened, &webhook);
    assert_eq!(events(&arrived), first, "as they came");
    assert!(arrived.iter().all(|(key, _)| *key == arrived[0].0 && key.rank == rank::CRITICAL), "one entry");

    let webhook = reorder(&opened, &webhook, Order::Severity).await;
    let second = post(&opened, &MIXED).await;
    opened.changes.lock().expect("not poisoned").try_iter().for_each(drop);
    let most_severe = [first[1], first[4], second[1], second[4]];
    assert_eq!(events(&queue(&opened, &webhook))[..4], most_severe);
    // The rest of the first entry has entries of its own from the next commit on.
    assert_eq!(events(&opened.due()), [first[2], first[0], first[3]]);
    let sorted = [&most_severe[..], &[first[2], second[2], first[0], first[3], second[0], second[3]]].concat();
    let by_rank = queue(&opened, &webhook);
    assert_eq!(events(&by_rank), sorted);
    assert!(by_rank.iter().all(|(key, item)| key.rank == item.rank));
    // A retry has the rank of its event.
    let retried = by_rank[0].1.clone();
    let failed = Some(attempt(&retried, false));
    opened.store.record(vec![Outcome::new(webhook.id, retried, failed, again(60_000), None)]);
    opened.recorded();
    drop(opened);

    let opened = place.open(START_MS);
    let retried = [&sorted[1..4], &sorted[..1], &sorted[4..]].concat();
    assert_eq!(events(&queue(&opened, &webhook)), retried);
    let webhook = reorder(&opened, &webhook, Order::Arrival).await;
    assert_eq!(queue(&opened, &webhook).len(), 10);
}

pub(crate) async fn a_strict_queue_is_in_the_order_of_acceptance_whatever_happens<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = hook(&opened, Order::Strict).await;
    let a = post(&opened, &MIXED[..3]).await;
    let b = post(&opened, &MIXED[..2]).await;
    let waiting = queue(&opened, &webhook);
    assert_eq!(events(&waiting), [a[0], a[1], a[2], b[0], b[1]]);
    assert!(waiting.windows(2).all(|pair| pair[0].0 < pair[1].0), "each in an entry of its own");
    opened.record(&webhook, &waiting[0], again(3_600_000));
    opened.record(&webhook, &waiting[1], Step::Failed { deactivate: None });
    let retry = queue(&opened, &webhook).remove(0);
    assert_eq!((retry.1.event, retry.1.attempt, retry.1.due_ms), (a[0], 2, Some(START_MS + 3_600_000)));
    drop(opened);

    // The clock is set back by a day.
    let opened = place.open(START_MS - 86_400_000);
    let c = post(&opened, &MIXED[..2]).await;
    assert_eq!(events(&queue(&opened, &webhook)), [a[0], a[2], b[0], b[1], c[0], c[1]]);
    let (mut cursor, mut recovered) = (Cursor::Start, 0);
    while cursor != Cursor::Done {
        let since = Timestamp::from_unix_ms(1_000_000_000_000);
        let page = opened.store.recover(webhook.id, since, cursor, Actor::Host).await.expect("written");
        let Recovery { deliveries, next } = page.expect("known");
        (cursor, recovered) = (next, recovered + deliveries);
    }
    assert_eq!(recovered, 1);
    let waiting = queue(&opened, &webhook);
    assert_eq!(events(&waiting), [a[0], a[1], a[2], b[0], b[1], c[0], c[1]]);
    let delivered = waiting.iter().find(|(_, item)| item.event == b[0]).expect("there");
    opened.record(&webhook, delivered, Step::Delivered);
    assert_eq!(queue(&opened, &webhook).len(), 6);
    let made = opened.store.redeliver(webhook.id, delivered.1.delivery, Actor::Host).await.expect("written");
    assert!(made.is_some());
    assert_eq!(events(&queue(&opened, &webhook)), [a[0], a[1], a[2], b[0], b[1], c[0], c[1]]);
}

pub(crate) async fn a_queue_moves_with_the_order_and_loses_nothing<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = hook(&opened, Order::Arrival).await;
    let a = post(&opened, &MIXED).await;
    let b = post(&opened, &MIXED[..2]).await;
    // Two that went out in one request wait for the next together.
    let waiting = queue(&opened, &webhook);
    let together = waiting[1..3].iter().map(|(_, item)| {
        let sent = Sent::Before(Some(Pin { component: [1; 32], rendering: [2; 32] }));
        let attempt = Some(attempt(item, false));
        Outcome { sent, ..Outcome::new(webhook.id, item.clone(), attempt, again(3_600_000), None) }
    });
    opened.store.record(together.collect());
    opened.recorded();
    let webhook = reorder(&opened, &webhook, Order::Strict).await;
    let strict = queue(&opened, &webhook);
    assert_eq!(events(&strict), [&a[..], &b[..]].concat());
    let later = Some(START_MS + 3_600_000);
    assert_eq!((strict[1].0, strict[1].1.due_ms, strict[2].1.due_ms), (strict[2].0, later, later));
    assert!(strict.iter().all(|(key, _)| key.rank == rank::STRICT));
    drop(opened);

    let opened = place.open(START_MS);
    assert_eq!(queue(&opened, &webhook), strict);
    let webhook = reorder(&opened, &webhook, Order::Severity).await;
    let by_rank = queue(&opened, &webhook);
    assert_eq!(events(&by_rank), [a[4], b[1], a[1], a[2], a[0], a[3], b[0]]);
    assert_eq!((by_rank[2].0, by_rank[2].0.rank, by_rank[2].0.due_ms), (by_rank[3].0, 1, START_MS + 3_600_000));
    let webhook = reorder(&opened, &webhook, Order::Strict).await;
    assert_eq!(queue(&opened, &webhook), strict);
    // The states know the entries that they were moved to.
    for delivery in &strict {
        opened.record(&webhook, delivery, Step::Delivered);
    }
    assert!(queue(&opened, &webhook).is_empty());
    for event in [&a[..], &b[..]].concat() {
        assert_eq!(opened.status(event).await, Status::Delivered);
    }
}

pub(crate) async fn of_a_strict_queue_only_the_oldest_held_is_probed<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = hook(&opened, Order::Strict).await;
    let posted = post(&opened, &MIXED).await;
    let waiting = queue(&opened, &webhook);
    for delivery in &waiting[..3] {
        opened.record(&webhook, delivery, Step::Failed { deactivate: None });
    }
    let off = Arc::clone(opened.store.webhooks().get(webhook.id).expect("kept"));
    assert!(!off.activity.is_active());
    let mut probed = Vec::new();
    for _ in 0..8 {
        let candidate = opened.candidate(webhook.id).expect("one");
        probed.push(candidate.item.event);
        opened.probe(&webhook, candidate, again(60_000));
    }
    assert_eq!(probed, [&posted[..4], &posted[..4]].concat(), "those that failed, and the oldest held");
    let candidate = opened.candidate(webhook.id).expect("one");
    opened.probe(&webhook, candidate, Step::Delivered);
    let on = opened.on(webhook.id);
    let healed = queue(&opened, &on);
    assert_eq!(events(&healed), posted[1..]);
    assert_eq!(healed.iter().map(|(_, item)| item.attempt).collect::<Vec<_>>(), [4, 4, 3, 1]);
}

/// What these deliveries go out with when they are due again at once, in one request's outcomes.
fn at_once(webhook: &Webhook, all: &[(DueKey, DueItem)], sent: impl Fn(Sent) -> Sent) -> Vec<Outcome> {
    let last = all.len().saturating_sub(1);
    let outcome = |(index, (key, item)): (usize, &(DueKey, DueItem))| {
        let closes = (index == last).then_some(*key);
        Outcome { sent: sent(item.sent), ..Outcome::new(webhook.id, item.clone(), None, again(0), closes) }
    };
    all.iter().enumerate().map(outcome).collect()
}

pub(crate) async fn in_a_strict_queue_nothing_of_a_window_overtakes_a_retry<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = hook(&opened, Order::Strict).await;
    let config = WebhookConfig {
        batch: None,
        digest: Some(Digest { window_seconds: 60, over: 4, bypass_severity: None }),
        ..webhook.config.clone()
    };
    let updated = opened.store.update_webhook(webhook.id, webhook.revision, config, None, Actor::Host).await;
    let Ok(Updated::Done(webhook)) = updated else { panic!("{updated:?}") };
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.extend(post(&opened, &MIXED[..1]).await);
    }
    assert_eq!(collect(&opened, &webhook, true, Vec::new()), None);
    let singles = queue(&opened, &webhook);
    assert_eq!(events(&singles), ids);
    assert!(singles.windows(2).all(|pair| pair[0].0 < pair[1].0), "each in an entry of its own: {singles:?}");
    opened.record(&webhook, &singles[0], Step::Delivered);
    opened.record(&webhook, &singles[1], again(3_600_000));
    assert_eq!(events(&queue(&opened, &webhook)), ids[1..]);
    drop(opened);

    let opened = place.open(START_MS + 1_000);
    let waiting = queue(&opened, &webhook);
    assert_eq!((events(&waiting), waiting[0].1.due_ms), (ids[1..].to_vec(), Some(START_MS + 3_600_000)));
    for delivery in &waiting {
        opened.record(&webhook, delivery, Step::Delivered);
    }

    // A message that is taken apart.
    let members = [post(&opened, &MIXED).await, post(&opened, &MIXED[..1]).await].concat();
    assert_eq!(collect(&opened, &webhook, true, Vec::new()), None);
    let message = queue(&opened, &webhook);
    assert_eq!(events(&message), members);
    assert!(message.iter().all(|(key, item)| *key == message[0].0 && item.sent.part().is_some()), "{message:?}");
    opened.store.record(at_once(&webhook, &message, |sent| sent));
    opened.recorded();
    let again = queue(&opened, &webhook);
    assert_eq!(events(&again), members);
    assert!(again.iter().all(|(key, _)| *key == again[0].0), "what goes together stays together: {again:?}");
    opened.store.record(at_once(&webhook, &again, |_| Sent::Alone));
    opened.recorded();
    let apart = queue(&opened, &webhook);
    assert_eq!(events(&apart), members);
    assert!(apart.windows(2).all(|pair| pair[0].0 < pair[1].0), "{apart:?}");
    for delivery in &apart[..2] {
        opened.record(&webhook, delivery, Step::Delivered);
    }
    opened.record(&webhook, &apart[2], Step::Again { after: Duration::from_secs(60), counts: true });
    assert_eq!(events(&queue(&opened, &webhook)), members[2..]);
}

/// A strict webhook, and a finding of each of three commits that wait for it; the first and the last went out together.
async fn first_and_last_together(opened: &Opened) -> (Arc<Webhook>, [EventId; 3]) {
    let webhook = hook(opened, Order::Strict).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.extend(post(opened, &MIXED[..1]).await);
    }
    let waiting = queue(opened, &webhook);
    let together = [&waiting[0], &waiting[2]].map(|(key, item)| {
        let attempt = Some(attempt(item, false));
        let outcome = Outcome::new(webhook.id, item.clone(), attempt, again(0), Some(*key));
        Outcome { sent: Sent::Before(None), ..outcome }
    });
    opened.store.record(together.into());
    opened.recorded();
    (webhook, [ids[0], ids[1], ids[2]])
}

pub(crate) async fn a_strict_entry_has_the_place_of_its_earliest_delivery<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = hook(&opened, Order::Strict).await;
    let mut posted = Vec::new();
    for _ in 0..3 {
        posted.extend(post(&opened, &MIXED[..1]).await);
    }
    // The last and the first went out in one request, as in another order, and failed.
    let waiting = queue(&opened, &webhook);
    let together = [&waiting[2], &waiting[0]].map(|(key, item)| {
        let outcome = Outcome::new(webhook.id, item.clone(), Some(attempt(item, false)), again(0), Some(*key));
        Outcome { sent: Sent::Before(None), ..outcome }
    });
    opened.store.record(together.into());
    opened.recorded();
    let queued = queue(&opened, &webhook);
    assert_eq!(events(&queued), [posted[0], posted[2], posted[1]]);
    assert_eq!(queued[0].0, queued[1].0, "one request");
    drop(opened);

    let opened = place.open(START_MS);
    assert_eq!(queue(&opened, &webhook), queued);
    assert_eq!(opened.store.backlog(&webhook).waiting, 3);
}

pub(crate) async fn what_is_left_of_a_strict_entry_has_a_place_of_its_own<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let (webhook, [first, between, last]) = first_and_last_together(&opened).await;
    let waiting = queue(&opened, &webhook);
    assert_eq!(events(&waiting), [first, last, between]);
    assert_eq!(waiting[0].0, waiting[1].0, "one request");
    // The batch is smaller now: only the first of it went out.
    opened.store.record(vec![Outcome::new(webhook.id, waiting[0].1.clone(), None, Step::Delivered, None)]);
    opened.recorded();
    let left = queue(&opened, &webhook);
    assert_eq!(events(&left), [between, last], "nothing is overtaken");
    assert_eq!((left[1].1.sent, left[1].1.attempt), (Sent::Before(None), 2));
    drop(opened);

    let opened = place.open(START_MS);
    assert_eq!(queue(&opened, &webhook), left);
    opened.record(&webhook, &left[0], Step::Delivered);
    opened.record(&webhook, &left[1], Step::Delivered);
    assert!(queue(&opened, &webhook).is_empty());
    assert_eq!(opened.status(last).await, Status::Delivered);

    // The same with what a probe takes out of it.
    let (webhook, [first, between, last]) = first_and_last_together(&opened).await;
    let failed = post(&opened, &MIXED[..3]).await;
    for delivery in &queue(&opened, &webhook)[3..] {
        opened.record(&webhook, delivery, Step::Failed { deactivate: None });
    }
    for _ in 0..3 {
        let candidate = opened.candidate(webhook.id).expect("what failed");
        opened.probe(&webhook, candidate, again(60_000));
    }
    let candidate = opened.candidate(webhook.id).expect("what is held");
    assert_eq!(candidate.item.event, first);
    opened.probe(&webhook, candidate, Step::Delivered);
    let on = opened.on(webhook.id);
    assert_eq!(events(&queue(&opened, &on)), [&[between, last], &failed[..]].concat());
}

pub(crate) async fn a_delivery_that_leaves_a_strict_entry_waits_once<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let (webhook, [first, between, last]) = first_and_last_together(&opened).await;
    let waiting = queue(&opened, &webhook);
    // It waits for the same attempt by itself: its own entry has the number, within its commit, of the one that it leaves.
    let step = Step::Again { after: Duration::ZERO, counts: false };
    let apart = Outcome::new(webhook.id, waiting[1].1.clone(), None, step, None);
    opened.store.record(vec![Outcome { sent: Sent::Alone, ..apart }]);
    opened.recorded();
    let queued = queue(&opened, &webhook);
    assert_eq!(events(&queued), [first, between, last]);
    assert_eq!(queued[0].0.seq, queued[2].0.seq);
    drop(opened);

    let opened = place.open(START_MS);
    assert_eq!(queue(&opened, &webhook), queued);
    assert_eq!(opened.store.backlog(&webhook).waiting, 3);
}

pub(crate) async fn a_position_in_a_commit_outlasts_the_events_before_it<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = hook(&opened, Order::Strict).await;
    // Another one for which everything waits, so that what has failed is kept.
    let other = hook(&opened, Order::Arrival).await;
    let posted = post(&opened, &MIXED).await;
    for (_, item) in &queue(&opened, &other)[..2] {
        opened.store.record(vec![Outcome::new(other.id, item.clone(), None, Step::Delivered, None)]);
        opened.recorded();
    }
    let waiting = queue(&opened, &webhook);
    opened.record(&webhook, &waiting[0], Step::Delivered);
    opened.record(&webhook, &waiting[1], Step::Delivered);
    opened.record(&webhook, &waiting[3], Step::Failed { deactivate: None });
    assert!(opened.store.backlog(&webhook).waiting == 2 && opened.store.backlog(&other).waiting == 3);
    let retention = Retention { max_events: 1, ..kept(1_000_000) };
    while opened.store.sweep(retention).await.expect("written") {}
    assert!(opened.store.event(posted[1]).await.expect("read").is_none(), "settled, and too many");
    drop(opened);

    let opened = place.open(START_MS);
    assert_eq!(opened.store.missing_events().await, Ok(0));
    let (mut cursor, since) = (Cursor::Start, Timestamp::from_unix_ms(0));
    while cursor != Cursor::Done {
        let page = opened.store.recover(webhook.id, since, cursor, Actor::Host).await.expect("written");
        cursor = page.expect("known").next;
    }
    assert_eq!(events(&queue(&opened, &webhook)), posted[2..], "in the order of acceptance");
}

pub(crate) async fn a_page_that_is_read_before_an_outcome_is_written_takes_nothing_away<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = hook(&opened, Order::Strict).await;
    let posted = post(&opened, &MIXED[..2]).await;
    let (key, item) = queue(&opened, &webhook).remove(0);
    // Its retry gets the key that it had.
    let failed = Some(attempt(&item, false));
    opened.store.record(vec![Outcome::new(webhook.id, item, failed, again(1_000), Some(key))]);
    opened.store.load_due(webhook.id, webhook.activation, None, 100);
    opened.recorded();
    drop(opened);

    let opened = place.open(START_MS);
    let waiting = queue(&opened, &webhook);
    assert_eq!((events(&waiting), waiting[0].0, waiting[0].1.attempt), (posted, key, 2));
}

pub(crate) async fn what_a_probe_takes_out_of_an_entry_ranks_as_itself<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = hook(&opened, Order::Arrival).await;
    post(&opened, &MIXED[..3]).await;
    let held = post(&opened, &MIXED).await;
    for delivery in &queue(&opened, &webhook)[..3] {
        opened.record(&webhook, delivery, Step::Failed { deactivate: None });
    }
    for _ in 0..3 {
        let candidate = opened.candidate(webhook.id).expect("what failed");
        opened.probe(&webhook, candidate, again(60_000));
    }
    let candidate = opened.candidate(webhook.id).expect("what is held");
    let Candidate { item, origin } = candidate;
    assert!(item.event == held[0] && matches!(origin, Origin::Held(key) if key.rank == rank::CRITICAL));
    let failed = Some(attempt(&item, false));
    let outcome = Outcome::new(webhook.id, item, failed, again(60_000), None);
    opened.store.record(vec![Outcome { probe: Some(origin), sent: Sent::Before(None), ..outcome }]);
    opened.recorded();
    let webhook = reorder(&opened, &webhook, Order::Severity).await;
    let candidate = opened.candidate(webhook.id).expect("one");
    opened.probe(&webhook, candidate, Step::Delivered);
    let on = opened.on(webhook.id);
    queue(&opened, &on);
    drop(opened);

    // What a page has split is written.
    let opened = place.open(START_MS);
    let by_rank = queue(&opened, &on);
    assert!(by_rank.len() == 7 && by_rank.iter().all(|(key, item)| key.rank == item.rank), "{by_rank:?}");
}
