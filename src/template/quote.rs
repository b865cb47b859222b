//! Go's string literals, both ways, and its view of UTF-8.

use std::fmt::Write;

/// Reads one character off the front: the character, or `None` for a byte that is not UTF-8, and
/// the bytes it takes. `None` when `bytes` is empty.
pub(super) fn decode_rune(bytes: &[u8]) -> Option<(Option<char>, usize)> {
    let width = match bytes.first()? {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => 1,
    };
    let rune = bytes
        .get(..width)
        .and_then(|head| std::str::from_utf8(head).ok())
        .and_then(|head| head.chars().next());
    Some(if rune.is_some() { (rune, width) } else { (None, 1) })
}

/// The characters of `bytes` with their offsets; `None` for a byte that is not UTF-8.
pub(super) fn runes(bytes: &[u8]) -> impl Iterator<Item = (usize, Option<char>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (rune, width) = decode_rune(bytes.get(at..)?)?;
        let start = at;
        at += width;
        Some((start, rune))
    })
}

/// `bytes` with each byte that is not UTF-8 as U+FFFD, as Go converts.
pub(super) fn to_text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(
        |_| runes(bytes).map(|(_, rune)| rune.unwrap_or(char::REPLACEMENT_CHARACTER)).collect(),
        str::to_owned,
    )
}

/// Go's `strconv.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space.
pub(super) fn is_print(c: char) -> bool {
    if c.is_ascii() {
        return c == ' ' || c.is_ascii_graphic();
    }
    // Rust escapes what is not printable by the same definition. The letter in front keeps it
    // from escaping a combining mark, which it does at the start of a string only.
    format!("a{c}").escape_debug().nth(1) == Some(c)
}

/// Go's `strconv.Quote`, or `QuoteToASCII`.
pub(super) fn quote(bytes: &[u8], ascii: bool) -> Vec<u8> {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for (at, rune) in runes(bytes) {
        match rune {
            Some(c) => escape(&mut out, c, '"', ascii),
            None => push_hex(&mut out, "\\x", bytes.get(at).copied().unwrap_or(0).into(), 2),
        }
    }
    out.push('"');
    out.into_bytes()
}

/// Go's `strconv.QuoteRune`, or `QuoteRuneToASCII`.
pub(super) fn quote_rune(c: char, ascii: bool) -> Vec<u8> {
    let mut out = String::from("'");
    escape(&mut out, c, '\'', ascii);
    out.push('\'');
    out.into_bytes()
}

/// Whether `bytes` can stand between backquotes on one line.
pub(super) fn can_backquote(bytes: &[u8]) -> bool {
    runes(bytes).all(|(_, rune)| match rune {
        Some('\t') => true,
        Some(c) => c >= ' ' && c != '`' && c != '\u{7f}' && c != '\u{feff}',
        None => false,
    })
}

/// The value of a string literal, quotes included.
pub(super) fn unquote(literal: &str) -> Result<Vec<u8>, String> {
    if let Some(raw) = strip(literal, '`') {
        // Go drops carriage returns from raw strings.
        return Ok(raw.bytes().filter(|b| *b != b'\r').collect());
    }
    let mut rest = strip(literal, '"').ok_or("a string without closing quote")?;
    let mut out = Vec::with_capacity(rest.len());
    while !rest.is_empty() {
        let (unit, tail) = unquote_unit(rest, '"')?;
        match unit {
            Unit::Char(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Unit::Byte(b) => out.push(b),
        }
        rest = tail;
    }
    Ok(out)
}

/// The value of a character literal, quotes included.
pub(super) fn unquote_char(literal: &str) -> Result<u32, String> {
    let bad = || format!("{literal} is not one character");
    let inner = strip(literal, '\'').ok_or_else(bad)?;
    match unquote_unit(inner, '\'')? {
        (Unit::Char(c), "") => Ok(u32::from(c)),
        (Unit::Byte(b), "") => Ok(b.into()),
        _ => Err(bad()),
    }
}

enum Unit {
    Char(char),
    /// From `\x41` or `\101`, which give bytes.
    Byte(u8),
}

fn strip(literal: &str, quote: char) -> Option<&str> {
    literal.strip_prefix(quote)?.strip_suffix(quote)
}

/// Reads one character or escape off the front of a literal's inside.
fn unquote_unit(text: &str, quote: char) -> Result<(Unit, &str), String> {
    let mut chars = text.chars();
    match chars.next() {
        Some('\\') => {}
        Some(c) if c != quote => return Ok((Unit::Char(c), chars.as_str())),
        _ => return Err("an empty character literal".to_owned()),
    }
    let code = chars.next().ok_or("a lone backslash")?;
    let plain = |c| Ok((Unit::Char(c), chars.as_str()));
    match code {
        'a' => plain('\x07'),
        'b' => plain('\x08'),
        'f' => plain('\x0c'),
        'n' => plain('\n'),
        'r' => plain('\r'),
        't' => plain('\t'),
        'v' => plain('\x0b'),
        '\\' => plain('\\'),
        c if c == quote => plain(c),
        'x' => {
            let (value, rest) = digits(chars.as_str(), 2, 16)?;
            Ok((byte(value)?, rest))
        }
        'u' | 'U' => {
            let (value, rest) = digits(chars.as_str(), if code == 'u' { 4 } else { 8 }, 16)?;
            let c = char::from_u32(value).ok_or_else(|| format!("no character U+{value:04X}"))?;
            Ok((Unit::Char(c), rest))
        }
        '0'..='7' => {
            let (value, rest) = digits(text.get(1..).unwrap_or_default(), 3, 8)?;
            Ok((byte(value)?, rest))
        }
        _ => Err(format!("no escape \\{code} in a string")),
    }
}

fn byte(value: u32) -> Result<Unit, String> {
    u8::try_from(value).map(Unit::Byte).map_err(|_| format!("\\{value:o} is more than a byte"))
}

fn digits(text: &str, count: usize, radix: u32) -> Result<(u32, &str), String> {
    let head = text
        .get(..count)
        .filter(|head| head.chars().all(|c| c.is_digit(radix)))
        .ok_or_else(|| format!("an escape that needs {count} digits"))?;
    let value = u32::from_str_radix(head, radix).map_err(|e| e.to_string())?;
    Ok((value, text.get(count..).unwrap_or_default()))
}

fn escape(out: &mut String, c: char, quote: char, ascii: bool) {
    if c == quote || c == '\\' {
        out.push('\\');
        out.push(c);
    } else if is_print(c) && (c.is_ascii() || !ascii) {
        out.push(c);
    } else {
        match c {
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            '\0'..=' ' | '\x7f' => push_hex(out, "\\x", c.into(), 2),
            ..='\u{ffff}' => push_hex(out, "\\u", c.into(), 4),
            _ => push_hex(out, "\\U", c.into(), 8),
        }
    }
}

fn push_hex(out: &mut String, prefix: &str, value: u32, width: usize) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{prefix}{value:0width$x}");
}
