//! Parsers for the values of single settings. Each error is a phrase that says what was expected.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use base64::Engine as _;
use ipnet::IpNet;

use super::LogFormat;
use crate::model::secret::Secret;
use crate::model::settings::{MetricsLabels, ProxySettings};

/// The words for [`LogFormat`].
pub(super) const LOG_FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
/// The words for [`MetricsLabels`].
pub(super) const METRICS_LABELS: &[(&str, MetricsLabels)] = &[("id", MetricsLabels::Id), ("name", MetricsLabels::Name)];
/// The words for log levels, the least verbose first.
pub(super) const LOG_LEVELS: &[(&str, tracing::Level)] = &[
    ("error", tracing::Level::ERROR),
    ("warn", tracing::Level::WARN),
    ("info", tracing::Level::INFO),
    ("debug", tracing::Level::DEBUG),
    ("trace", tracing::Level::TRACE),
];

/// The words for what is on or off.
pub(super) const SWITCH: &[(&str, bool)] = &[("on", true), ("off", false)];

/// The origin of a console behind a proxy: `https` and a host, nothing after it.
pub(super) fn console_origin(text: &str) -> Result<String, String> {
    let expected = || "expected https, host and port only, as in https://heraldry.example".to_owned();
    let url = url::Url::parse(text).map_err(|_| expected())?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if url.scheme() != "https" || !bare || url.password().is_some() {
        return Err(expected());
    }
    Ok(url.origin().ascii_serialization())
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let (last, others) = words.split_last().unwrap_or((&"", &[]));
        format!("expected {} or {last}", others.join(", "))
    })
}

/// The word of a value: the inverse of [`one_of`].
pub(super) fn name_of<T: PartialEq>(value: &T, words: &[(&str, T)]) -> String {
    words.iter().find(|(_, known)| known == value).map(|(word, _)| (*word).to_owned()).unwrap_or_default()
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "expected an IP address and a port, as in 127.0.0.1:8080, 0.0.0.0:80 or [::1]:8080".to_owned())
}

/// A path that the system can open: any text without a NUL byte.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.contains('\0') { Err("a path has no NUL byte".to_owned()) } else { Ok(PathBuf::from(text)) }
}

/// `NAME=FILE`: a CA bundle.
pub(super) fn ca(text: &str) -> Result<(String, PathBuf), String> {
    let (name, file) = named(text, "corp=/etc/heraldry/corp-ca.pem")?;
    Ok((name, path(file)?))
}

/// `NAME=CERT:KEY`: a client certificate and its key.
pub(super) fn client_cert(text: &str) -> Result<(String, PathBuf, PathBuf), String> {
    let expected = "siem=/etc/heraldry/siem.pem:/etc/heraldry/siem.key";
    let (name, files) = named(text, expected)?;
    let (cert, key) = files
        .split_once(':')
        .filter(|(cert, key)| !cert.is_empty() && !key.is_empty())
        .ok_or_else(|| format!("expected a name, the certificate's file and its key's file, as in {expected}"))?;
    Ok((name, path(cert)?, path(key)?))
}

/// Splits `NAME=REST`; a webhook refers to the entry by the name.
fn named<'a>(text: &'a str, expected: &str) -> Result<(String, &'a str), String> {
    let (name, rest) = text.split_once('=').unwrap_or_default();
    let is_name = (1..=63).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if is_name && !rest.is_empty() {
        return Ok((name.to_owned(), rest));
    }
    Err(format!(
        "expected a name of at most 63 letters, digits, -, _ and ., an equals sign and a file, as in {expected}"
    ))
}

/// An HTTP proxy's URL. The text may hold a password, so no error repeats any of it.
pub(super) fn proxy(text: &str) -> Result<ProxySettings, String> {
    let expected = || "expected the proxy's URL, as in http://proxy.example.com:3128".to_owned();
    let url = url::Url::parse(text).map_err(|_| expected())?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else { return Err(expected()) };
    if url.scheme() != "http" || !bare || port == 0 {
        return Err(expected());
    }
    let host = match host {
        url::Host::Domain(name) => name.to_owned(),
        url::Host::Ipv4(ip) => ip.to_string(),
        url::Host::Ipv6(ip) => ip.to_string(),
    };
    let has_user = !url.username().is_empty() || url.password().is_some();
    let authorization = has_user.then(|| {
        let plain = format!("{}:{}", decoded(url.username()), decoded(url.password().unwrap_or_default()));
        Secret::new(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(plain)))
    });
    Ok(ProxySettings { host, port, authorization, except: Vec::new(), sends_names: false })
}

/// Decodes a percent-encoded part of a URL.
fn decoded(part: &str) -> String {
    let query = format!("x={}", part.replace('+', "%2B"));
    let pair = url::form_urlencoded::parse(query.as_bytes()).next();
    pair.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// A network in CIDR notation, or one address. Bits set behind the prefix are rejected: `10.1.2.3/8` may have been
/// meant as the address or as the network.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let net: IpNet =
        text.parse().map_err(|_| "expected a network, as in 10.0.0.0/8, 192.168.7.9 or fd00::/8".to_owned())?;
    if net.trunc() == net { Ok(net) } else { Err(format!("bits behind the prefix: {} is the network", net.trunc())) }
}

/// A HOSTNAME of RFC 5424, section 6.2.4: 1 to 255 printable ASCII characters without a space.
pub(super) fn host_name(text: &str) -> Result<String, String> {
    let fits = (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if fits {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 255 printable ASCII characters without a space".to_owned())
    }
}
