//! A lane: the in-memory window of one webhook's queue. Pure: no clock, no store.
//!
//! The queue itself is on the disk, and is one queue for each rank of severity, or the strict one. The lane has the window
//! of each as a [`Track`], side by side. The webhook's order says which track is next; so a change from `arrival` to
//! `severity` and back needs no other keys. Whatever the change, the lane first lets end what is in flight and begins to
//! read again: the store brings the queue into the ranks of the order meanwhile.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::collecting::Collecting;
use super::hold::{Hold, Need};
use super::pace::Pace;
use super::probing::Probing;
use super::spread::Spread;
use super::track::{Head, Page, Track, Turn, Waiting, due_of};
use crate::delivery::Claim;
use crate::model::event::Event;
use crate::model::id::WebhookId;
use crate::model::url::DeliveryUrl;
use crate::model::webhook::{Batch, Digest, Order};
use crate::store::{Candidate, DueEntry, DueItem, DueKey, Origin, PageRequest, Sent, rank};

/// Deliveries in one window, roughly.
pub(super) const WINDOW: usize = 1024;
/// With fewer deliveries of a track than this the next page is loaded.
const LOW: usize = 128;
/// Deliveries in a page, roughly.
const LOAD: usize = 256;

/// An entry of which at least one delivery was claimed.
#[derive(Debug)]
struct Open {
    /// Its deliveries that are not done, of those that this lane still has.
    left: usize,
    /// True while the lane has all of them: then the entry is done with the last one.
    whole: bool,
    /// It was out of reach.
    is_far: bool,
}

/// The tracks of a queue in this order.
fn tracks(order: Order, complete: bool) -> Vec<Track> {
    rank::queues(order).map(|rank| Track::new(rank, complete)).collect()
}

/// One webhook's window, with its pace and its standing.
#[derive(Debug)]
pub(super) struct Lane {
    activation: u32,
    /// The order of the claims.
    order: Order,
    /// The webhook's order, which the lane is about to follow if it `is_unsettled`.
    next_order: Order,
    is_unsettled: bool,
    /// The ranks, the most severe first.
    tracks: Vec<Track>,
    /// The number of the last page that was asked for.
    number: u64,
    loading: Option<(Page, PageRequest)>,
    /// Retries that fell due while the host stood still, taken out of the window: they get new times.
    piled: BTreeMap<DueKey, Waiting>,
    /// Those times.
    pub(super) spread: Spread,
    /// Retries that were due before this are such: when this lane could last begin to make attempts, in milliseconds of the
    /// steady clock.
    moving_since: i64,
    /// Entries of which at least one delivery was claimed.
    open: HashMap<DueKey, Open>,
    /// Events that were just accepted and whose deliveries did not stay in the window.
    pub(super) evicted: Vec<Arc<Event>>,
    /// Requests in flight.
    pub(super) in_flight: usize,
    /// The outcome that is to be on the disk before the next claim of a strict order: what it queues may be next.
    pub(super) awaits: Option<u64>,
    /// The destination that the pace belongs to.
    url: Option<DeliveryUrl>,
    /// How fast the destination may be sent to.
    pub(super) pace: Pace,
    /// The webhook's batching; `None`: one delivery a request.
    pub(super) batch: Option<Batch>,
    /// What waits for the window of the webhook's digest: it is not in the lane's window.
    pub(super) collecting: Collecting,
    /// True while the webhook is active and its formatter loaded.
    pub(super) runnable: bool,
    /// True while the webhook is switched off: what is claimed and not sent stays on the disk.
    pub(super) is_off: bool,
    /// The probes of a webhook that the breaker switched off.
    pub(super) probing: Probing,
    /// How long its attempts take.
    pub(super) hold: Hold,
    /// True while it stands in the list of ready lanes, or waits for a permit.
    pub(super) listed: bool,
    /// The permit that it waits for.
    pub(super) waits_for: Option<Need>,
    /// The earliest timer that is set for it, in milliseconds of the steady clock.
    pub(super) timer: Option<i64>,
}

impl Lane {
    /// A lane of an empty queue (`complete`), or of one that was not read yet.
    pub(super) fn new(activation: u32, complete: bool) -> Self {
        Self {
            activation,
            order: Order::default(),
            next_order: Order::default(),
            is_unsettled: false,
            tracks: tracks(Order::default(), complete),
            number: 0,
            loading: None,
            piled: BTreeMap::new(),
            spread: Spread::of_one_destination(),
            moving_since: i64::MIN,
            open: HashMap::new(),
            evicted: Vec::new(),
            in_flight: 0,
            awaits: None,
            url: None,
            pace: Pace::default(),
            batch: None,
            collecting: Collecting::default(),
            runnable: false,
            is_off: false,
            probing: Probing::default(),
            hold: Hold::default(),
            listed: false,
            waits_for: None,
            timer: None,
        }
    }

    pub(super) fn activation(&self) -> u32 {
        self.activation
    }

    /// Begins a new activation: deliveries queued under the old one are held, on the disk.
    pub(super) fn begin(&mut self, activation: u32) {
        if self.activation != activation {
            self.activation = activation;
            self.pace.forget_pause();
            // Deliveries recovered while it was off are queued under the new activation already.
            self.unload();
        }
    }

    /// Sets the order of the claims, which holds from the next one.
    pub(super) fn follow(&mut self, order: Order) {
        self.is_unsettled |= self.next_order != order;
        self.next_order = order;
    }

    /// Follows another order once nothing is in flight: what its outcome leaves queued must not be overtaken. In a strict
    /// order it also begins to read again where an entry was sent in part: the rest gets a place of its own.
    pub(super) fn settle(&mut self) {
        if self.in_flight > 0 {
            return;
        }
        self.is_unsettled |= self.order == Order::Strict && !self.open.is_empty();
        if self.is_unsettled {
            self.is_unsettled = false;
            self.order = self.next_order;
            self.unload();
        }
    }

    pub(super) fn is_strict(&self) -> bool {
        self.next_order == Order::Strict
    }

    /// Returns true if one more request may be in flight, of at most so many.
    pub(super) fn has_room(&self, most: usize) -> bool {
        let is_held_up = self.is_unsettled || self.awaits.is_some();
        match self.order {
            Order::Strict => self.in_flight == 0 && !self.has_piled() && !is_held_up,
            Order::Arrival | Order::Severity => self.in_flight < most && !self.is_unsettled,
        }
    }

    /// Sets the destination; another one starts without the pauses of the one before.
    pub(super) fn aim(&mut self, url: &DeliveryUrl) {
        if self.url.as_ref() != Some(url) {
            self.url = Some(url.clone());
            self.pace.forget_pause();
            self.hold.forget();
        }
    }

    /// Empties the window; the queue stays on the disk.
    pub(super) fn unload(&mut self) {
        let emptied = std::mem::replace(&mut self.tracks, tracks(self.order, false));
        let waiting = emptied.into_iter().flat_map(|track| track.window.into_iter().chain(track.far));
        for (key, waiting) in waiting.chain(std::mem::take(&mut self.piled)) {
            if let Some(open) = self.open.get_mut(&key) {
                open.left -= waiting.len();
                open.whole = false;
            }
        }
        // The webhook may go on under the same activation: then these entries are loaded again.
        self.open.retain(|_, open| open.left > 0);
        self.loading = None;
        self.collecting.forget();
    }

    /// Sets the webhook's digest. A change holds for what waits: the queue is read again.
    pub(super) fn collect_for(&mut self, digest: Option<Digest>) {
        self.is_unsettled |= self.collecting.set(digest);
    }

    /// The store is asked to put together what waits for the window; the entries that it leaves out, since some of their
    /// deliveries are in flight.
    pub(super) fn ask(&mut self) -> Vec<DueKey> {
        self.collecting.asked();
        self.open.keys().copied().collect()
    }

    /// Deliveries in the window.
    fn items(&self) -> usize {
        self.tracks.iter().map(|track| track.items).sum()
    }

    fn track(&self, rank: u8) -> Option<&Track> {
        self.tracks.iter().find(|track| track.rank == rank)
    }

    fn track_mut(&mut self, rank: u8) -> Option<&mut Track> {
        self.tracks.iter_mut().find(|track| track.rank == rank)
    }

    /// Adds an entry that was just queued, if it lies within the window.
    pub(super) fn insert(&mut self, entry: DueEntry) {
        if entry.key.activation != self.activation || entry.items.is_empty() {
            return;
        }
        if self.collecting.takes(entry.key, &entry.items, true) {
            self.evicted.extend(entry.items.into_iter().filter_map(|(_, event)| event));
            return;
        }
        let Some(track) = self.track_mut(entry.key.rank) else {
            // The order was another one for a moment.
            self.is_unsettled = true;
            return;
        };
        if !track.covers(entry.key) {
            self.evicted.extend(entry.items.into_iter().filter_map(|(_, event)| event));
            return;
        }
        track.items += entry.items.len();
        track.window.insert(entry.key, entry.items.into());
        self.shrink();
    }

    /// Keeps the window small. Not while a page is being loaded: entries between the two would be missed.
    fn shrink(&mut self) {
        while self.items() > WINDOW && self.loading.is_none() {
            let Some(track) = self.tracks.iter_mut().max_by_key(|track| track.items) else { return };
            let Some((key, waiting)) = track.window.pop_last() else { return };
            if track.window.is_empty() || self.open.contains_key(&key) {
                track.window.insert(key, waiting);
                return;
            }
            track.items -= waiting.len();
            self.evicted.extend(waiting.into_iter().filter_map(|(_, event)| event));
            track.complete = false;
            track.horizon = track.window.last_key_value().map(|(key, _)| *key);
        }
    }

    /// The page that is to be loaded next, when one is needed. `reach` is the last key of the webhook's queue that is
    /// within reach, in any rank.
    pub(super) fn wants_load(&mut self, reach: DueKey) -> Option<PageRequest> {
        if self.loading.is_some() || !self.runnable || self.is_unsettled {
            return None;
        }
        let (page, ranks, after) = self.wanted(reach)?;
        self.number += 1;
        let (webhook, activation) = (reach.webhook, self.activation);
        let request = PageRequest { webhook, activation, ranks, after, limit: self.load(), number: self.number };
        self.loading = Some((page, request.clone()));
        Some(request)
    }

    fn wanted(&self, reach: DueKey) -> Option<(Page, RangeInclusive<u8>, Option<DueKey>)> {
        // Most queues end with their first page, and then it has all ranks, and those out of reach too.
        if self.tracks.iter().all(Track::is_unread) {
            return Some((Page::Window, rank::queues(self.order), None));
        }
        let is_full = self.piled.len() >= WINDOW;
        let is_enough = self.items() >= self.most();
        self.tracks.iter().find_map(|track| {
            let rank = track.rank;
            if !track.is_unread() && !track.far_complete && track.far.len() < LOW {
                return Some((Page::Far, rank..=rank, track.far_horizon.max(Some(DueKey { rank, ..reach }))));
            }
            if track.complete || is_full || (track.items >= LOW && is_enough) {
                return None;
            }
            Some((Page::Window, rank..=rank, track.horizon))
        })
    }

    /// How many deliveries to load at a time, roughly.
    pub(super) fn load(&self) -> usize {
        LOAD.max(self.most())
    }

    /// How many deliveries one request may carry.
    pub(super) fn most(&self) -> usize {
        self.batch.map_or(1, |batch| batch.max_events as usize)
    }

    /// Adds the page with this number, unless it was asked for something that is over. What is due until `reach_ms` is
    /// within reach.
    pub(super) fn loaded(&mut self, number: u64, entries: Vec<DueEntry>, complete: bool, reach_ms: i64) {
        let Some((page, request)) = self.loading.take_if(|(_, request)| request.number == number) else { return };
        let last = entries.last().map(|entry| entry.key);
        let mut entries = entries.into_iter().peekable();
        for track in self.tracks.iter_mut().filter(|track| request.ranks.contains(&track.rank)) {
            let mut part = Vec::new();
            while let Some(DueEntry { key, items }) = entries.next_if(|entry| entry.key.rank <= track.rank) {
                let is_known =
                    self.open.contains_key(&key) || track.get(key).is_some() || self.piled.contains_key(&key);
                if !is_known && !items.is_empty() && !self.collecting.takes(key, &items, false) {
                    part.push((key, Waiting::from(items)));
                }
            }
            let ends = complete || last.is_some_and(|last| track.rank < last.rank);
            let own_last = last.filter(|last| last.rank == track.rank);
            if ends || own_last.is_some() {
                track.read(page, part, ends, own_last, reach_ms);
            }
        }
        self.shrink();
    }

    /// When this lane could last begin to make attempts.
    pub(super) fn moving_since(&self) -> i64 {
        self.moving_since
    }

    /// No attempts were made until now: because of the host, or because the formatter was missing. Returns as
    /// [`Lane::pile`] does.
    pub(super) fn stood_still(&mut self, now_ms: i64) -> bool {
        self.moving_since = now_ms;
        self.spread = Spread::of_one_destination();
        self.pile()
    }

    /// Takes retries that fell due before this lane last stood still out of the window. Returns true if these are the
    /// first of them.
    pub(super) fn pile(&mut self) -> bool {
        let had = self.has_piled();
        let before_ms = self.moving_since;
        let is_retry = |waiting: &Waiting| waiting.iter().all(|(item, _)| item.try_number() > 1);
        for track in &mut self.tracks {
            // In a strict order the others wait for the first.
            let most = if track.rank == rank::STRICT { 1 } else { usize::MAX };
            let due = track.window.iter().take_while(|(key, waiting)| due_of(**key, waiting) < before_ms).take(most);
            let keys: Vec<DueKey> = due.filter(|(_, waiting)| is_retry(waiting)).map(|(key, _)| *key).collect();
            for key in keys {
                if let Some(waiting) = track.window.remove(&key) {
                    track.items -= waiting.len();
                    self.piled.insert(key, waiting);
                }
            }
        }
        !had && self.has_piled()
    }

    /// Returns true if retries wait for a new time.
    pub(super) fn has_piled(&self) -> bool {
        !self.piled.is_empty()
    }

    /// Claims the deliveries of the first of these entries, which is one request again.
    pub(super) fn claim_piled(&mut self) -> Option<(DueKey, Vec<DueItem>)> {
        let (key, waiting) = self.piled.pop_first()?;
        self.open.entry(key).or_insert(Open { left: waiting.len(), whole: true, is_far: false });
        Some((key, waiting.into_iter().map(|(item, _)| item).collect()))
    }

    /// When the next request is due.
    pub(super) fn next_due(&self, now_ms: i64, longest_wait_ms: i64) -> Option<i64> {
        let turn = self.next(now_ms, longest_wait_ms)?;
        if turn.is_far {
            return Some(now_ms.max(self.pace.ready_at()));
        }
        // More deliveries may join the batch, unless it was sent before, is full, or has more behind it on the disk.
        let is_all = self.tracks.iter().all(|track| track.complete);
        let waits = |batch: &Batch| !self.is_kept(turn.key) && is_all && self.items() < batch.max_events as usize;
        let wait = self.batch.filter(waits).map_or(0, |batch| i64::from(batch.max_wait_ms));
        Some(turn.due_ms.saturating_add(wait).max(self.pace.ready_at()))
    }

    /// Returns true if an entry's deliveries stay together: they were sent before, or are told of in a digest.
    fn is_kept(&self, key: DueKey) -> bool {
        self.first_of(key).is_some_and(|item| item.sent != Sent::Never)
    }

    fn first_of(&self, key: DueKey) -> Option<&DueItem> {
        self.track(key.rank).and_then(|track| track.get(key)?.front()).map(|(item, _)| item)
    }

    /// How many deliveries of this entry one request may carry: of a digest all.
    fn most_of(&self, key: DueKey) -> usize {
        let is_digest = self.first_of(key).is_some_and(|item| item.sent.part().is_some());
        if is_digest { usize::MAX } else { self.most() }
    }

    /// How many requests these deliveries of one entry make.
    pub(super) fn requests(&self, items: &[DueItem]) -> usize {
        let is_digest = items.first().is_some_and(|item| item.sent.part().is_some());
        if is_digest { 1 } else { items.len().div_ceil(self.most()) }
    }

    /// The next entry of all tracks. `None` also while one is not read that may have it.
    fn next(&self, now_ms: i64, longest_wait_ms: i64) -> Option<Turn> {
        let mut first: Option<Turn> = None;
        for track in &self.tracks {
            match track.head(now_ms, longest_wait_ms) {
                Head::Nothing => {}
                Head::Unknown => return None,
                Head::Entry(turn) if self.order == Order::Severity && turn.is_due(now_ms) => return Some(turn),
                Head::Entry(turn) => first = first.into_iter().chain([turn]).min_by_key(Turn::by_time),
            }
        }
        // What was accepted before and waits for the window is not overtaken in a strict order.
        first.filter(|turn| self.order != Order::Strict || !self.collecting.is_before(turn.key))
    }

    /// Claims the deliveries of the next request: one, or as many as are there and fit into a batch. Deliveries that were
    /// sent together go together again.
    pub(super) fn claim(&mut self, now_ms: i64, longest_wait_ms: i64) -> Vec<Claim> {
        let mut claims = Vec::new();
        let Some(first) = self.next(now_ms, longest_wait_ms).map(|turn| turn.key) else { return claims };
        let (kept, most) = (self.is_kept(first), self.most_of(first));
        while claims.len() < most
            && let Some(turn) = self.next(now_ms, longest_wait_ms)
        {
            let belongs = if kept { turn.key == first } else { turn.due_ms <= now_ms && !self.is_kept(turn.key) };
            if !belongs && !claims.is_empty() {
                break;
            }
            let Some(claim) = self.take(turn.key) else { break };
            claims.push(claim);
        }
        self.in_flight += usize::from(!claims.is_empty());
        claims
    }

    fn take(&mut self, key: DueKey) -> Option<Claim> {
        let track = self.tracks.iter_mut().find(|track| track.rank == key.rank)?;
        let is_far = track.far.contains_key(&key);
        let queue = if is_far { &mut track.far } else { &mut track.window };
        let Entry::Occupied(mut entry) = queue.entry(key) else { return None };
        let waiting = entry.get_mut();
        self.open.entry(key).or_insert(Open { left: waiting.len(), whole: true, is_far });
        let (item, event) = waiting.pop_front()?;
        if waiting.is_empty() {
            entry.remove();
        }
        track.items -= usize::from(!is_far);
        Some(Claim { key, item, event })
    }

    /// Takes back a delivery that was claimed and not sent; it is next. Give back the last of several first.
    pub(super) fn give_back(&mut self, key: DueKey, item: DueItem) {
        let is_far = self.open.get(&key).is_some_and(|open| open.is_far);
        let is_wanted = key.activation == self.activation && !self.is_off;
        if let Some(track) = self.track_mut(key.rank).filter(|_| is_wanted) {
            let queue = if is_far { &mut track.far } else { &mut track.window };
            queue.entry(key).or_default().push_front((item, None));
            track.items += usize::from(!is_far);
        } else if let Some(open) = self.open.get_mut(&key) {
            // It is held since then, on the disk.
            open.whole = false;
            self.finished(key);
        }
    }

    /// When the store is to be asked for the delivery of a probe. Not while something is in flight: what it leaves queued
    /// would not be loaded again.
    pub(super) fn probe_due(&self) -> Option<i64> {
        let is_idle = self.in_flight == 0 && self.open.is_empty();
        self.probing.due().filter(|_| is_idle).map(|due| due.max(self.pace.ready_at()))
    }

    /// Claims the delivery of a probe that is ready.
    pub(super) fn claim_probe(&mut self, webhook: WebhookId, now_ms: i64) -> Option<(Claim, Origin)> {
        let Candidate { item, origin } = self.probing.take()?;
        let key = match origin {
            Origin::Held(key) => key,
            // It is in no entry.
            Origin::Failed => DueKey { webhook, activation: self.activation, rank: 0, due_ms: now_ms, seq: 0 },
        };
        self.in_flight += 1;
        self.pace.begin(now_ms);
        // A probe is one delivery, also of a digest.
        let item = DueItem { sent: item.sent.apart(Sent::Alone), ..item };
        Some((Claim { key, item, event: None }, origin))
    }

    /// A request is over.
    pub(super) fn request_finished(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// A claimed delivery is done. Returns its entry's key if that entry is done with it.
    pub(super) fn finished(&mut self, key: DueKey) -> Option<DueKey> {
        let open = self.open.get_mut(&key)?;
        open.left = open.left.saturating_sub(1);
        if open.left > 0 {
            return None;
        }
        self.open.remove(&key).and_then(|open| open.whole.then_some(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{DeliveryId, EventId};
    use crate::store::Sent;

    fn key(webhook: WebhookId, due_ms: i64) -> DueKey {
        DueKey { webhook, activation: 0, rank: 5, due_ms, seq: due_ms.unsigned_abs() }
    }

    /// Everything is within reach.
    fn far(webhook: WebhookId) -> DueKey {
        key(webhook, i64::MAX)
    }

    /// The end of the queue is read, and nothing there is out of reach.
    fn read_far(lane: &mut Lane, webhook: WebhookId) {
        assert_eq!(wants(lane, far(webhook)), Some(Some(far(webhook))));
        loaded(lane, Vec::new(), true, i64::MAX);
    }

    /// Where the page begins that is wanted next.
    fn wants(lane: &mut Lane, reach: DueKey) -> Option<Option<DueKey>> {
        lane.wants_load(reach).map(|request| request.after)
    }

    /// The page that was asked for last.
    fn loaded(lane: &mut Lane, entries: Vec<DueEntry>, complete: bool, reach_ms: i64) {
        lane.loaded(lane.number, entries, complete, reach_ms);
    }

    fn entry(key: DueKey, items: usize) -> DueEntry {
        let item = || DueItem {
            event: EventId::generate(),
            slot: 0,
            delivery: DeliveryId::generate(),
            attempt: 1,
            earlier: 0,
            sent: Sent::Never,
            rank: 5,
            due_ms: None,
            has_failed: false,
        };
        DueEntry { key, items: (0..items).map(|_| (item(), None)).collect() }
    }

    #[test]
    fn claims_in_order_of_due_time_and_closes_an_entry_with_its_last_delivery() {
        let webhook = WebhookId::generate();
        let mut lane = Lane::new(0, true);
        lane.insert(entry(key(webhook, 20), 2));
        lane.insert(entry(key(webhook, 10), 1));
        assert_eq!(lane.next_due(0, 1000), Some(10));
        let claims: Vec<_> =
            std::iter::from_fn(|| lane.claim(0, i64::MAX).pop()).map(|claim| claim.key.due_ms).collect();
        assert_eq!(claims, [10, 20, 20]);
        assert_eq!(lane.in_flight, 3);
        (0..3).for_each(|_| lane.request_finished());
        assert_eq!(lane.finished(key(webhook, 20)), None);
        assert_eq!(lane.finished(key(webhook, 10)), Some(key(webhook, 10)));
        assert_eq!(lane.finished(key(webhook, 20)), Some(key(webhook, 20)));
        assert_eq!(lane.in_flight, 0);
    }

    #[test]
    fn what_was_given_back_is_next_and_closes_its_entry_with_its_last_delivery() {
        let webhook = WebhookId::generate();
        let mut lane = Lane::new(0, true);
        lane.batch = Some(Batch { max_events: 3, max_wait_ms: 0 });
        let key = key(webhook, 10);
        lane.insert(entry(key, 4));
        let mut claims = lane.claim(20, 1000);
        let deliveries: Vec<_> = claims.iter().map(|claim| claim.item.delivery).collect();
        // The first was sent alone.
        for claim in claims.split_off(1).into_iter().rev() {
            lane.give_back(claim.key, claim.item);
        }
        lane.request_finished();
        assert_eq!(lane.finished(key), None);
        let again = lane.claim(20, 1000);
        assert_eq!(again.iter().map(|claim| claim.item.delivery).collect::<Vec<_>>()[..2], deliveries[1..]);
        assert_eq!(again.len(), 3);
        assert_eq!([lane.finished(key), lane.finished(key), lane.finished(key)], [None, None, Some(key)]);

        // Switched off and on meanwhile: it is held, on the disk.
        lane.insert(entry(key, 2));
        let claims = lane.claim(20, 1000);
        lane.begin(1);
        for claim in claims.into_iter().rev() {
            lane.give_back(claim.key, claim.item);
        }
        assert_eq!(lane.next_due(20, 1000), None);
        assert!(lane.open.is_empty(), "{:?}", lane.open);
    }

    #[test]
    fn a_long_queue_stays_on_the_disk_and_comes_back_in_pieces_once_each() {
        let webhook = WebhookId::generate();
        let mut lane = Lane::new(0, true);
        lane.runnable = true;
        let queue: Vec<_> = (0..5000).map(|due| key(webhook, due)).collect();
        for &key in &queue {
            lane.insert(entry(key, 1));
        }
        assert!(lane.items() <= WINDOW, "{}", lane.items());
        let mut claimed = Vec::new();
        loop {
            if let Some(after) = wants(&mut lane, far(webhook)) {
                let rest: Vec<_> = queue.iter().filter(|&&key| Some(key) > after).take(LOAD).collect();
                let complete = rest.len() < LOAD;
                loaded(&mut lane, rest.into_iter().map(|&key| entry(key, 1)).collect(), complete, i64::MAX);
                assert!(lane.items() <= WINDOW + LOAD);
            }
            let Some(claim) = lane.claim(0, i64::MAX).pop() else { break };
            claimed.push(claim.key);
            if claimed.len() % 3 == 0 {
                lane.finished(claim.key);
            }
        }
        assert_eq!(claimed, queue);
    }

    #[test]
    fn events_that_leave_the_window_are_handed_out() {
        let webhook = WebhookId::generate();
        let mut lane = Lane::new(0, true);
        let event = Arc::new(Event {
            id: EventId::generate(),
            event_type: crate::model::event::EventType::PhaseChanged,
            occurred_at: Default::default(),
            accepted_at: Default::default(),
            caused_by: None,
            json: "{}".into(),
        });
        let with_event = |due| {
            let mut entry = entry(key(webhook, due), 1);
            entry.items[0].1 = Some(Arc::clone(&event));
            entry
        };
        (0..WINDOW as i64).for_each(|due| lane.insert(with_event(due)));
        assert!(lane.evicted.is_empty());
        lane.insert(with_event(WINDOW as i64));
        assert_eq!(lane.evicted.len(), 1, "the last one made room");
        lane.insert(with_event(5_000));
        assert_eq!(lane.evicted.len(), 2, "beyond the window");
        lane.insert(DueEntry { key: DueKey { activation: 1, ..key(webhook, 0) }, ..with_event(0) });
        assert_eq!(lane.evicted.len(), 2, "held: it is not wanted soon");
    }

    #[test]
    fn what_is_queued_while_a_piece_is_loaded_is_not_missed() {
        let webhook = WebhookId::generate();
        let mut lane = Lane::new(0, false);
        lane.runnable = true;
        assert_eq!(wants(&mut lane, far(webhook)), Some(None));
        // Committed before the load's read, it comes with the page; committed after it, its change follows the page.
        lane.insert(entry(key(webhook, 1), 1));
        loaded(&mut lane, vec![entry(key(webhook, 1), 1)], true, i64::MAX);
        lane.insert(entry(key(webhook, 2), 1));
        assert_eq!(
            std::iter::from_fn(|| lane.claim(0, i64::MAX).pop()).map(|claim| claim.key.due_ms).collect::<Vec<_>>(),
            [1, 2]
        );
    }

    #[test]
    fn a_new_activation_holds_what_waited() {
        let webhook = WebhookId::generate();
        let mut lane = Lane::new(0, true);
        lane.insert(entry(key(webhook, 1), 2));
        let claim = lane.claim(0, i64::MAX).pop().expect("a delivery");
        lane.begin(1);
        lane.runnable = true;
        assert_eq!(wants(&mut lane, far(webhook)), Some(None), "what was recovered meanwhile waits there");
        loaded(&mut lane, Vec::new(), true, i64::MAX);
        assert!(lane.claim(0, i64::MAX).is_empty());
        // The entry's other delivery is not done: the entry stays, for a later recovery.
        assert_eq!(lane.finished(claim.key), None);
        lane.insert(entry(key(webhook, 2), 1));
        assert!(lane.claim(0, i64::MAX).is_empty(), "queued under the old activation");
    }

    #[test]
    fn retries_of_before_are_taken_out_and_everything_else_keeps_its_order() {
        let webhook = WebhookId::generate();
        let mut lane = Lane::new(0, false);
        lane.runnable = true;
        wants(&mut lane, far(webhook));
        let retry = |due| {
            let mut retry = entry(key(webhook, due), 2);
            retry.items.iter_mut().for_each(|(item, _)| item.attempt = 2);
            retry
        };
        let mut recovered = retry(13);
        recovered.items.iter_mut().for_each(|(item, _)| item.earlier = 1);
        let page = vec![retry(10), entry(key(webhook, 11), 1), retry(12), recovered, retry(20)];
        loaded(&mut lane, page.clone(), false, i64::MAX);
        assert!(lane.stood_still(20), "the first of them");
        assert!(!lane.pile() && lane.has_piled());
        // A page that is read again does not bring them back.
        read_far(&mut lane, webhook);
        assert!(wants(&mut lane, far(webhook)).is_some());
        loaded(&mut lane, page, true, i64::MAX);
        assert!(!lane.pile());
        let (first, items) = lane.claim_piled().expect("a retry");
        assert_eq!((first.due_ms, items.len()), (10, 2));
        assert_eq!((lane.finished(first), lane.finished(first)), (None, Some(first)));
        let rest = std::iter::from_fn(|| lane.claim(30, 1000).pop()).map(|claim| claim.key.due_ms);
        assert_eq!(rest.collect::<Vec<_>>(), [11, 13, 13, 20, 20]);
        // Switched off: it stays on the disk.
        assert!(lane.has_piled());
        lane.begin(1);
        assert!(!lane.has_piled() && lane.claim_piled().is_none());
    }

    #[test]
    fn a_due_time_beyond_every_wait_is_now() {
        let webhook = WebhookId::generate();
        let mut lane = Lane::new(0, true);
        lane.insert(entry(key(webhook, 1_000_000), 1));
        assert_eq!(lane.next_due(500, 1000), Some(500));
        assert_eq!(lane.next_due(999_500, 1000), Some(1_000_000));
        // A retry of after the jump does not keep it waiting.
        lane.insert(entry(key(webhook, 1_200), 1));
        assert_eq!(lane.next_due(500, 1000), Some(500));
        assert_eq!(lane.claim(500, 1000).first().map(|claim| claim.key.due_ms), Some(1_000_000));
        assert_eq!(lane.next_due(500, 1000), Some(1_200));
    }

    #[test]
    fn what_is_out_of_reach_waits_for_no_backlog() {
        let webhook = WebhookId::generate();
        let mut lane = Lane::new(0, false);
        lane.runnable = true;
        let dues = |claims: Vec<Claim>| claims.iter().map(|claim| claim.key.due_ms).collect::<Vec<_>>();
        // The queue on the disk: a long backlog within reach of 1000, and behind it what was queued before the wall clock
        // was set back.
        let reach = key(webhook, 1_000);
        assert_eq!(wants(&mut lane, reach), Some(None));
        loaded(&mut lane, vec![entry(key(webhook, 900), 1)], false, 1_010);
        assert_eq!(wants(&mut lane, reach), Some(Some(reach)), "the end of the queue before the backlog");
        let behind = [(1_005, 1), (5_000, 2), (6_000, 1)].map(|(due, items)| entry(key(webhook, due), items));
        loaded(&mut lane, behind.to_vec(), true, 1_010);
        lane.insert(entry(key(webhook, 10), 1));
        assert_eq!(lane.next_due(20, 990), Some(20));
        assert_eq!(dues(lane.claim(20, 990)), [5_000]);
        let claims = lane.claim(20, 990);
        assert_eq!(claims.len(), 1);
        for Claim { key, item, .. } in claims {
            lane.give_back(key, item);
        }
        // It stays due, also once time has brought it within reach.
        assert_eq!(lane.next_due(5_500, 990), Some(5_500));
        assert_eq!(dues(lane.claim(20, 990)), [5_000]);
        assert_eq!(dues(lane.claim(20, 990)), [6_000]);
        assert_eq!(dues(lane.claim(20, 990)), [10]);
        assert_eq!(lane.next_due(20, 990), Some(900), "1005 came within reach while it was read: it has its time");
        // The window's page comes to them again while they are under way.
        assert_eq!(wants(&mut lane, reach), Some(Some(key(webhook, 900))));
        loaded(&mut lane, behind.to_vec(), true, 1_010);
        assert_eq!([lane.claim(20, 990), lane.claim(20, 990)].map(dues), [[900], [1_005]]);
        assert_eq!(lane.next_due(20, 990), None);
        assert_eq!([5_000, 5_000, 6_000].map(|due| lane.finished(key(webhook, due)).is_some()), [false, true, true]);
    }

    #[test]
    fn a_queue_of_one_page_is_read_once_with_what_is_out_of_reach() {
        let webhook = WebhookId::generate();
        let mut lane = Lane::new(0, false);
        lane.runnable = true;
        let reach = key(webhook, 1_000);
        let page = [(10, 1), (1_010, 1), (1_011, 1), (5_000, 2)].map(|(due, items)| entry(key(webhook, due), items));
        assert_eq!(wants(&mut lane, reach), Some(None));
        loaded(&mut lane, page.to_vec(), true, 1_010);
        assert_eq!(wants(&mut lane, reach), None);
        let claims = std::iter::from_fn(|| lane.claim(2_000, 990).pop()).map(|claim| claim.key.due_ms);
        assert_eq!(claims.collect::<Vec<_>>(), [1_011, 5_000, 5_000, 10, 1_010]);
        // Not the whole queue: its end is read too.
        lane.unload();
        assert_eq!(wants(&mut lane, reach), Some(None));
        loaded(&mut lane, page.to_vec(), false, 1_010);
        assert_eq!(wants(&mut lane, reach), Some(Some(reach)));
    }

    #[test]
    fn what_is_out_of_reach_waits_for_no_batch() {
        let (webhook, mut lane) = batching();
        lane.insert(entry(key(webhook, 1_000_000), 1));
        assert_eq!(lane.next_due(500, 1000), Some(500));
    }

    /// A lane of requests with at most three deliveries, which wait 100 ms for one another.
    fn batching() -> (WebhookId, Lane) {
        let mut lane = Lane::new(0, true);
        lane.runnable = true;
        lane.batch = Some(Batch { max_events: 3, max_wait_ms: 100 });
        (WebhookId::generate(), lane)
    }

    #[test]
    fn deliveries_wait_for_one_another_until_there_are_enough_or_time_is_up() {
        let (webhook, mut lane) = batching();
        lane.insert(entry(key(webhook, 10), 1));
        assert_eq!(lane.next_due(10, 1000), Some(110));
        lane.insert(entry(key(webhook, 20), 1));
        assert_eq!(lane.next_due(20, 1000), Some(110));
        assert_eq!(lane.claim(110, 1000).len(), 2);
        lane.insert(entry(key(webhook, 120), 2));
        lane.insert(entry(key(webhook, 130), 2));
        assert_eq!(lane.next_due(130, 1000), Some(120));
        assert_eq!(lane.claim(130, 1000).iter().map(|claim| claim.key.due_ms).collect::<Vec<_>>(), [120, 120, 130]);
        assert_eq!(lane.next_due(130, 1000), Some(230));
        assert_eq!(lane.in_flight, 2, "two requests");
    }

    const DIGEST: Digest = Digest { window_seconds: 60, over: 3, bypass_severity: None };

    /// The same entry, with deliveries of this state.
    fn sent(mut entry: DueEntry, sent: Sent) -> DueEntry {
        entry.items.iter_mut().for_each(|(item, _)| item.sent = sent);
        entry
    }

    #[test]
    fn what_waits_for_a_digest_is_not_in_the_window_and_a_message_is_one_request() {
        let webhook = WebhookId::generate();
        let mut lane = Lane::new(0, true);
        lane.runnable = true;
        lane.collect_for(Some(DIGEST));
        lane.settle();
        assert_eq!(wants(&mut lane, far(webhook)), Some(None));
        loaded(&mut lane, vec![entry(key(webhook, 10), 200)], true, i64::MAX);
        lane.insert(entry(key(webhook, 20), 2000));
        assert_eq!((lane.next_due(20, 1000), lane.collecting.next(20)), (None, Some((60_010, true))));
        // It waits for nobody, and takes nobody along.
        let part = crate::model::delivery::Part { number: 1, parts: 1, total: 40 };
        lane.insert(sent(entry(key(webhook, 30), 40), Sent::Digest { part, pin: None }));
        lane.insert(sent(entry(key(webhook, 25), 2), Sent::Alone));
        let claim = |lane: &mut Lane| lane.claim(100, 1000).iter().map(|claim| claim.key.due_ms).collect::<Vec<_>>();
        assert_eq!([claim(&mut lane), claim(&mut lane)], [[25], [25]]);
        assert_eq!(claim(&mut lane), [30; 40]);
        assert_eq!((lane.in_flight, claim(&mut lane)), (3, vec![]));
        assert!((0..39).all(|_| lane.finished(key(webhook, 30)).is_none()));
        assert_eq!(lane.finished(key(webhook, 30)), Some(key(webhook, 30)));
    }

    #[test]
    fn a_change_of_the_digest_holds_for_what_waits_once_nothing_is_in_flight() {
        let webhook = WebhookId::generate();
        let mut lane = Lane::new(0, true);
        lane.runnable = true;
        lane.insert(entry(key(webhook, 10), 3));
        assert_eq!(lane.claim(100, 1000).len(), 1);
        lane.collect_for(Some(DIGEST));
        lane.settle();
        assert!(!lane.has_room(10));
        assert_eq!(lane.ask(), [key(webhook, 10)], "what is in flight is no one's to collect");
        lane.collecting.collected(None);
        lane.request_finished();
        assert_eq!(lane.finished(key(webhook, 10)), None, "the entry is not done");
        lane.settle();
        assert_eq!(wants(&mut lane, far(webhook)), Some(None));
        loaded(&mut lane, vec![entry(key(webhook, 10), 2)], true, i64::MAX);
        assert_eq!((lane.next_due(100, 1000), lane.collecting.next(100)), (None, Some((60_010, true))));
        lane.collect_for(None);
        lane.settle();
        assert_eq!(wants(&mut lane, far(webhook)), Some(None));
        loaded(&mut lane, vec![entry(key(webhook, 10), 2)], true, i64::MAX);
        assert_eq!((lane.next_due(100, 1000), lane.items()), (Some(10), 2));
    }

    #[test]
    fn what_was_sent_together_goes_together_again_and_alone() {
        let (webhook, mut lane) = batching();
        let mut again = entry(key(webhook, 50), 2);
        for (item, _) in &mut again.items {
            item.sent = Sent::Before(Some(crate::store::Pin { component: [1; 32], rendering: [2; 32] }));
        }
        lane.insert(entry(key(webhook, 40), 1));
        lane.insert(again);
        lane.insert(entry(key(webhook, 60), 1));
        let claim = |lane: &mut Lane| lane.claim(1000, 10_000).iter().map(|claim| claim.key.due_ms).collect::<Vec<_>>();
        assert_eq!(claim(&mut lane), [40]);
        assert_eq!(lane.next_due(50, 10_000), Some(50), "a retry waits for nobody");
        assert_eq!(claim(&mut lane), [50, 50]);
        assert_eq!(claim(&mut lane), [60]);
    }

    fn entry_of(rank: u8, due_ms: i64, items: usize) -> DueEntry {
        let mut entry = entry(DueKey { rank, ..key(WebhookId::from_bytes([7; 16]), due_ms) }, items);
        entry.items.iter_mut().for_each(|(item, _)| item.rank = rank);
        entry
    }

    /// An empty lane with this order.
    fn ordered(order: Order) -> Lane {
        let mut lane = Lane::new(0, true);
        lane.runnable = true;
        lane.follow(order);
        lane.settle();
        if order != Order::Arrival {
            assert_eq!(wants(&mut lane, far(WebhookId::from_bytes([7; 16]))), Some(None));
            loaded(&mut lane, Vec::new(), true, i64::MAX);
        }
        lane
    }

    fn claimed(lane: &mut Lane, now_ms: i64) -> Vec<(u8, i64)> {
        let claims = std::iter::from_fn(|| {
            if lane.next_due(now_ms, 1000)? <= now_ms { lane.claim(now_ms, 1000).pop() } else { None }
        });
        claims.map(|claim| (claim.key.rank, claim.key.due_ms)).collect()
    }

    #[test]
    fn the_most_severe_of_what_is_due_is_next_and_otherwise_the_first() {
        let queue = [(5, 10), (1, 30), (3, 20), (1, 90), (0, 40), (3, 25)];
        for (order, expected) in [
            (Order::Severity, [(0, 40), (1, 30), (3, 20), (3, 25), (5, 10)]),
            (Order::Arrival, [(5, 10), (3, 20), (3, 25), (1, 30), (0, 40)]),
        ] {
            let mut lane = ordered(order);
            queue.iter().for_each(|&(rank, due)| lane.insert(entry_of(rank, due, 1)));
            assert_eq!(claimed(&mut lane, 50), expected, "{order:?}");
            assert_eq!(lane.next_due(50, 1000), Some(90));
        }
    }

    #[test]
    fn a_rank_that_was_not_read_may_have_the_next() {
        let webhook = WebhookId::from_bytes([7; 16]);
        for order in [Order::Severity, Order::Arrival] {
            let mut lane = Lane::new(0, false);
            lane.runnable = true;
            lane.follow(order);
            lane.settle();
            assert_eq!(wants(&mut lane, far(webhook)), Some(None));
            // The page ends within rank 3.
            loaded(&mut lane, vec![entry_of(2, 60, 1), entry_of(3, 10, 1)], false, i64::MAX);
            assert_eq!(claimed(&mut lane, 50), if order == Order::Severity { vec![(3, 10)] } else { vec![] });
            let mut ranks = Vec::new();
            while let Some(request) = lane.wants_load(far(webhook)) {
                assert_eq!(request.after.is_some(), request.ranks == (3..=3));
                ranks.push(*request.ranks.start());
                let page = if request.ranks == (4..=4) { vec![entry_of(4, 5, 1)] } else { Vec::new() };
                loaded(&mut lane, page, true, i64::MAX);
            }
            assert_eq!(ranks, [3, 3, 4, 5], "the end of rank 3 for what is out of reach, then what is missing");
            let rest = if order == Order::Severity { vec![(4, 5)] } else { vec![(4, 5), (3, 10)] };
            assert_eq!(claimed(&mut lane, 50), rest);
        }
    }

    #[test]
    fn a_strict_lane_is_one_request_at_a_time_in_the_order_of_its_keys() {
        let mut lane = ordered(Order::Strict);
        let strict = |place: i64, due_ms| {
            let mut entry = entry_of(rank::STRICT, place, 1);
            entry.items[0].0.due_ms = Some(due_ms);
            entry
        };
        [strict(7, 10), strict(9, 10), strict(8, 900)].into_iter().for_each(|entry| lane.insert(entry));
        assert!(lane.has_room(4));
        assert_eq!(lane.claim(20, 1000).len(), 1);
        assert!(!lane.has_room(4), "one at a time");
        // It failed: what its outcome queues is next, and is not known before the outcome is on the disk.
        lane.request_finished();
        lane.finished(strict(7, 10).key);
        lane.awaits = Some(1);
        assert!(!lane.has_room(4));
        lane.insert(strict(7, 500));
        lane.awaits = None;
        assert!(lane.has_room(4));
        assert_eq!(lane.next_due(20, 1000), Some(500), "nothing overtakes it");
        assert_eq!(lane.claim(500, 1000).pop().map(|claim| claim.key.due_ms), Some(7));
        assert_eq!(lane.next_due(500, 1000), Some(900));
        // A wall clock that was set back makes nothing wait longer than anything can.
        assert_eq!(lane.next_due(500, 300), Some(500));
        assert_eq!(lane.claim(500, 300).pop().map(|claim| claim.key.due_ms), Some(8));
    }

    #[test]
    fn what_is_left_of_a_strict_entry_is_read_again_in_its_place() {
        let webhook = WebhookId::from_bytes([7; 16]);
        let mut lane = ordered(Order::Strict);
        lane.batch = Some(Batch { max_events: 3, max_wait_ms: 0 });
        let strict = |place: i64, items| sent(entry_of(rank::STRICT, place, items), Sent::Before(None));
        lane.insert(strict(7, 3));
        lane.insert(strict(8, 1));
        // A batch of fewer, while the three wait for their retry.
        lane.batch = Some(Batch { max_events: 2, max_wait_ms: 0 });
        assert_eq!(lane.claim(20, 1000).len(), 2);
        lane.settle();
        assert!(wants(&mut lane, far(webhook)).is_none(), "what is in flight decides first");
        lane.request_finished();
        assert_eq!([lane.finished(strict(7, 0).key), lane.finished(strict(7, 0).key)], [None, None]);
        lane.settle();
        assert_eq!(lane.next_due(20, 1000), None, "nothing goes out before its place is known");
        assert_eq!(wants(&mut lane, far(webhook)), Some(None));
        loaded(&mut lane, vec![strict(8, 1), strict(9, 1)], true, i64::MAX);
        lane.settle();
        assert_eq!(lane.claim(20, 1000).iter().map(|claim| claim.key.due_ms).collect::<Vec<_>>(), [8]);
    }

    #[test]
    fn another_order_holds_once_nothing_is_in_flight() {
        let webhook = WebhookId::from_bytes([7; 16]);
        let mut lane = ordered(Order::Arrival);
        (0..3).for_each(|due| lane.insert(entry_of(5, due, 2)));
        let claim = lane.claim(10, 1000).pop().expect("a delivery");
        lane.follow(Order::Strict);
        lane.settle();
        assert!(!lane.has_room(4) && wants(&mut lane, far(webhook)).is_none());
        lane.follow(Order::Arrival);
        lane.request_finished();
        assert_eq!(lane.finished(claim.key), None);
        lane.settle();
        // What was queued while it was another one lies in other ranks.
        assert_eq!(wants(&mut lane, far(webhook)), Some(None));
        let number = lane.number;
        lane.insert(entry_of(rank::STRICT, 4, 1));
        lane.settle();
        lane.loaded(number, vec![entry_of(5, 0, 1)], true, i64::MAX);
        assert_eq!(lane.next_due(10, 1000), None, "a page of before");
        assert_eq!(wants(&mut lane, far(webhook)), Some(None));
    }
}
