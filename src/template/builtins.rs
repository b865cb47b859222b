//! The functions Go itself gives a template, except `and` and `or`, which the evaluator handles.

use super::escape;
use super::format::{self, Printer};
use super::value::{IntType, Value};

/// The functions a template can call without any being given.
pub(super) const NAMES: &[&str] = &[
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or",
    "print", "printf", "println", "slice", "urlquery",
];

/// Why a call gave no value.
#[derive(Debug)]
pub(super) enum Refusal {
    Failed(String),
    Limit(String),
}

type Outcome<T> = Result<T, Refusal>;

/// Checks how many arguments the builtin `name` is given; other functions check their own.
pub(super) fn check_count(name: &str, given: usize) -> Result<(), String> {
    let (least, most) = match name {
        "len" | "not" => (1, Some(1)),
        "ge" | "gt" | "le" | "lt" | "ne" => (2, Some(2)),
        "eq" => (2, None),
        "and" | "call" | "index" | "or" | "printf" | "slice" => (1, None),
        _ => (0, None),
    };
    if given >= least && most.is_none_or(|most| given <= most) {
        return Ok(());
    }
    let at_least = if most.is_none() { "at least " } else { "" };
    let plural = if least == 1 { "" } else { "s" };
    Err(format!("{name} takes {at_least}{least} argument{plural}, not {given}"))
}

/// Calls the builtin `name`; `None` when there is none.
pub(super) fn call<'a>(name: &str, args: &[Value<'a>]) -> Option<Outcome<Value<'a>>> {
    let (first, rest) = match args.split_first() {
        Some((first, rest)) => (first, rest),
        None => (&Value::Nil, args),
    };
    let second = rest.first().unwrap_or(&Value::Nil);
    Some(match name {
        "call" => failed("only functions by name can be called in a configuration"),
        "eq" => eq(first, rest).map(Value::Bool),
        "ne" => eq(first, rest).map(|equal| Value::Bool(!equal)),
        "lt" => less(first, second).map(Value::Bool),
        "le" => less_or_equal(first, second).map(Value::Bool),
        "gt" => less_or_equal(first, second).map(|le| Value::Bool(!le)),
        "ge" => less(first, second).map(|lt| Value::Bool(!lt)),
        "html" => text_of(args).map(|t| Value::text(escape::html(&t))),
        "js" => text_of(args).map(|t| Value::text(escape::js(&t))),
        "urlquery" => text_of(args).map(|t| Value::text(escape::url_query(&t))),
        "index" => index(first, rest),
        "len" => length(first),
        "not" => Ok(Value::Bool(!first.truth())),
        "print" => printed(|printer| printer.print(args)),
        "println" => printed(|printer| printer.println(args)),
        "printf" => match first.pointee() {
            Value::Str(layout) => printed(|printer| format::printf(printer, layout, rest)),
            other => failed(format!(
                "the first argument is the format, a string, not {}",
                other.describe()
            )),
        },
        "slice" => slice(first, rest),
        _ => return None,
    })
}

/// The text an action writes for its value.
pub(super) fn display(value: &Value<'_>) -> Result<Vec<u8>, String> {
    match value.pointee() {
        Value::Nil => Ok(NO_VALUE.to_vec()),
        Value::Str(s) => Ok(s.to_vec()),
        other => {
            let mut printer = Printer::default();
            printer.print(std::slice::from_ref(other));
            printer.finish().map_err(|failure| failure.to_string())
        }
    }
}

const NO_VALUE: &[u8] = b"<no value>";

fn failed<T>(message: impl Into<String>) -> Outcome<T> {
    Err(Refusal::Failed(message.into()))
}

fn printed<'a>(write: impl FnOnce(&mut Printer)) -> Outcome<Value<'a>> {
    let mut printer = Printer::default();
    write(&mut printer);
    finish(printer).map(Value::text)
}

fn finish(printer: Printer) -> Outcome<Vec<u8>> {
    printer.finish().map_err(|failure| match failure {
        format::Failure::Address => Refusal::Failed(failure.to_string()),
        format::Failure::TooLong | format::Failure::TooDeep => Refusal::Limit(failure.to_string()),
    })
}

/// The arguments of an escaping function as one text.
fn text_of(args: &[Value<'_>]) -> Outcome<Vec<u8>> {
    let args: Vec<Value<'_>> = args
        .iter()
        .map(|arg| match arg.pointee() {
            Value::Nil => Value::text(NO_VALUE.to_vec()),
            other => other.clone(),
        })
        .collect();
    let mut printer = Printer::default();
    printer.print(&args);
    finish(printer)
}

fn length<'a>(item: &Value<'a>) -> Outcome<Value<'a>> {
    match item.pointee() {
        Value::Str(s) => Ok(Value::count(s.len())),
        Value::List(list) => Ok(Value::count(list.len())),
        Value::Map(map) => Ok(Value::count(map.fields().len())),
        other => failed(format!("{} has no length", other.describe())),
    }
}

fn index<'a>(item: &Value<'a>, indexes: &[Value<'a>]) -> Outcome<Value<'a>> {
    if matches!(item.pointee(), Value::Nil) {
        return failed("nil has no items");
    }
    let mut item = item.clone();
    for index in indexes {
        item = match item.pointee() {
            Value::Str(s) => {
                let at = position(index, s.len())?;
                match s.get(at) {
                    Some(byte) => Value::Int((*byte).into(), IntType::Uint8),
                    None => return out_of_range(at, s.len()),
                }
            }
            Value::List(list) => {
                let at = position(index, list.len())?;
                match list.at(at) {
                    Some(value) => value,
                    None => return out_of_range(at, list.len()),
                }
            }
            Value::Map(map) => match index.pointee() {
                // As in Go, a missing key gives nil here, and an error after a dot only. Keys
                // are text, so bytes that are not can be no key.
                Value::Str(key) => {
                    std::str::from_utf8(key).ok().and_then(|key| map.at(key)).unwrap_or(Value::Nil)
                }
                other => {
                    return failed(format!("a map's key is a string, not {}", other.describe()));
                }
            },
            other => return failed(format!("{} has no items", other.describe())),
        };
    }
    Ok(item)
}

fn out_of_range<T>(at: usize, length: usize) -> Outcome<T> {
    failed(format!("{at} is out of range: there are {length} items, from 0"))
}

fn slice<'a>(item: &Value<'a>, indexes: &[Value<'a>]) -> Outcome<Value<'a>> {
    let (length, capacity) = match item.pointee() {
        Value::Str(s) if indexes.len() < 3 => (s.len(), s.len()),
        Value::Str(_) => return failed("a string takes two positions at most"),
        Value::List(list) if indexes.len() <= 3 => (list.len(), list.capacity()),
        Value::List(_) => return failed("a list takes three positions at most"),
        other => return failed(format!("{} cannot be cut", other.describe())),
    };
    let mut bounds = Vec::with_capacity(indexes.len());
    for index in indexes {
        bounds.push(position(index, capacity)?);
    }
    let start = bounds.first().copied().unwrap_or(0);
    let end = bounds.get(1).copied().unwrap_or(length);
    let limit = bounds.get(2).copied().unwrap_or(capacity);
    if start > end || end > limit {
        return failed(format!("the positions {start}, {end} and {limit} are out of order"));
    }
    Ok(match item.pointee() {
        Value::Str(s) => Value::Str(s.cut(start, end)),
        Value::List(list) => Value::List(list.cut(start, end, limit)),
        _ => Value::Nil,
    })
}

/// An index up to and with `limit`.
fn position(index: &Value<'_>, limit: usize) -> Outcome<usize> {
    match index.pointee() {
        Value::Int(at, _) => match usize::try_from(*at) {
            Ok(at) if at <= limit => Ok(at),
            _ => failed(format!("{at} is out of range: there are {limit} items, from 0")),
        },
        other => failed(format!("an index is a whole number, not {}", other.describe())),
    }
}

/// Whether `first` equals any of `others`.
fn eq(first: &Value<'_>, others: &[Value<'_>]) -> Outcome<bool> {
    let first = first.pointee();
    for other in others {
        let other = other.pointee();
        let equal = match (first, other) {
            (Value::Nil, Value::Nil) => true,
            (Value::Nil, _) | (_, Value::Nil) => false,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a, _), Value::Int(b, _)) => a == b,
            (Value::Str(a), Value::Str(b)) => **a == **b,
            (Value::Float(a), Value::Float(b)) => a == b,
            (Value::Complex(a, b), Value::Complex(c, d)) => a == c && b == d,
            (Value::List(_), Value::List(_)) | (Value::Map(_), Value::Map(_)) => {
                return failed(format!("{} cannot be compared", first.describe()));
            }
            _ => return incomparable(first, other),
        };
        if equal {
            return Ok(true);
        }
    }
    Ok(false)
}

fn less(a: &Value<'_>, b: &Value<'_>) -> Outcome<bool> {
    match (a.pointee(), b.pointee()) {
        (Value::Int(a, _), Value::Int(b, _)) => Ok(a < b),
        (Value::Float(a), Value::Float(b)) => Ok(a < b),
        (Value::Str(a), Value::Str(b)) => Ok(**a < **b),
        (a, b) if a.go_type() == b.go_type() => failed(format!("{} has no order", a.describe())),
        (a, b) => incomparable(a, b),
    }
}

fn less_or_equal(a: &Value<'_>, b: &Value<'_>) -> Outcome<bool> {
    Ok(less(a, b)? || eq(a, std::slice::from_ref(b))?)
}

fn incomparable<T>(a: &Value<'_>, b: &Value<'_>) -> Outcome<T> {
    failed(format!("{} and {} cannot be compared", a.describe(), b.describe()))
}
