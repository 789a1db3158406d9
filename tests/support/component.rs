//! Formatters written by hand in WebAssembly's text form: modules that no compiler would emit, built in milliseconds.

use std::fmt::Write as _;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The current contract.
const CONTRACT: &str = include_str!("../../wit/formatter.wit");
/// The first published version of the contract; modules built from it must load forever.
pub(crate) const FIRST_CONTRACT: &str = include_str!("../fixtures/wit-1.0.0/formatter.wit");
/// The version before the host events.
pub(crate) const SECOND_CONTRACT: &str = include_str!("../fixtures/wit-1.1.0/formatter.wit");

/// A formatter under construction. Without further calls it renders every event as the same line.
#[derive(Clone, Debug)]
pub(crate) struct Handmade {
    contract: String,
    version: String,
    world: &'static str,
    manifest: String,
    body: Vec<u8>,
    describe: String,
    format: String,
    interpret: Option<String>,
    digest: Option<String>,
    /// The module's imports.
    imports: String,
    /// Further fields of the module.
    more: String,
    pages: u32,
}

/// Addresses of the module's data in its memory.
const MANIFEST: usize = 1024;
const TYPE: usize = 40_000;
const BODY: usize = 40_100;
const DIGEST: usize = 800;

impl Handmade {
    /// A formatter with this name and version whose payload is this text.
    pub(crate) fn new(name: &str, version: &str, body: &str) -> Self {
        Self {
            contract: CONTRACT.into(),
            version: "1.2.0".into(),
            world: "formatter",
            manifest: format!(
                r#"{{"name":"{name}","version":"{version}","description":"Made by hand.","options_schema":{{"type":"object","properties":{{"x":{{}}}}}}}}"#
            ),
            body: body.into(),
            describe: "(i32.const 512)".into(),
            format: "(i32.const 528)".into(),
            interpret: None,
            digest: None,
            imports: String::new(),
            more: String::new(),
            pages: 2,
        }
    }

    /// Builds it from another version of the contract.
    pub(crate) fn contract(mut self, text: &str, version: &str) -> Self {
        self.contract = text.into();
        self.version = version.into();
        self
    }

    /// Sets the manifest.
    pub(crate) fn manifest(mut self, manifest: &str) -> Self {
        self.manifest = manifest.into();
        self
    }

    /// Sets the code of `describe`, which leaves the address of the result on the stack.
    pub(crate) fn describe(mut self, code: &str) -> Self {
        self.describe = code.into();
        self
    }

    /// Sets the code of `format` (the event's parameters start at local 0), which leaves the address of the result on
    /// the stack; 528 is the address of a payload.
    pub(crate) fn format(mut self, code: &str) -> Self {
        self.format = code.into();
        self
    }

    /// Adds `interpret` with this code, which leaves the address of a verdict on the stack.
    pub(crate) fn interpret(mut self, code: &str) -> Self {
        self.interpret = Some(code.into());
        self.world = "two-way-formatter";
        self
    }

    /// Adds `digest` with this code (the events are at local 0, their number is local 1, the part local 2, of local 3), which
    /// leaves the address of the result on the stack.
    pub(crate) fn digest(mut self, code: &str) -> Self {
        self.digest = Some(code.into());
        self.world = "digest-formatter";
        self
    }

    /// Adds an import: interface, function name, and type.
    pub(crate) fn import(mut self, interface: &str, name: &str, of_type: &str) -> Self {
        writeln!(self.imports, r#"  (import "{interface}" "{name}" (func {of_type}))"#).expect("a string");
        self
    }

    /// Sets the payload's headers, and its body to `body_len` bytes from address `body_at` on.
    pub(crate) fn payload(self, headers: &[(&str, &str)], body_at: usize, body_len: usize) -> Self {
        let mut fields = String::new();
        let (mut list, mut at) = (Vec::new(), 50_000);
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            data(&mut fields, at, text.as_bytes());
            list.extend([at, text.len()]);
            at += text.len();
        }
        data(&mut fields, 60_000, &words(&list));
        data(&mut fields, 700, &words(&[0, TYPE, 10, 60_000, headers.len(), body_at, body_len]));
        self.with(&fields).format("(i32.const 700)")
    }

    /// Adds fields to the module.
    pub(crate) fn with(mut self, fields: &str) -> Self {
        self.more.push_str(fields);
        self
    }

    /// Sets the initial memory size, in pages.
    pub(crate) fn pages(mut self, pages: u32) -> Self {
        self.pages = pages;
        self
    }

    /// The text of the core module.
    pub(crate) fn text(&self) -> String {
        let (version, pages) = (&self.version, self.pages);
        let mut text = format!(
            r#"(module
{}  (memory (export "memory") {pages})
  (global $heap (mut i32) (i32.const 98304))
  (func $realloc (export "cabi_realloc") (param $old i32) (param $had i32) (param $align i32) (param $wants i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and
      (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get $align))))
    (global.set $heap (i32.add (local.get $at) (local.get $wants)))
    (block $fits (loop $more
      (br_if $fits (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
      (br_if $fits (i32.eq (memory.grow (i32.const 4)) (i32.const -1)))
      (br $more)))
    (local.get $at))
  (func (export "heraldry:formatter/format@{version}#describe") (result i32) {})
  (func (export "heraldry:formatter/format@{version}#format") (param i32) (result i32) {})
"#,
            self.imports, self.describe, self.format
        );
        if let Some(code) = &self.interpret {
            writeln!(
                text,
                r#"  (func (export "heraldry:formatter/interpret@{version}#interpret") (param i32 i32 i32 i32 i32) (result i32) {code})"#
            )
            .expect("a string");
        }
        if let Some(code) = &self.digest {
            let params = "(param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)";
            let export = format!("heraldry:formatter/digest@{version}#digest");
            writeln!(text, r#"  (func (export "{export}") {params} (result i32) {code})"#).expect("a string");
            // A result: ok, content type, no headers; body and unsupported events are written by the code.
            data(&mut text, DIGEST, &words(&[0, TYPE, 10, 4, 0, 0, 0, 4, 0]));
        }
        text.push_str(&self.more);
        let content_type = b"text/plain";
        // The result of `describe`, then a result of `format`: ok, content type, no headers, body.
        data(&mut text, 512, &words(&[MANIFEST, self.manifest.len()]));
        let result = [0, TYPE, content_type.len(), 4, 0, BODY, self.body.len()];
        data(&mut text, 528, &words(&result));
        data(&mut text, MANIFEST, self.manifest.as_bytes());
        data(&mut text, TYPE, content_type);
        data(&mut text, BODY, &self.body);
        text.push(')');
        text
    }

    /// The binary core module.
    pub(crate) fn core(&self) -> Vec<u8> {
        let mut module = wat::parse_str(self.text()).expect("WebAssembly text");
        let mut resolve = Resolve::default();
        let package = resolve.push_str("formatter.wit", &self.contract).expect("a contract");
        let world = resolve.select_world(&[package], Some(self.world)).expect("a world");
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("metadata");
        module
    }

    /// The component built from the module.
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut encoder = ComponentEncoder::default();
        let encoder = encoder.validate(true).module(&self.core()).expect("a core module");
        encoder.encode().expect("a component")
    }
}

/// Appends a data segment.
pub(crate) fn data(text: &mut String, at: usize, bytes: &[u8]) {
    let escaped: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
    writeln!(text, "  (data (i32.const {at}) \"{escaped}\")").expect("a string");
}

/// 32-bit integers in the layout of the canonical ABI.
pub(crate) fn words(numbers: &[usize]) -> Vec<u8> {
    numbers.iter().flat_map(|number| u32::try_from(*number).expect("32 bits").to_le_bytes()).collect()
}

/// Code of `format` that runs `then` on an event that contains the word `Boom`, which no sample does. Needs the locals
/// `$at` and `$end`.
pub(crate) fn on_the_word(then: &str) -> String {
    // The event's JSON is the fourth string of the parameters: its address at 24, its length at 28.
    format!(
        r"(local.set $at (i32.load offset=24 (local.get 0)))
        (local.set $end (i32.sub (i32.add (local.get $at) (i32.load offset=28 (local.get 0))) (i32.const 4)))
        (block $none (loop $next
          (br_if $none (i32.gt_u (local.get $at) (local.get $end)))
          (if (i32.eq (i32.load align=1 (local.get $at)) (i32.const 0x6d6f6f42)) (then {then}))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br $next)))"
    )
}

/// Code of `digest` whose message is the part, `1/2` for instance, and the events' ids, a line each. `also` runs before it
/// returns.
pub(crate) fn lists_ids(also: &str) -> String {
    format!(
        r"(local $at i32) (local $left i32) (local $body i32)
        (local.set $body (call $realloc (i32.const 0) (i32.const 0) (i32.const 1)
          (i32.add (i32.const 4) (i32.mul (local.get 1) (i32.const 37)))))
        (i32.store8 (local.get $body) (i32.add (local.get 2) (i32.const 48)))
        (i32.store8 offset=1 (local.get $body) (i32.const 47))
        (i32.store8 offset=2 (local.get $body) (i32.add (local.get 3) (i32.const 48)))
        (i32.store8 offset=3 (local.get $body) (i32.const 10))
        (local.set $at (i32.add (local.get $body) (i32.const 4)))
        (local.set $left (local.get 1))
        (block $done (loop $next
          (br_if $done (i32.eqz (local.get $left)))
          (memory.copy (local.get $at) (i32.load (local.get 0)) (i32.const 36))
          (i32.store8 offset=36 (local.get $at) (i32.const 10))
          (local.set $at (i32.add (local.get $at) (i32.const 37)))
          (local.set 0 (i32.add (local.get 0) (i32.const 32)))
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br $next)))
        (i32.store (i32.const {body}) (local.get $body))
        (i32.store (i32.const {length}) (i32.sub (local.get $at) (local.get $body)))
        {also} (i32.const {DIGEST})",
        body = DIGEST + 20,
        length = DIGEST + 24,
    )
}

/// Code that names the first event as unsupported when there are so many.
pub(crate) fn without_the_first_of(count: usize) -> String {
    let (place, list, length) = (DIGEST + 36, DIGEST + 28, DIGEST + 32);
    format!(
        r"(if (i32.eq (local.get 1) (i32.const {count})) (then
          (i32.store (i32.const {place}) (i32.const 0))
          (i32.store (i32.const {list}) (i32.const {place}))
          (i32.store (i32.const {length}) (i32.const 1))))"
    )
}

/// Code that runs `each` so many times. Needs the local `$left`.
pub(crate) fn turns(count: u32, each: &str) -> String {
    format!(
        r"(local.set $left (i32.const {count}))
        (loop $next {each} (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))"
    )
}

/// Code that loops forever.
pub(crate) const LOOP: &str = "(loop (br 0)) (unreachable)";
