//! The demo's output.

use std::time::Duration;

use url::Url;

use super::{Watched, scenario};
use crate::cli::failure::Failure;
use crate::cli::listen;
use crate::cli::receiver::Delivery;
use crate::cli::terminal::{BAD, BOLD, DIM, GOOD, NAME, escape, line, plural};

const EVENT_TYPE_WIDTH: usize = 20;

/// Prints the set-up.
pub(super) fn opening(host: &Url, destination: &Url, formats: &[String], events: usize) -> Result<(), Failure> {
    let origin = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
    for (name, value) in [
        ("host", format!("{}, with an empty store in a temporary folder", origin(host))),
        ("destination", format!("{}, verifying both signatures of each delivery", origin(destination))),
        ("webhooks", format!("one for each built-in format: {}", formats.join(", "))),
        ("events", format!("{}, posted to the API one by one", plural(events as u64, "sample"))),
    ] {
        line(format_args!("{DIM}{name:<13}{DIM:#}{}", escape(&value)))?;
    }
    line(format_args!("\n{BOLD}Deliveries as they arrive{BOLD:#}"))
}

/// Prints one line about a delivery.
pub(super) fn arrival(delivery: &Delivery, formats: &[String]) -> Result<(), Failure> {
    let width = formats.iter().map(String::len).max().unwrap_or(0);
    let time = delivery.at.to_string();
    let format = scenario::format_of(delivery).unwrap_or_default();
    let verified = delivery.verdicts.is_some_and(crate::cli::receiver::Verdicts::all_verify);
    let (style, verdict) = if verified { (GOOD, "signatures verify") } else { (BAD, "signatures do not verify") };
    line(format_args!(
        "{DIM}{}{DIM:#}  {NAME}{:<width$}{NAME:#}  {:<EVENT_TYPE_WIDTH$}  {:>8}  {style}{verdict}{style:#}",
        &time[11..23],
        escape(format),
        escape(&delivery.header("x-webhook-event")),
        listen::size(delivery.body.len()),
    ))
}

/// Prints one delivery of each format, headers and body.
pub(super) fn in_full(formats: &[String], examples: &[Option<&Delivery>]) -> Result<(), Failure> {
    for (format, example) in formats.iter().zip(examples) {
        let Some(delivery) = example else { continue };
        line(format_args!("\n{BOLD}One delivery in full: {}{BOLD:#}", escape(format)))?;
        line(listen::head(delivery))?;
        line("")?;
        line(listen::body(delivery))?;
        if let Some(verdicts) = delivery.verdicts {
            line(format_args!("\n{}", listen::signatures(verdicts)))?;
        }
    }
    Ok(())
}

/// Prints the totals and the commands to try next.
pub(super) fn closing(watched: &Watched, formats: &[String], took: Duration) -> Result<(), Failure> {
    line(format_args!(
        "\n{GOOD}{BOLD}Done{BOLD:#}{GOOD:#}: {} in, {} out in {}, every signature verified, {:.2} s.",
        plural(watched.events as u64, "event"),
        plural(watched.arrived.len() as u64, "delivery"),
        plural(formats.len() as u64, "format"),
        took.as_secs_f64(),
    ))?;
    line(format_args!("\n{BOLD}Try next{BOLD:#}, each in a terminal of its own:"))?;
    let format = formats.last().map(String::as_str).unwrap_or_default();
    for (command, purpose) in [
        ("heraldry serve --allow-net 127.0.0.0/8".to_owned(), "a host; prints an admin token once"),
        ("heraldry listen --secret my-secret".to_owned(), "a destination on port 9000"),
        ("export HERALDRY_TOKEN=...".to_owned(), "the admin token, for the next two"),
        (
            format!(
                "heraldry webhook create --name mine --url http://127.0.0.1:9000/ \\\n    --format {format} --secret my-secret"
            ),
            "",
        ),
        ("heraldry send events.jsonl".to_owned(), "your own events, one JSON object a line"),
    ] {
        let purpose = if purpose.is_empty() { String::new() } else { format!("{DIM}# {purpose}{DIM:#}") };
        line(format!("  {NAME}{command:<42}{NAME:#} {purpose}").trim_end())?;
    }
    Ok(())
}
