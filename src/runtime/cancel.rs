//! Stopping from outside: a signal sets a flag and wakes what waits; everything that blocks asks here.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::sys;
use nix::libc;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Catches SIGINT, SIGTERM and SIGHUP from now on.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn install() -> Result<()> {
    sys::signal::catch().map_err(|source| Error::sys("session", "cannot catch signals", source))
}

static CLEANING: AtomicBool = AtomicBool::new(false);

/// From now on nothing is stopped any more: the clean-up at the end runs to its end. Signals are still counted.
pub fn ignore() {
    CLEANING.store(true, Ordering::SeqCst);
}

/// Runs a clean-up to its end, whatever signals come meanwhile; they are counted and then forgotten.
pub fn shielded<T>(clean: impl FnOnce() -> T) -> T {
    let before = CLEANING.swap(true, Ordering::SeqCst);
    let value = clean();
    CLEANING.store(before, Ordering::SeqCst);
    value
}

/// Forgets the signal that asked the program to stop: for a prompt, which goes on.
pub fn clear() {
    sys::signal::clear();
}

/// The signal that asked the program to stop, if one did and the clean-up has not begun.
#[must_use]
pub fn requested() -> Option<i32> {
    if CLEANING.load(Ordering::SeqCst) { None } else { sys::signal::caught() }
}

/// How many signals asked the program to stop so far, also during the clean-up.
#[must_use]
pub fn count() -> u32 {
    sys::signal::count()
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

/// Does something that is stopped, as by a signal, when it takes longer than `most`. Whether it was.
///
/// # Errors
/// When the kernel gives no alarm.
pub fn within<T>(most: Duration, act: impl FnOnce() -> T) -> Result<(T, bool)> {
    const OP: &str = "session";
    sys::signal::alarm(most.max(Duration::from_micros(1))).context(OP, "cannot set an alarm")?;
    let value = act();
    sys::signal::alarm(Duration::ZERO).context(OP, "cannot take the alarm back")?;
    let late = requested() == Some(libc::SIGALRM);
    if late {
        clear();
    }
    Ok((value, late))
}

/// Does something for `most` at the longest although a signal has asked the program to stop, which is asked for again afterwards.
///
/// # Errors
/// When the kernel gives no alarm.
pub fn despite<T>(most: Duration, act: impl FnOnce() -> T) -> Result<T> {
    let asked = requested();
    if asked.is_some() {
        clear();
    }
    let outcome = within(most, act);
    if let Some(signal) = asked {
        sys::signal::ask(signal);
    }
    outcome.map(|(value, _)| value)
}

/// The error for a call that was stopped by `signal`.
#[must_use]
pub fn interrupted(op: &'static str, signal: i32) -> Error {
    let what = match signal {
        libc::SIGALRM => "stopped: its time is over".to_owned(),
        signal => format!("stopped by {}", sys::process::signal_name(signal)),
    };
    Error::new(ErrorKind::Interrupted, op, what)
}

/// Readable once a signal was caught: for a poll set.
#[must_use]
pub fn fd() -> Option<BorrowedFd<'static>> {
    if CLEANING.load(Ordering::SeqCst) { None } else { sys::signal::wake_fd() }
}

/// Waits until `deadline`, or until a signal asks the program to stop.
///
/// # Errors
/// [`ErrorKind::Interrupted`] then.
pub fn sleep(op: &'static str, deadline: std::time::Instant) -> Result<()> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    loop {
        check(op)?;
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let millis = u16::try_from(left.as_millis()).unwrap_or(u16::MAX);
        if millis == 0 {
            std::thread::sleep(left);
            continue;
        }
        let mut fds: Vec<PollFd<'_>> =
            fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).into_iter().collect();
        // A signal during the wait is an error here and asked for above.
        let _ = poll(&mut fds, PollTimeout::from(millis));
    }
}
