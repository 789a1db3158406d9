//! `heraldry formatter test`: compares whole outputs with golden files beside the component. The layout is that of
//! the SDK (`heraldry_formatter::golden`), so that a Rust project has one set of files for this and for `cargo test`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use heraldry_formatter::{Error, Header, Payload, Problem, golden};

use super::super::failure::Failure;
use super::super::terminal::{self, line, note, plural};
use super::cases::{self, Case};
use super::{ToolArgs, diff, digests, load, runtime};
use crate::formatter::{ComponentRuntime, Loaded, RenderError};
use crate::json::fault::Fault;
use crate::model::url::TransportKind;

pub(super) const HELP: &str = "\
Golden files are in golden/ beside the component, one per sample event and one per file in cases/ \
(`{\"event\": a sample's name or an event, \"options\": {…}}`). Whole outputs are compared. A component that has \
digests has golden files of some of them in golden-digest/.

Exit codes: 0 all outputs match, 1 at least one differs.";

pub(super) fn run(file: &Path, bless: bool, tool: &ToolArgs) -> Result<(), Failure> {
    let runtime = runtime(tool)?;
    let loaded = load(&runtime, file)?;
    let beside = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let cases = cases::all(&runtime, &loaded, beside)?;
    let outputs: BTreeMap<String, String> =
        cases.iter().map(|case| output(&runtime, &loaded, case)).collect::<Result<_, Failure>>()?;
    let of_digests: BTreeMap<String, String> = digests::cases(&runtime, &loaded)?
        .iter()
        .map(|case| digests::output(&runtime, &loaded, case))
        .collect::<Result<_, Failure>>()?;
    let folders = [("golden", outputs), ("golden-digest", of_digests)];
    let (mut wrong, mut passed) = (0, 0);
    for (name, outputs) in &folders {
        let folder = beside.join(name);
        let golden_files = read(&folder)?;
        passed += outputs.len() as u64;
        wrong += if bless { write(&folder, &golden_files, outputs)? } else { compare(name, &golden_files, outputs)? };
    }
    if bless {
        note(format_args!("{passed} golden files, {wrong} of them changed; review the diff before you commit them"));
        return Ok(());
    }
    if wrong == 0 {
        return line(format_args!("{}{}, all match{:#}", terminal::GOOD, plural(passed, "case"), terminal::GOOD));
    }
    line(format_args!("{}{} of {passed} differ{:#}", terminal::BAD, wrong, terminal::BAD))?;
    let hint = if beside.join("golden").is_dir() { "" } else { " (none exist yet)" };
    note(format_args!("hint: `--bless` rewrites the golden files{hint}; review the diff before you commit them"));
    Err(Failure::already_printed())
}

/// Name and text of the golden file for one case.
fn output(runtime: &ComponentRuntime, loaded: &Loaded, case: &Case) -> Result<(String, String), Failure> {
    let run = runtime.run(loaded, &case.event, &case.options, TransportKind::Http);
    let (extension, text) = match run.result {
        Ok(payload) => golden::show(&Ok(Payload {
            content_type: payload.content_type,
            headers: payload.headers.into_iter().map(|(name, value)| Header { name, value }).collect(),
            body: payload.body.to_vec(),
        })),
        Err(error) => golden::show(&Err(component_error(error).map_err(|error| {
            let error = anyhow::anyhow!("{}: {error}", case.name);
            Failure::failed(error, "run `heraldry formatter preview` to see the call")
        })?)),
    };
    Ok((format!("{}.{extension}", case.name), text))
}

/// Converts an error that the component returned. An error of the host (a trap, a limit) fails the command.
fn component_error(error: RenderError) -> Result<Error, RenderError> {
    let problems = |faults: Vec<Fault>| {
        faults.into_iter().map(|fault| Problem { pointer: fault.pointer, message: fault.detail }).collect()
    };
    match error {
        RenderError::Unsupported(event_type) => Ok(Error::UnsupportedEvent(event_type)),
        RenderError::InvalidOptions(faults) => Ok(Error::InvalidOptions(problems(faults))),
        RenderError::InvalidEvent(faults) => Ok(Error::InvalidEvent(problems(faults))),
        RenderError::Internal(message) => Ok(Error::Internal(message)),
        other => Err(other),
    }
}

/// The existing golden files, by name.
fn read(folder: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let mut golden_files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".txt") && !name.ends_with(".json") {
            continue;
        }
        let bytes = std::fs::read(entry.path()).map_err(|error| cannot(&entry.path(), &error))?;
        golden_files.insert(name, String::from_utf8_lossy(&bytes).into_owned());
    }
    Ok(golden_files)
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(
        anyhow::anyhow!("{}: {error}", path.display()),
        "check the folder's permissions and the free space of the disk",
    )
}

/// Writes the files of one folder; the number of those that changed.
fn write(
    folder: &Path,
    golden_files: &BTreeMap<String, String>,
    outputs: &BTreeMap<String, String>,
) -> Result<u64, Failure> {
    if !outputs.is_empty() {
        std::fs::create_dir_all(folder).map_err(|error| cannot(folder, &error))?;
    }
    let mut changed = 0;
    for (name, text) in outputs.iter().filter(|(name, text)| golden_files.get(*name) != Some(text)) {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| cannot(&path, &error))?;
        changed += 1;
    }
    for name in golden_files.keys().filter(|name| !outputs.contains_key(*name)) {
        let path: PathBuf = folder.join(name);
        std::fs::remove_file(&path).map_err(|error| cannot(&path, &error))?;
        changed += 1;
    }
    Ok(changed)
}

/// Compares the outputs of one folder with its files; the number of those that differ.
fn compare(
    folder: &str,
    golden_files: &BTreeMap<String, String>,
    outputs: &BTreeMap<String, String>,
) -> Result<u64, Failure> {
    let mut wrong = 0;
    for (name, text) in outputs {
        match golden_files.get(name) {
            Some(golden) if golden == text => continue,
            Some(golden) => diff::show(&format!("{folder}/{name} (-) and the output (+)"), golden, text)?,
            None => line(format_args!("{}{folder}/{name} does not exist{:#}", terminal::BAD, terminal::BAD))?,
        }
        wrong += 1;
    }
    for name in golden_files.keys().filter(|name| !outputs.contains_key(*name)) {
        line(format_args!("{}{folder}/{name} belongs to no case{:#}", terminal::BAD, terminal::BAD))?;
        wrong += 1;
    }
    Ok(wrong)
}
