//! What a process is asked to be: data, checked before anything is started.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cgroup::{Cgroup, Limit};
use crate::runtime::fs::idmapped::IdMapping;
use crate::runtime::fs::overlay::OverlaySpec;
use crate::runtime::net::Netns;
use crate::runtime::ns::idmap::IdMaps;
use crate::runtime::ns::userns::Userns;
use crate::runtime::ns::{Kinds, NsSet};
use crate::runtime::proc::user;
use crate::runtime::security::{Policy, SeccompChoice};
use crate::sys::calls::{self, Program};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

/// How much of each output stream is kept where nothing else is asked, in bytes.
pub const OUTPUT_MAX: u64 = 16 << 20;
/// How long a process has between SIGTERM and SIGKILL where nothing else is asked.
pub const KILL_GRACE: Duration = Duration::from_secs(10);

/// The command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A text for `/bin/sh -c` of the root it runs in.
    Shell(String),
    /// The exact arguments, to the byte. The first names the program.
    Argv(Vec<Vec<u8>>),
    /// A list of system calls, as a program that needs nothing of the root.
    Calls(Rc<Program>),
}

impl Command {
    /// The arguments that the program gets.
    #[must_use]
    pub fn argv(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Shell(text) => vec![b"/bin/sh".to_vec(), b"-c".to_vec(), text.clone().into_bytes()],
            Self::Argv(argv) => argv.clone(),
            Self::Calls(_) => vec![calls::NAME.as_bytes().to_vec()],
        }
    }

    /// The command as one line, for messages.
    #[must_use]
    pub fn show(&self) -> String {
        const MOST: usize = 80;
        let text = match self {
            Self::Shell(text) => text.trim().to_owned(),
            Self::Calls(_) => "a list of system calls".into(),
            Self::Argv(argv) => {
                argv.iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect::<Vec<_>>().join(" ")
            }
        };
        let line = text.replace('\n', "; ");
        match line.char_indices().nth(MOST) {
            Some((at, _)) => format!("{}…", &line[..at]),
            None => line,
        }
    }
}

/// Where the namespaces of a process come from.
#[derive(Clone, Debug)]
pub enum Namespaces {
    /// New ones of these kinds; the caller's for all others.
    Fresh(Kinds),
    /// Those of a set.
    Of(Rc<NsSet>),
}

/// The root of a process.
#[derive(Clone, Debug)]
pub enum Root {
    /// A folder, or a mounted overlay.
    Folder {
        /// Where it is.
        path: PathBuf,
        /// Whether it is a writable layer of this session, where missing mount points may be made.
        writable: bool,
    },
    /// An overlay of its own, which goes with it.
    Overlay(OverlaySpec),
}

impl Root {
    /// Whether missing mount points may be made in it.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        match self {
            Self::Folder { writable, .. } => *writable,
            Self::Overlay(spec) => !spec.readonly,
        }
    }
}

impl std::fmt::Display for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder { path, .. } => write!(f, "{}", path.display()),
            Self::Overlay(spec) => {
                write!(
                    f,
                    "an overlay of {}",
                    spec.lowerdir.first().map_or_else(String::new, |path| path.display().to_string())
                )
            }
        }
    }
}

/// A file system to mount in the root of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// `bind`, `proc`, `sysfs`, `tmpfs`, `devpts`, `mqueue`, `cgroup2`, or `dev` for a minimal `/dev`.
    pub kind: String,
    /// The folder or file to bind; for others what mountinfo shows.
    pub source: Option<PathBuf>,
    /// Where, in the root.
    pub target: PathBuf,
    /// Options, as mount(8) writes them.
    pub options: Vec<String>,
}

/// What happens to what it writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Kept, up to a limit.
    #[default]
    Capture,
    /// Goes where the caller's own output goes.
    Inherit,
    /// Dropped.
    Null,
}

/// What it reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Input {
    /// Nothing: `/dev/null`.
    #[default]
    Null,
    /// These bytes.
    Bytes(Vec<u8>),
    /// What is written to it later.
    Pipe,
    /// What the caller reads.
    Inherit,
}

/// A resource limit (getrlimit(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// Its number, `RLIMIT_NOFILE`.
    pub resource: u32,
    /// The soft limit.
    pub soft: u64,
    /// The hard limit.
    pub hard: u64,
}

/// What `proc::exec` and `proc::spawn` are asked for.
#[derive(Clone, Debug)]
pub struct ProcSpec {
    /// The command.
    pub command: Command,
    /// Its namespaces; without them the caller's.
    pub ns: Option<Namespaces>,
    /// The network that stands for the host's, where it has none of its own. Set by the start.
    pub network: Option<Netns>,
    /// Whether it stays in the machine's network where the session has one of its own.
    pub machine_network: bool,
    /// The id maps of a fresh user namespace.
    pub maps: Option<IdMaps>,
    /// A user namespace whose ids are chosen here, in place of maps.
    pub userns: Option<Userns>,
    /// How the owners of its files are shown. Set by the start.
    pub idmap: Option<Rc<IdMapping>>,
    /// Its control group.
    pub cgroup: Option<Rc<Cgroup>>,
    /// Limits of a group of its own, which ends with it.
    pub limits: Vec<Limit>,
    /// Its root; without it the caller's.
    pub rootfs: Option<Root>,
    /// What is mounted in its root.
    pub mounts: Vec<Mount>,
    /// Its working directory: `/` of its root, or the caller's.
    pub cwd: Option<PathBuf>,
    /// Its environment, exactly. Without it the caller's, or, with a root of its own, a PATH alone.
    pub env: Option<Vec<(Vec<u8>, Vec<u8>)>>,
    /// The user it runs as, `name`, `uid`, `uid:gid` or `name:group`, looked up in its root.
    pub user: Option<String>,
    /// Further groups.
    pub additional_gids: Vec<u32>,
    /// What it may do.
    pub security: Policy,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// The host name of a fresh uts namespace.
    pub hostname: Option<String>,
    /// Whether it runs on a terminal of its own.
    pub tty: bool,
    /// What it reads.
    pub stdin: Input,
    /// What happens to what it writes.
    pub output: Output,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// How long it has between SIGTERM and SIGKILL.
    pub kill_grace: Duration,
    /// Whether a status other than 0 is an error.
    pub check: bool,
    /// How much of each output stream is kept, in bytes.
    pub output_max: u64,
}

impl ProcSpec {
    /// A plain command on the host.
    #[must_use]
    pub fn new(command: Command) -> Self {
        Self {
            command,
            ns: None,
            network: None,
            machine_network: false,
            maps: None,
            userns: None,
            idmap: None,
            cgroup: None,
            limits: Vec::new(),
            rootfs: None,
            mounts: Vec::new(),
            cwd: None,
            env: None,
            user: None,
            additional_gids: Vec::new(),
            security: Policy::default(),
            rlimits: Vec::new(),
            hostname: None,
            tty: false,
            stdin: Input::Null,
            output: Output::Capture,
            timeout: None,
            kill_grace: KILL_GRACE,
            check: true,
            output_max: OUTPUT_MAX,
        }
    }

    /// The kinds of namespaces that are made for it.
    #[must_use]
    pub fn fresh(&self) -> Kinds {
        let asked = match &self.ns {
            Some(Namespaces::Fresh(kinds)) => *kinds,
            _ => Kinds::NONE,
        };
        // A root, mounts, and what is done to paths, need a mount namespace that is nobody else's.
        let own_mounts = self.rootfs.is_some() || !self.mounts.is_empty() || self.security.arranges_paths();
        let asked = if own_mounts { asked.with_name("mount") } else { asked };
        match self.userns {
            Some(Userns::Auto(_) | Userns::KeepId) => asked.with_name("user"),
            _ => asked,
        }
    }

    /// The set it joins.
    #[must_use]
    pub fn joined(&self) -> Option<&NsSet> {
        match &self.ns {
            Some(Namespaces::Of(set)) => Some(set),
            _ => None,
        }
    }

    /// Whether it has a namespace of the kind called `name` that is not the caller's: its own or its set's.
    #[must_use]
    pub fn has_own(&self, name: &str) -> bool {
        self.fresh().has(name) || self.joined().is_some_and(|set| set.kinds.has(name))
    }

    /// Whether its mounts are not the caller's, so that paths are another's to arrange.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.fresh().has("mount") || self.joined().is_some_and(|set| set.kinds.has("mount"))
    }

    /// Whether its processes end with the first of them: PID 1 of a namespace, its own or its set's.
    #[must_use]
    pub fn has_pid_ns(&self) -> bool {
        self.has_own("pid")
    }

    /// Checks what contradicts itself, before anything is made.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`].
    pub fn check(&self, op: &'static str) -> Result<()> {
        let invalid = |what: &str| Err(Error::new(ErrorKind::InvalidArgument, op, what));
        match &self.command {
            Command::Argv(argv) if argv.first().is_none_or(Vec::is_empty) => {
                return invalid("the command is empty: its first element names the program");
            }
            Command::Argv(argv) if argv.iter().any(|arg| arg.contains(&0)) => {
                return invalid("an argument contains a NUL byte, which no program can be given");
            }
            Command::Shell(text) if text.trim().is_empty() => return invalid("the command is empty"),
            Command::Shell(text) if text.contains('\0') => return invalid("the command contains a NUL byte"),
            _ => {}
        }
        for (key, value) in self.env.iter().flatten() {
            if key.is_empty() || key.contains(&b'=') || key.contains(&0) || value.contains(&0) {
                let shown = String::from_utf8_lossy(key);
                let what =
                    format!("env: {shown:?} is not a name of a variable, or its value contains a NUL byte");
                return Err(Error::new(ErrorKind::InvalidArgument, op, what));
            }
        }
        user::check_groups(op, &self.additional_gids)?;
        let uts = self.has_own("uts");
        if let Some(name) = &self.hostname {
            crate::runtime::ns::set::check_name(op, "hostname", name)?;
            if !uts {
                let error = Error::new(ErrorKind::InvalidArgument, op, "hostname would change the host's");
                return Err(error.hint("add \"uts\" to ns"));
            }
        }
        if self.maps.is_some() && !self.fresh().has("user") {
            return invalid("uid_map and gid_map need \"user\" in ns");
        }
        if let Some(maps) = &self.maps {
            maps.check(op)?;
        }
        crate::runtime::ns::userns::check(op, self.userns, self.fresh())?;
        if self.userns.is_some_and(|asked| asked != Userns::Host) && self.joined().is_some() {
            return invalid("userns: the namespaces are those of a set: give it to ns::new");
        }
        if self.tty && self.output == Output::Null {
            return invalid("a tty has its output captured or inherited");
        }
        if self.output_max == 0 {
            return invalid("output_max: 0 would keep nothing; use output: \"null\"");
        }
        if self.security.seccomp == SeccompChoice::Record && !self.security.no_new_privs {
            let error = Error::new(ErrorKind::InvalidArgument, op, "seccomp: \"record\" needs no_new_privs");
            return Err(error.hint("add no_new_privs: true, or security: \"default\""));
        }
        if let (Some(_), Some(cwd)) = (&self.rootfs, &self.cwd)
            && !cwd.is_absolute()
        {
            return invalid("cwd: with a rootfs it is a path that starts with /");
        }
        Ok(())
    }
}
