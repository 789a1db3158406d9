//! Checks the source against the module boundaries of ARCHITECTURE.md, "Rooms".

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms that each room may name beside itself. Rooms that are not listed may name every room.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("json", &[]),
    ("model", &["json"]),
    ("embedded", &[]),
    ("clock", &["model"]),
    ("config", &["model"]),
    ("samples", &["model"]),
    ("signature", &["model"]),
    ("watchdog", &["clock", "model"]),
    ("store", &["keyring", "watchdog", "model"]),
    ("telemetry", &["model"]),
    ("formatter", &["telemetry", "watchdog", "json", "model"]),
    ("transport", &["model"]),
    ("keyring", &["model"]),
    ("delivery", &["store", "formatter", "signature", "transport", "telemetry", "model"]),
    ("scheduler", &["store", "delivery", "samples", "telemetry", "watchdog", "model"]),
    ("filter", &["formatter", "telemetry", "watchdog", "model"]),
    ("upkeep", &["store", "filter", "formatter", "model"]),
    (
        "api",
        &[
            "store",
            "scheduler",
            "filter",
            "formatter",
            "transport",
            "samples",
            "telemetry",
            "watchdog",
            "json",
            "model",
        ],
    ),
    ("console", &["api", "model"]),
];
/// These may name every room: wiring, the commands, and the crate's root.
const SEE_ALL: &[&str] = &["app", "cli", "fuzzing", "lib", "main"];

/// Names that only certain rooms may use: the name, the rooms, the reason.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    ("sled", &["store/embedded"], "a second engine will stand behind the store's interface"),
    ("wasmtime", &["formatter"], "one room runs third-party code"),
    ("reqwest", &["cli"], "deliveries have a connector of their own; reqwest is the commands' client"),
    ("tokio_rustls", &["transport"], "one room opens connections to destinations"),
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
    /// The path, as in `host/src/store/keys.rs`.
    shown: String,
    room: String,
    /// The text with comments and without unit tests, which may use every room.
    text: String,
    /// The same without comments.
    code: String,
}

impl Source {
    /// True if the file is in this room, or below this folder of a room.
    fn is_in(&self, place: &str) -> bool {
        self.room == place || self.shown.starts_with(&format!("host/src/{place}/"))
    }
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
    let for_tests =
        inside.iter().any(|part| ["tests", "conformance"].iter().any(|name| part.to_string_lossy().contains(name)));
    let text = if for_tests { "" } else { before_tests(&text) };
    Source {
        shown: format!("host/src/{}", inside.display()),
        room: first.trim_end_matches(".rs").to_owned(),
        text: text.to_owned(),
        code: without_comments(text),
    }
}

/// Unit tests, and the properties that fuzz targets check, stand at the end of their file.
fn before_tests(text: &str) -> &str {
    let fuzzing = ["#[cfg(fuzzing)]\npub(crate) mod fuzzing {", "#[cfg(any(fuzzing, test))]\npub(crate) mod fuzzing {"];
    let starts = ["#[cfg(test)]\nmod tests {", fuzzing[0], fuzzing[1]];
    let start = starts.iter().filter_map(|start| text.find(start)).min();
    start.map_or(text, |start| &text[..start])
}

/// Removes comments. A `//` within a string literal ends the line too, which is good enough: it hides no name that
/// these tests search for.
fn without_comments(text: &str) -> String {
    let line = |line: &str| match line.find("//") {
        Some(start) if !line[..start].ends_with(':') => line[..start].to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The rooms that a module's code names, through `crate::`, `super::` or `self::`.
fn named_rooms(code: &str, module: &[String], rooms: &[String]) -> Vec<String> {
    let mut named: Vec<String> =
        named_paths(code, module).into_iter().filter_map(|path| path.into_iter().next()).collect();
    named.dedup();
    named.retain(|name| rooms.contains(name));
    named
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
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
        let module = module_path(&source.shown).expect("a file of the source");
        for named in named_rooms(&source.code, &module, &rooms) {
            if named != source.room && !may.contains(&named.as_str()) {
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
        for (name, places, why) in ONLY_IN {
            if !places.iter().any(|place| source.is_in(place)) && has_path(&source.code, name) {
                wrong.push(format!("{} names {name}: {why}", source.shown));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// True if the code has this name, not only a longer one that contains it.
fn has_path(code: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name)
        .any(|(start, _)| !code[..start].ends_with(part) && !code[start + name.len()..].starts_with(part))
}

/// The host names no format, not even in a comment. `json` is also the encoding of events, bodies and logs, and `syslog`
/// also a transport, so for these only the quoted word counts.
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
            // The transport's name in a formatter's context.
            if source.shown != "host/src/model/url.rs" {
                wrong.push(format!("{} has the word syslog: {}", source.shown, line.trim()));
            }
        }
        for line in source.code.lines().filter(|line| line.contains("\"json\"")) {
            let is_default = line.contains("const DEFAULT_FORMAT: &str = ");
            let is_log = source.room == "config" && line.contains("LogFormat::Json");
            let is_of_a_file = source.shown == "host/src/cli/apply/document.rs" && line.contains("ending");
            if !is_default && !is_log && !is_of_a_file {
                wrong.push(format!("{} has the word json: {}", source.shown, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The words of a text in lower case; `SlackLike`, `slack_like` and `slack-like` have two each.
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
fn the_helpers_of_these_tests_work() {
    let rooms: Vec<String> = ["store", "api", "model"].map(str::to_owned).to_vec();
    let named = |code| named_rooms(code, &["app".to_owned()], &rooms);
    assert_eq!(named("use crate::store::{Store};"), ["store"]);
    assert_eq!(named("use crate::{api::{self, x}, model, other};"), ["api", "model"]);
    assert_eq!(named("use super::store;"), ["store"]);
    assert_eq!(named("pub(in crate::api) fn f() -> my_crate::store {}"), ["api"]);
    let nested = |code| named_rooms(code, &["model".to_owned(), "retry".to_owned()], &rooms);
    assert_eq!(nested("use super::store::Store; use super::super::api;"), ["model", "api"]);
    assert!(has_path("use sled::Db;", "sled") && !has_path("let sledge = 1;", "sled"));
    let source = |shown: &str| source(&root().join("host/src"), &root().join(shown));
    assert!(source("host/src/formatter/runtime/engine.rs").is_in("formatter/runtime"));
    assert!(!source("host/src/formatter/pool/mod.rs").is_in("formatter/runtime"));
    assert!(source("host/src/telemetry.rs").is_in("telemetry"));
    assert_eq!(words("SlackLike cef_x"), ["slack", "like", "cef", "x"]);
    assert_eq!(without_comments("a // b\nlet u = \"http://c\";"), "a \nlet u = \"http://c\";");
}

/// Folders whose files depend on each other in one direction only: a reader can begin at the leaves.
const NO_CIRCLES: &[&str] = &[
    "scheduler",
    "delivery",
    "transport",
    "transport/destination",
    "transport/http",
    "transport/syslog",
    "api",
    "api/webhooks",
    "formatter",
    "formatter/catalog",
    "formatter/admission",
    "store",
];

#[test]
fn files_of_a_room_form_no_circle() {
    let sources = sources();
    let mut wrong = Vec::new();
    for folder in NO_CIRCLES {
        let edges = edges_within(folder, &sources);
        assert!(!edges.is_empty(), "nothing found in {folder}");
        if let Some(circle) = circle(&edges) {
            wrong.push(format!("{folder}: {}", circle.join(" -> ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

type Edges = std::collections::BTreeMap<String, std::collections::BTreeSet<String>>;

/// The modules of a folder and those that each names; `mod` is the folder's own file.
fn edges_within(folder: &str, sources: &[Source]) -> Edges {
    let root: Vec<&str> = folder.split('/').collect();
    let mut modules: Vec<(String, Vec<String>, &Source)> = Vec::new();
    for source in sources {
        let Some(path) = module_path(&source.shown) else { continue };
        if path.len() >= root.len() && path[..root.len()] == root[..] {
            modules.push((path.get(root.len()).cloned().unwrap_or_else(|| "mod".to_owned()), path, source));
        }
    }
    let names: Vec<String> = modules.iter().map(|(name, ..)| name.clone()).collect();
    let mut edges = Edges::new();
    for (name, path, source) in &modules {
        let named = edges.entry(name.clone()).or_default();
        for target in named_paths(&source.code, path) {
            if target.len() <= root.len() || target[..root.len()] != root[..] {
                continue;
            }
            let known = Some(&target[root.len()]).filter(|target| names.contains(target));
            let target = known.cloned().unwrap_or_else(|| "mod".to_owned());
            if target != *name {
                named.insert(target);
            }
        }
    }
    edges
}

/// The module of a file: `host/src/store/mod.rs` is `["store"]`.
fn module_path(shown: &str) -> Option<Vec<String>> {
    let inside = shown.strip_prefix("host/src/")?.strip_suffix(".rs")?;
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    Some(inside.split('/').map(str::to_owned).collect())
}

/// Every path that code names through `crate::`, `super::`, `self::` or a child's name, up to the segment behind the
/// modules it passes.
fn named_paths(code: &str, module: &[String]) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for way in ["crate::", "super::", "self::"] {
        for (start, _) in code.match_indices(way) {
            if code[..start].ends_with(|c: char| c.is_alphanumeric() || "_$:".contains(c)) {
                continue;
            }
            let (mut base, mut rest) = match way {
                "crate::" => (Vec::new(), &code[start + way.len()..]),
                "self::" => (module.to_vec(), &code[start + way.len()..]),
                _ => (module.to_vec(), &code[start..]),
            };
            while let Some(up) = rest.strip_prefix("super::") {
                base.pop();
                rest = up;
            }
            expand(&base, rest, &mut paths);
        }
    }
    // Children named by their bare names, as in `use child::Item;` and `child::function()` of a folder's own file.
    let children = code.match_indices("mod ").filter_map(|(at, way)| {
        let name = word(&code[at + way.len()..]);
        code[at + way.len() + name.len()..].starts_with(';').then_some(name)
    });
    for child in children.filter(|child| !child.is_empty()) {
        let is_named = code
            .match_indices(&format!("{child}::"))
            .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'));
        if is_named {
            paths.push(module.iter().cloned().chain([child.to_owned()]).collect());
        }
    }
    paths
}

/// Follows a path behind its base, through the braces of a `use`.
fn expand(base: &[String], rest: &str, paths: &mut Vec<Vec<String>>) {
    if let Some(group) = rest.strip_prefix('{') {
        let mut depth = 0;
        let mut member = 0;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                ',' | '}' if depth == 0 => {
                    expand(base, group[member..at].trim_start(), paths);
                    member = at + 1;
                    if c == '}' {
                        return;
                    }
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
        return;
    }
    let first = word(rest);
    if first.is_empty() {
        return;
    }
    let path: Vec<String> = base.iter().cloned().chain([first.to_owned()]).collect();
    match rest[first.len()..].strip_prefix("::") {
        Some(deeper) if first != "self" => {
            paths.push(path.clone());
            expand(&path, deeper, paths);
        }
        _ => paths.push(path),
    }
}

/// A circle of modules, if there is one, its first module repeated at the end.
fn circle(edges: &Edges) -> Option<Vec<String>> {
    fn visit(edges: &Edges, name: &str, way: &mut Vec<String>, done: &mut Vec<String>) -> Option<Vec<String>> {
        if let Some(start) = way.iter().position(|known| known == name) {
            return Some(way[start..].iter().cloned().chain([name.to_owned()]).collect());
        }
        if done.iter().any(|known| known == name) {
            return None;
        }
        way.push(name.to_owned());
        for next in edges.get(name).into_iter().flatten() {
            if let Some(circle) = visit(edges, next, way, done) {
                return Some(circle);
            }
        }
        way.pop();
        done.push(name.to_owned());
        None
    }
    let mut done = Vec::new();
    edges.keys().find_map(|name| visit(edges, name, &mut Vec::new(), &mut done))
}

#[test]
fn circles_are_seen() {
    let path = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<String>>();
    let named = |code: &str, module: &str| named_paths(code, &path(module));
    assert_eq!(named("use super::b::C;", "room/a"), [path("room/b"), path("room/b/C")]);
    assert_eq!(named("use super::{b::C, D};", "room/a"), [path("room/b"), path("room/b/C"), path("room/D")]);
    assert_eq!(named("use crate::room::b;", "room/a"), [path("room"), path("room/b")]);
    assert_eq!(named("use super::super::d::E;", "room/b/c"), [path("room/d"), path("room/d/E")]);
    assert!(named("mod a;\nfn f() { a::g() }", "room").contains(&path("room/a")));
    let edges = |pairs: &[(&str, &str)]| {
        let mut edges = Edges::new();
        for (a, b) in pairs {
            edges.entry((*a).into()).or_default().insert((*b).into());
        }
        edges
    };
    assert_eq!(circle(&edges(&[("mod", "a"), ("mod", "b"), ("a", "b")])), None);
    assert_eq!(circle(&edges(&[("a", "b"), ("b", "c"), ("c", "a")])).map(|circle| circle.len()), Some(4));
}
