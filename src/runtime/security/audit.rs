//! What a process may do, explained: any process of the machine, whoever started it.
//!
//! Each finding says what the kernel holds, and what that means for someone inside who wants to get out.

use crate::error::Result;
use crate::runtime::security::caps;
use crate::runtime::security::facts::Facts;
use serde_json::{Value, json};
use std::path::Path;

/// How closed a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// As closed as it can be.
    Closed,
    /// Worth knowing.
    Note,
    /// A way to the host, or a part of one.
    Open,
}

impl Grade {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Note => "note",
            Self::Open => "open",
        }
    }
}

/// One part of a process's confinement.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which part.
    pub part: &'static str,
    /// How closed it is.
    pub grade: Grade,
    /// What the kernel holds.
    pub held: String,
    /// What that means.
    pub means: String,
}

/// Capabilities that lead to the host where there is no user namespace, and how.
const STRONG: [(&str, &str); 15] = [
    ("SYS_ADMIN", "mounts, namespaces, and much else of the kernel's administration"),
    ("SYS_MODULE", "code in the kernel"),
    ("SYS_RAWIO", "ports and memory of the machine"),
    ("SYS_PTRACE", "every process that it can see"),
    ("SYS_BOOT", "restart of the machine, another kernel"),
    ("SYS_TIME", "the clock of the machine"),
    ("SYSLOG", "the log of the kernel, with addresses"),
    ("DAC_READ_SEARCH", "every file by its handle (open_by_handle_at), past the root"),
    ("NET_ADMIN", "the network of its namespace: addresses, routes, filters"),
    ("NET_RAW", "forged packets on its network"),
    ("BPF", "programs in the kernel"),
    ("PERFMON", "what the processor does for others"),
    ("MAC_ADMIN", "the policy of the security module"),
    ("MAC_OVERRIDE", "no policy of the security module"),
    ("CHECKPOINT_RESTORE", "other processes' state"),
];

/// What a namespace that is shared with the host means.
const SHARED: [(&str, Grade, &str); 8] = [
    ("user", Grade::Note, "root inside is root outside, as far as capabilities go"),
    ("mount", Grade::Open, "it sees and changes the host's mounts"),
    ("pid", Grade::Open, "it sees the host's processes, and can signal those of its user"),
    ("net", Grade::Open, "it has the host's network, with its loopback and abstract sockets"),
    ("ipc", Grade::Note, "it reaches the host's shared memory and queues"),
    ("uts", Grade::Note, "it has the host's name"),
    ("cgroup", Grade::Note, "it sees where it is in the host's control groups"),
    ("time", Grade::Closed, "it has the host's clocks, which it cannot set without SYS_TIME"),
];

/// Paths that tell of the host, or act on it.
const TELLING: [&str; 4] = ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"];
const ACTING: [&str; 2] = ["/proc/sys", "/proc/sysrq-trigger"];

/// Looks at a process and explains what is found.
///
/// # Errors
/// When there is no such process, or it is not ours to look at.
pub fn audit(op: &'static str, pid: i32) -> Result<Vec<Finding>> {
    let facts = Facts::of(op, pid)?;
    let mut findings = vec![user(&facts), capabilities(&facts), no_new_privs(&facts), seccomp(&facts)];
    findings.extend(namespaces(&facts));
    findings.extend(paths(&facts));
    findings.push(descriptors(&facts));
    findings.extend(mounts(&facts));
    findings.push(label(&facts));
    Ok(findings)
}

/// The findings for scripts.
#[must_use]
pub fn to_json(findings: &[Finding]) -> Value {
    let one = |finding: &Finding| {
        json!({
            "part": finding.part,
            "grade": finding.grade.name(),
            "held": finding.held,
            "means": finding.means,
        })
    };
    findings.iter().map(one).collect::<Vec<_>>().into()
}

fn finding(part: &'static str, grade: Grade, held: impl Into<String>, means: impl Into<String>) -> Finding {
    Finding { part, grade, held: held.into(), means: means.into() }
}

/// Whether its user namespace is not ours.
fn is_mapped(facts: &Facts) -> bool {
    !facts.shared.iter().any(|kind| kind == "user")
}

fn user(facts: &Facts) -> Finding {
    let uid = facts.uids.get(1).copied().unwrap_or(0);
    let held =
        format!("uid {uid}, gid {}, map {}", facts.gids.get(1).unwrap_or(&0), facts.uid_map.join(", "));
    match (uid, is_mapped(facts)) {
        (0, false) => {
            finding("user", Grade::Note, held, "root, and root outside as well: its files are root's")
        }
        (0, true) => finding("user", Grade::Note, held, "its root is the caller's own user outside"),
        _ => finding("user", Grade::Closed, held, "an ordinary user"),
    }
}

fn capabilities(facts: &Facts) -> Finding {
    let held = facts.capabilities.effective | facts.capabilities.permitted | facts.capabilities.ambient;
    let strong: Vec<String> = STRONG
        .iter()
        .filter(|(name, _)| caps::of_name(name).is_some_and(|bit| held & bit != 0))
        .map(|(name, means)| format!("{name}: {means}"))
        .collect();
    let shown = format!(
        "effective {}; bounding {}",
        show_set(facts.capabilities.effective),
        show_set(facts.capabilities.bounding)
    );
    let reach = if is_mapped(facts) { " (within its user namespace)" } else { "" };
    match (held, strong.is_empty()) {
        (0, _) => finding("capabilities", Grade::Closed, shown, "none"),
        (_, true) => finding("capabilities", Grade::Closed, shown, "none that leads out"),
        (_, false) if is_mapped(facts) => {
            finding("capabilities", Grade::Note, shown, format!("{}{reach}", strong.join("; ")))
        }
        _ => finding("capabilities", Grade::Open, shown, strong.join("; ")),
    }
}

fn show_set(set: u64) -> String {
    match set & caps::ALL {
        0 => "none".into(),
        caps::ALL => "all".into(),
        set if set.count_ones() > 20 => format!("all but {}", caps::names(caps::ALL & !set).join(" ")),
        set => caps::names(set).join(" "),
    }
}

fn no_new_privs(facts: &Facts) -> Finding {
    let held = facts.no_new_privs.to_string();
    if facts.no_new_privs {
        return finding("no_new_privs", Grade::Closed, held, "setuid programs give it nothing");
    }
    finding("no_new_privs", Grade::Note, held, "setuid programs give it what its bounding set holds")
}

fn seccomp(facts: &Facts) -> Finding {
    match facts.seccomp {
        0 => finding("seccomp", Grade::Open, "none", "every system call of the kernel is in reach"),
        1 => finding("seccomp", Grade::Closed, "strict", "read, write and exit alone"),
        _ => {
            let held = format!("{} filters", facts.seccomp_filters);
            finding("seccomp", Grade::Closed, held, "filters decide which system calls are made")
        }
    }
}

fn namespaces(facts: &Facts) -> Vec<Finding> {
    let shared = SHARED.iter().filter(|(kind, _, _)| facts.shared.iter().any(|name| name == kind));
    let mut findings: Vec<Finding> = shared
        .map(|(kind, grade, means)| finding("namespace", *grade, format!("{kind} is the caller's"), *means))
        .collect();
    let own: Vec<&str> =
        facts.namespaces.keys().filter(|kind| !facts.shared.contains(kind)).map(String::as_str).collect();
    if !own.is_empty() {
        findings.push(finding(
            "namespace",
            Grade::Closed,
            format!("its own: {}", own.join(" ")),
            "it sees what is in them",
        ));
    }
    findings
}

fn paths(facts: &Facts) -> Vec<Finding> {
    let inside = |path: &str| std::fs::symlink_metadata(format!("/proc/{}/root{path}", facts.pid)).is_ok();
    let covered = |path: &str| facts.mount_at(Path::new(path)).is_some();
    let readonly = |path: &str| {
        let above = Path::new(path).ancestors().find_map(|path| facts.mount_at(path));
        above.is_some_and(|mount| mount.options.iter().any(|option| option == "ro"))
    };
    let telling: Vec<&str> = TELLING.into_iter().filter(|path| inside(path) && !covered(path)).collect();
    let acting: Vec<&str> = ACTING.into_iter().filter(|path| inside(path) && !readonly(path)).collect();
    let mut findings = Vec::new();
    findings.push(match telling.is_empty() {
        true => {
            finding("masked paths", Grade::Closed, "all of those looked for", "they tell nothing of the host")
        }
        false => finding("masked paths", Grade::Note, telling.join(" "), "in sight: they tell of the host"),
    });
    findings.push(match acting.is_empty() {
        true => finding(
            "read-only paths",
            Grade::Closed,
            "all of those looked for",
            "they cannot be used on the host",
        ),
        false => finding(
            "read-only paths",
            Grade::Open,
            acting.join(" "),
            "writable: they act on the whole machine",
        ),
    });
    findings
}

fn descriptors(facts: &Facts) -> Finding {
    let outside = |to: &str| to.starts_with('/') && !to.starts_with("/dev/");
    let open: Vec<String> = facts
        .fds
        .iter()
        .filter(|(fd, to)| *fd > 2 && outside(to))
        .map(|(fd, to)| format!("{fd} {to}"))
        .collect();
    let held = format!("{} open", facts.fds.len());
    if open.is_empty() {
        return finding("descriptors", Grade::Closed, held, "none above 2 leads to a file by its path");
    }
    finding("descriptors", Grade::Note, held, format!("files above 2: {}", open.join(", ")))
}

fn mounts(facts: &Facts) -> Vec<Finding> {
    let has = |option: &str, of: &[String]| of.iter().any(|known| known == option);
    let shared = facts.mounts.iter().filter(|mount| mount.propagation.contains("shared")).count();
    let writable: Vec<String> = facts
        .mounts
        .iter()
        .filter(|mount| matches!(mount.kind.as_str(), "cgroup" | "cgroup2" | "sysfs" | "debugfs" | "tracefs"))
        .filter(|mount| !has("ro", &mount.options))
        .map(|mount| mount.target.display().to_string())
        .collect();
    let mut findings = Vec::new();
    if shared > 0 {
        let held = format!("{shared} of {} mounts", facts.mounts.len());
        findings.push(finding(
            "propagation",
            Grade::Note,
            held,
            "what is mounted below them shows in other namespaces",
        ));
    }
    if !writable.is_empty() {
        findings.push(finding(
            "kernel mounts",
            Grade::Open,
            writable.join(" "),
            "writable files of the kernel",
        ));
    }
    findings
}

fn label(facts: &Facts) -> Finding {
    match facts.label.as_deref() {
        None | Some("kernel") => finding("label", Grade::Note, "none", "no security module labels it"),
        Some("unconfined") => finding("label", Grade::Note, "unconfined", "its security module allows all"),
        Some(label) => finding("label", Grade::Closed, label, "its security module confines it"),
    }
}
