//! Posts events in batches, retries while the host is down or overloaded (exponential backoff), and bisects a rejected
//! batch down to the events that the host rejects.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use indicatif::ProgressBar;
use reqwest::{Method, StatusCode, header};
use serde::Deserialize;
use tokio::time::Instant;

use super::dry_run::DryRun;
use super::input::Event;
use crate::cli::client::{Api, FieldError, Response};
use crate::cli::failure::Failure;
use crate::cli::terminal::note;
use crate::model::retry::retry_after;

/// Events per request; the host's default limit is 1,000.
const BATCH_EVENTS: usize = 100;
/// Bytes per request; the host's default limit is 4 MiB. A larger event is sent alone.
const BATCH_BYTES: usize = 1024 * 1024;
/// First pause of the exponential backoff; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Totals of a run.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) accepted: u64,
    pub(super) deliveries: u64,
    pub(super) derived: u64,
    pub(super) rejected: Vec<Rejection>,
    pub(super) warnings: Vec<Warning>,
    /// Warnings that the host counted without naming them.
    pub(super) more_warnings: u64,
    /// What a dry run said of each event, by its index into the events of the input.
    pub(super) rehearsed: Vec<(usize, DryRun)>,
}

/// What the host warns of in one or more events.
pub(super) struct Warning {
    /// JSON pointer into the event.
    pub(super) pointer: String,
    /// Explanation for people.
    pub(super) detail: String,
    /// Index of the first event with it.
    pub(super) index: usize,
    /// Events with it.
    pub(super) events: u64,
}

/// An event that the host rejected.
pub(super) struct Rejection {
    /// Index into the events of the input.
    pub(super) index: usize,
    /// Every field error of the event, or the host's message.
    pub(super) reason: String,
}

/// The host's response for an accepted event.
#[derive(Deserialize)]
struct Receipt {
    deliveries: u64,
    derived: Vec<String>,
    #[serde(default)]
    warnings: Vec<FieldError>,
    #[serde(default)]
    more_warnings: u64,
}

impl Tally {
    /// Adds a warning about an event; those that differ in the event alone are one. `pointer` begins with the event's
    /// place in the request.
    fn warn(&mut self, index: usize, pointer: &str, detail: &str) {
        let pointer = pointer.strip_prefix('/').and_then(|rest| rest.split_once('/')).map_or("", |(_, rest)| rest);
        let pointer = format!("/{pointer}");
        match self.warnings.iter_mut().find(|known| known.pointer == pointer && known.detail == detail) {
            Some(known) => known.events += 1,
            None => self.warnings.push(Warning { pointer, detail: detail.to_owned(), index, events: 1 }),
        }
    }

    /// The rejected events as JSON.
    pub(super) fn refused(&self, events: &[Event]) -> Vec<serde_json::Value> {
        let line = |rejection: &Rejection| serde_json::json!({ "line": events[rejection.index].line, "reason": rejection.reason });
        self.rejected.iter().map(line).collect()
    }

    /// The totals as JSON, for `--json`.
    pub(super) fn to_json(&self, events: &[Event]) -> String {
        let warnings: Vec<_> = self
            .warnings
            .iter()
            .map(|warning| {
                let line = events[warning.index].line;
                serde_json::json!({
                    "pointer": warning.pointer, "detail": warning.detail, "line": line, "events": warning.events,
                })
            })
            .collect();
        serde_json::json!({
            "accepted": self.accepted,
            "deliveries": self.deliveries,
            "derived": self.derived,
            "refused": self.refused(events),
            "warnings": warnings,
            "more_warnings": self.more_warnings,
        })
        .to_string()
    }
}

/// Posts events to one host.
pub(super) struct Poster<'a> {
    api: &'a Api,
    retry_for: Duration,
    bar: ProgressBar,
    /// True to have the events judged and not accepted.
    dry_run: bool,
    tally: Tally,
}

impl<'a> Poster<'a> {
    /// `retry_for` limits the time over which one request is retried.
    pub(super) fn new(api: &'a Api, retry_for: Duration, bar: ProgressBar) -> Self {
        Self { api, retry_for, bar, dry_run: false, tally: Tally::default() }
    }

    /// The same for a dry run.
    pub(super) fn rehearsing(self, dry_run: bool) -> Self {
        Self { dry_run, ..self }
    }

    pub(super) fn into_tally(mut self) -> Tally {
        self.tally.rejected.sort_by_key(|rejection| rejection.index);
        self.tally.rehearsed.sort_by_key(|(index, _)| *index);
        self.tally
    }

    /// Posts the events in order and records the rejected ones.
    ///
    /// # Errors
    /// When the host rejects the caller rather than an event, or does not recover within `retry_for`.
    pub(super) async fn post_all(&mut self, events: &[Event]) -> Result<(), Failure> {
        for range in batches(events, BATCH_EVENTS, BATCH_BYTES) {
            // Groups of the batch still to be posted; the next one is last.
            let mut groups = vec![range.collect::<Vec<_>>()];
            while let Some(group) = groups.pop() {
                let response = self.post(&body(events, &group)).await?;
                match classify(&response, &group)? {
                    BatchResult::Accepted(receipts) => self.count(&receipts, &group),
                    BatchResult::Rehearsed(answers) => {
                        self.bar.inc(answers.len() as u64);
                        self.tally.rehearsed.extend(group.iter().copied().zip(answers));
                    }
                    BatchResult::Rejected { rejected, others } => {
                        self.bar.inc(rejected.len() as u64);
                        self.tally.rejected.extend(rejected);
                        groups.push(others);
                    }
                    BatchResult::Split([first, second]) => groups.extend([second, first]),
                }
                groups.retain(|group| !group.is_empty());
            }
        }
        Ok(())
    }

    fn count(&mut self, receipts: &[Receipt], group: &[usize]) {
        self.bar.inc(receipts.len() as u64);
        self.tally.accepted += receipts.len() as u64;
        self.tally.deliveries += receipts.iter().map(|receipt| receipt.deliveries).sum::<u64>();
        self.tally.derived += receipts.iter().map(|receipt| receipt.derived.len() as u64).sum::<u64>();
        for (receipt, index) in receipts.iter().zip(group) {
            self.tally.more_warnings += receipt.more_warnings;
            for warning in &receipt.warnings {
                self.tally.warn(*index, &warning.pointer, &warning.detail);
            }
        }
    }

    /// Posts one request, with retries while the host is down or overloaded. Safe, because the ids make it idempotent.
    async fn post(&self, body: &str) -> Result<Response, Failure> {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let request = self.api.request(Method::POST, "/events").header(header::CONTENT_TYPE, "application/json");
            let request = if self.dry_run { request.query(&[("dry_run", "true")]) } else { request };
            let sent = self.api.send(request.body(body.to_owned())).await;
            let requested = match &sent {
                Ok(response) if !is_retryable(response.status) => {
                    return sent.map_err(|error| self.api.unreachable(error));
                }
                Ok(response) => requested_wait(response, SystemTime::now()),
                Err(_) => None,
            };
            let wait = requested.map_or(pause, |requested| requested.max(FIRST_PAUSE));
            if began.elapsed().saturating_add(wait) > self.retry_for {
                return match sent {
                    Ok(response) => Err(response.rejection()),
                    Err(error) => Err(self.api.unreachable(error)),
                };
            }
            if pause == FIRST_PAUSE {
                let why = match &sent {
                    Ok(response) => format!("the host responded with {}", response.status),
                    Err(_) => "the host does not respond".to_owned(),
                };
                self.bar.suspend(|| note(format_args!("{why}; retrying for up to {:?} (--patience)", self.retry_for)));
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// The result of posting a group of events.
enum BatchResult {
    /// Every event was accepted.
    Accepted(Vec<Receipt>),
    /// Every event was judged, and none accepted.
    Rehearsed(Vec<DryRun>),
    /// Some events were named as rejected; `others` are to be posted without them.
    Rejected { rejected: Vec<Rejection>, others: Vec<usize> },
    /// The group was rejected without naming an event: each half is to be posted by itself.
    Split([Vec<usize>; 2]),
}

/// Classifies the response to the events whose indices are `group`.
fn classify(response: &Response, group: &[usize]) -> Result<BatchResult, Failure> {
    if response.status == StatusCode::OK {
        return response.parse().map(BatchResult::Rehearsed);
    }
    if response.status.is_success() {
        return response.parse().map(BatchResult::Accepted);
    }
    // Only these statuses concern the events; any other would be the same for every group.
    if !matches!(
        response.status,
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY
    ) {
        return Err(response.rejection());
    }
    let mut faults = BTreeMap::<usize, Vec<String>>::new();
    for fault in response.problem().errors {
        if let Some((position, pointer)) = split_pointer(&fault.pointer).filter(|(position, _)| *position < group.len())
        {
            let reason = if pointer.is_empty() { fault.detail } else { format!("{pointer}: {}", fault.detail) };
            faults.entry(position).or_default().push(reason);
        }
    }
    if !faults.is_empty() {
        let others =
            group.iter().enumerate().filter(|(position, _)| !faults.contains_key(position)).map(|(_, &index)| index);
        let others = others.collect();
        let rejected = faults
            .into_iter()
            .map(|(position, reasons)| Rejection { index: group[position], reason: reasons.join("; ") });
        return Ok(BatchResult::Rejected { rejected: rejected.collect(), others });
    }
    match group {
        [index] => {
            let rejected = vec![Rejection { index: *index, reason: response.describe_rejection() }];
            Ok(BatchResult::Rejected { rejected, others: Vec::new() })
        }
        _ => {
            let (first, second) = group.split_at(group.len() / 2);
            Ok(BatchResult::Split([first.to_vec(), second.to_vec()]))
        }
    }
}

/// Splits a pointer into the batch: `/3/data/finding` is `/data/finding` of the event at position 3.
fn split_pointer(pointer: &str) -> Option<(usize, &str)> {
    let rest = pointer.strip_prefix('/')?;
    let end = rest.find('/').unwrap_or(rest.len());
    Some((rest[..end].parse().ok()?, &rest[end..]))
}

fn is_retryable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504 | 507)
}

/// The wait that the host asks for in `Retry-After`.
fn requested_wait(response: &Response, now: SystemTime) -> Option<Duration> {
    retry_after(response.headers.get(header::RETRY_AFTER)?.to_str().ok()?, now)
}

fn body(events: &[Event], group: &[usize]) -> String {
    let texts: Vec<_> = group.iter().map(|&index| events[index].json.as_str()).collect();
    format!("[{}]", texts.join(","))
}

/// Splits the events into consecutive batches of at most `most_events` and `most_bytes`; a batch of one event
/// may be larger.
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

    fn response(status: u16, body: &str, retry_after: Option<&'static str>) -> Response {
        let mut headers = header::HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static(value));
        }
        Response {
            status: StatusCode::from_u16(status).expect("a status"),
            headers,
            body: body.to_owned(),
            had_token: true,
        }
    }

    #[test]
    fn batches_respect_both_limits() {
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
    fn a_rejection_removes_the_named_events_and_keeps_the_others() {
        let body = r#"{"errors":[{"pointer":"/1/type","detail":"unknown"},{"pointer":"/1/data","detail":"missing"},{"pointer":"/2","detail":"odd"}]}"#;
        let Ok(BatchResult::Rejected { rejected, others }) = classify(&response(422, body, None), &[10, 11, 12, 13])
        else {
            panic!("events 11 and 12 are rejected");
        };
        let rejected: Vec<_> = rejected.iter().map(|rejection| (rejection.index, rejection.reason.as_str())).collect();
        assert_eq!(rejected, [(11, "/type: unknown; /data: missing"), (12, "odd")]);
        assert_eq!(others, [10, 13]);
    }

    #[test]
    fn a_rejection_that_names_no_event_is_bisected() {
        for status in [400, 413, 422] {
            let Ok(BatchResult::Split(halves)) = classify(&response(status, "{}", None), &[4, 5, 6]) else {
                panic!("{status}")
            };
            assert_eq!(halves, [vec![4], vec![5, 6]]);
            let Ok(BatchResult::Rejected { rejected, others }) = classify(&response(status, "{}", None), &[4]) else {
                panic!("{status}");
            };
            assert!(rejected[0].index == 4 && others.is_empty());
        }
    }

    #[test]
    fn a_rejected_caller_ends_the_run() {
        for status in [401, 403, 404, 409, 500] {
            assert!(classify(&response(status, "", None), &[1, 2]).is_err(), "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        let wait = |value| requested_wait(&response(503, "", Some(value)), now);
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("soon"), None);
    }
}
