//! How long things may be, so that the card arrives.

/// Lengths in UTF-16 units.
pub(crate) struct Budget {
    /// The card's title.
    pub(crate) title: usize,
    /// A value with a name, or one beside others in a line.
    pub(crate) fact: usize,
    /// The target; a description or another passage.
    pub(crate) passage: usize,
    /// The evidence.
    pub(crate) evidence: usize,
    /// How many lines of a passage or of the evidence are shown.
    pub(crate) lines: usize,
    /// A list's item.
    pub(crate) item: usize,
    /// How many items of a list are shown.
    pub(crate) items: usize,
}

/// The first is what a reader gets; each further one is for what did not fit, taking first from evidence,
/// description and lists. The last fits whatever the event is: no unit takes more than 3 bytes or, re-encoded, 6,
/// and no element more than 350 around its text.
pub(crate) const LEVELS: [Budget; 5] = [
    Budget { title: 256, fact: 300, passage: 800, evidence: 500, lines: 16, item: 120, items: 10 },
    Budget { title: 256, fact: 200, passage: 400, evidence: 250, lines: 10, item: 80, items: 10 },
    Budget { title: 256, fact: 120, passage: 200, evidence: 120, lines: 6, item: 60, items: 5 },
    Budget { title: 200, fact: 60, passage: 100, evidence: 60, lines: 4, item: 40, items: 3 },
    Budget { title: 120, fact: 40, passage: 60, evidence: 40, lines: 2, item: 30, items: 2 },
];
