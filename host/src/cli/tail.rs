//! `heraldry tail`: attempts of all webhooks as they happen.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::value::RawValue;

use super::attempts::{Attempt, Filters, Names};
use super::client::{Api, Response};
use super::failure::Failure;
use super::terminal::{WARN, escape, escape_json, line, note};
use crate::config::ClientArgs;

pub(super) const HELP: &str = "\
Ends with Ctrl-C. While the host does not answer it waits, and goes on where it was.

Examples:
  heraldry tail --failed
  heraldry tail --webhook siem --lines 50
  heraldry tail --json | jq -r '.error // empty'";

/// Between two questions to the host.
const POLL: Duration = Duration::from_secs(1);
/// The same while the host does not answer.
const POLL_WITHOUT_ANSWER: Duration = Duration::from_secs(5);
/// Attempts of one page, the most that the API gives.
const PAGE: usize = 200;
/// Widths of the columns, in characters: the webhook, the event type, the attempt with its mark of a test.
const WIDTHS: [usize; 3] = [24, 20, 8];

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    filters: Filters,
    /// Attempts to show first that have been made already, 0 to 200
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=200))]
    lines: u16,
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints attempts until the reader has had enough.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let api = Api::new(&args.client)?;
    let mut tail = Tail::new(&api, args.filters.query(&api).await?);
    let mut printer = Printer { api: &api, names: Names::default(), json: args.client.json };
    printer.print(&tail.latest(args.lines.into()).await?).await?;
    let mut is_silent = false;
    loop {
        let wait = match tail.next().await? {
            Next::Attempts { attempts, more } => {
                is_silent = false;
                printer.print(&attempts).await?;
                if more { Duration::ZERO } else { POLL }
            }
            Next::NoAnswer(reason) => {
                if !std::mem::replace(&mut is_silent, true) {
                    note(format_args!("{WARN}warning:{WARN:#} {}; waiting for the host", escape(&reason)));
                }
                POLL_WITHOUT_ANSWER
            }
            Next::Gap => {
                note(format_args!(
                    "{WARN}warning:{WARN:#} the last attempt shown is no longer kept; attempts may be missing here"
                ));
                Duration::ZERO
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// One attempt, and its text in the response.
struct Line {
    attempt: Attempt,
    json: Box<RawValue>,
}

/// What came of one question.
enum Next {
    /// Attempts, the oldest first; true if more are there already.
    Attempts { attempts: Vec<Line>, more: bool },
    /// The host cannot be reached, or is overloaded.
    NoAnswer(String),
    /// The attempt that was asked for is gone: the next question begins anew.
    Gap,
}

/// The attempts that match, read forward.
struct Tail<'a> {
    api: &'a Api,
    filters: Vec<(&'static str, String)>,
    /// The id of the last attempt that was seen, whether it matched or not.
    after: Option<String>,
}

impl<'a> Tail<'a> {
    fn new(api: &'a Api, filters: Vec<(&'static str, String)>) -> Self {
        Self { api, filters, after: None }
    }

    /// The last attempts that match, the oldest first. What comes after them is [`Tail::next`].
    async fn latest(&mut self, count: usize) -> Result<Vec<Line>, Failure> {
        // The cursor comes first, so that nothing is missed when nothing matches yet.
        let newest = self.page(&[("limit", "1".to_owned())]).await?;
        self.after = newest.into_iter().next().map(|line| line.attempt.id);
        if count == 0 {
            return Ok(Vec::new());
        }
        let mut query = self.filters.clone();
        query.push(("limit", count.to_string()));
        let attempts = self.page(&query).await?;
        if let Some(last) = attempts.last() {
            self.after = Some(last.attempt.id.clone());
        }
        Ok(attempts)
    }

    async fn page(&self, query: &[(&'static str, String)]) -> Result<Vec<Line>, Failure> {
        let response = self.api.call(self.api.request(Method::GET, "/deliveries").query(query)).await?;
        read(&response)
    }

    /// The attempts since the last question.
    async fn next(&mut self) -> Result<Next, Failure> {
        let mut query = self.filters.clone();
        query.push(("limit", PAGE.to_string()));
        query.extend(self.after.iter().map(|after| ("after", after.clone())));
        let response = match self.api.send(self.api.request(Method::GET, "/deliveries").query(&query)).await {
            Ok(response) => response,
            Err(error) => {
                let failure = self.api.unreachable(error);
                return Ok(Next::NoAnswer(failure.message().map(|(text, _)| text).unwrap_or_default()));
            }
        };
        match response.status {
            status if status.is_success() => {}
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => return Ok(Next::NoAnswer(response.describe_rejection())),
            // The filters were taken before, so it is the cursor.
            StatusCode::BAD_REQUEST if self.after.is_some() => {
                self.latest(0).await?;
                return Ok(Next::Gap);
            }
            _ => return Err(response.rejection()),
        }
        let attempts = read(&response)?;
        // Without a cursor a page is the newest ones, and what follows it is older.
        let more = self.after.is_some() && response.has_next_page();
        if let Some(last) = attempts.last() {
            self.after = Some(last.attempt.id.clone());
        }
        Ok(Next::Attempts { attempts, more })
    }
}

/// The attempts of a page, the oldest first, whichever way the page runs. Ids are UUIDv7: their texts have the order of
/// their times.
fn read(response: &Response) -> Result<Vec<Line>, Failure> {
    let texts: Vec<Box<RawValue>> = response.parse()?;
    let line = |json: Box<RawValue>| serde_json::from_str(json.get()).map(|attempt| Line { attempt, json });
    let lines: Result<Vec<Line>, _> = texts.into_iter().map(line).collect();
    let mut lines = lines.map_err(super::client::unexpected)?;
    if let [first, .., last] = lines.as_slice()
        && first.attempt.id > last.attempt.id
    {
        lines.reverse();
    }
    Ok(lines)
}

/// Prints attempts as lines.
struct Printer<'a> {
    api: &'a Api,
    names: Names,
    json: bool,
}

impl Printer<'_> {
    async fn print(&mut self, lines: &[Line]) -> Result<(), Failure> {
        if self.json {
            return lines.iter().try_for_each(|shown| line(escape_json(shown.json.get())));
        }
        // A webhook that was made meanwhile.
        if lines.iter().any(|shown| !self.names.knows(&shown.attempt.webhook_id)) {
            self.names = Names::load(self.api).await?;
        }
        for shown in lines {
            let style = shown.attempt.style();
            line(format_args!("{style}{}{style:#}", self.text(&shown.attempt)))?;
        }
        Ok(())
    }

    /// One line, its columns padded as far as texts fit.
    fn text(&self, attempt: &Attempt) -> String {
        let [time, webhook, delivery, event_type, number, status, took, outcome] =
            attempt.cells(&self.names).map(|cell| escape(&cell).into_owned());
        let [name_width, type_width, number_width] = WIDTHS;
        format!(
            "{time}  {webhook:name_width$}  {delivery}  {event_type:type_width$}  {number:number_width$}  {status:>3}  {took:>8}  {outcome}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fake::Fake;

    const PATH: &str = "/api/v1/deliveries";
    const WEBHOOK: &str = "019a0000-1111-7000-8000-aaaaaaaaaaaa";

    fn attempt(number: u32) -> String {
        format!(
            r#"{{"id":"019a0000-0000-7000-8000-{number:012}","webhook_id":"{WEBHOOK}","delivery_id":"d-{number}",
            "event_type":"report_ready","attempt":{number},"success":true,"status_code":200,"error":null,
            "duration_ms":1,"created_at":"2026-11-17T10:00:00.000Z"}}"#
        )
    }

    fn page(numbers: &[u32]) -> String {
        format!("[{}]", numbers.iter().map(|number| attempt(*number)).collect::<Vec<_>>().join(","))
    }

    fn id(number: u32) -> String {
        format!("019a0000-0000-7000-8000-{number:012}")
    }

    fn numbers(lines: &[Line]) -> Vec<String> {
        lines.iter().map(|shown| shown.attempt.id.clone()).collect()
    }

    fn attempts(next: Next) -> (Vec<String>, bool) {
        match next {
            Next::Attempts { attempts, more } => (numbers(&attempts), more),
            Next::NoAnswer(reason) => panic!("no answer: {reason}"),
            Next::Gap => panic!("a gap"),
        }
    }

    #[tokio::test]
    async fn it_begins_with_the_last_ones_and_reads_forward() {
        let fake = Fake::start().await;
        let api = fake.api();
        let newest_first = page(&[5, 3]);
        fake.set(
            PATH,
            [
                (200, page(&[6]), true),
                (200, newest_first, true),
                (200, page(&[7, 9]), true),
                (200, page(&[11]), false),
                (200, "[]".into(), false),
            ],
        );
        let mut tail = Tail::new(&api, vec![("success", "true".to_owned())]);
        assert_eq!(numbers(&tail.latest(2).await.expect("a page")), [id(3), id(5)], "the oldest first");
        assert_eq!(attempts(tail.next().await.expect("a page")), (vec![id(7), id(9)], true));
        assert_eq!(attempts(tail.next().await.expect("a page")), (vec![id(11)], false));
        assert_eq!(attempts(tail.next().await.expect("a page")), (vec![], false));
        tail.next().await.expect("a page");
        let filtered = |rest: &str| format!("success=true&{rest}");
        assert_eq!(
            fake.asked(PATH),
            [
                "limit=1".to_owned(),
                filtered("limit=2"),
                filtered(&format!("limit=200&after={}", id(5))),
                filtered(&format!("limit=200&after={}", id(9))),
                filtered(&format!("limit=200&after={}", id(11))),
                filtered(&format!("limit=200&after={}", id(11))),
            ]
        );
    }

    #[tokio::test]
    async fn what_matches_for_the_first_time_is_not_missed() {
        let fake = Fake::start().await;
        let api = fake.api();
        fake.set(PATH, [(200, page(&[6]), true), (200, "[]".into(), false), (200, page(&[8]), false)]);
        let mut tail = Tail::new(&api, vec![("success", "false".to_owned())]);
        assert!(tail.latest(10).await.expect("a page").is_empty());
        assert_eq!(attempts(tail.next().await.expect("a page")), (vec![id(8)], false));
        assert_eq!(fake.asked(PATH)[2], format!("success=false&limit=200&after={}", id(6)), "after what did not match");
        // A store without attempts has no cursor: the first page is the newest ones, turned round.
        fake.set(PATH, [(200, "[]".into(), false), (200, page(&[2, 1]), true)]);
        let mut tail = Tail::new(&api, Vec::new());
        assert!(tail.latest(0).await.expect("a page").is_empty());
        assert_eq!(attempts(tail.next().await.expect("a page")), (vec![id(1), id(2)], false));
        assert_eq!(fake.asked(PATH).last().map(String::as_str), Some("limit=200"));
    }

    #[tokio::test]
    async fn it_waits_for_a_host_that_does_not_answer_and_ends_when_it_is_refused() {
        let fake = Fake::start().await;
        let api = fake.api();
        let later = |status| (status, String::new(), false);
        fake.set(
            PATH,
            [(200, page(&[1]), false), later(503), later(429), later(400), (200, page(&[4]), false), later(403)],
        );
        let mut tail = Tail::new(&api, Vec::new());
        tail.latest(0).await.expect("a page");
        for status in ["503", "429"] {
            let next = tail.next().await.expect("it goes on");
            assert!(matches!(next, Next::NoAnswer(reason) if reason.contains(status)));
        }
        assert!(matches!(tail.next().await.expect("it goes on"), Next::Gap), "the cursor is no longer kept");
        assert_eq!(tail.after, Some(id(4)));
        assert!(tail.next().await.is_err(), "a token that was deleted");
        let nowhere = Api::at("http://127.0.0.1:9".parse().expect("a URL"), None).expect("a client");
        let next = Tail::new(&nowhere, Vec::new()).next().await.expect("it goes on");
        assert!(matches!(next, Next::NoAnswer(reason) if reason.contains("127.0.0.1:9")));
    }

    #[test]
    fn a_line_cannot_control_the_terminal() {
        let api = Api::at("http://127.0.0.1:9".parse().expect("a URL"), None).expect("a client");
        let names = Names::of([(WEBHOOK, "ops\u{1b}[2J")]);
        let attempt: Attempt = serde_json::from_str(&attempt(3)).expect("an attempt");
        let printer = Printer { api: &api, names, json: false };
        assert_eq!(
            printer.text(&attempt),
            "2026-11-17T10:00:00.000Z  ops\\u{1b}[2J              d-3  report_ready          3         200      1 ms  delivered"
        );
    }
}
