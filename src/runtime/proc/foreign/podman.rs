//! The command line of podman (podman-run(1)).

use super::change::Change;
use super::{has_readonly_root, joined, text, whole, words};
use crate::runtime::proc::spec::{Mount, Namespaces, ProcSpec};
use crate::runtime::proc::user;
use std::path::{Path, PathBuf};

/// The kinds of namespaces that it is told of, with the option. All have one of their own but where it is said.
const KINDS: [(&str, &str); 5] =
    [("pid", "--pid"), ("net", "--network"), ("ipc", "--ipc"), ("uts", "--uts"), ("cgroup", "--cgroupns")];

/// The limits that are set for it: its own default ones may be above those of the caller, who could not set them then.
const LIMITS: [(&str, &str); 2] = [("nofile", "nofile=1000:1000"), ("nproc", "nproc=1000:1000")];

/// Its store is in the folder, which is its working directory, and goes with it.
pub(super) fn globals(folder: &Path) -> Vec<Vec<u8>> {
    let storage = text(&folder.join("root"));
    let store = ["podman", "--root", &storage, "--runroot", "run", "--storage-driver", "vfs"];
    let state = format!("root={}", text(&folder.join("state")));
    let more = ["--cgroup-manager", "cgroupfs", "--events-backend", "none", "--runtime-flag", &state];
    words(&[&store[..], &more].concat())
}

/// What follows those: or what it does not express.
pub(super) fn run(
    asked: &ProcSpec,
    root: &Path,
    pid_file: &Path,
    folder: &Path,
    args: Vec<Vec<u8>>,
) -> Result<Vec<Vec<u8>>, &'static str> {
    if asked.tty {
        // What a command that soon ends writes to one is lost.
        return Err("tty");
    }
    let mut argv = words(&["run", "--rm", "-i", "--cgroups", "disabled", "--pidfile", &text(pid_file)]);
    let mut add = |option: &str, value: &str| argv.extend(words(&[option, value]));
    for (option, value) in namespaces(asked)? {
        add(option, &value);
    }
    for (key, value) in LIMITS {
        if !asked.rlimits.iter().any(|limit| user::rlimit_name(limit.resource) == key) {
            add("--ulimit", value);
        }
    }
    for limit in &asked.rlimits {
        let number = |value: u64| i64::try_from(value).unwrap_or(-1);
        let name = user::rlimit_name(limit.resource);
        add("--ulimit", &format!("{name}={}:{}", number(limit.soft), number(limit.hard)));
    }
    for gid in &asked.additional_gids {
        add("--group-add", &gid.to_string());
    }
    if let Some(cwd) = &asked.cwd {
        add("--workdir", &text(cwd));
    }
    if let Some(user) = &asked.user {
        add("--user", user);
    }
    if let Some(hostname) = &asked.hostname {
        add("--hostname", hostname);
    }
    for mount in &asked.mounts {
        if let Some((option, value)) = translate(mount)? {
            add(option, &value);
        }
    }
    for (option, value) in policy(asked, folder)? {
        add(option, &value);
    }
    for (key, value) in asked.env.iter().flatten() {
        argv.push(b"--env".to_vec());
        argv.push([key, b"=".as_slice(), value].concat());
    }
    if has_readonly_root(asked) {
        argv.extend(words(&["--read-only=true", "--read-only-tmpfs=false"]));
    }
    argv.extend(words(&["--rootfs", &text(root)]));
    argv.extend(args);
    Ok(argv)
}

fn namespaces(asked: &ProcSpec) -> Result<Vec<(&'static str, String)>, &'static str> {
    match &asked.ns {
        None => Ok(vec![("--network", "none".into())]),
        Some(Namespaces::Fresh(own)) if own.has("user") => Err("a user namespace"),
        Some(Namespaces::Fresh(own)) => {
            let of = |kind: &str| match (kind, own.has(kind)) {
                ("net", true) => "none",
                (_, true) => "private",
                (_, false) => "host",
            };
            Ok(KINDS.into_iter().map(|(kind, option)| (option, of(kind).to_owned())).collect())
        }
        Some(Namespaces::Of(set)) => {
            let joined = joined(set)?;
            let of = |kind| joined.iter().find(|(known, _)| *known == kind);
            let value = |kind| of(kind).map_or_else(|| "host".to_owned(), |(_, path)| format!("ns:{path}"));
            Ok(KINDS.into_iter().map(|(kind, option)| (option, value(kind))).collect())
        }
    }
}

fn translate(mount: &Mount) -> Result<Option<(&'static str, String)>, &'static str> {
    let target = mount.target.display();
    let options = mount.options.join(",");
    match (mount.kind.as_str(), &mount.source) {
        ("bind", _) if options.contains("idmap") => Err("mounts with idmap"),
        ("bind", Some(source))
            if source.to_string_lossy().contains(':') || target.to_string().contains(':') =>
        {
            Err("a bind with a colon in its path")
        }
        ("bind", Some(source)) => {
            let options = if options.is_empty() { "rw".to_owned() } else { options };
            Ok(Some(("--volume", format!("{}:{target}:{options}", whole(source).display()))))
        }
        ("tmpfs", _) if options.is_empty() => Ok(Some(("--tmpfs", target.to_string()))),
        ("tmpfs", _) => Ok(Some(("--tmpfs", format!("{target}:{options}")))),
        // Every container has these.
        (kind @ ("dev" | "proc"), _) if options.is_empty() && mount.target == Path::new("/").join(kind) => {
            Ok(None)
        }
        _ => Err("mounts other than a bind and tmpfs"),
    }
}

fn policy(asked: &ProcSpec, folder: &Path) -> Result<Vec<(&'static str, String)>, &'static str> {
    const OPT: &str = "--security-opt";
    let change = Change::of(&asked.security)?;
    if !change.protect.is_empty() {
        return Err("readonly_paths of its own");
    }
    let list = |paths: &[PathBuf]| paths.iter().map(|path| text(path)).collect::<Vec<_>>().join(":");
    let mut found = Vec::new();
    if change.exactly.is_some() {
        found.push(("--cap-drop", "all".into()));
    }
    let change = Change { cap_add: change.exactly.clone().unwrap_or(change.cap_add), ..change };
    found.extend(change.cap_add.into_iter().map(|name| ("--cap-add", name)));
    let fewer = if change.exactly.is_some() { Vec::new() } else { change.cap_drop };
    found.extend(fewer.into_iter().map(|name| ("--cap-drop", name)));
    if change.unfiltered {
        found.push((OPT, "seccomp=unconfined".into()));
    }
    if let Some(profile) = &change.profile {
        let path = folder.join("seccomp.json");
        std::fs::write(&path, profile.to_json().to_string())
            .map_err(|_| "a profile that cannot be written")?;
        found.push((OPT, format!("seccomp={}", path.display())));
    }
    if !change.mask.is_empty() {
        found.push((OPT, format!("mask={}", list(&change.mask))));
    }
    let open = [change.unmask, change.unprotect].concat();
    if !open.is_empty() {
        found.push((OPT, format!("unmask={}", list(&open))));
    }
    if let Some(adj) = change.oom_score_adj {
        found.push(("--oom-score-adj", adj.to_string()));
    }
    if let Some(profile) = change.apparmor {
        found.push((OPT, format!("apparmor={profile}")));
    }
    Ok(found)
}
