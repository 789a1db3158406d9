//! The guard's table, tested at both edges of each network. No sockets are opened.

use std::net::{IpAddr, SocketAddr};

use super::super::{Denied, Guard};
use super::nets;

/// A network, its first and last address, and the addresses just before and after it.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str);

const OPENABLE: &[Row] = &[
    ("10.0.0.0/8", "10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"),
    ("172.16.0.0/12", "172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0"),
    ("192.168.0.0/16", "192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0"),
    ("127.0.0.0/8", "127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0"),
    ("100.64.0.0/10", "100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0"),
    ("fc00::/7", "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fbff::", "fe00::"),
    ("::1/128", "::1", "::1", "", ""),
];

/// The neighbour is left empty where it lies in another closed network.
const NEVER: &[Row] = &[
    ("0.0.0.0/8", "0.0.0.0", "0.255.255.255", "", "1.0.0.0"),
    ("169.254.0.0/16", "169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0"),
    ("192.0.0.0/24", "192.0.0.0", "192.0.0.255", "191.255.255.255", "192.0.1.0"),
    ("192.0.2.0/24", "192.0.2.0", "192.0.2.255", "192.0.1.255", "192.0.3.0"),
    ("198.51.100.0/24", "198.51.100.0", "198.51.100.255", "198.51.99.255", "198.51.101.0"),
    ("203.0.113.0/24", "203.0.113.0", "203.0.113.255", "203.0.112.255", "203.0.114.0"),
    ("192.88.99.0/24", "192.88.99.0", "192.88.99.255", "192.88.98.255", "192.88.100.0"),
    ("198.18.0.0/15", "198.18.0.0", "198.19.255.255", "198.17.255.255", "198.20.0.0"),
    ("224.0.0.0/4", "224.0.0.0", "239.255.255.255", "223.255.255.255", ""),
    ("240.0.0.0/4", "240.0.0.0", "255.255.255.254", "", ""),
    ("255.255.255.255/32", "255.255.255.255", "255.255.255.255", "", ""),
    ("::/128", "::", "::", "", ""),
    ("::/96", "::2", "::ffff:ffff", "", "::1:0:0"),
    ("::ffff:0:0:0/96", "::ffff:0:0:0", "::ffff:0:ffff:ffff", "::fffe:ffff:ffff:ffff", "::ffff:1:0:0"),
    ("64:ff9b::/96", "64:ff9b::", "64:ff9b::ffff:ffff", "64:ff9a:ffff::", "64:ff9b::1:0:0"),
    ("64:ff9b:1::/48", "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "64:ff9b:0:ffff::", "64:ff9b:2::"),
    ("2002::/16", "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:ffff::", "2003::"),
    ("2001::/32", "2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "2000:ffff::", "2001:1::"),
    ("2001:2::/48", "2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", "2001:1:ffff::", "2001:2:1::"),
    ("2001:10::/28", "2001:10::", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff", "2001:f:ffff::", ""),
    ("2001:20::/28", "2001:20::", "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff", "", "2001:30::"),
    ("2001:db8::/32", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db7:ffff::", "2001:db9::"),
    ("3fff::/20", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3ffe:ffff::", "3fff:1000::"),
    ("100::/64", "100::", "100::ffff:ffff:ffff:ffff", "ff:ffff::", "100:0:0:1::"),
    ("5f00::/16", "5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "5eff:ffff::", "5f01::"),
    ("fe80::/10", "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe7f:ffff::", ""),
    ("fec0::/10", "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", ""),
    ("ff00::/8", "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", ""),
];

fn judge(guard: &Guard, ip: &str) -> Result<(), Denied> {
    let ip: IpAddr = ip.parse().expect(ip);
    guard.judge(SocketAddr::new(ip, 443))
}

fn mapped(ip: &str) -> Option<String> {
    let ip: std::net::Ipv4Addr = ip.parse().ok()?;
    Some(ip.to_ipv6_mapped().to_string())
}

#[test]
fn both_edges_of_each_network_are_closed_and_the_neighbours_open() {
    let guard = Guard::new(Vec::new());
    for (net, first, last, before, after) in OPENABLE.iter().chain(NEVER) {
        for inside in [first, last] {
            let denied = judge(&guard, inside).expect_err(inside);
            assert!(denied.to_string().contains(net), "{net}: {denied}");
            assert_eq!(denied.code(), "address_denied");
            if let Some(inside) = mapped(inside) {
                assert_eq!(judge(&guard, &inside).expect_err(&inside), denied);
            }
        }
        for outside in [before, after].into_iter().filter(|outside| !outside.is_empty()) {
            judge(&guard, outside).unwrap_or_else(|denied| panic!("{net}: {outside}: {denied}"));
            if let Some(outside) = mapped(outside) {
                judge(&guard, &outside).unwrap_or_else(|denied| panic!("{net}: {outside}: {denied}"));
            }
        }
    }
}

#[test]
fn openable_networks_say_how_to_allow_them() {
    for (net, first, last, ..) in OPENABLE {
        let closed = Guard::new(Vec::new());
        let open = Guard::new(nets(&[net]));
        for inside in [first, last] {
            assert!(judge(&closed, inside).expect_err(inside).to_string().contains("--allow-net"), "{net}");
            assert_eq!(judge(&open, inside), Ok(()), "{net}");
        }
    }
    let guard = Guard::new(nets(&["10.1.0.0/16"]));
    assert_eq!(judge(&guard, "10.1.255.255"), Ok(()));
    assert_eq!(judge(&guard, "::ffff:10.1.0.1"), Ok(()));
    for neighbour in ["10.0.255.255", "10.2.0.1"] {
        assert!(judge(&guard, neighbour).is_err());
    }
    let guard = Guard::new(nets(&["::ffff:10.0.0.0/104"]));
    assert_eq!(judge(&guard, "10.2.3.4"), Ok(()));
    assert!(judge(&guard, "192.168.0.1").is_err());
}

#[test]
fn the_other_networks_cannot_be_allowed() {
    let guard = Guard::new(nets(&["0.0.0.0/0", "::/0"]));
    for (net, first, last, ..) in NEVER {
        let exact = Guard::new(nets(&[net]));
        for inside in [first, last] {
            for guard in [&guard, &exact] {
                let words = judge(guard, inside).expect_err(inside).to_string();
                assert!(
                    words.ends_with("deliveries there are never allowed") && !words.contains("--allow-net"),
                    "{words}"
                );
            }
        }
    }
}

#[test]
fn the_hosts_own_listener_is_rejected_in_an_allowed_network() {
    let at = |own: &str| {
        let guard = Guard::new(nets(&["0.0.0.0/0", "::/0"]));
        guard.set_own(own.parse().expect(own));
        guard
    };
    for (own, address, is_rejected) in [
        ("127.0.0.1:8080", "127.0.0.1:8080", true),
        ("127.0.0.1:8080", "[::ffff:127.0.0.1]:8080", true),
        ("127.0.0.1:8080", "127.0.0.1:8081", false),
        ("127.0.0.1:8080", "127.0.0.2:8080", false),
        ("127.0.0.1:8080", "[::1]:8080", false),
        ("[::1]:8080", "[::1]:8080", true),
        ("[::ffff:10.1.2.3]:8080", "10.1.2.3:8080", true),
        ("0.0.0.0:8080", "127.0.0.1:8080", true),
        ("0.0.0.0:8080", "127.9.9.9:8080", true),
        ("0.0.0.0:8080", "[::1]:8080", false),
        ("0.0.0.0:8080", "127.0.0.1:9000", false),
        ("[::]:8080", "127.0.0.1:8080", true),
        ("[::]:8080", "[::ffff:127.0.0.1]:8080", true),
        ("[::]:8080", "[::1]:8080", true),
        ("0.0.0.0:443", "93.184.215.14:443", false),
    ] {
        let judged = at(own).judge(address.parse().expect(address));
        assert_eq!(judged.is_err(), is_rejected, "{own} {address} {judged:?}");
        if let Err(denied) = judged {
            assert_eq!(denied.code(), "own_address");
        }
    }
}

#[test]
fn a_denial_is_a_sentence() {
    let guard = Guard::new(Vec::new());
    assert_eq!(
        judge(&guard, "10.1.2.3").expect_err("private").to_string(),
        "10.1.2.3 is in 10.0.0.0/8, a private network; an operator can allow it with --allow-net 10.1.2.3/32"
    );
    assert_eq!(
        judge(&guard, "169.254.169.254").expect_err("metadata").of_name("meta.example").to_string(),
        "meta.example resolves to 169.254.169.254, which is in 169.254.0.0/16, link-local addresses, where clouds keep \
         their metadata; deliveries there are never allowed"
    );
}
