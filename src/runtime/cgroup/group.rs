//! The group that users hold: one folder in each hierarchy that its limits need.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cgroup::dir::Dir;
use crate::runtime::cgroup::host::{Ground, Hierarchy, Host};
use crate::runtime::cgroup::limits::Limit;
use crate::runtime::cgroup::{reclaim, subtree, version};
use crate::runtime::object::Object;
use crate::runtime::session::{Done, Handle, HandleId, Intent, Session, StepId};
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;

/// How often processes that are born meanwhile are looked for.
const ROUNDS: usize = 100;

/// A control group.
#[derive(Debug)]
pub struct Cgroup {
    name: String,
    token: bool,
    parent: Option<(HandleId, Rc<Cgroup>)>,
    /// Made by someone else: it may be looked at.
    foreign: bool,
    dirs: RefCell<Vec<Rc<Dir>>>,
    /// Whether it is in a scope of systemd's, which ends with the session.
    in_scope: Cell<bool>,
    /// Whether it was killed by `cgroup.kill`, which newborns are then mistaken for the victims of.
    killed: Cell<bool>,
    /// Whether groups below it were given controllers, which keeps processes out of a version 2 group.
    gives: Cell<bool>,
    /// How often each event had happened when a script last heard of it.
    pub(super) heard: RefCell<BTreeMap<String, u64>>,
}

/// Makes an anonymous group with these limits.
///
/// # Errors
/// [`ErrorKind::Unsupported`] when a controller is not mounted here; the failed call.
pub fn limit_new(session: &Session, limits: &[Limit]) -> Result<(HandleId, Rc<Cgroup>)> {
    const OP: &str = "cgroup::limit";
    let controllers: Vec<&str> = limits.iter().map(Limit::controller).collect();
    make(session, OP, Cgroup::anonymous(session), &controllers, limits)
}

/// Makes an anonymous group for an operation of our own.
///
/// # Errors
/// As [`limit_new`].
pub fn anonymous(
    session: &Session,
    op: &'static str,
    limits: &[Limit],
    more: &[&str],
) -> Result<(HandleId, Rc<Cgroup>)> {
    let mut controllers: Vec<&str> = limits.iter().map(Limit::controller).collect();
    controllers.extend(more);
    make(session, op, Cgroup::anonymous(session), &controllers, limits)
}

/// Makes a group called `name` with these limits, below our own or below `parent`, for the controllers that are there of
/// memory, cpu and pids and for those of the limits.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`]; [`ErrorKind::InvalidArgument`] for a name with a slash.
pub fn create(
    session: &Session,
    parent: Option<HandleId>,
    name: &str,
    limits: &[Limit],
) -> Result<(HandleId, Rc<Cgroup>)> {
    const OP: &str = "cgroup::create";
    check_name(OP, name)?;
    let ground = Ground::of(session, OP)?;
    let usual = ["memory", "cpu", "cpuacct", "pids"];
    let parent = parent.map(|id| session.handle::<Cgroup>(id, OP).map(|group| (id, group))).transpose()?;
    let mut controllers: Vec<&str> = match &parent {
        Some((_, parent)) => usual.into_iter().filter(|name| parent.can_give(OP, name, limits)).collect(),
        None => usual.into_iter().filter(|name| ground.with(OP, name).is_ok()).collect(),
    };
    controllers.extend(limits.iter().map(Limit::controller));
    make(session, OP, Cgroup { parent, ..Cgroup::named(name.to_owned(), false) }, &controllers, limits)
}

fn check_name(op: &'static str, name: &str) -> Result<()> {
    let reserved = name.starts_with("cgroup.") || name == "." || name == "..";
    if name.is_empty() || name.len() > 255 || name.contains(['/', '\n', '\0']) || reserved {
        let what = format!("{name:?} is not a name for a group");
        return Err(Error::new(ErrorKind::InvalidArgument, op, what)
            .hint("one name without a slash, 1 to 255 bytes, not starting with \"cgroup.\"; for a group in a group: g.create(name)"));
    }
    Ok(())
}

fn make(
    session: &Session,
    op: &'static str,
    group: Cgroup,
    controllers: &[&str],
    limits: &[Limit],
) -> Result<(HandleId, Rc<Cgroup>)> {
    for limit in limits {
        limit.check(op)?;
    }
    let mut steps = Vec::new();
    let built = group.add_dirs(session, op, controllers).and_then(|step| {
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

/// The group of a process, which may be looked at and not changed; of this program without a pid.
///
/// # Errors
/// [`ErrorKind::NotFound`] when the process is gone.
pub fn of(session: &Session, op: &'static str, pid: Option<i32>) -> Result<(HandleId, Rc<Cgroup>)> {
    let shown = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let host = Host::seen_by(op, &shown)?;
    let mut dirs = Vec::new();
    for hierarchy in &host.hierarchies {
        dirs.push(Rc::new(Dir::open(op, &hierarchy.own, hierarchy.version, &hierarchy.controllers)?));
    }
    dirs.sort_by_key(|dir| std::cmp::Reverse(dir.version));
    let group =
        Cgroup { foreign: true, dirs: RefCell::new(dirs), ..Cgroup::named(format!("of {shown}"), false) };
    Ok(session.adopt(group, Vec::new()))
}

impl Cgroup {
    fn named(name: String, token: bool) -> Self {
        let (dirs, heard) = (RefCell::default(), RefCell::default());
        let (in_scope, killed, gives) = (Cell::new(false), Cell::new(false), Cell::new(false));
        Self { name, token, parent: None, foreign: false, dirs, in_scope, killed, gives, heard }
    }

    fn anonymous(session: &Session) -> Self {
        Self::named(format!("cshell-{}-{}", session.token(), session.serial()), true)
    }

    /// The groups that this one needs a folder below, one in each hierarchy of `controllers`; and in the version 2 tree,
    /// which kills, freezes and counts on every host that has it.
    fn bases(&self, session: &Session, op: &'static str, controllers: &[&str]) -> Result<Vec<Rc<Dir>>> {
        if let Some((id, parent)) = &self.parent {
            parent.writable(op)?;
            parent.reach(session, *id, op, controllers)?;
            self.in_scope.set(parent.in_scope.get());
            let dirs = parent.dirs.borrow();
            let wanted =
                dirs.iter().filter(|dir| dir.version == 2 || controllers.iter().any(|name| dir.has(name)));
            return Ok(wanted.cloned().collect());
        }
        let ground = Ground::of(session, op)?;
        self.in_scope.set(ground.in_scope());
        let wanted = hierarchies(&ground, op, controllers)?;
        wanted.iter().map(|hierarchy| ground.own(op, hierarchy)).collect()
    }

    /// Makes the group's folders where it has none yet, and has the controllers of version 2 enabled for it.
    fn add_dirs(&self, session: &Session, op: &'static str, controllers: &[&str]) -> Result<Option<StepId>> {
        let mut bases = self.bases(session, op, controllers)?;
        for base in bases.iter().filter(|base| base.version == 2) {
            self.enable(session, op, base, controllers)?;
        }
        bases.retain(|base| !self.dirs.borrow().iter().any(|dir| dir.path.parent() == Some(&base.path)));
        if bases.is_empty() {
            return Ok(None);
        }
        let dirs: Vec<PathBuf> = bases.iter().map(|base| base.path.join(&self.name)).collect();
        let object = |ids: Vec<_>| Object::Cgroup { dirs: dirs.clone(), ids, token: self.token };
        let intent = Intent { op, text: format!("make the group {}", self.name), claim: object(Vec::new()) };
        let (step, made) = session.step(intent, |progress| {
            let mut made: Vec<Rc<Dir>> = Vec::new();
            let ids = |made: &[Rc<Dir>]| made.iter().map(|dir| dir.id).collect();
            for base in &bases {
                let dir = base.make(op, &self.name)?;
                version::of(dir.version).prepare(op, base, &dir)?;
                made.push(Rc::new(dir));
                // An unguessable name is enough to find the others again.
                if !self.token {
                    progress.made(object(ids(&made)))?;
                }
            }
            let shown: Vec<String> = made.iter().map(|dir| dir.path.display().to_string()).collect();
            let object = object(ids(&made));
            Ok(Done { effect: format!("group at {}", shown.join(", ")), value: made, object })
        })?;
        self.dirs.borrow_mut().extend(made);
        Ok(Some(step))
    }

    /// Has those of `controllers` that the version 2 tree has enabled in the group above.
    fn enable(&self, session: &Session, op: &'static str, base: &Dir, controllers: &[&str]) -> Result<()> {
        let wanted: Vec<&str> =
            controllers.iter().copied().filter(|name| *name != "cgroup" && base.has(name)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        if let Some((_, parent)) = &self.parent {
            subtree::enable_in_ours(op, base, &wanted)?;
            parent.gives.set(true);
        } else {
            let ours = Ground::of(session, op)?.is_ours();
            subtree::enable_in_own(session, op, base, ours, &wanted)?;
        }
        let dirs = self.dirs.borrow();
        dirs.iter().filter(|dir| dir.version == 2).try_for_each(|dir| dir.refresh(op))
    }

    /// Whether groups below it have this controller without being asked to. A version 2 group with processes cannot give
    /// it; one that is to have no limits can be made nonetheless, for the processes to go to.
    fn can_give(&self, op: &'static str, controller: &str, limits: &[Limit]) -> bool {
        let Some(dir) = self.find(controller) else { return false };
        let crowded = limits.is_empty() && dir.version == 2 && subtree::is_crowded(op, &dir).unwrap_or(false);
        !crowded
    }

    /// Makes it ready to take a process: groups below it had controllers, and are gone.
    fn receive(&self, op: &'static str) -> Result<()> {
        if let Some(dir) = self.unified().filter(|_| self.gives.get()) {
            subtree::disable_in_ours(op, &dir)?;
            self.gives.set(false);
        }
        Ok(())
    }

    /// Makes the group known to further controllers. Its processes, and those of the groups below it, follow.
    pub(super) fn reach(
        &self,
        session: &Session,
        id: HandleId,
        op: &'static str,
        controllers: &[&str],
    ) -> Result<()> {
        if controllers.iter().all(|controller| self.has(controller)) {
            return Ok(());
        }
        let before = self.dirs.borrow().len();
        let step = self.add_dirs(session, op, controllers)?;
        step.into_iter().for_each(|step| session.add_step(id, step));
        self.follow(op, before)
    }

    /// Moves its processes, and those of the groups below it, into those of its folders that are new.
    fn follow(&self, op: &'static str, before: usize) -> Result<()> {
        let dirs = self.dirs();
        let mut moved = BTreeSet::new();
        // One that is born of a process that has not moved yet is found in the next round.
        for _ in 0..ROUNDS {
            let mut members = Vec::new();
            dirs[..before].iter().for_each(|dir| reclaim::collect(&dir.path, &mut members));
            let fresh: BTreeSet<i32> = members.into_iter().filter(|pid| !moved.contains(pid)).collect();
            if fresh.is_empty() {
                break;
            }
            for pid in &fresh {
                dirs[before..].iter().try_for_each(|dir| subtree::move_one(dir, op, &pid.to_string()))?;
            }
            moved.extend(fresh);
        }
        Ok(())
    }

    fn set(&self, session: &Session, op: &'static str, limits: &[Limit]) -> Result<Option<StepId>> {
        if limits.is_empty() {
            return Ok(None);
        }
        let shown: Vec<String> = limits.iter().map(Limit::to_string).collect();
        let shown = shown.join(", ");
        let intent =
            Intent { op, text: format!("limit the group {} to {shown}", self.name), claim: Object::Nothing };
        let (step, ()) = session.step(intent, |_| {
            for limit in limits {
                let dir = self.dir(op, limit.controller())?;
                version::of(dir.version).set(op, &dir, limit)?;
            }
            Ok(Done { value: (), object: Object::Nothing, effect: format!("the kernel holds {shown}") })
        })?;
        Ok(Some(step))
    }

    /// Its folder with this controller.
    pub(super) fn dir(&self, op: &'static str, controller: &str) -> Result<Rc<Dir>> {
        self.find(controller).ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, op, format!("the group has no {controller} controller"))
                .subject(&self.name)
        })
    }

    pub(super) fn find(&self, controller: &str) -> Option<Rc<Dir>> {
        let dirs = self.dirs.borrow();
        let found = dirs.iter().find(|dir| dir.has(controller));
        // A version 2 group asks a program about devices.
        found.or_else(|| dirs.iter().find(|dir| controller == "devices" && dir.version == 2)).cloned()
    }

    pub(super) fn has(&self, controller: &str) -> bool {
        self.find(controller).is_some()
    }

    /// Its folder in the version 2 tree, if there is one.
    pub(super) fn unified(&self) -> Option<Rc<Dir>> {
        self.dirs.borrow().iter().find(|dir| dir.version == 2).cloned()
    }

    pub(super) fn dirs(&self) -> Vec<Rc<Dir>> {
        self.dirs.borrow().clone()
    }

    /// Fails when it was made by someone else.
    pub(super) fn writable(&self, op: &'static str) -> Result<()> {
        if !self.foreign {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::PermissionDenied,
            op,
            "the group was made by someone else, and is only looked at",
        )
        .subject(&self.name)
        .hint("make one of your own below it: cgroup::create(name, #{ … }) or cgroup::limit(#{ … })"))
    }

    /// Whether its memory may be limited: by itself, or by a group above that its controller makes it a part of.
    #[must_use]
    pub fn limits_memory(&self) -> bool {
        self.has("memory")
    }

    /// Whether its processes may use no device but those that rules name.
    #[must_use]
    pub fn closes_devices(&self) -> bool {
        self.find("devices").is_some_and(|dir| super::devices::closes(&dir))
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

    /// The folders that a process of the group is in: its own, and in hierarchies where it has none that of a group above,
    /// whose limits are its own as well.
    fn places(&self) -> Vec<Rc<Dir>> {
        let mut found = self.dirs();
        let above = self.parent.as_ref().map(|(_, parent)| parent.places()).unwrap_or_default();
        // Each hierarchy is a file system of its own.
        let missing = |dir: &Rc<Dir>| !found.iter().any(|known| known.id.dev == dir.id.dev);
        let more: Vec<Rc<Dir>> = above.into_iter().filter(missing).collect();
        found.extend(more);
        found
    }

    /// The `tasks` files of its version 1 folders, open for a child to enter through; and `cgroup.procs` of version 2 where
    /// it cannot be [born](Self::birth) there.
    ///
    /// # Errors
    /// The failed open.
    pub fn entries(&self, op: &'static str) -> Result<Vec<OwnedFd>> {
        let dirs = self.places();
        let entered = dirs.iter().filter(|dir| dir.version == 1 || self.was_killed());
        entered
            .map(|dir| dir.open_for_writing(op, if dir.version == 1 { "tasks" } else { "cgroup.procs" }))
            .collect()
    }

    /// Its version 2 folder, for a child to be born in.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while groups below it have controllers; when no descriptor is left.
    pub fn birth(&self, op: &'static str) -> Result<Option<OwnedFd>> {
        self.receive(op)?;
        let unified = self.unified().filter(|_| !self.was_killed());
        unified.map(|dir| crate::runtime::start::duplicate(op, dir.fd())).transpose()
    }

    /// Whether it, or a group above it, was killed at once. A child that is then born into it by `CLONE_INTO_CGROUP` is
    /// killed as well (seen on Linux 6.18); one that enters through `cgroup.procs` is not.
    fn was_killed(&self) -> bool {
        self.killed.get() || self.parent.as_ref().is_some_and(|(_, parent)| parent.was_killed())
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
    /// [`ErrorKind::NotFound`] when it is gone; [`ErrorKind::InvalidArgument`] for what is no process id.
    pub fn add(&self, pid: i32) -> Result<()> {
        const OP: &str = "cgroup.add";
        self.writable(OP)?;
        if pid <= 0 {
            return Err(Error::new(ErrorKind::InvalidArgument, OP, format!("{pid} is not a process id"))
                .hint("process ids start at 1; sys::info().pid is that of this program"));
        }
        self.receive(OP)?;
        self.places().iter().try_for_each(|dir| dir.write(OP, "cgroup.procs", &pid.to_string()))
    }

    /// Kills every process in it and in the groups below it.
    ///
    /// # Errors
    /// When one does not end.
    pub fn kill(&self) -> Result<()> {
        const OP: &str = "cgroup.kill";
        self.writable(OP)?;
        let paths = self.paths();
        self.killed.set(true);
        reclaim::kill_all(&paths.iter().collect::<Vec<_>>()).map_err(|error| error.in_op(OP))
    }
}

/// The hierarchies in which a group with these controllers has a folder.
fn hierarchies(ground: &Ground, op: &'static str, controllers: &[&str]) -> Result<Vec<Hierarchy>> {
    let host = ground.host();
    let mut wanted: Vec<Hierarchy> = host.unified().cloned().into_iter().collect();
    let mut names = controllers.to_vec();
    if wanted.is_empty() {
        // Without a version 2 tree, version 1 counts and freezes.
        let more = ["freezer", "cpuacct"]
            .into_iter()
            .filter(|name| *name == "freezer" || controllers.contains(&"cpu"));
        names.extend(more.filter(|name| host.with(op, name).is_ok()));
    }
    for controller in names {
        if controller == "cgroup" && host.unified().is_some() {
            continue;
        }
        let hierarchy = ground.with(op, controller)?;
        if !wanted.contains(&hierarchy) {
            wanted.push(hierarchy);
        }
    }
    if wanted.is_empty() {
        return Err(Error::new(ErrorKind::Unsupported, op, "no control groups are mounted on this host")
            .hint("mount -t cgroup2 cgroup2 /sys/fs/cgroup"));
    }
    Ok(wanted)
}

/// Sets limits on an existing group, making it known to further controllers where that is needed.
///
/// # Errors
/// As for [`limit_new`]; the group then has the limits that it had before.
pub fn limit(session: &Session, id: HandleId, limits: &[Limit]) -> Result<()> {
    const OP: &str = "cgroup::limit";
    let group: Rc<Cgroup> = session.handle(id, OP)?;
    group.writable(OP)?;
    for limit in limits {
        limit.check(OP)?;
    }
    let controllers: Vec<&str> = limits.iter().map(Limit::controller).collect();
    group.reach(session, id, OP, &controllers)?;
    let dirs = group.dirs();
    dirs.iter().for_each(|dir| dir.begin_change());
    let set = group.set(session, OP, limits);
    dirs.iter().for_each(|dir| dir.end_change(OP, set.is_err()));
    set?.into_iter().for_each(|step| session.add_step(id, step));
    Ok(())
}

impl Handle for Cgroup {
    fn kind(&self) -> &'static str {
        "Cgroup"
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn line(&self) -> String {
        match self.live_facts().join(", ") {
            none if none.is_empty() => format!("Cgroup {}", self.name),
            facts => format!("Cgroup {}: {facts}", self.name),
        }
    }

    fn keep_refusal(&self) -> Option<&'static str> {
        self.in_scope.get().then_some(
            "the group is in a scope of systemd's, which ends with the session: CSHELL_CGROUP_DRIVER=cgroupfs makes groups that can be kept",
        )
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
    let made = Ground::of(session, op).and_then(|ground| {
        if ground.host().unified().is_none() {
            return Ok(None);
        }
        let group = Cgroup::named(format!("cshell-{}", session.token()), true);
        group.add_dirs(session, op, &[]).map(|_| Some(Rc::new(group)))
    });
    match made {
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {
            Ok(None)
        }
        other => other,
    }
}
