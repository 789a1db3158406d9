//! How near a misspelt name is to a known one.

/// The number of edits between two words, if they are few for words of this length.
pub fn edits(one: &str, other: &str) -> Option<usize> {
    let most = match one.len().min(other.len()) {
        0..=3 => return None,
        4..=6 => 1,
        _ => 2,
    };
    Some(strsim::osa_distance(one, other)).filter(|edits| *edits <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_words_may_have_more_edits() {
        for (one, other, expected) in [
            ("url", "ur", None),
            ("host", "hosts", Some(1)),
            ("host", "ghosts", None),
            ("severty", "severity", Some(1)),
            ("severty", "sverity", Some(2)),
            ("TOKNE", "TOKEN", Some(1)),
            ("abcdefgh", "abcde", None),
        ] {
            assert_eq!(edits(one, other), expected, "{one} {other}");
        }
    }
}
