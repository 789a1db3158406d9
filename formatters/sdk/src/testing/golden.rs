//! Golden file tests: the output for every sample is compared with a file in the formatter's `golden/` folder
//! ([`crate::golden`] defines the file format). `UPDATE_GOLDEN=1 cargo test` rewrites the files; review the diff.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use super::samples::{self, Sample};
use crate::digest::{self, Digester, RawEvent};
use crate::golden::digests::{cycled, scan};
use crate::golden::{show, show_digest};
use crate::{Context, Formatter, format};

/// One configuration of the formatter; each sample has a golden file per case.
#[derive(Debug)]
pub struct Case<'a> {
    /// The suffix of the file name, `<sample>--<name>`; empty for the sample's name alone.
    pub name: &'a str,
    /// The webhook's options, as JSON.
    pub options: &'a str,
    /// The context of the call: transport, limits, host name.
    pub context: Context,
}

impl<'a> Case<'a> {
    /// A case over HTTP with these options.
    pub fn http(name: &'a str, options: &'a str) -> Self {
        Self { name, options, context: samples::http() }
    }

    /// The name of the golden file of an event or digest.
    fn file(&self, of: &str, extension: &str) -> String {
        let suffix = if self.name.is_empty() { "" } else { "--" };
        format!("{of}{suffix}{}.{extension}", self.name)
    }
}

/// Compares the output for each sample in each case with its golden file under `crate_folder/golden` (pass
/// `env!("CARGO_MANIFEST_DIR")`).
///
/// # Panics
/// With all differences, if there are any: different output, a missing file, or a file without a sample.
pub fn check<F: Formatter>(crate_folder: &str, cases: &[Case<'_>]) {
    check_samples::<F>(&Path::new(crate_folder).join("golden"), &samples::all(), cases);
}

/// Like [`check`], for events that are too long for a line ([`samples::oversized`]), with golden files under
/// `crate_folder/golden-cut`.
///
/// # Panics
/// Like [`check`].
pub fn check_cuts<F: Formatter>(crate_folder: &str, cases: &[Case<'_>]) {
    check_samples::<F>(&Path::new(crate_folder).join("golden-cut"), &samples::oversized(), cases);
}

/// Like [`check`], for digests of scans with so many events each, and of the samples, with golden files under
/// `crate_folder/golden-digest`. The transport of a case does not count.
///
/// # Panics
/// Like [`check`].
pub fn check_digests<D: Digester>(crate_folder: &str, cases: &[Case<'_>], sizes: &[usize]) {
    let mut samples = samples::all();
    // By their names alone, as the host's tool, which reads no files, has them.
    samples.sort_by(|one, other| one.name.cmp(&other.name));
    let samples: Vec<_> = samples.into_iter().map(|sample| sample.event).collect();
    let scans = sizes.iter().map(|size| (format!("scan-{size}"), scan(*size)));
    let mut files = BTreeMap::new();
    for (name, events) in scans.chain([("samples-100".to_owned(), cycled(&samples, 100))]) {
        let context = digest::Context::alone(u32::try_from(events.len()).expect("few events"));
        let events: Vec<RawEvent> = events.into_iter().map(Into::into).collect();
        for case in cases {
            let output = crate::digest::<D>(events.clone(), &context, case.options);
            let again = crate::digest::<D>(events.clone(), &context, case.options);
            assert_eq!(output, again, "{name}: the same input gave other bytes");
            let (extension, text) = show_digest(&output);
            files.insert(case.file(&name, extension), text);
        }
    }
    compare(&Path::new(crate_folder).join("golden-digest"), &files);
}

fn check_samples<F: Formatter>(folder: &Path, samples: &[Sample], cases: &[Case<'_>]) {
    let mut files = BTreeMap::new();
    for sample in samples {
        for case in cases {
            let output = format::<F>(&sample.event, &case.context, case.options);
            let again = format::<F>(&sample.event, &case.context, case.options);
            assert_eq!(output, again, "{}: the same input gave other bytes", sample.name);
            let (extension, text) = show(&output);
            files.insert(case.file(&sample.name, extension), text);
        }
    }
    compare(folder, &files);
}

/// Compares outputs with the files of a folder, or writes them.
#[allow(clippy::disallowed_methods, reason = "a test's switch, no setting of the host")]
fn compare(folder: &Path, files: &BTreeMap<String, String>) {
    let update = env::var_os("UPDATE_GOLDEN").is_some();
    let mut faults = String::new();
    for (name, text) in files {
        let path = folder.join(name);
        if update {
            fs::create_dir_all(folder).expect("golden/ can be made");
            fs::write(&path, text).expect("a golden file can be written");
        } else {
            match fs::read_to_string(&path) {
                Ok(golden) if golden == *text => {}
                Ok(golden) => difference(name, &golden, text, &mut faults),
                Err(e) => writeln!(faults, "{name}: {e}").expect("a string"),
            }
        }
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !files.contains_key(&name) {
            if update {
                fs::remove_file(entry.path()).expect("a stale golden file can be removed");
            } else {
                writeln!(faults, "{name}: no sample gives this any more").expect("a string");
            }
        }
    }
    assert!(faults.is_empty(), "golden files differ; UPDATE_GOLDEN=1 cargo test writes them anew\n{faults}");
}

/// Reports the first line that differs, with the continuation on both sides.
fn difference(name: &str, golden: &str, output: &str, faults: &mut String) {
    let same = golden.lines().zip(output.lines()).take_while(|(a, b)| a == b).count();
    writeln!(faults, "{name}, line {}:", same + 1).expect("a string");
    for (sign, side) in [('-', golden), ('+', output)] {
        for line in side.lines().skip(same).take(5) {
            writeln!(faults, "  {sign} {line}").expect("a string");
        }
    }
}
