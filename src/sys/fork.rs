//! A copy of this program that goes its own way: for what has to begin in the middle of a run, with all that is known there.
//!
//! A copying fork costs page tables, some tenths of a millisecond for a small program and more for a large one: commands are
//! started by [`super::clone`] instead. The program has one thread at that time, or the copy could stand still on a lock
//! of a thread that it has not got.
#![expect(unsafe_code, reason = "fork, and the environment of a program of one thread")]

use crate::sys::{Errno, Outcome, Result, SysError, call};
use nix::unistd::ForkResult;
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Which of the two a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that was there; the process id of the copy.
    Parent(i32),
    /// The copy.
    Child,
}

impl Outcome for Side {
    fn show(&self) -> String {
        match self {
            Self::Parent(pid) => pid.to_string(),
            Self::Child => "0".into(),
        }
    }
}

/// Goes on twice. The copy catches signals for itself from then on.
///
/// # Errors
/// The failed `fork`; `EDEADLK` when the program has other threads.
pub fn fork() -> Result<Side> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads != 1 {
        return Err(SysError::new("fork", format!("/* {threads} threads */"), Errno::EDEADLK));
    }
    let side = call("fork", String::new, || {
        // SAFETY: the program has one thread, so that no lock of another is copied as taken.
        unsafe { nix::unistd::fork() }.map(|result| match result {
            ForkResult::Parent { child } => Side::Parent(child.as_raw()),
            ForkResult::Child => Side::Child,
        })
    })?;
    if side == Side::Child {
        super::signal::renew()?;
    }
    Ok(side)
}

/// Ends this program at once: nothing that was made before a fork is taken back by the copy.
pub fn leave(code: i32) -> ! {
    // SAFETY: ends the process; nothing of this program runs after it.
    unsafe { libc::_exit(code) }
}

/// Makes the descriptor `number` (0, 1 or 2) one for the same file as `fd`.
///
/// # Errors
/// The failed `dup2`.
pub fn replace(fd: impl AsFd, number: i32) -> Result<()> {
    let fd = fd.as_fd();
    call(
        "dup2",
        || format!("{}, {number}", fd.as_raw_fd()),
        || match number {
            0 => rustix::stdio::dup2_stdin(fd),
            1 => rustix::stdio::dup2_stdout(fd),
            _ => rustix::stdio::dup2_stderr(fd),
        },
    )
}

/// A pipe: the end to read from, and the one to write to.
///
/// # Errors
/// The failed `pipe2`.
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let flags = rustix::pipe::PipeFlags::CLOEXEC;
    call("pipe2", || "O_CLOEXEC".into(), || rustix::pipe::pipe_with(flags))
}

/// Two sockets that are connected to each other.
///
/// # Errors
/// The failed `socketpair`.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    call(
        "socketpair",
        || "AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0".into(),
        || socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None),
    )
}

/// Leaves the session of processes, and with it the terminal.
///
/// # Errors
/// The failed `setsid`.
pub fn new_session() -> Result<()> {
    call("setsid", String::new, || nix::unistd::setsid().map(drop))
}

/// Sets a variable of the environment, or removes it, in a program of one thread.
pub fn set_env(name: &str, value: Option<&OsStr>) {
    match value {
        // SAFETY: no other thread reads the environment: the program has one.
        Some(value) => unsafe { std::env::set_var(name, value) },
        // SAFETY: as above.
        None => unsafe { std::env::remove_var(name) },
    }
}

/// The signal that this process gets when its parent ends.
///
/// # Errors
/// The failed `prctl`.
pub fn set_death_signal(signal: i32) -> Result<()> {
    call(
        "prctl",
        || format!("PR_SET_PDEATHSIG, {}", super::process::signal_name(signal)),
        || nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::try_from(signal).ok()),
    )
}
