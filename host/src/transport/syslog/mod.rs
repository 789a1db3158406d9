//! Deliveries over syslog: one message per datagram (RFC 5426), or framed in a stream, in the clear (RFC 6587) or over
//! TLS (RFC 5425).
//!
//! Syslog has no response, so "delivered" means less than over HTTP. Over a stream: the destination's machine has
//! acknowledged every byte of the message, and the connection was still open shortly after ([`stream`]). Over UDP: the
//! datagram was sent, and no ICMP error came back at once.

mod datagram;
mod stream;

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::model::url::{DeliveryUrl, Framing, Scheme, TransportKind};
use crate::model::webhook::TlsNames;
use crate::transport::destination::GuardedResolver;
use crate::transport::failure::Failure;
use crate::transport::phase::Phase;
use crate::transport::tls::Tls;

/// The syslog client: streams, which are kept open, and datagrams.
pub(super) struct Syslog {
    destinations: Arc<GuardedResolver>,
    streams: stream::StreamPool,
}

impl Syslog {
    pub(super) fn new(destinations: Arc<GuardedResolver>, tls: Arc<Tls>) -> Self {
        Self { streams: stream::StreamPool::new(Arc::clone(&destinations), tls), destinations }
    }

    /// Sends messages, each of which [`fits`]. `phase` is kept up to date for the case that the attempt times out.
    pub(super) async fn deliver(
        &self,
        url: &DeliveryUrl,
        tls: &TlsNames,
        messages: &[Bytes],
        alone: bool,
        phase: &Phase,
    ) -> Result<(), Failure> {
        let Some(framing) = url.scheme().framing() else {
            return datagram::deliver(&self.destinations, url, messages, phase).await;
        };
        self.streams.deliver(url, tls, &framed(messages, framing), alone, phase).await
    }
}

/// Checks that receivers will read a message as one message.
///
/// This is a defence against forged log records: common receivers read the rest of an overlong message, or what follows
/// a line break, as a new message, whose text the author of the event would then control.
///
/// # Errors
/// A sentence if the message is empty, longer than [`TransportKind::max_bytes`], or has a line break or NUL in it.
pub fn fits(scheme: Scheme, message: &[u8]) -> Result<(), String> {
    let most = match scheme.transport_kind() {
        TransportKind::Http => return Ok(()),
        transport_kind => transport_kind.max_bytes().unwrap_or(u32::MAX) as usize,
    };
    if message.is_empty() {
        return Err("the formatter produced an empty message, which syslog does not have".into());
    }
    if message.len() > most {
        let size = message.len();
        return Err(format!(
            "the formatter produced a message of {size} bytes, and the limit over {} is {most}",
            scheme.as_str()
        ));
    }
    if let Some(byte) = message.iter().find(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
        return Err(format!(
            "the formatter produced a message of more than one line: it contains the byte 0x{byte:02x}"
        ));
    }
    // RFC 6587, section 3.4.1: receivers that accept both framings read a leading digit as a length.
    if scheme.framing() == Some(Framing::LineFeed) && message.first() != Some(&b'<') {
        return Err("with framing=lf a message begins with <, its priority; the formatter's does not".into());
    }
    Ok(())
}

/// The messages as they go over the stream, one after the other.
fn framed(messages: &[Bytes], framing: Framing) -> Bytes {
    let mut frames = BytesMut::with_capacity(messages.iter().map(|message| message.len() + 8).sum());
    for message in messages {
        if framing == Framing::OctetCounting {
            frames.put_slice(message.len().to_string().as_bytes());
            frames.put_u8(b' ');
        }
        frames.put_slice(message);
        if framing == Framing::LineFeed {
            frames.put_u8(b'\n');
        }
    }
    frames.freeze()
}

/// The entry points of [`crate::fuzzing::syslog_frames`] and [`crate::fuzzing::syslog_peer`].
#[cfg(fuzzing)]
pub(crate) mod fuzzing {
    use super::*;

    pub(crate) use super::stream::fuzzing::check as check_peer;

    pub(crate) fn framed(messages: &[Bytes], framing: Framing) -> Bytes {
        super::framed(messages, framing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_count_bytes() {
        let messages = [Bytes::from_static("<134>1 é".as_bytes()), Bytes::from_static(b"<134>1 b")];
        assert_eq!(framed(&messages, Framing::OctetCounting), "9 <134>1 é8 <134>1 b");
        assert_eq!(framed(&messages, Framing::LineFeed), "<134>1 é\n<134>1 b\n");
    }

    #[test]
    fn messages_that_a_receiver_would_misread_are_rejected() {
        let (udp, tls) = (Scheme::SyslogUdp, Scheme::SyslogTls(Framing::OctetCounting));
        let (lf, counted) = (Scheme::SyslogTcp(Framing::LineFeed), Scheme::SyslogTcp(Framing::OctetCounting));
        for (scheme, most) in [(udp, 2048), (tls, 8000), (lf, 8000), (counted, 8000)] {
            let message = format!("<1>{}", "x".repeat(most - 3));
            assert_eq!(fits(scheme, message.as_bytes()), Ok(()), "{scheme:?}");
            assert!(fits(scheme, format!("{message}x").as_bytes()).is_err(), "{scheme:?}");
            for wrong in ["", "<1>a\n<0>b", "<1>a\r", "<1>a\0"] {
                assert!(fits(scheme, wrong.as_bytes()).is_err(), "{scheme:?} {wrong:?}");
            }
        }
        assert!(fits(lf, b"12 <0>x").is_err());
        assert_eq!(fits(counted, b"12 <0>x"), Ok(()));
        assert_eq!(fits(Scheme::Https, b"1\n2"), Ok(()));
    }
}
