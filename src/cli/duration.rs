//! Times as Go's programs take them: `500ms`, `5s`, `10m`, `24h`.

use std::time::Duration;

/// Reads a whole number with its unit; a bare number is seconds.
///
/// # Errors
/// What was found and what to write instead, for clap to show.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let milliseconds = match text.get(digits.len()..).unwrap_or_default() {
        "ms" => 1,
        "s" | "" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        unit => return Err(format!("found the unit {unit:?}; write ms, s, m or h")),
    };
    let number: u64 =
        digits.parse().map_err(|_| format!("{digits:?} is no whole number; write 5s"))?;
    number
        .checked_mul(milliseconds)
        .map(Duration::from_millis)
        .ok_or_else(|| "longer than any wait".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_a_unit() {
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("5"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        assert_eq!(duration("8760h"), Ok(Duration::from_hours(8760)));
        for wrong in ["", "s", "-1s", "5d", "1.5s", "99999999999999999999m", "18446744073709551m"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
