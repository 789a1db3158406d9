//! How large a card may be, so that it arrives.

use super::Card;
use crate::{Error, Payload};

/// The most bytes of a body: Teams takes 28 KiB after its own re-encoding, and 24,453 bytes have been
/// refused as 28,897 (FORMATS, section 2).
pub const BODY_BYTES: usize = 18_000;

/// The most bytes of a body as [`reencoded`] counts them: the 28,672 that Teams takes, less what it may
/// add around the card.
pub const REENCODED_BYTES: usize = 28_000;

/// Makes a card for each of `levels` until one fits into [`BODY_BYTES`], [`REENCODED_BYTES`] and `max_bytes`
/// ([`Context::max_bytes`](crate::Context)), and turns that into what a delivery carries. A level is whatever
/// `card` needs to know of how much to show; the first is the best.
///
/// # Errors
/// `internal` when even the last is too large.
pub fn payload<'a, L>(
    max_bytes: Option<u32>,
    levels: &'a [L],
    mut card: impl FnMut(&'a L) -> Card<'a>,
) -> Result<Payload, Error> {
    let max_bytes = max_bytes.map_or(BODY_BYTES, |max| BODY_BYTES.min(max as usize));
    // Most cards have 2 to 4 KiB; doubling from nothing would copy as much again.
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

/// How long a body is when a re-encoder escapes all that JSON lets it escape: what is not ASCII as
/// `\uXXXX`, and `<`, `>`, `&`, `'`, `+` as well. What Teams does is not documented; this is the most.
pub fn reencoded(text: &[u8]) -> usize {
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
