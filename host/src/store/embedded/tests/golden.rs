//! The bytes of one record of every kind, byte for byte: a field that moves, an enum whose codes shift or a checksum of
//! another kind would make every existing store unreadable. New forms are added here; those that are here stay.

use crate::model::delivery::{FormatterRef, Part};
use crate::model::webhook::HealthValues;
use crate::store::embedded::record::{
    self, Answered, AttemptChunk, Counters, Counts, EventRecord, Further, Progress, Slot, SlotState, pack,
};

use super::*;
use crate::store::UnsignedImport;
use crate::store::embedded::index;
use crate::store::embedded::place::Place;
use crate::store::embedded::tally::Tally;
use crate::store::rank;

const EVENT: EventId = EventId::from_bytes([0xe1; 16]);
const OTHER: EventId = EventId::from_bytes([0xe2; 16]);
const WEBHOOK: WebhookId = WebhookId::from_bytes([0xb1; 16]);
const DELIVERY: DeliveryId = DeliveryId::from_bytes([0xd1; 16]);
const ATTEMPT: AttemptId = AttemptId::from_bytes([0xa1; 16]);
const TOKEN: TokenId = TokenId::from_bytes([0x71; 16]);

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(START_MS + ms)
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn slot() -> Slot {
    Slot { delivery: DELIVERY, webhook: WEBHOOK, activation: 3 }
}

fn event_record() -> EventRecord<'static> {
    EventRecord {
        event_type: EventType::ReportReady,
        occurred_at: at(-1),
        accepted_at: at(0),
        caused_by: Some(OTHER),
        token: TOKEN,
        digest: [0x0d; 32],
        derived: vec![OTHER],
        answered_deliveries: 300,
        slots: vec![slot()],
        json: "{}".into(),
        joined: None,
    }
}

fn states() -> Vec<SlotState> {
    let state = |progress| SlotState {
        progress,
        attempts: 2,
        activation: 3,
        next_attempt_at: (progress == Progress::Waiting).then(|| at(2000)),
        queued: (progress == Progress::Waiting).then_some((5 << 32) | 1),
    };
    [Progress::Waiting, Progress::Delivered, Progress::Failed, Progress::Skipped].map(state).to_vec()
}

fn item() -> DueItem {
    let pin = Pin { component: [0xc1; 32], rendering: [0xc2; 32] };
    let (attempt, earlier, sent) = (5, 2, Sent::Before(Some(pin)));
    DueItem {
        event: EVENT,
        slot: 1,
        delivery: DELIVERY,
        attempt,
        earlier,
        sent,
        rank: 1,
        due_ms: Some(START_MS),
        has_failed: true,
    }
}

fn chunk() -> AttemptChunk {
    vec![Attempt {
        id: ATTEMPT,
        delivery_id: DELIVERY,
        event_id: Some(EVENT),
        event_type: "report_ready".into(),
        attempt: 5,
        success: false,
        status_code: Some(503),
        error: Some("status: 503".into()),
        duration_ms: 17,
        response_excerpt: Some("no".into()),
        formatter: Some(FormatterRef { name: "a".into(), version: "1.0.0".into(), digest: "sha256:0".into() }),
        note: Some("b".into()),
        is_test: true,
        next_attempt_at: Some(at(2000)),
        created_at: at(0),
    }]
}

fn further() -> Further {
    Further { slot: slot(), redelivery_of: DELIVERY, made_at: at(7) }
}

fn answered() -> Answered {
    Answered { body_digest: [0x0b; 32], events: vec![(EVENT, 2, vec![OTHER])], expires_at: at(86_400_000) }
}

fn counters() -> Counters {
    let health = HealthValues { failure_count: 2, last_success_at: Some(at(1)), last_failure_at: Some(at(2)) };
    let mut tally = Tally::default();
    (0..2).for_each(|_| tally.add(3, at(0)));
    Counters { health, attempts: 900, tally }
}

/// A column of a block of two rows.
fn column(code: u8) -> Vec<u8> {
    let txn = index::golden_block(at(0), (5 << 32) | 1);
    let key = keys::column(b'a', code, u128::from_be_bytes([0xe1; 16]));
    txn.written(&key).expect("a column").to_vec()
}

fn never() -> DueItem {
    DueItem { sent: Sent::Never, ..item() }
}

fn cut() -> DueItem {
    DueItem { sent: Sent::Before(None), ..item() }
}

fn told(pin: Option<Pin>) -> DueItem {
    DueItem { sent: Sent::Digest { part: Part { number: 2, parts: 3, total: 2500 }, pin }, ..item() }
}

#[test]
fn records_are_written_as_before() {
    let written: &[(&str, Vec<u8>, &str)] = &[
        ("format 2", pack(&2_u32), "01a18e0c3c02"),
        ("run", pack(&7_u64), "012e7a664c07"),
        ("counts", pack(&Counts { events: 300, webhooks: 2, tokens: 1 }), "01dbff4c60ac020201"),
        ("key check", pack(&vec![1_u8, 2, 255]), "01ca97072d030102ff"),
        ("setting", pack(&"here".to_owned()), "015909fda30468657265"),
        (
            "event",
            pack(&event_record()),
            "01fd253c3e07febfe285e36880c0e285e3680110e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e210717171717171717171717171717171710d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0110e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2ac020110d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d110b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b103027b7d",
        ),
        ("states", pack(&states()), "01b1bb424c0400020301a0dfe285e368018180808050010203000002020300000302030000"),
        (
            "event with states",
            record::join(&pack(&event_record()), &pack(&states())),
            "022500000001b1bb424c0400020301a0dfe285e36801818080805001020300000202030000030203000001fd253c3e07febfe285e36880c0e285e3680110e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e210717171717171717171717171717171710d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0110e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2ac020110d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d110b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b103027b7d",
        ),
        (
            "queue entry",
            record::pack_queue(&[&item(), &never(), &cut()]),
            "0568e157810310e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e10110d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d105020101c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2010180c0e285e3680110e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e10110d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1050200010180c0e285e3680110e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e10110d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d105020100010180c0e285e36801",
        ),
        (
            "queue entry of a digest",
            record::pack_queue(&[&told(None), &told(item().sent.pin()), &DueItem { sent: Sent::Alone, ..item() }]),
            "0571d08cff0310e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e10110d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d10502020203c41300010180c0e285e3680110e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e10110d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d10502020203c41301c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2010180c0e285e3680110e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e10110d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1050203010180c0e285e36801",
        ),
        (
            "attempts",
            record::pack_attempts(&chunk()),
            "02841c6aec0110a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a110d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d10110e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e10c7265706f72745f7265616479050001f703010b7374617475733a203530331101026e6f01016105312e302e30087368613235363a300101620101a0dfe285e36880c0e285e368",
        ),
        (
            "acceptance index",
            pack(&vec![EVENT, OTHER]),
            "018c3f3c490210e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e110e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2",
        ),
        (
            "idempotency key",
            pack(&answered()),
            "01090b5f300b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0110e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1020110e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e280b095d8e368",
        ),
        (
            "acceptance index of which some are gone",
            record::pack_listed(&[(1, EVENT), (4, OTHER)]),
            "029f1f58a7020110e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e10410e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2",
        ),
        ("expiry index", pack(&vec![vec![b'i', 1], vec![b'i', 2]]), "01a978103202026901026902"),
        (
            "redelivery",
            pack(&further()),
            "01423f1af610d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d110b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b10310d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d18ec0e285e368",
        ),
        ("redelivery index", pack(&(EVENT, 4_u32)), "01be0843fc10e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e104"),
        ("counters", counters().pack(), "025eefb7ac020182c0e285e3680184c0e285e36884070103020180c0e285e36802"),
        (
            "counters until format 4",
            pack(&(counters().health, counters().attempts)),
            "0123432eb0020182c0e285e3680184c0e285e3688407",
        ),
        (
            "recent index rows",
            pack(&vec![index::golden_row(at(0))]),
            "0115c87b0101e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b180c0e285e368b4240102030405060708090a0b0c",
        ),
        (
            "ids",
            column(0),
            "0157c60f7301000000050000000200000000505c18a301000000505c18a3010000e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1",
        ),
        (
            "webhooks of rows",
            column(1),
            "016d757b7f01000000050000000200000000505c18a301000000505c18a30100000100b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b100000000",
        ),
        (
            "facts of rows",
            column(2),
            "01babce6ab01000000050000000200000000505c18a301000000505c18a30100003412000034120000",
        ),
        ("marks", column(3), "013a95928501000000050000000200000000505c18a301000000505c18a30100000102030401020304"),
        (
            "not indexed",
            index::golden_missing(at(0)),
            "01b45817e601a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a101050180c0e285e36800",
        ),
        ("tombstone", pack(&at(0)), "013d44d5eb80c0e285e368"),
        ("unsigned import", pack(&UnsignedImport { at: at(0), sha256: "0f".into() }), "0190254dc980c0e285e368023066"),
        (
            "token",
            record::pack_json(&token()),
            "016465b6267b226964223a2237313731373137312d373137312d373137312d373137312d373137313731373137313731222c226e616d65223a226369222c22726f6c65223a22696e67657374222c22637265617465645f6174223a22323032372d30312d31355430383a30303a30302e3030305a227d",
        ),
    ];
    check(written);
}

fn token() -> Token {
    Token { id: TOKEN, name: "ci".into(), role: Role::Ingest, created_at: at(0) }
}

fn check(written: &[(&str, Vec<u8>, &str)]) {
    let differ: Vec<_> = written.iter().filter(|(_, bytes, pinned)| hex(bytes) != *pinned).collect();
    let lines: Vec<_> = differ.iter().map(|(name, bytes, _)| format!("{name}: {}", hex(bytes))).collect();
    assert!(lines.is_empty(), "records that are written otherwise than before:\n{}", lines.join("\n"));
}

#[test]
fn keys_are_written_as_before() {
    let due = DueKey { webhook: WEBHOOK, activation: 3, rank: 0, due_ms: START_MS, seq: (5 << 32) | 1 };
    let written: &[(&str, Vec<u8>, &str)] = &[
        ("meta", keys::meta("schema"), "6d736368656d61"),
        ("webhook", keys::webhook(WEBHOOK).to_vec(), "77b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1"),
        ("counters", keys::counters(WEBHOOK).to_vec(), "63b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1"),
        ("token", keys::token(&[0x0f; 32]), "740f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f"),
        ("event", keys::event(EVENT).to_vec(), "65e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1"),
        ("state", keys::state(EVENT).to_vec(), "73e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1"),
        (
            "due in the strict queue",
            Place { commit: (5 << 32) | 1, position: 7 }.key(WEBHOOK, 3, 2).encode(),
            "64b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1000000030680000005000000018000038000140000",
        ),
        ("due", due.encode(), "64b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b10000000300800001a3185c50000000000500000001"),
        (
            "attempts",
            keys::attempts(WEBHOOK, ATTEMPT),
            "61b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1",
        ),
        ("accepted", keys::timed(keys::ACCEPTED, START_MS, (5 << 32) | 1), "72800001a3185c50000000000500000001"),
        ("expiry", keys::timed(keys::EXPIRY, -1, 1), "787fffffffffffffff0000000000000001"),
        (
            "idempotency",
            keys::idempotency(TOKEN, &[0x0f; 32]),
            "69717171717171717171717171717171710f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
        ),
        ("further", keys::further(EVENT, 4), "66e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e100000004"),
        ("redelivery", keys::redelivery(DELIVERY), "6cd1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1"),
        ("audit", keys::audit(AuditId::from_bytes([0xa2; 16])), "75a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2"),
        ("recent rows", keys::recent(b'e', 1 << 64), "6e6500000000000000010000000000000000"),
        ("column", keys::column(b'a', 3, 7), "6b610300000000000000000000000000000007"),
        ("tombstone", keys::tombstone(WEBHOOK), "7ab1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1"),
    ];
    check(written);
}

#[test]
fn records_of_earlier_formats_are_read() {
    let queue_entry = "0251c563c70210e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e10110d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1050201c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c210e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e10110d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1050200";
    let bytes = data_encoding::HEXLOWER.decode(queue_entry.as_bytes()).expect("hexadecimal");
    let before = |item| DueItem { rank: rank::UNKNOWN, due_ms: None, has_failed: false, ..item };
    assert_eq!(record::unpack_queue(&bytes).expect("format 2"), [item(), never()].map(before));
    let queue_entry = "035618077a0310e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e10110d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d105020101c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c210e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e10110d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d105020010e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e10110d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d105020100";
    let bytes = data_encoding::HEXLOWER.decode(queue_entry.as_bytes()).expect("hexadecimal");
    assert_eq!(record::unpack_queue(&bytes).expect("format 5"), [item(), never(), cut()].map(before));
    let queue_entry = "044a1748de0310e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e10110d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d105020101c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2010180c0e285e36810e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e10110d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1050200010180c0e285e36810e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e10110d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d105020100010180c0e285e368";
    let bytes = data_encoding::HEXLOWER.decode(queue_entry.as_bytes()).expect("hexadecimal");
    let before = |item| DueItem { has_failed: false, ..item };
    assert_eq!(record::unpack_queue(&bytes).expect("before healing was known"), [item(), never(), cut()].map(before));
}
