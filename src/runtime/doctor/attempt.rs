//! A throw-away child in which something is tried: it ends before the try is over, and all that it made ends with it.

use crate::error::{Result, SysContext};
use crate::runtime::ns::Kinds;
use crate::runtime::ns::idmap::IdMaps;
use crate::sys::child::{Op, Plan};
use crate::sys::clone::{Failure, Place, Said};
use crate::sys::payload::Payload;
use crate::sys::{Errno, SysError, clone, process};

const OP: &str = "sys::doctor";

/// Starts a child in new namespaces of these kinds that does `ops` and then runs a program that ends.
///
/// # Errors
/// The step that failed.
pub(super) fn attempt(kinds: Kinds, ops: Vec<Op>) -> Result<()> {
    let program = Payload::Allocate(4096).make().context(OP, "cannot make the program to be run")?;
    let mut steps = vec![Op::DeathSignal(libc::SIGKILL), Op::Wait];
    steps.extend(ops);
    steps.extend([Op::Clean, Op::ExecFd(program)]);
    let plan = Plan::new(steps, vec![c"cshell-doctor".to_owned()], Vec::new());
    let texts = plan.describe();
    let mut child = clone::start(plan, kinds.flags(), None).context(OP, "cannot start a process")?;
    if kinds.has("user") {
        IdMaps::root().write(OP, child.pid)?;
    }
    match child.go() {
        // It has ended already, and says why below.
        Err(error) if error.errno() == Errno::EPIPE => {}
        other => other.context(OP, "cannot let the new process go")?,
    }
    let said = child.hear().context(OP, "cannot hear from the new process")?;
    process::wait(&child.pidfd, true).context(OP, "cannot collect the status")?;
    let Said::Failed(Failure { place, errno }) = said else { return Ok(()) };
    let text = match place {
        Place::Step(step) => texts.get(step).map_or("?", String::as_str),
        Place::Filter | Place::Program => "?",
    };
    Err(SysError::of_child(text, errno)).context(OP, "a step failed")
}
