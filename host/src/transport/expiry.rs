//! When a certificate expires (X.509, RFC 5280, section 4.1), read from its DER. Only as much of it as lies before the
//! validity is looked at; the TLS library judges the rest.

use crate::model::time::Timestamp;

const SEQUENCE: u8 = 0x30;
/// `[0]`, the version, which may be absent.
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The time after which a certificate is not valid any more; `None` if it cannot be read.
pub(super) fn not_after(der: &[u8]) -> Option<Timestamp> {
    let (certificate, _) = value(der, SEQUENCE)?;
    let (signed, _) = value(certificate, SEQUENCE)?;
    let mut rest = match value(signed, VERSION) {
        Some((_, rest)) => rest,
        None => signed,
    };
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        (_, _, rest) = element(rest)?;
    }
    let (validity, _) = value(rest, SEQUENCE)?;
    let (_, _, rest) = element(validity)?;
    let (tag, text, _) = element(rest)?;
    time(tag, std::str::from_utf8(text).ok()?)
}

/// The first element's content if it has this tag, and what follows it.
fn value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    element(der).filter(|(found, _, _)| *found == tag).map(|(_, content, rest)| (content, rest))
}

/// The first element: its tag, its content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ`, of the years 1950 to 2049, or the same with four digits of the year.
fn time(tag: u8, text: &str) -> Option<Timestamp> {
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let century = if year < "50" { "20" } else { "19" };
            (format!("{century}{year}"), rest)
        }
        GENERALIZED_TIME => text.split_at_checked(4).map(|(year, rest)| (year.to_owned(), rest))?,
        _ => return None,
    };
    let digits = rest.strip_suffix('Z').filter(|digits| digits.len() == 10)?;
    let part = |index: usize| digits.get(index..index + 2);
    let (month, day) = (part(0)?, part(2)?);
    let (hour, minute, second) = (part(4)?, part(6)?, part(8)?);
    Timestamp::parse(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(year: i32) -> Vec<u8> {
        let mut parameters = rcgen::CertificateParams::new(vec!["hooks.example".to_owned()]).expect("a name");
        parameters.not_after = rcgen::date_time_ymd(year, 3, 4);
        let key = rcgen::KeyPair::generate().expect("a key");
        parameters.self_signed(&key).expect("a certificate").der().to_vec()
    }

    #[test]
    fn the_end_of_the_validity_is_read_in_both_forms_of_a_time() {
        for year in [2027, 2049, 2050, 2200] {
            let found = not_after(&certificate(year)).expect("a time");
            assert_eq!(found.to_string(), format!("{year}-03-04T00:00:00.000Z"));
        }
    }

    #[test]
    fn a_certificate_that_is_cut_or_none_at_all_has_no_time() {
        let whole = certificate(2030);
        (0..60).for_each(|length| assert_eq!(not_after(&whole[..length]), None));
        assert_eq!(not_after(b"-----BEGIN CERTIFICATE-----"), None);
        assert_eq!(
            time(UTC_TIME, "500101000000Z").map(|at| at.to_string()).as_deref(),
            Some("1950-01-01T00:00:00.000Z")
        );
        for text in ["", "3001010000Z", "300101000000+0100", "30010100000éZ"] {
            assert_eq!(time(UTC_TIME, text), None, "{text}");
        }
    }
}
