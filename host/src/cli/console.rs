//! `heraldry console`: a one-time link to the console.

use std::io::IsTerminal as _;
use std::process::Stdio;

use reqwest::Method;
use serde::Deserialize;

use super::client::Api;
use super::failure::Failure;
use super::terminal::{escape, line, note};
use crate::config::ClientArgs;

pub(super) const HELP: &str = "\
The link logs a browser in with the role of HERALDRY_TOKEN. It can be used once, within 60 seconds.
On a terminal the browser is opened too.

Examples:
  heraldry console
  heraldry console --no-open";

#[derive(clap::Args)]
pub(super) struct Args {
    /// Only print the link
    #[arg(long)]
    no_open: bool,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Deserialize)]
struct Link {
    url: String,
}

pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let api = Api::new(&args.client)?;
    let link: Link = api.send_json(Method::POST, "/console-links", "{}".to_owned()).await?.parse()?;
    line(escape(&link.url))?;
    if !args.no_open && std::io::stdout().is_terminal() {
        open(&link.url);
    }
    Ok(())
}

/// Opens the link in the user's browser, where there is one. What the browser prints does not belong on this terminal.
fn open(url: &str) {
    let is_plain = url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = std::process::Command::new(opener);
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if !is_plain || command.spawn().is_err() {
        note("Open the link in a browser on this machine.");
    }
}
