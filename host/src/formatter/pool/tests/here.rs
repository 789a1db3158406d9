//! Calls on their callers' threads.

use super::*;
use crate::formatter::runtime::TOO_LONG_HERE;

const HERE: Here = Here { calls: 2, cost: us(100) };

const REST: Duration = ms(50);

fn queue() -> Queue<u32> {
    Queue::new(2).with_here(HERE)
}

/// Makes one call of a component on a normal thread.
fn call(queue: &mut Queue<u32>, component: u8, cost: Duration) {
    queue.push(Order::Delivery(key(component), small()), 0, Duration::ZERO);
    let (id, _) = queue.take(Tier::Normal, Duration::ZERO).expect("the only one");
    queue.finish(id, Some(cost), Duration::ZERO);
}

/// Makes one call on its caller's thread; false if it may not run there.
fn call_here(queue: &mut Queue<u32>, component: u8, cost: Duration, now: Duration) -> bool {
    let Some(run) = queue.begin_here(key(component), small(), now) else { return false };
    queue.finish_here(run, cost, now);
    true
}

#[test]
fn only_calls_that_are_known_to_be_brief_run_here() {
    for (cost, runs) in [(HERE.cost, true), (HERE.cost + us(1), false), (ms(35), false)] {
        let mut queue = queue();
        assert!(!call_here(&mut queue, 1, cost, Duration::ZERO), "nothing is known of it");
        call(&mut queue, 1, cost);
        assert_eq!(call_here(&mut queue, 1, cost, Duration::ZERO), runs, "{cost:?}");
        // A larger input is expected to cost more, and nothing is known of the other function.
        assert!(queue.begin_here(key(1), CallClass::format(5000), Duration::ZERO).is_none());
        assert!(queue.begin_here(key(1), CallClass::interpret(), Duration::ZERO).is_none());
    }
    let mut queue: Queue<u32> = Queue::new(2);
    call(&mut queue, 1, us(1));
    assert!(!call_here(&mut queue, 1, us(1), Duration::ZERO), "none may run here");
}

#[test]
fn as_many_calls_run_here_as_there_are_callers() {
    let mut queue = queue();
    call(&mut queue, 1, us(20));
    let mut runs: Vec<_> =
        (0..HERE.calls).map(|_| queue.begin_here(key(1), small(), Duration::ZERO).expect("a place")).collect();
    assert!(queue.begin_here(key(1), small(), Duration::ZERO).is_none());
    queue.finish_here(runs.remove(0), us(20), Duration::ZERO);
    assert!(queue.begin_here(key(1), small(), Duration::ZERO).is_some());
}

#[test]
fn a_component_that_calls_here_has_no_more_than_its_share() {
    let mut queue = queue();
    let cost = us(90);
    call(&mut queue, 1, cost);
    call(&mut queue, 2, cost);
    let mut made = [0_u32; 3];
    queue.push(Order::Delivery(key(2), small()), 0, Duration::ZERO);
    for _ in 0..2000 {
        // The one asks all the time, of the other a call always waits for a thread.
        while call_here(&mut queue, 1, cost, Duration::ZERO) {
            made[1] += 1;
            assert!(made[1] <= made[2] + 1, "{made:?}");
        }
        let (id, _) = queue.take(Tier::Normal, Duration::ZERO).expect("it waits");
        queue.push(Order::Delivery(key(2), small()), 0, Duration::ZERO);
        queue.finish(id, Some(cost), Duration::ZERO);
        made[2] += 1;
    }
    assert!(made[1].abs_diff(made[2]) <= 1, "{made:?}");
}

#[test]
fn calls_that_wait_for_a_slow_thread_keep_nobody_from_running_here() {
    let mut queue = queue();
    call(&mut queue, 1, us(20));
    call(&mut queue, 2, ms(35));
    queue.push(Order::Delivery(key(2), small()), 0, Duration::ZERO);
    for _ in 0..10_000 {
        assert!(call_here(&mut queue, 1, us(20), Duration::ZERO));
    }
}

#[test]
fn after_a_call_that_was_too_long_here_the_next_ones_are_for_the_pool() {
    let brief = us(20);
    let mut queue = queue();
    for component in [1, 2] {
        call(&mut queue, component, brief);
    }
    for _ in 0..1000 {
        assert!(call_here(&mut queue, 1, brief, Duration::ZERO));
    }
    // Just short of being too long: it counts as any other call.
    assert!(call_here(&mut queue, 2, TOO_LONG_HERE - us(1), Duration::ZERO));
    assert!(call_here(&mut queue, 1, brief, Duration::ZERO));
    assert!(call_here(&mut queue, 1, TOO_LONG_HERE, Duration::ZERO));
    // For a moment nobody's calls run here, whoever begins to loop next; after that all but its own.
    call(&mut queue, 2, Duration::ZERO);
    (0..40).for_each(|_| call(&mut queue, 2, brief));
    assert!(!call_here(&mut queue, 2, brief, Duration::ZERO));
    assert!(!call_here(&mut queue, 2, brief, REST - us(1)));
    assert!(call_here(&mut queue, 2, brief, REST));
    assert!(!call_here(&mut queue, 1, brief, REST));
    // It has to show again that it is brief.
    (0..10).for_each(|_| call(&mut queue, 1, brief));
    assert!(!call_here(&mut queue, 1, brief, REST));
    (0..40).for_each(|_| call(&mut queue, 1, brief));
    assert!(call_here(&mut queue, 1, brief, REST));
}

#[test]
fn a_thread_runs_calls_only_if_it_permits_them() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let pool = pool();
    // Several: on a busy machine one alone may take long.
    (0..50).for_each(|_| runtime.block_on(pool.run(delivery(1), |_| ())).expect("run"));
    let asks = |result: Option<u32>| {
        pool.run_here(key(1), small(), || (Duration::ZERO, result.map(|number| (number, std::thread::current().id()))))
    };
    assert_eq!(asks(Some(1)), None);
    allow_calls_here();
    assert_eq!(asks(Some(2)), Some((2, std::thread::current().id())));
    // What has no result is left to the pool, and so is a bug of the host.
    assert_eq!(asks(None), None);
    let panics = || -> (Duration, Option<()>) { panic!("a bug of the host") };
    for _ in 0..=CALLS_HERE {
        assert_eq!(pool.run_here(key(1), small(), panics), None);
    }
    assert_eq!(asks(Some(3)), Some((3, std::thread::current().id())));
    // Too long: the next calls are the pool's.
    let too_long = || (TOO_LONG_HERE, None::<()>);
    assert_eq!(pool.run_here(key(1), small(), too_long), None);
    assert_eq!(asks(Some(4)), None);
}
