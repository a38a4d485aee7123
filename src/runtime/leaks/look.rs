//! Looking at everything: plain reads of files of the kernel and two questions by netlink, some tenths of a millisecond.

use super::{Handle, Kind, Sight, Thing};
use crate::runtime::cgroup::host::Host;
use crate::runtime::fs::mountinfo;
use crate::runtime::image;
use crate::runtime::state::StateDirs;
use crate::sys::{keyring, nft, nsfd, route};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Where to look.
#[derive(Clone, Debug)]
pub struct Ground {
    /// Whether the mounts and the System V things are those of a piece of work alone.
    pub own_mounts: bool,
    /// Whether `/dev/shm` is.
    pub own_shm: bool,
    /// From where mounts came when these became a piece of work's alone: one with another master has been made by others since.
    pub(super) sources: BTreeSet<u64>,
    /// Where queues are looked for: on a machine that shows them nowhere, in a mount that is attached nowhere.
    pub(super) queues: (PathBuf, Option<Rc<OwnedFd>>),
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
            sources: BTreeSet::new(),
            queues: ("/dev/mqueue".into(), None),
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
    let mut sight = Sight { mounts: std::fs::read_link("/proc/thread-self/ns/mnt").ok(), ..Sight::default() };
    mounts(ground, &mut sight);
    let links = links(&mut sight);
    routes(&links, &mut sight);
    nftables(&mut sight);
    for (dir, deep) in &ground.groups {
        groups(dir, *deep, &mut sight);
    }
    ipc(ground, &mut sight);
    loops(ground, &mut sight);
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
        if target.ends_with("/run/netns") {
            // What ip-netns(8) makes once, and leaves to whoever comes next.
            continue;
        }
        let arrived = mount.master.is_some_and(|master| !ground.sources.contains(&master));
        let (kind, text) = match mount.kind.as_str() {
            "nsfs" => (Kind::Namespace, format!("{} held by {target}", mount.root.display())),
            other => (Kind::Mount, format!("{other} at {target}")),
        };
        let handle = Handle::Mount(mount.target, mount.id);
        let thing =
            Thing { kind, text, words: vec![target.clone()], own: ground.own_mounts && !arrived, handle };
        sight.add(format!("{}{target}", mount.id), thing);
    }
}

/// Links and their addresses. The links by name, with their indices.
fn links(sight: &mut Sight) -> BTreeMap<String, u32> {
    let mut indices: BTreeMap<String, u32> = BTreeMap::new();
    let Ok(found) = nix::ifaddrs::getifaddrs() else { return indices };
    for entry in found {
        let name = entry.interface_name;
        let link = match entry.address.as_ref().map(|address| address.as_link_addr()) {
            // That of a tunnel has no address.
            None => nix::net::if_::if_nametoindex(name.as_str()).ok(),
            Some(link) => link.and_then(|link| u32::try_from(link.ifindex()).ok()),
        };
        if let Some(index) = link {
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
        let Some(address) = entry.address else { continue };
        // The kernel tells links before their addresses. An address may have a label, which begins with the name of its link.
        let link = name.split(':').next().unwrap_or(&name);
        let index = indices.get(link).copied().unwrap_or(0);
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
    indices
}

fn routes(links: &BTreeMap<String, u32>, sight: &mut Sight) {
    for entry in route::list().unwrap_or_default() {
        let name = links.iter().find(|(_, index)| Some(**index) == entry.link).map(|(name, _)| name.as_str());
        let text = told(&entry, name);
        let kind = if entry.is_rule { Kind::Rule } else { Kind::Route };
        let words = spoken(&entry, name);
        sight.add(text.clone(), Thing { kind, text, words, own: false, handle: Handle::Route(entry) });
    }
}

/// The table of routes that counts where none is named.
const MAIN: u32 = 254;

/// A route or a rule, as ip-route(8) and ip-rule(8) show it; `link` is the name of what it goes out by.
fn told(entry: &route::Entry, link: Option<&str>) -> String {
    let network = |(ip, len): (IpAddr, u8)| format!("{ip}/{len}");
    let link = entry.link.map(|index| link.map_or_else(|| format!("if{index}"), ToOwned::to_owned));
    let whole = if entry.is_rule { "all" } else { "default" };
    let mut parts = Vec::new();
    if entry.is_rule {
        parts.push(format!("from {}", entry.from.map_or(whole.into(), network)));
        parts.extend(entry.to.map(|to| format!("to {}", network(to))));
    } else {
        parts.push(entry.to.map_or(whole.into(), network));
        parts.extend(entry.from.map(|from| format!("from {}", network(from))));
    }
    parts.extend(entry.via.map(|via| format!("via {via}")));
    parts.extend(link.map(|link| format!("dev {link}")));
    parts.extend(entry.mark.map(|mark| format!("fwmark {mark:#x}")));
    parts.extend(entry.incoming.as_ref().map(|link| format!("iif {link}")));
    parts.extend(entry.outgoing.as_ref().map(|link| format!("oif {link}")));
    if entry.table != MAIN {
        parts.push(format!("table {}", entry.table));
    }
    parts.extend(entry.priority.map(|priority| format!("priority {priority}")));
    parts.join(" ")
}

/// The words that whoever makes a route or a rule has to use.
fn spoken(entry: &route::Entry, link: Option<&str>) -> Vec<String> {
    let named = |names: &[&str], value: &str| -> Vec<String> {
        names.iter().map(|name| format!("{name} {value}")).collect()
    };
    let mut words = Vec::new();
    if !entry.is_rule {
        if let Some((to, len)) = entry.to {
            return vec![format!("{to}/{len}"), to.to_string()];
        }
        if entry.table != MAIN {
            // There may be one in each table.
            return named(&["table"], &entry.table.to_string());
        }
        let via = entry.via.map(|via| via.to_string());
        words.extend(via.iter().flat_map(|via| named(&["default via", "default gw"], via)));
        words.extend(link.iter().flat_map(|link| named(&["default dev"], link)));
        return words;
    }
    for (name, network) in [("from", entry.from), ("to", entry.to)] {
        let Some((ip, len)) = network else { continue };
        words.extend([format!("{name} {ip}/{len}"), format!("{name} {ip}")]);
    }
    let mark = entry.mark.map(|mark| [format!("{mark:#x}"), mark.to_string()]);
    words.extend(mark.iter().flatten().flat_map(|mark| named(&["fwmark"], mark)));
    words.extend(entry.incoming.iter().flat_map(|link| named(&["iif", "dev"], link)));
    words.extend(entry.outgoing.iter().flat_map(|link| named(&["oif"], link)));
    let place = entry.priority.map(|place| place.to_string());
    words.extend(place.iter().flat_map(|place| named(&["priority", "preference", "pref", "order"], place)));
    words.extend(named(&["table", "lookup"], &entry.table.to_string()));
    words
}

/// The options by which iptables(8) makes a rule or a chain.
const IPTABLES: [&str; 6] = ["-A", "-I", "-N", "--append", "--insert", "--new-chain"];

fn nftables(sight: &mut Sight) {
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
        // Of what is in another's table the script has to speak as nft(8) does, or as iptables(8): others add to that as well.
        let words = match &handle {
            Handle::Rule(_, table, chain, _) | Handle::Chain(_, table, chain) => {
                let options = IPTABLES.iter().map(|option| format!("{option} {chain}"));
                options.chain([format!("{table} {chain}")]).collect()
            }
            // Where none is named it is this one.
            _ if table == "filter" => vec![table, "iptables".into(), "ip6tables".into()],
            _ => vec![table],
        };
        sight.add(id, Thing { kind: Kind::Nft, text, words, own: false, handle });
    }
}

fn groups(dir: &Path, deep: bool, sight: &mut Sight) {
    // Besides its own two names, the folder of a group has a link for each group in it: to list its files takes longer.
    if std::fs::metadata(dir).is_ok_and(|data| data.nlink() == 2) {
        return;
    }
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
    names_in(&ground.queues.0, |path, name, _| {
        let thing = Thing {
            kind: Kind::Ipc,
            text: format!("POSIX queue /{name}"),
            words: vec![name.to_owned()],
            own: ground.own_mounts,
            handle: Handle::File(path.to_owned()),
        };
        sight.add(format!("mqueue {name}"), thing);
    });
    names_in(Path::new("/dev/shm"), |path, name, _| {
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

fn loops(ground: &Ground, sight: &mut Sight) {
    names_in(Path::new("/sys/block"), |path, name, _| {
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
            own: ground.own_folder.as_ref().is_some_and(|folder| Path::new(&file).starts_with(folder)),
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
        names_in(folder, |path, name, inode| {
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
            // One that was removed and made again is another.
            sight.add(format!("{inode} {}", path.display()), thing);
        });
    }
    // What a session that ended has left in the store.
    names_in(&ground.dirs.scratch(), |path, name, _| {
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

fn names_in(folder: &Path, mut each: impl FnMut(&Path, &str, u64)) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        each(&entry.path(), &entry.file_name().to_string_lossy(), entry.ino());
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
