//! `heraldry formatter new`: writes a working project from templates embedded in the program.

use std::path::{Path, PathBuf};

use super::super::failure::Failure;
use super::super::terminal::{escape, line, note};
use super::Lang;
use super::project::{self, Project};
use crate::embedded;

pub(super) fn run(name: &str, lang: Lang, dir: Option<&Path>) -> Result<(), Failure> {
    if !crate::formatter::is_name(name) {
        let error = anyhow::anyhow!("`{}` is not a valid name for a format", escape(name));
        return Err(Failure::usage(error, "use a-z, 0-9 and -, begin with a letter, at most 63 characters"));
    }
    let folder = dir.map_or_else(|| PathBuf::from(name), Path::to_path_buf);
    let occupied = std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some()) || folder.is_file();
    if occupied {
        let error = anyhow::anyhow!("{} exists already and is not empty", folder.display());
        return Err(Failure::failed(error, "choose another name, or another folder with --dir"));
    }
    let mut written = 0;
    for (path, bytes) in files(name, lang) {
        write(&folder.join(path), &bytes)?;
        written += 1;
    }
    write(&folder.join(project::FILE), Project::text(name, lang).as_bytes())?;
    line(format_args!("wrote {} with {} files", folder.display(), written + 1))?;
    note(format_args!("\nnext:\n  cd {}\n  heraldry formatter build", folder.display()));
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let done = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(path, bytes));
    done.map_err(|error| {
        Failure::failed(
            anyhow::anyhow!("{}: {error}", path.display()),
            "check that the folder is writable and the disk is not full",
        )
    })
}

/// The project's files: the language's template, the contract, the samples, golden files, and for Rust the SDK
/// with the lock file that it was tested with.
fn files(name: &str, lang: Lang) -> Vec<(String, Vec<u8>)> {
    let template = match lang {
        Lang::Rust => "rust/",
        Lang::Js => "js/",
        Lang::Python => "python/",
    };
    let mut files = Vec::new();
    for (path, bytes) in embedded::PROJECT {
        if let Some(rest) = path.strip_prefix("templates/") {
            let inside = rest.strip_prefix(template).or_else(|| rest.starts_with("golden/").then_some(rest));
            if let Some(inside) = inside {
                files.push((inside.trim_end_matches(".tpl").to_owned(), fill_template(bytes, name)));
            }
        } else if let Some(rest) = path.strip_prefix("sdk/") {
            if lang == Lang::Rust {
                files.push((format!("vendor/heraldry-formatter/{rest}"), without_workspace_lints(rest, bytes)));
            }
        } else if *path == "Cargo.lock" {
            if lang == Lang::Rust {
                files.push(("Cargo.lock".into(), bytes.to_vec()));
            }
        } else {
            files.push(((*path).to_owned(), bytes.to_vec()));
        }
    }
    files
}

/// Fills the format's name into a template.
fn fill_template(bytes: &[u8], name: &str) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.replace("{{name}}", name).replace("{{crate}}", &name.replace('-', "_")).into_bytes(),
        Err(_) => bytes.to_vec(),
    }
}

/// Makes the SDK's manifest valid outside of this workspace, by removing the lints that it inherits.
fn without_workspace_lints(path: &str, bytes: &[u8]) -> Vec<u8> {
    match (path, std::str::from_utf8(bytes)) {
        ("Cargo.toml", Ok(text)) => text.replace("[lints]\nworkspace = true\n", "").into_bytes(),
        _ => bytes.to_vec(),
    }
}
