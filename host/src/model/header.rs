//! HTTP headers that webhooks and formatters set: the names and values that are accepted, and text cleaned for display.

/// Reserved names: they frame the message (a way to request smuggling), are hop-by-hop (RFC 9110, sections 7.6.1 and
/// 8.6), or are set by the host.
const RESERVED: [&str; 12] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Prefixes of names that are the host's own, or a proxy's.
const RESERVED_PREFIXES: [&str; 3] = ["proxy-", "webhook-", "x-webhook-"];

/// Checks that a header of this name may be sent in addition to the host's own.
///
/// # Errors
/// A clause to stand after the name: the name is not legal, or reserved.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err("is not a legal header name (RFC 9110, section 5.6.2)");
    }
    let lower = name.to_ascii_lowercase();
    if RESERVED.contains(&lower.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
        return Err("is set by the host or belongs to the connection");
    }
    Ok(())
}

/// True if a header can carry this value: visible ASCII with spaces and tabs in between, at most 8 KiB. Line breaks in
/// a value would allow header injection.
pub fn is_legal_value(value: &str) -> bool {
    let legal = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte);
    value.len() <= 8192 && value.bytes().all(legal) && value.trim_matches([' ', '\t']) == value
}

/// Third-party text, cleaned for a log line or a message: control characters and bidirectional overrides become spaces,
/// and text beyond `most` bytes is replaced by `…`.
pub fn printable(text: &str, most: usize) -> String {
    let mut cut = text.len().min(most);
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    let unsafe_char = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown: String = text[..cut].chars().map(|c| if unsafe_char(c) { ' ' } else { c }).collect();
    if cut < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_names_and_the_hosts_own_are_rejected() {
        for name in [
            "Host",
            "content-LENGTH",
            "Transfer-Encoding",
            "X-Webhook-Signature",
            "webhook-id",
            "Proxy-Foo",
            "a b",
            "x\r\ny",
            "",
        ] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        for name in ["Authorization", "X-Request-Id", "X-Splunk-Request-Channel"] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn values_that_end_a_line_are_rejected() {
        for value in ["a\r\nb", "a\0", "é", " padded"] {
            assert!(!is_legal_value(value), "{value:?}");
        }
        assert!(is_legal_value("Splunk 0f3c-\t9"));
    }

    #[test]
    fn shown_text_has_no_controls_and_is_cut_between_characters() {
        assert_eq!(printable("a\x1b[31mb\u{202e}c\n", 100), "a [31mb c ");
        assert_eq!(printable("ééé", 3), "é…");
    }
}
