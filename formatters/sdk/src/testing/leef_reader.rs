//! A strict LEEF 2.0 parser, written from IBM's guide (FORMATS, section 11), independently of the formatter: the six
//! pipes of the header, the delimiter that it names, and the attributes with their types. It also rejects what the
//! guide only advises against (pipes and carets in values, keys of more than one word), because the formatter never
//! sends it.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// One parsed LEEF record.
#[derive(Debug)]
pub struct Record {
    /// The Vendor field.
    pub vendor: String,
    /// The Product field.
    pub product: String,
    /// The Version field.
    pub version: String,
    /// The EventID field.
    pub event_id: String,
    /// The separator of attributes.
    pub delimiter: char,
    /// The attributes, by key.
    pub attributes: BTreeMap<String, String>,
    /// The keys in the order of the record.
    pub keys: Vec<String>,
}

impl Record {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.attributes.get(key).map(String::as_str)
    }
}

/// Parses all of `text`.
///
/// # Errors
/// A description of the first violation.
pub fn read(text: &str) -> Result<Record, String> {
    let rest = text.strip_prefix("LEEF:2.0|").ok_or("does not begin with LEEF:2.0|")?;
    let parts: Vec<&str> = rest.splitn(6, '|').collect();
    let [vendor, product, version, event_id, delimiter, attributes] = parts[..] else {
        return Err("a pipe is missing".into());
    };
    for field in [vendor, product, version, event_id] {
        if field.is_empty() || field.trim() != field || field.len() > 255 || field.contains(is_unwanted) {
            return Err(format!("header field {field:?}"));
        }
    }
    let delimiter = delimiter_of(delimiter).ok_or_else(|| format!("delimiter {delimiter:?}"))?;
    let mut record = Record {
        vendor: vendor.into(),
        product: product.into(),
        version: version.into(),
        event_id: event_id.into(),
        delimiter,
        attributes: BTreeMap::new(),
        keys: Vec::new(),
    };
    for pair in attributes.split(delimiter) {
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("{pair:?} is no pair"))?;
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(format!("{key:?} is no key"));
        }
        if value.is_empty() || value.trim() != value || value.contains(is_unwanted) {
            return Err(format!("{key}={value:?}"));
        }
        check(key, value)?;
        record.keys.push(key.into());
        if record.attributes.insert(key.into(), value.into()).is_some() {
            return Err(format!("{key:?} twice"));
        }
    }
    Ok(record)
}

/// Parses the delimiter: one character, or its hexadecimal code after `x` or `0x`.
fn delimiter_of(text: &str) -> Option<char> {
    let mut chars = text.chars();
    if let (Some(one), None) = (chars.next(), chars.next()) {
        return Some(one);
    }
    let digits = text.strip_prefix("0x").or(text.strip_prefix('x'))?;
    let fits = (1..=4).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    fits.then(|| u32::from_str_radix(digits, 16).ok().and_then(char::from_u32)).flatten()
}

/// Returns true for characters that the guide advises against, and for those that would break a line.
fn is_unwanted(c: char) -> bool {
    c.is_control() || matches!(c, '|' | '^' | '\u{2028}' | '\u{2029}')
}

/// Checks the type of a predefined attribute.
fn check(key: &str, value: &str) -> Result<(), String> {
    let number = |most: u64| value.parse::<u64>().is_ok_and(|n| n <= most && n.to_string() == value);
    let legal = match key {
        // Milliseconds since 1970; every other form requires devTimeFormat, which the formatter does not send.
        "devTime" => value.len() == 13 && number(u64::MAX),
        "sev" => number(10) && value != "0",
        "src" | "dst" => value.parse::<IpAddr>().is_ok(),
        "srcPort" | "dstPort" => number(65_535),
        "usrName" | "accountName" => value.chars().count() <= 255,
        "devTimeFormat" | "proto" | "isLoginEvent" | "isLogoutEvent" | "calLanguage" | "calCountryOrRegion" => false,
        _ => !key.starts_with("ident"),
    };
    if legal { Ok(()) } else { Err(format!("{key}={value:?} is not of its type")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_guide_are_parsed() {
        let record = read("LEEF:2.0|Lancope|StealthWatch|1.0|41|^|src=192.0.2.0^dst=172.50.123.1^sev=5^cat=anomaly^srcPort=81^dstPort=21^usrName=joe.black").expect("legal");
        assert_eq!((&*record.vendor, &*record.event_id, record.delimiter), ("Lancope", "41", '^'));
        assert_eq!((record.get("usrName"), record.keys.len()), (Some("joe.black"), 7));
        for delimiter in ["x09", "0x09", "x9", "0x0009", "\t"] {
            let record = read(&format!("LEEF:2.0|V|P|1|E|{delimiter}|a=b\tc=d=e")).expect("legal");
            assert_eq!((record.get("a"), record.get("c")), (Some("b"), Some("d=e")));
        }
    }

    #[test]
    fn invalid_input_is_rejected() {
        let good = "LEEF:2.0|V|P|1|E|x09|devTime=1794910365120\tsev=5\ttext=a b";
        assert!(read(good).is_ok());
        for (from, to) in [
            ("LEEF:2.0", "LEEF:1.0"),
            ("|V|", "||"),
            ("|V|", "| V|"),
            ("|E|", "|a^b|"),
            ("|x09|", "|x00009|"),
            ("|x09|", "|"),
            ("a b", "a|b"),
            ("a b", "a^b"),
            ("a b", "a\tb"),
            ("a b", "a\nb"),
            ("a b", "a\u{2028}b"),
            ("a b", " a"),
            ("a b", ""),
            ("text", "a text"),
            ("text", "sev"),
            ("text", "dst"),
            ("text", "dstPort"),
            ("text", "identSrc"),
            ("sev=5", "sev=0"),
            ("sev=5", "sev=11"),
            ("sev=5", "sev=05"),
            ("1794910365120", "1794910365"),
            ("1794910365120", "2026-11-17T10"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good);
            assert!(read(&bad).is_err(), "{bad}");
        }
    }
}
