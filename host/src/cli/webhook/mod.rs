//! `heraldry webhook`: where events go.

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

`curl $HERALDRY_URL/api/v1/formatters` (with a token) lists the formats there are.";

const UPDATE_HELP: &str = "\
What is not named stays as it is.

Examples:
  heraldry webhook update ID --active                  switch on again, failure count to 0
  heraldry webhook update ID --timeout-ms 10000 --no-secret";

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a webhook
    #[command(after_help = CREATE_HELP)]
    Create {
        #[command(flatten)]
        fields: Fields,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List webhooks, newest first; inactive ones in red with the reason
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
    /// Change what is named, leave the rest
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
    /// Delete a webhook with its history; what waits is cancelled
    Delete {
        /// The webhook's id, as `list` shows it
        id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Deliver a sample event now and show the outcome; exit code 1 when it was not taken
    Test {
        /// The webhook's id, as `list` shows it
        id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show attempts, newest first
    Deliveries {
        /// The webhook's id, as `list` shows it
        id: String,
        /// How many, 1 to 200 [default: 50]
        #[arg(long, value_name = "COUNT")]
        limit: Option<String>,
        /// Only attempts before this one's id: the next page
        #[arg(long, value_name = "ATTEMPT")]
        before: Option<String>,
        /// Only those that were taken (true) or were not (false)
        #[arg(long, value_name = "BOOL")]
        success: Option<bool>,
        /// Only those of this event type
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
            let answer = Api::new(client)?.get(&path(id)).await?;
            if client.json { line(escape_json(&answer.body)) } else { show::webhook(&answer.parse()?) }
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
    let answer = Api::new(client)?.send_json(Method::POST, "/webhooks", body).await?;
    if client.json {
        return line(escape_json(&answer.body));
    }
    let webhook: show::Webhook = answer.parse()?;
    note(format_args!("made a webhook; `heraldry webhook test {}` tries it", escape(&webhook.id)));
    show::webhook(&webhook)
}

async fn list(client: &ClientArgs) -> Result<(), Failure> {
    let answer = Api::new(client)?.get("/webhooks").await?;
    if client.json { line(escape_json(&answer.body)) } else { show::webhooks(&answer.parse::<Vec<_>>()?) }
}

async fn update(id: &str, fields: &Fields, changes: &body::Changes, client: &ClientArgs) -> Result<(), Failure> {
    let api = Api::new(client)?;
    let mut etag = None;
    let mut filter = None;
    if fields.part_of_filter() && !changes.no_filter {
        // The host replaces the filter as a whole: the other half is read first and sent back, unless
        // somebody was faster (412).
        let now = api.get(&path(id)).await?;
        etag = now.headers.get(header::ETAG).cloned();
        filter = now.parse::<body::Filtered>()?.filter;
    }
    let mut object = fields.to_json(filter)?;
    changes.apply(&mut object);
    if object.is_empty() {
        let error = anyhow::anyhow!("nothing to change was named");
        return Err(Failure::usage(error, "`heraldry webhook update --help` lists the fields"));
    }
    let mut request = api.request(Method::PUT, &path(id)).header(header::CONTENT_TYPE, "application/json");
    if let Some(etag) = etag {
        request = request.header(header::IF_MATCH, etag);
    }
    let answer = api.call(request.body(serde_json::Value::Object(object).to_string())).await?;
    if client.json { line(escape_json(&answer.body)) } else { show::webhook(&answer.parse()?) }
}

async fn test(id: &str, client: &ClientArgs) -> Result<(), Failure> {
    let api = Api::new(client)?;
    let answer = api.call(api.request(Method::POST, &format!("{}/test", path(id)))).await?;
    let attempt: show::Attempt = answer.parse()?;
    if client.json {
        line(escape_json(&answer.body))?;
    } else {
        show::attempt(&attempt)?;
    }
    if attempt.success { Ok(()) } else { Err(Failure::already_said()) }
}

async fn deliveries(id: &str, query: &[(&str, Option<String>)], client: &ClientArgs) -> Result<(), Failure> {
    let api = Api::new(client)?;
    let given: Vec<_> = query.iter().filter_map(|(name, value)| value.as_deref().map(|value| (*name, value))).collect();
    let answer = api.call(api.request(Method::GET, &format!("{}/deliveries", path(id))).query(&given)).await?;
    let more =
        answer.headers.get(header::LINK).is_some_and(|link| link.to_str().is_ok_and(|link| link.contains("next")));
    if client.json {
        return line(escape_json(&answer.body));
    }
    let attempts: Vec<show::Attempt> = answer.parse()?;
    show::attempts(&attempts)?;
    if let Some(last) = attempts.last().filter(|_| more) {
        note(format_args!("\nmore: heraldry webhook deliveries {} --before {}", escape(id), escape(&last.id)));
    }
    Ok(())
}
