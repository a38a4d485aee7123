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
    /// Sizes are bytes or a text such as `"64MiB"`, counts are numbers, `"max"` takes a limit away. On a host with version 1
    /// controllers the values are translated. A new group lies below this program's own. Where one of several limits on a
    /// group fails, it keeps those that it had.
    ///
    /// Returns: the group.
    /// Errors: `invalid_argument` for a value that means nothing or that the kernel does not hold, and for a group of others;
    /// `not_found` for a device or processor that is not there; `unsupported` for a controller that is not mounted, and for what
    /// version 1 has no counterpart for; `permission_denied` without delegation, and on a read-only mount; `busy` when more is
    /// used than the limit, and for processes in the way of version 2; `timeout` of systemd's manager (see `cgroup::info`).
    /// Needs: root, or a delegated subtree; the controller in version 1 or 2.
    /// Calls: cgroups(7), mkdir(2), write(2), bpf(2)
    /// Undo: a new group is removed, its processes killed; limits on a group that was there are set back.
    /// Example:
    ///     let group = cgroup::limit(#{ memory: "64MiB", pids: 16 });
    ///     group.limits()["memory.max"]                        // => 67108864
    ///     proc::exec(["true"], #{ cgroup: group }).ok         // => true
    ///     cgroup::limit(group, #{ pids: 8 }).limits()["pids.max"] // => 8
    ///     cgroup::limit(#{ memory: "lots" })                  // throws invalid_argument
    fn "cgroup::limit"(
        /// A group, or the limits of a new one.
        group: Either<Held<Cgroup>, Limits>,
        options: Option<Limits>
    ) -> Held<Cgroup> = limit;
    /// Makes a group with a name below this program's own.
    ///
    /// Returns: the group, empty.
    /// Errors: `already_exists` when the name is taken; `invalid_argument` for a name with a slash, and for a value that means
    /// nothing; `unsupported` for a controller that is not mounted; `permission_denied` without delegation; `busy` for processes
    /// in the way of version 2; `timeout` of systemd's manager.
    /// Needs: root, or a delegated subtree.
    /// Calls: cgroups(7), mkdir(2)
    /// Undo: it is removed, its processes killed.
    /// Example:
    ///     let name = `demo-${sys::info().pid}`;
    ///     let group = cgroup::create(name, #{ pids: 4 });
    ///     group.path.ends_with(name)    // => true
    ///     cgroup::create(name)          // throws already_exists
    fn "cgroup::create"(
        /// The name of its folder.
        name: String,
        options: OrNone
    ) -> (HandleId, Rc<Cgroup>) = create;
    /// The group of this program, to be looked at: it is not the script's to change.
    ///
    /// Returns: the group.
    /// Errors: `unsupported` where no control groups are mounted.
    /// Needs: nothing.
    /// Calls: proc_pid_cgroup(5)
    /// Undo: nothing.
    /// Example:
    ///     sys::info().pid in cgroup::current().procs()    // => true
    ///     cgroup::limit(cgroup::current(), #{ pids: 100 }) // throws permission_denied
    fn "cgroup::current"() -> (HandleId, Rc<Cgroup>) = current;
    /// The group of a process, to be looked at.
    ///
    /// Returns: the group.
    /// Errors: `not_found` when the process is gone; `unsupported` where no control groups are mounted.
    /// Needs: nothing.
    /// Calls: proc_pid_cgroup(5)
    /// Undo: nothing.
    /// Example:
    ///     let group = cgroup::limit(#{ pids: 16 });
    ///     let sleep = proc::spawn(["sleep", "60"], #{ cgroup: group });
    ///     sleep.pid in cgroup::of(sleep).procs() // => true
    fn "cgroup::of"(
        /// A `Process`, or a process id.
        process: Either<Open<Process>, i32>
    ) -> (HandleId, Rc<Cgroup>) = of;
    /// What this host has: the version, the controllers, what is delegated, and which driver makes groups.
    ///
    /// With the driver `cgroupfs` groups are made below this program's own. With `systemd`, which is taken where systemd
    /// runs the host and has not delegated that group, its manager is asked over D-Bus for one scope, when the first
    /// group is made: all groups are below it, it ends with the script, and they cannot be kept. The manager of the
    /// machine is asked by root; that of a user by a program in one of its units. The environment variable
    /// `CSHELL_CGROUP_DRIVER` chooses one of the two; `cgroupfs` then moves what is in the own group into a leaf below
    /// it where version 2 wants that.
    ///
    /// Returns: `mode` (`v1`, `hybrid`, `v2` or `none`) and `why`; `controllers`, each with its `version`, the folder of this
    /// program's own group and whether that is `writable`; `unified`; `delegation` (`delegated`, `why`, and a `fix` where
    /// something is to be mended); `driver` and `driver_reason`.
    /// Errors: `invalid_argument` for a driver that there is not; `unsupported` for `systemd` where it does not run.
    /// Needs: nothing.
    /// Calls: cgroups(7), org.freedesktop.systemd1(5)
    /// Undo: nothing.
    /// Example:
    ///     cgroup::info().mode in ["v1", "hybrid", "v2"] // => true
    fn "cgroup::info"() -> Value = info;
    /// The groups below the one that the script's are made in, put together from all hierarchies.
    ///
    /// Returns: `name`, `paths`, `procs` and `children`, each of the same shape.
    /// Errors: `not_found` where `/proc` is not mounted; `unsupported` for a driver that does not run.
    /// Needs: nothing.
    /// Calls: cgroups(7)
    /// Undo: nothing.
    /// Example:
    ///     let name = `demo-${sys::info().pid}`;
    ///     let group = cgroup::create(name, #{ pids: 4 });
    ///     cgroup::tree().children.some(|below| below.name.ends_with(name)) // => true
    fn "cgroup::tree"() -> Value = tree_of;
    /// Proves that limits bite: each is set on a throw-away group, in which a program of a few instructions runs.
    ///
    /// Half of the memory lives and 16 MiB more than the limit is killed; fork is refused; the processor is held back
    /// (measured over half a second or five periods, a quarter and one period of tolerance); a second's worth is read
    /// from a device, which takes half a second longer than without the limit (direct reads, the best of three and of
    /// two; writes are never tried); a process may use the processors of `cpuset` and no others.
    ///
    /// Returns: a list, one map a limit: `limit`, `bites` (`true`, or `()` when it was not tried) and `text`, what was seen or
    /// `SKIP: ` with the reason.
    /// Errors: `unsupported` when a limit does not bite, and for a controller that is not mounted; `permission_denied` without
    /// delegation; `timeout` for a probe that does not end; `invalid_argument` for a value that means nothing.
    /// Needs: root, or a delegated subtree.
    /// Calls: cgroups(7), clone3(2)
    /// Undo: the groups are gone before it returns.
    /// Example:
    ///     cgroup::probe(#{ pids: 4 })[0].bites // => true
    fn "cgroup::probe"(options: Limits) -> Value = probe_all;

    /// The folders of the group, one a hierarchy.
    get "Cgroup.paths"(group: Open<Cgroup>) -> Vec<String> = paths;
    /// The folder of the group in its first hierarchy (version 2 where there is one).
    get "Cgroup.path"(group: Open<Cgroup>) -> String = path;
    /// Sets limits, as `cgroup::limit`.
    ///
    /// Returns: the group.
    /// Errors: `invalid_argument` for a value that means nothing or that the kernel does not hold; `permission_denied` for a
    /// group of others, and without delegation; `unsupported`, `not_found` and `busy` as `cgroup::limit`.
    /// Needs: root, or a delegated subtree.
    /// Calls: cgroups(7), write(2)
    /// Undo: the limits go with the group.
    /// Example:
    ///     let group = cgroup::limit(#{ pids: 16 });
    ///     group.limit(#{ pids: 32 }).limits()["pids.max"]         // => 32
    ///     group.limit(#{ "pids.max": "max" }).limits()["pids.max"] // => "max"
    method "Cgroup.limit"(group: Held<Cgroup>, options: Limits) -> Held<Cgroup> = limit_method;
    /// Makes a group with a name below this one, in the same hierarchies.
    ///
    /// Returns: the group, empty.
    /// Errors: `already_exists` when the name is taken; `busy` in version 2 while this group has processes of its own;
    /// `invalid_argument` for a name with a slash, and for a value that means nothing; `permission_denied` for a group of others;
    /// `unsupported` for a controller that is not mounted.
    /// Needs: root, or a delegated subtree.
    /// Calls: cgroups(7), mkdir(2)
    /// Undo: it is removed, its processes killed.
    /// Example:
    ///     let group = cgroup::limit(#{ pids: 16 });
    ///     let below = group.create("worker", #{ pids: 4 });
    ///     below.paths.len() > 0             // => true
    ///     group.children().map(|g| g.name)  // => ["worker"]
    method "Cgroup.create"(
        group: Held<Cgroup>,
        /// The name of its folder.
        name: String,
        options: OrNone
    ) -> (HandleId, Rc<Cgroup>) = create_below;
    /// The limits in force.
    ///
    /// Returns: a map by the names of version 2: bytes and counts as numbers, `"max"` where there is no limit.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: cgroups(7)
    /// Undo: nothing.
    /// Example:
    ///     cgroup::limit(#{ cpus: 0.5 }).limits()["cpu.max"] // => "50000 100000"
    method "Cgroup.limits"(group: Open<Cgroup>) -> Value = limits;
    /// What the group uses.
    ///
    /// Returns: `memory` (`current peak swap`, bytes; `oom_kills`), `cpu` (`usage user system throttled`, seconds; the same in
    /// microseconds as `usage_usec user_usec system_usec`; `periods throttled_periods`), `pids` (`current peak`), `io` (for each
    /// device `device rbytes wbytes rios wios`) and `frozen`; `()` where the kernel does not count it.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: cgroups(7)
    /// Undo: nothing.
    /// Example:
    ///     let group = cgroup::limit(#{ pids: 16 });
    ///     let sleep = proc::spawn(["sleep", "60"], #{ cgroup: group });
    ///     group.stats().pids.current // => 1
    method "Cgroup.stats"(group: Open<Cgroup>) -> Value = stats;
    /// What has happened in the group.
    ///
    /// Returns: how often `low high max oom oom_kill oom_group_kill` (memory) and `pids_max` (fork refused) came, as far as the
    /// kernel counts them, and whether the group is `frozen` and `populated`.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: cgroups(7)
    /// Undo: nothing.
    /// Example:
    ///     let group = cgroup::limit(#{ pids: 16 });
    ///     group.events().populated // => false
    method "Cgroup.events"(group: Open<Cgroup>) -> Value = events;
    /// Waits for an event of the group.
    ///
    /// `event` is one that `.events()` counts: what came before the call and was not waited for counts as well. Or a
    /// state, which may hold already: `frozen thawed populated empty`. Or pressure: `cpu_pressure memory_pressure
    /// io_pressure`, when processes waited `stall` in a `window`, `full` for all at once.
    ///
    /// Returns: `event`, `count` (since it was last waited for), `total` and `group` (its name).
    /// Errors: `timeout` when it does not come in time; `invalid_argument` for no event; `unsupported` where it is not counted;
    /// `not_found` when the group was removed from outside; `interrupted` when a signal asks the program to stop.
    /// Needs: nothing; for pressure Linux 4.20 and version 2.
    /// Calls: poll(2), inotify(7), cgroups(7)
    /// Undo: nothing.
    /// Example:
    ///     let group = cgroup::limit(#{ pids: 16 });
    ///     let short = proc::spawn(["sleep", "0.05"], #{ cgroup: group });
    ///     group.wait("empty").event                     // => "empty"
    ///     group.wait("populated", #{ timeout: "20ms" }) // throws timeout
    method "Cgroup.wait"(
        group: Open<Cgroup>,
        /// The name of the event.
        event: String,
        options: OrEmpty<WaitOptions>
    ) -> Value = wait;
    /// Calls a function at each event.
    ///
    /// Called between native calls and inside those that block (`proc::exec`, `sys::sleep`, `.wait`, …), but not while such a
    /// function runs. What it throws ends the call that blocks, kills the command that it waits for, and fails the script.
    ///
    /// Errors: `invalid_argument` for no event, and for pressure, which can only be waited for; `unsupported` where it is not
    /// counted.
    /// Needs: nothing.
    /// Calls: inotify(7), cgroups(7)
    /// Undo: it is called no more when the group is closed.
    /// Example:
    ///     let group = cgroup::limit(#{ pids: 16 });
    ///     group.on("populated", |e| print(e.event));
    ///     proc::exec(["sleep", "0.1"], #{ cgroup: group });
    ///     // prints populated
    method "Cgroup.on"(
        group: Open<Cgroup>,
        /// The name of the event, as `.wait` takes it.
        event: String,
        /// What is called, with a map of `event`, `count` (since the last call), `total`, `group` (its name) and `cgroup` (the group
        /// itself, in place of the variable, which a closure cannot use here).
        function: FnPtr
    ) = on;
    /// How long processes had to wait for processor, memory and disk (PSI).
    ///
    /// Returns: `cpu`, `memory` and `io`, each with `some` and `full`: `avg10 avg60 avg300` (percent) and `total`
    /// (microseconds).
    /// Errors: `unsupported` without a version 2 tree, or on a kernel without CONFIG_PSI.
    /// Needs: nothing; Linux 4.20 and version 2.
    /// Calls: cgroups(7)
    /// Undo: nothing.
    /// Example:
    ///     let group = cgroup::limit(#{ pids: 16 });
    ///     group.pressure().cpu.some.total >= 0    // => true
    method "Cgroup.pressure"(group: Open<Cgroup>) -> Value = pressure;
    /// The processes in the group.
    ///
    /// Returns: process ids.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: cgroups(7)
    /// Undo: nothing.
    /// Example:
    ///     let group = cgroup::limit(#{ pids: 16 });
    ///     let sleep = proc::spawn(["sleep", "60"], #{ cgroup: group });
    ///     group.procs() == [sleep.pid] // => true
    method "Cgroup.procs"(group: Open<Cgroup>) -> Vec<i64> = procs;
    /// The groups below it.
    ///
    /// Returns: a list of maps, each with `name`, `paths`, `procs` and `children`.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: cgroups(7)
    /// Undo: nothing.
    /// Example:
    ///     let group = cgroup::limit(#{ pids: 16 });
    ///     let below = group.create("a");
    ///     group.children()[0].procs // => []
    method "Cgroup.children"(group: Open<Cgroup>) -> Vec<Value> = children;
    /// Moves a process with all its threads into the group, out of the one it was in.
    ///
    /// Errors: `not_found` when it is gone; `busy` in version 2 when groups below this one have controllers;
    /// `invalid_argument` for what is no process id; `permission_denied` for a process or a group of others.
    /// Needs: root, or a delegated subtree that holds both groups.
    /// Calls: cgroups(7), write(2)
    /// Undo: nothing; the process ends with the group.
    /// Example:
    ///     let group = cgroup::limit(#{ pids: 16 });
    ///     let sleep = proc::spawn(["sleep", "60"]);
    ///     group.add(sleep);
    ///     group.procs() == [sleep.pid] // => true
    method "Cgroup.add"(
        group: Open<Cgroup>,
        /// A `Process`, or a process id.
        process: Either<Open<Process>, i32>
    ) = add;
    /// Stops all processes of the group and of those below it, and waits until they have stopped.
    ///
    /// Errors: `timeout` after 10 s; `unsupported` without version 2 and without the freezer of version 1; `interrupted` when a
    /// signal asks the program to stop; `permission_denied` for a group of others.
    /// Needs: root, or a delegated subtree.
    /// Calls: cgroups(7)
    /// Undo: they go on, and are killed when the group is removed.
    /// Example:
    ///     let group = cgroup::limit(#{ pids: 16 });
    ///     let sleep = proc::spawn(["sleep", "60"], #{ cgroup: group });
    ///     group.freeze();
    ///     group.stats().frozen // => true
    ///     group.thaw();
    ///     group.stats().frozen // => false
    method "Cgroup.freeze"(group: Open<Cgroup>) = freeze_group;
    /// Lets the processes of a frozen group go on.
    ///
    /// Errors: `timeout` after 10 s; `unsupported` without version 2 and without the freezer of version 1; `interrupted` when a
    /// signal asks the program to stop; `permission_denied` for a group of others.
    /// Needs: root, or a delegated subtree.
    /// Calls: cgroups(7)
    /// Undo: nothing.
    /// Example:
    ///     let group = cgroup::limit(#{ pids: 16 });
    ///     group.freeze();
    ///     group.thaw();
    ///     group.stats().frozen // => false
    method "Cgroup.thaw"(group: Open<Cgroup>) = thaw;
    /// Kills every process of the group and of groups below it, frozen ones too, and waits until they are gone.
    ///
    /// By `cgroup.kill`, else frozen, signalled and thawed, so that none that is born meanwhile gets away.
    ///
    /// Errors: `timeout` when one does not end; `busy` when processes are born faster than they can be killed;
    /// `permission_denied` for a group of others.
    /// Needs: root, or a delegated subtree.
    /// Calls: cgroups(7), kill(2)
    /// Undo: nothing.
    /// Example:
    ///     let group = cgroup::limit(#{ pids: 16 });
    ///     let sleep = proc::spawn(["sleep", "60"], #{ cgroup: group });
    ///     group.kill();
    ///     sleep.wait().signal // => "SIGKILL"
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
