//! What `--trace` shows.
//!
//! On the standard error, for people: a block for each step, a line for each undo, both with their system calls.
//! With `--trace=FILE`, one JSON object a line. Every object has `event` (`step` or `undo`), `n` (the number of the
//! step), `op` (the function, such as `net::veth`), `calls` and `took_us` (microseconds). A step also has `at` (the
//! script line, or null), `intent`, `effect` (what the kernel now holds, or null), `error` (or null) and `undo` (how
//! it will be taken back); an undo has `text` (what was done) and `error` (or null). An element of `calls` has `call`
//! (as written in C), `result` (as text, or null), `errno` (its name, or null) and `us`.

use crate::error::{Result, SysContext};
use crate::runtime::trace::{Event, Sink, StepEvent, UndoEvent};
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

impl Sink for Human {
    fn event(&self, event: &Event<'_>) {
        let text = match event {
            Event::Step(step) => step_text(step),
            Event::Undo(undo) => undo_text(undo),
        };
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
                "calls": calls_json(step),
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
                "calls": calls_json(undo),
                "error": undo.error.map(full_text),
                "took_us": micros(undo.took),
            }),
        };
        let _ = self.0.borrow_mut().write_all(format!("{value}\n").as_bytes());
    }
}

/// The calls of an event: their type belongs to a layer below.
trait Calls {
    fn each(&self, show: &mut dyn FnMut(&str, std::result::Result<&str, String>, u64));
}

macro_rules! calls {
    ($($ty:ty),*) => { $(
        impl Calls for $ty {
            fn each(&self, show: &mut dyn FnMut(&str, std::result::Result<&str, String>, u64)) {
                for call in self.calls {
                    let result = call.result.as_deref().map_err(|errno| format!("{errno:?}"));
                    show(&call.call, result, call.micros);
                }
            }
        }
    )* };
}
calls!(StepEvent<'_>, UndoEvent<'_>);

fn calls_json(event: &dyn Calls) -> Vec<Value> {
    let mut list = Vec::new();
    event.each(&mut |call, result, us| {
        list.push(
            json!({ "call": call, "result": result.as_ref().ok(), "errno": result.as_ref().err(), "us": us }),
        );
    });
    list
}

fn calls_text(event: &dyn Calls, out: &mut String) {
    event.each(&mut |call, result, us| {
        let result = result.map_or_else(|errno| format!("-1 {errno}"), ToOwned::to_owned);
        let took = show_duration(Duration::from_micros(us));
        let _ = writeln!(out, "      {call} = {result} <{took}>");
    });
}

fn step_text(step: &StepEvent<'_>) -> String {
    let mut out = format!("[{}] {}", step.n, step.op);
    if let Some(at) = step.at {
        let _ = write!(out, " at {at}");
    }
    let _ = writeln!(out, ": {}", step.intent);
    calls_text(step, &mut out);
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
    calls_text(undo, &mut out);
    out
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
