//! Start-up time and memory: with the built-in formatters and with fifty, cold and with a cache of compiled code.
#![allow(missing_docs, clippy::disallowed_methods, reason = "a benchmark measures time")]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{head, row};
use tempfile::TempDir;

/// Warm starts, of which the fastest counts.
const STARTS: usize = 5;

fn main() {
    head("Start: from the process to /readyz, and resident memory then (cold: the best of 1; warm: the best of 5)");
    measure(heraldry::built_in().len(), "60");
    measure(50, "");
}

fn measure(formatters: usize, goal: &str) {
    let folder = TempDir::new().expect("a folder");
    let drop_in = folder.path().join("formatters.d");
    fs::create_dir(&drop_in).expect("a folder");
    for (number, bytes) in third_party_components(formatters - heraldry::built_in().len()).iter().enumerate() {
        fs::write(drop_in.join(format!("f{number:04}.wasm")), bytes).expect("a file");
    }
    let (cold, _) = start(folder.path(), formatters);
    let warm: Vec<_> = (0..STARTS).map(|_| start(folder.path(), formatters)).collect();
    let quickest = warm.iter().map(|(took, _)| *took).min().expect("some starts");
    let resident = warm.iter().map(|(_, kib)| *kib).min().expect("some starts");
    let ms = |took: Duration| format!("{:.1}", took.as_secs_f64() * 1000.0);
    row(&format!("{formatters} formatters, cold: ms"), &ms(cold), "", None, "");
    row(&format!("{formatters} formatters, warm: ms"), &ms(quickest), "", None, goal);
    let goal = if goal.is_empty() { "" } else { "40" };
    row(&format!("{formatters} formatters, warm: MiB"), &format!("{:.1}", resident as f64 / 1024.0), "", None, goal);
}

/// `count` components of realistic size: copies of a built-in one, each renamed.
fn third_party_components(count: usize) -> Vec<Vec<u8>> {
    let whole = heraldry::built_in().iter().find(|bytes| contains(bytes, b"slack")).expect("a built-in formatter");
    (0..count)
        .map(|number| {
            let name = format!("f{number:04}");
            let mut bytes = whole.to_vec();
            let mut offset = 0;
            while let Some(found) = bytes[offset..].windows(5).position(|window| window == b"slack") {
                bytes[offset + found..offset + found + 5].copy_from_slice(name.as_bytes());
                offset += found + 5;
            }
            bytes
        })
        .collect()
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &Path, formatters: usize) -> (Duration, u64) {
    let began = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_heraldry"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(folder.join("data"));
    command.arg("--formatters").arg(folder.join("formatters.d")).env("HERALDRY_ADMIN_TOKEN", support::ADMIN);
    let mut child = Started(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts"));
    let mut lines = BufReader::new(child.0.stderr.take().expect("a pipe")).lines();
    let address = loop {
        let line = lines.next().expect("a line").expect("text");
        if let Some(address) = line.split("listening on http://").nth(1) {
            break address.to_owned();
        }
    };
    // Drains the log, or the host would block on a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    while !get(&address, "/readyz").starts_with("HTTP/1.1 200") {
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = began.elapsed();
    let metrics = get(&address, "/metrics");
    let loaded = metrics.lines().filter(|line| line.starts_with("heraldry_formatter_info{")).count();
    assert_eq!(loaded, formatters, "number of loaded formatters");
    let status = fs::read_to_string(format!("/proc/{}/status", child.0.id())).expect("the process");
    let resident = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    let kib = resident.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number");
    (took, kib)
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    response
}
