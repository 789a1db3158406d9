//! Deliveries over HTTP/1.1 and HTTP/2: the client, its connector, the tunnel through a proxy, the scanner of heads, and
//! the byte budget of a response.

mod budget;
mod client;
mod connector;
mod errors;
mod head;
mod request;
mod tunnel;

#[cfg(fuzzing)]
pub(crate) use head::properties as fuzz_proxy;

pub(super) use self::client::{HttpClient, Post};
