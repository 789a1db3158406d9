//! Real syslog collectors from Debian's packages, on loopback: the fields that they parse from our messages.
//!
//! `tests/collectors/install` unpacks them. The expected fields come from the host's preview of the message, parsed
//! with a third-party parser.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::certificate::Authority;
use crate::support::host::new_folder;
use crate::support::{Client, Host, eventually};

/// The fields of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Parts {
    priority: u32,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    time: i64,
    host: String,
    app: String,
    msgid: String,
    structured_data: BTreeMap<String, BTreeMap<String, String>>,
    message: String,
}

fn read(message: &str) -> Parts {
    let read = syslog_rfc5424::parse_message(message).unwrap_or_else(|error| panic!("{error}: {message}"));
    let priority = message.split(['<', '>']).nth(1).and_then(|priority| priority.parse().ok());
    Parts {
        priority: priority.expect("a priority"),
        time: read.timestamp.expect("a time") * 1000 + i64::from(read.timestamp_nanos.unwrap_or(0) / 1_000_000),
        host: read.hostname.expect("a host"),
        app: read.appname.expect("an app"),
        msgid: read.msgid.expect("a msgid"),
        structured_data: read.sd.iter().map(|(id, params)| (id.clone(), params.clone())).collect(),
        message: read.msg,
    }
}

/// Parses a line that a collector wrote, with its structured data as text.
fn written(line: &str) -> Parts {
    let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let text = |name: &str| line[name].as_str().unwrap_or_else(|| panic!("{name}: {line}")).to_owned();
    let time = text("time");
    let data = Some(text("sd")).filter(|data| !data.is_empty()).unwrap_or("-".to_owned());
    let rest = read(&format!("<1>1 {time} h a - m {data} x"));
    Parts {
        priority: text("pri").parse().expect("a priority"),
        time: rest.time,
        host: text("host"),
        app: text("app"),
        msgid: text("msgid"),
        structured_data: rest.structured_data,
        message: text("msg"),
    }
}

impl Parts {
    /// True if this is the message of the event, whose id is in the structured data or in the record.
    fn is_of(&self, event: &str) -> bool {
        let mut data = self.structured_data.values().flat_map(BTreeMap::values);
        data.any(|value| value == event) || self.message.contains(event)
    }
}

/// The unpacked packages, shared by all tests.
fn software() -> &'static Path {
    static SOFTWARE: OnceLock<PathBuf> = OnceLock::new();
    SOFTWARE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("collectors");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/collectors/install");
        let installed = Command::new(script).arg(&folder).stdout(Stdio::null()).status().expect("the script runs");
        assert!(installed.success(), "the collectors could not be unpacked");
        folder
    })
}

/// A port that was free for both TCP and UDP a moment ago.
fn free_port() -> u16 {
    loop {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = tcp.local_addr().expect("an address");
        if std::net::UdpSocket::bind(address).is_ok() {
            return address.port();
        }
    }
}

/// A collector's process, and the file that it writes one JSON object a line to.
struct Collector {
    process: Child,
    folder: TempDir,
    /// `clear`, `lines`, `tls`, `tls-lines`, `mtls`
    ports: BTreeMap<&'static str, u16>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Collector {
    fn url(&self, scheme: &str, port: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.ports[port])
    }

    async fn start(name: &str, authority: &Authority) -> Self {
        let software = software();
        let folder = new_folder();
        let ports: BTreeMap<_, _> =
            ["clear", "lines", "tls", "tls-lines", "mtls"].map(|port| (port, free_port())).into();
        let (certificate, key) = authority.issue_pem(&["127.0.0.1"]);
        for (file, text) in [("ca.pem", authority.pem()), ("cert.pem", certificate), ("key.pem", key)] {
            std::fs::write(folder.path().join(file), text).expect("a file");
        }
        let at = folder.path().display().to_string();
        let library = software.join("usr/lib/x86_64-linux-gnu");
        let mut command;
        if name == "rsyslog" {
            std::fs::write(folder.path().join("conf"), rsyslog(&at, &ports)).expect("a file");
            command = Command::new(software.join("usr/sbin/rsyslogd"));
            command
                .args(["-n", "-f", &format!("{at}/conf"), "-i", &format!("{at}/pid"), "-M"])
                .arg(library.join("rsyslog"));
        } else {
            std::fs::write(folder.path().join("conf"), syslog_ng(&at, &ports)).expect("a file");
            command = Command::new(software.join("usr/sbin/syslog-ng"));
            let modules = format!("{}/usr/lib/syslog-ng/3.38", software.display());
            command.args(["-F", "--no-caps", "-f", &format!("{at}/conf"), "-p", &format!("{at}/pid")]);
            command.args([
                "-c",
                &format!("{at}/ctl"),
                "-R",
                &format!("{at}/persist"),
                &format!("--module-path={modules}"),
            ]);
            command.env("LD_LIBRARY_PATH", software.join("usr/lib/syslog-ng"));
        }
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a handle")).stderr(log);
        let collector = Self { process: command.spawn().expect("a process"), folder, ports };
        for port in collector.ports.values() {
            let address = format!("127.0.0.1:{port}");
            eventually(
                &format!("{name} on {address}; {}", collector.folder.path().join("log").display()),
                async || tokio::net::TcpStream::connect(&address).await.ok().map(drop),
            )
            .await;
        }
        collector
    }

    /// The messages that it has written so far.
    fn written(&self) -> Vec<Parts> {
        let text = std::fs::read_to_string(self.folder.path().join("out")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(written).collect()
    }

    fn forget(&self) {
        std::fs::write(self.folder.path().join("out"), "").expect("a file");
    }
}

fn rsyslog(at: &str, ports: &BTreeMap<&'static str, u16>) -> String {
    let tls = format!(
        r#"StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.CAFile="{at}/ca.pem" StreamDriver.CertFile="{at}/cert.pem" StreamDriver.KeyFile="{at}/key.pem""#
    );
    format!(
        r#"global(workDirectory="{at}" parser.escapeControlCharacterTab="off" maxMessageSize="8k" defaultNetstreamDriverCAFile="{at}/ca.pem" defaultNetstreamDriverCertFile="{at}/cert.pem" defaultNetstreamDriverKeyFile="{at}/key.pem")
module(load="imudp")
module(load="imtcp")
input(type="imudp" address="127.0.0.1" port="{clear}")
input(type="imtcp" address="127.0.0.1" port="{clear}")
input(type="imtcp" address="127.0.0.1" port="{lines}")
input(type="imtcp" address="127.0.0.1" port="{tls_port}" {tls} StreamDriver.AuthMode="anon")
input(type="imtcp" address="127.0.0.1" port="{tls_lines}" {tls} StreamDriver.AuthMode="anon")
input(type="imtcp" address="127.0.0.1" port="{mtls}" {tls} StreamDriver.AuthMode="x509/certvalid")
template(name="out" type="list" option.jsonf="on") {{
  property(outname="pri" name="pri" format="jsonf")
  property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="app" name="app-name" format="jsonf")
  property(outname="msgid" name="msgid" format="jsonf")
  property(outname="sd" name="structured-data" format="jsonf")
  property(outname="msg" name="msg" format="jsonf")
}}
action(type="omfile" file="{at}/out" template="out")
"#,
        clear = ports["clear"],
        lines = ports["lines"],
        tls_port = ports["tls"],
        tls_lines = ports["tls-lines"],
        mtls = ports["mtls"],
    )
}

fn syslog_ng(at: &str, ports: &BTreeMap<&'static str, u16>) -> String {
    let tls = |source: &str, port: &str, verify: &str, more: &str| {
        let port = ports[port];
        format!(
            r#"{source}(ip("127.0.0.1") port({port}) {more} transport("tls") tls(key-file("{at}/key.pem") cert-file("{at}/cert.pem") ca-file("{at}/ca.pem") peer-verify({verify})))"#
        )
    };
    format!(
        r#"@version: 3.38
options {{ keep-hostname(yes); chain-hostnames(no); use-dns(no); stats-freq(0); }};
source s {{
  syslog(ip("127.0.0.1") port({clear}) transport("udp"));
  syslog(ip("127.0.0.1") port({clear}) transport("tcp"));
  network(ip("127.0.0.1") port({lines}) transport("tcp") flags(syslog-protocol));
  {tls_source};
  {lines_source};
  {mtls_source};
}};
destination d {{ file("{at}/out" template("$(format-json pri=\"$PRI\" time=\"$ISODATE\" host=\"$HOST\" app=\"$PROGRAM\" msgid=\"$MSGID\" sd=\"$SDATA\" msg=\"$MESSAGE\")\n") frac-digits(3)); }};
log {{ source(s); destination(d); }};
"#,
        clear = ports["clear"],
        lines = ports["lines"],
        tls_source = tls("syslog", "tls", "optional-untrusted", ""),
        lines_source = tls("network", "tls-lines", "optional-untrusted", "flags(syslog-protocol)"),
        mtls_source = tls("syslog", "mtls", "required-trusted", ""),
    )
}

/// The samples, and real events if a folder of them is beside the project, each with an id of its own.
fn posted() -> Vec<Value> {
    let samples = heraldry::samples::posted().into_iter().map(|sample| sample.json.to_owned());
    let real = ["scanner-findings.jsonl", "lifecycle.jsonl"].into_iter().flat_map(|file| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/events").join(file);
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect::<Vec<_>>()
    });
    let own = |text: String| {
        let mut event: Value = serde_json::from_str(&text).expect("JSON");
        event["id"] = uuid::Uuid::now_v7().to_string().into();
        event["occurred_at"] = "2026-11-17T10:12:45.120Z".into();
        event
    };
    samples.chain(real).map(own).collect()
}

/// The events, and the host's preview of the message for each.
async fn expected(admin: &Client, format: &str, options: &Value, transport: &str) -> Vec<(Value, Parts)> {
    let mut expected = Vec::new();
    for event in posted() {
        let body = json!({"event": event, "options": options, "transport": transport});
        let preview = admin.post(&format!("/formatters/{format}/preview"), &body).await.expect(200).json();
        expected.push((event, read(preview["body"].as_str().expect("text"))));
    }
    expected
}

async fn all_messages_arrive_unchanged(name: &str) {
    let authority = Authority::new();
    let collector = Collector::start(name, &authority).await;
    let files = new_folder();
    let (certificate, key) = authority.issue_pem(&["heraldry.example"]);
    let paths = ["ca.pem", "cert.pem", "key.pem"].map(|file| files.path().join(file));
    for (path, text) in paths.iter().zip([authority.pem(), certificate, key]) {
        std::fs::write(path, text).expect("a file");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    }
    let ca = format!("corp={}", paths[0].display());
    let client = format!("siem={}:{}", paths[1].display(), paths[2].display());
    let host = Host::with(|options| {
        options.args(["--tls-ca", &ca, "--tls-client-cert", &client, "--host-name", "heraldry.example"])
    })
    .await;
    let admin = host.admin();
    let (tcp, lines) = (collector.url("syslog+tcp", "clear"), collector.url("syslog+tcp", "lines") + "?framing=lf");
    let none = || json!({});
    for (format, options, url, tls, how) in [
        ("syslog", none(), collector.url("syslog+udp", "clear"), json!(null), "syslog+udp"),
        ("syslog", none(), tcp.clone(), json!(null), "syslog+tcp"),
        ("syslog", none(), lines.clone(), json!(null), "syslog+tcp"),
        ("syslog", none(), collector.url("syslog+tls", "tls"), json!({"ca": "corp"}), "syslog+tls"),
        (
            "syslog",
            json!({"facility": "audit", "app_name": "redteam"}),
            collector.url("syslog+tls", "mtls"),
            json!({"ca": "corp", "client_cert": "siem"}),
            "syslog+tls",
        ),
        (
            "syslog",
            none(),
            collector.url("syslog+tls", "tls-lines") + "?framing=lf",
            json!({"ca": "corp"}),
            "syslog+tls",
        ),
        ("cef", none(), tcp.clone(), json!(null), "syslog+tcp"),
        ("cef", none(), lines, json!(null), "syslog+tcp"),
        ("leef", json!({"syslog_header": "rfc5424"}), tcp, json!(null), "syslog+tcp"),
    ] {
        collector.forget();
        let fields = json!({"format": format, "format_options": options, "event_types": ["*"], "tls": tls});
        let webhook = admin.webhook(&url, fields).await;
        let expected = expected(&admin, format, &options, how).await;
        for (event, _) in &expected {
            admin.event(event).await;
        }
        for (event, parts) in &expected {
            let id = event["id"].as_str().expect("an id");
            let delivery = admin.settled(id).await;
            assert!(
                delivery.iter().any(|one| one["status"] == "delivered"),
                "{url}: {delivery:?}: {:?}",
                admin.history(&webhook).await.first()
            );
            let found = eventually(&format!("{name} to write {id} of {format} over {url}"), async || {
                collector.written().into_iter().find(|parts| parts.is_of(id))
            })
            .await;
            assert_eq!(&found, parts, "{name}, {format}, {url}");
        }
        admin.delete(&format!("/webhooks/{webhook}")).await.expect(204);
    }
    // A client without a certificate of the authority is rejected.
    let fields = json!({"format": "syslog", "event_types": ["*"], "tls": {"ca": "corp"}, "retry_count": 0});
    let uncertified = admin.webhook(&collector.url("syslog+tls", "mtls"), fields).await;
    let attempt = admin.post(&format!("/webhooks/{uncertified}/test"), &json!({})).await.expect(200).json();
    assert_eq!(attempt["success"], false, "{attempt}");
    assert!(
        attempt["error"].as_str().is_some_and(|error| error.starts_with("tls: ") || error.starts_with("connect: ")),
        "{attempt}"
    );
    tokio::time::timeout(Duration::from_secs(5), host_ends(host)).await.expect("the host ends");
}

async fn host_ends(mut host: Host) {
    host.terminate().await;
}

#[tokio::test]
#[ignore = "unpacks rsyslog from Debian's packages"]
async fn rsyslog_reads_every_field_of_every_sample() {
    all_messages_arrive_unchanged("rsyslog").await;
}

#[tokio::test]
#[ignore = "unpacks syslog-ng from Debian's packages"]
async fn syslog_ng_reads_every_field_of_every_sample() {
    all_messages_arrive_unchanged("syslog-ng").await;
}
