//! Exports that were changed on their way: each is rejected before anything is written.

use std::io::Cursor;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::*;
use crate::model::webhook::Order;
use crate::store::{ImportError, Imported, UnsignedImport, import};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn key() -> Option<Secret> {
    Some(Secret::new(KEY))
}

/// An export of a running host with something of many kinds, and a file.
async fn exported() -> Vec<u8> {
    let folder = TempDir::new().expect("a folder");
    let opened = open_folder(folder.path(), key(), START_MS, Store::open).expect("opened");
    opened.webhook().await;
    opened.store.create_token("a".into(), Role::Admin, Actor::Host).await.expect("a token");
    opened.post(event(None, 1)).await;
    opened.post(event(None, 2)).await;
    let file = folder.path().join("component");
    std::fs::write(&file, "a component").expect("written");
    let mut export = Vec::new();
    let files = [("components/a.wasm".to_owned(), file)];
    let written = opened.store.export(&files, Timestamp::from_unix_ms(START_MS), &mut |line| {
        export.extend(line);
        true
    });
    written.expect("exported");
    export
}

fn lines(export: &[u8]) -> Vec<Vec<u8>> {
    export.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// The stream with an end whose sums are those of the lines before it, as anybody can make it.
fn with_new_sums(mut lines: Vec<Vec<u8>>, hmac: Option<&str>) -> Vec<u8> {
    lines.pop();
    let body = lines.concat();
    let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(&body));
    let hmac = hmac.map(|hmac| format!(",\"hmac\":\"{hmac}\"")).unwrap_or_default();
    let end = format!("{{\"end\":true,\"lines\":{},\"sha256\":\"{sha256}\"{hmac}}}\n", lines.len());
    [body, end.into_bytes()].concat()
}

fn hmac_of(export: &[u8]) -> String {
    let text = String::from_utf8(lines(export).pop().expect("an end")).expect("text");
    text.split("\"hmac\":\"").nth(1).expect("a code")[..64].to_owned()
}

/// Imports into a folder that was not there; the folder is not there either after an error.
fn try_import(export: &[u8], key: Option<Secret>, unsigned: bool) -> Result<(TempDir, PathBuf, Imported), ImportError> {
    let place = folder_in_memory();
    let folder = place.path().join("data");
    let imported = import(&folder, key, Timestamp::from_unix_ms(START_MS), unsigned, &mut Cursor::new(export));
    match imported {
        Ok(imported) => Ok((place, folder, imported)),
        Err(error) => {
            assert!(!folder.exists(), "{error}: something was written");
            Err(error)
        }
    }
}

#[track_caller]
fn refused(export: &[u8], unsigned: bool, words: &str) {
    let error = try_import(export, key(), unsigned).err().unwrap_or_else(|| panic!("imported, not: {words}"));
    assert!(error.to_string().contains(words), "{error}, not: {words}");
}

#[tokio::test]
async fn an_export_under_the_same_key_is_imported_and_audited() {
    let export = exported().await;
    let (_place, folder, imported) = try_import(&export, key(), false).expect("imported");
    assert!(imported.signed && imported.files == 1 && imported.records > 10, "{imported:?}");
    let report = Maintenance::open(&folder, key()).expect("opened").check().expect("read");
    assert!(report.is_clean() && report.imported_unsigned.is_none(), "{report:?}");
    let opened = open_folder(&folder, key(), START_MS, Store::open).expect("opened");
    let (entries, _) = opened.store.audit_page(1, None).await.expect("read").expect("a page");
    assert_eq!((entries[0].action, &entries[0].actor), (Action::StoreImported, &Actor::CommandLine));
    let changes: Vec<_> = entries[0].changes.iter().map(|change| (change.field.as_str(), change.to.clone())).collect();
    let expected = [
        ("records", imported.records.into()),
        ("files", 1.into()),
        ("signed", true.into()),
        ("sha256", imported.sha256.clone().into()),
    ];
    assert_eq!(changes, expected);
    assert!(export.windows(64).any(|part| part == imported.sha256.as_bytes()));
}

#[tokio::test]
async fn a_changed_byte_anywhere_is_noticed() {
    let export = exported().await;
    let last = export.len() - lines(&export).pop().expect("an end").len();
    // Every byte of the last line, and some of all others.
    for at in (0..last).step_by(41).chain(last..export.len()) {
        for bit in [0x01, 0x20] {
            let mut changed = export.clone();
            changed[at] ^= bit;
            assert!(try_import(&changed, key(), false).is_err(), "bit {bit:#x} of byte {at}");
        }
        // Whitespace, which JSON ignores.
        let changed = [&export[..at], b" ", &export[at..]].concat();
        assert!(try_import(&changed, key(), false).is_err(), "a blank before byte {at}");
    }
    for end in ["\r\n", " \n", "\n\n", "\n ", "\n{}\n", ""] {
        let changed = [&export[..export.len() - 1], end.as_bytes()].concat();
        assert!(try_import(&changed, key(), false).is_err(), "{end:?} at the end");
    }
}

#[tokio::test]
async fn lines_that_are_cut_moved_repeated_or_added_are_noticed() {
    let export = exported().await;
    let lines = lines(&export);
    let many = lines.len();
    for length in (0..many).map(|left| lines[..left].concat().len()) {
        refused(&export[..length], false, if length == 0 { "not a line" } else { "cut short" });
    }
    for length in (1..export.len()).step_by(97) {
        assert!(try_import(&export[..length], key(), false).is_err(), "cut at {length}");
    }
    refused(&export[..export.len() - 1], false, "cut short");
    for at in 1..many - 2 {
        let mut swapped = lines.clone();
        swapped.swap(at, at + 1);
        refused(&swapped.concat(), false, "checksum");
        let mut twice = lines.clone();
        twice.insert(at, lines[at].clone());
        refused(&twice.concat(), false, "checksum");
        let mut without = lines.clone();
        without.remove(at);
        refused(&without.concat(), false, "checksum");
        // With sums made anew they are whole and not authentic.
        for changed in [swapped, twice, without] {
            refused(&with_new_sums(changed, Some(&hmac_of(&export))), false, "not authentic");
        }
    }
    refused(&[export.as_slice(), &export].concat(), false, "comes after the end");
    refused(&[export.as_slice(), &export].concat(), true, "comes after the end");
    refused(&[export.as_slice(), b"\n"].concat(), false, "comes after the end");
    let joined = [lines[..many - 1].concat(), lines.concat()].concat();
    refused(&joined, false, "is not a line");
}

#[tokio::test]
async fn a_token_that_somebody_adds_is_noticed() {
    let export = exported().await;
    let mut forged = lines(&export);
    let token = forged.iter().position(|line| line.starts_with(b"{\"k\":\"dA") || line.starts_with(b"{\"k\":\"dC"));
    let token = token.or_else(|| forged.iter().position(|line| line.starts_with(b"{\"k\":\"d")));
    let mut line = String::from_utf8(forged[token.expect("a token")].clone()).expect("text");
    // Another hash: the attacker's own token, with the rights of that one.
    line.replace_range(10..14, if &line[10..14] == "AAAA" { "BBBB" } else { "AAAA" });
    forged.insert(token.expect("a token"), line.into_bytes());
    for hmac in [Some(hmac_of(&export)), Some("0".repeat(64)), Some(String::new()), Some("x".repeat(64))] {
        refused(&with_new_sums(forged.clone(), hmac.as_deref()), false, "not authentic");
    }
    // A version 2 without a code, and the way back to version 1.
    refused(&with_new_sums(forged.clone(), None), false, "checksum");
    let head =
        String::from_utf8(forged[0].clone()).expect("text").replace("\"heraldry_export\":2", "\"heraldry_export\":1");
    forged[0] = head.into_bytes();
    refused(&with_new_sums(forged.clone(), None), false, "--unsigned");
    refused(&with_new_sums(forged.clone(), Some(&hmac_of(&export))), false, "checksum");
}

#[tokio::test]
async fn another_key_or_none_opens_no_export() {
    let export = exported().await;
    let other = || Some(Secret::new(OTHER_KEY));
    assert!(matches!(try_import(&export, other(), false), Err(ImportError::Forged)));
    assert!(matches!(try_import(&export, None, false), Err(ImportError::Open(OpenError::KeyMissing { .. }))));
    // The secrets in it stay sealed, whatever is accepted.
    assert!(matches!(try_import(&export, other(), true), Err(ImportError::Open(OpenError::KeyWrong))));
    assert!(matches!(try_import(&export, None, true), Err(ImportError::Open(OpenError::KeyMissing { .. }))));
}

#[tokio::test]
async fn an_unsigned_export_is_imported_on_demand_and_the_store_says_so_from_then_on() {
    let export = exported().await;
    let mut old = lines(&export);
    old[0] = String::from_utf8(old[0].clone()).expect("text").replace("_export\":2", "_export\":1").into_bytes();
    let old = with_new_sums(old, None);
    refused(&old, false, "--unsigned");
    // It must be whole all the same.
    refused(&old[..old.len() / 2], true, "cut short");
    refused(&[old.as_slice(), b"{}\n"].concat(), true, "comes after the end");
    let mut changed = old.clone();
    let at = changed.len() / 2;
    changed[at] ^= 1;
    assert!(try_import(&changed, key(), true).is_err());
    // One with a wrong code, too.
    let forged = with_new_sums(lines(&export), Some(&"0".repeat(64)));
    let (_place, _, imported) = try_import(&forged, key(), true).expect("imported");
    assert!(!imported.signed);
    // A good one is authenticated although nobody asked.
    assert!(try_import(&export, key(), true).expect("imported").2.signed);

    let (_place, folder, imported) = try_import(&old, key(), true).expect("imported");
    assert!(!imported.signed);
    let said = Some(UnsignedImport { at: Timestamp::from_unix_ms(START_MS), sha256: imported.sha256.clone() });
    let maintenance = Maintenance::open(&folder, key()).expect("opened");
    let report = maintenance.check().expect("read");
    assert_eq!((report.is_clean(), &report.imported_unsigned), (true, &said), "{report:?}");
    // Also after another way through an export, which is authentic then.
    let mut again = Vec::new();
    let written = maintenance.export(&[], Timestamp::from_unix_ms(START_MS), &mut |line| {
        again.extend(line);
        true
    });
    written.expect("exported");
    let (_second, folder, imported) = try_import(&again, key(), false).expect("imported");
    let report = Maintenance::open(&folder, key()).expect("opened").check().expect("read");
    assert_eq!((imported.signed, report.imported_unsigned), (true, said));
}

/// An export as version 2 was first written, and its master key is [`KEY`].
#[tokio::test]
async fn the_first_export_of_version_2_is_imported() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/export-2/export.ndjson.gz");
    let export = std::process::Command::new("gzip").arg("-dc").arg(file).output().expect("gzip runs").stdout;
    let (_place, folder, imported) = try_import(&export, key(), false).expect("imported");
    assert!(imported.signed);
    let opened = open_folder(&folder, key(), START_MS, Store::open).expect("opened");
    let id: EventId = "01020304-0506-7708-890a-0b0c0d0e0f10".parse().expect("an id");
    assert!(opened.store.event(id).await.expect("read").expect("kept").event.json.contains("a fixture"));
    let webhooks = opened.store.webhooks();
    let webhook = webhooks.newest_first().first().expect("a webhook").config.clone();
    assert_eq!((webhook.url.expose(), webhook.secret.expect("a secret").expose()), ("https://hooks.example/x", "s"));
    assert_eq!(std::fs::read(folder.join("components/a.wasm")).expect("a file"), b"a component");
}

/// A webhook gets another order after so many lines of an export: everything that waits for it waits once after its import.
async fn moved_meanwhile(from: Order, to: Order, after: usize) {
    let folder = folder_in_memory();
    let opened = open_folder(folder.path(), key(), START_MS, Store::open_inline).expect("opened");
    let webhook = opened.store.create_webhook(WebhookConfig { order: from, ..config() }, true, Actor::Host).await;
    let webhook = webhook.expect("created");
    let mut posted = Vec::new();
    // More than a page, each in an entry of its own.
    for _ in 0..600 {
        posted.push(opened.post(event(None, 1)).await.id);
    }
    let (mut export, mut lines) = (Vec::new(), 0);
    let written = opened.store.export(&[], Timestamp::from_unix_ms(START_MS), &mut |line| {
        export.extend(line);
        lines += 1;
        if lines == after {
            let config = WebhookConfig { order: to, ..webhook.config.clone() };
            let update = opened.store.update_webhook(webhook.id, webhook.revision, config, None, Actor::Host);
            assert!(at_once(update).is_ok());
            opened.store.load_due(webhook.id, webhook.activation, None, 10_000);
            (0..4).for_each(|_| opened.store.tick());
        }
        true
    });
    written.expect("exported");
    let (_place, folder, _) = try_import(&export, key(), false).expect("imported");
    let opened = open_folder(&folder, key(), START_MS, Store::open_inline).expect("opened");
    let known = Arc::clone(opened.store.webhooks().get(webhook.id).expect("imported"));
    opened.store.load_due(known.id, known.activation, None, 10_000);
    (0..4).for_each(|_| opened.store.tick());
    let mut queued: Vec<EventId> = opened.due().into_iter().map(|(_, item)| item.event).collect();
    assert_eq!(queued.len(), posted.len(), "{from:?} to {to:?} after {after} lines");
    if known.config.order == Order::Strict {
        assert_eq!(queued, posted);
    }
    queued.sort();
    posted.sort();
    assert_eq!(queued, posted, "{from:?} to {to:?} after {after} lines");
}

/// What a future gives that is ready at once.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("it is not ready"),
    }
}

#[tokio::test]
async fn a_queue_that_moves_while_it_is_exported_is_there_once() {
    for after in [1, 5, 50, 500, 540, 700] {
        moved_meanwhile(Order::Arrival, Order::Strict, after).await;
        moved_meanwhile(Order::Strict, Order::Arrival, after).await;
    }
}
