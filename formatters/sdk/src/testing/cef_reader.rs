//! A strict CEF:0 parser, written from FORMATS, section 3 (the OpenText implementation standard), independently of the
//! formatter: escapes of the header and the extension, and the dictionary with each key's type and length.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

/// One parsed CEF record, unescaped.
#[derive(Debug)]
pub struct Record {
    /// The Device Vendor field.
    pub vendor: String,
    /// The Device Product field.
    pub product: String,
    /// The Device Version field.
    pub version: String,
    /// The Signature field (Device Event Class ID).
    pub signature: String,
    /// The Name field.
    pub name: String,
    /// The Severity field, 0 to 10.
    pub severity: u8,
    /// The extension's pairs, including labels.
    pub extension: BTreeMap<String, String>,
}

impl Record {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.extension.get(key).map(String::as_str)
    }
}

/// Parses all of `text`.
///
/// # Errors
/// A description of the first violation.
pub fn read(text: &str) -> Result<Record, String> {
    if let Some(c) = text.chars().find(|&c| c.is_control() || c == '\u{2028}' || c == '\u{2029}') {
        return Err(format!("{c:?} in the record"));
    }
    let mut rest = text.strip_prefix("CEF:0|").ok_or("does not begin with CEF:0|")?;
    let mut fields = Vec::with_capacity(6);
    for what in ["vendor", "product", "version", "signature", "name", "severity"] {
        let (value, behind) = header_field(rest).map_err(|e| format!("{what}: {e}"))?;
        fields.push(value);
        rest = behind;
    }
    let maxima = [63, 63, 31, 1023, 512, 2];
    for (field, max) in fields.iter().zip(maxima) {
        if field.is_empty() || field.len() > max || field.trim() != field {
            return Err(format!("header field of {} bytes, 1 to {max} allowed: {field:?}", field.len()));
        }
    }
    let severity = match fields[5].parse() {
        Ok(n @ 0..=10) if fields[5] == u8::to_string(&n) => n,
        _ => return Err(format!("severity {:?}", fields[5])),
    };
    let extension = extension(rest)?;
    for (key, value) in &extension {
        check(key, value, &extension)?;
    }
    let mut fields = fields.into_iter();
    let mut next = || fields.next().unwrap_or_default();
    Ok(Record {
        vendor: next(),
        product: next(),
        version: next(),
        signature: next(),
        name: next(),
        severity,
        extension,
    })
}

/// Parses one header field up to its pipe; returns it unescaped, with the rest of the text after the pipe.
fn header_field(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '|' => return Ok((value, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, escaped @ ('|' | '\\'))) => value.push(escaped),
                other => return Err(format!("a backslash before {other:?}")),
            },
            _ => value.push(c),
        }
    }
    Err("no pipe".to_owned())
}

/// Parses the pairs. A key lies between a space (or the start) and an unescaped `=`.
fn extension(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut signs = Vec::new();
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '=' => signs.push(at),
            _ => {}
        }
    }
    let mut starts = Vec::with_capacity(signs.len());
    for &sign in &signs {
        let start = text[..sign].rfind(' ').map_or(0, |space| space + 1);
        let key = &text[start..sign];
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(format!("{key:?} is no key"));
        }
        starts.push(start);
    }
    if starts.first().is_some_and(|&start| start != 0) || (starts.is_empty() && !text.is_empty()) {
        return Err("text before the first key".to_owned());
    }
    let mut pairs = BTreeMap::new();
    for (index, (&start, &sign)) in starts.iter().zip(&signs).enumerate() {
        // One space separates two pairs; any further space belongs to the value.
        let end = starts.get(index + 1).map_or(text.len(), |&next| next - 1);
        if end < sign + 1 {
            return Err(format!("{:?} overlaps", &text[start..sign]));
        }
        let value = unescape(&text[sign + 1..end])?;
        if value.is_empty() || value.trim() != value {
            return Err(format!("{:?} is empty or padded: {value:?}", &text[start..sign]));
        }
        if pairs.insert(text[start..sign].to_owned(), value).is_some() {
            return Err(format!("{:?} twice", &text[start..sign]));
        }
    }
    Ok(pairs)
}

fn unescape(text: &str) -> Result<String, String> {
    let mut value = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | '=')) => value.push(escaped),
                Some('n') => value.push('\n'),
                other => return Err(format!("a backslash before {other:?}")),
            },
            _ => value.push(c),
        }
    }
    Ok(value)
}

/// Checks key, type and length against the dictionary, and labels against the keys that they label.
fn check(key: &str, value: &str, all: &BTreeMap<String, String>) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{key}={value:?}: {what}"));
    if let Some(labelled) = key.strip_suffix("Label") {
        return match all.get(labelled) {
            Some(_) if value.len() <= 1023 => Ok(()),
            Some(_) => wrong("a label has at most 1023"),
            None => wrong("labels nothing"),
        };
    }
    let custom =
        |prefix: &str| key.strip_prefix(prefix).is_some_and(|n| n.len() == 1 && n.bytes().all(|b| b.is_ascii_digit()));
    let labelled = custom("cs")
        || custom("cn")
        || custom("cfp")
        || custom("deviceCustomDate")
        || (key.starts_with("c6a") && key.len() == 4);
    if labelled && !all.contains_key(&format!("{key}Label")) {
        return wrong("has no label");
    }
    let long = |value: &str| value.parse::<i64>().is_ok_and(|n| n.to_string() == value);
    let longest = match key {
        "dst" | "src" | "dvc" => {
            return if value.parse::<Ipv4Addr>().is_ok() { Ok(()) } else { wrong("is no IPv4 address") };
        }
        "c6a1" | "c6a3" | "c6a4" => {
            return if value.parse::<Ipv6Addr>().is_ok() { Ok(()) } else { wrong("is no IPv6 address") };
        }
        "dpt" | "spt" => {
            return if value.parse::<u16>().is_ok_and(|n| n.to_string() == value) {
                Ok(())
            } else {
                wrong("is no port")
            };
        }
        "cnt" => {
            return if value.parse::<i32>().is_ok_and(|n| n >= 0 && n.to_string() == value) {
                Ok(())
            } else {
                wrong("is no count")
            };
        }
        "cn1" | "cn2" | "cn3" => {
            return if long(value) { Ok(()) } else { wrong("is no long") };
        }
        "rt" | "start" | "end" | "deviceCustomDate1" | "deviceCustomDate2" => {
            return if long(value) && !value.starts_with('-') { Ok(()) } else { wrong("is no time in milliseconds") };
        }
        "cfp1" | "cfp2" | "cfp3" | "cfp4" => {
            let plain = value.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-');
            return if plain && value.parse::<f64>().is_ok_and(f64::is_finite) {
                Ok(())
            } else {
                wrong("is no double")
            };
        }
        "cs1" | "cs2" | "cs3" | "cs4" | "cs5" | "cs6" => 4000,
        "shost"
        | "dhost"
        | "suser"
        | "duser"
        | "msg"
        | "reason"
        | "request"
        | "cat"
        | "deviceFacility"
        | "sourceServiceName"
        | "destinationServiceName" => 1023,
        "dvchost" => 100,
        "act" | "outcome" => 63,
        "app" => 31,
        "externalId" => 40,
        "deviceExternalId" => 255,
        _ => return wrong("is no key of ours"),
    };
    if value.len() > longest { wrong(&format!("{} bytes, at most {longest}", value.len())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_parsed() {
        let line = "CEF:0|Heraldry|Heraldry|0.1.0|finding_added|Stored XSS \\| name=\"message\"|7|rt=1794920759000 dhost=dvwa.contoso.example \
                msg=Kept.\\nSee a\\=b | c\\\\d cs1Label=objectId cs1=F-0102 cfp1Label=cvss cfp1=7.4";
        let record = read(line).expect("legal");
        assert_eq!(record.name, "Stored XSS | name=\"message\"");
        assert_eq!(record.get("msg"), Some("Kept.\nSee a=b | c\\d"));
        assert_eq!((record.severity, record.get("cfp1"), record.get("rt")), (7, Some("7.4"), Some("1794920759000")));
    }

    #[test]
    fn invalid_input_is_rejected() {
        let good = "CEF:0|V|P|1|finding_added|Name|7|rt=1 msg=a b cs1Label=x cs1=y";
        assert!(read(good).is_ok());
        for (from, to) in [
            ("CEF:0", "CEF:1"),
            ("|V|", "||"),
            ("|V|", "|\\V|"),
            ("|7|", "|11|"),
            ("|7|", "|07|"),
            ("|7|", "|7"),
            ("Name", "Na|me"),
            ("rt=1", "rt=2026-11-17"),
            ("rt=1", " rt=1"),
            ("rt=1", "x rt=1"),
            ("rt=1 ", "rt=1  "),
            ("a b", "a=b"),
            ("a b", "a \\b"),
            ("a b", "a\\"),
            ("msg=a b", "msg="),
            ("msg=a b", "rt=1"),
            ("cs1Label=x ", ""),
            (" cs1=y", ""),
            ("msg", "eventId"),
            ("msg", "dst"),
            ("msg", "heraldryKey"),
            ("a b", "a\u{7}b"),
            ("a b", "a\nb"),
            ("rt=1", "dpt=65536"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good);
            assert!(read(&bad).is_err(), "{bad}");
        }
    }
}
