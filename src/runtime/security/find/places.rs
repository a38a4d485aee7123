//! Where runtimes keep what they know of their containers.
//!
//! | runtime | state of the process | names |
//! |---|---|---|
//! | crun | `crun/ID/status`: `pid`, `process-start-time` | |
//! | runc | `runc/ID/state.json`: `init_process_pid`, `init_process_start` | |
//! | youki | `youki/ID/state.json`: `pid` | |
//! | containerd | as runc, in `containerd/runc/NAMESPACE/` | |
//! | docker | as runc, in `docker/runtime-*/NAMESPACE/` | `containers/ID/config.v2.json`: `Name`, `State.Pid` |
//! | podman | that of crun or runc; `*-containers/ID/userdata/pidfile` | `*-containers/containers.json` |
//! | systemd-nspawn | `systemd/machines/NAME`: `LEADER`, `CLASS` | |
//! | cshell | the ledger of a session: sets with a host name | |
//!
//! All below `/run`, and for a user below `$XDG_RUNTIME_DIR`; the names below the folders where images are.

use super::Container;
use super::alive::{self, Claim};
use super::folder::{Folder, Text, is_name};
use crate::runtime::ledger::Ledger;
use crate::runtime::ns;
use crate::runtime::object::Object;
use crate::runtime::state::StateDirs;
use crate::sys::Errno;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) running: Vec<Container>,
    /// Those whose process is gone, or that never had one.
    pub(super) ended: Vec<Container>,
    /// Where something of a runtime is.
    pub(super) looked: Vec<PathBuf>,
    /// What this user may not read.
    pub(super) closed: Vec<PathBuf>,
    /// Who made the containers with these ids, and what they are called.
    known: BTreeMap<String, Known>,
}

/// A container of a list: it may run, or not.
#[derive(Debug)]
struct Known {
    runtime: &'static str,
    names: Vec<String>,
    list: PathBuf,
}

/// All containers of this machine that may be seen.
pub(super) fn all(dirs: &StateDirs) -> Found {
    let mut found = Found::default();
    // The names first: they say whose the states of the lower runtimes are.
    data_places().iter().for_each(|place| data(&mut found, place));
    let runs = run_places();
    runs.iter().for_each(|place| run(&mut found, place));
    let mut sessions: Vec<PathBuf> = runs.iter().map(|place| place.join("cshell")).collect();
    sessions.push(dirs.run.clone());
    sessions.sort();
    sessions.dedup();
    sessions.iter().for_each(|place| own(&mut found, place));
    found.rest();
    found
}

fn env(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

fn below(folder: &str) -> Vec<PathBuf> {
    let names = Folder::place(Path::new(folder)).map(|folder| folder.names()).unwrap_or_default();
    names.into_iter().map(|name| Path::new(folder).join(name)).collect()
}

/// Folders like `/run`: the machine's, and those of users.
fn run_places() -> Vec<PathBuf> {
    let mut users = below("/run/user");
    users.extend(env("XDG_RUNTIME_DIR"));
    users.sort();
    users.dedup();
    [vec![PathBuf::from("/run")], users].concat()
}

/// Folders like `/var/lib`: the machine's, and those of users.
fn data_places() -> Vec<PathBuf> {
    let mut users: Vec<PathBuf> = below("/home");
    users.extend(env("HOME"));
    users.iter_mut().for_each(|home| home.push(".local/share"));
    users.extend(env("XDG_DATA_HOME"));
    users.sort();
    users.dedup();
    [vec![PathBuf::from("/var/lib")], users].concat()
}

impl Found {
    /// The folder at a path below a place, if it is there.
    fn enter(&mut self, place: &Folder, path: &[&str]) -> Option<Folder> {
        let mut folder = place.clone();
        for name in path {
            folder = match folder.folder(name) {
                Ok(folder) => folder,
                Err(Errno::EACCES | Errno::EPERM) => {
                    self.closed.push(folder.path().join(name));
                    return None;
                }
                Err(_) => return None,
            };
        }
        Some(folder)
    }

    fn place(&mut self, path: &Path) -> Option<Folder> {
        match Folder::place(path) {
            Ok(folder) => Some(folder),
            Err(Errno::EACCES | Errno::EPERM) => {
                self.closed.push(path.to_owned());
                None
            }
            Err(_) => None,
        }
    }

    /// Takes a container up: with its process, or as one that has ended.
    fn add(&mut self, runtime: &'static str, id: &str, claim: &Claim, state: &Path) {
        if !is_name(id) {
            return;
        }
        let (runtime, names) = match self.known.get(id) {
            Some(known) => (known.runtime, known.names.clone()),
            None => (runtime, Vec::new()),
        };
        let pid = alive::process(claim);
        let all = if pid.is_some() { &mut self.running } else { &mut self.ended };
        // Several files tell of the same container.
        if all.iter().any(|it| it.id == id && it.runtime == runtime && pid.is_none_or(|pid| it.pid == pid)) {
            return;
        }
        let container =
            Container { runtime, id: id.to_owned(), names, pid: pid.unwrap_or(0), state: state.to_owned() };
        all.push(container);
    }

    fn know(&mut self, runtime: &'static str, id: &str, names: Vec<&str>, list: &Text) {
        let names: Vec<String> = names.into_iter().filter(|name| is_name(name)).map(str::to_owned).collect();
        if is_name(id) {
            self.known.insert(id.to_owned(), Known { runtime, names, list: list.path.clone() });
        }
    }

    /// Those that are in a list, and of which no process is known.
    fn rest(&mut self) {
        for (id, Known { runtime, names, list }) in std::mem::take(&mut self.known) {
            if !self.running.iter().chain(&self.ended).any(|it| it.id == id) {
                self.ended.push(Container { runtime, id, names, pid: 0, state: list });
            }
        }
    }
}

fn json(text: &Text) -> Option<Value> {
    serde_json::from_slice(&text.bytes).ok()
}

fn claim(text: &Text, pid: Option<i64>, start: Option<u64>) -> Claim {
    Claim { pid: pid.unwrap_or(0), start, owner: text.owner, written: text.written }
}

/// The names of podman's and docker's containers.
fn data(found: &mut Found, place: &Path) {
    let Some(place) = found.place(place) else { return };
    if let Some(storage) = found.enter(&place, &["containers", "storage"]) {
        found.looked.push(storage.path().to_owned());
        podman_names(found, &storage);
    }
    if let Some(docker) = found.enter(&place, &["docker", "containers"]) {
        found.looked.push(docker.path().to_owned());
        for id in docker.names() {
            let Some(text) = docker.folder(&id).ok().and_then(|folder| folder.file("config.v2.json")) else {
                continue;
            };
            let Some(config) = json(&text) else { continue };
            let name = config["Name"].as_str().map(|name| name.trim_start_matches('/'));
            found.know("docker", &id, name.into_iter().collect(), &text);
            let claim = claim(&text, config["State"]["Pid"].as_i64(), None);
            found.add("docker", &id, &claim, &text.path);
        }
    }
}

/// The lists of containers/storage, in its folder for what stays and in that for what does not.
fn podman_names(found: &mut Found, storage: &Folder) {
    for driver in storage.names().iter().filter(|name| name.ends_with("-containers")) {
        let Ok(folder) = storage.folder(driver) else { continue };
        for list in ["containers.json", "volatile-containers.json"] {
            let Some(text) = folder.file(list) else { continue };
            let Some(Value::Array(all)) = json(&text) else { continue };
            for one in &all {
                let names = one["names"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                found.know("podman", one["id"].as_str().unwrap_or_default(), names, &text);
            }
        }
    }
}

/// The states of processes.
fn run(found: &mut Found, place: &Path) {
    let Some(place) = found.place(place) else { return };
    // Of podman, what says that a state below is its own.
    let storage: Vec<Folder> = [&["containers", "storage"][..], &["containers"]]
        .into_iter()
        .filter_map(|path| found.enter(&place, path))
        .collect();
    storage.iter().for_each(|storage| podman_names(found, storage));
    for (runtime, file) in [("crun", "status"), ("runc", "state.json"), ("youki", "state.json")] {
        if let Some(folder) = found.enter(&place, &[runtime]) {
            states(found, runtime, &folder, file);
        }
    }
    if let Some(folder) = found.enter(&place, &["containerd", "runc"]) {
        namespaces(found, "containerd", &folder);
    }
    if let Some(docker) = found.enter(&place, &["docker"]) {
        for name in docker.names().iter().filter(|name| name.starts_with("runtime-")) {
            if let Some(folder) = found.enter(&docker, &[name]) {
                namespaces(found, "docker", &folder);
            }
        }
    }
    storage.iter().for_each(|storage| podman_pids(found, storage));
    if let Some(folder) = found.enter(&place, &["systemd", "machines"]) {
        machines(found, &folder);
    }
}

/// Folders of states, one for each namespace of containerd.
fn namespaces(found: &mut Found, runtime: &'static str, folder: &Folder) {
    for name in folder.names() {
        if let Some(folder) = found.enter(folder, &[&name]) {
            states(found, runtime, &folder, "state.json");
        }
    }
}

/// A folder with one folder for each container.
fn states(found: &mut Found, runtime: &'static str, folder: &Folder, file: &str) {
    found.looked.push(folder.path().to_owned());
    for id in folder.names() {
        let Some(text) = found.enter(folder, &[&id]).and_then(|folder| folder.file(file)) else { continue };
        let Some(state) = json(&text) else { continue };
        let pid = [&state["init_process_pid"], &state["pid"]].into_iter().find_map(Value::as_i64);
        let start =
            [&state["init_process_start"], &state["process-start-time"]].into_iter().find_map(Value::as_u64);
        let claim = claim(&text, pid, start.filter(|start| *start > 0));
        found.add(runtime, &id, &claim, &text.path);
    }
}

/// What conmon wrote down, where the runtime below is another one or keeps its state elsewhere.
fn podman_pids(found: &mut Found, storage: &Folder) {
    for driver in storage.names().iter().filter(|name| name.ends_with("-containers")) {
        let Ok(folder) = storage.folder(driver) else { continue };
        found.looked.push(folder.path().to_owned());
        for id in folder.names() {
            let userdata = folder.folder(&id).and_then(|folder| folder.folder("userdata"));
            let Some(text) = userdata.ok().and_then(|folder| folder.file("pidfile")) else { continue };
            let pid = std::str::from_utf8(&text.bytes).ok().and_then(|text| text.trim().parse().ok());
            let claim = claim(&text, pid, None);
            found.add("podman", &id, &claim, &text.path);
        }
    }
}

/// What systemd-machined knows: a file of assignments for each machine, virtual ones among them.
fn machines(found: &mut Found, folder: &Folder) {
    found.looked.push(folder.path().to_owned());
    for name in folder.names() {
        let Some(text) = folder.file(&name) else { continue };
        let lines = String::from_utf8_lossy(&text.bytes).into_owned();
        let value = |key: &str| lines.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        if value("CLASS").is_some_and(|class| class != "container") {
            continue;
        }
        let claim = claim(&text, value("LEADER").and_then(|pid| pid.trim().parse().ok()), None);
        found.add("systemd-nspawn", &name, &claim, &text.path);
    }
}

/// The sets of namespaces of this program's sessions that have a host name: that is what their handles are called.
fn own(found: &mut Found, place: &Path) {
    let Some(place) = found.place(place) else { return };
    found.looked.push(place.path().to_owned());
    for session in place.names().iter().filter(|name| name.starts_with("session-")) {
        let Some(text) = place.folder(session).ok().and_then(|folder| folder.file("ledger")) else {
            continue;
        };
        for entry in Ledger::parse(&text.bytes) {
            let Object::Process { pid: Some(pid), start_time: Some(start) } = entry.object else { continue };
            if let Some(name) = ns::hostname_of(&entry.op, &entry.text) {
                found.add("cshell", name, &claim(&text, Some(pid.into()), Some(start)), &text.path);
            }
        }
    }
}
