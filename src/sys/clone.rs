//! Starting a process that shares our memory until it execs: its cost does not grow with ours.
//!
//! A copying fork of a parent with 512 MB touched takes tens of milliseconds; `clone3(CLONE_VM)` takes the same half
//! millisecond at any size. The price is that the child runs in our memory, beside us, and so obeys the rules of a
//! signal handler and more: no allocation, no lock, no panic, and not even libc, whose `errno` lives in thread-local
//! storage that the child shares with the thread that made it. It runs `child::run` on a stack of its own,
//! which makes system calls by the instruction and reads only what the [`Plan`] points at.
#![expect(unsafe_code, reason = "clone3 with a stack of its own, and the child's entry")]

mod broker;
mod text;

use broker::Beside;

use super::child::{self, Plan};
use super::{Errno, Outcome, Result, call, stage};
use nix::sched::CloneFlags;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Instant;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("src/sys/clone.rs and src/sys/child.rs know the system-call instruction of x86_64 only");

/// How large the child's stack is. `child::run` uses a few hundred bytes of it in a release build.
const STACK: usize = 64 * 1024;
const PAGE: usize = 4096;
/// `CLONE_CLEAR_SIGHAND` of linux/sched.h: the child starts with no handler of ours.
const CLEAR_SIGHAND: u64 = 0x1_0000_0000;
/// `CLONE_INTO_CGROUP` of linux/sched.h.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// A child that was started and has not been waited for.
#[derive(Debug)]
pub struct Child {
    /// Its process id, as seen from here.
    pub pid: i32,
    /// A descriptor that refers to it and to nothing else, ever.
    pub pidfd: OwnedFd,
    /// Where it reports the step that failed; at its end once it has exec'ed or ended.
    report: OwnedFd,
    go: OwnedFd,
    /// What the child reads and stands on. Given up only when the child no longer shares our memory.
    shared: Option<Box<(Plan, Stack)>>,
    /// Who stands still for it until then.
    broker: Option<Beside>,
}

impl Outcome for Child {
    fn show(&self) -> String {
        format!("{} [pidfd {}]", self.pid, self.pidfd.as_raw_fd())
    }
}

/// A memory mapping with a guard page below it.
#[derive(Debug)]
struct Stack {
    base: *mut libc::c_void,
}

impl Stack {
    fn new() -> std::result::Result<Self, Errno> {
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        // SAFETY: a new mapping of no particular address replaces nothing.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), STACK + PAGE, prot, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let stack = Self { base };
        // SAFETY: the first page of the mapping that was just made, and that nothing uses.
        let guarded = unsafe { libc::mprotect(stack.base, PAGE, libc::PROT_NONE) };
        Errno::result(guarded)?;
        Ok(stack)
    }

    /// The arguments of a clone onto it.
    fn args(&self) -> CloneArgs {
        let start = (self.base.expose_provenance() + PAGE) as u64;
        CloneArgs { stack: start, stack_size: STACK as u64, ..CloneArgs::default() }
    }
}

impl Stack {
    /// Has all of it in memory, on our account: see [`text`].
    fn present(&self) {
        for page in 1..=STACK / PAGE {
            let page = self.base.wrapping_byte_add(page * PAGE).cast::<u8>();
            // SAFETY: within the mapping, above the guard page; nothing stands on it yet.
            unsafe { page.write_volatile(0) };
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping was made in `new` with this length; no child stands on it any more, because `Child`
        // gives it up only after the child's exec or end.
        unsafe { libc::munmap(self.base, STACK + PAGE) };
    }
}

/// For how long a child is waited for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience<'a> {
    /// Until then.
    pub deadline: Option<Instant>,
    /// Until this can be read.
    pub wake: Option<BorrowedFd<'a>>,
}

/// Starts a child that runs `plan` in new namespaces of the given kinds, and in the version 2 control group `cgroup`
/// from its first instruction.
///
/// # Errors
/// The failed `mmap`, `pipe2` or `clone3`.
pub fn start(plan: Plan, kinds: CloneFlags, cgroup: Option<BorrowedFd<'_>>) -> Result<Child> {
    start_by(plan, |shared| call("clone3", || show_flags(kinds, cgroup), || clone3(shared, kinds, cgroup)))
}

/// As [`start`], for a child that is born in the pid namespace of the process behind `pid_ns`, where this program could
/// not return to its own: in a user namespace it has no power over the pid namespace that it was started in.
///
/// A process that lives for a moment enters the namespace in our place, and makes the child ours (`CLONE_PARENT`): the
/// signal at our death reaches it as it does any other.
///
/// # Errors
/// As [`start`]; the failed `setns`.
pub fn start_within(
    plan: Plan,
    kinds: CloneFlags,
    cgroup: Option<BorrowedFd<'_>>,
    pid_ns: BorrowedFd<'_>,
) -> Result<Child> {
    start_by(plan, |shared| broker::clone3(shared, kinds, cgroup, pid_ns))
}

/// As [`start`], for a child whose memory is limited before its exec: the kernel ends neither it nor us for memory, and an
/// exec for which there is too little fails. `pid_ns` is the process whose pid namespace it is born in.
///
/// # Errors
/// As [`start_within`]; `EINTR` and `ETIMEDOUT` where nothing was heard of its birth before the end of `patience`.
pub fn start_limited(
    mut plan: Plan,
    kinds: CloneFlags,
    cgroup: Option<BorrowedFd<'_>>,
    pid_ns: Option<BorrowedFd<'_>>,
    patience: Patience<'_>,
) -> Result<Child> {
    plan.tell_birth();
    let Pipes { report, report_child, go, go_child } = Pipes::new()?;
    plan.seal(report_child.as_raw_fd(), go_child.as_raw_fd(), go.as_raw_fd());
    let shared = new_shared(plan)?;
    shared.1.present();
    text::present();
    let ends = broker::Ends { report: &report, report_child: &report_child, patience };
    let (broker, pid, pidfd) = Beside::clone3(&shared, kinds, cgroup, pid_ns, &ends)?;
    Ok(Child { pid, pidfd, report, go, shared: Some(shared), broker: Some(broker) })
}

fn start_by(mut plan: Plan, clone: impl FnOnce(&(Plan, Stack)) -> Result<(i32, OwnedFd)>) -> Result<Child> {
    let Pipes { report, report_child, go, go_child } = Pipes::new()?;
    plan.seal(report_child.as_raw_fd(), go_child.as_raw_fd(), go.as_raw_fd());
    let shared = new_shared(plan)?;
    let (pid, pidfd) = clone(&shared)?;
    Ok(Child { pid, pidfd, report, go, shared: Some(shared), broker: None })
}

fn new_shared(plan: Plan) -> Result<Box<(Plan, Stack)>> {
    let stack = call("mmap", || format!("NULL, {}, …, MAP_STACK", STACK + PAGE), Stack::new)?;
    Ok(Box::new((plan, stack)))
}

/// What parent and child tell each other by.
struct Pipes {
    report: OwnedFd,
    report_child: OwnedFd,
    go: OwnedFd,
    go_child: OwnedFd,
}

impl Pipes {
    fn new() -> Result<Self> {
        let flags = rustix::pipe::PipeFlags::CLOEXEC;
        let pipe = || call("pipe2", || "O_CLOEXEC".into(), || rustix::pipe::pipe_with(flags));
        let ((report, report_child), (go_child, go)) = (pipe()?, pipe()?);
        Ok(Self { report, report_child, go, go_child })
    }
}

impl Outcome for Stack {
    fn show(&self) -> String {
        format!("{:p}", self.base)
    }
}

fn show_flags(kinds: CloneFlags, cgroup: Option<BorrowedFd<'_>>) -> String {
    let mut text = String::from("CLONE_VM|CLONE_PIDFD|CLONE_CLEAR_SIGHAND");
    for (name, _) in kinds.iter_names() {
        text.push('|');
        text.push_str(name);
    }
    if let Some(fd) = cgroup {
        text.push_str("|CLONE_INTO_CGROUP, cgroup=");
        text.push_str(&fd.as_raw_fd().to_string());
    }
    text
}

/// `struct clone_args` of linux/sched.h.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

#[expect(clippy::cast_possible_truncation, reason = "results as the kernel has them")]
fn clone3(
    shared: &(Plan, Stack),
    kinds: CloneFlags,
    cgroup: Option<BorrowedFd<'_>>,
) -> std::result::Result<(i32, OwnedFd), Errno> {
    let mut pidfd: i32 = -1;
    let args = child_args(shared, kinds, cgroup, &raw mut pidfd);
    let plan: *const Plan = &raw const shared.0;
    // SAFETY: the stack is the child's own and `plan` outlives it (see `Child::shared`).
    let result = unsafe { clone3_onto(&args, child::enter as Entry, plan.cast()) };
    if result < 0 {
        return Err(Errno::from_raw(-(result as i32)));
    }
    // SAFETY: clone3 stored a new descriptor that nothing else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok((result as i32, pidfd))
}

#[expect(clippy::cast_sign_loss, reason = "flags and ids as the kernel has them")]
fn child_args(
    shared: &(Plan, Stack),
    kinds: CloneFlags,
    cgroup: Option<BorrowedFd<'_>>,
    pidfd: *mut i32,
) -> CloneArgs {
    let flags = libc::CLONE_VM | libc::CLONE_PIDFD | kinds.bits();
    let mut args = CloneArgs {
        flags: u64::from(flags as u32) | CLEAR_SIGHAND,
        pidfd: pidfd.expose_provenance() as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..shared.1.args()
    };
    if let Some(fd) = cgroup {
        args.flags |= INTO_CGROUP;
        args.cgroup = fd.as_raw_fd() as u64;
    }
    args
}

/// Where a child starts: a function that never returns, and its argument.
type Entry = extern "C" fn(*const libc::c_void) -> !;

/// clone3(2) with a stack for the child, which calls `entry` with `argument` on it. Returns what the call does in the
/// parent.
///
/// # Safety
/// The stack in `args` is nobody else's, and it and `argument` live until the child has exec'ed or ended.
unsafe fn clone3_onto(args: &CloneArgs, entry: Entry, argument: *const libc::c_void) -> i64 {
    let result: i64;
    // SAFETY: the parent returns with the result in rax and nothing else changed. The child starts at the next
    // instruction on its own, 16-byte aligned stack and calls `entry`, which never returns. No register that the child
    // needs is on the old stack.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") &raw const *args,
            in("rsi") size_of::<CloneArgs>(),
            in("r12") argument,
            in("r13") entry,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// How a start went wrong inside the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where.
    pub place: Place,
    /// The errno of its call.
    pub errno: Errno,
}

/// Where a start can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At a step of the plan, by its index.
    Step(usize),
    /// At the filter of the [last stage](super::stage).
    Filter,
    /// At the program that the last stage was to run.
    Program,
}

/// What a child has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It has exec'ed, or has ended without a word.
    Running,
    /// It is in its last stage, and waits to be let go.
    Ready,
    /// Its filter asks whoever listens on its descriptor of this number; it waits for that at its next call.
    Listens(i32),
    /// It could not go on, and has ended.
    Failed(Failure),
}

impl Child {
    /// Lets the child pass its next waiting point.
    ///
    /// # Errors
    /// The failed `write`; `EPIPE` when the child has ended.
    pub fn go(&self) -> Result<()> {
        super::file::write_once(&self.go, b"1").map(drop)
    }

    /// The descriptor to poll until the child has exec'ed or failed.
    #[must_use]
    pub fn report_fd(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.report.as_fd()
    }

    /// Waits for what the child has to tell.
    ///
    /// # Errors
    /// The failed `read`.
    pub fn hear(&mut self) -> Result<Said> {
        let mut message = [0u8; 8];
        let mut have = 0;
        while have < message.len() {
            match super::file::read(&self.report, &mut message[have..]) {
                Ok(0) => break,
                Ok(len) => have += len,
                Err(error) if error.errno() == Errno::EINTR => {}
                Err(error) => return Err(error),
            }
        }
        let (word, errno) = message.split_at(4);
        let number = |bytes: &[u8]| i32::from_ne_bytes(bytes.try_into().unwrap_or_default());
        let said = match number(word) {
            // Closed by exec or by the child's end: it no longer reads the plan or stands on the stack.
            _ if have < message.len() => Said::Running,
            stage::READY => Said::Ready,
            stage::LISTENER => Said::Listens(number(errno)),
            word => {
                let place = match word {
                    stage::FILTER => Place::Filter,
                    stage::EXEC => Place::Program,
                    step => Place::Step(usize::try_from(step).unwrap_or(usize::MAX)),
                };
                // It is about to end, if nothing keeps it from that: wait for it before the stack goes.
                let _ = super::process::signal(&self.pidfd, libc::SIGKILL);
                self.await_end();
                Said::Failed(Failure { place, errno: Errno::from_raw(number(errno)) })
            }
        };
        self.release();
        Ok(said)
    }

    fn await_end(&self) {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        use std::os::fd::AsFd;
        let mut fds = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        while poll(&mut fds, PollTimeout::NONE) == Err(Errno::EINTR) {}
    }

    fn release(&mut self) {
        self.broker = None;
        self.shared = None;
    }

    /// Gives up the descriptor of a child that has exec'ed.
    #[must_use]
    pub fn into_pidfd(mut self) -> Option<OwnedFd> {
        if self.shared.is_some() {
            return None;
        }
        let empty = self.pidfd.try_clone().ok()?;
        Some(std::mem::replace(&mut self.pidfd, empty))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.shared.is_some() {
            // Dropped half-way, after an error of ours: the child must not run on in memory that is freed.
            let _ = super::process::signal(&self.pidfd, libc::SIGKILL);
            self.await_end();
            let _ = super::process::wait(&self.pidfd, false);
            self.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::child::Op;
    use crate::sys::{process, seccomp};

    /// A filter that denies these calls and allows all others.
    fn denying(calls: &[libc::c_long]) -> Vec<u64> {
        let insn = |code: u64, yes: u64, operand: u64| code | yes << 16 | operand << 32;
        let mut program = vec![insn(0x20, 0, 0)];
        for (behind, call) in calls.iter().rev().enumerate().rev() {
            program.push(insn(0x15, behind as u64 + 1, u64::try_from(*call).unwrap()));
        }
        program.push(insn(0x06, 0, u64::from(seccomp::RET_ALLOW)));
        program.push(insn(0x06, 0, u64::from(seccomp::RET_ERRNO | 1)));
        program
    }

    /// Which of its pages are in memory.
    fn resident(stack: &Stack) -> Vec<bool> {
        let mut pages = [0u8; STACK / PAGE + 1];
        // SAFETY: there is a byte for each page of the mapping.
        let asked = unsafe { libc::mincore(stack.base, STACK + PAGE, pages.as_mut_ptr()) };
        assert_eq!(asked, 0);
        pages.iter().map(|page| page & 1 == 1).collect()
    }

    #[test]
    fn a_stack_is_in_memory_when_it_is_asked_for() {
        let stack = Stack::new().unwrap();
        assert!(!resident(&stack).contains(&true));
        stack.present();
        let (guard, pages) =
            resident(&stack).split_first().map(|(guard, rest)| (*guard, rest.to_vec())).unwrap();
        assert!(!guard && !pages.contains(&false));
    }

    fn heard(denied: &[libc::c_long]) -> Said {
        let ops = vec![Op::NoNewPrivs, Op::Filter(denying(denied), 0), Op::Chdir(c"/missing".into())];
        let plan = Plan::new(ops, Vec::new(), Vec::new());
        let mut child = start(plan, CloneFlags::empty(), None).unwrap();
        let said = child.hear().unwrap();
        process::wait(&child.pidfd, true).unwrap();
        said
    }

    #[test]
    fn a_child_ends_whatever_its_filter_denies() {
        let failure = Failure { place: Place::Step(2), errno: Errno::ENOENT };
        for denied in [&[][..], &[libc::SYS_exit_group], &[libc::SYS_exit_group, libc::SYS_exit]] {
            assert_eq!(heard(denied), Said::Failed(failure), "{denied:?}");
        }
        // Nothing was said: it is gone all the same.
        assert_eq!(heard(&[libc::SYS_write, libc::SYS_exit_group, libc::SYS_exit]), Said::Running);
    }
}
