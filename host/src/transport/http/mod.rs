//! Deliveries over HTTP/1.1 and HTTP/2: client, connector, tunnel through a proxy, and the byte budget of a response.

mod budget;
mod client;
pub(super) mod connector;
pub(super) mod errors;
mod request;
mod tunnel;

pub(super) use self::client::{HttpClient, Post};
