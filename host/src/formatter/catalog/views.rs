//! Building the API's views of components and versions.

use serde::Serialize;
use serde_json::Value;

use super::component::Component;
use super::declared::{Declared, Loading};
use super::info::{FormatterInfo, Numbers, State, Traits, VersionInfo};
use super::table::RejectedEntry;
use super::versions::{History, Version};
use crate::formatter::admission::Manifest;
use crate::formatter::digest::digest_text;
use crate::formatter::runtime::Limits;

impl FormatterInfo {
    pub(super) fn ready(component: &Component, limits: Limits) -> Self {
        let manifest = component.manifest();
        Self {
            name: manifest.name.clone(),
            version: Some(manifest.version.clone()),
            description: manifest.description.clone(),
            options_schema: Some(manifest.options_schema.clone()),
            digest: Some(digest_text(&component.digest())),
            origin: component.origin,
            file: component.file.clone(),
            state: State::Ready,
            warnings: component.loaded.warnings.clone(),
            numbers: component.stats.numbers(),
            traits: traits(manifest, Some(component)),
            limits,
            last_error: component.stats.last_error(),
            log: Some(component.stats.log()),
        }
    }

    pub(super) fn loading(loading: &Loading, limits: Limits) -> Self {
        let manifest = loading.declared().map(Declared::manifest);
        Self {
            name: loading.name.clone(),
            version: manifest.map(|manifest| manifest.version.clone()),
            description: manifest.and_then(|manifest| manifest.description.clone()),
            options_schema: manifest.map(|manifest| manifest.options_schema.clone()),
            digest: loading.digest.as_ref().map(digest_text),
            origin: loading.origin(),
            file: loading.file(),
            state: State::Loading,
            warnings: Vec::new(),
            numbers: Numbers::default(),
            traits: manifest.map(|manifest| traits(manifest, None)).unwrap_or_default(),
            limits,
            last_error: None,
            log: None,
        }
    }

    pub(super) fn rejected(entry: &RejectedEntry, limits: Limits) -> Self {
        Self {
            name: entry.name.clone(),
            version: None,
            description: None,
            options_schema: None,
            digest: entry.digest.as_ref().map(digest_text),
            origin: entry.origin,
            file: entry.file.clone(),
            state: State::Rejected {
                code: entry.rejection.code.to_owned(),
                reason: Some(entry.rejection.reason.clone()),
            },
            warnings: Vec::new(),
            numbers: Numbers::default(),
            traits: Traits::default(),
            limits,
            last_error: None,
            log: None,
        }
    }
}

fn traits(manifest: &Manifest, loaded: Option<&Component>) -> Traits {
    let abilities = loaded.map(|component| {
        let all = [("interpret", component.interprets()), ("digest", component.digests())];
        all.into_iter().filter_map(|(name, is_there)| is_there.then_some(name)).collect()
    });
    Traits {
        title: manifest.title.clone(),
        kind: word(manifest.kind),
        join: word(manifest.join),
        size: word(manifest.size),
        interprets: loaded.map(Component::interprets),
        abilities,
    }
}

/// The word that a manifest has for one of its choices.
fn word(choice: impl Serialize) -> Option<String> {
    match serde_json::to_value(choice) {
        Ok(Value::String(word)) => Some(word),
        _ => None,
    }
}

impl VersionInfo {
    /// A version of a formatter that has a history.
    pub(super) fn of(history: &History, version: &Version) -> Self {
        Self {
            version: version.version.clone(),
            digest: format!("sha256:{}", version.digest),
            added_at: Some(version.added_at),
            active: version.digest == history.active,
            rolled_back: version.withdrawn.clone(),
        }
    }

    /// The version of a formatter without a history.
    pub(super) fn only(manifest: &Manifest, digest: &[u8; 32]) -> Self {
        Self {
            version: manifest.version.clone(),
            digest: digest_text(digest),
            added_at: None,
            active: true,
            rolled_back: None,
        }
    }
}
