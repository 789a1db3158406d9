//! Tests against scripted peers on loopback. No traffic leaves the machine.

mod connections;
mod endings;
mod guard;
mod http2;
mod peer;
mod phases;
mod pool;
mod responses;
mod rfc;
mod ssrf;
mod syslog;
mod tls;
mod tunnel;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use ipnet::IpNet;

use super::{BoxFuture, Content, Failure, Guard, Report, Request, Resolve, ResolveError, Tls, Transport};
use crate::model::mask::Mask;
use crate::model::settings::TlsFiles;
use crate::model::url::DeliveryUrl;
use crate::model::webhook::TlsNames;

/// A secret in every URL's path and query here. It must not appear in any report.
const CANARY: &str = "canary-3f1c";

/// A resolver with the names that a test sets; others do not exist.
#[derive(Default)]
struct Table(Mutex<HashMap<String, Vec<IpAddr>>>);

impl Table {
    fn of(entries: &[(&str, &[&str])]) -> Arc<Self> {
        let table = Arc::new(Self::default());
        for (name, addresses) in entries {
            table.set(name, addresses);
        }
        table
    }

    fn set(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|text| text.parse().expect("address")).collect();
        self.0.lock().expect("table").insert(name.into(), addresses);
    }
}

impl Resolve for Table {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        let found = self.0.lock().expect("table").get(host).cloned();
        Box::pin(async move { found.ok_or(ResolveError::NotFound) })
    }
}

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().expect("network")).collect()
}

/// A transport that may reach loopback, and resolves no names.
fn transport() -> Transport {
    transport_with(&["127.0.0.0/8", "::1/128"], Table::of(&[]), &[])
}

fn transport_with(allow: &[&str], names: Arc<dyn Resolve>, roots: &[Vec<u8>]) -> Transport {
    let tls = Tls::new(&TlsFiles::default(), roots).expect("TLS");
    Transport::new(Arc::new(Guard::new(nets(allow))), names, tls, None).expect("transport")
}

fn url(origin: &str) -> DeliveryUrl {
    DeliveryUrl::parse(&format!("{origin}/{CANARY}?key={CANARY}")).expect("URL")
}

/// Delivers a small body, with a generous timeout.
async fn deliver(transport: &Transport, origin: &str) -> Report {
    deliver_within(transport, origin, Duration::from_secs(20)).await
}

async fn deliver_within(transport: &Transport, origin: &str, timeout: Duration) -> Report {
    deliver_body(transport, origin, Bytes::from_static(b"{\"hello\":1}"), timeout).await
}

/// Delivers a body of so many bytes.
async fn deliver_bytes(transport: &Transport, origin: &str, bytes: usize, timeout: Duration) -> Report {
    deliver_body(transport, origin, Bytes::from(vec![b'x'; bytes]), timeout).await
}

async fn deliver_body(transport: &Transport, origin: &str, body: Bytes, timeout: Duration) -> Report {
    deliver_content(transport, &url(origin), Content::Body { headers: HeaderMap::new(), body }, timeout).await
}

async fn deliver_content(transport: &Transport, url: &DeliveryUrl, content: Content, timeout: Duration) -> Report {
    let (tls, mask) = (&TlsNames::default(), &Mask::default());
    let report = transport.deliver(Request { url, tls, content, timeout, keep_response: false, mask }).await;
    assert!(!format!("{report:?}").contains(CANARY), "{report:?}");
    report
}

/// The report's failure as a sentence, or `delivered`.
fn sentence(report: &Report) -> String {
    report.outcome.as_ref().err().map_or_else(|| "delivered".into(), Failure::sentence)
}
