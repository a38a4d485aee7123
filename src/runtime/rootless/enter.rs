//! Entering the user and mount namespace.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::ns::Kinds;
use crate::runtime::ns::idmap::{IdMap, IdMaps};
use crate::runtime::ns::subid::{self, IdKind, Owner, Range};
use crate::runtime::object::Object;
use crate::runtime::rootless::no_user_ns;
use crate::runtime::session::{Done, Intent, Session};
use crate::sys::child::{Op, Plan};
use crate::sys::{clone, nsfd, signal};
use std::sync::OnceLock;

const OP: &str = "session";

/// The user namespace that this program entered, seen from outside.
#[derive(Clone, Debug)]
pub struct Entered {
    /// The user outside: root inside.
    pub owner: Owner,
    /// The maps of the namespace.
    pub maps: IdMaps,
    /// Why root is the only id, where it is: there are no subordinate ids, or nothing that could give them.
    pub alone: Option<String>,
}

static ENTERED: OnceLock<Entered> = OnceLock::new();

/// The user namespace that [`enter()`] moved this program into, if it did.
#[must_use]
pub fn entered() -> Option<&'static Entered> {
    ENTERED.get()
}

/// Moves this program into a user and a mount namespace of its own, unless it is root already or has done so.
///
/// The program must have one thread. The namespaces are made by a child that waits in them while the maps are
/// written from here, where the user still is who it is: nothing has to be started anew. If this program is killed meanwhile
/// the child sees the end of its pipe and ends.
///
/// # Errors
/// When user namespaces are forbidden, with the setting that forbids them; when the maps are refused.
pub fn enter() -> Result<Option<&'static Entered>> {
    if nix::unistd::geteuid().is_root() {
        return Ok(None);
    }
    if let Some(entered) = entered() {
        return Ok(Some(entered));
    }
    // How newuidmap ended is to be known.
    signal::keep_status_of_children().context(OP, "cannot take back SIGCHLD")?;
    let owner = Owner::of_uid(nix::unistd::geteuid().as_raw());
    // Less than the user may have is not less closed: what needs more ids says why it cannot have them.
    let (maps, alone) = match subordinate(&owner).and_then(|maps| join(&maps).map(|()| maps)) {
        Ok(maps) => (maps, None),
        Err(error) if error.syscall().is_some() => return Err(error),
        Err(error) => {
            let root = IdMaps::root();
            join(&root)?;
            (root, Some(error.hint_text().map_or_else(|| error.to_string(), |fix| format!("{error}; {fix}"))))
        }
    };
    Ok(Some(ENTERED.get_or_init(|| Entered { owner, maps, alone })))
}

/// Says in the trace of a session where this program is, if it has entered a namespace. Nothing is written without one.
///
/// # Errors
/// When the ledger cannot be written.
pub fn tell(session: &Session) -> Result<()> {
    let Some(entered) = entered().filter(|_| session.is_traced()) else { return Ok(()) };
    let owner = entered.owner.shown();
    let text =
        format!("root here is {owner} outside: this program is in a user and a mount namespace of its own");
    session.step(Intent { op: OP, text, claim: Object::Nothing }, |_| {
        let last = entered.maps.uid.iter().map(|range| range.container + (range.size - 1)).max().unwrap_or(0);
        let effect = match &entered.alone {
            Some(why) => format!("id 0 alone: {why}"),
            None => format!("ids 0 to {last}, and no power over what is the machine's"),
        };
        Ok(Done { value: (), object: Object::Nothing, effect })
    })?;
    Ok(())
}

/// Makes the namespaces with these maps and moves this program into them.
fn join(maps: &IdMaps) -> Result<()> {
    let kinds = Kinds::NONE.with_name("user").with_name("mount").flags();
    let plan = Plan::new(vec![Op::Wait], Vec::new(), Vec::new());
    // It is ended and collected when it is dropped.
    let child = clone::start(plan, kinds, None).map_err(|source| no_user_ns(OP, source))?;
    maps.write(OP, child.pid)?;
    nsfd::enter_keeping_folder(&child.pidfd, kinds).map_err(|source| no_user_ns(OP, source))
}

/// Root is the user, and after it come the subordinate ids; or why there are none.
fn subordinate(owner: &Owner) -> Result<IdMaps> {
    let of = |kind: IdKind, own: u32| {
        let ranges = subid::ranges(OP, kind, owner)?;
        if ranges.is_empty() {
            let what = format!("{} has no subordinate ids in {}", owner.shown(), kind.file());
            return Err(Error::new(ErrorKind::PermissionDenied, OP, what).hint(subid::grant(owner)));
        }
        subid::find(OP, kind)?;
        Ok(after_own(own, &ranges))
    };
    let gid = nix::unistd::getegid().as_raw();
    Ok(IdMaps { uid: of(IdKind::User, owner.uid)?, gid: of(IdKind::Group, gid)?, ..IdMaps::default() })
}

/// The map of root to `own` and of the ids from 1 on to the ranges, one after the other.
fn after_own(own: u32, ranges: &[Range]) -> Vec<IdMap> {
    let mut map = vec![IdMap { container: 0, host: own, size: 1 }];
    let mut next: u32 = 1;
    for range in ranges.iter().filter(|range| own < range.start || own - range.start >= range.count) {
        let Some(after) = next.checked_add(range.count) else { break };
        map.push(IdMap { container: next, host: range.start, size: range.count });
        next = after;
    }
    map
}
