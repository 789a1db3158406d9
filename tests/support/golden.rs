//! Texts that people read, kept whole in files.

use std::fs;
use std::path::PathBuf;

/// Compares a text with a file below `tests/it`; `UPDATE_GOLDEN=1 cargo test` writes the file.
///
/// # Panics
/// At the first line that differs.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a switch of the tests")]
pub(crate) fn compare(file: &str, shown: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/it").join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, shown).expect("written");
    }
    let kept = fs::read_to_string(&path).expect("the golden file");
    if kept != shown {
        let different = kept.lines().zip(shown.lines()).position(|(a, b)| a != b);
        let line = different.unwrap_or(kept.lines().count().min(shown.lines().count()));
        let around = |text: &str| text.lines().skip(line).take(6).collect::<Vec<_>>().join("\n");
        panic!("{file}, line {}:\n-\n{}\n+\n{}", line + 1, around(&kept), around(shown));
    }
}
