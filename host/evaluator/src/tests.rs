//! Expressions on events, without the sandbox around them.

use crate::event::EventFacts;
use crate::names;
use crate::program::Program;
use crate::session::{Session, Verdict};

const EVENT: &str = r#"{"type":"finding_added","engagement":{"id":"e-1","name":"Shop","client":"ACME"},
"data":{"finding":{"title":"SQL injection","severity":"high","cvss":8.1,"target":"https://shop.example/login",
"tags":["web","sqli"],"exploited":true,"cwe":89,"note":null,"request":{"method":"POST","size":1e3},"quote":"a\"b\\\u00e9\ud83d\ude00"},
"items":[{"n":1},{"n":2},{"n":3}],"big":18446744073709551615,"small":-9223372036854775808,
"beyond":123456789012345678901234567890,"infinite":1e400,"minus":-0,"zero":0.0,"empty":{},"none":[]}}"#;

fn facts(json: &str, severity: i32) -> EventFacts {
    EventFacts {
        event_type: "finding_added".to_owned(),
        id: "0190b5a2-0000-7000-8000-000000000001".to_owned(),
        occurred_at: "2026-11-17T10:12:45.120Z".to_owned(),
        severity,
        json: json.to_owned(),
    }
}

fn session(json: &str, severity: i32) -> Session {
    let mut session = Session::new();
    assert!(session.set_event(facts(json, severity)), "{json}");
    session
}

fn compiled(session: &mut Session, expression: &str) -> u32 {
    session.compile(expression).unwrap_or_else(|faults| panic!("{expression}: {faults:?}"))
}

fn judged(expression: &str) -> Verdict {
    let mut session = session(EVENT, 3);
    let program = compiled(&mut session, expression);
    session.evaluate(program)
}

fn seen(expression: &str) -> String {
    let mut session = session(EVENT, 3);
    let program = compiled(&mut session, expression);
    assert_eq!(session.evaluate(program), Verdict::Fails, "{expression}");
    session.explain(program)
}

fn faults(expression: &str) -> Vec<String> {
    let faults = Program::compile(expression).expect_err(expression);
    faults.into_iter().map(|fault| format!("{}:{} {}", fault.line, fault.column, fault.message)).collect()
}

#[test]
fn every_variable_and_type_can_be_compared() {
    for expression in [
        r#"event_type == "finding_added""#,
        r#"id.startsWith("0190b5a2")"#,
        r#"occurred_at < "2026-11-18""#,
        r#"engagement.client == "ACME" && engagement.id in ["e-1", "e-2"]"#,
        r#"finding.title == "SQL injection""#,
        "finding == data.finding",
        "severity >= HIGH && severity < CRITICAL && [INFO, LOW, MEDIUM] == [0, 1, 2]",
        "finding.cvss >= 8.0 && finding.cvss < 9 && finding.cwe == 89.0 && finding.cwe == 89u",
        r#"finding.exploited && finding.note == null && "web" in finding.tags"#,
        r#"finding.target.startsWith("https://shop.") && finding.title.contains("SQL") && finding.title.endsWith("n")"#,
        r#"matches(finding.title, "^SQL") && finding.title.matches("^" + "SQL")"#,
        r#"finding.title.lowerAscii().matches("^sql\\s+inj")"#,
        "has(finding.cvss) && !has(finding.fix) && !has(engagement.owner)",
        "finding.?fix.orValue(3) == 3 && finding.?cvss.orValue(0.0) == 8.1",
        "data.items.exists(item, item.n == 2) && data.items.all(item, item.n > 0) && data.items.exists_one(i, i.n > 2)",
        "data.items.map(item, item.n) == [1, 2, 3] && data.items.filter(item, item.n > 1).size() == 2",
        "size(data.items) == 3 && data.items[1].n == 2 && finding.tags[0] == \"web\"",
        r#"finding["title"] == "SQL injection" && "title" in finding && !("fix" in finding)"#,
        r#"{"high": 3, "low": 1}[finding.severity] == 3"#,
        r#"{"n": 1} == data.items[0] && data.items[0] == {"n": 1} && [{"n": 1}] == [data.items[0]]"#,
        r#"finding.tags == ["web", "sqli"] && ["web", "sqli"] == finding.tags"#,
        r#"finding.request.map(name, name) == ["method", "size"]"#,
        "type(finding.cvss) == double && type(finding.cwe) == int && type(finding) == map && type(data.items) == list",
        "size(data.empty) == 0 && data.empty == {} && data.none == [] && size(data.none) == 0",
        r#"finding.quote == "a\"b\\é😀""#,
        "finding.request.size == 1000 && finding.request.size == 1000.0",
        r#"finding.exploited ? finding.cwe > 10 : false"#,
        "true",
    ] {
        assert_eq!(judged(expression), Verdict::Holds, "{expression}");
    }
}

#[test]
fn numbers_of_any_size_are_numbers() {
    for expression in [
        "data.big == 18446744073709551615u && data.big > 9223372036854775807",
        "data.small < -9223372036854775807",
        "data.beyond > 1e29 && data.beyond < 1e30",
        "data.infinite > 1.7976931348623157e308 && data.infinite > data.beyond",
        "data.minus == 0 && data.zero == 0",
    ] {
        assert_eq!(judged(expression), Verdict::Holds, "{expression}");
    }
}

#[test]
fn an_event_without_something_has_an_empty_object_there() {
    let mut session = session(r#"{"data":{"phase":"done"}}"#, -1);
    let program =
        compiled(&mut session, "size(finding) == 0 && size(engagement) == 0 && severity == -1 && !has(finding.cvss)");
    assert_eq!(session.evaluate(program), Verdict::Holds);
    // The next event replaces everything of the one before.
    assert!(session.set_event(facts(EVENT, 4)));
    assert_eq!(session.evaluate(program), Verdict::Fails);
}

#[test]
fn an_expression_that_fails_says_why() {
    for (expression, reason) in [
        ("finding.fix > 3", "there is no member fix (test it with has())"),
        ("engagement.owner.name == \"x\"", "there is no member owner (test it with has())"),
        ("finding.title > 3", "> does not work on a string and an int"),
        ("finding.cwe.matches(\"8\")", "matches does not work on an int"),
        ("finding.note >= 3", ">= does not work on null and an int"),
        ("finding.exploited && data.items[0].n", "&& does not work on a bool and an int"),
        ("data.items[7].n == 1", "the list has no element 7"),
        ("finding.cwe / 0 == 1", "it divides by zero"),
        ("9223372036854775807 + finding.cwe > 0", "a number is beyond the range of its type"),
        ("finding.cvss", "it is a double, neither true nor false"),
        ("finding.title.size", "a string has no members"),
        ("finding.cvss.exists(x, x > 1)", "a double cannot be gone through"),
        ("finding + 1 == 2", "add does not work on null or an object and an int"),
    ] {
        match judged(expression) {
            Verdict::Unusable(words) => assert_eq!(words, reason, "{expression}"),
            other => panic!("{expression}: {other:?}"),
        }
    }
}

#[test]
fn a_failing_side_does_not_matter_where_the_other_one_decides() {
    assert_eq!(judged("finding.fix > 3 || finding.cwe == 89"), Verdict::Holds);
    assert_eq!(judged("finding.fix > 3 && finding.cwe == 1"), Verdict::Fails);
    assert!(matches!(judged("finding.fix > 3 && finding.cwe == 89"), Verdict::Unusable(_)));
}

#[test]
fn a_false_expression_tells_the_values_that_decided() {
    for (expression, words) in [
        ("finding.cvss >= 9.0", "it is 8.1"),
        ("9.0 <= finding.cvss", "it is 8.1"),
        ("severity >= CRITICAL", "it is HIGH"),
        ("finding.cwe == 79", "it is 89"),
        (r#"finding.target.startsWith("https://pay.")"#, r#"it is "https://shop.example/login""#),
        (r#""cve" in finding.tags"#, "it is a list of 2 elements"),
        ("finding.cvss >= 9.0 && finding.exploited", "finding.cvss is 8.1"),
        ("finding.exploited && severity == CRITICAL", "severity is HIGH"),
        ("finding.cvss > 9 || finding.cwe == 79", "finding.cvss is 8.1, finding.cwe is 89"),
        ("!finding.exploited", "finding.exploited is true"),
        ("!(finding.exploited || severity == LOW)", "finding.exploited is true"),
        ("has(finding.fix)", "finding.fix is absent"),
        ("has(finding.fix) && finding.fix > 3", "finding.fix is absent"),
        ("!has(finding.cvss)", "finding.cvss is there"),
        ("finding.fix > 3 && finding.cwe == 1", "finding.cwe is 89"),
        ("data.items.exists(item, item.n > 5)", "data.items is a list of 3 elements"),
        ("size(data.items) > 5", "it is 3"),
        ("finding.cvss + 1.0 > 9.5", "it is 9.1"),
        ("finding.cvss > double(finding.cwe)", "finding.cvss is 8.1, double(finding.cwe) is 89.0"),
        ("finding.exploited ? finding.cwe == 1 : true", "finding.exploited is true, finding.cwe is 89"),
        ("finding.note == 1", "it is null"),
        ("data.empty == finding", "data.empty is an empty object, finding is an object"),
        ("false", ""),
        (r#"finding.title.matches("^XSS")"#, r#"it is "SQL injection""#),
        (
            r#"matches(finding.title, "^XSS") || finding.title.matches(finding.severity)"#,
            r#"finding.title is "SQL injection", finding.severity is "high""#,
        ),
        (r#"finding.title.matches("^XSS") == true"#, "it is false"),
        ("1 == 2", ""),
    ] {
        assert_eq!(seen(expression), words, "{expression}");
    }
}

#[test]
fn values_in_words_are_short_and_change_no_line() {
    let hostile = format!(r#"{{"data":{{"a":"{}","b":"x\ny\u202ez\u0000"}}}}"#, "é".repeat(5000));
    let mut session = session(&hostile, 0);
    let long = compiled(&mut session, "data.a == \"\"");
    let words = session.explain(long);
    assert!(words.chars().count() <= 70 && words.ends_with("…\""), "{words}");
    let lines = compiled(&mut session, "data.b == \"\"");
    assert_eq!(session.explain(lines), "it is \"x\\ny\u{FFFD}z\u{FFFD}\"");
    let many = (0..9).map(|n| format!("data.a == \"{n}\"")).collect::<Vec<_>>().join(" || ");
    let many = compiled(&mut session, &many);
    assert!(session.explain(many).chars().count() <= 200);
}

#[test]
fn a_wrong_expression_is_told_with_its_place() {
    const KNOWN: &str = "the variables are event_type, id, occurred_at, engagement, data, finding, severity, INFO, LOW, MEDIUM, HIGH and CRITICAL";
    const VALUE: &str = "1:1 must be true or false, for example: severity >= HIGH";
    for (expression, fault) in [
        ("severity >=", "1:12 it ends where an operand is expected"),
        ("", "1:1 it ends where an operand is expected"),
        ("severity = HIGH", "1:10 = is no operator; values are compared with =="),
        ("severity HIGH", "1:10 HIGH is not expected here"),
        ("finding.title == 'x", "1:18 unterminated string literal"),
        ("severity >= HIGH &&\n  findin.cvss > 3", &format!("2:3 findin is not known; {KNOWN}")),
        ("finding.title.startswith(\"é\")", "1:15 startswith is no function; it is written startsWith"),
        ("severity > HIGH && \"é\" == fnding.x", &format!("1:27 fnding is not known; {KNOWN}")),
        ("finding.title.foo()", "1:15 foo is no function here"),
        ("bar(finding)", "1:1 bar is no function here"),
        ("timestamp(occurred_at) > timestamp(id)", "1:1 timestamp is no function here"),
        ("data.items.exists(x, x.n > 1) && x.n == 1", &format!("1:19 x is not known; {KNOWN}")),
        ("severity + 1", VALUE),
        ("\"high\"", VALUE),
        ("severity", VALUE),
        ("data", VALUE),
        ("finding.title.matches(\"(a\")", "1:15 the pattern \"(a\" is no regular expression: unclosed group"),
        ("Foo{a: 1} == data", "1:1 Foo cannot be made here: an expression makes no messages"),
    ] {
        assert_eq!(faults(expression), [fault], "{expression}");
    }
    assert_eq!(faults("nope(fnding.x) == 1").len(), 2, "all at once");
    assert_eq!(faults("a == 1 && b == 2 && a == 3").len(), 2, "each once");
}

#[test]
fn every_listed_function_is_one() {
    for (name, is_method) in names::all_functions() {
        // With a number of arguments that none has, so that none runs.
        let call =
            if is_method { format!("id.{name}(1, 2, 3, 4, 5) == 1") } else { format!("{name}(1, 2, 3, 4, 5) == 1") };
        match judged(&call) {
            Verdict::Unusable(reason) => assert!(!reason.contains("is not known"), "{call}: {reason}"),
            other => panic!("{call}: {other:?}"),
        }
    }
    assert_eq!(judged("optional.of(1).value() == 1 && !optional.none().hasValue()"), Verdict::Holds);
}

#[test]
fn what_nests_too_deeply_is_rejected_and_what_is_long_is_not() {
    // Without optimisation a level takes a hundred times the stack that it does in the component.
    let thread = std::thread::Builder::new().stack_size(256 << 20);
    thread.spawn(judge_deep_and_long).expect("a thread").join().expect("no panic");
}

fn judge_deep_and_long() {
    let nested = |open: &str, depth: usize, close: &str| format!("{}true{}", open.repeat(depth), close.repeat(depth));
    for (open, close) in [("(", ")"), ("[", "]"), ("!", ""), ("{1: ", "}"), ("id.size(", ")"), ("false ? true : ", "")]
    {
        let whole = |depth| format!("{} == true", nested(open, depth, close));
        let shallow = Program::compile(&whole(20));
        assert!(shallow.is_ok(), "{open}: {shallow:?}");
        let deep = whole(1980 / (open.len() + close.len()));
        if let Err(faults) = Program::compile(&deep) {
            assert_eq!(faults[0].message, "it nests too deeply", "{open}");
        }
    }
    for deep in [format!("1{} == 1", " + 1".repeat(490)), format!("data{} == 1", ".a".repeat(990))] {
        assert_eq!(faults(&deep), ["1:1 it nests too deeply"]);
    }
    assert_eq!(judged(&format!("1{} == 1", " + 1".repeat(150))), Verdict::Fails);
    let ors = format!("false{}", " || false".repeat(220));
    assert_eq!(judged(&ors), Verdict::Fails);
    assert_eq!(seen(&ors), "");
}

#[test]
fn json_that_is_not_an_object_is_told() {
    let mut session = Session::new();
    for json in ["", "[]", "{", "{\"data\":}", "{} x", "nul"] {
        assert!(!session.set_event(facts(json, 0)), "{json}");
    }
}
