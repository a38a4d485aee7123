//! Looking at everything: plain reads of files of the kernel and two questions by netlink, some tenths of a millisecond.

use super::{Handle, Kind, Sight, Thing};
use crate::runtime::cgroup::host::Host;
use crate::runtime::fs::mountinfo;
use crate::runtime::image;
use crate::runtime::state::StateDirs;
use crate::sys::{keyring, nft, nsfd};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where to look.
#[derive(Clone, Debug)]
pub struct Ground {
    /// Whether the mounts and the System V things are those of a piece of work alone.
    pub own_mounts: bool,
    /// Whether `/dev/shm` is.
    pub own_shm: bool,
    /// The folders of temporary files.
    pub folders: Vec<PathBuf>,
    /// The folder that is the piece of work's own.
    pub own_folder: Option<PathBuf>,
    /// The state folders.
    pub dirs: StateDirs,
    groups: Vec<(PathBuf, bool)>,
    apart: BTreeSet<PathBuf>,
}

impl Ground {
    /// The ground of this program. `apart` are folders that are looked at by nobody: what is written there is meant to stay.
    #[must_use]
    pub fn new(dirs: StateDirs, apart: impl IntoIterator<Item = PathBuf>) -> Self {
        let groups = own_groups();
        let folders = ["/tmp", "/var/tmp", "/dev/shm", "/run", "/run/netns"].map(PathBuf::from);
        let apart = [&dirs.run, &dirs.root].into_iter().cloned().chain(apart).collect();
        Self {
            own_mounts: false,
            own_shm: false,
            folders: folders.into(),
            own_folder: None,
            dirs,
            groups,
            apart,
        }
    }
}

/// The groups below which to look, and whether to look deep: below our own everything, of the rest of each tree what is at its top.
fn own_groups() -> Vec<(PathBuf, bool)> {
    let host = Host::detect("test").map(|host| host.hierarchies).unwrap_or_default();
    let mut groups = Vec::new();
    for hierarchy in host {
        let top = hierarchy.own.ancestors().take_while(|dir| dir.join("cgroup.procs").exists()).last();
        let is_top = top.is_none_or(|top| top == hierarchy.own);
        if let Some(top) = top.filter(|_| !is_top) {
            groups.push((top.to_owned(), false));
        }
        // At the top of a tree others make groups as well.
        groups.push((hierarchy.own, !is_top));
    }
    groups
}

/// Looks. What cannot be read is not there.
#[must_use]
pub fn look(ground: &Ground) -> Sight {
    let mut sight = Sight::default();
    mounts(ground, &mut sight);
    links(&mut sight);
    rules(&mut sight);
    for (dir, deep) in &ground.groups {
        groups(dir, *deep, &mut sight);
    }
    ipc(ground, &mut sight);
    loops(&mut sight);
    keys(&mut sight);
    files(ground, &mut sight);
    for name in image::names(&ground.dirs) {
        let words = vec![name.clone()];
        let thing = Thing {
            kind: Kind::Image,
            text: name.clone(),
            words,
            own: false,
            handle: Handle::Image(name.clone()),
        };
        sight.add(name, thing);
    }
    sight
}

fn mounts(ground: &Ground, sight: &mut Sight) {
    for mount in mountinfo::list("test", None).unwrap_or_default() {
        let target = mount.target.display().to_string();
        let (kind, text) = match mount.kind.as_str() {
            "nsfs" => (Kind::Namespace, format!("{} held by {target}", mount.root.display())),
            other => (Kind::Mount, format!("{other} at {target}")),
        };
        let handle = Handle::Mount(mount.target, mount.id);
        let thing = Thing { kind, text, words: vec![target.clone()], own: ground.own_mounts, handle };
        sight.add(format!("{}{target}", mount.id), thing);
    }
}

fn links(sight: &mut Sight) {
    let Ok(found) = nix::ifaddrs::getifaddrs() else { return };
    let mut indices: BTreeMap<String, u32> = BTreeMap::new();
    for entry in found {
        let name = entry.interface_name;
        let Some(address) = entry.address else { continue };
        if let Some(link) = address.as_link_addr() {
            let index = u32::try_from(link.ifindex()).unwrap_or(0);
            indices.insert(name.clone(), index);
            let thing = Thing {
                kind: Kind::Link,
                text: name.clone(),
                words: vec![name.clone()],
                own: false,
                handle: Handle::Link(index),
            };
            sight.add(format!("{index} {name}"), thing);
            continue;
        }
        // The kernel tells links before their addresses.
        let index = indices.get(&name).copied().unwrap_or(0);
        let v4 = address.as_sockaddr_in().map(|address| address.ip().to_string());
        let v6 = address.as_sockaddr_in6().map(|address| address.ip().to_string());
        let Some(ip) = v4.or(v6) else { continue };
        let mask = entry.netmask.and_then(|mask| {
            let v4 = mask.as_sockaddr_in().map(|mask| mask.ip().to_bits().count_ones());
            v4.or_else(|| mask.as_sockaddr_in6().map(|mask| mask.ip().to_bits().count_ones()))
        });
        let cidr = format!("{ip}/{}", mask.unwrap_or(32));
        let thing = Thing {
            kind: Kind::Address,
            text: format!("{cidr} of {name}"),
            words: vec![cidr.clone(), ip],
            own: false,
            handle: Handle::Address(index, cidr.clone()),
        };
        sight.add(format!("{index} {cidr}"), thing);
    }
}

fn rules(sight: &mut Sight) {
    for entry in nft::list().unwrap_or_default() {
        let nft::Entry { family, table, chain, rule } = entry;
        let place = format!("{} {table}", nft::family_name(family));
        let (id, text, handle) = match (chain, rule) {
            (Some(chain), Some(number)) => (
                format!("{place} {chain} {number}"),
                format!("rule {number} of {place} {chain}"),
                Handle::Rule(family, table.clone(), chain, number),
            ),
            (Some(chain), None) => (
                format!("{place} {chain}"),
                format!("chain {place} {chain}"),
                Handle::Chain(family, table.clone(), chain),
            ),
            _ => (place.clone(), format!("table {place}"), Handle::Table(family, table.clone())),
        };
        // Of what is in another's table the script has to speak as nft(8) does: others add to that as well.
        let words = match &handle {
            Handle::Rule(_, table, chain, _) | Handle::Chain(_, table, chain) => {
                vec![format!("{table} {chain}")]
            }
            _ => vec![table],
        };
        sight.add(id, Thing { kind: Kind::Nft, text, words, own: false, handle });
    }
}

fn groups(dir: &Path, deep: bool, sight: &mut Sight) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        if deep {
            groups(&path, true, sight);
        }
        let id = std::fs::metadata(&path).map(|data| data.ino()).unwrap_or_default();
        let mut words = vec![path.display().to_string()];
        if deep {
            // Below our own group a name is enough: others make none there.
            words.push(entry.file_name().to_string_lossy().into_owned());
        }
        let thing = Thing {
            kind: Kind::Cgroup,
            text: path.display().to_string(),
            words,
            own: false,
            handle: Handle::Cgroup(path.clone()),
        };
        sight.add(format!("{id} {}", path.display()), thing);
    }
}

fn ipc(ground: &Ground, sight: &mut Sight) {
    for (kind, what) in [("shm", "shared memory"), ("sem", "semaphores"), ("msg", "queue")] {
        let text = std::fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let mut fields = line.split_ascii_whitespace();
            let (Some(key), Some(Ok(id))) = (fields.next(), fields.next().map(str::parse::<i32>)) else {
                continue;
            };
            let thing = Thing {
                kind: Kind::Ipc,
                text: format!("System V {what} {id} (key {key})"),
                words: vec![key.to_owned()],
                own: ground.own_mounts,
                handle: Handle::Sysv(kind, id),
            };
            sight.add(format!("{kind} {id} {key}"), thing);
        }
    }
    names_in(Path::new("/dev/mqueue"), |path, name| {
        let thing = Thing {
            kind: Kind::Ipc,
            text: format!("POSIX queue /{name}"),
            words: vec![name.to_owned()],
            own: ground.own_mounts,
            handle: Handle::File(path.to_owned()),
        };
        sight.add(format!("mqueue {name}"), thing);
    });
    names_in(Path::new("/dev/shm"), |path, name| {
        let thing = Thing {
            kind: Kind::Ipc,
            text: format!("POSIX shared memory or semaphore /{name}"),
            words: vec![name.to_owned()],
            own: ground.own_shm,
            handle: Handle::File(path.to_owned()),
        };
        sight.add(format!("shm {name}"), thing);
    });
}

fn loops(sight: &mut Sight) {
    names_in(Path::new("/sys/block"), |path, name| {
        if !name.starts_with("loop") {
            return;
        }
        let Ok(file) = std::fs::read_to_string(path.join("loop/backing_file")) else { return };
        let file = file.trim_end();
        let file = file.strip_suffix(" (deleted)").unwrap_or(file).to_owned();
        let thing = Thing {
            kind: Kind::Loop,
            text: format!("/dev/{name} with {file}"),
            words: vec![file.clone()],
            own: false,
            handle: Handle::Loop(Path::new("/dev").join(name)),
        };
        sight.add(format!("{name} {file}"), thing);
    });
}

fn keys(sight: &mut Sight) {
    for key in keyring::list() {
        let words = vec![key.description.clone()];
        let text = format!("{} {}", key.kind, key.description);
        let thing = Thing { kind: Kind::Key, text, words, own: false, handle: Handle::Key(key.serial) };
        sight.add(format!("{:08x}", key.serial), thing);
    }
}

fn files(ground: &Ground, sight: &mut Sight) {
    let folders = ground.folders.iter().filter(|folder| !folder.starts_with("/dev/shm"));
    for (folder, own) in
        folders.map(|folder| (folder, false)).chain(ground.own_folder.iter().map(|folder| (folder, true)))
    {
        names_in(folder, |path, name| {
            let around = |other: &PathBuf| other.starts_with(path);
            if ground.apart.iter().any(around) || ground.own_folder.as_ref().is_some_and(around) {
                return;
            }
            let mut words = vec![path.display().to_string()];
            if folder.ends_with("netns") {
                // As ip-netns(8) speaks of them.
                words.push(name.to_owned());
            }
            let thing = Thing {
                kind: Kind::File,
                text: path.display().to_string(),
                words,
                own,
                handle: Handle::File(path.to_owned()),
            };
            sight.add(path.display().to_string(), thing);
        });
    }
    // What a session that ended has left in the store.
    names_in(&ground.dirs.scratch(), |path, name| {
        let thing = Thing {
            kind: Kind::File,
            text: path.display().to_string(),
            words: vec![name.to_owned()],
            own: false,
            handle: Handle::File(path.to_owned()),
        };
        sight.add(path.display().to_string(), thing);
    });
}

fn names_in(folder: &Path, mut each: impl FnMut(&Path, &str)) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if let Some(name) = entry.file_name().to_str() {
            each(&entry.path(), name);
        }
    }
}

/// The open files of this program by number, with what they lead to. Not those that it keeps for as long as it lives.
#[must_use]
pub fn open_files() -> Vec<(i32, String)> {
    use std::os::fd::AsRawFd;
    let kept = nsfd::original_mounts().map(|fd| fd.as_raw_fd());
    let names = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let found = names.filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((number, std::fs::read_link(entry.path()).ok()?.display().to_string()))
    });
    // That of the reading itself is another one.
    found.filter(|(number, target)| Some(*number) != kept && !target.ends_with("/fd")).collect()
}
