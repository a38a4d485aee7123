//! How a value looks at the prompt: a handle as a line of live facts, a list of maps as a table, a map as lines, all
//! fitted to the terminal, with sizes and durations in units a person reads.

mod table;
mod units;

use crate::script::look::Look;
use std::fmt::Write;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The terminal that is written to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    /// Columns.
    pub(super) width: usize,
    /// Whether colours may be used.
    pub(super) colour: bool,
}

/// How many lines of a value are shown before the rest is only counted.
pub(super) const LINES: usize = 100;

impl Screen {
    /// A text in a colour or style, by the number of its escape sequence.
    pub(super) fn style(self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A text that stands back.
    pub(super) fn dim(self, text: &str) -> String {
        self.style("2", text)
    }

    /// A text that stands out.
    pub(super) fn bold(self, text: &str) -> String {
        self.style("1", text)
    }
}

/// A value, whole.
pub(super) fn show(look: &Look, screen: Screen) -> String {
    let text = match look {
        Look::Text(text) => lines_or_quoted(text),
        Look::List(items, total) => list(items, *total, screen),
        Look::Map(entries) => map(entries, "", screen),
        Look::Ended { line, stdout, stderr } => ended(line, stdout, stderr, screen),
        Look::Handle(id, line) => format!("{line}  {}", screen.dim(&format!("#{id}"))),
        other => cell(other, "", ""),
    };
    let text = text.trim_end_matches('\n');
    format!("{text}\n")
}

/// Rows of values as a table, with the columns in this order.
pub(super) fn rows(rows: &[Vec<(&str, Look)>], screen: Screen) -> String {
    let order: Vec<&str> = rows.iter().take(1).flatten().map(|(name, _)| *name).collect();
    let owned: Vec<Vec<(String, Look)>> = rows
        .iter()
        .map(|row| row.iter().map(|(name, look)| ((*name).to_owned(), look.clone())).collect())
        .collect();
    table::table(&owned.iter().map(Vec::as_slice).collect::<Vec<_>>(), &order, screen)
}

/// A value on one line.
pub(super) fn line(look: &Look) -> String {
    cell(look, "", "")
}

/// The first lines of a text, and how many are missing.
pub(super) fn cut(text: &str, most: usize) -> (&str, usize) {
    let ends = text.match_indices('\n').nth(most - 1);
    match ends {
        Some((end, _)) => (&text[..=end], text[end + 1..].lines().count()),
        None => (text, 0),
    }
}

/// A text of one line as it is written in a script; one of more lines as it is.
fn lines_or_quoted(text: &str) -> String {
    if text.trim_end_matches('\n').contains('\n') { printable(text, true) } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", printable(text, false).replace('"', "\\\""))
}

/// A text without what would move the cursor or change colours: it may come from anywhere.
pub(super) fn printable(text: &str, lines: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' if lines => out.push(c),
            '\\' if !lines => out.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(out, "{}", c.escape_debug());
            }
            c => out.push(c),
        }
    }
    out
}

fn ended(line: &str, stdout: &str, stderr: &str, screen: Screen) -> String {
    let part = |text: &str| match text {
        "" => String::new(),
        text => format!("{}\n", printable(text.trim_end_matches('\n'), true)),
    };
    let errors: String = part(stderr).lines().map(|line| format!("{}\n", screen.style("31", line))).collect();
    format!("{}{errors}{}", part(stdout), screen.dim(line))
}

fn list(items: &[Look], total: usize, screen: Screen) -> String {
    let rows: Option<Vec<&[(String, Look)]>> = items
        .iter()
        .map(|item| match item {
            Look::Map(entries) => Some(entries.as_slice()),
            _ => None,
        })
        .collect();
    let mut text = match rows {
        Some(rows) if !rows.is_empty() => table::table(&rows, table::FIRST, screen),
        _ => plain_list(items, screen),
    };
    if total > items.len() {
        let _ = write!(text, "\n{}", screen.dim(&format!("… {} of {total} elements", items.len())));
    }
    text
}

fn plain_list(items: &[Look], screen: Screen) -> String {
    let one_line =
        format!("[{}]", items.iter().map(|item| cell(item, "", "")).collect::<Vec<_>>().join(", "));
    if one_line.width() <= screen.width {
        return one_line;
    }
    let width = items.len().saturating_sub(1).to_string().len();
    let line = |(index, item): (usize, &Look)| {
        let number = screen.dim(&format!("{index:>width$}"));
        format!("{number} {}\n", fit(&cell(item, "", ""), screen.width.saturating_sub(width + 1)))
    };
    items.iter().enumerate().map(line).collect()
}

fn map(entries: &[(String, Look)], parent: &str, screen: Screen) -> String {
    if entries.is_empty() {
        return "#{}".into();
    }
    let widest = entries.iter().map(|(key, _)| key.width()).max().unwrap_or(0).min(screen.width / 2);
    let mut out = String::new();
    for (key, value) in entries {
        let pad = " ".repeat(widest.saturating_sub(key.width()));
        let shown_key = screen.style("36", &printable(key, false));
        let room = screen.width.saturating_sub(widest + 2);
        let one_line = cell(value, parent, key);
        match value {
            Look::Map(inner) if !inner.is_empty() && one_line.width() > room => {
                let inner = map(inner, key, Screen { width: screen.width.saturating_sub(2), ..screen });
                let _ = writeln!(out, "{shown_key}");
                inner.lines().for_each(|line| {
                    let _ = writeln!(out, "  {line}");
                });
            }
            Look::List(items, total) if one_line.width() > room => {
                let inner = list(items, *total, Screen { width: screen.width.saturating_sub(2), ..screen });
                let _ = writeln!(out, "{shown_key}");
                inner.lines().for_each(|line| {
                    let _ = writeln!(out, "  {line}");
                });
            }
            _ => {
                let _ = writeln!(out, "{shown_key}{pad}  {one_line}");
            }
        }
    }
    out
}

/// A value on one line. `parent` and `key` say where it is in a map, for its unit.
fn cell(look: &Look, parent: &str, key: &str) -> String {
    match look {
        Look::Unit => "()".into(),
        Look::Bool(flag) => flag.to_string(),
        Look::Int(number) => units::number(*number, parent, key),
        Look::Float(number) => units::fraction(*number, parent, key),
        Look::Text(text) => quoted(text),
        Look::Blob(bytes, total) => blob(bytes, *total),
        Look::List(items, total) => {
            let more = if *total > items.len() { ", …" } else { "" };
            let items: Vec<String> = items.iter().map(|item| cell(item, parent, key)).collect();
            format!("[{}{more}]", items.join(", "))
        }
        Look::Map(entries) => {
            let entry = |(inner, value): &(String, Look)| {
                format!("{}: {}", printable(inner, false), cell(value, key, inner))
            };
            format!("#{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Look::Handle(_, line) | Look::Ended { line, .. } => printable(line, false),
        Look::Other(text) => printable(text, false),
    }
}

fn blob(bytes: &[u8], total: usize) -> String {
    let shown: Vec<String> = bytes.iter().take(32).map(|byte| format!("{byte:02x}")).collect();
    let more = if total > 32 { " …" } else { "" };
    format!("blob of {total} bytes [{}{more}]", shown.join(" "))
}

/// A text in lines of at most this width, broken at spaces.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A text cut to a width, with a sign that it was.
pub(super) fn fit(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > width {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const NARROW: Screen = Screen { width: 40, colour: false };

    fn map_of(entries: &[(&str, Look)]) -> Look {
        Look::Map(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
    }

    #[test]
    fn values_are_shown_as_they_are_written() {
        for (look, expected) in [
            (Look::Int(42), "42\n"),
            (Look::Text("a\"b\\".into()), "\"a\\\"b\\\\\"\n"),
            (Look::Text("\x1b[2J".into()), "\"\\u{1b}[2J\"\n"),
            (Look::Text("a\nb\n".into()), "a\nb\n"),
            (Look::List(vec![Look::Int(1), Look::Text("x".into())], 2), "[1, \"x\"]\n"),
            (Look::List(vec![Look::Int(1)], 3), "[1]\n… 1 of 3 elements\n"),
            (Look::Blob(vec![0, 255], 2), "blob of 2 bytes [00 ff]\n"),
        ] {
            assert_eq!(show(&look, NARROW), expected);
        }
    }

    #[test]
    fn a_map_is_lines_with_units() {
        let memory = map_of(&[("current", Look::Int(64 << 20)), ("oom_kills", Look::Int(2))]);
        let cpu = map_of(&[("usage", Look::Float(0.0125)), ("usage_usec", Look::Int(12_500))]);
        let stats = map_of(&[("cpu", cpu), ("frozen", Look::Bool(false)), ("memory", memory)]);
        let expected = "\
cpu
  usage       12.5ms
  usage_usec  12500 (12.5ms)
frozen  false
memory
  current    64MiB
  oom_kills  2
";
        assert_eq!(show(&stats, Screen { width: 36, colour: false }), expected);
    }

    #[test]
    fn long_texts_are_cut_with_a_count() {
        assert_eq!(cut("a\nb\nc\n", 2), ("a\nb\n", 1));
        assert_eq!(cut("a\nb", 2), ("a\nb", 0));
        assert_eq!(fit("abcdef", 4), "abc…");
        assert_eq!(fit("äöü", 3), "äöü");
    }
}
