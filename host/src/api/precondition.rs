//! Optimistic concurrency for webhooks: `ETag` and `If-Match` (RFC 9110, sections 8.8.3 and 13.1.1).

use http::{HeaderMap, HeaderName};

use super::problem::{ApiError, Code};
use crate::model::webhook::Webhook;

/// A webhook's entity tag: changes with its configuration, never with its counters.
pub fn etag(webhook: &Webhook) -> String {
    format!("\"r{}\"", webhook.revision)
}

/// The precondition of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IfMatch {
    /// No `If-Match`: the change is unconditional.
    Absent,
    /// `*`: any version of an existing webhook.
    Any,
    /// One of these strong tags. Weak ones are dropped: they never match in the strong comparison of `If-Match`.
    OneOf(Vec<String>),
}

impl IfMatch {
    /// Reads the header, which may come several times.
    ///
    /// # Errors
    /// 400 if it is neither `*` nor a list of entity tags.
    pub fn read(headers: &HeaderMap, name: HeaderName) -> Result<Self, ApiError> {
        let malformed = || ApiError::new(Code::InvalidHeader, format!("{name} must be * or a list of entity tags"));
        let mut values = Vec::new();
        for value in headers.get_all(&name) {
            values.push(value.to_str().map_err(|_| malformed())?);
        }
        match values.as_slice() {
            [] => Ok(Self::Absent),
            [one] if one.trim() == "*" => Ok(Self::Any),
            _ => Ok(Self::OneOf(strong_tags(&values.join(",")).ok_or_else(malformed)?)),
        }
    }

    /// Checks that the webhook has one of the requested versions.
    ///
    /// # Errors
    /// 412 if it has not.
    pub fn check(&self, webhook: &Webhook) -> Result<(), ApiError> {
        match self {
            Self::Absent | Self::Any => Ok(()),
            Self::OneOf(tags) if tags.contains(&etag(webhook)) => Ok(()),
            Self::OneOf(_) => {
                let detail =
                    "the webhook was changed since the version in If-Match; read it again, then send the change again";
                Err(ApiError::new(Code::PreconditionFailed, detail))
            }
        }
    }
}

/// The strong tags of a list; `None` if it is malformed.
fn strong_tags(list: &str) -> Option<Vec<String>> {
    let mut strong = Vec::new();
    let mut rest = list.trim_matches([' ', '\t', ',']);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let (tag, after) = quoted.strip_prefix('"')?.split_once('"')?;
        if !weak {
            strong.push(format!("\"{tag}\""));
        }
        let after = after.trim_start_matches([' ', '\t']);
        if !after.is_empty() && !after.starts_with(',') {
            return None;
        }
        rest = after.trim_start_matches([' ', '\t', ',']);
    }
    Some(strong)
}

#[cfg(test)]
mod tests {
    use http::header::IF_MATCH;

    use super::*;

    fn read(values: &[&'static str]) -> Option<IfMatch> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IF_MATCH, http::HeaderValue::from_static(value));
        }
        IfMatch::read(&headers, IF_MATCH).ok()
    }

    fn tags(tags: &[&str]) -> Option<IfMatch> {
        Some(IfMatch::OneOf(tags.iter().map(|tag| (*tag).to_owned()).collect()))
    }

    #[test]
    fn reads_every_form_of_the_header() {
        assert_eq!(read(&[]), Some(IfMatch::Absent));
        assert_eq!(read(&[" * "]), Some(IfMatch::Any));
        assert_eq!(read(&["\"r1\""]), tags(&["\"r1\""]));
        assert_eq!(read(&["\"a,b\" , W/\"r1\",,\"r2\""]), tags(&["\"a,b\"", "\"r2\""]));
        assert_eq!(read(&["\"r1\"", "\"r2\""]), tags(&["\"r1\"", "\"r2\""]));
        for bad in ["", "r1", "\"r1", "\"r1\" \"r2\"", "*, \"r1\"", "w/\"r1\""] {
            assert_eq!(read(&[bad]), None, "{bad}");
        }
    }
}
