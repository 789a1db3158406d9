//! How far an attempt got, so that a timeout can name the phase that used up the time.

use std::sync::{Mutex, PoisonError};

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
#[derive(Default, Debug)]
pub(super) struct Phase(Mutex<Reached>);

impl Phase {
    pub(super) fn set(&self, reached: Reached) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reached;
    }

    pub(super) fn get(&self) -> Reached {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
