//! Opening the store: the lock, the format, the master key, the tables in memory.

use std::collections::{HashMap, VecDeque};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, mpsc};

use super::audit::Chain;
use super::downtime::Downtime;
use super::engine::Engine;
use super::handle::WriterHandle;
use super::heal::Healing;
use super::index::{self, Backfill, Index, MarksCache, Source, Tail};
use super::lock::FolderLock;
use super::lost::AcceptedSince;
use super::migrate::{self, Migration};
use super::place::Places;
use super::probe;
use super::record::{Counters, Counts, Damage};
use super::state_cache::StateCache;
use super::tally::{self, Tallies};
use super::tell::{self, Telling};
use super::txn::Txn;
use super::untold;
use super::writer::{Pending, Writer};
use super::{
    Embedded, INGEST_BUDGET_KIB, OpenError, Options, StoreError, Tokens, WebhookTable, keys, record, retention_clock,
    sealed,
};
use crate::keyring::{AUDIT_LOG, Keyring};
use crate::model::id::{AttemptId, WebhookId};
use crate::model::secret::Secret;
use crate::model::time::Clock;
use crate::model::token::Token;
use crate::model::webhook::Webhook;

/// The text that the key check seals; it is no secret.
const KEY_CHECK: &str = "heraldry";
/// The name of the key check among the facts about the store, and what it is bound to.
const KEY_CHECK_NAME: &str = "key-check";

impl Embedded {
    pub(in crate::store) fn open(options: Options) -> Result<Self, OpenError> {
        let watchdog = options.watchdog.clone();
        Self::open_with(options, move |writer| WriterHandle::thread(writer, &watchdog))
    }

    pub(super) fn open_with(
        options: Options,
        start: impl FnOnce(Writer) -> std::io::Result<WriterHandle>,
    ) -> Result<Self, OpenError> {
        let Options {
            folder,
            cache_bytes,
            master_key,
            breaker_threshold,
            breaker_probe,
            idempotency_kept,
            changes,
            clock,
            ..
        } = options;
        let unusable = |error| OpenError::Folder { folder: folder.clone(), error };
        private(&folder).map_err(unusable)?;
        let lock = FolderLock::take(&folder)?;
        finish_compaction(&folder).map_err(unusable)?;
        let engine = Arc::new(Engine::open(&folder.join("store"), cache_bytes)?);
        check_schema(&engine, &folder)?;
        let keyring = Arc::new(unlock(&engine, &folder, master_key.as_ref())?);
        let chain = Chain::load(&engine, keyring.derive(AUDIT_LOG)).map_err(|_| failed(&folder))?;
        let damage = Damage::default();
        tally::upgrade(&engine).map_err(|_| failed(&folder))?;
        let Loaded { mut webhooks, history, tallies } = load_webhooks(&engine, &keyring, &damage)?;
        webhooks.iter_mut().for_each(|webhook| probe::resume(webhook, breaker_probe, clock.steady_ms()));
        let healing = webhooks.iter().filter_map(Healing::resumed).collect();
        let webhooks = WebhookTable::new(webhooks.into_iter().map(Arc::new));
        let indexes = LoadedIndexes::load(&engine, &damage).map_err(|_| failed(&folder))?;
        let webhooks = Arc::new(ArcSwap::from_pointee(webhooks));
        let counts = engine.get(&keys::meta(record::COUNTS)).map_err(|_| failed(&folder))?;
        let counts = known(counts.map(|bytes| record::unpack::<Counts>(&bytes).map(Some)), "counts", &damage);
        let tokens = Arc::new(ArcSwap::from_pointee(load_tokens(&engine, &damage)?));
        let there = (webhooks.load().iter().count() as u64, tokens.load().len() as u64);
        let counts = match counts {
            Some(counts) => counts,
            None => first_counts(&engine, there).map_err(|_| failed(&folder))?,
        };
        report_missing(counts, there, engine.damaged(), &damage);
        let run = next_run(&engine).map_err(|_| failed(&folder))?;
        let clock_trusted = Arc::new(AtomicBool::new(true));
        let accepted_since = AcceptedSince::begin();
        let writable = Arc::new(AtomicBool::new(true));
        let unqueued = Arc::new(AtomicBool::new(false));
        let unjudged = mpsc::unbounded_channel();
        let (telling, downtime) = resume_telling(&engine, &folder, &damage, &*clock).map_err(|_| failed(&folder))?;
        let writer = Writer {
            engine: Arc::clone(&engine),
            keyring: Arc::clone(&keyring),
            clock: Arc::clone(&clock),
            webhooks: Arc::clone(&webhooks),
            tokens: Arc::clone(&tokens),
            breaker_threshold,
            breaker_probe,
            idempotency_kept,
            changes,
            writable: Arc::clone(&writable),
            damage: damage.clone(),
            unqueued: Arc::clone(&unqueued),
            accepted_since: accepted_since.clone(),
            retention_clock: retention_clock::Watched::load(&engine).map_err(|_| failed(&folder))?,
            clock_trusted: Arc::clone(&clock_trusted),
            next_seq: run << 32,
            chain,
            recent: StateCache::default(),
            marks: MarksCache::default(),
            young_attempts: indexes.attempts,
            young_events: indexes.events,
            last_attempt: indexes.last_attempt,
            tallies: tallies.clone(),
            counts,
            history,
            pending: Pending::since(telling.next_due().map(|_| clock.steady_ms())),
            reopen: None,
            next_try_ms: 0,
            unread: Vec::new(),
            healing,
            moving: VecDeque::new(),
            places: Places::default(),
            telling,
            unjudged: unjudged.0,
            downtime,
        };
        let writer = start(writer).map_err(unusable)?;
        Ok(Self {
            engine,
            writer,
            ingest_budget: Arc::new(Semaphore::new(INGEST_BUDGET_KIB)),
            keyring,
            webhooks,
            tokens,
            writable,
            damage: damage.clone(),
            unqueued,
            clock_trusted,
            events_at_start: counts.events,
            accepted_since,
            tallies,
            source: Arc::new(Mutex::new(Source::new(damage.clone()))),
            backfill: indexes.backfill,
            unjudged: unjudged.1.into(),
            _lock: lock,
        })
    }
}

/// The indexes, as far as they are in memory.
struct LoadedIndexes {
    attempts: Tail,
    events: Tail,
    last_attempt: Option<AttemptId>,
    backfill: Backfill,
}

impl LoadedIndexes {
    fn load(engine: &Engine, damage: &Damage) -> Result<Self, StoreError> {
        let attempts = Tail::load(engine, Index::Attempts, damage)?;
        let events = Tail::load(engine, Index::Events, damage)?;
        let backfill = Backfill::load(engine)?;
        let last_attempt = index::last_attempt(engine, &attempts)?.max(backfill.last_attempt());
        Ok(Self { attempts, events, last_attempt, backfill })
    }
}

/// What the process before did not tell, and that it could not write, if it could not.
fn resume_telling(
    engine: &Engine,
    folder: &Path,
    damage: &Damage,
    clock: &dyn Clock,
) -> Result<(Telling, Downtime), StoreError> {
    let now_ms = clock.steady_ms();
    let mut telling = Telling::with(untold::load(engine, damage)?, now_ms);
    let mut downtime = Downtime::load(folder);
    if let Some(down) = downtime.end() {
        telling.add(tell::written_again(&down, now_ms), clock.now(), now_ms);
    }
    Ok((telling, downtime))
}

fn failed(folder: &Path) -> OpenError {
    OpenError::Engine { folder: folder.into(), message: "it cannot be read or written".into() }
}

/// Moves the store back that a compaction had moved away when it was interrupted between its two renames.
pub(super) fn finish_compaction(folder: &Path) -> std::io::Result<()> {
    let (store, old) = (folder.join("store"), folder.join("store.old"));
    if old.is_dir() && !store.exists() {
        tracing::warn!("a compaction was interrupted; the store from before it is used");
        std::fs::rename(old, store)?;
    }
    Ok(())
}

/// Makes the folder if it is missing, and private to this user.
pub(super) fn private(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
}

/// Rejects the store of a later format and brings one of an earlier format up to date.
pub(super) fn check_schema(engine: &Engine, folder: &Path) -> Result<(), OpenError> {
    let key = keys::meta(keys::SCHEMA_NAME);
    let stored = engine.get(&key).map_err(|_| failed(folder))?;
    let Some(bytes) = stored else {
        let mut txn = Txn::default();
        txn.put(key, record::pack(&keys::SCHEMA));
        return engine.commit(&[&txn]).map_err(|_| failed(folder));
    };
    let migration = match record::unpack::<u32>(&bytes) {
        Ok(keys::SCHEMA) => Migration::under_way(engine),
        Ok(from @ (1 | 2)) => Migration::begin(engine, from).map(Some),
        Ok(3 | 4) => migrate::raise(engine).and_then(|()| Migration::under_way(engine)),
        Ok(5) => migrate::raise_from_5(engine).and_then(|()| Migration::under_way(engine)),
        Ok(found) => return Err(OpenError::Schema { found, known: keys::SCHEMA }),
        Err(_) => return Err(OpenError::Damaged { folder: folder.into() }),
    };
    migration.and_then(|migration| migration.map_or(Ok(()), Migration::run)).map_err(|_| failed(folder))
}

/// The keyring that this store was made with; makes a key for a new store.
pub(super) fn unlock(engine: &Engine, folder: &Path, given: Option<&Secret>) -> Result<Keyring, OpenError> {
    let check = keys::meta(KEY_CHECK_NAME);
    let stored = engine.get(&check).map_err(|_| failed(folder))?;
    let found = match given {
        Some(text) => Some(Keyring::given(text)?),
        None => Keyring::load(folder)?,
    };
    let keyring = match found {
        Some(keyring) => keyring,
        None if stored.is_some() => return Err(OpenError::KeyMissing { file: Keyring::file(folder) }),
        None => Keyring::create(folder)?,
    };
    let aad = KEY_CHECK_NAME.as_bytes();
    match stored {
        Some(bytes) => {
            let sealed: Vec<u8> = record::unpack(&bytes).map_err(|_| OpenError::Damaged { folder: folder.into() })?;
            keyring.open(aad, &sealed).map_err(|_| OpenError::KeyWrong)?;
        }
        None => {
            let sealed = keyring.seal(aad, KEY_CHECK).map_err(|_| failed(folder))?;
            let mut txn = Txn::default();
            txn.put(check, record::pack(&sealed));
            engine.commit(&[&txn]).map_err(|_| failed(folder))?;
        }
    }
    Ok(keyring)
}

/// The counts of a store of format 1, which did not keep any.
fn first_counts(engine: &Engine, (webhooks, tokens): (u64, u64)) -> Result<Counts, StoreError> {
    let mut events = 0;
    engine.scan_prefix(&[keys::ACCEPTED], None, |_, value| {
        events += record::unpack_listed(value).map_or(0, |events| events.len() as u64);
        true
    })?;
    Ok(Counts { events, webhooks, tokens })
}

/// Reports the webhooks and tokens that are missing: a damaged page can take records with it without a trace, but the
/// store has counted them.
fn report_missing(counts: Counts, (webhooks, tokens): (u64, u64), journal: u64, damage: &Damage) {
    // Those that are there and cannot be read were reported already.
    let reported = damage.records();
    let missing = (counts.webhooks + counts.tokens).saturating_sub(webhooks + tokens + reported);
    if missing > 0 {
        tracing::error!(
            missing,
            "webhooks or tokens are missing from the store; run `heraldry store check` to see which"
        );
    }
    damage.add(missing + journal);
}

/// A number that no earlier run of this store had, for the upper half of sequence numbers. It is a record, so that a
/// copy of the store goes on from there.
pub(super) fn next_run(engine: &Engine) -> Result<u64, StoreError> {
    let key = keys::meta("run");
    let last = match engine.get(&key)?.and_then(|bytes| record::unpack::<u64>(&bytes).ok()) {
        Some(last) => last,
        // Format 1 left the counting to sled.
        None => engine.run_number()?,
    };
    let mut txn = Txn::default();
    txn.put(key, record::pack(&(last + 1)));
    engine.commit(&[&txn])?;
    Ok(last + 1)
}

/// The webhooks, how many attempts the history of each has, and what waits for it.
struct Loaded {
    webhooks: Vec<Webhook>,
    history: HashMap<WebhookId, u64>,
    tallies: Tallies,
}

fn load_webhooks(engine: &Engine, keyring: &Keyring, damage: &Damage) -> Result<Loaded, OpenError> {
    let mut found = Vec::new();
    let scanned = engine.scan_prefix(&[keys::WEBHOOK], None, |key, value| {
        if let Some(id) = keys::id_of(key).map(WebhookId::from_bytes) {
            found.push((id, value.to_vec()));
        }
        true
    });
    scanned.map_err(|_| failed(Path::new("store")))?;
    let mut webhooks = Vec::with_capacity(found.len());
    let (mut history, mut tallies) = (HashMap::new(), HashMap::new());
    for (id, bytes) in found {
        let counters = engine.get(&keys::counters(id)).map_err(|_| failed(Path::new("store")))?;
        let counters = known(counters.map(|bytes| Counters::unpack(&bytes)), "webhook's counters", damage);
        history.insert(id, counters.attempts);
        tallies.insert(id, counters.tally);
        match sealed::read_webhook(id, &bytes, counters.health, keyring) {
            Some(webhook) => webhooks.push(webhook),
            None => {
                damage.add(1);
                tracing::error!(webhook = %id, "a webhook's record is damaged; it is left out and stays in the store");
            }
        }
    }
    Ok(Loaded { webhooks, history, tallies: Tallies::new(tallies) })
}

/// A record's value, or the default when it is missing or damaged.
fn known<T: Default>(read: Option<Result<T, record::Damaged>>, what: &'static str, damage: &Damage) -> T {
    if let Some(Err(_)) = read {
        damage.add(1);
        tracing::error!(what, "a damaged record was found in the store; it begins again at its default");
    }
    read.and_then(Result::ok).unwrap_or_default()
}

fn load_tokens(engine: &Engine, damage: &Damage) -> Result<Tokens, OpenError> {
    let mut tokens = Vec::new();
    let scanned = engine.scan_prefix(&[keys::TOKEN], None, |key, value| {
        let hash = key.get(1..).and_then(|hash| <[u8; 32]>::try_from(hash).ok());
        match (hash, record::unpack_json::<Token>(value)) {
            (Some(hash), Ok(token)) => tokens.push((hash, token)),
            _ => {
                damage.add(1);
                tracing::error!("a token's record is damaged; its bearer is rejected");
            }
        }
        true
    });
    scanned.map_err(|_| failed(Path::new("store")))?;
    Ok(Tokens::new(tokens))
}
