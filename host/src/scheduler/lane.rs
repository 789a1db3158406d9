//! A lane: the in-memory window of one webhook's queue. Pure: no clock, no store.
//!
//! The queue itself is on the disk. The window covers its beginning: everything up to the horizon, or all of it when it is
//! `complete`. Entries beyond the horizon stay on the disk until the window is nearly empty, so the backlog of a dead
//! destination costs no memory.
//!
//! Entries out of reach, due later than any wait can be, were queued before the wall clock was set back. They are due now
//! and lie at the queue's end. Where the first page is not the whole queue, their pages are read beside the window's: they
//! wait for no backlog.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::collecting::Collecting;
use super::hold::{Hold, Need};
use super::pace::Pace;
use super::probing::Probing;
use super::spread::Spread;
use crate::delivery::Claim;
use crate::model::event::Event;
use crate::model::id::WebhookId;
use crate::model::url::DeliveryUrl;
use crate::model::webhook::{Batch, Digest};
use crate::store::{Candidate, DueEntry, DueItem, DueKey, Origin, Sent};

/// Deliveries in one window, roughly.
pub(super) const WINDOW: usize = 1024;
/// With fewer deliveries than this the next page is loaded.
const LOW: usize = 128;
/// Deliveries in a page, roughly.
const LOAD: usize = 256;

type Waiting = VecDeque<(DueItem, Option<Arc<Event>>)>;

/// What a page is a part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Page {
    Window,
    Far,
}

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

/// One webhook's window, with its pace and its standing.
#[derive(Debug)]
pub(super) struct Lane {
    activation: u32,
    window: BTreeMap<DueKey, Waiting>,
    items: usize,
    horizon: Option<DueKey>,
    complete: bool,
    loading: Option<Page>,
    /// True if the queue is to be read from its beginning again after that page.
    rewinds: bool,
    /// Entries out of reach.
    far: BTreeMap<DueKey, Waiting>,
    /// Up to where the end of the queue was read for them.
    far_horizon: Option<DueKey>,
    far_complete: bool,
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
            window: BTreeMap::new(),
            items: 0,
            horizon: None,
            complete,
            loading: None,
            rewinds: false,
            far: BTreeMap::new(),
            far_horizon: None,
            far_complete: complete,
            piled: BTreeMap::new(),
            spread: Spread::of_one_destination(),
            moving_since: i64::MIN,
            open: HashMap::new(),
            evicted: Vec::new(),
            in_flight: 0,
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
        let [window, far, piled] = [&mut self.window, &mut self.far, &mut self.piled].map(std::mem::take);
        for (key, waiting) in window.into_iter().chain(far).chain(piled) {
            if let Some(open) = self.open.get_mut(&key) {
                open.left -= waiting.len();
                open.whole = false;
            }
        }
        // The webhook may go on under the same activation: then these entries are loaded again.
        self.open.retain(|_, open| open.left > 0);
        self.items = 0;
        self.horizon = None;
        self.complete = false;
        self.loading = None;
        self.rewinds = false;
        self.far_horizon = None;
        self.far_complete = false;
        self.collecting.forget();
    }

    /// Reads the queue from its beginning again: there is something in it that the window does not have.
    fn rewind(&mut self) {
        if self.loading.is_some() {
            self.rewinds = true;
            return;
        }
        (self.horizon, self.complete) = (None, false);
        (self.far_horizon, self.far_complete) = (None, false);
    }

    /// Sets the webhook's digest. A change holds for what waits.
    pub(super) fn collect_for(&mut self, digest: Option<Digest>) {
        if !self.collecting.set(digest) {
            return;
        }
        let all = self.window.iter().chain(&self.far);
        let waits = all.filter(|(key, waiting)| self.collecting.takes(**key, *waiting, false)).map(|(key, _)| *key);
        for key in waits.collect::<Vec<_>>() {
            let Some(waiting) = self.far.remove(&key).or_else(|| {
                let waiting = self.window.remove(&key)?;
                self.items -= waiting.len();
                Some(waiting)
            }) else {
                continue;
            };
            // What is in flight of it ends as it would have; the entry stays for the others.
            if let Some(open) = self.open.get_mut(&key) {
                open.left -= waiting.len();
                open.whole = false;
            }
            self.evicted.extend(waiting.into_iter().filter_map(|(_, event)| event));
        }
        self.rewind();
    }

    /// The store is asked to put together what waits for the window; the entries that it leaves out, since some of their
    /// deliveries are in flight.
    pub(super) fn ask(&mut self) -> Vec<DueKey> {
        self.collecting.asked();
        self.open.keys().copied().collect()
    }

    /// Adds an entry that was just queued, if it lies within the window.
    pub(super) fn insert(&mut self, entry: DueEntry) {
        let within = self.complete || self.horizon.is_some_and(|horizon| entry.key <= horizon);
        if entry.key.activation != self.activation || entry.items.is_empty() {
            return;
        }
        if self.collecting.takes(entry.key, &entry.items, true) || !within {
            self.evicted.extend(entry.items.into_iter().filter_map(|(_, event)| event));
            return;
        }
        self.items += entry.items.len();
        self.window.insert(entry.key, entry.items.into());
        self.shrink();
    }

    /// Keeps the window small. Not while a page is being loaded: entries between the two would be missed.
    fn shrink(&mut self) {
        while self.items > WINDOW && self.loading.is_none() {
            let Some((key, waiting)) = self.window.pop_last() else { return };
            if self.window.is_empty() || self.open.contains_key(&key) {
                self.window.insert(key, waiting);
                return;
            }
            self.items -= waiting.len();
            self.evicted.extend(waiting.into_iter().filter_map(|(_, event)| event));
            let last = self.window.last_key_value().map(|(key, _)| *key);
            // While the queue is read again, the window has entries beyond the horizon.
            self.horizon = if self.complete { last } else { self.horizon.min(last) };
            self.complete = false;
        }
    }

    /// The key after which the next page begins (`None` inside: at the beginning), when a page is needed. `reach` is the
    /// last key that is within reach.
    pub(super) fn wants_load(&mut self, reach: DueKey) -> Option<Option<DueKey>> {
        if self.loading.is_some() || !self.runnable {
            return None;
        }
        // Most queues end with their first page, and then it has those out of reach too.
        let is_unread = self.horizon.is_none() && !self.complete;
        if !is_unread && !self.far_complete && self.far.len() < LOW {
            self.loading = Some(Page::Far);
            return Some(self.far_horizon.max(Some(reach)));
        }
        let full = self.items >= LOW.max(self.most()) || self.piled.len() >= WINDOW;
        if self.complete || full {
            return None;
        }
        self.loading = Some(Page::Window);
        Some(self.horizon)
    }

    /// How many deliveries to load at a time, roughly.
    pub(super) fn load(&self) -> usize {
        LOAD.max(self.most())
    }

    /// How many deliveries one request may carry.
    pub(super) fn most(&self) -> usize {
        self.batch.map_or(1, |batch| batch.max_events as usize)
    }

    /// Adds a page that was loaded. What is due until `reach_ms` is within reach.
    pub(super) fn loaded(&mut self, entries: Vec<DueEntry>, complete: bool, reach_ms: i64) {
        let Some(page) = self.loading.take() else { return };
        // The window's last page has all that is out of reach.
        let has_far = page == Page::Far || (complete && !self.far_complete);
        self.far_complete |= has_far && complete;
        let (horizon, is_complete) = match page {
            Page::Window => (&mut self.horizon, &mut self.complete),
            Page::Far => (&mut self.far_horizon, &mut self.far_complete),
        };
        *is_complete = complete;
        if let Some(last) = entries.last() {
            *horizon = Some(last.key);
        }
        for entry in entries {
            let known = self.open.contains_key(&entry.key)
                || self.window.contains_key(&entry.key)
                || self.far.contains_key(&entry.key)
                || self.piled.contains_key(&entry.key);
            if known || entry.items.is_empty() || self.collecting.takes(entry.key, &entry.items, false) {
                continue;
            }
            if has_far && entry.key.due_ms > reach_ms {
                self.far.insert(entry.key, entry.items.into());
            } else if page == Page::Window {
                self.items += entry.items.len();
                self.window.insert(entry.key, entry.items.into());
            }
            // A retry of after the page was asked for may lie behind it: it is due when it says, and the window's.
        }
        if std::mem::take(&mut self.rewinds) {
            self.rewind();
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
        let due = self.window.iter().take_while(|(key, _)| key.due_ms < before_ms);
        let is_retry = |waiting: &Waiting| waiting.iter().all(|(item, _)| item.try_number() > 1);
        let keys: Vec<DueKey> = due.filter(|(_, waiting)| is_retry(waiting)).map(|(key, _)| *key).collect();
        for key in keys {
            if let Some(waiting) = self.window.remove(&key) {
                self.items -= waiting.len();
                self.piled.insert(key, waiting);
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
        let key = self.next(now_ms, longest_wait_ms)?;
        if self.far.contains_key(&key) || key.due_ms > now_ms.saturating_add(longest_wait_ms) {
            return Some(now_ms.max(self.pace.ready_at()));
        }
        // More deliveries may join the batch, unless it was sent before, is full, or has more behind it on the disk.
        let waits = |batch: &Batch| !self.is_kept(key) && self.complete && self.items < batch.max_events as usize;
        let wait = self.batch.filter(waits).map_or(0, |batch| i64::from(batch.max_wait_ms));
        Some(key.due_ms.saturating_add(wait).max(self.pace.ready_at()))
    }

    /// Returns true if an entry's deliveries stay together: they were sent before, or are told of in a digest.
    fn is_kept(&self, key: DueKey) -> bool {
        self.first_of(key).is_some_and(|item| item.sent != Sent::Never)
    }

    fn first_of(&self, key: DueKey) -> Option<&DueItem> {
        let waiting = self.far.get(&key).or_else(|| self.window.get(&key));
        waiting.and_then(VecDeque::front).map(|(item, _)| item)
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

    /// The next entry: the first, unless one is out of reach. That one is due now, and must not wait behind retries that
    /// were queued since.
    fn next(&self, now_ms: i64, longest_wait_ms: i64) -> Option<DueKey> {
        if let Some((far, _)) = self.far.first_key_value() {
            return Some(*far);
        }
        let (last, _) = self.window.last_key_value()?;
        let out_of_reach = last.due_ms > now_ms.saturating_add(longest_wait_ms);
        if out_of_reach { Some(*last) } else { self.window.first_key_value().map(|(key, _)| *key) }
    }

    /// Claims the deliveries of the next request: one, or as many as are there and fit into a batch. Deliveries that were
    /// sent together go together again.
    pub(super) fn claim(&mut self, now_ms: i64, longest_wait_ms: i64) -> Vec<Claim> {
        let mut claims = Vec::new();
        let Some(first) = self.next(now_ms, longest_wait_ms) else { return claims };
        let (kept, most) = (self.is_kept(first), self.most_of(first));
        while claims.len() < most
            && let Some(key) = self.next(now_ms, longest_wait_ms)
        {
            let belongs = if kept { key == first } else { key.due_ms <= now_ms && !self.is_kept(key) };
            if !belongs && !claims.is_empty() {
                break;
            }
            let Some(claim) = self.take(key) else { break };
            claims.push(claim);
        }
        self.in_flight += usize::from(!claims.is_empty());
        claims
    }

    fn take(&mut self, key: DueKey) -> Option<Claim> {
        let is_far = self.far.contains_key(&key);
        let queue = if is_far { &mut self.far } else { &mut self.window };
        let Entry::Occupied(mut entry) = queue.entry(key) else { return None };
        let waiting = entry.get_mut();
        self.open.entry(key).or_insert(Open { left: waiting.len(), whole: true, is_far });
        let (item, event) = waiting.pop_front()?;
        if waiting.is_empty() {
            entry.remove();
        }
        self.items -= usize::from(!is_far);
        Some(Claim { key, item, event })
    }

    /// Takes back a delivery that was claimed and not sent; it is next. Give back the last of several first.
    pub(super) fn give_back(&mut self, key: DueKey, item: DueItem) {
        if key.activation == self.activation && !self.is_off {
            let is_far = self.open.get(&key).is_some_and(|open| open.is_far);
            let queue = if is_far { &mut self.far } else { &mut self.window };
            queue.entry(key).or_default().push_front((item, None));
            self.items += usize::from(!is_far);
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
        let open = self.open.remove(&key)?;
        if !open.whole && key.activation == self.activation && !self.is_off {
            // The lane does not have what else is in it.
            self.rewind();
        }
        open.whole.then_some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{DeliveryId, EventId};
    use crate::store::Sent;

    fn key(webhook: WebhookId, due_ms: i64) -> DueKey {
        DueKey { webhook, activation: 0, rank: 0, due_ms, seq: due_ms.unsigned_abs() }
    }

    /// Everything is within reach.
    fn far(webhook: WebhookId) -> DueKey {
        key(webhook, i64::MAX)
    }

    /// The end of the queue is read, and nothing there is out of reach.
    fn read_far(lane: &mut Lane, webhook: WebhookId) {
        assert_eq!(lane.wants_load(far(webhook)), Some(Some(far(webhook))));
        lane.loaded(Vec::new(), true, i64::MAX);
    }

    fn entry(key: DueKey, items: usize) -> DueEntry {
        let item = || DueItem {
            event: EventId::generate(),
            slot: 0,
            delivery: DeliveryId::generate(),
            attempt: 1,
            earlier: 0,
            sent: Sent::Never,
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
        assert!(lane.items <= WINDOW, "{}", lane.items);
        let mut claimed = Vec::new();
        loop {
            if let Some(after) = lane.wants_load(far(webhook)) {
                let rest: Vec<_> = queue.iter().filter(|&&key| Some(key) > after).take(LOAD).collect();
                let complete = rest.len() < LOAD;
                lane.loaded(rest.into_iter().map(|&key| entry(key, 1)).collect(), complete, i64::MAX);
                assert!(lane.items <= WINDOW + LOAD);
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
        assert_eq!(lane.wants_load(far(webhook)), Some(None));
        // Committed before the load's read, it comes with the page; committed after it, its change follows the page.
        lane.insert(entry(key(webhook, 1), 1));
        lane.loaded(vec![entry(key(webhook, 1), 1)], true, i64::MAX);
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
        assert_eq!(lane.wants_load(far(webhook)), Some(None), "what was recovered meanwhile waits there");
        lane.loaded(Vec::new(), true, i64::MAX);
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
        lane.wants_load(far(webhook));
        let retry = |due| {
            let mut retry = entry(key(webhook, due), 2);
            retry.items.iter_mut().for_each(|(item, _)| item.attempt = 2);
            retry
        };
        let mut recovered = retry(13);
        recovered.items.iter_mut().for_each(|(item, _)| item.earlier = 1);
        let page = vec![retry(10), entry(key(webhook, 11), 1), retry(12), recovered, retry(20)];
        lane.loaded(page.clone(), false, i64::MAX);
        assert!(lane.stood_still(20), "the first of them");
        assert!(!lane.pile() && lane.has_piled());
        // A page that is read again does not bring them back.
        read_far(&mut lane, webhook);
        assert!(lane.wants_load(far(webhook)).is_some());
        lane.loaded(page, true, i64::MAX);
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
        assert_eq!(lane.wants_load(reach), Some(None));
        lane.loaded(vec![entry(key(webhook, 900), 1)], false, 1_010);
        assert_eq!(lane.wants_load(reach), Some(Some(reach)), "the end of the queue before the backlog");
        let behind = [(1_005, 1), (5_000, 2), (6_000, 1)].map(|(due, items)| entry(key(webhook, due), items));
        lane.loaded(behind.to_vec(), true, 1_010);
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
        assert_eq!(lane.wants_load(reach), Some(Some(key(webhook, 900))));
        lane.loaded(behind.to_vec(), true, 1_010);
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
        assert_eq!(lane.wants_load(reach), Some(None));
        lane.loaded(page.to_vec(), true, 1_010);
        assert_eq!(lane.wants_load(reach), None);
        let claims = std::iter::from_fn(|| lane.claim(2_000, 990).pop()).map(|claim| claim.key.due_ms);
        assert_eq!(claims.collect::<Vec<_>>(), [1_011, 5_000, 5_000, 10, 1_010]);
        // Not the whole queue: its end is read too.
        lane.unload();
        assert_eq!(lane.wants_load(reach), Some(None));
        lane.loaded(page.to_vec(), false, 1_010);
        assert_eq!(lane.wants_load(reach), Some(Some(reach)));
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
        assert_eq!(lane.wants_load(far(webhook)), Some(None));
        lane.loaded(vec![entry(key(webhook, 10), 200)], true, i64::MAX);
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
    fn a_change_of_the_digest_holds_for_what_waits_but_not_for_what_is_in_flight() {
        let webhook = WebhookId::generate();
        let mut lane = Lane::new(0, true);
        lane.runnable = true;
        lane.insert(entry(key(webhook, 10), 3));
        lane.insert(entry(key(webhook, 20), 1));
        assert_eq!(lane.claim(100, 1000).len(), 1);
        lane.collect_for(Some(DIGEST));
        assert_eq!((lane.next_due(100, 1000), lane.items), (None, 0));
        assert_eq!(lane.ask(), [key(webhook, 10)], "what is in flight is no one's to collect");
        lane.collecting.collected(None);
        // The queue is read again, but for what is in flight.
        assert_eq!(lane.wants_load(far(webhook)), Some(None));
        lane.loaded(vec![entry(key(webhook, 10), 2)], true, i64::MAX);
        assert_eq!((lane.wants_load(far(webhook)), lane.collecting.next(100)), (None, None));
        // Once it has ended, the others of its entry are found.
        assert_eq!(lane.finished(key(webhook, 10)), None, "the entry is not done");
        assert_eq!(lane.wants_load(far(webhook)), Some(None));
        lane.loaded(vec![entry(key(webhook, 10), 2)], true, i64::MAX);
        assert_eq!(lane.collecting.next(100), Some((60_010, true)));
        lane.collect_for(None);
        assert_eq!(lane.wants_load(far(webhook)), Some(None));
        lane.loaded(vec![entry(key(webhook, 10), 2)], true, i64::MAX);
        assert_eq!((lane.next_due(100, 1000), lane.items), (Some(10), 2));
    }

    #[test]
    fn a_queue_that_is_read_again_is_read_to_its_end() {
        let webhook = WebhookId::generate();
        let mut lane = Lane::new(0, true);
        lane.runnable = true;
        lane.collect_for(Some(DIGEST));
        lane.collect_for(None);
        // Meanwhile the window has what was queued.
        let queue: Vec<_> = (0..3000).map(|due| key(webhook, due)).collect();
        let mut claimed = Vec::new();
        while let Some(after) = lane.wants_load(far(webhook)) {
            let rest: Vec<_> = queue.iter().filter(|&&key| Some(key) > after).take(LOAD).collect();
            let complete = rest.len() < LOAD;
            lane.loaded(rest.into_iter().map(|&key| entry(key, 1)).collect(), complete, i64::MAX);
            claimed.extend(std::iter::from_fn(|| lane.claim(0, i64::MAX).pop()).map(|claim| claim.key));
        }
        assert_eq!(claimed, queue);
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
}
