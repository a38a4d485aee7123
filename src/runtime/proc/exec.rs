//! `proc::exec` and `proc::spawn`: from what is asked to a running process.

use crate::error::{CommandFailure, Error, ErrorKind, Result};
use crate::runtime::cgroup::{self, Cgroup};
use crate::runtime::ns::Kinds;
use crate::runtime::ns::idmap::IdMaps;
use crate::runtime::proc::complete::complete;
use crate::runtime::proc::foreign::Foreign;
use crate::runtime::proc::io::Streams;
use crate::runtime::proc::process::{self, Bounds, Course, Outcome, Process};
use crate::runtime::proc::spec::{Command, Input, Namespaces, ProcSpec};
use crate::runtime::proc::{oom, orphans, plan};
use crate::runtime::security::SeccompChoice;
use crate::runtime::security::confirm::Expected;
use crate::runtime::session::{HandleId, Session, StepId};
use crate::runtime::start::{self, Confirm, Start, StepFailure};
use crate::runtime::{cancel, units};
use crate::sys::{Errno, stage};
use nix::sched::CloneFlags;
use std::rc::Rc;
use std::time::Instant;

/// Runs a command and waits for its end.
///
/// # Errors
/// [`ErrorKind::NotFound`] (code 127) for a command that does not exist, [`ErrorKind::PermissionDenied`] (126) for one
/// that cannot be run, the failing step (125) for one that cannot be started; with `check`, every outcome but status 0:
/// [`ErrorKind::ExitStatus`], [`ErrorKind::Timeout`], [`ErrorKind::LimitReached`]; [`ErrorKind::Interrupted`].
pub fn exec(session: &Session, spec: &ProcSpec) -> Result<Rc<Outcome>> {
    exec_for(session, "proc::exec", spec)
}

/// As [`exec`], for another operation of the script.
///
/// # Errors
/// As of [`exec`].
pub fn exec_for(session: &Session, op: &'static str, spec: &ProcSpec) -> Result<Rc<Outcome>> {
    if spec.stdin == Input::Pipe {
        let what = "nobody could write to it: exec waits for the end of the command";
        return Err(Error::new(ErrorKind::InvalidArgument, op, format!("input: \"pipe\": {what}"))
            .hint("use stdin for what it is to read, or proc::spawn and .write"));
    }
    if let Some(foreign) = session.foreign().filter(|_| Foreign::makes(spec)) {
        return foreign.exec(session, op, spec).inspect_err(|error| foreign.note(error));
    }
    let mut own = Vec::new();
    let outcome = complete(session, op, spec, &mut own).and_then(|spec| {
        let process = launch(session, op, &spec, false, &mut own)?;
        finish(session, op, &spec, &process)
    });
    match outcome {
        Ok(outcome) => session.undo_steps(&own).map(|()| outcome),
        Err(error) => Err(session.roll_back(own, error)),
    }
}

fn finish(session: &Session, op: &'static str, spec: &ProcSpec, process: &Process) -> Result<Rc<Outcome>> {
    let outcome = process.wait_or_interrupt(session, op)?;
    if spec.check && !outcome.is_ok() {
        let bounds = spec
            .timeout
            .map_or_else(String::new, |time| format!("timeout of {}", units::show_duration(time)));
        return Err(process::failure(op, &process.command, &outcome, &bounds));
    }
    Ok(outcome)
}

/// Starts a command and returns at once. It is killed when its handle is closed or the session ends.
///
/// # Errors
/// As [`exec`], for what happens before the command runs.
pub fn spawn(session: &Session, spec: &ProcSpec) -> Result<(HandleId, Rc<Process>)> {
    let mut own = Vec::new();
    const OP: &str = "proc::spawn";
    if spec.security.seccomp == SeccompChoice::Record {
        let error =
            Error::new(ErrorKind::InvalidArgument, OP, "seccomp: \"record\" waits for the end of the run");
        return Err(error.hint("use proc::exec, and .seccomp_profile of its result"));
    }
    if let Some(foreign) = session.foreign().filter(|_| Foreign::makes(spec)) {
        return foreign.spawn(session, OP, spec).inspect_err(|error| foreign.note(error));
    }
    let started = complete(session, OP, spec, &mut own)
        .and_then(|spec| launch(session, OP, &spec, session.is_interactive(), &mut own));
    match started {
        Ok(process) => {
            own.push(process.step());
            Ok(session.adopt(process, own))
        }
        Err(error) => Err(session.roll_back(own, error)),
    }
}

/// Starts the process, `beside` a person who types. The steps that were made for it alone are added to `own`: they are
/// undone after its end.
pub(super) fn launch(
    session: &Session,
    op: &'static str,
    spec: &ProcSpec,
    beside: bool,
    own: &mut Vec<StepId>,
) -> Result<Process> {
    cancel::check(op)?;
    orphans::reap(session)?;
    if let Some(group) = spec.cgroup.as_ref().filter(|group| group.is_frozen()) {
        let what =
            format!("the group {} is frozen: what enters it stops before it has begun", group.group_name());
        return Err(Error::new(ErrorKind::Busy, op, what).hint("let it go on first: .thaw()"));
    }
    let set = spec.joined();
    set.map_or(Ok(()), |set| set.alive(op))?;
    let fresh = spec.fresh();
    let maps = fresh.has("user").then(|| spec.maps.clone().unwrap_or_else(IdMaps::root));
    let env = plan::environment(spec);
    let (mut streams, stdio) = Streams::open(op, spec, beside)?;
    let leads_group = plan::leads_session(spec, &stdio);
    let idmap = spec.idmap.as_deref();
    let tree = spec.rootfs.as_ref().map(|root| plan::tree(session, op, root, idmap, own)).transpose()?;
    let guard = plan::Guard::of(op, spec)?;
    let argv = spec.command.argv().iter().map(|arg| plan::c_string(op, arg)).collect::<Result<_>>()?;
    let argv = if guard.has_stage() { stage::arguments(plan::programs(op, spec)?, argv) } else { argv };
    let user = plan::user(op, spec, tree.as_ref())?;
    let who = plan::Who { maps: maps.as_ref(), user: user.as_ref() };
    let expected = spec.security.is_confined().then(|| Expected::of(spec, who));
    let steps = plan::steps(op, spec, who, guard, stdio, tree)?;
    let group = birth_group(session, op, spec)?;
    let birth = group.as_ref().map(|group| group.birth(op)).transpose()?.flatten();
    let with = |kind: &str| set.filter(|set| set.kinds.has(kind)).map(crate::runtime::ns::NsSet::pidfd);
    let command = spec.command.show();
    let oom_kills_before = spec.cgroup.as_ref().map_or(0, |group| group.oom_kills());
    let started = Instant::now();
    let deadline = spec.timeout.map(|time| started + time);
    let start = Start {
        op,
        text: describe(spec, &command),
        steps,
        argv,
        envp: env.iter().map(|(key, value)| variable(op, key, value)).collect::<Result<_>>()?,
        fresh: clone_flags(spec, fresh),
        pid_ns: with("pid"),
        time_ns: with("time"),
        cgroup: birth.as_ref().map(std::os::fd::AsFd::as_fd),
        limited: spec.cgroup.as_ref().is_some_and(|group| group.limits_memory()),
        maps: maps.as_ref(),
        deadline,
        confirm: expected.map(|expected| Confirm(Box::new(move |pid| expected.confirm(op, pid)))),
    };
    let inherited = oom::Inherited::set(op, spec.security.oom_score_adj)?;
    let (step, running) = start::start(session, start, |failure| explain(op, spec, &env, failure)).map_err(
        |error| match set {
            _ if error.errno() == Some(Errno::ENOMEM) && spec.cgroup.is_some() => error.hint(TOO_LITTLE),
            Some(set) => set.explain(op, error),
            None => error,
        },
    )?;
    drop(inherited);
    streams.settle(op).map_err(|error| session.roll_back(vec![step], error))?;
    let bounds = Bounds { deadline, grace: spec.kill_grace };
    let start::Running { pid, pidfd, recorder } = running;
    Ok(Process {
        op,
        pid,
        pidfd,
        step,
        command,
        leads_group,
        bounds,
        cgroup: spec.cgroup.clone(),
        oom_kills_before,
        own_peak: crate::sys::process::own_memory_peak(),
        started,
        inner: None,
        course: Course::new(streams, recorder),
    })
}

fn variable(op: &'static str, key: &[u8], value: &[u8]) -> Result<std::ffi::CString> {
    plan::c_string(op, &[key, b"=", value].concat())
}

/// The kinds that clone3 itself makes. One that joins a set makes its own mounts later, after it has joined.
fn clone_flags(spec: &ProcSpec, fresh: Kinds) -> CloneFlags {
    let late = plan::late_kinds(spec);
    let early = late.iter().fold(fresh, |kinds, kind| kinds.without(kind.name));
    match &spec.ns {
        Some(Namespaces::Of(_)) => CloneFlags::empty(),
        _ => early.flags(),
    }
}

/// The version 2 group that the process is born in: that of its own group; else, where no pid namespace ends what it
/// starts, one of the session, so that no grandchild is ever lost sight of. Where there can be none, orphans come to us.
fn birth_group(session: &Session, op: &'static str, spec: &ProcSpec) -> Result<Option<Rc<Cgroup>>> {
    if let Some(group) = &spec.cgroup {
        return Ok(Some(group.clone()));
    }
    if spec.has_pid_ns() {
        return Ok(None);
    }
    let tracked = session.fact("tracking", || {
        let group = cgroup::group::tracking(session, op)?;
        if group.is_none() {
            orphans::adopt(session, op)?;
        }
        Ok(group)
    })?;
    Ok(tracked.as_ref().clone())
}

fn describe(spec: &ProcSpec, command: &str) -> String {
    let mut text = format!("run `{command}`");
    let fresh = spec.fresh();
    if let Some(set) = spec.joined() {
        text.push_str(&format!(" in the namespaces of {}", set.pid));
    } else if !fresh.is_empty() {
        text.push_str(&format!(" in new namespaces ({fresh})"));
    }
    if let Some(root) = &spec.rootfs {
        text.push_str(&format!(" with the root {root}"));
    }
    text
}

/// Where a group has too little memory to start something in.
const TOO_LITTLE: &str = "the memory that its group may use is not enough even to start it: raise the limit";
/// With how many open files every start gets on.
const START_FILES: u64 = 64;

/// What the user sees of a step that failed in the child, with Docker's exit codes.
fn explain(op: &'static str, spec: &ProcSpec, env: &[(Vec<u8>, Vec<u8>)], failure: StepFailure) -> Error {
    let StepFailure { what, call, is_exec } = failure;
    let errno = call.errno();
    let name = spec
        .command
        .argv()
        .first()
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .unwrap_or_default();
    let (code, error) = if is_exec {
        explain_exec(op, spec, env, &name, call)
    } else {
        let error = Error::sys(op, format!("cannot {what}"), call);
        (125, explain_step(error, errno, &what))
    };
    let few =
        spec.rlimits.iter().any(|limit| limit.resource == libc::RLIMIT_NOFILE && limit.soft < START_FILES);
    let error = if few && matches!(errno, Errno::EMFILE | Errno::EINVAL) {
        error.hint(format!(
            "the start itself has files open: give nofile {START_FILES} or more, and lower it inside"
        ))
    } else {
        error
    };
    let command = CommandFailure { code, signal: None, reason: "exited".into(), stderr: String::new() };
    error.subject(format!("`{}`", spec.command.show())).command(command)
}

fn explain_exec(
    op: &'static str,
    spec: &ProcSpec,
    env: &[(Vec<u8>, Vec<u8>)],
    name: &str,
    call: crate::sys::SysError,
) -> (i32, Error) {
    let place = spec.rootfs.as_ref().map_or("on the host".into(), |root| format!("in {root}"));
    match call.errno() {
        Errno::ENOENT | Errno::ENOTDIR => {
            let path =
                env.iter().find(|(key, _)| key == b"PATH").map_or(plan::DEFAULT_PATH, |(_, value)| value);
            let hint = if matches!(spec.command, Command::Shell(_)) {
                format!(
                    "a command that is one text is run by /bin/sh, which does not exist {place}, or its loader: put it there, or write the command as a list"
                )
            } else if name.contains('/') {
                format!("it does not exist {place}, or the interpreter or loader that it names does not")
            } else {
                format!("it is in none of the folders of PATH {place}: {}", String::from_utf8_lossy(path))
            };
            (127, Error::sys(op, "command not found", call).kind_is(ErrorKind::NotFound).hint(hint))
        }
        Errno::EACCES => {
            let hint = format!("it is not executable {place}, or lies on a mount with noexec");
            (126, Error::sys(op, "command cannot be run", call).hint(hint))
        }
        Errno::ENOEXEC => {
            let error = Error::sys(op, "command cannot be run", call).kind_is(ErrorKind::Unsupported);
            (126, error.hint("it is no program of this machine, and has no `#!` line"))
        }
        Errno::ENOMEM | Errno::E2BIG if spec.cgroup.as_ref().is_some_and(|group| group.limits_memory()) => {
            let error = Error::sys(op, "command cannot be run", call).kind_is(ErrorKind::LimitReached);
            (126, error.hint(TOO_LITTLE))
        }
        Errno::E2BIG => {
            let error = Error::sys(op, "command cannot be run", call);
            (126, error.hint("arguments and environment together are longer than the kernel takes (execve(2), ARG_MAX)"))
        }
        _ => (126, Error::sys(op, "command cannot be run", call)),
    }
}

fn explain_step(error: Error, errno: Errno, what: &str) -> Error {
    match errno {
        Errno::EPERM if what.starts_with("join") || what.starts_with("make namespaces") => {
            error.hint("it needs root (CAP_SYS_ADMIN) over the namespaces")
        }
        Errno::EPERM if what.starts_with("set the limit") => error.hint(
            "a hard limit is raised only with CAP_SYS_RESOURCE, and that of nofile not above fs.nr_open",
        ),
        Errno::ELOOP => error.hint(
            "a link stands in the way: what belongs to the kernel is mounted on ordinary folders, and no path leads through /proc/PID/fd, cwd or root",
        ),
        Errno::ENODEV if what.starts_with("mask") || what.starts_with("set the standard") => {
            error.hint("/dev/null of the root is not the null device: leave /dev to the policy, or mount \"dev\" there")
        }
        Errno::EACCES | Errno::EPERM if what.starts_with("install the filter") => error.hint(
            "a filter without no_new_privs needs CAP_SYS_ADMIN: add no_new_privs: true",
        ),
        Errno::EPERM if what.starts_with("set the capabilities") || what.starts_with("lower the bounding") => {
            error.hint("a process can be given no capability that the caller does not have itself")
        }
        Errno::EACCES | Errno::EPERM if what.starts_with("set oom_score_adj") => {
            error.hint(oom::LOWERED)
        }
        Errno::ENOENT if what.starts_with("change to the AppArmor") => {
            error.hint("no profile of that name is loaded: see /sys/kernel/security/apparmor/profiles")
        }
        Errno::ENOENT if what.starts_with("mount") || what.starts_with("bind") => error
            .hint("the mount point does not exist in the root: make it there, or use an overlay as rootfs"),
        Errno::ENOENT if what.starts_with("change to") => {
            error.hint("cwd is a folder of the root that the command runs in")
        }
        Errno::EINVAL if what.starts_with("become") || what.starts_with("set the groups") => error
            .hint("ids of a user namespace are those in its uid_map and gid_map; without maps root alone"),
        _ => error,
    }
}
