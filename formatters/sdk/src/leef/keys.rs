//! The attributes that LEEF predefines (IBM's "Predefined LEEF event attributes", as listed in
//! tenzir/skills:skills/tenzir-leef/attributes.yaml) and for which our events have values.

/// Declares an enum of keys.
macro_rules! keys {
    ($(#[$doc:meta])* $name:ident { $($key:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`")] $key,)*
        }

        impl $name {
            /// The key's name in a record.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$key => $text,)*
                }
            }
        }
    };
}

keys! {
    /// Keys for IPv4 and IPv6 addresses.
    Address {
        Src = "src",
        Dst = "dst",
    }
}

keys! {
    /// Keys for ports.
    Port {
        SrcPort = "srcPort",
        DstPort = "dstPort",
    }
}

keys! {
    /// Keys for text. The maximum length is [`Text::max_bytes`].
    Text {
        AccountName = "accountName",
        Domain = "domain",
        GroupId = "groupID",
        Policy = "policy",
        Realm = "realm",
        Resource = "resource",
        Role = "role",
        Url = "url",
        UsrName = "usrName",
    }
}

impl Text {
    /// The longest value, in bytes: an upper bound of the limit in characters.
    pub const fn max_bytes(self) -> usize {
        match self {
            Self::AccountName | Self::UsrName => 255,
            _ => super::TEXT,
        }
    }
}

/// All predefined keys, in lower case: none of them may be a custom key.
const PREDEFINED: [&str; 47] = [
    "accountname",
    "calcountryorregion",
    "callanguage",
    "cat",
    "devtime",
    "devtimeformat",
    "domain",
    "dst",
    "dstbytes",
    "dstmac",
    "dstpackets",
    "dstport",
    "dstpostnat",
    "dstpostnatport",
    "dstprenat",
    "dstprenatport",
    "groupid",
    "identgrpname",
    "identhostname",
    "identmac",
    "identnetbios",
    "identsecondip",
    "identsecondlp",
    "identsrc",
    "isloginevent",
    "islogoutevent",
    "policy",
    "proto",
    "realm",
    "resource",
    "role",
    "sev",
    "src",
    "srcbytes",
    "srcmac",
    "srcpackets",
    "srcport",
    "srcpostnat",
    "srcpostnatport",
    "srcprenat",
    "srcprenatport",
    "totalpackets",
    "url",
    "usrname",
    "vsrc",
    "vsrcname",
    // Not predefined by the format: the last attribute of each record here.
    "msg",
];

/// Returns true for ASCII letters and digits with a letter first that are not a predefined key.
pub(super) fn is_custom_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric())
        && !PREDEFINED.iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_names() {
        for custom in ["objectId", "cve", "a1", "target"] {
            assert!(is_custom_name(custom), "{custom}");
        }
        let long = "x".repeat(65);
        for not in ["", "1a", "a b", "a_b", "é", "sev", "usrName", "USRNAME", "identSecondlp", "msg", &long] {
            assert!(!is_custom_name(not), "{not}");
        }
        for key in [Text::AccountName, Text::Domain, Text::GroupId, Text::Policy, Text::Realm, Text::Resource] {
            assert!(!is_custom_name(key.name()));
        }
    }
}
