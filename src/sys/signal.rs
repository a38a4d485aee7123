//! Signals of our own process: the flag and the fd that a handler sets, and dying by a signal.
#![expect(unsafe_code, reason = "sigaction and a handler that only stores and writes")]

use crate::sys::{Errno, Outcome, Result, call};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

static CAUGHT: AtomicI32 = AtomicI32::new(0);
static COUNT: AtomicU32 = AtomicU32::new(0);
static WAKE_RAW: AtomicI32 = AtomicI32::new(-1);
static WAKE: Mutex<Option<&'static OwnedFd>> = Mutex::new(None);

extern "C" fn on_signal(number: libc::c_int) {
    if number == libc::SIGALRM {
        // Who asks the program to stop is heard before its own clock.
        let _ = CAUGHT.compare_exchange(0, number, Ordering::SeqCst, Ordering::SeqCst);
    } else {
        CAUGHT.store(number, Ordering::SeqCst);
    }
    COUNT.fetch_add(1, Ordering::SeqCst);
    let fd = WAKE_RAW.load(Ordering::SeqCst);
    if fd >= 0 {
        let one: u64 = 1;
        // SAFETY: write(2) is async-signal-safe; the buffer is a live local of eight bytes, which an eventfd wants.
        unsafe { libc::write(fd, (&raw const one).cast(), 8) };
    }
}

/// Catches SIGINT, SIGTERM and SIGHUP (unless that is ignored: nohup(1)): they set a flag and make [`wake_fd`]
/// readable. SIGPIPE stays ignored, so that a closed output is an error of `write`. For SIGCHLD see
/// [`keep_status_of_children`].
///
/// # Errors
/// The failed `eventfd` or `sigaction`.
pub fn catch() -> Result<()> {
    if wake().is_none() {
        set_wake()?;
    }
    let action = SigAction::new(SigHandler::Handler(on_signal), SaFlags::empty(), SigSet::empty());
    keep_status_of_children()?;
    let before = set(Signal::SIGHUP, &action)?;
    if matches!(before.handler(), SigHandler::SigIgn) {
        set(Signal::SIGHUP, &before)?;
    }
    set(Signal::SIGINT, &action)?;
    set(Signal::SIGTERM, &action).map(drop)
}

/// Has this program sent SIGALRM after some time, which is caught as [`catch`] catches others; a zero takes it back. A copy of
/// the program is sent none.
///
/// # Errors
/// The failed `setitimer` or `sigaction`.
pub fn alarm(after: Duration) -> Result<()> {
    let action = SigAction::new(SigHandler::Handler(on_signal), SaFlags::empty(), SigSet::empty());
    set(Signal::SIGALRM, &action)?;
    let time = libc::timeval {
        tv_sec: libc::time_t::try_from(after.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_usec: after.subsec_micros().into(),
    };
    let timer = libc::itimerval { it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 }, it_value: time };
    call(
        "setitimer",
        || format!("ITIMER_REAL, {{{}.{:06}}}", after.as_secs(), after.subsec_micros()),
        || {
            // SAFETY: it reads a live structure, and writes none.
            let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
            Errno::result(set)
        },
    )
    .map(drop)
}

/// Catches signals in a copy of a program that does: it has been sent none, and is woken by nobody else's.
///
/// # Errors
/// The failed `eventfd`.
pub fn renew() -> Result<()> {
    CAUGHT.store(0, Ordering::SeqCst);
    if wake().is_some() { set_wake() } else { Ok(()) }
}

/// The descriptor of before stays open: it may be in use.
fn set_wake() -> Result<()> {
    use rustix::event::{EventfdFlags, eventfd};
    let fd = call(
        "eventfd2",
        || "0, EFD_CLOEXEC|EFD_NONBLOCK".into(),
        || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK),
    )?;
    WAKE_RAW.store(fd.as_raw_fd(), Ordering::SeqCst);
    WAKE.lock().unwrap_or_else(PoisonError::into_inner).replace(Box::leak(Box::new(fd)));
    Ok(())
}

fn wake() -> Option<&'static OwnedFd> {
    *WAKE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives SIGCHLD its default: where the caller ignored it, the kernel would throw the status of every child away.
///
/// # Errors
/// The failed `sigaction`.
pub fn keep_status_of_children() -> Result<()> {
    set(Signal::SIGCHLD, &SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty())).map(drop)
}

impl Outcome for SigAction {
    fn show(&self) -> String {
        "0".into()
    }
}

/// Returns the action before.
fn set(signal: Signal, action: &SigAction) -> Result<SigAction> {
    call(
        "rt_sigaction",
        || format!("{signal}, …"),
        // SAFETY: the handler does only async-signal-safe work.
        || unsafe { nix::sys::signal::sigaction(signal, action) },
    )
}

/// The last signal caught and not yet cleared.
#[must_use]
pub fn caught() -> Option<i32> {
    let number = CAUGHT.load(Ordering::SeqCst);
    (number != 0).then_some(number)
}

/// How many signals were caught since the start.
#[must_use]
pub fn count() -> u32 {
    COUNT.load(Ordering::SeqCst)
}

/// Forgets a caught signal: for a prompt that goes on after Ctrl-C.
pub fn clear() {
    CAUGHT.store(0, Ordering::SeqCst);
    if let Some(fd) = wake() {
        let mut buf = [0; 8];
        // Nothing to read is the usual case.
        let _ = rustix::io::read(fd, &mut buf);
    }
}

/// Has it be as if a signal had been caught.
pub fn ask(signal: i32) {
    CAUGHT.store(signal, Ordering::SeqCst);
    if let Some(fd) = wake() {
        // It is readable already when it takes no more.
        let _ = rustix::io::write(fd, &1u64.to_ne_bytes());
    }
}

/// Readable from the moment a signal is caught; `None` when signals are not caught.
#[must_use]
pub fn wake_fd() -> Option<BorrowedFd<'static>> {
    wake().map(std::os::fd::AsFd::as_fd)
}

/// Ends this process by `signal`, so that the parent sees a death by signal.
///
/// # Errors
/// When the kernel refuses, or when the signal does not kill.
pub fn die_by(signal: i32) -> Result<()> {
    let Ok(signal) = Signal::try_from(signal) else { return Ok(()) };
    set(signal, &SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty()))?;
    let mut set = SigSet::empty();
    set.add(signal);
    call("rt_sigprocmask", || format!("SIG_UNBLOCK, [{signal}]"), || set.thread_unblock())?;
    call("raise", || signal.to_string(), || nix::sys::signal::raise(signal))
}
