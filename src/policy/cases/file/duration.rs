//! Spans of time as cases write them.

/// The longest span: a year.
const MILLIS_MAX: i64 = 366 * 86_400_000;

/// Milliseconds of `30s`, `10m`, `25h` or `2d`.
pub(super) fn millis(text: &str) -> Result<i64, String> {
    let fault = || format!("`{}` is no span of time: write it as 30s, 10m, 25h or 2d", text.escape_default());
    let unit = text.chars().last().ok_or_else(fault)?;
    let number = text.strip_suffix(unit).unwrap_or_default();
    let unit = match unit {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return Err(fault()),
    };
    let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: i64 = number.parse().ok().filter(|_| plain).ok_or_else(fault)?;
    number.checked_mul(unit).filter(|millis| *millis <= MILLIS_MAX).ok_or_else(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_nothing_else_is() {
        for (text, expected) in [("30s", 30_000), ("10m", 600_000), ("25h", 90_000_000), ("2d", 172_800_000)]
        {
            assert_eq!(millis(text), Ok(expected), "{text}");
        }
        for text in ["", "m", "10", "-1m", "+1m", "1.5h", "10 m", "1y", "367d", "99999999999999999999d", "5ß"]
        {
            assert!(millis(text).is_err(), "{text}");
        }
    }
}
