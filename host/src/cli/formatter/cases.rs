//! Test cases of a component: every sample event, and the author's own files in `cases/`.

use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::failure::Failure;
use super::{options, parse_event};
use crate::formatter::{ComponentRuntime, Loaded};
use crate::model::event::Event;
use crate::samples;

/// One call whose output is compared with a golden file.
pub(super) struct Case {
    /// File stem of the golden file.
    pub(super) name: String,
    pub(super) event: Event,
    pub(super) options: String,
}

/// The contents of a file in `cases/`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile<'a> {
    /// A sample's name (a string) or an event (an object).
    #[serde(borrow)]
    event: &'a RawValue,
    #[serde(borrow, default)]
    options: Option<&'a RawValue>,
}

/// All cases: the samples, then the files of `cases/` beside the component.
pub(super) fn all(runtime: &ComponentRuntime, loaded: &Loaded, folder: &Path) -> Result<Vec<Case>, Failure> {
    let samples = runtime.samples().iter();
    let mut cases: Vec<Case> = samples
        .map(|sample| Case { name: sample.name.clone(), event: sample.event.clone(), options: "{}".into() })
        .collect();
    let own = folder.join("cases");
    let Ok(entries) = std::fs::read_dir(&own) else { return Ok(cases) };
    let mut files: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    files.retain(|path| path.to_string_lossy().ends_with(".json"));
    files.sort();
    for path in files {
        cases.push(read(loaded, &path)?);
    }
    Ok(cases)
}

fn read(loaded: &Loaded, path: &Path) -> Result<Case, Failure> {
    let path_text = path.display().to_string();
    let invalid = |error: String| {
        let hint = "write a case as {\"event\": a sample's name or an event, \"options\": {…}}";
        Failure::failed(anyhow::anyhow!("{path_text}: {error}"), hint)
    };
    let text = std::fs::read_to_string(path).map_err(|error| invalid(error.to_string()))?;
    let case: CaseFile<'_> = serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
    let event = match serde_json::from_str::<String>(case.event.get()) {
        Ok(name) => {
            let sample = samples::all().iter().find(|sample| sample.name == name).and_then(samples::event);
            sample.ok_or_else(|| invalid(format!("there is no sample {name:?}")))?
        }
        Err(_) => parse_event(&path_text, case.event.get())?,
    };
    let options = options(loaded, case.options.map_or("{}", RawValue::get))?;
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Case { name: format!("case--{name}"), event, options })
}
