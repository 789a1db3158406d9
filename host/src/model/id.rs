//! Identifiers. Those that the host makes are UUIDv7, so that their order is the order of creation;
//! an event's id may also be any UUID that its sender chose.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new identifier, later in order than every one made before it in this process.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// The identifier's 16 bytes, big-endian: byte order is creation order for UUIDv7.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The first identifier that could have been made at this time (RFC 9562, section 5.7).
            pub fn first_at(at: super::time::Timestamp) -> Self {
                let ms = at.unix_ms().clamp(0, (1 << 48) - 1).cast_unsigned();
                Self(Uuid::from_u128((u128::from(ms) << 80) | (0x7000 << 64) | (0b10 << 62)))
            }

            /// The identifier that follows in order.
            pub fn successor(&self) -> Self {
                Self(Uuid::from_u128(self.0.as_u128().saturating_add(1)))
            }

            /// When a UUIDv7 was made; any other UUID says nothing.
            pub fn made_at(&self) -> Option<super::time::Timestamp> {
                let (seconds, nanos) = self.0.get_timestamp()?.to_unix();
                let ms = i64::try_from(seconds).ok()?.checked_mul(1000)?.checked_add(i64::from(nanos / 1_000_000))?;
                (self.0.get_version_num() == 7).then(|| super::time::Timestamp::from_unix_ms(ms))
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
