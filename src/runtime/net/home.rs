//! The network that stands for the host's where that cannot be touched.
//!
//! An ordinary user may not change the links of the host. So the first link of a session that would have an end beside this
//! program makes a network namespace of the session's own, and that end lives there. From then on what the session does
//! without a namespace is done there: commands without a network of their own, `net::links`, `net::http_get` and
//! their like. This program itself stays where it is, so that `net::outside` can lead to the outside.

use crate::error::{Error, Result, SysContext};
use crate::runtime::net::Netns;
use crate::runtime::net::netlink::{LO, Netlink};
use crate::runtime::object::Object;
use crate::runtime::rootless;
use crate::runtime::session::{Done, Intent, Session};
use crate::sys::nsfd;
use nix::sched::CloneFlags;
use std::cell::RefCell;
use std::rc::Rc;

type Slot = RefCell<Option<Netns>>;

fn slot(session: &Session) -> Result<Rc<Slot>> {
    session.fact("network", || Ok(Slot::default()))
}

/// The session's own network, if it has made one.
///
/// # Errors
/// None but bugs.
pub fn home(session: &Session) -> Result<Option<Netns>> {
    if rootless::entered().is_none() {
        return Ok(None);
    }
    Ok(slot(session)?.borrow().clone())
}

/// The network in which ends beside this program live: `None` for the host's, as root.
///
/// # Errors
/// When the namespace cannot be made.
pub(super) fn make(session: &Session, op: &'static str) -> Result<Option<Netns>> {
    if rootless::entered().is_none() {
        return Ok(None);
    }
    let slot = slot(session)?;
    if let Some(known) = slot.borrow().clone() {
        return Ok(Some(known));
    }
    let text = "make a network of the session's own: an ordinary user may not change the host's".into();
    let (_, made) = session.step(Intent { op, text, claim: Object::Nothing }, |_| {
        let fd =
            nsfd::fresh(CloneFlags::CLONE_NEWNET, "net").context(op, "cannot make a network namespace")?;
        let made = Netns::new(op, fd, "the session's network")?;
        let up = Netlink::open(op, Some(&made))?.set_up(LO, true);
        up.map_err(|source| Error::sys(op, "cannot bring up its loopback interface", source))?;
        let effect =
            format!("net:[{}], where commands without a network of their own run from now on", made.inode);
        Ok(Done { value: made, object: Object::Nothing, effect })
    })?;
    slot.replace(Some(made.clone()));
    Ok(Some(made))
}
