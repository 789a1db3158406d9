//! The request, and what PagerDuty limits in it ("Send an Alert Event" in PagerDuty/developer-docs). The whole of it
//! may have 512 KB: with what each part may have here it stays below a fifth of that.

use heraldry_formatter::line::Target;
use heraldry_formatter::link::web_url;
use heraldry_formatter::outline::Outline;
use heraldry_formatter::text::{MARK, Rule, bare, is_blank, tidy, utf16};
use heraldry_formatter::{Context, Event, EventType};
use serde::Serialize;

use crate::action::{Action, Level};
use crate::details::Details;
use crate::options::{Options, RoutingKey};

// In UTF-16 units. PagerDuty's own limit is only that of the summary, 1024; its parts stay below it.
const SUMMARY_TITLE: usize = 500;
const SUMMARY_TARGET: usize = 300;
const SUMMARY_ENGAGEMENT: usize = 150;
const _: () = assert!(SUMMARY_TITLE + SUMMARY_TARGET + SUMMARY_ENGAGEMENT + 2 * " · ".len() <= 1024);
/// Of source, component and group.
const NAME: usize = 255;
/// Of a link's address, in bytes.
const ADDRESS: usize = 2000;

/// The body of the request.
#[derive(Serialize)]
pub(crate) struct Request<'a> {
    /// Absent where the owner gives it as the header `X-Routing-Key`, which PagerDuty's own client sends
    /// (PagerDuty/pdpyras, `EventsAPISession`).
    #[serde(skip_serializing_if = "Option::is_none")]
    routing_key: Option<&'a str>,
    event_action: &'static str,
    dedup_key: &'a str,
    /// All that a resolve does is said above.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Alert<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Link>,
    client: &'static str,
}

/// The alert (PD-CEF).
#[derive(Serialize)]
struct Alert<'a> {
    summary: String,
    /// The affected system, "preferably a hostname".
    source: String,
    severity: Level,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    class: &'static str,
    custom_details: Details<'a>,
}

#[derive(Serialize)]
struct Link {
    href: String,
    text: &'static str,
}

impl<'a> Request<'a> {
    pub(crate) fn of(
        event: &'a Event<'_>,
        outline: &'a Outline<'_>,
        action: &'a Action,
        context: &Context,
        options: &'a Options,
    ) -> Self {
        let (event_action, dedup_key, payload) = match action {
            Action::Trigger { dedup_key, severity, note } => {
                ("trigger", dedup_key, Some(Alert::of(event, outline, (*severity, *note), context)))
            }
            Action::Resolve { dedup_key } => ("resolve", dedup_key, None),
        };
        let link = |link: &heraldry_formatter::outline::Link<'_>| {
            Some(Link { href: web_url(&link.address, ADDRESS)?, text: link.label })
        };
        let links = if payload.is_some() { outline.links.iter().filter_map(link).collect() } else { Vec::new() };
        Self {
            routing_key: options.routing_key.as_ref().map(RoutingKey::as_str),
            event_action,
            dedup_key,
            payload,
            links,
            client: "Heraldry",
        }
    }
}

impl<'a> Alert<'a> {
    fn of(
        event: &'a Event<'_>,
        outline: &'a Outline<'_>,
        (severity, note): (Level, Option<&str>),
        context: &Context,
    ) -> Self {
        let group = event.group();
        let component = match event.kind {
            EventType::MonitorAlert => group.text("name"),
            kind if kind.is_finding() => group.text("parameter"),
            _ => None,
        };
        Self {
            summary: summary(event, outline),
            source: source(event, outline, context),
            severity,
            timestamp: event.time().map(|_| event.occurred_at),
            component: component.and_then(|component| line(&component, NAME)),
            group: engagement(event).and_then(|engagement| line(engagement, NAME)),
            class: event.kind.name(),
            custom_details: Details::of(event, outline, note, ADDRESS),
        }
    }
}

/// What happened, to what, and of whose test: `SQL injection · https://shop.contoso.example/ · Customer portal`.
fn summary(event: &Event<'_>, outline: &Outline<'_>) -> String {
    let parts = [
        line(&event.headline(), SUMMARY_TITLE).or_else(|| Some(event.kind.phrase().into())),
        outline.target.as_deref().and_then(|target| line(target, SUMMARY_TARGET)),
        engagement(event).and_then(|engagement| line(engagement, SUMMARY_ENGAGEMENT)),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// The target's host, else the target as it is, else the address; of an event without any of them who sends it.
fn source(event: &Event<'_>, outline: &Outline<'_>, context: &Context) -> String {
    let target = outline.target.as_deref();
    let host = target.and_then(|target| Target::parse(target).host).and_then(|host| line(host, NAME));
    let address = || event.group().text("ip").filter(|_| event.kind.is_finding()).and_then(|ip| line(&ip, NAME));
    host.or_else(|| line(target?, NAME))
        .or_else(address)
        .or_else(|| line(&context.host_name, NAME))
        .unwrap_or_else(|| "heraldry".into())
}

fn engagement<'a>(event: &'a Event<'_>) -> Option<&'a str> {
    event.engagement_name().or(event.engagement_id())
}

/// The text on one line, cut; `None` when nothing of it would be seen.
fn line(text: &str, limit: usize) -> Option<String> {
    let line = tidy(bare(text), Rule::ONE_LINE, limit, utf16, MARK);
    (!is_blank(&line)).then(|| line.into_owned())
}
