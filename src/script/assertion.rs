//! Comparing values, and telling in what they differ.

use crate::script::call::Call;
use rhai::{Array, Blob, Dynamic, ImmutableString, Map};
use similar::{ChangeTag, TextDiff};
use std::time::Duration;

/// How many differences are told.
const MOST: usize = 20;
/// How many letters of a value are shown in a line.
const LINE: usize = 200;
/// How many lines of a difference of texts are shown.
const LINES: usize = 200;
/// How long the shortest difference of two texts is searched for.
const SEARCH: Duration = Duration::from_secs(1);

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

/// A value with the handles in it as the words that a script prints for them.
pub fn plainly(call: &Call<'_>, value: &Dynamic) -> Dynamic {
    if let Some(list) = value.read_lock::<Array>() {
        return list.iter().map(|value| plainly(call, value)).collect::<Array>().into();
    }
    if let Some(map) = value.read_lock::<Map>() {
        return map.iter().map(|(key, value)| (key.clone(), plainly(call, value))).collect::<Map>().into();
    }
    if !value.type_name().contains("::") {
        return value.clone();
    }
    let text = call.ctx.call_native_fn::<ImmutableString>("to_string", (value.clone(),));
    text.map_or_else(|_| value.clone(), Into::into)
}

/// Two blobs that differ, in a line each: what is around the first byte in which they do.
fn blobs(a: &Blob, b: &Blob) -> (String, String) {
    const BEFORE: usize = 8;
    const SHOWN: usize = 24;
    let common = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let from = common.saturating_sub(BEFORE);
    let part = |blob: &Blob| {
        let bytes: Vec<String> =
            blob.iter().skip(from).take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
        let more = if blob.len() > from + SHOWN { " …" } else { "" };
        format!("{} bytes, from byte {from}: {}{more}", blob.len(), bytes.join(" "))
    };
    (part(a), part(b))
}

/// Two values that differ, in a line each: of long texts what is around the first letter in which they do.
fn beside(a: &Dynamic, b: &Dynamic) -> (String, String) {
    if let (Some(x), Some(y)) = (a.read_lock::<Blob>(), b.read_lock::<Blob>()) {
        return blobs(&x, &y);
    }
    let (Some(x), Some(y)) = (a.read_lock::<ImmutableString>(), b.read_lock::<ImmutableString>()) else {
        return (shown(a), shown(b));
    };
    let from = hidden(&x, &y);
    if from == 0 {
        return (shown(a), shown(b));
    }
    let part = |text: &str| {
        let rest: String = text.chars().skip(from).collect();
        format!("…{} (from letter {})", shown(&rest.into()), from + 1)
    };
    (part(&x), part(&y))
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
pub fn told(call: &Call<'_>, is: &Dynamic, expected: &Dynamic, differences: &[String]) -> String {
    if let (Some(a), Some(b)) = (is.read_lock::<ImmutableString>(), expected.read_lock::<ImmutableString>())
        && (a.contains('\n') || b.contains('\n'))
    {
        return lines(&a, &b);
    }
    let (here, there) = beside(&plainly(call, is), &plainly(call, expected));
    let mut text = format!("is:       {here}\nexpected: {there}\n");
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
    // Of texts that have nothing in common the shortest difference may take minutes to find.
    let diff = TextDiff::configure().timeout(SEARCH).diff_lines(expected, is);
    let mut shown = Vec::new();
    for (number, group) in diff.grouped_ops(3).iter().enumerate() {
        if number > 0 {
            shown.push("…\n".to_owned());
        }
        for op in group {
            let (olds, news) = (op.old_range(), op.new_range());
            for change in diff.iter_changes(op) {
                // The line that stands in its place on the other side.
                let (sign, other) = match change.tag() {
                    ChangeTag::Delete => {
                        let at = change.old_index().map(|at| news.start + at - olds.start);
                        ('-', at.filter(|at| news.contains(at)).and_then(|at| diff.new_slice(at)))
                    }
                    ChangeTag::Insert => {
                        let at = change.new_index().map(|at| olds.start + at - news.start);
                        ('+', at.filter(|at| olds.contains(at)).and_then(|at| diff.old_slice(at)))
                    }
                    ChangeTag::Equal => (' ', None),
                };
                shown.push(format!("{sign} {}\n", line(change.value(), other)));
            }
        }
    }
    let more = shown.len().saturating_sub(LINES);
    shown.truncate(LINES);
    if more > 0 {
        shown.push(format!("and {more} more lines\n"));
    }
    format!("- expected\n+ is\n{}", shown.concat())
}

/// A line of a text, from where it differs from another where it is long. What is not seen is written out.
fn line(line: &str, other: Option<&str>) -> String {
    let (line, end) = match line.strip_suffix('\n') {
        Some(line) => (line, ""),
        None => (line, " (without a line end)"),
    };
    let from = other.map_or(0, |other| hidden(line, other));
    let mut rest = line.chars().skip(from);
    let mut text = String::from(if from > 0 { "…" } else { "" });
    for c in rest.by_ref().take(LINE) {
        if c.is_control() && c != '\t' {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
    if rest.next().is_some() {
        text.push('…');
    }
    if from > 0 {
        text.push_str(&format!(" (from letter {})", from + 1));
    }
    text + end
}

/// How many letters at the beginning of two texts are left out, because the texts differ far behind them.
fn hidden(a: &str, b: &str) -> usize {
    const BEFORE: usize = 20;
    let common = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    if common < LINE / 2 { 0 } else { common - BEFORE }
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
        let (here, there) = beside(&plainly(call, is), &plainly(call, expected));
        let kinds = if here == there {
            format!(" ({} and {})", kind(call, is), kind(call, expected))
        } else {
            String::new()
        };
        found.push(format!("{path}: {here}, expected {there}{kinds}"));
    }
}

fn kind<'a>(call: &'a Call<'_>, value: &Dynamic) -> &'a str {
    match value {
        value if value.is_string() => "a text",
        value if value.is_int() => "a whole number",
        value if value.is_float() => "a number",
        value if value.is_char() => "a character",
        value if value.is_bool() => "a truth value",
        _ => call.ctx.engine().map_type_name(value.type_name()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_shown_from_where_they_differ() {
        let long = |end: &str| Dynamic::from(format!("{}{end}", "ä".repeat(250)));
        let before = "ä".repeat(20);
        let (is, expected) = beside(&long("y"), &long("z"));
        assert_eq!(is, format!("…\"{before}y\" (from letter 231)"));
        assert_eq!(expected, format!("…\"{before}z\" (from letter 231)"));
        assert_eq!(beside(&"a".into(), &"b".into()), ("\"a\"".to_owned(), "\"b\"".to_owned()));
        assert_eq!(beside(&long(""), &1.into()).1, "1");
        let (is, expected) = (vec![1; 300], [vec![1; 299], vec![2]].concat());
        let (is, expected) = beside(&Dynamic::from_blob(is), &Dynamic::from_blob(expected));
        assert_eq!(is, "300 bytes, from byte 291: 01 01 01 01 01 01 01 01 01");
        assert_eq!(expected, "300 bytes, from byte 291: 01 01 01 01 01 01 01 01 02");
    }

    #[test]
    fn a_difference_of_lines_has_bounds() {
        let long = "x".repeat(100_000);
        let text = lines(&format!("a\n{long}b{long}\n"), &format!("a\n{long}c{long}\n"));
        let rows: Vec<&str> = text.lines().collect();
        let part = |sign: &str, letter: &str| {
            format!("{sign} …{}{letter}{}… (from letter 99981)", "x".repeat(20), "x".repeat(179))
        };
        assert_eq!(rows[2..], ["  a".to_owned(), part("-", "c"), part("+", "b")]);
        // What has no other line in its place is shown from its beginning.
        let text = lines(&format!("a\n{long}\n"), "a\n");
        assert_eq!(text.lines().last(), Some(format!("+ {}…", "x".repeat(200)).as_str()));
        let many: String = (0..300).map(|number| format!("{number}\n")).collect();
        let text = lines("", &many);
        assert!(text.ends_with("- 199\nand 100 more lines\n"), "{text}");
        assert_eq!(lines("a", "a\n"), "- expected\n+ is\n- a\n+ a (without a line end)\n");
    }
}
