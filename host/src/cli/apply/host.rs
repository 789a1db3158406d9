//! What the host has: its webhooks, and the formats that they may name.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::cli::client::{Api, Response};
use crate::cli::failure::Failure;
use crate::model::mask::write_only;

/// A webhook as the host shows it to an admin.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Current(Map<String, Value>);

/// The formats that a webhook may name.
#[derive(Default)]
pub(super) struct Formats {
    /// The JSON Schema of each format's options.
    schemas: BTreeMap<String, Value>,
    /// True while the host, which has just started, does not know all of them.
    are_loading: bool,
}

#[derive(Deserialize)]
struct Format {
    name: String,
    state: String,
    options_schema: Option<Value>,
}

impl Current {
    /// Every webhook of the host.
    ///
    /// # Errors
    /// When the host cannot be asked, or the token's role does not see all fields.
    pub(super) async fn all(api: &Api) -> Result<Vec<Self>, Failure> {
        let webhooks: Vec<Self> = api.get("/webhooks").await?.parse()?;
        webhooks.iter().try_for_each(Self::require_whole)?;
        Ok(webhooks)
    }

    /// The webhook in a response.
    ///
    /// # Errors
    /// As [`Current::all`].
    pub(super) fn of(response: &Response) -> Result<Self, Failure> {
        let webhook: Self = response.parse()?;
        webhook.require_whole()?;
        Ok(webhook)
    }

    fn require_whole(&self) -> Result<(), Failure> {
        if self.0.contains_key("url") && self.0.contains_key("has_secret") {
            return Ok(());
        }
        let error = anyhow::anyhow!("the token's role does not see all fields of a webhook");
        Err(Failure::failed(error, "apply needs an admin token: `heraldry token create --role admin`"))
    }

    /// A webhook with these fields, for a comparison.
    pub(super) fn with_fields(fields: Map<String, Value>) -> Self {
        Self(fields)
    }

    pub(super) fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }

    fn text(&self, field: &str) -> &str {
        self.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn id(&self) -> &str {
        self.text("id")
    }

    pub(super) fn name(&self) -> &str {
        self.text("name")
    }

    pub(super) fn url(&self) -> &str {
        self.text("url")
    }

    pub(super) fn format(&self) -> &str {
        self.text("format")
    }

    pub(super) fn has_secret(&self) -> bool {
        self.get("has_secret") == Some(&Value::Bool(true))
    }

    pub(super) fn header_names(&self) -> BTreeSet<&str> {
        let names = self.get("header_names").and_then(Value::as_array);
        names.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    pub(super) fn is_active(&self) -> bool {
        self.get("is_active") != Some(&Value::Bool(false))
    }

    /// Why the host switched it off; `None` if it did not.
    pub(super) fn disabled_reason(&self) -> Option<&str> {
        self.get("disabled_reason").and_then(Value::as_str)
    }
}

impl Formats {
    /// The formats that the host has.
    ///
    /// # Errors
    /// When the host cannot be asked.
    pub(super) async fn all(api: &Api) -> Result<Self, Failure> {
        let formats: Vec<Format> = api.get("/formatters").await?.parse()?;
        // A file of the drop-in folder that is still loading has no schema yet.
        let are_loading = formats.iter().any(|format| format.state == "loading" && format.options_schema.is_none());
        let known = formats.into_iter().filter(|format| format.state != "rejected");
        let schemas = known.filter_map(|format| Some((format.name, format.options_schema?))).collect();
        Ok(Self { schemas, are_loading })
    }

    /// Formats with these schemas.
    #[cfg(test)]
    pub(super) fn with<const N: usize>(formats: [(&str, Value); N]) -> Self {
        let schemas = formats.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
        Self { schemas, are_loading: false }
    }

    /// The schema of a format's options; `None` if there is no such format.
    pub(super) fn schema(&self, format: &str) -> Option<&Value> {
        self.schemas.get(format)
    }

    /// What to say of a format that there is not.
    pub(super) fn describe_unknown(&self) -> String {
        let names = self.schemas.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if self.are_loading { "; others are still loading: try again in a moment" } else { "" };
        format!("the host has no format of this name; it has {names}{more}")
    }

    /// True if the value of an option of this format is not to be shown: its schema marks it, or something in it,
    /// `writeOnly`, or is not known.
    pub(super) fn hides(&self, format: &str, option: &str, value: &Value) -> bool {
        let options = Value::Object(Map::from_iter([(option.to_owned(), value.clone())]));
        let credentials = self.schema(format).and_then(|schema| write_only(schema, &options));
        credentials.is_none_or(|pointers| !pointers.is_empty())
    }
}
