//! A strict RFC 3164 parser, written from section 4.1 independently of the formatter, and a parser of the parameters
//! that the formatter appends to a text. Input that the RFC lets a receiver guess (no PRI, a HOSTNAME without a
//! TIMESTAMP) is rejected, because the formatter never sends it.

/// One parsed message.
#[derive(Debug)]
pub struct Message<'a> {
    /// The facility, 0 to 23.
    pub facility: u8,
    /// The severity, 0 to 7.
    pub severity: u8,
    /// TIMESTAMP; `None` if the HEADER is left out, for the first receiver to fill in (section 4.3.2).
    pub timestamp: Option<&'a str>,
    /// HOSTNAME; empty if there is no HEADER.
    pub host_name: &'a str,
    /// MSG: TAG and CONTENT, or a record without a tag.
    pub content: &'a str,
}

impl<'a> Message<'a> {
    /// Splits MSG into TAG, 1 to 32 ASCII letters and digits, and CONTENT, after a colon and a space.
    pub fn tagged(&self) -> Result<(&'a str, &'a str), String> {
        let length = self.content.bytes().take_while(u8::is_ascii_alphanumeric).count();
        if !(1..=32).contains(&length) {
            return Err(format!("TAG is 1 to 32 letters and digits, not {length}: {:?}", self.content));
        }
        let (tag, rest) = self.content.split_at(length);
        let content = rest.strip_prefix(": ").ok_or("behind the TAG stand a colon and a space")?;
        Ok((tag, content))
    }
}

/// Parses all of `line`.
///
/// # Errors
/// A description of the first violation.
pub fn read(line: &[u8]) -> Result<Message<'_>, String> {
    if line.contains(&b'\t') {
        return Err("a tab in the message".into());
    }
    read_with_tabs(line)
}

/// [`read`] for a message that contains a record with tabs (LEEF).
///
/// # Errors
/// A description of the first violation.
pub fn read_with_tabs(line: &[u8]) -> Result<Message<'_>, String> {
    let text = std::str::from_utf8(line).map_err(|e| e.to_string())?;
    if let Some(c) = text.chars().find(|&c| (c.is_control() && c != '\t') || c == '\u{2028}' || c == '\u{2029}') {
        return Err(format!("{c:?} in the message"));
    }
    let (priority, rest) = text.strip_prefix('<').and_then(|text| text.split_once('>')).ok_or("no PRI")?;
    let number: u8 = match priority.parse() {
        Ok(number @ 0..=191) if priority == u8::to_string(&number) => number,
        _ => return Err(format!("PRI is 0 to 191 without a leading zero, not {priority:?}")),
    };
    let (facility, severity) = (number / 8, number % 8);
    let Some(timestamp) = rest.get(..15).filter(|text| is_timestamp(text)) else {
        return if looks_like_a_header(rest) {
            Err(format!("no TIMESTAMP: {rest:?}"))
        } else {
            Ok(Message { facility, severity, timestamp: None, host_name: "", content: rest })
        };
    };
    let rest = rest[15..].strip_prefix(' ').ok_or("one space follows TIMESTAMP")?;
    let (host_name, content) = rest.split_once(' ').ok_or("a space follows HOSTNAME")?;
    if !is_host(host_name) {
        return Err(format!("HOSTNAME {host_name:?}"));
    }
    Ok(Message { facility, severity, timestamp: Some(timestamp), host_name, content })
}

/// Returns true for `Mmm dd hh:mm:ss`; a day below 10 is padded with a space.
fn is_timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    let most = match text.get(..3) {
        Some("Jan" | "Mar" | "May" | "Jul" | "Aug" | "Oct" | "Dec") => 31,
        Some("Apr" | "Jun" | "Sep" | "Nov") => 30,
        Some("Feb") => 29,
        _ => return false,
    };
    let number = |at: usize| {
        let pair = &bytes[at..at + 2];
        pair.iter().all(u8::is_ascii_digit).then(|| (pair[0] - b'0') * 10 + pair[1] - b'0')
    };
    let day = match bytes[4] {
        b' ' => bytes[5].is_ascii_digit().then(|| bytes[5] - b'0'),
        b'0' => None,
        _ => number(4),
    };
    bytes[3] == b' '
        && bytes[6] == b' '
        && bytes[9] == b':'
        && bytes[12] == b':'
        && day.is_some_and(|day| (1..=most).contains(&day))
        && number(7).is_some_and(|hour| hour < 24)
        && number(10).is_some_and(|minute| minute < 60)
        && number(13).is_some_and(|second| second < 60)
}

/// Returns true if a TIMESTAMP seems intended: then an invalid one is an error, rather than its absence.
fn looks_like_a_header(text: &str) -> bool {
    let sign = |at: usize, sign: u8| text.as_bytes().get(at) == Some(&sign);
    sign(3, b' ') && sign(6, b' ') && sign(9, b':') && sign(12, b':')
}

/// Returns true for an IPv4 address or one DNS label: no domain (section 4.1.2), and nothing that rsyslog parses as a
/// tag.
fn is_host(name: &str) -> bool {
    let ends = |c: char| c.is_ascii_alphanumeric();
    let is_label = name.len() <= 63
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && name.starts_with(ends)
        && name.ends_with(ends);
    is_label || name.parse::<std::net::Ipv4Addr>().is_ok()
}

/// A text and the parameters after it.
pub type TextAndFacts = (String, Vec<(String, String)>);

/// Splits `text name="value" name="value"` and unescapes it: the first unescaped quote starts a parameter's value.
///
/// # Errors
/// A description of the first violation.
pub fn facts(content: &str) -> Result<TextAndFacts, String> {
    let Some(quote) = unescaped_quote(content) else {
        return Ok((unescape(content)?, Vec::new()));
    };
    let before = content[..quote].strip_suffix('=').ok_or("a quote that opens no value")?;
    let start = before.rfind(' ').map_or(0, |space| space + 1);
    let text = content[..start].strip_suffix(' ').unwrap_or_default();
    let mut rest = &content[start..];
    let mut facts: Vec<(String, String)> = Vec::new();
    loop {
        let (name, value) = rest.split_once("=\"").ok_or_else(|| format!("no fact: {rest:?}"))?;
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if !(1..=32).contains(&name.len()) || !name.bytes().all(legal) || facts.iter().any(|(known, _)| known == name) {
            return Err(format!("{name:?} is no name, or stands twice"));
        }
        let end = unescaped_quote(value).ok_or("a value without end")?;
        if end == 0 {
            return Err(format!("{name} is empty"));
        }
        facts.push((name.to_owned(), unescape(&value[..end])?));
        rest = &value[end + 1..];
        if rest.is_empty() {
            return Ok((unescape(text)?, facts));
        }
        rest = rest.strip_prefix(' ').ok_or("a space stands between two facts")?;
    }
}

fn unescaped_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('"' | '\\')) => out.push(escaped),
                other => return Err(format!("a backslash before {other:?}")),
            },
            _ => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_are_parsed() {
        let message =
            read(b"<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8").expect("legal");
        assert_eq!((message.facility, message.severity, message.host_name), (4, 2, "mymachine"));
        assert_eq!(message.timestamp, Some("Oct 11 22:14:15"));
        assert_eq!(message.tagged(), Ok(("su", "'su root' failed for lonvick on /dev/pts/8")));
        let message = read(b"<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!").expect("legal");
        assert_eq!((message.host_name, message.content), ("10.0.0.99", "Use the BFG!"));
        assert!(message.tagged().is_err());
        assert_eq!(read(b"<0>su: x").expect("legal").timestamp, None);
    }

    #[test]
    fn invalid_input_is_rejected() {
        let good = "<130>Nov  7 10:12:45 heraldry tag: text";
        assert!(read(good.as_bytes()).is_ok());
        for (from, to) in [
            ("<130>", "<192>"),
            ("<130>", "<013>"),
            ("<130>", ""),
            ("Nov  7", "Nov 07"),
            ("Nov  7", "Nov 31"),
            ("Nov  7", "nov  7"),
            ("Nov  7", "Nov  0"),
            (":45 ", ":60 "),
            (" 10:", " 24:"),
            (" heraldry", "  heraldry"),
            ("heraldry", "heraldry.example"),
            ("heraldry", "2001:db8::1"),
            ("heraldry", "hö"),
            ("heraldry", "heraldry-"),
            ("heraldry", "-"),
            (" tag: text", ""),
            ("text", "te\nxt"),
            ("text", "te\txt"),
            ("text", "te\u{0}xt"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good);
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
        for bad in ["<0>: x", "<0>a-b: x", "<0>a:x", "<0>abcdefghijklmnopqrstuvwxyz0123456: x"] {
            assert!(read(bad.as_bytes()).expect("legal").tagged().is_err(), "{bad}");
        }
    }

    #[test]
    fn facts_stand_behind_the_text() {
        let (text, facts) = super::facts(r#"said \"a=\" \\ a="1 \"b\"" c_d="\\""#).expect("legal");
        assert_eq!(text, r#"said "a=" \"#);
        assert_eq!(facts, [("a".into(), r#"1 "b""#.into()), ("c_d".into(), "\\".into())]);
        assert_eq!(super::facts(r#"a="1""#), Ok((String::new(), vec![("a".into(), "1".into())])));
        assert_eq!(super::facts("text only"), Ok(("text only".into(), vec![])));
        for bad in [
            r#"x "a"#,
            r#"x a="1"#,
            r#"x a="1"b="2""#,
            r#"x a="1" a="2""#,
            r#"x a="""#,
            r#"x A="1""#,
            r"x \a",
            r#"x a="1" y"#,
        ] {
            assert!(super::facts(bad).is_err(), "{bad}");
        }
    }
}
