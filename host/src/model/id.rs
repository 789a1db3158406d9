//! Identifiers. Those that the host makes are UUIDv7, so that their order is the order of creation;
//! an event's id may also be any UUID that its sender chose.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::time::Timestamp;

/// The version 7 UUIDs of one process, each later in order than the one before (RFC 9562, section 6.2, method 2: a
/// random counter). It never fails: a clock that stands before 1970, or is set back, leaves the time where it was.
#[derive(Clone, Copy)]
struct Sequence {
    /// Milliseconds since 1970, of 48 bits.
    ms: u64,
    /// The bits after the time, without version and variant.
    counter: u128,
}

impl Sequence {
    /// Bits of the counter: 12 of `rand_a`, 62 of `rand_b`.
    const BITS: u32 = 74;
    /// The last time that 48 bits can hold, in the year 10889.
    const LAST_MS: u64 = (1 << 48) - 1;

    const fn new() -> Self {
        Self { ms: 0, counter: 0 }
    }

    /// The identifier after every earlier one, made at this time with this randomness.
    fn next(&mut self, now: Timestamp, random: u128) -> Uuid {
        let ms = u64::try_from(now.unix_ms()).unwrap_or(0).min(Self::LAST_MS);
        // The first bit stays free, so that many identifiers of one millisecond fit behind the first.
        let fresh = random & ((1 << (Self::BITS - 1)) - 1);
        // A step of random size, so that the next identifier cannot be guessed from one that is known.
        let step = 1 + (random >> 96);
        if ms > self.ms {
            *self = Self { ms, counter: fresh };
        } else if self.counter + step < 1 << Self::BITS {
            self.counter += step;
        } else {
            *self = Self { ms: (self.ms + 1).min(Self::LAST_MS), counter: fresh };
        }
        let (high, low) = (self.counter >> 62, self.counter & ((1 << 62) - 1));
        Uuid::from_u128((u128::from(self.ms) << 80) | (0x7 << 76) | (high << 64) | (0b10 << 62) | low)
    }
}

/// Random bytes of the system, fetched for many identifiers at a time: each fetch is a system call.
struct Random {
    bytes: [[u8; 16]; Self::AT_ONCE],
    left: usize,
}

impl Random {
    /// Identifiers for which bytes are fetched in one go.
    const AT_ONCE: usize = 32;

    const fn new() -> Self {
        Self { bytes: [[0; 16]; Self::AT_ONCE], left: 0 }
    }

    /// 128 bits that were not given before.
    fn next(&mut self) -> u128 {
        if self.left == 0 && getrandom::fill(self.bytes.as_flattened_mut()).is_ok() {
            self.left = Self::AT_ONCE;
        }
        // Uniqueness is enough where there are none: an identifier is no secret.
        let Some(left) = self.left.checked_sub(1) else { return fastrand::u128(..) };
        self.left = left;
        u128::from_ne_bytes(std::mem::take(&mut self.bytes[left]))
    }
}

/// The identifier after every one that this process made.
fn next_v7() -> Uuid {
    static MADE: Mutex<(Sequence, Random)> = Mutex::new((Sequence::new(), Random::new()));
    let now = Timestamp::from_system(SystemTime::now());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let (sequence, random) = &mut *made;
    sequence.next(now, random.next())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new identifier, later in order than every one made before it in this process.
            pub fn generate() -> Self {
                Self(next_v7())
            }

            /// The identifier's 16 bytes, big-endian: byte order is creation order for UUIDv7.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The first identifier that could have been made at this time (RFC 9562, section 5.7).
            pub fn first_at(at: Timestamp) -> Self {
                let ms = at.unix_ms().clamp(0, (1 << 48) - 1).cast_unsigned();
                Self(Uuid::from_u128((u128::from(ms) << 80) | (0x7000 << 64) | (0b10 << 62)))
            }

            /// The identifier that follows in order.
            pub fn successor(&self) -> Self {
                Self(Uuid::from_u128(self.0.as_u128().saturating_add(1)))
            }

            /// When a UUIDv7 was made; any other UUID says nothing.
            pub fn made_at(&self) -> Option<Timestamp> {
                let (seconds, nanos) = self.0.get_timestamp()?.to_unix();
                let ms = i64::try_from(seconds).ok()?.checked_mul(1000)?.checked_add(i64::from(nanos / 1_000_000))?;
                (self.0.get_version_num() == 7).then(|| Timestamp::from_unix_ms(ms))
            }

            /// The identifier that these 16 bytes spell.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            /// Takes the hyphenated form only, in any case.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                uuid::fmt::Hyphenated::from_str(text).map(|id| Self(id.into_uuid()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.hyphenated(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id!(
    /// An event's id: the sender's own UUID or one that the host made.
    EventId
);
id!(
    /// A webhook's id.
    WebhookId
);
id!(
    /// A delivery's id: one event on its way to one webhook, the same over all its attempts.
    DeliveryId
);
id!(
    /// An attempt's id.
    AttemptId
);
id!(
    /// An entry's id in the audit log.
    AuditId
);
id!(
    /// A token's id; never the token's text.
    TokenId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bits_are_given_once() {
        let mut random = Random::new();
        let given: std::collections::HashSet<u128> = (0..10 * Random::AT_ONCE).map(|_| random.next()).collect();
        assert_eq!((given.len(), given.contains(&0)), (10 * Random::AT_ONCE, false));
        assert_eq!(random.bytes, [[0; 16]; Random::AT_ONCE], "none is left behind");
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    #[test]
    fn an_identifier_has_its_time_version_and_variant() {
        for (ms, made) in [(0, 0), (-1, 0), (i64::MIN, 0), (1_800_000_000_123, 1_800_000_000_123)] {
            let id = EventId(Sequence::new().next(at(ms), u128::MAX));
            assert_eq!((id.0.get_version_num(), id.0.get_variant()), (7, uuid::Variant::RFC4122));
            assert_eq!(id.made_at(), Some(at(made)));
            assert!(id >= EventId::first_at(at(ms)));
        }
        // The last time that RFC 3339 can write.
        let last = EventId(Sequence::new().next(at(i64::MAX), 0));
        assert_eq!(last.made_at().expect("a time").to_string(), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn order_survives_every_jump_of_the_clock() {
        let mut sequence = Sequence::new();
        let mut last = Uuid::nil();
        let times = [0, -5, 1_800_000_000_000, 1_800_000_000_000, 5, i64::MAX, i64::MAX, i64::MIN, 1_800_000_000_001];
        for (round, ms) in times.into_iter().cycle().take(10_000).enumerate() {
            let random = if round % 2 == 0 { u128::MAX } else { u128::from(fastrand::u64(..)) << 32 };
            let next = sequence.next(at(ms), random);
            assert!(next > last, "round {round}: {next} after {last}");
            assert_eq!((next.get_version_num(), next.get_variant()), (7, uuid::Variant::RFC4122));
            last = next;
        }
    }

    #[test]
    fn a_counter_that_is_used_up_goes_on_in_the_next_millisecond() {
        let mut sequence = Sequence { ms: 7, counter: (1 << Sequence::BITS) - 1 };
        let next = sequence.next(at(7), 0);
        assert_eq!((EventId(next).made_at(), sequence.counter), (Some(at(8)), 0));
    }
}
