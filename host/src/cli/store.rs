//! `heraldry store`: maintenance of the store.

use std::fs::File;
use std::io::{BufReader, IsTerminal as _, Read, Seek as _, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use reqwest::Method;

use super::client::Api;
use super::failure::{Failure, OrHint as _};
use super::terminal::{self, BAD, GOOD, line, note, plural};
use crate::app;
use crate::clock::SystemClock;
use crate::config::{ClientArgs, Config, DataArgs};
use crate::model::time::Clock as _;
use crate::store::{CheckReport, Maintenance, Missing, OpenError};

const CHECK_HELP: &str = "\
The host must be stopped. Reads every record once. --repair requeues pending deliveries that are in no queue, removes \
unreadable records and recomputes the counts. Exit codes: 0 no damage (or all of it repaired), 1 damage.

Example:
  heraldry store check --data /var/lib/heraldry";

const EXPORT_HELP: &str = "\
Reads the data folder, or, if a host is running on it, calls that host (HERALDRY_URL, and HERALDRY_TOKEN of an admin). \
Secrets stay encrypted: keep a copy of DATA/master.key (or HERALDRY_MASTER_KEY) in another place than the export, which \
cannot be imported without it.

Example:
  heraldry store export --out backup.ndjson";

const IMPORT_HELP: &str = "\
The data folder must not have a store. Put the master key of the exported host there first (or set \
HERALDRY_MASTER_KEY). The whole export is verified before anything is written: one that was truncated, changed, added to \
or made under another key is rejected. --unsigned imports an export that does not prove where it comes from, such as those \
of version 0.1.0; whoever could write to the file may then have put an admin token of their own into it.

Example:
  install -m 600 master.key restored/ && heraldry store import backup.ndjson --data restored";

const COMPACT_HELP: &str = "\
The host must be stopped, and the disk needs space for a copy of the store. The store reuses its own free space without \
this command; compacting returns it to the file system.

Example:
  heraldry store compact --data /var/lib/heraldry";

#[derive(Subcommand)]
pub(super) enum Command {
    /// Check that every record is present and readable, and repair damage
    #[command(after_help = CHECK_HELP)]
    Check {
        #[command(flatten)]
        data: DataArgs,
        /// Repair what can be repaired
        #[arg(long)]
        repair: bool,
        /// Print JSON on standard output, for programs
        #[arg(long)]
        json: bool,
    },
    /// Export the whole store to one file, also while the host runs
    #[command(after_help = EXPORT_HELP)]
    Export {
        #[command(flatten)]
        data: DataArgs,
        /// File to write, which must not exist yet [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Create a store from an export
    #[command(after_help = IMPORT_HELP)]
    Import {
        /// The export; - is standard input
        file: PathBuf,
        #[command(flatten)]
        data: DataArgs,
        /// Accept an export that is not authenticated under this master key
        #[arg(long)]
        unsigned: bool,
        /// Print JSON on standard output, for programs
        #[arg(long)]
        json: bool,
    },
    /// Return free space to the file system
    #[command(after_help = COMPACT_HELP)]
    Compact {
        #[command(flatten)]
        data: DataArgs,
        /// Print JSON on standard output, for programs
        #[arg(long)]
        json: bool,
    },
}

/// Runs one of the commands.
pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Check { data, repair, json } => blocking(move || check(&config(&data)?, repair, json)).await,
        Command::Export { data, out, client } => export(config(&data)?, out, client).await,
        Command::Import { file, data, unsigned, json } => {
            blocking(move || import(&config(&data)?, &file, unsigned, json)).await
        }
        Command::Compact { data, json } => blocking(move || compact(&config(&data)?, json)).await,
    }
}

async fn blocking(work: impl FnOnce() -> Result<(), Failure> + Send + 'static) -> Result<(), Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Failure::failed(error, "this is a bug in Heraldry: report it"))?
}

fn config(data: &DataArgs) -> Result<Config, Failure> {
    data.load().map_err(|error| Failure::usage(error, "`heraldry serve --help` lists every setting"))
}

const STOPPED_HINT: &str = "the host must be stopped, and HERALDRY_MASTER_KEY must be set if the host runs with it";

fn open(config: &Config) -> Result<Maintenance, Failure> {
    Maintenance::open(&config.data, config.master_key.clone()).or_hint(STOPPED_HINT)
}

fn check(config: &Config, repair: bool, json: bool) -> Result<(), Failure> {
    let care = open(config)?;
    let read_hint = "the store cannot be read from the disk; restore an export or a copy of the data folder";
    let report = care.check().or_hint(read_hint)?;
    let repaired = if repair && !report.is_clean() {
        Some(care.repair(SystemClock::start().now()).or_hint(read_hint)?)
    } else {
        None
    };
    let is_clean_now = repaired.is_some() && care.check().or_hint(read_hint)?.is_clean();
    let good = report.is_clean() || is_clean_now;
    if json {
        let report = serde_json::json!({ "ok": good, "found": report, "repaired": repaired });
        line(report.to_string())?;
    } else {
        show(&report)?;
        if let Some(repaired) = repaired {
            note(format_args!(
                "requeued {}; removed {} that cannot be read",
                plural(repaired.requeued, "delivery"),
                plural(repaired.removed, "record")
            ));
        }
    }
    if good {
        return Ok(());
    }
    if json || repair {
        return Err(Failure::already_printed());
    }
    note(
        "hint: repair what can be repaired with `heraldry store check --repair`; restore the rest from an export or a copy",
    );
    Err(Failure::already_printed())
}

fn show(report: &CheckReport) -> Result<(), Failure> {
    let rows: Vec<_> = report
        .kinds
        .iter()
        .map(|kind| {
            let style = if kind.damaged > 0 { BAD } else { anstyle::Style::new() };
            (style, vec![kind.kind.to_owned(), kind.records.to_string(), kind.damaged.to_string()])
        })
        .collect();
    terminal::table(&["KIND", "RECORDS", "DAMAGED"], &rows)?;
    if report.lost > 0 {
        line(format_args!("{BAD}{} in no queue{BAD:#}", plural(report.lost, "pending delivery")))?;
    }
    let Missing { events, webhooks, tokens, journal } = report.missing;
    for (missing, noun) in [(events, "event"), (webhooks, "webhook"), (tokens, "token")] {
        if missing > 0 {
            line(format_args!("{BAD}{} missing, according to the store's own count{BAD:#}", plural(missing, noun)))?;
        }
    }
    if journal > 0 {
        line(format_args!("{BAD}the journal is damaged at {}{BAD:#}", plural(journal, "position")))?;
    }
    for fault in &report.audit {
        line(format_args!("{BAD}audit log: {fault}{BAD:#}"))?;
    }
    for fault in &report.indexes {
        line(format_args!("{BAD}{fault}{BAD:#}"))?;
    }
    if let Some(imported) = &report.imported_unsigned {
        line(format_args!(
            "imported on {} from an export that was not authenticated (sha256 {})",
            imported.at, imported.sha256
        ))?;
    }
    if report.is_clean() { line(format_args!("{GOOD}no damage found{GOOD:#}")) } else { Ok(()) }
}

async fn export(config: Config, out: Option<PathBuf>, client: ClientArgs) -> Result<(), Failure> {
    let opened = Maintenance::open(&config.data, config.master_key.clone());
    let care = match opened {
        Ok(care) => Some(care),
        Err(OpenError::InUse { .. }) => None,
        // No store here, but a token for a host elsewhere.
        Err(OpenError::Folder { .. }) if client.token.is_some() => None,
        Err(error) => return Err(Failure::failed(error, STOPPED_HINT)),
    };
    let mut sink = Sink::new(out)?;
    match care {
        Some(care) => {
            let files = app::component_files(&config.data);
            sink = tokio::task::spawn_blocking(move || {
                let now = SystemClock::start().now();
                let exported = care.export(&files, now, &mut |bytes| sink.put(&bytes));
                exported
                    .or_hint("check the store with `heraldry store check` (the host must be stopped)")
                    .map(|()| sink)
            })
            .await
            .or_hint("this is a bug in Heraldry: report it")??;
        }
        None => {
            let api = Api::new(&client)?;
            let mut body = api.stream(api.request(Method::GET, "/export")).await?;
            while let Some(bytes) = body.chunk().await.map_err(|error| api.unreachable(error))? {
                if !sink.put(&bytes) {
                    break;
                }
            }
        }
    }
    sink.finish()
}

/// Destination of an export: a new file, readable by its owner only, or standard output.
struct Sink {
    out: Box<dyn Write + Send>,
    /// The temporary file, and the path that it is renamed to once it is complete.
    file: Option<(PathBuf, PathBuf)>,
    /// The last line written, which must be the end mark.
    last: Vec<u8>,
    failed: Option<std::io::Error>,
}

impl Sink {
    fn new(out: Option<PathBuf>) -> Result<Self, Failure> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let (out, file): (Box<dyn Write + Send>, _) = match out {
            Some(path) => {
                let hint = "name a file that does not exist yet, in a writable folder";
                if path.exists() {
                    return Err(Failure::failed(anyhow::anyhow!("{} exists already", path.display()), hint));
                }
                let mut part = path.clone().into_os_string();
                part.push(".part");
                let part = PathBuf::from(part);
                let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&part);
                (Box::new(std::io::BufWriter::new(file.or_hint(hint)?)), Some((part, path)))
            }
            None if std::io::stdout().is_terminal() => {
                let error = anyhow::anyhow!("standard output is a terminal");
                return Err(Failure::usage(error, "give --out FILE, or redirect the output"));
            }
            None => (Box::new(std::io::stdout()), None),
        };
        Ok(Self { out, file, last: Vec::new(), failed: None })
    }

    fn put(&mut self, bytes: &[u8]) -> bool {
        if let Err(error) = self.out.write_all(bytes) {
            self.failed = Some(error);
        }
        // Only a complete export ends with the end mark.
        self.last.extend_from_slice(bytes);
        if let Some(end) = self.last.iter().rposition(|byte| *byte == b'\n') {
            let start = self.last[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            self.last.drain(..start);
        }
        self.failed.is_none()
    }

    fn finish(mut self) -> Result<(), Failure> {
        let flushed = self.out.flush();
        let written = self.failed.take().map_or(flushed, Err);
        if let Err(error) = written {
            if error.kind() == std::io::ErrorKind::BrokenPipe {
                return Err(Failure::output_closed());
            }
            return Err(Failure::failed(error, "check the free space of the disk"));
        }
        if !self.last.starts_with(b"{\"end\":true") {
            let error = anyhow::anyhow!("the export ended before it was complete");
            return Err(Failure::failed(error, "check the host's log, then repeat the export"));
        }
        if let Some((part, path)) = &self.file {
            let hint = "check that the folder exists and is writable";
            File::open(part).and_then(|file| file.sync_all()).or_hint(hint)?;
            std::fs::rename(part, path).or_hint(hint)?;
            note(format_args!("exported to {}; keep the master key in another place", path.display()));
        }
        Ok(())
    }
}

impl Drop for Sink {
    /// Removes an incomplete export; a complete one has been renamed.
    fn drop(&mut self) {
        if let Some((part, _)) = &self.file {
            let _ = std::fs::remove_file(part);
        }
    }
}

/// The export as a file, which is read twice: once to verify it, once to import it. A pipe is copied to one first.
fn rereadable(file: &Path) -> Result<File, Failure> {
    let hint = "name a readable export, or - for standard input";
    let copy = |source: &mut dyn Read| {
        let hint =
            "standard input is copied to the folder for temporary files first: set TMPDIR to one with enough space";
        let mut copy = tempfile::tempfile().or_hint(hint)?;
        std::io::copy(source, &mut copy).or_hint(hint)?;
        copy.rewind().or_hint(hint)?;
        Ok(copy)
    };
    if file == Path::new("-") {
        return copy(&mut std::io::stdin().lock());
    }
    let mut opened = File::open(file).or_hint(hint)?;
    if opened.metadata().or_hint(hint)?.is_file() { Ok(opened) } else { copy(&mut opened) }
}

fn import(config: &Config, file: &Path, unsigned: bool, json: bool) -> Result<(), Failure> {
    let mut source = BufReader::new(rereadable(file)?);
    let now = SystemClock::start().now();
    let imported = crate::store::import(&config.data, config.master_key.clone(), now, unsigned, &mut source);
    let imported = imported.or_hint(
        "nothing was imported; put the exported host's master.key into the data folder, or set HERALDRY_MASTER_KEY",
    )?;
    if !imported.signed {
        note(format_args!(
            "{BAD}warning: nothing proves where this export comes from{BAD:#}; if others could write to it, look at every \
             token and webhook (`heraldry token list`, `heraldry webhook list`) before the host is used"
        ));
    }
    if json {
        return line(serde_json::json!(imported).to_string());
    }
    note(format_args!(
        "imported {} and {} into {}; requeued {}",
        plural(imported.records, "record"),
        plural(imported.files, "file"),
        config.data.display(),
        plural(imported.requeued, "delivery")
    ));
    Ok(())
}

fn compact(config: &Config, json: bool) -> Result<(), Failure> {
    let (before, after) = open(config)?.compact().or_hint("check that the disk has space for a copy of the store")?;
    if json {
        return line(serde_json::json!({ "before_bytes": before, "after_bytes": after }).to_string());
    }
    note(format_args!("compacted the store from {before} to {after} bytes"));
    Ok(())
}
