//! The configuration of `serve`, and the master key.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::certificate::Authority;
use crate::support::host::{self, Options};
use crate::support::{Destination, Host, events};

/// Asserts that a request of `most` events is accepted, and one of more is rejected.
async fn accepts_events(host: &Host, most: usize) {
    let many = |count: usize| (0..count).map(|_| events::minimal("phase_changed")).collect::<Value>();
    host.admin().post("/events", &many(most)).await.expect(202);
    host.admin().post("/events", &many(most + 1)).await.problem(413, "too_many_events");
}

/// True if a webhook to this address can be saved.
async fn reaches(host: &Host, address: &str) -> bool {
    let webhook = json!({"name": "n", "url": format!("http://{address}/")});
    host.admin().post("/webhooks", &webhook).await.status() == 201
}

#[tokio::test]
async fn a_flag_wins_over_the_environment_that_over_the_file_and_that_over_the_default() {
    let folder = Arc::new(host::new_folder());
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    write("heraldry.toml", "max-events = 2\nallow-net = [\"10.0.0.0/8\", \"192.168.7.0/24\"]\n");
    write("other.toml", "max-events = 5\n");
    let started = async |choose: &dyn Fn(Options) -> Options| {
        let token = "a-token-of-this-test";
        Host::with(|options| choose(options.folder(&folder).allow_net(&[]).env("HERALDRY_ADMIN_TOKEN", token))).await
    };
    // The file with the default name is read if it exists.
    let mut host = started(&|options| options).await;
    accepts_events(&host, 2).await;
    assert!(reaches(&host, "10.0.0.1").await && reaches(&host, "192.168.7.9").await);
    assert!(!reaches(&host, "127.0.0.1").await && !reaches(&host, "192.168.8.9").await);
    assert!(host.terminate().await.success());

    // Environment variable; networks are separated by commas.
    let variables = |options: Options| {
        options.env("HERALDRY_MAX_EVENTS", "3").env("HERALDRY_ALLOW_NET", "127.0.0.0/8,172.16.0.0/12")
    };
    let mut host = started(&variables).await;
    accepts_events(&host, 3).await;
    assert!(
        reaches(&host, "127.0.0.1").await && reaches(&host, "172.16.0.1").await && !reaches(&host, "10.0.0.1").await
    );
    assert!(host.terminate().await.success());

    // Flag; repeated for each network.
    let flags = |options: Options| {
        let options = variables(options).args(["--allow-net", "10.0.0.0/8", "--allow-net", "fd00::/8"]);
        options.args(["--max-events", "4"])
    };
    let mut host = started(&flags).await;
    accepts_events(&host, 4).await;
    assert!(
        reaches(&host, "10.0.0.1").await && reaches(&host, "[fd00::1]").await && !reaches(&host, "127.0.0.1").await
    );
    assert!(host.terminate().await.success());

    // Another file, instead of the default one.
    let host = started(&|options| options.args(["--config", "other.toml"])).await;
    accepts_events(&host, 5).await;
    assert!(!reaches(&host, "10.0.0.1").await);
}

#[tokio::test]
async fn an_invalid_configuration_is_rejected_with_every_reason() {
    type Choose = fn(Options) -> Options;
    let rows: [(Choose, &[&str]); 5] = [
        (|options| options.args(["--config", "missing.toml"]), &["missing.toml"]),
        (|options| options.args(["--max-events", "0"]), &["max-events"]),
        (|options| options.env("HERALDRY_RETENTION", "30"), &["retention", "no unit"]),
        (|options| options.allow_net(&["10.1.2.3/8"]), &["allow-net", "10.0.0.0/8"]),
        (
            |options| options.args(["--retry-base", "0s"]).env("HERALDRY_LISTEN", "x").env("HERALDRY_MASTER_KEY", "x"),
            &["retry-base", "HERALDRY_MASTER_KEY"],
        ),
    ];
    for (choose, words) in rows {
        let (code, log) = Host::refused(choose).await;
        assert_eq!(code, Some(64), "{log}");
        assert!(words.iter().all(|word| log.contains(word)), "{words:?}: {log}");
    }
}

/// An unusable file in the configuration: the host names it and creates nothing.
#[tokio::test]
async fn an_unusable_tls_file_is_named() {
    let files = host::new_folder();
    let file = |name: &str, text: &str, mode: u32| {
        let path = files.path().join(name);
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("permissions");
        path.display().to_string()
    };
    let (certificate, key) = Authority::new().issue_pem(&["heraldry.example"]);
    let certificate = file("cert.pem", &certificate, 0o600);
    let (open, empty) = (file("open.key", &key, 0o644), file("empty.pem", "nothing", 0o600));
    let missing = files.path().join("missing.pem").display().to_string();
    for (flag, value, named) in [
        ("--tls-ca", format!("corp={missing}"), "missing.pem"),
        ("--tls-ca", format!("corp={empty}"), "empty.pem"),
        ("--tls-client-cert", format!("siem={certificate}:{open}"), "open.key"),
        ("--tls-client-cert", format!("siem={certificate}:{empty}"), "empty.pem"),
    ] {
        let folder = Arc::new(host::new_folder());
        let (code, log) = Host::refused(|options| options.args([flag, &value]).folder(&folder)).await;
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains(named) && !log.contains("panicked"), "{value}: {log}");
        assert!(!folder.path().join("data").exists(), "{value}: a store was created");
    }
}

#[tokio::test]
async fn a_store_opens_with_its_own_master_key_only() {
    let keys = [[1; 32], [2; 32]].map(|bytes| STANDARD.encode(bytes));
    // A key generated by the host.
    let destination = Destination::start().await;
    let host = Host::with(Options::cold).await;
    host.admin().webhook(&destination.url("/"), json!({"secret": "a secret"})).await;
    let file = host.data().join("master.key");
    let mode = std::fs::metadata(&file).expect("a key file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "others can read the key");
    let mut host = host.restart().await;
    host.admin().event(&events::minimal("phase_changed")).await;
    destination.wait_for(1).await;
    assert!(host.terminate().await.success());
    let folder = Arc::clone(host.folder());
    let rejected = async |key: Option<&str>| does_not_start(&folder, key).await;
    let key_bytes = std::fs::read(&file).expect("a key");
    rejected(Some(&keys[0])).await;
    std::fs::remove_file(&file).expect("removed");
    rejected(None).await;
    assert!(!file.exists(), "a lost key must not be replaced by a new one");
    std::fs::write(&file, &key_bytes).expect("written");
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("permissions");
    rejected(None).await;
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("permissions");
    let host = host.start_again().await;
    assert_eq!(host.admin().get("/webhooks").await.expect(200).list().len(), 1);
    drop(host);

    // A key from the environment; it is in no file.
    let mut host = Host::with(|options| options.env("HERALDRY_MASTER_KEY", &keys[0])).await;
    host.admin().webhook(&destination.url("/"), json!({"secret": "a secret"})).await;
    assert!(!host.data().join("master.key").exists());
    assert!(host.terminate().await.success());
    let folder = Arc::clone(host.folder());
    does_not_start(&folder, None).await;
    does_not_start(&folder, Some(&keys[1])).await;
    let host = host.start_again().await;
    assert_eq!(host.admin().get("/webhooks").await.expect(200).list().len(), 1);
}

/// Asserts that a host does not start in this folder with this key in the environment, and names the cause.
async fn does_not_start(folder: &Arc<TempDir>, key: Option<&str>) {
    let (code, log) = Host::refused(|options| match key {
        Some(key) => options.folder(folder).env("HERALDRY_MASTER_KEY", key),
        None => options.folder(folder),
    })
    .await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("master key") || log.contains("master.key"), "{log}");
    assert!(key.is_none_or(|key| !log.contains(key)), "the message shows the key: {log}");
}
