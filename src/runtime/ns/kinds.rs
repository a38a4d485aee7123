//! The eight kinds of namespaces.

use nix::sched::CloneFlags;

/// One kind of namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// Its name in scripts: `mount`.
    pub name: &'static str,
    /// Its file below `/proc/PID/ns`: `mnt`.
    pub file: &'static str,
    bits: i32,
}

/// `CLONE_NEWTIME` of linux/sched.h, which shares its value with the exit-signal mask and so works with `unshare`,
/// `setns` and `clone3` only.
const NEWTIME: i32 = 0x80;

/// All kinds, in the order in which they are made and joined.
pub const ALL: [Kind; 8] = [
    Kind { name: "user", file: "user", bits: libc::CLONE_NEWUSER },
    Kind { name: "mount", file: "mnt", bits: libc::CLONE_NEWNS },
    Kind { name: "pid", file: "pid", bits: libc::CLONE_NEWPID },
    Kind { name: "net", file: "net", bits: libc::CLONE_NEWNET },
    Kind { name: "ipc", file: "ipc", bits: libc::CLONE_NEWIPC },
    Kind { name: "uts", file: "uts", bits: libc::CLONE_NEWUTS },
    Kind { name: "cgroup", file: "cgroup", bits: libc::CLONE_NEWCGROUP },
    Kind { name: "time", file: "time", bits: NEWTIME },
];

impl Kind {
    /// The kind with this name; `mnt` is understood as well.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        ALL.into_iter().find(|kind| kind.name == name || kind.file == name)
    }

    /// Its flag for clone3, unshare and setns.
    #[must_use]
    pub fn flag(self) -> CloneFlags {
        CloneFlags::from_bits_retain(self.bits)
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(i32);

impl Kinds {
    /// No kind.
    pub const NONE: Self = Self(0);

    /// The set without `name`.
    #[must_use]
    pub fn without(self, name: &str) -> Self {
        Self(self.0 & !Kind::of_name(name).map_or(0, |kind| kind.bits))
    }

    /// The set with `kind`.
    #[must_use]
    pub fn with(self, kind: Kind) -> Self {
        Self(self.0 | kind.bits)
    }

    /// The set with the kind called `name`, if there is one.
    #[must_use]
    pub fn with_name(self, name: &str) -> Self {
        Kind::of_name(name).map_or(self, |kind| self.with(kind))
    }

    /// Whether the kind called `name` is in it.
    #[must_use]
    pub fn has(self, name: &str) -> bool {
        Kind::of_name(name).is_some_and(|kind| self.0 & kind.bits != 0)
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The kinds in it.
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        ALL.into_iter().filter(move |kind| self.0 & kind.bits != 0)
    }

    /// Their flags.
    #[must_use]
    pub fn flags(self) -> CloneFlags {
        CloneFlags::from_bits_retain(self.0)
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<T: IntoIterator<Item = Kind>>(kinds: T) -> Self {
        kinds.into_iter().fold(Self::NONE, Self::with)
    }
}

impl std::fmt::Display for Kinds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.iter().map(|kind| kind.name).collect();
        f.write_str(&names.join(" "))
    }
}
