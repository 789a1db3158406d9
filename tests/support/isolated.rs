//! Tests that need a machine of their own: the test runs in a copy of its process, in separate namespaces.

use std::path::PathBuf;
use std::process::Command;

/// Set in the copy; the value is a folder that its parent has created for it.
const INSIDE: &str = "HERALDRY_TEST_INSIDE";

/// In the copy: its folder.
#[expect(clippy::disallowed_methods, reason = "how a test tells its copy where it is")]
pub(crate) fn inside() -> Option<PathBuf> {
    std::env::var_os(INSIDE).map(PathBuf::from)
}

/// Runs the test of this name again, in namespaces of these kinds (`--mount`, `--net`), after a shell script in which
/// `$HERALDRY_TEST_INSIDE` is the copy's folder. Mounts disappear with the copy.
///
/// # Panics
/// If the copy's test fails, with all of its output.
#[expect(clippy::print_stdout, reason = "what the copy prints is this test's")]
pub(crate) async fn again(test: &str, namespaces: &[&str], script: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut copy = Command::new("unshare");
    copy.args(namespaces).args(["sh", "-c", &format!("set -e\n{script}\nexec \"$@\""), "sh"]);
    copy.arg(std::env::current_exe().expect("this test's binary"));
    copy.args(["--ignored", "--exact", test, "--nocapture"]).env(INSIDE, folder.path());
    let output = tokio::task::spawn_blocking(move || copy.output()).await.expect("it runs");
    let output = output.expect("unshare is installed");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}\n{stderr}");
    println!("{stdout}");
}
