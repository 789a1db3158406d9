//! `heraldry event explain`: why an event went to the webhooks that it went to, and not to the others.

use anstyle::Style;

use crate::cli::client::{Api, event_path};
use crate::cli::explained::{Explained, style};
use crate::cli::failure::Failure;
use crate::cli::lookup::{self, short};
use crate::cli::terminal::{self, escape_json, line, plural};
use crate::config::ClientArgs;

pub(super) const HELP: &str = "\
A delivery that was made is a recorded fact. Where none was made, the webhook's settings of now are judged, and the line says \
so if they have changed since.

Example:
  heraldry event explain 0f6d3b11              who got the event, who did not, and why";

const HEADING: [&str; 3] = ["WEBHOOK", "DELIVERY", "WHY"];

pub(super) async fn run(id: &str, client: &ClientArgs) -> Result<(), Failure> {
    let api = Api::new(client)?;
    let whole = lookup::event(&api, id).await?;
    let response = api.get(&format!("{}/explain", event_path(&whole))).await?;
    if client.json {
        return line(escape_json(&response.body));
    }
    let lines: Vec<Explained> = response.parse()?;
    if lines.is_empty() {
        return line("there are no webhooks; `heraldry webhook create` makes one");
    }
    terminal::table(&HEADING, &rows(&lines))?;
    let matched = lines.iter().filter(|explained| explained.matched).count();
    line(format_args!("\nwent to {matched} of {}", plural(lines.len() as u64, "webhook")))
}

/// A row for each webhook, those that got the event first.
fn rows(lines: &[Explained]) -> Vec<(Style, Vec<String>)> {
    let (matched, others): (Vec<_>, Vec<_>) = lines.iter().partition(|explained| explained.matched);
    let row = |explained: &Explained| {
        let delivery = explained.delivery_id.as_deref().map_or_else(|| "-".to_owned(), short);
        (style(explained.matched), vec![explained.webhook(), delivery, explained.reason.clone()])
    };
    matched.into_iter().chain(others).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_got_it_come_first_and_each_says_why() {
        let lines: Vec<Explained> = serde_json::from_str(
            r#"[{"webhook_id":"019a0000-1111-7000-8000-aaaaaaaaaaaa","name":"on call","matched":false,
                "reason":"severity medium is below high"},
                {"webhook_id":"019a0000-1111-7000-8000-bbbbbbbbbbbb","name":"siem","matched":true,
                "reason":"a delivery was made; its status is held","delivery_id":"019a0000-1111-7000-8000-cccccccccccc"}]"#,
        )
        .expect("lines");
        let cells: Vec<Vec<String>> = rows(&lines).into_iter().map(|(_, cells)| cells).collect();
        assert_eq!(
            cells,
            [
                ["siem (bbbbbbbb)", "cccccccc", "a delivery was made; its status is held"],
                ["on call (aaaaaaaa)", "-", "severity medium is below high"],
            ]
        );
    }
}
