//! A finding's CVSS score, however it is posted: a number, a text, a list of scores, or an object as scanners and
//! vulnerability databases write it (`{"score": 9.8, "vector": ".."}`, `{"v3": {"baseScore": 9.8}}`, Trivy's
//! `{"nvd": {"V3Score": 9.8}}`, the NVD's `{"cvssMetricV31": [{"cvssData": {"baseScore": 9.8}}]}`).

use std::borrow::Cow;

use crate::value::{Object, Value};

/// The most items of a list, and members of an object, among which a score is searched.
const MOST: usize = 50;

/// The deepest object that is searched for a score.
const DEPTH: usize = 5;

/// The longest object that is searched, in bytes: each level reads it again.
const OBJECT: usize = 16 * 1024;

/// A CVSS score.
#[derive(Debug, Clone, PartialEq)]
pub struct Cvss<'a> {
    /// The score as posted: `9.8`, or any other text.
    pub text: Cow<'a, str>,
    /// The numeric value, if it is from 0 to 10.
    pub score: Option<f64>,
    /// The vector that came with the score: `CVSS:3.1/AV:N/..`.
    pub vector: Option<Cow<'a, str>>,
}

impl<'a> Cvss<'a> {
    /// Reads the score. Of several the first valid one counts, in an object that of the newest CVSS version. A value
    /// without a valid score is shown as it is, preferably by its vector.
    pub(crate) fn of(value: Value<'a>) -> Option<Self> {
        if let Some(found) = valid(value, DEPTH) {
            return Some(found);
        }
        let first = value.items().next()?;
        let vector = if is_small(first) { vector(&first.object()) } else { None };
        Some(Self { text: vector.clone().or_else(|| first.text())?, score: None, vector })
    }
}

/// A score from 0 to 10 that is this value, or is in it.
fn valid(value: Value<'_>, depth: usize) -> Option<Cvss<'_>> {
    if value.is_object() {
        let depth = depth.checked_sub(1).filter(|_| is_small(value))?;
        return of_object(&value.object(), depth);
    }
    if value.is_list() {
        let depth = depth.checked_sub(1)?;
        return value.items().take(MOST).find_map(|item| valid(item, depth));
    }
    let score = value.number().filter(|score| (0.0..=10.0).contains(score))?;
    Some(Cvss { text: value.text()?, score: Some(score), vector: None })
}

fn is_small(value: Value<'_>) -> bool {
    value.json().len() <= OBJECT
}

fn of_object<'a>(object: &Object<'a>, depth: usize) -> Option<Cvss<'a>> {
    let mut ranked: Vec<_> =
        object.iter().take(MOST).filter_map(|(name, value)| Some((rank(&name, value)?, value))).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    let mut found = ranked.into_iter().find_map(|(_, value)| valid(value, depth))?;
    found.vector = found.vector.or_else(|| vector(object));
    Some(found)
}

/// The order in which the members of an object are searched; `None` for one that holds no score.
fn rank(name: &str, value: Value<'_>) -> Option<u8> {
    let name = plain(name);
    let bare = name.strip_prefix("cvss").unwrap_or(&name);
    let bare = bare.strip_prefix("metric").unwrap_or(bare);
    match bare.strip_suffix("score").unwrap_or(bare).trim_matches('v') {
        "" | "base" | "overall" => Some(0),
        "value" | "number" | "data" => Some(1),
        "4" | "40" | "4base" | "base4" | "basev4" => Some(2),
        "31" | "31base" | "base31" | "basev31" => Some(3),
        "3" | "30" | "3base" | "base3" | "basev3" => Some(4),
        "2" | "20" | "2base" | "base2" | "basev2" => Some(6),
        // By source, such as `nvd` or `redhat`; other scores have names of their own.
        other if value.is_object() || value.is_list() => {
            let is_other = ["temporal", "environment", "exploit", "impact", "epss", "threat"];
            (!is_other.iter().any(|word| other.contains(word))).then_some(5)
        }
        _ => None,
    }
}

/// The vector among an object's members; of several that of the newest version.
fn vector<'a>(object: &Object<'a>) -> Option<Cow<'a, str>> {
    let vectors = object.iter().take(MOST).filter(|(name, _)| plain(name).contains("vector"));
    let newest = vectors.max_by_key(|(_, value)| value.string().map(|text| text.starts_with("CVSS:")));
    newest?.1.string().filter(|text| !text.trim().is_empty())
}

/// The letters and digits of a member's name, in lower case; only the beginning of a long one.
fn plain(name: &str) -> String {
    name.chars().take(40).filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(cvss: &str) -> (Option<String>, Option<f64>, Option<String>) {
        let json = format!(r#"{{"cvss":{cvss}}}"#);
        let object = Object::parse(&json).expect("JSON");
        match object.get("cvss").and_then(Cvss::of) {
            Some(found) => (Some(found.text.into()), found.score, found.vector.map(Cow::into_owned)),
            None => (None, None, None),
        }
    }

    #[test]
    fn a_score_in_any_shape() {
        const V31: &str = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H";
        for (cvss, text, score, vector) in [
            ("9.8", "9.8", Some(9.8), false),
            (r#"" 9.8 ""#, "9.8", Some(9.8), false),
            ("[11,null,7.50]", "7.50", Some(7.5), false),
            (r#"{"score": 9.8}"#, "9.8", Some(9.8), false),
            (r#"{"score": "9.8", "vector": "V"}"#, "9.8", Some(9.8), true),
            (r#"{"baseScore": 9.8, "vectorString": "V"}"#, "9.8", Some(9.8), true),
            (r#"{"base_score": 9.80, "version": "3.1", "impact": 5.9}"#, "9.80", Some(9.8), false),
            (r#"{"v3": 9.8, "v2": 7.5}"#, "9.8", Some(9.8), false),
            (r#"{"v2": 7.5, "v3": {"score": 9.8, "vector": "V"}}"#, "9.8", Some(9.8), true),
            (r#"{"v2": {"score": 7.5}, "v3": null}"#, "7.5", Some(7.5), false),
            (r#"{"V2Score": 7.5, "V3Score": 9.8, "V2Vector": "AV:N", "V3Vector": "V"}"#, "9.8", Some(9.8), true),
            (r#"{"nvd": {"V3Vector": "V", "V3Score": 9.8}, "ghsa": {"V3Score": 9.1}}"#, "9.8", Some(9.8), true),
            (r#"{"cvssMetricV31": [{"cvssData": {"baseScore": 9.8, "vectorString": "V"}}]}"#, "9.8", Some(9.8), true),
            (r#"[{"score": "n/a"}, {"version": "4.0", "score": 8.7}]"#, "8.7", Some(8.7), false),
            (r#"{"3.1": 9.8, "4.0": 9.3}"#, "9.3", Some(9.3), false),
            (r#"{"version": 3.1, "exploitability": 3.9, "vector": "V"}"#, V31, None, true),
            ("1e400", "1e400", None, false),
            ("-0", "-0", Some(0.0), false),
            ("11", "11", None, false),
            (r#""high""#, "high", None, false),
            (r#"{"a": 1}"#, r#"{"a": 1}"#, None, false),
        ] {
            let cvss = cvss.replace("\"V\"", &format!("\"{V31}\""));
            let expected = (Some(text.to_owned()), score, vector.then(|| V31.to_owned()));
            assert_eq!(read(&cvss), expected, "{cvss}");
        }
        for none in ["null", "[]", "{}", r#""""#] {
            assert_eq!(read(none), (None, None, None), "{none}");
        }
    }
}
