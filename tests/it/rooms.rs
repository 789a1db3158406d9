//! The house's walls (ARCHITECTURE.md, "Rooms"), held against the source.

use std::fs;
use std::path::{Path, PathBuf};

/// What each room may name beside itself. Those that are not listed may name every room.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("json", &[]),
    ("model", &["json"]),
    ("embedded", &[]),
    ("clock", &["model"]),
    ("config", &["model"]),
    ("samples", &["model"]),
    ("signature", &["model"]),
    ("keyring", &["model"]),
    ("store", &["keyring", "model"]),
    ("telemetry", &["model"]),
    ("formatter", &["json", "model"]),
    ("transport", &["model"]),
    ("scheduler", &["store", "formatter", "signature", "transport", "samples", "telemetry", "model"]),
    ("api", &["store", "scheduler", "formatter", "transport", "samples", "telemetry", "json", "model"]),
];
/// These see everything: wiring, the commands, and the crate's own front.
const SEE_ALL: &[&str] = &["app", "cli", "lib", "main"];

/// What only one room may name: the word in its code, the room, and why.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    ("sled", &["store"], "a second engine will stand behind the store's interface"),
    ("wasmtime", &["formatter"], "one room runs strangers' code"),
    ("reqwest", &["cli"], "deliveries have a connector of their own; reqwest is the commands' client"),
    ("hyper_rustls", &["transport"], "one room opens connections to destinations"),
    ("hickory_resolver", &["transport"], "one room looks names up"),
    ("env::var", &["config"], "one room reads the environment"),
    ("env::var_os", &["config"], "one room reads the environment"),
    ("env::vars", &["config"], "one room reads the environment"),
    ("TcpStream::connect", &["transport"], "one room opens outbound sockets"),
    ("TcpSocket", &["transport"], "one room opens outbound sockets"),
    ("UdpSocket", &["transport", "cli"], "one room opens outbound sockets; `listen` takes datagrams"),
    ("println", &["cli"], "one room prints"),
    ("eprintln", &["cli"], "one room prints"),
];

struct Source {
    /// As in `host/src/store/keys.rs`.
    shown: String,
    room: String,
    /// What is compiled for the product, with its comments; tests may set up what they like.
    text: String,
    /// The same without comments.
    code: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources() -> Vec<Source> {
    let src = root().join("host/src");
    let mut sources = Vec::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the source") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(source(&src, &path));
            }
        }
    }
    sources.sort_by(|a, b| a.shown.cmp(&b.shown));
    assert!(sources.len() > 50, "only {} files found below {}", sources.len(), src.display());
    sources
}

fn source(src: &Path, path: &Path) -> Source {
    let inside = path.strip_prefix(src).expect("below the source");
    let first = inside.iter().next().expect("a name").to_string_lossy();
    let text = fs::read_to_string(path).expect("a source file");
    let for_tests = inside.iter().any(|part| part.to_string_lossy().contains("tests"));
    let text = if for_tests { "" } else { before_tests(&text) };
    Source {
        shown: format!("host/src/{}", inside.display()),
        room: first.trim_end_matches(".rs").to_owned(),
        text: text.to_owned(),
        code: without_comments(text),
    }
}

/// Unit tests stand at the end of their file.
fn before_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod tests {").map_or(text, |start| &text[..start])
}

/// Good enough for this source: a `//` within a string literal ends the line too, which hides no name that
/// these tests look for.
fn without_comments(text: &str) -> String {
    let line = |line: &str| match line.find("//") {
        Some(start) if !line[..start].ends_with(':') => line[..start].to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The rooms that a text names: `crate::ROOM`, `crate::{ROOM, ..}`, and `super::ROOM`.
fn named_rooms<'a>(code: &'a str, rooms: &[String]) -> Vec<&'a str> {
    let mut named = Vec::new();
    for way in ["crate::", "super::"] {
        for (start, _) in code.match_indices(way) {
            // `crate` is also the end of other words, and a path may begin before it.
            if code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
                continue;
            }
            let rest = &code[start + way.len()..];
            match rest.strip_prefix('{') {
                Some(group) => named.extend(first_words(group)),
                None => named.push(word(rest)),
            }
        }
    }
    named.retain(|name| rooms.iter().any(|room| room == name));
    named
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

/// The first word of each member of a group, up to its closing brace.
fn first_words(group: &str) -> Vec<&str> {
    let (mut words, mut depth, mut member) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                words.push(word(group[member..at].trim_start()));
                member = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    words
}

#[test]
fn a_room_names_only_the_rooms_that_it_may() {
    let sources = sources();
    let mut rooms: Vec<String> = sources.iter().map(|source| source.room.clone()).collect();
    rooms.sort();
    rooms.dedup();
    let mut wrong = Vec::new();
    for room in &rooms {
        if !SEE_ALL.contains(&room.as_str()) && !MAY_NAME.iter().any(|(listed, _)| listed == room) {
            wrong.push(format!("{room} is a new room: say here and in ARCHITECTURE.md what it may name"));
        }
    }
    for source in &sources {
        let Some((_, may)) = MAY_NAME.iter().find(|(room, _)| *room == source.room) else { continue };
        for named in named_rooms(&source.code, &rooms) {
            if named != source.room && !may.contains(&named) {
                wrong.push(format!("{} names {named}; {} may name {may:?}", source.shown, source.room));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_engine_has_one_room() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (name, rooms, why) in ONLY_IN {
            if !rooms.contains(&source.room.as_str()) && has_path(&source.code, name) {
                wrong.push(format!("{} names {name}: {why}", source.shown));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether the code has this name, not merely another that contains it.
fn has_path(code: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name)
        .any(|(start, _)| !code[..start].ends_with(part) && !code[start + name.len()..].starts_with(part))
}

/// The formats are folders; no word of the host, not even in a comment, is about one of them. `json` is also
/// what events, bodies and logs are made of, and `syslog` a transport, so there only the quoted word counts.
#[test]
fn the_host_names_no_format_but_the_default() {
    let formats: Vec<String> = fs::read_dir(root().join("formatters"))
        .expect("the formatters")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != "sdk")
        .collect();
    assert!(formats.len() >= 5, "{formats:?}");
    let build = root().join("host/build.rs");
    let build = Source {
        shown: "host/build.rs".into(),
        room: "build".into(),
        text: fs::read_to_string(&build).expect("the build script"),
        code: String::new(),
    };
    let mut wrong = Vec::new();
    for source in sources().iter().chain([&build]) {
        let words = words(&source.text);
        for format in formats.iter().filter(|format| !["json", "syslog"].contains(&format.as_str())) {
            if words.contains(format) {
                wrong.push(format!("{} has the word {format}", source.shown));
            }
        }
        for line in source.code.lines().filter(|line| line.contains("\"syslog\"")) {
            // What formatters are told of the transport.
            if source.shown != "host/src/model/url.rs" {
                wrong.push(format!("{} has the word syslog: {}", source.shown, line.trim()));
            }
        }
        for line in source.code.lines().filter(|line| line.contains("\"json\"")) {
            let is_default = line.contains("const DEFAULT_FORMAT: &str = ");
            let is_log = source.room == "config" && line.contains("LogFormat::Json");
            if !is_default && !is_log {
                wrong.push(format!("{} has the word json: {}", source.shown, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every word in lower case; `SlackLike`, `slack_like` and `slack-like` have two.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in text.chars() {
        let begins = !c.is_alphanumeric() || (c.is_uppercase() && before.is_lowercase());
        if begins {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            words.last_mut().expect("never empty").extend(c.to_lowercase());
        }
        before = c;
    }
    words
}

#[test]
fn these_tests_see_what_they_look_for() {
    let rooms: Vec<String> = ["store", "api", "model"].map(str::to_owned).to_vec();
    let named = |code| named_rooms(code, &rooms);
    assert_eq!(named("use crate::store::{Store};"), ["store"]);
    assert_eq!(named("use crate::{api::{self, x}, model, other};"), ["api", "model"]);
    assert_eq!(named("use super::store;"), ["store"]);
    assert_eq!(named("pub(in crate::api) fn f() -> my_crate::store {}"), ["api"]);
    assert!(has_path("use sled::Db;", "sled") && !has_path("let sledge = 1;", "sled"));
    assert_eq!(words("SlackLike cef_x"), ["slack", "like", "cef", "x"]);
    assert_eq!(without_comments("a // b\nlet u = \"http://c\";"), "a \nlet u = \"http://c\";");
}
