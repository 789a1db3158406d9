//! What one instance keeps between calls: the programs, and the variables of the event that it judges.

use std::sync::Arc;

use cel::common::types::CelBool;
use cel::{Context, Env, Value, extensions};

use crate::event::EventFacts;
use crate::program::{Fault, Program};
use crate::{event, patterns, reason, seen};

/// The verdict of an expression on an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// True.
    Holds,
    /// False.
    Fails,
    /// It has no value, or none that is true or false; with the reason in words.
    Unusable(String),
}

/// Programs and variables.
pub struct Session {
    context: Context<'static, 'static>,
    programs: Vec<Program>,
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Session {
    /// A session without programs, about no event.
    pub fn new() -> Self {
        let mut context = Context::with_env(Arc::new(environment()));
        event::declare_constants(&mut context);
        Self { context, programs: Vec::new() }
    }

    /// Reads and checks an expression; its number names it from then on.
    ///
    /// # Errors
    /// What is wrong with it, with the places.
    pub fn compile(&mut self, expression: &str) -> Result<u32, Vec<Fault>> {
        let program = Program::compile(expression)?;
        self.programs.push(program);
        Ok(u32::try_from(self.programs.len() - 1).unwrap_or(u32::MAX))
    }

    /// Sets the event that is judged; false if its JSON cannot be read.
    pub fn set_event(&mut self, event: EventFacts) -> bool {
        event::declare(&mut self.context, event)
    }

    /// Judges the event.
    pub fn evaluate(&self, program: u32) -> Verdict {
        let Some(program) = self.program(program) else {
            return Verdict::Unusable("there is no such expression".to_owned());
        };
        match Value::resolve_val(&program.expression, &self.context) {
            Ok(value) => match value.downcast_ref::<CelBool>() {
                Some(holds) if *holds.inner() => Verdict::Holds,
                Some(_) => Verdict::Fails,
                None => Verdict::Unusable(reason::not_bool(value.as_ref())),
            },
            Err(error) => Verdict::Unusable(reason::words(&error)),
        }
    }

    /// The values that decided, in words; empty if none says why.
    pub fn explain(&self, program: u32) -> String {
        self.program(program).map(|program| seen::explain(&program.expression, &self.context)).unwrap_or_default()
    }

    fn program(&self, program: u32) -> Option<&Program> {
        self.programs.get(usize::try_from(program).ok()?)
    }
}

/// The functions that expressions may call: the standard ones, and those on strings.
fn environment() -> Env {
    let mut env = Env::stdlib();
    // Nothing of it is declared twice.
    let _ = env.add_extension(extensions::strings);
    patterns::declare(&mut env);
    env
}
