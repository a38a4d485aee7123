//! What a confined start has that nobody asked for: namespaces, the mounts that belong to the kernel, rules on devices.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cgroup::devices::Rule;
use crate::runtime::cgroup::{self, Limit};
use crate::runtime::ns::Kinds;
use crate::runtime::proc::plan;
use crate::runtime::proc::spec::{Mount, Namespaces, ProcSpec, Rlimit};
use crate::runtime::rootless;
use crate::runtime::security::policy::{Level, Policy, own_capabilities};
use crate::runtime::session::Session;
use std::path::{Path, PathBuf};

/// The namespaces of a confined process where none are named. A user namespace has to be asked for: it needs ids.
const KINDS: [&str; 6] = ["pid", "mount", "net", "uts", "ipc", "cgroup"];

/// Adds what a confined start has.
///
/// # Errors
/// When the control groups of the host cannot be found; the failed rules on devices.
pub fn prepare(session: &Session, op: &'static str, spec: &mut ProcSpec) -> Result<()> {
    if !spec.security.is_confined() {
        return Ok(());
    }
    if spec.ns.is_none() {
        spec.ns = Some(Namespaces::Fresh(KINDS.into_iter().fold(Kinds::NONE, Kinds::with_name)));
    }
    // In the caller's root as well, and in the mounts of a set: a copy of them is its own.
    mounts(session, op, spec)?;
    limits(spec);
    groups_can_go(op, spec)?;
    // Rules on devices are root's alone. Without root no nodes can be made, and those that are bound are the user's own to open.
    if rootless::in_user_ns() {
        spec.security.devices.clear();
    } else {
        devices(session, spec)?;
    }
    if !spec.security.capabilities_asked && !in_user_ns(spec) {
        let held = own_capabilities();
        spec.security.capabilities = spec.security.capabilities.map(|set| set & held);
    }
    Ok(())
}

/// A confined process has none of the caller's groups. Where the caller's own id is all that a user namespace maps, the kernel
/// lets nobody let go of groups (user_namespaces(7), setgroups): that is not done silently.
fn groups_can_go(op: &'static str, spec: &ProcSpec) -> Result<()> {
    let own = nix::unistd::getegid();
    let held = nix::unistd::getgroups().unwrap_or_default().iter().any(|group| *group != own);
    if spec.security.keep_groups || !held || plan::may_set_groups() {
        return Ok(());
    }
    let what = "the caller's groups stay with it, and their files in its reach";
    Err(Error::new(ErrorKind::PermissionDenied, op, what).hint(
        "have subordinate ids given (as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER), start the program without groups (setpriv --clear-groups), or say keep_groups: true",
    ))
}

/// Whether the process is in a user namespace other than the machine's first.
#[must_use]
pub fn in_user_ns(spec: &ProcSpec) -> bool {
    has(spec, "user") || rootless::in_user_ns()
}

/// Whether the process has a namespace of this kind that is not the caller's.
fn has(spec: &ProcSpec, kind: &str) -> bool {
    spec.has_own(kind)
}

/// The mounts of the kernel's own file systems, before those that were asked for, and not where one of those is.
fn mounts(session: &Session, op: &'static str, spec: &mut ProcSpec) -> Result<()> {
    let mut base = vec![mount("proc", "/proc", &[]), mount("dev", "/dev", &[])];
    if has(spec, "ipc") {
        base.push(mount("mqueue", "/dev/mqueue", &[]));
    }
    // In a user namespace sysfs can be mounted by the owner of the network alone.
    if in_user_ns(spec) && !has(spec, "net") {
        let bind = mount("bind", "/sys", &["rbind", "ro", "nosuid", "nodev", "noexec"]);
        base.push(Mount { source: Some("/sys".into()), ..bind });
    } else {
        base.push(mount("sysfs", "/sys", &["ro"]));
        if has(spec, "cgroup") {
            base.extend(groups(session, op)?);
        }
    }
    if spec.security.readonly_root {
        base.extend(
            ["/tmp", "/run", "/var/tmp"].map(|target| {
                mount("tmpfs", target, &["nosuid", "nodev", "noexec", "mode=1777", "size=64m"])
            }),
        );
    }
    also_below(&mut spec.mounts, &mut spec.security);
    for mount in &mut base {
        // In its place, so that what belongs below it still is.
        if let Some(at) = spec.mounts.iter().position(|asked| asked.target == mount.target) {
            *mount = spec.mounts.remove(at);
        }
    }
    // What was asked to be mounted may be used as it is mounted.
    if let (Some(landlock), Level::Strict) = (&mut spec.security.landlock, spec.security.level) {
        landlock.write.extend(spec.mounts.iter().map(|mount| mount.target.clone()));
    }
    base.append(&mut spec.mounts);
    spec.mounts = base;
    Ok(())
}

/// What is masked or read-only below `/proc` and `/sys` is so wherever else these are mounted; and files of the kernel that act
/// on the machine are read-only unless "rw" is said.
fn also_below(mounts: &mut [Mount], policy: &mut Policy) {
    for mount in mounts {
        let said =
            mount.options.iter().flat_map(|text| text.split(',')).any(|option| matches!(option, "ro" | "rw"));
        if matches!(mount.kind.as_str(), "sysfs" | "cgroup" | "cgroup2") && !said {
            mount.options.push("ro".into());
        }
        let usual = match mount.kind.as_str() {
            "proc" => Path::new("/proc"),
            "sysfs" => Path::new("/sys"),
            _ => continue,
        };
        if mount.target == usual {
            continue;
        }
        let moved = |path: &PathBuf| path.strip_prefix(usual).ok().map(|below| mount.target.join(below));
        for paths in [&mut policy.masked_paths, &mut policy.readonly_paths] {
            let more: Vec<PathBuf> = paths.iter().filter_map(moved).collect();
            paths.extend(more);
        }
    }
}

fn mount(kind: &str, target: &str, options: &[&str]) -> Mount {
    let options = options.iter().map(|option| (*option).to_owned()).collect();
    Mount { kind: kind.into(), source: None, target: target.into(), options }
}

/// The control groups, as far as the process is in them, for looking only.
fn groups(session: &Session, op: &'static str) -> Result<Vec<Mount>> {
    const TOP: &str = "/sys/fs/cgroup";
    // As they are mounted: no group is made for that, and nobody asked for one.
    let host = session.fact("hierarchies", || cgroup::host::Host::detect(op))?;
    if host.hierarchies.iter().all(|hierarchy| hierarchy.version == 2) {
        return Ok(host.unified().map(|_| mount("cgroup2", TOP, &["ro"])).into_iter().collect());
    }
    let mut found = vec![mount("tmpfs", TOP, &["ro", "nosuid", "nodev", "noexec", "mode=755"])];
    found.extend(host.hierarchies.iter().map(|hierarchy| match hierarchy.version {
        2 => mount("cgroup2", &format!("{TOP}/unified"), &["ro"]),
        _ => {
            let controllers = hierarchy.controllers.join(",");
            mount("cgroup", &format!("{TOP}/{controllers}"), &["ro", &controllers])
        }
    }));
    Ok(found)
}

/// The resource limits of the policy, unless others were asked for.
fn limits(spec: &mut ProcSpec) {
    let asked = |limit: &Rlimit, of: &[Rlimit]| of.iter().any(|known| known.resource == limit.resource);
    let lowered = spec.security.rlimits().into_iter().filter(|limit| !asked(limit, &spec.rlimits));
    let lowered: Vec<Rlimit> = lowered.collect();
    spec.rlimits.extend(lowered);
    // A program that is protected from the end of memory does not hand that on.
    if spec.security.oom_score_adj.is_none() && own_oom_score_adj() < 0 {
        spec.security.oom_score_adj = Some(0);
    }
}

/// How readily the kernel ends this program when memory runs out.
fn own_oom_score_adj() -> i32 {
    let text = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// The rules on devices of a start. Those that were asked for change the policy's, unless they begin with one for all.
#[must_use]
pub fn device_rules(spec: &ProcSpec) -> Vec<Rule> {
    let policy = &spec.security.devices;
    let asked = spec.limits.iter().rev().find_map(|limit| match limit {
        Limit::Devices(rules) => Some(&rules[..]),
        _ => None,
    });
    match asked {
        Some([first, ..]) if first.is_all() => asked.unwrap_or_default().to_vec(),
        _ => [policy, asked.unwrap_or_default()].concat(),
    }
}

/// The rules on devices: with the limits of a group of its own, or on the group that was given, unless that has some that
/// deny what they do not name.
fn devices(session: &Session, spec: &mut ProcSpec) -> Result<()> {
    if spec.security.devices.is_empty() {
        return Ok(());
    }
    let rules = Limit::Devices(device_rules(spec));
    let Some(group) = &spec.cgroup else {
        spec.limits.retain(|limit| limit.controller() != "devices");
        spec.limits.push(rules);
        return Ok(());
    };
    match session.id_of(group).filter(|_| !group.closes_devices()) {
        Some(id) => cgroup::limit(session, id, &[rules]).map_err(without_devices),
        None => Ok(()),
    }
}

/// What mends a start that cannot have rules on devices.
#[must_use]
pub fn without_devices(error: Error) -> Error {
    error.hint(
        "a confined process may make device nodes: it needs rules on which it may open. Drop MKNOD (cap_drop: [\"MKNOD\"]), or add \"user\" to ns",
    )
}
