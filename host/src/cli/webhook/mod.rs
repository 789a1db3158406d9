//! `heraldry webhook`: manages webhooks.

use std::time::Duration;

use clap::Subcommand;
use reqwest::{Method, header};
use serde::Deserialize;

use super::client::{Api, deliveries_path, segment, webhook_path};
use super::failure::Failure;
use super::lookup;
use super::since::{Since, parse_since};
use super::terminal::{self, escape, escape_json, line, note, plural};
use crate::config::ClientArgs;
use crate::config::units::duration;

mod body;
pub(super) mod show;

use body::Fields;

const CREATE_HELP: &str = "\
Examples:
  heraldry webhook create --name ops --url https://chat.example/hook --event-type critical_finding
  heraldry webhook create --name siem --url https://siem.example/in --event-type '*' \\
      --header 'Authorization: Bearer abc' --min-severity high --generate-secret
  heraldry webhook create --name syslog --url syslog+tls://siem.example:6514 --event-type '*' \\
      --format syslog --tls-ca corp --batch 100/500

`heraldry formatter list` lists the available formats.";

const UPDATE_HELP: &str = "\
Fields that are not named stay unchanged.

Examples:
  heraldry webhook update ops --active                 enable again, reset the failure count
  heraldry webhook update ops --timeout-ms 10000 --no-secret";

const RECOVER_HELP: &str = "\
Deliveries that are pending or were delivered stay as they are, so repeating the command is harmless.

Examples:
  heraldry webhook recover ops --since 24h
  heraldry webhook recover ops --since 2026-11-17T10:00:00Z";

const ROTATE_HELP: &str = "\
Prints the new secret alone on standard output. It cannot be shown again.

Example:
  heraldry webhook rotate-secret ops --overlap 24h";

/// The webhook that a command is about.
#[derive(clap::Args)]
pub(super) struct Named {
    /// The webhook: its name, its id, or the unique beginning or end of its id
    #[arg(value_name = "WEBHOOK")]
    id: String,
}

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
        #[command(flatten)]
        webhook: Named,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Change the named fields of a webhook
    #[command(after_help = UPDATE_HELP)]
    Update {
        #[command(flatten)]
        webhook: Named,
        #[command(flatten)]
        fields: Fields,
        #[command(flatten)]
        changes: body::Changes,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Delete a webhook with its history; pending deliveries are cancelled. Asks first, on a terminal
    Delete {
        #[command(flatten)]
        webhook: Named,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Deliver an event now and show the result; exit code 1 if the delivery fails
    Test {
        #[command(flatten)]
        webhook: Named,
        /// Deliver the sample of this event type [default: the webhook's first]
        #[arg(long, value_name = "TYPE", conflicts_with = "event_id")]
        event_type: Option<String>,
        /// Deliver this event, which the host has stored
        #[arg(long, value_name = "EVENT")]
        event_id: Option<String>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show delivery attempts, newest first
    Deliveries {
        #[command(flatten)]
        webhook: Named,
        /// Number of attempts, 1 to 200 [default: 50]
        #[arg(long, value_name = "COUNT")]
        limit: Option<String>,
        /// Only attempts older than this one: its id, or the unique beginning or end of it (the next page)
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
    /// Queue again every delivery that failed for good or is held, with all of its retries
    #[command(after_help = RECOVER_HELP)]
    Recover {
        #[command(flatten)]
        webhook: Named,
        /// Since when: a time (RFC 3339), or how long ago (15min, 24h, 7d)
        #[arg(long, value_name = "TIME|AGE", value_parser = parse_since)]
        since: Since,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Deliver one event again, as a new delivery with its own id
    Redeliver {
        #[command(flatten)]
        webhook: Named,
        /// The delivery, as `deliveries` shows it: its id, or the unique beginning or end of it
        delivery: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Replace the signing secret; for a while the old one signs too
    #[command(after_help = ROTATE_HELP)]
    RotateSecret {
        #[command(flatten)]
        webhook: Named,
        /// The new secret, 1 to 256 characters; base64 if it begins with whsec_ [default: one is generated]
        #[arg(long)]
        secret: Option<String>,
        /// How long the old secret signs too, at most 7d [default: 24h]
        #[arg(long, value_name = "DURATION", value_parser = parse_overlap)]
        overlap: Option<Duration>,
        #[command(flatten)]
        client: ClientArgs,
    },
}

fn parse_overlap(text: &str) -> Result<Duration, String> {
    let overlap = duration(text)?;
    let whole = Duration::from_secs(overlap.as_secs());
    if whole == overlap { Ok(overlap) } else { Err("expected whole seconds, as in 90s or 24h".to_owned()) }
}

/// Runs one of the commands.
pub(super) async fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Create { fields, client } => create(fields, client).await,
        Command::List { client } => list(client).await,
        Command::Get { webhook: Named { id }, client } => {
            let api = Api::new(client)?;
            let response = api.get(&path(&api, id).await?).await?;
            if client.json { line(escape_json(&response.body)) } else { show::webhook(&response.parse()?) }
        }
        Command::Update { webhook: Named { id }, fields, changes, client } => update(id, fields, changes, client).await,
        Command::Delete { webhook: Named { id }, yes, client } => delete(id, *yes, client).await,
        Command::Test { webhook: Named { id }, event_type, event_id, client } => {
            test(id, event_type.as_deref(), event_id.as_deref(), client).await
        }
        Command::Deliveries { webhook: Named { id }, limit, before, success, event_type, client } => {
            let query = [
                ("limit", limit.clone()),
                ("before", before.clone()),
                ("success", success.map(|success| success.to_string())),
                ("event_type", event_type.clone()),
            ];
            deliveries(id, query, client).await
        }
        Command::Recover { webhook: Named { id }, since, client } => recover(id, *since, client).await,
        Command::Redeliver { webhook: Named { id }, delivery, client } => redeliver(id, delivery, client).await,
        Command::RotateSecret { webhook: Named { id }, secret, overlap, client } => {
            rotate_secret(id, secret.as_deref(), *overlap, client).await
        }
    }
}

/// The path of the webhook that a text on the command line means.
async fn path(api: &Api, text: &str) -> Result<String, Failure> {
    Ok(webhook_path(&lookup::webhook(api, text).await?))
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
    note_secret(&webhook);
    show::webhook(&webhook)
}

/// Says what to do with a secret that is in this response alone.
fn note_secret(webhook: &show::Webhook) {
    if webhook.secret.is_some() {
        note("the secret is shown only once: give it to the receiver, which verifies signatures with it");
    }
}

async fn list(client: &ClientArgs) -> Result<(), Failure> {
    let response = Api::new(client)?.get("/webhooks").await?;
    if client.json { line(escape_json(&response.body)) } else { show::webhooks(&response.parse::<Vec<_>>()?) }
}

async fn update(id: &str, fields: &Fields, changes: &body::Changes, client: &ClientArgs) -> Result<(), Failure> {
    let api = Api::new(client)?;
    let path = path(&api, id).await?;
    let mut etag = None;
    let mut filter = None;
    if fields.sets_part_of_filter() && !changes.no_filter {
        // The host replaces the filter as a whole, so the other field is read first and sent back. If-Match makes a
        // concurrent change fail with 412 instead of being overwritten.
        let current = api.get(&path).await?;
        etag = current.headers.get(header::ETAG).cloned();
        filter = current.parse::<body::CurrentFilter>()?.filter;
    }
    let mut object = fields.to_json(filter)?;
    changes.apply(&mut object);
    if object.is_empty() {
        let error = anyhow::anyhow!("the update names no field to change");
        return Err(Failure::usage(error, "see `heraldry webhook update --help` for the fields"));
    }
    let mut request = api.request(Method::PUT, &path).header(header::CONTENT_TYPE, "application/json");
    if let Some(etag) = etag {
        request = request.header(header::IF_MATCH, etag);
    }
    let response = api.call(request.body(serde_json::Value::Object(object).to_string())).await?;
    if changes.active {
        note(active_note(id, response.parse::<show::Webhook>()?.held));
    }
    if client.json {
        return line(escape_json(&response.body));
    }
    let webhook: show::Webhook = response.parse()?;
    note_secret(&webhook);
    show::webhook(&webhook)
}

/// Says what switching a webhook on does not send, and how to send it. Hosts of before say nothing of what is held.
fn active_note(id: &str, held: Option<u64>) -> String {
    let command = format!("`heraldry webhook recover {} --since AGE`", escape(id));
    match held {
        Some(0) => format!("the webhook is active and nothing is held; what failed is sent again with {command}"),
        Some(1) => format!("the webhook is active; 1 delivery is held and stays so until it is sent with {command}"),
        Some(count) => {
            format!("the webhook is active; {count} deliveries are held and stay so until they are sent with {command}")
        }
        None => format!(
            "the webhook is active; what was held or failed while it was not stays so until it is sent with {command}"
        ),
    }
}

async fn delete(id: &str, yes: bool, client: &ClientArgs) -> Result<(), Failure> {
    let api = Api::new(client)?;
    let path = path(&api, id).await?;
    if !yes && terminal::can_ask() {
        let webhook: show::Webhook = api.get(&path).await?.parse()?;
        let question = format!("Delete {} with its history, and cancel what waits?", webhook.title());
        terminal::confirm_deletion(&question)?;
    }
    api.call(api.request(Method::DELETE, &path)).await?;
    note(format_args!("deleted webhook {}", escape(id)));
    Ok(())
}

async fn test(id: &str, event_type: Option<&str>, event_id: Option<&str>, client: &ClientArgs) -> Result<(), Failure> {
    let api = Api::new(client)?;
    let path = format!("{}/test", path(&api, id).await?);
    let body = match (event_type, event_id) {
        (Some(event_type), _) => Some(serde_json::json!({ "event_type": event_type })),
        (None, Some(event_id)) => Some(serde_json::json!({ "event_id": event_id })),
        (None, None) => None,
    };
    let response = match body {
        Some(body) => api.send_json(Method::POST, &path, body.to_string()).await?,
        None => api.call(api.request(Method::POST, &path)).await?,
    };
    let attempt: show::Attempt = response.parse()?;
    if client.json {
        line(escape_json(&response.body))?;
    } else {
        show::attempt(&attempt)?;
    }
    if attempt.success { Ok(()) } else { Err(Failure::already_printed()) }
}

async fn deliveries(id: &str, query: [(&str, Option<String>); 4], client: &ClientArgs) -> Result<(), Failure> {
    let api = Api::new(client)?;
    let webhook = lookup::webhook(&api, id).await?;
    let mut given = Vec::new();
    for (name, value) in query {
        match value {
            Some(part) if name == "before" => given.push((name, lookup::attempt(&api, &webhook, &part).await?)),
            Some(value) => given.push((name, value)),
            None => {}
        }
    }
    let response = api.call(api.request(Method::GET, &deliveries_path(&webhook)).query(&given)).await?;
    if client.json {
        return line(escape_json(&response.body));
    }
    let attempts: Vec<show::Attempt> = response.parse()?;
    show::attempts(&attempts)?;
    if let Some(last) = attempts.last().filter(|_| response.has_next_page()) {
        note(format_args!("\nnext page: heraldry webhook deliveries {} --before {}", escape(id), escape(&last.id)));
    }
    Ok(())
}

/// The response of a recovery.
#[derive(Deserialize)]
struct Recovered {
    deliveries: u64,
}

async fn recover(id: &str, since: Since, client: &ClientArgs) -> Result<(), Failure> {
    let api = Api::new(client)?;
    let path = format!("{}/recover", path(&api, id).await?);
    let since = since.at();
    let body = serde_json::json!({ "since": since.to_string() }).to_string();
    let response = api.send_json(Method::POST, &path, body).await?;
    if client.json {
        return line(escape_json(&response.body));
    }
    let recovered: Recovered = response.parse()?;
    let queued = plural(recovered.deliveries, "delivery");
    line(format_args!("queued {queued} again, of those that failed or were held since {since}"))
}

/// A delivery as the API shows it.
#[derive(Deserialize)]
struct Delivery {
    id: String,
    status: String,
}

async fn redeliver(id: &str, delivery: &str, client: &ClientArgs) -> Result<(), Failure> {
    let api = Api::new(client)?;
    let webhook = lookup::webhook(&api, id).await?;
    let delivery = lookup::delivery(&api, &webhook, delivery).await?;
    let path = format!("{}{}/redeliver", deliveries_path(&webhook), segment(&delivery));
    let response = api.call(api.request(Method::POST, &path)).await?;
    if client.json {
        return line(escape_json(&response.body));
    }
    let made: Delivery = response.parse()?;
    line(format_args!("new delivery {} ({})", escape(&made.id), escape(&made.status)))
}

/// The response of a rotation.
#[derive(Deserialize)]
struct Rotated {
    secret: String,
    old_secret_valid_until: Option<String>,
}

async fn rotate_secret(
    id: &str,
    secret: Option<&str>,
    overlap: Option<Duration>,
    client: &ClientArgs,
) -> Result<(), Failure> {
    let api = Api::new(client)?;
    let path = format!("{}/rotate-secret", path(&api, id).await?);
    let mut body = serde_json::Map::new();
    body.extend(secret.map(|secret| ("secret".to_owned(), secret.into())));
    body.extend(overlap.map(|overlap| ("overlap_seconds".to_owned(), overlap.as_secs().into())));
    let response = api.send_json(Method::POST, &path, serde_json::Value::Object(body).to_string()).await?;
    if client.json {
        return line(escape_json(&response.body));
    }
    let rotated: Rotated = response.parse()?;
    match &rotated.old_secret_valid_until {
        Some(until) => {
            note(format_args!("the old secret signs too until {}; the new one is shown only once:", escape(until)));
        }
        None => note("the old secret does not sign any more; the new one is shown only once:"),
    }
    line(escape(&rotated.secret))
}
