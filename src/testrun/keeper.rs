//! The process that keeps one test: it starts the test's own process, limits its time, takes its output, ends what it leaves
//! running, looks at what else it left behind, removes that, and tells all about it.
//!
//! It has a mount and an IPC namespace of its own where the kernel lets it, so that what a test mounts is that of nobody else.
//! Orphans among the test's descendants come to it.

use super::body::{self, Task, mount_over_proc, process_left};
use super::message::{Body, Left, Limits, Lines, Outcome, Report, Verdict, readable, send};
use super::output::Output;
use super::trail::{self, Trail};
use crate::error::SysContext as _;
use crate::runtime::cancel;
use crate::runtime::cgroup::freeze;
use crate::runtime::leaks::{self, Ground};
use crate::script::report::full_text;
use crate::script::scene::Scene;
use crate::script::shell::Shell;
use crate::script::suite::{Case, Group};
use crate::sys::fork;
use crate::sys::process;
use crate::sys::process::Exit;
use nix::libc::{SIGCONT, SIGKILL, SIGTERM};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a test has to take back what it made once it was told to end.
const GRACE: Duration = Duration::from_secs(5);
/// How long processes may take to die.
const DEATH: Duration = Duration::from_secs(10);

/// What the keeper is given.
pub(super) struct Charge<'a> {
    pub(super) shell: &'a Rc<Shell>,
    pub(super) scene: &'a Scene<'a>,
    pub(super) case: &'a Case,
    pub(super) groups: &'a [Group],
    pub(super) limits: Limits,
    /// Folders that are looked at by nobody.
    pub(super) apart: &'a [PathBuf],
    /// The folder for temporary files that is the test's own.
    pub(super) folder: Option<&'a Path>,
}

/// Keeps one test in this process, tells its verdict, and ends the process.
pub(super) fn keep(charge: &Charge<'_>, file: i32, to: &OwnedFd) -> ! {
    let began = Instant::now();
    let verdict = match tend(charge, file) {
        Ok(verdict) => verdict,
        Err(error) => Verdict::failed(format!("the test could not be started: {}", full_text(&error))),
    };
    let around = began.elapsed();
    send(to, &Verdict { around, ..verdict });
    fork::leave(0)
}

/// The process of the test, watched.
struct Ward {
    pidfd: OwnedFd,
    output: OwnedFd,
    told: OwnedFd,
}

fn tend(charge: &Charge<'_>, file: i32) -> crate::error::Result<Verdict> {
    const OP: &str = "test";
    let session = charge.shell.session();
    session.renew()?;
    let mut ground = Ground::new(session.dirs().clone(), charge.apart.iter().cloned());
    leaks::apart(&mut ground, charge.folder);
    let before = charge.limits.leak_check.then(|| leaks::look(&ground));
    let (output, output_child) = fork::pipe().context(OP, "cannot make a pipe")?;
    let (told, told_child) = fork::pipe().context(OP, "cannot make a pipe")?;
    let pid = match fork::fork().context(OP, "cannot start the process of the test")? {
        fork::Side::Child => {
            drop((output, told));
            let ready = process_of_test(&output_child);
            drop(output_child);
            if ready.is_err() {
                fork::leave(125);
            }
            let looks = before.as_ref().map(|before| (&ground, before));
            let Charge { shell, scene, case, groups, .. } = charge;
            body::run(&Task { shell, scene, case, groups, looks }, &told_child)
        }
        fork::Side::Parent(pid) => pid,
    };
    drop((output_child, told_child));
    let pidfd = process::open(pid).context(OP, "cannot watch the process of the test")?;
    let ward = Ward { pidfd, output, told };
    let mut watch = Watch::default();
    watch.until_the_end(&ward, charge.limits.timeout, file);
    let covered = leaks::uncover(&ground);
    let mut verdict = watch.verdict(charge.limits.timeout);
    let told = watch.report.take();
    verdict.left.extend(told.iter().flat_map(|told| told.left.iter().cloned()));
    verdict.left.extend(covered.then(|| mount_over_proc(watch.trail.line_that_says("/proc"))));
    // Of a test that was killed, the last call is the likeliest.
    let last = || watch.trail.last().filter(|_| told.is_none());
    let line_of = |pid| watch.trail.line_of(pid).or_else(last);
    // Of one that was ended by force nothing is to be expected but that.
    let forced = matches!(verdict.outcome, Outcome::Timeout | Outcome::Stopped);
    end_all(line_of, !forced, &mut verdict.left);
    watch.take_output(&ward.output);
    verdict.output = watch.output.text();
    if let Some(token) = &watch.token {
        verdict.left.extend(trail::handed_over(session, token, watch.exit == Some(Exit::Code(0))));
    }
    if let Some(before) = &before {
        verdict.left.extend(watch.trail.look_after(session, &ground, before, told.is_some()));
    }
    if !charge.limits.tells_leaks {
        // It was ended and removed all the same.
        verdict.left.clear();
    }
    forgive(&mut verdict.left, &charge.case.options.leaves);
    if !verdict.left.is_empty() && verdict.outcome == Outcome::Pass {
        verdict.outcome = Outcome::Leak;
    }
    if verdict.outcome == Outcome::Leak && verdict.message.is_empty() {
        verdict.message = "it left something behind".to_owned();
    }
    for error in session.close() {
        verdict.notes.push(full_text(&error));
    }
    Ok(verdict)
}

/// Says nothing of what may be left.
pub(super) fn forgive(left: &mut Vec<Left>, may: &[String]) {
    left.retain(|left| !may.iter().any(|kind| *kind == left.kind || kind == "all"));
}

/// Prepares the process that a test is run in: a session of processes of its own, so that what it sends to its group is for
/// itself, its output in a pipe, nothing to read.
fn process_of_test(output: &OwnedFd) -> crate::error::Result<()> {
    const WHAT: &str = "cannot prepare the process of the test";
    fork::set_death_signal(SIGTERM).and_then(|()| fork::new_session()).context("test", WHAT)?;
    let null = std::fs::File::options().read(true).open("/dev/null");
    if let Ok(null) = null {
        fork::replace(null, 0).context("test", WHAT)?;
    }
    fork::replace(output, 1).and_then(|()| fork::replace(output, 2)).context("test", WHAT)
}

/// What was heard of a test so far.
#[derive(Default)]
struct Watch {
    lines: Lines,
    output: Output,
    token: Option<String>,
    report: Option<Box<Report>>,
    trail: Trail,
    exit: Option<Exit>,
    timed_out: bool,
    stopped: bool,
}

impl Watch {
    /// Waits for the end of the test's process, and ends it when its time is over or the run is stopped.
    fn until_the_end(&mut self, ward: &Ward, timeout: Duration, file: i32) {
        let mut deadline = Instant::now() + timeout;
        let mut asked = false;
        let parent = process::open(file).ok();
        let (mut speaks, mut tells) = (true, true);
        loop {
            if let Ok(Some(exit)) = process::wait(&ward.pidfd, false) {
                self.exit = Some(exit);
                self.hear(&ward.told);
                return;
            }
            let orphaned = nix::unistd::getppid().as_raw() != file;
            let stop = cancel::requested().is_some() || orphaned;
            if !asked && (stop || Instant::now() >= deadline) {
                (asked, self.stopped, self.timed_out) = (true, stop, !stop);
                deadline = Instant::now() + GRACE;
                // One that has ended is collected above.
                let _ = process::signal(&ward.pidfd, SIGTERM);
                // One that was stopped hears it once it goes on.
                let _ = process::signal(&ward.pidfd, SIGCONT);
            } else if asked && Instant::now() >= deadline {
                let _ = process::signal(&ward.pidfd, SIGKILL);
                deadline = Instant::now() + DEATH;
            }
            let mut fds = vec![PollFd::new(ward.pidfd.as_fd(), PollFlags::POLLIN)];
            fds.extend(speaks.then(|| PollFd::new(ward.output.as_fd(), PollFlags::POLLIN)));
            fds.extend(tells.then(|| PollFd::new(ward.told.as_fd(), PollFlags::POLLIN)));
            if !asked {
                fds.extend(cancel::fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
                fds.extend(parent.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
            }
            // What came, or nothing: everything is looked at.
            let _ = poll(&mut fds, process::poll_timeout(Some(deadline)));
            if speaks && readable(&ward.output) {
                speaks = self.output.fill(&ward.output);
            }
            if tells && readable(&ward.told) {
                tells = self.lines.fill(&ward.told);
                self.sort();
            }
        }
    }

    /// What is in the pipe of a process that has ended.
    fn hear(&mut self, told: &OwnedFd) {
        while readable(told) && self.lines.fill(told) {}
        self.sort();
    }

    fn sort(&mut self) {
        while let Some(message) = self.lines.next::<Body>() {
            match self.trail.take(message) {
                Some(Body::Token(token)) => self.token = Some(token),
                Some(Body::Done(report)) => self.report = Some(report),
                _ => {}
            }
        }
    }

    fn take_output(&mut self, output: &OwnedFd) {
        while readable(output) && self.output.fill(output) {}
    }

    fn verdict(&self, timeout: Duration) -> Verdict {
        let told = self.report.as_deref();
        let text = told.map(|told| told.text.clone()).unwrap_or_default();
        let mut verdict = Verdict {
            text,
            notes: told.map(|told| told.notes.clone()).unwrap_or_default(),
            took: told.map(|told| told.took).unwrap_or_default(),
            message: told.map(|told| told.message.clone()).unwrap_or_default(),
            ..Verdict::default()
        };
        match (self.stopped, self.timed_out, told) {
            (true, _, _) => verdict.outcome = Outcome::Stopped,
            (_, true, _) => {
                verdict.outcome = Outcome::Timeout;
                verdict.took = timeout;
                verdict.message = format!("it took longer than {}", super::units::duration(timeout));
                if told.is_none() {
                    verdict.text = format!(
                        "error: {} and did not end when it was told to: it was killed\n",
                        verdict.message
                    );
                }
            }
            (_, _, Some(told)) => verdict.outcome = told.outcome,
            (_, _, None) => {
                verdict.message = match self.exit {
                    Some(Exit::Signal(signal)) => {
                        format!("its process was ended by {}", process::signal_name(signal))
                    }
                    Some(Exit::Code(code)) => {
                        format!("its process ended with the code {code} and told nothing")
                    }
                    None => "its process was lost".to_owned(),
                };
                verdict.text = format!("error: {}\n", verdict.message);
            }
        }
        verdict
    }
}

/// Ends every process that was left, and says so, with the line that it is likely from. Those that are told of already are known.
pub(super) fn end_all(line_of: impl Fn(i32) -> Option<String>, tells: bool, left: &mut Vec<Left>) {
    let deadline = Instant::now() + DEATH;
    loop {
        let found: Vec<i32> = process::children();
        if found.is_empty() || Instant::now() >= deadline {
            return;
        }
        for pid in found {
            if process::is_running(pid) && !process::is_being_killed(pid) {
                let one = process_left(pid, line_of(pid));
                if tells && !left.iter().any(|known| known.text == one.text) {
                    left.push(one);
                }
            }
            let Ok(pidfd) = process::open(pid) else { continue };
            freeze::release("test", pid);
            let _ = process::signal(&pidfd, SIGKILL);
            let wait = deadline.saturating_duration_since(Instant::now());
            let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
            let _ = poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], wait);
            let _ = process::wait(&pidfd, false);
        }
    }
}
