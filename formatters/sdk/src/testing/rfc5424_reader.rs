//! A strict RFC 5424 parser, written from its ABNF (section 6) independently of the formatter. It also rejects input
//! that the RFC leaves to the receiver (needless backslashes, control characters), because the formatter never sends
//! it.

/// One parsed message.
#[derive(Debug)]
pub struct Message<'a> {
    /// The facility, 0 to 23.
    pub facility: u8,
    /// The severity, 0 to 7.
    pub severity: u8,
    /// TIMESTAMP; `-` for nil, here and in the next four fields.
    pub timestamp: &'a str,
    /// The field HOSTNAME.
    pub host_name: &'a str,
    /// The field APP-NAME.
    pub app_name: &'a str,
    /// The field PROCID.
    pub proc_id: &'a str,
    /// The field MSGID.
    pub msg_id: &'a str,
    /// The elements of STRUCTURED-DATA.
    pub elements: Vec<Element>,
    /// MSG, if there is one.
    pub msg: Option<&'a str>,
}

/// One SD-ELEMENT of STRUCTURED-DATA.
#[derive(Debug)]
pub struct Element {
    /// The element's SD-ID.
    pub id: String,
    /// The element's SD-PARAMs, unescaped.
    pub params: Vec<(String, String)>,
}

impl Element {
    /// The value of the parameter with that name, if there is exactly one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Parses all of `line`.
///
/// # Errors
/// A description of the first violation and its position.
pub fn read(line: &[u8]) -> Result<Message<'_>, String> {
    if line.contains(&b'\t') {
        return Err("a tab in the message".into());
    }
    read_with_tabs(line)
}

/// [`read`] for a message whose MSG is a record with tabs (LEEF).
///
/// # Errors
/// A description of the first violation and its position.
pub fn read_with_tabs(line: &[u8]) -> Result<Message<'_>, String> {
    let text = std::str::from_utf8(line).map_err(|e| e.to_string())?;
    if let Some(c) = text.chars().find(|&c| (c.is_control() && c != '\t') || c == '\u{2028}' || c == '\u{2029}') {
        return Err(format!("{c:?} in the message"));
    }
    let mut cursor = Cursor { text, at: 0 };
    let message = cursor.message()?;
    Ok(message)
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn fail<T>(&self, what: &str) -> Result<T, String> {
        let near: String = self.rest().chars().take(40).collect();
        Err(format!("{what} at byte {}: {near:?}", self.at))
    }

    fn expect(&mut self, c: char) -> Result<(), String> {
        if self.rest().starts_with(c) {
            self.at += c.len_utf8();
            Ok(())
        } else {
            self.fail(&format!("expected {c:?}"))
        }
    }

    /// SYSLOG-MSG = HEADER SP STRUCTURED-DATA [SP MSG]
    fn message(&mut self) -> Result<Message<'a>, String> {
        self.expect('<')?;
        let priority = self.digits()?;
        self.expect('>')?;
        if priority.len() > 3 || (priority.len() > 1 && priority.starts_with('0')) {
            return self.fail("PRIVAL is 1 to 3 digits without a leading zero");
        }
        let priority: u16 = priority.parse().map_err(|_| "PRIVAL")?;
        if priority > 191 {
            return self.fail("PRIVAL is at most 191");
        }
        if self.digits()? != "1" {
            return self.fail("VERSION is 1");
        }
        self.expect(' ')?;
        let timestamp = self.name(64, "TIMESTAMP")?;
        if timestamp != "-" {
            check_timestamp(timestamp)?;
        }
        self.expect(' ')?;
        let host_name = self.name(255, "HOSTNAME")?;
        self.expect(' ')?;
        let app_name = self.name(48, "APP-NAME")?;
        self.expect(' ')?;
        let proc_id = self.name(128, "PROCID")?;
        self.expect(' ')?;
        let msg_id = self.name(32, "MSGID")?;
        self.expect(' ')?;
        let elements = self.structured_data()?;
        let msg = if self.rest().is_empty() {
            None
        } else {
            self.expect(' ')?;
            Some(self.rest())
        };
        let [facility, severity] = [priority / 8, priority % 8].map(|n| u8::try_from(n).expect("below 24"));
        Ok(Message { facility, severity, timestamp, host_name, app_name, proc_id, msg_id, elements, msg })
    }

    fn digits(&mut self) -> Result<&'a str, String> {
        let rest = self.rest();
        let length = rest.bytes().take_while(u8::is_ascii_digit).count();
        if length == 0 {
            return self.fail("expected a digit");
        }
        self.at += length;
        Ok(&rest[..length])
    }

    /// 1*max PRINTUSASCII
    fn name(&mut self, max: usize, what: &str) -> Result<&'a str, String> {
        let rest = self.rest();
        let length = rest.bytes().take_while(|b| (33..=126).contains(b)).count();
        if !(1..=max).contains(&length) {
            return self.fail(&format!("{what} is 1 to {max} of 33 to 126, not {length}"));
        }
        self.at += length;
        Ok(&rest[..length])
    }

    /// SD-NAME = 1*32PRINTUSASCII, except '=', SP, ']' and '"'
    fn sd_name(&mut self) -> Result<&'a str, String> {
        let rest = self.rest();
        let length = rest.bytes().take_while(|b| matches!(b, 33..=126) && !b"=]\"".contains(b)).count();
        if !(1..=32).contains(&length) {
            return self.fail(&format!("an SD-NAME is 1 to 32 long, not {length}"));
        }
        self.at += length;
        Ok(&rest[..length])
    }

    /// STRUCTURED-DATA = NILVALUE / 1*SD-ELEMENT
    fn structured_data(&mut self) -> Result<Vec<Element>, String> {
        if self.rest().starts_with('-') {
            self.at += 1;
            return Ok(Vec::new());
        }
        let mut elements: Vec<Element> = Vec::new();
        while self.rest().starts_with('[') {
            let element = self.element()?;
            if elements.iter().any(|e| e.id == element.id) {
                return self.fail("an SD-ID stands once in a message");
            }
            elements.push(element);
        }
        if elements.is_empty() { self.fail("expected structured data") } else { Ok(elements) }
    }

    /// SD-ELEMENT = "[" SD-ID *(SP SD-PARAM) "]"
    fn element(&mut self) -> Result<Element, String> {
        self.expect('[')?;
        let id = self.sd_name()?.to_owned();
        match id.split_once('@') {
            Some((name, number))
                if !name.is_empty() && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => {}
            _ => return self.fail("an SD-ID of ours is name@number"),
        }
        let mut params: Vec<(String, String)> = Vec::new();
        while self.rest().starts_with(' ') {
            self.expect(' ')?;
            let name = self.sd_name()?.to_owned();
            self.expect('=')?;
            let value = self.param_value()?;
            if params.iter().any(|(n, _)| *n == name) {
                return self.fail("a PARAM-NAME of ours stands once");
            }
            params.push((name, value));
        }
        self.expect(']')?;
        Ok(Element { id, params })
    }

    /// PARAM-VALUE = UTF-8-STRING in which '"', '\' and ']' are escaped
    fn param_value(&mut self) -> Result<String, String> {
        self.expect('"')?;
        let mut value = String::new();
        let mut chars = self.rest().char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += at + 1;
                    return Ok(value);
                }
                ']' => return self.fail("an unescaped ] in a value"),
                '\\' => match chars.next() {
                    Some((_, escaped @ ('"' | '\\' | ']'))) => value.push(escaped),
                    _ => return self.fail("a backslash that escapes nothing"),
                },
                _ => value.push(c),
            }
        }
        self.fail("a value without end")
    }
}

/// Checks a TIMESTAMP (section 6.2.3): RFC 3339 with upper-case T and Z, at most six fractional digits, no leap second,
/// days within their month.
fn check_timestamp(text: &str) -> Result<(), String> {
    let wrong = || format!("{text} is no TIMESTAMP");
    let part = |from: usize, to: usize| -> Result<u32, String> {
        let digits = text.get(from..to).ok_or_else(wrong)?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        digits.parse().map_err(|_| wrong())
    };
    let sign = |at: usize, c: u8| {
        if text.as_bytes().get(at) == Some(&c) { Ok(()) } else { Err(wrong()) }
    };
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    for (at, c) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')] {
        sign(at, c)?;
    }
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        1..=12 => 31,
        _ => return Err(wrong()),
    };
    if !(1..=days).contains(&day) || part(11, 13)? > 23 || part(14, 16)? > 59 || part(17, 19)? > 59 {
        return Err(wrong());
    }
    let mut rest = &text[19..];
    if let Some(fraction) = rest.strip_prefix('.') {
        let length = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if !(1..=6).contains(&length) {
            return Err(wrong());
        }
        rest = &fraction[length..];
    }
    if rest == "Z" { Ok(()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_are_parsed() {
        let line = "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut=\"3\" \
                eventSource=\"Appli\\]c\\\"a\\\\tion\" eventID=\"1011\"] An application event log entry...";
        let message = read(line.as_bytes()).expect("legal");
        assert_eq!((message.facility, message.severity, message.msg_id), (20, 5, "ID47"));
        assert_eq!(message.elements[0].get("eventSource"), Some("Appli]c\"a\\tion"));
        assert_eq!(message.msg, Some("An application event log entry..."));
    }

    #[test]
    fn invalid_input_is_rejected() {
        let good = "<130>1 2026-11-17T10:12:45.120Z h a - m [i@1 a=\"b\"] text";
        assert!(read(good.as_bytes()).is_ok());
        for (from, to) in [
            ("<130>", "<192>"),
            ("<130>", "<0130>"),
            ("<130>", "<01>"),
            ("<130>", ""),
            (">1 ", ">2 "),
            ("17T", "17t"),
            (".120Z", ".1201201Z"),
            (":45.", ":60."),
            ("11-17", "02-30"),
            (" h ", "  "),
            (" h ", " hö "),
            (" a ", " a b "),
            ("i@1", "i"),
            ("i@1", "@1"),
            ("i@1", "i=@1"),
            ("\"b\"", "\"]\""),
            ("\"b\"", "\"\\b\""),
            ("\"b\"", "\"b"),
            ("a=\"b\"", "a=\"b\" a=\"c\""),
            ("] ", "]"),
            ("] ", "][i@1] "),
            ("text", "te\nxt"),
            ("text", "te\u{0}xt"),
            ("text", "te\u{2028}xt"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good);
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
