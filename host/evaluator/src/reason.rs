//! Why an expression has no verdict on an event, in words.

use cel::common::types::Kind;
use cel::common::value::Val;
use cel::{ExecutionError, Value};

use crate::{patterns, text};

/// What has no counterpart among the crate's own values.
const OTHER: &str = "null or an object";
/// Characters of a reason.
const REASON_CHARS: usize = 200;

/// The reason for a value that is neither true nor false.
pub(crate) fn not_bool(value: &dyn Val) -> String {
    format!("it is {}, neither true nor false", text::a_type(value.get_type().kind()))
}

/// The reason for an error. The crate's own texts show whole values.
pub(crate) fn words(error: &ExecutionError) -> String {
    let words = match error {
        ExecutionError::NoSuchKey(name) => {
            format!("there is no member {name} (test it with has())")
        }
        ExecutionError::UndeclaredReference(name) => format!("{name} is not known"),
        ExecutionError::NoSuchOverload(overload) => {
            let types: Vec<&str> = overload.argument_types().iter().map(String::as_str).collect();
            not_for(overload.function(), &types)
        }
        ExecutionError::UnexpectedType { got, want } if want == "iterable" => {
            format!("{} cannot be gone through", article(got))
        }
        ExecutionError::UnexpectedType { got, want } => format!("it has {} where {want} is expected", article(got)),
        ExecutionError::UnsupportedBinaryOperator(name, left, right) => not_for(name, &[type_of(left), type_of(right)]),
        ExecutionError::ValuesNotComparable(left, right) => {
            format!("{} cannot be compared with {}", article(type_of(left)), article(type_of(right)))
        }
        ExecutionError::FunctionError { function, message } => format!("{function}: {message}"),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "it divides by zero".to_owned(),
        ExecutionError::Overflow(..) => "a number is beyond the range of its type".to_owned(),
        ExecutionError::IndexOutOfBounds(Value::Int(index)) => format!("the list has no element {index}"),
        ExecutionError::IndexOutOfBounds(_) => "the list has no such element".to_owned(),
        ExecutionError::UnsupportedKeyType(key) => format!("{} cannot be a key", article(type_of(key))),
        ExecutionError::UnsupportedIndex(index, _) => format!("{} cannot be an index", article(type_of(index))),
        ExecutionError::InvalidArgumentCount { expected, actual } => {
            format!("a function has {actual} arguments and takes {expected}")
        }
        other => other.to_string(),
    };
    text::cut(&words, REASON_CHARS)
}

fn not_for(function: &str, types: &[&str]) -> String {
    if let ("_._", Some(first)) = (function, types.first()) {
        return format!("{} has no members", article(first));
    }
    let name = text::operator(function).unwrap_or(function.trim_start_matches('@'));
    // The number of a pattern is not what was written.
    let types = if function == patterns::MATCHES { &types[..1] } else { types };
    let types: Vec<String> = types.iter().map(|name| article(name)).collect();
    format!("{name} does not work on {}", types.join(" and "))
}

fn article(name: &str) -> String {
    match name {
        "null_type" => "null".to_owned(),
        "map" => text::a_type(Kind::Map).to_owned(),
        "bytes" | OTHER => name.to_owned(),
        _ if name.starts_with(['a', 'e', 'i', 'o']) => format!("an {name}"),
        _ => format!("a {name}"),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::List(_) => "list",
        Value::Map(_) => "map",
        Value::Int(_) => "int",
        Value::UInt(_) => "uint",
        Value::Float(_) => "double",
        Value::String(_) => "string",
        Value::Bytes(_) => "bytes",
        Value::Bool(_) => "bool",
        _ => OTHER,
    }
}
