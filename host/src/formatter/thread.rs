//! The thread that runs a call: its processor time, and its priority.

use std::time::Duration;

/// Processor time that the current thread has used so far.
pub(super) fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes. The call cannot fail: every Linux has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), nanoseconds)
}

/// Niceness of threads and processes of lower priority, above the host's. They get the processor time that nobody else
/// wants, and where somebody wants all of it still a tenth: one that gets none for seconds might hold a lock.
const NICENESS: i32 = 10;

/// Slice of such threads, in nanoseconds: the longest that Linux has. Others have a few milliseconds.
const SLICE_NS: u64 = 100_000_000;
/// sched_setattr(2): the scheduling policy stays.
const SCHED_FLAG_KEEP_POLICY: u64 = 0x08;

/// Lowers the priority of the current thread and of the processes that it starts, for good: a process without privileges
/// cannot raise it again. Linux keeps a niceness for each thread.
pub(super) fn lower_priority() {
    // A kernel that denies it leaves the priority as it is.
    if let Ok(niceness) = rustix::process::nice(NICENESS) {
        lengthen_slice(niceness);
    }
}

/// Lets every other thread that wakes take the processor from the current one at once. Since Linux 6.6 a running thread is
/// protected until its slice ends, whatever its niceness; since 6.12 not from threads with a shorter slice.
fn lengthen_slice(niceness: i32) {
    // SAFETY: it is a plain record of integers.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    attributes.size = u32::try_from(size_of_val(&attributes)).unwrap_or_default();
    attributes.sched_flags = SCHED_FLAG_KEEP_POLICY;
    attributes.sched_nice = niceness;
    attributes.sched_runtime = SLICE_NS;
    let (this_thread, no_flags): (libc::pid_t, libc::c_uint) = (0, 0);
    // An older kernel ignores the slice, and one that denies it leaves it as it is.
    // SAFETY: the record is valid for reads of the size that it names.
    unsafe { libc::syscall(libc::SYS_sched_setattr, this_thread, &raw const attributes, no_flags) };
}

/// As [`lower_priority`], unless the process was started by a thread of lower priority.
pub(super) fn lower_priority_of_child() {
    if rustix::process::getpriority_process(None).is_ok_and(|niceness| niceness < NICENESS) {
        lower_priority();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_counts_this_thread_alone() {
        let before = processor_time();
        let other = std::thread::spawn(|| {
            let start = processor_time();
            while processor_time() - start < Duration::from_millis(20) {}
            processor_time()
        });
        assert!(other.join().expect("a thread") >= Duration::from_millis(20));
        let used = processor_time() - before;
        assert!(used < Duration::from_millis(20), "{used:?} is the other thread's");
    }

    #[test]
    fn the_priority_of_one_thread_is_lowered() {
        let niceness = || rustix::process::getpriority_process(None).expect("known");
        let before = niceness();
        let lowered = std::thread::spawn(move || {
            lower_priority();
            niceness()
        });
        assert_eq!(lowered.join().expect("a thread"), (before + NICENESS).min(19));
        assert_eq!(niceness(), before);
    }
}
