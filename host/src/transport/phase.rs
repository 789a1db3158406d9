//! How far an attempt got, so that a timeout can name the phase that used up the time.

use std::sync::{Arc, Mutex, PoisonError};

/// The phase that an attempt has reached.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Reached {
    /// Look-up of the destination's name.
    LookingUp,
    /// The TCP connection to the destination.
    #[default]
    Connecting,
    /// Look-up of the name of the operator's proxy.
    LookingUpProxy,
    /// The TCP connection to the operator's proxy.
    ConnectingProxy,
    /// The proxy's response to `CONNECT`.
    Tunnelling,
    /// The TLS handshake with the destination.
    Handshaking,
    /// The request was written in part.
    Requesting,
    /// The request was written.
    Sent,
    /// A part of a response's head had arrived.
    Heading,
    /// A response's head with this status had arrived.
    Responding(u16),
    /// A syslog message was written, at least in part, and not acknowledged.
    Writing,
}

/// The phase of one attempt, written by whatever works on it and read when its time has run out.
#[derive(Clone, Default, Debug)]
pub(super) struct Phase(Arc<Mutex<Reached>>);

tokio::task_local! {
    /// The phase of the attempt that is being polled. hyper's pool stands between an attempt and the connector and has
    /// no other way to pass it on.
    static CURRENT: Phase;
}

impl Phase {
    pub(super) fn set(&self, reached: Reached) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reached;
    }

    pub(super) fn get(&self) -> Reached {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs part of an attempt, so that [`current`](Self::current) gives its phase.
    pub(super) async fn scope<T>(&self, part: impl Future<Output = T>) -> T {
        CURRENT.scope(self.clone(), part).await
    }

    /// The phase of the attempt that is being polled; outside of one, a phase that nobody reads.
    pub(super) fn current() -> Self {
        CURRENT.try_with(Self::clone).unwrap_or_default()
    }
}
