//! `heraldry token`: who may call the API.

use clap::{Subcommand, ValueEnum};
use reqwest::Method;
use serde::Deserialize;

use super::client::{Api, segment};
use super::failure::{Failure, OrHint as _};
use super::terminal::{self, escape, escape_json, line, note};
use crate::app;
use crate::config::{ClientArgs, DataArgs};

const CREATE_HELP: &str = "\
The token's text alone goes to standard output, this one time; the host keeps only its hash.

Example:
  export HERALDRY_TOKEN=$(heraldry token create --name scanner --role ingest)";

const RESET_HELP: &str = "\
For when every admin token is lost. The host must be stopped. Existing tokens stay as they are.

Example:
  heraldry token reset-admin --data /var/lib/heraldry";

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a token and print its text, this one time
    #[command(after_help = CREATE_HELP)]
    Create {
        /// What the token is for, 1 to 200 characters
        #[arg(long)]
        name: String,
        /// What its bearer may do
        #[arg(long, value_enum)]
        role: Role,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List tokens, never with their text
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Delete a token; it is refused from that moment
    Delete {
        /// The token's id, as `list` shows it
        id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Make a new admin token on a stopped host
    #[command(after_help = RESET_HELP)]
    ResetAdmin {
        #[command(flatten)]
        data: DataArgs,
        /// Print a JSON object instead of the text alone
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    /// Everything
    Admin,
    /// See that webhooks exist, event types, formatters and previews
    Pentester,
    /// Post events and read back its own
    Ingest,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Pentester => "pentester",
            Self::Ingest => "ingest",
        }
    }
}

#[derive(Deserialize)]
struct Token {
    id: String,
    name: String,
    role: String,
    created_at: String,
    token: Option<String>,
}

/// Runs one of the commands.
pub(super) async fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Create { name, role, client } => create(name, *role, client).await,
        Command::List { client } => list(client).await,
        Command::Delete { id, client } => {
            let api = Api::new(client)?;
            api.call(api.request(Method::DELETE, &format!("/tokens{}", segment(id)))).await?;
            note(format_args!("deleted token {}", escape(id)));
            Ok(())
        }
        Command::ResetAdmin { data, json } => reset_admin(data, *json).await,
    }
}

async fn create(name: &str, role: Role, client: &ClientArgs) -> Result<(), Failure> {
    let body = serde_json::json!({ "name": name, "role": role.as_str() }).to_string();
    let answer = Api::new(client)?.send_json(Method::POST, "/tokens", body).await?;
    if client.json {
        return line(escape_json(&answer.body));
    }
    let token: Token = answer.parse()?;
    note(format_args!(
        "made token {} ({}, {}); its text is shown this once:",
        escape(&token.id),
        escape(&token.name),
        escape(&token.role)
    ));
    line(escape(&token.token.unwrap_or_default()))
}

async fn list(client: &ClientArgs) -> Result<(), Failure> {
    let answer = Api::new(client)?.get("/tokens").await?;
    if client.json {
        return line(escape_json(&answer.body));
    }
    let tokens: Vec<Token> = answer.parse()?;
    let rows: Vec<_> = tokens
        .into_iter()
        .map(|token| (anstyle::Style::new(), vec![token.id, token.name, token.role, token.created_at]))
        .collect();
    terminal::table(&["ID", "NAME", "ROLE", "CREATED"], &rows)
}

async fn reset_admin(data: &DataArgs, json: bool) -> Result<(), Failure> {
    let config = data.load().map_err(|error| Failure::usage(error, "`heraldry serve --help` lists every setting"))?;
    let folder = config.data.display().to_string();
    if !config.data.is_dir() {
        let error = anyhow::anyhow!("{folder} is not there");
        return Err(Failure::failed(error, "--data (or HERALDRY_DATA) names the data folder of the host"));
    }
    let token = app::reset_admin(&config.data, config.master_key)
        .await
        .or_hint("the host must be stopped, and HERALDRY_MASTER_KEY set if it is set for the host")?;
    if json {
        return line(escape_json(&serde_json::json!({ "role": "admin", "token": token.expose() }).to_string()));
    }
    note(format_args!("made an admin token in {folder}; its text is shown this once:"));
    line(token.expose())
}
