//! Golden files: every sample through a formatter, whole outputs compared with what stands in the
//! formatter's `golden/` folder. `UPDATE_GOLDEN=1 cargo test` writes them anew; review the diff.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use super::samples;
use crate::{Context, Error, Formatter, Payload, format};

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
#[allow(clippy::disallowed_methods, reason = "a test's switch, no setting of the host")]
pub fn check<F: Formatter>(crate_folder: &str, cases: &[Case<'_>]) {
    let folder = Path::new(crate_folder).join("golden");
    let update = env::var_os("UPDATE_GOLDEN").is_some();
    let mut known = BTreeSet::new();
    let mut faults = String::new();
    for sample in samples::all() {
        for case in cases {
            let output = format::<F>(&sample.event, &case.context, case.options);
            let again = format::<F>(&sample.event, &case.context, case.options);
            assert_eq!(output, again, "{}: the same input gave other bytes", sample.name);
            let (extension, text) = show(&output);
            let suffix = if case.name.is_empty() { "" } else { "--" };
            let name = format!("{}{suffix}{}.{extension}", sample.name, case.name);
            let path = folder.join(&name);
            if update {
                fs::create_dir_all(&folder).expect("golden/ can be made");
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
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
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

/// A file's extension and text: content type, headers, then the body; JSON is indented, for review.
fn show(output: &Result<Payload, Error>) -> (&'static str, String) {
    let payload = match output {
        Ok(payload) => payload,
        Err(error) => return ("txt", format!("error: {error:?}\n")),
    };
    let body = std::str::from_utf8(&payload.body).expect("a body is UTF-8");
    let is_json = payload.content_type.contains("json");
    let mut text = String::new();
    if is_json {
        serde_json::from_str::<serde::de::IgnoredAny>(body).expect("a JSON body is JSON");
        let headers: Vec<_> =
            payload.headers.iter().map(|header| format!("{}: {}", header.name, header.value)).collect();
        let content_type = serde_json::to_string(&payload.content_type).expect("a string");
        let headers = serde_json::to_string(&headers).expect("strings");
        // One JSON document, so that any tool can read it.
        text.push_str(&indent(&format!(r#"{{"content_type":{content_type},"headers":{headers},"body":{body}}}"#)));
    } else {
        writeln!(text, "Content-Type: {}", payload.content_type).expect("a string");
        for header in &payload.headers {
            writeln!(text, "{}: {}", header.name, header.value).expect("a string");
        }
        text.push('\n');
        text.push_str(body);
    }
    text.push('\n');
    (if is_json { "json" } else { "txt" }, text)
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

/// JSON text with one member or item a line; nothing but space outside of strings changes.
pub fn indent(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0;
    let mut rest = json.chars().filter(kept_outside_strings()).peekable();
    let new_line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(c) = rest.next() {
        match c {
            '"' => {
                out.push('"');
                let mut escaped = false;
                for c in rest.by_ref() {
                    out.push(c);
                    match c {
                        _ if escaped => escaped = false,
                        '\\' => escaped = true,
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                out.push(c);
                if let Some(close) = rest.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth -= 1;
                new_line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c => out.push(c),
        }
    }
    out
}

/// A filter that drops white space between tokens and keeps it in strings.
fn kept_outside_strings() -> impl FnMut(&char) -> bool {
    let mut in_string = false;
    let mut escaped = false;
    move |&c| {
        if in_string {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = false,
                _ => {}
            }
            return true;
        }
        in_string = c == '"';
        !c.is_ascii_whitespace()
    }
}

/// Whether the JSON text has no space between its tokens.
pub fn is_compact(json: &str) -> bool {
    let mut kept = kept_outside_strings();
    json.chars().all(|c| kept(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indented_json_is_the_same_json() {
        assert_eq!(
            indent(r#"{"a": [1, {}],"b":"x, \" y"}"#),
            "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": \"x, \\\" y\"\n}"
        );
        assert!(is_compact(r#"{"a":" , "}"#));
        assert!(!is_compact(r#"{"a": 1}"#));
    }
}
