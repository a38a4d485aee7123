//! What a start adds to what was asked: what a policy wants, a group of its own, chosen ids, the session's network.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::fs::idmapped::IdMapping;
use crate::runtime::ns::idmap::{IdMaps, Shape};
use crate::runtime::ns::{Kind, userns};
use crate::runtime::proc::mounts::is_idmapped;
use crate::runtime::proc::spec::ProcSpec;
use crate::runtime::security::ground;
use crate::runtime::session::{Session, StepId};
use crate::runtime::{cgroup, net};
use std::borrow::Cow;
use std::rc::Rc;

/// Completes a spec. Steps that end with the process are added to `own`.
pub(super) fn complete<'a>(
    session: &Session,
    op: &'static str,
    asked: &'a ProcSpec,
    own: &mut Vec<StepId>,
) -> Result<Cow<'a, ProcSpec>> {
    asked.check(op)?;
    let mut spec = Cow::Borrowed(asked);
    if asked.security.is_confined() {
        ground::prepare(session, op, spec.to_mut())?;
    }
    if !spec.limits.is_empty() {
        let (id, group) = cgroup::limit_new(session, &spec.limits)?;
        own.extend(session.disown(id));
        spec.to_mut().cgroup = Some(group);
    }
    let own_network = spec.machine_network || spec.has_own("net");
    if let Some(home) = net::home(session)?.filter(|_| !own_network) {
        spec.to_mut().network = Some(home);
    }
    if let Some(userns) = asked.userns {
        let mut taken = Vec::new();
        let maps = userns::maps(session, op, userns, &mut taken)?;
        // Without a pid namespace something that it started may outlive it, and is still who it was.
        if spec.has_pid_ns() {
            own.append(&mut taken);
        }
        spec.to_mut().maps = maps;
    }
    if let Some(mapping) = mapping(op, &spec)? {
        spec.to_mut().idmap = Some(Rc::new(mapping));
    }
    Ok(spec)
}

/// How the owners of files are to be shown, where the root or a volume asks for it.
fn mapping(op: &'static str, spec: &ProcSpec) -> Result<Option<IdMapping>> {
    let set = spec.joined().filter(|set| set.kinds.has("user"));
    let maps = match set {
        Some(set) => set.maps.clone(),
        None => spec.fresh().has("user").then(|| spec.maps.clone().unwrap_or_else(IdMaps::root)),
    };
    let volume = spec.mounts.iter().find(|mount| is_idmapped(mount));
    let root = spec.rootfs.is_some() && maps.as_ref().is_some_and(|maps| maps.shape != Shape::Asked);
    if volume.is_none() && !root {
        return Ok(None);
    }
    let Some(maps) = maps else {
        let what = "mounts: idmap needs a user namespace, whose ids the owners are mapped to";
        return Err(
            Error::new(ErrorKind::InvalidArgument, op, what).hint("add \"user\" to ns, or userns: \"auto\"")
        );
    };
    let userns = match set.zip(Kind::of_name("user")) {
        Some((set, kind)) => set.open(kind)?,
        None => maps.namespace(op)?,
    };
    Ok(Some(IdMapping { userns, maps }))
}
