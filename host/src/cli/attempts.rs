//! Attempts of all webhooks: how `deliveries` and `tail` select and show them.

use std::collections::HashMap;

use anstyle::Style;
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::client::Api;
use super::failure::Failure;
use super::lookup::{self, short};
use super::terminal::{BAD, escape, note};

/// The attempts that are shown. All that are given must hold.
#[derive(clap::Args, Default)]
pub(super) struct Filters {
    /// Only attempts of this webhook: its name, its id, or the unique beginning or end of its id
    #[arg(long, value_name = "WEBHOOK")]
    pub(super) webhook: Option<String>,
    /// Only attempts that failed
    #[arg(long, conflicts_with = "delivered")]
    pub(super) failed: bool,
    /// Only attempts that succeeded
    #[arg(long)]
    pub(super) delivered: bool,
    /// Only errors of this class: timeout, dns, connect, tls, policy, status, protocol, formatter or interrupted
    #[arg(long, value_name = "CLASS")]
    pub(super) class: Option<String>,
    /// Only responses with this status
    #[arg(long, value_name = "CODE")]
    pub(super) status_code: Option<String>,
    /// Only attempts for events of this type
    #[arg(long, value_name = "TYPE")]
    pub(super) event_type: Option<String>,
    /// Only attempts for this event: its id, or the unique beginning or end of it
    #[arg(long = "event", value_name = "EVENT")]
    pub(super) event: Option<String>,
    /// Only attempts for events of this engagement, by its id
    #[arg(long = "engagement", value_name = "ID")]
    pub(super) engagement: Option<String>,
    /// Only attempts for events of this finding, by its id
    #[arg(long = "finding", value_name = "ID")]
    pub(super) finding: Option<String>,
}

impl Filters {
    /// The parameters of `GET /deliveries`.
    ///
    /// # Errors
    /// When a webhook or an event is named that does not exist, or that is ambiguous.
    pub(super) async fn query(&self, api: &Api) -> Result<Vec<(&'static str, String)>, Failure> {
        let webhook = match &self.webhook {
            Some(text) => Some(lookup::webhook(api, text).await?),
            None => None,
        };
        let event = match &self.event {
            Some(text) => Some(lookup::event(api, text).await?),
            None => None,
        };
        let success = match (self.failed, self.delivered) {
            (true, _) => Some("false".to_owned()),
            (false, true) => Some("true".to_owned()),
            (false, false) => None,
        };
        let given = [
            ("webhook_id", webhook),
            ("success", success),
            ("class", self.class.clone()),
            ("status_code", self.status_code.clone()),
            ("event_type", self.event_type.clone()),
            ("event_id", event),
            ("engagement_id", self.engagement.clone()),
            ("finding_id", self.finding.clone()),
        ];
        Ok(given.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect())
    }

    /// Says how many deliveries of a finding wait that no attempt tells of: without it, one that is held would look as if it
    /// had never been meant to go there.
    ///
    /// # Errors
    /// When the host cannot be asked.
    pub(super) async fn note_unattempted(&self, api: &Api) -> Result<(), Failure> {
        let is_about_attempts = self.failed || self.delivered || self.class.is_some() || self.status_code.is_some();
        let Some(finding) = self.finding.as_deref().filter(|_| !is_about_attempts) else { return Ok(()) };
        let webhook = match &self.webhook {
            Some(text) => Some(lookup::webhook(api, text).await?),
            None => None,
        };
        let query = [("finding_id", finding), ("limit", "200")];
        let events: Vec<Where> = api.call(api.request(Method::GET, "/events").query(&query)).await?.parse()?;
        if let Some(text) = unattempted(&events, webhook.as_deref()) {
            note(format_args!("\n{text}: `heraldry event list --finding {}`", escape(finding)));
        }
        Ok(())
    }
}

/// Where an event went, in the response of `GET /events`.
#[derive(Deserialize)]
struct Where {
    deliveries: Vec<Went>,
}

#[derive(Deserialize)]
struct Went {
    webhook_id: String,
    status: String,
    attempts: u32,
}

/// How many deliveries of these events wait without an attempt, in words; `None`: none does.
fn unattempted(events: &[Where], webhook: Option<&str>) -> Option<String> {
    let count = |status: &str| {
        let all = events.iter().flat_map(|event| &event.deliveries);
        let of = all.filter(|went| webhook.is_none_or(|id| went.webhook_id == id));
        of.filter(|went| went.attempts == 0 && went.status == status).count()
    };
    let in_words = |status: &str| match count(status) {
        0 => None,
        1 => Some(format!("1 delivery is {status} and was not attempted yet")),
        several => Some(format!("{several} deliveries are {status} and were not attempted yet")),
    };
    let parts: Vec<String> = ["held", "pending"].into_iter().filter_map(in_words).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// An attempt in the response of `GET /deliveries`.
#[derive(Deserialize, Debug)]
pub(super) struct Attempt {
    pub(super) id: String,
    pub(super) webhook_id: String,
    delivery_id: String,
    event_type: String,
    attempt: u32,
    success: bool,
    status_code: Option<u16>,
    error: Option<String>,
    duration_ms: u64,
    #[serde(default)]
    is_test: bool,
    created_at: String,
}

/// The heading of [`Attempt::cells`].
pub(super) const HEADING: [&str; 8] =
    ["TIME", "WEBHOOK", "DELIVERY", "EVENT TYPE", "ATTEMPT", "STATUS", "TOOK", "OUTCOME"];

impl Attempt {
    /// The attempt as a row of a table. The outcome comes last and is never cut: it says what to do.
    pub(super) fn cells(&self, names: &Names) -> [String; 8] {
        [
            self.created_at.clone(),
            names.shown(&self.webhook_id),
            short(&self.delivery_id),
            self.event_type.clone(),
            format!("{}{}", self.attempt, if self.is_test { " (test)" } else { "" }),
            self.status_code.map_or_else(|| "-".to_owned(), |code| code.to_string()),
            format!("{} ms", self.duration_ms),
            self.error.clone().unwrap_or_else(|| "delivered".to_owned()),
        ]
    }

    /// Failed ones are red.
    pub(super) fn style(&self) -> Style {
        if self.success { Style::new() } else { BAD }
    }
}

/// The names of webhooks by their ids.
#[derive(Default)]
pub(super) struct Names(HashMap<String, String>);

impl Names {
    /// Longest name in a table on a terminal, in characters.
    const WIDTH: usize = 24;

    /// The names of all webhooks; none for a token that may not list them.
    ///
    /// # Errors
    /// When the host cannot be asked.
    pub(super) async fn load(api: &Api) -> Result<Self, Failure> {
        #[derive(Deserialize)]
        struct Named {
            id: String,
            name: String,
        }
        let request = api.request(Method::GET, "/webhooks");
        let response = api.send(request).await.map_err(|error| api.unreachable(error))?;
        if response.status == StatusCode::FORBIDDEN {
            return Ok(Self::default());
        }
        if !response.status.is_success() {
            return Err(response.rejection());
        }
        let webhooks: Vec<Named> = response.parse()?;
        Ok(Self(webhooks.into_iter().map(|webhook| (webhook.id, webhook.name)).collect()))
    }

    /// True if the name of this webhook is known.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    /// The webhook's name, cut on a terminal; the end of its id if it has none any more.
    pub(super) fn shown(&self, id: &str) -> String {
        match self.0.get(id) {
            Some(name) => super::terminal::cut_on_terminal(name, Self::WIDTH).into_owned(),
            None => short(id),
        }
    }

    #[cfg(test)]
    pub(super) fn of<const N: usize>(names: [(&str, &str); N]) -> Self {
        Self(names.into_iter().map(|(id, name)| (id.to_owned(), name.to_owned())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fake::Fake;

    const WEBHOOK: &str = "019a0000-1111-7000-8000-aaaaaaaaaaaa";
    const EVENT: &str = "019a0000-2222-7000-8000-bbbbbbbbbbbb";

    #[test]
    fn what_was_not_attempted_is_counted_by_its_state() {
        let went = |webhook_id: &str, status: &str, attempts| Went {
            webhook_id: webhook_id.to_owned(),
            status: status.to_owned(),
            attempts,
        };
        let events = [
            Where { deliveries: vec![went("a", "held", 0), went("b", "delivered", 1), went("c", "held", 2)] },
            Where { deliveries: vec![went("a", "held", 0), went("b", "pending", 0)] },
        ];
        let expected =
            "2 deliveries are held and were not attempted yet, 1 delivery is pending and was not attempted yet";
        assert_eq!(unattempted(&events, None).as_deref(), Some(expected));
        let of_b = unattempted(&events, Some("b"));
        assert_eq!(of_b.as_deref(), Some("1 delivery is pending and was not attempted yet"));
        assert_eq!(unattempted(&events, Some("c")), None);
    }

    #[tokio::test]
    async fn filters_are_parameters_with_whole_ids() {
        let fake = Fake::start().await;
        fake.answers("/api/v1/webhooks", &format!(r#"[{{"id":"{WEBHOOK}","name":"ops"}}]"#));
        fake.answers("/api/v1/events", &format!(r#"[{{"id":"{EVENT}","type":"report_ready"}}]"#));
        assert!(Filters::default().query(&fake.api()).await.expect("nothing to look up").is_empty());
        let filters = Filters {
            webhook: Some("ops".into()),
            failed: true,
            class: Some("timeout".into()),
            status_code: Some("503".into()),
            event_type: Some("report_ready".into()),
            event: Some("bbbbbbbb".into()),
            engagement: Some("e-1".into()),
            finding: Some("F-0407".into()),
            ..Filters::default()
        };
        let query = filters.query(&fake.api()).await.expect("a query");
        let shown: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            shown.join("&"),
            format!(
                "webhook_id={WEBHOOK}&success=false&class=timeout&status_code=503&event_type=report_ready\
                 &event_id={EVENT}&engagement_id=e-1&finding_id=F-0407"
            )
        );
        let missing = Filters { webhook: Some("nobody".into()), ..Filters::default() }.query(&fake.api()).await;
        assert!(missing.is_err_and(|failure| failure.message().is_some_and(|(text, _)| text.contains("no webhook"))));
    }

    #[test]
    fn an_attempt_is_a_row_with_its_outcome_last() {
        let text = format!(
            r#"{{"id":"1","webhook_id":"{WEBHOOK}","delivery_id":"{EVENT}","event_id":"{EVENT}","event_type":"report_ready",
            "attempt":2,"success":false,"status_code":503,"error":"status: 503 Service Unavailable","duration_ms":12,
            "response_excerpt":"","formatter":null,"note":null,"is_test":true,"next_attempt_at":null,
            "created_at":"2026-11-17T10:00:00.000Z"}}"#
        );
        let attempt: Attempt = serde_json::from_str(&text).expect("an attempt");
        let row = attempt.cells(&Names::of([(WEBHOOK, "ops")]));
        let expected = [
            "2026-11-17T10:00:00.000Z",
            "ops",
            "bbbbbbbb",
            "report_ready",
            "2 (test)",
            "503",
            "12 ms",
            "status: 503 Service Unavailable",
        ];
        assert_eq!(row, expected);
        assert_eq!(attempt.cells(&Names::default())[1], "aaaaaaaa", "a webhook that is gone");
        assert_eq!(HEADING.len(), row.len());
    }

    #[tokio::test]
    async fn a_token_that_sees_no_webhooks_sees_ids() {
        let fake = Fake::start().await;
        fake.fails("/api/v1/webhooks", 403);
        assert_eq!(Names::load(&fake.api()).await.expect("no names").shown(WEBHOOK), "aaaaaaaa");
        fake.fails("/api/v1/webhooks", 500);
        assert!(Names::load(&fake.api()).await.is_err());
    }
}
