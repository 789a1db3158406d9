//! Length budgets, by which a card is kept within Teams' size limit.

/// The maximum lengths of the parts of a card, in UTF-16 units.
pub(crate) struct Budget {
    /// The title of the card.
    pub(crate) title: usize,
    /// The value of a fact, or one value of several in a line.
    pub(crate) fact: usize,
    /// The target, the description, or another passage.
    pub(crate) passage: usize,
    /// The evidence text.
    pub(crate) evidence: usize,
    /// The number of lines shown of a passage or of the evidence.
    pub(crate) lines: usize,
    /// One item of a list.
    pub(crate) item: usize,
    /// The number of list items shown.
    pub(crate) items: usize,
}

/// The budgets, the most generous first; each further one is tried if the previous did not fit, and shortens evidence,
/// description and lists first. The last fits any event: a unit takes at most 3 bytes (6 re-encoded), and an element at
/// most 350 bytes in addition to its text.
pub(crate) const LEVELS: [Budget; 5] = [
    Budget { title: 256, fact: 300, passage: 800, evidence: 500, lines: 16, item: 120, items: 10 },
    Budget { title: 256, fact: 200, passage: 400, evidence: 250, lines: 10, item: 80, items: 10 },
    Budget { title: 256, fact: 120, passage: 200, evidence: 120, lines: 6, item: 60, items: 5 },
    Budget { title: 200, fact: 60, passage: 100, evidence: 60, lines: 4, item: 40, items: 3 },
    Budget { title: 120, fact: 40, passage: 60, evidence: 40, lines: 2, item: 30, items: 2 },
];
