//! What is mounted in the root of a process: its options, and the steps of the child that mount it.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::fs::idmapped::IdMapping;
use crate::runtime::proc::plan::c_string;
use crate::runtime::proc::spec::Mount;
use crate::runtime::start::Steps;
use crate::sys::child::Op;
use crate::sys::mount;
use rustix::fs::CWD;
use std::ffi::CString;
use std::path::{Component, Path, PathBuf};

/// The options that are flags: the name, the bit of mount(2), the bit of `mount_setattr`(2).
const FLAGS: [(&str, u64, u64); 7] = [
    ("ro", libc::MS_RDONLY, libc::MOUNT_ATTR_RDONLY),
    ("nosuid", libc::MS_NOSUID, libc::MOUNT_ATTR_NOSUID),
    ("nodev", libc::MS_NODEV, libc::MOUNT_ATTR_NODEV),
    ("noexec", libc::MS_NOEXEC, libc::MOUNT_ATTR_NOEXEC),
    ("noatime", libc::MS_NOATIME, libc::MOUNT_ATTR_NOATIME),
    ("nodiratime", libc::MS_NODIRATIME, libc::MOUNT_ATTR_NODIRATIME),
    ("relatime", libc::MS_RELATIME, libc::MOUNT_ATTR_RELATIME),
];
/// What every mount of these is given unless it says otherwise.
const CAREFUL: u64 = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
/// The nodes of a minimal `/dev`: name and minor number of major 1, but for `tty`, 5:0.
const NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

/// How mount points are treated.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// Missing ones are made.
    pub make: bool,
    /// Device nodes cannot be made (in a user namespace): those of the host are bound.
    pub bind_devices: bool,
    /// A procfs cannot be made: the pid namespace is one that the user namespace has no power over. The one there is bound.
    pub foreign_proc: bool,
    /// The same of a sysfs, and of the network namespace.
    pub foreign_sys: bool,
    /// How the owners of binds with the option `idmap` are shown.
    pub idmap: Option<&'a IdMapping>,
}

/// Whether the owners of a bind are to be mapped.
pub(super) fn is_idmapped(mount: &Mount) -> bool {
    mount.options.iter().flat_map(|text| text.split(',')).any(|option| option == "idmap")
}

/// The short names that stand for a mount: `"proc"`, `"sys"`, `"dev"`, `"tmp"`, `"shm"`.
#[must_use]
pub fn of_name(name: &str) -> Option<Mount> {
    let (kind, target, options): (&str, &str, &[&str]) = match name {
        "proc" => ("proc", "/proc", &[]),
        "sys" => ("sysfs", "/sys", &["ro"]),
        "dev" => ("dev", "/dev", &[]),
        "tmp" => ("tmpfs", "/tmp", &["nosuid", "nodev", "mode=1777"]),
        "shm" => ("tmpfs", "/dev/shm", &["nosuid", "nodev", "noexec", "mode=1777", "size=64m"]),
        _ => return None,
    };
    let options = options.iter().map(|option| (*option).to_owned()).collect();
    Some(Mount { kind: kind.into(), source: None, target: target.into(), options })
}

/// Adds the steps that mount `mounts`, in order, in the root that the child has by then.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for an unknown type or a relative target; a source to bind that does not exist.
pub fn plan(op: &'static str, mounts: &[Mount], ground: Ground<'_>, steps: &mut Steps) -> Result<()> {
    mounts.iter().try_for_each(|mount| plan_one(op, mount, ground, steps))
}

fn plan_one(op: &'static str, mount: &Mount, ground: Ground<'_>, steps: &mut Steps) -> Result<()> {
    let target = &mount.target;
    if !target.is_absolute() || target.components().any(|part| part == Component::ParentDir) {
        let what = format!("mounts: target {} must start with / and have no ..", target.display());
        return Err(Error::new(ErrorKind::InvalidArgument, op, what));
    }
    match mount.kind.as_str() {
        "bind" => bind(op, mount, ground, steps),
        "dev" => dev(op, mount, ground, steps),
        "proc" if ground.foreign_proc => bind_view(op, mount, "/proc", ground, steps),
        "sysfs" if ground.foreign_sys => bind_view(op, mount, "/sys", ground, steps),
        "proc" | "sysfs" | "mqueue" | "cgroup2" => virtual_fs(op, mount, CAREFUL, ground, steps),
        "devpts" => virtual_fs(op, mount, libc::MS_NOSUID | libc::MS_NOEXEC, ground, steps),
        "tmpfs" => virtual_fs(op, mount, 0, ground, steps),
        kind => {
            let what = format!("mounts: unknown type {kind:?}");
            Err(Error::new(ErrorKind::InvalidArgument, op, what)
                .hint("types are: bind, proc, sysfs, tmpfs, devpts, mqueue, cgroup2, dev"))
        }
    }
}

fn virtual_fs(
    op: &'static str,
    mount: &Mount,
    always: u64,
    ground: Ground<'_>,
    steps: &mut Steps,
) -> Result<()> {
    let (flags, _, data) = split(&mount.options);
    make_target(op, &mount.target, true, ground, steps)?;
    let source = mount.source.as_ref().map_or_else(|| mount.kind.clone(), |path| path.display().to_string());
    let (flags, data) = (flags | always, data.join(","));
    push_mount(
        op,
        steps,
        &Call { source: &source, target: &mount.target, kind: &mount.kind, flags, data: &data },
    )
}

/// The view of the kernel that the program has itself, with what is mounted below it: in a user namespace nothing below a
/// mount can be laid open.
fn bind_view(
    op: &'static str,
    mount: &Mount,
    source: &str,
    ground: Ground<'_>,
    steps: &mut Steps,
) -> Result<()> {
    let careful = ["nosuid", "nodev", "noexec"].map(str::to_owned);
    let options = mount.options.iter().cloned().chain(careful).collect();
    let bound = Mount { kind: "bind".into(), source: Some(source.into()), options, ..mount.clone() };
    bind(op, &bound, ground, steps)
}

/// A mount(2) of the child.
struct Call<'a> {
    source: &'a str,
    target: &'a Path,
    kind: &'a str,
    flags: u64,
    data: &'a str,
}

fn push_mount(op: &'static str, steps: &mut Steps, call: &Call<'_>) -> Result<()> {
    let mount = Op::Mount {
        source: c_string(op, call.source.as_bytes())?,
        target: c_path(op, call.target)?,
        kind: c_string(op, call.kind.as_bytes())?,
        flags: call.flags,
        data: c_string(op, call.data.as_bytes())?,
    };
    steps.push(mount, format!("mount {} on {}", call.kind, call.target.display()));
    Ok(())
}

/// The source is opened, and its attributes are set, here: the child only attaches it.
fn bind(op: &'static str, mount: &Mount, ground: Ground<'_>, steps: &mut Steps) -> Result<()> {
    let Some(source) = &mount.source else {
        return Err(Error::new(ErrorKind::InvalidArgument, op, "mounts: a bind needs a source"));
    };
    let (_, attributes, data) = split(&mount.options);
    if let Some(unknown) =
        data.iter().find(|name| !matches!(name.as_str(), "bind" | "rbind" | "rw" | "idmap"))
    {
        let what = format!("mounts: a bind has no option {unknown:?}");
        return Err(Error::new(ErrorKind::InvalidArgument, op, what)
            .hint("options of a bind are: ro, rw, nosuid, nodev, noexec, noatime, nodiratime, relatime, bind, rbind, idmap"));
    }
    let recursive = !mount.options.iter().any(|option| option == "bind");
    let tree = mount::clone_tree(CWD, source, recursive).map_err(|source_error| {
        Error::sys(op, format!("mounts: cannot bind {}", source.display()), source_error).path(source)
    })?;
    mount::set_attributes(&tree, attributes, libc::MS_PRIVATE, recursive)
        .context(op, format!("mounts: cannot set the options of {}", source.display()))?;
    if let Some(idmap) = ground.idmap.filter(|_| is_idmapped(mount)) {
        idmap.apply(op, &tree, source, recursive)?;
    }
    make_target(op, &mount.target, source.is_dir(), ground, steps)?;
    let text = format!("bind {} to {}", source.display(), mount.target.display());
    steps.push(Op::Attach(tree, c_path(op, &mount.target)?), text);
    Ok(())
}

fn dev(op: &'static str, mount: &Mount, ground: Ground<'_>, steps: &mut Steps) -> Result<()> {
    let dir = &mount.target;
    make_target(op, dir, true, ground, steps)?;
    let careful = libc::MS_NOSUID | libc::MS_NOEXEC;
    let data = "mode=755,size=65536k";
    push_mount(op, steps, &Call { source: "dev", target: dir, kind: "tmpfs", flags: careful, data })?;
    for (name, major, minor) in NODES {
        let path = dir.join(name);
        if ground.bind_devices {
            let host = PathBuf::from("/dev").join(name);
            let tree = mount::clone_tree(CWD, &host, false)
                .context(op, format!("cannot bind {}", host.display()))?;
            steps.push(
                Op::Device(c_path(op, &path)?, libc::S_IFREG | 0o644, 0),
                format!("make {}", path.display()),
            );
            steps.push(Op::Attach(tree, c_path(op, &path)?), format!("bind {}", path.display()));
        } else {
            let number = libc::makedev(major, minor);
            let node = Op::Device(c_path(op, &path)?, libc::S_IFCHR | 0o666, number);
            steps.push(node, format!("make {}", path.display()));
        }
    }
    for (target, name) in LINKS {
        let link = Op::Link(c_string(op, target.as_bytes())?, c_path(op, &dir.join(name))?);
        steps.push(link, format!("make {}", dir.join(name).display()));
    }
    for (name, mode) in [("pts", 0o755), ("shm", 0o1777)] {
        steps.push(
            Op::Folder(c_path(op, &dir.join(name))?, mode),
            format!("make {}", dir.join(name).display()),
        );
    }
    let data = "newinstance,ptmxmode=0666,mode=0620";
    let pts = dir.join("pts");
    push_mount(op, steps, &Call { source: "devpts", target: &pts, kind: "devpts", flags: careful, data })?;
    let data = "mode=1777,size=64m";
    push_mount(
        op,
        steps,
        &Call { source: "shm", target: &dir.join("shm"), kind: "tmpfs", flags: CAREFUL, data },
    )
}

/// Makes the mount point and the folders above it, where that is allowed. The root is the child's own by then, so a
/// link in it leads to a place in it.
fn make_target(
    op: &'static str,
    target: &Path,
    folder: bool,
    ground: Ground<'_>,
    steps: &mut Steps,
) -> Result<()> {
    if !ground.make {
        return Ok(());
    }
    let mut above: Vec<&Path> = target.ancestors().skip(1).filter(|path| path.parent().is_some()).collect();
    above.reverse();
    for path in above {
        steps.push(Op::Folder(c_path(op, path)?, 0o755), format!("make {}", path.display()));
    }
    let last = c_path(op, target)?;
    let step = if folder { Op::Folder(last, 0o755) } else { Op::Device(last, libc::S_IFREG | 0o644, 0) };
    steps.push(step, format!("make the mount point {}", target.display()));
    Ok(())
}

/// Splits options into the flags of mount(2), the attributes of `mount_setattr`(2), and the rest.
fn split(options: &[String]) -> (u64, u64, Vec<String>) {
    let (mut flags, mut attributes, mut rest) = (0, 0, Vec::new());
    for option in options.iter().flat_map(|text| text.split(',')) {
        match FLAGS.iter().find(|(name, _, _)| *name == option) {
            Some((_, flag, attribute)) => {
                flags |= flag;
                attributes |= attribute;
            }
            None if option.is_empty() => {}
            None => rest.push(option.to_owned()),
        }
    }
    (flags, attributes, rest)
}

fn c_path(op: &'static str, path: &Path) -> Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    c_string(op, path.as_os_str().as_bytes())
}
