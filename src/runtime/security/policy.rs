//! The policy of a start: what each level means, and how an option opens or closes a part of it.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cgroup::devices::Rule;
use crate::runtime::proc::spec::Rlimit;
use crate::runtime::security::caps;
use crate::runtime::security::landlock::{self, Landlock};
use crate::runtime::security::seccomp::Profile;
use nix::sys::resource::{Resource, getrlimit};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::rc::Rc;

/// A policy by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Nothing is taken away: a primitive does what it is asked.
    #[default]
    None,
    /// As closed as a container can be that still runs what images hold.
    Default,
    /// No capabilities, a read-only root, and no system call that programs seldom need.
    Strict,
}

impl Level {
    /// Every level, from the most open to the most closed.
    pub const ALL: [Self; 3] = [Self::None, Self::Default, Self::Strict];

    /// Its name in scripts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Default => "default",
            Self::Strict => "strict",
        }
    }

    /// The level of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

/// Which system calls are filtered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SeccompChoice {
    /// None.
    #[default]
    Unconfined,
    /// As the default profile says, for the capabilities that are held.
    Default,
    /// As the default profile says, without what programs seldom need.
    Strict,
    /// As this one says.
    Profile(Rc<Profile>),
    /// All are made, and noted.
    Record,
}

/// What the default profile allows and programs seldom need: tracing, other processes' memory, personalities, old
/// asynchronous input and output, file handles, memory tricks.
const SELDOM: [&str; 24] = [
    "add_key",
    "fanotify_init",
    "fanotify_mark",
    "io_cancel",
    "io_destroy",
    "io_getevents",
    "io_pgetevents",
    "io_setup",
    "io_submit",
    "kcmp",
    "memfd_secret",
    "mknod",
    "mknodat",
    "modify_ldt",
    "name_to_handle_at",
    "personality",
    "pidfd_getfd",
    "process_mrelease",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "remap_file_pages",
    "uretprobe",
    "vmsplice",
];

impl SeccompChoice {
    /// The profile, if calls are filtered.
    ///
    /// # Errors
    /// None for those of this program.
    pub fn profile(&self, op: &'static str) -> Result<Option<Rc<Profile>>> {
        match self {
            Self::Unconfined | Self::Record => Ok(None),
            Self::Profile(profile) => Ok(Some(profile.clone())),
            Self::Default => Profile::default_profile(op).map(|profile| Some(Rc::new(profile))),
            Self::Strict => {
                let mut profile = Profile::default_profile(op)?;
                profile.syscalls.retain_mut(|rule| {
                    rule.names.retain(|name| !SELDOM.contains(&name.as_str()));
                    !rule.names.is_empty()
                });
                Ok(Some(Rc::new(profile)))
            }
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Unconfined => "unconfined",
            Self::Default => "default",
            Self::Strict => "strict",
            Self::Profile(_) => "custom",
            Self::Record => "record",
        }
    }
}

/// What a process may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What it started from.
    pub level: Level,
    /// The capabilities it keeps, as a bit set; without it those of the caller.
    pub capabilities: Option<u64>,
    /// Whether the set was given by name, and is not to be fitted to what the caller has.
    pub capabilities_asked: bool,
    /// Whether it can gain no privileges by setuid programs.
    pub no_new_privs: bool,
    /// The system calls.
    pub seccomp: SeccompChoice,
    /// What it does not see: an empty folder, or `/dev/null`, lies over it.
    pub masked_paths: Vec<PathBuf>,
    /// What it cannot change.
    pub readonly_paths: Vec<PathBuf>,
    /// Whether its root cannot be changed; what is mounted in it can.
    pub readonly_root: bool,
    /// Whether it has a session keyring of its own.
    pub new_keyring: bool,
    /// The rules on device files of its group; empty for none.
    pub devices: Vec<Rule>,
    /// How readily the kernel ends it when memory runs out, from -1000 to 1000; without it the caller's.
    pub oom_score_adj: Option<i32>,
    /// The AppArmor profile it changes to.
    pub apparmor: Option<String>,
    /// What it may read and write, whatever modes and privileges say.
    pub landlock: Option<Landlock>,
}

/// What an option map says about the policy; what it does not say is as the level has it.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// The level.
    pub level: Level,
    /// Exactly these capabilities.
    pub capabilities: Option<u64>,
    /// These as well.
    pub cap_add: u64,
    /// Not these.
    pub cap_drop: u64,
    /// See [`Policy`].
    pub no_new_privs: Option<bool>,
    /// See [`Policy`].
    pub seccomp: Option<SeccompChoice>,
    /// See [`Policy`].
    pub masked_paths: Option<Vec<PathBuf>>,
    /// See [`Policy`].
    pub readonly_paths: Option<Vec<PathBuf>>,
    /// See [`Policy`].
    pub readonly_root: Option<bool>,
    /// See [`Policy`].
    pub oom_score_adj: Option<i32>,
    /// See [`Policy`].
    pub apparmor: Option<String>,
    /// See [`Policy`].
    pub landlock: Option<Landlock>,
}

/// Docker's list today (moby, `oci.DefaultLinuxSpec`) with podman's.
const MASKED: [&str; 15] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
    "/sys/kernel/debug",
    "/sys/dev/block",
];

/// Docker's list. `/proc/sysrq-trigger` and what lies below `/proc/sys` would act on the whole machine.
const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The devices that may be opened, as major and minor of character devices; no minor is all.
const DEVICES: [(u32, Option<u32>); 9] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(1)),
    (5, Some(2)),
    (136, None),
];

fn paths(list: &[&str]) -> Vec<PathBuf> {
    list.iter().map(PathBuf::from).collect()
}

/// The masked paths of this machine: those of the list, and the thermal counters of each processor, which tell neighbours
/// apart (GHSA-6fw5-f8r9-fgfm).
fn masked() -> Vec<PathBuf> {
    let mut masked = paths(&MASKED);
    let folders = std::fs::read_dir("/sys/devices/system/cpu").into_iter().flatten().flatten();
    let throttles = folders.map(|entry| entry.path().join("thermal_throttle"));
    masked.extend(throttles.filter(|path| path.is_dir()));
    masked.sort();
    masked
}

/// Everything is denied but making any node, and opening the usual ones.
fn devices() -> Vec<Rule> {
    let node = |kind| Rule { kind, read: false, write: false, ..Rule::all(true) };
    let mut rules = vec![Rule::all(false), node('c'), node('b')];
    rules.extend(DEVICES.map(|(major, minor)| Rule {
        kind: 'c',
        major: Some(major),
        minor,
        ..Rule::all(true)
    }));
    rules
}

impl Policy {
    /// What a level means.
    #[must_use]
    pub fn of_level(level: Level) -> Self {
        let closed = || Self {
            level,
            capabilities: Some(caps::DEFAULT),
            no_new_privs: true,
            seccomp: SeccompChoice::Default,
            masked_paths: masked(),
            readonly_paths: paths(&READONLY),
            new_keyring: true,
            devices: devices(),
            ..Self::default()
        };
        match level {
            Level::None => Self::default(),
            Level::Default => closed(),
            Level::Strict => Self {
                capabilities: Some(0),
                seccomp: SeccompChoice::Strict,
                readonly_root: true,
                landlock: landlock::version().map(|_| Landlock {
                    read: vec!["/".into()],
                    write: paths(&["/dev", "/proc", "/tmp", "/run", "/var/tmp"]),
                }),
                ..closed()
            },
        }
    }

    /// The level with what was opened or closed.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for what does not go together.
    pub fn resolve(op: &'static str, opened: Opened) -> Result<Self> {
        let base = Self::of_level(opened.level);
        let named = opened.capabilities.is_some();
        if named && (opened.cap_add | opened.cap_drop) != 0 {
            let what = "capabilities names the whole set: cap_add and cap_drop do not go with it";
            return Err(Error::new(ErrorKind::InvalidArgument, op, what));
        }
        let changed = (opened.cap_add | opened.cap_drop) != 0;
        let starting = base.capabilities.or(changed.then(own_capabilities));
        let capabilities =
            opened.capabilities.or(starting.map(|set| (set & !opened.cap_drop) | opened.cap_add));
        if opened.oom_score_adj.is_some_and(|adj| !(-1000..=1000).contains(&adj)) {
            let what = "oom_score_adj: must be from -1000 to 1000";
            return Err(Error::new(ErrorKind::InvalidArgument, op, what));
        }
        Ok(Self {
            capabilities,
            capabilities_asked: named || opened.cap_add != 0,
            no_new_privs: opened.no_new_privs.unwrap_or(base.no_new_privs),
            seccomp: opened.seccomp.unwrap_or(base.seccomp),
            masked_paths: opened.masked_paths.unwrap_or(base.masked_paths),
            readonly_paths: opened.readonly_paths.unwrap_or(base.readonly_paths),
            readonly_root: opened.readonly_root.unwrap_or(base.readonly_root),
            oom_score_adj: opened.oom_score_adj.or(base.oom_score_adj),
            apparmor: opened.apparmor.or(base.apparmor),
            landlock: opened.landlock.or(base.landlock),
            level: base.level,
            new_keyring: base.new_keyring,
            devices: base.devices,
        })
    }

    /// Whether the root and its mounts are arranged as well, and the start is compared with what was asked.
    #[must_use]
    pub fn is_confined(&self) -> bool {
        self.level != Level::None
    }

    /// The default resource limits: no core file, whose handler runs on the host (core(5)), and as many open files as
    /// programs expect. Nothing is raised.
    #[must_use]
    pub fn rlimits(&self) -> Vec<Rlimit> {
        if !self.is_confined() {
            return Vec::new();
        }
        let lowered = |resource: Resource, soft: u64, most: u64| {
            let (_, hard) = getrlimit(resource).unwrap_or((soft, most));
            Rlimit { resource: resource as u32, soft: soft.min(hard), hard: most.min(hard) }
        };
        vec![lowered(Resource::RLIMIT_CORE, 0, 0), lowered(Resource::RLIMIT_NOFILE, 1024, 524_288)]
    }

    /// All of it, for people and scripts.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "level": self.level.name(),
            "capabilities": self.capabilities.map(caps::names),
            "no_new_privs": self.no_new_privs,
            "seccomp": self.seccomp.name(),
            "masked_paths": self.masked_paths,
            "readonly_paths": self.readonly_paths,
            "readonly_root": self.readonly_root,
            "new_keyring": self.new_keyring,
            "devices": self.devices.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "oom_score_adj": self.oom_score_adj,
            "apparmor": self.apparmor,
            "landlock": self.landlock.as_ref().map(|rules| json!({ "read": rules.read, "write": rules.write })),
        })
    }

    /// In what this policy differs from another: a line each, `+` for what it has more, `-` for what it has less.
    #[must_use]
    pub fn differences(&self, from: &Self) -> Vec<String> {
        let (ours, theirs) = (self.to_json(), from.to_json());
        let keys = ours.as_object().into_iter().flatten().filter(|(key, _)| *key != "level");
        keys.filter(|(key, value)| Some(*value) != theirs.get(key))
            .flat_map(|(key, value)| difference(key, value, theirs.get(key).unwrap_or(&Value::Null)))
            .collect()
    }
}

fn difference(key: &str, ours: &Value, theirs: &Value) -> Vec<String> {
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (Some(more), Some(less)) = (ours.as_array(), theirs.as_array()) else {
        return vec![format!("{key}: {} instead of {}", shown(ours), shown(theirs))];
    };
    let lines = |sign: char, of: &[Value], without: &[Value]| {
        let only = of.iter().filter(|value| !without.contains(value));
        only.map(|value| format!("{key}: {sign}{}", shown(value))).collect::<Vec<_>>()
    };
    [lines('+', more, less), lines('-', less, more)].concat()
}

/// The capabilities that this program may hand on.
#[must_use]
pub fn own_capabilities() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(caps::ALL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told_by_name() {
        let default = Policy::of_level(Level::Default);
        assert_eq!(default.differences(&default), Vec::<String>::new());
        let opened = Opened {
            level: Level::Default,
            cap_add: 1 << 13,
            cap_drop: 1,
            no_new_privs: Some(false),
            masked_paths: Some(Vec::new()),
            ..Opened::default()
        };
        let lines = Policy::resolve("t", opened).unwrap().differences(&default);
        for line in [
            "capabilities: +NET_RAW",
            "capabilities: -CHOWN",
            "no_new_privs: false instead of true",
            "masked_paths: -/proc/keys",
        ] {
            assert!(lines.iter().any(|known| known == line), "{line}: {lines:#?}");
        }
    }

    #[test]
    fn a_whole_set_and_changes_to_it_do_not_go_together() {
        let opened = Opened { capabilities: Some(1), cap_drop: 1, ..Opened::default() };
        assert_eq!(Policy::resolve("t", opened).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}
