//! What the ledger knows of a thing that a step makes: enough to find it again and to take it back.
//!
//! An object is written twice. As a *claim*, before the system call, it bears what makes the thing ours from
//! birth: a folder named by the session's token, an interface with an unguessable hardware address. As an
//! *identity*, after the call, it also bears what the kernel gave it: inode, interface index, mount id, pid with
//! start time. Undoing works from either, and never by a name pattern.

use crate::runtime::systemd::Manager;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// The device and inode of a file: its identity while it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileId {
    /// The device number.
    pub dev: u64,
    /// The inode number.
    pub ino: u64,
}

/// The kinds of links that steps make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// One end of a wire.
    #[default]
    Veth,
    /// A switch.
    Bridge,
}

impl LinkKind {
    /// How the kernel calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Veth => "veth",
            Self::Bridge => "bridge",
        }
    }
}

/// Something a step made, as the ledger records it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Object {
    /// Nothing that could outlive the program.
    Nothing,
    /// A folder with everything below it. Undone by removing the tree, never across a mount.
    Folder {
        /// Its path. Bears the session's token until `id` is known.
        path: PathBuf,
        /// Where it may still be under a name that bears the session's token, while it moves from there to `path`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<PathBuf>,
        /// Its identity, once made.
        id: Option<FileId>,
    },
    /// A mount. Undone by a lazy unmount when the mount there is still this one.
    Mount {
        /// Where it is attached.
        target: PathBuf,
        /// The kernel's unique id of the mount, once made.
        mount_id: Option<u64>,
        /// The inode of the mount namespace it was made in: when that is gone, so is the mount.
        mount_ns: u64,
    },
    /// A control group, one folder for each hierarchy it is in. Undone by killing its members and removing it.
    Cgroup {
        /// The folders, in the order they are made.
        dirs: Vec<PathBuf>,
        /// Their identities, once made: the first `ids.len()` of `dirs` exist.
        ids: Vec<FileId>,
        /// Whether the name bears the session's token, so that a folder without an id is ours as well.
        token: bool,
    },
    /// Controllers made available to the groups below a version 2 group that is not ours. Undone, while nobody else has
    /// groups there, by taking them away again and moving the processes back from the leaf.
    Controllers {
        /// The folder of the group.
        dir: PathBuf,
        /// Its identity.
        id: FileId,
        /// The controllers.
        names: Vec<String>,
        /// The group below it that its processes were moved to, if they were in the way.
        leaf: Option<PathBuf>,
        /// The session's token, which the names of its own groups there bear.
        token: String,
    },
    /// A transient unit of systemd's. Undone by stopping it, which kills what is in it.
    Unit {
        /// Its name, which bears the session's token.
        name: String,
        /// Whose it is.
        manager: Manager,
        /// The groups that this program was in before: it goes back there, should it be in the unit.
        home: Vec<PathBuf>,
        /// The process that it was made around, with its start time.
        holder: (i32, u64),
    },
    /// A network interface (the peer of a veth goes with it, the ports of a bridge do not). Undone by deleting it, or
    /// with its network namespace.
    Link {
        /// What made it. Ledgers that were written before there were others say nothing: a veth.
        #[serde(default)]
        kind: LinkKind,
        /// Its name.
        name: String,
        /// The hardware address it was born with, unguessable: the proof that it is ours.
        mac: String,
        /// The hardware address it is given later, when the user asked for one: with the index, an identity as well.
        #[serde(default)]
        later_mac: Option<String>,
        /// Its interface index, once made.
        ifindex: Option<u32>,
        /// The inode of the network namespace it lives in.
        netns: u64,
    },
    /// That orphans of commands come to the program. Undone, after all others, by ending them; when the program is dead they
    /// are the machine's, and nothing tells them apart.
    Orphans,
    /// A process, and with it what dies when it does: its pid namespace, its network namespace.
    Process {
        /// Its process id, once started.
        pid: Option<i32>,
        /// When it started, in clock ticks since boot: with the pid, an identity.
        start_time: Option<u64>,
    },
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Folder { path, .. } => write!(f, "folder {}", path.display()),
            Self::Mount { target, mount_id: Some(id), .. } => {
                write!(f, "mount {} (id {id})", target.display())
            }
            Self::Mount { target, .. } => write!(f, "mount {}", target.display()),
            Self::Cgroup { dirs, .. } => {
                f.write_str("cgroup")?;
                dirs.iter().try_for_each(|dir| write!(f, " {}", dir.display()))
            }
            Self::Controllers { dir, names, .. } => {
                write!(f, "controllers {} for groups below {}", names.join(" "), dir.display())
            }
            Self::Unit { name, .. } => write!(f, "unit {name}"),
            Self::Link { name, ifindex: Some(index), .. } => write!(f, "link {name} (index {index})"),
            Self::Link { name, .. } => write!(f, "link {name}"),
            Self::Orphans => f.write_str("orphans"),
            Self::Process { pid: Some(pid), .. } => write!(f, "process {pid}"),
            Self::Process { .. } => f.write_str("process"),
        }
    }
}

impl Object {
    /// Whether it is taken back after all others of its session, in whatever order they came: groups that have the
    /// controllers must be gone, and so must what is no orphan.
    #[must_use]
    pub fn is_undone_last(&self) -> bool {
        matches!(self, Self::Controllers { .. } | Self::Orphans)
    }

    /// How it is taken back, in words for the trace.
    #[must_use]
    pub fn undo_text(&self) -> String {
        match self {
            Self::Nothing => "nothing to undo".into(),
            Self::Folder { path, .. } => format!("remove {}", path.display()),
            Self::Mount { target, .. } => format!("unmount {}", target.display()),
            Self::Cgroup { .. } => "kill its processes and remove the group".into(),
            Self::Controllers { names, .. } => format!("take {} away again", names.join(" ")),
            Self::Unit { name, .. } => format!("stop {name}"),
            Self::Link { name, .. } => format!("delete {name}"),
            Self::Orphans => "kill those that have come".into(),
            Self::Process { .. } => "kill it and collect its status".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_of_an_older_ledger_is_a_veth() {
        let text = r#"{"type":"link","name":"v0","mac":"02:00:00:00:00:01","ifindex":7,"netns":1}"#;
        let object: Object = serde_json::from_str(text).unwrap();
        assert!(matches!(object, Object::Link { kind: LinkKind::Veth, ifindex: Some(7), .. }), "{object:?}");
    }
}
