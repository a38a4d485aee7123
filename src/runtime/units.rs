//! Sizes, durations and shares as people write them.
//!
//! K, M, G and T are powers of 1024, as `docker run -m` has them; `KiB` and `KB` mean the same.

use std::time::Duration;

/// Whether a text has lower-case hexadecimal digits alone.
#[must_use]
pub fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Parses a size: `64MiB`, `64M`, `1.5GiB`, `4096`, `0`.
///
/// # Errors
/// A sentence that says what is wrong, to follow the name of the option.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let expected = || {
        format!("{text:?} is not a size: write bytes as a number, or a text such as \"64MiB\" or \"1.5G\"")
    };
    let (number, unit) = split_unit(text.trim());
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return Err(expected()),
    };
    scaled(number, factor).ok_or_else(expected)
}

/// Parses a duration: `250ms`, `5s`, `1m30s`, `2h`, `500us`.
///
/// # Errors
/// A sentence that says what is wrong, to follow the name of the option.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected =
        || format!("{text:?} is not a duration: write a text such as \"250ms\", \"5s\" or \"1m30s\"");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(expected());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(expected)?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let nanos: u64 = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" | "min" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(expected()),
        };
        let part = scaled(number, nanos).ok_or_else(expected)?;
        total = total.checked_add(part).ok_or_else(expected)?;
        rest = tail;
    }
    Ok(Duration::from_nanos(total))
}

/// Parses a number of processors, in thousandths: `0.5`, `2`, `50%`.
///
/// # Errors
/// A sentence that says what is wrong, to follow the name of the option.
pub fn parse_cpus(text: &str) -> Result<u64, String> {
    let expected = || format!("{text:?} is not a number of processors: write 0.5, 2 or \"50%\"");
    let text = text.trim();
    let parsed = match text.strip_suffix('%') {
        Some(percent) => scaled(percent.trim(), 10),
        None => scaled(text, 1000),
    };
    parsed.filter(|millis| *millis > 0).ok_or_else(expected)
}

/// Shows a size in the largest unit that keeps it exact to one digit: `64MiB`, `1.5GiB`, `100B`.
#[must_use]
pub fn show_bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    for (factor, unit) in UNITS {
        if bytes >= factor {
            let tenths = (u128::from(bytes) * 10 + u128::from(factor) / 2) / u128::from(factor);
            return match tenths % 10 {
                0 => format!("{}{unit}", tenths / 10),
                tenth => format!("{}.{tenth}{unit}", tenths / 10),
            };
        }
    }
    format!("{bytes}B")
}

/// Shows a duration with three significant digits: `1.25ms`, `12.5s`, `250us`.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let (value, unit) = match nanos {
        0..1_000 => (duration.as_secs_f64() * 1e9, "ns"),
        1_000..1_000_000 => (duration.as_secs_f64() * 1e6, "us"),
        1_000_000..1_000_000_000 => (duration.as_secs_f64() * 1e3, "ms"),
        _ => (duration.as_secs_f64(), "s"),
    };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

fn split_unit(text: &str) -> (&str, &str) {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    (number, unit.trim_start())
}

/// A decimal number times `factor`, exact: no floating point, so that `0.1` and large values are not rounded twice.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || (number.contains('.') && fraction.is_empty()) || fraction.len() > 9 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let mut result = whole.checked_mul(factor)?;
    if !fraction.is_empty() {
        let digits: u64 = fraction.parse().ok()?;
        let scale = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let part = u128::from(digits).checked_mul(u128::from(factor))? / scale;
        result = result.checked_add(u64::try_from(part).ok()?)?;
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64MiB", 64 << 20),
            ("64M", 64 << 20),
            ("1.5GiB", 3 << 29),
            ("2 k", 2048),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "lots", "-1", "1.", ".5M", "1XB", "99999999999T", "1e6"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_add_up() {
        for (text, millis) in [("250ms", 250), ("5s", 5000), ("1m30s", 90_000), ("1.5s", 1500), ("0s", 0)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "s", "5 parsecs", "1m30"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn processors_are_thousandths() {
        assert_eq!(parse_cpus("0.5"), Ok(500));
        assert_eq!(parse_cpus("50%"), Ok(500));
        assert_eq!(parse_cpus("2"), Ok(2000));
        assert!(parse_cpus("0").is_err());
    }

    #[test]
    fn what_is_shown_reads_back() {
        for bytes in [0, 100, 1024, 64 << 20, 3 << 29] {
            assert_eq!(parse_bytes(&show_bytes(bytes)), Ok(bytes));
        }
        assert_eq!(show_duration(Duration::from_micros(1250)), "1.25ms");
    }
}
