//! `heraldry formatter install`, `versions`, `activate`, `rollback`: clients of the upload API.

use std::path::Path;

use reqwest::{Method, header};
use serde::Deserialize;

use super::super::failure::Failure;
use super::super::terminal::{self, escape, escape_json, line, note};
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
