//! Two texts side by side, as far as they differ.

use similar::{ChangeTag, TextDiff};

use super::super::failure::Failure;
use super::super::terminal::{self, escape, line};

/// Lines that stay the same around a change.
const AROUND: usize = 3;
/// Lines that are shown of one difference.
const MOST_LINES: usize = 60;

/// Prints how `old` becomes `new`, with a heading.
pub(super) fn show(heading: &str, old: &str, new: &str) -> Result<(), Failure> {
    line(format_args!("{}{}{:#}", terminal::BOLD, escape(heading), terminal::BOLD))?;
    let diff = TextDiff::from_lines(old, new);
    let mut left = MOST_LINES;
    for group in diff.grouped_ops(AROUND) {
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            if left == 0 {
                return line("  … and more");
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
