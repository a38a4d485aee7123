//! What a child does between its birth and its exec: a list of steps, decided beforehand by the parent.
//!
//! The steps are data ([`Op`]); `run` carries them out one after the other and reports the first that fails as
//! (step, errno). It runs in memory shared with the parent: see [`super::clone`] for what that forbids. Everything a
//! step needs (descriptors, C strings, lists of pointers) was made by the parent, so there is nothing to look up.
#![expect(unsafe_code, reason = "system calls by the instruction, in a child that shares memory")]
#![expect(
    clippy::cast_sign_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a register holds any argument, and a conversion that could fail would be a branch to a panic"
)]

mod landlock;
mod op;
mod root;
mod terminal;

pub use op::{MountCall, Op, Spot};

use super::{Errno, seccomp, stage};
use std::ffi::{CString, c_char};
use std::os::fd::{AsRawFd, OwnedFd};

/// A list of C strings as execve wants it: pointers, ended by a null pointer.
#[derive(Debug)]
struct Strings {
    _owned: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Strings {
    fn new(owned: Vec<CString>) -> Self {
        let mut pointers: Vec<*const c_char> = owned.iter().map(|text| text.as_ptr()).collect();
        pointers.push(std::ptr::null());
        Self { _owned: owned, pointers }
    }
}

/// Everything a child needs.
#[derive(Debug)]
pub struct Plan {
    ops: Vec<Op>,
    argv: Strings,
    envp: Strings,
    last_cap: u32,
    ignored: u64,
    report: i32,
    go_read: i32,
    go_write: i32,
    tells_birth: bool,
}

/// The highest capability number of this kernel, from `/proc/sys/kernel/cap_last_cap`.
fn last_cap() -> u32 {
    let text = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap_or_default();
    text.trim().parse().unwrap_or(40)
}

/// The signals that this program ignores, bit n - 1 for signal n: the others were reset by `CLONE_CLEAR_SIGHAND`.
///
/// Looked up once. What the caller had ignored does not change, Rust ignores SIGPIPE before anything of ours runs, and
/// we set handlers and defaults only.
fn ignored_signals() -> u64 {
    static IGNORED: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *IGNORED.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        // Unknown is treated as all: to set a default once more does no harm. SIGKILL and SIGSTOP cannot be set.
        let all = !(1 << (libc::SIGKILL - 1) | 1 << (libc::SIGSTOP - 1));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(all)
    })
}

impl Plan {
    /// A plan of `ops` that ends by an exec with `argv` and `envp`.
    #[must_use]
    pub fn new(ops: Vec<Op>, argv: Vec<CString>, envp: Vec<CString>) -> Self {
        let drops = ops.iter().any(|op| matches!(op, Op::BoundingSet(_)));
        Self {
            last_cap: if drops { last_cap() } else { 0 },
            ignored: ignored_signals(),
            ops,
            argv: Strings::new(argv),
            envp: Strings::new(envp),
            report: -1,
            go_read: -1,
            go_write: -1,
            tells_birth: false,
        }
    }

    /// The texts of the steps, for the trace and for the error that names one of them.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        self.ops.iter().map(Op::describe).collect()
    }

    pub(super) fn seal(&mut self, report: i32, go_read: i32, go_write: i32) {
        (self.report, self.go_read, self.go_write) = (report, go_read, go_write);
    }

    pub(super) fn tell_birth(&mut self) {
        self.tells_birth = true;
    }
}

/// The entry of the child: on its own stack, in the parent's memory. The argument is its [`Plan`].
pub(super) extern "C" fn enter(plan: *const libc::c_void) -> ! {
    let plan: *const Plan = plan.cast();
    // SAFETY: the parent keeps the plan until the child has exec'ed or ended, and does not change it.
    let plan = unsafe { &*plan };
    run(plan)
}

/// setns(2) without libc, for a process that shares memory; negative for an errno.
pub(super) fn set_namespace(fd: i32, kind: i32) -> i64 {
    match syscall(libc::SYS_setns, [fd as usize, kind as usize, 0, 0, 0, 0]) {
        Ok(_) => 0,
        Err(errno) => -i64::from(errno),
    }
}

/// Ends with the parent.
pub(super) fn die_with_parent() {
    let _ = prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as usize);
}

/// Tells the parent a word and a number. Whether that could be said.
pub(super) fn tell(report: i32, word: i32, number: i32) -> bool {
    let message = [word, number];
    let len = size_of_val(&message);
    syscall(libc::SYS_write, [report as usize, message.as_ptr().addr(), len, 0, 0, 0]) == Ok(len)
}

/// Ends a process that shares memory: where a filter denies that, by an instruction that is none.
pub(super) fn end() -> ! {
    let _ = syscall(libc::SYS_exit_group, [127, 0, 0, 0, 0, 0]);
    let _ = syscall(libc::SYS_exit, [127, 0, 0, 0, 0, 0]);
    // SAFETY: the kernel ends the process by SIGILL, whose default action is in force: `CLONE_CLEAR_SIGHAND`.
    unsafe { std::arch::asm!("ud2", options(noreturn)) }
}

fn run(plan: &Plan) -> ! {
    // Our copy of the parent's writing end would keep `Wait` from seeing that the parent died.
    let _ = syscall(libc::SYS_close, [plan.go_write as usize, 0, 0, 0, 0, 0]);
    // Who waits for that must not wait for ever: where there is no memory for it, there is none for more.
    if plan.tells_birth && !tell(plan.report, stage::BORN, 0) {
        end();
    }
    let mut step: i32 = 0;
    let mut shared = root::Shared::default();
    for op in &plan.ops {
        if let Err(errno) = act(plan, op, &mut shared) {
            // Who reads it sees the end as well.
            let _ = tell(plan.report, step, errno);
            break;
        }
        step = step.wrapping_add(1);
    }
    end()
}

type Outcome = Result<usize, i32>;

/// One system call by the instruction: no libc, so no `errno` in thread-local storage.
fn syscall(number: libc::c_long, args: [usize; 6]) -> Outcome {
    let result: isize;
    // SAFETY: each caller passes arguments that are valid for its call; the kernel preserves all registers but rax,
    // rcx and r11.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r9") args[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    if result < 0 { Err(-(result as i32)) } else { Ok(result as usize) }
}

const AT_FDCWD: usize = libc::AT_FDCWD as usize;

fn act(plan: &Plan, op: &Op, shared: &mut root::Shared) -> Outcome {
    match op {
        Op::Wait => wait(plan),
        Op::DeathSignal(signal) => prctl(libc::PR_SET_PDEATHSIG, *signal as usize),
        Op::EnterGroup(fd) => write(fd.as_raw_fd(), b"0"),
        Op::Join(fd, kinds) => syscall(libc::SYS_setns, [raw(fd), kinds.bits() as usize, 0, 0, 0, 0]),
        Op::Unshare(kinds) => syscall(libc::SYS_unshare, [kinds.bits() as usize, 0, 0, 0, 0, 0]),
        Op::NewSession => syscall(libc::SYS_setsid, [0; 6]),
        Op::ControlTerminal => syscall(libc::SYS_ioctl, [0, libc::TIOCSCTTY as usize, 0, 0, 0, 0]),
        Op::Write(path, data) => write_file(path, data),
        Op::Hostname(name) => syscall(libc::SYS_sethostname, [name.as_ptr().addr(), name.len(), 0, 0, 0, 0]),
        Op::Domainname(name) => {
            syscall(libc::SYS_setdomainname, [name.as_ptr().addr(), name.len(), 0, 0, 0, 0])
        }
        Op::LoopbackUp => loopback_up(),
        _ => act_in_root(plan, op, shared),
    }
}

/// The steps that make the root and what is in it.
fn act_in_root(plan: &Plan, op: &Op, shared: &mut root::Shared) -> Outcome {
    match op {
        Op::Propagation(flags) => {
            syscall(libc::SYS_mount, [0, c"/".as_ptr().addr(), 0, *flags as usize, 0, 0])
        }
        Op::Pivot(fd) => pivot(fd),
        Op::DropOldRoot => drop_old_root(),
        Op::Attach(fd, target) => root::attach(raw(fd), target),
        Op::Mount(call) => root::mount(call),
        Op::Folder(spot, mode) => root::folder(spot, *mode),
        Op::Node(spot, mode, dev) => root::node(spot, *mode, *dev),
        Op::Link(target, spot) => root::link(target, spot),
        Op::Mask(path) => root::mask(path, shared),
        Op::Protect(path) => root::protect(path),
        Op::Freeze(path) => root::freeze(path),
        Op::Null(to) => root::null_at(*to, shared),
        Op::Enter(path) => root::enter(path),
        Op::Terminal(socket, owner) => terminal::make(raw(socket), *owner),
        Op::Landlock(handled, paths) => landlock::restrict(*handled, paths),
        _ => act_last(plan, op),
    }
}

/// The steps that lower privileges and end in the exec.
fn act_last(plan: &Plan, op: &Op) -> Outcome {
    match op {
        Op::Limit(number, soft, hard) => {
            let limit = [*soft, *hard];
            syscall(libc::SYS_prlimit64, [0, *number as usize, limit.as_ptr().addr(), 0, 0, 0])
        }
        Op::Groups(groups) => {
            syscall(libc::SYS_setgroups, [groups.len(), groups.as_ptr().addr(), 0, 0, 0, 0])
        }
        Op::Gid(id) => syscall(libc::SYS_setresgid, [*id as usize, *id as usize, *id as usize, 0, 0, 0]),
        Op::Uid(id) => syscall(libc::SYS_setresuid, [*id as usize, *id as usize, *id as usize, 0, 0, 0]),
        Op::KeepCapabilities => prctl(libc::PR_SET_KEEPCAPS, 1),
        Op::RaiseCapabilities => raise_capabilities(),
        Op::BoundingSet(set) => drop_bounding(*set, plan.last_cap),
        Op::Capabilities(set) => capset(*set),
        Op::NoNewPrivs => prctl(libc::PR_SET_NO_NEW_PRIVS, 1),
        Op::Umask(mask) => syscall(libc::SYS_umask, [*mask as usize, 0, 0, 0, 0, 0]),
        Op::Personality(domain) => syscall(libc::SYS_personality, [*domain as usize, 0, 0, 0, 0, 0]),
        Op::NewKeyring => {
            syscall(libc::SYS_keyctl, [libc::KEYCTL_JOIN_SESSION_KEYRING as usize, 0, 0, 0, 0, 0])
        }
        Op::Filter(program, flags) => filter(program, *flags),
        Op::Chdir(path) => syscall(libc::SYS_chdir, [text(path), 0, 0, 0, 0, 0]),
        Op::Stdio(fd, to) => dup(fd, *to),
        Op::IgnoreChildren => set_action(libc::SIGCHLD as usize, libc::SIG_IGN),
        Op::Clean => clean(plan),
        Op::Exec(programs) => exec(plan, programs),
        Op::ExecFd(fd) => exec_fd(plan, raw(fd)),
        Op::Stage(fd, program) => run_stage(plan, raw(fd), program.as_ref().map(raw)),
        // Every other step is handled above.
        _ => Err(Errno::ENOSYS as i32),
    }
}

fn raw(fd: &OwnedFd) -> usize {
    fd.as_raw_fd() as usize
}

fn text(text: &CString) -> usize {
    text.as_ptr().addr()
}

fn prctl(option: i32, value: usize) -> Outcome {
    syscall(libc::SYS_prctl, [option as usize, value, 0, 0, 0, 0])
}

fn write(fd: i32, data: &[u8]) -> Outcome {
    syscall(libc::SYS_write, [fd as usize, data.as_ptr().addr(), data.len(), 0, 0, 0])
}

fn existing(outcome: Outcome) -> Outcome {
    match outcome {
        Err(libc::EEXIST) => Ok(0),
        other => other,
    }
}

fn wait(plan: &Plan) -> Outcome {
    let mut byte = 0u8;
    loop {
        match syscall(libc::SYS_read, [plan.go_read as usize, (&raw mut byte).addr(), 1, 0, 0, 0]) {
            Err(libc::EINTR) => {}
            // The parent is gone, or has given up: nobody reads a report.
            Ok(0) => end(),
            other => return other,
        }
    }
}

/// `pivot_root(".", ".")`: the old root ends up on top of the new one at `/`, where paths do not lead and where a lazy
/// unmount lets it go; no folder is needed for it (pivot_root(2), NOTES).
fn pivot(fd: &OwnedFd) -> Outcome {
    const MOVE_MOUNT_F_EMPTY_PATH: usize = 4;
    let (here, slash, empty) = (c".".as_ptr().addr(), c"/".as_ptr().addr(), c"".as_ptr().addr());
    syscall(libc::SYS_move_mount, [raw(fd), empty, AT_FDCWD, slash, MOVE_MOUNT_F_EMPTY_PATH, 0])?;
    syscall(libc::SYS_fchdir, [raw(fd), 0, 0, 0, 0, 0])?;
    syscall(libc::SYS_pivot_root, [here, here, 0, 0, 0, 0])
}

fn drop_old_root() -> Outcome {
    syscall(libc::SYS_umount2, [c".".as_ptr().addr(), libc::MNT_DETACH as usize, 0, 0, 0, 0])?;
    syscall(libc::SYS_chdir, [c"/".as_ptr().addr(), 0, 0, 0, 0, 0])
}

fn write_file(path: &CString, data: &[u8]) -> Outcome {
    let flags = (libc::O_WRONLY | libc::O_CLOEXEC) as usize;
    let fd = syscall(libc::SYS_openat, [AT_FDCWD, text(path), flags, 0, 0, 0])?;
    let outcome = write(fd as i32, data);
    let _ = syscall(libc::SYS_close, [fd, 0, 0, 0, 0, 0]);
    outcome
}

fn loopback_up() -> Outcome {
    // struct ifreq of netdevice(7): the name in 16 bytes, then the flags.
    let mut request = [0u8; 40];
    request[0] = b'l';
    request[1] = b'o';
    let flags = (libc::IFF_UP as u16).to_ne_bytes();
    request[16] = flags[0];
    request[17] = flags[1];
    let kind = (libc::SOCK_DGRAM | libc::SOCK_CLOEXEC) as usize;
    let fd = syscall(libc::SYS_socket, [libc::AF_INET as usize, kind, 0, 0, 0, 0])?;
    let request = request.as_ptr().addr();
    let outcome = syscall(libc::SYS_ioctl, [fd, libc::SIOCSIFFLAGS as usize, request, 0, 0, 0]);
    let _ = syscall(libc::SYS_close, [fd, 0, 0, 0, 0, 0]);
    outcome
}

fn drop_bounding(keep: u64, last: u32) -> Outcome {
    let mut cap = 0;
    while cap <= last {
        if keep.checked_shr(cap).unwrap_or(0) & 1 == 0 {
            prctl(libc::PR_CAPBSET_DROP, cap as usize)?;
        }
        cap = cap.wrapping_add(1);
    }
    Ok(0)
}

/// `struct __user_cap_header_struct`: version 3, this thread.
const CAP_HEADER: [u32; 2] = [0x2008_0522, 0];

fn capset(set: u64) -> Outcome {
    // Ambient first: lowering permitted lowers it as well, but not on purpose.
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as usize)?;
    // Two of __user_cap_data_struct: effective, permitted, inheritable.
    let (low, high) = (set as u32, (set >> 32) as u32);
    set_capabilities([low, low, 0, high, high, 0])
}

fn set_capabilities(data: [u32; 6]) -> Outcome {
    let at = data.as_ptr().expose_provenance();
    syscall(libc::SYS_capset, [CAP_HEADER.as_ptr().addr(), at, 0, 0, 0, 0])
}

fn capabilities() -> Result<[u32; 6], i32> {
    let mut data = [0u32; 6];
    let at = (&raw mut data).expose_provenance();
    syscall(libc::SYS_capget, [CAP_HEADER.as_ptr().addr(), at, 0, 0, 0, 0])?;
    Ok(data)
}

/// No capability is in force; what is permitted stays, and an exec puts it in force again.
fn give_up_effective() -> Outcome {
    let [_, low, low_inherited, _, high, high_inherited] = capabilities()?;
    set_capabilities([0, low, low_inherited, 0, high, high_inherited])
}

/// What is permitted is in force again, after a change of user.
fn raise_capabilities() -> Outcome {
    let [_, low, low_inherited, _, high, high_inherited] = capabilities()?;
    set_capabilities([low, low, low_inherited, high, high, high_inherited])
}

fn dup(fd: &OwnedFd, to: i32) -> Outcome {
    if fd.as_raw_fd() == to {
        // dup3 refuses equal numbers; all it has to do then is to survive the exec.
        return syscall(libc::SYS_fcntl, [to as usize, libc::F_SETFD as usize, 0, 0, 0, 0]);
    }
    syscall(libc::SYS_dup3, [raw(fd), to as usize, 0, 0, 0, 0])
}

/// `struct sigaction` as the kernel has it: handler, flags, restorer, mask.
fn set_action(signal: usize, handler: libc::sighandler_t) -> Outcome {
    let action: [usize; 4] = [handler, 0, 0, 0];
    syscall(libc::SYS_rt_sigaction, [signal, action.as_ptr().addr(), 0, 8, 0, 0])
}

fn clean(plan: &Plan) -> Outcome {
    let mut left = plan.ignored;
    while left != 0 {
        let signal = left.trailing_zeros() as usize;
        // On purpose, by a plan that says so.
        if signal + 1 != libc::SIGCHLD as usize {
            set_action(signal + 1, libc::SIG_DFL)?;
        }
        left &= left - 1;
    }
    let mask: u64 = 0;
    let mask = (&raw const mask).addr();
    syscall(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, mask, 0, 8, 0, 0])?;
    let last = u32::MAX as usize;
    syscall(libc::SYS_close_range, [3, last, libc::CLOSE_RANGE_CLOEXEC as usize, 0, 0, 0])
}

fn filter(program: &[u64], flags: u64) -> Outcome {
    let program = seccomp::Program { len: program.len() as u16, first: program.as_ptr() };
    let at = (&raw const program).addr();
    syscall(libc::SYS_seccomp, [seccomp::SET_MODE_FILTER, flags as usize, at, 0, 0, 0])
}

fn exec_fd(plan: &Plan, fd: usize) -> Outcome {
    let (argv, envp) = (plan.argv.pointers.as_ptr().addr(), plan.envp.pointers.as_ptr().addr());
    let empty = c"".as_ptr().addr();
    syscall(libc::SYS_execveat, [fd, empty, argv, envp, libc::AT_EMPTY_PATH as usize, 0])
}

/// Gives the last stage its descriptors at the numbers that it knows. They are moved out of each other's way first.
fn run_stage(plan: &Plan, fd: usize, program: Option<usize>) -> Outcome {
    let away = |fd: usize| syscall(libc::SYS_fcntl, [fd, libc::F_DUPFD_CLOEXEC as usize, 10, 0, 0, 0]);
    let (fd, report, go) = (away(fd)?, away(plan.report as usize)?, away(plan.go_read as usize)?);
    let program = program.map_or(Ok(None), |program| away(program).map(Some))?;
    give_up_effective()?;
    syscall(libc::SYS_dup3, [report, stage::REPORT, 0, 0, 0, 0])?;
    syscall(libc::SYS_dup3, [go, stage::GO, 0, 0, 0, 0])?;
    if let Some(program) = program {
        syscall(libc::SYS_dup3, [program, stage::PROGRAM, 0, 0, 0, 0])?;
    }
    let outcome = exec_fd(plan, fd);
    // It may have been one of the numbers, and the failure has to be told there.
    syscall(libc::SYS_dup3, [report, plan.report as usize, 0, 0, 0, 0])?;
    outcome
}

/// Tries each program in turn, as execvp(3) does: one that is missing gives way to the next, and "not allowed" is
/// reported only if none of them runs.
fn exec(plan: &Plan, programs: &[CString]) -> Outcome {
    let mut denied = None;
    for program in programs {
        let argv = plan.argv.pointers.as_ptr().addr();
        let envp = plan.envp.pointers.as_ptr().addr();
        match syscall(libc::SYS_execve, [text(program), argv, envp, 0, 0, 0]) {
            Err(errno @ libc::EACCES) => denied = Some(errno),
            Err(libc::ENOENT | libc::ENOTDIR) => {}
            other => return other,
        }
    }
    Err(denied.unwrap_or(libc::ENOENT))
}
