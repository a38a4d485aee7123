//! Namespaces and the mounts in them: each is made, by a child that ends at once.

use crate::error::Error;
use crate::runtime::doctor::attempt::attempt;
use crate::runtime::doctor::{Found, State, cause, is_root, read};
use crate::runtime::ns::Kinds;
use crate::runtime::programs;
use crate::sys::Errno;
use crate::sys::child::{MountCall, Op, Spot};
use std::ffi::CString;

/// Kinds without which no container starts.
const NEEDED: [&str; 5] = ["mount", "pid", "net", "ipc", "uts"];

pub(super) fn namespace(name: &str) -> Found {
    let kinds = Kinds::NONE.with_name(name);
    // Without root, each is made inside a user namespace.
    let kinds = if is_root() { kinds } else { kinds.with_name("user") };
    let needed = NEEDED.contains(&name) || (name == "user" && !is_root());
    let state = if needed { State::Missing } else { State::Warn };
    match attempt(kinds, Vec::new()) {
        Ok(()) => Found::ok(format!("a process was started in a new one ({kinds})")),
        Err(error) => Found::lacks(state, cause(&error), namespace_fix(name, &error)),
    }
}

fn namespace_fix(name: &str, error: &Error) -> String {
    let file = if name == "mount" { "mnt" } else { name };
    match error.errno() {
        Some(Errno::ENOSPC) => format!("sysctl -w user.max_{file}_namespaces=10000; more than 32 levels are not possible"),
        Some(Errno::EINVAL) => format!("the kernel needs CONFIG_{}_NS", name.to_uppercase()),
        _ if is_root() => "the program needs CAP_SYS_ADMIN; in a container: --privileged".to_owned(),
        _ => user_fix().unwrap_or_else(|| {
            "something forbids it, such as a seccomp filter: in a container --security-opt seccomp=unconfined".to_owned()
        }),
    }
}

/// The switches that forbid user namespaces to ordinary users: name, the value that does so, how to turn it.
const SWITCHES: [(&str, &str, &str); 3] = [
    ("user.max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=10000"),
    ("kernel.unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    (
        "kernel.apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for this program with `userns,`",
    ),
];

fn switch(name: &str) -> Option<String> {
    read(&format!("/proc/sys/{}", name.replace('.', "/")))
}

fn user_fix() -> Option<String> {
    let off = |(name, off, _): &&(&str, &str, &str)| switch(name).as_deref() == Some(*off);
    SWITCHES.iter().find(off).map(|(_, _, fix)| (*fix).to_owned())
}

pub(super) fn user_limits() -> Found {
    let held = SWITCHES.iter().filter_map(|(name, _, _)| Some(format!("{name}={}", switch(name)?)));
    let text = held.collect::<Vec<_>>().join(" ");
    match user_fix() {
        None => Found::ok(text),
        Some(fix) => Found::lacks(State::Warn, text, fix),
    }
}

/// How many ids a file such as /etc/subuid gives to a user, by name or by number.
fn subordinate(path: &str, name: &str, uid: u32) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let count = |line: &str| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let count = fields.nth(1)?.trim().parse::<u64>().ok()?;
        (owner == name || owner == uid.to_string()).then_some(count)
    };
    text.lines().filter_map(count).sum()
}

/// The name of a user, from the file itself: the C library would load modules for that, which a static program cannot.
fn user_name(uid: u32) -> Option<String> {
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

pub(super) fn subordinate_ids() -> Found {
    if is_root() {
        return Found::ok("root needs none");
    }
    let uid = nix::unistd::geteuid();
    let name = user_name(uid.as_raw()).unwrap_or_else(|| uid.to_string());
    let count = |path| subordinate(path, &name, uid.as_raw());
    let (uids, gids) = (count("/etc/subuid"), count("/etc/subgid"));
    let text = format!("{uids} user ids and {gids} group ids for {name}");
    if uids < 65536 || gids < 65536 {
        let fix = format!("as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}");
        return Found::lacks(State::Warn, text, fix);
    }
    match ["newuidmap", "newgidmap"].into_iter().find(|program| programs::find(program).is_none()) {
        Some(program) => {
            Found::lacks(State::Warn, format!("{text}; {program} is not there"), "apt install uidmap")
        }
        None => Found::ok(format!("{text}, given by newuidmap and newgidmap")),
    }
}

/// A tmpfs with the folders of an overlay, and the overlay: over `/proc`, which every host has, and in a mount namespace
/// that goes at once.
fn overlay_steps() -> Vec<Op> {
    let text = |text: &str| CString::new(text).unwrap_or_default();
    let mount = |kind: &str, target: &str, options: &[(&str, &str)]| {
        Op::Mount(MountCall {
            source: text(kind),
            target: text(target),
            kind: text(kind),
            attributes: 0,
            options: options.iter().map(|(key, value)| (text(key), Some(text(value)))).collect(),
            no_links: true,
        })
    };
    let mut steps = vec![Op::Propagation(libc::MS_PRIVATE | libc::MS_REC), mount("tmpfs", "/proc", &[])];
    let folder = |name: &str| Op::Folder(Spot { dir: text("/proc"), name: text(name) }, 0o755);
    steps.extend(["lower", "upper", "work", "merged"].map(folder));
    let layers = [("lowerdir", "/proc/lower"), ("upperdir", "/proc/upper"), ("workdir", "/proc/work")];
    steps.push(mount("overlay", "/proc/merged", &layers));
    steps
}

fn overlay_in(kinds: Kinds, state: State, fix: &str) -> Found {
    match attempt(kinds, overlay_steps()) {
        Ok(()) => Found::ok("one was mounted, with a layer to write on"),
        Err(error) => Found::lacks(state, cause(&error), fix),
    }
}

pub(super) fn overlay() -> Found {
    if !is_root() {
        return Found::ok("not tried: root alone mounts one outside of a user namespace");
    }
    overlay_in(Kinds::NONE.with_name("mount"), State::Missing, "modprobe overlay (CONFIG_OVERLAY_FS)")
}

pub(super) fn overlay_in_user() -> Found {
    let state = if is_root() { State::Warn } else { State::Missing };
    let kinds = Kinds::NONE.with_name("user").with_name("mount");
    let fix = user_fix().unwrap_or_else(|| "it needs Linux 5.11; as root: modprobe overlay".to_owned());
    overlay_in(kinds, state, &fix)
}
