//! `heraldry formatter test`: whole outputs against golden files beside the component. Their layout is the SDK's
//! (`heraldry_formatter::golden`), so that a project in Rust has one set of files for this and for `cargo test`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use heraldry_formatter::{Error, Header, Payload, Problem, golden};

use super::super::failure::Failure;
use super::super::terminal::{self, line, note, plural};
use super::cases::{self, Case};
use super::{ToolArgs, diff, load, runtime};
use crate::formatter::{ComponentRuntime, Loaded, RenderError};
use crate::json::fault::Fault;
use crate::model::url::TransportKind;

pub(super) const HELP: &str = "\
Golden files are in golden/ beside the component, one for each sample event, and one for each file of cases/
(`{\"event\": a sample's name or an event, \"options\": {…}}`). Whole outputs are compared.

Exit codes: 0 all as before, 1 something differs.";

pub(super) fn run(file: &Path, bless: bool, tool: &ToolArgs) -> Result<(), Failure> {
    let runtime = runtime(tool)?;
    let loaded = load(&runtime, file)?;
    let beside = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let cases = cases::all(&runtime, &loaded, beside)?;
    let folder = beside.join("golden");
    let outputs: BTreeMap<String, String> =
        cases.iter().map(|case| output(&runtime, &loaded, case)).collect::<Result<_, Failure>>()?;
    let kept = read(&folder)?;
    if bless {
        return write(&folder, &kept, &outputs);
    }
    compare(&folder, &kept, &outputs)
}

/// The golden file's name and text for one case.
fn output(runtime: &ComponentRuntime, loaded: &Loaded, case: &Case) -> Result<(String, String), Failure> {
    let run = runtime.run(loaded, &case.event, &case.options, TransportKind::Http);
    let (extension, text) = match run.result {
        Ok(payload) => golden::show(&Ok(Payload {
            content_type: payload.content_type,
            headers: payload.headers.into_iter().map(|(name, value)| Header { name, value }).collect(),
            body: payload.body.to_vec(),
        })),
        Err(error) => golden::show(&Err(given(error).map_err(|error| {
            let error = anyhow::anyhow!("{}: {error}", case.name);
            Failure::failed(error, "`heraldry formatter preview` shows the call")
        })?)),
    };
    Ok((format!("{}.{extension}", case.name), text))
}

/// The error that the component returned; one of the host's own is a failure of the test.
fn given(error: RenderError) -> Result<Error, RenderError> {
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

/// The files that are there, by name.
fn read(folder: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let mut kept = BTreeMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".txt") && !name.ends_with(".json") {
            continue;
        }
        let bytes = std::fs::read(entry.path()).map_err(|error| cannot(&entry.path(), &error))?;
        kept.insert(name, String::from_utf8_lossy(&bytes).into_owned());
    }
    Ok(kept)
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(anyhow::anyhow!("{}: {error}", path.display()), "check the folder's permissions and the disk")
}

fn write(folder: &Path, kept: &BTreeMap<String, String>, outputs: &BTreeMap<String, String>) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|error| cannot(folder, &error))?;
    let mut changed = 0;
    for (name, text) in outputs.iter().filter(|(name, text)| kept.get(*name) != Some(text)) {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| cannot(&path, &error))?;
        changed += 1;
    }
    for name in kept.keys().filter(|name| !outputs.contains_key(*name)) {
        let path: PathBuf = folder.join(name);
        std::fs::remove_file(&path).map_err(|error| cannot(&path, &error))?;
        changed += 1;
    }
    note(format_args!("{} golden files, {changed} of them changed; review the difference", outputs.len()));
    Ok(())
}

fn compare(folder: &Path, kept: &BTreeMap<String, String>, outputs: &BTreeMap<String, String>) -> Result<(), Failure> {
    let mut wrong = 0;
    for (name, text) in outputs {
        match kept.get(name) {
            Some(golden) if golden == text => continue,
            Some(golden) => diff::show(&format!("golden/{name} (-) and what came out (+)"), golden, text)?,
            None => line(format_args!("{}golden/{name} is not there{:#}", terminal::BAD, terminal::BAD))?,
        }
        wrong += 1;
    }
    for name in kept.keys().filter(|name| !outputs.contains_key(*name)) {
        line(format_args!("{}golden/{name} is of no case any more{:#}", terminal::BAD, terminal::BAD))?;
        wrong += 1;
    }
    let passed = outputs.len() as u64;
    if wrong == 0 {
        return line(format_args!("{}{}, all as before{:#}", terminal::GOOD, plural(passed, "case"), terminal::GOOD));
    }
    line(format_args!("{}{} of {passed} differ{:#}", terminal::BAD, wrong, terminal::BAD))?;
    let hint = if folder.is_dir() { "" } else { " (there are no golden files yet)" };
    note(format_args!("hint: `--bless` writes the golden files anew{hint}; review the difference"));
    Err(Failure::already_said())
}
