//! What there is of the kernel's and the user's things at a moment, so that what a piece of work leaves behind is seen.
//!
//! [`look()`] takes everything in at once; [`Sight::since`] is what came. Some things are in places that only the piece of work can
//! reach (a mount namespace of its own): those are its own for certain. The others may be anybody's: they count when the script
//! speaks of them, and only then are they removed.

mod apart;
mod look;
mod remove;

pub use apart::{apart, come_back, folder, own_keys, see_queues, uncover};
pub use look::{Ground, look, open_files};
pub use remove::{rank, remove};

use crate::sys::route;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The kinds of things that are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A mount.
    Mount,
    /// A namespace that a mount holds.
    Namespace,
    /// A network interface.
    Link,
    /// An address of one.
    Address,
    /// A route, in any table.
    Route,
    /// A rule that chooses the table of routes.
    Rule,
    /// A table, chain or rule of nftables.
    Nft,
    /// A control group.
    Cgroup,
    /// A process.
    Process,
    /// An open file of the program itself.
    Fd,
    /// A System V or POSIX queue, semaphore or shared memory.
    Ipc,
    /// A loop device in use.
    Loop,
    /// A key of the kernel's key management.
    Key,
    /// A file in a place for temporary ones.
    File,
    /// An image of the store.
    Image,
    /// Something that a session of this program handed over, or could not take back.
    Kept,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Mount,
        Self::Namespace,
        Self::Link,
        Self::Address,
        Self::Route,
        Self::Rule,
        Self::Nft,
        Self::Cgroup,
        Self::Process,
        Self::Fd,
        Self::Ipc,
        Self::Loop,
        Self::Key,
        Self::File,
        Self::Image,
        Self::Kept,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mount => "mount",
            Self::Namespace => "namespace",
            Self::Link => "link",
            Self::Address => "address",
            Self::Route => "route",
            Self::Rule => "rule",
            Self::Nft => "nft",
            Self::Cgroup => "cgroup",
            Self::Process => "process",
            Self::Fd => "fd",
            Self::Ipc => "ipc",
            Self::Loop => "loop",
            Self::Key => "key",
            Self::File => "file",
            Self::Image => "image",
            Self::Kept => "kept",
        }
    }
}

/// How a thing is found again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handle {
    /// A mount, by its place and its id.
    Mount(PathBuf, u64),
    /// A network interface, by its index.
    Link(u32),
    /// An address, by the index of the interface, as `10.0.0.1/24`.
    Address(u32, String),
    /// A route or a rule of routing, as the kernel tells it.
    Route(route::Entry),
    /// A table, by family and name.
    Table(u8, String),
    /// A rule, by family, table, chain and number.
    Rule(u8, String, String, u64),
    /// A chain, by family, table and name.
    Chain(u8, String, String),
    /// A control group.
    Cgroup(PathBuf),
    /// A System V thing: `shm`, `sem` or `msg`, and its id.
    Sysv(&'static str, i32),
    /// A loop device.
    Loop(PathBuf),
    /// A key, by its serial number.
    Key(i32),
    /// A file or a folder.
    File(PathBuf),
    /// An image, by its name.
    Image(String),
    /// What ends by itself with the process that it belongs to.
    Nothing,
}

/// One thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    /// What it is.
    pub kind: Kind,
    /// As people know it: `tmpfs at /mnt`.
    pub text: String,
    /// The words of which a script that made it has one: its name, its path.
    pub words: Vec<String>,
    /// Whether it is in a place that nobody else can reach.
    pub own: bool,
    /// How it is found again.
    pub handle: Handle,
}

impl Thing {
    /// Whether it goes with another thing.
    #[must_use]
    pub fn is_part_of(&self, other: &Self) -> bool {
        match (&self.handle, &other.handle) {
            (
                Handle::Rule(family, table, _, _) | Handle::Chain(family, table, _),
                Handle::Table(known, name),
            ) => (family, table) == (known, name),
            (Handle::Rule(family, table, chain, _), Handle::Chain(known, name, of)) => {
                (family, table, chain) == (known, name, of)
            }
            (Handle::Address(index, _), Handle::Link(known)) => index == known,
            (Handle::Route(route), Handle::Link(known)) => route.link == Some(*known),
            (Handle::Cgroup(path), Handle::Cgroup(known)) => path != known && path.starts_with(known),
            _ => false,
        }
    }
}

/// What there is at a moment, by an identity that nothing else has meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    things: BTreeMap<(Kind, String), Thing>,
    /// The mount namespace that it was looked at from.
    mounts: Option<PathBuf>,
}

impl Sight {
    /// Takes a thing in.
    pub fn add(&mut self, id: impl Into<String>, thing: Thing) {
        self.things.insert((thing.kind, id.into()), thing);
    }

    /// What is here and was not there `before`, with its identity.
    #[must_use]
    pub fn since(&self, before: &Self) -> Vec<(String, &Thing)> {
        // In another mount namespace all mounts have other ids.
        let moved = self.mounts != before.mounts;
        let was_there = |thing: &Thing| {
            before.things.values().any(|old| old.kind == thing.kind && old.text == thing.text)
        };
        let is_copy = |thing: &Thing| moved && matches!(thing.handle, Handle::Mount(..)) && was_there(thing);
        let new =
            self.things.iter().filter(|(id, thing)| !before.things.contains_key(*id) && !is_copy(thing));
        new.map(|((kind, id), thing)| (format!("{} {id}", kind.name()), thing)).collect()
    }

    /// Whether the thing of this identity, as [`since`](Self::since) tells it, is here.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.things.keys().any(|(kind, known)| id.split_once(' ') == Some((kind.name(), known)))
    }
}
