//! Deliveries over syslog: one message a datagram (RFC 5426), or framed in a stream, in the clear (RFC 6587) or over
//! TLS (RFC 5425).
//!
//! Nothing is ever answered here, so "delivered" means less than over HTTP, and as much as can be known: of a stream,
//! that the destination's machine has acknowledged every byte of the message, and that the connection was still whole
//! a moment later ([`stream`]); of a datagram, that it left and nobody said that nothing listens there.

mod datagram;
mod stream;

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::gate::Gate;
use super::outcome::{Failure, Reached};
use super::tls::Tls;
use crate::model::url::{DeliveryUrl, Framing, Scheme, TransportKind};
use crate::model::webhook::TlsNames;

/// Both ways that syslog goes.
pub(super) struct Syslog {
    gate: Arc<Gate>,
    streams: stream::Streams,
}

impl Syslog {
    pub(super) fn new(gate: Arc<Gate>, tls: Arc<Tls>) -> Self {
        Self { streams: stream::Streams::new(Arc::clone(&gate), tls), gate }
    }

    /// Sends messages, each of which [`fits`]. `reached` tells how far it came when its time is over.
    pub(super) async fn deliver(
        &self,
        url: &DeliveryUrl,
        tls: &TlsNames,
        messages: &[Bytes],
        alone: bool,
        reached: &mut Reached,
    ) -> Result<(), Failure> {
        let Some(framing) = url.scheme().framing() else {
            return datagram::deliver(&self.gate, url, messages, reached).await;
        };
        self.streams.deliver(url, tls, &framed(messages, framing), alone, reached).await
    }
}

/// Whether a message can go this way; a sentence when it cannot.
///
/// A message that is longer than what receivers take is no matter of taste: common ones read the rest of it as a new
/// message, which whoever wrote the event could then have written.
pub fn fits(scheme: Scheme, message: &[u8]) -> Result<(), String> {
    let most = match scheme.transport_kind() {
        TransportKind::Http => return Ok(()),
        transport_kind => transport_kind.max_bytes().unwrap_or(u32::MAX) as usize,
    };
    if message.is_empty() {
        return Err("the formatter made an empty message, and there is none in syslog".into());
    }
    if message.len() > most {
        let size = message.len();
        return Err(format!(
            "the formatter made a message of {size} bytes, and one over {} has at most {most}",
            scheme.as_str()
        ));
    }
    if let Some(byte) = message.iter().find(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
        return Err(format!("the formatter made a message of more than one line: it has a byte 0x{byte:02x}"));
    }
    // RFC 6587, section 3.4.1: what begins with a digit is taken for a count.
    if scheme.framing() == Some(Framing::LineFeed) && message.first() != Some(&b'<') {
        return Err("with framing=lf a message begins with <, its priority; the formatter's does not".into());
    }
    Ok(())
}

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

/// What [`crate::fuzzing::syslog_frames`] and [`crate::fuzzing::syslog_peer`] call.
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
    fn what_a_receiver_would_misread_is_not_sent() {
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
