//! The rule for text that becomes a clickable link.

/// Returns the text as a URL if it is safe to click: an absolute `http` or `https` URL with a host and without
/// userinfo, at most `max_len` bytes.
///
/// Stricter than the URL standard on purpose: where a receiver parses a URL differently, it either rejects the whole
/// message or sends the reader to another host. A host is ASCII letters, digits, `-`, `.`, `_` or a bracketed IPv6
/// address. After the host, every character that is not printable ASCII, each of ``"<>\^`{|}`` and a stray `%` are
/// percent-encoded. Text with a control character is rejected.
pub fn web_url(text: &str, max_len: usize) -> Option<String> {
    let text = text.trim();
    if text.len() > max_len || text.chars().any(char::is_control) {
        return None;
    }
    let (scheme, rest) = text.split_once("://")?;
    let scheme = ["http", "https"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    if !is_authority(authority) {
        return None;
    }
    let mut url = String::with_capacity(text.len() + 16);
    url.push_str(scheme);
    url.push_str("://");
    url.push_str(authority);
    encode(tail, &mut url);
    (url.len() <= max_len).then_some(url)
}

/// Returns true for a host with an optional port; userinfo is not allowed.
fn is_authority(authority: &str) -> bool {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let port_fits = port
        .is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0));
    port_fits && is_host(host)
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        return address.strip_suffix(']').is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    host.len() <= 253
        && host.bytes().all(legal)
        && host.bytes().any(|b| b.is_ascii_alphanumeric())
        && !host.starts_with('.')
        && !host.contains("..")
}

/// Percent-encodes (RFC 3986, section 2.1) the characters that no URL component allows.
fn encode(tail: &str, url: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let bytes = tail.as_bytes();
    for (i, &byte) in bytes.iter().enumerate() {
        let stray_percent =
            byte == b'%' && !bytes.get(i + 1..i + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        let outside =
            !byte.is_ascii_graphic() || matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}');
        if outside || stray_percent {
            url.push('%');
            url.push(char::from(HEX[usize::from(byte >> 4)]));
            url.push(char::from(HEX[usize::from(byte & 15)]));
        } else {
            url.push(char::from(byte));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn safe_urls_become_links() {
        for (text, url) in [
            ("https://platform.example/f/1?a=b&c#d", "https://platform.example/f/1?a=b&c#d"),
            (" HTTPS://Platform.example ", "https://Platform.example"),
            ("http://10.0.0.1:8080/", "http://10.0.0.1:8080/"),
            ("http://[2001:db8::1]:80/x", "http://[2001:db8::1]:80/x"),
            ("http://[2001:db8::1]", "http://[2001:db8::1]"),
            ("https://a.example/a|b<c> d", "https://a.example/a%7Cb%3Cc%3E%20d"),
            ("https://a.example/{{x}}`\\é", "https://a.example/%7B%7Bx%7D%7D%60%5C%C3%A9"),
            ("https://a.example/100%&50%25", "https://a.example/100%25&50%25"),
            ("https://a.example/\u{202E}x", "https://a.example/%E2%80%AEx"),
            ("https://a.example?u=me@b.example", "https://a.example?u=me@b.example"),
        ] {
            assert_eq!(web_url(text, 200).as_deref(), Some(url), "{text:?}");
        }
    }

    #[test]
    fn unsafe_urls_do_not_become_links() {
        for text in [
            "",
            "platform.example",
            "//platform.example",
            "javascript:alert(1)",
            "javascript://a.example/%0aalert(1)",
            "data:text/html,x",
            "ftp://a.example",
            "https:a.example",
            "https:///path",
            "https://user@a.example",
            "https://user:pw@a.example/",
            "https://good.example\\@evil.example/",
            "https://good.example\\evil.example",
            "https://bücher.example/",
            "https://a.example:0/",
            "https://a.example:65536/",
            "https://a.example:+80/",
            "https://a.example:/",
            "https://[::1/",
            "https://[zz]/",
            "https://.../",
            "https://a..example/",
            "https://a.example/\nb",
            "java\tscript:alert(1)",
            "https://a b.example/",
            "https://a%2eexample/",
        ] {
            assert_eq!(web_url(text, 200), None, "{text:?}");
        }
        assert!(web_url("https://a.example/", 18).is_some());
        assert!(web_url("https://a.example/", 17).is_none());
        assert!(web_url("https://a.example/ ", 18).is_some());
        assert!(web_url("https://a.example/|", 20).is_none());
    }
}
