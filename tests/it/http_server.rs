//! The API as an origin server, from the outside: every MUST of RFC 9110 and RFC 9112 for one, as a table of raw
//! requests; and clients that are slow, silent or many.

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Client, Destination, Handmade, Host, PATIENCE, Reply, eventually};

mod crowd;
mod rfc9110;
mod rfc9112;

/// Which part of the host fulfils a demand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    /// hyper and axum do by themselves.
    Library,
    /// A handler or a setting of the library.
    Set,
    /// A check in front of the library, or around it.
    Wrapped,
    /// Nothing: it is not fulfilled on purpose, or in another way than the RFC recommends. docs/DECISIONS.md has the
    /// reason, under this section.
    Declined,
}

/// A demand on servers.
struct Row {
    section: &'static str,
    demand: &'static str,
    by: By,
    /// The bytes of a connection's client. The last request ends the connection, by itself or by its fault.
    send: String,
    /// The statuses of all responses.
    statuses: &'static [u16],
    also: &'static [Is],
}

/// What else is so of the bytes of all responses.
#[derive(Clone, Copy, Debug)]
enum Is {
    /// They contain this.
    With(&'static str),
    /// They do not contain this.
    Without(&'static str),
    /// They end with the last head.
    WithoutBody,
}

/// Ends a connection whose earlier requests were sound.
const LAST: &str = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fn row(
    section: &'static str,
    demand: &'static str,
    by: By,
    send: impl Into<String>,
    statuses: &'static [u16],
    also: &'static [Is],
) -> Row {
    Row { section, demand, by, send: send.into(), statuses, also }
}

/// A GET of a path that needs no token, as the last request; with more header lines, each with its line terminator.
fn get(more: &str) -> String {
    format!("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{more}\r\n")
}

/// A request with the admin's token, as the last one.
fn admin(line: &str, more: &str, body: &str) -> String {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!(
        "{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer TOKEN\r\n{more}{length}\r\n{body}"
    )
}

/// A POST of a JSON body to the tokens with this framing; `{}` is a 422 that shows that it was read.
fn post(framing: &str, body: &str) -> String {
    format!(
        "POST /api/v1/tokens HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\n\
         Content-Type: application/json\r\n{framing}\r\n{body}"
    )
}

/// Sends raw bytes and reads until the server closes.
async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    // A server that has closed already has said why.
    let _ = stream.write_all(bytes).await;
    let mut reply = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut reply)).await;
    let reply = String::from_utf8_lossy(&reply).into_owned();
    let _ = read.unwrap_or_else(|_| panic!("the server did not close after {reply:?}"));
    reply
}

/// The statuses of all responses.
fn statuses(reply: &str) -> Vec<u16> {
    let heads = reply.split("HTTP/1.").skip(1);
    heads.filter_map(|head| head.get(2..5)?.parse().ok()).collect()
}

fn address(host: &Host) -> SocketAddr {
    host.origin().strip_prefix("http://").and_then(|address| address.parse().ok()).expect("an address")
}

impl Row {
    /// The fault of the server's reply; `None` if it is as it should be.
    fn fault(&self, reply: &str) -> Option<String> {
        let found = statuses(reply);
        if found != self.statuses {
            return Some(format!("statuses {found:?} instead of {:?}", self.statuses));
        }
        let wrong = self.also.iter().find(|is| match is {
            Is::With(text) => !reply.contains(text),
            Is::Without(text) => reply.contains(text),
            Is::WithoutBody => !reply.ends_with("\r\n\r\n"),
        });
        wrong.map(|is| format!("not {is:?}"))
    }
}

/// Ids and texts that the rows refer to.
async fn fill_in(admin: &Client, send: &str) -> String {
    let mut filled = send.replace("TOKEN", admin.token());
    if filled.contains("WEBHOOK") {
        let webhook = admin.webhook("http://127.0.0.1:9/", json!({})).await;
        let etag = admin.get(&format!("/webhooks/{webhook}")).await.header("etag").to_owned();
        filled = filled.replace("WEBHOOK", &format!("/api/v1/webhooks/{webhook}")).replace("ETAG", &etag);
    }
    if filled.contains("OTHER") {
        let made = admin.post("/tokens", &json!({"name": "n", "role": "ingest"})).await.expect(201).json();
        filled = filled.replace("OTHER", &format!("/api/v1/tokens/{}", made["id"].as_str().expect("an id")));
    }
    filled
}

#[tokio::test]
async fn every_demand_on_a_server_is_met_or_declined_with_a_reason() {
    let host = Host::start().await;
    let client = host.admin();
    client.install("taken", &Handmade::new("taken", "1.0.0", "x").build()).await.expect(201);
    let decisions = include_str!("../../docs/DECISIONS.md");
    let (mut wrong, mut rows) = (Vec::new(), 0);
    for row in rfc9110::rows().into_iter().chain(rfc9112::rows()) {
        rows += 1;
        let reply = raw(address(&host), fill_in(&client, &row.send).await.as_bytes()).await;
        if let Some(fault) = row.fault(&reply) {
            let shown: String = reply.chars().take(600).collect();
            wrong.push(format!("RFC {}, {}: {fault} in {shown:?}", row.section, row.demand));
        }
        let has_reason = row.by != By::Declined || decisions.contains(&format!("| {} |", row.section));
        assert!(has_reason, "docs/DECISIONS.md has no reason for {}", row.section);
    }
    assert!(wrong.is_empty(), "{} of {rows} rows:\n{}", wrong.len(), wrong.join("\n"));
    client.get("/webhooks").await.expect(200);
}
