//! Views of a text: the text itself, and the text behind its escapes. A secret may be escaped as a whole, in part, in
//! either case of hexadecimal digits or twice over; in the view without the escapes it is one text.

use std::ops::Range;

/// A text, or what is behind its escapes, and where each byte came from.
pub(super) struct View<'a> {
    bytes: std::borrow::Cow<'a, [u8]>,
    /// The index in the text of each byte, and of the end; `None`: as it is.
    origins: Option<Vec<usize>>,
}

impl View<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The range of the text that this range of the view came from.
    pub(super) fn source(&self, range: Range<usize>) -> Range<usize> {
        let Some(last) = range.end.checked_sub(1) else { return 0..0 };
        // An escape may stand for several bytes; it belongs to the range as a whole.
        let mut end = range.end;
        while end < self.bytes.len() && self.origin(end) == self.origin(last) {
            end += 1;
        }
        self.origin(range.start)..self.origin(end)
    }

    fn origin(&self, index: usize) -> usize {
        self.origins.as_ref().map_or(index, |origins| origins[index])
    }

    /// The view without these escapes; `None` if there are none.
    fn without(&self, escape: Escape) -> Option<View<'static>> {
        if !self.bytes.contains(&escape.lead()) {
            return None;
        }
        let (mut bytes, mut origins) = (Vec::with_capacity(self.bytes.len()), Vec::with_capacity(self.bytes.len() + 1));
        let (mut at, mut found) = (0, false);
        while let Some(rest) = self.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let origin = self.origin(at);
            if let Some(taken) = escape.read(rest, &mut bytes) {
                found = true;
                at += taken;
            } else {
                bytes.push(rest[0]);
                at += 1;
            }
            origins.resize(bytes.len(), origin);
        }
        origins.push(self.origin(self.bytes.len()));
        found.then(|| View { bytes: bytes.into(), origins: Some(origins) })
    }
}

/// The text as it is, without its escapes, and without the escapes that were behind these.
pub(super) fn views(text: &[u8]) -> Vec<View<'_>> {
    let mut views = vec![View { bytes: text.into(), origins: None }];
    let mut outer = 0..1;
    for _ in 0..2 {
        for index in outer.clone() {
            let inner: Vec<_> = Escape::ALL.iter().filter_map(|escape| views[index].without(*escape)).collect();
            views.extend(inner);
        }
        outer = outer.end..views.len();
    }
    views
}

/// The text without percent-escapes.
pub(super) fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let view = View { bytes: text.into(), origins: None };
    view.without(Escape::Percent).map_or_else(|| text.to_vec(), |view| view.bytes.into_owned())
}

/// A way to write a character otherwise.
#[derive(Clone, Copy)]
enum Escape {
    /// In a JSON string (RFC 8259, section 7), and `\x2f` as further languages have it.
    Json,
    /// In a URL (RFC 3986, section 2.1).
    Percent,
    /// In HTML: numbers, and the characters that have to be escaped.
    Html,
}

impl Escape {
    const ALL: [Self; 3] = [Self::Json, Self::Percent, Self::Html];

    /// The byte that each escape begins with.
    fn lead(self) -> u8 {
        match self {
            Self::Json => b'\\',
            Self::Percent => b'%',
            Self::Html => b'&',
        }
    }

    /// Reads the escape that a text begins with, and appends what it stands for. Returns its length; `None` if the text
    /// begins with none.
    fn read(self, text: &[u8], into: &mut Vec<u8>) -> Option<usize> {
        let (lead, rest) = text.split_first()?;
        if *lead != self.lead() {
            return None;
        }
        match self {
            Self::Json => json(rest, into),
            Self::Percent => {
                into.push(u8::try_from(hexadecimal(rest.get(..2)?)?).ok()?);
                Some(3)
            }
            Self::Html => html(rest, into),
        }
    }
}

fn json(rest: &[u8], into: &mut Vec<u8>) -> Option<usize> {
    let (kind, rest) = rest.split_first()?;
    let byte = match kind {
        b'"' | b'\\' | b'/' | b'\'' => *kind,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'x' => {
            into.push(u8::try_from(hexadecimal(rest.get(..2)?)?).ok()?);
            return Some(4);
        }
        b'u' => {
            let unit = hexadecimal(rest.get(..4)?)?;
            // The second half of a surrogate pair.
            let low = rest.get(4..10).and_then(|next| hexadecimal(next.strip_prefix(br"\u")?));
            let pair = low.filter(|low| (0xd800..0xdc00).contains(&unit) && (0xdc00..0xe000).contains(low));
            let scalar = pair.map_or(unit, |low| 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
            push(scalar, into);
            return Some(if pair.is_some() { 12 } else { 6 });
        }
        _ => return None,
    };
    into.push(byte);
    Some(2)
}

fn html(rest: &[u8], into: &mut Vec<u8>) -> Option<usize> {
    // The longest is `&#x10FFFF;`, perhaps with zeroes in front.
    let end = rest.iter().take(12).position(|byte| *byte == b';')?;
    let scalar = match &rest[..end] {
        b"amp" => u32::from('&'),
        b"lt" => u32::from('<'),
        b"gt" => u32::from('>'),
        b"quot" => u32::from('"'),
        b"apos" => u32::from('\''),
        [b'#', b'x' | b'X', digits @ ..] => hexadecimal(digits)?,
        [b'#', digits @ ..] => std::str::from_utf8(digits).ok()?.parse().ok()?,
        _ => return None,
    };
    push(scalar, into);
    Some(end + 2)
}

fn push(scalar: u32, into: &mut Vec<u8>) {
    let scalar = char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER);
    into.extend_from_slice(scalar.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Hexadecimal digits in either case, and nothing else.
fn hexadecimal(digits: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u32::from_str_radix(text, 16).ok()
}
