//! A track: the in-memory window of one rank of a webhook's queue. Pure: no clock, no store.
//!
//! The window covers the rank's beginning: everything up to the horizon, or all of it when it is `complete`. Entries beyond
//! the horizon stay on the disk until the window is nearly empty, so the backlog of a dead destination costs no memory.
//!
//! Entries out of reach, due later than any wait can be, were queued before the wall clock was set back. They are due now
//! and lie at the rank's end. Where the first page is not the whole rank, their pages are read beside the window's: they
//! wait for no backlog. The strict queue is not in the order of due times and has no such end.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::model::event::Event;
use crate::store::{DueItem, DueKey, rank};

/// Deliveries of one entry that wait, with those events that are at hand.
pub(super) type Waiting = VecDeque<(DueItem, Option<Arc<Event>>)>;

/// When an entry's first delivery is due, in milliseconds of the steady clock.
pub(super) fn due_of(key: DueKey, waiting: &Waiting) -> i64 {
    waiting.front().map_or(key.due_ms, |(item, _)| item.due_in(key))
}

/// The entry that is next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) key: DueKey,
    /// When it is due, in milliseconds of the steady clock.
    pub(super) due_ms: i64,
    /// It is out of reach: due now, whatever it says.
    pub(super) is_far: bool,
}

impl Turn {
    pub(super) fn is_due(&self, now_ms: i64) -> bool {
        self.is_far || self.due_ms <= now_ms
    }

    /// Compares turns in the order in which they are due.
    pub(super) fn by_time(&self) -> (bool, i64, u64) {
        (!self.is_far, self.due_ms, self.key.seq)
    }
}

/// What a track has next.
#[derive(Debug)]
pub(super) enum Head {
    Nothing,
    /// It was not read yet.
    Unknown,
    Entry(Turn),
}

/// The window of one rank.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) rank: u8,
    pub(super) window: BTreeMap<DueKey, Waiting>,
    /// Deliveries in the window.
    pub(super) items: usize,
    pub(super) horizon: Option<DueKey>,
    pub(super) complete: bool,
    /// Entries out of reach.
    pub(super) far: BTreeMap<DueKey, Waiting>,
    /// Up to where the end of the rank was read for them.
    pub(super) far_horizon: Option<DueKey>,
    pub(super) far_complete: bool,
}

impl Track {
    /// The track of an empty rank (`complete`), or of one that was not read yet.
    pub(super) fn new(rank: u8, complete: bool) -> Self {
        Self {
            rank,
            window: BTreeMap::new(),
            items: 0,
            horizon: None,
            complete,
            far: BTreeMap::new(),
            far_horizon: None,
            far_complete: complete || rank == rank::STRICT,
        }
    }

    pub(super) fn is_unread(&self) -> bool {
        self.horizon.is_none() && !self.complete
    }

    /// Returns true if the window covers this key.
    pub(super) fn covers(&self, key: DueKey) -> bool {
        self.complete || self.horizon.is_some_and(|horizon| key <= horizon)
    }

    pub(super) fn get(&self, key: DueKey) -> Option<&Waiting> {
        self.far.get(&key).or_else(|| self.window.get(&key))
    }

    /// The next entry: the first, unless one is out of reach. That one is due now, and must not wait behind retries that
    /// were queued since.
    pub(super) fn head(&self, now_ms: i64, longest_wait_ms: i64) -> Head {
        let turn = |key: DueKey, due_ms, is_far| Head::Entry(Turn { key, due_ms, is_far });
        if let Some((far, _)) = self.far.first_key_value() {
            return turn(*far, far.due_ms, true);
        }
        let Some((first, waiting)) = self.window.first_key_value() else {
            return if self.complete { Head::Nothing } else { Head::Unknown };
        };
        let reach = now_ms.saturating_add(longest_wait_ms);
        if self.rank == rank::STRICT {
            let due_ms = due_of(*first, waiting);
            return turn(*first, due_ms, due_ms > reach);
        }
        match self.window.last_key_value() {
            Some((last, _)) if last.due_ms > reach => turn(*last, last.due_ms, true),
            _ => turn(*first, first.due_ms, false),
        }
    }

    /// Adds the part of a page of the window that is this rank's. The rank ends with it (`ends`), or the page does with the
    /// key `last`. What is due until `reach_ms` is within reach; `is_known` says what the lane has.
    pub(super) fn read(
        &mut self,
        page: Page,
        part: Vec<(DueKey, Waiting)>,
        ends: bool,
        last: Option<DueKey>,
        reach_ms: i64,
    ) {
        // The window's last page has all that is out of reach.
        let has_far = page == Page::Far || (ends && !self.far_complete);
        self.far_complete |= has_far && ends;
        let (horizon, is_complete) = match page {
            Page::Window => (&mut self.horizon, &mut self.complete),
            Page::Far => (&mut self.far_horizon, &mut self.far_complete),
        };
        *is_complete |= ends;
        *horizon = last.or(*horizon);
        for (key, waiting) in part {
            if has_far && self.rank != rank::STRICT && key.due_ms > reach_ms {
                self.far.insert(key, waiting);
            } else if page == Page::Window {
                self.items += waiting.len();
                self.window.insert(key, waiting);
            }
            // A retry of after the page was asked for may lie behind it: it is due when it says, and the window's.
        }
    }
}

/// What a page is a part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Page {
    Window,
    Far,
}
