//! The extension keys available to a sender, grouped by value type, each with its maximum length (FORMATS, section 3).
//! Keys that a consumer sets, keys reserved for customers, and keys that no receiver knows are left out.

/// Declares an enum of keys. Each number is unique across all enums.
macro_rules! keys {
    ($(#[$doc:meta])* $name:ident { $($(#[$key_doc:meta])* $key:ident = $number:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`")] $(#[$key_doc])* $key = $number,)*
        }

        impl $name {
            /// The key's name in a record.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$key => $text,)*
                }
            }

            pub(super) const fn key(self) -> Key {
                Key { name: self.name(), number: self as u8 }
            }
        }
    };
}

/// A key of any type.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) name: &'static str,
    /// Below 64: the bit of the key in `Record::used_keys`.
    pub(super) number: u8,
}

keys! {
    /// Keys for text. The maximum length is [`Text::max_bytes`].
    Text {
        Act = 0 "act",
        App = 1 "app",
        Cat = 2 "cat",
        DestinationServiceName = 15 "destinationServiceName",
        DeviceExternalId = 3 "deviceExternalId",
        DeviceFacility = 4 "deviceFacility",
        Dhost = 5 "dhost",
        Duser = 6 "duser",
        Dvchost = 7 "dvchost",
        ExternalId = 8 "externalId",
        Outcome = 9 "outcome",
        Reason = 10 "reason",
        Request = 11 "request",
        Shost = 12 "shost",
        SourceServiceName = 13 "sourceServiceName",
        Suser = 14 "suser",
    }
}

impl Text {
    /// The longest value, in bytes: an upper bound of the limit in characters.
    pub const fn max_bytes(self) -> usize {
        match self {
            Self::App => 31,
            Self::ExternalId => 40,
            Self::Act | Self::Outcome => 63,
            Self::Dvchost => 100,
            Self::DeviceExternalId => 255,
            _ => super::TEXT,
        }
    }
}

keys! {
    /// Keys for text without a key of its own, labelled; at most [`super::CUSTOM_TEXT`] bytes.
    Custom {
        Cs1 = 16 "cs1",
        Cs2 = 17 "cs2",
        Cs3 = 18 "cs3",
        Cs4 = 19 "cs4",
        Cs5 = 20 "cs5",
        Cs6 = 21 "cs6",
    }
}

keys! {
    /// Keys for labelled whole numbers.
    Long {
        Cn1 = 22 "cn1",
        Cn2 = 23 "cn2",
        Cn3 = 24 "cn3",
    }
}

keys! {
    /// Keys for labelled fractional numbers.
    Double {
        Cfp1 = 25 "cfp1",
        Cfp2 = 26 "cfp2",
        Cfp3 = 27 "cfp3",
        Cfp4 = 28 "cfp4",
    }
}

keys! {
    /// Keys for IPv4 addresses; the format has no IPv6 variant of these.
    Ipv4 {
        Src = 29 "src",
        Dst = 30 "dst",
        Dvc = 31 "dvc",
    }
}

keys! {
    /// Keys for labelled IPv6 addresses.
    Ipv6 {
        C6a1 = 32 "c6a1",
        C6a3 = 33 "c6a3",
        C6a4 = 34 "c6a4",
    }
}

keys! {
    /// Keys for ports.
    Port {
        Spt = 35 "spt",
        Dpt = 36 "dpt",
    }
}

keys! {
    /// Keys for times.
    Time {
        Rt = 37 "rt",
        Start = 38 "start",
        End = 39 "end",
    }
}

keys! {
    /// Keys for labelled times.
    CustomTime {
        DeviceCustomDate1 = 40 "deviceCustomDate1",
        DeviceCustomDate2 = 41 "deviceCustomDate2",
    }
}

/// `cnt`: the number of occurrences, 0 to 2147483647.
pub(super) const CNT: Key = Key { name: "cnt", number: 42 };
