//! `heraldry token`: API tokens.

use clap::{Subcommand, ValueEnum};
use reqwest::Method;
use serde::Deserialize;

use super::client::{Api, segment};
use super::failure::{Failure, OrHint as _};
use super::lookup;
use super::terminal::{self, escape, escape_json, line, note};
use crate::app;
use crate::config::{ClientArgs, DataArgs};

const CREATE_HELP: &str = "\
Prints the token alone on standard output. It cannot be shown again: the host stores only its hash.

Example:
  export HERALDRY_TOKEN=$(heraldry token create --name scanner --role ingest)";

const RESET_HELP: &str = "\
Use this when every admin token is lost. The host must be stopped. Existing tokens stay valid.

Example:
  heraldry token reset-admin --data /var/lib/heraldry";

#[derive(Subcommand)]
pub(super) enum Command {
    /// Create a token and print it, once
    #[command(after_help = CREATE_HELP)]
    Create {
        /// Name that tells what the token is for, 1 to 200 characters
        #[arg(long)]
        name: String,
        /// Permissions of the token
        #[arg(long, value_enum)]
        role: Role,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List tokens, without their secret text
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Delete a token; the API rejects it from then on
    Delete {
        /// The token's id, or the unique beginning or end of it
        #[arg(value_name = "TOKEN_ID")]
        id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Create a new admin token on a stopped host
    #[command(after_help = RESET_HELP)]
    ResetAdmin {
        #[command(flatten)]
        data: DataArgs,
        /// Print a JSON object instead of the token alone
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    /// All operations
    Admin,
    /// List webhooks (without URL and secrets), event types and formatters; render previews
    Pentester,
    /// Post events, and read those posted with this token
    Ingest,
    /// Read what an admin reads (without URLs and values of options); change nothing
    Operator,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Pentester => "pentester",
            Self::Ingest => "ingest",
            Self::Operator => "operator",
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
            let whole = lookup::token(&api, id).await?;
            api.call(api.request(Method::DELETE, &format!("/tokens{}", segment(&whole)))).await?;
            note(format_args!("deleted token {}", escape(id)));
            Ok(())
        }
        Command::ResetAdmin { data, json } => reset_admin(data, *json).await,
    }
}

async fn create(name: &str, role: Role, client: &ClientArgs) -> Result<(), Failure> {
    let body = serde_json::json!({ "name": name, "role": role.as_str() }).to_string();
    let response = Api::new(client)?.send_json(Method::POST, "/tokens", body).await?;
    if client.json {
        return line(escape_json(&response.body));
    }
    let token: Token = response.parse()?;
    note(format_args!(
        "created token {} ({}, {}); it is shown only once:",
        escape(&token.id),
        escape(&token.name),
        escape(&token.role)
    ));
    line(escape(&token.token.unwrap_or_default()))
}

async fn list(client: &ClientArgs) -> Result<(), Failure> {
    let response = Api::new(client)?.get("/tokens").await?;
    if client.json {
        return line(escape_json(&response.body));
    }
    let tokens: Vec<Token> = response.parse()?;
    let rows: Vec<_> = tokens
        .into_iter()
        .map(|token| (anstyle::Style::new(), vec![lookup::short(&token.id), token.name, token.role, token.created_at]))
        .collect();
    terminal::table(&["ID", "NAME", "ROLE", "CREATED"], &rows)
}

async fn reset_admin(data: &DataArgs, json: bool) -> Result<(), Failure> {
    let config = data.load().map_err(|error| Failure::usage(error, "`heraldry serve --help` lists every setting"))?;
    let folder = config.data.display().to_string();
    if !config.data.is_dir() {
        let error = anyhow::anyhow!("the folder {folder} does not exist");
        return Err(Failure::failed(error, "set --data (or HERALDRY_DATA) to the data folder of the host"));
    }
    let token = app::reset_admin(&config.data, config.master_key)
        .await
        .or_hint("the host must be stopped, and HERALDRY_MASTER_KEY must be set if the host runs with it")?;
    if json {
        return line(escape_json(&serde_json::json!({ "role": "admin", "token": token.expose() }).to_string()));
    }
    note(format_args!("created an admin token in {folder}; it is shown only once:"));
    line(token.expose())
}
