//! Runs the transcripts of `formatters/AUTHORS.md`: from an empty folder to a delivery at `heraldry listen`.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::support::{Host, eventually, host};

const GUIDE: &str = include_str!("../../../formatters/AUTHORS.md");
/// The destination's address in the guide.
const DESTINATION: &str = "127.0.0.1:9000";

#[tokio::test]
async fn rust_from_new_to_a_delivery() {
    run("## Rust").await;
}

#[tokio::test]
#[ignore = "needs Node.js and npm's registry"]
async fn javascript_from_new_to_a_delivery() {
    run("## JavaScript").await;
}

#[tokio::test]
#[ignore = "needs Python and its registry"]
async fn python_from_new_to_a_delivery() {
    run("## Python").await;
}

/// A command and the lines that it prints.
struct Step {
    command: String,
    printed: Vec<String>,
}

/// A chapter's commands, and the expected output of the destination.
fn chapter(heading: &str) -> (Vec<Step>, Vec<String>) {
    let text = GUIDE.split(heading).nth(1).unwrap_or_else(|| panic!("the guide has no {heading}"));
    let text = text.split("\n## ").next().expect("a chapter");
    let block = |kind: &str| {
        let start = text.find(kind).unwrap_or_else(|| panic!("{heading} has no {kind}")) + kind.len();
        text[start..].split("```").next().expect("a block").trim().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut steps: Vec<Step> = Vec::new();
    for line in block("```console\n") {
        match line.strip_prefix("$ ") {
            Some(command) => steps.push(Step { command: command.to_owned(), printed: Vec::new() }),
            None => steps.last_mut().expect("a command comes first").printed.push(line),
        }
    }
    (steps, block("```text\n"))
}

/// True if a line matches the guide's; `…` matches any text.
fn is_like(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    for (index, part) in parts.iter().enumerate() {
        if index + 1 == parts.len() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty()
}

/// True if all lines match; a line of `…` alone matches any number of lines.
fn are_like(patterns: &[String], lines: &[&str]) -> bool {
    match (patterns.split_first(), lines.split_first()) {
        (None, None) => true,
        (Some((any, more)), _) if any == "…" => (0..=lines.len()).any(|skipped| are_like(more, &lines[skipped..])),
        (Some((pattern, more)), Some((line, rest))) => is_like(pattern, line) && are_like(more, rest),
        _ => false,
    }
}

/// A running `heraldry listen` and its output so far.
struct Listener {
    child: Child,
    printed: Arc<Mutex<String>>,
}

impl Listener {
    fn start(folder: &Path) -> Self {
        let mut command = host::binary(folder);
        command.args(["listen", "--port", "0", "--secret", "my-secret"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let printed = Arc::new(Mutex::new(String::new()));
        let streams: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("a pipe")), Box::new(child.stderr.take().expect("a pipe"))];
        for mut stream in streams {
            let printed = Arc::clone(&printed);
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    printed.lock().expect("no panic").push_str(&String::from_utf8_lossy(&bytes[..count]));
                }
            });
        }
        Self { child, printed }
    }

    fn text(&self) -> String {
        self.printed.lock().expect("no panic").clone()
    }

    async fn address(&self) -> String {
        eventually("the destination to listen", async || {
            let text = self.text();
            let line = text.lines().find_map(|line| line.split("listening on http://").nth(1))?;
            Some(line.trim_end_matches('/').to_owned())
        })
        .await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn run(heading: &str) {
    let (steps, arrives) = chapter(heading);
    let folder = TempDir::new().expect("a folder");
    let host = Host::start().await;
    let listener = Listener::start(folder.path());
    let address = listener.address().await;
    let mut directory = folder.path().to_owned();
    for Step { command, printed } in steps {
        if let Some(into) = command.strip_prefix("cd ") {
            directory = directory.join(into);
            continue;
        }
        let output = shell(&host, &directory, &command.replace(DESTINATION, &address));
        let lines: Vec<&str> = output.lines().collect();
        assert!(are_like(&printed, &lines), "$ {command}\n-\n{}\n+\n{output}", printed.join("\n"));
    }
    eventually("the delivery", async || {
        let text = listener.text();
        let lines: Vec<&str> = text.lines().collect();
        lines.windows(arrives.len()).any(|lines| are_like(&arrives, lines)).then_some(())
    })
    .await;
    // The project's own tests pass without the tools too.
    if heading == "## Rust" {
        run_native_tests(&directory);
    }
    a_mistake_is_located(&host, &directory);
}

/// A mistake in the project's source is reported with its message and line, and with advice for its language.
fn a_mistake_is_located(host: &Host, project: &Path) {
    for (file, after, mistake, message, fix) in [
        (
            "src/lib.rs",
            "let group = event.group();\n",
            "        assert!(group.get(\"title\").is_none(), \"{} of 7\", group.iter().count());\n",
            "it panicked at src/lib.rs:LINE:9: ",
            "a panic cannot be caught",
        ),
        (
            "formatter.js",
            "const group = event.data[GROUPS[type]];\n",
            "  if (group.title) group.nothing.at(0);\n",
            "cannot read property 'at' of undefined (formatter.js:LINE:",
            "correct the code at the place that the message names",
        ),
        (
            "app.py",
            "group = event[\"data\"][GROUPS[kind]]\n",
            "    group[\"nothing\"]\n",
            "KeyError: 'nothing' (app.py:LINE, in render)",
            "correct the code at the place that the message names",
        ),
    ] {
        let path = project.join(file);
        let Ok(source) = fs::read_to_string(&path) else { continue };
        let at = source.find(after).unwrap_or_else(|| panic!("{file} has no {after}")) + after.len();
        fs::write(&path, [&source[..at], mistake, &source[at..]].concat()).expect("written");
        let line = source[..at].lines().count() + 1;
        let report =
            shell(host, project, "heraldry formatter build >build.log && ! heraldry formatter check hello.wasm 2>&1");
        let message = message.replace("LINE", &line.to_string());
        assert!(report.contains(&message) && report.contains(fix), "{message}\n{report}");
        assert!(
            !report.contains("core::") && !report.contains("_ZN"),
            "the runtime's functions are left out:\n{report}"
        );
    }
}

/// Runs a line of the guide and returns its standard output.
#[expect(clippy::disallowed_methods, reason = "programs are looked up in PATH, as for a user")]
fn shell(host: &Host, directory: &Path, line: &str) -> String {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_heraldry"));
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("bash");
    command
        .current_dir(directory)
        .args(["-euo", "pipefail", "-c", line])
        .env("PATH", format!("{}:{path}", binary.parent().expect("a folder").display()))
        .env("HERALDRY_URL", host.origin())
        .env("HERALDRY_TOKEN", host.admin().token())
        .env("NO_COLOR", "1")
        // The dependencies are in cargo's cache, because the workspace has them too.
        .env("CARGO_NET_OFFLINE", "true");
    clear_outer_build(&mut command);
    let output = command.output().expect("bash runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "$ {line}\n{}\n{errors}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Removes variables of the outer build, which must not reach another one.
fn clear_outer_build(command: &mut Command) {
    for name in
        ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"]
    {
        command.env_remove(name);
    }
}

fn run_native_tests(project: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(project).args(["test", "--quiet", "--offline"]);
    clear_outer_build(&mut cargo);
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(fs::exists(project.join("golden/finding_added.txt")).expect("a folder"));
}

#[test]
fn the_guide_is_matched_line_by_line() {
    assert!(is_like("a … c", "a b c") && is_like("…", "") && is_like("a", "a"));
    assert!(!is_like("a … c", "a b d") && !is_like("a", "ab"));
    let pattern = ["a".to_owned(), "…".to_owned(), "z".to_owned()];
    assert!(
        are_like(&pattern, &["a", "b", "c", "z"]) && are_like(&pattern, &["a", "z"]) && !are_like(&pattern, &["a"])
    );
}
