//! The record of system calls that `--trace` shows. Off unless a step is being traced.
//!
//! One record a thread: a thread that works for a step hands its calls over with [`take`] and [`append`].

use crate::sys::Errno;
use std::cell::RefCell;
use std::time::Instant;

/// One finished call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The call as written in C.
    pub call: String,
    /// What it returned, or the errno.
    pub result: Result<String, Errno>,
    /// How long it took, in microseconds; nothing for the steps of a child, which are not timed one by one.
    pub micros: Option<u64>,
}

thread_local! {
    static CALLS: RefCell<Option<Vec<Call>>> = const { RefCell::new(None) };
}

/// Starts recording on this thread.
pub fn start() {
    CALLS.with_borrow_mut(|calls| *calls = Some(Vec::new()));
}

/// Whether this thread is recording.
#[must_use]
pub fn is_on() -> bool {
    CALLS.with_borrow(Option::is_some)
}

/// Ends recording on this thread and returns what was recorded.
#[must_use]
pub fn take() -> Vec<Call> {
    CALLS.with_borrow_mut(Option::take).unwrap_or_default()
}

/// Adds calls that another thread, or a child process, made for this one.
pub fn append(more: Vec<Call>) {
    CALLS.with_borrow_mut(|calls| {
        if let Some(calls) = calls {
            calls.extend(more);
        }
    });
}

/// Runs `body` without recording, for bulk work that is summarised with [`note`].
pub fn paused<T>(body: impl FnOnce() -> T) -> T {
    let before = CALLS.with_borrow_mut(Option::take);
    let result = body();
    CALLS.with_borrow_mut(|calls| *calls = before);
    result
}

/// Records a call that does not pass `sys::call`, such as a netlink request.
pub fn note(call: impl FnOnce() -> String, result: Result<String, Errno>, started: Option<Instant>) {
    CALLS.with_borrow_mut(|calls| {
        if let Some(calls) = calls {
            calls.push(Call { call: call(), result, micros: elapsed(started) });
        }
    });
}

/// The start time of a call, if this thread is recording.
#[must_use]
pub fn clock() -> Option<Instant> {
    is_on().then(Instant::now)
}

pub(super) fn finish(
    started: Option<Instant>,
    name: &str,
    args: &impl Fn() -> String,
    result: Result<String, Errno>,
) {
    if started.is_some() {
        note(|| format!("{name}({})", args()), result, started);
    }
}

fn elapsed(started: Option<Instant>) -> Option<u64> {
    started.map(|started| u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX))
}
