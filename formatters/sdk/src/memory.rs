//! Copies and comparisons of memory within the guest.
//!
//! With WebAssembly's bulk memory instructions every copy whose length is not a constant is a call of the host, which costs
//! as much as copying a few hundred bytes, and formatting is hundreds of copies of a few bytes. The comparison that comes
//! with the compiler goes byte by byte. So the built-in formats are built without those instructions (`host/build.rs`), and
//! the compiler calls these functions, by the names that it knows.

use core::ffi::c_int;

/// Copies `$count` bytes between blocks that do not overlap. A macro, because the optimizer recognises such a loop and
/// replaces it by a call of `memcpy`, except in a function of that name.
///
/// Safety: both blocks have `$count` bytes.
macro_rules! copy {
    ($to:ident, $from:ident, $count:ident) => {
        if $count >= 8 {
            // SAFETY (here and below): `$at` and a word's length are within both blocks.
            let word = |at: usize| unsafe {
                $to.add(at).cast::<u64>().write_unaligned($from.add(at).cast::<u64>().read_unaligned());
            };
            let (mut at, last) = (0, $count - 8);
            while at + 8 < last {
                word(at);
                word(at + 8);
                at += 16;
            }
            if at < last {
                word(at);
            }
            // It may overlap with what has been copied.
            word(last);
        } else if $count >= 4 {
            let word = |at: usize| unsafe {
                $to.add(at).cast::<u32>().write_unaligned($from.add(at).cast::<u32>().read_unaligned());
            };
            word(0);
            word($count - 4);
        } else {
            let mut at = 0;
            while at < $count {
                unsafe { $to.add(at).write($from.add(at).read()) };
                at += 1;
            }
        }
    };
}

/// Compares two blocks as memcmp(3) does.
///
/// # Safety
/// Both have `count` bytes.
unsafe fn compare(one: *const u8, other: *const u8, count: usize) -> c_int {
    // In big-endian order the first byte that differs decides. Words may overlap with what was equal.
    // SAFETY: `at` and a word's length are within both blocks.
    let words = |at: usize| unsafe {
        let word = |block: *const u8| u64::from_be(block.add(at).cast::<u64>().read_unaligned());
        (word(one), word(other))
    };
    let order = |(one, other): (u64, u64)| if one < other { -1 } else { 1 };
    if count >= 8 {
        let (mut at, last) = (0, count - 8);
        loop {
            let (one, other) = words(at);
            if one != other {
                return order((one, other));
            }
            if at == last {
                return 0;
            }
            at = (at + 8).min(last);
        }
    }
    for at in 0..count {
        // SAFETY: `at` is within both blocks.
        let (one, other) = unsafe { (*one.add(at), *other.add(at)) };
        if one != other {
            return c_int::from(one) - c_int::from(other);
        }
    }
    0
}

#[cfg(target_arch = "wasm32")]
mod symbols {
    use super::{c_int, compare};

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        copy!(to, from, count);
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, count: usize) -> c_int {
        // SAFETY: the caller's promise.
        unsafe { compare(one, other, count) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, count: usize) -> c_int {
        // SAFETY: the caller's promise.
        unsafe { compare(one, other, count) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(count: usize, first: u8) -> Vec<u8> {
        (0..count).map(|at| first.wrapping_add((at * 7 % 251) as u8)).collect()
    }

    #[test]
    fn every_length_is_copied_whole_and_nothing_beside_it() {
        for count in 0..100 {
            for offset in 0..9 {
                let source = bytes(count + offset, 3);
                let mut target = vec![0xAA; count + 2 * offset + 1];
                let (to, from) = (target[offset..].as_mut_ptr(), source[offset..].as_ptr());
                copy!(to, from, count);
                assert_eq!(target[offset..offset + count], source[offset..], "{count}");
                assert!(target[..offset].iter().chain(&target[offset + count..]).all(|byte| *byte == 0xAA), "{count}");
            }
        }
    }

    #[test]
    fn the_first_byte_that_differs_decides() {
        for count in 0..50 {
            let one = bytes(count, 1);
            // SAFETY: the blocks have as many bytes.
            let compared = |other: &[u8]| unsafe { compare(one.as_ptr(), other.as_ptr(), count) }.signum();
            assert_eq!(compared(&one), 0);
            for at in 0..count {
                for by in [1, 0x80, 0xFF] {
                    let mut other = one.clone();
                    other[at] = other[at].wrapping_add(by);
                    // What comes after it does not count.
                    other[at + 1..].reverse();
                    assert_eq!(compared(&other), one.cmp(&other) as c_int, "{count}, {at}");
                }
            }
        }
    }
}
