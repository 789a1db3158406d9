//! `heraldry listen`: a local test destination that prints deliveries.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use axum::http::StatusCode;
use base64::Engine as _;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;

use super::collector::{self, Message, Parsed};
use super::failure::{Failure, OrHint as _};
use super::pretty;
use super::receiver::{self, Behaviour, Delivery, Verdict, Verdicts};
use super::terminal::{BAD, BOLD, DIM, GOOD, NAME, WARN, escape, escape_json, escape_lines, line, note, plural};
use crate::config::units;
use crate::model::secret::Secret;

pub(super) const HELP: &str = "\
Examples:
  heraldry listen                                     print what arrives on port 9000
  heraldry listen --secret whsec_...                  and verify both signatures
  heraldry listen --fail-first 2                      500 twice, then 200: shows retries
  heraldry listen --respond 410                       always 410: the host disables the webhook
  heraldry listen --delay 3s --json | jq .event
  heraldry listen --syslog                            and parse syslog messages on port 5514

The host delivers to this machine only if it runs with --allow-net 127.0.0.0/8";

/// Deliveries queued for the terminal. A full queue delays responses (backpressure); none is lost.
pub(super) const QUEUE: usize = 256;
/// Columns that JSON bodies are laid out for.
const WIDTH: usize = 98;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Port to listen on; 0 lets the system choose
    #[arg(long, default_value_t = 9000)]
    port: u16,
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    bind: IpAddr,
    /// The webhook's secret: verify the signatures of each delivery with it
    #[arg(long, value_name = "SECRET", value_parser = |text: &str| Ok::<_, std::convert::Infallible>(Secret::new(text)))]
    secret: Option<Secret>,
    /// Respond with this status, 200 to 599 [default: 200; with --fail-first: 500]
    #[arg(long, value_name = "STATUS", value_parser = parse_status)]
    respond: Option<StatusCode>,
    /// Respond with the failure status to the first COUNT requests only, then with 200
    #[arg(long, value_name = "COUNT")]
    fail_first: Option<u64>,
    /// Wait before each response, as in 500ms or 3s [default: 0s]
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    delay: Option<Duration>,
    /// Receive syslog messages too, over UDP and TCP on --syslog-port, and print their parsed fields
    #[arg(long)]
    syslog: bool,
    /// Port for syslog; 0 lets the system choose
    #[arg(long, value_name = "PORT", default_value_t = 5514)]
    syslog_port: u16,
    /// Print one JSON object per delivery
    #[arg(long)]
    json: bool,
}

fn parse_status(text: &str) -> Result<StatusCode, String> {
    let code = text.parse::<u16>().ok().filter(|code| (200..=599).contains(code));
    code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or_else(|| "expected a status from 200 to 599".to_owned())
}

/// Listens until Ctrl-C.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let address = SocketAddr::new(args.bind, args.port);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))
        .or_hint("choose another --port (0 lets the system choose) or --bind")?;
    let address = listener.local_addr().or_hint("choose another --port")?;
    let behaviour = Behaviour {
        secret: args.secret.clone(),
        respond: args.respond,
        fail_first: args.fail_first,
        delay: args.delay.unwrap_or_default(),
    };
    let (sender, mut deliveries) = mpsc::channel(QUEUE);
    let mut server = tokio::spawn(receiver::serve(listener, behaviour, sender, std::future::pending()));
    note(format_args!("listening on http://{address}"));
    let (message_sender, mut messages) = mpsc::channel(QUEUE);
    let mut collector = match args.syslog {
        true => tokio::spawn(collect(SocketAddr::new(args.bind, args.syslog_port), message_sender).await?),
        // Sends nothing and never ends, so that the select below needs no second form.
        false => tokio::spawn(async move {
            let _sender = message_sender;
            std::future::pending().await
        }),
    };

    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    let (mut count, mut unverified) = (0, 0);
    loop {
        tokio::select! {
            _ = &mut interrupt => break,
            ended = &mut server => {
                let ended = ended.map_err(anyhow::Error::new).and_then(|ended| ended.map_err(anyhow::Error::new));
                return ended.or_hint("start the command again");
            }
            ended = &mut collector => {
                let ended = ended.map_err(anyhow::Error::new).and_then(|ended| ended.map_err(anyhow::Error::new));
                return ended.or_hint("start the command again");
            }
            message = messages.recv() => {
                let Some(message) = message else { break };
                count += 1;
                if args.json { line(escape_json(&json_of(&message)))? } else { show_message(&message)? }
            }
            delivery = deliveries.recv() => {
                let Some(delivery) = delivery else { break };
                count += 1;
                unverified += u64::from(delivery.verdicts.is_some_and(|verdicts| !verdicts.all_verify()));
                if args.json { line(escape_json(&as_json(&delivery)))? } else { show(&delivery)? }
            }
        }
    }
    server.abort();
    collector.abort();
    let unverified = if unverified > 0 { format!(", {unverified} without two good signatures") } else { String::new() };
    note(format_args!("\nreceived {}{unverified}", plural(count, "request")));
    Ok(())
}

/// Binds a syslog collector to this address, over UDP and TCP.
async fn collect(
    address: SocketAddr,
    messages: mpsc::Sender<Message>,
) -> Result<impl Future<Output = std::io::Result<()>>, Failure> {
    let hint = "choose another --syslog-port (0 lets the system choose) or --bind";
    let words = || format!("cannot listen on {address}");
    let listener = TcpListener::bind(address).await.with_context(words).or_hint(hint)?;
    let address = listener.local_addr().or_hint(hint)?;
    let datagrams =
        UdpSocket::bind(address).await.with_context(|| format!("cannot listen on {address}")).or_hint(hint)?;
    note(format_args!("listening on syslog+udp://{address} and syslog+tcp://{address}"));
    Ok(collector::serve(datagrams, listener, messages))
}

fn json_of(message: &Message) -> String {
    serde_json::to_string(message).unwrap_or_default()
}

/// Prints one syslog message and its parsed fields, one a line.
fn show_message(message: &Message) -> Result<(), Failure> {
    let time = message.received_at.to_string();
    line(format_args!(
        "{DIM}{}{DIM:#} {BOLD}syslog{BOLD:#} {}  {}",
        &time[11..23],
        message.transport,
        size(message.bytes)
    ))?;
    let part = |name: &str, value: &str| line(format_args!("  {NAME}{name}{NAME:#}: {}", escape(value)));
    let known = |name: &str, value: &Option<String>| part(name, value.as_deref().unwrap_or("-"));
    match &message.parsed {
        Parsed::Rfc5424 { facility, severity, time, host, app, msgid, structured_data, message } => {
            part("priority", &format!("{facility}.{severity}"))?;
            known("time", time)?;
            known("host", host)?;
            known("app", app)?;
            known("msgid", msgid)?;
            for (id, params) in structured_data {
                part("structured data", id)?;
                for (name, value) in params {
                    line(format_args!("    {DIM}{}{DIM:#} = {}", escape(name), escape(value)))?;
                }
            }
            part("message", message)?;
        }
        Parsed::Rfc3164 { priority, time, host, message } => {
            part("priority", &priority.to_string())?;
            part("time", time)?;
            part("host", host)?;
            part("message", message)?;
        }
        Parsed::Unknown { why } => line(format_args!("  {WARN}not a syslog message: {}{WARN:#}", escape(why)))?,
    }
    line(format_args!("  {DIM}{}{DIM:#}", escape(&message.text)))?;
    line("")
}

/// Prints one delivery: a summary line, the signature checks, the body.
fn show(delivery: &Delivery) -> Result<(), Failure> {
    line(headline(delivery))?;
    if let Some(verdicts) = delivery.verdicts {
        line(format_args!("  {}", signatures(verdicts)))?;
    }
    line(body(delivery))?;
    line("")
}

fn headline(delivery: &Delivery) -> String {
    let header = |name: &str, fallback: &str| {
        let value = delivery.header(name);
        escape(if value.is_empty() { fallback } else { &value }).into_owned()
    };
    let time = delivery.at.to_string();
    let status_style = if delivery.status.is_success() { GOOD } else { BAD };
    format!(
        "{DIM}{}{DIM:#} {BOLD}{}{BOLD:#} {} attempt {}  {}, {}  {status_style}{}{status_style:#}\n  {DIM}delivery {}{DIM:#}",
        &time[11..23],
        header("x-webhook-event", "(no event type)"),
        escape(&delivery.path),
        header("x-webhook-attempt", "?"),
        header("content-type", "no content type"),
        size(delivery.body.len()),
        delivery.status.as_u16(),
        header("x-webhook-delivery", "(no id)"),
    )
}

/// The results of both signature checks, coloured.
pub(super) fn signatures(verdicts: Verdicts) -> String {
    let one = |name: &str, verdict: Verdict| {
        let style = match verdict {
            Verdict::Verifies => GOOD,
            Verdict::Wrong => BAD,
            Verdict::Missing => WARN,
        };
        format!("{DIM}{name}{DIM:#} {style}{}{style:#}", verdict.as_str())
    };
    format!("{}  {}", one("X-Webhook-Signature", verdicts.body), one("webhook-signature", verdicts.standard))
}

/// The request's method, path and headers, one header a line.
pub(super) fn head(delivery: &Delivery) -> String {
    let mut text = format!("{BOLD}{} {}{BOLD:#}", escape(&delivery.method), escape(&delivery.path));
    for (name, value) in &delivery.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        text.push_str(&format!("\n{NAME}{name}{NAME:#}: {}", escape(&value)));
    }
    text
}

/// The body for display: JSON pretty-printed, other text as it is, binary data as its size.
pub(super) fn body(delivery: &Delivery) -> String {
    match std::str::from_utf8(&delivery.body) {
        Ok(text) => escape_lines(&pretty::json(text, WIDTH).unwrap_or_else(|| text.to_owned())).into_owned(),
        Err(_) => format!("({} that are not UTF-8 text)", size(delivery.body.len())),
    }
}

/// A size in bytes below 10 KiB, in KiB from there.
pub(super) fn size(bytes: usize) -> String {
    if bytes < 10 * 1024 { format!("{bytes} B") } else { format!("{} KiB", bytes.div_ceil(1024)) }
}

fn as_json(delivery: &Delivery) -> String {
    // Values of a repeated header are joined with commas (RFC 9110, section 5.3).
    let mut headers = std::collections::BTreeMap::<&str, String>::new();
    for (name, value) in &delivery.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers.entry(name.as_str()).and_modify(|all| *all = format!("{all}, {value}")).or_insert(value.into_owned());
    }
    let mut object = serde_json::json!({
        "received_at": delivery.at,
        "method": delivery.method,
        "path": delivery.path,
        "event": delivery.header("x-webhook-event"),
        "delivery": delivery.header("x-webhook-delivery"),
        "attempt": delivery.header("x-webhook-attempt").parse::<u32>().ok(),
        "content_type": delivery.header("content-type"),
        "headers": headers,
        "answer": delivery.status.as_u16(),
    });
    match std::str::from_utf8(&delivery.body) {
        Ok(text) => object["body"] = text.into(),
        Err(_) => object["body_base64"] = base64::engine::general_purpose::STANDARD.encode(&delivery.body).into(),
    }
    if let Some(verdicts) = delivery.verdicts {
        object["signatures"] = serde_json::json!({
            "x-webhook-signature": verdicts.body.as_str(),
            "webhook-signature": verdicts.standard.as_str(),
        });
    }
    object.to_string()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue};
    use bytes::Bytes;

    use super::*;
    use crate::model::time::Timestamp;

    fn delivery(body: &'static [u8]) -> Delivery {
        let mut headers = HeaderMap::new();
        headers.insert("x-webhook-event", HeaderValue::from_static("finding_added"));
        headers.insert("x-odd", HeaderValue::from_bytes(b"\xc2\x9b31m").expect("a value"));
        Delivery {
            at: Timestamp::from_unix_ms(0),
            method: "POST".to_owned(),
            path: "/".to_owned(),
            headers,
            body: Bytes::from_static(body),
            status: StatusCode::OK,
            verdicts: Some(Verdicts { body: Verdict::Verifies, standard: Verdict::Missing }),
        }
    }

    #[test]
    fn a_hostile_delivery_cannot_control_the_terminal() {
        let hostile = delivery(b"head|\x1b[2J\xe2\x80\xae|\rline\nline");
        assert_eq!(body(&hostile), "head|\\u{1b}[2J\\u{202e}|\\rline\nline");
        assert!(head(&hostile).contains("\\u{9b}31m"));
        assert_eq!(body(&delivery(b"\xff\xfe")), "(2 B that are not UTF-8 text)");
    }

    #[test]
    fn a_delivery_as_json_has_body_and_signature_results() {
        let value = |body| serde_json::from_str::<serde_json::Value>(&as_json(&delivery(body))).expect("JSON");
        let text = value(b"{}");
        assert_eq!((&text["body"], &text["event"]), (&"{}".into(), &"finding_added".into()));
        assert_eq!(text["signatures"]["webhook-signature"], "missing");
        assert_eq!(value(b"\xff")["body_base64"], "/w==");
    }

    #[test]
    fn only_a_final_status_is_accepted() {
        for (text, valid) in [("199", false), ("200", true), ("599", true), ("600", false), ("ok", false)] {
            assert_eq!(parse_status(text).is_ok(), valid, "{text}");
        }
    }
}
