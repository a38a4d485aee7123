//! Freezing and thawing: all processes of a group stop, wherever they are, and go on as if nothing had been.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cancel;
use crate::runtime::cgroup::dir::Dir;
use crate::runtime::cgroup::group::Cgroup;
use crate::runtime::cgroup::host::{Host, serves};
use crate::runtime::cgroup::watch::{Waiter, expired};
use crate::runtime::object::Object;
use crate::runtime::session::{Done, HandleId, Intent, Session};
use std::time::{Duration, Instant};

/// How long the kernel may take to stop the processes of a group.
const PATIENCE: Duration = Duration::from_secs(10);

impl Cgroup {
    /// Whether all its processes are stopped.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        match self.unified() {
            Some(dir) => dir.field("cgroup.events", "frozen") == Some(1),
            None => self.v1_state().as_deref() == Some("FROZEN"),
        }
    }

    fn v1_state(&self) -> Option<String> {
        self.find("freezer")?.read("cgroup.stats", "freezer.state").ok()
    }
}

/// Has the process `pid` go on, which is to end, where a group of the freezer of version 1 holds it that this program is not in
/// itself: frozen there, it does not even die.
pub fn release(op: &'static str, pid: i32) {
    let freezer = |host: Result<Host>| {
        let host = host.ok()?;
        let found = host.hierarchies.into_iter().find(|one| serves(one.version, &one.controllers, "freezer"));
        found.filter(|one| one.version == 1).map(|one| one.own)
    };
    let (theirs, ours) = (freezer(Host::seen_by(op, &pid.to_string())), freezer(Host::detect(op)));
    let Some((theirs, ours)) = theirs.zip(ours) else { return };
    for dir in theirs.ancestors().take_while(|dir| !ours.starts_with(dir)) {
        // A group without the file is the end of the tree.
        let _ = std::fs::write(dir.join("freezer.state"), "THAWED");
    }
}

/// Stops (or, with `frozen` false, lets go on) all processes of a group and of the groups below it, and waits until that
/// is done.
///
/// # Errors
/// [`ErrorKind::Unsupported`] where the host has neither a version 2 tree nor the freezer of version 1;
/// [`ErrorKind::Timeout`] when a process does not stop; [`ErrorKind::Interrupted`].
pub fn set(session: &Session, id: HandleId, group: &Cgroup, frozen: bool) -> Result<()> {
    let op = if frozen { "cgroup.freeze" } else { "cgroup.thaw" };
    group.writable(op)?;
    let unified = group.unified();
    if unified.is_none() {
        group.reach(session, id, op, &["freezer"])?;
    }
    let text = format!("{} the group {}", if frozen { "freeze" } else { "thaw" }, group.group_name());
    let (step, ()) = session.step(Intent { op, text, claim: Object::Nothing }, |_| {
        match unified {
            Some(dir) => set_v2(session, op, &dir, frozen)?,
            None => set_v1(op, &*group.dir(op, "freezer")?, frozen)?,
        }
        let effect = if frozen { "frozen" } else { "running" };
        Ok(Done { value: (), object: Object::Nothing, effect: effect.into() })
    })?;
    session.add_step(id, step);
    Ok(())
}

fn set_v2(session: &Session, op: &'static str, dir: &Dir, frozen: bool) -> Result<()> {
    dir.write(op, "cgroup.freeze", if frozen { "1" } else { "0" })?;
    let waiter = Waiter::on(dir.open_for_reading(op, "cgroup.events")?);
    let until = Instant::now() + PATIENCE;
    loop {
        waiter.arm(op)?;
        if dir.field("cgroup.events", "frozen") == Some(u64::from(frozen)) {
            return Ok(());
        }
        if expired(until) {
            return Err(not_done(op, dir, frozen));
        }
        waiter.wait(session, op, Some(until))?;
    }
}

fn set_v1(op: &'static str, dir: &Dir, frozen: bool) -> Result<()> {
    let wanted = if frozen { "FROZEN" } else { "THAWED" };
    let until = Instant::now() + PATIENCE;
    loop {
        dir.write(op, "freezer.state", wanted)?;
        // It is FREEZING while some still run, and reading makes the kernel look again.
        if dir.read(op, "freezer.state")? == wanted {
            return Ok(());
        }
        if expired(until) {
            return Err(not_done(op, dir, frozen));
        }
        cancel::sleep(op, Instant::now() + Duration::from_millis(1))?;
    }
}

fn not_done(op: &'static str, dir: &Dir, frozen: bool) -> Error {
    let what = format!("the group is not {} after 10 s", if frozen { "frozen" } else { "thawed" });
    Error::new(ErrorKind::Timeout, op, what)
        .path(&dir.path)
        .hint("a process waits in the kernel, or a group above is frozen: see cgroup.events and freezer.parent_freezing")
}
