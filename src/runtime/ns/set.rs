//! `ns::new`: a set of namespaces, kept alive by a process that does nothing else.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::ns::idmap::IdMaps;
use crate::runtime::ns::kinds::ALL;
use crate::runtime::ns::userns::{self, Userns};
use crate::runtime::ns::{Kind, Kinds, pin, sysctl};
use crate::runtime::session::{Handle, HandleId, Session, StepId};
use crate::runtime::start::{self, Start, StepFailure, Steps};
use crate::sys::child::Op;
use crate::sys::mount::Propagation;
use crate::sys::{self, Errno, nsfd};
use serde_json::json;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;

const OP: &str = "ns::new";

/// What `ns::new` is asked for.
#[derive(Clone, Debug)]
pub struct NsSpec {
    /// The kinds to make anew.
    pub kinds: Kinds,
    /// The host name; needs `uts`.
    pub hostname: Option<String>,
    /// The NIS domain name; needs `uts`.
    pub domainname: Option<String>,
    /// The id maps; needs `user`. Without them root inside is the caller outside.
    pub maps: Option<IdMaps>,
    /// A user namespace whose ids are chosen here, in place of maps.
    pub userns: Option<Userns>,
    /// How mounts travel between the new mount namespace and ours; needs `mount`.
    pub propagation: Option<Propagation>,
    /// Where to bind the namespaces, so that they are found by path: a file for one kind, a folder for several.
    pub pin: Option<PathBuf>,
    /// Kernel parameters of the new namespaces, by name with dots.
    pub sysctl: Vec<(String, String)>,
}

impl NsSpec {
    /// New namespaces of these kinds, and nothing else.
    #[must_use]
    pub fn new(kinds: Kinds) -> Self {
        Self {
            kinds,
            hostname: None,
            domainname: None,
            maps: None,
            userns: None,
            propagation: None,
            pin: None,
            sysctl: Vec::new(),
        }
    }

    fn check(&self) -> Result<()> {
        let invalid = |what: String| Error::new(ErrorKind::InvalidArgument, OP, what);
        if self.kinds.is_empty() {
            return Err(invalid("no kind of namespace was given".into())
                .hint("kinds are: user, mount, pid, net, ipc, uts, cgroup, time"));
        }
        let needs = [
            ("hostname", "uts", self.hostname.is_some()),
            ("domainname", "uts", self.domainname.is_some()),
            ("uid_map, gid_map and map_root", "user", self.maps.is_some()),
            ("propagation", "mount", self.propagation.is_some()),
        ];
        for (option, kind, given) in needs {
            if given && !self.kinds.has(kind) {
                let error =
                    invalid(format!("{option} without a new {kind} namespace would change the host's"));
                return Err(error.hint(format!("add \"{kind}\" to the kinds")));
            }
        }
        for (option, name) in [("hostname", &self.hostname), ("domainname", &self.domainname)] {
            name.iter().try_for_each(|name| check_name(OP, option, name))?;
        }
        if let Some(maps) = &self.maps {
            maps.check(OP)?;
        }
        userns::check(OP, self.userns, self.kinds)?;
        sysctl::check(OP, self.kinds, &self.sysctl)
    }
}

/// Checks a host or domain name: 1 to 64 bytes (uname(2)).
///
/// # Errors
/// [`ErrorKind::InvalidArgument`].
pub fn check_name(op: &'static str, option: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.len() > 64 || name.contains('\0') {
        let what = format!("{option}: expected 1 to 64 bytes, got {}", name.len());
        return Err(Error::new(ErrorKind::InvalidArgument, op, what));
    }
    Ok(())
}

/// A set of namespaces that lives until closed.
#[derive(Debug)]
pub struct NsSet {
    /// The process that keeps them alive: PID 1 of the pid namespace, if there is one.
    pub pid: i32,
    /// The kinds that are new; all others are the caller's.
    pub kinds: Kinds,
    /// The maps of the user namespace.
    pub maps: Option<IdMaps>,
    pidfd: OwnedFd,
    inodes: BTreeMap<&'static str, u64>,
    hostname: Option<String>,
}

/// Makes new namespaces that live until the handle is closed or the session ends.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for options that contradict each other; [`ErrorKind::PermissionDenied`] without the
/// privilege; [`ErrorKind::LimitReached`] at a limit of `user.max_*_namespaces`.
pub fn new(session: &Session, spec: &NsSpec) -> Result<(HandleId, Rc<NsSet>)> {
    spec.check()?;
    let mut taken = Vec::new();
    match with_maps(session, spec, &mut taken) {
        Ok((set, steps)) => Ok(session.adopt(set, [taken, steps].concat())),
        Err(error) => Err(session.roll_back(taken, error)),
    }
}

/// Makes the set, with the ids that are chosen for it; the steps that those take are added to `taken`.
fn with_maps(session: &Session, spec: &NsSpec, taken: &mut Vec<StepId>) -> Result<(NsSet, Vec<StepId>)> {
    let chosen = spec.userns.map(|asked| userns::maps(session, OP, asked, taken)).transpose()?.flatten();
    match chosen {
        Some(maps) => {
            let kinds = spec.kinds.with_name("user");
            make(session, &NsSpec { kinds, maps: Some(maps), ..spec.clone() })
        }
        None => make(session, spec),
    }
}

fn make(session: &Session, spec: &NsSpec) -> Result<(NsSet, Vec<StepId>)> {
    let maps = spec.kinds.has("user").then(|| spec.maps.clone().unwrap_or_else(IdMaps::root));
    let start = Start {
        argv: vec![CString::from(c"cshell-ns")],
        fresh: spec.kinds.without("time").flags(),
        maps: maps.as_ref(),
        ..Start::of(OP, text(spec), steps(session, spec, maps.as_ref())?)
    };
    let (step, running) = start::start(session, start, explain)?;
    let mut steps = vec![step];
    let set = match finish(session, spec, maps, running, &mut steps) {
        Ok(set) => set,
        Err(error) => return Err(session.roll_back(steps, error)),
    };
    Ok((set, steps))
}

/// Between the kinds and the host name in the text of a step.
const NAMED: &str = "; hostname ";

/// What the step is for. By the name in it others find the set in the ledger.
fn text(spec: &NsSpec) -> String {
    let name = spec.hostname.as_ref().map_or_else(String::new, |name| format!("{NAMED}{name}"));
    format!("make namespaces: {}{name}", spec.kinds)
}

/// The host name of the set that a step of this operation and text has made.
#[must_use]
pub fn hostname_of<'a>(op: &str, text: &'a str) -> Option<&'a str> {
    text.split_once(NAMED).map(|(_, name)| name).filter(|_| op == OP)
}

fn steps(session: &Session, spec: &NsSpec, maps: Option<&IdMaps>) -> Result<Steps> {
    let mut steps = Steps::default();
    if let Some(maps) = maps {
        steps.push(Op::Wait, "wait for the id maps");
        if maps.becomes_root() {
            steps.push(Op::Gid(0), "become root's group inside");
            steps.push(Op::Uid(0), "become root inside");
        }
    }
    if spec.kinds.has("time") {
        steps.push(Op::Unshare(Kinds::NONE.with_name("time").flags()), "make a time namespace");
    }
    if spec.kinds.has("mount") {
        let flag = propagation_flag(spec.propagation.unwrap_or(Propagation::Private));
        steps.push(Op::Propagation(flag), "set the propagation of the mounts");
    }
    if let Some(name) = &spec.hostname {
        steps.push(Op::Hostname(name.clone().into_bytes()), "set the hostname");
    }
    if let Some(name) = &spec.domainname {
        steps.push(Op::Domainname(name.clone().into_bytes()), "set the domainname");
    }
    if spec.kinds.has("net") {
        steps.push(Op::LoopbackUp, "bring up the loopback interface");
    }
    steps.hold(session, OP)?;
    Ok(steps)
}

/// The flags of mount(2) for a propagation, recursively.
pub(crate) fn propagation_flag(kind: Propagation) -> u64 {
    let flag = match kind {
        Propagation::Private => libc::MS_PRIVATE,
        Propagation::Slave => libc::MS_SLAVE,
        Propagation::Shared => libc::MS_SHARED,
        Propagation::Unbindable => libc::MS_UNBINDABLE,
    };
    flag | libc::MS_REC
}

fn explain(failure: StepFailure) -> Error {
    let StepFailure { what, call, .. } = failure;
    Error::sys(OP, format!("cannot {what}"), call)
}

fn finish(
    session: &Session,
    spec: &NsSpec,
    maps: Option<IdMaps>,
    running: start::Running,
    steps: &mut Vec<u64>,
) -> Result<NsSet> {
    let mut inodes = BTreeMap::new();
    for kind in spec.kinds.iter() {
        let inode = inode_of(running.pid, kind)?;
        if inode == inode_of(0, kind)? {
            let what = format!("the kernel made no new {} namespace", kind.name);
            return Err(Error::new(ErrorKind::Unsupported, OP, what).hint("time namespaces need Linux 6.1"));
        }
        inodes.insert(kind.name, inode);
    }
    let hostname = spec.hostname.clone();
    let set = NsSet { pid: running.pid, kinds: spec.kinds, maps, pidfd: running.pidfd, inodes, hostname };
    for (key, value) in &spec.sysctl {
        sysctl::set(OP, &set, key, value)?;
    }
    if let Some(path) = &spec.pin {
        steps.extend(pin::pin(session, &set, path)?);
    }
    Ok(set)
}

fn inode_of(pid: i32, kind: Kind) -> Result<u64> {
    let found = nsfd::open(pid, kind.file).and_then(nsfd::inode);
    found.context(OP, format!("cannot identify the {} namespace", kind.name))
}

impl NsSet {
    /// The namespaces of a process that are not this program's, whoever made them. They live as long as it does.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it has ended; the failed system call.
    pub fn of_process(op: &'static str, pid: i32) -> Result<Self> {
        let pidfd = sys::process::open(pid).context(op, format!("cannot open process {pid}"))?;
        let (mut kinds, mut inodes) = (Kinds::NONE, BTreeMap::new());
        for kind in ALL {
            let inode = inode_of(pid, kind)?;
            if inode != inode_of(0, kind)? {
                kinds = kinds.with_name(kind.name);
                inodes.insert(kind.name, inode);
            }
        }
        let maps = kinds.has("user").then(IdMaps::root);
        Ok(Self { pid, kinds, maps, pidfd, inodes, hostname: None })
    }

    /// A descriptor of the process that keeps the set alive; setns(2) takes it for any of the kinds.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Its network, in words: the host that it is, where it has a name.
    #[must_use]
    pub fn network(&self) -> String {
        self.hostname.clone().unwrap_or_else(|| format!("the network of {}", self.pid))
    }

    /// Fails when the process that keeps the set alive has ended: killed from outside, or with its memory group.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] then.
    pub fn alive(&self, op: &'static str) -> Result<()> {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let mut fds = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::ZERO) {
            Ok(1) => Err(self.gone(op)),
            _ => Ok(()),
        }
    }

    fn gone(&self, op: &'static str) -> Error {
        let what = format!("the namespaces are gone: process {}, which kept them, has ended", self.pid);
        Error::new(ErrorKind::NotFound, op, what)
            .subject(format!("Ns {}", self.name()))
            .hint("it was killed from outside; make them anew with ns::new")
    }

    /// What `error` means of a call on the set: one that is ending has no namespaces any more, and may still look alive.
    #[must_use]
    pub fn explain(&self, op: &'static str, error: Error) -> Error {
        if error.errno() == Some(Errno::ESRCH) { self.gone(op) } else { error }
    }

    /// The inode of one kind, as `lsns` shows it; the caller's where the set has none of its own.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an unknown kind.
    pub fn inode(&self, name: &str) -> Result<u64> {
        let Some(kind) = Kind::of_name(name) else { return Err(unknown_kind("ns.inode", name)) };
        match self.inodes.get(kind.name) {
            Some(inode) => Ok(*inode),
            None => inode_of(0, kind),
        }
    }

    /// The open namespace file of one kind.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn open(&self, kind: Kind) -> Result<OwnedFd> {
        self.alive("ns")?;
        nsfd::open(self.pid, kind.file).context("ns", format!("cannot open the {} namespace", kind.name))
    }
}

/// The error for a name that is no kind of namespace.
#[must_use]
pub fn unknown_kind(op: &'static str, name: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, op, format!("unknown kind of namespace {name:?}"))
        .hint("kinds are: user, mount, pid, net, ipc, uts, cgroup, time")
}

impl Handle for NsSet {
    fn kind(&self) -> &'static str {
        "Ns"
    }

    fn name(&self) -> String {
        self.hostname.clone().unwrap_or_else(|| self.pid.to_string())
    }

    fn line(&self) -> String {
        let host = self.hostname.as_ref().map_or_else(String::new, |name| format!(" hostname {name}"));
        let gone = if self.alive("ns").is_err() { ", gone" } else { "" };
        format!("Ns pid {} [{}]{host}{gone}", self.pid, self.kinds)
    }

    fn inspect(&self) -> serde_json::Value {
        json!({
            "pid": self.pid,
            "kinds": self.kinds.iter().map(|kind| kind.name).collect::<Vec<_>>(),
            "inodes": self.inodes,
            "hostname": self.hostname,
        })
    }

    fn keep_refusal(&self) -> Option<&'static str> {
        Some("the process that holds the namespaces ends with the program")
    }
}
