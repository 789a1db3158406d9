//! Export and import: the whole store as a stream of lines.
//!
//! The first line is the head. Then comes one line a record, key and value as they are on the disk (secrets stay sealed
//! under the master key, which is not exported), and one line a file of the host. The last line has the number of lines
//! and the SHA-256 of all lines before it, so that a truncated stream is not mistaken for a whole one. An export of an
//! earlier format is imported as it is and then brought up to date like a store.

use std::io::{BufRead, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::engine::{Bulk, Engine};
use super::{Embedded, OpenError, StoreError, keys, maintenance, open};
use crate::model::audit::{Action, Actor, AuditEvent};
use crate::model::secret::Secret;
use crate::model::time::Timestamp;

/// The version of the stream.
const VERSION: u32 = 1;
/// Records that are read in one page; between two pages the store may be written to, closed or opened again.
const PAGE: usize = 512;
/// One line.
#[derive(Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Line {
    Head { heraldry_export: u32, schema: u32, created_at: Timestamp },
    Record { k: String, v: String },
    File { file: String, bytes: String },
    End { end: bool, lines: u64, sha256: String },
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
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Imported {
    /// The number of records.
    pub records: u64,
    /// The number of files of the host.
    pub files: u64,
    /// Deliveries that were in no queue when the export read it, and are queued again.
    pub requeued: u64,
}

/// Writes every record and these files (by their name in the data folder) to `sink`, line by line, until it returns
/// false.
///
/// # Errors
/// [`StoreError`] when the store cannot be read. A sink that ended early is no error: its owner knows.
pub(super) fn write(
    engine: &Engine,
    files: &[(String, PathBuf)],
    now: Timestamp,
    sink: &mut dyn FnMut(Vec<u8>) -> bool,
) -> Result<(), StoreError> {
    let mut lines = 0;
    let mut hash = Sha256::new();
    let mut put = |line: &Line| {
        let Ok(mut bytes) = serde_json::to_vec(line) else { return false };
        bytes.push(b'\n');
        hash.update(&bytes);
        lines += 1;
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
    if let Ok(mut bytes) = serde_json::to_vec(&Line::End { end: true, lines, sha256: hex(hash) }) {
        bytes.push(b'\n');
        sink(bytes);
    }
    Ok(())
}

fn hex(hash: Sha256) -> String {
    HEXLOWER.encode(&hash.finalize())
}

impl Embedded {
    pub(in crate::store) fn export(
        &self,
        files: &[(String, PathBuf)],
        now: Timestamp,
        sink: &mut dyn FnMut(Vec<u8>) -> bool,
    ) -> Result<(), StoreError> {
        write(&self.engine, files, now, sink)
    }
}

/// Makes a store in a data folder that has none. The folder has no store until all of it is there and the master key
/// opens it.
///
/// # Errors
/// [`ImportError`]; then nothing was made.
pub fn import(
    folder: &Path,
    master_key: Option<Secret>,
    now: Timestamp,
    source: &mut dyn BufRead,
) -> Result<Imported, ImportError> {
    let is_new = !folder.exists();
    open::private(folder)?;
    let lock = open::lock(folder)?;
    let (target, building) = (folder.join("store"), folder.join("store.importing"));
    if target.exists() {
        return Err(ImportError::NotEmpty { folder: folder.into() });
    }
    // The rest of an interrupted import.
    if building.exists() {
        std::fs::remove_dir_all(&building)?;
    }
    let built = build(folder, &building, master_key, now, source);
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
                let _ = open::remove_lock(folder, lock);
                let _ = std::fs::remove_dir(folder);
            }
            Err(error)
        }
    }
}

fn build(
    folder: &Path,
    building: &Path,
    master_key: Option<Secret>,
    now: Timestamp,
    source: &mut dyn BufRead,
) -> Result<Imported, ImportError> {
    let engine = Engine::open(building, maintenance::CACHE_BYTES)?;
    let mut imported = Imported::default();
    let mut bulk = Bulk::into(&engine);
    let files = read(source, &mut imported, &mut |key, value| bulk.put(key, value))?;
    bulk.finish()?;
    let keyring = open::unlock(&engine, folder, master_key.as_ref())?;
    open::check_schema(&engine, folder)?;
    for (name, bytes) in files {
        write_file(folder, &name, &bytes)?;
        imported.files += 1;
    }
    let repaired = maintenance::repair(&engine, &keyring, now)?;
    imported.requeued = repaired.requeued;
    maintenance::audit(&engine, &keyring, AuditEvent::store(Actor::CommandLine, Action::StoreImported), now)?;
    Ok(imported)
}

type File = (String, Vec<u8>);

/// Reads a stream, hands its records to `put`, and returns its files. Only at the end of the stream is it known to be
/// whole.
fn read(
    source: &mut dyn BufRead,
    imported: &mut Imported,
    put: &mut dyn FnMut(Vec<u8>, Vec<u8>) -> Result<(), StoreError>,
) -> Result<Vec<File>, ImportError> {
    let mut hash = Sha256::new();
    let exported = keys::exported();
    let mut files = Vec::new();
    let (mut number, mut text) = (0_u64, Vec::new());
    loop {
        text.clear();
        if source.read_until(b'\n', &mut text)? == 0 {
            return Err(if number == 0 { ImportError::Malformed { line: 1 } } else { ImportError::Cut });
        }
        number += 1;
        let malformed = || ImportError::Malformed { line: number };
        let line: Line = match serde_json::from_slice(&text) {
            Ok(line) => line,
            // A line without its end is the last one of a truncated stream.
            Err(_) if text.last() != Some(&b'\n') && number > 1 => return Err(ImportError::Cut),
            Err(_) => return Err(malformed()),
        };
        match line {
            Line::Head { heraldry_export, schema, .. } if number == 1 => {
                if heraldry_export != VERSION || schema > keys::SCHEMA {
                    return Err(ImportError::Version { found: heraldry_export, schema });
                }
            }
            Line::Record { k, v } if number > 1 => {
                let key = STANDARD.decode(k).map_err(|_| malformed())?;
                let value = STANDARD.decode(v).map_err(|_| malformed())?;
                if !key.first().is_some_and(|tag| exported.contains(tag)) {
                    return Err(malformed());
                }
                put(key, value)?;
                imported.records += 1;
            }
            Line::File { file, bytes } if number > 1 => {
                files.push((file, STANDARD.decode(bytes).map_err(|_| malformed())?));
            }
            Line::End { end: true, lines, sha256 } if number > 1 => {
                if lines + 1 != number || hex(hash) != sha256 {
                    return Err(ImportError::Changed);
                }
                return Ok(files);
            }
            _ => return Err(malformed()),
        }
        hash.update(&text);
    }
}

/// Writes one of the host's files: a component, or the list of their versions.
fn write_file(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), ImportError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let fits = name
        .strip_prefix("components/")
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('.') && rest.chars().all(plain));
    if !fits {
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

    /// Reads a stream of these lines between a head and an end that fit.
    ///
    /// A stream that is accepted gives one record or file a line; cut at `at`, or with one bit flipped there, it is
    /// rejected.
    pub(crate) fn check(lines: &[&[u8]], at: usize, bit: u8) {
        let head = Line::Head { heraldry_export: VERSION, schema: keys::SCHEMA, created_at: Timestamp::default() };
        let mut stream = serde_json::to_vec(&head).expect("a line");
        stream.push(b'\n');
        for line in lines {
            stream.extend_from_slice(line);
            stream.push(b'\n');
        }
        let hash = hex(Sha256::new_with_prefix(&stream));
        let end = Line::End { end: true, lines: lines.len() as u64 + 1, sha256: hash };
        stream.extend(serde_json::to_vec(&end).expect("a line"));
        stream.push(b'\n');
        let Some((records, files)) = accepted(&stream) else { return };
        assert_eq!(records + files, lines.len());

        let at = at % stream.len();
        // The last line's end may be missing.
        if at + 1 < stream.len() {
            assert_eq!(accepted(&stream[..at]), None, "cut at {at}");
        }
        stream[at] ^= 1 << (bit % 8);
        assert_eq!(accepted(&stream), None, "bit {} of byte {at} flipped", bit % 8);
    }

    /// Reads bytes that no export wrote.
    pub(crate) fn check_any(bytes: &[u8]) {
        accepted(bytes);
    }

    /// How many records and files a stream has, when it is accepted.
    fn accepted(mut stream: &[u8]) -> Option<(usize, usize)> {
        let (mut imported, mut records) = (Imported::default(), 0);
        let mut put = |key: Vec<u8>, _| {
            assert!(keys::exported().contains(&key[0]));
            records += 1;
            Ok(())
        };
        let files = read(&mut stream, &mut imported, &mut put).ok()?;
        assert_eq!(imported.records, records as u64);
        Some((records, files.len()))
    }
}
