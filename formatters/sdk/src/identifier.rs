//! Identifiers that a destination compares: alerts and findings with equal identifiers are one to it, so two that
//! differ must not become equal when they are cleaned or truncated.

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::Event;
use crate::text::{Rule, bare, is_blank, tidy};

/// The longest text that identifies anything, in bytes: its digest takes some hundred instructions a byte.
const LONGEST: usize = 16 * 1024;

/// The mark before the digest.
const MARK: char = '~';

/// The digest in hexadecimal digits.
const DIGEST_CHARS: usize = 64;

/// The longest part of an identifier that names the engagement, in bytes.
const SCOPE: usize = 200;

/// The ids that identify a finding; an option of formats whose destinations compare findings or alerts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingKey {
    /// The engagement's and the finding's.
    #[default]
    Engagement,
    /// The finding's alone.
    Finding,
}

/// The text as an identifier of at most `limit`, in the units of `cost`. A text that fits and is printable stays as it
/// is; of any other the beginning stays, and `~` and the SHA-256 digest of the whole text follow. `None` if nothing of
/// it is visible, or if it has more than 16 KiB.
pub fn identifier(text: &str, limit: usize, cost: impl Fn(char) -> usize + Copy) -> Option<String> {
    let text = bare(text);
    if is_blank(text) || text.len() > LONGEST {
        return None;
    }
    let kept = tidy(text, Rule::ONE_LINE, limit, cost, "");
    if kept == text && !has_digest(text) {
        return Some(text.to_owned());
    }
    let mut out = tidy(text, Rule::ONE_LINE, limit.saturating_sub(DIGEST_CHARS + 1), cost, "").into_owned();
    out.push(MARK);
    for byte in Sha256::digest(text.as_bytes()) {
        out.extend([byte >> 4, byte & 15].map(|half| char::from_digit(half.into(), 16).unwrap_or_default()));
    }
    Some(out)
}

/// Returns true for a text that ends as an identifier with a digest does.
fn has_digest(text: &str) -> bool {
    text.rsplit_once(MARK).is_some_and(|(_, digest)| {
        digest.len() == DIGEST_CHARS && digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// The engagement within which the ids of findings are unique: two engagements may both have a finding `F-0101`.
#[derive(Debug, Clone)]
pub struct Scope(Option<String>);

impl Scope {
    /// The scope of an event's findings.
    pub fn of(event: &Event<'_>) -> Self {
        let engagement = event.engagement_id().map(|id| identifier(id, SCOPE, char::len_utf8));
        // An id that identifies nothing makes every event a scope of its own.
        Self(engagement.map(|id| escaped(&id.unwrap_or_else(|| event.id.to_owned()))))
    }

    /// The identifier of a finding in this scope, as in [`identifier`]: `ENGAGEMENT/FINDING`, or the finding's id alone
    /// if there is no engagement. In both parts `%` and `/` are percent-encoded, so that no two pairs are written
    /// alike.
    pub fn identifier(&self, finding: &str, limit: usize, cost: impl Fn(char) -> usize + Copy) -> Option<String> {
        let finding = bare(finding);
        if is_blank(finding) {
            return None;
        }
        match &self.0 {
            Some(engagement) => identifier(&format!("{engagement}/{}", escaped(finding)), limit, cost),
            None => identifier(&escaped(finding), limit, cost),
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('/', "%2F")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::RawEvent;
    use crate::text::utf16;

    fn of(text: &str) -> Option<String> {
        identifier(text, 255, utf16)
    }

    fn scoped(engagement: Option<&str>, finding: &str) -> Option<String> {
        let engagement = engagement.map(|id| serde_json::json!({"id": id, "name": "n"}));
        let json = serde_json::json!({"data": {}, "engagement": engagement}).to_string();
        let raw = RawEvent { id: "019a".into(), type_: "finding_added".into(), occurred_at: String::new(), json };
        Scope::of(&Event::parse(&raw).expect("an event")).identifier(finding, 255, utf16)
    }

    #[test]
    fn a_text_that_fits_stays() {
        for text in ["F-0101", "é".repeat(255).as_str(), "x".repeat(255).as_str(), "a b~c"] {
            assert_eq!(of(text).as_deref(), Some(text));
        }
        assert_eq!(of(" F-1\n").as_deref(), Some("F-1"));
        assert_eq!((of(" \0"), of("")), (None, None));
        assert_eq!((of(&"x".repeat(LONGEST)).is_some(), of(&"x".repeat(LONGEST + 1))), (true, None));
    }

    #[test]
    fn different_texts_stay_different() {
        let long = "x".repeat(255);
        let mut texts: Vec<String> =
            ["F-1", "F\u{202E}-1", "F\n-1", "F -1", "F\0-1", "f-1"].into_iter().map(String::from).collect();
        texts.extend([format!("{long}a"), format!("{long}b"), format!("{long}aa"), long]);
        // The written form of another one.
        let written = of(&texts[7]).expect("an identifier");
        texts.push(written);
        let all: BTreeSet<_> = texts.iter().map(|text| of(text).expect("an identifier")).collect();
        assert_eq!(all.len(), texts.len(), "{all:?}");
        assert!(all.iter().all(|id| id.encode_utf16().count() <= 255));
    }

    #[test]
    fn findings_of_two_engagements_are_told_apart() {
        let long = "e".repeat(300);
        let pairs = [
            (Some("A"), "F-1"),
            (Some("B"), "F-1"),
            (None, "F-1"),
            (None, "A/F-1"),
            (None, "A%2FF-1"),
            (Some("A/F-1"), "x"),
            (Some("A"), "F-1/x"),
            (Some("A%2FF-1"), "x"),
            (Some(&long), "F-1"),
            (Some(&long[1..]), "F-1"),
        ];
        let all: BTreeSet<_> = pairs.iter().map(|(engagement, finding)| scoped(*engagement, finding)).collect();
        assert_eq!(all.len(), pairs.len(), "{all:?}");
        assert_eq!(scoped(Some("ENG-1"), " F-1").as_deref(), Some("ENG-1/F-1"));
        assert_eq!(scoped(None, "F-1").as_deref(), Some("F-1"));
        assert_eq!(scoped(Some("A"), " "), None);
    }
}
