//! Stopping from outside: a signal sets a flag and wakes what waits; everything that blocks asks here.

use crate::error::{Error, ErrorKind, Result};
use crate::sys;
use std::os::fd::BorrowedFd;

/// Catches SIGINT and SIGTERM from now on.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn install() -> Result<()> {
    sys::signal::catch().map_err(|source| Error::sys("session", "cannot catch signals", source))
}

/// The signal that asked the program to stop, if one did.
#[must_use]
pub fn requested() -> Option<i32> {
    sys::signal::caught()
}

/// Fails with [`ErrorKind::Interrupted`] once a signal asked the program to stop.
///
/// # Errors
/// Then.
pub fn check(op: &'static str) -> Result<()> {
    match requested() {
        None => Ok(()),
        Some(signal) => Err(interrupted(op, signal)),
    }
}

/// The error for a call that was stopped by `signal`.
#[must_use]
pub fn interrupted(op: &'static str, signal: i32) -> Error {
    let name = sys::process::signal_name(signal);
    Error::new(ErrorKind::Interrupted, op, format!("stopped by {name}"))
}

/// Readable once a signal was caught: for a poll set.
#[must_use]
pub fn fd() -> Option<BorrowedFd<'static>> {
    sys::signal::wake_fd()
}
