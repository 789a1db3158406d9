//! `heraldry webhook`: manages webhooks.

use clap::Subcommand;
use reqwest::{Method, header};

use super::client::{Api, segment};
use super::failure::Failure;
use super::terminal::{escape, escape_json, line, note};
use crate::config::ClientArgs;

mod body;
pub(super) mod show;

use body::Fields;

const CREATE_HELP: &str = "\
Examples:
  heraldry webhook create --name ops --url https://chat.example/hook --event-type critical_finding
  heraldry webhook create --name siem --url https://siem.example/in --event-type '*' \\
      --header 'Authorization: Bearer abc' --min-severity high --secret whsec_...
  heraldry webhook create --name syslog --url syslog+tls://siem.example:6514 --event-type '*' \\
      --format syslog --tls-ca corp --batch 100/500

`GET /api/v1/formatters` lists the available formats.";

const UPDATE_HELP: &str = "\
Fields that are not named stay unchanged.

Examples:
  heraldry webhook update ID --active                  enable again, reset the failure count
  heraldry webhook update ID --timeout-ms 10000 --no-secret";

#[derive(Subcommand)]
pub(super) enum Command {
    /// Create a webhook
    #[command(after_help = CREATE_HELP)]
    Create {
        #[command(flatten)]
        fields: Fields,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List webhooks, newest first; inactive ones in red, with the reason
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show one webhook
    Get {
        /// The webhook's id, as `list` shows it
        id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Change the named fields of a webhook
    #[command(after_help = UPDATE_HELP)]
    Update {
        /// The webhook's id, as `list` shows it
        id: String,
        #[command(flatten)]
        fields: Fields,
        #[command(flatten)]
        changes: body::Changes,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Delete a webhook with its history; pending deliveries are cancelled
    Delete {
        /// The webhook's id, as `list` shows it
        id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Deliver a sample event now and show the result; exit code 1 if the delivery fails
    Test {
        /// The webhook's id, as `list` shows it
        id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show delivery attempts, newest first
    Deliveries {
        /// The webhook's id, as `list` shows it
        id: String,
        /// Number of attempts, 1 to 200 [default: 50]
        #[arg(long, value_name = "COUNT")]
        limit: Option<String>,
        /// Only attempts older than this attempt id (the next page)
        #[arg(long, value_name = "ATTEMPT")]
        before: Option<String>,
        /// Only successful (true) or failed (false) attempts
        #[arg(long, value_name = "BOOL")]
        success: Option<bool>,
        /// Only attempts of this event type
        #[arg(long, value_name = "TYPE")]
        event_type: Option<String>,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// Runs one of the commands.
pub(super) async fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Create { fields, client } => create(fields, client).await,
        Command::List { client } => list(client).await,
        Command::Get { id, client } => {
            let response = Api::new(client)?.get(&path(id)).await?;
            if client.json { line(escape_json(&response.body)) } else { show::webhook(&response.parse()?) }
        }
        Command::Update { id, fields, changes, client } => update(id, fields, changes, client).await,
        Command::Delete { id, client } => {
            let api = Api::new(client)?;
            api.call(api.request(Method::DELETE, &path(id))).await?;
            note(format_args!("deleted webhook {}", escape(id)));
            Ok(())
        }
        Command::Test { id, client } => test(id, client).await,
        Command::Deliveries { id, limit, before, success, event_type, client } => {
            let query = [
                ("limit", limit.clone()),
                ("before", before.clone()),
                ("success", success.map(|success| success.to_string())),
                ("event_type", event_type.clone()),
            ];
            deliveries(id, &query, client).await
        }
    }
}

fn path(id: &str) -> String {
    format!("/webhooks{}", segment(id))
}

async fn create(fields: &Fields, client: &ClientArgs) -> Result<(), Failure> {
    fields.require_for_create()?;
    let body = serde_json::Value::Object(fields.to_json(None)?).to_string();
    let response = Api::new(client)?.send_json(Method::POST, "/webhooks", body).await?;
    if client.json {
        return line(escape_json(&response.body));
    }
    let webhook: show::Webhook = response.parse()?;
    note(format_args!("created the webhook; test it with `heraldry webhook test {}`", escape(&webhook.id)));
    show::webhook(&webhook)
}

async fn list(client: &ClientArgs) -> Result<(), Failure> {
    let response = Api::new(client)?.get("/webhooks").await?;
    if client.json { line(escape_json(&response.body)) } else { show::webhooks(&response.parse::<Vec<_>>()?) }
}

async fn update(id: &str, fields: &Fields, changes: &body::Changes, client: &ClientArgs) -> Result<(), Failure> {
    let api = Api::new(client)?;
    let mut etag = None;
    let mut filter = None;
    if fields.sets_part_of_filter() && !changes.no_filter {
        // The host replaces the filter as a whole, so the other field is read first and sent back. If-Match makes a
        // concurrent change fail with 412 instead of being overwritten.
        let current = api.get(&path(id)).await?;
        etag = current.headers.get(header::ETAG).cloned();
        filter = current.parse::<body::CurrentFilter>()?.filter;
    }
    let mut object = fields.to_json(filter)?;
    changes.apply(&mut object);
    if object.is_empty() {
        let error = anyhow::anyhow!("the update names no field to change");
        return Err(Failure::usage(error, "see `heraldry webhook update --help` for the fields"));
    }
    let mut request = api.request(Method::PUT, &path(id)).header(header::CONTENT_TYPE, "application/json");
    if let Some(etag) = etag {
        request = request.header(header::IF_MATCH, etag);
    }
    let response = api.call(request.body(serde_json::Value::Object(object).to_string())).await?;
    if client.json { line(escape_json(&response.body)) } else { show::webhook(&response.parse()?) }
}

async fn test(id: &str, client: &ClientArgs) -> Result<(), Failure> {
    let api = Api::new(client)?;
    let response = api.call(api.request(Method::POST, &format!("{}/test", path(id)))).await?;
    let attempt: show::Attempt = response.parse()?;
    if client.json {
        line(escape_json(&response.body))?;
    } else {
        show::attempt(&attempt)?;
    }
    if attempt.success { Ok(()) } else { Err(Failure::already_printed()) }
}

async fn deliveries(id: &str, query: &[(&str, Option<String>)], client: &ClientArgs) -> Result<(), Failure> {
    let api = Api::new(client)?;
    let given: Vec<_> = query.iter().filter_map(|(name, value)| value.as_deref().map(|value| (*name, value))).collect();
    let response = api.call(api.request(Method::GET, &format!("{}/deliveries", path(id))).query(&given)).await?;
    let more =
        response.headers.get(header::LINK).is_some_and(|link| link.to_str().is_ok_and(|link| link.contains("next")));
    if client.json {
        return line(escape_json(&response.body));
    }
    let attempts: Vec<show::Attempt> = response.parse()?;
    show::attempts(&attempts)?;
    if let Some(last) = attempts.last().filter(|_| more) {
        note(format_args!("\nnext page: heraldry webhook deliveries {} --before {}", escape(id), escape(&last.id)));
    }
    Ok(())
}
