//! Processes: start, wait, capture, end.

pub mod background;
pub mod calls;
mod complete;
pub mod exec;
pub mod foreign;
pub mod io;
pub mod mounts;
mod oom;
pub mod orphans;
pub mod outcome;
pub mod plan;
pub mod process;
pub mod reclaim;
pub mod shell;
pub mod spec;
pub mod user;

pub use exec::{exec, spawn};
pub use process::{Outcome, Process};
pub use spec::{Command, ProcSpec};

/// The number of a signal by name, with or without `SIG`, or written as a number.
#[must_use]
pub fn signal_number(name: &str) -> Option<i32> {
    crate::sys::process::signal_number(name)
}
