use clap::{Args as _, Command};

use std::time::Duration;

use super::*;

fn file(text: &str) -> Sources {
    Sources::parse(Path::new("heraldry.toml"), text).expect("the test's TOML")
}

fn given(args: &ServeArgs, text: &str) -> Result<Config, ConfigError> {
    resolve(args, file(text), |_| None)
}

fn faults(args: &ServeArgs, text: &str) -> Vec<String> {
    given(args, text).expect_err("an invalid configuration").faults
}

fn with_variable(name: &'static str, value: &str) -> Result<Config, ConfigError> {
    resolve(&ServeArgs::default(), Sources::default(), |asked| (asked == name).then(|| value.into()))
}

#[test]
fn defaults_are_as_documented() {
    let config = Config::default();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.data, Path::new("./heraldry-data"));
    assert_eq!(config.formatters, Path::new("./formatters.d"));
    assert!(config.allow_net.is_empty() && config.host_name.is_none());
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.delivery, DeliverySettings::default());
    assert_eq!(config.sandbox, SandboxSettings::default());
    assert_eq!(config.store_cache_bytes, 64 << 20);
    assert_eq!((config.log, config.log_level), (LogFormat::Text, tracing::Level::INFO));
}

/// The help's `[default: …]` texts, given as flags, must result in the default configuration.
#[test]
fn the_help_shows_the_true_defaults() {
    let command = ServeArgs::augment_args(Command::new("serve"));
    let mut args = vec!["serve".to_owned()];
    for arg in command.get_arguments() {
        let help = arg.get_help().expect("every flag has help").to_string();
        let (_, rest) =
            help.split_once("[default: ").unwrap_or_else(|| panic!("{}: no default in the help", arg.get_id()));
        let default = rest.strip_suffix(']').expect("the default comes last");
        if !help.ends_with("[default: none]") && !["config", "host-name"].contains(&arg.get_id().as_str()) {
            args.extend([format!("--{}", arg.get_long().expect("a long flag")), default.to_owned()]);
        }
    }
    let matches = command.try_get_matches_from(args).expect("the defaults as flags");
    let args = <ServeArgs as clap::FromArgMatches>::from_arg_matches(&matches).expect("every field");
    assert_eq!(format!("{:?}", given(&args, "").expect("in range")), format!("{:?}", Config::default()));
}

/// clap puts a flag before its variable; this pins that every flag has one, and that each is a key too.
#[test]
fn every_flag_is_a_variable_and_a_key() {
    let command = ServeArgs::augment_args(Command::new("serve"));
    for arg in command.get_arguments() {
        let name = arg.get_long().expect("a long flag");
        let variable = arg.get_env().expect(name).to_str().expect("ASCII");
        assert_eq!(variable, format!("HERALDRY_{}", name.to_uppercase().replace('-', "_")));
        if name != "config" {
            let unknown = faults(&ServeArgs::default(), &format!("{name} = true"));
            assert!(unknown.iter().all(|fault| !fault.contains("unknown key")), "{unknown:?}");
        }
    }
}

#[test]
fn the_flag_wins_over_the_file_and_the_file_over_the_default() {
    let text = "concurrency = 7\nretry-base = \"1s\"\nallow-net = [\"10.0.0.0/8\", \"fd00::/8\"]";
    let in_file = given(&ServeArgs::default(), text).expect("in range");
    assert_eq!((in_file.delivery.concurrency, in_file.delivery.retry.base), (7, Duration::from_secs(1)));
    assert_eq!(in_file.allow_net.len(), 2);

    let flags = ServeArgs::from([("concurrency", "9"), ("allow-net", "127.0.0.0/8, 192.168.7.9")]);
    let both = given(&flags, text).expect("in range");
    assert_eq!((both.delivery.concurrency, both.delivery.retry.base), (9, Duration::from_secs(1)));
    let nets: Vec<_> = both.allow_net.iter().map(ToString::to_string).collect();
    assert_eq!(nets, ["127.0.0.0/8", "192.168.7.9/32"]);
}

#[test]
fn all_faults_come_at_once() {
    let flags = ServeArgs::from([("listen", "8080"), ("cache", "64")]);
    let text = "concurrency = 0\nallow_net = []\nlog = true\nsurprise = 1\nretention = 30";
    let faults = faults(&flags, text);
    for part in [
        "--listen (or HERALDRY_LISTEN): `8080`: expected an IP address",
        "--cache (or HERALDRY_CACHE): `64`: no unit",
        "concurrency in heraldry.toml: `0`: out of range: 1 to 65536",
        "unknown key `allow_net` in heraldry.toml: the key is `allow-net`",
        "log in heraldry.toml must be a text",
        "unknown key `surprise` in heraldry.toml",
        "retention in heraldry.toml: `30`: no unit",
    ] {
        assert!(faults.iter().any(|fault| fault.contains(part)), "{part}: {faults:?}");
    }
    assert_eq!(faults.len(), 7, "{faults:?}");
}

#[test]
fn settings_must_fit_each_other() {
    let order = faults(&ServeArgs::default(), "retry-base = \"1min\"\nretry-cap = \"1s\"");
    assert_eq!(order, ["retry-cap is below retry-base"]);
    let sizes = faults(&ServeArgs::default(), "max-event-bytes = \"2MiB\"\nmax-body-bytes = \"1MiB\"");
    assert!(sizes[0].contains("max-event-bytes is above max-body-bytes"), "{sizes:?}");
}

#[test]
fn both_ends_of_a_range_are_in_it() {
    for (text, fits) in [("0", false), ("1", true), ("65536", true), ("65537", false)] {
        assert_eq!(given(&ServeArgs::default(), &format!("concurrency = {text}")).is_ok(), fits, "{text}");
    }
    for (text, fits) in [("999ms", false), ("1s", true), ("3650d", true), ("3651d", false)] {
        assert_eq!(given(&ServeArgs::default(), &format!("retention = \"{text}\"")).is_ok(), fits, "{text}");
    }
}

#[test]
fn a_network_is_written_exactly() {
    for (text, fits) in [
        ("10.0.0.0/8", true),
        ("::1", true),
        ("10.1.2.3/8", false),
        ("10.0.0.0/33", false),
        ("localhost", false),
        ("10.0.0", false),
    ] {
        assert_eq!(values::network(text).is_ok(), fits, "{text}");
    }
}

#[test]
fn the_admin_token_has_16_to_256_characters() {
    for (text, fits) in [
        ("a".repeat(15), false),
        ("a".repeat(16), true),
        ("~".repeat(256), true),
        ("a".repeat(257), false),
        (format!("{}\u{e9}", "a".repeat(20)), false),
        ("a b".repeat(9), false),
        (String::new(), false),
    ] {
        let config = with_variable(ADMIN_TOKEN, &text);
        assert_eq!(config.is_ok(), fits, "{text}");
        let shown = config.map_or_else(|error| error.to_string(), |config| format!("{config:?}"));
        assert!(text.is_empty() || !shown.contains(&text), "a secret was shown");
    }
}

#[test]
fn the_master_key_is_base64_of_32_bytes() {
    let key = |bytes: usize| base64::engine::general_purpose::STANDARD.encode(vec![7; bytes]);
    for (text, fits) in [(key(32), true), (key(31), false), (key(33), false), ("key".to_owned(), false)] {
        assert_eq!(with_variable(MASTER_KEY, &text).is_ok(), fits, "{text}");
    }
}

#[test]
fn a_fault_of_the_proxys_url_shows_no_password() {
    let faults = faults(&ServeArgs::from([("proxy", "socks5://user:canary@proxy.invalid")]), "");
    assert!(faults[0].contains("--proxy") && !faults[0].contains("canary"), "{faults:?}");
}

#[test]
fn only_the_default_file_may_be_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("none.toml");
    let fault = read_file(Some(&missing)).err().expect("a fault");
    assert!(fault.contains("none.toml"), "{fault}");
    assert!(Sources::parse(Path::new("x.toml"), "listen = ").err().expect("no TOML").starts_with("x.toml: "));
}

#[test]
fn a_secret_may_end_with_a_line_feed() {
    let config = with_variable(ADMIN_TOKEN, " 0123456789abcdef\r\n").expect("a token");
    assert_eq!(config.admin_token.expect("it is set").expose(), "0123456789abcdef");
    let key = base64::engine::general_purpose::STANDARD.encode([7; 32]);
    assert_eq!(
        with_variable(MASTER_KEY, &format!("{key}\n")).expect("a key").master_key.expect("it is set").expose(),
        key
    );
}

#[test]
fn a_variable_that_is_not_read_is_named_with_the_one_that_was_meant() {
    let found = |names: &[&str]| {
        find_unknown(names.iter().map(|name| (*name).to_owned()))
            .into_iter()
            .map(|unknown| (unknown.name, unknown.meant))
            .collect::<Vec<_>>()
    };
    let pair = |name: &str, meant: Option<&str>| (name.to_owned(), meant.map(str::to_owned));
    assert_eq!(found(&["HERALDRY_ALOW_NET"]), [pair("HERALDRY_ALOW_NET", Some("HERALDRY_ALLOW_NET"))]);
    assert_eq!(found(&["HERALDRY_TOKNE"]), [pair("HERALDRY_TOKNE", Some("HERALDRY_TOKEN"))]);
    assert_eq!(found(&["HERALDRY_COLOUR_OF_THE_SKY"]), [pair("HERALDRY_COLOUR_OF_THE_SKY", None)]);
    // Those that are read, those that Kubernetes sets for a service of this name, and other programs' ones.
    let fine = [
        "HERALDRY_ALLOW_NET",
        "HERALDRY_TOKEN",
        "HERALDRY_MASTER_KEY",
        "HERALDRY_SERVICE_HOST",
        "HERALDRY_PORT",
        "HERALDRY_PORT_8080_TCP_ADDR",
        "HERALD",
        "PATH",
    ];
    assert_eq!(found(&fine), []);
}
