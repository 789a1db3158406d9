//! The one room that opens connections to destinations.
//!
//! A request goes through [`HttpTransport`]: hyper's client over rustls over a connector of our own, which
//! looks the name up ([`Resolve`]), has the [`Guard`] judge every address, connects only to what was judged,
//! and counts what comes back. Nothing here obeys proxy variables, follows a redirect or keeps a cookie.
//! What came of it, and every word about it, is an [`Outcome`].

mod classify;
mod connector;
mod gate;
mod guard;
mod http;
mod meter;
mod outcome;
mod request;
mod resolve;
#[cfg(test)]
mod tests;

pub use self::guard::{Denied, Guard};
pub use self::http::{HttpTransport, Report, Request, SetupError};
pub use self::outcome::{ConnectError, Failure, Outcome, Reached, TlsFault, retry_after};
pub use self::resolve::{BoxFuture, Resolve, ResolveError, ResolverSetupError, system_resolver};
