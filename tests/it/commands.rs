//! The commands, run as from a shell: output, and exit codes.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::component::lists_ids;
use crate::support::shell::{ESCAPE, FAILED, Ran, Shell, USAGE};
use crate::support::{Destination, Handmade, Host, Reply, events};

#[tokio::test]
async fn demo_shows_one_delivery_of_each_format_and_ends() {
    let shell = Shell::new();
    let ran = shell.plain(&["demo"]).await;
    for format in ["json", "slack", "teams", "cef", "syslog", "discord", "leef", "ocsf", "pagerduty", "splunk-hec"] {
        assert!(ran.stdout.contains(&format!("POST /{format}")), "{format}: {ran}");
    }
    for words in ["CEF:0|", "\"blocks\"", "AdaptiveCard", "\"finding_added\"", ">1 20"] {
        assert!(ran.stdout.contains(words), "{words}: {ran}");
    }
    for header in ["x-webhook-signature: sha256=", "webhook-signature: v1,", "x-webhook-event: ", "webhook-id: "] {
        assert!(ran.stdout.matches(header).count() >= 10, "{header}: {ran}");
    }
    assert!(ran.stdout.contains("heraldry serve"), "what to try next: {ran}");
    assert!(!ran.stdout.contains("do not verify"), "{ran}");
    let left: Vec<_> = std::fs::read_dir(shell.folder.path()).expect("a folder").collect();
    assert!(left.is_empty(), "files were left behind: {left:?}");
}

#[tokio::test]
async fn every_command_helps() {
    let shell = Shell::new();
    let mut seen = 0;
    let mut commands = vec![Vec::new()];
    while let Some(command) = commands.pop() {
        let arguments: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
        let ran = shell.plain(&arguments).await;
        assert!(ran.stdout.contains("Usage: ") && ran.stderr.is_empty(), "{ran}");
        seen += 1;
        let listed = ran.stdout.lines().skip_while(|line| *line != "Commands:").skip(1);
        let listed = listed.take_while(|line| line.starts_with("  ")).filter(|line| !line.starts_with("   "));
        for word in listed.filter_map(|line| line.split_whitespace().next()).filter(|word| *word != "help") {
            commands.push(command.iter().cloned().chain([word.to_owned()]).collect());
        }
    }
    assert!(seen >= 18, "{seen} commands");
    let serve = shell.plain(&["serve", "--help"]).await.stdout;
    for setting in [
        "--listen",
        "--data",
        "--formatters",
        "--config",
        "--allow-net",
        "--retention",
        "--breaker-threshold",
        "--grace",
    ] {
        assert!(serve.contains(setting), "{setting}");
    }
    for variable in ["HERALDRY_ADMIN_TOKEN", "HERALDRY_MASTER_KEY", "HERALDRY_ALLOW_NET"] {
        assert!(serve.contains(variable), "{variable}");
    }
    // A command that only groups others needs one of them.
    for later in ["formatter", "store"] {
        shell.run(&[later]).await.expect(USAGE);
    }
    for wrong in [["serve", "--no-such-flag"], ["no-such-command", "x"], ["webhook", "get"], ["send", "--patience=x"]] {
        let ran = shell.run(&wrong).await.expect(USAGE);
        assert!(ran.stdout.is_empty() && ran.stderr.contains("hint: "), "{ran}");
    }
    let version = shell.plain(&["--version"]).await;
    assert_eq!(version.stdout.trim(), concat!("heraldry ", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn send_accepts_an_array_lines_and_standard_input() {
    let host = Host::start().await;
    let shell = Shell::at(&host);
    let destination = Destination::start().await;
    host.admin().webhook(&destination.url("/"), json!({})).await;

    let mut findings = events::findings(7);
    findings.iter_mut().for_each(|event| drop(event.as_object_mut().expect("an object").remove("id")));
    let array = shell.file("array.json", &Value::Array(findings[..3].to_vec()).to_string());
    let lines = shell.file("lines.jsonl", &format!("{}\n\n{}\n", findings[3], findings[4]));
    let sent = shell.plain(&["send", &array]).await;
    assert!(sent.stdout.contains('3') && sent.stderr.is_empty(), "{sent}");
    let sent = shell.plain(&["send", "--json", &lines]).await.json();
    assert_eq!((&sent["accepted"], &sent["deliveries"]), (&json!(2), &json!(2)), "{sent}");
    shell.pipe(&["send"], &findings[5].to_string()).await.expect(0);
    shell.pipe(&["send", "-"], &findings[6].to_string()).await.expect(0);
    let received = destination.wait_for(7).await;
    let titles = received.iter().map(|request| request.json()["data"]["finding"]["title"].clone());
    let mut titles: Vec<String> = titles.map(|title| title.as_str().expect("a title").to_owned()).collect();
    titles.sort();
    assert_eq!(titles, (0..7).map(|number| format!("finding {number}")).collect::<Vec<_>>());

    // An event with an id of its own is delivered once, however often it is sent.
    let same = shell.file("same.json", &events::finding("the same", "low").to_string());
    for _ in 0..3 {
        shell.plain(&["send", &same]).await;
    }
    destination.wait_for(8).await;
    destination.stays_quiet(std::time::Duration::from_millis(300)).await;
    assert_eq!(destination.received().len(), 8);
    shell.pipe(&["send", "--json"], "[]").await.expect(0);

    // Members that no format knows are named, once for all events.
    let strange = r#"{"type":"report_ready","data":{"report":{"titel":"Final report"}}}"#;
    let ran = shell.pipe(&["send"], &format!("{strange}\n{strange}\n")).await.expect(0);
    assert!(ran.stderr.contains("line 1 and 1 more: /data/report/titel ") && ran.stderr.contains("title"), "{ran}");
    let ran = shell.pipe(&["send", "--json"], strange).await.expect(0).json();
    assert_eq!(
        (&ran["warnings"][0]["pointer"], &ran["warnings"][0]["line"]),
        (&json!("/data/report/titel"), &json!(1))
    );
}

#[tokio::test]
async fn send_names_rejected_events_and_posts_the_others() {
    let host = Host::start().await;
    let shell = Shell::at(&host);
    let destination = Destination::start().await;
    host.admin().webhook(&destination.url("/"), json!({})).await;

    let good = |title| events::finding(title, "").to_string();
    let bad = r#"{"type":"finding_added","data":{"finding":{"title":"","severity":"dire"}}}"#;
    let mixed = shell.file("mixed.jsonl", &format!("{}\n{bad}\n{}\n", good("one"), good("three")));
    let ran = shell.run(&["send", &mixed]).await.expect(FAILED);
    assert!(ran.stderr.contains("line 2") && ran.stderr.contains("/data/finding/title"), "{ran}");
    assert!(ran.stderr.contains("/data/finding/severity") && !ran.stderr.contains(ESCAPE), "{ran}");
    let ran = shell.run(&["send", "--json", &mixed]).await.expect(FAILED).json();
    assert_eq!((&ran["accepted"], ran["refused"].as_array().map(Vec::len)), (&json!(2), Some(1)), "{ran}");
    assert_eq!(destination.wait_for(2).await.len(), 2);

    let broken = shell.file("broken.json", &format!("{}\n{{\"type\": \n", good("never")));
    shell.run(&["send", &broken]).await.fails_with(FAILED, &["broken.json", "line"]);
    shell.run(&["send", "no-such-file.json"]).await.fails_with(FAILED, &["no-such-file.json"]);
    let wrong_token = Shell::at(&host).with("HERALDRY_TOKEN", "hst_wrong");
    wrong_token.pipe(&["send"], &good("never")).await.fails_with_after_output(FAILED, &["401", "HERALDRY_TOKEN"]);
    let nowhere = Shell::at(&host).with("HERALDRY_URL", "http://127.0.0.1:9");
    nowhere
        .pipe(&["send", "--patience", "100ms"], &good("never"))
        .await
        .fails_with_after_output(FAILED, &["127.0.0.1:9"]);
    destination.stays_quiet(std::time::Duration::from_millis(300)).await;
}

impl Ran {
    /// As [`Ran::fails_with`], of a command that prints its progress on standard output.
    #[track_caller]
    fn fails_with_after_output(self, code: i32, words: &[&str]) {
        Self { stdout: String::new(), ..self }.fails_with(code, words);
    }
}

#[tokio::test]
async fn tokens_and_webhooks_are_managed_from_a_shell() {
    let host = Host::start().await;
    let shell = Shell::at(&host);
    tokens(&host, &shell).await;
    webhooks(&shell).await;
    rejections(&host, &shell).await;
}

async fn tokens(host: &Host, shell: &Shell) {
    let made = shell.plain(&["token", "create", "--name", "scanner", "--role", "ingest"]).await;
    let text = made.stdout.trim();
    assert_eq!(made.stdout.lines().count(), 1, "only the token goes to standard output: {made}");
    host.visitor().with_token(text).event(&events::minimal("phase_changed")).await;
    let made = shell.plain(&["token", "create", "--name", "eve", "--role", "pentester", "--json"]).await.json();
    let id = made["id"].as_str().expect("an id");
    let eve = host.visitor().with_token(made["token"].as_str().expect("a text"));
    eve.get("/webhooks").await.expect(200);
    let listed = shell.plain(&["token", "list"]).await;
    let end = &id[id.len() - 8..];
    assert!(["scanner", "eve", "pentester", end].iter().all(|word| listed.stdout.contains(word)), "{listed}");
    assert!(!listed.stdout.contains(text), "{listed}");
    assert_eq!(shell.plain(&["token", "list", "--json"]).await.json().as_array().map(Vec::len), Some(3));
    shell.run(&["token", "delete", &end[3..]]).await.fails_with(FAILED, &["there is no token", "6 characters"]);
    shell.plain(&["token", "delete", end]).await;
    eve.get("/webhooks").await.expect(401);
    shell.run(&["token", "create", "--name", "x", "--role", "king"]).await.expect(USAGE);
}

async fn webhooks(shell: &Shell) {
    let destination = Destination::answering([Reply::status(200), Reply::full(418, &[], b"a teapot")]).await;
    let url = destination.url("/hook");
    let arguments = [
        "webhook",
        "create",
        "--name",
        "ops",
        "--url",
        &url,
        "--event-type",
        "report_ready",
        "--event-type",
        "finding_added",
        "--header",
        "Authorization: Bearer abc",
        "--secret",
        "a secret",
        "--min-severity",
        "high",
        "--retry-count",
        "0",
        "--timeout-ms",
        "2000",
        "--json",
    ];
    let made = shell.plain(&arguments).await.json();
    let id = made["id"].as_str().expect("an id");
    assert_eq!((&made["header_names"], &made["has_secret"]), (&json!(["Authorization"]), &json!(true)));
    assert_eq!((&made["retry_count"], &made["timeout_ms"]), (&json!(0), &json!(2000)));
    assert_eq!(made["filter"]["min_severity"], "high");
    for command in [["webhook", "get", "ops"], ["webhook", "list", "--color=auto"]] {
        let shown = shell.plain(&command).await;
        assert!(shown.stdout.contains(&id[id.len() - 8..]) && shown.stdout.contains("ops"), "{shown}");
        assert!(!shown.stdout.contains("Bearer abc") && !shown.stdout.contains("a secret"), "{shown}");
    }
    let changed =
        shell.plain(&["webhook", "update", id, "--engagement-id", "E-1", "--no-secret", "--json"]).await.json();
    assert_eq!((&changed["has_secret"], &changed["filter"]["min_severity"]), (&json!(false), &json!("high")));
    assert_eq!(changed["filter"]["engagement_ids"], json!(["E-1"]));

    let tested = shell.plain(&["webhook", "test", id]).await;
    assert!(tested.stdout.contains("200"), "{tested}");
    assert_eq!(destination.received()[0].header("authorization"), "Bearer abc");
    let tested = shell.run(&["webhook", "test", id]).await.expect(FAILED);
    assert!(tested.stdout.contains("418") && tested.stdout.contains("a teapot"), "{tested}");
    let tests = shell.plain(&["webhook", "deliveries", id]).await;
    assert!(tests.stdout.contains("418") && tests.stdout.contains("report_ready"), "{tests}");
    let failed =
        shell.plain(&["webhook", "deliveries", id, "--success", "false", "--limit", "1", "--json"]).await.json();
    assert_eq!((failed[0]["status_code"].clone(), failed.as_array().map(Vec::len)), (json!(418), Some(1)));

    // A webhook that the circuit breaker disabled is listed with its reason, in red on a terminal.
    destination.from_now_on(Reply::status(410));
    let event =
        json!({"type": "report_ready", "data": {"report": {"title": "r"}}, "engagement": {"id": "E-1", "name": "n"}});
    shell.pipe(&["send"], &event.to_string()).await.expect(0);
    destination.wait_for(3).await;
    let listed = crate::support::eventually("the webhook to be inactive", async || {
        let listed = shell.plain(&["webhook", "list"]).await;
        listed.stdout.contains("inactive").then_some(listed)
    });
    let listed = listed.await;
    assert!(listed.stdout.contains("410"), "{listed}");
    let coloured = shell.run(&["--color", "always", "webhook", "list"]).await.expect(0);
    assert!(coloured.stdout.contains(ESCAPE), "{coloured}");
    shell.plain(&["webhook", "update", id, "--active"]).await;
    assert!(!shell.plain(&["webhook", "list"]).await.stdout.contains("inactive"));
    shell.plain(&["webhook", "delete", id]).await;
    assert_eq!(shell.plain(&["webhook", "list", "--json"]).await.json(), json!([]));
}

async fn rejections(host: &Host, shell: &Shell) {
    let create = ["webhook", "create", "--name", "x", "--url", "http://127.0.0.1:9/"];
    let with = |more: &[&'static str]| create.iter().chain(more).copied().collect::<Vec<&str>>();
    let rejected = shell.run(&with(&["--retry-count", "11", "--format", "no-such-format"])).await;
    rejected.fails_with(FAILED, &["/retry_count", "/format", "422"]);
    shell.run(&["webhook", "create", "--name", "x"]).await.fails_with(USAGE, &["--url"]);
    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057";
    shell.run(&["webhook", "get", unknown]).await.fails_with(FAILED, &["404"]);
    shell.run(&["webhook", "get", "../tokens"]).await.fails_with(FAILED, &["there is no webhook `../tokens`"]);
    shell.run(&["token", "delete", unknown]).await.fails_with(FAILED, &["404"]);
    let wrong = Shell::at(host).with("HERALDRY_TOKEN", "hst_wrong");
    wrong.run(&["webhook", "list"]).await.fails_with(FAILED, &["the token is refused", "401", "HERALDRY_TOKEN"]);
    let none = Shell::at(host).with("HERALDRY_TOKEN", " \n");
    none.run(&["webhook", "list"]).await.fails_with(FAILED, &["no token was given", "401", "HERALDRY_TOKEN"]);
    let garbled = Shell::at(host).with("HERALDRY_TOKEN", "two words");
    garbled.run(&["webhook", "list"]).await.fails_with(USAGE, &["HERALDRY_TOKEN", "characters that no token has"]);
    let with_line_feed = Shell::at(host).with("HERALDRY_TOKEN", &format!("{}\n", host.admin().token()));
    with_line_feed.plain(&["webhook", "list"]).await;
    let reader = host.admin().new_token("pentester").await;
    let reader = Shell::at(host).with("HERALDRY_TOKEN", reader.token());
    reader.plain(&["webhook", "list"]).await;
    reader.run(&["token", "list"]).await.fails_with(FAILED, &["403"]);
    let nowhere = Shell::at(host).with("HERALDRY_URL", "http://127.0.0.1:9");
    nowhere.run(&["webhook", "list"]).await.fails_with(FAILED, &["127.0.0.1:9", "HERALDRY_URL"]);
    let path = Shell::at(host).with("HERALDRY_URL", "http://127.0.0.1:9/api/v1");
    path.run(&["webhook", "list"]).await.fails_with(USAGE, &["HERALDRY_URL"]);
}

#[tokio::test]
async fn a_webhook_is_named_by_name_or_part_of_its_id() {
    let host = Host::start().await;
    let shell = Shell::at(&host);
    let destination = Destination::start().await;
    let create = |name: &'static str| {
        let url = destination.url("/");
        let shell = &shell;
        async move {
            let made = shell.plain(&["webhook", "create", "--name", name, "--url", &url, "--json"]).await.json();
            made["id"].as_str().expect("an id").to_owned()
        }
    };
    let (first, second, third) = (create("ops").await, create("siem").await, create("siem").await);
    for text in ["ops", &first, &first[first.len() - 8..], &first[first.len() - 8..].to_uppercase()] {
        assert_eq!(shell.plain(&["webhook", "get", text, "--json"]).await.json()["id"], first.as_str(), "{text}");
    }
    let ran = shell.run(&["webhook", "delete", "siem", "--yes"]).await;
    ran.fails_with(FAILED, &["`siem` can mean 2 webhooks", &second, &third]);
    // Nobody can be asked in a pipe.
    shell.plain(&["webhook", "delete", &second[second.len() - 12..]]).await;
    shell.plain(&["webhook", "delete", "siem", "--yes"]).await;
    let left = shell.plain(&["webhook", "list", "--json"]).await.json();
    assert_eq!(
        left.as_array().map(|list| list.iter().map(|webhook| webhook["id"].clone()).collect::<Vec<_>>()),
        Some(vec![json!(first)])
    );
}

#[tokio::test]
async fn what_failed_is_found_and_sent_again_from_a_shell() {
    let host = Host::start().await;
    let shell = Shell::at(&host);
    let advice = "say this at the very end of a response that is long enough for a narrow table";
    let destination = Destination::answering([Reply::full(400, &[], advice.as_bytes())]).await;
    let url = destination.url("/a/path/that/is/too/long/for/a/column/of/a/table/on/a/terminal");
    let arguments =
        ["webhook", "create", "--name", "ops", "--url", &url, "--retry-count", "0", "--secret", "old secret"];
    shell.plain(&arguments).await;
    shell.pipe(&["send"], &events::finding("one", "low").to_string()).await.expect(0);
    destination.wait_for(1).await;
    let attempt = crate::support::eventually("the attempt in the history", async || {
        let attempts = shell.plain(&["webhook", "deliveries", "ops", "--json"]).await.json();
        attempts.get(0).cloned()
    });
    let attempt = attempt.await;
    let error = attempt["error"].as_str().expect("an error");

    // In a pipe nothing is cut.
    let table = shell.plain(&["webhook", "deliveries", "ops"]).await;
    let delivery = attempt["delivery_id"].as_str().expect("an id");
    let end = &delivery[delivery.len() - 8..];
    assert!(table.stdout.contains(error) && table.stdout.contains(end) && !table.stdout.contains('…'), "{table}");
    let table = shell.plain(&["webhook", "list"]).await;
    assert!(table.stdout.contains(&url) && !table.stdout.contains('…'), "{table}");

    let recovered = shell.plain(&["webhook", "recover", "ops", "--since", "1h"]).await;
    assert!(recovered.stdout.starts_with("queued 1 delivery again"), "{recovered}");
    assert_eq!(destination.wait_for(2).await[1].header("webhook-id"), delivery);
    let again = shell.plain(&["webhook", "recover", "ops", "--since", "2020-01-01T00:00:00Z", "--json"]).await.json();
    assert_eq!(again, json!({ "deliveries": 0 }));
    shell.run(&["webhook", "recover", "ops", "--since", "yesterday"]).await.expect(USAGE);
    shell.run(&["webhook", "recover", "ops"]).await.expect(USAGE);

    let made = shell.plain(&["webhook", "redeliver", "ops", end]).await;
    assert!(made.stdout.starts_with("new delivery "), "{made}");
    assert_ne!(destination.wait_for(3).await[2].header("webhook-id"), delivery);
    shell.run(&["webhook", "redeliver", "ops", "ffffff"]).await.fails_with(FAILED, &["there is no delivery `ffffff`"]);

    let rotated = shell.plain(&["webhook", "rotate-secret", "ops", "--overlap", "1h"]).await;
    assert!(rotated.stdout.starts_with("whsec_") && rotated.stdout.lines().count() == 1, "{rotated}");
    assert!(rotated.stderr.contains("the old secret signs too until"), "{rotated}");
    for overlap in ["8d", "1500ms", "soon"] {
        assert_ne!(
            shell.run(&["webhook", "rotate-secret", "ops", "--overlap", overlap]).await.code,
            Some(0),
            "{overlap}"
        );
    }
    let active = shell.plain(&["webhook", "update", "ops", "--active"]).await;
    assert!(active.stderr.contains("heraldry webhook recover ops"), "{active}");

    let audit = shell.plain(&["audit"]).await;
    for action in ["webhook.created", "webhook.recovered", "delivery.redelivered", "webhook.secret_rotated"] {
        assert!(audit.stdout.contains(action), "{action}: {audit}");
    }
    assert!(audit.stdout.contains("webhook ops ("), "{audit}");
    let page = shell.plain(&["audit", "--limit", "1"]).await;
    let next = page.stderr.rsplit(' ').next().expect("a hint").trim().to_owned();
    assert!(page.stderr.contains("next page: heraldry audit --before "), "{page}");
    assert_eq!(
        shell.plain(&["audit", "--limit", "1", "--before", &next, "--json"]).await.json().as_array().map(Vec::len),
        Some(1)
    );
}

#[tokio::test]
async fn formatters_are_listed_from_a_shell() {
    let host = Host::start().await;
    let shell = Shell::at(&host);
    let listed = shell.plain(&["formatter", "list"]).await;
    for name in ["json", "slack", "cef"] {
        let line = listed.stdout.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_default();
        assert!(line.contains("built-in"), "{name}: {listed}");
    }
    let shown = shell.plain(&["formatter", "get", "slack"]).await;
    assert!(["sha256:", "ready", "\"properties\""].iter().all(|words| shown.stdout.contains(words)), "{shown}");
    shell.run(&["formatter", "get", "no-such"]).await.fails_with(FAILED, &["404"]);
    shell.run(&["formatter", "delete", "slack", "--yes"]).await.fails_with(FAILED, &["409"]);
    // Outside a project's folder the tools want a file.
    for tool in ["check", "test", "preview", "bench", "install"] {
        let ran = shell.run(&["formatter", tool]).await;
        assert!(ran.code != Some(0) && ran.stderr.contains("no component is named"), "{ran}");
    }
}

#[tokio::test]
async fn the_cost_of_a_component_is_measured_with_its_digests() {
    let shell = Shell::new();
    for (component, digests) in [
        (Handmade::new("mine", "1.0.0", "alone"), &[][..]),
        (
            Handmade::new("mine", "1.0.0", "alone").digest(&lists_ids("")),
            &["digest of 2", "digest of 100", "digest of 1000"],
        ),
    ] {
        let file = shell.folder.path().join("mine.wasm");
        std::fs::write(&file, component.build()).expect("written");
        let file = file.to_str().expect("a path");
        let costs = shell.run(&["formatter", "bench", file, "--json"]).await.expect(0).json();
        let named = costs.as_object().expect("an object").keys().filter(|name| name.starts_with("digest"));
        assert_eq!(named.count(), digests.len(), "{costs}");
        // An id and a line feed for each event, after the part.
        for (name, events) in digests.iter().zip([2, 100, 1000]) {
            let body = 4 + 37 * events;
            assert!(costs[name]["output_bytes"].as_u64().is_some_and(|bytes| bytes >= body), "{costs}");
        }
        let shown = shell.run(&["formatter", "bench", file]).await.expect(0);
        assert_eq!(shown.stdout.contains("headroom of digests, instructions"), !digests.is_empty(), "{shown}");
    }
}

#[tokio::test]
async fn the_configuration_is_judged_without_a_start() {
    let shell = Shell::new();
    let ran = shell.plain(&["serve", "--check", "--listen", "127.0.0.1:1"]).await;
    assert!(ran.stdout.contains("is valid") && ran.stdout.contains("127.0.0.1:1"), "{ran}");
    assert_eq!(std::fs::read_dir(shell.folder.path()).expect("a folder").count(), 0, "nothing is created");
    shell.run(&["serve", "--check", "--retention", "never"]).await.fails_with(USAGE, &["--retention"]);
    let ran = shell.run(&["serve", "--check", "--tls-ca", "corp=missing.pem"]).await;
    ran.fails_with(USAGE, &["missing.pem", "nothing was started"]);
    let file = shell.file("a-file", "");
    shell.run(&["serve", "--check", "--data", &file]).await.fails_with(USAGE, &["a-file", "not a folder"]);
    let typo = Shell::new().with("HERALDRY_ALOW_NET", "10.0.0.0/8");
    let ran = typo.run(&["serve", "--check"]).await.expect(0);
    assert!(ran.stderr.contains("HERALDRY_ALOW_NET is not read; did you mean HERALDRY_ALLOW_NET?"), "{ran}");
}

#[tokio::test]
async fn the_version_and_completions_are_printed() {
    let shell = Shell::new();
    let version = shell.plain(&["version", "--json"]).await.json();
    assert_eq!(
        (&version["version"], &version["contracts"]),
        (&json!(env!("CARGO_PKG_VERSION")), &json!(["1.0.0", "1.1.0", "1.2.0"]))
    );
    assert!(version["target"].as_str().is_some_and(|target| target.contains('-')), "{version}");
    let shown = shell.plain(&["version"]).await;
    assert!(["commit", "target", "formatter contracts"].iter().all(|word| shown.stdout.contains(word)), "{shown}");
    for shell_name in ["bash", "zsh", "fish"] {
        let script = shell.plain(&["completions", shell_name]).await;
        assert!(script.stdout.contains("heraldry") && script.stdout.contains("rotate-secret"), "{script}");
        assert!(!script.stdout.contains("compile-component"), "{shell_name}");
    }
    shell.run(&["compile"]).await.expect(USAGE);
}

#[tokio::test]
async fn reset_admin_works_on_a_stopped_host() {
    let mut host = Host::start().await;
    let shell = Shell::new();
    let data = host.data();
    let data = data.to_str().expect("a path");
    let reset = ["token", "reset-admin", "--data", data];
    shell.run(&reset).await.fails_with(FAILED, &["stopped"]);
    assert!(host.terminate().await.success());
    let made = shell.plain(&reset).await;
    let text = made.stdout.trim().to_owned();
    assert_eq!(made.stdout.lines().count(), 1, "{made}");
    let in_json = shell.plain(&["token", "reset-admin", "--data", data, "--json"]).await.json();
    let missing = Path::new(data).join("no-such-folder");
    let missing = missing.to_str().expect("a path");
    shell.run(&["token", "reset-admin", "--data", missing]).await.fails_with(FAILED, &["no-such-folder"]);
    assert!(!Path::new(missing).exists(), "the command created the folder");

    let host = host.start_again().await;
    host.admin().get("/tokens").await.expect(200);
    for token in [text.as_str(), in_json["token"].as_str().expect("a text")] {
        host.visitor().with_token(token).get("/tokens").await.expect(200);
    }
}
