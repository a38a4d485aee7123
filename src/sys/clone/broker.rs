//! A process that lives for a moment and makes a child for us where we cannot go and come back from.
//!
//! It shares our memory and our descriptors, and we stand still while it lives (`CLONE_VFORK`): what it stores is there
//! when we go on, and the pidfd that it is given is ours. The rules are those of every child that shares memory.
#![expect(unsafe_code, reason = "a child that shares memory")]

use super::{CloneArgs, Entry, Stack, child_args, clone3_onto, show_flags};
use crate::sys::child::{self, Plan};
use crate::sys::{Errno, Result, call};
use nix::sched::CloneFlags;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// What the broker is told, and what it says.
struct Order {
    pid_ns: i32,
    args: CloneArgs,
    plan: *const Plan,
    /// The outcome of the `setns`, then of the `clone3`; negative for an errno.
    entered: i64,
    made: i64,
}

/// Has a child made in the pid namespace of the process behind `pid_ns`.
pub(super) fn clone3(
    shared: &(Plan, Stack),
    kinds: CloneFlags,
    cgroup: Option<BorrowedFd<'_>>,
    pid_ns: BorrowedFd<'_>,
) -> Result<(i32, OwnedFd)> {
    let mut pidfd: i32 = -1;
    let mut args = child_args(shared, kinds, cgroup, &raw mut pidfd);
    // Its signal at the end is that of who makes it, and may not be said.
    args.flags |= u64::from(libc::CLONE_PARENT.unsigned_abs());
    args.exit_signal = 0;
    let mut order =
        Order { pid_ns: pid_ns.as_raw_fd(), args, plan: &raw const shared.0, entered: -1, made: -1 };
    call("clone3", || "CLONE_VM|CLONE_VFORK|CLONE_FILES".into(), || run(&mut order))?;
    let outcome = |result: i64| match i32::try_from(result) {
        Ok(value) if value >= 0 => Ok(value),
        Ok(errno) => Err(Errno::from_raw(-errno)),
        Err(_) => Err(Errno::EOVERFLOW),
    };
    let entered = order.entered;
    call("setns", || format!("{}, CLONE_NEWPID", order.pid_ns), || outcome(entered))?;
    let made = order.made;
    let pid = call("clone3", || format!("CLONE_PARENT|{}", show_flags(kinds, cgroup)), || outcome(made))?;
    // SAFETY: clone3 stored a new descriptor, in the table that we share with the broker, that nothing else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok((pid, pidfd))
}

/// Runs the broker to its end.
fn run(order: &mut Order) -> std::result::Result<(), Errno> {
    let stack = Stack::new()?;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES;
    let args = CloneArgs {
        flags: u64::from(flags.unsigned_abs()),
        exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
        ..stack.args()
    };
    // SAFETY: the stack is its own, and both live until it has ended: the call returns after that.
    let pid = unsafe { clone3_onto(&args, broker as Entry, (&raw mut *order).cast_const().cast()) };
    if pid < 0 {
        return Err(i32::try_from(-pid).map_or(Errno::EINVAL, Errno::from_raw));
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap_or(-1));
    while nix::sys::wait::waitpid(pid, None) == Err(Errno::EINTR) {}
    Ok(())
}

extern "C" fn broker(order: *const libc::c_void) -> ! {
    let order: *mut Order = order.cast_mut().cast();
    // SAFETY: the parent stands still until this process has ended, and touches nothing of it.
    let order = unsafe { &mut *order };
    order.entered = child::set_namespace(order.pid_ns, libc::CLONE_NEWPID);
    if order.entered >= 0 {
        // SAFETY: as for a child of the parent's own: the stack and the plan are kept by it.
        order.made = unsafe { clone3_onto(&order.args, child::enter as Entry, order.plan.cast()) };
    }
    child::end()
}
