//! Test Anything Protocol, version 14: <https://testanything.org/tap-version-14-specification.html>.

use super::super::message::Outcome;
use super::super::summary::Summary;
use super::{Record, human};

/// One test point, with a block of YAML for what is wrong.
pub(super) fn point(number: usize, record: &Record) -> String {
    let verdict = &record.verdict;
    let ok = match verdict.outcome {
        Outcome::Pass => "ok",
        Outcome::Skip if !record.no_skip => "ok",
        _ => "not ok",
    };
    let directive = match verdict.outcome {
        Outcome::Skip => format!(" # SKIP {}", line(&verdict.message)),
        Outcome::Todo => format!(" # TODO {}", line(&verdict.message)),
        _ => String::new(),
    };
    let mut text = format!("{ok} {number} - {}{directive}\n", escaped(&record.full_name()));
    if ok == "not ok" || record.slow {
        text.push_str("  ---\n");
        text.push_str(&format!("  result: {}\n", record.word()));
        text.push_str(&format!("  duration_ms: {:.1}\n", verdict.took.as_secs_f64() * 1000.0));
        text.push_str(&format!("  at: {}\n", quoted(&format!("{}:{}", record.place.0, record.place.1))));
        block(&mut text, "message", &verdict.text);
        block(&mut text, "left", &verdict.left.iter().map(human::left).collect::<String>());
        block(&mut text, "output", &verdict.output);
        text.push_str("  ...\n");
    }
    text
}

/// The plan, which stands at the end, and what is no test point.
pub(super) fn end(points: usize, summary: &Summary) -> String {
    let stopped = summary.signal.map(|_| "Bail out! stopped by a signal\n").unwrap_or_default();
    format!("1..{points}\n{stopped}")
}

fn block(text: &mut String, key: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    text.push_str(&format!("  {key}: |\n"));
    for line in value.lines() {
        text.push_str(&format!("    {}\n", line.replace(|c: char| c.is_control() && c != '\t', " ")));
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A description may not begin a directive of its own.
fn escaped(text: &str) -> String {
    line(text).replace('\\', "\\\\").replace('#', "\\#")
}

/// A text on one line.
pub(super) fn line(text: &str) -> String {
    text.split(['\n', '\r']).collect::<Vec<_>>().join(" ")
}
