//! Mentions. They come from a webhook's options, never from an event.

use serde::Deserialize;

/// A person or group that Slack notifies: `here` (active members of the channel), `channel` (all its members), a user
/// id (`U..`, `W..`) or a user group id (`S..`), as in Slack's "Formatting text". An id is 3 to 21 capital letters and
/// digits, so that nothing in it can end the markup.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Mention(String);

impl Mention {
    /// `<!here>`, `<@U024BE7LH>`, `<!subteam^S0614TZR7>`.
    pub(super) fn markup(&self) -> String {
        match self.0.as_bytes().first() {
            Some(b'U' | b'W') => format!("<@{}>", self.0),
            Some(b'S') => format!("<!subteam^{}>", self.0),
            _ => format!("<!{}>", self.0),
        }
    }
}

impl TryFrom<String> for Mention {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let is_id = (3..=21).contains(&name.len())
            && name.starts_with(['U', 'W', 'S'])
            && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if is_id || matches!(name.as_str(), "here" | "channel") {
            Ok(Self(name))
        } else {
            Err("here, channel, a user's id (U.. or W..) or a user group's id (S..) is expected")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_the_two_words_and_nothing_else() {
        for (name, markup) in [
            ("here", "<!here>"),
            ("channel", "<!channel>"),
            ("U024BE7LH", "<@U024BE7LH>"),
            ("W012A3CDE", "<@W012A3CDE>"),
            ("S0614TZR7", "<!subteam^S0614TZR7>"),
        ] {
            assert_eq!(Mention::try_from(name.to_owned()).expect("a mention").markup(), markup);
        }
        let longest = format!("U{}", "0".repeat(20));
        assert!(Mention::try_from(longest.clone()).is_ok());
        let refused =
            ["", "@here", "Here", "everyone", "U1", "u024be7lh", "C024BE7LH", "U024>", "U1|<!channel", "<!here>"];
        for name in refused.into_iter().map(str::to_owned).chain([longest + "0"]) {
            assert!(Mention::try_from(name.clone()).is_err(), "{name}");
        }
    }
}
