//! Members of an event that its schema does not know. They are kept and passed on, but formats do not show them: most
//! often they are a usual member under another name, so the sender is told.

use super::schema::{Group, Member};
use crate::json::fault::{Fault, token};
use crate::model::spelling::edits;

/// The longest pointer, in characters.
const POINTER_CHARS: usize = 200;
/// Longer names, in bytes, are not compared with others.
const COMPARED_BYTES: usize = 64;
/// The code of each warning.
const CODE: &str = "unknown_member";

/// The unknown members of one event; the first ones are listed, the rest is counted.
#[derive(Debug)]
pub struct UnknownMembers {
    listed: Vec<Fault>,
    count: usize,
    most: usize,
}

impl UnknownMembers {
    /// A list of at most so many.
    pub fn up_to(most: usize) -> Self {
        Self { listed: Vec::new(), count: 0, most }
    }

    /// The members that are listed, in the order of the event.
    pub fn listed(&self) -> &[Fault] {
        &self.listed
    }

    /// The list, and the number of members beyond it.
    pub fn into_parts(self) -> (Vec<Fault>, usize) {
        let more = self.count - self.listed.len();
        (self.listed, more)
    }

    /// Adds a member of the group at `pointer`.
    pub(super) fn add(&mut self, group: &Group, pointer: &str, name: &str) {
        self.count += 1;
        if self.listed.len() < self.most {
            let shown: String = name.chars().take(POINTER_CHARS).collect();
            let pointer = format!("{pointer}/{}", token(&shown)).chars().take(POINTER_CHARS).collect();
            self.listed.push(Fault { pointer, code: CODE, detail: detail(group, name) });
        }
    }
}

fn detail(group: &Group, name: &str) -> String {
    let not_usual = format!("is no usual member of {} and formats do not show it", group.name);
    match near(group, name) {
        Some(near) => format!("{not_usual}; did you mean {near}?"),
        None => {
            let names: Vec<&str> = group.members.iter().map(|member| member.name.as_str()).collect();
            format!("{not_usual}; usual are {}", names.join(", "))
        }
    }
}

/// The usual member that the sender may have meant: the same word in another spelling, then a known other name, then the
/// smallest edit distance.
fn near<'g>(group: &'g Group, name: &str) -> Option<&'g str> {
    if name.len() > COMPARED_BYTES {
        return None;
    }
    let whole = word(name);
    // `finding_title` in a finding is its title.
    let inner = whole.strip_prefix(&word(&group.name)).filter(|inner| !inner.is_empty()).unwrap_or(&whole);
    let exactly = |is: &dyn Fn(&Member, &str) -> bool| {
        [whole.as_str(), inner].into_iter().find_map(|given| group.members.iter().find(|member| is(member, given)))
    };
    let named = exactly(&|member, given| word(&member.name) == given)
        .or_else(|| exactly(&|member, given| member.aliases.iter().any(|alias| word(alias) == given)));
    if let Some(member) = named {
        return Some(&member.name);
    }
    let distance = |member: &Member| {
        let names = std::iter::once(&member.name).chain(&member.aliases).map(|known| word(known));
        names.filter_map(|known| edits(&known, inner)).min()
    };
    let nearest = group.members.iter().filter_map(|member| Some((distance(member)?, member)));
    nearest.min_by_key(|(edits, _)| *edits).map(|(_, member)| member.name.as_str())
}

/// A name without regard to case and to how its words are joined.
fn word(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::super::schema::groups;
    use super::super::{EventType, NewEvent};
    use super::*;
    use crate::json::fields::Field;

    fn unknown(text: &str, most: usize) -> UnknownMembers {
        let document = crate::json::check(text).expect("JSON");
        let mut unknown = UnknownMembers::up_to(most);
        NewEvent::read_noting(&document, &Field::element(text, 3), &mut unknown).expect("an event");
        unknown
    }

    fn meant(event_type: EventType, group: usize, name: &str) -> Option<&'static str> {
        near(&groups(event_type)[group], name)
    }

    #[test]
    fn the_usual_member_that_was_meant_is_found() {
        for (name, expected) in [
            ("desc", Some("description")),
            ("Description", Some("description")),
            ("descripton", Some("description")),
            ("descr", Some("description")),
            ("finding_description", Some("description")),
            ("host", Some("target")),
            ("HostName", Some("target")),
            ("targets", Some("target")),
            ("cvss_score", Some("cvss")),
            ("cvssScore", Some("cvss")),
            ("cvss-vector", Some("cvss_vector")),
            ("link", Some("url")),
            ("URL", Some("url")),
            ("refs", Some("references")),
            ("recomendation", Some("remediation")),
            ("severty", Some("severity")),
            ("x", None),
            ("id2", None),
            ("business_unit", None),
            ("", None),
            ("/", None),
            ("\u{1f600}", None),
        ] {
            assert_eq!(meant(EventType::FindingAdded, 0, name), expected, "{name}");
        }
        assert_eq!(meant(EventType::FindingAdded, 0, &"d".repeat(100_000)), None);
        assert_eq!(meant(EventType::FindingVerified, 1, "poc"), Some("poc_url"));
        assert_eq!(meant(EventType::PhaseChanged, 0, "title"), Some("name"));
        assert_eq!(meant(EventType::ReportReady, 0, "title_"), Some("title"));
    }

    #[test]
    fn an_alias_is_never_a_usual_member_and_belongs_to_one() {
        for &event_type in EventType::ALL {
            for group in groups(event_type) {
                let mut seen = std::collections::HashSet::new();
                for alias in group.members.iter().flat_map(|member| &member.aliases) {
                    assert!(!group.knows(alias), "{} {alias}", event_type.as_str());
                    assert!(seen.insert(word(alias)), "{} {alias} is listed twice", event_type.as_str());
                }
            }
        }
    }

    #[test]
    fn members_of_the_described_groups_are_named_and_no_others() {
        let text = r#"{"type":"finding_verified","data":{"finding":{"title":"x","desc":"y","evidence":{"any":1}},
            "verification":{"method":"m","by":"me"},"note":{"anything":1}}}"#;
        let (listed, more) = unknown(text, 20).into_parts();
        assert_eq!(more, 0);
        assert_eq!(
            listed,
            [
                Fault {
                    pointer: "/3/data/finding/desc".into(),
                    code: "unknown_member",
                    detail: "is no usual member of finding and formats do not show it; did you mean description?"
                        .into(),
                },
                Fault {
                    pointer: "/3/data/verification/by".into(),
                    code: "unknown_member",
                    detail: "is no usual member of verification and formats do not show it; did you mean verified_by?"
                        .into(),
                },
            ]
        );
        let odd = r#"{"type":"finding_verified","data":{"finding":{"title":"x"},"verification":["desc"]}}"#;
        assert!(unknown(odd, 20).listed().is_empty());
        let names = unknown(r#"{"type":"phase_changed","data":{"phase":{"colour":1}}}"#, 1);
        assert!(names.listed()[0].detail.ends_with("usual are index, name, status, total"), "{names:?}");
    }

    #[test]
    fn a_list_is_bounded_and_so_is_a_pointer() {
        let members: Vec<String> = (0..25).map(|index| format!("\"k{index}\":0")).collect();
        let text = format!(r#"{{"type":"phase_changed","data":{{"phase":{{{}}}}}}}"#, members.join(","));
        for (most, listed, more) in [(20, 20, 5), (25, 25, 0), (0, 0, 25)] {
            let (found, rest) = unknown(&text, most).into_parts();
            assert_eq!((found.len(), rest), (listed, more));
        }
        for name in ["a/~".to_owned(), "\u{e9}".repeat(300), "~".repeat(1000)] {
            let text = format!(r#"{{"type":"phase_changed","data":{{"phase":{{"{name}":0}}}}}}"#);
            let found = unknown(&text, 20).into_parts().0;
            let whole = format!("/3/data/phase/{}", token(&name));
            assert_eq!(found[0].pointer, whole.chars().take(200).collect::<String>());
        }
    }
}
