//! A line diff of two texts.

use similar::{ChangeTag, TextDiff};

use super::super::failure::Failure;
use super::super::terminal::{self, escape, line};

/// Unchanged lines shown around a change.
const CONTEXT_LINES: usize = 3;
/// Most lines shown of one diff.
const MAX_LINES: usize = 60;

/// Prints the diff from `old` to `new`, under a heading.
pub(super) fn show(heading: &str, old: &str, new: &str) -> Result<(), Failure> {
    line(format_args!("{}{}{:#}", terminal::BOLD, escape(heading), terminal::BOLD))?;
    let diff = TextDiff::from_lines(old, new);
    let mut left = MAX_LINES;
    for group in diff.grouped_ops(CONTEXT_LINES) {
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            if left == 0 {
                return line("  … (more lines not shown)");
            }
            left -= 1;
            let (style, sign) = match change.tag() {
                ChangeTag::Delete => (terminal::BAD, '-'),
                ChangeTag::Insert => (terminal::GOOD, '+'),
                ChangeTag::Equal => (terminal::DIM, ' '),
            };
            let text = escape(change.value().trim_end_matches('\n')).into_owned();
            line(format_args!("  {style}{sign} {text}{style:#}"))?;
        }
    }
    Ok(())
}
