//! What a trace shows: events of steps, made by the session and consumed by the front ends.

pub use crate::sys::record::Call;
use std::time::Duration;

/// One event of a session.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step has acted, or failed.
    Step(StepEvent<'a>),
    /// A step was taken back, or could not be.
    Undo(UndoEvent<'a>),
}

/// A step that has acted or failed.
#[derive(Debug)]
pub struct StepEvent<'a> {
    /// Its number in the session, from 1.
    pub n: u64,
    /// The operation, such as `fs::overlay`.
    pub op: &'static str,
    /// What it is for.
    pub intent: &'a str,
    /// The script line that asked for it.
    pub at: Option<&'a str>,
    /// The system calls, in order, with their results.
    pub calls: &'a [Call],
    /// What the kernel now holds, as read back; or the error.
    pub effect: Result<&'a str, &'a crate::error::Error>,
    /// How it will be taken back.
    pub undo: &'a str,
    /// How long it took.
    pub took: Duration,
}

/// A step that was taken back.
#[derive(Debug)]
pub struct UndoEvent<'a> {
    /// The number of the step.
    pub n: u64,
    /// The operation of the step.
    pub op: &'a str,
    /// What was done.
    pub text: &'a str,
    /// The system calls, in order, with their results.
    pub calls: &'a [Call],
    /// The error, if it could not be taken back.
    pub error: Option<&'a crate::error::Error>,
    /// How long it took.
    pub took: Duration,
}

/// Where events go.
pub trait Sink: std::fmt::Debug {
    /// Takes one event. Must not fail: a trace never changes what is traced.
    fn event(&self, event: &Event<'_>);
}
