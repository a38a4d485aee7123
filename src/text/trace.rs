//! What `--trace` shows.
//!
//! On the standard error, for people: a block for each step, a line for each undo, both with their system calls.
//! With `--trace=FILE`, one JSON object a line. Every object has `event` (`step` or `undo`), `n` (the number of the
//! step), `op` (the function, such as `net::veth`), `calls` and `took_us` (microseconds). A step also has `at` (the
//! script line, or null), `intent`, `effect` (what the kernel now holds, or null), `error` (or null) and `undo` (how
//! it will be taken back); an undo has `text` (what was done) and `error` (or null). An element of `calls` has `call`
//! (as written in C), `result` (as text, or null), `errno` (its name, or null) and `us`.

use crate::error::{Result, SysContext};
use crate::runtime::trace::{Call, Event, Sink, StepEvent, UndoEvent};
use crate::runtime::units::show_duration;
use crate::script::report::full_text;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

/// A trace for people.
#[derive(Debug, Default)]
pub struct Human;

/// A trace for programs.
#[derive(Debug)]
pub struct Json(RefCell<File>);

impl Json {
    /// Writes to a new file, or over an old one.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).context("trace", format!("cannot create {}", path.display()))?;
        Ok(Self(RefCell::new(file)))
    }
}

/// An event for people.
#[must_use]
pub fn text(event: &Event<'_>) -> String {
    match event {
        Event::Step(step) => step_text(step),
        Event::Undo(undo) => undo_text(undo),
    }
}

impl Sink for Human {
    fn event(&self, event: &Event<'_>) {
        let text = text(event);
        // One write, so that blocks of several programs do not mix. A trace never fails what is traced.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}

impl Sink for Json {
    fn event(&self, event: &Event<'_>) {
        let value = match event {
            Event::Step(step) => json!({
                "event": "step",
                "n": step.n,
                "op": step.op,
                "at": step.at,
                "intent": step.intent,
                "calls": calls_json(step.calls),
                "effect": step.effect.as_ref().ok(),
                "error": step.effect.as_ref().err().map(|error| full_text(error)),
                "undo": step.undo,
                "took_us": micros(step.took),
            }),
            Event::Undo(undo) => json!({
                "event": "undo",
                "n": undo.n,
                "op": undo.op,
                "text": undo.text,
                "calls": calls_json(undo.calls),
                "error": undo.error.map(full_text),
                "took_us": micros(undo.took),
            }),
        };
        let _ = self.0.borrow_mut().write_all(format!("{value}\n").as_bytes());
    }
}

fn calls_json(calls: &[Call]) -> Vec<Value> {
    let one = |call: &Call| {
        let errno = call.result.as_ref().err().map(|errno| format!("{errno:?}"));
        json!({ "call": call.call, "result": call.result.as_ref().ok(), "errno": errno, "us": call.micros })
    };
    calls.iter().map(one).collect()
}

fn calls_text(calls: &[Call], out: &mut String) {
    for call in calls {
        let result = call.result.as_ref().map_or_else(|errno| format!("-1 {errno:?}"), Clone::clone);
        let took = call.micros.map_or_else(String::new, |micros| {
            format!(" <{}>", show_duration(Duration::from_micros(micros)))
        });
        let _ = writeln!(out, "      {} = {result}{took}", call.call);
    }
}

fn step_text(step: &StepEvent<'_>) -> String {
    let mut out = format!("[{}] {}", step.n, step.op);
    if let Some(at) = step.at {
        let _ = write!(out, " at {at}");
    }
    let _ = writeln!(out, ": {}", step.intent);
    calls_text(step.calls, &mut out);
    let _ = match step.effect {
        Ok(effect) => writeln!(out, "    effect: {effect}"),
        Err(error) => writeln!(out, "    error: {}", full_text(error)),
    };
    let _ = writeln!(out, "    undo: {}", step.undo);
    let _ = writeln!(out, "    took: {}", show_duration(step.took));
    out
}

fn undo_text(undo: &UndoEvent<'_>) -> String {
    let took = show_duration(undo.took);
    let mut out = match undo.error {
        None => format!("[{}] undone {}: {} <{took}>\n", undo.n, undo.op, undo.text),
        Some(error) => format!("[{}] not undone {}: {} <{took}>\n", undo.n, undo.op, full_text(error)),
    };
    calls_text(undo.calls, &mut out);
    out
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};
    use crate::sys::Errno;

    fn calls() -> Vec<Call> {
        vec![
            Call { call: "mount(\"overlay\")".into(), result: Ok("0".into()), micros: Some(1250) },
            Call { call: "close(3)".into(), result: Err(Errno::EBADF), micros: Some(2) },
        ]
    }

    #[test]
    fn a_step_is_a_block_and_an_undo_a_line() {
        let calls = calls();
        let mut step = StepEvent {
            n: 3,
            op: "fs::overlay",
            intent: "stack 2 folders",
            at: Some("build.rhai:12"),
            calls: &calls,
            effect: Ok("mount id 7"),
            undo: "unmount /x",
            took: Duration::from_millis(2),
        };
        let expected = "\
[3] fs::overlay at build.rhai:12: stack 2 folders
      mount(\"overlay\") = 0 <1.25ms>
      close(3) = -1 EBADF <2us>
    effect: mount id 7
    undo: unmount /x
    took: 2ms
";
        assert_eq!(step_text(&step), expected);
        let error = Error::new(ErrorKind::Busy, "fs::overlay", "in use");
        step.effect = Err(&error);
        assert!(step_text(&step).contains("\n    error: fs::overlay: in use\n"));
        let took = Duration::from_micros(40);
        let mut undo =
            UndoEvent { n: 3, op: "fs::overlay", text: "unmount /x", calls: &[], error: None, took };
        assert_eq!(undo_text(&undo), "[3] undone fs::overlay: unmount /x <40us>\n");
        undo.error = Some(&error);
        assert_eq!(undo_text(&undo), "[3] not undone fs::overlay: fs::overlay: in use <40us>\n");
    }

    #[test]
    fn json_has_a_line_for_each_event() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let sink = Json::create(file.path()).unwrap();
        let calls = calls();
        let took = Duration::from_micros(40);
        let undo =
            UndoEvent { n: 3, op: "fs::overlay", text: "unmount /x", calls: &calls, error: None, took };
        sink.event(&Event::Undo(undo));
        let expected = json!({
            "event": "undo", "n": 3, "op": "fs::overlay", "text": "unmount /x", "error": null, "took_us": 40,
            "calls": [
                { "call": "mount(\"overlay\")", "result": "0", "errno": null, "us": 1250 },
                { "call": "close(3)", "result": null, "errno": "EBADF", "us": 2 },
            ],
        });
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    }
}
