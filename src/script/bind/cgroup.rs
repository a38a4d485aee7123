//! `cgroup`: control groups and their limits.

use crate::error::Result;
use crate::runtime::cgroup::watch::{Happened, Threshold};
use crate::runtime::cgroup::{self, Cgroup, freeze, group, probe, tree};
use crate::runtime::proc::Process;
use crate::runtime::session::HandleId;
pub use crate::script::bind::cgroup_limits::Limits;
use crate::script::call::Call;
use crate::script::convert::{Either, OrEmpty};
use crate::script::handle::{Held, Kind, Open};
use crate::script::hooks;
use crate::script::native::natives;
use crate::script::options::{FromOptions, Key, Options, Opts};
use rhai::FnPtr;
use serde_json::{Value, json};
use std::rc::Rc;
use std::time::Duration;

natives! {
    /// Control groups: limits that are in force (cgroups(7), cgroup-v2.rst of the kernel).
    pub const CGROUP = "cgroup";

    /// Sets limits, each read back from the kernel: on a group, or, given a map alone, on a new anonymous group.
    ///
    /// `options` is a map of limits: sizes are bytes or a text such as `"64MiB"`, counts are numbers, `"max"` takes a
    /// limit away. Returns the group. On a host with version 1 controllers the values are translated; what has no
    /// counterpart there is an `unsupported` error that names it. A new group lies below this program's own and is
    /// removed, its processes killed, when the handle is closed or the script ends. Where one of several limits on a
    /// group fails, it keeps those that it had.
    ///
    /// Errors: `invalid_argument` (a value that means nothing, a processor or device that is not there, a value that the
    /// kernel did not hold), `unsupported` (controller not mounted, file not in this version), `permission_denied`
    /// (no delegation, read-only mount), `busy` (use above the limit; processes in the way of version 2), and with
    /// systemd's driver (see `cgroup::info`) `unsupported`, `permission_denied` or `timeout` of its manager.
    /// Needs: root, or a delegated subtree. Source: cgroup-v2.rst, "Controllers"; cgroups(7).
    fn "cgroup::limit"(group: Either<Held<Cgroup>, Limits>, options: Option<Limits>) -> Held<Cgroup> = limit;
    /// Makes a group called `name` below this program's own, with the limits of `options`.
    ///
    /// Errors: `already_exists`, `invalid_argument` for a name with a slash, and those of `cgroup::limit`.
    /// Needs: root, or a delegated subtree. Source: cgroup-v2.rst, "Organizing Processes and Threads".
    fn "cgroup::create"(name: String, options: OrNone) -> (HandleId, Rc<Cgroup>) = create;
    /// The group of this program, to be looked at: it is not the script's to change.
    fn "cgroup::current"() -> (HandleId, Rc<Cgroup>) = current;
    /// The group of a process (its id, or a `Process`), to be looked at.
    ///
    /// Errors: `not_found` when the process is gone. Source: proc_pid_cgroup(5).
    fn "cgroup::of"(process: Either<Open<Process>, i32>) -> (HandleId, Rc<Cgroup>) = of;
    /// What this host has: `mode` (`v1`, `hybrid`, `v2` or `none`) and `why`; `controllers`, each with its `version`, the
    /// folder of this program's own group and whether that is `writable`; `delegation` (`delegated`, `why`, and a `fix` where
    /// something is to be mended); `driver` and `driver_reason`.
    ///
    /// With the driver `cgroupfs` groups are made below this program's own. With `systemd`, which is taken where systemd
    /// runs the host and has not delegated that group, its manager is asked over D-Bus for one scope, when the first
    /// group is made: all groups are below it, it ends with the script, and they cannot be kept. The manager of the
    /// machine is asked by root; that of a user by a program in one of its units. The environment variable
    /// `CSHELL_CGROUP_DRIVER` chooses one of the two; `cgroupfs` then moves what is in the own group into a leaf below
    /// it where version 2 wants that.
    ///
    /// Errors: `invalid_argument` for a driver that there is not, `unsupported` for `systemd` where it does not run.
    /// Source: systemd's "Control Group APIs and Delegation", org.freedesktop.systemd1(5).
    fn "cgroup::info"() -> Value = info;
    /// The groups below the one that the script's are made in as a tree, put together from all hierarchies: `name`, `paths`, `procs`, and
    /// `children`, each of the same shape.
    fn "cgroup::tree"() -> Value = tree_of;
    /// Proves that limits bite: each is set on a throw-away group, in which a program of a few instructions runs.
    ///
    /// Half of the memory lives and 16 MiB more than the limit is killed; fork is refused; the processor is held back
    /// (measured over half a second or five periods, a quarter and one period of tolerance); a second's worth is read
    /// from a device, which takes half a second longer than without the limit (direct reads, the best of three and of
    /// two; writes are never tried); a process may use the processors of `cpuset` and no others. Returns a list, one
    /// entry a limit: `limit`, `bites` (`true`, or `()` when it was not tried) and `text`, what was seen or `SKIP: `
    /// with the reason.
    ///
    /// Errors: `unsupported` when a limit does not bite, and those of `cgroup::limit`. Needs: as `cgroup::limit`.
    fn "cgroup::probe"(options: Limits) -> Value = probe_all;

    /// The folders of the group, one a hierarchy.
    get "Cgroup.paths"(group: Open<Cgroup>) -> Vec<String> = paths;
    /// The folder of the group in its first hierarchy (version 2 where there is one).
    get "Cgroup.path"(group: Open<Cgroup>) -> String = path;
    /// Sets limits, as `cgroup::limit`. Returns the group.
    method "Cgroup.limit"(group: Held<Cgroup>, options: Limits) -> Held<Cgroup> = limit_method;
    /// Makes a group called `name` below this one, in the same hierarchies, with the limits of `options`.
    ///
    /// Errors: as `cgroup::create`; `busy` in version 2 while this group has processes of its own.
    method "Cgroup.create"(group: Held<Cgroup>, name: String, options: OrNone) -> (HandleId, Rc<Cgroup>) = create_below;
    /// The limits in force, by the names of version 2: bytes and counts as numbers.
    method "Cgroup.limits"(group: Open<Cgroup>) -> Value = limits;
    /// What the group uses: `memory` (`current peak swap`, bytes; `oom_kills`), `cpu` (`usage user system throttled`,
    /// seconds; the same in microseconds as `usage_usec user_usec system_usec`; `periods throttled_periods`), `pids`
    /// (`current peak`), `io` (for each device `device rbytes wbytes rios wios`) and `frozen`. `()` where the kernel does
    /// not count it.
    method "Cgroup.stats"(group: Open<Cgroup>) -> Value = stats;
    /// What has happened: how often `low high max oom oom_kill oom_group_kill` (memory) and `pids_max` (fork refused)
    /// came, as far as the kernel counts them, and whether the group is `frozen` and `populated`.
    ///
    /// Source: cgroup-v2.rst, memory.events, pids.events, cgroup.events.
    method "Cgroup.events"(group: Open<Cgroup>) -> Value = events;
    /// Waits for an event, and returns `event`, `count` (since it was last waited for) and `total`.
    ///
    /// `event` is one that `.events()` counts: what came before the call and was not waited for counts as well. Or a
    /// state, which may hold already: `frozen thawed populated empty`. Or pressure: `cpu_pressure memory_pressure
    /// io_pressure`, when processes waited `stall` (default 100ms) in a `window` (1s), `full` for all at once. `options`:
    /// `timeout`, without which it waits for ever, and those three.
    ///
    /// Errors: `timeout`, `invalid_argument` for no event, `unsupported` where it is not counted. Source: psi.rst.
    method "Cgroup.wait"(group: Open<Cgroup>, event: String, options: OrEmpty<WaitOptions>) -> Value = wait;
    /// Calls a function at each event, with a map of `event`, `count` (since the last call), `total`, `group` (its name)
    /// and `cgroup` (the group itself, in place of the variable, which a closure cannot use here). Called between native calls and inside those that block (`proc::exec`, `sys::sleep`, `.wait`, …), but not
    /// while such a function runs. What it throws ends the call that blocks, kills the command that it waits for, and
    /// fails the script.
    ///
    /// Errors: as `.wait`; pressure can only be waited for.
    method "Cgroup.on"(group: Open<Cgroup>, event: String, function: FnPtr) = on;
    /// How long processes had to wait for `cpu`, `memory` and `io` (PSI): `some` and `full`, with `avg10 avg60 avg300`
    /// (percent) and `total` (microseconds).
    ///
    /// Errors: `unsupported` without a version 2 tree, or on a kernel without CONFIG_PSI. Source: psi.rst.
    method "Cgroup.pressure"(group: Open<Cgroup>) -> Value = pressure;
    /// The processes in the group.
    method "Cgroup.procs"(group: Open<Cgroup>) -> Vec<i64> = procs;
    /// The groups below it, each with `name`, `paths`, `procs` and `children`.
    method "Cgroup.children"(group: Open<Cgroup>) -> Vec<Value> = children;
    /// Moves a process (its id, or a `Process`), with all its threads, into the group, out of the one it was in.
    ///
    /// Errors: `not_found` when it is gone; `busy` in version 2 when groups below this one have controllers.
    method "Cgroup.add"(group: Open<Cgroup>, process: Either<Open<Process>, i32>) = add;
    /// Stops all processes of the group and of those below it, and waits until they have stopped.
    ///
    /// Errors: `timeout` after 10 s; `unsupported` without version 2 and without the freezer of version 1.
    /// Source: cgroup-v2.rst, cgroup.freeze; freezer-subsystem.rst.
    method "Cgroup.freeze"(group: Open<Cgroup>) = freeze_group;
    /// Lets them go on.
    method "Cgroup.thaw"(group: Open<Cgroup>) = thaw;
    /// Kills every process of the group and of groups below it, frozen ones too, and waits until they are gone: by
    /// `cgroup.kill`, else frozen, signalled and thawed, so that none that is born meanwhile gets away.
    method "Cgroup.kill"(group: Open<Cgroup>) = kill;
}

impl Kind for Cgroup {
    const NAME: &'static str = "Cgroup";
    const DOC: &'static str =
        "A control group: limits and statistics of the processes in it, on version 1 and 2.";
}

/// Limits that may be left out.
type OrNone = Option<Limits>;

/// How an event is waited for.
#[derive(Clone, Copy, Debug)]
struct WaitOptions {
    timeout: Option<Duration>,
    threshold: Threshold,
}

const WAIT: Options = Options {
    of: "Cgroup.wait",
    open: None,
    keys: &[
        Key::new("timeout", "duration", "for ever", "How long to wait."),
        Key::new("stall", "duration", "100ms", "Of pressure: how long processes waited."),
        Key::new("window", "duration", "1s", "Of pressure: in which time, 500ms to 10s."),
        Key::new("full", "true or false", "false", "Of pressure: whether all have to wait at once."),
    ],
};

impl FromOptions for WaitOptions {
    const OPTIONS: &'static Options = &WAIT;

    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        let usual = Threshold::default();
        let threshold = Threshold {
            full: opts.or("full", usual.full)?,
            stall: opts.or("stall", usual.stall)?,
            window: opts.or("window", usual.window)?,
        };
        Ok(Self { timeout: opts.take("timeout")?, threshold })
    }
}

fn limit(call: &Call<'_>, group: Either<Held<Cgroup>, Limits>, options: OrNone) -> Result<Held<Cgroup>> {
    match (group, options) {
        (Either::Left(group), Some(limits)) => limit_method(call, group, limits),
        (Either::Left(_), None) => Err(call.invalid("a group was given, and no map of limits")),
        (Either::Right(limits), None) => Ok(Held::new(cgroup::limit_new(call.session(), &limits.0)?.0)),
        (Either::Right(_), Some(_)) => Err(call.invalid("two maps of limits were given, and no group")),
    }
}

fn limit_method(call: &Call<'_>, group: Held<Cgroup>, options: Limits) -> Result<Held<Cgroup>> {
    cgroup::limit(call.session(), group.id(), &options.0)?;
    Ok(group)
}

fn create(call: &Call<'_>, name: String, options: OrNone) -> Result<(HandleId, Rc<Cgroup>)> {
    let limits = options.map_or_else(Vec::new, |limits| limits.0);
    cgroup::create(call.session(), None, &name, &limits)
}

fn create_below(
    call: &Call<'_>,
    group: Held<Cgroup>,
    name: String,
    options: OrNone,
) -> Result<(HandleId, Rc<Cgroup>)> {
    let limits = options.map_or_else(Vec::new, |limits| limits.0);
    cgroup::create(call.session(), Some(group.id()), &name, &limits)
}

fn current(call: &Call<'_>) -> Result<(HandleId, Rc<Cgroup>)> {
    group::of(call.session(), call.op(), None)
}

fn of(call: &Call<'_>, process: Either<Open<Process>, i32>) -> Result<(HandleId, Rc<Cgroup>)> {
    group::of(call.session(), call.op(), Some(pid_of(&process)))
}

fn pid_of(process: &Either<Open<Process>, i32>) -> i32 {
    match process {
        Either::Left(process) => process.pid,
        Either::Right(pid) => *pid,
    }
}

fn tree_of(call: &Call<'_>) -> Result<Value> {
    tree::tree(call.session()).map(|node| json!(node))
}

fn probe_all(call: &Call<'_>, options: Limits) -> Result<Value> {
    probe::probe(call.session(), &options.0).map(|proofs| json!(proofs))
}

fn info(_: &Call<'_>) -> Result<Value> {
    cgroup::info()
}

fn paths(_: &Call<'_>, group: Open<Cgroup>) -> Result<Vec<String>> {
    Ok(group.paths().iter().map(|path| path.display().to_string()).collect())
}

fn path(call: &Call<'_>, group: Open<Cgroup>) -> Result<String> {
    Ok(paths(call, group)?.into_iter().next().unwrap_or_default())
}

fn limits(_: &Call<'_>, group: Open<Cgroup>) -> Result<Value> {
    Ok(group.limits().into())
}

fn stats(_: &Call<'_>, group: Open<Cgroup>) -> Result<Value> {
    Ok(group.stats())
}

fn procs(_: &Call<'_>, group: Open<Cgroup>) -> Result<Vec<i64>> {
    Ok(group.procs().into_iter().map(i64::from).collect())
}

fn events(_: &Call<'_>, group: Open<Cgroup>) -> Result<Value> {
    Ok(group.events().into())
}

fn wait(call: &Call<'_>, group: Open<Cgroup>, event: String, options: OrEmpty<WaitOptions>) -> Result<Value> {
    let WaitOptions { timeout, threshold } = options.0;
    let happened = group.wait(call.session(), &event, timeout, threshold)?;
    Ok(told(&group, &happened))
}

/// An event as scripts see it.
#[must_use]
pub fn told(group: &Cgroup, happened: &Happened) -> Value {
    let Happened { event, count, total } = happened;
    json!({ "event": event, "count": count, "total": total, "group": group.group_name() })
}

fn on(call: &Call<'_>, group: Open<Cgroup>, event: String, function: FnPtr) -> Result<()> {
    group.check_event(call.op(), &event)?;
    if cgroup::watch::PRESSURES.contains(&event.as_str()) {
        return Err(
            call.invalid(format!("{event:?} can only be waited for: g.wait({event:?}, #{{ timeout: … }})"))
        );
    }
    hooks::register(call, group.id(), &group, &event, function)
}

fn pressure(_: &Call<'_>, group: Open<Cgroup>) -> Result<Value> {
    group.pressure()
}

fn children(_: &Call<'_>, group: Open<Cgroup>) -> Result<Vec<Value>> {
    Ok(group.children().into_iter().map(|node| json!(node)).collect())
}

fn add(call: &Call<'_>, group: Open<Cgroup>, process: Either<Open<Process>, i32>) -> Result<()> {
    match pid_of(&process) {
        pid @ ..1 => Err(call.invalid(format!("`process` must be the id of a process, not {pid}"))),
        pid => group.add(pid),
    }
}

fn freeze_group(call: &Call<'_>, group: Open<Cgroup>) -> Result<()> {
    freeze::set(call.session(), group.id(), &group, true)
}

fn thaw(call: &Call<'_>, group: Open<Cgroup>) -> Result<()> {
    freeze::set(call.session(), group.id(), &group, false)
}

fn kill(_: &Call<'_>, group: Open<Cgroup>) -> Result<()> {
    group.kill()
}
