//! `formatter.toml`: the language and the format's name of an author's project.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::failure::Failure;
use super::Lang;

/// File name, in the project's folder.
pub(super) const FILE: &str = "formatter.toml";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Project {
    /// The format's name, as in the manifest.
    pub(super) name: String,
    /// `rust`, `js` or `python`.
    lang: String,
    /// The world of the contract that a project in JavaScript or Python is built for; Rust finds out by itself.
    #[serde(default, skip_serializing_if = "World::is_formatter")]
    pub(super) world: World,
}

/// The worlds of wit/formatter.wit for formatters: what a component exports.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum World {
    /// `format` alone.
    #[default]
    Formatter,
    /// `interpret` as well.
    TwoWayFormatter,
    /// `digest` as well.
    DigestFormatter,
    /// All three.
    FullFormatter,
}

impl World {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Formatter => "formatter",
            Self::TwoWayFormatter => "two-way-formatter",
            Self::DigestFormatter => "digest-formatter",
            Self::FullFormatter => "full-formatter",
        }
    }

    fn is_formatter(&self) -> bool {
        *self == Self::Formatter
    }
}

impl Project {
    /// The contents of a new project's file.
    pub(super) fn text(name: &str, lang: Lang) -> String {
        format!("# Read by `heraldry formatter build`.\nname = \"{name}\"\nlang = \"{}\"\n", lang_name(lang))
    }

    /// Reads and checks a project's file.
    pub(super) fn read(folder: &Path) -> Result<(Self, Lang), Failure> {
        let path = folder.join(FILE);
        let invalid = |error: String| {
            let error = anyhow::anyhow!("{}: {error}", path.display());
            Failure::failed(
                error,
                "run `build` in a project's folder; `heraldry formatter new NAME --lang rust` writes a project",
            )
        };
        let text = std::fs::read_to_string(&path).map_err(|error| invalid(error.to_string()))?;
        let project: Self = toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        let lang = [Lang::Rust, Lang::Js, Lang::Python].into_iter().find(|lang| lang_name(*lang) == project.lang);
        let lang = lang.ok_or_else(|| invalid(format!("lang is {:?}; expected rust, js or python", project.lang)))?;
        if !crate::formatter::is_name(&project.name) {
            return Err(invalid(format!("name {:?} does not match [a-z][a-z0-9-]{{0,62}}", project.name)));
        }
        Ok((project, lang))
    }
}

/// The component that a command works on: the named file or, in a project's folder, the project's.
pub(super) fn component(file: Option<PathBuf>) -> Result<PathBuf, Failure> {
    component_in(Path::new(""), file)
}

fn component_in(folder: &Path, file: Option<PathBuf>) -> Result<PathBuf, Failure> {
    if let Some(file) = file {
        return Ok(file);
    }
    if !folder.join(FILE).exists() {
        let error =
            anyhow::anyhow!("no component is named, and this is not a formatter project's folder (it has no {FILE})");
        return Err(Failure::usage(error, "name the component's file, or run the command in the project's folder"));
    }
    let component = folder.join(format!("{}.wasm", Project::read(folder)?.0.name));
    if component.is_file() {
        return Ok(component);
    }
    let error = anyhow::anyhow!("{} does not exist", component.display());
    Err(Failure::failed(error, "build it with `heraldry formatter build`"))
}

fn lang_name(lang: Lang) -> &'static str {
    match lang {
        Lang::Rust => "rust",
        Lang::Js => "js",
        Lang::Python => "python",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_names_its_world() {
        let folder = tempfile::tempdir().expect("a folder");
        let read = |more: &str| {
            let text = Project::text("hello", Lang::Js) + more;
            std::fs::write(folder.path().join(FILE), text).expect("a file");
            Project::read(folder.path()).map(|(project, _)| project.world.name())
        };
        assert!(matches!(read(""), Ok("formatter")));
        for world in ["two-way-formatter", "digest-formatter", "full-formatter"] {
            assert!(read(&format!("world = \"{world}\"\n")).is_ok_and(|name| name == world));
        }
        let error =
            read("world = \"digester\"\n").expect_err("no world for a formatter").message().expect("a message").0;
        assert!(error.contains("digest-formatter"), "{error}");
    }

    #[test]
    fn a_project_knows_its_component() {
        let folder = tempfile::tempdir().expect("a folder");
        let in_folder = |file: Option<&str>| {
            component_in(folder.path(), file.map(PathBuf::from))
                .map_err(|failure| failure.message().expect("a message").0)
        };
        assert!(in_folder(None).expect_err("no project").contains("no component is named"));
        assert_eq!(in_folder(Some("other.wasm")), Ok(PathBuf::from("other.wasm")));
        std::fs::write(folder.path().join(FILE), Project::text("hello", Lang::Rust)).expect("a file");
        assert!(in_folder(None).expect_err("not built").contains("hello.wasm does not exist"));
        std::fs::write(folder.path().join("hello.wasm"), "").expect("a file");
        assert_eq!(in_folder(None), Ok(folder.path().join("hello.wasm")));
    }
}
