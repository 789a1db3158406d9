//! The plan: what to do with each webhook, in the order in which it is done.

use std::collections::{BTreeMap, HashSet};

use anstyle::Style;
use serde_json::{Value, json};

use super::desired::Desired;
use super::diff::{self, Change};
use super::host::{Current, Formats};
use crate::cli::failure::Failure;
use crate::cli::terminal::{BAD, DIM, GOOD, WARN, escape, line, note};

/// Names that are listed of webhooks which stay.
const LISTED: usize = 10;

/// What is done, in this order: what the file names in its order, then removals.
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// The names of webhooks of the host that the file does not name and that stay.
    pub(super) others: Vec<String>,
}

/// One webhook, and what is done with it.
pub(super) struct Step {
    pub(super) name: String,
    /// The webhook on the host; `None` for a new one.
    pub(super) current: Option<Current>,
    /// The webhook of the file; `None` for a removal.
    pub(super) desired: Option<Desired>,
    pub(super) changes: Vec<Change>,
    pub(super) result: Result,
}

/// What is done with a webhook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    Create,
    Change,
    /// The host says whether it is a change when it gets the values that it does not show.
    MayChange,
    Unchanged,
    Remove,
}

/// What came of a step.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) enum Result {
    #[default]
    NotDone,
    /// The id of the new webhook.
    Created(String),
    Changed,
    Unchanged,
    Removed,
    Failed(String),
}

impl Action {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::MayChange => "may_change",
            Self::Unchanged => "unchanged",
            Self::Remove => "remove",
        }
    }

    fn sign(self) -> (Style, &'static str) {
        match self {
            Self::Create => (GOOD, "+ create"),
            Self::Change => (WARN, "~ change"),
            Self::MayChange => (DIM, "? may change"),
            Self::Unchanged => (DIM, "  unchanged"),
            Self::Remove => (BAD, "- remove"),
        }
    }
}

impl Result {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::NotDone => "not_done",
            Self::Created(_) => "created",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Removed => "removed",
            Self::Failed(_) => "failed",
        }
    }
}

impl Step {
    pub(super) fn action(&self) -> Action {
        match (&self.current, &self.desired) {
            (None, _) => Action::Create,
            (Some(_), None) => Action::Remove,
            (Some(_), Some(_)) if self.changes.is_empty() => Action::Unchanged,
            (Some(_), Some(_)) if self.changes.iter().all(Change::is_perhaps) => Action::MayChange,
            (Some(_), Some(_)) => Action::Change,
        }
    }

    /// The id on the host; `None` while there is none.
    pub(super) fn id(&self) -> Option<&str> {
        match &self.result {
            Result::Created(id) => Some(id),
            _ => self.current.as_ref().map(Current::id),
        }
    }

    fn print(&self) -> std::result::Result<(), Failure> {
        let (style, sign) = self.action().sign();
        line(format_args!("{style}{sign}{style:#} {}", escape(&self.name)))?;
        for change in &self.changes {
            line(format_args!("    {}: {}", escape(&change.field), change.words_for_people()))?;
        }
        Ok(())
    }

    fn to_json(&self, is_dry: bool) -> Value {
        let error = match &self.result {
            Result::Failed(why) => Some(why),
            _ => None,
        };
        json!({
            "name": self.name,
            "id": self.id(),
            "action": self.action().name(),
            "changes": self.changes.iter().map(Change::to_json).collect::<Vec<_>>(),
            "result": (!is_dry).then(|| self.result.name()),
            "error": error,
        })
    }
}

impl Plan {
    /// Compares the file with the host; what the file does not name is removed only with `prune`.
    ///
    /// # Errors
    /// When the host has several webhooks of a name that the file names: nobody can say which one is meant.
    pub(super) fn new(
        wanted: Vec<Desired>,
        current: &[Current],
        formats: &Formats,
        prune: bool,
    ) -> std::result::Result<Self, Failure> {
        let mut by_name: BTreeMap<&str, Vec<&Current>> = BTreeMap::new();
        for webhook in current {
            by_name.entry(webhook.name()).or_default().push(webhook);
        }
        let names: HashSet<&str> = wanted.iter().map(|desired| desired.name.as_str()).collect();
        reject_ambiguous(&names, &by_name)?;
        // The API lists the newest first.
        let others: Vec<&Current> = current.iter().rev().filter(|webhook| !names.contains(webhook.name())).collect();
        let kept = if prune { Vec::new() } else { others.iter().map(|webhook| webhook.name().to_owned()).collect() };
        let removals = if prune { others } else { Vec::new() };
        let mut steps = Vec::new();
        for desired in wanted {
            let current = by_name.get(desired.name.as_str()).and_then(|webhooks| webhooks.first()).copied().cloned();
            let changes = match &current {
                Some(current) => diff::of(&desired, current, formats),
                None => diff::of_new(&desired, formats),
            };
            let name = desired.name.clone();
            steps.push(Step { name, current, desired: Some(desired), changes, result: Result::NotDone });
        }
        for webhook in removals {
            let (name, current) = (webhook.name().to_owned(), Some(webhook.clone()));
            steps.push(Step { name, current, desired: None, changes: Vec::new(), result: Result::NotDone });
        }
        Ok(Self { steps, others: kept })
    }

    /// The number of steps of a kind.
    pub(super) fn count(&self, action: Action) -> usize {
        self.steps.iter().filter(|step| step.action() == action).count()
    }

    /// The number of steps with a result, by its name.
    pub(super) fn ended(&self, result: &str) -> usize {
        self.steps.iter().filter(|step| step.result.name() == result).count()
    }

    /// True if both do the same with the same webhooks.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let is_same = |(one, other): (&Step, &Step)| {
            one.id() == other.id() && one.action() == other.action() && one.changes == other.changes
        };
        self.steps.len() == other.steps.len() && self.steps.iter().zip(&other.steps).all(is_same)
    }

    /// Prints what would be done.
    pub(super) fn print(&self) -> std::result::Result<(), Failure> {
        self.steps.iter().filter(|step| step.action() != Action::Unchanged).try_for_each(Step::print)?;
        let counts = [
            (Action::Create, "to create"),
            (Action::Change, "to change"),
            (Action::MayChange, "that may change"),
            (Action::Remove, "to remove"),
            (Action::Unchanged, "unchanged"),
        ];
        let counts: Vec<String> =
            counts.iter().map(|(action, words)| format!("{} {words}", self.count(*action))).collect();
        line(format_args!("plan: {}", counts.join(", ")))?;
        self.note_switched_off();
        self.note_others();
        Ok(())
    }

    /// Says what the file leaves alone: webhooks that the host switched off because of their destination.
    fn note_switched_off(&self) {
        for step in &self.steps {
            let is_left = step.desired.is_some() && step.changes.iter().all(|change| change.field != "is_active");
            let reason = step.current.as_ref().and_then(Current::disabled_reason).filter(|_| is_left);
            if let Some(reason) = reason {
                let name = escape(&step.name);
                let how = "`is_active = true` in the file, or `heraldry webhook update --active`, switches it on";
                note(format_args!("{name} stays off: the host switched it off ({}); {how}", escape(reason)));
            }
        }
    }

    fn note_others(&self) {
        if self.others.is_empty() {
            return;
        }
        let mut names: Vec<_> = self.others.iter().take(LISTED).map(|name| escape(name).into_owned()).collect();
        if self.others.len() > LISTED {
            names.push(format!("and {} more", self.others.len() - LISTED));
        }
        let verb = if self.others.len() == 1 { "stays" } else { "stay" };
        note(format_args!("not in the file, and {verb} without --prune: {}", names.join(", ")));
    }

    /// The plan for programs, and what came of it.
    pub(super) fn to_json(&self, is_dry: bool) -> String {
        let mut document = json!({
            "dry_run": is_dry,
            "webhooks": self.steps.iter().map(|step| step.to_json(is_dry)).collect::<Vec<_>>(),
            "not_in_file": self.others,
        });
        for result in ["created", "changed", "unchanged", "removed", "failed", "not_done"] {
            document[result] = if is_dry { Value::Null } else { self.ended(result).into() };
        }
        document.to_string()
    }
}

fn reject_ambiguous(
    names: &HashSet<&str>,
    by_name: &BTreeMap<&str, Vec<&Current>>,
) -> std::result::Result<(), Failure> {
    let mut lines = Vec::new();
    for (name, webhooks) in by_name.iter().filter(|(name, webhooks)| webhooks.len() > 1 && names.contains(*name)) {
        let ids: Vec<&str> = webhooks.iter().map(|webhook| webhook.id()).collect();
        lines.push(format!("\n  {}: {}", escape(name), ids.join(", ")));
    }
    if lines.is_empty() {
        return Ok(());
    }
    let error = anyhow::anyhow!("the host has several webhooks of a name that the file names{}", lines.concat());
    Err(Failure::failed(
        error,
        "nothing was done; give each its own name (`heraldry webhook update ID --name …`) or delete those that are too much",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::apply::desired::tests::{formats, wanted};

    fn host(webhooks: &[(&str, &str, Value)]) -> Vec<Current> {
        let of = |(id, name, more): &(&str, &str, Value)| {
            let mut fields = crate::cli::apply::desired::defaults();
            let base = json!({"id": id, "name": name, "url": "http://a/", "has_secret": false, "header_names": [],
                "is_active": true, "disabled_reason": null});
            fields.extend(base.as_object().expect("fields").clone());
            fields.extend(more.as_object().expect("fields").clone());
            Current::with_fields(fields)
        };
        webhooks.iter().map(of).collect()
    }

    fn plan(file: &str, host: &[Current], prune: bool) -> std::result::Result<Plan, Failure> {
        let (_, wanted) = wanted(file);
        assert!(wanted.faults.is_empty(), "{:?}", wanted.faults);
        Plan::new(wanted.webhooks, host, &formats(), prune)
    }

    fn actions(plan: &Plan) -> Vec<(&str, &'static str)> {
        plan.steps.iter().map(|step| (step.name.as_str(), step.action().name())).collect()
    }

    const FILE: &str = r#"
webhooks = [
  { name = "same", url = "http://a/" },
  { name = "new", url = "http://a/" },
  { name = "signed", url = "http://a/", secret = "s" },
  { name = "slow", url = "http://a/", secret = "s", timeout_ms = 9000 },
]
"#;

    #[test]
    fn removals_come_last_and_only_when_asked_for() {
        let signed = || json!({"has_secret": true});
        let host = host(&[
            ("5", "newer", json!({})),
            ("4", "slow", signed()),
            ("3", "signed", signed()),
            ("2", "older", json!({})),
            ("1", "same", json!({})),
        ]);
        let kept = plan(FILE, &host, false).expect("a plan");
        let named = [("same", "unchanged"), ("new", "create"), ("signed", "may_change"), ("slow", "change")];
        assert_eq!(actions(&kept), named);
        assert_eq!(kept.others, ["older", "newer"]);
        let pruned = plan(FILE, &host, true).expect("a plan");
        assert_eq!(actions(&pruned)[..4], named);
        assert_eq!(actions(&pruned)[4..], [("older", "remove"), ("newer", "remove")]);
        assert!(pruned.others.is_empty());
        assert!(pruned.is_same(&plan(FILE, &host, true).expect("a plan")) && !pruned.is_same(&kept));
    }

    #[test]
    fn a_name_that_several_webhooks_have_stops_everything_if_the_file_names_it() {
        let two = [("1", "same", json!({})), ("2", "same", json!({})), ("3", "b", json!({})), ("4", "b", json!({}))];
        let (message, hint) = plan(FILE, &host(&two), false)
            .err()
            .and_then(|failure| failure.message().map(|(message, hint)| (message, hint.to_owned())))
            .expect("rejected");
        assert!(message.contains("same: 1, 2") && !message.contains("3, 4"), "{message}");
        assert!(hint.starts_with("nothing was done"), "{hint}");
        let pruned = plan(FILE, &host(&two[2..]), true).expect("names that the file does not have");
        assert_eq!(pruned.count(Action::Remove), 2);
    }

    #[test]
    fn the_plan_for_programs_has_no_results_before_there_are_any() {
        let plan = plan(FILE, &host(&[("1", "same", json!({}))]), false).expect("a plan");
        let read = |is_dry| serde_json::from_str::<Value>(&plan.to_json(is_dry)).expect("JSON");
        let dry = read(true);
        assert_eq!(
            (&dry["dry_run"], &dry["created"], &dry["webhooks"][0]["result"]),
            (&json!(true), &json!(null), &json!(null))
        );
        assert_eq!(dry["webhooks"][3]["changes"][1], json!({"field": "timeout_ms", "from": null, "to": 9000}));
        let done = read(false);
        assert_eq!((&done["not_done"], &done["webhooks"][1]["result"]), (&json!(4), &json!("not_done")));
        assert!(!done.to_string().contains("\"s\""), "{done}");
    }
}
