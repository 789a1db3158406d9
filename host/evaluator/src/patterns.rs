//! Regular expressions that are written in an expression. Making one takes a hundred times as long as the rest of a usual
//! expression, so it is made when the expression is read, and `x.matches("…")` becomes a call with the number of it.

use std::cell::RefCell;

use cel::common::types::{CelBool, CelInt, CelString, INT_TYPE, STRING_TYPE};
use cel::common::value::CowVal;
use cel::{Env, ExecutionError};
use regex::Regex;

/// The function that takes the number of a pattern; no expression can write this name.
pub(crate) const MATCHES: &str = "@matches";

thread_local! {
    static PATTERNS: RefCell<Vec<Regex>> = const { RefCell::new(Vec::new()) };
}

/// Keeps a pattern; its number.
pub(crate) fn keep(pattern: Regex) -> i64 {
    PATTERNS.with_borrow_mut(|patterns| {
        patterns.push(pattern);
        i64::try_from(patterns.len() - 1).unwrap_or(i64::MAX)
    })
}

/// Declares the function.
pub(crate) fn declare(env: &mut Env) {
    // Nothing else has its name.
    let _ = env.add_member_overload(MATCHES, "kept_matches", STRING_TYPE, vec![INT_TYPE], matches);
}

fn matches<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let matches = match arguments.as_slice() {
        [text, number] => {
            let text = text.downcast_ref::<CelString<'_>>().map(CelString::inner);
            let number = number.downcast_ref::<CelInt>().and_then(|number| usize::try_from(*number.inner()).ok());
            text.zip(number)
                .and_then(|(text, number)| PATTERNS.with_borrow(|patterns| Some(patterns.get(number)?.is_match(text))))
        }
        _ => None,
    };
    let matches = matches.ok_or_else(|| ExecutionError::function_error("matches", "there is no such pattern"))?;
    Ok(CowVal::owned(CelBool::from(matches)))
}
