//! The SSRF guard: no webhook is saved with, and no delivery is sent to, an address outside the policy.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, Client, Destination, Host, events, isolated};

/// The code of a rejected address.
const DENIED: &str = "denied_address";
const QUIET: Duration = Duration::from_millis(500);

/// First and last address of each network that is closed unless `--allow-net` opens it.
const OPENABLE: &[(&str, &str)] = &[
    ("10.0.0.0", "10.255.255.255"),
    ("100.64.0.0", "100.127.255.255"),
    ("127.0.0.0", "127.255.255.255"),
    ("172.16.0.0", "172.31.255.255"),
    ("192.168.0.0", "192.168.255.255"),
    ("::1", "::1"),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("::ffff:10.0.0.0", "::ffff:10.255.255.255"),
    ("::ffff:127.0.0.0", "::ffff:127.255.255.255"),
];

/// First and last address of each network that cannot be opened.
const NEVER: &[(&str, &str)] = &[
    ("0.0.0.0", "0.255.255.255"),
    ("169.254.0.0", "169.254.255.255"),
    ("192.0.0.0", "192.0.0.255"),
    ("192.0.2.0", "192.0.2.255"),
    ("192.88.99.0", "192.88.99.255"),
    ("198.18.0.0", "198.19.255.255"),
    ("198.51.100.0", "198.51.100.255"),
    ("203.0.113.0", "203.0.113.255"),
    ("224.0.0.0", "239.255.255.255"),
    ("240.0.0.0", "255.255.255.255"),
    ("::", "::"),
    ("::2", "::ffff:ffff"),
    ("64:ff9b::", "64:ff9b::ffff:ffff"),
    ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
    ("100::", "100::ffff:ffff:ffff:ffff"),
    ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff"),
    ("2001:10::", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001:20::", "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("::ffff:169.254.169.254", "::ffff:169.254.169.254"),
    ("::ffff:0.0.0.0", "::ffff:0.0.0.0"),
];

/// The neighbouring addresses of all those networks, which are open.
const OPEN: &[&str] = &[
    "1.0.0.0",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.1.255",
    "192.0.3.0",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "198.51.101.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "::1:0:0",
    "64:ff9b::1:0:0",
    "64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff",
    "64:ff9b:2::",
    "ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "100:0:0:1::",
    "2000::",
    "2001:1::",
    "2001:2:1::",
    "2001:f:ffff::",
    "2001:30::",
    "2001:db7:ffff::",
    "2001:db9::",
    "2003::",
    "3ffe:ffff::",
    "3fff:1000::",
    "5eff:ffff::",
    "5f01::",
    "fbff:ffff::",
    "fe00::",
    "::ffff:8.8.8.8",
];

/// Spellings that the URL standard parses as 127.0.0.1.
const SPELLINGS: &[&str] = &[
    "127.0.0.1",
    "2130706433",
    "0x7f000001",
    "0X7F.0x0.0x0.0x1",
    "0177.0.0.1",
    "017700000001",
    "127.1",
    "127.0.1",
    "127.0.0.1.",
    "\u{ff11}\u{ff12}\u{ff17}.\u{ff10}.\u{ff10}.\u{ff11}",
    "127\u{3002}0\u{3002}0\u{3002}1",
    "%31%32%37.0.0.1",
    "\u{2460}\u{2461}\u{2466}.0.0.1",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:0001]",
    "[::127.0.0.1]",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
];

fn url(ip: &str) -> String {
    if ip.contains(':') { format!("http://[{ip}]:81/") } else { format!("http://{ip}:81/") }
}

async fn create(admin: &Client, url: &str) -> Answer {
    admin.post("/webhooks", &json!({"name": "n", "url": url})).await
}

/// Creates a webhook with this URL, and updates an existing one to it: both must be rejected alike.
async fn assert_denied(admin: &Client, existing: &str, url: &str) {
    create(admin, url).await.fault("/url", DENIED);
    admin.put(&format!("/webhooks/{existing}"), &json!({"url": url})).await.fault("/url", DENIED);
}

#[tokio::test]
async fn an_address_outside_policy_is_not_saved_however_it_is_spelled() {
    let host = Host::with(|options| options.allow_net(&[])).await;
    let admin = host.admin();
    let existing = admin.webhook("https://1.1.1.1/", json!({})).await;
    for (first, last) in OPENABLE.iter().chain(NEVER) {
        assert_denied(&admin, &existing, &url(first)).await;
        assert_denied(&admin, &existing, &url(last)).await;
    }
    for spelling in SPELLINGS {
        assert_denied(&admin, &existing, &format!("http://{spelling}:81/x")).await;
        assert_denied(&admin, &existing, &format!("https://{spelling}/")).await;
    }
    for open in OPEN {
        create(&admin, &url(open)).await.expect(201);
    }
    // A name that does not resolve is accepted, and checked at each attempt.
    let unknown = create(&admin, "http://nowhere.invalid./").await.expect(201).json();
    let id = unknown["id"].as_str().expect("an id");
    let test = admin.post(&format!("/webhooks/{id}/test"), &json!({})).await.expect(200).json();
    assert!(test["error"].as_str().expect("an error").starts_with("dns: "), "{test}");
    let unchanged = admin.get(&format!("/webhooks/{existing}")).await.expect(200).json();
    assert_eq!(unchanged["url"], "https://1.1.1.1/");
}

#[tokio::test]
async fn some_networks_are_never_opened() {
    let host = Host::with(|options| options.allow_net(&["0.0.0.0/0", "::/0"])).await;
    let admin = host.admin();
    let existing = admin.webhook("https://1.1.1.1/", json!({})).await;
    for (first, last) in NEVER {
        assert_denied(&admin, &existing, &url(first)).await;
        assert_denied(&admin, &existing, &url(last)).await;
    }
    for (first, last) in OPENABLE {
        create(&admin, &url(first)).await.expect(201);
        create(&admin, &url(last)).await.expect(201);
    }
    // The host's own address, in any spelling and by name; another port of the machine is allowed.
    let port: u16 = host.origin().rsplit(':').next().expect("a port").parse().expect("a number");
    for own in ["127.0.0.1", "0x7f.1", "[::ffff:127.0.0.1]", "localhost"] {
        let code = create(&admin, &format!("http://{own}:{port}/api/v1/events")).await;
        let code = code.problem(422, "invalid_fields").json()["errors"][0]["code"].clone();
        assert!(code == DENIED || code == "own_address", "{own}: {code}");
    }
    create(&admin, &format!("http://127.0.0.1:{}/", if port == 1 { 2 } else { port - 1 })).await.expect(201);
}

#[tokio::test]
async fn an_invalid_destination_is_not_saved() {
    let host = Host::start().await;
    let admin = host.admin();
    for bad in [
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "ftp://1.1.1.1/",
        "unix:///run/x.sock",
        "data:text/plain,x",
        "javascript:alert(1)",
        "//1.1.1.1/",
        "1.1.1.1",
        "",
        "http://",
        "http://user@1.1.1.1/",
        "http://user:word@1.1.1.1/",
        "http://1.1.1.1:0/",
        "http://1.1.1.1:65536/",
        "http://1.1.1.1/#@127.0.0.1/",
        "http://1.1.1.1\\@127.0.0.1/",
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://256.256.256.256/",
    ] {
        let response = create(&admin, bad).await;
        let errors = response.problem(422, "invalid_fields").json()["errors"].clone();
        assert_eq!(errors.as_array().map(Vec::len), Some(1), "{bad}: {errors}");
        assert_eq!(errors[0]["pointer"], "/url", "{bad}");
    }
    // Shown as the URL standard serialises it (Punycode), against homographs.
    let shown = create(&admin, "HTTP://0x7F.1:80/a b").await.expect(201).json();
    assert_eq!(shown["url"], "http://127.0.0.1/a%20b");
    let response = create(&admin, "https://\u{430}pple.invalid./").await.expect(201).json();
    assert_eq!(response["url"], "https://xn--pple-43d.invalid./");
}

/// The webhook was saved while its network was open; the address is checked again at each attempt.
#[tokio::test]
async fn a_network_that_was_closed_later_gets_no_more_deliveries() {
    let host = Host::with(|options| options.retry_every("50ms")).await;
    let destination = Destination::start().await;
    let by_address = host.admin().webhook(&destination.url("/address"), json!({})).await;
    let by_name = host.admin().webhook(&destination.url_by_name("/name"), json!({})).await;
    let event = host.admin().event(&events::minimal("phase_changed")).await;
    host.admin().settled(&event).await;
    let connections = destination.connections();
    assert_eq!(destination.received().len(), 2);

    let mut host = host;
    assert!(host.terminate().await.success());
    let host = host.start_again_with(|options| options.allow_net(&[])).await;
    let admin = host.admin();
    let event = admin.event(&events::minimal("phase_changed")).await;
    for delivery in admin.settled(&event).await {
        assert_eq!((&delivery["status"], &delivery["attempts"]), (&json!("failed"), &json!(1)));
    }
    for webhook in [&by_address, &by_name] {
        let rejected = admin.history(webhook).await.remove(0);
        assert_policy(&rejected);
        let test = admin.post(&format!("/webhooks/{webhook}/test"), &json!({})).await.expect(200).json();
        assert_policy(&test);
    }
    destination.stays_quiet(QUIET).await;
    assert_eq!(destination.connections(), connections, "a connection was made");
}

#[track_caller]
fn assert_policy(attempt: &Value) {
    let error = attempt["error"].as_str().expect("an error");
    assert!(error.starts_with("policy: ") && error.split(' ').count() > 5, "{error}");
    assert_eq!((&attempt["success"], &attempt["status_code"]), (&json!(false), &Value::Null));
    assert_eq!(attempt["next_attempt_at"], Value::Null, "a retry would have the same result");
}

const INSIDE_NAME: &str = "ssrf::in_a_network_of_its_own_no_closed_address_is_contacted";
/// A public address, which is on this machine inside the namespace.
const PUBLIC: &str = "8.8.8.8";
/// Addresses of closed networks, all of them on this machine inside the namespace; these can be opened.
const OPENABLE_HERE: &[&str] = &["10.1.0.1", "10.2.0.1", "172.16.0.1", "192.168.7.7", "100.64.0.1", "fd00::1"];
const NEVER_HERE: &[&str] = &[
    "169.254.169.254",
    "0.1.2.3",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "240.0.0.1",
    "::2",
    "64:ff9b::a01:1",
    "64:ff9b:1::1",
    "100::1",
    "2001:0:1::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:a01:1::1",
    "3fff::1",
    "5f00::1",
    "fec0::1",
];

/// A network namespace in which every closed network has a listener that would respond: a broken guard is detected, and
/// cannot reach another machine. The names change their addresses later, as in DNS rebinding.
#[tokio::test]
#[ignore = "needs root: makes a network namespace"]
async fn in_a_network_of_its_own_no_closed_address_is_contacted() {
    if let Some(folder) = isolated::inside() {
        return inside(&folder.join("hosts")).await;
    }
    let addresses = OPENABLE_HERE.iter().chain(NEVER_HERE).chain([&PUBLIC]);
    let addresses: String = addresses.map(|ip| format!("ip address add {ip} dev lo\n")).collect();
    // No name server runs at that address: names of the hosts file need none.
    let script = format!(
        "ip link set lo up\n{addresses}cd \"$HERALDRY_TEST_INSIDE\"\necho 127.0.0.1 localhost > hosts\n\
         echo nameserver 127.0.0.1 > resolv.conf\nmount --bind hosts /etc/hosts\n\
         mount --bind resolv.conf /etc/resolv.conf"
    );
    isolated::again(INSIDE_NAME, &["--net", "--mount"], &script).await;
}

struct Row {
    ip: IpAddr,
    name: String,
    listener: Destination,
    /// Webhooks to it: by name, and by address where one can be saved.
    webhooks: Vec<String>,
}

/// Posts an event for all rows; returns the newest attempt of each row's webhooks.
async fn round(admin: &Client, rows: &[Row], mixed: &str) -> (Vec<Vec<Value>>, Value) {
    let event = admin.event(&events::minimal("phase_changed")).await;
    admin.settled(&event).await;
    let newest = async |webhook: &str| {
        let attempt = admin.history(webhook).await.remove(0);
        assert_eq!(attempt["event_id"], json!(event));
        attempt
    };
    let mut all = Vec::new();
    for row in rows {
        let mut attempts = Vec::new();
        for webhook in &row.webhooks {
            attempts.push(newest(webhook).await);
        }
        all.push(attempts);
    }
    (all, newest(mixed).await)
}

fn write_hosts<'a>(file: &Path, names: impl Iterator<Item = (IpAddr, &'a str)>) {
    let lines: String = names.map(|(ip, name)| format!("{ip} {name}\n")).collect();
    std::fs::write(file, format!("127.0.0.1 localhost\n{lines}")).expect("the hosts file");
}

async fn inside(hosts: &Path) {
    let public = Destination::at(&format!("{PUBLIC}:0")).await;
    let port = public.address().port();
    let mut rows = Vec::new();
    for (number, ip) in OPENABLE_HERE.iter().chain(NEVER_HERE).enumerate() {
        let ip: IpAddr = ip.parse().expect("an address");
        let listener = Destination::at(&SocketAddr::new(ip, port).to_string()).await;
        // The listener would respond: only the guard prevents it.
        tokio::net::TcpStream::connect((ip, port)).await.expect("a connection");
        listener.wait_until("the connection", |_| listener.connections() == 1).await;
        rows.push(Row { ip, name: format!("row-{number}.test"), listener, webhooks: Vec::new() });
    }
    // Every name has a public address and every network is open: everything is saved, and sent where allowed.
    let public_ip: IpAddr = PUBLIC.parse().expect("an address");
    write_hosts(hosts, rows.iter().map(|row| (public_ip, row.name.as_str())).chain([(public_ip, "mixed.test")]));
    let all = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "127.0.0.0/8"];
    let host = Host::with(|options| options.allow_net(&all)).await;
    let admin = host.admin();
    let mut webhooks = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let mut ids = vec![admin.webhook(&format!("http://{}:{port}/{number}", row.name), json!({})).await];
        if number < OPENABLE_HERE.len() {
            ids.push(admin.webhook(&row.listener.url("/"), json!({})).await);
        } else {
            create(&admin, &row.listener.url("/")).await.fault("/url", DENIED);
        }
        webhooks.push(ids);
    }
    for (row, webhooks) in rows.iter_mut().zip(webhooks) {
        row.webhooks = webhooks;
    }
    let mixed = admin.webhook(&format!("http://mixed.test:{port}/mixed"), json!({})).await;
    let (attempts, _) = round(&admin, &rows, &mixed).await;
    for attempt in attempts.iter().flatten() {
        assert_eq!(attempt["success"], true, "{attempt}");
    }
    assert_eq!(public.received().len(), rows.len() + 1);

    // DNS rebinding: the names move to closed addresses and no network is open. No connection is made.
    let moved = rows.iter().map(|row| (row.ip, row.name.as_str()));
    write_hosts(hosts, moved.chain([(public_ip, "mixed.test"), (rows[0].ip, "mixed.test")]));
    let connections = |rows: &[Row]| rows.iter().map(|row| row.listener.connections()).collect::<Vec<_>>();
    let before = (connections(&rows), public.connections());
    let mut host = host;
    assert!(host.terminate().await.success());
    let mut host = host.start_again_with(|options| options.allow_net(&[])).await;
    let admin = host.admin();
    let (attempts, of_mixed) = round(&admin, &rows, &mixed).await;
    attempts.iter().flatten().chain([&of_mixed]).for_each(assert_policy);
    for row in &rows {
        create(&admin, &format!("http://{}:{port}/", row.name)).await.fault("/url", DENIED);
        create(&admin, &row.listener.url("/")).await.fault("/url", DENIED);
    }
    create(&admin, &format!("http://mixed.test:{port}/")).await.fault("/url", DENIED);
    tokio::time::sleep(QUIET).await;
    assert_eq!((connections(&rows), public.connections()), before, "a closed address was contacted");

    // One network is opened: only that one is contacted.
    assert!(host.terminate().await.success());
    let host = host.start_again_with(|options| options.allow_net(&["10.1.0.0/16"])).await;
    let (attempts, of_mixed) = round(&host.admin(), &rows, &mixed).await;
    let (opened, closed) = attempts.split_at(1);
    assert!(opened.iter().flatten().chain([&of_mixed]).all(|attempt| attempt["success"] == true), "{opened:?}");
    closed.iter().flatten().for_each(assert_policy);
    let after = connections(&rows);
    assert!(after[0] > before.0[0], "the opened network was not contacted");
    assert_eq!(after[1..], before.0[1..], "a closed network was contacted");
}
