//! How long things may be, so that the card arrives.

/// Lengths in UTF-16 units.
pub(crate) struct Budget {
    /// The card's title.
    pub(crate) title: usize,
    /// A fact's value.
    pub(crate) fact: usize,
    /// The target; a description or another passage.
    pub(crate) passage: usize,
    /// The evidence.
    pub(crate) evidence: usize,
    /// A list's item.
    pub(crate) item: usize,
    /// How many items of a list are shown.
    pub(crate) items: usize,
}

/// The first is what a reader gets; each further one is for what did not fit, taking first from evidence,
/// description and lists. The last fits whatever the event is: no unit takes more than 4 bytes (a
/// backslash in a fact) or, re-encoded, 8.
pub(crate) const LEVELS: [Budget; 5] = [
    Budget { title: 256, fact: 300, passage: 800, evidence: 500, item: 120, items: 10 },
    Budget { title: 256, fact: 200, passage: 400, evidence: 250, item: 80, items: 10 },
    Budget { title: 256, fact: 120, passage: 200, evidence: 120, item: 60, items: 5 },
    Budget { title: 200, fact: 60, passage: 100, evidence: 60, item: 40, items: 3 },
    Budget { title: 120, fact: 40, passage: 60, evidence: 40, item: 30, items: 2 },
];
