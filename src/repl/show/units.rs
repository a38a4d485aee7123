//! Numbers in units a person reads, where their key says what they are.

use crate::runtime::units::{show_bytes, show_duration};
use std::time::Duration;

/// Keys whose whole numbers are bytes, wherever they are.
const BYTES: &[&str] = &["size", "memory_peak", "rss", "bytes"];
/// Keys of bytes in a map of this name.
const BYTES_IN: &[(&str, &[&str])] = &[("memory", &["current", "peak", "swap", "limit"])];
/// Keys whose numbers with a fraction are seconds.
const SECONDS: &[&str] = &["usage", "user", "system", "throttled", "cpu", "wall", "took"];

/// A whole number.
pub(super) fn number(value: i64, parent: &str, key: &str) -> String {
    let Ok(positive) = u64::try_from(value) else { return value.to_string() };
    let in_parent = BYTES_IN.iter().any(|(name, keys)| *name == parent && keys.contains(&key));
    // Files of version 2 that are not counted in bytes have other ends.
    let file = ["memory.", "hugetlb."].iter().any(|prefix| key.starts_with(prefix));
    if BYTES.contains(&key) || key.ends_with("_bytes") || in_parent || (file && value > 1) {
        return show_bytes(positive);
    }
    if key.ends_with("_usec") && value > 0 {
        return format!("{value} ({})", show_duration(Duration::from_micros(positive)));
    }
    if key == "mode" {
        return format!("0o{value:o}");
    }
    value.to_string()
}

/// A number with a fraction.
pub(super) fn fraction(value: f64, _parent: &str, key: &str) -> String {
    match Duration::try_from_secs_f64(value) {
        Ok(duration) if SECONDS.contains(&key) && value > 0.0 => show_duration(duration),
        Ok(_) if SECONDS.contains(&key) => "0".into(),
        // As the language writes it.
        _ if value.fract() == 0.0 && value.abs() < 1e15 => format!("{value:.1}"),
        _ => value.to_string(),
    }
}
