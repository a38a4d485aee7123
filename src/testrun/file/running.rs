//! The keepers that a file has at work: made, waited for, and ended.

use crate::error::SysContext as _;
use crate::runtime::cancel;
use crate::runtime::cgroup::nest;
use crate::runtime::leaks;
use crate::runtime::session::{Session, StepId};
use crate::sys::fork;
use crate::sys::process::{self, Exit};
use crate::testrun::keeper::{self, Charge};
use crate::testrun::message::{Lines, STANDSTILL, Told, Verdict, collect_child, go_on, readable, send};
use nix::libc::{SIGKILL, SIGTERM};
use nix::poll::{PollFd, PollFlags, poll};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the keepers have to end once the run is stopped.
const GRACE: Duration = Duration::from_secs(30);

/// A keeper at work.
struct Keeper {
    ticket: usize,
    pid: i32,
    pidfd: OwnedFd,
    told: OwnedFd,
    lines: Lines,
    /// What is there for it alone: its group and its folder.
    steps: Vec<StepId>,
}

/// The keepers at work.
pub(super) struct Running {
    keepers: Vec<Keeper>,
    /// The runner, where it has no terminal: then nobody who stops it by a key has it go on by another.
    runner: Option<(i32, OwnedFd)>,
    /// When it was last looked at whether something has stopped one.
    looked: Instant,
}

impl Running {
    /// None yet.
    pub(super) fn new() -> Self {
        let runner = nix::unistd::getppid().as_raw();
        let runner =
            process::open(runner).ok().filter(|_| !process::has_terminal(runner)).map(|fd| (runner, fd));
        Self { keepers: Vec::new(), runner, looked: Instant::now() }
    }

    /// Whether none is at work.
    pub(super) fn is_empty(&self) -> bool {
        self.keepers.is_empty()
    }

    /// Makes the keeper of a test: a copy of this process.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn start(
        &mut self,
        charge: &Charge<'_>,
        ticket: usize,
        nest: Option<&Path>,
    ) -> crate::error::Result<()> {
        const WHAT: &str = "cannot start the process that keeps the test";
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        let (told, told_child) = fork::pipe().context("test", WHAT)?;
        let session = charge.shell.session();
        let (step, group) = nest.map(|nest| nest::group(session, nest)).transpose()?.unzip();
        // Where there can be none, it has that of everybody.
        let (folder_step, folder) = leaks::folder(session).ok().unzip();
        let charge = &Charge { folder: folder.as_deref(), ..*charge };
        match fork::fork().context("test", WHAT)? {
            fork::Side::Child => {
                drop(told);
                self.keepers.clear();
                let _ = fork::new_session();
                if let Some(group) = &group {
                    let _ = nest::enter(group);
                }
                keeper::keep(charge, own, &told_child)
            }
            fork::Side::Parent(pid) => {
                let pidfd = process::open(pid).context("test", WHAT)?;
                let steps = step.into_iter().chain(folder_step).collect();
                self.keepers.push(Keeper { ticket, pid, pidfd, told, lines: Lines::default(), steps });
                Ok(())
            }
        }
    }

    /// Waits until a keeper has told something or ended, until there is something to read from `control`, for a signal, or
    /// until `until`. Has those go on that were stopped (SIGSTOP), and the runner. May return early.
    pub(super) fn wait(&mut self, control: Option<BorrowedFd<'_>>, until: Option<Instant>) {
        let standstill = Duration::from_millis(STANDSTILL.into());
        let looks = !self.is_empty() || self.runner.is_some();
        let look = looks.then(|| self.looked + standstill);
        let next = [look, until].into_iter().flatten().min();
        let told = self.keepers.iter().map(|one| one.told.as_fd());
        // A signal is asked for by the caller, while there is something else to do.
        let signal = control.and_then(|_| cancel::fd());
        let mut fds: Vec<PollFd<'_>> = control
            .into_iter()
            .chain(told)
            .chain(signal)
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        let _ = poll(&mut fds, process::poll_timeout(next));
        if self.looked.elapsed() >= standstill {
            self.looked = Instant::now();
            let keepers = self.keepers.iter().map(|one| (one.pid, &one.pidfd));
            let runner = self.runner.iter().map(|(pid, pidfd)| (*pid, pidfd));
            keepers.chain(runner).for_each(|(pid, pidfd)| go_on(pid, pidfd));
        }
    }

    /// Passes on what keepers have told that have come to their end.
    pub(super) fn collect(&mut self, control: &OwnedFd, session: &Session) {
        let known: Vec<i32> = self.keepers.iter().map(|one| one.pid).collect();
        self.keepers.retain_mut(|one| {
            if !readable(&one.told) || one.lines.fill(&one.told) {
                return true;
            }
            let verdict = one.lines.next::<Verdict>();
            // Its pipe is closed: it has ended, or is about to.
            let exit = process::wait(&one.pidfd, true);
            let verdict = verdict.unwrap_or_else(|| {
                end_orphans(&known, session);
                let how = match exit {
                    Ok(Some(Exit::Signal(signal))) => format!(", by {}", process::signal_name(signal)),
                    _ => String::new(),
                };
                Verdict::failed(format!("what keeps the test was ended from outside{how}"))
            });
            // What cannot be removed now is tried again when the file is at its end, and told then.
            let _ = session.undo_steps(&std::mem::take(&mut one.steps));
            send(control, &Told::Result { ticket: one.ticket, verdict: verdict.into() });
            false
        });
    }

    /// The run is stopped: every keeper ends its test and tells how it stood.
    pub(super) fn stop(&mut self, control: &OwnedFd, session: &Session) {
        let deadline = Instant::now() + GRACE;
        for one in &self.keepers {
            let _ = process::signal(&one.pidfd, SIGTERM);
        }
        while !self.is_empty() && Instant::now() < deadline {
            self.wait(None, Some(deadline));
            self.collect(control, session);
        }
        for one in &self.keepers {
            // Stopped, or held by the kernel.
            let _ = process::signal(&one.pidfd, SIGKILL);
        }
    }
}

/// Tests whose keeper was ended have come to this process: they are told to end, as by their keeper's death, and killed if they
/// do not.
fn end_orphans(keepers: &[i32], session: &Session) {
    let of_step = |pid: i32| session.processes().iter().any(|(known, _)| *known == pid);
    for pid in process::children() {
        if keepers.contains(&pid) || of_step(pid) {
            continue;
        }
        collect_child(pid, 1000);
    }
}
