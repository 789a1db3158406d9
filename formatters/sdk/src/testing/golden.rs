//! Golden files: every sample through a formatter, whole outputs compared with what stands in the
//! formatter's `golden/` folder ([`crate::golden`] says how they are written). `UPDATE_GOLDEN=1 cargo test` writes
//! them anew; review the diff.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use super::samples::{self, Sample};
use crate::golden::show;
use crate::{Context, Formatter, format};

/// One way of calling the formatter, for which each sample has a golden file.
#[derive(Debug)]
pub struct Case<'a> {
    /// Goes into the file's name, `<sample>--<name>`; empty: the file has the sample's name.
    pub name: &'a str,
    /// The webhook's options.
    pub options: &'a str,
    /// How the payload travels.
    pub context: Context,
}

impl<'a> Case<'a> {
    /// Over HTTP, with these options.
    pub fn http(name: &'a str, options: &'a str) -> Self {
        Self { name, options, context: samples::http() }
    }
}

/// Holds each sample's output in each case against its golden file under `crate_folder/golden`
/// (pass `env!("CARGO_MANIFEST_DIR")`).
///
/// # Panics
/// With all differences, when there are any: other output, a missing file, a file without a sample.
pub fn check<F: Formatter>(crate_folder: &str, cases: &[Case<'_>]) {
    check_samples::<F>(&Path::new(crate_folder).join("golden"), &samples::all(), cases);
}

/// [`check`] for events that are too long for a line ([`samples::oversized`]), with golden files under
/// `crate_folder/golden-cut`.
///
/// # Panics
/// As [`check`] does.
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

/// The first line that differs, and how each side goes on.
fn difference(name: &str, golden: &str, output: &str, faults: &mut String) {
    let same = golden.lines().zip(output.lines()).take_while(|(a, b)| a == b).count();
    writeln!(faults, "{name}, line {}:", same + 1).expect("a string");
    for (sign, side) in [('-', golden), ('+', output)] {
        for line in side.lines().skip(same).take(5) {
            writeln!(faults, "  {sign} {line}").expect("a string");
        }
    }
}
