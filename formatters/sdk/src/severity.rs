//! How bad it is: five words, and one rule for finding the one that an event means (FORMATS, section 8).

use serde::Serialize;

/// A severity, mildest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Also what an event without a severity, or with one that nobody knows, counts as.
    #[default]
    Info,
    /// CVSS 0.1 to 3.9.
    Low,
    /// CVSS 4.0 to 6.9.
    Medium,
    /// CVSS 7.0 to 8.9.
    High,
    /// CVSS 9.0 to 10.0.
    Critical,
}

impl Severity {
    /// All of them, mildest first.
    pub const ALL: [Self; 5] = [Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The word in any case, with space around it: `Critical`. Anything else is none of the five.
    pub fn parse(word: &str) -> Option<Self> {
        let word = word.trim();
        Self::ALL.into_iter().find(|severity| word.eq_ignore_ascii_case(severity.word()))
    }

    /// The band of a CVSS base score (the qualitative scale of CVSS 3.1 and 4.0); `None` outside of
    /// 0 to 10.
    pub fn from_score(score: f64) -> Option<Self> {
        match score {
            0.0 => Some(Self::Info),
            s if s > 0.0 && s < 4.0 => Some(Self::Low),
            s if (4.0..7.0).contains(&s) => Some(Self::Medium),
            s if (7.0..9.0).contains(&s) => Some(Self::High),
            s if (9.0..=10.0).contains(&s) => Some(Self::Critical),
            _ => None,
        }
    }

    /// `critical`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// `Critical`.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Info => "Info",
            Self::Low => "Low",
            Self::Medium => "Medium",
            Self::High => "High",
            Self::Critical => "Critical",
        }
    }

    /// `CRITICAL`.
    pub const fn upper(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
            Self::Critical => "CRITICAL",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_any_case() {
        for (word, severity) in [
            ("critical", Some(Severity::Critical)),
            (" HIGH ", Some(Severity::High)),
            ("Info", Some(Severity::Info)),
            ("severe", None),
            ("", None),
        ] {
            assert_eq!(Severity::parse(word), severity, "{word:?}");
        }
    }

    #[test]
    fn bands_of_the_cvss_scale() {
        use Severity::{Critical, High, Info, Low, Medium};
        for (score, severity) in [
            (0.0, Some(Info)),
            (0.1, Some(Low)),
            (3.9, Some(Low)),
            (4.0, Some(Medium)),
            (6.9, Some(Medium)),
            (7.0, Some(High)),
            (8.9, Some(High)),
            (9.0, Some(Critical)),
            (10.0, Some(Critical)),
            (10.1, None),
            (-0.1, None),
            (f64::NAN, None),
        ] {
            assert_eq!(Severity::from_score(score), severity, "{score}");
        }
    }
}
