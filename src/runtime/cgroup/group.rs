//! The group that users hold: one folder in each hierarchy that its limits need.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cgroup::dir::Dir;
use crate::runtime::cgroup::host::{Hierarchy, Host, Mode};
use crate::runtime::cgroup::limits::Limit;
use crate::runtime::cgroup::{reclaim, version};
use crate::runtime::object::Object;
use crate::runtime::session::{Done, Handle, HandleId, Intent, Session, StepId};
use crate::sys::{Errno, file};
use rustix::fs::CWD;
use serde_json::json;
use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;

/// A control group.
#[derive(Debug)]
pub struct Cgroup {
    name: String,
    token: bool,
    dirs: RefCell<Vec<Dir>>,
}

/// Makes an anonymous group with these limits.
///
/// # Errors
/// [`ErrorKind::Unsupported`] when a controller is not mounted here; the failed call.
pub fn limit_new(session: &Session, limits: &[Limit]) -> Result<(HandleId, Rc<Cgroup>)> {
    const OP: &str = "cgroup::limit";
    let name = format!("cshell-{}-{}", session.token(), session.serial());
    let controllers: Vec<&str> = limits.iter().map(Limit::controller).collect();
    make(session, OP, name, true, &controllers, limits)
}

/// Makes a group called `name` with these limits, for the controllers that are there of memory, cpu and pids.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`]; [`ErrorKind::InvalidArgument`] for a name with a slash.
pub fn create(session: &Session, name: &str, limits: &[Limit]) -> Result<(HandleId, Rc<Cgroup>)> {
    const OP: &str = "cgroup::create";
    check_name(OP, name)?;
    let host = Host::detect(OP)?;
    let usual = ["memory", "cpu", "cpuacct", "pids"].into_iter().filter(|name| host.with(OP, name).is_ok());
    let mut controllers: Vec<&str> = usual.collect();
    controllers.extend(limits.iter().map(Limit::controller));
    make(session, OP, name.to_owned(), false, &controllers, limits)
}

fn check_name(op: &'static str, name: &str) -> Result<()> {
    let reserved = name.starts_with("cgroup.") || name == "." || name == "..";
    if name.is_empty() || name.len() > 255 || name.contains(['/', '\n', '\0']) || reserved {
        let what = format!("{name:?} is not a name for a group");
        return Err(Error::new(ErrorKind::InvalidArgument, op, what)
            .hint("one name without a slash, 1 to 255 bytes, not starting with \"cgroup.\""));
    }
    Ok(())
}

fn make(
    session: &Session,
    op: &'static str,
    name: String,
    token: bool,
    controllers: &[&str],
    limits: &[Limit],
) -> Result<(HandleId, Rc<Cgroup>)> {
    for limit in limits {
        limit.check(op)?;
    }
    let host = Host::detect(op)?;
    let group = Cgroup { name, token, dirs: RefCell::default() };
    let mut steps = Vec::new();
    let built = group.add_dirs(session, op, &host, controllers).and_then(|step| {
        steps.extend(step);
        group.set(session, op, limits)
    });
    match built {
        Ok(more) => {
            steps.extend(more);
            Ok(session.adopt(group, steps))
        }
        Err(error) => Err(session.roll_back(steps, error)),
    }
}

impl Cgroup {
    /// Makes the group's folders in the hierarchies of `controllers` where it has none yet, and in the version 2 tree,
    /// which kills, freezes and counts on every host that has it.
    fn add_dirs(
        &self,
        session: &Session,
        op: &'static str,
        host: &Host,
        controllers: &[&str],
    ) -> Result<Option<StepId>> {
        let wanted = self.missing(op, host, controllers)?;
        if wanted.is_empty() {
            return Ok(None);
        }
        let dirs: Vec<PathBuf> = wanted.iter().map(|hierarchy| hierarchy.own.join(&self.name)).collect();
        let object = |ids: Vec<_>| Object::Cgroup { dirs: dirs.clone(), ids, token: self.token };
        let intent = Intent { op, text: format!("make the group {}", self.name), claim: object(Vec::new()) };
        let (step, made) = session.step(intent, |progress| {
            let mut made: Vec<Dir> = Vec::new();
            for (hierarchy, path) in wanted.iter().zip(&dirs) {
                enable(op, hierarchy, controllers)?;
                file::mkdirat(CWD, path, 0o755).map_err(|source| refused(op, path, source))?;
                let dir = Dir::open(op, path, hierarchy.version, &hierarchy.controllers)?;
                version::of(dir.version).prepare(op, &dir)?;
                made.push(dir);
                progress.made(object(made.iter().map(|dir| dir.id).collect()))?;
            }
            let shown: Vec<String> = made.iter().map(|dir| dir.path.display().to_string()).collect();
            let object = object(made.iter().map(|dir| dir.id).collect());
            Ok(Done { effect: format!("group at {}", shown.join(", ")), value: made, object })
        })?;
        self.dirs.borrow_mut().extend(made);
        Ok(Some(step))
    }

    fn missing<'a>(
        &self,
        op: &'static str,
        host: &'a Host,
        controllers: &[&str],
    ) -> Result<Vec<&'a Hierarchy>> {
        let mut wanted: Vec<&Hierarchy> = host.unified().into_iter().collect();
        for controller in controllers {
            let hierarchy = host.with(op, controller)?;
            if !wanted.contains(&hierarchy) {
                wanted.push(hierarchy);
            }
        }
        if wanted.is_empty() {
            return Err(Error::new(ErrorKind::Unsupported, op, "no control groups are mounted on this host")
                .hint("mount -t cgroup2 cgroup2 /sys/fs/cgroup"));
        }
        let known = self.dirs.borrow();
        wanted.retain(|hierarchy| !known.iter().any(|dir| dir.path.parent() == Some(&hierarchy.own)));
        Ok(wanted)
    }

    fn set(&self, session: &Session, op: &'static str, limits: &[Limit]) -> Result<Option<StepId>> {
        if limits.is_empty() {
            return Ok(None);
        }
        let shown: Vec<String> = limits.iter().map(Limit::to_string).collect();
        let text = format!("limit the group {} to {}", self.name, shown.join(", "));
        let intent = Intent { op, text, claim: Object::Nothing };
        let (step, ()) = session.step(intent, |_| {
            for limit in limits {
                self.with_dir(op, limit.controller(), |dir| version::of(dir.version).set(op, dir, limit))?;
            }
            Ok(Done {
                value: (),
                object: Object::Nothing,
                effect: format!("the kernel holds {}", shown.join(", ")),
            })
        })?;
        Ok(Some(step))
    }

    fn with_dir<T>(
        &self,
        op: &'static str,
        controller: &str,
        work: impl FnOnce(&Dir) -> Result<T>,
    ) -> Result<T> {
        let dirs = self.dirs.borrow();
        let dir = dirs.iter().find(|dir| dir.has(controller)).ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, op, format!("the group has no {controller} controller"))
        })?;
        work(dir)
    }

    fn stat<T>(&self, controller: &str, read: impl FnOnce(&Dir) -> Option<T>) -> Option<T> {
        let dirs = self.dirs.borrow();
        dirs.iter().find(|dir| dir.has(controller)).and_then(read)
    }

    /// Its name.
    #[must_use]
    pub fn group_name(&self) -> &str {
        &self.name
    }

    /// Its folders.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.dirs.borrow().iter().map(|dir| dir.path.clone()).collect()
    }

    /// The `tasks` files of its version 1 folders, open for a child to enter through.
    ///
    /// # Errors
    /// The failed open.
    pub fn entries(&self, op: &'static str) -> Result<Vec<OwnedFd>> {
        let dirs = self.dirs.borrow();
        dirs.iter().filter(|dir| dir.version == 1).map(|dir| dir.open_for_writing(op, "tasks")).collect()
    }

    /// Its version 2 folder, for a child to be born in.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn birth(&self, op: &'static str) -> Result<Option<OwnedFd>> {
        let dirs = self.dirs.borrow();
        dirs.iter()
            .find(|dir| dir.version == 2)
            .map(|dir| crate::runtime::start::duplicate(op, dir.fd()))
            .transpose()
    }

    /// How many of its processes the memory controller has killed.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        self.stat("memory", |dir| version::of(dir.version).oom_kills(dir)).unwrap_or(0)
    }

    /// The greatest use of memory so far, in bytes.
    #[must_use]
    pub fn memory_peak(&self) -> Option<u64> {
        self.stat("memory", |dir| version::of(dir.version).memory_peak(dir))
    }

    /// The greatest number of processes so far, where the kernel counts it.
    #[must_use]
    pub fn pids_peak(&self) -> Option<u64> {
        self.stat("pids", |dir| dir.number("pids.peak"))
    }

    /// The processes in it.
    #[must_use]
    pub fn procs(&self) -> Vec<i32> {
        let dirs = self.dirs.borrow();
        let text =
            dirs.first().and_then(|dir| dir.read("cgroup.procs", "cgroup.procs").ok()).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Moves a process, with all its threads, into the group.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it is gone.
    pub fn add(&self, pid: i32) -> Result<()> {
        let dirs = self.dirs.borrow();
        dirs.iter().try_for_each(|dir| dir.write("cgroup.add", "cgroup.procs", &pid.to_string()))
    }

    /// Kills every process in it and in the groups below it.
    ///
    /// # Errors
    /// When one does not end.
    pub fn kill(&self) -> Result<()> {
        self.paths()
            .iter()
            .try_for_each(|path| reclaim::kill(path))
            .map_err(|error| error.in_op("cgroup.kill"))
    }

    /// The limits that are in force, by the names of version 2: numbers, or text such as `max`.
    #[must_use]
    pub fn limits(&self) -> serde_json::Map<String, serde_json::Value> {
        let dirs = self.dirs.borrow();
        let all = dirs.iter().flat_map(|dir| version::of(dir.version).limits(dir));
        all.map(|(name, text)| {
            (name.to_owned(), text.parse::<u64>().map_or_else(|_| json!(text), |n| json!(n)))
        })
        .collect()
    }

    /// What the group uses.
    #[must_use]
    pub fn stats(&self) -> serde_json::Value {
        let dirs = self.dirs.borrow();
        let cpu = dirs.iter().find(|dir| dir.version == 2);
        let cpu_field = |name| cpu.and_then(|dir| dir.field("cpu.stat", name));
        json!({
            "memory": {
                "current": self.stat("memory", |dir| version::of(dir.version).memory_current(dir)),
                "peak": self.memory_peak(),
                "oom_kills": self.oom_kills(),
            },
            "cpu": {
                "usage_usec": cpu_field("usage_usec"),
                "user_usec": cpu_field("user_usec"),
                "system_usec": cpu_field("system_usec"),
                "throttled_periods": self.stat("cpu", |dir| dir.field("cpu.stat", "nr_throttled")),
            },
            "pids": {
                "current": self.stat("pids", |dir| dir.number("pids.current")),
                "peak": self.pids_peak(),
            },
        })
    }
}

/// Sets limits on an existing group, making it known to further controllers where that is needed.
///
/// # Errors
/// As for [`limit_new`]; the group keeps the limits that it had and those that were set before the failing one.
pub fn limit(session: &Session, id: HandleId, limits: &[Limit]) -> Result<()> {
    const OP: &str = "cgroup::limit";
    let group: Rc<Cgroup> = session.handle(id, OP)?;
    for limit in limits {
        limit.check(OP)?;
    }
    let controllers: Vec<&str> = limits.iter().map(Limit::controller).collect();
    let known =
        controllers.iter().all(|controller| group.dirs.borrow().iter().any(|dir| dir.has(controller)));
    if !known {
        let members = group.procs();
        let step = group.add_dirs(session, OP, &Host::detect(OP)?, &controllers)?;
        step.into_iter().for_each(|step| session.add_step(id, step));
        members.into_iter().try_for_each(|pid| group.add(pid))?;
    }
    if let Some(step) = group.set(session, OP, limits)? {
        session.add_step(id, step);
    }
    Ok(())
}

/// Makes the controllers of a version 2 hierarchy available to groups below our own.
fn enable(op: &'static str, hierarchy: &Hierarchy, controllers: &[&str]) -> Result<()> {
    if hierarchy.version == 1 {
        return Ok(());
    }
    let own = Dir::open(op, &hierarchy.own, 2, &hierarchy.controllers)?;
    let enabled = own.read(op, "cgroup.subtree_control")?;
    for controller in
        controllers.iter().filter(|name| hierarchy.controllers.iter().any(|known| known == *name))
    {
        if !enabled.split(' ').any(|name| name == *controller) {
            own.write(op, "cgroup.subtree_control", &format!("+{controller}")).map_err(|error| {
                let busy = error.errno() == Some(Errno::EBUSY);
                if busy {
                    error.hint("processes are in the group itself (no internal processes, cgroups(7)): run in a leaf")
                } else {
                    error
                }
            })?;
        }
    }
    Ok(())
}

fn refused(op: &'static str, path: &std::path::Path, source: crate::sys::SysError) -> Error {
    let errno = source.errno();
    let error = Error::sys(op, format!("cannot make the group {}", path.display()), source).path(path);
    match errno {
        Errno::EEXIST => error.hint("the name is taken: choose another, or leave it out for a free one"),
        Errno::EACCES | Errno::EPERM => {
            error.hint("run as root, or have a group delegated to you (cgroups(7), delegation)")
        }
        Errno::EROFS => error.hint("the cgroup file system is mounted read-only here"),
        _ => error,
    }
}

/// What the host has: mode, and for each controller its version and where our own group is.
///
/// # Errors
/// When `/proc/self` cannot be read.
pub fn info() -> Result<serde_json::Value> {
    let host = Host::detect("cgroup::info")?;
    let mut controllers = serde_json::Map::new();
    for hierarchy in &host.hierarchies {
        for name in &hierarchy.controllers {
            let value = json!({ "version": hierarchy.version, "own": hierarchy.own.display().to_string() });
            controllers.insert(name.clone(), value);
        }
    }
    let why = match host.mode() {
        Mode::V1 => "every controller is mounted as version 1",
        Mode::Hybrid => "controllers are mounted as version 1, with a version 2 tree beside them",
        Mode::V2 => "one version 2 tree has all controllers",
        Mode::None => "no cgroup file system is mounted",
    };
    let unified = host.unified().map(|hierarchy| hierarchy.own.display().to_string());
    Ok(json!({ "mode": host.mode().name(), "why": why, "controllers": controllers, "unified": unified }))
}

impl Handle for Cgroup {
    fn kind(&self) -> &'static str {
        "Cgroup"
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn line(&self) -> String {
        // A cpuset of version 2 that was not set is empty.
        let unlimited = |value: &serde_json::Value| {
            value.as_str().is_some_and(|text| text.is_empty() || text.starts_with("max"))
        };
        let limits = self.limits();
        let set = limits.iter().filter(|(name, value)| !unlimited(value) && *name != "cpu.weight");
        let shown: Vec<String> =
            set.map(|(name, value)| format!("{name}={}", value.to_string().trim_matches('"'))).collect();
        format!("Cgroup {} [{}]", self.name, shown.join(" "))
    }

    fn inspect(&self) -> serde_json::Value {
        let paths: Vec<String> = self.paths().iter().map(|path| path.display().to_string()).collect();
        json!({ "name": self.name, "paths": paths, "limits": self.limits(), "procs": self.procs() })
    }
}

/// A group that limits nothing and holds what a session starts on the host, so that it can be ended. `None` where the
/// host has no version 2 tree, or gives us no place in it.
///
/// # Errors
/// When the ledger cannot be written.
pub fn tracking(session: &Session, op: &'static str) -> Result<Option<Rc<Cgroup>>> {
    let host = Host::detect(op)?;
    if host.unified().is_none() {
        return Ok(None);
    }
    let name = format!("cshell-{}", session.token());
    let group = Cgroup { name, token: true, dirs: RefCell::default() };
    match group.add_dirs(session, op, &host, &[]) {
        Ok(_) => Ok(Some(Rc::new(group))),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(None),
        Err(error) => Err(error),
    }
}
