//! A line of JSON for each event: `plan`, `retry`, `result` and `end`, or `test` where tests are listed.

use super::super::message::Verdict;
use super::super::summary::Summary;
use super::Record;
use serde_json::{Value, json};
use std::time::Duration;

pub(super) fn planned(tests: usize, seed: u64) -> String {
    line(&json!({ "event": "plan", "tests": tests, "seed": seed }))
}

pub(super) fn listed(name: &str, place: &str) -> String {
    line(&json!({ "event": "test", "name": name, "at": place }))
}

pub(super) fn retried(file: &str, name: &str, attempt: u32, verdict: &Verdict) -> String {
    line(&json!({ "event": "retry", "file": file, "name": name, "try": attempt, "message": verdict.line() }))
}

pub(super) fn finished(record: &Record) -> String {
    let verdict = &record.verdict;
    line(&json!({
        "event": "result",
        "file": record.file,
        "name": record.name,
        "at": format!("{}:{}", record.place.0, record.place.1),
        "result": record.word(),
        "failed": record.is_failure(),
        "try": record.attempt,
        "duration_ms": millis(verdict.took),
        "around_ms": millis(verdict.around.saturating_sub(verdict.took)),
        "message": verdict.message,
        "text": verdict.text,
        "left": verdict.left,
        "notes": verdict.notes,
        "output": verdict.output,
    }))
}

pub(super) fn compared(runtime: &str, record: &Record, here: Option<&str>, differs: bool) -> String {
    line(&json!({
        "event": "comparison",
        "runtime": runtime,
        "file": record.file,
        "name": record.name,
        "result": record.word(),
        "here": here,
        "differs": differs,
        "message": record.verdict.line(),
        "text": record.verdict.text,
        "notes": record.verdict.notes,
    }))
}

pub(super) fn end(summary: &Summary) -> String {
    line(&json!({
        "event": "end",
        "passed": summary.passed,
        "failed": summary.failed,
        "leaked": summary.leaked,
        "timed_out": summary.timed_out,
        "skipped": summary.skipped,
        "todo": summary.todo,
        "stopped": summary.stopped,
        "slow": summary.slow,
        "flaky": summary.flaky,
        "broken_files": summary.broken,
        "empty_files": summary.empty,
        "problems": summary.problems,
        "known": summary.known,
        "not_chosen": summary.left_out,
        "not_begun": summary.not_begun(),
        "duration_ms": millis(summary.took),
    }))
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

fn line(value: &Value) -> String {
    format!("{value}\n")
}
