//! The verdicts of filter expressions on events.

use std::collections::HashMap;
use std::sync::Arc;

/// The verdict of one expression on one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpressionVerdict {
    /// It is true: the event passes.
    True,
    /// It is false: the event does not pass.
    False {
        /// The values that decided, in words: "it is 8.1". Empty where no value says why.
        seen: String,
    },
    /// It has no value of its own on this event, so that the event passes: an alert too many rather than one lost.
    Failed {
        /// The reason, in words.
        reason: String,
    },
}

impl ExpressionVerdict {
    /// Returns true if the event passes.
    pub fn passes(&self) -> bool {
        !matches!(self, Self::False { .. })
    }
}

/// The verdicts on one event, by the text of the expression.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdicts(HashMap<Arc<str>, ExpressionVerdict>);

impl Verdicts {
    /// The verdict of an expression; `None` if it was not evaluated on this event.
    pub fn get(&self, expression: &str) -> Option<&ExpressionVerdict> {
        self.0.get(expression)
    }

    /// Adds the verdict of an expression.
    pub fn insert(&mut self, expression: Arc<str>, verdict: ExpressionVerdict) {
        self.0.insert(expression, verdict);
    }

    /// Returns true if no expression was evaluated.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Arc<str>, ExpressionVerdict)> for Verdicts {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, ExpressionVerdict)>>(verdicts: I) -> Self {
        Self(verdicts.into_iter().collect())
    }
}
