//! Versions of the contract: components built from 1.0.0 load forever, newer ones are recognised, and a prototype of
//! serving a changed record beside the first.

use serde_json::json;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Engine, Store};

use crate::support::component::{FIRST_CONTRACT, SECOND_CONTRACT};
use crate::support::{Destination, Handmade, Host, events};

#[tokio::test]
async fn a_component_of_the_first_contract_is_loaded_and_used() {
    assert!(FIRST_CONTRACT.contains("package heraldry:formatter@1.0.0;"), "the fixture is not the first contract");
    let host = Host::start().await;
    let admin = host.admin();
    let old = Handmade::new("old", "0.9.0", "from the first days").contract(FIRST_CONTRACT, "1.0.0").build();
    admin.install("old", &old).await.expect(201);
    let destination = Destination::start().await;
    admin.webhook(&destination.url("/"), json!({"format": "old"})).await;
    let id = admin.event(&events::finding("x", "low")).await;
    assert_eq!(admin.settled(&id).await[0]["status"], "delivered");
    assert_eq!(destination.wait_for(1).await[0].text(), "from the first days");
    assert_eq!(admin.formatter("old").await["interprets"], false);
}

/// Code of `format` that breaks off on a type that begins with `webh`, as those of host events about webhooks do.
pub(crate) const FAILS_ON_WEBHOOKS: &str = "(if (i32.eq (i32.load align=1 (i32.load offset=8 (local.get 0))) (i32.const 0x68626577)) \
                                 (then (unreachable))) (i32.const 528)";

#[tokio::test]
async fn a_component_that_fails_on_types_newer_than_its_contract_is_warned_of_and_used() {
    assert!(SECOND_CONTRACT.contains("package heraldry:formatter@1.1.0;"), "the fixture is not the second contract");
    let host = Host::start().await;
    let admin = host.admin();
    for (name, contract, version) in [("first", FIRST_CONTRACT, "1.0.0"), ("second", SECOND_CONTRACT, "1.1.0")] {
        let old = Handmade::new(name, "0.9.0", "as ever").contract(contract, version).format(FAILS_ON_WEBHOOKS).build();
        let info = admin.install(name, &old).await.expect(201).json();
        let warning = &info["warnings"][0];
        assert_eq!(
            (&warning["code"], info["warnings"].as_array().map(Vec::len)),
            (&json!("newer_event_failed"), Some(1))
        );
        let message = warning["message"].as_str().expect("a sentence");
        assert!(message.contains(&format!("after contract {version} (webhook_disabled--long")), "{message}");
        assert!(warning["fix"].as_str().is_some_and(|fix| fix.contains("unsupported-event")), "{warning}");
    }
    // One of the newest contract has to know them.
    let new = Handmade::new("new", "0.9.0", "x").format(FAILS_ON_WEBHOOKS).build();
    let rejected = admin.install("new", &new).await;
    rejected.problem(422, "sample_failed");
    assert!(rejected.text().contains("webhook_disabled"), "{rejected}");

    let destination = Destination::start().await;
    admin.webhook(&destination.url("/"), json!({"format": "second"})).await;
    let id = admin.event(&events::finding("x", "low")).await;
    assert_eq!(admin.settled(&id).await[0]["status"], "delivered");
    // The warning outlives the check that found it.
    let host = host.restart().await;
    let info = host.admin().formatter("second").await;
    assert_eq!((&info["state"], &info["warnings"][0]["code"]), (&json!("ready"), &json!("newer_event_failed")));
}

#[tokio::test]
async fn a_component_of_a_later_minor_version_is_used_with_the_known_exports() {
    let host = Host::start().await;
    let admin = host.admin();
    let contract = include_str!("../../wit/formatter.wit").replace("formatter@1.2.0", "formatter@1.7.0");
    let newer = Handmade::new("newer", "1.0.0", "from the future").contract(&contract, "1.7.0").build();
    admin.install("newer", &newer).await.expect(201);
    let preview = json!({"event": events::minimal("report_ready")});
    let preview = admin.post("/formatters/newer/preview", &preview).await.expect(200).json();
    assert_eq!(preview["body"], "from the future");
    let next = contract.replace("formatter@1.7.0", "formatter@2.0.0");
    let next = Handmade::new("next", "1.0.0", "x").contract(&next, "2.0.0").build();
    let response = admin.install("next", &next).await;
    assert_eq!((response.status(), &response.json()["code"]), (422, &json!("contract_version")), "{response}");
    assert!(response.text().contains("too new for this host"), "{response}");
}

mod first {
    wasmtime::component::bindgen!({ path: "../wit", world: "formatter" });
}

/// A version in which the record `event` has a new field.
mod second {
    wasmtime::component::bindgen!({ path: "../tests/fixtures/wit-2.0.0", world: "formatter" });
}

use second::exports::heraldry::formatter::format as newest;

/// A loaded component in such a host. Its contract version is determined once, at loading, by the exact name of its
/// export. All other code uses the newest types only.
enum Linked {
    First(first::FormatterPre<Silent>),
    Second(second::FormatterPre<Silent>),
}

struct Silent;

impl first::heraldry::formatter::log::Host for Silent {
    fn log(&mut self, _: first::heraldry::formatter::log::Level, _: String) {}
}

impl second::heraldry::formatter::log::Host for Silent {
    fn log(&mut self, _: second::heraldry::formatter::log::Level, _: String) {}
}

impl Linked {
    fn load(engine: &Engine, bytes: &[u8]) -> Self {
        let component = Component::from_binary(engine, bytes).expect("a component");
        let exports: Vec<String> =
            component.component_type().exports(engine).map(|(name, _)| name.to_owned()).collect();
        let mut linker = Linker::new(engine);
        first::heraldry::formatter::log::add_to_linker::<_, HasSelf<Silent>>(&mut linker, |host| host).expect("log");
        second::heraldry::formatter::log::add_to_linker::<_, HasSelf<Silent>>(&mut linker, |host| host).expect("log");
        let linked = linker.instantiate_pre(&component).expect("it imports nothing else");
        if exports.iter().any(|name| name.starts_with("heraldry:formatter/format@2.")) {
            Self::Second(second::FormatterPre::new(linked).expect("the second contract"))
        } else {
            Self::First(first::FormatterPre::new(linked).expect("the first contract"))
        }
    }

    fn format(&self, engine: &Engine, event: &newest::Event) -> Result<newest::Payload, String> {
        let mut store = Store::new(engine, Silent);
        match self {
            Self::Second(linked) => {
                let formatter = linked.instantiate(&mut store).expect("an instance");
                let context = newest::Context {
                    transport: "http".into(),
                    max_bytes: None,
                    host_name: "h".into(),
                    product_version: "2.0.0".into(),
                };
                let format = formatter.heraldry_formatter_format();
                let result =
                    format.call_format(&mut store, event, &context, "{}").map_err(|error| error.to_string())?;
                result.map_err(|error| format!("{error:?}"))
            }
            Self::First(linked) => {
                use first::exports::heraldry::formatter::format as oldest;
                let formatter = linked.instantiate(&mut store).expect("an instance");
                // Event: the field that the old record does not have is left out. Payload: unchanged.
                let older = oldest::Event {
                    id: event.id.clone(),
                    type_: event.type_.clone(),
                    occurred_at: event.occurred_at.clone(),
                    json: event.json.clone(),
                };
                let context = oldest::Context {
                    transport: "http".into(),
                    max_bytes: None,
                    host_name: "h".into(),
                    product_version: "2.0.0".into(),
                };
                let format = formatter.heraldry_formatter_format();
                let result =
                    format.call_format(&mut store, &older, &context, "{}").map_err(|error| error.to_string())?;
                let payload = result.map_err(|error| format!("{error:?}"))?;
                let header = |given: oldest::Header| newest::Header { name: given.name, value: given.value };
                Ok(newest::Payload {
                    content_type: payload.content_type,
                    headers: payload.headers.into_iter().map(header).collect(),
                    body: payload.body,
                })
            }
        }
    }
}

#[test]
fn a_changed_record_is_served_beside_the_first_and_converted_to_the_newest() {
    let engine = Engine::default();
    let old = Handmade::new("old", "1.0.0", "first").contract(FIRST_CONTRACT, "1.0.0").build();
    // Requires the field that only the second contract has: an option's tag behind four strings.
    let insists = "(if (i32.eqz (i32.load8_u offset=32 (local.get 0))) (then (unreachable))) (i32.const 528)";
    let contract = include_str!("../fixtures/wit-2.0.0/formatter.wit");
    let new = Handmade::new("new", "1.0.0", "second").contract(contract, "2.0.0").format(insists).build();
    let event = newest::Event {
        id: "1".into(),
        type_: "finding_added".into(),
        occurred_at: "2026-11-17T10:12:45.120Z".into(),
        json: "{}".into(),
        severity: Some("high".into()),
    };
    for (bytes, body) in [(old, "first"), (new.clone(), "second")] {
        let payload = Linked::load(&engine, &bytes).format(&engine, &event).expect("a payload");
        assert_eq!(payload.body, body.as_bytes());
    }
    // The field really arrives: without it the second component traps.
    let without = newest::Event { severity: None, ..event };
    assert!(Linked::load(&engine, &new).format(&engine, &without).is_err());
}
