//! Permits: how many attempts may be in flight, and whose. Pure: no clock.
//!
//! Permits are shared by the time that attempts occupy them. Each attempt in flight counts in a [`Tier`], and moves to a
//! slower one as it ages. Slower tiers have smaller budgets, each within that of the quicker ones: what hangs waits for
//! what hangs, and quick webhooks wait for neither. A permit that an attempt has outgrown is free for others at once, so
//! hundreds of destinations that stop responding in the same moment block the rest for no longer than it takes to see it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::hold::{Hold, Need, Tier};
use crate::model::id::WebhookId;

/// So many times `--concurrency` may be in flight at most, those that hang included. The last of these is kept for
/// webhooks that are known to be quick and have nothing in flight.
pub const MOST: usize = 4;

/// A permit in use.
#[derive(Debug)]
pub(super) struct Permit {
    /// Whose attempt.
    pub(super) webhook: WebhookId,
    /// When it began, in milliseconds of the steady clock.
    pub(super) began: i64,
    /// The tier that it counts in.
    pub(super) tier: Tier,
    /// Nothing was known of its webhook.
    unknown: bool,
}

/// The number of a permit.
pub(super) type PermitId = u64;

/// All permits in use.
#[derive(Debug)]
pub(super) struct Permits {
    concurrency: usize,
    next: PermitId,
    used: HashMap<PermitId, Permit>,
    /// How many of them count in each tier.
    in_tier: [usize; Tier::ALL.len()],
    /// How many of the quick ones are of webhooks of which nothing is known.
    unknown: usize,
    /// When they move to the next tier. Some of these are not in use any more.
    ages: BinaryHeap<Reverse<(i64, PermitId)>>,
}

impl Permits {
    /// Permits of this concurrency, none in use.
    pub(super) fn new(concurrency: usize) -> Self {
        Self {
            concurrency,
            next: 0,
            used: HashMap::new(),
            in_tier: [0; Tier::ALL.len()],
            unknown: 0,
            ages: BinaryHeap::new(),
        }
    }

    /// How many are in use.
    pub(super) fn in_use(&self) -> usize {
        self.used.len()
    }

    /// The most attempts in this tier and the slower ones.
    fn budget(&self, tier: Tier) -> usize {
        let quarters = match tier {
            Tier::Quick => 4,
            Tier::Slow => 3,
            Tier::Hanging => 2,
        };
        (self.concurrency * quarters / 4).max(1)
    }

    /// Attempts in this tier and the slower ones; of those no more than their budget, however many have aged into it.
    fn usage(&self, tier: Tier) -> usize {
        let slower = match tier {
            Tier::Quick => Some(Tier::Slow),
            Tier::Slow => Some(Tier::Hanging),
            Tier::Hanging => None,
        };
        let slower = slower.map_or(0, |slower| self.usage(slower).min(self.budget(slower)));
        self.in_tier[tier as usize] + slower
    }

    /// Returns true if an attempt with this need may begin.
    pub(super) fn allows(&self, need: Need) -> bool {
        let has_room = |tier| self.usage(tier) < self.budget(tier);
        let below = |times: usize| self.in_use() < self.concurrency * times;
        let quick = self.in_tier[Tier::Quick as usize];
        match need {
            // Nobody with nothing in flight waits for what hangs.
            Need::First => quick < self.concurrency && below(MOST),
            Need::FirstUnknown => quick < self.concurrency && self.unknown < self.budget(Tier::Slow) && below(MOST - 1),
            Need::More => has_room(Tier::Quick) && below(MOST - 1),
            Need::MoreUnknown => has_room(Tier::Quick) && self.unknown < self.budget(Tier::Slow) && below(MOST - 1),
            Need::Slow | Need::Hanging => {
                Tier::ALL.into_iter().filter(|tier| *tier <= need.tier()).all(has_room) && below(MOST - 1)
            }
        }
    }

    /// An attempt of this webhook begins.
    pub(super) fn take(&mut self, webhook: WebhookId, hold: &mut Hold, now_ms: i64) -> PermitId {
        let need = hold.need();
        let (tier, unknown) = (need.tier(), need.is_unknown());
        let id = self.next;
        self.next += 1;
        if let Some((_, age)) = tier.next(hold.overdue_ms()) {
            self.ages.push(Reverse((now_ms.saturating_add(age), id)));
        }
        self.in_tier[tier as usize] += 1;
        self.unknown += usize::from(unknown);
        hold.begin(now_ms, tier);
        self.used.insert(id, Permit { webhook, began: now_ms, tier, unknown });
        id
    }

    /// An attempt is over.
    pub(super) fn give_back(&mut self, id: PermitId) -> Option<Permit> {
        let permit = self.used.remove(&id)?;
        self.in_tier[permit.tier as usize] -= 1;
        self.unknown -= usize::from(permit.unknown);
        Some(permit)
    }

    /// When the next attempt may move to a slower tier.
    pub(super) fn next_age(&self) -> Option<i64> {
        self.ages.peek().map(|Reverse((at, _))| *at)
    }

    /// Moves one attempt whose time has come to the next tier; `None` once there is no more.
    pub(super) fn age(&mut self, now_ms: i64) -> Option<(WebhookId, Tier)> {
        while let Some(&Reverse((at, id))) = self.ages.peek()
            && at <= now_ms
        {
            self.ages.pop();
            let Some(permit) = self.used.get_mut(&id) else { continue };
            // Its own time is over: it is overdue.
            let Some((tier, _)) = permit.tier.next(0) else { continue };
            self.in_tier[permit.tier as usize] -= 1;
            self.in_tier[tier as usize] += 1;
            self.unknown -= usize::from(std::mem::take(&mut permit.unknown));
            permit.tier = tier;
            if let Some((_, age)) = tier.next(0) {
                self.ages.push(Reverse((permit.began.saturating_add(age), id)));
            }
            return Some((permit.webhook, tier));
        }
        None
    }

    /// The host stood still for so long: that was not the destinations' time.
    pub(super) fn shift(&mut self, gap_ms: i64) {
        self.used.values_mut().for_each(|permit| permit.began = permit.began.saturating_add(gap_ms));
        let ages = std::mem::take(&mut self.ages).into_iter();
        self.ages = ages.map(|Reverse((at, id))| Reverse((at.saturating_add(gap_ms), id))).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A webhook of which nothing is known, or one that is quick.
    fn hold(known: bool) -> Hold {
        let mut hold = Hold::default();
        if known {
            hold.delivered_before();
        }
        hold
    }

    /// One that hangs.
    fn hanging() -> Hold {
        let mut hold = Hold::default();
        hold.begin(0, Tier::Quick);
        hold.end(10_000, 0, Tier::Hanging, true);
        hold
    }

    /// Starts as many attempts as are allowed, of webhooks with one each.
    fn fill(permits: &mut Permits, now: i64, most: usize, make: impl Fn() -> Hold) -> usize {
        let mut begun = 0;
        while begun < most {
            let mut hold = make();
            if !permits.allows(hold.need()) {
                break;
            }
            permits.take(WebhookId::generate(), &mut hold, now);
            begun += 1;
        }
        begun
    }

    fn age(permits: &mut Permits, now: i64) -> usize {
        std::iter::from_fn(|| permits.age(now)).count()
    }

    #[test]
    fn quick_webhooks_share_the_concurrency_and_unknown_ones_three_quarters_of_it() {
        let mut permits = Permits::new(256);
        assert_eq!(fill(&mut permits, 0, 1_000, || hold(false)), 192);
        assert!(!permits.allows(Need::MoreUnknown));
        assert_eq!(fill(&mut permits, 0, 1_000, || hold(true)), 64);
        assert!(!permits.allows(Need::First) && !permits.allows(Need::More) && !permits.allows(Need::Slow));
    }

    #[test]
    fn what_is_known_to_hang_has_half_and_leaves_the_rest() {
        let mut permits = Permits::new(256);
        assert_eq!(fill(&mut permits, 0, 1_000, hanging), 128);
        let slow = || {
            let mut hold = hold(true);
            hold.begin(0, Tier::Quick);
            hold.aged(Tier::Slow);
            hold
        };
        assert_eq!(fill(&mut permits, 0, 1_000, slow), 64, "three quarters with the slow ones");
        assert_eq!(fill(&mut permits, 0, 1_000, || hold(true)), 256, "who has nothing in flight waits for none of it");
        assert!(!permits.allows(Need::More));
    }

    /// Five hundred new webhooks whose destinations hang, and another new one behind them all.
    #[test]
    fn attempts_that_age_make_room_for_others() {
        let mut permits = Permits::new(256);
        let mut begun = 0;
        let mut now = 0;
        while begun < 501 {
            begun += fill(&mut permits, now, 501 - begun, || hold(false));
            now += 100;
            age(&mut permits, now);
        }
        assert_eq!(now, 300, "the last of them waited 200 ms");
        assert!(permits.allows(Need::More) && permits.allows(Need::First));
        assert!(!permits.allows(Need::Slow) && !permits.allows(Need::Hanging), "they wait for one another");
        assert_eq!(permits.in_use(), 501);
        // In the end there is a bound, and its last quarter is for those that are known.
        for round in 0..10 {
            fill(&mut permits, now + round * 100, 1_000, || hold(false));
            age(&mut permits, now + (round + 1) * 100);
        }
        assert_eq!(permits.in_use(), 3 * 256);
        assert!(!permits.allows(Need::FirstUnknown) && !permits.allows(Need::More) && permits.allows(Need::First));
        assert_eq!(fill(&mut permits, now + 2_000, 1_000, || hold(true)), 256);
        assert!(!permits.allows(Need::First));
    }

    #[test]
    fn permits_that_are_given_back_are_free_in_their_tier() {
        for concurrency in [1, 2, 3, 4, 10, 256] {
            let mut permits = Permits::new(concurrency);
            let mut hold = hold(true);
            let ids: Vec<_> = (0..concurrency).map(|_| permits.take(WebhookId::generate(), &mut hold, 0)).collect();
            assert!(Need::ALL.into_iter().all(|need| !permits.allows(need)), "{concurrency}");
            age(&mut permits, 100);
            age(&mut permits, 4_000);
            assert!(permits.allows(Need::First), "{concurrency}");
            for id in ids {
                let permit = permits.give_back(id).expect("in use");
                assert_eq!(permit.tier, Tier::Hanging);
                hold.end(5_000, permit.began, permit.tier, true);
            }
            assert!(Need::ALL.into_iter().all(|need| permits.allows(need)), "{concurrency}");
            assert_eq!((permits.in_use(), permits.in_tier, permits.unknown), (0, [0; 3], 0));
        }
    }

    #[test]
    fn time_that_the_host_stood_still_for_does_not_age_attempts() {
        let mut permits = Permits::new(4);
        permits.take(WebhookId::generate(), &mut hold(false), 0);
        permits.shift(60_000);
        assert_eq!(age(&mut permits, 60_099), 0);
        assert_eq!(age(&mut permits, 60_100), 1);
        assert_eq!(age(&mut permits, 63_999), 0);
        assert_eq!(age(&mut permits, 64_000), 1);
    }
}
