//! How a process ended: what is known of it, in words, and as an error.

use crate::error::{CommandFailure, Error, ErrorKind};
use crate::runtime::security::seccomp::Profile;
use crate::sys::process::Usage;
use std::time::Duration;

/// Why a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// By itself, with a status.
    Exited,
    /// By a signal that was not ours.
    Signaled,
    /// Its time was over.
    Timeout,
    /// The memory controller killed it.
    Oom,
    /// It wrote more than was to be kept.
    Output,
    /// The program was asked to stop.
    Cancelled,
}

impl Reason {
    /// Its name in scripts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Signaled => "signaled",
            Self::Timeout => "timeout",
            Self::Oom => "oom",
            Self::Output => "output",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What is known of a process that has ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The exit code; 128 + n after signal n.
    pub code: i32,
    /// The name of the signal that ended it.
    pub signal: Option<String>,
    /// Why.
    pub reason: Reason,
    /// What it wrote to its standard output, as far as that was kept and not taken before.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error.
    pub stderr: Vec<u8>,
    /// What it used.
    pub usage: Usage,
    /// How long it ran.
    pub wall: Duration,
    /// The greatest use of memory by its group, or by one of its processes, in bytes. Unknown without a group where it
    /// is less than our own.
    pub memory_peak: Option<u64>,
    /// The greatest number of processes in its group, where the kernel counts that.
    pub pids_peak: Option<u64>,
    /// The profile of its system calls, when they were noted.
    pub seccomp_profile: Option<Profile>,
}

impl Outcome {
    /// Whether it ended by itself with status 0.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.reason == Reason::Exited && self.code == 0
    }
}

/// How much of its standard error an error shows.
const TAIL: usize = 2000;

/// How it ended, in words.
#[must_use]
pub fn show(outcome: &Outcome) -> String {
    match (&outcome.signal, outcome.reason) {
        (Some(signal), Reason::Signaled) => format!("killed by {signal}"),
        (Some(signal), reason) => format!("{}, killed by {signal}", reason.name()),
        (None, Reason::Exited) => format!("exited with status {}", outcome.code),
        (None, reason) => format!("{}, status {}", reason.name(), outcome.code),
    }
}

/// The error for an outcome that is not a success.
#[must_use]
pub fn failure(op: &'static str, command: &str, outcome: &Outcome, bounds: &str) -> Error {
    let stderr = String::from_utf8_lossy(&outcome.stderr).into_owned();
    let tail = match stderr.char_indices().rev().nth(TAIL) {
        Some((at, _)) => stderr[at..].to_owned(),
        None => stderr,
    };
    let failure = CommandFailure {
        code: outcome.code,
        signal: outcome.signal.clone(),
        reason: outcome.reason.name().into(),
        stderr: tail.clone(),
    };
    let (kind, what) = match outcome.reason {
        Reason::Exited | Reason::Signaled => (ErrorKind::ExitStatus, show(outcome)),
        Reason::Timeout => (ErrorKind::Timeout, format!("it ran longer than its {bounds}")),
        Reason::Oom => {
            (ErrorKind::LimitReached, "killed by the memory controller: it reached memory.max".into())
        }
        Reason::Output => (ErrorKind::LimitReached, "it wrote more than output_max and was killed".into()),
        Reason::Cancelled => (ErrorKind::Interrupted, "stopped by a signal to this program".into()),
    };
    let last = tail.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned);
    let error = Error::new(kind, op, what).subject(format!("`{command}`")).command(failure);
    match (outcome.reason, last) {
        (Reason::Output, _) => error.hint("raise output_max, or use output: \"inherit\" or \"null\""),
        (Reason::Oom, _) => error.hint("raise the memory limit, or set check: false and look at `reason`"),
        (Reason::Timeout, _) => error.hint("raise timeout, or set check: false and look at `reason`"),
        (_, Some(last)) => error.hint(format!("it wrote: {last}")),
        (_, None) => error.hint("set check: false to get the result instead of an error"),
    }
}
