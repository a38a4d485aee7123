//! `fs::overlay`: read-only layers below, a writable one on top, seen as one tree (overlayfs.rst of the kernel).

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::fs::claim::{self, New};
use crate::runtime::fs::idmapped::IdMapping;
use crate::runtime::fs::{fuse, mountinfo, mounts, private, shifted};
use crate::runtime::object::Object;
use crate::runtime::rootless;
use crate::runtime::session::{Done, Handle, HandleId, Intent, Session, StepId};
use crate::sys::mount::FsContext;
use crate::sys::{Errno, SysError, file, inode, mount, record};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::MountAttrFlags;
use serde_json::json;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

const OP: &str = "fs::overlay";
/// The kernel's own bound on layers (`OVL_MAX_STACK`).
const MOST_LAYERS: usize = 500;

/// What `fs::overlay` is asked for.
#[derive(Clone, Debug, Default)]
pub struct OverlaySpec {
    /// The read-only layers, topmost first, as overlayfs counts them.
    pub lowerdir: Vec<PathBuf>,
    /// The writable layer; without it one is made in the session's scratch folder.
    pub upperdir: Option<PathBuf>,
    /// A folder on the same file system for the kernel's own use; without it one is made beside the upper layer.
    pub workdir: Option<PathBuf>,
    /// Where the tree appears; without it a folder in the session's scratch folder. Made if it does not exist.
    pub merged: Option<PathBuf>,
    /// No writable layer at all.
    pub readonly: bool,
    /// Do not sync: faster, and nothing survives a crash of the machine.
    pub volatile: bool,
    /// The image that the layers are of, for a later commit.
    pub origin: Option<Rc<dyn Handle>>,
}

/// A mounted overlay.
#[derive(Debug)]
pub struct Overlay {
    /// The read-only layers, topmost first.
    pub lowerdir: Vec<PathBuf>,
    /// The writable layer.
    pub upperdir: Option<PathBuf>,
    /// Where the tree is.
    pub merged: PathBuf,
    /// The image that the layers are of.
    pub origin: Option<Rc<dyn Handle>>,
    mount_id: u64,
}

/// Mounts an overlay in the session's mount namespace, until the handle is closed or the session ends.
///
/// # Errors
/// [`ErrorKind::NotFound`] for a missing layer; [`ErrorKind::InvalidArgument`] for an upper and a work folder on
/// different file systems, or for what overlayfs itself refuses, in its own words.
pub fn overlay(session: &Session, spec: &OverlaySpec) -> Result<(HandleId, Rc<Overlay>)> {
    let layers = check(spec)?;
    let mount_ns = private::mounts(session, OP)?;
    let mut steps = Vec::new();
    match mount_all(session, spec, layers, mount_ns, &mut steps) {
        Ok(overlay) => Ok(session.adopt(overlay, steps)),
        Err(error) => Err(session.roll_back(steps, error)),
    }
}

/// Checks all that can be checked before anything is made. Returns the layers as absolute paths.
fn check(spec: &OverlaySpec) -> Result<Vec<PathBuf>> {
    let invalid = |what: String| Error::new(ErrorKind::InvalidArgument, OP, what);
    if spec.lowerdir.is_empty() {
        return Err(
            invalid("no lower layer was given".into()).hint("lowerdir takes one folder or a list of them")
        );
    }
    if spec.lowerdir.len() > MOST_LAYERS {
        let what = format!("{} lower layers; overlayfs takes {MOST_LAYERS}", spec.lowerdir.len());
        return Err(Error::new(ErrorKind::LimitReached, OP, what));
    }
    if spec.readonly && (spec.upperdir.is_some() || spec.workdir.is_some()) {
        return Err(invalid("readonly has no use for an upperdir or a workdir".into()));
    }
    if spec.workdir.is_some() && spec.upperdir.is_none() {
        return Err(invalid("a workdir needs an upperdir beside it".into()));
    }
    let layers = spec.lowerdir.iter().map(|path| folder(path, "lowerdir")).collect::<Result<Vec<_>>>()?;
    if let Some(upper) = &spec.upperdir {
        let upper = folder(upper, "upperdir")?;
        if let Some(work) = &spec.workdir {
            same_file_system(&upper, &folder(work, "workdir")?)?;
        }
    }
    Ok(layers)
}

fn folder(path: &Path, role: &str) -> Result<PathBuf> {
    let absolute =
        std::path::absolute(path).context(OP, format!("{role}: cannot resolve {}", path.display()))?;
    let open = file::openat(CWD, &absolute, OFlags::PATH | OFlags::DIRECTORY, Mode::empty());
    open.map_err(|source| {
        let what = match source.errno() {
            Errno::ENOENT => format!("{role} {} does not exist", path.display()),
            Errno::ENOTDIR => format!("{role} {} is not a folder", path.display()),
            _ => format!("cannot open {role} {}", path.display()),
        };
        Error::sys(OP, what, source).path(&absolute).hint("each layer is a folder that exists")
    })?;
    Ok(absolute)
}

fn same_file_system(upper: &Path, work: &Path) -> Result<()> {
    let identify = |path: &Path| {
        let fd = file::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty());
        fd.and_then(|fd| file::identify(&fd, Path::new("")))
            .context(OP, format!("cannot identify {}", path.display()))
    };
    let (a, b) = (identify(upper)?, identify(work)?);
    if (a.dev, a.mount_id) == (b.dev, b.mount_id) {
        return Ok(());
    }
    let what = format!(
        "upperdir {} and workdir {} lie on different file systems (or mounts)",
        upper.display(),
        work.display()
    );
    Err(Error::new(ErrorKind::InvalidArgument, OP, what)
        .path(work)
        .hint("overlayfs renames between them: put the workdir beside the upperdir, or leave it out"))
}

/// The folders of an overlay, all of them there.
struct Layers {
    lowerdir: Vec<PathBuf>,
    upper: Option<PathBuf>,
    work: Option<PathBuf>,
}

impl Layers {
    fn make(
        session: &Session,
        spec: &OverlaySpec,
        home: &Home,
        mut lowerdir: Vec<PathBuf>,
        steps: &mut Vec<StepId>,
    ) -> Result<Self> {
        let upper = match &spec.upperdir {
            Some(path) => Some(std::path::absolute(path).context(OP, "cannot resolve the upperdir")?),
            None if spec.readonly => None,
            None => Some(home.part("upper")?),
        };
        let work = match (&spec.workdir, &upper) {
            (Some(path), _) => Some(std::path::absolute(path).context(OP, "cannot resolve the workdir")?),
            (None, Some(upper)) => Some(home.work(session, spec, upper, steps)?),
            (None, None) => None,
        };
        if upper.is_none() && lowerdir.len() == 1 {
            // The kernel takes no fewer than two layers.
            lowerdir.push(home.part("empty")?);
        }
        Ok(Self { lowerdir, upper, work })
    }

    /// The layers below, and the writable one with its work folder.
    fn parts(&self) -> (&[PathBuf], Option<(&Path, &Path)>) {
        (&self.lowerdir, self.upper.as_deref().zip(self.work.as_deref()))
    }

    /// A detached mount of them.
    fn mount(&self, volatile: bool) -> Result<OwnedFd> {
        create(&self.lowerdir, self.upper.as_deref().zip(self.work.as_deref()), volatile)
    }
}

/// A detached overlay, for one process: it is attached in a mount namespace of that process's own and goes with it.
///
/// # Errors
/// As [`overlay`]. The steps that were made by then are in `steps`.
///
/// With `idmap` the owners of the layers below are shown as it maps them, and the writable layer belongs to root inside.
pub fn detached(
    session: &Session,
    spec: &OverlaySpec,
    idmap: Option<&IdMapping>,
    steps: &mut Vec<StepId>,
) -> Result<OwnedFd> {
    let lowerdir = check(spec)?;
    if idmap.is_some() && rootless::in_user_ns() && spec.upperdir.is_some() {
        let what = "without root a container with other ids writes to a copy, and not to an upperdir";
        return Err(Error::new(ErrorKind::Unsupported, OP, what).hint("leave upperdir out, or userns"));
    }
    if spec.merged.is_some() {
        let what = "the overlay of one process appears nowhere else";
        return Err(
            Error::new(ErrorKind::InvalidArgument, OP, what).hint("leave `merged` out, or use fs::overlay")
        );
    }
    let served = idmap.is_none() && rootless::in_user_ns();
    let home = Home::new(session, spec, idmap.is_some() || served, steps)?;
    let text = format!("mount an overlay of {} for one process", count(lowerdir.len()));
    let layers = Layers::make(session, spec, &home, lowerdir, steps)?;
    if idmap.is_some() {
        private::mounts(session, OP)?;
    }
    let made = session.step(Intent { op: OP, text, claim: Object::Nothing }, |_| {
        let fd = match idmap {
            Some(idmap) if rootless::in_user_ns() => return copied(&layers, &home, idmap),
            Some(idmap) => mapped(&layers, &home, idmap, spec)?,
            None => layers.mount(spec.volatile)?,
        };
        Ok(Done {
            value: fd,
            object: Object::Nothing,
            effect: "a detached mount, which goes with its descriptor".into(),
        })
    });
    match made {
        Ok((step, fd)) => {
            steps.push(step);
            Ok(fd)
        }
        Err(error) if served && fuse::is_refused(&error) => {
            private::mounts(session, OP)?;
            let merged = home.part("merged")?;
            fuse::mount(session, layers.parts(), &merged, error, steps)?;
            mount::clone_tree(CWD, &merged, false).context(OP, format!("cannot open {}", merged.display()))
        }
        Err(error) => Err(error),
    }
}

/// A detached mount of layers whose owners are mapped. The mapped layers are attached beside them while it is made: older
/// kernels take no others.
fn mapped(layers: &Layers, home: &Home, idmap: &IdMapping, spec: &OverlaySpec) -> Result<OwnedFd> {
    let mut shown = Vec::new();
    for (index, layer) in layers.lowerdir.iter().enumerate() {
        let tree = mount::clone_tree(CWD, layer, false)
            .context(OP, format!("cannot open the layer {}", layer.display()))?;
        idmap.apply(OP, &tree, layer, false)?;
        let at = home.part(&format!("mapped-{index}"))?;
        mount::attach(&tree, CWD, &at).context(OP, format!("cannot attach {}", at.display()))?;
        shown.push(Shown(at));
    }
    let lowerdir: Vec<PathBuf> = shown.iter().map(|shown| shown.0.clone()).collect();
    if let (Some(upper), Some((uid, gid)), None) = (&layers.upper, idmap.maps.root_outside(), &spec.upperdir)
    {
        inode::set_owner(CWD, upper, uid, gid)
            .context(OP, format!("cannot give {} to root inside", upper.display()))?;
    }
    create(&lowerdir, layers.upper.as_deref().zip(layers.work.as_deref()), spec.volatile)
}

/// In place of the overlay, a copy of it that belongs to the ids inside: in a user namespace the layers cannot be mapped.
fn copied(layers: &Layers, home: &Home, idmap: &IdMapping) -> Result<Done<OwnedFd>> {
    let mut lowerdir = layers.lowerdir.clone();
    if lowerdir.len() == 1 {
        lowerdir.push(home.part("nothing")?);
    }
    let merged = home.part("merged")?;
    let tree = create(&lowerdir, None, false)?;
    mount::attach(&tree, CWD, &merged).context(OP, format!("cannot attach {}", merged.display()))?;
    let shown = Shown(merged);
    let copy = home.part("copy")?;
    let started = record::clock();
    let files = record::paused(|| shifted::copy(&shown.0, &copy, &idmap.maps))?;
    record::note(|| format!("copy {files} files"), Ok("0".into()), started);
    drop(shown);
    let fd = mount::clone_tree(CWD, &copy, false).context(OP, format!("cannot open {}", copy.display()))?;
    let effect = format!(
        "a copy of {files} files in place of an overlay: without root the owners of layers cannot be mapped"
    );
    Ok(Done { value: fd, object: Object::Nothing, effect })
}

/// A mount in the session's own mount namespace that goes with this.
struct Shown(PathBuf);

impl Drop for Shown {
    fn drop(&mut self) {
        // It would go with the program; the overlay holds its own copy.
        let _ = mount::detach(&self.0);
    }
}

fn mount_all(
    session: &Session,
    spec: &OverlaySpec,
    lowerdir: Vec<PathBuf>,
    mount_ns: u64,
    steps: &mut Vec<StepId>,
) -> Result<Overlay> {
    let home = Home::new(session, spec, true, steps)?;
    let layers = Layers::make(session, spec, &home, lowerdir.clone(), steps)?;
    let upper = layers.upper.clone();
    let merged = home.merged(session, spec, steps)?;
    let text = match &upper {
        Some(_) => format!("mount an overlay of {} and a writable layer", count(lowerdir.len())),
        None => format!("mount a read-only overlay of {}", count(lowerdir.len())),
    };
    let claim = Object::Mount { target: merged.clone(), mount_id: None, mount_ns };
    let made = session.step(Intent { op: OP, text, claim }, |progress| {
        let detached = layers.mount(spec.volatile)?;
        // Known before it is attached: at no instant is there a mount of ours that the ledger cannot recognise.
        let fail = |source| Error::sys(OP, "cannot attach the overlay", source).path(&merged);
        let mount_id = file::identify(&detached, Path::new("")).map_err(fail)?.mount_id;
        let object = Object::Mount { target: merged.clone(), mount_id: Some(mount_id), mount_ns };
        progress.made(object.clone())?;
        mount::attach(&detached, CWD, &merged).map_err(fail)?;
        mounts::read_back(OP, &merged, mount_id)?;
        Ok(Done {
            value: mount_id,
            object,
            effect: format!("overlay at {} (mount id {mount_id})", merged.display()),
        })
    });
    let mount_id = match made {
        Ok((step, mount_id)) => {
            steps.push(step);
            mount_id
        }
        Err(error) if fuse::is_refused(&error) => {
            fuse::mount(session, layers.parts(), &merged, error, steps)?
        }
        Err(error) => return Err(error),
    };
    Ok(Overlay { lowerdir, upperdir: upper, merged, origin: spec.origin.clone(), mount_id })
}

fn count(layers: usize) -> String {
    if layers == 1 { "1 lower layer".into() } else { format!("{layers} lower layers") }
}

/// Where the parts that were not given are made: one folder a overlay in the session's scratch folder.
struct Home {
    path: Option<PathBuf>,
}

impl Home {
    /// Made only where something is to be in it: a layer, or, when `shown`, the folder where the tree appears.
    fn new(session: &Session, spec: &OverlaySpec, shown: bool, steps: &mut Vec<StepId>) -> Result<Self> {
        let layer = if spec.readonly { spec.lowerdir.len() == 1 } else { spec.upperdir.is_none() };
        let needed = (shown && spec.merged.is_none()) || layer;
        if !needed {
            return Ok(Self { path: None });
        }
        let path = private::scratch(session, OP)?.join(format!("overlay-{}", session.serial()));
        // The folder above bears the session's token: there is nothing to tell this one apart from.
        let intent = Intent {
            op: OP,
            text: "make a place for the layers".into(),
            claim: Object::Folder { path: path.clone(), from: None, id: None },
        };
        let (step, ()) = session.step(intent, |_| {
            let made = file::mkdirat(CWD, &path, 0o755);
            made.context(OP, format!("cannot create {}", path.display()))?;
            let object = Object::Folder { path: path.clone(), from: None, id: None };
            Ok(Done { value: (), object, effect: path.display().to_string() })
        })?;
        steps.push(step);
        Ok(Self { path: Some(path) })
    }

    fn part(&self, name: &str) -> Result<PathBuf> {
        let Some(home) = &self.path else {
            return Err(Error::new(ErrorKind::Internal, OP, "no home folder"));
        };
        let path = home.join(name);
        // Below a folder of ours, and removed with it.
        file::mkdirat(CWD, &path, 0o755).context(OP, format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// The work folder: beside the upper one, because both must lie on one mount.
    fn work(
        &self,
        session: &Session,
        spec: &OverlaySpec,
        upper: &Path,
        steps: &mut Vec<StepId>,
    ) -> Result<PathBuf> {
        if spec.upperdir.is_none() {
            return self.part("work");
        }
        let name = upper.file_name().unwrap_or_default().to_string_lossy();
        let path = upper.with_file_name(format!("{name}.work-{}-{}", session.token(), session.serial()));
        steps.push(claim::make(session, OP, &path, New::Folder(0o700))?);
        Ok(path)
    }

    fn merged(&self, session: &Session, spec: &OverlaySpec, steps: &mut Vec<StepId>) -> Result<PathBuf> {
        let Some(path) = &spec.merged else { return self.part("merged") };
        let absolute =
            std::path::absolute(path).context(OP, format!("merged: cannot resolve {}", path.display()))?;
        if absolute.is_dir() {
            return Ok(absolute);
        }
        steps.push(claim::make(session, OP, &absolute, New::Folder(0o755))?);
        Ok(absolute)
    }
}

/// A detached mount of the overlay.
fn create(lowerdir: &[PathBuf], writable: Option<(&Path, &Path)>, volatile: bool) -> Result<OwnedFd> {
    let context = FsContext::open("overlay").map_err(|source| {
        let missing = mount::is_missing(source.errno());
        let error = Error::sys(OP, "cannot use overlayfs", source);
        if missing {
            error.kind_is(ErrorKind::Unsupported).hint("this kernel has no overlayfs: `modprobe overlay`")
        } else {
            error
        }
    })?;
    configure(&context, lowerdir, writable, volatile).map_err(|source| refused(&context, lowerdir, source))
}

/// What overlayfs refuses, in its own words from the context's log.
fn refused(context: &FsContext, lowerdir: &[PathBuf], source: SysError) -> Error {
    let messages = context.messages();
    let errno = source.errno();
    let what = if messages.is_empty() {
        "the kernel refuses the overlay".into()
    } else {
        format!("the kernel refuses the overlay: {}", messages.join("; "))
    };
    let error = Error::sys(OP, what, source);
    match errno {
        Errno::EPERM | Errno::EACCES if rootless::in_user_ns() => error.kind_is(ErrorKind::Unsupported).hint(
            "overlays in a user namespace need Linux 5.11: on an older kernel run as root, or give a folder as rootfs",
        ),
        Errno::EINVAL => error.hint(covered(lowerdir).unwrap_or_else(|| {
            "an upper layer cannot lie on an overlay, and upper and work must be folders of one file system".into()
        })),
        Errno::EBUSY => error.hint("the upper or work folder is in use by another overlay"),
        Errno::ELOOP => error.hint("a layer lies inside another one, or the stack of overlays is too deep"),
        _ => error,
    }
}

/// What mends that a user namespace may not look beneath a mount that it was given: a layer does.
fn covered(lowerdir: &[PathBuf]) -> Option<String> {
    if !rootless::in_user_ns() {
        return None;
    }
    let mounts = mountinfo::list(OP, None).ok()?;
    let below =
        |layer: &Path| mounts.iter().find(|mount| mount.target != layer && mount.target.starts_with(layer));
    let layers = lowerdir.iter().filter_map(|layer| layer.canonicalize().ok());
    layers.into_iter().find_map(|layer| {
        let target = &below(&layer)?.target;
        Some(format!(
            "{} is mounted below {}, and without root a layer may not show what is beneath: use a folder \
             without mounts, or a copy (`fs::copy`)",
            target.display(),
            layer.display()
        ))
    })
}

fn configure(
    context: &FsContext,
    lowerdir: &[PathBuf],
    writable: Option<(&Path, &Path)>,
    volatile: bool,
) -> crate::sys::Result<OwnedFd> {
    context.set("source", Path::new("cshell"))?;
    if rootless::in_user_ns() {
        // Marks that root of a user namespace may set: `user.overlay.*` in place of `trusted.overlay.*` (Linux 5.11).
        context.flag("userxattr")?;
    }
    set_layers(context, lowerdir)?;
    if let Some((upper, work)) = writable {
        context.set("upperdir", upper)?;
        context.set("workdir", work)?;
        // What a commit reads from the upper layer must be there, whole, under its own name.
        // With `userxattr` there are no redirects, and to say so in this way is refused.
        let redirects = (!rootless::in_user_ns()).then_some("redirect_dir");
        for key in redirects.into_iter().chain(["metacopy", "index"]) {
            context.set(key, Path::new("off"))?;
        }
        if volatile {
            context.flag("volatile")?;
        }
    }
    let attributes =
        if writable.is_some() { MountAttrFlags::empty() } else { MountAttrFlags::MOUNT_ATTR_RDONLY };
    context.mount(attributes)
}

/// One `lowerdir+` a layer, which takes any path as it is; where the kernel is too old, one text with the colons escaped.
fn set_layers(context: &FsContext, lowerdir: &[PathBuf]) -> crate::sys::Result<()> {
    if mount::takes_single_layers() {
        return lowerdir.iter().try_for_each(|layer| context.set("lowerdir+", layer));
    }
    let escaped = |path: &PathBuf| path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:");
    let text = lowerdir.iter().map(escaped).collect::<Vec<_>>().join(":");
    context.set("lowerdir", Path::new(&text))
}

impl Handle for Overlay {
    fn kind(&self) -> &'static str {
        "Overlay"
    }

    fn name(&self) -> String {
        self.merged.display().to_string()
    }

    fn line(&self) -> String {
        let mode = if self.upperdir.is_some() { "rw" } else { "ro" };
        format!("Overlay {} ({mode}, {})", self.merged.display(), count(self.lowerdir.len()))
    }

    fn inspect(&self) -> serde_json::Value {
        let shown = |path: &PathBuf| path.display().to_string();
        json!({
            "merged": shown(&self.merged),
            "lowerdir": self.lowerdir.iter().map(shown).collect::<Vec<_>>(),
            "upperdir": self.upperdir.as_ref().map(shown),
            "readonly": self.upperdir.is_none(),
            "mount_id": self.mount_id,
            "image": self.origin.as_ref().map(|image| image.name()),
        })
    }

    fn keep_refusal(&self) -> Option<&'static str> {
        Some(
            "its mount lies in the program's own mount namespace and ends with it; commit it to an image to keep it",
        )
    }
}
