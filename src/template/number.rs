//! Number literals, as Go's untyped constants.

use super::quote;

/// A number literal, typed by its spelling as Go does where no type is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Int(i64),
    Float(f64),
    Complex(f64, f64),
    /// Fits `uint64` only; an error when it is evaluated, not before.
    TooLarge,
}

/// Reads a number such as `1_000`, `0x1F`, `0o17`, `1e3`, `0x1p-2` or `2i`.
pub(super) fn number(text: &str) -> Result<Number, String> {
    if let Some(imaginary) = text.strip_suffix('i').and_then(float) {
        return Ok(Number::Complex(0.0, imaginary));
    }
    let int = int(text);
    let uint = uint(text);
    let looks_float = text.contains(['.', 'e', 'E', 'p', 'P']);
    let float = match (int, uint) {
        #[expect(clippy::cast_precision_loss, reason = "Go rounds here too")]
        (Some(i), _) => i as f64,
        #[expect(clippy::cast_precision_loss, reason = "Go rounds here too")]
        (None, Some(u)) => u as f64,
        (None, None) => {
            let f = float(text).ok_or_else(|| format!("{text:?} is not a number"))?;
            if !looks_float {
                return Err(format!("{text} does not fit 64 bits"));
            }
            f
        }
    };
    if looks_float && !is_hex_int(text) {
        return Ok(Number::Float(float));
    }
    Ok(int.map_or(Number::TooLarge, Number::Int))
}

/// Reads a character literal such as `'a'`, quotes included; its value is an int.
pub(super) fn character(text: &str) -> Result<Number, String> {
    quote::unquote_char(text).map(|c| Number::Int(c.into()))
}

/// Reads a pair such as `1+2i`.
pub(super) fn complex(text: &str) -> Result<Number, String> {
    let bad = || format!("{text:?} is not a complex number");
    let body = text.strip_suffix('i').ok_or_else(bad)?;
    // The sign between the parts is the last one that does not belong to an exponent.
    let split = body
        .rmatch_indices(['+', '-'])
        .map(|(at, _)| at)
        .find(|at| {
            let before = body.get(..*at).unwrap_or_default();
            let hex = before.contains(['x', 'X']);
            !before.is_empty()
                && !before.ends_with(['p', 'P'])
                && (hex || !before.ends_with(['e', 'E']))
        })
        .ok_or_else(bad)?;
    let (re, im) = body.split_at(split);
    Ok(Number::Complex(float(re).ok_or_else(bad)?, float(im).ok_or_else(bad)?))
}

/// Go looks for an unsigned `0x`, so a signed one with an `e` in it is a float.
fn is_hex_int(text: &str) -> bool {
    text.len() > 2 && text.starts_with(['0']) && has_hex_prefix(text) && !text.contains(['p', 'P'])
}

fn has_hex_prefix(text: &str) -> bool {
    text.starts_with("0x") || text.starts_with("0X")
}

/// Go's `strconv.ParseInt(text, 0, 64)`.
fn int(text: &str) -> Option<i64> {
    if let Some(digits) = text.strip_prefix('-') {
        0_i64.checked_sub_unsigned(uint(digits)?)
    } else {
        i64::try_from(uint(text.strip_prefix('+').unwrap_or(text))?).ok()
    }
}

/// Go's `strconv.ParseUint(text, 0, 64)`.
fn uint(text: &str) -> Option<u64> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'b' | b'B', _, ..] => (text.get(2..)?, 2),
        [b'0', b'o' | b'O', _, ..] => (text.get(2..)?, 8),
        [b'0', b'x' | b'X', _, ..] => (text.get(2..)?, 16),
        [b'0', _, ..] => (text.get(1..)?, 8),
        _ => (text, 10),
    };
    let digits = without_underscores(text, digits)?;
    if digits.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(&digits, radix).ok()
}

/// Go's `strconv.ParseFloat(text, 64)`; `None` also when the value is out of range.
fn float(text: &str) -> Option<f64> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = without_underscores(text, unsigned)?;
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let magnitude = if digits.len() > 2 && has_hex_prefix(&digits) {
        hex_float(digits.get(2..)?)?
    } else {
        digits.parse().ok()?
    };
    let value: f64 = if negative { -magnitude } else { magnitude };
    value.is_finite().then_some(value)
}

/// The value of `1.8p-3`, the part of a hexadecimal float after its `0x`.
fn hex_float(text: &str) -> Option<f64> {
    let (digits, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut mantissa = 0_u64;
    let mut scale = 0_i32;
    for (at, digit) in whole.chars().chain(fraction.chars()).enumerate() {
        let value = u64::from(digit.to_digit(16)?);
        if mantissa >> 60 == 0 {
            mantissa = mantissa << 4 | value;
        } else {
            // Digits past the precision matter only in that they break a tie.
            mantissa |= u64::from(value != 0);
            scale = scale.checked_add(4)?;
        }
        if at >= whole.len() {
            scale = scale.checked_sub(4)?;
        }
    }
    let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if unsigned.is_empty() || !unsigned.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    // Beyond this the value is 0 or too large whatever the digits.
    let exponent = exponent
        .parse::<i32>()
        .unwrap_or(if exponent.starts_with('-') { -99_999 } else { 99_999 })
        .clamp(-99_999, 99_999);
    #[expect(clippy::cast_precision_loss, reason = "rounding to f64 is the point")]
    let mut value = mantissa as f64;
    let mut power = exponent.checked_add(scale)?;
    while power != 0 && value != 0.0 && value.is_finite() {
        let step = power.clamp(-1000, 1000);
        value *= 2_f64.powi(step);
        power -= step;
    }
    Some(value)
}

/// `digits`, a tail of `text`, without underscores; `None` where Go does not allow those of
/// `text`: one must stand between digits, the base prefix counting as one.
fn without_underscores(text: &str, digits: &str) -> Option<String> {
    if !text.contains('_') {
        return Some(digits.to_owned());
    }
    let number = text.strip_prefix(['+', '-']).unwrap_or(text);
    let hex = has_hex_prefix(number);
    let mut chars = number.chars();
    let mut after_digit = false;
    let mut after_underscore = false;
    if let [b'0', b'b' | b'B' | b'o' | b'O' | b'x' | b'X', ..] = number.as_bytes() {
        chars.nth(1);
        after_digit = true;
    }
    for c in chars {
        let digit = c.is_ascii_digit() || hex && c.is_ascii_hexdigit();
        if !digit && (after_underscore || c == '_' && !after_digit) {
            return None;
        }
        after_digit = digit;
        after_underscore = c == '_';
    }
    (!after_underscore).then(|| digits.replace('_', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_in_every_base() {
        for (text, want) in [
            ("0", 0),
            ("-0", 0),
            ("+5", 5),
            ("1_000", 1000),
            ("0x1F", 31),
            ("0x_1F", 31),
            ("0X1e", 30),
            ("0o17", 15),
            ("017", 15),
            ("0_7", 7),
            ("0b101", 5),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(number(text), Ok(Number::Int(want)), "{text}");
        }
    }

    #[test]
    fn floats_in_every_form() {
        for (text, want) in [
            ("1e3", 1000.0),
            (".5", 0.5),
            ("1.", 1.0),
            ("1_0.5", 10.5),
            ("0x1p4", 16.0),
            ("0x1.8p-1", 0.75),
            ("0x.8p1", 1.0),
            ("0x1p-1074", 5e-324),
            ("0x1p-99999999999", 0.0),
            ("0x1fffffffffffffffffp0", 5.902_958_103_587_057e20),
            ("-0x1E", -30.0),
        ] {
            assert_eq!(number(text), Ok(Number::Float(want)), "{text}");
        }
    }

    #[test]
    fn complex_numbers() {
        assert_eq!(number("2i"), Ok(Number::Complex(0.0, 2.0)));
        assert_eq!(complex("1e-2-2.5i"), Ok(Number::Complex(0.01, -2.5)));
        assert!(complex("1+i").is_err());
    }

    #[test]
    fn what_go_refuses() {
        assert_eq!(number("9223372036854775808"), Ok(Number::TooLarge));
        for text in [
            "-",
            ".",
            "089",
            "0x",
            "0b2",
            "1__0",
            "1_",
            "_1",
            "1e",
            "1e400",
            "0x1.8",
            "0x1p",
            "18446744073709551616",
            "1_e3",
            "i",
            "+i",
        ] {
            assert!(number(text).is_err(), "{text}");
        }
    }
}
