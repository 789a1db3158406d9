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

            /// The identifier that these 16 bytes spell.
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
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
    /// A token's id; never the token's text.
    TokenId
);
