//! `heraldry store`: care of the store.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal as _, Write};
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
The host must be stopped. Every record is read once; --repair queues again what waits and stands in no queue, removes
what cannot be read and counts anew. Exit code: 0 nothing wrong (or mended), 1 something is.

Example:
  heraldry store check --data /var/lib/heraldry";

const EXPORT_HELP: &str = "\
Asks the running host when there is one (HERALDRY_URL, HERALDRY_TOKEN of an admin), else reads the data folder. What
is secret stays encrypted: keep DATA/master.key (or HERALDRY_MASTER_KEY) apart from the export, nothing can be
imported without it.

Example:
  heraldry store export --out backup.ndjson";

const IMPORT_HELP: &str = "\
Into a data folder without a store; put the master key of the exported host there first (or set
HERALDRY_MASTER_KEY). An export that was cut or changed makes nothing.

Example:
  install -m 600 master.key restored/ && heraldry store import backup.ndjson --data restored";

const COMPACT_HELP: &str = "\
The host must be stopped, and there must be space for a copy. Space that the store no longer needs is used again by
itself; this gives it back to the disk.

Example:
  heraldry store compact --data /var/lib/heraldry";

#[derive(Subcommand)]
pub(super) enum Command {
    /// Is everything there, and readable?
    #[command(after_help = CHECK_HELP)]
    Check {
        #[command(flatten)]
        data: DataArgs,
        /// Mend what can be mended
        #[arg(long)]
        repair: bool,
        /// Print JSON on standard output, for programs
        #[arg(long)]
        json: bool,
    },
    /// Write everything into one file, also while the host runs
    #[command(after_help = EXPORT_HELP)]
    Export {
        #[command(flatten)]
        data: DataArgs,
        /// The file to write; it must not be there yet [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Make a store from an export
    #[command(after_help = IMPORT_HELP)]
    Import {
        /// The export; - for standard input
        file: PathBuf,
        #[command(flatten)]
        data: DataArgs,
        /// Print JSON on standard output, for programs
        #[arg(long)]
        json: bool,
    },
    /// Give back disk space
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
        Command::Import { file, data, json } => blocking(move || import(&config(&data)?, &file, json)).await,
        Command::Compact { data, json } => blocking(move || compact(&config(&data)?, json)).await,
    }
}

async fn blocking(work: impl FnOnce() -> Result<(), Failure> + Send + 'static) -> Result<(), Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Failure::failed(error, "this is a fault of Heraldry's own"))?
}

fn config(data: &DataArgs) -> Result<Config, Failure> {
    data.load().map_err(|error| Failure::usage(error, "`heraldry serve --help` lists every setting"))
}

const STOPPED: &str = "the host must be stopped, and HERALDRY_MASTER_KEY set if it is set for the host";

fn open(config: &Config) -> Result<Maintenance, Failure> {
    Maintenance::open(&config.data, config.master_key.clone()).or_hint(STOPPED)
}

fn check(config: &Config, repair: bool, json: bool) -> Result<(), Failure> {
    let care = open(config)?;
    let unread = "the disk cannot be read; restore an export or a copy of the data folder";
    let report = care.check().or_hint(unread)?;
    let repaired = if repair && !report.is_clean() {
        Some(care.repair(SystemClock::start().now()).or_hint(unread)?)
    } else {
        None
    };
    let mended = repaired.is_some() && care.check().or_hint(unread)?.is_clean();
    let good = report.is_clean() || mended;
    if json {
        let report = serde_json::json!({ "ok": good, "found": report, "repaired": repaired });
        line(report.to_string())?;
    } else {
        show(&report)?;
        if let Some(repaired) = repaired {
            note(format_args!(
                "queued again: {}; removed because they cannot be read: {}",
                plural(repaired.requeued, "delivery"),
                plural(repaired.removed, "record")
            ));
        }
    }
    if good {
        return Ok(());
    }
    if json || repair {
        return Err(Failure::already_said());
    }
    note("hint: `heraldry store check --repair` mends what can be mended; an export or a copy brings back the rest");
    Err(Failure::already_said())
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
    terminal::table(&["RECORDS", "THERE", "DAMAGED"], &rows)?;
    if report.lost > 0 {
        line(format_args!("{BAD}{} that wait and stand in no queue{BAD:#}", plural(report.lost, "delivery")))?;
    }
    let Missing { events, webhooks, tokens, journal } = report.missing;
    for (missing, noun) in [(events, "event"), (webhooks, "webhook"), (tokens, "token")] {
        if missing > 0 {
            line(format_args!("{BAD}{} missing, by the store's own count{BAD:#}", plural(missing, noun)))?;
        }
    }
    if journal > 0 {
        line(format_args!("{BAD}the journal was damaged in {}{BAD:#}", plural(journal, "place")))?;
    }
    for fault in &report.audit {
        line(format_args!("{BAD}audit log: {fault}{BAD:#}"))?;
    }
    if report.is_clean() { line(format_args!("{GOOD}nothing is wrong{GOOD:#}")) } else { Ok(()) }
}

async fn export(config: Config, out: Option<PathBuf>, client: ClientArgs) -> Result<(), Failure> {
    let opened = Maintenance::open(&config.data, config.master_key.clone());
    let care = match opened {
        Ok(care) => Some(care),
        Err(OpenError::InUse { .. }) => None,
        // Nothing here, but a host somewhere else was named.
        Err(OpenError::Folder { .. }) if client.token.is_some() => None,
        Err(error) => return Err(Failure::failed(error, STOPPED)),
    };
    let mut sink = Sink::new(out)?;
    match care {
        Some(care) => {
            let files = app::component_files(&config.data);
            sink = tokio::task::spawn_blocking(move || {
                let now = SystemClock::start().now();
                let exported = care.export(&files, now, &mut |bytes| sink.put(&bytes));
                exported.or_hint("the store cannot be read; `heraldry store check` says more").map(|()| sink)
            })
            .await
            .or_hint("this is a fault of Heraldry's own")??;
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

/// Where an export goes: a file of its own, readable for its owner, or standard output.
struct Sink {
    out: Box<dyn Write + Send>,
    /// Where the file goes once it is whole.
    file: Option<(PathBuf, PathBuf)>,
    last: Vec<u8>,
    failed: Option<std::io::Error>,
}

impl Sink {
    fn new(out: Option<PathBuf>) -> Result<Self, Failure> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let (out, file): (Box<dyn Write + Send>, _) = match out {
            Some(path) => {
                let hint = "name a file that is not there yet, in a folder that can be written";
                if path.exists() {
                    return Err(Failure::failed(anyhow::anyhow!("{} is there already", path.display()), hint));
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
        // The last line tells whether the export is whole.
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
            return Err(Failure::failed(error, "is there space on the disk?"));
        }
        if !self.last.starts_with(b"{\"end\":true") {
            let error = anyhow::anyhow!("the export broke off before its end");
            return Err(Failure::failed(error, "look into the host's log, then repeat"));
        }
        if let Some((part, path)) = &self.file {
            let hint = "is the folder still there, and writable?";
            File::open(part).and_then(|file| file.sync_all()).or_hint(hint)?;
            std::fs::rename(part, path).or_hint(hint)?;
            note(format_args!("exported to {}; keep the master key apart from it", path.display()));
        }
        Ok(())
    }
}

impl Drop for Sink {
    /// A part that did not become an export is of no use. One that did is not there any more.
    fn drop(&mut self) {
        if let Some((part, _)) = &self.file {
            let _ = std::fs::remove_file(part);
        }
    }
}

fn import(config: &Config, file: &Path, json: bool) -> Result<(), Failure> {
    let mut source: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(file).or_hint("the export to import, or - for standard input")?))
    };
    let imported =
        crate::store::import(&config.data, config.master_key.clone(), SystemClock::start().now(), &mut source);
    let imported = imported.or_hint(
        "nothing was made; put the exported host's master.key into the data folder, or set HERALDRY_MASTER_KEY",
    )?;
    if json {
        return line(serde_json::json!(imported).to_string());
    }
    note(format_args!(
        "imported {} and {} into {}; {} queued again",
        plural(imported.records, "record"),
        plural(imported.files, "file"),
        config.data.display(),
        plural(imported.requeued, "delivery")
    ));
    Ok(())
}

fn compact(config: &Config, json: bool) -> Result<(), Failure> {
    let (before, after) = open(config)?.compact().or_hint("is there space for a copy of the store?")?;
    if json {
        return line(serde_json::json!({ "before_bytes": before, "after_bytes": after }).to_string());
    }
    note(format_args!("the store had {before} bytes and has {after}"));
    Ok(())
}
