//! The verdicts of one thread.
//!
//! A verdict is, by definition, that of a fresh instance with the whole budget. Making an instance and reading the
//! expressions for each event would cost many times what judging does, so an instance is kept: what ends there within
//! half the budget would end in a fresh one too, since what an instance did before (where its allocator looks for free
//! memory) changes the number of instructions by a few per cent. All else is judged again in a fresh instance.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::formatter::{Evaluator, EvaluatorInstance, EventFacts, ExpressionFault, Judgement, Stopped};
use crate::model::webhook::expression::{ExpressionVerdict, Verdicts};

/// Instructions that one expression may take on one event.
pub(super) const BUDGET: u64 = 50_000_000;
/// The part of it that is given in an instance that did something before.
const KEPT_BUDGET: u64 = BUDGET / 2;
/// Instructions that reading and checking an expression may take.
const READ_BUDGET: u64 = 100_000_000;
/// Instructions that reading an event may take: several times what the largest takes.
const EVENT_BUDGET: u64 = 2_000_000_000;
/// Expressions that one instance keeps.
const KEPT_PROGRAMS: usize = 1000;
/// Memory from which an instance is given up, in bytes.
const KEPT_MEMORY: usize = 48 * 1024 * 1024;
/// Expressions that are known not to be worth an attempt in the kept instance.
const COSTLY: usize = 1000;

/// Whether the values that decided are asked for, which takes as long again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Words {
    /// The verdicts alone.
    No,
    /// With the values that made an expression false.
    Yes,
}

/// Judges events on one thread.
pub(super) struct Judge {
    evaluator: Evaluator,
    kept: Option<Kept>,
    /// Expressions that took too much in the kept instance: it is lost each time, with all that it has read.
    costly: HashSet<Arc<str>>,
}

/// An instance with what it has read.
struct Kept {
    instance: EvaluatorInstance,
    programs: HashMap<Arc<str>, Result<u32, String>>,
    /// True if it has the event that is judged.
    has_event: bool,
}

impl Judge {
    pub(super) fn new(evaluator: Evaluator) -> Self {
        Self { evaluator, kept: None, costly: HashSet::new() }
    }

    /// Reads and checks an expression.
    pub(super) fn check(&self, expression: &str) -> Result<(), Vec<ExpressionFault>> {
        let compiled = self.evaluator.instance().and_then(|mut instance| instance.compile(expression, READ_BUDGET));
        match compiled {
            Ok(compiled) => compiled.map(drop),
            Err(stopped) => {
                let message = format!("it cannot be checked: {}", words(&stopped, READ_BUDGET));
                Err(vec![ExpressionFault { line: 1, column: 1, message }])
            }
        }
    }

    /// The verdicts of these expressions on an event.
    pub(super) fn judge(&mut self, event: EventFacts<'_>, expressions: &[Arc<str>], words: Words) -> Verdicts {
        if let Some(kept) = &mut self.kept {
            kept.has_event = false;
        }
        let verdicts = expressions.iter().map(|expression| {
            let verdict = self.kept_verdict(event, expression, words);
            (Arc::clone(expression), verdict.unwrap_or_else(|| self.fresh_verdict(event, expression, words)))
        });
        let verdicts = verdicts.collect();
        self.kept.take_if(|kept| kept.is_full());
        verdicts
    }

    /// The verdict in the kept instance; `None` if it has to be made in a fresh one.
    fn kept_verdict(
        &mut self,
        event: EventFacts<'_>,
        expression: &Arc<str>,
        words: Words,
    ) -> Option<ExpressionVerdict> {
        if self.costly.contains(expression) {
            return None;
        }
        self.kept.take_if(|kept| kept.is_full());
        let kept = match &mut self.kept {
            Some(kept) => kept,
            none => none.insert(Kept::new(self.evaluator.instance().ok()?)),
        };
        if let Ok(verdict) = kept.verdict(event, expression, words) {
            return Some(verdict);
        }
        // The limit was met in the middle of something: nothing in it can be relied upon.
        self.kept = None;
        if self.costly.len() >= COSTLY {
            self.costly.clear();
        }
        self.costly.insert(Arc::clone(expression));
        None
    }

    /// The verdict in an instance of its own.
    fn fresh_verdict(&self, event: EventFacts<'_>, expression: &str, words: Words) -> ExpressionVerdict {
        let judged = self.evaluator.instance().and_then(|mut instance| {
            if !instance.set_event(event, EVENT_BUDGET)? {
                return Ok(ExpressionVerdict::Failed { reason: UNREADABLE.to_owned() });
            }
            match instance.compile(expression, READ_BUDGET)? {
                Ok(program) => {
                    let judgement = instance.evaluate(program, BUDGET)?;
                    Ok(verdict(judgement, words, || instance.explain(program, BUDGET)).0)
                }
                Err(faults) => Ok(ExpressionVerdict::Failed { reason: first(&faults) }),
            }
        });
        judged.unwrap_or_else(|stopped| ExpressionVerdict::Failed { reason: self::words(&stopped, BUDGET) })
    }
}

const UNREADABLE: &str = "the event cannot be read";

impl Kept {
    fn new(instance: EvaluatorInstance) -> Self {
        Self { instance, programs: HashMap::new(), has_event: false }
    }

    fn is_full(&self) -> bool {
        self.programs.len() >= KEPT_PROGRAMS || self.instance.memory_bytes() >= KEPT_MEMORY
    }

    fn verdict(
        &mut self,
        event: EventFacts<'_>,
        expression: &Arc<str>,
        words: Words,
    ) -> Result<ExpressionVerdict, Stopped> {
        if !self.has_event {
            if !self.instance.set_event(event, EVENT_BUDGET)? {
                return Ok(ExpressionVerdict::Failed { reason: UNREADABLE.to_owned() });
            }
            self.has_event = true;
        }
        let program = match self.programs.get(expression) {
            Some(program) => program,
            None => {
                let compiled = self.instance.compile(expression, READ_BUDGET)?;
                let compiled = compiled.map_err(|faults| first(&faults));
                self.programs.entry(Arc::clone(expression)).or_insert(compiled)
            }
        };
        let program = match program {
            Ok(program) => *program,
            Err(reason) => return Ok(ExpressionVerdict::Failed { reason: reason.clone() }),
        };
        let judgement = self.instance.evaluate(program, KEPT_BUDGET)?;
        let (verdict, stopped) = verdict(judgement, words, || self.instance.explain(program, KEPT_BUDGET));
        stopped.map_or(Ok(verdict), Err)
    }
}

/// The verdict for a judgement; with the limit that was met when the values that decided were asked for, if any.
fn verdict(
    judgement: Judgement,
    words: Words,
    explain: impl FnOnce() -> Result<String, Stopped>,
) -> (ExpressionVerdict, Option<Stopped>) {
    match judgement {
        Judgement::Holds => (ExpressionVerdict::True, None),
        Judgement::Unusable(reason) => (ExpressionVerdict::Failed { reason }, None),
        Judgement::Fails if words == Words::No => (ExpressionVerdict::False { seen: String::new() }, None),
        Judgement::Fails => match explain() {
            Ok(seen) => (ExpressionVerdict::False { seen }, None),
            // It is false all the same.
            Err(stopped) => (ExpressionVerdict::False { seen: String::new() }, Some(stopped)),
        },
    }
}

/// The reason for an expression that cannot be read. It was checked when it was saved, by this program or another one.
fn first(faults: &[ExpressionFault]) -> String {
    match faults.first() {
        Some(ExpressionFault { line, column, message }) => {
            format!("the expression is not valid: line {line}, column {column}: {message}")
        }
        None => "the expression is not valid".to_owned(),
    }
}

/// A limit in words.
fn words(stopped: &Stopped, budget: u64) -> String {
    match stopped {
        Stopped::Instructions => format!("it takes more than {} million steps", budget / 1_000_000),
        Stopped::Memory => "it takes too much memory".to_owned(),
        Stopped::Stack => "it nests too deeply".to_owned(),
        Stopped::Broken(text) => format!("the evaluator failed: {text}"),
    }
}
