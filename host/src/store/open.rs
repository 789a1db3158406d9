//! Opening the store: the lock, the master key, the schema, what stands in memory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Semaphore;

use super::engine::{Engine, Txn};
use super::table::{Tokens, WebhookTable};
use super::vault::Vault;
use super::writer::{Pending, Writer};
use super::{OUTBOX_KIB, OpenError, Options, Store, keys, manage, record};
use crate::model::id::WebhookId;
use crate::model::secret::Secret;
use crate::model::token::Token;
use crate::model::webhook::HealthValues;

/// What the key check seals; its text is no secret.
const KEY_CHECK: &str = "heraldry";
const MASTER_KEY_FILE: &str = "master.key";

impl Store {
    /// Opens the store of a data folder, or makes an empty one there.
    ///
    /// # Errors
    /// [`OpenError`], each a sentence that says what to do.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let Options { folder, cache_bytes, master_key, breaker_threshold, idempotency_kept, changes, clock } = options;
        let unusable = |error| OpenError::Folder { folder: folder.clone(), error };
        std::fs::create_dir_all(&folder).map_err(unusable)?;
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).map_err(unusable)?;
        let lock = lock(&folder)?;
        let engine = Arc::new(Engine::open(&folder.join("store"), cache_bytes)?);
        check_schema(&engine, &folder)?;
        let vault = unlock(&engine, &folder, master_key)?;
        let code_key = vault.derive("compiled code");
        let damaged = Arc::new(AtomicU64::new(0));
        let webhooks = Arc::new(ArcSwap::from_pointee(load_webhooks(&engine, &vault, &damaged)?));
        let tokens = Arc::new(ArcSwap::from_pointee(load_tokens(&engine, &damaged)?));
        let run = engine.run_number().map_err(|_| failed(&folder))?;
        let writable = Arc::new(AtomicBool::new(true));
        let (commands, queue) = channel();
        let writer = Writer {
            engine: Arc::clone(&engine),
            vault,
            clock: Arc::clone(&clock),
            webhooks: Arc::clone(&webhooks),
            tokens: Arc::clone(&tokens),
            breaker_threshold,
            idempotency_kept,
            changes,
            writable: Arc::clone(&writable),
            damaged: Arc::clone(&damaged),
            next_seq: run << 32,
            pending: Pending::default(),
            reopen: false,
            unread: Vec::new(),
        };
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run(&queue))
            .map_err(unusable)?;
        Ok(Self {
            engine,
            writer: commands,
            thread: Mutex::new(Some(thread)),
            outbox: Arc::new(Semaphore::new(OUTBOX_KIB)),
            webhooks,
            tokens,
            writable,
            damaged,
            code_key,
            _lock: lock,
        })
    }
}

fn failed(folder: &Path) -> OpenError {
    OpenError::Engine { folder: folder.into(), message: "it cannot be read or written".into() }
}

/// One process a folder: the kernel drops the lock with the process, however it ends.
fn lock(folder: &Path) -> Result<File, OpenError> {
    let unusable = |error| OpenError::Folder { folder: folder.into(), error };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(folder.join("store.lock"))
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { folder: folder.into() }),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

fn check_schema(engine: &Engine, folder: &Path) -> Result<(), OpenError> {
    let key = keys::meta("schema");
    let stored = engine.get(&key).map_err(|_| failed(folder))?;
    let Some(bytes) = stored else {
        let mut txn = Txn::default();
        txn.put(key, record::pack(&keys::SCHEMA));
        return engine.commit(&[&txn]).map_err(|_| failed(folder));
    };
    match record::unpack::<u32>(&bytes) {
        Ok(keys::SCHEMA) => Ok(()),
        Ok(found) => Err(OpenError::Schema { found, known: keys::SCHEMA }),
        Err(_) => Err(OpenError::Damaged { folder: folder.into() }),
    }
}

/// The vault under the master key that this store was made with; makes a key for a new store.
fn unlock(engine: &Engine, folder: &Path, given: Option<Secret>) -> Result<Vault, OpenError> {
    let check = keys::meta("key-check");
    let stored = engine.get(&check).map_err(|_| failed(folder))?;
    let file = folder.join(MASTER_KEY_FILE);
    let key = match given {
        Some(text) => decode_key(text.expose(), "HERALDRY_MASTER_KEY")?,
        None if file.exists() => read_key(&file)?,
        None if stored.is_some() => return Err(OpenError::KeyMissing { file }),
        None => make_key(&file)?,
    };
    let vault = Vault::new(&key);
    match stored {
        Some(bytes) => {
            let sealed: Vec<u8> = record::unpack(&bytes).map_err(|_| OpenError::Damaged { folder: folder.into() })?;
            vault.open(b"key-check", &sealed).map_err(|_| OpenError::KeyWrong)?;
        }
        None => {
            let sealed = vault.seal(b"key-check", KEY_CHECK).map_err(|_| failed(folder))?;
            let mut txn = Txn::default();
            txn.put(check, record::pack(&sealed));
            engine.commit(&[&txn]).map_err(|_| failed(folder))?;
        }
    }
    Ok(vault)
}

fn decode_key(text: &str, source_name: &str) -> Result<[u8; 32], OpenError> {
    let bytes = STANDARD.decode(text.trim()).ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| OpenError::KeyMalformed { source_name: source_name.to_owned() })
}

fn read_key(file: &Path) -> Result<[u8; 32], OpenError> {
    let unusable = |error| OpenError::Folder { folder: file.into(), error };
    let mode = file.metadata().map_err(unusable)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(OpenError::KeyExposed { file: file.into(), mode });
    }
    decode_key(&std::fs::read_to_string(file).map_err(unusable)?, &file.display().to_string())
}

/// Writes a new key and syncs it before anything is sealed with it.
fn make_key(file: &Path) -> Result<[u8; 32], OpenError> {
    let unusable = |error| OpenError::Folder { folder: file.into(), error };
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| unusable(std::io::Error::other(error)))?;
    let mut target = OpenOptions::new().create_new(true).write(true).mode(0o600).open(file).map_err(unusable)?;
    target.write_all(format!("{}\n", STANDARD.encode(key)).as_bytes()).map_err(unusable)?;
    target.sync_all().map_err(unusable)?;
    if let Some(folder) = file.parent() {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(unusable)?;
    }
    Ok(key)
}

fn load_webhooks(engine: &Engine, vault: &Vault, damaged: &AtomicU64) -> Result<WebhookTable, OpenError> {
    let mut found = Vec::new();
    let scanned = engine.scan_prefix(&[keys::WEBHOOK], None, |key, value| {
        if let Some(id) = keys::id_of(key).map(WebhookId::from_bytes) {
            found.push((id, value.to_vec()));
        }
        true
    });
    scanned.map_err(|_| failed(Path::new("store")))?;
    let mut webhooks = Vec::with_capacity(found.len());
    for (id, bytes) in found {
        let counters = engine.get(&keys::counters(id)).map_err(|_| failed(Path::new("store")))?;
        let health = counters.and_then(|bytes| record::unpack::<HealthValues>(&bytes).ok()).unwrap_or_default();
        match manage::read_webhook(id, &bytes, health, vault) {
            Some(webhook) => webhooks.push(Arc::new(webhook)),
            None => {
                damaged.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                tracing::error!(webhook = %id, "a webhook's record is damaged; it is left out and stays in the store");
            }
        }
    }
    Ok(WebhookTable::new(webhooks))
}

fn load_tokens(engine: &Engine, damaged: &AtomicU64) -> Result<Tokens, OpenError> {
    let mut tokens = Vec::new();
    let scanned = engine.scan_prefix(&[keys::TOKEN], None, |key, value| {
        let hash = key.get(1..).and_then(|hash| <[u8; 32]>::try_from(hash).ok());
        match (hash, record::unpack_json::<Token>(value)) {
            (Some(hash), Ok(token)) => tokens.push((hash, token)),
            _ => {
                damaged.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                tracing::error!("a token's record is damaged; its bearer is refused");
            }
        }
        true
    });
    scanned.map_err(|_| failed(Path::new("store")))?;
    Ok(Tokens::new(tokens))
}
