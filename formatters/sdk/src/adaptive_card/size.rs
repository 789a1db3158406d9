//! The size limits of a card, and the choice of the richest card that fits them.

use super::Card;
use crate::{Error, Payload};

/// The most bytes of a body. Teams accepts 28 KiB after its own re-encoding, and has rejected 24,453 bytes as 28,897
/// (FORMATS, section 2).
pub const BODY_BYTES: usize = 18_000;

/// The most bytes of a body as [`reencoded`] counts them: the 28,672 that Teams accepts, less what Teams may add around
/// the card.
pub const REENCODED_BYTES: usize = 28_000;

/// Calls `card` with each of `levels`, the most detailed first, until the result fits [`BODY_BYTES`],
/// [`REENCODED_BYTES`] and `max_bytes` ([`Context::max_bytes`](crate::Context)), and returns it as the delivery's
/// payload. A level tells `card` how much to show.
///
/// # Errors
/// `internal` when even the last level is too large.
pub fn payload<'a, L>(
    max_bytes: Option<u32>,
    levels: &'a [L],
    mut card: impl FnMut(&'a L) -> Card<'a>,
) -> Result<Payload, Error> {
    let max_bytes = max_bytes.map_or(BODY_BYTES, |max| BODY_BYTES.min(max as usize));
    // Most cards have 2 to 4 KiB; growing the buffer from nothing would copy as much again.
    let mut body = Vec::with_capacity(4096);
    for level in levels {
        body.clear();
        serde_json::to_writer(&mut body, &card(level)).map_err(|e| Error::Internal(e.to_string()))?;
        if body.len() <= max_bytes && reencoded(&body) <= REENCODED_BYTES {
            let content_type = "application/json; charset=utf-8".into();
            return Ok(Payload { content_type, headers: Vec::new(), body });
        }
    }
    Err(Error::Internal(format!("the smallest card has {} bytes, {max_bytes} fit", body.len())))
}

/// The length of a body if a re-encoder escapes everything that JSON allows it to: non-ASCII characters as `\uXXXX`,
/// and `<`, `>`, `&`, `'`, `+` too. Teams does not document its re-encoding; this is the upper bound.
pub fn reencoded(text: &[u8]) -> usize {
    let length = |byte: u8| match byte {
        b'<' | b'>' | b'&' | b'\'' | b'+' => 6,
        0..0x80 => 1,
        // Continuation bytes of a UTF-8 sequence: counted with the first byte.
        0x80..0xC0 => 0,
        // Outside the basic plane: a surrogate pair, two escapes.
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
