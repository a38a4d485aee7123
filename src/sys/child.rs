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

mod root;
mod terminal;

use super::{Errno, seccomp, stage};
use nix::sched::CloneFlags;
use std::ffi::{CString, c_char};
use std::os::fd::{AsRawFd, OwnedFd};

/// Where something is made: a folder, and a name in it.
#[derive(Clone, Debug)]
pub struct Spot {
    /// The folder.
    pub dir: CString,
    /// The name.
    pub name: CString,
}

/// A file system that is made and mounted: fsopen(2), fsconfig(2), fsmount(2), move_mount(2).
#[derive(Clone, Debug)]
pub struct MountCall {
    /// The source, as shown in mountinfo.
    pub source: CString,
    /// Where.
    pub target: CString,
    /// The file system type.
    pub kind: CString,
    /// `MOUNT_ATTR_RDONLY` and others.
    pub attributes: u64,
    /// The options of the file system, with or without a value.
    pub options: Vec<(CString, Option<CString>)>,
    /// Whether no symbolic link may be on the way to the target.
    pub no_links: bool,
}

/// One step of a child.
#[derive(Debug)]
pub enum Op {
    /// Wait until the parent says go; end quietly if the parent is gone.
    Wait,
    /// Die with the parent.
    DeathSignal(i32),
    /// Enter a version 1 control group through its open `tasks` file.
    ///
    /// Writing `0` to `tasks` moves the calling thread, which is all of this process, without the threadgroup lock:
    /// 0.06 ms where `cgroup.procs` takes 7 ms and more after idle (`cgroup_procs_write_start` in the kernel).
    EnterGroup(OwnedFd),
    /// Join namespaces of a process (by pidfd) or one namespace (by its file).
    Join(OwnedFd, CloneFlags),
    /// Make new namespaces for this process.
    Unshare(CloneFlags),
    /// Lead a new session, away from the caller's terminal.
    NewSession,
    /// Make the terminal on standard input the controlling one.
    ControlTerminal,
    /// Make a terminal of the new root's `/dev/pts`, owned by a user, hand its controlling side over a socket, and run on
    /// it.
    Terminal(OwnedFd, u32),
    /// Make the file of a standard stream a user's, so that it can be opened by `/dev/stdout`.
    Own(i32, u32),
    /// Change the propagation of `/` and of all below it; the flag is that of mount(2).
    Propagation(u64),
    /// Make a detached mount the root: attach it over `/` and pivot into it. The old root stays below, out of reach.
    Pivot(OwnedFd),
    /// Let the old root go. Last of all mounts: in a user namespace the kernel gives a new procfs or sysfs only where
    /// one is still in sight (`mount_too_revealing`).
    DropOldRoot,
    /// Attach a detached mount at a path of the new root.
    Attach(OwnedFd, CString),
    /// Make a file system and mount it in the new root.
    Mount(MountCall),
    /// Make a folder; an existing one is fine.
    Folder(Spot, u32),
    /// Make a device node or an empty file; an existing file is fine.
    Node(Spot, u32, u64),
    /// Make a symbolic link; an existing file is fine.
    Link(CString, Spot),
    /// Put an empty folder, or the root's `/dev/null`, over a path; what is not there is left so.
    Mask(CString),
    /// Make a path read-only, with what is mounted below it; what is not there is left so.
    Protect(CString),
    /// Make the mount at a path read-only; what is mounted in it stays as it is.
    Freeze(CString),
    /// Write a short text to a file: a sysctl.
    Write(CString, Vec<u8>),
    /// Set the host name.
    Hostname(Vec<u8>),
    /// Set the NIS domain name.
    Domainname(Vec<u8>),
    /// Bring the loopback interface up.
    LoopbackUp,
    /// Set a resource limit: number, soft, hard.
    Limit(u32, u64, u64),
    /// Set the supplementary groups.
    Groups(Vec<u32>),
    /// Set all three group ids.
    Gid(u32),
    /// Set all three user ids.
    Uid(u32),
    /// Keep the permitted capabilities across a change of user id.
    KeepCapabilities,
    /// Drop every capability that is not in the set from the bounding set.
    BoundingSet(u64),
    /// Set the effective and permitted capabilities; inheritable and ambient become empty.
    Capabilities(u64),
    /// No program gains privileges any more.
    NoNewPrivs,
    /// Join a new, empty session keyring.
    NewKeyring,
    /// Install a filter of system calls: its instructions, and the flags of seccomp(2).
    Filter(Vec<u64>, u64),
    /// Change the working directory.
    Chdir(CString),
    /// Change the working directory, to one of the new root.
    Enter(CString),
    /// Put a descriptor at a number from 0 to 2.
    Stdio(OwnedFd, i32),
    /// Put the `/dev/null` of the new root at a number from 0 to 2.
    Null(i32),
    /// Ignore SIGCHLD, so that orphans are reaped by the kernel.
    IgnoreChildren,
    /// Close, at exec, every descriptor above 2, and give every signal its default action and an empty mask.
    Clean,
    /// Run the first of the programs that exists.
    Exec(Vec<CString>),
    /// Run the program behind a descriptor.
    ExecFd(OwnedFd),
    /// Run the [last stage](super::stage) behind a descriptor.
    Stage(OwnedFd),
}

impl Op {
    /// The name of the step, for errors and traces.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Wait => "wait for the parent".into(),
            Self::DeathSignal(signal) => format!("prctl(PR_SET_PDEATHSIG, {signal})"),
            Self::EnterGroup(fd) => format!("write({}, \"0\", 1)", fd.as_raw_fd()),
            Self::Join(fd, kinds) => format!("setns({}, {})", fd.as_raw_fd(), show_kinds(*kinds)),
            Self::Unshare(kinds) => format!("unshare({})", show_kinds(*kinds)),
            Self::NewSession => "setsid()".into(),
            Self::ControlTerminal => "ioctl(0, TIOCSCTTY, 0)".into(),
            Self::Terminal(socket, owner) => {
                let socket = socket.as_raw_fd();
                format!("openat2(\"/dev/pts/ptmx\"), ioctl(TIOCGPTPEER), fchown({owner}), sendmsg({socket})")
            }
            Self::Own(fd, user) => format!("fchown({fd}, {user}, -1)"),
            Self::Propagation(flags) => format!("mount(NULL, \"/\", NULL, {flags:#x}, NULL)"),
            Self::Pivot(fd) => {
                format!("move_mount({}, \"\", AT_FDCWD, \"/\") and pivot_root(\".\", \".\")", fd.as_raw_fd())
            }
            Self::DropOldRoot => "umount2(\".\", MNT_DETACH)".into(),
            Self::Attach(fd, target) => format!("move_mount({}, \"\", AT_FDCWD, {target:?})", fd.as_raw_fd()),
            Self::Mount(call) => {
                let MountCall { source, target, kind, attributes, .. } = call;
                format!("fsopen({kind:?}, {source:?}), fsmount({attributes:#x}), move_mount({target:?})")
            }
            Self::Folder(spot, mode) => format!("mkdirat({:?}, {:?}, 0o{mode:o})", spot.dir, spot.name),
            Self::Node(spot, mode, dev) => {
                format!("mknodat({:?}, {:?}, 0o{mode:o}, {dev:#x})", spot.dir, spot.name)
            }
            Self::Link(target, spot) => format!("symlinkat({target:?}, {:?}, {:?})", spot.dir, spot.name),
            Self::Mask(path) => {
                format!("open_tree(empty or /dev/null, OPEN_TREE_CLONE), move_mount({path:?})")
            }
            Self::Protect(path) => {
                format!("open_tree({path:?}, OPEN_TREE_CLONE), mount_setattr(MOUNT_ATTR_RDONLY), move_mount")
            }
            Self::Freeze(path) => format!("mount_setattr({path:?}, MOUNT_ATTR_RDONLY)"),
            Self::Write(path, data) => format!("write({path:?}, {:?})", String::from_utf8_lossy(data)),
            Self::Hostname(name) => format!("sethostname({:?})", String::from_utf8_lossy(name)),
            Self::Domainname(name) => format!("setdomainname({:?})", String::from_utf8_lossy(name)),
            Self::LoopbackUp => "ioctl(SIOCSIFFLAGS, {\"lo\", IFF_UP})".into(),
            Self::Limit(number, soft, hard) => format!("prlimit64(0, {number}, {{{soft}, {hard}}})"),
            Self::Groups(groups) => format!("setgroups({groups:?})"),
            Self::Gid(gid) => format!("setresgid({gid}, {gid}, {gid})"),
            Self::Uid(uid) => format!("setresuid({uid}, {uid}, {uid})"),
            Self::KeepCapabilities => "prctl(PR_SET_KEEPCAPS, 1)".into(),
            Self::BoundingSet(set) => format!("prctl(PR_CAPBSET_DROP, all but {set:#x})"),
            Self::Capabilities(set) => format!("capset({set:#x})"),
            Self::NoNewPrivs => "prctl(PR_SET_NO_NEW_PRIVS, 1)".into(),
            Self::NewKeyring => "keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL)".into(),
            Self::Filter(program, flags) => {
                format!("seccomp(SECCOMP_SET_MODE_FILTER, {flags:#x}, {} instructions)", program.len())
            }
            Self::Chdir(path) => format!("chdir({path:?})"),
            Self::Enter(path) => format!("openat2({path:?}, RESOLVE_NO_MAGICLINKS), fchdir"),
            Self::Stdio(fd, to) => format!("dup2({}, {to})", fd.as_raw_fd()),
            Self::Null(to) => format!("openat2(\"/dev/null\", RESOLVE_NO_SYMLINKS), dup2({to})"),
            Self::IgnoreChildren => "rt_sigaction(SIGCHLD, SIG_IGN)".into(),
            Self::Clean => "close_range(3, ~0, CLOSE_RANGE_CLOEXEC), rt_sigaction(all, SIG_DFL)".into(),
            Self::Exec(programs) => {
                format!("execve({:?})", programs.first().map(CString::as_c_str).unwrap_or_default())
            }
            Self::ExecFd(fd) | Self::Stage(fd) => {
                format!("execveat({}, \"\", AT_EMPTY_PATH)", fd.as_raw_fd())
            }
        }
    }
}

fn show_kinds(kinds: CloneFlags) -> String {
    kinds.iter_names().map(|(name, _)| name).collect::<Vec<_>>().join("|")
}

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

/// Ends a process that shares memory.
pub(super) fn end() -> ! {
    loop {
        let _ = syscall(libc::SYS_exit_group, [127, 0, 0, 0, 0, 0]);
    }
}

fn run(plan: &Plan) -> ! {
    // Our copy of the parent's writing end would keep `Wait` from seeing that the parent died.
    let _ = syscall(libc::SYS_close, [plan.go_write as usize, 0, 0, 0, 0, 0]);
    let mut step: i32 = 0;
    let mut shared = root::Shared::default();
    for op in &plan.ops {
        if let Err(errno) = act(plan, op, &mut shared) {
            let message = [step, errno];
            let len = size_of_val(&message);
            let _ = syscall(libc::SYS_write, [plan.report as usize, message.as_ptr().addr(), len, 0, 0, 0]);
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
        Op::BoundingSet(set) => drop_bounding(*set, plan.last_cap),
        Op::Capabilities(set) => capset(*set),
        Op::NoNewPrivs => prctl(libc::PR_SET_NO_NEW_PRIVS, 1),
        Op::NewKeyring => {
            syscall(libc::SYS_keyctl, [libc::KEYCTL_JOIN_SESSION_KEYRING as usize, 0, 0, 0, 0, 0])
        }
        Op::Filter(program, flags) => filter(program, *flags),
        Op::Chdir(path) => syscall(libc::SYS_chdir, [text(path), 0, 0, 0, 0, 0]),
        Op::Stdio(fd, to) => dup(fd, *to),
        Op::Own(fd, user) => {
            syscall(libc::SYS_fchown, [*fd as usize, *user as usize, u32::MAX as usize, 0, 0, 0])
        }
        Op::IgnoreChildren => set_action(libc::SIGCHLD as usize, libc::SIG_IGN),
        Op::Clean => clean(plan),
        Op::Exec(programs) => exec(plan, programs),
        Op::ExecFd(fd) => exec_fd(plan, raw(fd)),
        Op::Stage(fd) => run_stage(plan, raw(fd)),
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

fn capset(set: u64) -> Outcome {
    // Ambient first: lowering permitted lowers it as well, but not on purpose.
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as usize)?;
    // struct __user_cap_header_struct, version 3, this thread; then two of __user_cap_data_struct.
    let header: [u32; 2] = [0x2008_0522, 0];
    let (low, high) = (set as u32, (set >> 32) as u32);
    let data: [u32; 6] = [low, low, 0, high, high, 0];
    syscall(libc::SYS_capset, [header.as_ptr().addr(), data.as_ptr().addr(), 0, 0, 0, 0])
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
fn run_stage(plan: &Plan, fd: usize) -> Outcome {
    let away = |fd: usize| syscall(libc::SYS_fcntl, [fd, libc::F_DUPFD_CLOEXEC as usize, 10, 0, 0, 0]);
    let (fd, report, go) = (away(fd)?, away(plan.report as usize)?, away(plan.go_read as usize)?);
    syscall(libc::SYS_dup3, [report, stage::REPORT, 0, 0, 0, 0])?;
    syscall(libc::SYS_dup3, [go, stage::GO, 0, 0, 0, 0])?;
    let outcome = exec_fd(plan, fd);
    // It may have been one of the two numbers, and the failure has to be told there.
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
