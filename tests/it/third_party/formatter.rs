//! A third-party formatter, written against `formatter.wit` alone.
//!
//! The option `fault` makes a call misbehave; each feature builds a variant that the host rejects.

#[cfg(not(any(feature = "foreign-import", feature = "next-contract")))]
wit_bindgen::generate!({ path: "wit", world: "formatter" });
#[cfg(feature = "foreign-import")]
wit_bindgen::generate!({ path: "wit-foreign-import", world: "formatter", generate_all });
#[cfg(feature = "next-contract")]
wit_bindgen::generate!({ path: "wit-next-contract", world: "formatter" });

use exports::heraldry::formatter::format::{Context, Error, Event, Guest, Header, Payload, Problem};
use heraldry::formatter::log::{log, Level};

struct ThirdParty;

const NAME: &str = if cfg!(feature = "reserved-name") { "json" } else { "third-party" };

impl Guest for ThirdParty {
    fn describe() -> String {
        if cfg!(feature = "describe-loops") {
            spin();
        }
        let faults = FAULTS.map(|fault| format!("\"{fault}\"")).join(",");
        format!(
            r#"{{"name":"{NAME}","version":"0.3.1","title":"Third party","kind":"line","description":"A third-party format.",
            "options_schema":{{"type":"object","properties":{{"fault":{{"enum":[{faults}]}}}},"additionalProperties":false}}}}"#
        )
    }

    fn format(event: Event, context: Context, options: String) -> Result<Payload, Error> {
        #[cfg(feature = "foreign-import")]
        let _ = wasi::clocks::wall_clock::now();
        if cfg!(feature = "format-loops") {
            spin();
        }
        if cfg!(feature = "format-panics") {
            panic!("always");
        }
        if event.type_ == "monitor_alert" {
            return Err(Error::UnsupportedEvent(event.type_));
        }
        log(Level::Info, &format!("{} bytes", event.json.len()));
        let mut headers = vec![header("X-Third-Party", "formatter"), header("X-Contested", "formatter")];
        let mut body = format!("{}|{}|{}|{}", event.type_, event.id, context.transport, context.product_version).into_bytes();
        match FAULTS.iter().find(|fault| options.contains(&format!("\"{fault}\""))).copied().unwrap_or_default() {
            "loops" => spin(),
            "allocates" => allocate(),
            "panics" => panic!("as requested"),
            "recurses" => body.push(recurse(body.len())),
            "forges-a-signature" => headers.push(header("X-Webhook-Signature", "sha256=00")),
            "sets-content-length" => headers.push(header("Content-Length", "1")),
            "splits-a-header" => headers.push(header("X-Split", "a\r\nX-Evil: 1")),
            "too-many-headers" => headers.extend((0..40).map(|n| header(&format!("X-Header-{n}"), "x"))),
            "too-much-output" => body = vec![b'x'; 2 * 1024 * 1024],
            "internal-error" => return Err(Error::Internal("the formatter gave up on this event".into())),
            "invalid-event" => {
                let problem = Problem { pointer: "/data".into(), message: "not a supported event".into() };
                return Err(Error::InvalidEvent(vec![problem]));
            }
            "binary" => body = vec![0xff, 0xfe, 0x00, 0x80],
            "empty-body" => body = Vec::new(),
            _ => {}
        }
        Ok(Payload { content_type: "text/x-third-party; charset=utf-8".into(), headers, body })
    }
}

const FAULTS: [&str; 13] = [
    "loops", "allocates", "panics", "recurses", "forges-a-signature", "sets-content-length", "splits-a-header", "too-many-headers", "too-much-output", "internal-error", "invalid-event",
    "binary", "empty-body",
];

fn header(name: &str, value: &str) -> Header {
    Header { name: name.into(), value: value.into() }
}

fn spin() -> ! {
    let mut turns = 0u64;
    loop {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
}

fn allocate() {
    let mut blocks = Vec::new();
    loop {
        blocks.push(std::hint::black_box(vec![1u8; 1024 * 1024]));
    }
}

fn recurse(depth: usize) -> u8 {
    let frame = std::hint::black_box([depth as u8; 256]);
    if depth == 0 {
        return frame[0];
    }
    recurse(std::hint::black_box(depth + 1)).wrapping_add(frame[7])
}

export!(ThirdParty);
