//! Why an expression is false: the values of the event that decided, in words.

use cel::common::ast::{CallExpr, Expr, operators};
use cel::common::types::{CelBool, CelInt};
use cel::common::value::CowVal;
use cel::{Context, ExecutionError, IdedExpr, Value};

use crate::event::SEVERITIES;
use crate::{patterns, text};

/// Characters of the whole.
const SEEN_CHARS: usize = 200;
/// Values that are told.
const PARTS: usize = 4;

/// A value that decided.
struct Part {
    name: String,
    /// "is 8.1", "is absent".
    says: String,
}

/// The values that decided, in words; empty if none says why.
pub(crate) fn explain(expression: &IdedExpr, context: &Context<'_, '_>) -> String {
    let mut seen = Seen { context, parts: Vec::new() };
    seen.decided(expression);
    let parts = &seen.parts;
    let is_whole = match &expression.expr {
        Expr::Call(call) => is_comparison(call),
        _ => false,
    };
    let words = match parts.as_slice() {
        // There is nothing else that "it" could be.
        [only] if is_whole => format!("it {}", only.says),
        parts => {
            let parts: Vec<String> = parts.iter().map(|part| format!("{} {}", part.name, part.says)).collect();
            parts.join(", ")
        }
    };
    text::cut(&words, SEEN_CHARS)
}

struct Seen<'a> {
    context: &'a Context<'a, 'a>,
    parts: Vec<Part>,
}

impl<'a> Seen<'a> {
    fn value(&self, part: &'a IdedExpr) -> Result<CowVal<'a, 'a>, ExecutionError> {
        Value::resolve_val(part, self.context)
    }

    fn bool(&self, part: &'a IdedExpr) -> Option<bool> {
        self.value(part).ok()?.downcast_ref::<CelBool>().map(|value| *value.inner())
    }

    /// Adds the values that made this part true or false, as it is.
    fn decided(&mut self, part: &'a IdedExpr) {
        if self.parts.len() >= PARTS {
            return;
        }
        match &part.expr {
            Expr::Call(call) => self.call(part, call),
            Expr::Comprehension(comprehension) => self.tell(&comprehension.iter_range),
            Expr::Select(select) if select.test => {
                let is_there = self.bool(part) == Some(true);
                let says = if is_there { "is there" } else { "is absent" };
                let name = format!("{}.{}", text::expression(&select.operand), select.field);
                self.add(name, says.to_owned());
            }
            _ => self.tell(part),
        }
    }

    fn call(&mut self, part: &'a IdedExpr, call: &'a CallExpr) {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND, [left, right]) => self.joined(part, [left, right], false),
            (operators::LOGICAL_OR, [left, right]) => self.joined(part, [left, right], true),
            (operators::LOGICAL_NOT, [only]) => self.decided(only),
            (operators::CONDITIONAL, [condition, then, otherwise]) => {
                self.decided(condition);
                self.decided(if self.bool(condition) == Some(true) { then } else { otherwise });
            }
            _ if is_comparison(call) => {
                call.target.iter().map(|target| &**target).chain(&call.args).for_each(|side| self.tell(side));
            }
            _ => self.tell(part),
        }
    }

    /// Two parts, joined by `&&` or `||`: one of them decides if it is `decisive`, else both do.
    fn joined(&mut self, whole: &'a IdedExpr, sides: [&'a IdedExpr; 2], decisive: bool) {
        if self.bool(whole) == Some(decisive)
            && let Some(one) = sides.into_iter().find(|side| self.bool(side) == Some(decisive))
        {
            return self.decided(one);
        }
        sides.into_iter().for_each(|side| self.decided(side));
    }

    /// Adds the value of a part, unless it is written in the expression.
    fn tell(&mut self, part: &'a IdedExpr) {
        if is_written(part) {
            return;
        }
        let says = match self.value(part) {
            Ok(value) => format!("is {}", self.words(part, &value)),
            Err(ExecutionError::NoSuchKey(_)) => "is absent".to_owned(),
            Err(_) => return,
        };
        self.add(text::expression(part), says);
    }

    fn words(&self, part: &IdedExpr, value: &CowVal<'_, '_>) -> String {
        let is_severity = matches!(&part.expr, Expr::Ident(name) if name == "severity");
        match value.downcast_ref::<CelInt>() {
            Some(number) if is_severity => {
                let name = usize::try_from(*number.inner()).ok().and_then(|index| SEVERITIES.get(index));
                name.map_or_else(|| format!("{} (none)", number.inner()), |name| (*name).to_owned())
            }
            _ => text::value(value.as_ref()),
        }
    }

    fn add(&mut self, name: String, says: String) {
        if self.parts.len() < PARTS && !self.parts.iter().any(|part| part.name == name) {
            self.parts.push(Part { name, says });
        }
    }
}

/// A call that compares values: an operator, or a function such as `startsWith` on one.
fn is_comparison(call: &CallExpr) -> bool {
    let operator = [
        operators::EQUALS,
        operators::NOT_EQUALS,
        operators::LESS,
        operators::LESS_EQUALS,
        operators::GREATER,
        operators::GREATER_EQUALS,
        operators::IN,
    ];
    let function: [&str; 6] = ["contains", "startsWith", "endsWith", "matches", patterns::MATCHES, "hasValue"];
    operator.contains(&call.func_name.as_str()) || function.contains(&call.func_name.as_str())
}

/// True for what has the same value on every event.
fn is_written(part: &IdedExpr) -> bool {
    match &part.expr {
        Expr::Literal(_) | Expr::Unspecified => true,
        Expr::Ident(name) => SEVERITIES.contains(&name.as_str()),
        Expr::List(list) => list.elements.iter().all(is_written),
        Expr::Map(_) | Expr::Struct(_) => true,
        Expr::Call(call) => call.target.is_none() && !call.args.is_empty() && call.args.iter().all(is_written),
        Expr::Select(_) | Expr::Comprehension(_) => false,
    }
}
