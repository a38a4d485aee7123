//! `fs`: files and folders, mounts, overlays. The maps that its natives take are in [`super::fs_options`].

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::fs::changes;
use crate::runtime::fs::dir::{self, Dir};
use crate::runtime::fs::mounts::{self, Mount, MountSpec};
use crate::runtime::fs::overlay::{self, Overlay, OverlaySpec};
use crate::runtime::fs::{copy, files, glob, inside, mountinfo, walk};
use crate::runtime::ns::NsSet;
use crate::runtime::session::HandleId;
use crate::script::bind::fs_options::{
    BindOptions, ChownOptions, Content, CopyOptions, FileMode, KernelFsOptions, MkdirOptions, PathOptions,
    PropagationOptions, StatOptions, TempDirOptions, TmpfsOptions, WriteOptions,
};
use crate::script::bind::path::{PathArg, PathText, texts};
use crate::script::call::Call;
use crate::script::convert::{Either, OrEmpty};
use crate::script::handle::{Held, Kind, Open};
use crate::script::native::natives;
use crate::script::returned::IntoScript;
use rhai::{Blob, Map};
use serde::Serialize;
use serde_json::Value;
use std::path::PathBuf;
use std::rc::Rc;

impl Kind for Overlay {
    const NAME: &'static str = "Overlay";
    const DOC: &'static str =
        "A mounted tree of layers with a writable one on top, which can be the root of a process.";
}
impl Kind for Mount {
    const NAME: &'static str = "Mount";
    const DOC: &'static str = "A mount.";
}
impl Kind for Dir {
    const NAME: &'static str = "Dir";
    const DOC: &'static str = "A folder of the script's own, with all that is put in it.";
}

natives! {
    /// Files and folders, mounts and overlays.
    ///
    /// A path is a text, a blob for exact bytes, or an `Overlay`, `Dir` or `Mount` that stands for its folder; paths are
    /// returned as text, or as a blob where they are not UTF-8. `root.path("etc/hosts")` is the path of a file inside an
    /// overlay, with links followed inside it. What the everyday calls write, copy and remove stays so when the
    /// script ends; overlays, mounts and `temp_dir` are taken back. Mounts lie in a mount namespace of the program's own: the
    /// host does not see them.
    pub const FS = "fs";

    /// The content of a file as text.
    ///
    /// Errors: `not_found`; `corrupt` when it is not UTF-8; `limit_reached` over 256 MiB; `invalid_argument` for a folder
    /// or a FIFO.
    fn "fs::read"(path: PathArg) -> String = read;
    /// The content of a file as a blob, of at most 256 MiB.
    ///
    /// Errors: `not_found`; `limit_reached`; `invalid_argument` for a folder or a FIFO.
    fn "fs::read_bytes"(path: PathArg) -> Blob = read_bytes;
    /// Writes a text or a blob to a file, which is made, or replaced whole: a reader sees the old or the new content.
    ///
    /// Mode and owner of a file that is there are kept unless `mode` is given; a link at `path` is replaced, not followed.
    /// Devices, files of the kernel (`/proc`, `/sys`, cgroups) and files that are mounts are written in place.
    /// Errors: `not_found` when the folder is missing; `permission_denied`; `invalid_argument` for a folder.
    fn "fs::write"(path: PathArg, content: Content, options: OrEmpty<WriteOptions>) = write;
    /// Adds a text or a blob to the end of a file, which is made if it is missing. A link is followed.
    ///
    /// Errors: `not_found` when the folder is missing; `permission_denied`.
    fn "fs::append"(path: PathArg, content: Content) = append;
    /// Copies a file, or a folder with everything below it, to the path `to` (not into it).
    ///
    /// Modes, times, devices and, as root, owners come along; links below `from` stay links. A file at `to` is replaced, a
    /// folder is filled. Extended attributes are not copied. See cp(1), as `cp -rTHp`.
    /// Errors: `not_found`; `already_exists` where a folder meets something else; `invalid_argument` for a copy into
    /// itself. What was copied before an error stays.
    fn "fs::copy"(from: PathArg, to: PathArg, options: OrEmpty<CopyOptions>) = copy;
    /// Moves a file or folder to the path `to`, also to another file system. A file at `to` is replaced.
    ///
    /// Errors: `not_found`; `busy` or `already_exists` for a folder at `to` that is not empty. See rename(2).
    fn "fs::move"(from: PathArg, to: PathArg) = rename;
    /// Removes a file, or a folder with everything below it. Never through a link, never across a mount.
    ///
    /// Errors: `not_found`; `busy` when something is mounted there or below.
    fn "fs::remove"(path: PathArg) = remove;
    /// Makes a folder, and those above it; one that is there already is fine.
    ///
    /// Errors: `already_exists` for a file, and with `parents: false` for a folder too. See mkdir(1).
    fn "fs::mkdir"(path: PathArg, options: OrEmpty<MkdirOptions>) = mkdir;
    /// Whether there is something at a path. A link counts when it leads somewhere.
    fn "fs::exists"(path: PathArg) -> bool = exists;
    /// What is known of a file, as a map; of a link itself unless `follow`.
    ///
    /// `type` (`file directory symlink fifo socket char_device block_device`), `size` in bytes, `mode` (the permission bits:
    /// compare with `0o644`), `uid`, `gid`, `mtime` (seconds since 1970), `ino`, `nlink`, `target` (of a link), `device`
    /// (`"1:3"`). Errors: `not_found`. See statx(2).
    fn "fs::stat"(path: PathArg, options: OrEmpty<StatOptions>) -> Value = stat;
    /// The paths that match a pattern, sorted: `*`, `?`, `[a-z]`, `[!a-z]`, `\` before a character, `**` for any folders.
    ///
    /// As in a shell, names that begin with a dot are matched only by patterns that do; what does not exist does not
    /// match. `**` does not follow links. Errors: `invalid_argument` for a bad pattern. See glob(7).
    fn "fs::glob"(pattern: String) -> Vec<PathText> = glob;
    /// The paths of everything below a folder, relative to it and sorted. Links are listed, not followed.
    ///
    /// Errors: `not_found`.
    fn "fs::walk"(path: PathArg) -> Vec<PathText> = walk;
    /// A picture of a folder and everything below it, as text.
    ///
    /// Errors: `not_found`.
    fn "fs::tree"(path: PathArg) -> String = tree;
    /// Sets the permission bits of a file or folder: `0o644`, or a text of octal digits such as `"644"`. Links are followed.
    ///
    /// Read back: `unsupported` when the file system does not hold them. Errors: `not_found`; `permission_denied`. See
    /// chmod(2).
    fn "fs::chmod"(path: PathArg, mode: FileMode) = chmod;
    /// Sets the owner: `"uid"`, `"uid:gid"`, or names of this machine, `"www-data:adm"`. Without a group it keeps its own.
    ///
    /// Needs CAP_CHOWN. Errors: `not_found` for an unknown name; `permission_denied`. See chown(1).
    fn "fs::chown"(path: PathArg, owner: String, options: OrEmpty<ChownOptions>) = chown;
    /// Makes a symbolic link at `path` that leads to `target`, as `ln -s` does. The target need not exist.
    ///
    /// Errors: `already_exists`; `not_found` when the folder is missing.
    fn "fs::symlink"(target: PathBuf, path: PathArg) = symlink;
    /// Where a symbolic link leads, as it is written.
    ///
    /// Errors: `invalid_argument` for what is no link; `not_found`.
    fn "fs::readlink"(path: PathArg) -> PathText = readlink;
    /// Makes an empty folder that only this user may enter, gone with its handle: on disk, or with `size` on a tmpfs.
    ///
    /// Needs CAP_SYS_ADMIN with `size`, which is read back.
    fn "fs::temp_dir"(options: OrEmpty<TempDirOptions>) -> Held<Dir> = temp_dir;
    /// The digest of a file's content: `"sha256:…"`. The file is streamed, and may have any size.
    ///
    /// Errors: `not_found`.
    fn "fs::digest"(path: PathArg) -> String = digest;

    /// Mounts an overlay: read-only layers below, a writable one on top, seen as one tree at `merged`.
    ///
    /// Folders that are not given are made in the session's scratch folder and go with the handle; a path in place of
    /// the map is the one lower layer. Needs CAP_SYS_ADMIN.
    /// Errors: `not_found` for a missing layer; `invalid_argument` for an upper and a work folder on different file systems;
    /// what overlayfs refuses, in its own words. See the kernel's overlayfs.rst.
    fn "fs::overlay"(layers: OverlaySpec) -> Held<Overlay> = overlay;
    /// What the writable layer of an overlay changes: a sorted list of maps `#{ path, kind }`.
    ///
    /// `path` begins with `/`; `kind` is `"added"`, `"modified"` or `"deleted"`. A folder is not modified by what happens
    /// in it. The same as `overlay.changes()`.
    fn "fs::diff"(overlay: Open<Overlay>) -> Vec<Map> = diff;
    /// Makes a folder or file appear at `target` as well. Both must exist; returns a `Mount`.
    ///
    /// Needs CAP_SYS_ADMIN. Errors: `not_found`; `invalid_argument` when one is a folder and the other is not. See mount(8).
    fn "fs::bind"(source: PathArg, target: PathArg, options: OrEmpty<BindOptions>) -> Held<Mount> = bind;
    /// Mounts a file system in memory on the folder `target`, with nosuid and nodev. Returns a `Mount`.
    ///
    /// Needs CAP_SYS_ADMIN; flags and size are read back. See tmpfs(5).
    fn "fs::tmpfs"(target: PathArg, options: OrEmpty<TmpfsOptions>) -> Held<Mount> = tmpfs;
    /// Mounts proc on the folder `target`, with nosuid, nodev and noexec. Returns a `Mount`.
    ///
    /// It shows the pid namespace of the program: a command in a container gets its own by `mounts` of `proc::exec`. Needs
    /// CAP_SYS_ADMIN. See proc(5).
    fn "fs::proc"(target: PathArg, options: OrEmpty<KernelFsOptions>) -> Held<Mount> = proc;
    /// Mounts sysfs on the folder `target`, with nosuid, nodev and noexec. Returns a `Mount`.
    ///
    /// It shows the network namespace of the program, and root can write to it unless `readonly`. Needs CAP_SYS_ADMIN. See
    /// sysfs(5).
    fn "fs::sysfs"(target: PathArg, options: OrEmpty<KernelFsOptions>) -> Held<Mount> = sysfs;
    /// Mounts a new instance of devpts on the folder `target`, with nosuid and noexec. Returns a `Mount`.
    ///
    /// Needs CAP_SYS_ADMIN. See pts(4).
    fn "fs::devpts"(target: PathArg) -> Held<Mount> = devpts;
    /// Mounts any file system that the kernel has, or binds one: the map names it. Returns a `Mount`.
    ///
    /// Needs CAP_SYS_ADMIN; the flags of the mount are read back. Errors: `unsupported` for a type that the kernel lacks;
    /// `invalid_argument` for an option that it does not know, in its own words; `not_found`. See mount(8).
    fn "fs::mount"(options: MountSpec) -> Held<Mount> = mount;
    /// Unmounts what this session mounted: a path, a `Mount`, or an `Overlay`, which is closed with that.
    ///
    /// Errors: `permission_denied` for a mount that is not this session's; `not_found` when nothing is mounted there.
    fn "fs::umount"(target: Either<Held<Mount>, PathArg>) = umount;
    /// Sets how mounts at `path` travel to copies: `"private"`, `"slave"`, `"shared"` or `"unbindable"`.
    ///
    /// Holds for the mount namespace of the program, and is read back. Needs CAP_SYS_ADMIN. Errors: `invalid_argument` for a
    /// path that is no mount point. See mount_namespaces(7).
    fn "fs::propagation"(path: PathArg, mode: String, options: OrEmpty<PropagationOptions>) = propagation;
    /// What is mounted, in the order of the kernel: for the program, or as the first process of an `Ns` sees it.
    ///
    /// A list of maps: `target source type options super_options propagation root id parent`; both options are lists.
    /// See proc_pid_mountinfo(5).
    fn "fs::mounts"(ns: Option<Open<NsSet>>) -> Vec<Value> = mounts;

    /// Where the tree is.
    get "Overlay.merged"(overlay: Open<Overlay>) -> PathText = merged;
    /// The writable layer, or `()`.
    get "Overlay.upperdir"(overlay: Open<Overlay>) -> Option<PathText> = upperdir;
    /// The read-only layers, topmost first.
    get "Overlay.lowerdir"(overlay: Open<Overlay>) -> Vec<PathText> = lowerdir;
    /// The path on this machine of a path inside the overlay, as a program in it would find it.
    ///
    /// Links are followed inside the overlay, and never out of it; with `follow: false` a last one is not. What
    /// does not exist yet is fine. Errors: `invalid_argument` for a path with `..`.
    method "Overlay.path"(overlay: Open<Overlay>, path: PathBuf, options: OrEmpty<PathOptions>) -> PathText = overlay_path;
    /// What the writable layer changes. The same as `fs::diff(overlay)`.
    method "Overlay.changes"(overlay: Open<Overlay>) -> Vec<Map> = diff;
    /// Where the folder is.
    get "Dir.path"(dir: Open<Dir>) -> PathText = dir_at;
    /// How many bytes fit in it when it was made with a size, or `()`.
    get "Dir.size"(dir: Open<Dir>) -> Option<u64> = dir_size;
    /// The path of something in the folder. Links are followed inside it, and never out of it.
    method "Dir.path"(dir: Open<Dir>, path: PathBuf, options: OrEmpty<PathOptions>) -> PathText = dir_path;
    /// Where it is mounted.
    get "Mount.target"(mount: Open<Mount>) -> PathText = mount_target;
    /// What is mounted there.
    get "Mount.source"(mount: Open<Mount>) -> String = mount_source;
    /// The type of the file system, or `bind`.
    get "Mount.type"(mount: Open<Mount>) -> String = mount_type;
}

fn read(call: &Call<'_>, path: PathArg) -> Result<String> {
    files::read_text(call.op(), &path.0)
}

fn read_bytes(call: &Call<'_>, path: PathArg) -> Result<Blob> {
    files::read(call.op(), &path.0)
}

fn write(_: &Call<'_>, path: PathArg, content: Content, options: OrEmpty<WriteOptions>) -> Result<()> {
    files::write(&path.0, &content.0, options.0.mode)
}

fn append(_: &Call<'_>, path: PathArg, content: Content) -> Result<()> {
    files::append(&path.0, &content.0)
}

fn copy(_: &Call<'_>, from: PathArg, to: PathArg, options: OrEmpty<CopyOptions>) -> Result<()> {
    copy::copy(&from.0, &to.0, options.0.chmod)
}

fn rename(_: &Call<'_>, from: PathArg, to: PathArg) -> Result<()> {
    copy::rename(&from.0, &to.0)
}

fn remove(_: &Call<'_>, path: PathArg) -> Result<()> {
    files::remove(&path.0)
}

fn mkdir(_: &Call<'_>, path: PathArg, options: OrEmpty<MkdirOptions>) -> Result<()> {
    files::mkdir(&path.0, options.0.mode, options.0.parents)
}

fn exists(_: &Call<'_>, path: PathArg) -> Result<bool> {
    files::exists(&path.0)
}

fn stat(call: &Call<'_>, path: PathArg, options: OrEmpty<StatOptions>) -> Result<Value> {
    files::stat(&path.0, options.0.follow).and_then(|facts| facts_of(call, &facts))
}

fn glob(_: &Call<'_>, pattern: String) -> Result<Vec<PathText>> {
    glob::glob(&pattern).map(texts)
}

fn walk(_: &Call<'_>, path: PathArg) -> Result<Vec<PathText>> {
    walk::walk(&path.0).map(texts)
}

fn tree(_: &Call<'_>, path: PathArg) -> Result<String> {
    walk::tree(&path.0)
}

fn chmod(_: &Call<'_>, path: PathArg, mode: FileMode) -> Result<()> {
    files::chmod(&path.0, mode.0)
}

fn chown(_: &Call<'_>, path: PathArg, owner: String, options: OrEmpty<ChownOptions>) -> Result<()> {
    files::chown(&path.0, &owner, options.0.recursive)
}

fn symlink(_: &Call<'_>, target: PathBuf, path: PathArg) -> Result<()> {
    files::symlink(&target, &path.0)
}

fn readlink(_: &Call<'_>, path: PathArg) -> Result<PathText> {
    files::readlink(&path.0).map(PathText)
}

fn temp_dir(call: &Call<'_>, options: OrEmpty<TempDirOptions>) -> Result<(HandleId, Rc<Dir>)> {
    dir::temp_dir(call.session(), options.0.size)
}

fn digest(_: &Call<'_>, path: PathArg) -> Result<String> {
    files::digest(&path.0)
}

fn overlay(call: &Call<'_>, spec: OverlaySpec) -> Result<(HandleId, Rc<Overlay>)> {
    overlay::overlay(call.session(), &spec)
}

fn diff(_: &Call<'_>, overlay: Open<Overlay>) -> Result<Vec<Map>> {
    Ok(changes::changes(&overlay)?.into_iter().map(change_map).collect())
}

fn bind(
    call: &Call<'_>,
    source: PathArg,
    target: PathArg,
    options: OrEmpty<BindOptions>,
) -> Result<(HandleId, Rc<Mount>)> {
    let BindOptions { readonly, recursive } = options.0;
    let spec = MountSpec::bind(&source.0, &target.0, recursive).readonly(readonly);
    mounts::mount(call.session(), call.op(), &spec)
}

fn tmpfs(call: &Call<'_>, target: PathArg, options: OrEmpty<TmpfsOptions>) -> Result<(HandleId, Rc<Mount>)> {
    let TmpfsOptions { size, mode, readonly } = options.0;
    let spec = MountSpec::tmpfs(&target.0, size, mode).readonly(readonly);
    mounts::mount(call.session(), call.op(), &spec)
}

fn proc(
    call: &Call<'_>,
    target: PathArg,
    options: OrEmpty<KernelFsOptions>,
) -> Result<(HandleId, Rc<Mount>)> {
    let spec = MountSpec::new("proc", &target.0, &["nosuid", "nodev", "noexec"]).readonly(options.0.readonly);
    mounts::mount(call.session(), call.op(), &spec)
}

fn sysfs(
    call: &Call<'_>,
    target: PathArg,
    options: OrEmpty<KernelFsOptions>,
) -> Result<(HandleId, Rc<Mount>)> {
    let spec =
        MountSpec::new("sysfs", &target.0, &["nosuid", "nodev", "noexec"]).readonly(options.0.readonly);
    mounts::mount(call.session(), call.op(), &spec)
}

fn devpts(call: &Call<'_>, target: PathArg) -> Result<(HandleId, Rc<Mount>)> {
    let options = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    mounts::mount(call.session(), call.op(), &MountSpec::new("devpts", &target.0, &options))
}

fn mount(call: &Call<'_>, spec: MountSpec) -> Result<(HandleId, Rc<Mount>)> {
    mounts::mount(call.session(), call.op(), &spec)
}

fn umount(call: &Call<'_>, target: Either<Held<Mount>, PathArg>) -> Result<()> {
    match target {
        Either::Left(mount) => call.session().close_handle(mount.id()),
        Either::Right(path) => mounts::umount(call.session(), &path.0),
    }
}

fn propagation(
    call: &Call<'_>,
    path: PathArg,
    mode: String,
    options: OrEmpty<PropagationOptions>,
) -> Result<()> {
    mounts::propagation(call.session(), &path.0, &mode, options.0.recursive)
}

fn mounts(call: &Call<'_>, ns: Option<Open<NsSet>>) -> Result<Vec<Value>> {
    let listed = mountinfo::list(call.op(), ns.map(|ns| ns.pid))?;
    listed.iter().map(|mount| facts_of(call, mount)).collect()
}

fn merged(_: &Call<'_>, overlay: Open<Overlay>) -> Result<PathText> {
    Ok(PathText(overlay.merged.clone()))
}

fn upperdir(_: &Call<'_>, overlay: Open<Overlay>) -> Result<Option<PathText>> {
    Ok(overlay.upperdir.clone().map(PathText))
}

fn lowerdir(_: &Call<'_>, overlay: Open<Overlay>) -> Result<Vec<PathText>> {
    Ok(texts(overlay.lowerdir.clone()))
}

fn overlay_path(
    call: &Call<'_>,
    overlay: Open<Overlay>,
    path: PathBuf,
    options: OrEmpty<PathOptions>,
) -> Result<PathText> {
    inside::resolve(call.op(), &overlay.merged, &path, options.0.follow).map(PathText)
}

fn dir_at(_: &Call<'_>, dir: Open<Dir>) -> Result<PathText> {
    Ok(PathText(dir.path.clone()))
}

fn dir_size(_: &Call<'_>, dir: Open<Dir>) -> Result<Option<u64>> {
    Ok(dir.size)
}

fn dir_path(
    call: &Call<'_>,
    dir: Open<Dir>,
    path: PathBuf,
    options: OrEmpty<PathOptions>,
) -> Result<PathText> {
    inside::resolve(call.op(), &dir.path, &path, options.0.follow).map(PathText)
}

fn mount_target(_: &Call<'_>, mount: Open<Mount>) -> Result<PathText> {
    Ok(PathText(mount.target.clone()))
}

fn mount_source(_: &Call<'_>, mount: Open<Mount>) -> Result<String> {
    Ok(mount.source.clone())
}

fn mount_type(_: &Call<'_>, mount: Open<Mount>) -> Result<String> {
    Ok(mount.kind.clone())
}

/// Facts of the runtime as a map.
fn facts_of(call: &Call<'_>, facts: &impl Serialize) -> Result<Value> {
    serde_json::to_value(facts).map_err(|source| {
        Error::new(ErrorKind::Internal, call.op(), "facts without a form").caused_by(source)
    })
}

fn change_map(change: changes::Change) -> Map {
    let path = PathText(change.path).into_script();
    Map::from_iter([("path".into(), path), ("kind".into(), change.kind.name().into())])
}
