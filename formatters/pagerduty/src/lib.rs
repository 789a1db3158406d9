//! The format `pagerduty`: alerts for PagerDuty's Events API v2, `https://events.pagerduty.com/v2/enqueue` (FORMATS,
//! section 14).
//!
//! A pager is not a log: findings and monitor alerts open an alert, a retest may close one, and all other events are
//! left out (`unsupported-event`: the delivery is skipped, which is not a failure) unless the option `all_events` is
//! on. A finding's alert has the ids of engagement and finding as its `dedup_key` (hashed where they are too long), so
//! that later events about the finding, a retest among them, update the same alert, and no other. The option `dedup:
//! finding` sends the finding's id alone.
//!
//! One event is one request, and one request acts on one alert. A retest that fixed exactly one finding resolves that
//! finding's alert. A retest that fixed several cannot resolve them all: it opens an alert of its own, severity info,
//! that lists them for a person to close by hand. Regressed findings open an alert of severity warning (a retest does
//! not include their severities), under the finding's own key if there is only one. A retest without changes is not an
//! alert.
//!
//! Events of the host itself open an alert as well: a webhook that names them wants to be paged. All events about one
//! webhook share an alert, whose key is the webhook's id, and `webhook_recovered` resolves it.
//!
//! There are no digests: an alert of many findings could be neither updated nor resolved by them.
//!
//! Change events are not used: they have another endpoint and page no one.

mod action;
mod details;
mod options;
mod request;
mod response;

use heraldry_formatter::{Answer, Context, Error, Event, Formatter, Interpreter, Manifest, Payload, Verdict};

use action::Action;
pub use options::Options;
use request::Request;

/// The format `pagerduty`; see the crate's documentation.
#[derive(Debug)]
pub struct PagerDuty;

impl Formatter for PagerDuty {
    type Options = Options;

    fn manifest() -> Manifest {
        Manifest {
            title: Some("PagerDuty"),
            description: Some(
                "An alert for PagerDuty's Events API v2 (https://events.pagerduty.com/v2/enqueue): findings and monitor alerts open one, a retest that fixed one finding resolves it.",
            ),
            options_schema: Some(options::SCHEMA),
            ..Manifest::new("pagerduty", env!("CARGO_PKG_VERSION"))
        }
    }

    fn render(event: &Event<'_>, context: &Context, options: &Options) -> Result<Payload, Error> {
        let action = match Action::of(event, options.dedup) {
            Some(action) => action,
            None if options.all_events => Action::informational(event),
            None => return Err(Error::UnsupportedEvent(event.kind.name().into())),
        };
        let outline = event.outline();
        let request = Request::of(event, &outline, &action, context, options);
        // Most requests have 1 to 2 KiB.
        let mut body = Vec::with_capacity(4096);
        serde_json::to_writer(&mut body, &request).map_err(|e| Error::Internal(e.to_string()))?;
        Ok(Payload { content_type: "application/json; charset=utf-8".into(), headers: Vec::new(), body })
    }
}

impl Interpreter for PagerDuty {
    fn interpret(answer: &Answer) -> Verdict {
        response::verdict(answer)
    }
}

heraldry_formatter::export_formatter!(PagerDuty);
heraldry_formatter::export_interpreter!(PagerDuty);
