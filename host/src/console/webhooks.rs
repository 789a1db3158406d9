//! Webhooks: the list, one with its actions, and its form.

mod actions;
mod form;
mod one;
mod view;

use askama::Template;

use super::Answer;
use super::frame::Frame;
use super::show::{self, When, when};
use super::visit::Visit;

pub(super) use actions::{delete, recover, rotate, switch, test};
pub(super) use form::{create, edit_page, new_page, update};
pub(super) use one::{event_types, page as one, pretty};
use view::Webhook;

/// Rows of a page.
const ROWS: usize = 200;

struct Row {
    path: String,
    name: String,
    state: &'static str,
    word: &'static str,
    format: String,
    types: String,
    waiting: u64,
    held: u64,
    next: Option<When>,
    success: Option<When>,
}

#[derive(Template)]
#[template(path = "console/webhooks.html")]
struct ListPage {
    frame: Frame,
    q: String,
    found: String,
    /// True if the role sees how webhooks do.
    full: bool,
    rows: Vec<Row>,
    earlier: Option<String>,
    later: Option<String>,
}

/// `GET /console/webhooks`.
pub(super) async fn list(visit: Visit) -> Answer {
    let webhooks: Vec<Webhook> = visit.get("/webhooks").await?;
    let q = visit.query.get("q").to_owned();
    let (wanted, page) =
        (show::visible(&q).to_lowercase(), visit.query.get("page").parse::<usize>().unwrap_or(1).max(1));
    let found: Vec<_> = webhooks.into_iter().filter(|webhook| webhook.name.to_lowercase().contains(&wanted)).collect();
    let (total, skipped) = (found.len(), (page - 1).saturating_mul(ROWS));
    let link = |page: usize| {
        let page = page.to_string();
        format!("/console/webhooks{}", show::query([("q", q.as_str()), ("page", page.as_str())]))
    };
    let now = visit.now();
    let row = |webhook: Webhook| {
        let (state, word) = webhook.state();
        Row {
            path: format!("/console/webhooks/{}", show::segment(&webhook.id)),
            state,
            word,
            types: webhook.types(),
            waiting: webhook.waiting,
            held: webhook.held,
            next: when(webhook.next_attempt_at, now),
            success: when(webhook.last_success_at, now),
            name: webhook.name,
            format: webhook.format,
        }
    };
    visit.page(&ListPage {
        frame: visit.frame("Webhooks", "webhooks"),
        found: show::count(total as u64, "webhook", "webhooks"),
        full: visit.role().reads_everything(),
        earlier: (page > 1).then(|| link(page - 1)),
        later: (skipped.saturating_add(ROWS) < total).then(|| link(page + 1)),
        rows: found.into_iter().skip(skipped).take(ROWS).map(row).collect(),
        q: show::visible(&q),
    })
}
