//! The exports of the component.

use std::cell::RefCell;

use crate::event::EventFacts;
use crate::session::{Session, Verdict};

// The generated items have no documentation of their own; it is in evaluator.wit.
#[allow(missing_docs, unreachable_pub, reason = "generated from evaluator.wit")]
mod bindings {
    wit_bindgen::generate!({ path: "evaluator.wit", world: "evaluator" });
}

use bindings::exports::heraldry::evaluator::expressions as wit;

thread_local! {
    static SESSION: RefCell<Session> = RefCell::new(Session::new());
}

struct Component;

impl wit::Guest for Component {
    fn compile(expression: String) -> Result<u32, Vec<wit::Fault>> {
        let compiled = SESSION.with_borrow_mut(|session| session.compile(&expression));
        let fault = |fault: crate::program::Fault| wit::Fault {
            line: fault.line,
            column: fault.column,
            message: fault.message,
        };
        compiled.map_err(|faults| faults.into_iter().map(fault).collect())
    }

    fn set_event(event: wit::Event) -> bool {
        let facts = EventFacts {
            event_type: event.event_type,
            id: event.id,
            occurred_at: event.occurred_at,
            severity: event.severity,
            json: event.json,
        };
        SESSION.with_borrow_mut(|session| session.set_event(facts))
    }

    fn evaluate(program: u32) -> wit::Verdict {
        match SESSION.with_borrow(|session| session.evaluate(program)) {
            Verdict::Holds => wit::Verdict::Holds,
            Verdict::Fails => wit::Verdict::Fails,
            Verdict::Unusable(reason) => wit::Verdict::Unusable(reason),
        }
    }

    fn explain(program: u32) -> String {
        SESSION.with_borrow(|session| session.explain(program))
    }
}

bindings::export!(Component with_types_in bindings);
