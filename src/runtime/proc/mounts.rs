//! What is mounted in the root of a process: its options, and the steps of the child that mount it.
//!
//! The child resolves each path in its own root, see [`crate::sys::child`].

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::fs::idmapped::IdMapping;
use crate::runtime::proc::plan::c_string;
use crate::runtime::proc::spec::Mount;
use crate::runtime::rootless;
use crate::runtime::start::Steps;
use crate::sys::child::{MountCall, Op, Spot};
use crate::sys::{Errno, mount};
use rustix::fs::CWD;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

/// The options that are attributes of a mount: the name, the bit of fsmount(2) and `mount_setattr`(2).
const FLAGS: [(&str, u64); 7] = [
    ("ro", libc::MOUNT_ATTR_RDONLY),
    ("nosuid", libc::MOUNT_ATTR_NOSUID),
    ("nodev", libc::MOUNT_ATTR_NODEV),
    ("noexec", libc::MOUNT_ATTR_NOEXEC),
    ("noatime", libc::MOUNT_ATTR_NOATIME),
    ("nodiratime", libc::MOUNT_ATTR_NODIRATIME),
    ("relatime", libc::MOUNT_ATTR_RELATIME),
];
/// What every mount of these is given.
const CAREFUL: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
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
    words(&mount.options).any(|option| option == "idmap")
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
    for (index, mount) in mounts.iter().enumerate() {
        // What is mounted in an empty file system of ours needs its mount point made in any case.
        let ours = |earlier: &Mount| earlier.is_empty_fs() && mount.target.starts_with(&earlier.target);
        let make = ground.make || mounts[..index].iter().any(ours);
        plan_one(op, mount, Ground { make, ..ground }, steps)?;
    }
    for mount in mounts.iter().filter(|mount| mount.kind == "tmpfs" && mount.is_readonly()) {
        let text = format!("make {} read-only", mount.target.display());
        steps.push(Op::Freeze(c_path(op, &mount.target)?), text);
    }
    Ok(())
}

impl Mount {
    fn is_empty_fs(&self) -> bool {
        matches!(self.kind.as_str(), "tmpfs" | "dev")
    }

    fn is_readonly(&self) -> bool {
        words(&self.options).any(|option| option == "ro")
    }
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
        "proc" | "sysfs" | "mqueue" | "cgroup" | "cgroup2" => virtual_fs(op, mount, CAREFUL, ground, steps),
        "devpts" => {
            let careful = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
            virtual_fs(op, mount, careful, ground, steps)
        }
        // Read-only once everything is mounted that is to be mounted in it.
        "tmpfs" => {
            let options = words(&mount.options).filter(|option| *option != "ro").map(str::to_owned).collect();
            virtual_fs(op, &Mount { options, ..mount.clone() }, 0, ground, steps)
        }
        kind => {
            let what = format!("mounts: unknown type {kind:?}");
            Err(Error::new(ErrorKind::InvalidArgument, op, what)
                .hint("types are: bind, proc, sysfs, tmpfs, devpts, mqueue, cgroup, cgroup2, dev"))
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
    let (attributes, options) = split(&mount.options);
    make_target(op, &mount.target, true, ground, steps)?;
    let source = mount.source.as_ref().map_or_else(|| mount.kind.clone(), |path| path.display().to_string());
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let call = Call {
        source: &source,
        target: &mount.target,
        kind: &mount.kind,
        attributes: attributes | always,
        options: &options,
    };
    push_mount(op, steps, &call)
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

/// A file system that the child makes and mounts.
struct Call<'a> {
    source: &'a str,
    target: &'a Path,
    kind: &'a str,
    attributes: u64,
    options: &'a [&'a str],
}

fn push_mount(op: &'static str, steps: &mut Steps, call: &Call<'_>) -> Result<()> {
    let option = |option: &&str| {
        let (key, value) = option.split_once('=').map_or((*option, None), |(key, value)| (key, Some(value)));
        let value = value.map(|value| c_string(op, value.as_bytes())).transpose()?;
        Ok((c_string(op, key.as_bytes())?, value))
    };
    let mount = Op::Mount(MountCall {
        source: c_string(op, call.source.as_bytes())?,
        target: c_path(op, call.target)?,
        kind: c_string(op, call.kind.as_bytes())?,
        attributes: call.attributes,
        options: call.options.iter().map(option).collect::<Result<_>>()?,
        // What belongs to the kernel, and not what a user mounts wherever it is convenient.
        no_links: call.kind != "tmpfs" || call.source == "dev",
    });
    steps.push(mount, format!("mount {} on {}", call.kind, call.target.display()));
    Ok(())
}

/// The source is opened, and its attributes are set, here: the child only attaches it.
fn bind(op: &'static str, mount: &Mount, ground: Ground<'_>, steps: &mut Steps) -> Result<()> {
    let Some(source) = &mount.source else {
        return Err(Error::new(ErrorKind::InvalidArgument, op, "mounts: a bind needs a source"));
    };
    let (attributes, rest) = split(&mount.options);
    if let Some(unknown) =
        rest.iter().find(|name| !matches!(name.as_str(), "bind" | "rbind" | "rw" | "idmap"))
    {
        let what = format!("mounts: a bind has no option {unknown:?}");
        return Err(Error::new(ErrorKind::InvalidArgument, op, what)
            .hint("options of a bind are: ro, rw, nosuid, nodev, noexec, noatime, nodiratime, relatime, bind, rbind, idmap"));
    }
    let recursive = !rest.iter().any(|option| option == "bind");
    let tree = mount::clone_tree(CWD, source, recursive).map_err(|source_error| {
        let covers = source_error.errno() == Errno::EINVAL && !recursive && rootless::in_user_ns();
        let error = Error::sys(op, format!("mounts: cannot bind {}", source.display()), source_error).path(source);
        match covers {
            true => error.hint("without root it comes with what is mounted below it, or not at all: leave out \"bind\", or say \"rbind\""),
            false => error,
        }
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
    let careful = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
    let call = |source, target, kind, attributes, options| Call { source, target, kind, attributes, options };
    push_mount(op, steps, &call("dev", dir, "tmpfs", careful, &["mode=755", "size=65536k"]))?;
    for (name, major, minor) in NODES {
        node(op, &dir.join(name), libc::makedev(major, minor), ground, steps)?;
    }
    for (target, name) in LINKS {
        let path = dir.join(name);
        let link = Op::Link(c_string(op, target.as_bytes())?, spot(op, &path)?);
        steps.push(link, format!("make {}", path.display()));
    }
    for (name, mode) in [("pts", 0o755), ("shm", 0o1777)] {
        let path = dir.join(name);
        steps.push(Op::Folder(spot(op, &path)?, mode), format!("make {}", path.display()));
    }
    // The group of terminals is 5 where that exists, so that programs need no privilege to write to each other's.
    let group = if ground.bind_devices { &[][..] } else { &["gid=5"] };
    let options = [&["newinstance", "ptmxmode=0666", "mode=0620"][..], group].concat();
    let (pts, shm) = (dir.join("pts"), dir.join("shm"));
    push_mount(op, steps, &call("devpts", &pts, "devpts", careful, &options))?;
    push_mount(op, steps, &call("shm", &shm, "tmpfs", CAREFUL, &["mode=1777", "size=64m"]))
}

/// A device node: made, or the host's bound where none can be made.
fn node(op: &'static str, path: &Path, number: u64, ground: Ground<'_>, steps: &mut Steps) -> Result<()> {
    let text = format!("make {}", path.display());
    if !ground.bind_devices {
        steps.push(Op::Node(spot(op, path)?, libc::S_IFCHR | 0o666, number), text);
        return Ok(());
    }
    let host = PathBuf::from("/dev").join(path.file_name().unwrap_or_default());
    let tree = mount::clone_tree(CWD, &host, false).context(op, format!("cannot bind {}", host.display()))?;
    // What is mounted over it inside must not come to the host, where systemd has made all mounts shared.
    mount::set_attributes(&tree, 0, libc::MS_PRIVATE, false)
        .context(op, format!("cannot make {} private", host.display()))?;
    let found = std::fs::metadata(&host).context(op, format!("cannot examine {}", host.display()))?;
    if !found.file_type().is_char_device() || found.rdev() != number {
        let what = format!("{} of the host is not the device of this name", host.display());
        return Err(Error::new(ErrorKind::Corrupt, op, what).path(&host));
    }
    // Devices can be written to all the same; who owns the node there cannot change it.
    let attributes = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
    mount::set_attributes(&tree, attributes, 0, false)
        .context(op, format!("cannot protect {}", host.display()))?;
    steps.push(Op::Node(spot(op, path)?, libc::S_IFREG | 0o644, 0), text);
    steps.push(Op::Attach(tree, c_path(op, path)?), format!("bind {}", path.display()));
    Ok(())
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
        steps.push(Op::Folder(spot(op, path)?, 0o755), format!("make {}", path.display()));
    }
    let last = spot(op, target)?;
    let step = if folder { Op::Folder(last, 0o755) } else { Op::Node(last, libc::S_IFREG | 0o644, 0) };
    steps.push(step, format!("make the mount point {}", target.display()));
    Ok(())
}

/// The folder and the name of an absolute path.
fn spot(op: &'static str, path: &Path) -> Result<Spot> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        let what = format!("mounts: {} is not a place in the root", path.display());
        return Err(Error::new(ErrorKind::InvalidArgument, op, what));
    };
    Ok(Spot { dir: c_path(op, dir)?, name: c_string(op, name.as_bytes())? })
}

/// The options one by one: each text may hold several, separated by commas, as mount(8) writes them.
pub(super) fn words(options: &[String]) -> impl Iterator<Item = &str> {
    options.iter().flat_map(|text| text.split(','))
}

/// Splits options into the attributes of fsmount(2) and `mount_setattr`(2), and the rest.
fn split(options: &[String]) -> (u64, Vec<String>) {
    let (mut attributes, mut rest) = (0, Vec::new());
    for option in words(options) {
        match FLAGS.iter().find(|(name, _)| *name == option) {
            Some((_, attribute)) => attributes |= attribute,
            None if option.is_empty() => {}
            None => rest.push(option.to_owned()),
        }
    }
    (attributes, rest)
}

fn c_path(op: &'static str, path: &Path) -> Result<CString> {
    c_string(op, path.as_os_str().as_bytes())
}
