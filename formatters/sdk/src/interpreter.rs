//! The second half of a formatter, for destinations that say in words what the status does not: it reads
//! what was answered and says what that means (interface `interpret`, since contract 1.1.0).
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
//!             (_, "maintenance") => Verdict::retry("maintenance: the pager takes nothing at the moment"),
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

/// A type that knows what a destination's answers mean. Usually the one that is the
/// [`Formatter`](crate::Formatter), too.
pub trait Interpreter {
    /// What the answer means; [`Verdict::by_status`] whenever you are not sure. The same answer gives the
    /// same verdict.
    ///
    /// Called after an attempt that was answered, never after one that was not (no connection, no answer
    /// in time). The answer is the destination's text: whatever of it goes into a reason should be cut and
    /// put on one line ([`crate::text::tidy`]).
    fn interpret(answer: &Answer) -> Verdict;
}

impl Answer {
    /// An answer without headers, as a test needs it.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// Whether the status is 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The value of the first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| &*header.value)
    }

    /// The body as text, at most 8 KiB of it; what is no UTF-8 is U+FFFD.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// How long the destination wants to be left alone, in milliseconds, from a body `{"retry_after": SECONDS}`;
    /// `None` when it does not say so in a sane way.
    pub fn retry_after_ms(&self) -> Option<u32> {
        let seconds = Object::parse(self.text().trim()).ok()?.get("retry_after")?.number()?;
        let ms = (seconds * 1000.0).ceil();
        // A conversion saturates: what is longer than 49 days becomes 49 days, and the host cuts at an hour.
        (ms >= 0.0).then_some(ms as u32)
    }
}

impl Verdict {
    /// What the status says.
    pub const fn by_status() -> Self {
        Self::ByStatus
    }

    /// The destination took it.
    pub const fn delivered() -> Self {
        Self::Delivered
    }

    /// It did not, and may take it later: when, the webhook's own waits and `Retry-After` say.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry(Again { after_ms: None, reason: reason.into() })
    }

    /// It did not, and takes nothing before `after_ms` milliseconds are over. The host waits an hour at
    /// most. `None` is [`Verdict::retry`].
    pub fn retry_after(after_ms: Option<u32>, reason: impl Into<String>) -> Self {
        Self::Retry(Again { after_ms, reason: reason.into() })
    }

    /// It did not take this one and never will; the next one may pass.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::Failed(Refusal { reason: reason.into(), deactivate: false })
    }

    /// It will never take anything again: the webhook is switched off. Only where the destination says
    /// that for certain; the owner has to switch it on by hand.
    pub fn gone(reason: impl Into<String>) -> Self {
        Self::Failed(Refusal { reason: reason.into(), deactivate: true })
    }
}

/// Makes the type, an [`Interpreter`], what the component exports as `interpret`, beside
/// [`export_formatter!`](crate::export_formatter). A crate that does not call this exports `format` alone and
/// is never asked. Natively the crate stays an ordinary library.
#[macro_export]
macro_rules! export_interpreter {
    ($interpreter:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Component;

            impl $crate::interpreter_bindings::exports::heraldry::formatter::interpret::Guest for Component {
                fn interpret(answer: $crate::Answer) -> $crate::Verdict {
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
    fn an_answer_is_easy_to_ask() {
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
    fn verdicts_say_what_they_are_called() {
        let failed = |deactivate| Verdict::Failed(Refusal { reason: "r".into(), deactivate });
        assert_eq!((Verdict::failed("r"), Verdict::gone("r")), (failed(false), failed(true)));
        assert_eq!(Verdict::retry("r"), Verdict::retry_after(None, "r"));
    }
}
