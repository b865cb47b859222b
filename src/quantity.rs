//! Kubernetes quantities such as `10Gi`.

use serde_json::Value;

/// The value of `text` as a whole number, rounded away from zero and kept within `i64`, as
/// `Quantity.Value` of `k8s.io/apimachinery` gives it.
///
/// The form is a decimal number and a suffix: `n u m k M G T P E` for powers of ten, `Ki Mi Gi Ti
/// Pi Ei` for powers of 1024, or an exponent such as `e3`.
///
/// # Errors
/// A text that is no quantity, with it.
pub fn value(text: &str) -> Result<i64, String> {
    scaled(text, 0)
}

/// A quantity as JSON has it, a text or a number, as [`value`] reads it; `None` for anything else.
#[must_use]
pub fn of(quantity: &Value) -> Option<i64> {
    value(&written(quantity)?).ok()
}

/// As [`of`], in thousandths: `MilliValue`, by which Kubernetes tells a whole number.
#[must_use]
pub fn milli_of(quantity: &Value) -> Option<i64> {
    scaled(&written(quantity)?, 3).ok()
}

/// The quantity as its author wrote it; `None` for what can be none.
#[must_use]
pub fn written(quantity: &Value) -> Option<String> {
    match quantity {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Bytes as they are best read: the largest binary unit that leaves a whole number.
#[must_use]
pub fn bytes(count: i64) -> String {
    const UNITS: [(&str, u32); 4] = [("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];
    let unit = UNITS.iter().find(|(_, shift)| count != 0 && count % (1_i64 << shift) == 0);
    unit.map_or_else(|| count.to_string(), |(suffix, shift)| format!("{}{suffix}", count >> shift))
}

/// The value times `10^digits`, rounded away from zero.
fn scaled(text: &str, digits: i32) -> Result<i64, String> {
    let bad = || {
        format!("{text:?} is not a quantity; write a number with an optional suffix, as in 10Gi")
    };
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return Err(bad());
    }
    let (factor, exponent) = scale(suffix).ok_or_else(bad)?;
    let size = magnitude(whole, fraction, factor, exponent, digits);
    Ok(if negative { -size } else { size })
}

/// The suffix as a power of 1024 written out and a power of ten.
fn scale(suffix: &str) -> Option<(u128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            (1, exponent.parse().ok()?)
        }
    })
}

/// `whole.fraction * factor * 10^(exponent + digits)`, rounded up, at most `i64::MAX`.
fn magnitude(whole: &str, fraction: &str, factor: u128, exponent: i32, digits: i32) -> i64 {
    if factor != 1 {
        let more = 10_u128.saturating_pow(digits.unsigned_abs());
        return binary(whole, fraction, factor.saturating_mul(more));
    }
    let exponent = exponent.saturating_add(digits);
    // A power of ten only moves the point over the digits.
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    let point = i64::try_from(whole.len()).unwrap_or(i64::MAX);
    let point = point.saturating_add(exponent.into());
    let kept = usize::try_from(point).unwrap_or(0);
    let mut value = 0_i64;
    for at in 0..kept {
        let digit = digits.get(at).map_or(0, |b| i64::from(b - b'0'));
        if at >= digits.len() && value == 0 {
            break;
        }
        match value.checked_mul(10).and_then(|v| v.checked_add(digit)) {
            Some(next) => value = next,
            None => return i64::MAX,
        }
    }
    let rest = digits.iter().skip(kept).any(|digit| *digit != b'0');
    value.saturating_add(i64::from(rest))
}

/// `whole.fraction * factor`, where the factor is a power of 1024, or a thousand times one.
fn binary(whole: &str, fraction: &str, factor: u128) -> i64 {
    let mut value = 0_u128;
    let mut inexact = false;
    // From the last digit to the first; cutting off at each step gives the same as at the end.
    for digit in fraction.bytes().rev() {
        value += u128::from(digit - b'0') * factor;
        inexact |= !value.is_multiple_of(10);
        value /= 10;
    }
    value += u128::from(inexact);
    let mut units = 0_u128;
    for digit in whole.bytes() {
        units = units * 10 + u128::from(digit - b'0');
        if units > u128::from(u64::MAX) {
            return i64::MAX;
        }
    }
    i64::try_from(units.saturating_mul(factor).saturating_add(value)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{bytes, milli_of, of, value};

    #[test]
    fn every_suffix() {
        for (text, want) in [
            ("0", 0),
            ("12", 12),
            ("-12", -12),
            ("+3k", 3000),
            ("10Gi", 10_737_418_240),
            ("1.5Gi", 1_610_612_736),
            ("1Ki", 1024),
            (".5Ki", 512),
            ("1.Mi", 1_048_576),
            ("2Ti", 2_199_023_255_552),
            ("1Pi", 1_125_899_906_842_624),
            ("7Ei", 8_070_450_532_247_928_832),
            ("8Ei", i64::MAX),
            ("100M", 100_000_000),
            ("1G", 1_000_000_000),
            ("1T", 1_000_000_000_000),
            ("9P", 9_000_000_000_000_000),
            ("9E", 9_000_000_000_000_000_000),
            ("10E", i64::MAX),
            ("1e3", 1000),
            ("1E3", 1000),
            ("1.5e+2", 150),
            ("1500e-3", 2),
            ("1e-12", 1),
            ("1e99999", i64::MAX),
            ("0e99999", 0),
        ] {
            assert_eq!(value(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn fractions_round_away_from_zero() {
        for (text, want) in [
            ("1500m", 2),
            ("-1500m", -2),
            ("1000m", 1),
            ("1u", 1),
            ("1n", 1),
            ("0n", 0),
            ("0.1", 1),
            ("1.0001Ki", 1025),
            ("1.00000000000000000000001Ki", 1025),
            ("0.320478116828570374613Ei", 369_486_112_647_564_243),
        ] {
            assert_eq!(value(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity() {
        for text in [
            "", "Gi", "-", ".", "1.2.3", "1gi", "1K", "1 Gi", "1e", "1e+", "0x10", "ten", "1Gi ",
            "1e3Gi", "--1",
        ] {
            assert!(value(text).is_err(), "{text}");
        }
    }

    #[test]
    fn json_has_numbers_too() {
        assert_eq!(of(&json!("8")), Some(8));
        assert_eq!(of(&json!(8)), Some(8));
        assert_eq!(of(&json!(1.5)), Some(2));
        assert_eq!(of(&json!(true)), None);
        assert_eq!(of(&json!("eight")), None);
    }

    #[test]
    fn thousandths_tell_a_fraction() {
        for (quantity, want) in [
            (json!("1"), 1000),
            (json!("500m"), 500),
            (json!(0.5), 500),
            (json!("1500e-3"), 1500),
            (json!("1.5Ki"), 1_536_000),
            (json!("1Ei"), i64::MAX),
        ] {
            assert_eq!(milli_of(&quantity), Some(want), "{quantity}");
        }
    }

    #[test]
    fn bytes_are_read_in_units() {
        for (count, want) in
            [(0, "0"), (1 << 30, "1Gi"), (3 << 29, "1536Mi"), (1000, "1000"), (5 << 40, "5Ti")]
        {
            assert_eq!(bytes(count), want);
        }
    }
}
