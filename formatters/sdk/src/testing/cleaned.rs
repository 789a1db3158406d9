//! A second implementation of the cleaning rules (FORMATS, section 9), one character at a time, so that tests do not
//! depend on [`crate::text`].

/// Returns `text` with `control` for each control character, `line_break` for CR, LF, CR LF, U+2028 and U+2029, a space
/// for a tab, and without bidirectional controls.
pub fn cleaned(text: &str, control: &str, line_break: &str) -> String {
    let mut out = String::new();
    let mut after_cr = false;
    for c in text.chars() {
        match u32::from(c) {
            0x0a if after_cr => {}
            0x0a | 0x0d | 0x2028 | 0x2029 => out.push_str(line_break),
            0x09 => out.push(' '),
            0x00..=0x1f | 0x7f..=0x9f => out.push_str(control),
            0x200e | 0x200f | 0x202a..=0x202e | 0x2066..=0x2069 => {}
            _ => out.push(c),
        }
        after_cr = c == '\r';
    }
    out
}

/// Asserts that `read` is all of `sent` (cleaned) if it fits, else a prefix followed by the mark, if there is room for
/// the mark.
///
/// # Panics
/// If it is neither.
pub fn assert_whole_or_cut(sent: &str, read: &str, fits: bool, mark: &str) {
    if fits {
        assert_eq!(read, sent, "cut or changed without need");
    } else if read != sent {
        let kept = read.strip_suffix(mark).unwrap_or(read);
        assert!(sent.starts_with(kept), "sent {sent:?}, read {read:?}");
    }
}
