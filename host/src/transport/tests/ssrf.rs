//! Server-side request forgery (SSRF): URLs judged when they are saved and again at each attempt, with DNS rebinding.

use super::peer::Peer;
use super::{Table, deliver, sentence, transport_with, url};
use crate::model::url::DeliveryUrl;
use std::sync::Arc;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn every_spelling_of_a_closed_address_is_rejected_at_save_and_at_send() {
    let names = Table::of(&[
        ("localhost", &["127.0.0.1", "::1"]),
        ("localhost.", &["127.0.0.1"]),
        ("public.example", &["93.184.215.14"]),
        ("both.example", &["93.184.215.14", "10.0.0.1"]),
        ("sneaky.example", &["::ffff:169.254.169.254"]),
        ("nat64.example", &["64:ff9b::a9fe:a9fe"]),
    ]);
    let transport = transport_with(&[], names, &[]);
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "\u{ff11}27.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "localhost",
        "LOCALHOST.",
        "169.254.169.254",
        "0.0.0.0",
        "[::]",
        "[fe80::1]",
        "both.example",
        "sneaky.example",
        "nat64.example",
    ] {
        let origin = format!("http://{host}:9");
        let denied = transport.check_destination(&url(&origin)).await.expect_err(host);
        let report = deliver(&transport, &origin).await;
        assert_eq!(sentence(&report), format!("policy: {denied}"), "{host}");
        assert_eq!((report.status, report.excerpt), (None, None));
    }
    transport.check_destination(&url("https://public.example")).await.expect("public");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_may_be_saved_and_fails_when_sent_to() {
    let transport = transport_with(&[], Table::of(&[("empty.example", &[])]), &[]);
    for name in ["nowhere.example", "empty.example"] {
        let origin = format!("https://{name}");
        transport.check_destination(&url(&origin)).await.expect(name);
        let words = format!("dns: {name}: there is no such name, or it has no address");
        assert_eq!(sentence(&deliver(&transport, &origin).await), words);
    }
}

#[tokio::test]
async fn a_name_is_judged_again_at_each_attempt() {
    let peer = Peer::closing_after(OK).await;
    let names = Table::of(&[("rebinding.example", &["93.184.215.14"])]);
    let transport = transport_with(&[], Arc::clone(&names) as _, &[]);
    let origin = format!("http://rebinding.example:{}", peer.address.port());
    transport.check_destination(&url(&origin)).await.expect("public when saved");
    for address in ["127.0.0.1", "::ffff:127.0.0.1", "169.254.169.254"] {
        names.set("rebinding.example", &[address]);
        for _ in 0..100 {
            assert!(
                sentence(&deliver(&transport, &origin).await).starts_with("policy: rebinding.example resolves to ")
            );
        }
    }
    assert_eq!(peer.connections(), 0);
}

#[tokio::test]
async fn the_hosts_own_listener_gets_no_delivery() {
    let peer = Peer::responding(OK).await;
    let port = peer.address.port();
    let names = Table::of(&[("me.example", &["127.0.0.1"])]);
    let transport = transport_with(&["127.0.0.0/8"], names, &[]);
    assert_eq!(sentence(&deliver(&transport, &peer.origin()).await), "delivered");
    for own in [format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}"), format!("[::]:{port}")] {
        transport.guard().set_own(own.parse().expect("address"));
        for host in ["127.0.0.1", "me.example", "0x7f000001", "[::ffff:127.0.0.1]"] {
            let url = DeliveryUrl::parse(&format!("http://{host}:{port}/")).expect("URL");
            assert_eq!(transport.check_destination(&url).await.expect_err(host).code(), "own_address");
        }
    }
    assert!(sentence(&deliver(&transport, &format!("http://me.example:{port}")).await).starts_with("policy: "));
    assert_eq!(peer.connections(), 1);
}
