//! Export and import: the whole store as a stream of lines.
//!
//! The first line is the head. Then comes one line a record, key and value as they are on the disk (secrets stay sealed
//! under the master key, which is not exported), and one line a file of the host. The last line has the number of lines,
//! the SHA-256 of all lines before it, so that a truncated stream is not mistaken for a whole one, and their HMAC-SHA256
//! under a key derived from the master key, so that nobody without the key can add a token to an export. An import
//! verifies all of it before it writes anything. Version 1 had no HMAC. An export of a store of an earlier format is
//! imported as it is and then brought up to date like a store.

use std::io::{BufRead, Seek, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::engine::Engine;
use super::lock::FolderLock;
use super::txn::{Bulk, Txn};
use super::{Embedded, OpenError, StoreError, keys, maintenance, open, record};
use crate::keyring::{EXPORT, Keyring};
use crate::model::audit::{Action, Actor, AuditEvent, FieldChange};
use crate::model::secret::Secret;
use crate::model::time::Timestamp;

/// The version of the stream; 2 brought the authentication code.
const VERSION: u32 = 2;
/// The version without an authentication code.
const UNSIGNED_VERSION: u32 = 1;
/// Records that are read in one page; between two pages the store may be written to, closed or opened again.
const PAGE: usize = 512;
/// The name, among the facts about the store, of its import from an export that was not authenticated.
const UNSIGNED_NAME: &str = "imported-unsigned";

type Key = [u8; 32];

/// One line.
#[derive(Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Line {
    Head {
        heraldry_export: u32,
        schema: u32,
        created_at: Timestamp,
    },
    Record {
        k: String,
        v: String,
    },
    File {
        file: String,
        bytes: String,
    },
    End {
        end: bool,
        lines: u64,
        sha256: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hmac: Option<String>,
    },
}

impl Line {
    fn bytes(&self) -> Option<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self).ok()?;
        bytes.push(b'\n');
        Some(bytes)
    }
}

/// What the last line says of all lines before it.
struct Sums {
    lines: u64,
    hash: Sha256,
    mac: Option<Hmac<Sha256>>,
}

impl Sums {
    fn new(key: Option<&Key>) -> Self {
        let mac = key.map(|key| Hmac::new_from_slice(key).expect("HMAC takes a key of any length"));
        Self { lines: 0, hash: Sha256::new(), mac }
    }

    fn add(&mut self, line: &[u8]) {
        self.lines += 1;
        self.hash.update(line);
        if let Some(mac) = &mut self.mac {
            mac.update(line);
        }
    }

    fn end(self) -> Line {
        let hmac = self.mac.map(|mac| HEXLOWER.encode(&mac.finalize().into_bytes()));
        Line::End { end: true, lines: self.lines, sha256: HEXLOWER.encode(&self.hash.finalize()), hmac }
    }
}

/// The reason why nothing was imported.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says what it is in its message")]
pub enum ImportError {
    #[error("line {line} is not a line of an export")]
    Malformed { line: u64 },
    #[error("the export was cut short; copy it or make it again")]
    Cut,
    #[error("the export's checksum is wrong: it was changed on its way; copy it or make it again")]
    Changed,
    #[error(
        "line {line} comes after the end of the export: the file holds more than one export, or was added to; import one export as it was made"
    )]
    Trailing { line: u64 },
    #[error(
        "the export is not authentic: it was made under another master key, or was changed by somebody who does not \
         have the key; if you know where it comes from, import it with --unsigned"
    )]
    Forged,
    #[error(
        "the export is of version 1, which proves nothing of where it comes from; if you know that, import it with \
         --unsigned"
    )]
    Unsigned,
    #[error(
        "the export has version {found} (format {schema}), this program knows version {VERSION} up to format {}",
        keys::SCHEMA
    )]
    Version { found: u32, schema: u32 },
    #[error("{} holds a store already; import into an empty data folder", folder.display())]
    NotEmpty { folder: PathBuf },
    #[error("the export names a file that no host has: {name}")]
    File { name: String },
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The result of an import.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Imported {
    /// The number of records.
    pub records: u64,
    /// The number of files of the host.
    pub files: u64,
    /// Deliveries that were in no queue when the export read it, and are queued again.
    pub requeued: u64,
    /// True if the export was authenticated under the master key.
    pub signed: bool,
    /// The export's SHA-256 of its own lines, in hexadecimal.
    pub sha256: String,
}

/// The import of an export that was not authenticated. The fields' order is on disks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnsignedImport {
    /// The time of the import.
    pub at: Timestamp,
    /// The export's SHA-256 of its own lines, in hexadecimal.
    pub sha256: String,
}

/// The unsigned import that a store comes from, if it does.
pub(super) fn unsigned_import(engine: &Engine) -> Result<Option<UnsignedImport>, StoreError> {
    let bytes = engine.get(&keys::meta(UNSIGNED_NAME))?;
    Ok(bytes.and_then(|bytes| record::unpack(&bytes).ok()))
}

/// Writes every record and these files (by their name in the data folder) to `sink`, line by line, until it returns
/// false.
///
/// # Errors
/// [`StoreError`] when the store cannot be read. A sink that ended early is no error: its owner knows.
pub(super) fn write(
    engine: &Engine,
    keyring: &Keyring,
    files: &[(String, PathBuf)],
    now: Timestamp,
    sink: &mut dyn FnMut(Vec<u8>) -> bool,
) -> Result<(), StoreError> {
    let mut sums = Sums::new(Some(&keyring.derive(EXPORT)));
    let mut put = |line: &Line| {
        let Some(bytes) = line.bytes() else { return false };
        sums.add(&bytes);
        sink(bytes)
    };
    if !put(&Line::Head { heraldry_export: VERSION, schema: keys::SCHEMA, created_at: now }) {
        return Ok(());
    }
    for tag in keys::exported() {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let mut page = Vec::new();
            engine.scan_prefix(&[tag], after.as_deref(), |key, value| {
                page.push((key.to_vec(), value.to_vec()));
                page.len() < PAGE
            })?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, value) in &page {
                if !put(&Line::Record { k: STANDARD.encode(key), v: STANDARD.encode(value) }) {
                    return Ok(());
                }
            }
        }
    }
    for (name, path) in files {
        // A component that went away meanwhile is one that nothing names.
        let Ok(bytes) = std::fs::read(path) else { continue };
        if !put(&Line::File { file: name.clone(), bytes: STANDARD.encode(bytes) }) {
            return Ok(());
        }
    }
    if let Some(bytes) = sums.end().bytes() {
        sink(bytes);
    }
    Ok(())
}

impl Embedded {
    pub(in crate::store) fn export(
        &self,
        files: &[(String, PathBuf)],
        now: Timestamp,
        sink: &mut dyn FnMut(Vec<u8>) -> bool,
    ) -> Result<(), StoreError> {
        write(&self.engine, &self.keyring, files, now, sink)
    }
}

/// Makes a store in a data folder that has none. Nothing is written before all of the export is verified, and the folder
/// has no store until all of it is there and the master key opens it. `unsigned` accepts an export that is not
/// authenticated under this master key.
///
/// # Errors
/// [`ImportError`]; then nothing was made.
pub fn import(
    folder: &Path,
    master_key: Option<Secret>,
    now: Timestamp,
    unsigned: bool,
    source: &mut (impl BufRead + Seek),
) -> Result<Imported, ImportError> {
    let is_new = !folder.exists();
    open::private(folder)?;
    let lock = FolderLock::take(folder)?;
    let (target, building) = (folder.join("store"), folder.join("store.importing"));
    if target.exists() {
        return Err(ImportError::NotEmpty { folder: folder.into() });
    }
    // The rest of an interrupted import.
    if building.exists() {
        std::fs::remove_dir_all(&building)?;
    }
    let built = verify(folder, master_key.as_ref(), unsigned, source).and_then(|verified| {
        source.rewind()?;
        build(folder, &building, master_key, now, &verified, source)
    });
    match built {
        Ok(imported) => {
            std::fs::rename(&building, &target)?;
            std::fs::File::open(folder)?.sync_all()?;
            Ok(imported)
        }
        Err(error) => {
            let _ = std::fs::remove_dir_all(&building);
            if is_new {
                let _ = std::fs::remove_dir_all(folder.join("components"));
                let _ = lock.remove(folder);
                let _ = std::fs::remove_dir(folder);
            }
            Err(error)
        }
    }
}

/// Reads the whole stream and writes nothing.
fn verify(
    folder: &Path,
    master_key: Option<&Secret>,
    unsigned: bool,
    source: &mut dyn BufRead,
) -> Result<Verified, ImportError> {
    let keyring = match master_key {
        Some(text) => Some(Keyring::given(text).map_err(OpenError::from)?),
        None => Keyring::load(folder).map_err(OpenError::from)?,
    };
    if keyring.is_none() && !unsigned {
        return Err(OpenError::KeyMissing { file: Keyring::file(folder) }.into());
    }
    let key = keyring.map(|keyring| keyring.derive(EXPORT));
    let verified = read(source, key.as_ref(), &mut |item| match item {
        Item::File(name, _) if !is_component_file(&name) => Err(ImportError::File { name }),
        Item::File(..) | Item::Record(..) => Ok(()),
    })?;
    match verified.version {
        _ if verified.signed || unsigned => Ok(verified),
        UNSIGNED_VERSION => Err(ImportError::Unsigned),
        _ => Err(ImportError::Forged),
    }
}

fn build(
    folder: &Path,
    building: &Path,
    master_key: Option<Secret>,
    now: Timestamp,
    verified: &Verified,
    source: &mut dyn BufRead,
) -> Result<Imported, ImportError> {
    let engine = Engine::open(building, maintenance::CACHE_BYTES)?;
    let mut imported = Imported { signed: verified.signed, sha256: verified.sha256.clone(), ..Imported::default() };
    let mut bulk = Bulk::into(&engine);
    let mut files = Vec::new();
    let built = read(source, None, &mut |item| match item {
        Item::Record(key, value) => {
            imported.records += 1;
            Ok(bulk.put(key, value)?)
        }
        Item::File(name, bytes) => {
            files.push((name, bytes));
            Ok(())
        }
    })?;
    // The file could have been replaced between the two readings.
    if built.sha256 != verified.sha256 {
        return Err(ImportError::Changed);
    }
    bulk.finish()?;
    let keyring = open::unlock(&engine, folder, master_key.as_ref())?;
    open::check_schema(&engine, folder)?;
    for (name, bytes) in files {
        write_file(folder, &name, &bytes)?;
        imported.files += 1;
    }
    let repaired = maintenance::repair(&engine, &keyring, now)?;
    imported.requeued = repaired.requeued;
    if !imported.signed {
        let mut txn = Txn::default();
        let unsigned = UnsignedImport { at: now, sha256: imported.sha256.clone() };
        txn.put(keys::meta(UNSIGNED_NAME), record::pack(&unsigned));
        engine.commit(&[&txn])?;
    }
    let details = vec![
        FieldChange::to("records", imported.records),
        FieldChange::to("files", imported.files),
        FieldChange::to("signed", imported.signed),
        FieldChange::to("sha256", imported.sha256.as_str()),
    ];
    let entry = AuditEvent::store(Actor::CommandLine, Action::StoreImported).with(details);
    maintenance::audit(&engine, &keyring, entry, now)?;
    Ok(imported)
}

/// What a stream holds.
enum Item {
    /// A key and its value.
    Record(Vec<u8>, Vec<u8>),
    /// A file of the host: its name in the data folder, and its bytes.
    File(String, Vec<u8>),
}

/// A stream that is whole.
struct Verified {
    version: u32,
    sha256: String,
    /// True if its authentication code is that of the key.
    signed: bool,
}

/// Reads a stream and hands over what it holds. Only at the end is it known to be whole.
fn read(
    source: &mut dyn BufRead,
    key: Option<&Key>,
    put: &mut dyn FnMut(Item) -> Result<(), ImportError>,
) -> Result<Verified, ImportError> {
    let exported = keys::exported();
    let mut sums = Sums::new(key);
    let (mut version, mut text) = (VERSION, Vec::new());
    loop {
        text.clear();
        let number = sums.lines + 1;
        if source.read_until(b'\n', &mut text)? == 0 {
            return Err(if number == 1 { ImportError::Malformed { line: 1 } } else { ImportError::Cut });
        }
        let malformed = || ImportError::Malformed { line: number };
        let line: Line = match serde_json::from_slice(&text) {
            Ok(line) => line,
            // A line without its end is the last one of a truncated stream.
            Err(_) if text.last() != Some(&b'\n') && number > 1 => return Err(ImportError::Cut),
            Err(_) => return Err(malformed()),
        };
        match line {
            Line::Head { heraldry_export, schema, .. } if number == 1 => {
                if !matches!(heraldry_export, VERSION | UNSIGNED_VERSION) || schema > keys::SCHEMA {
                    return Err(ImportError::Version { found: heraldry_export, schema });
                }
                version = heraldry_export;
            }
            Line::Record { k, v } if number > 1 => {
                let key = STANDARD.decode(k).map_err(|_| malformed())?;
                let value = STANDARD.decode(v).map_err(|_| malformed())?;
                if !key.first().is_some_and(|tag| exported.contains(tag)) {
                    return Err(malformed());
                }
                put(Item::Record(key, value))?;
            }
            Line::File { file, bytes } if number > 1 => {
                put(Item::File(file, STANDARD.decode(bytes).map_err(|_| malformed())?))?;
            }
            Line::End { end: true, lines, sha256, hmac } if number > 1 => {
                let verified = ended(sums, version, (lines, sha256, hmac), &text)?;
                text.clear();
                if source.read_until(b'\n', &mut text)? > 0 {
                    return Err(ImportError::Trailing { line: number + 1 });
                }
                return Ok(verified);
            }
            _ => return Err(malformed()),
        }
        sums.add(&text);
    }
}

/// Compares a stream's last line with what was read before it.
fn ended(
    sums: Sums,
    version: u32,
    (lines, sha256, hmac): (u64, String, Option<String>),
    text: &[u8],
) -> Result<Verified, ImportError> {
    // One spelling of the last line, or a change of its bytes would go unnoticed. Version 1 did not ask for its end.
    let written = Line::End { end: true, lines, sha256: sha256.clone(), hmac: hmac.clone() }.bytes();
    let written = written.unwrap_or_default();
    let whole = text == written || (version == UNSIGNED_VERSION && written.strip_suffix(b"\n") == Some(text));
    if !whole {
        return Err(if written.starts_with(text) { ImportError::Cut } else { ImportError::Changed });
    }
    if lines != sums.lines || HEXLOWER.encode(&sums.hash.finalize()) != sha256 {
        return Err(ImportError::Changed);
    }
    let signed = match (version, hmac, sums.mac) {
        (UNSIGNED_VERSION, None, _) => false,
        (VERSION, Some(_), None) => false,
        // Compared in constant time.
        (VERSION, Some(hmac), Some(mac)) => {
            HEXLOWER.decode(hmac.as_bytes()).is_ok_and(|hmac| mac.verify_slice(&hmac).is_ok())
        }
        // An end that is not of this version.
        _ => return Err(ImportError::Changed),
    };
    Ok(Verified { version, sha256, signed })
}

/// True for the name of a component, or of the list of their versions.
fn is_component_file(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    name.strip_prefix("components/")
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('.') && rest.chars().all(plain))
}

/// Writes one of the host's files: a component, or the list of their versions.
fn write_file(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), ImportError> {
    if !is_component_file(name) {
        return Err(ImportError::File { name: name.to_owned() });
    }
    std::fs::create_dir_all(folder.join("components"))?;
    let mut file = std::fs::File::create(folder.join(name))?;
    file.write_all(bytes)?;
    Ok(file.sync_all()?)
}

/// Properties that [`crate::fuzzing::export`] checks.
#[cfg(fuzzing)]
pub(crate) mod fuzzing {
    use super::*;

    const KEY: Key = [7; 32];

    /// Reads a stream of these lines between a head and an end that fit.
    ///
    /// A stream that is accepted gives one record or file a line and is authenticated; cut at `at`, with one bit flipped
    /// there, or with anything behind it, it is rejected.
    pub(crate) fn check(lines: &[&[u8]], at: usize, bit: u8) {
        let head = Line::Head { heraldry_export: VERSION, schema: keys::SCHEMA, created_at: Timestamp::default() };
        let mut sums = Sums::new(Some(&KEY));
        let mut stream = head.bytes().expect("a line");
        sums.add(&stream);
        for line in lines {
            let line = [line, b"\n".as_slice()].concat();
            sums.add(&line);
            stream.extend(line);
        }
        stream.extend(sums.end().bytes().expect("a line"));
        let Some((records, files)) = accepted(&stream) else { return };
        assert_eq!(records + files, lines.len());

        let at = at % stream.len();
        assert_eq!(accepted(&stream[..at]), None, "cut at {at}");
        stream.push(bit);
        assert_eq!(accepted(&stream), None, "byte {bit} after the end");
        stream.pop();
        stream[at] ^= 1 << (bit % 8);
        assert_eq!(accepted(&stream), None, "bit {} of byte {at} flipped", bit % 8);
    }

    /// Reads bytes that no export wrote.
    pub(crate) fn check_any(bytes: &[u8]) {
        accepted(bytes);
    }

    /// How many records and files a stream has, when it is accepted as authentic.
    fn accepted(mut stream: &[u8]) -> Option<(usize, usize)> {
        let (mut records, mut files) = (0, 0);
        let verified = read(&mut stream, Some(&KEY), &mut |item| {
            match item {
                Item::Record(key, _) => {
                    assert!(keys::exported().contains(&key[0]));
                    records += 1;
                }
                Item::File(..) => files += 1,
            }
            Ok(())
        });
        verified.is_ok_and(|verified| verified.signed).then_some((records, files))
    }
}
