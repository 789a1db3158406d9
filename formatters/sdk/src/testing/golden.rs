//! Golden file tests: the output for every sample is compared with a file in the formatter's `golden/` folder
//! ([`crate::golden`] defines the file format). `UPDATE_GOLDEN=1 cargo test` rewrites the files; review the diff.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use super::samples::{self, Sample};
use crate::golden::show;
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

#[allow(clippy::disallowed_methods, reason = "a test's switch, no setting of the host")]
fn check_samples<F: Formatter>(folder: &Path, samples: &[Sample], cases: &[Case<'_>]) {
    let update = env::var_os("UPDATE_GOLDEN").is_some();
    let mut known = BTreeSet::new();
    let mut faults = String::new();
    for sample in samples {
        for case in cases {
            let output = format::<F>(&sample.event, &case.context, case.options);
            let again = format::<F>(&sample.event, &case.context, case.options);
            assert_eq!(output, again, "{}: the same input gave other bytes", sample.name);
            let (extension, text) = show(&output);
            let suffix = if case.name.is_empty() { "" } else { "--" };
            let name = format!("{}{suffix}{}.{extension}", sample.name, case.name);
            let path = folder.join(&name);
            if update {
                fs::create_dir_all(folder).expect("golden/ can be made");
                fs::write(&path, &text).expect("a golden file can be written");
            } else {
                match fs::read_to_string(&path) {
                    Ok(golden) if golden == text => {}
                    Ok(golden) => difference(&name, &golden, &text, &mut faults),
                    Err(e) => writeln!(faults, "{name}: {e}").expect("a string"),
                }
            }
            known.insert(name);
        }
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !known.contains(&name) {
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
