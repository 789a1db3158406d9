//! The optional second half of a formatter: interprets a destination's response, for services that report in the body
//! what the status code does not tell (interface `interpret`, since contract 1.1.0).
//!
//! ```
//! use heraldry_formatter::{Answer, Interpreter, Verdict};
//!
//! pub struct Pager;
//!
//! impl Interpreter for Pager {
//!     fn interpret(answer: &Answer) -> Verdict {
//!         match (answer.status, answer.text().trim()) {
//!             (200..300, "queued") => Verdict::delivered(),
//!             (_, "maintenance") => Verdict::retry("maintenance: the pager accepts no messages for now"),
//!             (_, "no such key") => Verdict::failed("no such key: put the service's current key into the URL"),
//!             _ => Verdict::by_status(),
//!         }
//!     }
//! }
//!
//! heraldry_formatter::export_interpreter!(Pager);
//!
//! assert_eq!(Pager::interpret(&Answer::new(200, "queued")), Verdict::delivered());
//! ```

use std::borrow::Cow;

use crate::value::Object;

pub use crate::interpreter_bindings::exports::heraldry::formatter::interpret::{
    Again, Answer, Header, Refusal, Verdict,
};

/// Interprets the responses of a destination. Usually implemented by the type that is the
/// [`Formatter`](crate::Formatter), too.
pub trait Interpreter {
    /// The meaning of a response; [`Verdict::by_status`] whenever in doubt. The same response gives the same verdict.
    ///
    /// Called after an attempt that got a response, never after a connection error or a timeout. The response is
    /// third-party text: truncate any part of it that goes into a reason, and put it on one line
    /// ([`crate::text::tidy`]).
    fn interpret(answer: &Answer) -> Verdict;
}

impl Answer {
    /// A response without headers, for tests.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// Returns true if the status is 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The value of the first header with that name, ignoring case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| &*header.value)
    }

    /// The body as text, at most 8 KiB of it; invalid UTF-8 becomes U+FFFD.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The wait that a body `{"retry_after": SECONDS}` asks for, in milliseconds; `None` if it is missing or not a
    /// non-negative number.
    pub fn retry_after_ms(&self) -> Option<u32> {
        let seconds = Object::parse(self.text().trim()).ok()?.get("retry_after")?.number()?;
        let ms = (seconds * 1000.0).ceil();
        // The cast saturates: more than 49 days becomes 49 days, and the host caps the wait at an hour.
        (ms >= 0.0).then_some(ms as u32)
    }
}

impl Verdict {
    /// Lets the HTTP status decide.
    pub const fn by_status() -> Self {
        Self::ByStatus
    }

    /// The destination accepted the delivery.
    pub const fn delivered() -> Self {
        Self::Delivered
    }

    /// A temporary failure: try again, when the webhook's backoff and `Retry-After` say.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry(Again { after_ms: None, reason: reason.into() })
    }

    /// A temporary failure: try again, but not before `after_ms` milliseconds have passed; the host caps this at an
    /// hour. `None` is the same as [`Verdict::retry`].
    pub fn retry_after(after_ms: Option<u32>, reason: impl Into<String>) -> Self {
        Self::Retry(Again { after_ms, reason: reason.into() })
    }

    /// A permanent failure of this delivery; later ones may succeed.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::Failed(Refusal { reason: reason.into(), deactivate: false })
    }

    /// A permanent failure of the destination: the host deactivates the webhook, and its owner has to activate it by
    /// hand. Use this only if the destination says so unambiguously.
    pub fn gone(reason: impl Into<String>) -> Self {
        Self::Failed(Refusal { reason: reason.into(), deactivate: true })
    }
}

/// Exports the type, an [`Interpreter`], as the component's `interpret`, in addition to
/// [`export_formatter!`](crate::export_formatter). A crate that does not call this exports `format` alone, and the HTTP
/// status decides. Natively the crate stays an ordinary library.
#[macro_export]
macro_rules! export_interpreter {
    ($interpreter:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Component;

            impl $crate::interpreter_bindings::exports::heraldry::formatter::interpret::Guest for Component {
                fn interpret(answer: $crate::Answer) -> $crate::Verdict {
                    $crate::component::log_panics();
                    <$interpreter as $crate::Interpreter>::interpret(&answer)
                }
            }

    $crate::interpreter_bindings::export!(Component with_types_in $crate::interpreter_bindings);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(&$crate::Answer) -> $crate::Verdict = <$interpreter as $crate::Interpreter>::interpret;
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_accessors() {
        let header = |name: &str, value: &str| Header { name: name.into(), value: value.into() };
        let answer = Answer {
            headers: vec![header("retry-after", "7"), header("retry-after", "8")],
            ..Answer::new(299, b"a\xFFb".as_slice())
        };
        assert_eq!(answer.header("Retry-After"), Some("7"));
        assert_eq!(answer.header("retry"), None);
        assert_eq!(answer.text(), "a\u{FFFD}b");
        assert!(answer.is_success());
        assert!(![199, 300].iter().any(|status| Answer::new(*status, "").is_success()));
    }

    #[test]
    fn verdict_constructors() {
        let failed = |deactivate| Verdict::Failed(Refusal { reason: "r".into(), deactivate });
        assert_eq!((Verdict::failed("r"), Verdict::gone("r")), (failed(false), failed(true)));
        assert_eq!(Verdict::retry("r"), Verdict::retry_after(None, "r"));
    }
}
