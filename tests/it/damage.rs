//! K5: a store whose files were damaged, at every kind of place: the host starts and says what it lost, or refuses
//! and says what to do. It never hangs, and a panic is never all that it says.
//!
//! The long run; with as many places as there are, it takes hours:
//! `HERALDRY_PLACES=100000 cargo test --locked -p heraldry --test it -- --ignored --nocapture damage::`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::support::host::{Ended, binary, new_folder};
use crate::support::{Client, Destination, Host, events};

/// Places in a usual run, and in the long one unless [`PLACES`] says otherwise.
const SHORT: usize = 40;
const LONG: usize = 120;
const PLACES: &str = "HERALDRY_PLACES";
const STEP: usize = 4096;
/// Events in the store: most in sled's own file since a restart, some since a checkpoint, the last ones in the journal
/// alone.
const OLD: usize = 1900;
const NEW: usize = 100;
const LAST: usize = 50;
/// How long a host may take for one thing before it counts as hanging.
const HANGS: Duration = Duration::from_secs(30);
/// Clients that read at the same time.
const READERS: usize = 8;

#[tokio::test]
async fn a_damaged_store_is_opened_or_refused_with_advice_and_never_hangs() {
    let met = run(SHORT).await;
    assert_none(&met, &[Met::Wrong]);
}

#[tokio::test]
#[ignore = "takes minutes: damages many places"]
async fn a_store_damaged_at_many_places_is_opened_or_refused_with_advice_and_never_hangs() {
    let met = run(number(PLACES).unwrap_or(LONG)).await;
    assert_none(&met, &[Met::Wrong]);
}

#[tokio::test]
#[ignore = "not met: a last record of the journal that the disk destroyed looks like one that a crash cut; some damage only `store check` finds"]
async fn a_damaged_store_never_loses_anything_in_silence() {
    let met = run(SHORT).await;
    assert_none(&met, &[Met::Wrong, Met::Silent, Met::OnlyChecked]);
}

#[expect(clippy::disallowed_methods, reason = "how whoever runs the long test says how long")]
fn number(variable: &str) -> Option<usize> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a whole number"))
}

#[track_caller]
fn assert_none(met: &BTreeMap<Met, Vec<String>>, wrong: &[Met]) {
    let found: Vec<_> = wrong.iter().filter_map(|how| met.get(how).map(|places| (how, places))).collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// A store as a killed host leaves it.
struct Original {
    folder: Arc<TempDir>,
    token: String,
    webhooks: Vec<String>,
    events: Vec<String>,
    /// Attempts in the webhooks' history.
    attempts: usize,
}

/// What happens to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip,
    /// A page of zeros, as a disk that lost a write leaves it.
    Zeros,
    Cut,
}

/// Where.
#[derive(Clone, Debug)]
struct Place {
    file: PathBuf,
    offset: usize,
    damage: Damage,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}: {:?}", self.file.display(), self.offset, self.damage)
    }
}

/// How a damaged store was met.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Met {
    /// It did not start and said why and what to do.
    Refused,
    /// Something was missing, and it said so.
    Told,
    /// Nothing was missing.
    Whole,
    /// Something was missing and `serve` did not say so, but `store check` does.
    OnlyChecked,
    /// Something was missing and nobody said so.
    Silent,
    /// It hung, or said nothing that helps.
    Wrong,
}

async fn original() -> Original {
    let destination = Destination::start().await;
    let folder = Arc::new(new_folder());
    let mut host = Host::with(|options| options.folder(&folder).retry_every("1h")).await;
    let admin = host.admin();
    let token = admin.token().to_owned();
    let good = admin.webhook(&destination.url("/"), json!({})).await;
    // What goes here waits in the queue until the end.
    let dead = admin.webhook("http://127.0.0.1:1/", json!({"event_types": ["report_ready"]})).await;
    let mut posted = Vec::new();
    let some = |count: usize| -> Vec<Value> {
        let event = |number| if number % 10 == 0 { events::minimal("report_ready") } else { events::finding("f", "") };
        (0..count).map(event).collect()
    };
    for batch in some(OLD).chunks(100) {
        admin.post("/events", &json!(batch)).await.expect(202);
        posted.extend(batch.iter().map(|event| event["id"].as_str().expect("an id").to_owned()));
    }
    destination.wait_for(OLD).await;
    host = host.restart().await;
    let admin = host.visitor().with_token(&token);
    for batch in some(NEW).chunks(20) {
        admin.post("/events", &json!(batch)).await.expect(202);
        posted.extend(batch.iter().map(|event| event["id"].as_str().expect("an id").to_owned()));
    }
    destination.wait_for(OLD + NEW).await;
    // Their outcomes are on the disk, too.
    admin.history_of(&dead, (OLD + NEW) / 10).await;
    for event in posted[OLD..].iter().enumerate().filter(|(number, _)| number % 10 != 0).map(|(_, event)| event) {
        admin.settled(event).await;
    }
    // These are in the journal alone.
    for batch in some(LAST).chunks(10) {
        admin.post("/events", &json!(batch)).await.expect(202);
        posted.extend(batch.iter().map(|event| event["id"].as_str().expect("an id").to_owned()));
    }
    host.kill();
    let webhooks = vec![good, dead];
    let mut original = Original { folder, token, webhooks, events: posted, attempts: 0 };
    // What an undamaged copy shows is what is compared with.
    let copy = copied(&original);
    let host = Host::attempt(|options| options.folder(&copy).retry_every("1h")).await.expect("it starts");
    let seen = look(&host.visitor().with_token(&original.token), &original).await;
    drop(host);
    assert!(seen.missing.is_empty(), "before any damage: {:?}", seen.missing);
    original.attempts = seen.attempts;
    original
}

/// The store's files and what belongs to them in a folder of their own.
fn copied(original: &Original) -> Arc<TempDir> {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).expect("a folder");
        for entry in std::fs::read_dir(from).expect("a folder") {
            let entry = entry.expect("an entry");
            let target = to.join(entry.file_name());
            if entry.file_type().expect("a type").is_dir() {
                copy(&entry.path(), &target);
            } else {
                std::fs::copy(entry.path(), target).expect("copied");
            }
        }
    }
    let folder = Arc::new(new_folder());
    copy(&original.folder.path().join("data"), &folder.path().join("data"));
    folder
}

/// Every 4 KiB of every file of the store, each damaged in each way.
fn places(store: &Path) -> Vec<Place> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(store).expect("a folder").chain(std::fs::read_dir(store.join("blobs")).expect("one"))
    {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    let mut places = Vec::new();
    for path in files {
        let length = usize::try_from(path.metadata().expect("a file").len()).expect("a length");
        let file = path.strip_prefix(store).expect("below").to_owned();
        for offset in (0..length).step_by(STEP) {
            for damage in [Damage::Flip, Damage::Zeros, Damage::Cut] {
                places.push(Place { file: file.clone(), offset, damage });
            }
        }
    }
    places
}

/// So many of them: of each file the beginning and the end, and others by chance.
fn chosen(mut places: Vec<Place>, count: usize, random: &mut fastrand::Rng) -> Vec<Place> {
    if count >= places.len() {
        return places;
    }
    random.shuffle(&mut places);
    let mut by_file: BTreeMap<PathBuf, Vec<Place>> = BTreeMap::new();
    for place in places {
        by_file.entry(place.file.clone()).or_default().push(place);
    }
    let mut chosen = Vec::new();
    // A place of each file in turn, but sled's own file has more of them than all others.
    while chosen.len() < count {
        let before = chosen.len();
        for (file, places) in &mut by_file {
            let share = if file == Path::new("db") { 3 } else { 1 };
            chosen.extend(places.drain(places.len().saturating_sub(share)..));
        }
        assert!(chosen.len() > before, "there are fewer places than wanted");
    }
    chosen.truncate(count);
    chosen
}

fn damage(store: &Path, place: &Place, random: &mut fastrand::Rng) {
    let path = store.join(&place.file);
    let mut bytes = std::fs::read(&path).expect("a file");
    let end = bytes.len().min(place.offset + STEP);
    match place.damage {
        Damage::Flip => bytes[random.usize(place.offset..end)] ^= 1 << random.u8(0..8),
        Damage::Zeros => bytes[place.offset..end].fill(0),
        Damage::Cut => bytes.truncate(place.offset),
    }
    std::fs::write(&path, bytes).expect("written");
}

/// What can still be seen of the original.
struct Seen {
    missing: Vec<String>,
    attempts: usize,
}

async fn look(admin: &Client, original: &Original) -> Seen {
    let mut missing = Vec::new();
    for webhook in &original.webhooks {
        if admin.get(&format!("/webhooks/{webhook}")).await.status() != 200 {
            missing.push(format!("the webhook {webhook}"));
        }
    }
    let mut readers = JoinSet::new();
    for events in original.events.chunks(original.events.len().div_ceil(READERS)) {
        let (admin, events) = (admin.clone(), events.to_vec());
        readers.spawn(async move {
            let mut missing = Vec::new();
            for event in events {
                let answer = admin.get(&format!("/events/{event}")).await;
                if answer.status() != 200 || answer.json()["deliveries"].as_array().is_none_or(Vec::is_empty) {
                    missing.push(format!("{} {event}", answer.status()));
                }
            }
            missing
        });
    }
    while let Some(some) = readers.join_next().await {
        missing.extend(some.expect("a reader"));
    }
    let mut attempts = 0;
    for webhook in &original.webhooks {
        let mut path = format!("/webhooks/{webhook}/deliveries?limit=200");
        loop {
            let answer = admin.get(&path).await;
            if answer.status() != 200 {
                missing.push(format!("the history: {}", answer.status()));
                break;
            }
            let page = answer.list();
            attempts += page.len();
            let Some(last) = page.last().filter(|_| page.len() == 200) else { break };
            let last = last["id"].as_str().expect("an id");
            path = format!("/webhooks/{webhook}/deliveries?limit=200&before={last}");
        }
    }
    if attempts < original.attempts {
        missing.push(format!("{} attempts of the history", original.attempts - attempts));
    }
    Seen { missing, attempts }
}

/// Starts a host on a damaged copy and looks at everything; how it was met, and in words.
async fn meet(original: &Original, place: &Place, seed: u64) -> (Met, String) {
    let copy = copied(original);
    damage(&copy.path().join("data/store"), place, &mut fastrand::Rng::with_seed(seed));
    // On another copy of the same: the check may change what it looks at.
    let checked = copied(original);
    damage(&checked.path().join("data/store"), place, &mut fastrand::Rng::with_seed(seed));
    let starting = Host::attempt(|options| options.folder(&copy).retry_every("1h"));
    let host = match tokio::time::timeout(HANGS, starting).await {
        Err(_) => return (Met::Wrong, "it hangs while it starts".into()),
        Ok(Err(ended)) => return refused(&ended),
        Ok(Ok(host)) => host,
    };
    let mut host = host;
    host.may_panic();
    let admin = host.visitor().with_token(&original.token);
    let looking = async {
        let ready = host.visitor().outside().get("/readyz").await;
        let seen = look(&admin, original).await;
        let next = admin.post("/events", &events::minimal("phase_changed")).await.status();
        let metrics = host.visitor().outside().get("/metrics").await;
        (ready, seen, next, metrics)
    };
    let Ok((ready, seen, next, metrics)) = tokio::time::timeout(HANGS, looking).await else {
        return (Met::Wrong, format!("it hangs: {}", last_lines(&host.log())));
    };
    let log = host.log();
    let counted = metrics.text().lines().find_map(|line| line.strip_prefix("heraldry_store_damaged_records "));
    let counted: u64 = counted.and_then(|number| number.trim().parse().ok()).unwrap_or(0);
    let told = counted > 0 || ready.status() != 200 || log.contains("damaged") || log.contains("lost");
    let check = tokio::task::spawn_blocking(move || {
        let output =
            binary(checked.path()).args(["store", "check", "--data"]).arg(checked.path().join("data")).output();
        output.expect("the binary runs").status.code()
    });
    let check = check.await.expect("it ends");
    let words = format!(
        "{} missing{}, damaged records {counted}, readyz {}, the next event {next}, store check {check:?}{}",
        seen.missing.len(),
        seen.missing.first().map_or(String::new(), |first| format!(" ({first} ...)")),
        ready.status(),
        if log.contains("panicked at") { ", a panic in the log" } else { "" },
    );
    let met = match (seen.missing.is_empty(), told) {
        _ if !matches!(next, 202 | 401 | 503) => Met::Wrong,
        (true, _) => Met::Whole,
        (false, true) => Met::Told,
        (false, false) if check != Some(0) => Met::OnlyChecked,
        (false, false) => Met::Silent,
    };
    (met, words)
}

fn refused(ended: &Ended) -> (Met, String) {
    let helps = ended.log.contains("hint: ") && ended.code == Some(1);
    let sentence = ended.log.lines().find(|line| line.starts_with("error: ")).unwrap_or_default().to_owned();
    let sentence = sentence.split_once("/data/store").map_or(sentence.as_str(), |(_, rest)| rest).trim().to_owned();
    if helps && !sentence.is_empty() {
        (Met::Refused, sentence)
    } else {
        (Met::Wrong, format!("it ended with {:?}: {}", ended.code, last_lines(&ended.log)))
    }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" | ")
}

#[expect(clippy::print_stdout, reason = "which places are met how is what the long one is run for")]
async fn run(count: usize) -> BTreeMap<Met, Vec<String>> {
    let seed = fastrand::u64(..);
    println!("the seed is {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let original = original().await;
    let places = places(&original.folder.path().join("data/store"));
    let all = places.len();
    let mut met: BTreeMap<Met, Vec<String>> = BTreeMap::new();
    for place in chosen(places, count, &mut random) {
        let (how, words) = meet(&original, &place, random.u64(..)).await;
        println!("{place}: {how:?}: {words}");
        met.entry(how).or_default().push(format!("{place}: {words}"));
    }
    let tally: Vec<String> = met.iter().map(|(how, places)| format!("{how:?} {}", places.len())).collect();
    println!("of {all} places: {}", tally.join(", "));
    met
}
