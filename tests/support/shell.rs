//! Commands, run as from a shell.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use super::{Host, host};

/// Exit code of a failed command.
pub(crate) const FAILED: i32 = 1;
/// Exit code of an invalid command line or configuration.
pub(crate) const USAGE: i32 = 64;
/// Begins a colour.
pub(crate) const ESCAPE: char = '\u{1b}';

/// A command that ended.
pub(crate) struct Ran {
    pub(crate) what: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {self}"))
    }

    /// Asserts that the command failed, with these words in its error and with a hint.
    #[track_caller]
    pub(crate) fn fails_with(self, code: i32, words: &[&str]) -> Self {
        let ran = self.expect(code);
        assert!(ran.stdout.is_empty(), "there is no data for standard output: {ran}");
        assert!(ran.stderr.contains("error: ") && ran.stderr.contains("hint: "), "{ran}");
        assert!(words.iter().all(|words| ran.stderr.contains(words)), "{words:?}: {ran}");
        ran
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, code, stdout, stderr } = self;
        write!(f, "`{what}` ended with {code:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// Runs commands in a folder of their own, with or without a host's address and an admin token.
pub(crate) struct Shell {
    pub(crate) folder: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Shell {
    /// Without a host.
    pub(crate) fn new() -> Self {
        Self { folder: host::new_folder(), variables: Vec::new() }
    }

    /// With a host's address and an admin token.
    pub(crate) fn at(host: &Host) -> Self {
        let variables =
            vec![("HERALDRY_URL", host.origin().to_owned()), ("HERALDRY_TOKEN", host.admin().token().to_owned())];
        Self { variables, ..Self::new() }
    }

    /// The same shell with a variable.
    pub(crate) fn with(self, name: &'static str, value: &str) -> Self {
        let mut variables = self.variables;
        variables.retain(|(known, _)| *known != name);
        variables.push((name, value.to_owned()));
        Self { variables, ..self }
    }

    /// The host's address, of a shell that has one.
    pub(crate) fn url(&self) -> String {
        let known = self.variables.iter().find(|(name, _)| *name == "HERALDRY_URL");
        known.map(|(_, url)| url.clone()).expect("a host")
    }

    /// Writes a file and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("a path").to_owned()
    }

    /// Runs a command in pipes, with nothing on its standard input.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        self.pipe(arguments, "").await
    }

    /// Runs a command in pipes, with this on its standard input. Nothing sets its colours.
    pub(crate) async fn pipe(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = host::binary(self.folder.path());
        command.env_remove("NO_COLOR").args(arguments).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let what = format!("heraldry {}", arguments.join(" "));
        let input = input.to_owned();
        let output = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().expect("the binary starts");
            // A command that does not read its input closes it.
            let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
            child.wait_with_output().expect("it ends")
        });
        let output = output.await.expect("it ran");
        let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
        Ran { what, code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Runs a command that must succeed and print no colours.
    pub(crate) async fn plain(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments).await.expect(0);
        assert!(!ran.stdout.contains(ESCAPE) && !ran.stderr.contains(ESCAPE), "{ran}");
        ran
    }
}
