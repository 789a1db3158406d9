//! A component of the catalog: loaded, with its origin, its statistics and its canary state.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use serde_json::Value;

use super::stats::Stats;
use super::versions::Origin;
use crate::formatter::admission::{Kind, Manifest};
use crate::formatter::component_runtime::Loaded;
use crate::formatter::digest::digest_text;
use crate::json::fault::Fault;
use crate::model::delivery::FormatterRef;
use crate::telemetry::FormatterMetrics;

/// A component that deliveries may use.
pub struct Component {
    pub(super) loaded: Loaded,
    pub(super) origin: Origin,
    /// File name in the drop-in folder; `None` for other origins.
    pub(super) file: Option<String>,
    pub(super) stats: Stats,
    /// How the delivery history names it.
    reference: FormatterRef,
    /// The version that was in use before, for as long as this one is a canary.
    pub(super) predecessor: ArcSwapOption<Component>,
}

impl Component {
    pub(super) fn new(loaded: Loaded, origin: Origin, file: Option<String>, metrics: &FormatterMetrics) -> Arc<Self> {
        let stats = Stats::new(metrics.clone(), loaded.manifest.name.clone());
        let reference = FormatterRef {
            name: loaded.manifest.name.clone(),
            version: loaded.manifest.version.clone(),
            digest: digest_text(&loaded.digest),
        };
        Arc::new(Self { loaded, origin, file, stats, reference, predecessor: ArcSwapOption::empty() })
    }

    /// Its manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.loaded.manifest
    }

    /// SHA-256 of its bytes.
    pub fn digest(&self) -> [u8; 32] {
        self.loaded.digest
    }

    /// True if it exports `interpret`, which judges destinations' responses.
    pub fn interprets(&self) -> bool {
        self.loaded.interprets()
    }

    /// True if it exports `digest`, which makes one message of many events.
    pub fn digests(&self) -> bool {
        self.loaded.digests()
    }

    /// True if its payloads are lines, which syslog can carry.
    pub fn makes_lines(&self) -> bool {
        self.manifest().kind == Kind::Line
    }

    /// All faults of a webhook's options; pointers are relative to them.
    pub fn check_options(&self, options: &Value) -> Vec<Fault> {
        self.loaded.check_options(options)
    }

    /// Its name, version and digest, as the delivery history records them.
    pub fn reference(&self) -> &FormatterRef {
        &self.reference
    }

    pub(super) fn name(&self) -> &str {
        &self.manifest().name
    }
}
