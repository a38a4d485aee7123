//! From what is asked to what the child does: the list of its steps.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::fs::idmapped::IdMapping;
use crate::runtime::fs::overlay;
use crate::runtime::ns::idmap::{IdMaps, Shape};
use crate::runtime::ns::set::propagation_flag;
use crate::runtime::proc::mounts::{self, Ground};
use crate::runtime::proc::spec::{Command, Namespaces, ProcSpec, Root};
use crate::runtime::proc::user::{self, User};
use crate::runtime::rootless;
use crate::runtime::security::policy::own_capabilities;
use crate::runtime::security::seccomp::{Facts, Filter, Moment, record};
use crate::runtime::security::{Policy, SeccompChoice};
use crate::runtime::session::{Session, StepId};
use crate::runtime::start::{Steps, duplicate, explain_program};
use crate::sys::child::{Op, Spot};
use crate::sys::mount;
use crate::sys::mount::Propagation;
use nix::sched::CloneFlags;
use rustix::fs::CWD;
use std::borrow::Cow;
use std::ffi::{CString, OsStr};
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The PATH of a process with a root of its own, where none is given: that of Docker.
pub const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The three standard streams of a child.
#[derive(Debug)]
pub enum Stdio {
    /// What becomes descriptors 0, 1 and 2.
    Files {
        /// The descriptors.
        fds: [OwnedFd; 3],
        /// Which of them are pipes made for it alone.
        own: [bool; 3],
        /// Whether it stays on the caller's terminal.
        shares_terminal: bool,
    },
    /// A terminal of its own, made by the caller.
    Terminal([OwnedFd; 3]),
    /// A terminal that it makes itself, in its root, and sends to this socket.
    TerminalInside(OwnedFd),
}

impl Stdio {
    /// Whether it stays on the caller's terminal.
    #[must_use]
    pub fn shares_terminal(&self) -> bool {
        matches!(self, Self::Files { shares_terminal: true, .. })
    }
}

/// A C string of `bytes`.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for a NUL byte.
pub fn c_string(op: &'static str, bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).map_err(|_| {
        let what = format!("{:?} contains a NUL byte", String::from_utf8_lossy(bytes));
        Error::new(ErrorKind::InvalidArgument, op, what)
    })
}

/// The environment that the program gets: exactly what is asked.
#[must_use]
pub fn environment(spec: &ProcSpec) -> Vec<(Vec<u8>, Vec<u8>)> {
    match &spec.env {
        Some(env) => env.clone(),
        None if spec.rootfs.is_none() && !spec.security.is_confined() => {
            let own = std::env::vars_os();
            own.map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
        }
        None => {
            let mut env = vec![(b"PATH".to_vec(), DEFAULT_PATH.to_vec())];
            if spec.tty {
                env.push((b"TERM".to_vec(), b"xterm".to_vec()));
            }
            env
        }
    }
}

/// The programs that `name` may mean: itself when it has a slash, else one in each folder of the PATH it is given.
#[must_use]
pub fn candidates(name: &[u8], env: &[(Vec<u8>, Vec<u8>)]) -> Vec<Vec<u8>> {
    if name.contains(&b'/') {
        return vec![name.to_vec()];
    }
    let path = env.iter().find(|(key, _)| key == b"PATH").map_or(DEFAULT_PATH, |(_, value)| value);
    let folders = path.split(|byte| *byte == b':');
    folders
        .map(|folder| {
            let folder = if folder.is_empty() { OsStr::new(".") } else { OsStr::from_bytes(folder) };
            Path::new(folder).join(OsStr::from_bytes(name)).into_os_string().into_encoded_bytes()
        })
        .collect()
}

/// A detached mount of the root, for the child to attach; the steps that it took are in `steps`.
///
/// # Errors
/// When it cannot be opened or mounted.
pub fn tree(
    session: &Session,
    op: &'static str,
    root: &Root,
    idmap: Option<&IdMapping>,
    steps: &mut Vec<StepId>,
) -> Result<OwnedFd> {
    // Maps that were asked for one by one leave the owners of a root as they are.
    let idmap = idmap.filter(|idmap| idmap.maps.shape != Shape::Asked);
    match root {
        Root::Folder { path, .. } => {
            let tree = mount::clone_tree(CWD, path, true).map_err(|source| {
                Error::sys(op, format!("rootfs: cannot open {}", path.display()), source).path(path)
            })?;
            if !path.is_dir() {
                let what = format!("rootfs: {} is not a folder", path.display());
                return Err(Error::new(ErrorKind::InvalidArgument, op, what).path(path));
            }
            // Nothing shared may be attached over `/` (pivot_root(2)), as everything is where systemd runs the host.
            mount::set_attributes(&tree, 0, libc::MS_PRIVATE, true)
                .context(op, format!("rootfs: cannot make {} private", path.display()))?;
            if let Some(idmap) = idmap {
                idmap.apply(op, &tree, path, true)?;
            }
            Ok(tree)
        }
        Root::Overlay(spec) => overlay::detached(session, spec, idmap, steps),
    }
}

/// Who a process becomes.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// The maps of its new user namespace.
    pub maps: Option<&'a IdMaps>,
    /// The user, as its root knows it.
    pub user: Option<&'a User>,
}

/// The user that it runs as, looked up in its root.
///
/// # Errors
/// As of [`user::find`].
pub fn user(op: &'static str, spec: &ProcSpec, tree: Option<&OwnedFd>) -> Result<Option<User>> {
    spec.user.as_deref().map(|text| user::find(op, tree.map(AsFd::as_fd), text)).transpose()
}

/// The steps of the child, in the order in which they must happen.
///
/// # Errors
/// What cannot be opened or looked up beforehand.
pub fn steps(
    op: &'static str,
    spec: &ProcSpec,
    who: Who<'_>,
    guard: Guard,
    stdio: Stdio,
    tree: Option<OwnedFd>,
) -> Result<Steps> {
    let Who { maps, user } = who;
    let Guard { early, stage, program } = guard;
    let mut steps = Steps::default();
    if maps.is_some() {
        steps.push(Op::Wait, "wait for the id maps");
    }
    of_the_caller(op, &spec.security, &mut steps)?;
    enter(op, spec, maps, &mut steps)?;
    root(op, spec, tree, &mut steps)?;
    streams(op, spec, who, stdio, &mut steps)?;
    steps.push(Op::DeathSignal(libc::SIGKILL), "die with the session");
    steps.push(Op::Wait, "wait for the ledger");
    // As late as can be: with fewer privileges it can be traced by those that it joins (ptrace(2)).
    privileges(op, spec, user, early, &mut steps)?;
    if let Some(cwd) = working_folder(op, spec)? {
        let path = c_string(op, cwd.as_os_str().as_bytes())?;
        // A root of its own has links of its own, and this process still holds descriptors of the host.
        let step = if spec.is_away() { Op::Enter(path) } else { Op::Chdir(path) };
        steps.push(step, format!("change to the working directory {}", cwd.display()));
    }
    // Cleared by a change of user or capabilities (prctl(2)).
    steps.push(Op::DeathSignal(libc::SIGKILL), "die with the session");
    steps.push(Op::Clean, "let go of descriptors and signals");
    let argv = spec.command.argv();
    let name = argv.first().map(Vec::as_slice).unwrap_or_default();
    let what = format!("run {:?}", String::from_utf8_lossy(name));
    match (stage, program) {
        (Some(stage), program) => steps.push(Op::Stage(stage, program), what),
        (None, Some(program)) => steps.push(Op::ExecFd(program), what),
        (None, None) => steps.push(Op::Exec(programs(op, spec)?), what),
    }
    Ok(steps)
}

/// Where it works. In the caller's root a confined process enters the caller's folder again: by its name, since the folder
/// itself may be one that a mount covers.
fn working_folder<'a>(op: &'static str, spec: &'a ProcSpec) -> Result<Option<Cow<'a, Path>>> {
    if let Some(cwd) = &spec.cwd {
        return Ok(Some(Cow::Borrowed(cwd)));
    }
    let elsewhere = spec.rootfs.is_some() || spec.joined().is_some_and(|set| set.kinds.has("mount"));
    if elsewhere || !spec.fresh().has("mount") {
        return Ok(None);
    }
    let folder = std::env::current_dir().context(op, "cannot find the working directory")?;
    Ok(Some(Cow::Owned(folder)))
}

/// The programs that the command may mean.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for a NUL byte.
pub fn programs(op: &'static str, spec: &ProcSpec) -> Result<Vec<CString>> {
    let argv = spec.command.argv();
    let name = argv.first().map(Vec::as_slice).unwrap_or_default();
    candidates(name, &environment(spec)).into_iter().map(|path| c_string(op, &path)).collect()
}

/// What is written to the process's files in the `/proc` of the caller.
fn of_the_caller(op: &'static str, policy: &Policy, steps: &mut Steps) -> Result<()> {
    let mut write = |path: &str, text: String, what: &str| -> Result<()> {
        steps.push(Op::Write(c_string(op, path.as_bytes())?, text.into_bytes()), what);
        Ok(())
    };
    // In a user namespace it is inherited: see `super::oom`.
    if let Some(adj) = policy.oom_score_adj.filter(|_| !rootless::in_user_ns()) {
        write("/proc/self/oom_score_adj", adj.to_string(), "set oom_score_adj")?;
    }
    if let Some(profile) = &policy.apparmor {
        write(apparmor(op)?, format!("exec {profile}"), "change to the AppArmor profile")?;
    }
    Ok(())
}

/// Where the AppArmor profile of the next program is said.
fn apparmor(op: &'static str) -> Result<&'static str> {
    const OWN: &str = "/proc/self/attr/apparmor/exec";
    let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    if enabled.trim() != "Y" {
        let error = Error::new(ErrorKind::Unsupported, op, "apparmor: this kernel runs without AppArmor");
        return Err(error.hint("leave `apparmor` out; /sys/kernel/security/lsm lists what is active"));
    }
    Ok(if Path::new(OWN).exists() { OWN } else { "/proc/self/attr/exec" })
}

/// Groups and namespaces.
fn enter(op: &'static str, spec: &ProcSpec, maps: Option<&IdMaps>, steps: &mut Steps) -> Result<()> {
    if let Some(group) = &spec.cgroup {
        for tasks in group.entries(op)? {
            steps.push(Op::EnterGroup(tasks), format!("enter the group {}", group.group_name()));
        }
    }
    if let Some(network) = &spec.network {
        if spec.fresh().has("user") {
            let what = "a process in a new user namespace cannot be in the session's network as well";
            return Err(Error::new(ErrorKind::Unsupported, op, what)
                .hint("add \"net\" to ns, and join it with net::veth"));
        }
        let fd = duplicate(op, &network.fd)?;
        steps.push(Op::Join(fd, CloneFlags::CLONE_NEWNET), "join the session's network");
    }
    match &spec.ns {
        Some(Namespaces::Of(set)) => {
            // The pid and time namespaces are those it was born in.
            let kinds = set.kinds.without("pid").without("time");
            if !kinds.is_empty() {
                let pidfd = duplicate(op, set.pidfd())?;
                steps.push(Op::Join(pidfd, kinds.flags()), format!("join the namespaces of {}", set.pid));
            }
            if set.maps.as_ref().is_some_and(IdMaps::becomes_root) {
                steps.push(Op::Gid(0), "become root's group inside");
                steps.push(Op::Uid(0), "become root inside");
            }
            if spec.fresh().has("mount") {
                let mount = crate::runtime::ns::Kinds::NONE.with_name("mount");
                steps.push(Op::Unshare(mount.flags()), "take a private copy of the mounts");
            }
        }
        _ if maps.is_some_and(IdMaps::becomes_root) => {
            steps.push(Op::Gid(0), "become root's group inside");
            steps.push(Op::Uid(0), "become root inside");
        }
        _ => {}
    }
    let late = late_kinds(spec);
    if !late.is_empty() {
        steps.push(Op::Unshare(late.flags()), format!("make namespaces: {late}"));
    }
    if spec.fresh().has("net") {
        steps.push(Op::LoopbackUp, "bring up the loopback interface");
    }
    if let Some(name) = &spec.hostname {
        steps.push(Op::Hostname(name.clone().into_bytes()), "set the hostname");
    }
    Ok(())
}

/// The fresh kinds that the child makes itself: a cgroup namespace has the group as its root that the process is in
/// when it is made, and a time namespace cannot be shared with the memory of another.
#[must_use]
pub fn late_kinds(spec: &ProcSpec) -> crate::runtime::ns::Kinds {
    let fresh = spec.fresh();
    fresh
        .iter()
        .filter(|kind| kind.name == "time" || (kind.name == "cgroup" && spec.cgroup.is_some()))
        .collect()
}

/// The root and what is mounted in it.
fn root(op: &'static str, spec: &ProcSpec, tree: Option<OwnedFd>, steps: &mut Steps) -> Result<()> {
    if !spec.fresh().has("mount") {
        return Ok(());
    }
    steps.push(Op::Propagation(propagation_flag(Propagation::Private)), "make the mounts private");
    if let (Some(root), Some(tree)) = (&spec.rootfs, tree) {
        steps.push(Op::Pivot(tree), format!("make {root} the root"));
    }
    let user_ns = spec.has_own("user") || rootless::in_user_ns();
    let ground = Ground {
        make: spec.rootfs.as_ref().is_some_and(Root::is_writable),
        bind_devices: user_ns,
        foreign_proc: user_ns && !spec.has_pid_ns(),
        foreign_sys: user_ns && spec.network.is_none() && !spec.has_own("net"),
        idmap: spec.idmap.as_deref(),
    };
    mounts::plan(op, &spec.mounts, ground, steps)?;
    closed(op, &spec.security, steps)?;
    if spec.rootfs.is_some() {
        steps.push(Op::DropOldRoot, "let the old root go");
    }
    Ok(())
}

/// What the process does not see, and what it cannot change.
fn closed(op: &'static str, policy: &Policy, steps: &mut Steps) -> Result<()> {
    let path = |path: &Path| c_string(op, path.as_os_str().as_bytes());
    for masked in &policy.masked_paths {
        steps.push(Op::Mask(path(masked)?), format!("mask {}", masked.display()));
    }
    for readonly in &policy.readonly_paths {
        steps.push(Op::Protect(path(readonly)?), format!("make {} read-only", readonly.display()));
    }
    if policy.readonly_root {
        steps.push(Op::Freeze(c"/".into()), "make the root read-only");
    }
    Ok(())
}

fn streams(op: &'static str, spec: &ProcSpec, who: Who<'_>, stdio: Stdio, steps: &mut Steps) -> Result<()> {
    if leads_session(spec, &stdio) {
        // Without a session of its own it could type into our terminal (TIOCSTI), and a timeout could not end what it
        // started: the session is also the process group that is signalled.
        steps.push(Op::NewSession, "lead a session of its own");
    }
    match stdio {
        Stdio::Files { fds, own, .. } => {
            give(op, spec, who, &fds, own)?;
            files(spec, fds, steps);
        }
        Stdio::Terminal(fds) => {
            for (number, fd) in (0..).zip(fds) {
                steps.push(Op::Stdio(fd, number), "set the standard streams");
            }
            steps.push(Op::ControlTerminal, "take its terminal");
        }
        Stdio::TerminalInside(socket) => {
            let console = Spot { dir: c"/dev".into(), name: c"console".into() };
            steps.push(Op::Node(console, libc::S_IFREG | 0o600, 0), "make /dev/console");
            let owner = who.user.map_or(u32::MAX, |user| user.uid);
            steps.push(Op::Terminal(socket, owner), "make its terminal");
        }
    }
    for limit in &spec.rlimits {
        let name = user::rlimit_name(limit.resource);
        steps.push(Op::Limit(limit.resource, limit.soft, limit.hard), format!("set the limit {name}"));
    }
    Ok(())
}

/// Whether it leads a session of its own. A confined process always does, even with the caller's terminal as its input.
#[must_use]
pub fn leads_session(spec: &ProcSpec, stdio: &Stdio) -> bool {
    spec.security.is_confined() || !stdio.shares_terminal()
}

fn files(spec: &ProcSpec, fds: [OwnedFd; 3], steps: &mut Steps) {
    let own_null = has_own_dev(spec);
    for (number, fd) in (0..).zip(fds) {
        // The caller's as well: root inside may own it, and change who may use it.
        let null = own_null && is_null(&fd);
        steps.push(if null { Op::Null(number) } else { Op::Stdio(fd, number) }, "set the standard streams");
    }
}

fn is_null(fd: &OwnedFd) -> bool {
    let device = rustix::fs::fstat(fd).map(|found| (found.st_mode & libc::S_IFMT, found.st_rdev));
    device.is_ok_and(|device| device == (libc::S_IFCHR, libc::makedev(1, 3)))
}

/// Gives a confined process the pipes that were made for it, so that it can open them again by `/dev/stdout`. Nothing else is
/// given away: not the null device, nor a file of the caller's.
fn give(op: &'static str, spec: &ProcSpec, who: Who<'_>, fds: &[OwnedFd; 3], own: [bool; 3]) -> Result<()> {
    let Who { maps, user } = who;
    let maps = maps.or_else(|| spec.joined().and_then(|set| set.maps.as_ref()));
    let inside = user.map_or(0, |user| user.uid);
    let owner = maps.map_or(Some(inside), |maps| maps.outside(inside));
    // An id that nobody has outside cannot be become either, which is told later.
    let Some(owner) =
        owner.filter(|owner| spec.security.is_confined() && *owner != nix::unistd::geteuid().as_raw())
    else {
        return Ok(());
    };
    for fd in fds.iter().zip(own).filter_map(|(fd, own)| own.then_some(fd)) {
        let owner = Some(rustix::fs::Uid::from_raw(owner));
        rustix::fs::fchown(fd, owner, None)
            .map_err(std::io::Error::from)
            .context(op, "cannot give the process its pipes")?;
    }
    Ok(())
}

/// Whether a confined process has a `/dev` of its own, with devices that nobody else uses.
#[must_use]
pub fn has_own_dev(spec: &ProcSpec) -> bool {
    let is_dev = |mount: &super::spec::Mount| mount.kind == "dev" && mount.target == Path::new("/dev");
    spec.security.is_confined() && spec.mounts.iter().any(is_dev)
}

/// Ids and capabilities: the bounding set while there is the privilege to lower it, then ids, then the rest.
fn privileges(
    op: &'static str,
    spec: &ProcSpec,
    user: Option<&User>,
    early: Option<Filter>,
    steps: &mut Steps,
) -> Result<()> {
    let policy = &spec.security;
    if let Some(landlock) = &policy.landlock {
        let (handled, paths) = landlock.rules(op)?;
        let path = |(path, access): (PathBuf, u64)| Ok((c_string(op, path.as_os_str().as_bytes())?, access));
        let paths = paths.into_iter().map(path).collect::<Result<_>>()?;
        steps.push(Op::Landlock(handled, paths), "restrict its files by Landlock");
    }
    if policy.is_confined() {
        // The caller's would hold otherwise: files that others may write, or addresses that can be foretold.
        steps.push(Op::Umask(0o022), "new files are not for others to write");
        steps.push(Op::Personality(0), "run as Linux is, at addresses by chance");
    }
    if policy.new_keyring {
        steps.push(Op::NewKeyring, "join a keyring of its own");
    }
    if let Some(set) = policy.capabilities {
        steps.push(Op::BoundingSet(set), "lower the bounding set");
    }
    // An early filter takes a privilege, which an ordinary user's exec gives up in any case.
    let late_privilege = early.is_some() && user.is_some();
    if policy.capabilities.is_some() || late_privilege {
        steps.push(Op::KeepCapabilities, "keep capabilities across the change of user");
    }
    if let Some(groups) = groups(spec, user) {
        steps.push(Op::Groups(groups), "set the groups");
    }
    if let Some(user) = user {
        steps.push(Op::Gid(user.gid), format!("become group {}", user.gid));
        steps.push(Op::Uid(user.uid), format!("become user {}", user.uid));
    }
    if late_privilege {
        steps.push(Op::RaiseCapabilities, "have its capabilities once more");
    }
    if let Some(filter) = early {
        steps.push(Op::Filter(filter.program, filter.flags), "install the filter of system calls");
    }
    if let Some(set) = policy.capabilities {
        steps.push(Op::Capabilities(set), "set the capabilities");
    }
    if policy.no_new_privs {
        steps.push(Op::NoNewPrivs, "give up new privileges");
    }
    Ok(())
}

/// The further groups that it is given: exactly those that are asked for. Without any, a confined process has none, where it may
/// let go of the caller's (user_namespaces(7), setgroups).
#[must_use]
pub fn groups(spec: &ProcSpec, user: Option<&User>) -> Option<Vec<u32>> {
    if let Some(user) = user {
        return Some([&user.groups[..], &spec.additional_gids[..]].concat());
    }
    if !spec.additional_gids.is_empty() {
        return Some(spec.additional_gids.clone());
    }
    (spec.security.is_confined() && may_set_groups()).then(Vec::new)
}

/// Whether this program, and with it its children, may set groups: where the kernel has not been told to deny it.
#[must_use]
pub fn may_set_groups() -> bool {
    nix::unistd::geteuid().is_root()
        && std::fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "allow")
}

/// What keeps system calls out, and when it is put in force.
#[derive(Debug)]
pub struct Guard {
    /// Installed before the privileges go: without `no_new_privs` it takes one (seccomp(2)).
    early: Option<Filter>,
    /// The last stage of the start, which installs the filter otherwise.
    stage: Option<OwnedFd>,
    /// The command, where it is a program without a name.
    program: Option<OwnedFd>,
}

impl Guard {
    /// Compiles the filter of a policy, for the capabilities that are held, and makes the last stage.
    ///
    /// # Errors
    /// What is wrong with the profile; the failed `memfd_create`.
    pub fn of(op: &'static str, spec: &ProcSpec) -> Result<Self> {
        let policy = &spec.security;
        let program = match &spec.command {
            Command::Calls(calls) => {
                let made = calls.make();
                Some(made.map_err(|source| explain_program(op, "cannot make the program of calls", source))?)
            }
            _ => None,
        };
        let facts = Facts {
            capabilities: policy.capabilities.unwrap_or_else(own_capabilities),
            kernel: mount::kernel_version(),
        };
        let profile = policy.seccomp.profile(op)?;
        let when = if policy.no_new_privs { Moment::Late } else { Moment::Early };
        let filter = match policy.seccomp {
            SeccompChoice::Record => Some(record::filter()),
            _ => profile.map(|profile| Filter::compile(op, &profile, facts, when)).transpose()?,
        };
        let (late, early) = if policy.no_new_privs { (filter, None) } else { (None, filter) };
        let stage = if late.is_some() || policy.is_confined() {
            let made = crate::sys::stage::make(
                late.as_ref().map(|filter| (&filter.program[..], filter.flags)),
                program.is_some(),
            );
            let what = "cannot make the last stage of the start";
            Some(made.map_err(|source| explain_program(op, what, source))?)
        } else {
            None
        };
        Ok(Self { early, stage, program })
    }

    /// Whether the command is run by the last stage.
    #[must_use]
    pub fn has_stage(&self) -> bool {
        self.stage.is_some()
    }
}
