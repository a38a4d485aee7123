//! A running process and how it ends: streams pumped, deadlines kept, signals heard, status collected.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::cgroup::Cgroup;
use crate::runtime::proc::io::Streams;
pub use crate::runtime::proc::outcome::{Outcome, Reason, failure, show};
use crate::runtime::security::seccomp::record::Recorder;
use crate::runtime::session::{Handle, Session, StepId};
use crate::runtime::{attend, cancel, units};
use crate::sys::process::{self as sysproc, Exit, Usage};
use crate::sys::{Errno, signal};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How often a process that has ended is asked for its status while a tracer has it.
const LOOK: Duration = Duration::from_millis(5);

/// How a process is to be ended early.
#[derive(Clone, Copy, Debug)]
struct Ending {
    reason: Reason,
    kill_at: Instant,
    killed: bool,
}

/// Limits of a run.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// When its time is over.
    pub deadline: Option<Instant>,
    /// How long it has between SIGTERM and SIGKILL.
    pub grace: Duration,
}

/// A process that was started.
#[derive(Debug)]
pub struct Process {
    /// Its process id, as seen from here.
    pub pid: i32,
    /// Its command, as one line.
    pub command: String,
    pub(super) op: &'static str,
    pub(super) pidfd: OwnedFd,
    pub(super) step: StepId,
    pub(super) leads_group: bool,
    pub(super) bounds: Bounds,
    pub(super) cgroup: Option<Rc<Cgroup>>,
    pub(super) oom_kills_before: u64,
    pub(super) own_peak: u64,
    pub(super) started: Instant,
    /// The process that signals go to, where it is not the one that is waited for.
    pub(super) inner: Option<OwnedFd>,
    pub(super) course: Course,
}

/// What changes of a process from its start to its end.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) streams: RefCell<Streams>,
    recorder: RefCell<Option<Recorder>>,
    ending: Cell<Option<Ending>>,
    /// Whether a SIGKILL of ours reached it before anything else had killed it.
    killed_by_us: Cell<bool>,
    outcome: RefCell<Option<Rc<Outcome>>>,
    /// What the session's attendant failed with while this was waited for.
    refused: RefCell<Option<Error>>,
}

impl Course {
    pub(super) fn new(streams: Streams, recorder: Option<Recorder>) -> Self {
        Self {
            streams: RefCell::new(streams),
            recorder: RefCell::new(recorder),
            ending: Cell::new(None),
            killed_by_us: Cell::new(false),
            outcome: RefCell::new(None),
            refused: RefCell::new(None),
        }
    }
}

impl Process {
    /// Whether a process of this id runs: a zombie does not.
    #[must_use]
    pub fn runs(pid: i32) -> bool {
        sysproc::is_running(pid)
    }

    pub(super) fn step(&self) -> StepId {
        self.step
    }

    /// The same, looked at and signalled as `inner`, a process that it has started, whose end it shares.
    pub(super) fn stands_for(self, command: String, inner: Option<i32>) -> Self {
        let Some(pid) = inner else { return Self { command, ..self } };
        // One that has ended meanwhile is waited for as it is.
        let inner = sysproc::open(pid).ok();
        Self { pid, command, inner, leads_group: false, ..self }
    }

    fn target(&self) -> &OwnedFd {
        self.inner.as_ref().unwrap_or(&self.pidfd)
    }

    /// Waits until it has ended, feeding and draining its streams meanwhile.
    ///
    /// # Errors
    /// A failed system call. How it ended is no error here.
    pub fn wait(&self, session: &Session) -> Result<Rc<Outcome>> {
        loop {
            if let Some(outcome) = self.turn(session, None)? {
                return Ok(outcome);
            }
        }
    }

    /// As [`wait`](Self::wait), for a script: a signal that ended it early ends the script as well, and so does what the
    /// session's attendant failed with.
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`]; the attendant's; a failed system call.
    pub fn wait_or_interrupt(&self, session: &Session, op: &'static str) -> Result<Rc<Outcome>> {
        let outcome = self.wait(session)?;
        self.attended()?;
        match outcome.reason {
            Reason::Cancelled => cancel::check(op).map(|()| outcome),
            _ => Ok(outcome),
        }
    }

    /// Hands on what the attendant failed with, once.
    fn attended(&self) -> Result<()> {
        self.course.refused.take().map_or(Ok(()), Err)
    }

    /// Whether it has not ended.
    ///
    /// # Errors
    /// A failed system call.
    pub fn is_running(&self, session: &Session) -> Result<bool> {
        let running = self.turn(session, Some(Instant::now()))?.is_none();
        self.end_refused(session).map(|()| running)
    }

    /// Waits for one line of its standard output; `None` at its end.
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`]; a failed system call.
    pub fn next_line(&self, session: &Session) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(line) = self.take_line(false) {
                return Ok(Some(line));
            }
            cancel::check("process.lines")?;
            let ended = self.turn(session, None)?.is_some();
            self.end_refused(session)?;
            if ended {
                return Ok(self.take_line(true));
            }
        }
    }

    /// Waits for its end where the attendant failed, and hands that on.
    fn end_refused(&self, session: &Session) -> Result<()> {
        if self.course.refused.borrow().is_none() {
            return Ok(());
        }
        self.wait(session)?;
        self.attended()
    }

    fn take_line(&self, rest: bool) -> Option<Vec<u8>> {
        // An outcome owns the output once the process has ended.
        let ended = self.course.outcome.borrow().is_some();
        let mut streams = self.course.streams.borrow_mut();
        let unread = streams.out.rest();
        match unread.iter().position(|byte| *byte == b'\n') {
            Some(at) => {
                let mut line = streams.out.take(at + 1);
                line.pop();
                Some(line)
            }
            None if rest && ended && !unread.is_empty() => {
                let len = unread.len();
                Some(streams.out.take(len))
            }
            None => None,
        }
    }

    /// Waits until its standard output contains `text`, and returns the output up to and with it.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] after `timeout`; [`ErrorKind::NotFound`] when it ends without.
    pub fn expect(&self, session: &Session, text: &[u8], timeout: Duration) -> Result<Vec<u8>> {
        const OP: &str = "process.expect";
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(found) = self.take_through(text) {
                return Ok(found);
            }
            cancel::check(OP)?;
            let ended = self.turn(session, Some(deadline))?.is_some();
            self.end_refused(session)?;
            if let Some(found) = self.take_through(text) {
                return Ok(found);
            }
            let shown = String::from_utf8_lossy(text).into_owned();
            if ended {
                let what = format!("it ended without writing {shown:?}");
                return Err(Error::new(ErrorKind::NotFound, OP, what).subject(&self.command));
            }
            if Instant::now() >= deadline {
                let what = format!("it did not write {shown:?} within {}", units::show_duration(timeout));
                return Err(Error::new(ErrorKind::Timeout, OP, what).subject(&self.command));
            }
        }
    }

    fn take_through(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut streams = self.course.streams.borrow_mut();
        let at = match text.len() {
            0 => 0,
            len => streams.out.rest().windows(len).position(|window| window == text)?,
        };
        Some(streams.out.take(at + text.len()))
    }

    /// Writes to its standard input.
    ///
    /// # Errors
    /// When that is closed.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        let mut streams = self.course.streams.borrow_mut();
        streams.feed(bytes)?;
        streams.turn("process.write")
    }

    /// Closes its standard input once it has read what was written.
    pub fn close_stdin(&self) {
        self.course.streams.borrow_mut().close_stdin();
    }

    /// Sends a signal to it, by number.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it has ended.
    pub fn signal(&self, number: i32) -> Result<()> {
        let name = sysproc::signal_name(number);
        self.note_kill(number);
        sysproc::signal(self.target(), number)
            .context("process.signal", format!("cannot send {name} to {}", self.pid))
    }

    /// Whether it has ended and its status was collected.
    #[must_use]
    pub fn outcome(&self) -> Option<Rc<Outcome>> {
        self.course.outcome.borrow().clone()
    }

    /// Whether it has ended, also when nobody has waited for it yet.
    pub(super) fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        matches!(nix::poll::poll(&mut fds, nix::poll::PollTimeout::ZERO), Ok(1))
    }

    /// Waits for something to happen, until `until` at the latest, and deals with it.
    fn turn(&self, session: &Session, until: Option<Instant>) -> Result<Option<Rc<Outcome>>> {
        if let Some(outcome) = self.outcome() {
            return Ok(Some(outcome));
        }
        let signals = signal::count();
        let ended = self.poll(session, until)?;
        self.course.streams.borrow_mut().turn(self.op)?;
        self.attend(session);
        // The attendant may have waited for it as well.
        if let Some(outcome) = self.outcome() {
            return Ok(Some(outcome));
        }
        if ended && let Some(outcome) = self.finish(session)? {
            return Ok(Some(outcome));
        }
        if ended {
            // Ended, and held by a tracer until that has looked: nothing tells us when.
            std::thread::sleep(LOOK);
        }
        self.keep_bounds(signals);
        Ok(None)
    }

    /// Lets the session's attendant act. What it fails with ends the process, as a signal to the program does.
    fn attend(&self, session: &Session) {
        if self.course.ending.get().is_some() {
            return;
        }
        if let Err(error) = attend::turn(session) {
            self.course.refused.replace(Some(error));
            self.begin_end(Reason::Cancelled, self.bounds.grace.min(PATIENCE));
        }
    }

    /// Whether it has ended.
    fn poll(&self, session: &Session, until: Option<Instant>) -> Result<bool> {
        let streams = self.course.streams.borrow();
        let mut fds = vec![PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        streams.poll_set(&mut fds);
        let next = [until, self.next_deadline()].into_iter().flatten().min();
        if self.course.ending.get().is_none() {
            return attend::poll(session, self.op, &fds, next).map(|ready| ready[0]);
        }
        match poll(&mut fds, sysproc::poll_timeout(next)) {
            Ok(_) => Ok(fds[0].any() == Some(true)),
            Err(Errno::EINTR) => Ok(false),
            Err(errno) => {
                let call = crate::sys::SysError::new("poll", format!("{} descriptors", fds.len()), errno);
                Err(Error::sys(self.op, "cannot wait for the process", call))
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        match self.course.ending.get() {
            Some(ending) if ending.killed => None,
            Some(ending) => Some(ending.kill_at),
            None => self.bounds.deadline,
        }
    }

    /// Ends it when its time is over, when it writes too much, or when the program is to stop.
    fn keep_bounds(&self, signals_before: u32) {
        let now = Instant::now();
        let grace = self.bounds.grace;
        match self.course.ending.get() {
            None if self.course.streams.borrow().overflow => self.begin_end(Reason::Output, Duration::ZERO),
            None if cancel::requested().is_some() => self.begin_end(Reason::Cancelled, grace.min(PATIENCE)),
            None if self.bounds.deadline.is_some_and(|deadline| now >= deadline) => {
                self.begin_end(Reason::Timeout, grace);
            }
            Some(ending)
                if !ending.killed && (now >= ending.kill_at || signal::count() != signals_before) =>
            {
                self.end_with(libc::SIGKILL);
                self.course.ending.set(Some(Ending { killed: true, ..ending }));
            }
            _ => {}
        }
    }

    fn begin_end(&self, reason: Reason, grace: Duration) {
        let killed = grace.is_zero();
        self.end_with(if killed { libc::SIGKILL } else { libc::SIGTERM });
        self.course.ending.set(Some(Ending { reason, kill_at: Instant::now() + grace, killed }));
    }

    /// Signals it and, where it leads a process group, what it has started.
    fn end_with(&self, number: i32) {
        self.note_kill(number);
        // It may have ended by itself just now, which the next turn will see. One that was stopped hears it once it goes on.
        for number in [number, libc::SIGCONT] {
            let _ = sysproc::signal(self.target(), number);
            if self.leads_group {
                let _ = sysproc::signal_group(self.pid, number);
            }
        }
    }

    /// Before a SIGKILL of ours: whether it is the first. The memory controller's leaves a process dying for a while.
    fn note_kill(&self, number: i32) {
        if number != libc::SIGKILL || self.cgroup.is_none() {
            return;
        }
        let mut fds = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        let ended = poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0);
        if !ended && !sysproc::is_being_killed(self.pid) {
            self.course.killed_by_us.set(true);
        }
    }

    /// Ends it and waits: SIGTERM, and SIGKILL after the grace.
    ///
    /// # Errors
    /// A failed system call.
    pub fn kill(&self, session: &Session) -> Result<Rc<Outcome>> {
        if self.outcome().is_none() && self.course.ending.get().is_none() {
            self.begin_end(Reason::Signaled, self.bounds.grace);
        }
        self.wait(session)
    }

    /// Collects its status; nothing while a tracer of its own has it.
    fn finish(&self, session: &Session) -> Result<Option<Rc<Outcome>>> {
        if self.course.ending.get().is_some() && self.leads_group {
            // What it started and that outlived its SIGTERM. Before the status is collected: until then nobody else
            // can have its number.
            let _ = sysproc::signal_group(self.pid, libc::SIGKILL);
        }
        let (exit, usage) = match sysproc::wait_usage(&self.pidfd) {
            Ok(Some(status)) => status,
            Ok(None) if self.course.ending.get().is_none_or(|ending| !ending.killed) => return Ok(None),
            Ok(None) => (Exit::Signal(libc::SIGKILL), Usage::default()),
            // Killed and collected with its group, which was closed.
            Err(error) if error.errno() == Errno::ECHILD => (Exit::Signal(libc::SIGKILL), Usage::default()),
            Err(error) => return Err(Error::sys(self.op, "cannot collect the status", error)),
        };
        let mut streams = self.course.streams.borrow_mut();
        // What it wrote before its end is in the pipes; what its orphans still write is not waited for.
        let have = |streams: &Streams| streams.out.rest().len() + streams.err.rest().len();
        let mut before = usize::MAX;
        while before != have(&streams) && !streams.at_end() {
            before = have(&streams);
            streams.turn(self.op)?;
        }
        let overflow = streams.overflow;
        streams.close();
        let (code, signal) = match exit {
            Exit::Code(code) => (code, None),
            Exit::Signal(number) => (128 + number, Some(sysproc::signal_name(number))),
        };
        let reason = self.reason(exit, overflow);
        // The child begins in our memory, and the kernel counts that in.
        let own = Some(usage.memory_peak).filter(|peak| *peak > self.own_peak);
        let group_peak = self.cgroup.as_ref().and_then(|group| group.memory_peak());
        let outcome = Rc::new(Outcome {
            code,
            signal,
            reason,
            stdout: streams.out.rest().to_vec(),
            stderr: streams.err.rest().to_vec(),
            usage,
            wall: self.started.elapsed(),
            memory_peak: group_peak.or(own),
            pids_peak: self.cgroup.as_ref().and_then(|group| group.pids_peak()),
            seccomp_profile: self.course.recorder.take().map(|recorder| recorder.end(self.op)).transpose()?,
        });
        session.ended(self.step, &format!("ended: {}", show(&outcome)))?;
        self.course.outcome.replace(Some(outcome.clone()));
        Ok(Some(outcome))
    }

    fn reason(&self, exit: Exit, overflow: bool) -> Reason {
        let oom = || self.cgroup.as_ref().is_some_and(|group| group.oom_kills() > self.oom_kills_before);
        match (self.course.ending.get(), exit) {
            // Whatever else was going on. A shell reports a killed child as 137.
            (_, Exit::Signal(libc::SIGKILL) | Exit::Code(137))
                if !self.course.killed_by_us.get() && oom() =>
            {
                Reason::Oom
            }
            (Some(ending), _) => ending.reason,
            (None, _) if overflow => Reason::Output,
            (None, Exit::Code(_)) => Reason::Exited,
            (None, Exit::Signal(_)) => Reason::Signaled,
        }
    }
}

/// How long a process has to end after Ctrl-C, at the most.
const PATIENCE: Duration = Duration::from_secs(2);
impl Handle for Process {
    fn kind(&self) -> &'static str {
        "Process"
    }

    fn name(&self) -> String {
        self.pid.to_string()
    }

    fn line(&self) -> String {
        let state = match self.outcome() {
            Some(outcome) => show(&outcome),
            // What it ended with is known once somebody waits for it.
            None if self.has_ended() => "ended".to_owned(),
            None => "running".to_owned(),
        };
        format!("Process {} `{}` {state}", self.pid, self.command)
    }

    fn inspect(&self) -> serde_json::Value {
        let outcome = self.outcome();
        json!({
            "pid": self.pid,
            "command": self.command,
            "running": outcome.is_none(),
            "code": outcome.as_ref().map(|outcome| outcome.code),
            "reason": outcome.as_ref().map(|outcome| outcome.reason.name()),
        })
    }

    fn keep_refusal(&self) -> Option<&'static str> {
        Some("a process ends with the program that started it; run it as a container to detach it")
    }
}
