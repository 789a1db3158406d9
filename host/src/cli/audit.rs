//! `heraldry audit`: the audit log of a host.

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::client::Api;
use super::failure::Failure;
use super::lookup::short;
use super::terminal::{self, escape, escape_json, line, note};
use crate::config::ClientArgs;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Number of entries, 1 to 200 [default: 50]
    #[arg(long, value_name = "COUNT")]
    limit: Option<String>,
    /// Only entries older than this one, by its id (the next page)
    #[arg(long, value_name = "ENTRY")]
    before: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
    created_at: String,
    actor: Actor,
    action: String,
    target: Target,
    #[serde(default)]
    changes: Vec<Change>,
}

#[derive(Deserialize)]
struct Actor {
    r#type: String,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Target {
    r#type: String,
    id: String,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Change {
    field: String,
    #[serde(default)]
    from: Value,
    #[serde(default)]
    to: Value,
}

/// Lists entries.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let api = Api::new(&args.client)?;
    let given = [("limit", &args.limit), ("before", &args.before)];
    let query: Vec<_> = given.iter().filter_map(|(name, value)| value.as_deref().map(|value| (*name, value))).collect();
    let response = api.call(api.request(Method::GET, "/audit").query(&query)).await?;
    if args.client.json {
        return line(escape_json(&response.body));
    }
    let entries: Vec<Entry> = response.parse()?;
    let rows: Vec<_> = entries
        .iter()
        .map(|entry| {
            let changes: Vec<String> = entry.changes.iter().map(Change::text).collect();
            let cells = vec![
                entry.created_at.clone(),
                entry.actor.text(),
                entry.action.clone(),
                entry.target.text(),
                changes.join(", "),
            ];
            (anstyle::Style::new(), cells)
        })
        .collect();
    terminal::table(&["TIME", "WHO", "WHAT", "TARGET", "CHANGES"], &rows)?;
    if let Some(last) = entries.last().filter(|_| response.has_next_page()) {
        note(format_args!("\nnext page: heraldry audit --before {}", escape(&last.id)));
    }
    Ok(())
}

impl Actor {
    fn text(&self) -> String {
        match (&self.name, self.r#type.as_str()) {
            (Some(name), _) => name.clone(),
            (None, "host") => "(the host)".to_owned(),
            (None, "command_line") => "(command line)".to_owned(),
            (None, other) => other.to_owned(),
        }
    }
}

impl Target {
    fn text(&self) -> String {
        match &self.name {
            Some(name) => format!("{} {name} ({})", self.r#type, short(&self.id)),
            // A formatter's id is its name.
            None if uuid::Uuid::try_parse(&self.id).is_err() => format!("{} {}", self.r#type, self.id),
            None => format!("{} {}", self.r#type, short(&self.id)),
        }
    }
}

impl Change {
    fn text(&self) -> String {
        match (&self.from, &self.to) {
            (Value::Null, Value::Null) => self.field.clone(),
            (Value::Null, to) => format!("{}: {to}", self.field),
            (from, to) => format!("{}: {from} -> {to}", self.field),
        }
    }
}
