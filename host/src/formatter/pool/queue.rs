//! Whose call is next: weighted fair queueing over components, by processor time. Pure: it takes the time as an argument,
//! and the processor time of calls from its caller.
//!
//! Each component has a share. A share is charged the expected cost of a call when it begins, and the difference to its
//! real cost when it ends; the next call is that which would end first in the shares' own time. So a component that has
//! had more than the others waits, and of two that have had the same the shorter call goes first.
//!
//! Threads are of three tiers. [`Tier::Normal`] threads run calls that are expected to be brief, and one of them runs
//! nothing else. [`Tier::Slow`] threads have a lower priority and run the rest. One [`Tier::Background`] thread runs
//! previews while no delivery waits.
//!
//! A call that is known to be far below a switch of threads and that would be next is not worth one: its caller's thread
//! may run it ([`Queue::begin_here`]). It counts like any other.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::cost::{CallClass, Estimates, Pace};
use crate::formatter::runtime::{LONG, TOO_LONG_HERE};

/// The time in which an idle component's surplus over the other shares is halved.
const HALF_LIFE: Duration = Duration::from_secs(10);
/// The longest time that background work waits for deliveries. After it one call is made, beside them.
const PATIENCE: Duration = Duration::from_secs(1);
/// Components whose shares are remembered. The component that has been idle longest is forgotten first.
const SHARES: usize = 256;

/// How long every call goes to a thread of the pool after one took too long on its caller's: formatters that begin to loop
/// within moments must not hold up the callers' other work one after the other.
const REST: Duration = Duration::from_millis(50);

/// SHA-256 of a component, which has one share.
pub(in crate::formatter) type ShareKey = [u8; 32];

/// The kind of a thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tier {
    /// Brief calls; other ones on all of these threads but one.
    Normal,
    /// Slow calls, and those that wait for a normal thread without being brief.
    Slow,
    /// Previews.
    Background,
}

impl Tier {
    /// The name of its threads in the watchdog's register.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Normal => "formatter",
            Self::Slow => "formatter-slow",
            Self::Background => "formatter-background",
        }
    }
}

/// A call's place in the order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::formatter) enum Order {
    /// A call of this class for a delivery, at the expense of its component's share.
    Delivery(ShareKey, CallClass),
    /// A call that comes after deliveries. It is neither charged nor measured: previews must not change whose delivery
    /// is next.
    Background,
}

/// The identity of a running call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct RunId(u64);

/// Which calls may run on their callers' threads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Here {
    /// Calls at the same time.
    pub(super) calls: usize,
    /// The largest expected cost.
    pub(super) cost: Duration,
}

/// A call on its caller's thread, which has begun.
#[derive(Debug)]
pub(super) struct HereRun {
    key: ShareKey,
    class: CallClass,
    charged: Duration,
}

struct Waiting<J> {
    job: J,
    /// Order of arrival.
    number: u64,
    since: Duration,
}

struct Share<J> {
    /// By class; each in the order of arrival.
    queues: [VecDeque<Waiting<J>>; CallClass::COUNT],
    waiting: usize,
    running: usize,
    /// True while a call that nothing is known about runs: until it is measured, no second one begins.
    measuring: bool,
    /// Processor time in the shares' own time: it counts from the share that has had least.
    used: Duration,
    /// Time since which it is idle.
    idle_since: Duration,
    estimates: Estimates,
}

impl<J> Share<J> {
    fn new(used: Duration) -> Self {
        Self {
            queues: std::array::from_fn(|_| VecDeque::new()),
            waiting: 0,
            running: 0,
            measuring: false,
            used,
            idle_since: Duration::ZERO,
            estimates: Estimates::default(),
        }
    }

    fn is_active(&self) -> bool {
        self.waiting + self.running > 0
    }

    /// Where the share will be after the first of its calls that wait for a normal thread.
    fn first_end(&self) -> Option<Duration> {
        let waits =
            |class: &CallClass| !self.queues[class.index()].is_empty() && self.estimates.pace(*class) != Pace::Slow;
        CallClass::all().filter(waits).map(|class| self.used + self.estimates.expected(class)).min()
    }
}

struct Running {
    key: ShareKey,
    class: CallClass,
    /// Charged to the share so far.
    charged: Duration,
    /// True if it is the first call of its kind.
    measures: bool,
    /// True if it holds a normal thread and is not known to be brief.
    is_counted: bool,
}

/// The waiting and the running calls.
pub(super) struct Queue<J> {
    normal_threads: usize,
    here: Here,
    /// Running calls on their callers' threads.
    running_here: usize,
    /// When calls may run on their callers' threads again.
    here_from: Duration,
    shares: HashMap<ShareKey, Share<J>>,
    background: VecDeque<Waiting<J>>,
    running: HashMap<RunId, Running>,
    /// Running calls on normal threads that are not known to be brief.
    not_brief: usize,
    /// Waiting calls of deliveries.
    waiting: usize,
    /// What the active share with least has used; never goes back.
    floor: Duration,
    numbers: u64,
}

impl<J> Queue<J> {
    /// An empty queue; no call may run on its caller's thread.
    pub(super) fn new(normal_threads: usize) -> Self {
        Self {
            normal_threads,
            here: Here { calls: 0, cost: Duration::ZERO },
            running_here: 0,
            here_from: Duration::ZERO,
            shares: HashMap::new(),
            background: VecDeque::new(),
            running: HashMap::new(),
            not_brief: 0,
            waiting: 0,
            floor: Duration::ZERO,
            numbers: 0,
        }
    }

    /// The same queue, with calls on their callers' threads.
    pub(super) fn with_here(self, here: Here) -> Self {
        Self { here, ..self }
    }

    /// Adds a call. Returns the tiers whose threads may run it.
    pub(super) fn push(&mut self, order: Order, job: J, now: Duration) -> &'static [Tier] {
        self.numbers += 1;
        let waiting = Waiting { job, number: self.numbers, since: now };
        let Order::Delivery(key, class) = order else {
            self.background.push_back(waiting);
            return &[Tier::Background];
        };
        let share = self.activate(key, now);
        share.queues[class.index()].push_back(waiting);
        share.waiting += 1;
        let pace = share.estimates.pace(class);
        self.waiting += 1;
        match pace {
            Pace::Brief => &[Tier::Normal],
            Pace::Medium | Pace::Unknown => &[Tier::Normal, Tier::Slow],
            Pace::Slow => &[Tier::Slow],
        }
    }

    /// The share of a component that has a call. One that was idle has lost its credit, and part of its surplus.
    fn activate(&mut self, key: ShareKey, now: Duration) -> &mut Share<J> {
        if self.shares.get(&key).is_none_or(|share| !share.is_active()) {
            let least = self.shares.values().filter(|share| share.is_active()).map(|share| share.used).min();
            self.floor = self.floor.max(least.unwrap_or_default());
            if !self.shares.contains_key(&key) {
                self.forget();
            }
        }
        let floor = self.floor;
        let share = self.shares.entry(key).or_insert_with(|| Share::new(floor));
        if !share.is_active() {
            let idle = now.saturating_sub(share.idle_since);
            let surplus = share.used.saturating_sub(floor);
            share.used = floor + surplus.mul_f64((-idle.div_duration_f64(HALF_LIFE)).exp2());
        }
        share
    }

    fn forget(&mut self) {
        if self.shares.len() < SHARES {
            return;
        }
        let idle = self.shares.iter().filter(|(_, share)| !share.is_active());
        if let Some(key) = idle.min_by_key(|(_, share)| share.idle_since).map(|(key, _)| *key) {
            self.shares.remove(&key);
        }
    }

    /// The next call for a thread of this tier, which begins now.
    pub(super) fn take(&mut self, tier: Tier, now: Duration) -> Option<(RunId, J)> {
        if tier == Tier::Background {
            return self.take_background(now);
        }
        let mut best: Option<(Duration, u64, ShareKey, CallClass)> = None;
        for (key, share) in self.shares.iter().filter(|(_, share)| share.waiting > 0) {
            for class in CallClass::all() {
                let Some(first) = share.queues[class.index()].front() else { continue };
                if !self.may_run(tier, share, class) {
                    continue;
                }
                let end = share.used + share.estimates.expected(class);
                if best.is_none_or(|(least, number, ..)| (end, first.number) < (least, number)) {
                    best = Some((end, first.number, *key, class));
                }
            }
        }
        let (_, _, key, class) = best?;
        let share = self.shares.get_mut(&key)?;
        let waiting = share.queues[class.index()].pop_front()?;
        let (pace, charged) = (share.estimates.pace(class), share.estimates.expected(class));
        let measures = pace == Pace::Unknown;
        share.waiting -= 1;
        share.running += 1;
        share.measuring |= measures;
        share.used += charged;
        self.waiting -= 1;
        let is_counted = tier == Tier::Normal && pace != Pace::Brief;
        self.not_brief += usize::from(is_counted);
        let id = RunId(waiting.number);
        self.running.insert(id, Running { key, class, charged, measures, is_counted });
        Some((id, waiting.job))
    }

    /// Begins a call on its caller's thread, if it is known to be brief enough and no call that waits for a normal thread
    /// comes before it.
    pub(super) fn begin_here(&mut self, key: ShareKey, class: CallClass, now: Duration) -> Option<HereRun> {
        let is_brief = self.shares.get(&key)?.estimates.is_within(class, self.here.cost);
        if !is_brief || self.running_here >= self.here.calls || now < self.here_from {
            return None;
        }
        let share = self.activate(key, now);
        let charged = share.estimates.expected(class);
        let end = share.used + charged;
        if self.waiting > 0 && self.shares.values().any(|share| share.first_end().is_some_and(|first| first < end)) {
            return None;
        }
        let share = self.shares.get_mut(&key)?;
        share.running += 1;
        share.used = end;
        self.running_here += 1;
        Some(HereRun { key, class, charged })
    }

    /// Ends a call on its caller's thread. Returns true if the pool's threads may find a call now that waited before.
    pub(super) fn finish_here(&mut self, run: HereRun, used: Duration, now: Duration) -> bool {
        self.running_here -= 1;
        if used >= TOO_LONG_HERE {
            self.here_from = now + REST;
        }
        let waits = self.waiting > 0;
        let Some(share) = self.shares.get_mut(&run.key) else { return false };
        let paces = waits.then(|| share.estimates.paces());
        share.used = (share.used + used).saturating_sub(run.charged);
        // A call that was broken off says at once what its kind costs.
        share.estimates.learn(run.class, used, TOO_LONG_HERE);
        share.running -= 1;
        if !share.is_active() {
            share.idle_since = now;
        }
        paces.is_some_and(|paces| paces != share.estimates.paces())
    }

    fn may_run(&self, tier: Tier, share: &Share<J>, class: CallClass) -> bool {
        let has_room = tier != Tier::Normal || self.not_brief + 1 < self.normal_threads;
        match share.estimates.pace(class) {
            Pace::Brief => tier == Tier::Normal,
            Pace::Medium => has_room,
            Pace::Unknown => has_room && !share.measuring,
            Pace::Slow => tier == Tier::Slow,
        }
    }

    fn take_background(&mut self, now: Duration) -> Option<(RunId, J)> {
        let first = self.background.front()?;
        if self.waiting > 0 && now.saturating_sub(first.since) < PATIENCE {
            return None;
        }
        let waiting = self.background.pop_front()?;
        Some((RunId(waiting.number), waiting.job))
    }

    /// The time until the first of the background's calls has waited long enough; `None` if there is none.
    pub(super) fn patience_left(&self, now: Duration) -> Option<Duration> {
        let first = self.background.front()?;
        Some((first.since + PATIENCE).saturating_sub(now))
    }

    /// Charges a call that has become long while it runs, and remembers that its kind is slow. If `replaced`, another
    /// thread has taken the place of its own.
    pub(super) fn lengthen(&mut self, id: RunId, so_far: Duration, replaced: bool) {
        let Some(run) = self.running.get_mut(&id) else { return };
        if replaced && std::mem::take(&mut run.is_counted) {
            self.not_brief -= 1;
        }
        let Some(share) = self.shares.get_mut(&run.key) else { return };
        share.used += so_far.saturating_sub(run.charged);
        run.charged = run.charged.max(so_far);
        share.estimates.learn(run.class, so_far, LONG);
        share.measuring &= !std::mem::take(&mut run.measures);
    }

    /// Ends a call with the processor time that it used; `None` if it was not made, since nobody waits for it any more.
    /// Returns true if threads of other tiers, too, may find a call now that waited before.
    pub(super) fn finish(&mut self, id: RunId, used: Option<Duration>, now: Duration) -> bool {
        // A call of the background has no share.
        let Some(run) = self.running.remove(&id) else { return false };
        self.not_brief -= usize::from(run.is_counted);
        let Some(share) = self.shares.get_mut(&run.key) else { return false };
        let paces = share.estimates.paces();
        share.used = (share.used + used.unwrap_or_default()).saturating_sub(run.charged);
        if let Some(used) = used {
            share.estimates.learn(run.class, used, LONG);
        }
        share.measuring &= !run.measures;
        share.running -= 1;
        if !share.is_active() {
            share.idle_since = now;
        }
        let is_changed = run.is_counted || run.measures || paces != share.estimates.paces();
        is_changed && self.waiting > 0
    }

    /// Number of deliveries' calls that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Number of calls that wait at the expense of this share.
    pub(super) fn waiting_of(&self, key: &ShareKey) -> usize {
        self.shares.get(key).map_or(0, |share| share.waiting)
    }

    /// Number of the background's calls that wait.
    pub(super) fn background(&self) -> usize {
        self.background.len()
    }

    /// Number of components that have a share.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.shares.len()
    }

    /// Drops all waiting calls.
    pub(super) fn clear(&mut self) {
        self.shares.clear();
        self.background.clear();
        self.waiting = 0;
    }
}
