//! `formatter.toml`: the language and the format's name of an author's project.

use std::path::Path;

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

fn lang_name(lang: Lang) -> &'static str {
    match lang {
        Lang::Rust => "rust",
        Lang::Js => "js",
        Lang::Python => "python",
    }
}
