//! Deliveries over HTTP/1.1 and HTTP/2: the client, its connections and the pool of those that are idle, the connector,
//! the tunnel through a proxy, the scanner and the filter of heads, and the byte budget of a response.

mod budget;
mod client;
mod connection;
mod connector;
mod errors;
mod head;
mod link;
mod pool;
mod request;
mod scanner;
mod tunnel;

#[cfg(fuzzing)]
pub(crate) use head::properties as fuzz_proxy;

pub(super) use self::client::{HttpClient, Post};
