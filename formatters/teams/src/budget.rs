//! How long things may be, so that the card arrives.

/// The most bytes of a body: Teams takes 28 KiB after its own re-encoding, and 24,453 bytes have been
/// refused as 28,897 (FORMATS, section 2).
pub(crate) const BODY_BYTES: usize = 18_000;

/// The most bytes of a body as [`reencoded`] counts them: the 28,672 that Teams takes, less what it may
/// add around the card.
pub(crate) const REENCODED_BYTES: usize = 28_000;

/// Lengths in UTF-16 units.
pub(crate) struct Budget {
    /// The card's title.
    pub(crate) title: usize,
    /// A fact's value.
    pub(crate) fact: usize,
    /// The target; a description or another passage.
    pub(crate) passage: usize,
    /// The evidence.
    pub(crate) evidence: usize,
    /// A list's item.
    pub(crate) item: usize,
    /// How many items of a list are shown.
    pub(crate) items: usize,
}

/// The first is what a reader gets; each further one is for what did not fit, taking first from evidence,
/// description and lists. The last fits whatever the event is: no unit takes more than 4 bytes (a
/// backslash in a fact) or, re-encoded, 8.
pub(crate) const LEVELS: [Budget; 5] = [
    Budget { title: 256, fact: 300, passage: 800, evidence: 500, item: 120, items: 10 },
    Budget { title: 256, fact: 200, passage: 400, evidence: 250, item: 80, items: 10 },
    Budget { title: 256, fact: 120, passage: 200, evidence: 120, item: 60, items: 5 },
    Budget { title: 200, fact: 60, passage: 100, evidence: 60, item: 40, items: 3 },
    Budget { title: 120, fact: 40, passage: 60, evidence: 40, item: 30, items: 2 },
];

/// How long a body is when a re-encoder escapes all that JSON lets it escape: what is not ASCII as
/// `\uXXXX`, and `<`, `>`, `&`, `'`, `+` as well. What Teams does is not documented; this is the most.
pub(crate) fn reencoded(text: &[u8]) -> usize {
    let length = |byte: u8| match byte {
        b'<' | b'>' | b'&' | b'\'' | b'+' => 6,
        0..0x80 => 1,
        // The bytes after a character's first.
        0x80..0xC0 => 0,
        // Beyond the basic plane: two units.
        0xF0.. => 12,
        _ => 6,
    };
    text.iter().map(|byte| length(*byte)).sum()
}

#[cfg(test)]
mod tests {
    use super::reencoded;

    #[test]
    fn re_encoding_is_counted_at_its_worst() {
        assert_eq!(reencoded("a<é漢😀".as_bytes()), 1 + 6 + 6 + 6 + 12);
    }
}
