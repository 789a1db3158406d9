//! What FORMATS, section 9, makes of a text: written down once more, one character at a time, so that a test
//! need not believe [`crate::text`].

/// `text` with `control` for each control character, `line_break` for CR, LF, CR LF, U+2028 and U+2029, a space
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

/// Holds a text that was read back against the one that was sent (cleaned): it is the whole of it where that fits,
/// else a beginning and, where there is room for it, the mark.
///
/// # Panics
/// When it is neither.
pub fn assert_whole_or_cut(sent: &str, read: &str, fits: bool, mark: &str) {
    if fits {
        assert_eq!(read, sent, "cut or changed without need");
    } else if read != sent {
        let kept = read.strip_suffix(mark).unwrap_or(read);
        assert!(sent.starts_with(kept), "sent {sent:?}, read {read:?}");
    }
}
