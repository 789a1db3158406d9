//! The check of a filter's expression.

use crate::api::state::Shared;
use crate::filter::ExpressionFault;
use crate::json::fault::Faults;

/// Checks an expression in CEL: how it is written, and the names in it.
pub(super) async fn check(api: &Shared, expression: &str, faults: &mut Faults) {
    for fault in api.expressions.check(expression).await.err().into_iter().flatten() {
        let ExpressionFault { line, column, message } = fault;
        faults.add("/filter/expression", "invalid_expression", format!("line {line}, column {column}: {message}"));
    }
}
