//! Comparing values, and telling in what they differ.

use crate::script::call::Call;
use rhai::{Array, Blob, Dynamic, ImmutableString, Map};
use similar::{ChangeTag, TextDiff};

/// How many differences are told.
const MOST: usize = 20;
/// How many letters of a value are shown in a line.
const LINE: usize = 200;

/// A value as a script writes it.
#[must_use]
pub fn shown(value: &Dynamic) -> String {
    let text = match value.read_lock::<ImmutableString>() {
        Some(text) => format!("{:?}", text.as_str()),
        None if value.is_unit() => "()".to_owned(),
        None => value.to_string(),
    };
    match text.char_indices().nth(LINE) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// Whether two values are the same, through and through. Whole and other numbers are compared by what they stand for.
#[must_use]
pub fn same(call: &Call<'_>, a: &Dynamic, b: &Dynamic) -> bool {
    differences(call, a, b).is_empty()
}

/// In what `is` differs from `expected`, a line each: where, what is there, what was expected.
#[must_use]
pub fn differences(call: &Call<'_>, is: &Dynamic, expected: &Dynamic) -> Vec<String> {
    let mut found = Vec::new();
    compare(call, "", is, expected, &mut found);
    found
}

/// As text in several lines, of what is told of a difference.
#[must_use]
pub fn told(is: &Dynamic, expected: &Dynamic, differences: &[String]) -> String {
    if let (Some(a), Some(b)) = (is.read_lock::<ImmutableString>(), expected.read_lock::<ImmutableString>())
        && (a.contains('\n') || b.contains('\n'))
    {
        return lines(&a, &b);
    }
    let mut text = format!("is:       {}\nexpected: {}\n", shown(is), shown(expected));
    let nested = differences.iter().any(|line| !line.starts_with(':'));
    if nested {
        for line in differences.iter().take(MOST) {
            text.push_str(&format!("at {line}\n"));
        }
        if differences.len() > MOST {
            text.push_str(&format!("and {} more differences\n", differences.len() - MOST));
        }
    }
    text
}

/// The lines of two texts that differ, with those around them: `-` was expected, `+` is there.
#[must_use]
pub fn lines(is: &str, expected: &str) -> String {
    let diff = TextDiff::from_lines(expected, is);
    let mut text = String::from("- expected\n+ is\n");
    for (number, group) in diff.grouped_ops(3).iter().enumerate() {
        if number > 0 {
            text.push_str("…\n");
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            let line = change.value();
            let (line, end) = match line.strip_suffix('\n') {
                Some(line) => (line, ""),
                None => (line, " (without a line end)"),
            };
            // What is not seen is written out.
            let line: String =
                line.chars()
                    .map(|c| {
                        if c.is_control() && c != '\t' {
                            c.escape_default().to_string()
                        } else {
                            c.to_string()
                        }
                    })
                    .collect();
            text.push_str(&format!("{sign} {line}{end}\n"));
        }
    }
    text
}

fn compare(call: &Call<'_>, path: &str, is: &Dynamic, expected: &Dynamic, found: &mut Vec<String>) {
    if let (Some(a), Some(b)) = (is.read_lock::<Map>(), expected.read_lock::<Map>()) {
        for (key, value) in b.iter() {
            let path = key_path(path, key);
            match a.get(key) {
                Some(other) => compare(call, &path, other, value, found),
                None => found.push(format!("{path}: missing, expected {}", shown(value))),
            }
        }
        for (key, value) in a.iter().filter(|(key, _)| !b.contains_key(*key)) {
            found.push(format!("{}: {}, not expected", key_path(path, key), shown(value)));
        }
        return;
    }
    if let (Some(a), Some(b)) = (is.read_lock::<Array>(), expected.read_lock::<Array>()) {
        for index in 0..a.len().max(b.len()) {
            let path = format!("{path}[{index}]");
            match (a.get(index), b.get(index)) {
                (Some(a), Some(b)) => compare(call, &path, a, b, found),
                (Some(a), None) => found.push(format!("{path}: {}, not expected", shown(a))),
                (None, Some(b)) => found.push(format!("{path}: missing, expected {}", shown(b))),
                (None, None) => {}
            }
        }
        return;
    }
    if !same_plain(call, is, expected) {
        let kinds = if shown(is) == shown(expected) {
            format!(" ({} and {})", kind(is), kind(expected))
        } else {
            String::new()
        };
        found.push(format!("{path}: {}, expected {}{kinds}", shown(is), shown(expected)));
    }
}

fn kind(value: &Dynamic) -> &'static str {
    match value {
        value if value.is_string() => "a text",
        value if value.is_int() => "a whole number",
        value if value.is_float() => "a number",
        value if value.is_char() => "a character",
        value if value.is_bool() => "a truth value",
        _ => "another type",
    }
}

fn key_path(path: &str, key: &str) -> String {
    let is_word = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_');
    if is_word { format!("{path}.{key}") } else { format!("{path}[{key:?}]") }
}

/// Values that have no parts.
fn same_plain(call: &Call<'_>, a: &Dynamic, b: &Dynamic) -> bool {
    let is_number = |value: &Dynamic| value.is_int() || value.is_float();
    if is_number(a) && is_number(b) {
        return order(a, b) == Some(std::cmp::Ordering::Equal);
    }
    if let (Some(a), Some(b)) = (a.read_lock::<ImmutableString>(), b.read_lock::<ImmutableString>()) {
        return *a == *b;
    }
    if let (Some(a), Some(b)) = (a.read_lock::<Blob>(), b.read_lock::<Blob>()) {
        return *a == *b;
    }
    if a.is_unit() || b.is_unit() {
        return a.is_unit() && b.is_unit();
    }
    // Handles and the rest have an operator, or are different.
    let same = call.ctx.call_native_fn::<bool>("==", (a.clone(), b.clone()));
    same.unwrap_or(false)
}

/// Whether one value is less than another: two numbers, or two texts.
#[must_use]
pub fn order(a: &Dynamic, b: &Dynamic) -> Option<std::cmp::Ordering> {
    if let (Ok(a), Ok(b)) = (a.as_int(), b.as_int()) {
        return Some(a.cmp(&b));
    }
    let float =
        |value: &Dynamic| value.as_float().ok().or_else(|| value.as_int().ok().map(|whole| whole as f64));
    if let (Some(a), Some(b)) = (float(a), float(b)) {
        return a.partial_cmp(&b);
    }
    let (a, b) = (a.read_lock::<ImmutableString>()?, b.read_lock::<ImmutableString>()?);
    Some(a.as_str().cmp(b.as_str()))
}
