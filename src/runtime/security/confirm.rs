//! The start compared with what was asked: the process is looked at in its last stage, before the command runs.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::ns::Kinds;
use crate::runtime::proc::plan::{self, Who};
use crate::runtime::proc::spec::{Command, ProcSpec, Rlimit};
use crate::runtime::security::caps;
use crate::runtime::security::facts::{Capabilities, Facts};
use crate::runtime::security::policy::{Policy, SeccompChoice};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// The descriptors that the last stage has: the three streams, and two pipes that close at exec; a program without a name
/// is a third that does.
const MOST_FD: i32 = 4;

/// What a process has to be.
#[derive(Clone, Debug)]
pub struct Expected {
    policy: Policy,
    /// The kinds of namespaces that must not be ours.
    away: Kinds,
    rlimits: Vec<Rlimit>,
    has_root: bool,
    most_fd: i32,
    /// Who root of its user namespace is here, if there is one.
    root: Option<u32>,
    /// Who it is here.
    uid: u32,
    /// Its further groups here, where they are set.
    groups: Option<Vec<u32>>,
}

impl Expected {
    /// What a spec asks for.
    #[must_use]
    pub fn of(spec: &ProcSpec, who: Who<'_>) -> Self {
        let joined = spec.joined().map_or(Kinds::NONE, |set| set.kinds);
        let away = joined.iter().fold(spec.fresh(), |kinds, kind| kinds.with_name(kind.name));
        let maps = who.maps.or_else(|| spec.joined().and_then(|set| set.maps.as_ref()));
        // An id that is nobody outside is shown as one that nobody has.
        let outside = |id: u32| maps.map_or(Some(id), |maps| maps.outside(id));
        let group = |id: u32| maps.map_or(Some(id), |maps| maps.group_outside(id)).unwrap_or(u32::MAX);
        let caller = nix::unistd::geteuid().as_raw();
        let uid = match (who.user, maps) {
            (Some(user), _) => outside(user.uid).unwrap_or(u32::MAX),
            (None, Some(maps)) if maps.becomes_root() => outside(0).unwrap_or(u32::MAX),
            _ => caller,
        };
        let groups = plan::groups(spec, who.user).map(|groups| {
            let mut groups: Vec<u32> = groups.into_iter().map(group).collect();
            groups.sort_unstable();
            groups.dedup();
            groups
        });
        Self {
            root: outside(0),
            uid,
            groups,
            policy: spec.security.clone(),
            away,
            rlimits: spec.rlimits.clone(),
            has_root: spec.rootfs.is_some(),
            most_fd: MOST_FD + i32::from(matches!(spec.command, Command::Calls(_))),
        }
    }

    /// Looks at the process, and fails with everything that is not as it was asked.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`]; when it cannot be looked at.
    pub fn confirm(&self, op: &'static str, pid: i32) -> Result<()> {
        let facts = Facts::of(op, pid)?;
        let differences = self.differences(&facts);
        if differences.is_empty() {
            return Ok(());
        }
        let what = format!("the kernel holds something else than was asked: {}", differences.join("; "));
        Err(Error::new(ErrorKind::Unsupported, op, what)
            .hint("the command was not run; open what this host cannot hold by an option of its own"))
    }

    /// What is not as it was asked, a line each.
    fn differences(&self, facts: &Facts) -> Vec<String> {
        let mut found = Vec::new();
        let mut differ = |what: &str, asked: String, held: String| {
            if asked != held {
                found.push(format!("{what}: asked {asked}, held {held}"));
            }
        };
        if let Some(set) = self.policy.capabilities {
            let asked = sets(set, self.root.is_some() && facts.uids.get(1).copied() == self.root);
            for (name, asked, held) in pairs(&asked, &facts.capabilities) {
                differ(name, caps::names(asked).join(" "), caps::names(held).join(" "));
            }
        }
        let ids = |ids: &[u32]| ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
        differ("user id", ids(&[self.uid; 4]), ids(&facts.uids));
        if let Some(groups) = &self.groups {
            let mut held = facts.groups.clone();
            held.sort_unstable();
            held.dedup();
            differ("groups", ids(groups), ids(&held));
        }
        if let Some(profile) = &self.policy.apparmor {
            let label = facts.label.as_deref().unwrap_or_default();
            differ("apparmor", profile.clone(), label.split(' ').next().unwrap_or_default().to_owned());
        }
        differ("no_new_privs", self.policy.no_new_privs.to_string(), facts.no_new_privs.to_string());
        if let Some(adj) = self.policy.oom_score_adj {
            differ("oom_score_adj", adj.to_string(), facts.oom_score_adj.to_string());
        }
        // The filter is installed next, by the last stage: a kernel that refuses it ends the start.
        if self.policy.seccomp != SeccompChoice::Unconfined && !self.policy.no_new_privs {
            differ("seccomp", "2".into(), facts.seccomp.to_string());
        }
        for limit in &self.rlimits {
            found.extend(limit_difference(limit, facts));
        }
        for kind in self.away.iter().filter(|kind| facts.shared.iter().any(|name| name == kind.name)) {
            found.push(format!("the {} namespace is the caller's", kind.name));
        }
        for (fd, to) in facts.fds.iter().filter(|(fd, _)| *fd > self.most_fd) {
            found.push(format!("descriptor {fd} is open: {to}"));
        }
        found.extend(self.path_differences(facts));
        found
    }

    fn path_differences(&self, facts: &Facts) -> Vec<String> {
        let mut found = Vec::new();
        let inside = |path: &Path| format!("/proc/{}/root{}", facts.pid, path.display());
        let exists = |path: &Path| std::fs::symlink_metadata(inside(path)).is_ok();
        let readonly = |path: &Path| {
            facts.mount_at(path).is_some_and(|mount| mount.options.iter().any(|option| option == "ro"))
        };
        for path in self.policy.masked_paths.iter().filter(|path| exists(path)) {
            // Over a file lies the null device, over a folder an empty one that nobody can fill.
            let null = std::fs::metadata(inside(path)).is_ok_and(|found| {
                found.file_type().is_char_device() && found.rdev() == nix::libc::makedev(1, 3)
            });
            let masked =
                null || facts.mount_at(path).is_some_and(|mount| mount.kind == "tmpfs" && readonly(path));
            if !masked {
                found.push(format!("{} is not masked", path.display()));
            }
        }
        for path in self.policy.readonly_paths.iter().filter(|path| exists(path) && !readonly(path)) {
            found.push(format!("{} is not read-only", path.display()));
        }
        if self.policy.readonly_root && !readonly(Path::new("/")) {
            found.push("the root is not read-only".into());
        }
        let travels =
            |mount: &&crate::runtime::fs::mountinfo::MountInfo| mount.propagation.contains("shared");
        if let Some(mount) = facts.mounts.iter().find(travels).filter(|_| self.has_root) {
            found.push(format!("mounts below {} travel to other namespaces", mount.target.display()));
        }
        found
    }
}

/// The five sets of a process: only root gets the set in force by an exec.
fn sets(set: u64, root: bool) -> Capabilities {
    let held = if root { set } else { 0 };
    Capabilities { inheritable: 0, permitted: held, effective: held, bounding: set, ambient: 0 }
}

fn pairs(asked: &Capabilities, held: &Capabilities) -> [(&'static str, u64, u64); 5] {
    [
        ("inheritable capabilities", asked.inheritable, held.inheritable),
        ("permitted capabilities", asked.permitted, held.permitted),
        ("effective capabilities", asked.effective, held.effective),
        ("bounding capabilities", asked.bounding, held.bounding),
        ("ambient capabilities", asked.ambient, held.ambient),
    ]
}

/// The names of proc_pid_limits(5).
const LIMITS: [(&str, &str); 16] = [
    ("as", "max address space"),
    ("core", "max core file size"),
    ("cpu", "max cpu time"),
    ("data", "max data size"),
    ("fsize", "max file size"),
    ("locks", "max file locks"),
    ("memlock", "max locked memory"),
    ("msgqueue", "max msgqueue size"),
    ("nice", "max nice priority"),
    ("nofile", "max open files"),
    ("nproc", "max processes"),
    ("rss", "max resident set"),
    ("rtprio", "max realtime priority"),
    ("rttime", "max realtime timeout"),
    ("sigpending", "max pending signals"),
    ("stack", "max stack size"),
];

fn limit_difference(limit: &Rlimit, facts: &Facts) -> Option<String> {
    let name = crate::runtime::proc::user::rlimit_name(limit.resource);
    let shown = LIMITS.iter().find(|(known, _)| *known == name).map(|(_, shown)| *shown)?;
    let value = |value: u64| if value == u64::MAX { "unlimited".to_owned() } else { value.to_string() };
    let asked = (value(limit.soft), value(limit.hard));
    let held = facts.limits.get(shown)?;
    (asked != *held)
        .then(|| format!("limit {name}: asked {} {}, held {} {}", asked.0, asked.1, held.0, held.1))
}
