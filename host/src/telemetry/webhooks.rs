//! Metrics by webhook, bounded in number: so many webhooks have series of their own, the others share one. A webhook that
//! has series keeps them until it is deleted, so that no counter ever goes back.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::model::id::WebhookId;
use crate::model::settings::MetricsLabels;

/// The `webhook` label of the series for webhooks beyond the limit on series. An id is a UUID, and a name that is the same
/// is told apart by [`webhook_labels`].
pub(super) const OTHERS: &str = "others";
/// Characters at the end of an id that tell webhooks of one name apart; tables of the commands show as many.
const SHORT_ID: usize = 8;

/// The `webhook` label of each webhook, by its id. Webhooks of one name get the end of their id behind it.
pub fn webhook_labels<'a>(
    labels: MetricsLabels,
    webhooks: impl Iterator<Item = (WebhookId, &'a str)>,
) -> HashMap<WebhookId, String> {
    if labels == MetricsLabels::Id {
        return webhooks.map(|(id, _)| (id, id.to_string())).collect();
    }
    let webhooks: Vec<_> = webhooks.collect();
    let mut uses: HashMap<&str, usize> = HashMap::from([(OTHERS, 1)]);
    webhooks.iter().for_each(|(_, name)| *uses.entry(name).or_default() += 1);
    let label = |(id, name): (WebhookId, &str)| {
        let is_unique = uses.get(name).is_none_or(|uses| *uses == 1);
        let id_text = id.to_string();
        let end = &id_text[id_text.len().saturating_sub(SHORT_ID)..];
        (id, if is_unique { name.to_owned() } else { format!("{name} ({end})") })
    };
    webhooks.into_iter().map(label).collect()
}

/// A webhook at a scrape.
#[derive(Clone, Debug)]
pub struct WebhookSnapshot {
    /// Its id.
    pub id: WebhookId,
    /// Its label.
    pub label: String,
    /// Deliveries that are pending, those in flight included.
    pub waiting: u64,
    /// Deliveries that are held.
    pub held: u64,
    /// Age of the oldest of both, in seconds; 0 when there is none.
    pub oldest_seconds: u64,
    /// When it is probed next, in seconds since 1970; `None` when no probe is due.
    pub next_probe: Option<i64>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WebhookLabels {
    webhook: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AttemptLabels {
    webhook: String,
    /// `delivered` or `failed`.
    outcome: &'static str,
}

type Gauges = Family<WebhookLabels, Gauge>;

/// Metrics of all webhooks.
pub(super) struct WebhookMetrics {
    /// Webhooks with series of their own.
    most: usize,
    own: RwLock<HashMap<WebhookId, Arc<Tally>>>,
    others: Tally,
    attempts: Family<AttemptLabels, Counter>,
    expression_failures: Family<WebhookLabels, Counter>,
    waiting: Gauges,
    held: Gauges,
    oldest: Gauges,
    next_probe: Gauges,
}

/// Counts of one webhook since the host's start.
#[derive(Default)]
struct Tally {
    delivered: AtomicU64,
    failed: AtomicU64,
    /// Events on which its filter expression failed.
    expression_failures: AtomicU64,
}

impl Tally {
    fn count(&self, delivered: bool) {
        let counter = if delivered { &self.delivered } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The values of one series in each gauge.
#[derive(Default)]
struct Values {
    waiting: u64,
    held: u64,
    oldest: u64,
    next_probe: Option<i64>,
}

impl Values {
    fn of(webhook: &WebhookSnapshot) -> Self {
        let WebhookSnapshot { waiting, held, oldest_seconds: oldest, next_probe, .. } = *webhook;
        Self { waiting, held, oldest, next_probe }
    }

    /// Several webhooks as one: sums, the oldest, the soonest.
    fn joined(self, other: Self) -> Self {
        Self {
            waiting: self.waiting.saturating_add(other.waiting),
            held: self.held.saturating_add(other.held),
            oldest: self.oldest.max(other.oldest),
            next_probe: self.next_probe.into_iter().chain(other.next_probe).min(),
        }
    }
}

impl WebhookMetrics {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            own: RwLock::default(),
            others: Tally::default(),
            attempts: Family::default(),
            expression_failures: Family::default(),
            waiting: Family::default(),
            held: Family::default(),
            oldest: Family::default(),
            next_probe: Family::default(),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "webhook_attempts",
            "Attempts by webhook and outcome: delivered, failed; others: those of webhooks beyond --metrics-webhooks",
            self.attempts.clone(),
        );
        registry.register(
            "webhook_expression_failures",
            "Events on which a webhook's filter expression failed, so that they passed, by webhook",
            self.expression_failures.clone(),
        );
        registry.register(
            "webhook_waiting",
            "Deliveries that are pending, those in flight included, by webhook",
            self.waiting.clone(),
        );
        registry.register(
            "webhook_held",
            "Deliveries that are held until the webhook is switched on, recovered, or its formatter is loaded, by webhook",
            self.held.clone(),
        );
        registry.register(
            "webhook_oldest_waiting_seconds",
            "Age of the oldest delivery that is pending or held, by webhook; 0 when there is none",
            self.oldest.clone(),
        );
        registry.register(
            "webhook_next_probe_timestamp_seconds",
            "When a webhook that the circuit breaker switched off is probed next, in seconds since 1970",
            self.next_probe.clone(),
        );
    }

    /// Counts an attempt.
    pub(super) fn attempt(&self, webhook: WebhookId, delivered: bool) {
        self.with_tally(webhook, |tally| tally.count(delivered));
    }

    /// Counts an event on which the webhook's filter expression failed.
    pub(super) fn expression_failed(&self, webhook: WebhookId) {
        self.with_tally(webhook, |tally| {
            tally.expression_failures.fetch_add(1, Ordering::Relaxed);
        });
    }

    fn with_tally(&self, webhook: WebhookId, count: impl FnOnce(&Tally)) {
        {
            let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(tally) = own.get(&webhook) {
                return count(tally);
            }
            if own.len() >= self.most {
                return count(&self.others);
            }
        }
        let mut own = self.own.write().unwrap_or_else(PoisonError::into_inner);
        if own.len() < self.most || own.contains_key(&webhook) {
            count(own.entry(webhook).or_default());
        } else {
            count(&self.others);
        }
    }

    /// Shows these webhooks, the oldest first, and no others.
    pub(super) fn show(&self, webhooks: &[WebhookSnapshot]) {
        let own = self.own_series(webhooks);
        self.attempts.clear();
        self.expression_failures.clear();
        for gauges in [&self.waiting, &self.held, &self.oldest, &self.next_probe] {
            gauges.clear();
        }
        let mut others: Option<Values> = None;
        for webhook in webhooks {
            match own.get(&webhook.id) {
                Some(tally) => {
                    self.show_attempts(&webhook.label, tally);
                    self.show_values(&webhook.label, &Values::of(webhook));
                }
                None => others = Some(others.unwrap_or_default().joined(Values::of(webhook))),
            }
        }
        let others_counts = [&self.others.delivered, &self.others.failed, &self.others.expression_failures];
        let is_counted = others_counts.iter().any(|count| count.load(Ordering::Relaxed) > 0);
        if others.is_some() || is_counted {
            self.show_attempts(OTHERS, &self.others);
            self.show_values(OTHERS, &others.unwrap_or_default());
        }
    }

    /// The webhooks with series of their own: those that had them, and the oldest while there is room.
    fn own_series(&self, webhooks: &[WebhookSnapshot]) -> HashMap<WebhookId, Arc<Tally>> {
        let known: HashSet<WebhookId> = webhooks.iter().map(|webhook| webhook.id).collect();
        let mut own = self.own.write().unwrap_or_else(PoisonError::into_inner);
        own.retain(|id, _| known.contains(id));
        for webhook in webhooks {
            if own.len() >= self.most {
                break;
            }
            own.entry(webhook.id).or_default();
        }
        own.clone()
    }

    fn show_attempts(&self, webhook: &str, tally: &Tally) {
        for (outcome, count) in [("delivered", &tally.delivered), ("failed", &tally.failed)] {
            let labels = AttemptLabels { webhook: webhook.to_owned(), outcome };
            self.attempts.get_or_create(&labels).inc_by(count.load(Ordering::Relaxed));
        }
        // Most webhooks have no expression.
        let failures = tally.expression_failures.load(Ordering::Relaxed);
        if failures > 0 {
            let labels = WebhookLabels { webhook: webhook.to_owned() };
            self.expression_failures.get_or_create(&labels).inc_by(failures);
        }
    }

    fn show_values(&self, webhook: &str, values: &Values) {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        for (gauges, value) in [
            (&self.waiting, Some(number(values.waiting))),
            (&self.held, Some(number(values.held))),
            (&self.oldest, Some(number(values.oldest))),
            (&self.next_probe, values.next_probe),
        ] {
            if let Some(value) = value {
                gauges.get_or_create(&WebhookLabels { webhook: webhook.to_owned() }).set(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::prometheus_text;

    use super::*;

    fn id(number: u8) -> WebhookId {
        WebhookId::from_bytes([number; 16])
    }

    fn webhook(number: u8, waiting: u64) -> WebhookSnapshot {
        let values = (waiting, 1, u64::from(number), (number == 2).then_some(1_700_000_000));
        let (waiting, held, oldest_seconds, next_probe) = values;
        WebhookSnapshot { id: id(number), label: format!("w{number}"), waiting, held, oldest_seconds, next_probe }
    }

    /// The lines of a scrape, without the prefix of all names.
    fn scraped(metrics: &WebhookMetrics, webhooks: &[WebhookSnapshot]) -> Vec<String> {
        metrics.show(webhooks);
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry).expect("a text");
        let mut lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        lines.sort();
        lines
    }

    #[test]
    fn so_many_webhooks_have_series_and_the_others_share_one() {
        let metrics = WebhookMetrics::new(2);
        let all = [webhook(1, 10), webhook(2, 20), webhook(3, 30), webhook(4, 40)];
        let lines = scraped(&metrics, &all);
        for line in [
            r#"webhook_attempts_total{webhook="w1",outcome="failed"} 0"#,
            r#"webhook_waiting{webhook="w1"} 10"#,
            r#"webhook_waiting{webhook="others"} 70"#,
            r#"webhook_held{webhook="others"} 2"#,
            r#"webhook_oldest_waiting_seconds{webhook="others"} 4"#,
            r#"webhook_next_probe_timestamp_seconds{webhook="w2"} 1700000000"#,
        ] {
            assert!(lines.iter().any(|shown| shown == line), "{line}: {lines:#?}");
        }
        assert_eq!(lines.len(), 3 * 2 + 3 * 3 + 1, "{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("w3") || line.contains("w4")), "{lines:#?}");
    }

    #[test]
    fn no_counter_goes_back_when_webhooks_come_and_go() {
        let metrics = WebhookMetrics::new(2);
        // The first that are attempted have series, however old they are.
        for (number, delivered) in [(3, true), (4, false), (1, true), (1, false)] {
            metrics.attempt(id(number), delivered);
        }
        let all = [webhook(1, 0), webhook(2, 0), webhook(3, 0), webhook(4, 0)];
        let counts = |lines: &[String]| -> Vec<String> {
            let attempts = lines.iter().filter(|line| line.starts_with("webhook_attempts") && !line.ends_with(" 0"));
            attempts.map(|line| line.trim_start_matches("webhook_attempts_total").to_owned()).collect()
        };
        let others = [r#"{webhook="others",outcome="delivered"} 1"#, r#"{webhook="others",outcome="failed"} 1"#];
        let before = counts(&scraped(&metrics, &all));
        let own = [r#"{webhook="w3",outcome="delivered"} 1"#, r#"{webhook="w4",outcome="failed"} 1"#];
        assert_eq!(before, [others, own].concat());
        assert_eq!(counts(&scraped(&metrics, &all)), before, "a scrape counts nothing");
        // One is deleted: the oldest takes its place and begins at zero, and what was counted for others stays there.
        let rest = [webhook(1, 0), webhook(2, 0), webhook(4, 0)];
        scraped(&metrics, &rest);
        metrics.attempt(id(1), true);
        metrics.attempt(id(2), true);
        let others = [r#"{webhook="others",outcome="delivered"} 2"#, others[1]];
        let own = [r#"{webhook="w1",outcome="delivered"} 1"#, own[1]];
        assert_eq!(counts(&scraped(&metrics, &rest)), [others, own].concat());
    }

    #[test]
    fn failures_of_expressions_are_counted_where_there_are_any() {
        let metrics = WebhookMetrics::new(1);
        let all = [webhook(1, 0), webhook(2, 0), webhook(3, 0)];
        let failures = |lines: Vec<String>| -> Vec<String> {
            lines.into_iter().filter(|line| line.starts_with("webhook_expression_failures")).collect()
        };
        assert!(failures(scraped(&metrics, &all)).is_empty());
        for number in [1, 2, 3, 1, 1] {
            metrics.expression_failed(id(number));
        }
        let shown = failures(scraped(&metrics, &all));
        let expected = [("others", 2), ("w1", 3)];
        let expected =
            expected.map(|(name, count)| format!(r#"webhook_expression_failures_total{{webhook="{name}"}} {count}"#));
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_webhook_that_is_not_probed_has_no_series_of_that() {
        let metrics = WebhookMetrics::new(0);
        let lines = scraped(&metrics, &[webhook(1, 0)]);
        assert!(lines.len() == 5 && !lines.iter().any(|line| line.contains("probe")), "{lines:#?}");
        assert!(scraped(&metrics, &[]).is_empty());
    }

    #[test]
    fn labels_are_ids_or_names_that_are_told_apart() {
        let webhooks = || [(id(1), "ops"), (id(2), "siem"), (id(3), "siem"), (id(4), OTHERS)].into_iter();
        let ids = webhook_labels(MetricsLabels::Id, webhooks());
        assert_eq!(ids[&id(2)], id(2).to_string());
        let names = webhook_labels(MetricsLabels::Name, webhooks());
        let shown: Vec<&str> = (1..=4).map(|number| names[&id(number)].as_str()).collect();
        assert_eq!(shown, ["ops", "siem (02020202)", "siem (03030303)", "others (04040404)"]);
    }
}
