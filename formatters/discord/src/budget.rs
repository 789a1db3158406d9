//! Length budgets, by which a message is kept within Discord's limits. All lengths are UTF-16 units, including escapes.

/// The maximum lengths of the parts of one embed.
pub(crate) struct Budget {
    /// The value of a fact.
    pub(crate) fact: usize,
    /// The affected target.
    pub(crate) target: usize,
    /// A description or another passage.
    pub(crate) passage: usize,
    /// The evidence, without its code fence.
    pub(crate) evidence: usize,
    /// One item of a list.
    pub(crate) item: usize,
    /// The number of list items shown.
    pub(crate) items: usize,
    /// The URL of a link; a longer one is shown as text.
    pub(crate) address: usize,
}

/// The budgets, the most generous first; each further one is tried if the previous did not fit. The last fits any
/// event: an embed has at most 11 facts, 3 passages, 3 lists and 2 links.
pub(crate) const LEVELS: [Budget; 3] = [
    Budget { fact: 300, target: 400, passage: 600, evidence: 500, item: 90, items: 10, address: 1000 },
    Budget { fact: 150, target: 300, passage: 400, evidence: 300, item: 60, items: 10, address: 500 },
    Budget { fact: 80, target: 200, passage: 200, evidence: 150, item: 40, items: 5, address: 300 },
];
