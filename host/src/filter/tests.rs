//! The budgets, with the evaluator in its sandbox. What expressions mean is tested beside the evaluator itself.

use std::sync::{Arc, OnceLock};

use super::judge::{BUDGET, Judge};
use super::{Expressions, Question, Words};
use crate::formatter::{
    Compiler, ComponentRuntime, ComponentRuntimeOptions, Evaluator, EventFacts, ExpressionFault, Judgement, Stopped,
};
use crate::model::event::Severity;
use crate::model::settings::SandboxSettings;
use crate::model::webhook::expression::{ExpressionVerdict, Verdicts};
use crate::telemetry::Telemetry;
use crate::watchdog::Watchdog;

/// Compiling it takes seconds, so all tests share it.
fn evaluator() -> Evaluator {
    static EVALUATOR: OnceLock<Evaluator> = OnceLock::new();
    let load = || {
        let options = ComponentRuntimeOptions {
            settings: SandboxSettings { large_memory_bytes: None, ..SandboxSettings::default() },
            calls: 1,
            compiler: Compiler::Here,
            code_cache: None,
            host_name: String::new(),
            samples: Vec::new(),
            watchdog: Watchdog::default(),
        };
        let runtime = ComponentRuntime::new(options).expect("a runtime");
        runtime.evaluator(crate::embedded::EVALUATOR).expect("the evaluator loads")
    };
    EVALUATOR.get_or_init(load).clone()
}

/// Threads with that evaluator.
pub(crate) fn expressions(telemetry: &Arc<Telemetry>, watchdog: &Watchdog) -> Expressions {
    Expressions::new(2, Arc::clone(telemetry), watchdog.clone(), || Ok(evaluator()))
}

fn threads() -> Expressions {
    expressions(&Arc::new(Telemetry::new()), &Watchdog::default())
}

const EVENT: &str = r#"{"type":"finding_added","engagement":{"id":"e-1","name":"Shop"},"data":{"finding":{"title":"SQL injection in the login form","severity":"high","cvss":8.1,"target":"https://shop.example/login","tags":["web","sqli"],"description":"The parameter user is put into a query as it is."}}}"#;

fn facts(json: &str) -> EventFacts<'_> {
    EventFacts {
        event_type: "finding_added",
        id: "0190b5a2-0000-7000-8000-000000000001",
        occurred_at: "2026-11-17T10:12:45.120Z",
        severity: 3,
        json,
    }
}

/// An event with so many numbers.
fn numbers(count: usize) -> String {
    let numbers: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    format!(r#"{{"data":{{"numbers":[{}]}}}}"#, numbers.join(","))
}

fn texts(expressions: &[&str]) -> Vec<Arc<str>> {
    expressions.iter().map(|expression| Arc::from(*expression)).collect()
}

fn failed(verdicts: &Verdicts, expression: &str) -> String {
    match verdicts.get(expression) {
        Some(ExpressionVerdict::Failed { reason }) => reason.clone(),
        other => panic!("{expression}: {other:?}"),
    }
}

const LOOP: &str = "data.numbers.exists(a, data.numbers.exists(b, a + b == -1))";
const BESIDE: &str = "size(data.numbers) == 3000";

#[test]
fn an_expression_that_loops_ends_within_its_budget_and_spoils_no_other() {
    let mut judge = Judge::new(evaluator());
    let json = numbers(3000);
    for _ in 0..3 {
        let verdicts = judge.judge(facts(&json), &texts(&[LOOP, BESIDE, "severity >= HIGH"]), Words::Yes);
        assert_eq!(failed(&verdicts, LOOP), "it takes more than 50 million steps");
        assert_eq!(verdicts.get(BESIDE), Some(&ExpressionVerdict::True));
        assert_eq!(verdicts.get("severity >= HIGH"), Some(&ExpressionVerdict::True));
    }
    // The same expression is within its budget on a smaller event.
    let json = numbers(30);
    let verdicts = judge.judge(facts(&json), &texts(&[LOOP]), Words::Yes);
    let seen = "data.numbers is a list of 30 elements".to_owned();
    assert_eq!(verdicts.get(LOOP), Some(&ExpressionVerdict::False { seen }));
}

/// The verdict does not depend on what the instance did before: the budget is that of a fresh one, and what ends in a kept
/// instance within half of it takes about as much in a fresh one.
#[test]
fn an_instance_that_is_kept_takes_about_as_many_instructions_as_a_fresh_one() {
    let json = numbers(300);
    let measured =
        ["data.numbers.exists(a, a == -1)", "data.numbers.map(a, a * 2).filter(a, a > 5).size() > 900", LOOP];
    let mut kept = evaluator().instance().expect("an instance");
    for round in 0..20 {
        assert_eq!(kept.set_event(facts(&numbers(round * 97)), u64::MAX), Ok(true));
        for number in 0..50 {
            let text = format!("data.numbers.map(a, string(a) + \"{number}\").size() > {round}");
            let program = kept.compile(&text, u64::MAX).expect("read").expect("valid");
            kept.evaluate(program, u64::MAX).expect("judged");
        }
    }
    for expression in measured {
        let mut fresh = evaluator().instance().expect("an instance");
        let [in_fresh, in_kept] = [&mut fresh, &mut kept].map(|instance| {
            assert_eq!(instance.set_event(facts(&json), u64::MAX), Ok(true));
            let program = instance.compile(expression, u64::MAX).expect("read").expect("valid");
            assert_eq!(instance.evaluate(program, u64::MAX), Ok(Judgement::Fails));
            instance.used(u64::MAX)
        });
        assert!(in_fresh.abs_diff(in_kept) * 10 < in_fresh, "{expression}: {in_fresh} and {in_kept}");
    }
}

#[test]
fn instructions_are_the_same_each_time() {
    let json = numbers(3000);
    let used = || {
        let mut instance = evaluator().instance().expect("an instance");
        assert_eq!(instance.set_event(facts(&json), u64::MAX), Ok(true));
        let event = instance.used(u64::MAX);
        let program = instance.compile(BESIDE, u64::MAX).expect("read").expect("valid");
        let read = instance.used(u64::MAX);
        instance.evaluate(program, BUDGET).expect("judged");
        (event, read, instance.used(BUDGET))
    };
    let first = used();
    assert_eq!(first, used());
}

#[test]
fn usual_expressions_take_a_small_part_of_the_budget() {
    for expression in [
        "severity >= HIGH",
        r#"severity >= HIGH && finding.target.startsWith("https://shop.")"#,
        "has(finding.cvss) && finding.cvss >= 9.0",
        r#"finding.tags.exists(tag, tag in ["web", "api"]) && engagement.name == "Shop""#,
        r#"finding.title.matches("(?i)sql\\s+injection|xss")"#,
        r#"finding.description.lowerAscii().contains("query")"#,
    ] {
        let mut instance = evaluator().instance().expect("an instance");
        assert_eq!(instance.set_event(facts(EVENT), u64::MAX), Ok(true));
        let program = instance.compile(expression, u64::MAX).expect("read").expect("valid");
        instance.evaluate(program, BUDGET).expect("judged");
        let judged = instance.used(BUDGET);
        // Also a pattern: it is made when the expression is read.
        assert!(judged < BUDGET / 100, "{expression}: {judged}");
    }
}

#[test]
fn patterns_that_explode_elsewhere_do_not() {
    let mut judge = Judge::new(evaluator());
    let json = format!(r#"{{"data":{{"text":"{}!"}}}}"#, "a".repeat(20_000));
    let linear = texts(&[
        r#"data.text.matches("^(a+)+$")"#,
        r#"data.text.matches("(a|aa)*b")"#,
        r#"data.text.matches("(.*)(.*)(.*)(.*)(.*)[^a!]$")"#,
    ]);
    let verdicts = judge.judge(facts(&json), &linear, Words::No);
    for expression in &linear {
        assert_eq!(verdicts.get(expression).map(ExpressionVerdict::passes), Some(false), "{expression}");
    }
    let huge =
        texts(&[r#"data.text.matches("(\\w{100}){100}x")"#, r#"data.text.matches("(" + data.text + "{50}){50}")"#]);
    let verdicts = judge.judge(facts(&json), &huge, Words::No);
    for expression in &huge {
        let reason = failed(&verdicts, expression);
        assert!(!reason.contains("evaluator failed"), "{expression}: {reason}");
    }
}

#[test]
fn memory_is_bounded() {
    let mut judge = Judge::new(evaluator());
    let json = format!(r#"{{"data":{{"text":"{}","list":[1,2,3,4,5,6,7,8,9,10]}}}}"#, "a".repeat(500_000));
    let double = "data.list.map(a, data.list.map(b, data.list.map(c, data.text + data.text))).size() == 1";
    let verdicts = judge.judge(facts(&json), &texts(&[double, "severity == HIGH"]), Words::No);
    let reason = failed(&verdicts, double);
    assert!(["it takes too much memory", "it takes more than 50 million steps"].contains(&reason.as_str()), "{reason}");
    assert_eq!(verdicts.get("severity == HIGH"), Some(&ExpressionVerdict::True));
}

#[test]
fn the_deepest_and_longest_expressions_neither_break_the_stack_nor_the_budget() {
    let judge = Judge::new(evaluator());
    let nested = |open: &str, depth: usize, close: &str| format!("{}true{}", open.repeat(depth), close.repeat(depth));
    for (open, close) in
        [("(", ")"), ("[", "]"), ("!", ""), ("-", ""), ("{1: ", "}"), ("id.size(", ")"), ("[1].map(a, ", ")")]
    {
        let whole = nested(open, 1990 / (open.len() + close.len()), close);
        let checked = judge.check(&whole);
        for ExpressionFault { message, .. } in checked.err().into_iter().flatten() {
            assert!(!message.contains("evaluator failed"), "{open}: {message}");
        }
    }
    // The deepest that are accepted can be evaluated.
    let mut judge = judge;
    let plus = format!("1{} > 0", " + 1".repeat(190));
    let member = format!("has(data{})", ".a".repeat(190));
    let or = format!("false{}", " || finding.cvss > 9".repeat(90));
    let exists = format!("{}a > 8{}", "[1].exists(a, ".repeat(30), ")".repeat(30));
    let parens = nested("(", 60, ")");
    for expression in [&plus, &member, &or, &exists, &parens] {
        assert_eq!(judge.check(expression), Ok(()), "{expression}");
        let verdicts = judge.judge(facts(EVENT), &texts(&[expression]), Words::Yes);
        let reason = match verdicts.get(expression) {
            Some(ExpressionVerdict::Failed { reason }) => reason.as_str(),
            _ => "",
        };
        assert!(!reason.contains("nests") && !reason.contains("evaluator failed"), "{expression}: {reason}");
    }
}

#[test]
fn the_largest_events_can_be_judged() {
    let mut judge = Judge::new(evaluator());
    let ones = format!(r#"{{"data":{{"a":[1{}]}}}}"#, ",1".repeat(520_000));
    let members: Vec<String> = (0..80_000).map(|number| format!("\"m{number}\":1")).collect();
    let members = format!(r#"{{"data":{{{}}}}}"#, members.join(","));
    let text = format!(r#"{{"data":{{"a":"{}"}}}}"#, "\\u00e9".repeat(170_000));
    let deep = format!(r#"{{"data":{{"a":{}1{}}}}}"#, "[".repeat(120), "]".repeat(120));
    for json in [ones, members, text, deep] {
        assert!(json.len() <= 1_048_576, "{}", json.len());
        let verdicts = judge.judge(facts(&json), &texts(&["size(data) > 0", "severity == HIGH"]), Words::No);
        assert_eq!(verdicts.get("size(data) > 0"), Some(&ExpressionVerdict::True), "{}", &json[..40]);
        assert_eq!(verdicts.get("severity == HIGH"), Some(&ExpressionVerdict::True));
    }
}

#[test]
fn an_expression_that_an_earlier_version_accepted_fails_with_its_place() {
    let mut judge = Judge::new(evaluator());
    for _ in 0..2 {
        let verdicts = judge.judge(facts(EVENT), &texts(&["gone(1)", "true"]), Words::No);
        let reason = "the expression is not valid: line 1, column 1: gone is no function here";
        assert_eq!(failed(&verdicts, "gone(1)"), reason);
        assert_eq!(verdicts.get("true"), Some(&ExpressionVerdict::True));
    }
}

#[test]
fn a_limit_makes_an_instance_useless_and_says_which_it_was() {
    let mut instance = evaluator().instance().expect("an instance");
    assert_eq!(instance.compile("true", 10), Err(Stopped::Instructions));
}

#[tokio::test]
async fn many_events_are_judged_in_order_by_all_threads() {
    let threads = threads();
    let question = |number: usize| Question {
        event_type: "finding_added",
        id: number.to_string(),
        occurred_at: String::new(),
        severity: Some(Severity::High),
        json: format!(r#"{{"data":{{"n":{number}}}}}"#),
        expressions: texts(&["data.n % 2 == 0", "int(id) == data.n", "severity == HIGH"]),
    };
    let verdicts = threads.judge((0..100).map(question).collect(), Words::Yes).await;
    assert_eq!(verdicts.len(), 100);
    for (number, verdicts) in verdicts.iter().enumerate() {
        let seen = "it is 1".to_owned();
        let expected = if number % 2 == 0 { ExpressionVerdict::True } else { ExpressionVerdict::False { seen } };
        assert_eq!(verdicts.get("data.n % 2 == 0"), Some(&expected), "{number}");
        assert_eq!(verdicts.get("int(id) == data.n"), Some(&ExpressionVerdict::True), "{number}");
        assert_eq!(verdicts.get("severity == HIGH"), Some(&ExpressionVerdict::True), "{number}");
    }
    assert_eq!(threads.check("severity >= HIGH").await, Ok(()));
    let faults = threads.check("severity >=").await.expect_err("half of an expression");
    assert_eq!((faults[0].line, faults[0].column), (1, 12));
}

#[tokio::test]
async fn without_an_evaluator_every_expression_lets_events_pass_and_none_is_saved() {
    let load = || Err(anyhow::anyhow!("no memory"));
    let threads = Expressions::new(2, Arc::new(Telemetry::new()), Watchdog::default(), load);
    let question = Question {
        event_type: "finding_added",
        id: String::new(),
        occurred_at: String::new(),
        severity: None,
        json: "{}".to_owned(),
        expressions: texts(&["false"]),
    };
    let verdicts = threads.judge(vec![question], Words::No).await;
    assert_eq!(failed(&verdicts[0], "false"), "the evaluator of expressions is not available: no memory");
    assert!(threads.check("true").await.is_err());
}

#[tokio::test]
async fn threads_that_have_died_keep_nobody_waiting() {
    let threads = Expressions::new(2, Arc::new(Telemetry::new()), Watchdog::default(), || panic!("on purpose"));
    for _ in 0..3 {
        let faults = threads.check("true").await.expect_err("no thread");
        assert_eq!(faults[0].message, "it cannot be checked: the evaluator of expressions is not available");
    }
}
