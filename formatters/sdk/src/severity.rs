//! The five severities, and the rules that map an event to one of them (FORMATS, section 8).

use serde::Serialize;

/// A severity; the order is from mildest to worst.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Informational; also the severity of an event without a severity or with an unknown one.
    #[default]
    Info,
    /// Low: CVSS 0.1 to 3.9.
    Low,
    /// Medium: CVSS 4.0 to 6.9.
    Medium,
    /// High: CVSS 7.0 to 8.9.
    High,
    /// Critical: CVSS 9.0 to 10.0.
    Critical,
}

impl Severity {
    /// All of them, mildest first.
    pub const ALL: [Self; 5] = [Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// Parses a severity's name, ignoring case and surrounding space. `None` for any other text.
    pub fn parse(word: &str) -> Option<Self> {
        let word = word.trim();
        Self::ALL.into_iter().find(|severity| word.eq_ignore_ascii_case(severity.word()))
    }

    /// The severity of a CVSS base score (the qualitative scale of CVSS 3.1 and 4.0); `None` outside of 0 to 10.
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

    /// The severity on the scale of 0 to 10 that SIEMs use (FORMATS, section 3): the CVSS base score, rounded and
    /// clamped to the range of the severity; without a score the severity's usual number.
    pub fn of_ten(self, score: Option<f64>) -> u8 {
        let (lowest, highest, usual) = match self {
            Self::Info => (0, 1, 1),
            Self::Low => (1, 3, 3),
            Self::Medium => (4, 6, 5),
            Self::High => (7, 8, 8),
            Self::Critical => (9, 10, 10),
        };
        // Rounds by counting steps, which avoids a lossy conversion.
        let rounded = score.map(|score| (0_u8..10).filter(|step| score >= f64::from(*step) + 0.5).count());
        rounded.and_then(|rounded| u8::try_from(rounded).ok()).map_or(usual, |rounded| rounded.clamp(lowest, highest))
    }

    /// The name in lower case: `critical`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The name in title case: `Critical`.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Info => "Info",
            Self::Low => "Low",
            Self::Medium => "Medium",
            Self::High => "High",
            Self::Critical => "Critical",
        }
    }

    /// The name in upper case: `CRITICAL`.
    pub const fn upper(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
            Self::Critical => "CRITICAL",
        }
    }

    /// The severity's colour, `0xRRGGBB` (FORMATS, section 8).
    pub const fn rgb(self) -> u32 {
        match self {
            Self::Info => 0x6B_72_80,
            Self::Low => 0x25_63_EB,
            Self::Medium => 0xD9_77_06,
            Self::High => 0xEA_58_0C,
            Self::Critical => 0xB0_00_20,
        }
    }

    /// The severity as a coloured disc (FORMATS, section 8).
    pub const fn emoji(self) -> &'static str {
        match self {
            Self::Info => "⚪",
            Self::Low => "🔵",
            Self::Medium => "🟡",
            Self::High => "🟠",
            Self::Critical => "🔴",
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
    fn the_word_bounds_the_score() {
        use Severity::{Critical, High, Info, Low, Medium};
        for (severity, score, expected) in [
            (Info, None, 1),
            (Low, None, 3),
            (Medium, None, 5),
            (High, None, 8),
            (Critical, None, 10),
            (Info, Some(0.0), 0),
            (Info, Some(9.8), 1),
            (Low, Some(0.1), 1),
            (Low, Some(3.9), 3),
            (Medium, Some(4.5), 5),
            (Medium, Some(6.4), 6),
            (High, Some(7.4), 7),
            (High, Some(7.5), 8),
            (High, Some(8.9), 8),
            (Critical, Some(3.0), 9),
            (Critical, Some(9.4), 9),
            (Critical, Some(9.5), 10),
            (Critical, Some(10.0), 10),
        ] {
            assert_eq!(severity.of_ten(score), expected, "{severity:?} {score:?}");
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
