//! The request body, and PagerDuty's limits on it ("Send an Alert Event" in PagerDuty/developer-docs). A request may
//! have 512 KB in total: the limits per part below keep it under a fifth of that.

use heraldry_formatter::line::Target;
use heraldry_formatter::link::web_url;
use heraldry_formatter::outline::Outline;
use heraldry_formatter::text::{ELLIPSIS, Rule, bare, is_blank, tidy, utf16};
use heraldry_formatter::{Context, Event, EventType};
use serde::Serialize;

use crate::action::{Action, Level};
use crate::details::Details;
use crate::options::{Options, RoutingKey};

// Maximum lengths in UTF-16 units. PagerDuty limits only the whole summary, to 1024; the sum of its parts stays below.
const SUMMARY_TITLE: usize = 500;
const SUMMARY_TARGET: usize = 300;
const SUMMARY_ENGAGEMENT: usize = 150;
const _: () = assert!(SUMMARY_TITLE + SUMMARY_TARGET + SUMMARY_ENGAGEMENT + 2 * " · ".len() <= 1024);
/// The longest source, component and group, in UTF-16 units.
const NAME: usize = 255;
/// The longest URL of a link, in bytes.
const ADDRESS: usize = 2000;

/// The request body.
#[derive(Serialize)]
pub(crate) struct Request<'a> {
    /// Absent if the webhook sends it as the header `X-Routing-Key`, as PagerDuty's own client does (PagerDuty/pdpyras,
    /// `EventsAPISession`).
    #[serde(skip_serializing_if = "Option::is_none")]
    routing_key: Option<&'a str>,
    event_action: &'static str,
    dedup_key: &'a str,
    /// Absent from a resolve, which needs only the members above.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Alert<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Link>,
    client: &'static str,
}

/// The alert, in PD-CEF (PagerDuty's Common Event Format).
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
            kind if kind.is_host() => event.subject(),
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

/// Event, target and engagement: `SQL injection · https://shop.contoso.example/ · Customer portal`.
fn summary(event: &Event<'_>, outline: &Outline<'_>) -> String {
    let parts = [
        line(&event.headline(), SUMMARY_TITLE).or_else(|| Some(event.kind.phrase().into())),
        outline.target.as_deref().and_then(|target| line(target, SUMMARY_TARGET)),
        engagement(event).and_then(|engagement| line(engagement, SUMMARY_ENGAGEMENT)),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// The host of the target, or of a failing webhook's destination, else the target, else the event's IP address, else the
/// name of the sending host.
fn source(event: &Event<'_>, outline: &Outline<'_>, context: &Context) -> String {
    let destination = event.webhook().text("url_host");
    let target = outline.target.as_deref().or(destination.as_deref());
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

/// The text on one line, truncated; `None` if none of it is visible.
fn line(text: &str, limit: usize) -> Option<String> {
    let line = tidy(bare(text), Rule::ONE_LINE, limit, utf16, ELLIPSIS);
    (!is_blank(&line)).then(|| line.into_owned())
}
