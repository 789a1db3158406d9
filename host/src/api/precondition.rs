//! Conditional requests (RFC 9110, section 13): `ETag`, `If-Match` and `If-None-Match`.
//!
//! Webhooks have entity tags, for optimistic concurrency and cached reads. Other resources that can be changed have none;
//! there a condition can only ask whether the resource exists. Reads of what has no tag are unconditional.

use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName};

use super::problem::{ApiError, Code};
use crate::model::webhook::Webhook;

/// A webhook's entity tag: changes with its configuration, never with its counters.
pub fn etag(webhook: &Webhook) -> String {
    format!("\"r{}\"", webhook.revision)
}

/// The resource that a request is for, as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Current {
    /// There is none.
    Missing,
    /// It has no entity tag.
    Untagged,
    /// It has this strong entity tag.
    Tagged(String),
}

impl Current {
    /// A webhook, which has a tag.
    pub fn webhook(webhook: &Webhook) -> Self {
        Self::Tagged(etag(webhook))
    }

    /// A resource without a tag.
    pub fn exists(exists: bool) -> Self {
        if exists { Self::Untagged } else { Self::Missing }
    }
}

/// The preconditions of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Preconditions {
    if_match: Condition,
    if_none_match: Condition,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Condition {
    /// No such header.
    Absent,
    /// `*`: any version.
    Any,
    /// One of these tags.
    OneOf(Vec<Tag>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Tag {
    is_weak: bool,
    /// With its quotes.
    text: String,
}

impl Preconditions {
    /// Reads the headers, which may come several times.
    ///
    /// # Errors
    /// 400 if one is neither `*` nor a list of entity tags.
    pub fn read(headers: &HeaderMap) -> Result<Self, ApiError> {
        Ok(Self {
            if_match: Condition::read(headers, IF_MATCH)?,
            if_none_match: Condition::read(headers, IF_NONE_MATCH)?,
        })
    }

    /// True if the request has none.
    pub fn are_absent(&self) -> bool {
        self.if_match == Condition::Absent && self.if_none_match == Condition::Absent
    }

    /// Checks the preconditions of a change.
    ///
    /// # Errors
    /// 412 if one does not hold.
    pub fn check(&self, current: &Current) -> Result<(), ApiError> {
        self.check_match(current)?;
        if self.excludes(current) {
            let detail = "it exists in a version that If-None-Match excludes; read it, then decide again";
            return Err(ApiError::new(Code::PreconditionFailed, detail));
        }
        Ok(())
    }

    /// Checks the preconditions of a read; true if the client has the current version already (304).
    ///
    /// # Errors
    /// 412 if `If-Match` does not hold.
    pub fn is_cached(&self, current: &Current) -> Result<bool, ApiError> {
        self.check_match(current)?;
        Ok(self.excludes(current))
    }

    /// `If-Match` uses the strong comparison: a weak tag never matches.
    fn check_match(&self, current: &Current) -> Result<(), ApiError> {
        let detail = match (&self.if_match, current) {
            (Condition::Absent, _) | (Condition::Any, Current::Untagged | Current::Tagged(_)) => return Ok(()),
            (Condition::OneOf(tags), Current::Tagged(tag)) => {
                if tags.iter().any(|given| !given.is_weak && given.text == *tag) {
                    return Ok(());
                }
                "the webhook was changed since the version in If-Match; read it again, then send the change again"
            }
            (_, Current::Missing) => "there is none yet, and If-Match demands one; leave it out to create it",
            (Condition::OneOf(_), Current::Untagged) => "this has no versions, so If-Match can only be *",
        };
        Err(ApiError::new(Code::PreconditionFailed, detail))
    }

    /// `If-None-Match` uses the weak comparison.
    fn excludes(&self, current: &Current) -> bool {
        match (&self.if_none_match, current) {
            (Condition::Absent, _) | (_, Current::Missing) | (Condition::OneOf(_), Current::Untagged) => false,
            (Condition::Any, Current::Untagged | Current::Tagged(_)) => true,
            (Condition::OneOf(tags), Current::Tagged(tag)) => tags.iter().any(|given| given.text == *tag),
        }
    }
}

impl Condition {
    fn read(headers: &HeaderMap, name: HeaderName) -> Result<Self, ApiError> {
        let malformed = || ApiError::new(Code::InvalidHeader, format!("{name} must be * or a list of entity tags"));
        let mut values = Vec::new();
        for value in headers.get_all(&name) {
            values.push(value.to_str().map_err(|_| malformed())?);
        }
        match values.as_slice() {
            [] => Ok(Self::Absent),
            [one] if one.trim() == "*" => Ok(Self::Any),
            _ => Ok(Self::OneOf(tags(&values.join(",")).ok_or_else(malformed)?)),
        }
    }
}

/// The tags of a list; `None` if it is malformed.
fn tags(list: &str) -> Option<Vec<Tag>> {
    let mut tags = Vec::new();
    let mut rest = list.trim_matches([' ', '\t', ',']);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (is_weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let (tag, after) = quoted.strip_prefix('"')?.split_once('"')?;
        tags.push(Tag { is_weak, text: format!("\"{tag}\"") });
        let after = after.trim_start_matches([' ', '\t']);
        if !after.is_empty() && !after.starts_with(',') {
            return None;
        }
        rest = after.trim_start_matches([' ', '\t', ',']);
    }
    Some(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&'static str]) -> Option<Condition> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IF_MATCH, http::HeaderValue::from_static(value));
        }
        Condition::read(&headers, IF_MATCH).ok()
    }

    fn tags(tags: &[(bool, &str)]) -> Option<Condition> {
        let tag = |(is_weak, text): &(bool, &str)| Tag { is_weak: *is_weak, text: (*text).to_owned() };
        Some(Condition::OneOf(tags.iter().map(tag).collect()))
    }

    #[test]
    fn reads_every_form_of_the_header() {
        assert_eq!(read(&[]), Some(Condition::Absent));
        assert_eq!(read(&[" * "]), Some(Condition::Any));
        assert_eq!(read(&["\"r1\""]), tags(&[(false, "\"r1\"")]));
        let list = tags(&[(false, "\"a,b\""), (true, "\"r1\""), (false, "\"r2\"")]);
        assert_eq!(read(&["\"a,b\" , W/\"r1\",,\"r2\""]), list);
        assert_eq!(read(&["\"r1\"", "\"r2\""]), tags(&[(false, "\"r1\""), (false, "\"r2\"")]));
        for bad in ["", "r1", "\"r1", "\"r1\" \"r2\"", "*, \"r1\"", "w/\"r1\""] {
            assert_eq!(read(&[bad]), None, "{bad}");
        }
    }

    #[test]
    fn conditions_are_evaluated_as_rfc_9110_has_them() {
        let tagged = || Current::Tagged("\"r1\"".to_owned());
        for (name, value, missing, untagged, same) in [
            (IF_MATCH, "*", false, true, true),
            (IF_MATCH, "\"r0\", \"r1\"", false, false, true),
            (IF_MATCH, "W/\"r1\"", false, false, false),
            (IF_MATCH, "\"r2\"", false, false, false),
            (IF_NONE_MATCH, "*", true, false, false),
            (IF_NONE_MATCH, "\"r0\", \"r1\"", true, true, false),
            (IF_NONE_MATCH, "W/\"r1\"", true, true, false),
            (IF_NONE_MATCH, "\"r2\"", true, true, true),
        ] {
            let headers = HeaderMap::from_iter([(name.clone(), http::HeaderValue::from_static(value))]);
            let conditions = Preconditions::read(&headers).expect("well formed");
            for (current, holds) in [(Current::Missing, missing), (Current::Untagged, untagged), (tagged(), same)] {
                assert_eq!(conditions.check(&current).is_ok(), holds, "{name}: {value} {current:?}");
                let is_read = conditions.is_cached(&current).is_ok_and(|cached| !cached);
                assert_eq!(is_read, holds, "{name}: {value} {current:?}");
            }
        }
    }
}
