//! Option types that several formats use. They are validated when they are parsed.

use serde::{Deserialize, Deserializer};

/// Parses an option that may be absent but not null, as the schemas require:
/// `#[serde(default, deserialize_with = "options::given")]`.
///
/// # Errors
/// When the value is not a valid `T`.
pub fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// The option `evidence` of formats for people: whether a message shows how a finding was reached. In a JSON Schema: the
/// words `shown` (the default) and `none`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// The message has the evidence and the details of the request, truncated.
    #[default]
    Shown,
    /// The message has neither, for a channel whose members must not see how to repeat an attack.
    None,
}

/// A name of 1 to `MAX` printable ASCII characters, without a space at either end. In a JSON Schema: `minLength` 1,
/// `maxLength` `MAX`, and the pattern `^[!-~]([ -~]*[!-~])?$`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Printable<const MAX: usize>(String);

impl<const MAX: usize> Printable<MAX> {
    /// The name as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> TryFrom<String> for Printable<MAX> {
    type Error = String;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let printable = name.bytes().all(|b| matches!(b, b' '..=b'~'));
        if (1..=MAX).contains(&name.len()) && printable && name.trim() == name {
            Ok(Self(name))
        } else {
            Err(format!("1 to {MAX} printable ASCII characters are expected, without a space at either end"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_names() {
        for (name, is_valid) in [
            ("a", true),
            ("a b~!", true),
            ("12345", true),
            ("123456", false),
            ("", false),
            (" a", false),
            ("a ", false),
            ("a\n", false),
            ("\u{7f}", false),
            ("é", false),
        ] {
            assert_eq!(Printable::<5>::try_from(name.to_owned()).is_ok(), is_valid, "{name:?}");
        }
        #[derive(Debug, Deserialize)]
        struct Options {
            #[serde(default, deserialize_with = "given")]
            name: Option<Printable<5>>,
        }
        let read = |json: &str| serde_json::from_str::<Options>(json).map(|options| options.name);
        assert_eq!(read("{}").expect("absent").as_ref().map(Printable::as_str), None);
        assert_eq!(read(r#"{"name":"a"}"#).expect("given").as_ref().map(Printable::as_str), Some("a"));
        assert!(read(r#"{"name":null}"#).is_err());
        let error = serde_json::from_str::<Printable<5>>(r#""""#).expect_err("refused").to_string();
        assert!(error.contains("1 to 5 printable"), "{error}");
    }
}
