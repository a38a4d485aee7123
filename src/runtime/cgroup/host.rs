//! What control groups this host has: version 1, version 2, or both (hybrid), and where ours are.
//!
//! Paths are taken per hierarchy from `/proc/self/cgroup`: a program may sit in different places of each. New groups
//! are made below our own, where a container manager expects them and a delegation allows them.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::cgroup::dir::Dir;
use crate::runtime::cgroup::driver::{self, Choice, Driver};
use crate::runtime::cgroup::scope;
use crate::runtime::session::Session;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its controllers; those that are available here, for version 2.
    pub controllers: Vec<String>,
    /// 1 or 2.
    pub version: u8,
    /// The folder of our own group.
    pub own: PathBuf,
    /// Whether that is the top of what is mounted: the root of the machine, or of a container.
    pub top: bool,
}

/// Whether a hierarchy with these controllers has what version 2 calls `controller`.
#[must_use]
pub fn serves(version: u8, controllers: &[String], controller: &str) -> bool {
    let name = match (version, controller) {
        (2, "cgroup") => return true,
        (1, "io") => "blkio",
        _ => controller,
    };
    controllers.iter().any(|known| known == name)
}

/// How the controllers of a host are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Version 1 alone.
    V1,
    /// Controllers on version 1, and a version 2 tree beside them.
    Hybrid,
    /// Version 2 alone.
    V2,
    /// No control groups are mounted.
    None,
}

impl Mode {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::Hybrid => "hybrid",
            Self::V2 => "v2",
            Self::None => "none",
        }
    }
}

/// The hierarchies of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// All of them, without named ones that have no controller.
    pub hierarchies: Vec<Hierarchy>,
}

impl Host {
    /// Looks at the mounts and at our own groups.
    ///
    /// # Errors
    /// When `/proc/self` cannot be read.
    pub fn detect(op: &'static str) -> Result<Self> {
        Self::seen_by(op, "self")
    }

    /// The same with the groups of another process in place of our own.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it is gone.
    pub fn seen_by(op: &'static str, pid: &str) -> Result<Self> {
        let read = |path: &str| std::fs::read_to_string(path).context(op, format!("cannot read {path}"));
        let mut host = Self::parse(&read("/proc/self/mountinfo")?, &read(&format!("/proc/{pid}/cgroup"))?);
        for hierarchy in host.hierarchies.iter_mut().filter(|hierarchy| hierarchy.version == 2) {
            let text = std::fs::read_to_string(hierarchy.own.join("cgroup.controllers")).unwrap_or_default();
            hierarchy.controllers = text.split_ascii_whitespace().map(str::to_owned).collect();
        }
        Ok(host)
    }

    fn parse(mountinfo: &str, own: &str) -> Self {
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        for mount in mountinfo.lines().filter_map(Mount::parse) {
            let Some(own) = mount.own_path(own) else { continue };
            let top = own == mount.target;
            let known = hierarchies
                .iter()
                .any(|known| known.controllers == mount.controllers && known.version == mount.version);
            if !known {
                hierarchies.push(Hierarchy {
                    controllers: mount.controllers,
                    version: mount.version,
                    own,
                    top,
                });
            }
        }
        Self { hierarchies }
    }

    /// How the controllers are arranged.
    #[must_use]
    pub fn mode(&self) -> Mode {
        let has = |version| self.hierarchies.iter().any(|hierarchy| hierarchy.version == version);
        match (has(1), has(2)) {
            (true, true) => Mode::Hybrid,
            (true, false) => Mode::V1,
            (false, true) => Mode::V2,
            (false, false) => Mode::None,
        }
    }

    /// The version 2 tree, if there is one.
    #[must_use]
    pub fn unified(&self) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.version == 2)
    }

    /// The hierarchy with this controller.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when the host has it nowhere.
    pub fn with(&self, op: &'static str, controller: &str) -> Result<&Hierarchy> {
        let found = self
            .hierarchies
            .iter()
            .find(|hierarchy| serves(hierarchy.version, &hierarchy.controllers, controller));
        // A version 2 tree asks a program about devices, where no version 1 list is mounted.
        found.or_else(|| self.unified().filter(|_| controller == "devices")).ok_or_else(|| {
            let what = format!("the {controller} controller is not mounted on this host");
            let mounted: Vec<&str> = self
                .hierarchies
                .iter()
                .flat_map(|hierarchy| &hierarchy.controllers)
                .map(String::as_str)
                .collect();
            Error::new(ErrorKind::Unsupported, op, what).hint(format!(
                "mode {}; mounted here: {}",
                self.mode().name(),
                if mounted.is_empty() { "none".to_owned() } else { mounted.join(", ") }
            ))
        })
    }
}

/// The host as a session has found it, with our own groups open: they are where new ones are made.
#[derive(Debug)]
pub struct Ground {
    host: RefCell<Rc<Host>>,
    own: RefCell<Vec<Rc<Dir>>>,
    in_scope: bool,
    /// Whether the user asked for groups below our own, whatever runs the host.
    forced: bool,
}

impl Ground {
    /// That of the session: looked for once. With systemd's driver, our own groups are those of a scope that is made now.
    ///
    /// # Errors
    /// When `/proc/self` cannot be read; those of the [driver].
    pub fn of(session: &Session, op: &'static str) -> Result<Rc<Self>> {
        session.fact("cgroups", || {
            let found = Host::detect(op)?;
            let Choice { driver, forced, .. } = driver::choose(op, &found)?;
            let (host, in_scope) = match driver {
                Driver::Cgroupfs => (found, false),
                Driver::Systemd(manager) => (scope::open(session, op, manager, &found)?, true),
            };
            Ok(Self { host: RefCell::new(Rc::new(host)), own: RefCell::default(), in_scope, forced })
        })
    }

    /// Whether our own groups are those of a scope, which ends with the session.
    #[must_use]
    pub fn in_scope(&self) -> bool {
        self.in_scope
    }

    /// Whether the processes in our own version 2 group may be moved into a leaf: it is the root of a container, or of a
    /// scope, or the user wants it so.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.in_scope || self.forced || self.host().unified().is_some_and(|hierarchy| hierarchy.top)
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> Rc<Host> {
        self.host.borrow().clone()
    }

    /// The hierarchy with this controller. What is not there is looked for again: it may have been mounted meanwhile.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when the host has it nowhere.
    pub fn with(&self, op: &'static str, controller: &str) -> Result<Hierarchy> {
        if let Ok(found) = self.host().with(op, controller) {
            return Ok(found.clone());
        }
        // Those that are known stay: this program may be in another group of them by now.
        let mut host = (*self.host()).clone();
        for found in Host::detect(op)?.hierarchies {
            let known = |known: &Hierarchy| {
                known.version == found.version
                    && (known.version == 2 || known.controllers == found.controllers)
            };
            if !host.hierarchies.iter().any(known) {
                host.hierarchies.push(found);
            }
        }
        self.host.replace(Rc::new(host));
        self.host().with(op, controller).cloned()
    }

    /// Our own group of a hierarchy.
    ///
    /// # Errors
    /// The failed open; [`ErrorKind::Unsupported`] when no cgroup file system is there.
    pub fn own(&self, op: &'static str, hierarchy: &Hierarchy) -> Result<Rc<Dir>> {
        let known = self.own.borrow().iter().find(|dir| dir.path == hierarchy.own).cloned();
        if let Some(dir) = known {
            return Ok(dir);
        }
        let dir = Rc::new(Dir::open(op, &hierarchy.own, hierarchy.version, &hierarchy.controllers)?);
        self.own.borrow_mut().push(dir.clone());
        Ok(dir)
    }
}

struct Mount {
    controllers: Vec<String>,
    version: u8,
    root: String,
    target: PathBuf,
}

impl Mount {
    /// One line of mountinfo (proc_pid_mountinfo(5)), if it is a hierarchy with controllers or the version 2 tree.
    fn parse(line: &str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, target) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        let kind = after.next()?;
        let options = after.nth(1)?;
        let (controllers, version) = match kind {
            "cgroup2" => (Vec::new(), 2),
            "cgroup" => {
                (options.split(',').filter(|name| KNOWN.contains(name)).map(str::to_owned).collect(), 1)
            }
            _ => return None,
        };
        if version == 1 && controllers.is_empty() {
            return None;
        }
        let target = PathBuf::from(target.replace("\\040", " "));
        Some(Self { controllers, version, root: root.to_owned(), target })
    }

    /// Where our own group of this hierarchy is, below the mount.
    fn own_path(&self, own: &str) -> Option<PathBuf> {
        let path = own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (_, names, path) = (fields.next()?, fields.next()?, fields.next()?);
            let matches = match self.version {
                2 => names.is_empty(),
                _ => names.split(',').any(|name| self.controllers.iter().any(|known| known == name)),
            };
            matches.then_some(path)
        })?;
        let below = Path::new(path).strip_prefix(&self.root).unwrap_or(Path::new(path));
        let below = below.strip_prefix("/").unwrap_or(below);
        Some(if below.as_os_str().is_empty() { self.target.clone() } else { self.target.join(below) })
    }
}

/// The controllers of the kernel, as version 1 mounts name them.
const KNOWN: [&str; 14] = [
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "misc",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
    "rdma",
];

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 24 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 24 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
33 24 0:29 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
34 24 0:30 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn each_hierarchy_has_its_own_path() {
        let own = "4:memory:/outer/7\n1:cpu,cpuacct:/\n9:name=systemd:/\n0::/\n";
        let host = Host::parse(HYBRID, own);
        assert_eq!(host.mode(), Mode::Hybrid);
        assert_eq!(host.with("t", "memory").unwrap().own, Path::new("/sys/fs/cgroup/memory/outer/7"));
        assert_eq!(host.with("t", "cpuacct").unwrap().own, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(host.unified().unwrap().own, Path::new("/sys/fs/cgroup/unified"));
        let error = host.with("t", "pids").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn a_mount_of_a_part_of_the_tree_is_seen_from_its_root() {
        let mount = "31 24 0:27 /outer /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let host = Host::parse(mount, "0::/outer/mine\n");
        assert_eq!(host.mode(), Mode::V2);
        assert_eq!(host.unified().unwrap().own, Path::new("/sys/fs/cgroup/mine"));
    }
}
