//! `?timeout=10s`: how long the API server waits for an answer.

use std::time::Duration;

/// The time to answer within: a little less than the client waits, so that it hears a 504 instead
/// of giving up on a silent connection. An absent or unreadable query means `default`.
pub(super) fn budget(query: Option<&str>, default: Duration) -> Duration {
    let told = query
        .unwrap_or_default()
        .split('&')
        .find_map(|pair| pair.strip_prefix("timeout="))
        .and_then(duration)
        .filter(|duration| !duration.is_zero());
    let client = told.unwrap_or(default);
    client.saturating_sub((client / 10).min(Duration::from_millis(250)))
}

/// A duration as Go prints and reads it: `10s`, `1m30s`, `1.5h`, `500ms`. A negative one is none.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanoseconds = 0_u128;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (name, after) = after.split_at_checked(end)?;
        let unit = unit(name)?;
        nanoseconds = nanoseconds.checked_add(number(whole)?.checked_mul(unit)?)?;
        nanoseconds = nanoseconds.checked_add(part(fraction, unit))?;
        rest = after;
    }
    u64::try_from(nanoseconds).ok().map(Duration::from_nanos)
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

fn number(digits: &str) -> Option<u128> {
    if digits.is_empty() { Some(0) } else { digits.parse().ok() }
}

/// `digits` behind the point, of one unit. Digits below a nanosecond add nothing.
fn part(digits: &str, unit: u128) -> u128 {
    let mut scale = unit;
    let mut sum = 0;
    for digit in digits.bytes() {
        scale /= 10;
        sum += u128::from(digit.saturating_sub(b'0')) * scale;
    }
    sum
}

/// Nanoseconds of a unit. The query is not percent-decoded, so a micro sign comes as its bytes.
fn unit(name: &str) -> Option<u128> {
    Some(match name {
        "ns" => 1,
        "us" | "µs" | "μs" | "%C2%B5s" | "%CE%BCs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_reads_them() {
        for (text, milliseconds) in [
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1.5s", 1_500),
            (".5s", 500),
            ("1h", 3_600_000),
            ("+2s", 2_000),
            ("1000000ns", 1),
            ("2000us", 2),
            ("2000µs", 2),
            ("0", 0),
            ("0s", 0),
            ("1s500ms", 1_500),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in
            ["", "10", "s", "-1s", "1x", "1s2", ".s", "1..5s", "99999999999999999999h", "1 s"]
        {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn the_budget_is_slightly_below_the_timeout() {
        let default = Duration::from_secs(10);
        let milliseconds = |query| budget(query, default).as_millis();
        assert_eq!(milliseconds(Some("timeout=5s")), 4_750);
        assert_eq!(milliseconds(Some("a=b&timeout=1s")), 900);
        for ignored in [
            None,
            Some(""),
            Some("timeout="),
            Some("timeout=soon"),
            Some("timeout=0s"),
            Some("timeout=-5s"),
        ] {
            assert_eq!(milliseconds(ignored), 9_750, "{ignored:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_not(text: String) {
            let _ = duration(&text);
        }
    }
}
