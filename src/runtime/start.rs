//! Starting a child as a step of the session: clone, hand-shake, exec, and the error that names the failing step.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::cancel;
use crate::runtime::ns::idmap::IdMaps;
use crate::runtime::object::Object;
use crate::runtime::rootless;
use crate::runtime::security::seccomp::record::Recorder;
use crate::runtime::session::{Done, Intent, Progress, Session, StepId};
use crate::sys::child::{Op, Plan};
use crate::sys::clone::{Child, Failure, Patience, Place, Said};
use crate::sys::{Errno, SysError, clone, holder, nsfd, process, record};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sched::CloneFlags;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// The steps of a child, each with what it is for: `cannot WHAT` is the error when it fails.
#[derive(Debug, Default)]
pub struct Steps {
    ops: Vec<Op>,
    what: Vec<String>,
}

impl Steps {
    /// Adds a step.
    pub fn push(&mut self, op: Op, what: impl Into<String>) {
        self.ops.push(op);
        self.what.push(what.into());
    }

    /// Adds the last steps of a process that does nothing but wait for its death, which is that of the session at the
    /// latest, as [`holder`] describes it.
    ///
    /// # Errors
    /// When no descriptor is left, or no memory file can be made.
    pub fn hold(&mut self, session: &Session, op: &'static str) -> Result<()> {
        let program = session.fact("holder", || {
            holder::make().map_err(|source| explain_program(op, "cannot make the holding program", source))
        })?;
        let null = std::fs::File::options().read(true).write(true).open("/dev/null");
        let null = null.context(op, "cannot open /dev/null")?;
        for number in 0..3 {
            self.push(Op::Stdio(duplicate(op, &null)?, number), "let go of the terminal");
        }
        self.push(Op::NewSession, "leave the terminal's session");
        self.push(Op::IgnoreChildren, "have orphans reaped");
        self.push(Op::DeathSignal(libc::SIGKILL), "die with the session");
        self.push(Op::Wait, "wait for the ledger");
        self.push(Op::Clean, "let go of descriptors and signals");
        self.push(Op::ExecFd(duplicate(op, program.as_fd())?), "run the holding program");
        Ok(())
    }
}

/// A child that is to be started.
#[derive(Debug)]
pub struct Start<'a> {
    /// The operation, such as `proc::exec`.
    pub op: &'static str,
    /// What it is for, in words.
    pub text: String,
    /// What the child does before its exec, and the exec itself.
    pub steps: Steps,
    /// Its arguments.
    pub argv: Vec<CString>,
    /// Its environment.
    pub envp: Vec<CString>,
    /// The namespaces that are made for it.
    pub fresh: CloneFlags,
    /// The process whose pid namespace it is born in.
    pub pid_ns: Option<BorrowedFd<'a>>,
    /// The process whose time namespace it is born in.
    pub time_ns: Option<BorrowedFd<'a>>,
    /// The version 2 group it is born in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Whether its memory is limited from then on, or by a step.
    pub limited: bool,
    /// The id maps of its new user namespace. The plan waits once more then, before anything else.
    pub maps: Option<&'a IdMaps>,
    /// When it has to have begun.
    pub deadline: Option<Instant>,
    /// What looks at the process in its [last stage](crate::sys::stage), before the command runs.
    pub confirm: Option<Confirm<'a>>,
}

impl Start<'_> {
    /// A start of these steps alone: no arguments, no environment, no namespaces, group or deadline of its own.
    #[must_use]
    pub const fn of(op: &'static str, text: String, steps: Steps) -> Self {
        Self {
            op,
            text,
            steps,
            argv: Vec::new(),
            envp: Vec::new(),
            fresh: CloneFlags::empty(),
            pid_ns: None,
            time_ns: None,
            cgroup: None,
            limited: false,
            maps: None,
            deadline: None,
            confirm: None,
        }
    }
}

/// Looks at a process by its id; an error ends the start.
pub struct Confirm<'a>(pub Box<dyn FnOnce(i32) -> Result<()> + 'a>);

impl std::fmt::Debug for Confirm<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Confirm")
    }
}

/// A child that has exec'ed.
#[derive(Debug)]
pub struct Running {
    /// Its process id, as seen from here.
    pub pid: i32,
    /// The descriptor that refers to it.
    pub pidfd: OwnedFd,
    /// What notes its system calls, if its filter asks for that.
    pub recorder: Option<Recorder>,
}

/// A start that failed in the child: which step, and with what.
#[derive(Debug)]
pub struct StepFailure {
    /// What the step was for.
    pub what: String,
    /// The step's call as an error.
    pub call: SysError,
    /// Whether it was the exec itself.
    pub is_exec: bool,
}

/// Starts a child. `explain` turns a step that failed into the error that the user sees.
///
/// # Errors
/// What `explain` makes of a failed step; the failed clone or hand-shake; [`ErrorKind::Interrupted`].
pub fn start(
    session: &Session,
    start: Start<'_>,
    explain: impl FnOnce(StepFailure) -> Error,
) -> Result<(StepId, Running)> {
    let intent = Intent {
        op: start.op,
        text: start.text.clone(),
        claim: Object::Process { pid: None, start_time: None },
    };
    session.step(intent, |progress| act(progress, start, explain))
}

fn act(
    progress: &Progress<'_>,
    start: Start<'_>,
    explain: impl FnOnce(StepFailure) -> Error,
) -> Result<Done<Running>> {
    let Start {
        op,
        steps: Steps { ops, what },
        argv,
        envp,
        fresh,
        pid_ns,
        time_ns,
        cgroup,
        maps,
        deadline,
        ..
    } = start;
    let last = ops.len().saturating_sub(1);
    let plan = Plan::new(ops, argv, envp);
    let texts = plan.describe();
    let shield = Shield::raise(op, maps.is_some())?;
    let away = time_ns.map(|ns| InTime::enter(op, ns)).transpose()?;
    let child = match pid_ns {
        pid_ns if start.limited => {
            let patience = Patience { deadline, wake: cancel::fd() };
            clone::start_limited(plan, fresh, cgroup, pid_ns, patience)
        }
        Some(pid_ns) if rootless::in_user_ns() => clone::start_within(plan, fresh, cgroup, pid_ns),
        pid_ns => born_in(pid_ns, || clone::start(plan, fresh, cgroup)),
    };
    let mut child = child.map_err(|error| explain_clone(op, error, fresh, cgroup.is_some()))?;
    let pid = child.pid;
    let start_time = process::start_time(pid).context(op, "cannot identify the new process")?;
    let object = Object::Process { pid: Some(pid), start_time: Some(start_time) };
    progress.made(object.clone())?;
    let mut said = hand_shake(op, &mut child, maps, deadline)?;
    away.map_or(Ok(()), |away| away.leave(op))?;
    let reached = |said: &Said| match said {
        Said::Failed(Failure { place: Place::Step(step), .. }) => (*step).min(last),
        _ => texts.len(),
    };
    for text in &texts[..reached(&said)] {
        record::note(|| format!("[child] {text}"), Ok("0".into()), None);
    }
    if said == Said::Ready {
        start.confirm.map_or(Ok(()), |confirm| (confirm.0)(pid))?;
        let_go(op, &child)?;
        said = listen(op, &mut child, deadline)?;
    }
    shield.lower(op)?;
    let mut recorder = None;
    if let Said::Listens(number) = said {
        recorder = Some(Recorder::begin(op, &child.pidfd, number)?);
        said = listen(op, &mut child, deadline)?;
    }
    if let Said::Failed(failure) = said {
        return Err(explain(step_failure(failure, &texts, &what)));
    }
    let pidfd =
        child.into_pidfd().ok_or_else(|| Error::new(ErrorKind::Internal, op, "the child has not exec'ed"))?;
    let effect = format!("process {pid}, started at tick {start_time}");
    Ok(Done { value: Running { pid, pidfd, recorder }, object, effect })
}

fn step_failure(failure: Failure, texts: &[String], what: &[String]) -> StepFailure {
    let Failure { place, errno } = failure;
    let last = texts.len().saturating_sub(1);
    let (call, what, is_exec) = match place {
        Place::Step(step) => {
            let text = texts.get(step).map_or("?", String::as_str);
            (text.to_owned(), what.get(step).cloned().unwrap_or_default(), step == last)
        }
        Place::Filter => {
            ("seccomp(SECCOMP_SET_MODE_FILTER)".into(), "install the filter of system calls".into(), false)
        }
        Place::Program => ("execve".into(), what.get(last).cloned().unwrap_or_default(), true),
    };
    record::note(|| format!("[child] {call}"), Err(errno), None);
    StepFailure { what, call: child_call(&call, errno), is_exec }
}

/// Runs `clone` with the children of this thread being born in the pid namespace of `pid_ns`.
///
/// Only the namespace of children changes, and only for this thread; it is set back at once, which
/// setns(2) allows because our own is an ancestor.
fn born_in(
    pid_ns: Option<BorrowedFd<'_>>,
    clone: impl FnOnce() -> crate::sys::Result<Child>,
) -> crate::sys::Result<Child> {
    let Some(pid_ns) = pid_ns else { return clone() };
    let own = nsfd::open(0, "pid")?;
    nsfd::enter(pid_ns, CloneFlags::CLONE_NEWPID)?;
    let child = clone();
    // Allowed where the machine's own pid namespace is ours to enter: see `clone::start_within` for where it is not.
    nsfd::enter(&own, CloneFlags::CLONE_NEWPID)?;
    child
}

/// Keeps our memory and descriptors, which a child shares until its exec, from those who see the child: with as few privileges
/// as it has, in its pid namespace or around it, they may trace every process whose memory can be dumped (CVE-2016-9962).
struct Shield;

impl Shield {
    /// Raised for every child but one: root of a user namespace cannot write the maps of a child of its own whose files below
    /// `/proc` are not its own. That child is in a user namespace that nobody else is in, and can be traced from around
    /// it alone.
    fn raise(op: &'static str, maps: bool) -> Result<Self> {
        if !(maps && rootless::in_user_ns()) {
            process::set_dumpable(false).context(op, "cannot protect the memory of this program")?;
        }
        Ok(Self)
    }

    /// Once the child has exec'ed or ended. As root it stays raised; a child that changes its user raises it by itself.
    fn lower(self, op: &'static str) -> Result<()> {
        if rootless::in_user_ns() {
            process::set_dumpable(true).context(op, "cannot set what may be seen of this program")?;
        }
        Ok(())
    }
}

impl Drop for Shield {
    fn drop(&mut self) {
        if rootless::in_user_ns() {
            // After an error half-way, when the child is gone.
            let _ = process::set_dumpable(true);
        }
    }
}

/// This thread in the time namespace of another process, so that a child is born there: a process that shares its memory
/// cannot change its own (setns(2), EUSERS).
struct InTime {
    own: OwnedFd,
}

impl InTime {
    fn enter(op: &'static str, ns: BorrowedFd<'_>) -> Result<Self> {
        let what = "cannot enter the time namespace";
        if rootless::in_user_ns() {
            let what = "a time namespace that a set keeps cannot be joined in a user namespace: there is no way back";
            return Err(Error::new(ErrorKind::Unsupported, op, what)
                .hint("make it with the command: `ns: [\"time\"]` of proc::exec"));
        }
        let own = nsfd::open(0, "time").context(op, what)?;
        let kind = crate::runtime::ns::Kinds::NONE.with_name("time").flags();
        nsfd::enter(ns, kind).map_err(|source| {
            let threads = source.errno() == Errno::EUSERS;
            let error = Error::sys(op, what, source);
            if threads {
                error.hint("only a program of one thread can change its time namespace")
            } else {
                error
            }
        })?;
        Ok(Self { own })
    }

    /// Possible once the child no longer shares our memory.
    fn leave(self, op: &'static str) -> Result<()> {
        let kind = crate::runtime::ns::Kinds::NONE.with_name("time").flags();
        nsfd::enter(&self.own, kind).context(op, "cannot leave the time namespace")
    }
}

impl Drop for InTime {
    fn drop(&mut self) {
        // After an error half-way; harmless where we are home already.
        let kind = crate::runtime::ns::Kinds::NONE.with_name("time").flags();
        let _ = nsfd::enter(&self.own, kind);
    }
}

fn hand_shake(
    op: &'static str,
    child: &mut Child,
    maps: Option<&IdMaps>,
    deadline: Option<Instant>,
) -> Result<Said> {
    if let Some(maps) = maps {
        maps.write(op, child.pid)?;
        let_go(op, child)?;
    }
    let_go(op, child)?;
    listen(op, child, deadline)
}

const NOT_BEGUN: &str = "the process has not begun to run its command in time";
const WHAT_STOPS_IT: &str = "something stops it, or a file system that it needs does not answer";

/// Waits for the child's next word, until the deadline, or for a signal that stops the program.
fn listen(op: &'static str, child: &mut Child, deadline: Option<Instant>) -> Result<Said> {
    loop {
        let mut fds = vec![PollFd::new(child.report_fd(), PollFlags::POLLIN)];
        fds.extend(cancel::fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        match poll(&mut fds, process::poll_timeout(deadline)) {
            Ok(0) if deadline.is_some_and(|deadline| Instant::now() >= deadline) => {
                return Err(Error::new(ErrorKind::Timeout, op, NOT_BEGUN).hint(WHAT_STOPS_IT));
            }
            Ok(_) if fds[0].any() != Some(false) => break,
            _ => cancel::check(op)?,
        }
    }
    child.hear().context(op, "cannot hear from the new process")
}

fn let_go(op: &'static str, child: &Child) -> Result<()> {
    match child.go() {
        // It ended before: the report says why.
        Err(error) if error.errno() == Errno::EPIPE => Ok(()),
        other => other.context(op, "cannot let the new process go"),
    }
}

/// The error of a memory file for a program that could not be made.
pub fn explain_program(op: &'static str, what: &str, source: SysError) -> Error {
    let forbidden = source.errno() == Errno::EACCES;
    let error = Error::sys(op, what, source);
    if forbidden {
        return error.hint(
            "programs in memory files are forbidden here: `sysctl vm.memfd_noexec=1` allows them to who asks",
        );
    }
    error
}

fn child_call(text: &str, errno: Errno) -> SysError {
    SysError::of_child(text, errno)
}

fn explain_clone(op: &'static str, error: SysError, fresh: CloneFlags, grouped: bool) -> Error {
    let errno = error.errno();
    if fresh.contains(CloneFlags::CLONE_NEWUSER)
        && matches!(errno, Errno::EPERM | Errno::EACCES | Errno::ENOSPC | Errno::EUSERS)
        && rootless::forbidden().is_some()
    {
        return rootless::no_user_ns(op, error);
    }
    if let (Errno::EINTR, Err(stopped)) = (errno, cancel::check(op)) {
        return stopped;
    }
    if errno == Errno::ETIMEDOUT {
        return Error::new(ErrorKind::Timeout, op, NOT_BEGUN).hint(WHAT_STOPS_IT);
    }
    let error = Error::sys(op, "cannot start a process", error);
    match errno {
        Errno::EPERM => error.hint(
            "new namespaces need root (CAP_SYS_ADMIN), or a user namespace with them: add \"user\" to the kinds",
        ),
        Errno::ENOSPC if !fresh.is_empty() => error.hint(
            "a limit on namespaces is reached: see `sysctl -a | grep user.max_`, and 32 levels of nesting",
        ),
        Errno::ENOENT | Errno::ENODEV if grouped => {
            error.hint("the control group was removed from outside")
        }
        Errno::EBUSY if grouped => error.hint(
            "the control group gives controllers to groups below it, and takes no process itself (cgroups(7))",
        ),
        Errno::EAGAIN => error.hint("a limit on processes is reached: see pids.max of the group and `ulimit -u`"),
        _ => error,
    }
}

/// A descriptor that refers to the same thing, for a step of a child's plan.
///
/// # Errors
/// When no descriptor is left.
pub fn duplicate(op: &'static str, fd: impl AsFd) -> Result<OwnedFd> {
    fd.as_fd().try_clone_to_owned().context(op, "cannot duplicate a descriptor")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::state::StateDirs;
    use std::time::Duration;

    #[test]
    fn a_start_that_takes_too_long_ends_with_its_child() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = StateDirs { run: dir.path().join("run"), root: dir.path().join("root") };
        let session = Session::new(dirs).unwrap();
        let mut steps = Steps::default();
        // Once more than it is let go.
        for _ in 0..2 {
            steps.push(Op::Wait, "wait");
        }
        let start = Start {
            deadline: Some(Instant::now() + Duration::from_millis(20)),
            ..Start::of("t", "start what never comes to its exec".into(), steps)
        };
        let explain = |failure: StepFailure| Error::sys("t", failure.what, failure.call);
        let error = super::start(&session, start, explain).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        // It was collected as well.
        let children = std::fs::read_to_string("/proc/thread-self/children").unwrap();
        assert_eq!(children, "");
        assert!(session.close().is_empty());
    }
}
