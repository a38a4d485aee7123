//! The steps of a child as data, and how errors and traces write them.

use nix::sched::CloneFlags;
use std::ffi::CString;
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
    /// Make every permitted capability effective again, which a change of user id has ended.
    RaiseCapabilities,
    /// Drop every capability that is not in the set from the bounding set.
    BoundingSet(u64),
    /// Set the effective and permitted capabilities; inheritable and ambient become empty.
    Capabilities(u64),
    /// No program gains privileges any more.
    NoNewPrivs,
    /// Use, of the accesses to files in a set, those alone that are given below paths (landlock(7)).
    Landlock(u64, Vec<(CString, u64)>),
    /// Join a new, empty session keyring.
    NewKeyring,
    /// Set the modes that new files do not get.
    Umask(u32),
    /// Set the execution domain: 0 is Linux as it is.
    Personality(u32),
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
    /// Run the [last stage](super::stage) behind a descriptor, with the program that it runs, if that has no name.
    Stage(OwnedFd, Option<OwnedFd>),
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
            Self::RaiseCapabilities => "capset(effective = permitted)".into(),
            Self::BoundingSet(set) => format!("prctl(PR_CAPBSET_DROP, all but {set:#x})"),
            Self::Capabilities(set) => format!("capset({set:#x})"),
            Self::NoNewPrivs => "prctl(PR_SET_NO_NEW_PRIVS, 1)".into(),
            Self::Landlock(handled, paths) => {
                format!("landlock_restrict_self({{{handled:#x}, {} paths}})", paths.len())
            }
            Self::NewKeyring => "keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL)".into(),
            Self::Umask(mask) => format!("umask({mask:#o})"),
            Self::Personality(domain) => format!("personality({domain:#x})"),
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
            Self::ExecFd(fd) | Self::Stage(fd, _) => {
                format!("execveat({}, \"\", AT_EMPTY_PATH)", fd.as_raw_fd())
            }
        }
    }
}

fn show_kinds(kinds: CloneFlags) -> String {
    kinds.iter_names().map(|(name, _)| name).collect::<Vec<_>>().join("|")
}
