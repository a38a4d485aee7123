//! JUnit XML in the form that CI systems read: a suite for each file, a case for each test.

use super::super::message::Outcome;
use super::super::summary::Summary;
use super::{Record, human};
use std::collections::BTreeMap;
use std::time::Duration;

/// The whole document.
pub(super) fn document(records: &[Record], summary: &Summary) -> String {
    let mut suites: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in records {
        suites.entry(&record.file).or_default().push(record);
    }
    let (failures, errors, skipped) = counts(&records.iter().collect::<Vec<_>>());
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    text.push_str(&format!(
        "<testsuites name=\"cshell\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" time=\"{}\">\n",
        records.len(),
        seconds(summary.took)
    ));
    for (file, records) in suites {
        let (failures, errors, skipped) = counts(&records);
        let time = records.iter().map(|record| record.verdict.took).sum();
        text.push_str(&format!(
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" time=\"{}\">\n",
            escaped(file),
            records.len(),
            seconds(time)
        ));
        records.iter().for_each(|record| case(&mut text, record));
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

/// Failures, errors (of files, and of what was ended from outside) and skipped tests.
fn counts(records: &[&Record]) -> (usize, usize, usize) {
    let count = |is: fn(&Record) -> bool| records.iter().filter(|record| is(record)).count();
    let error = |record: &Record| {
        record.name.is_empty() && record.is_failure() || record.verdict.outcome == Outcome::Stopped
    };
    let failure = |record: &Record| record.is_failure() && !record.name.is_empty();
    let skipped = |record: &Record| {
        matches!(record.verdict.outcome, Outcome::Skip | Outcome::Todo) && !record.is_failure()
    };
    (count(failure), count(error), count(skipped))
}

fn case(text: &mut String, record: &Record) {
    let verdict = &record.verdict;
    let name = if record.name.is_empty() { "(the file)" } else { &record.name };
    text.push_str(&format!(
        "    <testcase classname=\"{}\" name=\"{}\" file=\"{}\" line=\"{}\" time=\"{}\"",
        escaped(&record.file),
        escaped(name),
        escaped(&record.place.0),
        record.place.1,
        seconds(verdict.took)
    ));
    let element = match verdict.outcome {
        Outcome::Pass => None,
        Outcome::Skip | Outcome::Todo if !record.is_failure() => Some("skipped"),
        Outcome::Stopped => Some("error"),
        _ if record.name.is_empty() => Some("error"),
        _ => Some("failure"),
    };
    let Some(element) = element else {
        text.push_str("/>\n");
        return;
    };
    let message = match verdict.outcome {
        Outcome::Leak if verdict.message.is_empty() => "it left something behind".to_owned(),
        _ => verdict.message.clone(),
    };
    text.push_str(&format!(
        ">\n      <{element} message=\"{}\" type=\"{}\">",
        escaped(&message),
        record.word()
    ));
    text.push_str(&escaped(&verdict.text));
    text.push_str(&escaped(&verdict.left.iter().map(human::left).collect::<String>()));
    text.push_str(&format!("</{element}>\n"));
    if !verdict.output.is_empty() {
        text.push_str(&format!("      <system-out>{}</system-out>\n", escaped(&verdict.output)));
    }
    text.push_str("    </testcase>\n");
}

fn seconds(duration: Duration) -> String {
    format!("{:.3}", duration.as_secs_f64())
}

/// What XML 1.0 can hold: other control characters are left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}
