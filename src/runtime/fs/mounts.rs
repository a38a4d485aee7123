//! Mounts of the session: each a step in the session's own mount namespace, gone with the handle or the program.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::fs::overlay::Overlay;
use crate::runtime::fs::{mountinfo, private};
use crate::runtime::object::Object;
use crate::runtime::rootless;
use crate::runtime::session::{Done, Handle, HandleId, Intent, Progress, Session, StepId};
use crate::runtime::units::show_bytes;
use crate::sys::mount::{FsContext, Propagation};
use crate::sys::{Errno, SysError, file, mount};
use rustix::fs::{CWD, StatVfsMountFlags as Held};
use rustix::mount::MountAttrFlags as Attr;
use serde_json::json;
use std::any::Any;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The options that belong to the mount and not to the file system: how they are set, and how they are read back.
const FLAGS: [(&str, Attr, Held); 9] = [
    ("ro", Attr::MOUNT_ATTR_RDONLY, Held::RDONLY),
    ("nosuid", Attr::MOUNT_ATTR_NOSUID, Held::NOSUID),
    ("nodev", Attr::MOUNT_ATTR_NODEV, Held::NODEV),
    ("noexec", Attr::MOUNT_ATTR_NOEXEC, Held::NOEXEC),
    ("noatime", Attr::MOUNT_ATTR_NOATIME, Held::NOATIME),
    ("nodiratime", Attr::MOUNT_ATTR_NODIRATIME, Held::NODIRATIME),
    ("relatime", Attr::MOUNT_ATTR_RELATIME, Held::empty()),
    ("strictatime", Attr::MOUNT_ATTR_STRICTATIME, Held::empty()),
    ("nosymfollow", Attr::MOUNT_ATTR_NOSYMFOLLOW, Held::empty()),
];
/// Options that say what holds anyway.
const DEFAULTS: [&str; 6] = ["", "rw", "suid", "dev", "exec", "defaults"];

/// What is to be mounted.
#[derive(Clone, Debug, Default)]
pub struct MountSpec {
    /// The type of the file system; `bind` or `rbind` for a folder or file that is there already.
    pub kind: String,
    /// The device, the folder to bind, or any name; without one, the type.
    pub source: Option<PathBuf>,
    /// Where. It must exist; links in it are followed.
    pub target: PathBuf,
    /// `ro`, `nosuid`, `nodev`, `noexec` and their like, and those of the file system, as mount(8) has them.
    pub options: Vec<String>,
    /// The size that is asked of a tmpfs, which is read back.
    pub size: Option<u64>,
}

impl MountSpec {
    /// A mount of this type with these options.
    #[must_use]
    pub fn new(kind: &str, target: &Path, options: &[&str]) -> Self {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Self { kind: kind.into(), source: None, target: target.into(), options, size: None }
    }

    /// A tmpfs of at most `size` bytes, whose root has the permission bits `mode`.
    #[must_use]
    pub fn tmpfs(target: &Path, size: Option<u64>, mode: Option<u32>) -> Self {
        let mut spec = Self { size, ..Self::new("tmpfs", target, &["nosuid", "nodev"]) };
        spec.options.extend(size.map(|size| format!("size={size}")));
        spec.options.extend(mode.map(|mode| format!("mode={mode:o}")));
        spec
    }

    /// A bind mount of `source`, with what is mounted below it when `recursive`.
    #[must_use]
    pub fn bind(source: &Path, target: &Path, recursive: bool) -> Self {
        let kind = if recursive { "rbind" } else { "bind" };
        Self { source: Some(source.into()), ..Self::new(kind, target, &[]) }
    }

    /// With the option `ro`, if `readonly`.
    #[must_use]
    pub fn readonly(mut self, readonly: bool) -> Self {
        self.options.extend(readonly.then(|| "ro".to_owned()));
        self
    }
}

/// A mount that the session made.
#[derive(Debug)]
pub struct Mount {
    /// Where it is.
    pub target: PathBuf,
    /// What is mounted.
    pub source: String,
    /// The type of the file system, or `bind`.
    pub kind: String,
    /// The options that were asked for.
    pub options: Vec<String>,
    mount_id: u64,
}

/// Mounts a file system in the session's mount namespace, until the handle is closed or the session ends.
///
/// # Errors
/// [`ErrorKind::NotFound`] for a missing target or source; [`ErrorKind::InvalidArgument`] for an option that the file
/// system does not know, in its own words; [`ErrorKind::Unsupported`] for a type that this kernel lacks, and for an
/// option that it accepts and does not hold; [`ErrorKind::PermissionDenied`] without `CAP_SYS_ADMIN`.
pub fn mount(session: &Session, op: &'static str, spec: &MountSpec) -> Result<(HandleId, Rc<Mount>)> {
    let (step, mount) = make(session, op, spec)?;
    Ok(session.adopt(mount, vec![step]))
}

/// As [`mount()`], without a handle of its own.
pub(super) fn make(session: &Session, op: &'static str, spec: &MountSpec) -> Result<(StepId, Mount)> {
    let mount_ns = private::mounts(session, op)?;
    let view = view(spec);
    let spec = view.as_ref().unwrap_or(spec);
    let target = target(op, &spec.target)?;
    let claim = Object::Mount { target: target.clone(), mount_id: None, mount_ns };
    let text = match (&spec.source, spec.kind.as_str()) {
        (Some(source), "bind" | "rbind") => format!("bind {} to {}", source.display(), target.display()),
        (_, kind) => format!("mount {kind} on {}", target.display()),
    };
    let (step, mount_id) = session.step(Intent { op, text, claim }, |progress| {
        let wanted = Wanted::new(&spec.options);
        let detached = match spec.kind.as_str() {
            "bind" | "rbind" => clone(op, spec, &wanted)?,
            _ => create(op, spec, &wanted)?,
        };
        attach(op, &detached, &target, mount_ns, (spec, &wanted), progress)
    })?;
    let (kind, source) = match (&spec.source, spec.kind.as_str()) {
        (Some(source), "bind" | "rbind") => ("bind", source.display().to_string()),
        (Some(source), kind) => (kind, source.display().to_string()),
        (None, kind) => (kind, kind.to_owned()),
    };
    Ok((step, Mount { target, source, kind: kind.into(), options: spec.options.clone(), mount_id }))
}

/// In place of a procfs or sysfs of namespaces that are the machine's, where only its root may make one: a bind of the one
/// there is, with what is mounted below it.
fn view(spec: &MountSpec) -> Option<MountSpec> {
    let there = match spec.kind.as_str() {
        "proc" => "/proc",
        "sysfs" => "/sys",
        _ => return None,
    };
    rootless::entered()?;
    let bind = MountSpec::bind(Path::new(there), &spec.target, true);
    Some(MountSpec { options: spec.options.clone(), ..bind })
}

/// The mount point without links in it: what is mounted there is told by this path when it is unmounted.
fn target(op: &'static str, path: &Path) -> Result<PathBuf> {
    std::fs::canonicalize(path).map_err(|source| {
        let error = Error::io(op, format!("target: cannot resolve {}", path.display()), source).path(path);
        match error.kind() {
            ErrorKind::NotFound => error.hint("a mount point must exist: fs::mkdir makes a folder"),
            _ => error,
        }
    })
}

/// Options, told apart.
#[derive(Debug)]
struct Wanted {
    attributes: Attr,
    held: Held,
    data: Vec<String>,
}

impl Wanted {
    fn new(options: &[String]) -> Self {
        let mut wanted = Self { attributes: Attr::empty(), held: Held::empty(), data: Vec::new() };
        for option in options.iter().flat_map(|text| text.split(',')).filter(|text| !DEFAULTS.contains(text))
        {
            match FLAGS.iter().find(|(name, _, _)| *name == option) {
                Some((_, attribute, held)) => {
                    wanted.attributes |= *attribute;
                    wanted.held |= *held;
                }
                None => wanted.data.push(option.to_owned()),
            }
        }
        wanted
    }
}

/// A detached copy of what is at the source.
fn clone(op: &'static str, spec: &MountSpec, wanted: &Wanted) -> Result<OwnedFd> {
    let invalid = |what: String| Error::new(ErrorKind::InvalidArgument, op, what);
    let Some(source) = &spec.source else { return Err(invalid("a bind mount needs a source".into())) };
    if let Some(unknown) = wanted.data.first() {
        return Err(invalid(format!("a bind mount has no option {unknown:?}")).hint(
            "it takes ro, nosuid, nodev, noexec, noatime, nodiratime, relatime, strictatime, nosymfollow",
        ));
    }
    let recursive = spec.kind == "rbind";
    let tree = mount::clone_tree(CWD, source, recursive).map_err(|error| {
        let unbindable = error.errno() == Errno::EINVAL;
        let error = Error::sys(op, format!("source: cannot bind {}", source.display()), error).path(source);
        if unbindable {
            error.hint("it lies on an unbindable mount, or in another mount namespace")
        } else {
            error
        }
    })?;
    mount::set_attributes(&tree, u64::from(wanted.attributes.bits()), libc::MS_PRIVATE, recursive)
        .context(op, format!("cannot set the options of {}", source.display()))?;
    Ok(tree)
}

/// A detached mount of a file system.
fn create(op: &'static str, spec: &MountSpec, wanted: &Wanted) -> Result<OwnedFd> {
    let kind = spec.kind.as_str();
    let context = FsContext::open(kind).map_err(|source| {
        let missing = mount::is_missing(source.errno());
        let error = Error::sys(op, format!("cannot use the file system {kind:?}"), source);
        match missing {
            true => error
                .kind_is(ErrorKind::Unsupported)
                .hint("this kernel does not have it: /proc/filesystems lists those that are loaded"),
            false => error.hint("it takes CAP_SYS_ADMIN: run as root, or under `unshare -Urm`"),
        }
    })?;
    configure(&context, spec, wanted).map_err(|source| refused(op, spec, &context, source))
}

fn configure(context: &FsContext, spec: &MountSpec, wanted: &Wanted) -> crate::sys::Result<OwnedFd> {
    context.set("source", spec.source.as_deref().unwrap_or(Path::new(&spec.kind)))?;
    let device = spec.source.as_ref().is_some_and(|source| source.is_absolute());
    if device && wanted.attributes.contains(Attr::MOUNT_ATTR_RDONLY) {
        // Of the file system as well: a device that cannot be written to is refused otherwise.
        context.flag("ro")?;
    }
    for option in &wanted.data {
        match option.split_once('=') {
            Some((key, value)) => context.set(key, Path::new(value))?,
            None => context.flag(option)?,
        }
    }
    context.mount(wanted.attributes)
}

/// What the file system refuses, in its own words from the context's log.
fn refused(op: &'static str, spec: &MountSpec, context: &FsContext, source: SysError) -> Error {
    let messages = context.messages();
    let words = if messages.is_empty() { String::new() } else { format!(": {}", messages.join("; ")) };
    let errno = source.errno();
    let error = Error::sys(op, format!("the kernel refuses the mount of {}{words}", spec.kind), source)
        .path(spec.source.as_ref().unwrap_or(&spec.target));
    match errno {
        Errno::EPERM => {
            error.hint("it takes CAP_SYS_ADMIN, over the pid or network namespace that it shows as well")
        }
        Errno::ENOTBLK => error.hint("the source must be a block device"),
        _ => error,
    }
}

fn attach(
    op: &'static str,
    detached: &OwnedFd,
    target: &Path,
    mount_ns: u64,
    (spec, wanted): (&MountSpec, &Wanted),
    progress: &Progress<'_>,
) -> Result<Done<u64>> {
    let fail = |source: SysError| {
        let mixed = matches!(source.errno(), Errno::ENOTDIR | Errno::EINVAL);
        let error = Error::sys(op, format!("cannot mount on {}", target.display()), source).path(target);
        match mixed {
            true => error
                .kind_is(ErrorKind::InvalidArgument)
                .hint("a folder is mounted on a folder, and a file on a file"),
            false => error,
        }
    };
    // Known before it is attached: at no instant is there a mount of ours that the ledger cannot recognise.
    let mount_id = file::identify(detached, Path::new("")).map_err(fail)?.mount_id;
    let object = Object::Mount { target: target.to_owned(), mount_id: Some(mount_id), mount_ns };
    progress.made(object.clone())?;
    mount::attach(detached, CWD, target).map_err(fail)?;
    read_back(op, target, mount_id)?;
    let found = mount::usage(target).map_err(fail)?;
    let missing: Vec<&str> = FLAGS
        .iter()
        .filter(|(_, _, held)| wanted.held.contains(*held) && !found.flags.contains(*held))
        .map(|(name, _, _)| *name)
        .collect();
    let unsupported = |what: String| Err(Error::new(ErrorKind::Unsupported, op, what).path(target));
    if !missing.is_empty() {
        return unsupported(format!(
            "the kernel does not hold {} for {}",
            missing.join(","),
            target.display()
        ));
    }
    if let Some(size) =
        spec.size.filter(|size| found.size.saturating_sub(*size) >= found.block || found.size < *size)
    {
        let (asked, held) = (show_bytes(size), show_bytes(found.size));
        return unsupported(format!("the kernel holds the size {held} and not {asked}"));
    }
    let effect = format!("{} at {} (mount id {mount_id})", spec.kind, target.display());
    Ok(Done { value: mount_id, object, effect })
}

/// Checks that the mount with this id is the one that is seen at its target.
pub(super) fn read_back(op: &'static str, target: &Path, mount_id: u64) -> Result<()> {
    let found = file::identify(CWD, target).context(op, format!("cannot identify {}", target.display()))?;
    if found.mount_id == mount_id {
        return Ok(());
    }
    let what = format!("another mount covers {}", target.display());
    Err(Error::new(ErrorKind::Busy, op, what).path(target))
}

/// Unmounts what the session mounted at `target`, and closes its handle.
///
/// # Errors
/// [`ErrorKind::NotFound`] when nothing is mounted there; [`ErrorKind::PermissionDenied`] for a mount of others.
pub fn umount(session: &Session, target: &Path) -> Result<()> {
    const OP: &str = "fs::umount";
    let resolved = self::target(OP, target)?;
    if let Some(id) =
        session.live().into_iter().map(|live| live.id).find(|id| stands_for(session, *id, &resolved))
    {
        return session.close_handle(id);
    }
    let found = file::identify(CWD, &resolved).context(OP, format!("cannot examine {}", target.display()))?;
    let error = match found.mount_root {
        true => Error::new(
            ErrorKind::PermissionDenied,
            OP,
            format!("{} was not mounted by this session", target.display()),
        )
        .hint("only what fs::mount and its like made is unmounted; a folder of fs::temp_dir is closed"),
        false => Error::new(ErrorKind::NotFound, OP, format!("nothing is mounted at {}", target.display())),
    };
    Err(error.path(target))
}

fn stands_for(session: &Session, id: HandleId, target: &Path) -> bool {
    let Some(handle) = session.peek_handle(id) else { return false };
    let any: Rc<dyn Any> = handle;
    match any.downcast::<Mount>() {
        Ok(mount) => mount.target == target,
        Err(any) => any
            .downcast::<Overlay>()
            .is_ok_and(|overlay| std::fs::canonicalize(&overlay.merged).is_ok_and(|merged| merged == target)),
    }
}

/// A propagation by its name.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for another word.
pub fn parse_propagation(op: &'static str, name: &str) -> Result<Propagation> {
    match name {
        "private" => Ok(Propagation::Private),
        "slave" => Ok(Propagation::Slave),
        "shared" => Ok(Propagation::Shared),
        "unbindable" => Ok(Propagation::Unbindable),
        _ => Err(Error::new(ErrorKind::InvalidArgument, op, format!("unknown propagation {name:?}"))
            .hint("it is private, slave, shared or unbindable")),
    }
}

/// Sets how mounts at and below the mount at `path` travel, in the session's mount namespace; reads it back.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for an unknown word and for a path that is no mount point.
pub fn propagation(session: &Session, path: &Path, name: &str, recursive: bool) -> Result<()> {
    const OP: &str = "fs::propagation";
    let kind = parse_propagation(OP, name)?;
    private::mounts(session, OP)?;
    let path = target(OP, path)?;
    let text = format!("make {} {name}", path.display());
    session.step(Intent { op: OP, text, claim: Object::Nothing }, |_| {
        mount::set_propagation(&path, kind, recursive).map_err(|source| {
            let no_mount = source.errno() == Errno::EINVAL;
            let error = Error::sys(OP, format!("cannot make {} {name}", path.display()), source).path(&path);
            if no_mount { error.hint("it is not a mount point: fs::bind it to itself first") } else { error }
        })?;
        let listed = mountinfo::list(OP, None)?;
        let held = listed.iter().rev().find(|mount| mount.target == path).map(|mount| &mount.propagation);
        // A slave without a master is private.
        let fits =
            |held: &str| held.split(' ').any(|word| word == name) || (name == "slave" && held == "private");
        match held {
            Some(held) if fits(held) => Ok(Done {
                value: (),
                object: Object::Nothing,
                effect: format!("{} is {held}", path.display()),
            }),
            _ => {
                let what =
                    format!("{} is {} and not {name}", path.display(), held.map_or("no mount", |held| held));
                Err(Error::new(ErrorKind::Unsupported, OP, what).path(&path))
            }
        }
    })?;
    Ok(())
}

impl Handle for Mount {
    fn kind(&self) -> &'static str {
        "Mount"
    }

    fn name(&self) -> String {
        self.target.display().to_string()
    }

    fn line(&self) -> String {
        let options =
            if self.options.is_empty() { String::new() } else { format!(" ({})", self.options.join(",")) };
        format!("Mount {} on {}{options}", self.source, self.target.display())
    }

    fn inspect(&self) -> serde_json::Value {
        let there = file::identify(CWD, &self.target).is_ok_and(|found| found.mount_id == self.mount_id);
        json!({
            "target": self.target.display().to_string(),
            "source": self.source,
            "type": self.kind,
            "options": self.options,
            "mount_id": self.mount_id,
            "on_top": there,
        })
    }

    fn keep_refusal(&self) -> Option<&'static str> {
        Some("it lies in the program's own mount namespace and ends with it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_mount_are_told_from_those_of_the_file_system() {
        let wanted = Wanted::new(&[
            "ro,nosuid".into(),
            "rw".into(),
            "size=1m".into(),
            "noatime".into(),
            "newinstance".into(),
        ]);
        assert_eq!(
            wanted.attributes,
            Attr::MOUNT_ATTR_RDONLY | Attr::MOUNT_ATTR_NOSUID | Attr::MOUNT_ATTR_NOATIME
        );
        assert_eq!(wanted.held, Held::RDONLY | Held::NOSUID | Held::NOATIME);
        assert_eq!(wanted.data, ["size=1m", "newinstance"]);
    }
}
