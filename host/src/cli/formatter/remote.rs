//! `heraldry formatter list`, `get`, `delete`, `install`, `versions`, `activate`, `rollback`: clients of the API.

use std::path::Path;

use reqwest::{Method, header};
use serde::Deserialize;

use super::super::failure::Failure;
use super::super::pretty;
use super::super::terminal::{self, escape, escape_json, escape_lines, line, note};
use super::client::{Api, Response, segment};
use super::{ToolArgs, read, rejected, runtime, show_finding};
use crate::config::ClientArgs;

#[derive(Deserialize)]
struct Installed {
    name: String,
    version: Option<String>,
    digest: Option<String>,
}

#[derive(Deserialize)]
struct Version {
    version: String,
    digest: String,
    added_at: Option<String>,
    active: bool,
    rolled_back: Option<RolledBack>,
}

#[derive(Deserialize)]
struct RolledBack {
    at: String,
    reason: String,
}

/// A formatter in the API's response.
#[derive(Deserialize)]
struct Formatter {
    name: String,
    version: Option<String>,
    description: Option<String>,
    options_schema: Option<serde_json::Value>,
    digest: Option<String>,
    origin: String,
    file: Option<String>,
    state: String,
    reason: Option<String>,
    #[serde(default)]
    calls: u64,
    #[serde(default)]
    last_error: Option<LastError>,
    #[serde(default)]
    warnings: Vec<Warning>,
}

#[derive(Deserialize)]
struct Warning {
    message: String,
    fix: String,
}

#[derive(Deserialize)]
struct LastError {
    at: String,
    code: String,
    #[serde(default)]
    message: String,
}

impl Formatter {
    fn is_ready(&self) -> bool {
        self.state == "ready"
    }

    /// The state, with the reason of a rejection.
    fn state(&self) -> String {
        self.reason.as_ref().map_or_else(|| self.state.clone(), |reason| format!("{}: {reason}", self.state))
    }
}

pub(super) async fn list(client: &ClientArgs) -> Result<(), Failure> {
    let response = Api::new(client)?.get("/formatters").await?;
    if client.json {
        return line(escape_json(&response.body));
    }
    let formatters: Vec<Formatter> = response.parse()?;
    let rows: Vec<_> = formatters
        .iter()
        .map(|formatter| {
            let style = if formatter.is_ready() { anstyle::Style::new() } else { terminal::BAD };
            // The last column, which is never cut, says what the format is for or what is wrong.
            let last = if formatter.is_ready() { formatter.description.clone() } else { Some(formatter.state()) };
            let version = formatter.version.clone().unwrap_or_else(|| "-".to_owned());
            (style, vec![formatter.name.clone(), version, formatter.origin.clone(), last.unwrap_or_default()])
        })
        .collect();
    terminal::table(&["NAME", "VERSION", "ORIGIN", "DESCRIPTION"], &rows)
}

pub(super) async fn get(name: &str, client: &ClientArgs) -> Result<(), Failure> {
    let response = Api::new(client)?.get(&path(name, "")).await?;
    if client.json {
        return line(escape_json(&response.body));
    }
    let formatter: Formatter = response.parse()?;
    let rows = [
        ("name", Some(formatter.name.clone())),
        ("state", Some(formatter.state())),
        ("version", formatter.version.clone()),
        ("description", formatter.description.clone()),
        ("origin", Some(formatter.origin.clone())),
        ("file", formatter.file.clone()),
        ("digest", formatter.digest.clone()),
        ("calls", Some(formatter.calls.to_string())),
        (
            "last error",
            formatter.last_error.as_ref().map(|last| format!("{} {}: {}", last.at, last.code, last.message)),
        ),
    ];
    terminal::known_facts(rows)?;
    for Warning { message, fix } in &formatter.warnings {
        line(format_args!("{}warning{:#}: {}", terminal::WARN, terminal::WARN, escape(message)))?;
        line(format_args!("  {}fix:{:#} {}", terminal::NAME, terminal::NAME, escape(fix)))?;
    }
    if let Some(schema) = &formatter.options_schema {
        let text = schema.to_string();
        let laid = pretty::json(&text, WIDTH).unwrap_or(text);
        line(format_args!("{}options{:#}", terminal::DIM, terminal::DIM))?;
        line(escape_lines(&laid))?;
    }
    Ok(())
}

/// Columns of a schema in `get`.
const WIDTH: usize = 100;

pub(super) async fn delete(name: &str, yes: bool, client: &ClientArgs) -> Result<(), Failure> {
    let api = Api::new(client)?;
    if !yes && terminal::can_ask() {
        terminal::confirm_deletion(&format!("Delete the formatter {name} with all of its versions?"))?;
    }
    api.call(api.request(Method::DELETE, &path(name, ""))).await?;
    note(format_args!("deleted formatter {}", escape(name)));
    Ok(())
}

fn path(name: &str, rest: &str) -> String {
    format!("/formatters{}{rest}", segment(name))
}

pub(super) async fn install(file: &Path, client: &ClientArgs, tool: &ToolArgs) -> Result<(), Failure> {
    let runtime = runtime(tool)?;
    let bytes = read(&runtime, file)?;
    // Checked locally first: findings need no host, and the manifest has the name to upload it under.
    let (report, _) = runtime.check(&bytes);
    let Some(manifest) = report.manifest.as_ref().filter(|_| report.fits) else {
        for finding in &report.findings {
            show_finding(finding)?;
        }
        return Err(rejected(file, &report));
    };
    let api = Api::new(client)?;
    let request = api.request(Method::PUT, &path(&manifest.name, "")).header(header::CONTENT_TYPE, "application/wasm");
    let response = api.call(request.timeout(UPLOAD_TIMEOUT).body(bytes)).await?;
    show_active("installed", &response, client)
}

/// Limit of an upload, during which the host compiles the component.
const UPLOAD_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(300);

pub(super) async fn versions(name: &str, client: &ClientArgs) -> Result<(), Failure> {
    let response = Api::new(client)?.get(&path(name, "/versions")).await?;
    if client.json {
        return line(escape_json(&response.body));
    }
    let versions: Vec<Version> = response.parse()?;
    let rows: Vec<_> = versions
        .into_iter()
        .map(|version| {
            let (style, state) = match (&version.rolled_back, version.active) {
                (_, true) => (terminal::GOOD, "in use".to_owned()),
                (Some(why), false) => (terminal::BAD, format!("rolled back at {}: {}", why.at, why.reason)),
                (None, false) => (anstyle::Style::new(), String::new()),
            };
            (style, vec![version.version, version.digest, version.added_at.unwrap_or_else(|| "-".into()), state])
        })
        .collect();
    terminal::table(&["VERSION", "DIGEST", "ADDED", "STATE"], &rows)
}

pub(super) async fn activate(name: &str, version: &str, client: &ClientArgs) -> Result<(), Failure> {
    let member = if version.starts_with("sha256:") { "digest" } else { "version" };
    let body = serde_json::json!({ member: version }).to_string();
    let response = Api::new(client)?.send_json(Method::POST, &path(name, "/activate"), body).await?;
    show_active("in use", &response, client)
}

pub(super) async fn rollback(name: &str, client: &ClientArgs) -> Result<(), Failure> {
    let api = Api::new(client)?;
    let response = api.call(api.request(Method::POST, &path(name, "/rollback"))).await?;
    show_active("in use", &response, client)
}

fn show_active(label: &str, response: &Response, client: &ClientArgs) -> Result<(), Failure> {
    if client.json {
        return line(escape_json(&response.body));
    }
    let active: Installed = response.parse()?;
    line(format_args!(
        "{label}: {} {} ({})",
        escape(&active.name),
        escape(&active.version.unwrap_or_default()),
        escape(&active.digest.unwrap_or_default())
    ))?;
    note(format_args!("webhooks select it with --format {}", escape(&active.name)));
    Ok(())
}
