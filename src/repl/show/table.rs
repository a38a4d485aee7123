//! A list of maps as a table that fits the terminal.

use crate::repl::show::{Screen, cell, fit};
use crate::script::look::Look;
use unicode_width::UnicodeWidthStr;

/// Keys that say what a row is.
pub(super) const FIRST: &[&str] = &[
    "id",
    "n",
    "name",
    "reference",
    "kind",
    "type",
    "pid",
    "pids",
    "command",
    "inode",
    "target",
    "source",
    "path",
    "state",
    "up",
    "addr",
    "dst",
    "via",
    "dev",
    "size",
    "layers",
    "mtu",
    "peer",
    "master",
    "mac",
];
/// Between two columns.
const GAP: usize = 2;
/// A column is not made narrower than this.
const LEAST: usize = 9;

struct Column<'a> {
    name: &'a str,
    cells: Vec<String>,
    numbers: bool,
    width: usize,
}

/// The table of these rows. The columns named in `first` come first, in this order; the others follow by name.
pub(super) fn table(rows: &[&[(String, Look)]], first: &[&str], screen: Screen) -> String {
    let mut columns = columns(rows, first);
    let dropped = shrink(&mut columns, screen.width);
    let heads: Vec<String> = columns.iter().map(|column| pad(column, column.name)).collect();
    let mut out = format!("{}\n", screen.bold(heads.join("  ").trim_end()));
    for index in 0..rows.len() {
        let cells: Vec<String> = columns.iter().map(|column| pad(column, &column.cells[index])).collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    if !dropped.is_empty() {
        let names = fit(&dropped.join(", "), screen.width.saturating_sub(11).max(20));
        out.push_str(&screen.dim(&format!("not shown: {names}")));
        out.push('\n');
    }
    out
}

fn columns<'a>(rows: &[&'a [(String, Look)]], first: &[&str]) -> Vec<Column<'a>> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in rows.iter().flat_map(|row| row.iter()) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let rank = |name: &str| first.iter().position(|first| *first == name).unwrap_or(first.len());
    names.sort_by(|a, b| rank(a).cmp(&rank(b)).then(a.cmp(b)));
    names.into_iter().map(|name| column(name, rows)).collect()
}

fn column<'a>(name: &'a str, rows: &[&'a [(String, Look)]]) -> Column<'a> {
    let value = |row: &&'a [(String, Look)]| row.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    let shown = |row| match value(row) {
        None | Some(Look::Unit) => String::new(),
        // Without quotes: a table is read, not typed.
        Some(Look::Text(text)) => super::printable(text, false),
        Some(Look::List(items, _)) if items.iter().all(|item| matches!(item, Look::Text(_))) => {
            let texts = items.iter().map(|item| match item {
                Look::Text(text) => super::printable(text, false),
                other => cell(other, "", ""),
            });
            texts.collect::<Vec<_>>().join(",")
        }
        Some(other) => cell(other, "", name),
    };
    let cells: Vec<String> = rows.iter().map(shown).collect();
    let numbers = rows.iter().filter_map(value).all(|look| matches!(look, Look::Int(_) | Look::Float(_)));
    let width = cells.iter().map(|cell| cell.width()).chain([name.width()]).max().unwrap_or(0);
    Column { name, cells, numbers, width }
}

/// Makes the widest columns narrower until all fit, then drops the last ones. The names of those.
fn shrink<'a>(columns: &mut Vec<Column<'a>>, width: usize) -> Vec<&'a str> {
    let mut dropped = Vec::new();
    loop {
        let total = |columns: &[Column<'_>]| -> usize {
            columns.iter().map(|column| column.width).sum::<usize>() + GAP * columns.len().saturating_sub(1)
        };
        let over = total(columns).saturating_sub(width);
        if over == 0 {
            return dropped;
        }
        // No wider than the next narrower one, so that all wide ones give the same.
        let widest = columns.iter().map(|column| column.width).max().unwrap_or(0);
        let next = columns.iter().map(|column| column.width).filter(|width| *width < widest).max();
        let target = next.unwrap_or(0).max(LEAST).max(widest.saturating_sub(over));
        let at = columns.iter().position(|column| column.width == widest).filter(|_| target < widest);
        match at {
            Some(at) => columns[at].width = target,
            None if columns.len() > 1 => dropped.extend(columns.pop().map(|column| column.name)),
            None => return dropped,
        }
    }
}

fn pad(column: &Column<'_>, text: &str) -> String {
    let text = fit(text, column.width);
    let space = " ".repeat(column.width.saturating_sub(text.width()));
    if column.numbers { format!("{space}{text}") } else { format!("{text}{space}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, size: i64, path: &str) -> Vec<(String, Look)> {
        vec![
            ("extra".into(), Look::Unit),
            ("name".into(), Look::Text(name.into())),
            ("path".into(), Look::Text(path.into())),
            ("size".into(), Look::Int(size)),
        ]
    }

    #[test]
    fn a_table_fits_its_width() {
        let rows = [row("a", 1, "/a/long/path/that/does/not/fit"), row("bb", 2048, "/b")];
        let rows: Vec<&[(String, Look)]> = rows.iter().map(Vec::as_slice).collect();
        let wide = "\
name  path                            size  extra
a     /a/long/path/that/does/not/fit    1B
bb    /b                              2KiB
";
        assert_eq!(table(&rows, FIRST, Screen { width: 60, colour: false }), wide);
        let narrow = "\
name  path         size  extra
a     /a/long/pa…    1B
bb    /b           2KiB
";
        assert_eq!(table(&rows, FIRST, Screen { width: 30, colour: false }), narrow);
        let tiny = table(&rows, FIRST, Screen { width: 16, colour: false });
        assert!(tiny.contains("not shown: extra, size"), "{tiny}");
        assert!(tiny.lines().all(|line| line.starts_with("not shown") || line.width() <= 16), "{tiny}");
    }
}
