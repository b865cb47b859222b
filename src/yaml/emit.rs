//! Values become YAML, laid out as kubectl prints it, keys in their own order.

use std::fmt::Write as _;

use serde_json::{Map, Number, Value};

/// Longest key in bytes that stands in front of its colon; readers give up on one past 1024.
const MAX_SIMPLE_KEY: usize = 1000;

/// Writes one document in block style, ended by a newline, without a `---` line.
///
/// A string that any reader of YAML 1.1 or 1.2 would take for something else is quoted, and so is
/// every character that one of them would change or that a terminal would not show.
#[must_use]
pub fn to_string(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => write_map(&mut out, map, 0, false),
        Value::Array(items) if !items.is_empty() => write_list(&mut out, items, 0, false),
        // A block scalar at the root is indented by rules of its own: quoted instead.
        Value::String(text) => {
            write_flow_string(&mut out, text);
            out.push('\n');
        }
        other => {
            write_scalar(&mut out, other, 0);
            out.push('\n');
        }
    }
    out
}

/// `inline`: the first line has been started already, behind a `- `.
fn write_map(out: &mut String, map: &Map<String, Value>, indent: usize, inline: bool) {
    for (index, (key, value)) in map.iter().enumerate() {
        if index > 0 || !inline {
            pad(out, indent);
        }
        let start = out.len();
        write_flow_string(out, key);
        if out.len() - start > MAX_SIMPLE_KEY {
            out.insert_str(start, "? ");
            out.push('\n');
            pad(out, indent);
        }
        out.push(':');
        match value {
            Value::Object(map) if !map.is_empty() => {
                out.push('\n');
                write_map(out, map, indent + 2, false);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                write_list(out, items, indent, false);
            }
            scalar => {
                out.push(' ');
                write_scalar(out, scalar, indent + 2);
                out.push('\n');
            }
        }
    }
}

fn write_list(out: &mut String, items: &[Value], indent: usize, inline: bool) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 || !inline {
            pad(out, indent);
        }
        out.push_str("- ");
        match item {
            Value::Object(map) if !map.is_empty() => write_map(out, map, indent + 2, true),
            Value::Array(items) if !items.is_empty() => write_list(out, items, indent + 2, true),
            scalar => {
                write_scalar(out, scalar, indent + 2);
                out.push('\n');
            }
        }
    }
}

/// A scalar or an empty collection, without its newline. `indent` is where the lines of a block
/// scalar start.
fn write_scalar(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number_text(number)),
        Value::String(text) if is_literal(text) => write_literal(out, text, indent),
        Value::String(text) => write_flow_string(out, text),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
    }
}

/// YAML 1.1 takes an exponent for one only behind a point and with a sign.
fn number_text(number: &Number) -> String {
    let text = number.to_string();
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['+', '-']) { "" } else { "+" };
    format!("{mantissa}{point}e{sign}{exponent}")
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// Whether a text keeps its meaning, and gains clarity, as a `|` block.
fn is_literal(text: &str) -> bool {
    let mut filled = text.split('\n').filter(|line| !line.is_empty());
    let starts_well = filled.next().is_some_and(|line| !line.starts_with('\t'));
    // A line of nothing but blanks is read differently at the ends of a block and inside it.
    let no_blank_lines =
        text.split('\n').all(|line| line.is_empty() || !line.trim_matches([' ', '\t']).is_empty());
    text.contains('\n')
        && starts_well
        && no_blank_lines
        && text.chars().all(|c| c == '\n' || c == '\t' || is_shown(c))
}

fn write_literal(out: &mut String, text: &str, indent: usize) {
    out.push('|');
    if text.starts_with([' ', '\n']) {
        out.push('2');
    }
    let body = if let Some(body) = text.strip_suffix('\n') {
        if body.ends_with('\n') {
            out.push('+');
        }
        body
    } else {
        out.push('-');
        text
    };
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            pad(out, indent);
            out.push_str(line);
        }
    }
}

/// A string on one line: plain where it can be, else quoted.
fn write_flow_string(out: &mut String, text: &str) {
    if !text.chars().all(is_shown) || is_ambiguous(text) {
        write_double_quoted(out, text);
    } else if is_plain(text) {
        out.push_str(text);
    } else {
        out.push('\'');
        out.push_str(&text.replace('\'', "''"));
        out.push('\'');
    }
}

fn write_double_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_shown(c) => out.push(c),
            c => write_escape(out, u32::from(c)),
        }
    }
    out.push('"');
}

fn write_escape(out: &mut String, code: u32) {
    // Writing to a string cannot fail.
    let _ = match code {
        0..=0xff => write!(out, "\\x{code:02x}"),
        0x100..=0xffff => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

/// Whether every reader takes the character as it is and every terminal shows it: no controls, no
/// line breaks of YAML 1.1 (U+0085, U+2028, U+2029), no marks that are invisible or turn text
/// around.
fn is_shown(c: char) -> bool {
    !matches!(c,
        '\0'..='\u{1f}'
        | '\u{7f}'..='\u{a0}'
        | '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{fdd0}'..='\u{fdef}'
        | '\u{feff}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{fffe}'..='\u{ffff}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a text needs no quotes for its punctuation. Only asked of what is all shown.
fn is_plain(text: &str) -> bool {
    let mut chars = text.chars();
    let starts_well = match chars.next() {
        None => false,
        // A flag: `--port=8000`. A list item has a space there.
        Some('-') => {
            !text.starts_with("---")
                && chars.next().is_some_and(|next| next == '-' || next.is_alphanumeric())
        }
        Some(first) => !" ?:,[]{}#&*!|>'\"%@`".contains(first),
    };
    starts_well
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.starts_with("...")
}

/// Whether some reader of YAML 1.1 or 1.2 takes the bare text for something else than a string.
fn is_ambiguous(text: &str) -> bool {
    const WORDS: [&str; 17] = [
        "", "~", "null", "y", "yes", "n", "no", "true", "false", "on", "off", "=", "<<", "inf",
        "nan", "infinity", "none",
    ];
    let lower = text.to_ascii_lowercase();
    let unsigned = lower.strip_prefix(['+', '-']).unwrap_or(&lower);
    let bare = unsigned.strip_prefix('.').unwrap_or(unsigned);
    if WORDS.contains(&lower.as_str()) || WORDS.contains(&bare) {
        return true;
    }
    let all = |text: &str, more: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit() || more.as_bytes().contains(&byte))
    };
    if let Some(digits) = ["0x", "0o", "0b"].iter().find_map(|prefix| unsigned.strip_prefix(prefix))
    {
        return digits.bytes().all(|byte| byte.is_ascii_hexdigit() || b"_.p+-".contains(&byte));
    }
    // Numbers of either base, with exponents, in base 60 (`1:30`), and dates without a time.
    let numeric = bare.starts_with(|c: char| c.is_ascii_digit()) && all(unsigned, "_.:e+-");
    let dated = is_date(text);
    numeric || dated
}

/// `2001-12-14`, and the same with a time behind it.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let (Some(year), Some(month), Some(day)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    year.len() == 4
        && digits(year)
        && (1..=2).contains(&month.len())
        && digits(month)
        && day.starts_with(|c: char| c.is_ascii_digit())
}
