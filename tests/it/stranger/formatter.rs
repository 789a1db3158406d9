//! A formatter by somebody who has `formatter.wit` and nothing else of Heraldry's.
//!
//! The option `mood` makes it misbehave when it is used; the features make it one that is not even loaded.

#[cfg(not(any(feature = "foreign-import", feature = "next-contract")))]
wit_bindgen::generate!({ path: "wit", world: "formatter" });
#[cfg(feature = "foreign-import")]
wit_bindgen::generate!({ path: "wit-foreign-import", world: "formatter", generate_all });
#[cfg(feature = "next-contract")]
wit_bindgen::generate!({ path: "wit-next-contract", world: "formatter" });

use exports::heraldry::formatter::format::{Context, Error, Event, Guest, Header, Payload, Problem};
use heraldry::formatter::log::{log, Level};

struct Stranger;

const NAME: &str = if cfg!(feature = "reserved-name") { "json" } else { "stranger" };

impl Guest for Stranger {
    fn describe() -> String {
        if cfg!(feature = "describe-loops") {
            spin();
        }
        let moods = MOODS.map(|mood| format!("\"{mood}\"")).join(",");
        format!(
            r#"{{"name":"{NAME}","version":"0.3.1","title":"Stranger","kind":"line","description":"Somebody else's format.",
            "options_schema":{{"type":"object","properties":{{"mood":{{"enum":[{moods}]}}}},"additionalProperties":false}}}}"#
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
        let mut headers = vec![header("X-Stranger", "formatter"), header("X-Contested", "formatter")];
        let mut body = format!("{}|{}|{}|{}", event.type_, event.id, context.transport, context.product_version).into_bytes();
        match MOODS.iter().find(|mood| options.contains(&format!("\"{mood}\""))).copied().unwrap_or_default() {
            "loops" => spin(),
            "hoards" => hoard(),
            "panics" => panic!("in a mood"),
            "recurses" => body.push(recurse(body.len())),
            "forges" => headers.push(header("X-Webhook-Signature", "sha256=00")),
            "frames" => headers.push(header("Content-Length", "1")),
            "splits" => headers.push(header("X-Split", "a\r\nX-Evil: 1")),
            "shouts" => headers.extend((0..40).map(|n| header(&format!("X-Header-{n}"), "x"))),
            "gushes" => body = vec![b'x'; 2 * 1024 * 1024],
            "complains" => return Err(Error::Internal("the moon is in the wrong phase".into())),
            "refuses" => {
                let problem = Problem { pointer: "/data".into(), message: "not to my taste".into() };
                return Err(Error::InvalidEvent(vec![problem]));
            }
            "mumbles" => body = vec![0xff, 0xfe, 0x00, 0x80],
            "hushes" => body = Vec::new(),
            _ => {}
        }
        Ok(Payload { content_type: "text/x-stranger; charset=utf-8".into(), headers, body })
    }
}

const MOODS: [&str; 13] = [
    "loops", "hoards", "panics", "recurses", "forges", "frames", "splits", "shouts", "gushes", "complains", "refuses",
    "mumbles", "hushes",
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

fn hoard() {
    let mut hoarded = Vec::new();
    loop {
        hoarded.push(std::hint::black_box(vec![1u8; 1024 * 1024]));
    }
}

fn recurse(depth: usize) -> u8 {
    let frame = std::hint::black_box([depth as u8; 256]);
    if depth == 0 {
        return frame[0];
    }
    recurse(std::hint::black_box(depth + 1)).wrapping_add(frame[7])
}

export!(Stranger);
