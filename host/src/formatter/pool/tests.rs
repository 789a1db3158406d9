//! The order of calls, on a machine of virtual time: its threads run calls of known cost and follow the queue.

mod here;

use std::sync::mpsc;

use super::*;

const LONG: Duration = crate::formatter::runtime::LONG;
const PATIENCE: Duration = Duration::from_secs(1);

const fn us(count: u64) -> Duration {
    Duration::from_micros(count)
}

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

const JSON: u8 = 0;

fn key(component: u8) -> ShareKey {
    [component; 32]
}

fn small() -> CallClass {
    CallClass::format(1000)
}

/// One call: its component (`None` for a preview), arrival and cost.
#[derive(Clone, Copy, Debug)]
struct Call {
    component: Option<u8>,
    arrives: Duration,
    cost: Duration,
}

/// When a call began and ended.
#[derive(Clone, Copy, Debug)]
struct Made {
    call: Call,
    began: Duration,
    ended: Duration,
}

impl Made {
    fn waited(&self) -> Duration {
        self.began - self.call.arrives
    }
}

struct Busy {
    id: RunId,
    index: usize,
    began: Duration,
    is_long: bool,
}

struct Worker {
    tier: Tier,
    busy: Option<Busy>,
    /// True once it was replaced.
    leaves: bool,
}

struct Machine {
    queue: Queue<usize>,
    workers: Vec<Worker>,
    replaced: usize,
    now: Duration,
    calls: Vec<Call>,
    made: Vec<Made>,
}

impl Machine {
    fn run(processors: usize, mut calls: Vec<Call>) -> Vec<Made> {
        calls.sort_by_key(|call| call.arrives);
        let sizes = Sizes::for_processors(processors);
        let tiers = [(Tier::Normal, sizes.normal), (Tier::Slow, sizes.slow), (Tier::Background, 1)];
        let workers = tiers.into_iter().flat_map(|(tier, count)| std::iter::repeat_n(tier, count));
        let workers = workers.map(|tier| Worker { tier, busy: None, leaves: false }).collect();
        let queue = Queue::new(sizes.normal);
        let mut machine = Self { queue, workers, replaced: 0, now: Duration::ZERO, calls, made: Vec::new() };
        let mut arrived = 0;
        while machine.made.len() < machine.calls.len() {
            let next = machine.next_event(arrived).expect("no call waits for ever");
            assert!(next >= machine.now);
            machine.now = next;
            while let Some(call) = machine.calls.get(arrived).filter(|call| call.arrives <= next) {
                let order = call.component.map_or(Order::Background, |number| Order::Delivery(key(number), small()));
                machine.queue.push(order, arrived, next);
                arrived += 1;
            }
            machine.advance();
        }
        machine.made
    }

    fn next_event(&self, arrived: usize) -> Option<Duration> {
        let arrival = self.calls.get(arrived).map(|call| call.arrives);
        let ends = self.workers.iter().filter_map(|worker| {
            let busy = worker.busy.as_ref()?;
            let end = busy.began + self.calls[busy.index].cost;
            Some(if busy.is_long { end } else { end.min(busy.began + LONG) })
        });
        let background_is_free =
            self.workers.iter().any(|worker| worker.tier == Tier::Background && worker.busy.is_none());
        let patience = self.queue.patience_left(self.now).filter(|left| background_is_free && *left > Duration::ZERO);
        ends.chain(arrival).chain(patience.map(|left| self.now + left)).min()
    }

    fn advance(&mut self) {
        let now = self.now;
        let mut started = 0;
        for worker in &mut self.workers {
            let Some(busy) = &mut worker.busy else { continue };
            let call = self.calls[busy.index];
            if busy.began + call.cost <= now {
                self.queue.finish(busy.id, Some(call.cost), now);
                self.made.push(Made { call, began: busy.began, ended: now });
                worker.busy = None;
                self.replaced -= usize::from(worker.leaves);
            } else if !busy.is_long && busy.began + LONG <= now {
                busy.is_long = true;
                let replaces = worker.tier == Tier::Normal && self.replaced < REPLACED;
                self.queue.lengthen(busy.id, LONG, replaces);
                if replaces {
                    worker.leaves = true;
                    self.replaced += 1;
                    started += 1;
                }
            }
        }
        self.workers.retain(|worker| worker.busy.is_some() || !worker.leaves);
        self.workers.extend((0..started).map(|_| Worker { tier: Tier::Normal, busy: None, leaves: false }));
        for worker in self.workers.iter_mut().filter(|worker| worker.busy.is_none()) {
            worker.busy =
                self.queue.take(worker.tier, now).map(|(id, index)| Busy { id, index, began: now, is_long: false });
        }
    }
}

/// `count` calls of a component, one every `every` from `from` on.
fn steady(component: u8, count: usize, from: Duration, every: Duration, cost: Duration) -> Vec<Call> {
    let arrives = |number: usize| from + every * u32::try_from(number).expect("few");
    (0..count).map(|number| Call { component: Some(component), arrives: arrives(number), cost }).collect()
}

/// A healthy webhook's calls: 80 us each, five hundred a second for four seconds.
fn healthy() -> Vec<Call> {
    steady(JSON, 2000, Duration::ZERO, ms(2), us(80))
}

/// The waits of the healthy webhook's calls, shortest first.
fn waits(made: &[Made]) -> Vec<Duration> {
    let mut waits: Vec<_> = made.iter().filter(|made| made.call.component == Some(JSON)).map(Made::waited).collect();
    waits.sort();
    waits
}

#[test]
fn a_healthy_formatter_does_not_wait_for_a_slow_one() {
    for processors in [1, 2, 4, 16] {
        for cost in [us(600), ms(1), ms(3), ms(35), ms(100), ms(500)] {
            let calls = [healthy(), steady(1, 400, ms(100), Duration::ZERO, cost)].concat();
            let waits = waits(&Machine::run(processors, calls));
            assert_eq!(*waits.last().expect("some"), Duration::ZERO, "{processors} processors, {cost:?}");
        }
        // Two brief formatters share all threads, and the longer call is at most what the shorter one waits for.
        let calls = [healthy(), steady(1, 10_000, ms(100), Duration::ZERO, us(400))].concat();
        let waits = waits(&Machine::run(processors, calls));
        assert!(*waits.last().expect("some") <= us(400), "{waits:?}");
    }
}

#[test]
fn formatters_that_begin_to_loop_delay_nobody_for_long() {
    for processors in [1, 2, 4] {
        // Brief for a second, so that they may have every normal thread; then each of their calls loops.
        let mut calls = healthy();
        for looping in 1..=4 {
            calls.extend(steady(looping, 200, Duration::ZERO, ms(5), us(90)));
            calls.extend(steady(looping, 40, ms(1500), Duration::ZERO, ms(100)));
        }
        let made = Machine::run(processors, calls);
        let waits = waits(&made);
        // Four formatters hold two threads in turn, each until its call has become long.
        assert!(*waits.last().expect("some") <= LONG * 4, "{processors}: {:?}", waits.last());
        assert!(waits[waits.len() * 98 / 100] == Duration::ZERO, "{processors}");
    }
}

#[test]
fn the_first_calls_of_many_new_formatters_do_not_take_every_thread() {
    for processors in [1, 2, 4] {
        let mut calls = healthy();
        for new in 1..=30 {
            calls.extend(steady(new, 3, ms(100), Duration::ZERO, ms(100)));
        }
        let waits = waits(&Machine::run(processors, calls));
        assert_eq!(*waits.last().expect("some"), Duration::ZERO, "{processors} processors");
    }
}

#[test]
fn looping_previews_delay_no_delivery() {
    for processors in [1, 2] {
        let preview = |arrives| Call { component: None, arrives, cost: ms(500) };
        let previews = (0..64).map(|_| preview(ms(100))).collect();
        let slow = steady(1, 20, Duration::ZERO, ms(100), ms(10));
        let made = Machine::run(processors, [healthy(), slow, previews].concat());
        assert!(made.iter().filter(|made| made.call.component.is_some()).all(|made| made.waited() == Duration::ZERO));
        let mut previews: Vec<_> = made.iter().filter(|made| made.call.component.is_none()).collect();
        previews.sort_by_key(|made| made.began);
        assert!(previews.windows(2).all(|pair| pair[1].began >= pair[0].ended), "one at a time");
    }
}

#[test]
fn slow_formatters_share_their_threads_by_processor_time() {
    let calls = [
        steady(1, 2000, Duration::ZERO, Duration::ZERO, ms(35)),
        steady(2, 2000, Duration::ZERO, Duration::ZERO, ms(100)),
        steady(3, 2000, Duration::ZERO, Duration::ZERO, ms(10)),
    ];
    let made = Machine::run(2, calls.concat());
    let until = Duration::from_secs(15);
    let used = |component| -> f64 {
        let of = made.iter().filter(|made| made.call.component == Some(component) && made.ended <= until);
        of.map(|made| made.call.cost.as_secs_f64()).sum()
    };
    let used = [1, 2, 3].map(used);
    let (least, most) = (used.iter().copied().fold(f64::MAX, f64::min), used.iter().copied().fold(0.0, f64::max));
    assert!(most / least < 1.15, "{used:?}");
}

/// Takes the next call of slow threads and ends it at its cost; returns its component.
fn take(queue: &mut Queue<(u8, Duration)>, tier: Tier, now: Duration) -> Option<u8> {
    let (id, (component, cost)) = queue.take(tier, now)?;
    queue.finish(id, Some(cost), now);
    Some(component)
}

fn push(queue: &mut Queue<(u8, Duration)>, component: u8, cost: Duration, now: Duration) {
    queue.push(Order::Delivery(key(component), small()), (component, cost), now);
}

#[test]
fn a_crossed_limit_weighs_on_the_share_at_once() {
    let mut queue = Queue::new(2);
    let now = Duration::ZERO;
    (0..20).for_each(|_| push(&mut queue, 1, ms(100), now));
    (0..40).for_each(|_| push(&mut queue, 2, ms(10), now));
    let order: Vec<_> = (0..30).filter_map(|_| take(&mut queue, Tier::Slow, now)).collect();
    // One call of each is measured; then the other has its ten calls for the one that looped.
    assert_eq!(order[..2], [1, 2]);
    assert!(order[2..11].iter().all(|component| *component == 2), "{order:?}");
    assert!(order[11..].contains(&1), "{order:?}");
    // The share is charged while a call runs, too.
    let mut queue = Queue::new(2);
    push(&mut queue, 1, ms(500), now);
    let (id, _) = queue.take(Tier::Slow, now).expect("a call");
    push(&mut queue, 1, ms(500), now);
    assert!(queue.take(Tier::Slow, now).is_none(), "nothing is known about it yet");
    queue.lengthen(id, LONG, false);
    assert!(queue.take(Tier::Normal, now).is_none() && queue.take(Tier::Slow, now).is_some(), "it is slow");
}

#[test]
fn the_past_is_forgotten() {
    // The first formatter has had two seconds more than the second, and both were idle since.
    let first_after = |idle: Duration| {
        let mut queue = Queue::new(2);
        let now = Duration::ZERO;
        for _ in 0..2 {
            [1, 2].iter().for_each(|component| push(&mut queue, *component, ms(10), now));
        }
        while take(&mut queue, Tier::Slow, now).is_some() {}
        (0..20).for_each(|_| push(&mut queue, 1, ms(100), now));
        while take(&mut queue, Tier::Slow, now).is_some() {}
        let later = now + idle;
        (0..1000).for_each(|_| {
            push(&mut queue, 2, ms(10), later);
            push(&mut queue, 1, ms(10), later);
        });
        (0..1000).position(|_| take(&mut queue, Tier::Slow, later) == Some(1)).expect("served in the end")
    };
    let (at_once, later) = (first_after(Duration::ZERO), first_after(Duration::from_secs(200)));
    assert!(at_once > 100, "the surplus counts: {at_once}");
    assert!(later < 20, "it has been halved twenty times: {later}");
}

#[test]
fn one_normal_thread_is_for_brief_calls_alone() {
    let now = Duration::ZERO;
    let mut queue = Queue::new(3);
    let costs = [(JSON, us(80)), (1, ms(1)), (2, ms(1)), (3, ms(1)), (4, ms(1))];
    for (component, cost) in costs {
        push(&mut queue, component, cost, now);
        assert_eq!(take(&mut queue, Tier::Normal, now), Some(component));
    }
    costs.iter().for_each(|(component, cost)| push(&mut queue, *component, *cost, now));
    let running: Vec<_> = (0..4).filter_map(|_| queue.take(Tier::Normal, now)).collect();
    assert_eq!(running.len(), 3, "two of a millisecond, and the brief one");
    assert_eq!(running.iter().filter(|(_, (component, _))| *component == JSON).count(), 1);
    assert!(queue.take(Tier::Slow, now).is_some(), "a slow thread helps out");
}

#[test]
fn calls_of_one_kind_keep_their_order() {
    let mut queue = Queue::new(2);
    let now = Duration::ZERO;
    for number in 0..50 {
        queue.push(Order::Delivery(key(1), small()), number, now);
    }
    let mut order = Vec::new();
    while let Some((id, number)) = queue.take(Tier::Normal, now) {
        queue.finish(id, Some(us(50)), now);
        order.push(number);
    }
    assert!(order.is_sorted() && order.len() == 50, "{order:?}");
}

#[test]
fn previews_wait_for_deliveries_but_not_for_ever() {
    let mut queue = Queue::new(2);
    queue.push(Order::Background, 0, Duration::ZERO);
    queue.push(Order::Delivery(key(1), small()), 1, Duration::ZERO);
    assert!(queue.take(Tier::Normal, Duration::ZERO).is_some());
    assert!(queue.take(Tier::Background, Duration::ZERO).is_some(), "no delivery waits");
    queue.push(Order::Background, 2, Duration::ZERO);
    queue.push(Order::Delivery(key(1), small()), 3, Duration::ZERO);
    let almost = PATIENCE - us(1);
    assert_eq!(queue.patience_left(almost), Some(us(1)));
    assert!(queue.take(Tier::Background, almost).is_none());
    assert!(queue.take(Tier::Background, PATIENCE).is_some());
    assert_eq!(queue.patience_left(PATIENCE), None);
}

#[test]
fn previews_change_no_share_and_no_estimate() {
    let mut queue = Queue::new(2);
    let now = Duration::ZERO;
    push(&mut queue, JSON, us(80), now);
    take(&mut queue, Tier::Normal, now);
    queue.push(Order::Background, (JSON, ms(500)), now);
    let (id, _) = queue.take(Tier::Background, now).expect("a preview");
    queue.lengthen(id, ms(400), false);
    assert!(!queue.finish(id, Some(ms(500)), now));
    assert_eq!(queue.push(Order::Delivery(key(JSON), small()), (JSON, us(80)), now), [Tier::Normal]);
}

#[test]
fn components_are_remembered_in_bounded_number() {
    let mut queue = Queue::new(2);
    for number in 0..1000_u32 {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        let now = ms(u64::from(number));
        queue.push(Order::Delivery(key, small()), (JSON, us(80)), now);
        take(&mut queue, Tier::Normal, now);
    }
    assert!(queue.remembered() <= 256);
}

#[test]
fn every_call_is_made_whatever_the_mixture() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let costs = [us(50), us(400), us(700), ms(1), ms(3), ms(20), ms(100)];
        let calls: Vec<_> = (0..300)
            .map(|_| Call {
                component: (random.u8(..) > 20).then(|| random.u8(..6)),
                arrives: us(random.u64(..500_000)),
                cost: costs[random.usize(..costs.len())],
            })
            .collect();
        // It ends only once each was made.
        assert_eq!(Machine::run(1 + random.usize(..4), calls).len(), 300, "seed {seed}");
    }
}

fn pool() -> Pool {
    Pool::new(Sizes::for_processors(1), 256 * 1024, &Watchdog::default()).expect("threads")
}

fn delivery(component: u8) -> Order {
    Order::Delivery(key(component), small())
}

#[tokio::test]
async fn a_long_call_does_not_keep_its_thread_from_others() {
    let pool = Arc::new(pool());
    // Known to be brief, so that it may have every normal thread.
    for _ in 0..4 {
        pool.run(delivery(1), |_| ()).await.expect("run");
    }
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let (began, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let long: Vec<_> = (0..2)
        .map(|_| {
            let (pool, released, began) = (Arc::clone(&pool), Arc::clone(&released), began.clone());
            tokio::spawn(async move {
                let call = move |on_long: Option<OnLong>| {
                    on_long.expect("a delivery")(LONG);
                    began.send(()).expect("read");
                    let _ = released.lock().expect("held in turn").recv();
                };
                pool.run(delivery(1), call).await
            })
        })
        .collect();
    // Both hold the threads that they began on. The second may have had to wait for a slow one.
    begins.recv().await.expect("the first");
    for _ in 0..20 {
        assert_eq!(pool.run(delivery(2), |_| 7).await, Ok(7));
    }
    begins.recv().await.expect("the second");
    assert_eq!(pool.run(delivery(2), |_| 8).await, Ok(8));
    (0..2).for_each(|_| release.send(()).expect("waited for"));
    for call in long {
        assert_eq!(call.await.expect("no panic"), Ok(()));
    }
    assert_eq!(pool.waiting(&key(1)), 0);
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_is_skipped_and_a_panic_ends_no_thread() {
    let pool = Arc::new(pool());
    for _ in 0..10 {
        let panics = pool.run(delivery(1), |_| -> () { panic!("a bug of the host") }).await;
        assert_eq!(panics, Err(RenderError::Stopping));
    }
    // The background's one thread is busy while further previews come, of which one is given up.
    let (release, released) = mpsc::channel::<()>();
    let busy = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.run(Order::Background, move |_| released.recv()).await }
    });
    tokio::task::yield_now().await;
    let (slot, dropped) = tokio::sync::oneshot::channel::<()>();
    let given_up = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.run(Order::Background, move |_| drop(slot)).await }
    });
    while pool.waiting_in_background() == 0 {
        tokio::task::yield_now().await;
    }
    given_up.abort();
    assert!(given_up.await.is_err());
    release.send(()).expect("waited for");
    assert!(busy.await.expect("no panic").is_ok());
    // Its slot is free although it was not made.
    assert!(dropped.await.is_err());
    assert_eq!(pool.run(Order::Background, |_| 9).await, Ok(9));
}

#[tokio::test]
async fn every_call_is_made_on_real_threads() {
    let pool = Arc::new(pool());
    let mut random = fastrand::Rng::with_seed(1);
    let calls: Vec<_> = (0..400)
        .map(|number: u64| {
            let (pool, component, cost) = (Arc::clone(&pool), random.u8(..5), us(random.u64(..3) * 700));
            let order = if number.is_multiple_of(10) { Order::Background } else { delivery(component) };
            tokio::spawn(async move {
                let call = move |on_long: Option<OnLong>| {
                    let start = processor_time();
                    while processor_time() - start < cost {}
                    // Some become long, on whatever thread they are.
                    if number.is_multiple_of(40) {
                        on_long.iter().for_each(|on_long| on_long(LONG));
                    }
                    number
                };
                pool.run(order, call).await
            })
        })
        .collect();
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.expect("no panic"), Ok(number as u64));
    }
}

#[tokio::test]
async fn a_pool_that_has_stopped_takes_no_calls() {
    let pool = pool();
    let stopped = Arc::clone(&pool.0);
    drop(pool);
    let after = Pool(stopped).run(Order::Background, |_| ()).await;
    assert_eq!(after, Err(RenderError::Stopping));
}
