//! What a newcomer's commands print in the first hour, good and bad: the whole transcript is in `first_hour.txt`
//! (`UPDATE_GOLDEN=1 cargo test` rewrites it).

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::json;

use crate::support::shell::Shell;
use crate::support::{Destination, Host, Reply, eventually, golden};

/// What differs between runs, and how the transcript shows it.
#[derive(Default)]
struct Steady {
    /// Texts that are known beforehand, such as addresses.
    known: Vec<(String, String)>,
    /// Ids in the order in which they appeared.
    ids: HashMap<String, usize>,
}

impl Steady {
    fn know(&mut self, text: &str, shown: &str) {
        self.known.push((text.to_owned(), shown.to_owned()));
    }

    /// Masks addresses, ids, secrets, times, durations and the widths of columns.
    fn mask(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (known, shown) in &self.known {
            text = text.replace(known, shown);
        }
        let mut out = String::new();
        for line in text.lines() {
            let given: Vec<&str> = line.split(' ').collect();
            let is_duration = |at: usize| {
                let unit = given.get(at + 1).map(|next| next.trim_end_matches([',', ')', ';']));
                given[at].starts_with(|c: char| c.is_ascii_digit()) && matches!(unit, Some("ms" | "us" | "s"))
            };
            let word =
                |(at, word): (usize, &&str)| if is_duration(at) { "<number>".to_owned() } else { self.word(word) };
            let words = given.iter().enumerate().map(word).collect::<Vec<_>>().join(" ");
            // Columns are as wide as their widest word.
            let columns: Vec<&str> = words.split("  ").map(str::trim).filter(|column| !column.is_empty()).collect();
            let indent = if words.starts_with(' ') { "  " } else { "" };
            writeln!(out, "{indent}{}", columns.join("  ")).expect("a string");
        }
        out
    }

    fn word(&mut self, word: &str) -> String {
        let bare = |c: char| !c.is_ascii_alphanumeric() && c != '-' && c != ':' && c != '.';
        let core = word.trim_matches(bare);
        let shown = if core.len() == 36 && core.matches('-').count() == 4 {
            let next = self.ids.len() + 1;
            let number = *self.ids.entry(core.to_owned()).or_insert(next);
            format!("<id {number}>")
        } else if core.starts_with("whsec_") {
            "whsec_…".to_owned()
        } else if is_time(core) {
            "<time>".to_owned()
        } else if core.len() == 8 && core.bytes().all(|b| b.is_ascii_hexdigit()) {
            "<end of an id>".to_owned()
        } else {
            return word.to_owned();
        };
        word.replace(core, &shown)
    }
}

fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape.starts_with("0000-00-00T00:00:00") || shape == "0000-00-00" || shape.starts_with("00:00:00")
}

/// The shell with everything that it printed.
struct Transcript {
    shown: String,
    steady: Steady,
}

impl Transcript {
    fn heading(&mut self, text: &str) {
        writeln!(self.shown, "\n== {text}").expect("a string");
    }

    /// Runs a command and writes down what a user would see.
    async fn run(&mut self, shell: &Shell, arguments: &[&str], input: &str) {
        let ran = shell.pipe(arguments, input).await;
        let piped = input.trim_end();
        let piped = if piped.is_empty() { String::new() } else { format!("{piped} | ") };
        let command = self.steady.mask(&format!("{piped}{}", ran.what));
        write!(self.shown, "\n$ {command}").expect("a string");
        for (text, mark) in [(&ran.stdout, ""), (&ran.stderr, "! ")] {
            for line in self.steady.mask(text).lines() {
                writeln!(self.shown, "{}", format!("{mark}{line}").trim_end()).expect("a string");
            }
        }
        if ran.code != Some(0) {
            writeln!(self.shown, "(exit {})", ran.code.expect("no signal")).expect("a string");
        }
    }
}

const EVENT: &str = r#"{"type":"finding_added","data":{"finding":{"title":"SQL injection","severity":"high","desc":"in the login form","host":"10.0.0.5","cvss_score":8.1,"link":"https://tracker.example/1"}}}"#;

#[tokio::test]
async fn every_message_reads_as_in_the_transcript() {
    let host = Host::with(|options| options.args(["--breaker-threshold", "2"]).retry_every("50ms")).await;
    let shell = Shell::at(&host);
    let well = Destination::start().await;
    let failing = Destination::always(Reply::full(500, &[], b"maintenance until noon, ask the platform team")).await;
    let mut steady = Steady::default();
    steady.know(host.origin(), "http://127.0.0.1:8080");
    steady.know(&well.url(""), "http://127.0.0.1:9001");
    steady.know(&failing.url(""), "http://127.0.0.1:9002");
    steady.know(&format!("{}/", shell.folder.path().display()), "");
    let mut transcript = Transcript { shown: String::new(), steady };

    tokens(&mut transcript, &host, &shell).await;
    webhooks(&mut transcript, &shell, &well).await;
    events(&mut transcript, &shell).await;
    formats(&mut transcript, &shell).await;
    failures(&mut transcript, &host, &shell, &failing).await;
    golden::compare("first_hour.txt", transcript.shown.trim_start());
}

async fn tokens(transcript: &mut Transcript, host: &Host, shell: &Shell) {
    transcript.heading("A token that is missing, wrong, or ends with a line feed; a variable with a typo");
    let list = ["webhook", "list"];
    let at = Shell::new().with("HERALDRY_URL", host.origin());
    transcript.run(&at, &list, "").await;
    transcript.run(&Shell::at(host).with("HERALDRY_TOKEN", "0123456789abcdef-wrong"), &list, "").await;
    let line_feed = format!("{}\n", host.admin().token());
    transcript.run(&Shell::at(host).with("HERALDRY_TOKEN", &line_feed), &list, "").await;
    transcript.run(&Shell::at(host).with("HERALDRY_ALOW_NET", "10.0.0.0/8"), &list, "").await;
    transcript.run(shell, &["webhok", "list"], "").await;
}

async fn webhooks(transcript: &mut Transcript, shell: &Shell, well: &Destination) {
    transcript.heading("A webhook with a secret of the host's making, named by its name");
    let (url, free) = (well.url("/team"), "my-secret");
    let create = ["webhook", "create", "--name", "team", "--url", &url, "--event-type", "*", "--generate-secret"];
    transcript.run(shell, &create, "").await;
    transcript.run(shell, &["webhook", "create", "--name", "team", "--url", &url, "--secret", "whsec_!"], "").await;
    transcript.run(shell, &["webhook", "create", "--name", "team 2", "--url", &url, "--secret", free], "").await;
    transcript.run(shell, &["webhook", "get", "tea"], "").await;
    transcript.run(shell, &["webhook", "test", "team"], "").await;
    transcript.run(shell, &["webhook", "test", "team", "--event-type", "finding_aded"], "").await;
    transcript.run(shell, &["webhook", "rotate-secret", "team"], "").await;
    transcript.run(shell, &["webhook", "delete", "team 2"], "n\n").await;
    transcript.run(shell, &["webhook", "delete", "team 2", "--yes"], "").await;
}

async fn events(transcript: &mut Transcript, shell: &Shell) {
    transcript.heading("Members that no format shows; a number beyond every float; an event that is rejected");
    transcript.run(shell, &["send"], &format!("{EVENT}\n")).await;
    let huge = r#"{"type":"finding_added","data":{"finding":{"title":"x","cvss":1e400}}}"#;
    transcript.run(shell, &["send"], &format!("{huge}\n")).await;
    let wrong = r#"{"type":"finding_aded","data":{"finding":{"title":"x"}}}"#;
    transcript.run(shell, &["send"], &format!("{wrong}\n")).await;
    let host = r#"{"type":"webhook_disabled","data":{"webhook":{"name":"x"}}}"#;
    transcript.run(shell, &["send"], &format!("{host}\n")).await;
}

async fn formats(transcript: &mut Transcript, shell: &Shell) {
    transcript.heading("Formatters: a list, a word that is no command, a test outside of a project");
    transcript.run(shell, &["formatter", "list"], "").await;
    transcript.run(shell, &["formatter", "instal"], "").await;
    transcript.run(shell, &["compile"], "").await;
    transcript.run(shell, &["formatter", "test"], "").await;
}

async fn failures(transcript: &mut Transcript, host: &Host, shell: &Shell, failing: &Destination) {
    transcript.heading("A destination that fails until its webhook is switched off; what was held is sent again");
    let url = failing.url("/siem");
    let fields = json!({"name": "siem", "event_types": ["finding_verified"], "retry_count": 0});
    let webhook = host.admin().webhook(&url, fields).await;
    for title in ["v-1", "v-2"] {
        let event = json!({"type": "finding_verified", "data": {"finding": {"title": title}}});
        let id = host.admin().event(&event).await;
        let attempted = async || {
            let seen = host.admin().get(&format!("/webhooks/{webhook}/deliveries")).await.expect(200).list();
            seen.iter().any(|attempt| attempt["event_id"] == id.as_str()).then_some(())
        };
        eventually("the attempt", attempted).await;
    }
    transcript.run(shell, &["webhook", "get", "siem"], "").await;
    transcript.run(shell, &["webhook", "deliveries", "siem"], "").await;
    transcript.run(shell, &["webhook", "update", "siem", "--active"], "").await;
    transcript.run(shell, &["webhook", "recover", "siem", "--since", "1 week"], "").await;
    transcript.run(shell, &["webhook", "redeliver", "siem", "1234"], "").await;
    failing.from_now_on(Reply::status(200));
    transcript.run(shell, &["webhook", "recover", "siem", "--since", "24h"], "").await;
    transcript.run(shell, &["audit", "--limit", "3"], "").await;
}
