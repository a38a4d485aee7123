//! Ending a process, from what the ledger knows of it.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::cgroup::freeze;
use crate::sys::{Errno, process};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{AsFd, OwnedFd};

const OP: &str = "undo";
/// How long a killed process may take to go: longer only when the kernel holds it (state D).
const PATIENCE_MS: u16 = 10_000;

/// Kills the process `pid` if it is the one that started at `start_time`, and collects its status if it is our child.
///
/// # Errors
/// When it does not end.
pub fn process(pid: Option<i32>, start_time: Option<u64>) -> Result<()> {
    let (Some(pid), Some(start_time)) = (pid, start_time) else { return Ok(()) };
    let pidfd = match process::open(pid) {
        Err(error) if error.errno() == Errno::ESRCH => return Ok(()),
        other => other.context(OP, format!("cannot open process {pid}"))?,
    };
    // The pidfd was opened first, so the process that is looked at now is the one that it refers to.
    if process::start_time(pid).ok() != Some(start_time) {
        return Ok(());
    }
    freeze::release(OP, pid);
    let inside = children_inside(pid);
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    match process::signal(&pidfd, libc::SIGKILL) {
        // Without root, one that another id of the user's has takes no signal; it may have ended all the same.
        Err(error) if error.errno() == Errno::EPERM && poll(&mut fds, PollTimeout::ZERO) == Ok(1) => {}
        Err(error) if error.errno() != Errno::ESRCH => {
            return Err(Error::sys(OP, format!("cannot kill process {pid}"), error));
        }
        _ => {}
    }
    for child in &inside {
        // They are killed with it, and it ends once they are collected (pid_namespaces(7)).
        let _ = poll(&mut [PollFd::new(child.as_fd(), PollFlags::POLLIN)], PollTimeout::from(PATIENCE_MS));
        let _ = process::wait(child, false);
    }
    loop {
        match poll(&mut fds, PollTimeout::from(PATIENCE_MS)) {
            Ok(0) => {
                return Err(Error::new(ErrorKind::Timeout, OP, "it was killed and does not end")
                    .subject(format!("process {pid}"))
                    .hint("the kernel holds it in an uninterruptible wait; run `cshell gc` later"));
            }
            Err(Errno::EINTR) => {}
            _ => break,
        }
    }
    match process::wait(&pidfd, false) {
        Err(error) if error.errno() != Errno::ECHILD => {
            Err(Error::sys(OP, format!("cannot collect the status of process {pid}"), error))
        }
        _ => Ok(()),
    }
}

/// Our children in the pid namespace whose first process this is: those that were started in a set.
fn children_inside(pid: i32) -> Vec<OwnedFd> {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let inside = namespace(&pid.to_string());
    if inside.is_none() || inside == namespace("self") || !process::is_first(pid) {
        return Vec::new();
    }
    let there = |child: &i32| *child != pid && namespace(&child.to_string()) == inside;
    process::children().into_iter().filter(there).filter_map(|child| process::open(child).ok()).collect()
}
