//! The verbs of scalar values, with width, precision and flags.

use super::super::float;
use super::super::quote::{can_backquote, is_print, quote, quote_rune, runes};
use super::super::value::{IntType, Value};
use super::Printer;

impl Printer {
    pub(super) fn integer(&mut self, value: i64, kind: IntType, verb: char) {
        let rune = u32::try_from(value).ok().and_then(char::from_u32);
        let rune = rune.unwrap_or(char::REPLACEMENT_CHARACTER);
        match verb {
            'v' if self.flags.sharp_v && kind == IntType::Uint8 => {
                self.push(format!("{value:#x}").as_bytes());
            }
            'v' | 'd' | 'b' | 'o' | 'O' | 'x' | 'X' => self.number(value, verb),
            'c' => self.pad(rune.encode_utf8(&mut [0; 4]).as_bytes()),
            'q' => self.pad(&quote_rune(rune, self.flags.plus)),
            'U' => self.unicode(value.cast_unsigned()),
            _ => self.bad_verb(&Value::Int(value, kind), verb),
        }
    }

    fn number(&mut self, value: i64, verb: char) {
        let size = value.unsigned_abs();
        let flags = self.flags;
        let sign = if value < 0 {
            "-"
        } else if flags.plus {
            "+"
        } else if flags.space {
            " "
        } else {
            ""
        };
        let least = match (flags.precision, flags.width) {
            (Some(0), _) if value == 0 => {
                self.fill(flags.width.unwrap_or(0), b' ');
                return;
            }
            (Some(precision), _) => precision,
            (None, Some(width)) if flags.zero && !flags.minus => width - sign.len().min(width),
            _ => 0,
        };
        let digits = match verb {
            'b' => format!("{size:b}"),
            'o' | 'O' => format!("{size:o}"),
            'x' => format!("{size:x}"),
            'X' => format!("{size:X}"),
            _ => size.to_string(),
        };
        let zeros = "0".repeat(least.saturating_sub(digits.len()));
        let prefix = match verb {
            'b' if flags.sharp => "0b",
            'o' if flags.sharp && zeros.is_empty() && !digits.starts_with('0') => "0",
            'O' if flags.sharp && zeros.is_empty() && !digits.starts_with('0') => "0o0",
            'O' => "0o",
            'x' if flags.sharp => "0x",
            'X' if flags.sharp => "0X",
            _ => "",
        };
        self.pad_spaces(format!("{sign}{prefix}{zeros}{digits}").as_bytes());
    }

    fn unicode(&mut self, code: u64) {
        let least = self.flags.precision.unwrap_or(0).max(4);
        let digits = format!("{code:X}");
        let zeros = "0".repeat(least.saturating_sub(digits.len()));
        let shown = u32::try_from(code)
            .ok()
            .and_then(char::from_u32)
            .filter(|c| self.flags.sharp && is_print(*c))
            .map(|c| format!(" '{c}'"))
            .unwrap_or_default();
        self.pad_spaces(format!("U+{zeros}{digits}{shown}").as_bytes());
    }

    pub(super) fn float(&mut self, value: f64, verb: char) {
        let (form, default) = match verb {
            'v' | 'g' => (b'g', None),
            'G' => (b'G', None),
            'b' => (b'b', None),
            'x' => (b'x', None),
            'X' => (b'X', None),
            'e' => (b'e', Some(6)),
            'E' => (b'E', Some(6)),
            'f' | 'F' => (b'f', Some(6)),
            _ => {
                self.bad_verb(&Value::Float(value), verb);
                return;
            }
        };
        let precision = self.flags.precision.or(default);
        let text = float::format(value, form, precision);
        let (sign, magnitude) = match text.strip_prefix('-') {
            Some(magnitude) => ("-", magnitude),
            None => (
                if self.flags.plus {
                    "+"
                } else if self.flags.space {
                    " "
                } else {
                    ""
                },
                text.strip_prefix('+').unwrap_or(&text),
            ),
        };
        if !value.is_finite() {
            // Go shows the sign of an infinity in any case, and pads neither with zeros.
            let sign = if value.is_infinite() && sign.is_empty() { "+" } else { sign };
            self.pad_spaces(format!("{sign}{magnitude}").as_bytes());
            return;
        }
        let magnitude = if self.flags.sharp && form != b'b' {
            with_point(magnitude, form, precision)
        } else {
            magnitude.to_owned()
        };
        let zeros = match self.flags.width {
            Some(width) if self.flags.zero && !self.flags.minus => {
                width.saturating_sub(sign.len() + magnitude.len())
            }
            _ => 0,
        };
        if zeros > 0 {
            self.push(sign.as_bytes());
            self.fill(zeros, b'0');
            self.push(magnitude.as_bytes());
        } else {
            self.pad(format!("{sign}{magnitude}").as_bytes());
        }
    }

    pub(super) fn complex(&mut self, re: f64, im: f64, verb: char) {
        if !matches!(verb, 'v' | 'b' | 'g' | 'G' | 'x' | 'X' | 'f' | 'F' | 'e' | 'E') {
            self.bad_verb(&Value::Complex(re, im), verb);
            return;
        }
        let plus = self.flags.plus;
        self.push(b"(");
        self.float(re, verb);
        self.flags.plus = true;
        self.float(im, verb);
        self.push(b"i)");
        self.flags.plus = plus;
    }

    /// Writes `text`, which `value` holds.
    pub(super) fn string(&mut self, text: &[u8], verb: char, value: &Value<'_>) {
        match verb {
            'v' if self.flags.sharp_v => self.quoted(text),
            'v' | 's' => {
                let text = self.truncated(text);
                self.pad(text);
            }
            'q' => self.quoted(text),
            'x' | 'X' => self.hex(text, verb == 'X'),
            _ => self.bad_verb(value, verb),
        }
    }

    fn quoted(&mut self, text: &[u8]) {
        let text = self.truncated(text);
        if self.flags.sharp && can_backquote(text) {
            self.pad(&[b"`", text, b"`"].concat());
        } else {
            self.pad(&quote(text, self.flags.plus));
        }
    }

    fn truncated<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        self.flags
            .precision
            .and_then(|precision| runes(text).nth(precision))
            .and_then(|(end, _)| text.get(..end))
            .unwrap_or(text)
    }

    fn hex(&mut self, text: &[u8], upper: bool) {
        let flags = self.flags;
        let length = flags.precision.map_or(text.len(), |p| p.min(text.len()));
        let prefix = if flags.sharp { "0x" } else { "" };
        let mut out = String::new();
        for (at, byte) in text.iter().take(length).enumerate() {
            if at > 0 && flags.space {
                out.push(' ');
            }
            if at == 0 || flags.space {
                out.push_str(prefix);
            }
            out.push(hex_digit(byte >> 4));
            out.push(hex_digit(byte & 15));
        }
        if upper {
            out.make_ascii_uppercase();
        }
        self.pad(out.as_bytes());
    }

    /// Pads `text` to the width, on the left with zeros if the flag says so.
    pub(super) fn pad(&mut self, text: &[u8]) {
        let width = self.flags.width.unwrap_or(0);
        let missing = match width {
            0 => 0,
            _ => width.saturating_sub(runes(text).count()),
        };
        if self.flags.minus {
            self.push(text);
            self.fill(missing, b' ');
        } else {
            self.fill(missing, if self.flags.zero { b'0' } else { b' ' });
            self.push(text);
        }
    }

    fn pad_spaces(&mut self, text: &[u8]) {
        let zero = std::mem::take(&mut self.flags.zero);
        self.pad(text);
        self.flags.zero = zero;
    }

    fn fill(&mut self, count: usize, byte: u8) {
        self.push(&vec![byte; count]);
    }
}

fn hex_digit(value: u8) -> char {
    char::from_digit(value.into(), 16).unwrap_or_default()
}

/// The number with a point and, for `%g`, the zeros that `%#g` keeps.
fn with_point(number: &str, form: u8, precision: Option<usize>) -> String {
    let exponent = match form {
        b'x' | b'X' => number.find(['p', 'P']),
        _ => number.find(['e', 'E']),
    };
    let (digits, tail) = number.split_at(exponent.unwrap_or(number.len()));
    let wanted = match form {
        b'g' | b'G' | b'x' => precision.unwrap_or(6),
        _ => 0,
    };
    let significant = digits.chars().filter(|c| *c != '.').skip_while(|c| *c == '0').count();
    let has_point = digits.contains('.');
    // The one digit of a plain zero counts.
    let significant = significant + usize::from(!has_point && digits == "0");
    let point = if has_point { "" } else { "." };
    let zeros = "0".repeat(wanted.saturating_sub(significant));
    format!("{digits}{point}{zeros}{tail}")
}
