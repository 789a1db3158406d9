//! Posting: batches, patience with a host that is away or busy, and finding the events that are refused.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use indicatif::ProgressBar;
use reqwest::{Method, StatusCode, header};
use serde::Deserialize;
use tokio::time::Instant;

use super::input::Event;
use crate::cli::client::{Answer, Api};
use crate::cli::failure::Failure;
use crate::cli::terminal::note;

/// Of one request; the host takes 1,000 unless it is told otherwise.
const BATCH_EVENTS: usize = 100;
/// Of one request; the host takes 4 MiB unless it is told otherwise. A larger event goes alone.
const BATCH_BYTES: usize = 1024 * 1024;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What became of the events.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) accepted: u64,
    pub(super) deliveries: u64,
    pub(super) derived: u64,
    pub(super) refused: Vec<Refusal>,
}

/// An event that the host does not take.
pub(super) struct Refusal {
    /// Which of the events.
    pub(super) index: usize,
    /// Every field with what is wrong.
    pub(super) reason: String,
}

/// What the host says about an accepted event.
#[derive(Deserialize)]
struct Receipt {
    deliveries: u64,
    derived: Vec<String>,
}

impl Tally {
    /// The summary for programs.
    pub(super) fn to_json(&self, events: &[Event]) -> String {
        let refused: Vec<_> = self
            .refused
            .iter()
            .map(|refusal| serde_json::json!({ "line": events[refusal.index].line, "reason": refusal.reason }))
            .collect();
        serde_json::json!({
            "accepted": self.accepted,
            "deliveries": self.deliveries,
            "derived": self.derived,
            "refused": refused,
        })
        .to_string()
    }
}

/// Posts to one host.
pub(super) struct Poster<'a> {
    api: &'a Api,
    patience: Duration,
    bar: ProgressBar,
    tally: Tally,
}

impl<'a> Poster<'a> {
    /// `patience` is how long one request may be tried again.
    pub(super) fn new(api: &'a Api, patience: Duration, bar: ProgressBar) -> Self {
        Self { api, patience, bar, tally: Tally::default() }
    }

    pub(super) fn into_tally(mut self) -> Tally {
        self.tally.refused.sort_by_key(|refusal| refusal.index);
        self.tally
    }

    /// Posts every event that the host takes, in order.
    ///
    /// # Errors
    /// When the host refuses the caller rather than an event, or is away for longer than the patience.
    pub(super) async fn post_all(&mut self, events: &[Event]) -> Result<(), Failure> {
        for range in batches(events, BATCH_EVENTS, BATCH_BYTES) {
            // What is left of the batch, the next group last.
            let mut groups = vec![range.collect::<Vec<_>>()];
            while let Some(group) = groups.pop() {
                let answer = self.post(&body(events, &group)).await?;
                match judge(&answer, &group)? {
                    Verdict::Taken(receipts) => self.count(&receipts),
                    Verdict::Refused { refused, others } => {
                        self.bar.inc(refused.len() as u64);
                        self.tally.refused.extend(refused);
                        groups.push(others);
                    }
                    Verdict::Split([first, second]) => groups.extend([second, first]),
                }
                groups.retain(|group| !group.is_empty());
            }
        }
        Ok(())
    }

    fn count(&mut self, receipts: &[Receipt]) {
        self.bar.inc(receipts.len() as u64);
        self.tally.accepted += receipts.len() as u64;
        self.tally.deliveries += receipts.iter().map(|receipt| receipt.deliveries).sum::<u64>();
        self.tally.derived += receipts.iter().map(|receipt| receipt.derived.len() as u64).sum::<u64>();
    }

    /// One request, again and again while the host is away or busy; harmless, since every event has its id.
    async fn post(&self, body: &str) -> Result<Answer, Failure> {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let request = self.api.request(Method::POST, "/events").header(header::CONTENT_TYPE, "application/json");
            let sent = self.api.send(request.body(body.to_owned())).await;
            let asked = match &sent {
                Ok(answer) if !is_later(answer.status) => return sent.map_err(|error| self.api.unreachable(error)),
                Ok(answer) => retry_after(answer, SystemTime::now()),
                Err(_) => None,
            };
            let wait = asked.map_or(pause, |asked| asked.max(FIRST_PAUSE));
            if began.elapsed() + wait > self.patience {
                return match sent {
                    Ok(answer) => Err(answer.refusal()),
                    Err(error) => Err(self.api.unreachable(error)),
                };
            }
            if pause == FIRST_PAUSE {
                let why = match &sent {
                    Ok(answer) => format!("the host answered {}", answer.status),
                    Err(_) => "the host does not answer".to_owned(),
                };
                self.bar.suspend(|| note(format_args!("{why}; trying again (--patience)")));
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// What to do after an answer.
enum Verdict {
    Taken(Vec<Receipt>),
    Refused { refused: Vec<Refusal>, others: Vec<usize> },
    Split([Vec<usize>; 2]),
}

/// Reads an answer to a group of events, whose indices are `group`.
fn judge(answer: &Answer, group: &[usize]) -> Result<Verdict, Failure> {
    if answer.status.is_success() {
        return answer.parse().map(Verdict::Taken);
    }
    // Only these speak of events; any other refusal would meet every group.
    if !matches!(
        answer.status,
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY
    ) {
        return Err(answer.refusal());
    }
    let mut faults = BTreeMap::<usize, Vec<String>>::new();
    for fault in answer.problem().errors {
        if let Some((place, pointer)) = place_in_batch(&fault.pointer).filter(|(place, _)| *place < group.len()) {
            let reason = if pointer.is_empty() { fault.detail } else { format!("{pointer}: {}", fault.detail) };
            faults.entry(place).or_default().push(reason);
        }
    }
    if !faults.is_empty() {
        let others = group.iter().enumerate().filter(|(place, _)| !faults.contains_key(place)).map(|(_, &index)| index);
        let others = others.collect();
        let refused =
            faults.into_iter().map(|(place, reasons)| Refusal { index: group[place], reason: reasons.join("; ") });
        return Ok(Verdict::Refused { refused: refused.collect(), others });
    }
    match group {
        [index] => {
            let refused = vec![Refusal { index: *index, reason: answer.describe_refusal() }];
            Ok(Verdict::Refused { refused, others: Vec::new() })
        }
        _ => {
            let (first, second) = group.split_at(group.len() / 2);
            Ok(Verdict::Split([first.to_vec(), second.to_vec()]))
        }
    }
}

/// `/3/data/finding` is fault `/data/finding` of the event at place 3.
fn place_in_batch(pointer: &str) -> Option<(usize, &str)> {
    let rest = pointer.strip_prefix('/')?;
    let end = rest.find('/').unwrap_or(rest.len());
    Some((rest[..end].parse().ok()?, &rest[end..]))
}

fn is_later(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504 | 507)
}

/// How long the host asks to wait: seconds or a date (RFC 9110, section 10.2.3).
fn retry_after(answer: &Answer, now: SystemTime) -> Option<Duration> {
    let value = answer.headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    Some(until.duration_since(now).unwrap_or_default())
}

fn body(events: &[Event], group: &[usize]) -> String {
    let texts: Vec<_> = group.iter().map(|&index| events[index].json.as_str()).collect();
    format!("[{}]", texts.join(","))
}

/// Cuts the events into runs of at most so many events and so many bytes, in order; one event alone may
/// be larger.
fn batches(events: &[Event], most_events: usize, most_bytes: usize) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, event) in events.iter().enumerate() {
        let size = event.json.len() + 1;
        if index > start && (index - start == most_events || bytes + size > most_bytes) {
            batches.push(start..index);
            (start, bytes) = (index, 0);
        }
        bytes += size;
    }
    if start < events.len() {
        batches.push(start..events.len());
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str, retry_after: Option<&'static str>) -> Answer {
        let mut headers = header::HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static(value));
        }
        Answer { status: StatusCode::from_u16(status).expect("a status"), headers, body: body.to_owned() }
    }

    #[test]
    fn batches_keep_to_both_limits() {
        let events = |sizes: &[usize]| -> Vec<Event> {
            sizes.iter().map(|&size| Event { line: 1, json: "x".repeat(size) }).collect()
        };
        assert_eq!(batches(&events(&[1; 5]), 2, 100), [0..2, 2..4, 4..5]);
        assert_eq!(batches(&events(&[4, 4, 4]), 10, 10), [0..2, 2..3]);
        assert_eq!(batches(&events(&[1, 500, 1]), 10, 10), [0..1, 1..2, 2..3]);
        assert_eq!(batches(&[], 10, 10), [0..0; 0]);
        assert_eq!(batches(&events(&[1; 4]), 4, 8), std::slice::from_ref(&(0..4)));
    }

    #[test]
    fn a_refusal_takes_out_the_named_events_and_keeps_the_others() {
        let body = r#"{"errors":[{"pointer":"/1/type","detail":"unknown"},{"pointer":"/1/data","detail":"missing"},{"pointer":"/2","detail":"odd"}]}"#;
        let Ok(Verdict::Refused { refused, others }) = judge(&answer(422, body, None), &[10, 11, 12, 13]) else {
            panic!("events 11 and 12 are refused");
        };
        let refused: Vec<_> = refused.iter().map(|refusal| (refusal.index, refusal.reason.as_str())).collect();
        assert_eq!(refused, [(11, "/type: unknown; /data: missing"), (12, "odd")]);
        assert_eq!(others, [10, 13]);
    }

    #[test]
    fn a_refusal_without_a_place_is_narrowed_down() {
        for status in [400, 413, 422] {
            let Ok(Verdict::Split(halves)) = judge(&answer(status, "{}", None), &[4, 5, 6]) else { panic!("{status}") };
            assert_eq!(halves, [vec![4], vec![5, 6]]);
            let Ok(Verdict::Refused { refused, others }) = judge(&answer(status, "{}", None), &[4]) else {
                panic!("{status}");
            };
            assert!(refused[0].index == 4 && others.is_empty());
        }
    }

    #[test]
    fn a_refused_caller_ends_it() {
        for status in [401, 403, 404, 409, 500] {
            assert!(judge(&answer(status, "", None), &[1, 2]).is_err(), "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        let wait = |value| retry_after(&answer(503, "", Some(value)), now);
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("soon"), None);
    }
}
