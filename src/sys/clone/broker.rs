//! A process that makes a child for us, and lives no longer than until that child has exec'ed.
//!
//! It shares our memory and our descriptors, so what it stores is there for us, and the pidfd that it is given is ours; and
//! it makes the child ours (`CLONE_PARENT`): the signal at our death reaches it as it does any other. The rules for it are
//! those of every child that shares memory. Two things need one:
//!
//! * A child in another pid namespace, where we could not return to our own ([`clone3`]): we stand still meanwhile.
//! * A child whose memory is limited before its exec ([`Beside`]). Until then it shares our memory, and a kernel that has
//!   to end it for memory would end us with it (`__oom_kill_process`). It spares a child whose maker stands still for it
//!   (`in_vfork`), so the broker does, beside us.
#![expect(unsafe_code, reason = "a child that shares memory")]

use super::{CloneArgs, Entry, Patience, Stack, child_args, clone3_onto, show_flags};
use crate::sys::child::{self, Plan};
use crate::sys::{Errno, Result, call, process, stage};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicI64, Ordering};
use std::time::Instant;

/// What the broker is told, and what it and the kernel say.
struct Order {
    /// The process whose pid namespace the child is born in; -1 for ours.
    pid_ns: i32,
    args: CloneArgs,
    plan: *const Plan,
    /// Where it tells that it could not make the child, when we do not stand still; -1 when we do.
    report: i32,
    /// The outcome of the `setns`, then of the `clone3`; negative for an errno.
    entered: AtomicI64,
    made: AtomicI64,
    /// The child and its descriptor, which the kernel stores before the child runs.
    pid: AtomicI32,
    pidfd: AtomicI32,
}

impl Order {
    fn new(
        shared: &(Plan, Stack),
        kinds: CloneFlags,
        cgroup: Option<BorrowedFd<'_>>,
        pid_ns: Option<BorrowedFd<'_>>,
        report: i32,
    ) -> Box<Self> {
        let mut order = Box::new(Self {
            pid_ns: pid_ns.map_or(-1, |fd| fd.as_raw_fd()),
            args: CloneArgs::default(),
            plan: &raw const shared.0,
            report,
            entered: AtomicI64::new(-1),
            made: AtomicI64::new(-1),
            pid: AtomicI32::new(-1),
            pidfd: AtomicI32::new(-1),
        });
        let mut args = child_args(shared, kinds, cgroup, order.pidfd.as_ptr());
        args.flags |= u64::from((libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID).unsigned_abs());
        // Its signal at the end is that of who makes it, and may not be said.
        args.exit_signal = 0;
        args.parent_tid = order.pid.as_ptr().expose_provenance() as u64;
        order.args = args;
        order
    }

    /// The child, once it is made.
    fn child(&self) -> (i32, OwnedFd) {
        // SAFETY: clone3 stored a new descriptor, in the table that we share with the broker, that nothing else owns.
        let pidfd = unsafe { OwnedFd::from_raw_fd(self.pidfd.load(Ordering::SeqCst)) };
        (self.pid.load(Ordering::SeqCst), pidfd)
    }

    /// What failed, if something did.
    fn outcome(&self, kinds: CloneFlags, cgroup: Option<BorrowedFd<'_>>) -> Result<()> {
        let outcome = |result: &AtomicI64| match i32::try_from(result.load(Ordering::SeqCst)) {
            Ok(value) if value >= 0 => Ok(()),
            Ok(errno) => Err(Errno::from_raw(-errno)),
            Err(_) => Err(Errno::EOVERFLOW),
        };
        if self.pid_ns >= 0 {
            call("setns", || format!("{}, CLONE_NEWPID", self.pid_ns), || outcome(&self.entered))?;
        }
        call("clone3", || format!("CLONE_PARENT|{}", show_flags(kinds, cgroup)), || outcome(&self.made))
    }
}

/// Has a child made in the pid namespace of the process behind `pid_ns`.
pub(super) fn clone3(
    shared: &(Plan, Stack),
    kinds: CloneFlags,
    cgroup: Option<BorrowedFd<'_>>,
    pid_ns: BorrowedFd<'_>,
) -> Result<(i32, OwnedFd)> {
    let order = Order::new(shared, kinds, cgroup, Some(pid_ns), -1);
    call("clone3", || "CLONE_VM|CLONE_VFORK|CLONE_FILES".into(), || run(&order))?;
    order.outcome(kinds, cgroup)?;
    Ok(order.child())
}

/// Runs the broker to its end.
fn run(order: &Order) -> std::result::Result<(), Errno> {
    let stack = Stack::new()?;
    let pid = start(order, &stack, libc::CLONE_VFORK, std::ptr::null_mut())?;
    collect(pid);
    Ok(())
}

fn start(order: &Order, stack: &Stack, more: i32, pidfd: *mut i32) -> std::result::Result<i32, Errno> {
    let flags = libc::CLONE_VM | libc::CLONE_FILES | more;
    let args = CloneArgs {
        flags: u64::from(flags.unsigned_abs()),
        exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
        pidfd: pidfd.expose_provenance() as u64,
        ..stack.args()
    };
    // SAFETY: the stack is its own, and both live until it has ended: see `run` and `Beside`.
    let pid = unsafe { clone3_onto(&args, broker as Entry, (&raw const *order).cast()) };
    let errno = |_| Errno::EOVERFLOW;
    if pid < 0 {
        Err(Errno::from_raw(i32::try_from(-pid).map_err(errno)?))
    } else {
        i32::try_from(pid).map_err(errno)
    }
}

fn collect(pid: i32) {
    let pid = nix::unistd::Pid::from_raw(pid);
    while nix::sys::wait::waitpid(pid, None) == Err(Errno::EINTR) {}
}

extern "C" fn broker(order: *const libc::c_void) -> ! {
    let order: *const Order = order.cast();
    // SAFETY: the order lives until this process has ended, and what changes in it are atomics.
    let order = unsafe { &*order };
    if order.report >= 0 {
        // It holds our descriptors open, and the child waits for their end.
        child::die_with_parent();
    }
    let entered = if order.pid_ns < 0 { 0 } else { child::set_namespace(order.pid_ns, libc::CLONE_NEWPID) };
    order.entered.store(entered, Ordering::SeqCst);
    if entered >= 0 {
        // SAFETY: as for a child of the parent's own: the stack and the plan are kept by it.
        let made = unsafe { clone3_onto(&order.args, child::enter as Entry, order.plan.cast()) };
        order.made.store(made, Ordering::SeqCst);
    }
    if order.report >= 0 && order.made.load(Ordering::SeqCst) < 0 {
        // Who reads it sees our end as well.
        let _ = child::tell(order.report, stage::UNBORN, 0);
    }
    child::end()
}

/// The ends of the pipe on which a child reports, and for how long it is waited for.
pub(super) struct Ends<'a> {
    pub(super) report: &'a OwnedFd,
    pub(super) report_child: &'a OwnedFd,
    pub(super) patience: Patience<'a>,
}

/// A broker that stands still for its child, while we do not.
#[derive(Debug)]
pub(super) struct Beside {
    pid: i32,
    order: Box<Order>,
    _stack: Stack,
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Order").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl Beside {
    /// Has a child made that the kernel does not end for memory before its exec. The plan tells its birth.
    pub(super) fn clone3(
        shared: &(Plan, Stack),
        kinds: CloneFlags,
        cgroup: Option<BorrowedFd<'_>>,
        pid_ns: Option<BorrowedFd<'_>>,
        ends: &Ends<'_>,
    ) -> Result<(Self, i32, OwnedFd)> {
        let mut order = Order::new(shared, kinds, cgroup, pid_ns, ends.report_child.as_raw_fd());
        order.args.flags |= u64::from(libc::CLONE_VFORK.unsigned_abs());
        let stack = call("mmap", || "NULL, …, MAP_STACK".into(), Stack::new)?;
        let mut number: i32 = -1;
        let flags = || "CLONE_VM|CLONE_FILES|CLONE_PIDFD".into();
        let pid = call("clone3", flags, || start(&order, &stack, libc::CLONE_PIDFD, &raw mut number))?;
        // SAFETY: clone3 stored a new descriptor that nothing else owns.
        let pidfd = unsafe { OwnedFd::from_raw_fd(number) };
        let beside = Self { pid, order, _stack: stack };
        let born = match call("poll", || "report, broker".into(), || beside.wait(ends, &pidfd)) {
            Ok(born) => born,
            Err(error) => {
                beside.give_up(&pidfd);
                return Err(error);
            }
        };
        if !born {
            beside.order.outcome(kinds, cgroup)?;
        }
        let (child, child_fd) = beside.order.child();
        Ok((beside, child, child_fd))
    }

    /// Ends and collects a child that was made and did not say so. The broker is spared: without it, the kernel might end us
    /// with the child.
    fn give_up(&self, broker: &OwnedFd) {
        let is_made = || self.order.pid.load(Ordering::SeqCst) >= 0;
        let moment = PollTimeout::from(1_u8);
        // What is being made cannot be ended yet; that is a matter of a moment.
        while !is_made() && poll(&mut [PollFd::new(broker.as_fd(), PollFlags::POLLIN)], moment) != Ok(1) {}
        if is_made() {
            let (pid, pidfd) = self.order.child();
            // It may have ended.
            let _ = process::signal(&pidfd, libc::SIGKILL);
            collect(pid);
        }
    }

    /// Waits for word of the birth. Whether it is a good one.
    fn wait(&self, ends: &Ends<'_>, broker: &OwnedFd) -> std::result::Result<bool, Errno> {
        let Patience { deadline, wake } = ends.patience;
        loop {
            let fds = [Some(ends.report.as_fd()), Some(broker.as_fd()), wake];
            let mut fds: Vec<PollFd<'_>> =
                fds.into_iter().flatten().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            match poll(&mut fds, process::poll_timeout(deadline)) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            let told = |index: usize| fds.get(index).is_some_and(|fd| fd.any() == Some(true));
            if told(0) {
                let mut message = [0; 8];
                let len = rustix::io::read(ends.report, &mut message);
                let len = len.map_err(|errno| Errno::from_raw(errno.raw_os_error()))?;
                return Ok(len == message.len() && message[..4] == stage::BORN.to_ne_bytes());
            }
            if told(1) {
                // The child had no memory to say anything, or the broker was ended from outside.
                let made = self.order.made.load(Ordering::SeqCst) >= 0;
                return Err(if made { Errno::ENOMEM } else { Errno::ESRCH });
            }
            if told(2) {
                return Err(Errno::EINTR);
            }
            if deadline.is_some_and(|end| Instant::now() >= end) {
                return Err(Errno::ETIMEDOUT);
            }
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // It goes on, and ends, when its child has exec'ed or ended.
        collect(self.pid);
    }
}
