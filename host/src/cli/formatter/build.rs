//! `heraldry formatter build`: runs the language's own toolchain, in the pinned version.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::failure::{Failure, OrHint as _};
use super::super::terminal::{self, note};
use super::Lang;
use super::project::{Project, World};
use crate::formatter::{digest_of, exported_contract};

const TARGET: &str = "wasm32-unknown-unknown";

pub(super) fn run(folder: &Path) -> Result<(), Failure> {
    let (project, lang) = Project::read(folder)?;
    let folder = folder.canonicalize().or_hint("check that the project's folder exists and is accessible")?;
    let file = format!("{}.wasm", project.name);
    match lang {
        Lang::Rust => rust(&folder, &project.name, &file)?,
        Lang::Js => javascript(&folder, &file, project.world)?,
        Lang::Python => python(&folder, &file, project.world)?,
    }
    let bytes = std::fs::read(folder.join(&file)).or_hint("the toolchain wrote no component; see its output above")?;
    terminal::facts(&[
        ("component", file.clone()),
        ("size", format!("{} bytes", bytes.len())),
        ("digest", digest_of(&bytes)),
        ("contract", exported_contract(&bytes).unwrap_or_else(|| "none: the component exports no formatter".into())),
    ])?;
    note(format_args!("\nnext:\n  heraldry formatter check {file}\n  heraldry formatter test {file}"));
    Ok(())
}

fn run_tool(command: &mut Command, what: &str, hint: &str) -> Result<(), Failure> {
    let status =
        command.status().map_err(|error| Failure::failed(anyhow::anyhow!("cannot run {what}: {error}"), hint))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::failed(anyhow::anyhow!("{what} failed ({status}); see its output above"), hint))
}

/// cargo builds the core module, wit-component wraps it as a component.
fn rust(folder: &Path, name: &str, file: &str) -> Result<(), Failure> {
    let hint = "install Rust with rustup, and its target with `rustup target add wasm32-unknown-unknown`";
    install_target(folder, hint)?;
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(folder)
        .args(["rustc", "--quiet", "--lib", "--crate-type", "cdylib", "--profile", "formatter", "--target", TARGET])
        .args(["--target-dir", "target"])
        // Enough initial memory for a usual event: growing it during a call is slow.
        .args(["--", "-C", "link-arg=--initial-memory=1048576", "-C", "link-arg=-zstack-size=131072"]);
    run_tool(&mut cargo, "cargo", hint)?;
    let core = folder.join("target").join(TARGET).join("formatter").join(format!("{}.wasm", name.replace('-', "_")));
    let core = std::fs::read(&core).or_hint("give the package in Cargo.toml the format's name")?;
    let component = wit_component::ComponentEncoder::default()
        .validate(true)
        .module(&core)
        .and_then(wit_component::ComponentEncoder::encode)
        .or_hint("export the formatter with `heraldry_formatter::export_formatter!`")?;
    std::fs::write(folder.join(file), component).or_hint("check that the folder is writable and the disk is not full")
}

fn install_target(folder: &Path, hint: &str) -> Result<(), Failure> {
    let printed = Command::new("rustc").current_dir(folder).args(["--print", "sysroot"]).output().or_hint(hint)?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&printed.stdout).trim());
    if sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir() {
        return Ok(());
    }
    note(format_args!("installing the target {TARGET} with rustup, once"));
    let mut rustup = Command::new("rustup");
    run_tool(rustup.current_dir(folder).args(["target", "add", TARGET]), "rustup", hint)
}

fn javascript(folder: &Path, file: &str, world: World) -> Result<(), Failure> {
    let hint = "install Node.js 20 or newer with npm";
    let jco = folder.join("node_modules/.bin/jco");
    if !jco.exists() {
        note("installing the versions of package.json into node_modules with npm, once");
        let mut npm = Command::new("npm");
        npm.current_dir(folder).args(["install", "--no-audit", "--no-fund", "--loglevel=error"]);
        run_tool(npm.stdout(Stdio::null()), "npm", hint)?;
    }
    let mut build = Command::new(&jco);
    build
        .current_dir(folder)
        .args(["componentize", "formatter.js", "--wit"])
        // jco does not accept a relative path here.
        .arg(folder.join("wit"))
        .args(["-n", world.name(), "--backend", "quickjs"])
        .args(["--backend-qjs-disable-async", "--backend-qjs-stub-wasi", "-o", file]);
    // Its output of paths and times is not a result of this command.
    build.stdout(Stdio::null());
    run_tool(&mut build, "jco", "see its output above; `npm install` in the project reinstalls it")
}

fn python(folder: &Path, file: &str, world: World) -> Result<(), Failure> {
    let hint = "install Python 3.10 or newer with venv";
    let tool = folder.join(".venv/bin/componentize-py");
    if !tool.exists() {
        note("installing the versions of requirements.txt into .venv with pip, once");
        let mut venv = Command::new("python3");
        run_tool(venv.current_dir(folder).args(["-m", "venv", ".venv"]), "python3", hint)?;
        let mut pip = Command::new(folder.join(".venv/bin/pip"));
        pip.current_dir(folder).args(["install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"]);
        run_tool(pip.stdout(Stdio::null()), "pip", hint)?;
    }
    let mut build = Command::new(&tool);
    build
        .current_dir(folder)
        // componentize-py looks for packages there.
        .env("VIRTUAL_ENV", folder.join(".venv"))
        .args(["-d", "wit/formatter.wit", "-w", world.name(), "componentize", "--stub-wasi", "app", "-o", file])
        .stdout(Stdio::null());
    run_tool(&mut build, "componentize-py", "see its output above; remove .venv to have it reinstalled")
}
