//! The journal, a write-ahead log: every commit is appended to a file and synced before it is acknowledged.
//!
//! sled is durable too, but its flush writes and syncs whole segments; measured, that made a commit of 64 events take
//! several times as long as appending and syncing the same bytes. So a commit is durable here, and sled follows at
//! checkpoints. After a crash the files are replayed over what sled has: final values of keys, in order, so that
//! replaying one twice changes nothing.
//!
//! There are two files, used in turn: one gets commits while those of the other are brought to sled's own file. A file
//! is overwritten from its beginning, which needs no new space and no new metadata on the disk. It begins with its
//! generation, and a record's checksum covers the generation, so that records of an earlier generation are no records.
//! For that no generation may be used twice, not even by a process that finds none: it begins at a random number.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::txn::Txn;

/// The beginning of a file.
const MAGIC: &[u8; 8] = b"hrldjrn1";
/// Magic, generation, checksum of both.
const HEAD: usize = 8 + 8 + 4;
/// The beginning of a file whose commits are in sled's own file.
const SETTLED: &[u8; HEAD] = b"hrldjrn settled.....";
/// The beginning of a record.
const RECORD_MAGIC: &[u8; 4] = b"\xb5hrd";
/// Magic, length of the body, checksum of generation and body.
const RECORD_HEAD: usize = 4 + 4 + 4;
const NAMES: [&str; 2] = ["journal.0", "journal.1"];

/// The two files, one of them in use.
pub(super) struct Journal {
    files: [File; 2],
    /// The index of the file that gets commits.
    active: usize,
    generation: u64,
    /// The offset of the next record in the active file; 0: its head is not written yet.
    end: u64,
    /// The offset of the last record.
    last: u64,
    /// The index of the file that had the earlier commits when they were opened.
    older: usize,
    /// True if the other file's commits are in sled's own file.
    spare: bool,
    /// The last record's bytes: their memory is used for the next one.
    buffer: Vec<u8>,
}

/// The memory that is kept for the next record, in bytes.
const BUFFER: usize = 1024 * 1024;

/// One change: a key, and its value unless it is removed.
type Op = (Vec<u8>, Option<Vec<u8>>);

/// The changes of one commit.
pub(super) type Commit = Vec<Op>;

impl Journal {
    /// Opens the files in a folder; with every commit in them, in order, and the number of damaged spots.
    pub(super) fn open(folder: &Path) -> io::Result<(Self, Vec<Commit>, u64)> {
        let paths = NAMES.map(|name| folder.join(name));
        let mut found: Vec<(usize, Content)> = Vec::new();
        for (index, path) in paths.iter().enumerate() {
            match std::fs::read(path) {
                Ok(bytes) => found.push((index, read(&bytes))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        found.sort_by_key(|(_, content)| content.generation);
        let generation = match found.last().map(|(_, content)| content.generation) {
            Some(newest) if newest > 0 => newest + 1,
            _ => fresh_generation()?,
        };
        let older = found.first().map_or(0, |(index, _)| *index);
        let damaged = found.iter().map(|(_, content)| content.damaged).sum();
        let commits = found.into_iter().flat_map(|(_, content)| content.commits).collect();
        let open = |path: &PathBuf| OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
        let files = [open(&paths[0])?, open(&paths[1])?];
        File::open(folder)?.sync_all()?;
        let buffer = Vec::new();
        Ok((Self { files, active: 0, generation, end: 0, last: 0, older, spare: true, buffer }, commits, damaged))
    }

    /// The size of the active file, in bytes: commits that are not known to be in sled's own file.
    pub(super) fn bytes(&self) -> u64 {
        self.end
    }

    /// Appends a commit. It is durable once [`Journal::sync`] has returned.
    pub(super) fn append(&mut self, txns: &[&Txn]) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.buffer);
        bytes.clear();
        bytes.reserve(HEAD + RECORD_HEAD + txns.iter().map(|txn| txn.bytes() + 64).sum::<usize>());
        if self.end == 0 {
            bytes.extend_from_slice(MAGIC);
            bytes.extend_from_slice(&self.generation.to_le_bytes());
            let checksum = crc32fast::hash(&bytes);
            bytes.extend_from_slice(&checksum.to_le_bytes());
        }
        let start = bytes.len();
        bytes.extend_from_slice(&[0; RECORD_HEAD]);
        txns.iter()
            .flat_map(|txn| txn.ops())
            .for_each(|(key, value)| encode(key, value.map(|value| &**value), &mut bytes));
        let body = start + RECORD_HEAD;
        let length = u32::try_from(bytes.len() - body).map_err(|_| io::Error::other("a commit of more than 4 GiB"))?;
        let checksum = checksum(self.generation, &bytes[body..]);
        bytes[start..start + 4].copy_from_slice(RECORD_MAGIC);
        bytes[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
        bytes[start + 8..body].copy_from_slice(&checksum.to_le_bytes());
        self.files[self.active].write_all_at(&bytes, self.end)?;
        self.last = self.end + start as u64;
        self.end += bytes.len() as u64;
        bytes.truncate(BUFFER);
        bytes.shrink_to(BUFFER);
        self.buffer = bytes;
        Ok(())
    }

    /// Waits until the appended commits are on the disk (fsync).
    pub(super) fn sync(&self) -> io::Result<()> {
        let file = &self.files[self.active];
        file.sync_data()?;
        // Data in a removed file is lost when the process ends.
        if file.metadata()?.nlink() == 0 {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the store's files were removed"));
        }
        Ok(())
    }

    /// Removes the last commit, which was not acknowledged.
    pub(super) fn undo(&mut self) -> io::Result<()> {
        self.files[self.active].write_all_at(&[0; RECORD_HEAD], self.last)?;
        self.end = self.last;
        self.sync()
    }

    /// Switches to the other file, if it is free; the commits so far can then be brought to sled's own file.
    pub(super) fn rotate(&mut self) -> bool {
        if !self.spare || self.end == 0 {
            return false;
        }
        self.active = 1 - self.active;
        self.generation += 1;
        self.end = 0;
        self.last = 0;
        self.spare = false;
        true
    }

    /// Called when the commits from before the last [`Journal::rotate`] are in sled's own file: a start does not replay
    /// them any more. There is no need to wait until that is on the disk.
    pub(super) fn settled(&mut self) -> io::Result<()> {
        self.files[1 - self.active].write_all_at(SETTLED, 0)?;
        self.spare = true;
        Ok(())
    }

    /// Settles both files, whose commits are in sled's own file. The older one first: a file must never be replayed
    /// without the one that came after it.
    fn forget(&self, older: usize) -> io::Result<()> {
        for file in [older, 1 - older] {
            self.files[file].write_all_at(SETTLED, 0)?;
            self.files[file].sync_data()?;
        }
        Ok(())
    }

    /// Called when the commits that were found are in sled's own file.
    pub(super) fn replayed(&self) -> io::Result<()> {
        self.forget(self.older)
    }

    /// Removes the files: all commits are in sled's own, and none follows.
    pub(super) fn clear(&self, folder: &Path) -> io::Result<()> {
        self.forget(1 - self.active)?;
        for name in NAMES {
            match std::fs::remove_file(folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// A generation that no process before this one used, for when neither file says which was the last.
fn fresh_generation() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    // Never 0, and far from the largest number.
    Ok((u64::from_le_bytes(bytes) >> 1) | 1)
}

fn checksum(generation: u64, body: &[u8]) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&generation.to_le_bytes());
    hash.update(body);
    hash.finalize()
}

/// Key and value, each after its length; a removed key has the length of no value.
fn encode(key: &[u8], value: Option<&[u8]>, bytes: &mut Vec<u8>) {
    const REMOVED: u32 = u32::MAX;
    let length = |length: usize| u32::try_from(length).unwrap_or(REMOVED - 1).to_le_bytes();
    bytes.extend_from_slice(&length(key.len()));
    match value {
        Some(value) => bytes.extend_from_slice(&length(value.len())),
        None => bytes.extend_from_slice(&REMOVED.to_le_bytes()),
    }
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(value.unwrap_or_default());
}

fn decode(mut body: &[u8]) -> Option<Commit> {
    let mut ops = Vec::new();
    while !body.is_empty() {
        let (key_length, rest) = body.split_first_chunk::<4>()?;
        let (value_length, rest) = rest.split_first_chunk::<4>()?;
        let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key_length) as usize)?;
        let (value, rest) = match u32::from_le_bytes(*value_length) {
            u32::MAX => (None, rest),
            length => {
                let (value, rest) = rest.split_at_checked(length as usize)?;
                (Some(value.to_vec()), rest)
            }
        };
        ops.push((key.to_vec(), value));
        body = rest;
    }
    Some(ops)
}

/// The content of one file.
#[derive(Default)]
struct Content {
    generation: u64,
    commits: Vec<Commit>,
    /// Spots that cannot be read although a record follows them, and a beginning that is none: the disk changed them.
    damaged: u64,
}

/// A file's commits. The last one may be cut: it was never acknowledged, or was undone. One that cannot be read and is
/// followed by others was changed by the disk and is skipped.
fn read(bytes: &[u8]) -> Content {
    let mut content = Content::default();
    let Some((head, mut rest)) = bytes.split_first_chunk::<HEAD>() else { return content };
    let Some(generation) = generation(head) else {
        content.damaged = u64::from(head != SETTLED);
        return content;
    };
    content.generation = generation;
    loop {
        if let Some((commit, after)) = record(generation, rest) {
            content.commits.push(commit);
            rest = after;
            continue;
        }
        // The rest of an earlier generation matches no checksum.
        let next = (1..rest.len())
            .find(|&start| rest[start..].starts_with(RECORD_MAGIC) && record(generation, &rest[start..]).is_some());
        let Some(next) = next else { return content };
        content.damaged += 1;
        rest = &rest[next..];
    }
}

fn generation(head: &[u8; HEAD]) -> Option<u64> {
    let (content, sum) = head.split_last_chunk::<4>()?;
    let generation = u64::from_le_bytes(content.strip_prefix(MAGIC)?.try_into().ok()?);
    (crc32fast::hash(content).to_le_bytes() == *sum).then_some(generation)
}

/// The commit that these bytes begin with, and what follows it.
fn record(generation: u64, bytes: &[u8]) -> Option<(Commit, &[u8])> {
    let (length, rest) = bytes.strip_prefix(RECORD_MAGIC)?.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    if body.is_empty() || checksum(generation, body).to_le_bytes() != *sum {
        return None;
    }
    Some((decode(body)?, rest))
}

/// Properties that [`crate::fuzzing::journal`] checks.
#[cfg(fuzzing)]
pub(crate) mod fuzzing {
    use super::*;

    const GENERATION: u64 = 7;

    /// Reads a file of records with these bodies: whole, cut at `at`, and with one bit flipped at `at`.
    ///
    /// A whole file gives every commit; a cut one the commits that are complete; one with a flipped bit all but the
    /// commit that the bit stands in. What an earlier generation left behind is never read.
    pub(crate) fn check(bodies: &[&[u8]], at: usize, bit: u8) {
        let (mut file, mut commits, mut ends) = (head(GENERATION), Vec::new(), Vec::new());
        // A record within a record could be found where the outer one is damaged. Only a writer that knows the
        // generation, which is random, can make one.
        let nests = |body: &&[u8]| body.windows(RECORD_MAGIC.len()).any(|window| window == RECORD_MAGIC);
        if bodies.iter().any(nests) {
            return;
        }
        for body in bodies {
            let Some(commit) = decode(body).filter(|commit| !commit.is_empty()) else { break };
            let mut encoded = Vec::new();
            commit.iter().for_each(|(key, value)| encode(key, value.as_deref(), &mut encoded));
            assert_eq!(encoded, *body, "one commit has one encoding");
            file.extend(framed(GENERATION, body));
            commits.push(commit);
            ends.push(file.len());
        }
        let whole = read(&file);
        assert_eq!((whole.generation, &whole.commits, whole.damaged), (GENERATION, &commits, 0));

        let length = at % (file.len() + 1);
        let complete = ends.iter().filter(|end| **end <= length).count();
        let cut = read(&file[..length]);
        assert_eq!((cut.commits.as_slice(), cut.damaged), (&commits[..complete], 0));

        let at = at % file.len();
        let mut changed = file.clone();
        changed[at] ^= 1 << (bit % 8);
        let found = read(&changed);
        if at < HEAD {
            assert_eq!((found.commits.len(), found.damaged), (0, 1));
        } else {
            let lost = ends.iter().filter(|end| **end <= at).count();
            let mut left = commits.clone();
            left.remove(lost);
            // The last commit may have been cut by a crash, which is no damage.
            assert_eq!((found.commits, found.damaged), (left, u64::from(lost + 1 < commits.len())));
        }

        let mut overwritten = file;
        bodies.iter().for_each(|body| overwritten.extend(framed(GENERATION - 1, body)));
        let found = read(&overwritten);
        assert_eq!((found.commits, found.damaged), (commits, 0));
    }

    /// Reads bytes that no journal wrote.
    pub(crate) fn check_any(bytes: &[u8]) {
        read(bytes);
        let mut file = head(GENERATION);
        file.extend_from_slice(bytes);
        read(&file);
    }

    fn head(generation: u64) -> Vec<u8> {
        let mut head = [MAGIC.as_slice(), &generation.to_le_bytes()].concat();
        head.extend(crc32fast::hash(&head).to_le_bytes());
        head
    }

    fn framed(generation: u64, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).expect("a short body").to_le_bytes();
        [RECORD_MAGIC, &length, &checksum(generation, body).to_le_bytes(), body].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn txn(key: &str, value: Option<&str>) -> Txn {
        let mut txn = Txn::default();
        match value {
            Some(value) => txn.put(key, value),
            None => txn.remove(key),
        }
        txn
    }

    fn write(journal: &mut Journal, key: &str, value: Option<&str>) {
        journal.append(&[&txn(key, value)]).expect("written");
        journal.sync().expect("synced");
    }

    fn found(folder: &Path) -> Vec<String> {
        let (_, commits, _) = Journal::open(folder).expect("opened");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let op = |(key, value): Op| format!("{}={}", text(key), value.map_or("-".into(), text));
        commits.into_iter().flatten().map(op).collect()
    }

    #[test]
    fn what_was_written_is_read_in_order_over_both_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut journal, commits, _) = Journal::open(folder.path()).expect("opened");
        assert!(commits.is_empty());
        write(&mut journal, "a", Some("1"));
        write(&mut journal, "a", Some(""));
        assert!(journal.rotate());
        write(&mut journal, "a", None);
        assert!(!journal.rotate(), "the first file's commits are nowhere else yet");
        assert_eq!(found(folder.path()), ["a=1", "a=", "a=-"]);
        journal.settled().expect("written");
        assert_eq!(found(folder.path()), ["a=-"]);
        assert!(journal.rotate());
        write(&mut journal, "b", Some("2"));
        // The first file has a new beginning; what is left behind it is of an earlier generation.
        assert_eq!(found(folder.path()), ["a=-", "b=2"]);
        journal.clear(folder.path()).expect("cleared");
        assert!(found(folder.path()).is_empty());
    }

    #[test]
    fn what_was_replayed_is_never_replayed_without_what_came_after_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut journal, ..) = Journal::open(folder.path()).expect("opened");
        write(&mut journal, "a", Some("1"));
        assert!(journal.rotate());
        write(&mut journal, "a", Some("2"));
        drop(journal);
        for round in 3..6 {
            let (mut journal, commits, _) = Journal::open(folder.path()).expect("opened");
            assert_eq!(commits.last().expect("a commit")[0].1, Some((round - 1).to_string().into()));
            journal.replayed().expect("begun again");
            write(&mut journal, "a", Some(&round.to_string()));
            assert_eq!(found(folder.path()), [format!("a={round}")]);
        }
    }

    /// A process that is killed after it has replayed and before it has written leaves no generation in either file.
    /// The records of earlier processes are still behind those of the next one.
    #[test]
    fn what_earlier_lives_left_behind_is_never_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut journal, ..) = Journal::open(folder.path()).expect("opened");
        for key in ["a", "b", "c"] {
            write(&mut journal, key, Some("1"));
        }
        drop(journal);
        for _ in 0..3 {
            let (journal, ..) = Journal::open(folder.path()).expect("opened");
            journal.replayed().expect("begun again");
            drop(journal);
            let (mut journal, commits, _) = Journal::open(folder.path()).expect("opened");
            assert!(commits.is_empty(), "{commits:?}");
            write(&mut journal, "d", Some("2"));
            drop(journal);
            assert_eq!(found(folder.path()), ["d=2"]);
        }
    }

    #[test]
    fn a_commit_that_was_taken_back_or_cut_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut journal, ..) = Journal::open(folder.path()).expect("opened");
        write(&mut journal, "a", Some("1"));
        write(&mut journal, "b", Some("2"));
        journal.undo().expect("taken back");
        assert_eq!(found(folder.path()), ["a=1"]);
        write(&mut journal, "c", Some("3"));
        assert_eq!(found(folder.path()), ["a=1", "c=3"]);
        let path = folder.path().join(NAMES[0]);
        let whole = std::fs::read(&path).expect("a file");
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).expect("cut");
            let expected: &[&str] = if length < HEAD + RECORD_HEAD + 10 { &[] } else { &["a=1"] };
            assert_eq!(found(folder.path()), expected, "{length} of {} bytes", whole.len());
        }
        for index in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[index] ^= 0x40;
            std::fs::write(&path, &damaged).expect("damaged");
            assert!(found(folder.path()).len() < 2, "byte {index}");
            let (_, _, damaged) = Journal::open(folder.path()).expect("opened");
            // The last commit could have been cut by a crash; a change before it is the disk's.
            let last = whole.len() - RECORD_HEAD - 10;
            assert_eq!(damaged, u64::from(index < last), "byte {index}");
        }
    }
}
