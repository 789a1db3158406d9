//! Texts for people: values and parts of expressions, cut to a length.

use cel::IdedExpr;
use cel::common::ast::{Expr, LiteralValue, operators};
use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelString, CelUInt, Kind};
use cel::common::value::Val;

use crate::patterns;

/// Characters of a value, or of a part of an expression.
const PART_CHARS: usize = 60;

/// Cuts a text to so many characters.
pub(crate) fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some(_) => text.chars().take(chars - 1).chain(['…']).collect(),
    }
}

/// A value in words.
pub(crate) fn value(value: &dyn Val) -> String {
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        return quoted(text.inner());
    }
    if let Some(int) = value.downcast_ref::<CelInt>() {
        return int.inner().to_string();
    }
    if let Some(uint) = value.downcast_ref::<CelUInt>() {
        return uint.inner().to_string();
    }
    if let Some(double) = value.downcast_ref::<CelDouble>() {
        // As in an expression: 8.0 is not 8 to those who read `== 8`.
        return format!("{:?}", double.inner());
    }
    if let Some(bool) = value.downcast_ref::<CelBool>() {
        return bool.inner().to_string();
    }
    if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        return match list.inner().len() {
            0 => "an empty list".to_owned(),
            1 => "a list of 1 element".to_owned(),
            many => format!("a list of {many} elements"),
        };
    }
    match value.get_type().kind() {
        Kind::Map if value.as_sizer().is_some_and(|sizer| *sizer.size().inner() == 0) => "an empty object".to_owned(),
        kind => a_type(kind).to_owned(),
    }
}

/// A type in words, with its article.
pub(crate) fn a_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Boolean => "a bool",
        Kind::Int => "an int",
        Kind::UInt => "a uint",
        Kind::Double => "a double",
        Kind::String => "a string",
        Kind::Bytes => "bytes",
        Kind::NullType => "null",
        Kind::List => "a list",
        Kind::Map => "an object",
        Kind::Type => "a type",
        _ => "a value of another type",
    }
}

/// A string as in JSON, cut.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for char in cut(text, PART_CHARS).chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            // Neither lines nor directions of the text around it are changed by a value.
            char if char.is_control() || is_invisible(char) => quoted.push('\u{FFFD}'),
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

/// Characters that are not seen and change how others are shown.
fn is_invisible(char: char) -> bool {
    matches!(char, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
}

/// A part of an expression, as it may have been written, cut.
pub(crate) fn expression(part: &IdedExpr) -> String {
    let mut text = String::new();
    write(part, &mut text);
    cut(&text, PART_CHARS)
}

fn write(part: &IdedExpr, text: &mut String) {
    if text.len() > 4 * PART_CHARS {
        return;
    }
    match &part.expr {
        Expr::Ident(name) => text.push_str(name),
        Expr::Select(select) => {
            if select.test {
                text.push_str("has(");
            }
            write(&select.operand, text);
            text.push('.');
            text.push_str(&select.field);
            if select.test {
                text.push(')');
            }
        }
        Expr::Literal(literal) => text.push_str(&self::literal(literal)),
        Expr::List(list) => {
            text.push('[');
            write_list(&list.elements, text);
            text.push(']');
        }
        Expr::Call(call) => match (&call.target, call.args.as_slice()) {
            (None, [left, right]) if call.func_name == operators::INDEX => {
                write(left, text);
                text.push('[');
                write(right, text);
                text.push(']');
            }
            (None, [left, right]) if call.func_name == operators::OPT_SELECT => {
                write(left, text);
                text.push_str(".?");
                match &right.expr {
                    Expr::Literal(LiteralValue::String(name)) => text.push_str(name.inner()),
                    _ => write(right, text),
                }
            }
            (None, [left, right]) if let Some(operator) = operator(&call.func_name) => {
                write(left, text);
                text.extend([" ", operator, " "]);
                write(right, text);
            }
            (None, [only]) if let Some(operator) = operator(&call.func_name) => {
                text.push_str(operator);
                write(only, text);
            }
            (target, args) => {
                if let Some(target) = target {
                    write(target, text);
                    text.push('.');
                }
                if call.func_name == patterns::MATCHES {
                    text.push_str("matches(…)");
                    return;
                }
                text.push_str(&call.func_name);
                text.push('(');
                write_list(args, text);
                text.push(')');
            }
        },
        Expr::Comprehension(comprehension) => {
            write(&comprehension.iter_range, text);
            text.push('…');
        }
        Expr::Map(_) | Expr::Struct(_) => text.push_str("{…}"),
        Expr::Unspecified => {}
    }
}

fn write_list(parts: &[IdedExpr], text: &mut String) {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        write(part, text);
    }
}

fn literal(literal: &LiteralValue) -> String {
    let val = literal.to_val();
    match literal {
        LiteralValue::Null => "null".to_owned(),
        _ => value(val.as_ref()),
    }
}

/// An operator as it is written; `None` for the name of a function.
pub(crate) fn operator(name: &str) -> Option<&'static str> {
    Some(match name {
        operators::LOGICAL_AND => "&&",
        operators::LOGICAL_OR => "||",
        operators::LOGICAL_NOT => "!",
        operators::NEGATE | operators::SUBSTRACT => "-",
        operators::ADD => "+",
        operators::MULTIPLY => "*",
        operators::DIVIDE => "/",
        operators::MODULO => "%",
        operators::EQUALS => "==",
        operators::NOT_EQUALS => "!=",
        operators::GREATER_EQUALS => ">=",
        operators::LESS_EQUALS => "<=",
        operators::GREATER => ">",
        operators::LESS => "<",
        operators::IN => "in",
        operators::CONDITIONAL => "?:",
        operators::INDEX => "[]",
        _ => return None,
    })
}
