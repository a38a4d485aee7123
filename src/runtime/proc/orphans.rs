//! What commands leave behind where no group and no pid namespace holds it: it comes to this program, and ends with
//! the session.
//!
//! The kernel gives the orphans among our descendants to us rather than to the machine's init
//! (`PR_SET_CHILD_SUBREAPER`). Nothing is killed but children of our own that no step has made: their numbers are
//! nobody else's until we collect them, and what they have started comes to us when they end.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::cgroup::Cgroup;
use crate::runtime::cgroup::freeze;
use crate::runtime::object::Object;
use crate::runtime::session::{Done, Intent, Session};
use crate::sys::{Errno, process};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

const OP: &str = "undo";
/// How long it may take until no orphan is left: longer only where some start others faster than they are killed, or
/// the kernel holds one.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often nothing must be found: while processes end, the list of children may miss some.
const TIMES: u32 = 2;

/// A process: its id and when it started.
type Id = (i32, u64);

/// Has orphans of the session's commands come to this program from now on. Not where it has children that are none of the
/// session's: those a library is used beside, or those that were there when this program took the place of a shell. Their
/// orphans could not be told from ours.
///
/// # Errors
/// The failed `prctl`.
pub fn adopt(session: &Session, op: &'static str) -> Result<()> {
    if !session.owns_children() || !strangers(&session.processes()).is_empty() {
        return Ok(());
    }
    let text = "have what commands leave behind come to this program".to_owned();
    session.step(Intent { op, text, claim: Object::Orphans }, |_| {
        process::set_subreaper(true).context(op, "cannot take orphans in")?;
        let effect = "orphans become children of this program".to_owned();
        Ok(Done { value: (), object: Object::Orphans, effect })
    })?;
    adopting(session)?.set(true);
    Ok(())
}

fn adopting(session: &Session) -> Result<std::rc::Rc<Cell<bool>>> {
    session.fact("orphans", || Ok(Cell::new(false)))
}

/// Collects the orphans that have ended, so that a long script keeps none of them.
///
/// # Errors
/// As [`Session::fact`].
pub fn reap(session: &Session) -> Result<()> {
    if !adopting(session)?.get() {
        return Ok(());
    }
    for child in strangers(&session.processes()) {
        if let Ok(pidfd) = process::open(child.0) {
            // One that is still running is left alone.
            let _ = process::wait(&pidfd, false);
        }
    }
    Ok(())
}

/// What commands have left running: neither a process of a step, nor started by one that still runs.
#[must_use]
pub fn strays(session: &Session) -> Vec<i32> {
    let steps = session.processes();
    let group = session.known::<Option<Rc<Cgroup>>>("tracking").and_then(|group| group.as_ref().clone());
    let mut found = group.map(|group| group.procs()).unwrap_or_default();
    if session.known::<Cell<bool>>("orphans").is_some_and(|on| on.get()) {
        found.extend(strangers(&steps).into_iter().map(|(pid, _)| pid));
    }
    let of_step = |pid: i32| steps.iter().any(|(known, _)| *known == pid);
    found.retain(|pid| {
        let mut above = std::iter::successors(Some(*pid), |pid| process::parent(*pid).filter(|pid| *pid > 1));
        process::is_running(*pid) && !above.any(of_step)
    });
    found
}

/// Our children that are not among these.
fn strangers(known: &[Id]) -> Vec<Id> {
    let children = process::children().into_iter();
    let ids = children.filter_map(|pid| process::start_time(pid).ok().map(|start| (pid, start)));
    ids.filter(|id| !known.contains(id)).collect()
}

/// Ends the orphans that have come to us, and those that come to us by that; the processes of `known` are spared. Orphans
/// go their own way again after that.
///
/// # Errors
/// When one cannot be killed, or when they do not come to an end.
pub fn end(known: &[Id]) -> Result<()> {
    let outcome = end_all(known);
    process::set_subreaper(false).context(OP, "cannot let orphans go")?;
    outcome
}

fn end_all(known: &[Id]) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut refused: BTreeSet<Id> = BTreeSet::new();
    let mut quiet = 0;
    while quiet < TIMES {
        let mut found = strangers(known);
        found.retain(|id| !refused.contains(id));
        quiet = if found.is_empty() { quiet + 1 } else { 0 };
        if Instant::now() >= deadline && quiet == 0 {
            return Err(left(&found));
        }
        let mut dying: Vec<OwnedFd> = Vec::new();
        for id in found {
            let Ok(pidfd) = process::open(id.0) else { continue };
            freeze::release(OP, id.0);
            match process::signal(&pidfd, libc::SIGKILL) {
                Err(error) if error.errno() == Errno::EPERM => {
                    refused.insert(id);
                }
                _ => dying.push(pidfd),
            }
        }
        dying.iter().for_each(|pidfd| collect(pidfd, deadline));
    }
    match refused.first() {
        None => Ok(()),
        Some((pid, _)) => Err(Error::new(
            ErrorKind::PermissionDenied,
            OP,
            "a command left it behind, and it takes no signal",
        )
        .subject(format!("process {pid}"))
        .hint("it is another user's, by a setuid program: end it as root")),
    }
}

fn left(found: &[Id]) -> Error {
    let pids: Vec<String> = found.iter().map(|(pid, _)| pid.to_string()).collect();
    Error::new(ErrorKind::Timeout, OP, format!("commands left processes behind that do not end: {}", pids.join(", ")))
        .hint("they start others faster than they are killed, or the kernel holds them: a command with `ns: [\"pid\"]` ends with all that it has started")
}

/// Waits for the end of a killed child, and collects its status.
fn collect(pidfd: &OwnedFd, deadline: Instant) {
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) != Err(Errno::EINTR) {
            break;
        }
    }
    let _ = process::wait(pidfd, false);
}
