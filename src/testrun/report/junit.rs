//! JUnit XML in the form that CI systems read: a suite for each file, a case for each test.

use super::super::message::Outcome;
use super::super::summary::Summary;
use super::{Record, human};
use std::collections::BTreeMap;
use std::time::Duration;

/// The whole document.
pub(super) fn document(records: &[Record], others: &[(&str, Record)], summary: &Summary) -> String {
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
        records.iter().for_each(|record| case(&mut text, record, &differences(record, others)));
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

/// How a test came out with other runtimes, where that is not as here: a line each, which is no verdict.
fn differences(record: &Record, others: &[(&str, Record)]) -> String {
    let of_it = others.iter().filter(|(_, other)| other.full_name() == record.full_name());
    let differ = of_it
        .filter(|(_, other)| other.verdict.outcome != Outcome::Skip && other.compared() != record.compared());
    let told = differ.map(|(runtime, other)| {
        format!(
            "{runtime} differs: {} there, {} here: {}\n",
            other.result(),
            record.result(),
            other.verdict.line()
        )
    });
    told.collect()
}

fn case(text: &mut String, record: &Record, differences: &str) {
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
    let output = format!("{differences}{}", if element.is_some() { &verdict.output } else { "" });
    if element.is_none() && output.is_empty() {
        text.push_str("/>\n");
        return;
    }
    text.push_str(">\n");
    if let Some(element) = element {
        let message = match verdict.outcome {
            Outcome::Leak if verdict.message.is_empty() => "it left something behind".to_owned(),
            _ => verdict.message.clone(),
        };
        text.push_str(&format!(
            "      <{element} message=\"{}\" type=\"{}\">",
            escaped(&message),
            record.word()
        ));
        text.push_str(&escaped(&verdict.text));
        text.push_str(&escaped(&verdict.left.iter().map(human::left).collect::<String>()));
        text.push_str(&format!("</{element}>\n"));
    }
    if !output.is_empty() {
        text.push_str(&format!("      <system-out>{}</system-out>\n", escaped(&output)));
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
