//! Builds the formatters in `formatters/` as WebAssembly components and embeds them, together with the sample events
//! and the files of a new formatter project.
//!
//! It knows folders, not formats: each folder with a `Cargo.toml`, except `sdk`, is a formatter, and its package is
//! named `heraldry-format-` plus the folder's name.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a build script gets its input from the environment and prints instructions to cargo"
)]

use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

const TARGET: &str = "wasm32-unknown-unknown";

/// The stack of a formatter, in bytes.
const FORMATTER_STACK: u32 = 128 * 1024;
/// The stack of the evaluator, whose calls nest as expressions do.
const EVALUATOR_STACK: u32 = 4 * 1024 * 1024;

fn main() -> Result<()> {
    let root = PathBuf::from(var("CARGO_MANIFEST_DIR")?).join("..").canonicalize()?;
    let out = PathBuf::from(var("OUT_DIR")?);
    for path in ["formatters", "wit", "host/evaluator", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    build_information(&root)?;
    samples(&root, &out)?;
    project(&root, &out)?;
    install_target()?;
    let guests = guests_folder(&out);
    components(&root, &out, &guests)?;
    evaluator(&root, &out, &guests)
}

fn var(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("{name} is not set"))
}

/// Passes target and commit to the compiler, for `heraldry version`. Only a release build records the commit: otherwise
/// each commit would make every build of a developer longer.
fn build_information(root: &Path) -> Result<()> {
    println!("cargo::rustc-env=HERALDRY_BUILD_TARGET={}", var("TARGET")?);
    let git = |arguments: &[&str]| {
        let output = Command::new("git").current_dir(root).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    // An unpacked archive may lie inside a repository that is not ours.
    let commit =
        (var("PROFILE")? == "release" && root.join(".git").exists()).then(|| git(&["rev-parse", "HEAD"])).flatten();
    if let Some(log) = commit.as_ref().and_then(|_| git(&["rev-parse", "--git-path", "logs/HEAD"])) {
        println!("cargo::rerun-if-changed={}", root.join(log).display());
    }
    println!("cargo::rustc-env=HERALDRY_BUILD_COMMIT={}", commit.unwrap_or_else(|| "unknown".to_owned()));
    Ok(())
}

/// Writes `samples.rs`: the table of sample events.
fn samples(root: &Path, out: &Path) -> Result<()> {
    let mut table = String::from("static SAMPLES: &[Sample] = &[\n");
    for path in sorted(&root.join("wit/samples"))? {
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let name = stem(&path)?;
        let event_type = name.split("--").next().unwrap_or_default();
        writeln!(table, "    Sample {{ name: {name:?}, event_type: {event_type:?}, json: include_str!({path:?}) }},")?;
    }
    table.push_str("];\n");
    fs::write(out.join("samples.rs"), table)?;
    Ok(())
}

/// Writes `project.rs`: the files of a new formatter project, namely the templates, the SDK, the WIT contract with its
/// samples, and `Cargo.lock` for the versions they were built with. Paths are relative to the project, or begin with
/// `templates/` and `sdk/`.
fn project(root: &Path, out: &Path) -> Result<()> {
    let mut table = String::from(
        "/// The files of a new formatter project: path, content.\npub(crate) static PROJECT: &[(&str, &[u8])] = &[\n",
    );
    let folders = [("formatters/templates", "templates"), ("formatters/sdk", "sdk"), ("wit", "wit")];
    let mut files = vec![("Cargo.lock".to_owned(), root.join("Cargo.lock"))];
    for (folder, name) in folders {
        below(&root.join(folder), name, &mut files)?;
    }
    for (name, path) in files {
        writeln!(table, "    ({name:?}, include_bytes!({path:?})),")?;
    }
    table.push_str("];\n");
    fs::write(out.join("project.rs"), table)?;
    Ok(())
}

/// Collects every file below a folder, with its path relative to it.
fn below(folder: &Path, name: &str, files: &mut Vec<(String, PathBuf)>) -> Result<()> {
    for path in sorted(folder)? {
        let file = path.file_name().and_then(|name| name.to_str());
        let inner =
            format!("{name}/{}", file.with_context(|| format!("{} has a name that is not UTF-8", path.display()))?);
        if path.is_dir() {
            below(&path, &inner, files)?;
        } else {
            files.push((inner, path));
        }
    }
    Ok(())
}

/// Builds every formatter and writes `components.rs`: the table of their names, manifests and components. The manifest in
/// a formatter's folder is the one that its component describes itself with; tests compare them.
fn components(root: &Path, out: &Path, guests: &Path) -> Result<()> {
    let formatters: Vec<String> = sorted(&root.join("formatters"))?
        .iter()
        .filter(|path| path.join("Cargo.toml").is_file())
        .map(|path| stem(path))
        .filter(|name| name.as_ref().is_ok_and(|name| name != "sdk"))
        .collect::<Result<_>>()?;
    let mut table = String::from(
        "/// The built-in formatters: name, manifest, component.\n\
         pub(crate) static FORMATTERS: &[(&str, &str, &[u8])] = &[\n",
    );
    for name in &formatters {
        let core = build(root, guests, &format!("heraldry-format-{name}"), FORMATTER_STACK)?;
        let component = wrap(&core, out, name)?;
        let manifest = root.join("formatters").join(name).join("manifest.json");
        if !manifest.is_file() {
            bail!("{} is missing; run: UPDATE_GOLDEN=1 cargo test -p heraldry-format-{name}", manifest.display());
        }
        writeln!(table, "    ({name:?}, include_str!({manifest:?}), include_bytes!({component:?})),")?;
    }
    table.push_str("];\n");
    fs::write(out.join("components.rs"), table)?;
    Ok(())
}

/// Builds the evaluator of filter expressions and writes `evaluator.rs`: the component.
fn evaluator(root: &Path, out: &Path, guests: &Path) -> Result<()> {
    let core = build(root, guests, "heraldry-evaluator", EVALUATOR_STACK)?;
    // No formatter's folder has a name with a dot.
    let component = wrap(&core, out, "expressions.evaluator")?;
    let table = format!(
        "/// The component that evaluates filter expressions.\n\
         pub(crate) static EVALUATOR: &[u8] = include_bytes!({component:?});\n"
    );
    fs::write(out.join("evaluator.rs"), table)?;
    Ok(())
}

/// Wraps a core module as a component, in a file of this name.
fn wrap(core: &Path, out: &Path, name: &str) -> Result<PathBuf> {
    let bytes = wit_component::ComponentEncoder::default()
        .validate(true)
        .module(&fs::read(core).with_context(|| format!("cannot read {}", core.display()))?)
        .and_then(wit_component::ComponentEncoder::encode)
        .with_context(|| format!("{name} cannot be wrapped as a component"))?;
    let component = out.join(format!("{name}.wasm"));
    // An unchanged file keeps its modification time, so that cargo does not rebuild the host for it.
    if fs::read(&component).ok().as_deref() != Some(&bytes) {
        fs::write(&component, &bytes)?;
    }
    Ok(component)
}

/// The guests' target folder, `formatters` in that of the host, for all of the host's profiles: guests do not depend on
/// the profile, and the tests need not build them again after a release build.
fn guests_folder(out: &Path) -> PathBuf {
    // The script's folder is TARGET/PROFILE/build/PACKAGE-HASH/out.
    let build = out.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "build"));
    let target = build.and_then(|build| build.parent()?.parent());
    target.map_or_else(|| out.join("guests"), |target| target.join("formatters"))
}

/// Installs the standard library of the guests' target if it is missing.
fn install_target() -> Result<()> {
    let rustc = var("RUSTC")?;
    let printed = Command::new(&rustc).args(["--print", "sysroot"]).output().context("cannot run rustc")?;
    let sysroot = PathBuf::from(String::from_utf8(printed.stdout)?.trim());
    if sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir() {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", TARGET]);
    if let Some(toolchain) = env::var_os("RUSTUP_TOOLCHAIN") {
        rustup.arg("--toolchain").arg(toolchain);
    }
    eprintln!("installing the target {TARGET}");
    match rustup.status() {
        Ok(status) if status.success() => Ok(()),
        _ => bail!(
            "the formatters need the target {TARGET}, and it could not be installed; run: rustup target add {TARGET}"
        ),
    }
}

/// Builds one guest's core module with a nested cargo. It has its own target folder: the outer cargo holds the lock
/// on the outer one's profile while it waits for this script.
fn build(root: &Path, guests: &Path, package: &str, stack_bytes: u32) -> Result<PathBuf> {
    let mut cargo = Command::new(var("CARGO")?);
    for (variable, _) in env::vars_os().filter(|(variable, _)| is_outer(variable)) {
        cargo.env_remove(variable);
    }
    // The stack is a part of it. The rest is enough that a typical event needs no more: `memory.grow` changes page
    // protection, which is slow and serialises concurrent calls.
    let memory_bytes = stack_bytes + 1_048_576 - FORMATTER_STACK;
    cargo
        .current_dir(root)
        .args(["rustc", "--package", package, "--lib", "--crate-type", "cdylib", "--locked"])
        .args(["--profile", "formatter", "--target", TARGET, "--target-dir"])
        .arg(guests)
        .args(["--", "-C", &format!("link-arg=--initial-memory={memory_bytes}")])
        .args(["-C", &format!("link-arg=-zstack-size={stack_bytes}")])
        // Copies in the guest itself; formatters/sdk/src/memory.rs explains why.
        .args(["-C", "target-feature=-bulk-memory"]);
    let status = cargo.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("{package} does not build; the compiler's output above has the cause");
    }
    Ok(guests.join(TARGET).join("formatter").join(format!("{}.wasm", package.replace('-', "_"))))
}

/// Returns true for a variable that describes the outer build and would mislead the nested one.
fn is_outer(variable: &OsString) -> bool {
    let Some(name) = variable.to_str() else { return false };
    let kept = ["CARGO_HOME", "CARGO_MAKEFLAGS", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_"];
    let outer = ["CARGO", "RUSTFLAGS", "RUSTDOCFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"];
    let build = ["TARGET", "HOST", "PROFILE", "OPT_LEVEL", "DEBUG", "NUM_JOBS", "OUT_DIR", "RUSTC_LINKER"];
    outer.iter().any(|prefix| name.starts_with(prefix)) && !kept.iter().any(|prefix| name.starts_with(prefix))
        || build.contains(&name)
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    Ok(paths)
}

fn stem(path: &Path) -> Result<String> {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    Ok(stem.with_context(|| format!("{} has a name that is not UTF-8", path.display()))?.to_owned())
}
