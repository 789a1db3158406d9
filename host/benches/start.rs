//! Start-up time and memory: with the built-in formatters and with fifty, on the first start, which compiles, and with a
//! cache of compiled code.
#![allow(missing_docs, clippy::disallowed_methods, reason = "a benchmark measures time")]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{get, head, row};
use tempfile::TempDir;

/// Warm starts, of which the fastest counts.
const STARTS: usize = 5;
/// Between two looks at the host.
const POLL: Duration = Duration::from_millis(1);

fn main() {
    head("Start: from the process on, and resident memory then (first: one start; warm: the best of 5)");
    measure(heraldry::built_in().len(), true);
    measure(50, false);
}

fn measure(formatters: usize, has_goals: bool) {
    let folder = TempDir::new().expect("a folder");
    let drop_in = folder.path().join("formatters.d");
    fs::create_dir(&drop_in).expect("a folder");
    for (number, bytes) in third_party_components(formatters - heraldry::built_in().len()).iter().enumerate() {
        fs::write(drop_in.join(format!("f{number:04}.wasm")), bytes).expect("a file");
    }
    // A webhook is there, and nothing is compiled: as after an upgrade.
    start(folder.path(), formatters, true);
    fs::remove_dir_all(folder.path().join("data/components")).expect("the code cache");
    let first = start(folder.path(), formatters, false);
    let warm: Vec<_> = (0..STARTS).map(|_| start(folder.path(), formatters, false)).collect();
    let best = |of: fn(&Started) -> Duration| warm.iter().map(of).min().expect("some starts");
    let resident = warm.iter().map(|started| started.resident_kib).min().expect("some starts");
    let goal = |text: &'static str| if has_goals { text } else { "" };
    let show = |what: &str, took: Duration, goal: &str| {
        let name = format!("{formatters} formatters, {what}: ms");
        row(&name, &format!("{:.1}", took.as_secs_f64() * 1000.0), "", None, goal);
    };
    show("first, /healthz", first.alive, goal("50"));
    show("first, /readyz with one webhook", first.ready, goal("1000"));
    show("first, all compiled", first.loaded, "");
    show("warm, /healthz", best(|started| started.alive), "");
    show("warm, /readyz with one webhook", best(|started| started.ready), goal("60"));
    show("warm, all loaded", best(|started| started.loaded), "");
    let name = format!("{formatters} formatters, warm: MiB");
    row(&name, &format!("{:.1}", resident as f64 / 1024.0), "", None, goal("40"));
}

/// `count` components of realistic size: copies of a built-in one, each renamed.
fn third_party_components(count: usize) -> Vec<Vec<u8>> {
    let whole = heraldry::built_in().iter().find(|built_in| built_in.name == "slack").expect("a built-in formatter");
    (0..count)
        .map(|number| {
            let name = format!("f{number:04}");
            let mut bytes = whole.component.to_vec();
            let mut offset = 0;
            while let Some(found) = bytes[offset..].windows(5).position(|window| window == b"slack") {
                bytes[offset + found..offset + found + 5].copy_from_slice(name.as_bytes());
                offset += found + 5;
            }
            bytes
        })
        .collect()
}

/// When a host came so far, from its start on.
struct Started {
    alive: Duration,
    ready: Duration,
    loaded: Duration,
    resident_kib: u64,
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a host and ends it; with `creates` after it has created a webhook.
fn start(folder: &Path, formatters: usize, creates: bool) -> Started {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").to_string();
    let began = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_heraldry"));
    command.args(["serve", "--listen", &address, "--data"]).arg(folder.join("data"));
    command
        .args(["--allow-net", "127.0.0.0/8", "--formatters"])
        .arg(folder.join("formatters.d"))
        .env("HERALDRY_ADMIN_TOKEN", support::ADMIN);
    let mut child = Running(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts"));
    let lines = BufReader::new(child.0.stderr.take().expect("a pipe")).lines();
    // Drains the log, or the host would block on a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    while TcpStream::connect(&address).is_err() {
        std::thread::sleep(POLL);
    }
    let when = |holds: &dyn Fn() -> bool| {
        while !holds() {
            std::thread::sleep(POLL);
        }
        began.elapsed()
    };
    let alive = when(&|| get(&address, "/healthz").starts_with("HTTP/1.1 200"));
    let ready = when(&|| get(&address, "/readyz").starts_with("HTTP/1.1 200"));
    let loaded = when(&|| get(&address, "/metrics").contains("\nheraldry_formatters_loading 0\n"));
    let metrics = get(&address, "/metrics");
    let in_use = metrics.lines().filter(|line| line.starts_with("heraldry_formatter_info{")).count();
    assert_eq!(in_use, formatters, "number of loaded formatters");
    if creates {
        create_webhook(&address);
    }
    let status = fs::read_to_string(format!("/proc/{}/status", child.0.id())).expect("the process");
    let resident = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    let resident_kib = resident.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number");
    Started { alive, ready, loaded, resident_kib }
}

fn create_webhook(address: &str) {
    let body = r#"{"name":"a","url":"http://127.0.0.1:9/","format":"slack"}"#;
    let mut stream = TcpStream::connect(address).expect("a connection");
    let request = format!(
        "POST /api/v1/webhooks HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        support::ADMIN,
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    assert!(response.starts_with("HTTP/1.1 201"), "{response}");
}
