//! JSON to values. The host has checked the text, so that this only has to be quick, and right with numbers of any size:
//! an integer that fits is an `int` or `uint`, any other number a `double`, infinite beyond its range.

use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelNull, CelString, CelUInt};
use cel::common::value::Val;

use crate::object::{Member, Object};

/// Nesting beyond that of any event that the host accepts.
const MAX_DEPTH: usize = 160;

/// Reads a text that is one object; `None` if it is not.
pub(crate) fn read_object(text: &str) -> Option<Object> {
    let mut reader = Reader { text, at: 0 };
    reader.skip_space();
    reader.expect(b'{')?;
    let object = reader.object(0)?;
    reader.skip_space();
    (reader.at == text.len()).then_some(object)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        (self.next()? == wanted).then_some(())
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Option<Box<dyn Val>> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.skip_space();
        Some(match self.next()? {
            b'{' => Box::new(self.object(depth)?),
            b'[' => Box::new(self.array(depth)?),
            b'"' => Box::new(CelString::from(self.string()?)),
            b't' => self.word("rue", CelBool::from(true))?,
            b'f' => self.word("alse", CelBool::from(false))?,
            b'n' => self.word("ull", CelNull)?,
            _ => {
                self.at -= 1;
                self.number()?
            }
        })
    }

    fn word(&mut self, rest: &str, value: impl Val + 'static) -> Option<Box<dyn Val>> {
        self.text[self.at..].starts_with(rest).then(|| {
            self.at += rest.len();
            Box::new(value) as Box<dyn Val>
        })
    }

    /// The rest of an object, after its opening brace.
    fn object(&mut self, depth: usize) -> Option<Object> {
        let mut members: Vec<Member> = Vec::new();
        self.skip_space();
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(Object::default());
        }
        loop {
            self.skip_space();
            self.expect(b'"')?;
            let name = CelString::from(self.string()?);
            self.skip_space();
            self.expect(b':')?;
            members.push((name, self.value(depth + 1)?));
            self.skip_space();
            match self.next()? {
                b',' => {}
                b'}' => return Some(Object::new(members)),
                _ => return None,
            }
        }
    }

    /// The rest of an array, after its opening bracket.
    fn array(&mut self, depth: usize) -> Option<CelList<'static>> {
        let mut elements: Vec<Box<dyn Val>> = Vec::new();
        self.skip_space();
        if self.peek()? == b']' {
            self.at += 1;
            return Some(CelList::from(elements));
        }
        loop {
            elements.push(self.value(depth + 1)?);
            self.skip_space();
            match self.next()? {
                b',' => {}
                b']' => return Some(CelList::from(elements)),
                _ => return None,
            }
        }
    }

    /// The rest of a string, after its opening quote.
    fn string(&mut self) -> Option<String> {
        let mut string = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.find(['"', '\\'])?;
            string.push_str(&rest[..plain]);
            self.at += plain;
            if self.next()? == b'"' {
                return Some(string);
            }
            string.push(self.escape()?);
        }
    }

    /// The rest of an escape, after its backslash.
    fn escape(&mut self) -> Option<char> {
        Some(match self.next()? {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.unit()?;
                if !(0xD800..0xDC00).contains(&unit) {
                    return char::from_u32(unit);
                }
                self.expect(b'\\')?;
                self.expect(b'u')?;
                let low = self.unit()?.checked_sub(0xDC00)?;
                return char::from_u32(0x1_0000 + ((unit - 0xD800) << 10) + low);
            }
            other => char::from(other),
        })
    }

    /// A UTF-16 unit in four hexadecimal digits.
    fn unit(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }

    fn number(&mut self) -> Option<Box<dyn Val>> {
        let rest = &self.text[self.at..];
        let is_part = |byte: u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let length = rest.bytes().position(|byte| !is_part(byte)).unwrap_or(rest.len());
        let digits = &rest[..length];
        self.at += length;
        let is_integer = !digits.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
        if is_integer && let Ok(int) = digits.parse::<i64>() {
            return Some(Box::new(CelInt::from(int)));
        }
        if is_integer && let Ok(uint) = digits.parse::<u64>() {
            return Some(Box::new(CelUInt::from(uint)));
        }
        Some(Box::new(CelDouble::from(digits.parse::<f64>().ok()?)))
    }
}
