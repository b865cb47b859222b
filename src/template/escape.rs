//! The functions `html`, `js` and `urlquery`.

use std::fmt::Write;

use super::quote::{is_print, runes};

/// Escapes what HTML gives a meaning.
pub(super) fn html(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            0 => out.extend_from_slice("\u{fffd}".as_bytes()),
            b'"' => out.extend_from_slice(b"&#34;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            other => out.push(*other),
        }
    }
    out
}

/// Escapes a text for a JavaScript string.
pub(super) fn js(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for (at, rune) in runes(text) {
        match rune {
            Some(c @ ('\\' | '\'' | '"')) => {
                out.push(b'\\');
                push_char(&mut out, c);
            }
            Some(c) if matches!(c, '<' | '>' | '&' | '=' | '\0'..='\x1f') => push_code(&mut out, c),
            // Go takes DEL, though no printable character, for plain ASCII.
            Some(c) if c.is_ascii() || is_print(c) => push_char(&mut out, c),
            Some(c) => push_code(&mut out, c),
            None => out.extend(text.get(at)),
        }
    }
    out
}

/// Escapes a text for the query of a URL.
pub(super) fn url_query(text: &[u8]) -> Vec<u8> {
    let mut out = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b' ' => out.push('+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(*byte));
            }
            // Writing to a string cannot fail.
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out.into_bytes()
}

fn push_char(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn push_code(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(format!("\\u{:04X}", u32::from(c)).as_bytes());
}
