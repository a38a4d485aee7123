//! What is in force for a process, as the kernel tells it: nothing here is remembered from what was asked.
//!
//! Sources: proc_pid_status(5), proc_pid_mountinfo(5), proc_pid_limits(5), namespaces(7), cgroups(7), apparmor(7).

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::fs::mountinfo::{self, MountInfo};
use crate::runtime::ns::list;
use crate::runtime::security::caps;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The five sets of capabilities(7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// What exec(2) keeps in the inheritable set of a file.
    pub inheritable: u64,
    /// What it may make effective.
    pub permitted: u64,
    /// What it has.
    pub effective: u64,
    /// What it can ever have.
    pub bounding: u64,
    /// What programs without file capabilities inherit.
    pub ambient: u64,
}

/// What is in force.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The process.
    pub pid: i32,
    /// Its program, as `/proc/PID/exe` leads to.
    pub exe: String,
    /// Real, effective, saved and file-system user id.
    pub uids: Vec<u32>,
    /// The same of its group.
    pub gids: Vec<u32>,
    /// Its further groups.
    pub groups: Vec<u32>,
    /// Its capabilities.
    pub capabilities: Capabilities,
    /// Whether it can gain no privileges by programs.
    pub no_new_privs: bool,
    /// 0 without filters of system calls, 1 strict mode, 2 with filters.
    pub seccomp: u32,
    /// How many filters.
    pub seccomp_filters: u32,
    /// Its namespaces by kind, each by its inode.
    pub namespaces: BTreeMap<String, u64>,
    /// The kinds of namespaces that it shares with this program.
    pub shared: Vec<String>,
    /// Its mounts.
    pub mounts: Vec<MountInfo>,
    /// Its descriptors, and what each leads to.
    pub fds: Vec<(i32, String)>,
    /// Its control groups, as `/proc/PID/cgroup` has them.
    pub cgroups: Vec<String>,
    /// How readily it is ended when memory runs out.
    pub oom_score_adj: i32,
    /// Its resource limits, soft and hard, as proc_pid_limits(5) names and shows them.
    pub limits: BTreeMap<String, (String, String)>,
    /// Its label of a security module, where one is active.
    pub label: Option<String>,
    /// The user ids of its user namespace, as lines of `uid_map`.
    pub uid_map: Vec<String>,
}

impl Facts {
    /// Looks at a process.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such process; [`ErrorKind::PermissionDenied`] when it is not ours to look at.
    pub fn of(op: &'static str, pid: i32) -> Result<Self> {
        if pid <= 0 {
            return Err(Error::new(ErrorKind::InvalidArgument, op, format!("{pid} is not a process id")));
        }
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let read = |name: &str| read(op, &folder.join(name));
        let status = Status(read("status")?);
        let namespaces = list::of(op, pid)?;
        let own = list::of(op, 0)?;
        let shared = namespaces.iter().filter(|(kind, inode)| own.get(*kind) == Some(inode));
        let capability = |name| status.hex(name);
        Ok(Self {
            pid,
            exe: leads_to(&folder.join("exe")).unwrap_or_default(),
            uids: status.numbers("Uid"),
            gids: status.numbers("Gid"),
            groups: status.numbers("Groups"),
            capabilities: Capabilities {
                inheritable: capability("CapInh"),
                permitted: capability("CapPrm"),
                effective: capability("CapEff"),
                bounding: capability("CapBnd"),
                ambient: capability("CapAmb"),
            },
            no_new_privs: status.number("NoNewPrivs") == 1,
            seccomp: status.number("Seccomp"),
            seccomp_filters: status.number("Seccomp_filters"),
            shared: shared.map(|(kind, _)| kind.clone()).collect(),
            namespaces,
            mounts: mountinfo::list(op, Some(pid))?,
            fds: fds(op, &folder.join("fd"))?,
            cgroups: read("cgroup")?.lines().map(str::to_owned).collect(),
            oom_score_adj: read("oom_score_adj")?.trim().parse().unwrap_or(0),
            limits: limits(&read("limits")?),
            label: label(&folder),
            uid_map: read("uid_map")?.lines().map(one_blank).collect(),
        })
    }

    /// The mount that covers a path: the last one that is attached there.
    #[must_use]
    pub fn mount_at(&self, path: &Path) -> Option<&MountInfo> {
        self.mounts.iter().rev().find(|mount| mount.target == path)
    }

    /// All of it, for people and scripts.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let capabilities = &self.capabilities;
        let limits: serde_json::Map<String, Value> =
            self.limits.iter().map(|(name, (soft, hard))| (name.clone(), json!([soft, hard]))).collect();
        json!({
            "pid": self.pid,
            "exe": self.exe,
            "uid": self.uids.get(1),
            "gid": self.gids.get(1),
            "groups": self.groups,
            "capabilities": {
                "inheritable": caps::names(capabilities.inheritable),
                "permitted": caps::names(capabilities.permitted),
                "effective": caps::names(capabilities.effective),
                "bounding": caps::names(capabilities.bounding),
                "ambient": caps::names(capabilities.ambient),
            },
            "no_new_privs": self.no_new_privs,
            "seccomp": match self.seccomp { 0 => "none", 1 => "strict", _ => "filter" },
            "seccomp_filters": self.seccomp_filters,
            "namespaces": self.namespaces,
            "shared": self.shared,
            "mounts": self.mounts,
            "fds": self.fds.iter().map(|(fd, to)| json!({ "fd": fd, "to": to })).collect::<Vec<_>>(),
            "cgroups": self.cgroups,
            "oom_score_adj": self.oom_score_adj,
            "limits": limits,
            "label": self.label,
            "uid_map": self.uid_map,
        })
    }
}

fn read(op: &'static str, path: &Path) -> Result<String> {
    std::fs::read_to_string(path).context(op, format!("cannot read {}", path.display())).map_err(|error| {
        let gone = error.kind() == ErrorKind::NotFound;
        if gone { error.hint("there is no such process: it has ended, or never was") } else { error }
    })
}

fn leads_to(path: &Path) -> Option<String> {
    std::fs::read_link(path).ok().map(|path| path.display().to_string())
}

fn one_blank(line: &str) -> String {
    line.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// The text of `/proc/PID/status`.
struct Status(String);

impl Status {
    fn field(&self, name: &str) -> &str {
        let value = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap_or_default().trim()
    }

    fn hex(&self, name: &str) -> u64 {
        u64::from_str_radix(self.field(name), 16).unwrap_or(0)
    }

    fn number(&self, name: &str) -> u32 {
        self.field(name).parse().unwrap_or(0)
    }

    fn numbers(&self, name: &str) -> Vec<u32> {
        self.field(name).split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect()
    }
}

fn fds(op: &'static str, folder: &Path) -> Result<Vec<(i32, String)>> {
    let entries = std::fs::read_dir(folder).context(op, format!("cannot read {}", folder.display()))?;
    // A descriptor may be closed while we look.
    let mut found: Vec<(i32, String)> = entries
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, leads_to(&entry.path())?)))
        .collect();
    found.sort();
    Ok(found)
}

/// The lines of `/proc/PID/limits`: a name, two values, and a unit that not every line has.
fn limits(text: &str) -> BTreeMap<String, (String, String)> {
    const NAME: usize = 26;
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let (name, values) = line.split_at_checked(NAME)?;
            let mut values = values.split_ascii_whitespace();
            Some((name.trim().to_lowercase(), (values.next()?.to_owned(), values.next()?.to_owned())))
        })
        .collect()
}

fn label(folder: &Path) -> Option<String> {
    let read = |name: &str| std::fs::read_to_string(folder.join("attr").join(name)).ok();
    let text = read("apparmor/current").or_else(|| read("current"))?;
    let label = text.trim_end_matches(['\n', '\0']);
    (!label.is_empty()).then(|| label.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen_as_it_is() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let facts = Facts::of("t", pid).unwrap();
        assert_eq!(facts.uids.first().copied(), Some(nix::unistd::getuid().as_raw()));
        assert_eq!(facts.shared.len(), facts.namespaces.len());
        assert!(facts.fds.iter().any(|(fd, _)| *fd == 0));
        let (soft, _) = &facts.limits["max open files"];
        let own = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(*soft, own.0.to_string());
        assert_eq!(Facts::of("t", i32::MAX).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(Facts::of("t", 0).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}
