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
        // With a directive it would be no failure for whoever reads it.
        _ if record.no_skip => String::new(),
        Outcome::Skip => format!(" # SKIP {}", line(&verdict.message)),
        Outcome::Todo => format!(" # TODO {}", line(&verdict.message)),
        _ => String::new(),
    };
    let mut text = format!("{ok} {number} - {}{directive}\n", escaped(&record.full_name()));
    if ok == "not ok" || record.slow {
        text.push_str("  ---\n");
        text.push_str(&format!("  result: {}\n", record.word()));
        text.push_str(&format!("  duration_ms: {:.1}\n", verdict.took.as_secs_f64() * 1000.0));
        text.push_str(&format!(
            "  at: {}\n",
            quoted(&format!("{}:{}", line(&record.place.0), record.place.1))
        ));
        block(&mut text, "message", if verdict.text.is_empty() { &verdict.message } else { &verdict.text });
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
    // How far it is indented, since it may begin with spaces of its own.
    text.push_str(&format!("  {key}: |2\n"));
    for line in value.lines() {
        text.push_str(&format!("    {}\n", line.replace(is_foreign, " ")));
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
    text.replace(is_foreign, " ")
}

/// What YAML does not take as it is, or takes for the end of a line.
fn is_foreign(c: char) -> bool {
    (c.is_control() && c != '\t') || matches!(c, '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}')
}
