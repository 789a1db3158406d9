//! Filter expressions (CEL): checked when a webhook is saved, judged when an event is accepted.
//!
//! The evaluator is a sandboxed component (`host/evaluator`), so that a budget in instructions bounds each expression on
//! each event, the same on every machine. [`judge`] keeps to the budgets in one thread's instance; [`threads`] are the
//! evaluator's own, apart from the store's writer, the API and deliveries. They start with the first expression.

mod failures;
mod judge;
mod threads;

#[cfg(test)]
pub(crate) mod tests;

pub use crate::formatter::ExpressionFault;
pub use failures::Failures;
pub use judge::Words;
pub use threads::{Expressions, Question};
