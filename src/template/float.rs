//! Floats as Go's `strconv.FormatFloat` writes them.

/// Writes `value` in the form `verb`, one of `b e E f g G x X`, with `precision` digits or as
/// many as it takes to tell the value from all others.
pub(super) fn format(value: f64, verb: u8, precision: Option<usize>) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let value = value.abs();
    if value.is_infinite() {
        return if sign.is_empty() { "+Inf" } else { "-Inf" }.to_owned();
    }
    let magnitude = match verb {
        b'b' => binary(value),
        b'x' | b'X' => hexadecimal(value, verb, precision),
        b'e' | b'E' => exponential(value, verb, precision),
        b'g' | b'G' => general(value, verb, precision),
        _ => fixed(value, precision),
    };
    format!("{sign}{magnitude}")
}

/// No float has more decimal digits than this on either side of the point; the formatter below
/// takes no larger precision than `u16`.
const MOST_DIGITS: usize = 1100;

fn fixed(value: f64, precision: Option<usize>) -> String {
    let Some(precision) = precision else {
        return format!("{value}");
    };
    let exact = precision.min(MOST_DIGITS);
    let zeros = "0".repeat(precision - exact);
    format!("{value:.exact$}{zeros}")
}

fn exponential(value: f64, verb: u8, precision: Option<usize>) -> String {
    let (digits, exponent) = decimal(value, precision.map(|p| p + 1));
    let zeros = precision.map_or(0, |p| (p + 1).saturating_sub(digits.len()));
    with_exponent(&digits, zeros, exponent, verb)
}

/// `1.23e+04`, the digits followed by `zeros`.
fn with_exponent(digits: &str, zeros: usize, exponent: i32, verb: u8) -> String {
    let (first, rest) = digits.split_at(1.min(digits.len()));
    let point = if rest.is_empty() && zeros == 0 { "" } else { "." };
    let zeros = "0".repeat(zeros);
    let sign = if exponent < 0 { '-' } else { '+' };
    let exponent = exponent.unsigned_abs();
    let letter = char::from(verb);
    format!("{first}{point}{rest}{zeros}{letter}{sign}{exponent:02}")
}

/// `%e` for small and large values, `%f` for those between, without trailing zeros.
fn general(value: f64, verb: u8, precision: Option<usize>) -> String {
    let precision = precision.map(|p| p.max(1));
    let (all, exponent) = decimal(value, precision);
    let digits = all.trim_end_matches('0');
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    // How many digits stand before the point.
    let before = if digits.is_empty() { 0 } else { exponent + 1 };
    let limit = match precision {
        None => SHORTEST_LIMIT,
        Some(p) => {
            let p = i32::try_from(p).unwrap_or(i32::MAX);
            if p > count && count >= before { count } else { p }
        }
    };
    if before - 1 < -4 || before > limit {
        let digits = if digits.is_empty() { "0" } else { digits };
        return with_exponent(digits, 0, exponent, if verb == b'g' { b'e' } else { b'E' });
    }
    positional(digits, before)
}

/// Where Go turns to exponents when it chooses the precision itself.
const SHORTEST_LIMIT: i32 = 6;

/// The digits with the point behind the first `before` of them.
fn positional(digits: &str, before: i32) -> String {
    match usize::try_from(before) {
        Ok(0) if digits.is_empty() => "0".to_owned(),
        Ok(before) if before >= digits.len() => {
            format!("{digits}{}", "0".repeat(before - digits.len()))
        }
        Ok(before) if before > 0 => {
            let (whole, fraction) = digits.split_at(before);
            format!("{whole}.{fraction}")
        }
        _ => {
            let zeros = usize::try_from(before.unsigned_abs()).unwrap_or(0);
            format!("0.{}{digits}", "0".repeat(zeros))
        }
    }
}

/// The significant digits, `count` of them or as few as will do, and the decimal exponent of the
/// first. Digits past those a float can have are left out.
fn decimal(value: f64, count: Option<usize>) -> (String, i32) {
    let count = count.unwrap_or_else(|| {
        // The shortest form tells how many digits it takes. Where two are as near, Rust takes the
        // larger last digit there, but the even one below, as Go does.
        let shortest = format!("{value:e}");
        let mantissa = shortest.bytes().take_while(|b| *b != b'e');
        mantissa.filter(u8::is_ascii_digit).count()
    });
    let after = count.saturating_sub(1).min(MOST_DIGITS);
    let text = format!("{value:.after$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (mantissa.replace('.', ""), exponent.parse().unwrap_or_default())
}

const FRACTION_BITS: u32 = 52;

/// The mantissa as a whole number and the binary exponent of its highest bit, which a subnormal
/// number does not have set.
fn parts(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    let fraction = bits & ((1 << FRACTION_BITS) - 1);
    let exponent = i32::try_from(bits >> FRACTION_BITS & 0x7ff).unwrap_or(0);
    if exponent == 0 { (fraction, -1022) } else { (fraction | 1 << FRACTION_BITS, exponent - 1023) }
}

fn binary(value: f64) -> String {
    let (mantissa, exponent) = parts(value);
    format!("{mantissa}p{:+}", exponent - 52)
}

fn hexadecimal(value: f64, verb: u8, precision: Option<usize>) -> String {
    const LEADING: u32 = 60;
    let (mantissa, mut exponent) = parts(value);
    let mut mantissa = mantissa << (LEADING - FRACTION_BITS);
    if mantissa == 0 {
        exponent = 0;
    }
    while mantissa != 0 && mantissa >> LEADING == 0 {
        mantissa <<= 1;
        exponent -= 1;
    }
    if let Some(shift) = precision.filter(|p| *p < 15).and_then(|p| u32::try_from(p * 4).ok()) {
        let dropped = (mantissa << shift) & ((1 << LEADING) - 1);
        mantissa >>= LEADING - shift;
        if dropped | (mantissa & 1) > 1 << (LEADING - 1) {
            mantissa += 1;
        }
        mantissa <<= LEADING - shift;
        if mantissa >> (LEADING + 1) != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let lead = mantissa >> LEADING;
    let fraction = format!("{:015x}", mantissa & ((1 << LEADING) - 1));
    let fraction = match precision {
        None => fraction.trim_end_matches('0').to_owned(),
        Some(precision) => {
            let kept = fraction.get(..precision).unwrap_or(&fraction);
            format!("{kept}{}", "0".repeat(precision - kept.len()))
        }
    };
    let point = if fraction.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    let text = format!("0x{lead}{point}{fraction}p{sign}{:02}", exponent.unsigned_abs());
    if verb == b'X' { text.to_uppercase() } else { text }
}

#[cfg(test)]
mod tests {
    use super::format;

    /// The digits Go writes.
    #[test]
    fn known_forms() {
        for (value, verb, precision, want) in [
            (1e21, b'g', None, "1e+21"),
            (1_000_000.0, b'g', None, "1e+06"),
            (123_456.0, b'g', None, "123456"),
            (0.0001, b'g', None, "0.0001"),
            (0.00001, b'g', None, "1e-05"),
            (-0.0, b'g', None, "-0"),
            (991_437_647_730_709.2, b'g', None, "9.914376477307092e+14"),
            (2.5, b'f', Some(0), "2"),
            (1.75, b'x', Some(0), "0x1p+01"),
            (5e-324, b'x', None, "0x1p-1074"),
            (1.5, b'b', None, "6755399441055744p-52"),
            (f64::NAN, b'f', Some(6), "NaN"),
            (f64::INFINITY, b'e', None, "+Inf"),
            (f64::NEG_INFINITY, b'g', None, "-Inf"),
        ] {
            assert_eq!(format(value, verb, precision), want, "{value} {verb}");
        }
    }

    /// The largest precision a verb may ask for.
    #[test]
    fn many_digits() {
        let digits = 1_000_000;
        for value in [0.0, 0.1, 1.5, 5e-324, f64::MAX] {
            for verb in *b"efxX" {
                assert!(format(value, verb, Some(digits)).len() > digits);
            }
            assert!(format(value, b'g', Some(digits)).len() < 1100);
        }
    }
}
