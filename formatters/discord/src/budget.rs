//! How long things may be, so that the message arrives. All lengths are UTF-16 units, escapes counted.

/// What one embed may have.
pub(crate) struct Budget {
    /// A fact's value.
    pub(crate) fact: usize,
    /// The target.
    pub(crate) target: usize,
    /// A description or another passage.
    pub(crate) passage: usize,
    /// The evidence, without its fence.
    pub(crate) evidence: usize,
    /// A list's item.
    pub(crate) item: usize,
    /// How many items of a list are shown.
    pub(crate) items: usize,
    /// A link's address; a longer one is shown as text.
    pub(crate) address: usize,
    /// Each part of the footer.
    pub(crate) footer: usize,
}

/// The first is what a reader gets; each further one is for what did not fit. The last fits whatever the event is:
/// an embed has 11 facts, 3 passages, 3 lists and 2 links at most.
pub(crate) const LEVELS: [Budget; 3] = [
    Budget { fact: 300, target: 400, passage: 600, evidence: 500, item: 90, items: 10, address: 1000, footer: 200 },
    Budget { fact: 150, target: 300, passage: 400, evidence: 300, item: 60, items: 10, address: 500, footer: 150 },
    Budget { fact: 80, target: 200, passage: 200, evidence: 150, item: 40, items: 5, address: 300, footer: 100 },
];
