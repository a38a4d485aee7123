//! What the natives of [`super::fs`] do: convert, and call one function of the runtime.

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

pub(super) fn read(call: &Call<'_>, path: PathArg) -> Result<String> {
    files::read_text(call.op(), &path.0)
}

pub(super) fn read_bytes(call: &Call<'_>, path: PathArg) -> Result<Blob> {
    files::read(call.op(), &path.0)
}

pub(super) fn write(
    _: &Call<'_>,
    path: PathArg,
    content: Content,
    options: OrEmpty<WriteOptions>,
) -> Result<()> {
    files::write(&path.0, &content.0, options.0.mode)
}

pub(super) fn append(_: &Call<'_>, path: PathArg, content: Content) -> Result<()> {
    files::append(&path.0, &content.0)
}

pub(super) fn copy(_: &Call<'_>, from: PathArg, to: PathArg, options: OrEmpty<CopyOptions>) -> Result<()> {
    copy::copy(&from.0, &to.0, options.0.chmod)
}

pub(super) fn rename(_: &Call<'_>, from: PathArg, to: PathArg) -> Result<()> {
    copy::rename(&from.0, &to.0)
}

pub(super) fn remove(_: &Call<'_>, path: PathArg) -> Result<()> {
    files::remove(&path.0)
}

pub(super) fn mkdir(_: &Call<'_>, path: PathArg, options: OrEmpty<MkdirOptions>) -> Result<()> {
    files::mkdir(&path.0, options.0.mode, options.0.parents)
}

pub(super) fn exists(_: &Call<'_>, path: PathArg) -> Result<bool> {
    files::exists(&path.0)
}

pub(super) fn stat(call: &Call<'_>, path: PathArg, options: OrEmpty<StatOptions>) -> Result<Value> {
    files::stat(&path.0, options.0.follow).and_then(|facts| facts_of(call, &facts))
}

pub(super) fn glob(_: &Call<'_>, pattern: String) -> Result<Vec<PathText>> {
    glob::glob(&pattern).map(texts)
}

pub(super) fn walk(_: &Call<'_>, path: PathArg) -> Result<Vec<PathText>> {
    walk::walk(&path.0).map(texts)
}

pub(super) fn tree(_: &Call<'_>, path: PathArg) -> Result<String> {
    walk::tree(&path.0)
}

pub(super) fn chmod(_: &Call<'_>, path: PathArg, mode: FileMode) -> Result<()> {
    files::chmod(&path.0, mode.0)
}

pub(super) fn chown(
    _: &Call<'_>,
    path: PathArg,
    owner: String,
    options: OrEmpty<ChownOptions>,
) -> Result<()> {
    files::chown(&path.0, &owner, options.0.recursive)
}

pub(super) fn symlink(_: &Call<'_>, target: PathBuf, path: PathArg) -> Result<()> {
    files::symlink(&target, &path.0)
}

pub(super) fn readlink(_: &Call<'_>, path: PathArg) -> Result<PathText> {
    files::readlink(&path.0).map(PathText)
}

pub(super) fn temp_dir(call: &Call<'_>, options: OrEmpty<TempDirOptions>) -> Result<(HandleId, Rc<Dir>)> {
    dir::temp_dir(call.session(), options.0.size)
}

pub(super) fn digest(_: &Call<'_>, path: PathArg) -> Result<String> {
    files::digest(&path.0)
}

pub(super) fn overlay(call: &Call<'_>, spec: OverlaySpec) -> Result<(HandleId, Rc<Overlay>)> {
    overlay::overlay(call.session(), &spec)
}

pub(super) fn diff(_: &Call<'_>, overlay: Open<Overlay>) -> Result<Vec<Map>> {
    Ok(changes::changes(&overlay)?.into_iter().map(change_map).collect())
}

pub(super) fn bind(
    call: &Call<'_>,
    source: PathArg,
    target: PathArg,
    options: OrEmpty<BindOptions>,
) -> Result<(HandleId, Rc<Mount>)> {
    let BindOptions { readonly, recursive } = options.0;
    let spec = MountSpec::bind(&source.0, &target.0, recursive).readonly(readonly);
    mounts::mount(call.session(), call.op(), &spec)
}

pub(super) fn tmpfs(
    call: &Call<'_>,
    target: PathArg,
    options: OrEmpty<TmpfsOptions>,
) -> Result<(HandleId, Rc<Mount>)> {
    let TmpfsOptions { size, mode, readonly } = options.0;
    let spec = MountSpec::tmpfs(&target.0, size, mode).readonly(readonly);
    mounts::mount(call.session(), call.op(), &spec)
}

pub(super) fn proc(
    call: &Call<'_>,
    target: PathArg,
    options: OrEmpty<KernelFsOptions>,
) -> Result<(HandleId, Rc<Mount>)> {
    let spec = MountSpec::new("proc", &target.0, &["nosuid", "nodev", "noexec"]).readonly(options.0.readonly);
    mounts::mount(call.session(), call.op(), &spec)
}

pub(super) fn sysfs(
    call: &Call<'_>,
    target: PathArg,
    options: OrEmpty<KernelFsOptions>,
) -> Result<(HandleId, Rc<Mount>)> {
    let spec =
        MountSpec::new("sysfs", &target.0, &["nosuid", "nodev", "noexec"]).readonly(options.0.readonly);
    mounts::mount(call.session(), call.op(), &spec)
}

pub(super) fn devpts(call: &Call<'_>, target: PathArg) -> Result<(HandleId, Rc<Mount>)> {
    let options = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    mounts::mount(call.session(), call.op(), &MountSpec::new("devpts", &target.0, &options))
}

pub(super) fn mount(call: &Call<'_>, spec: MountSpec) -> Result<(HandleId, Rc<Mount>)> {
    mounts::mount(call.session(), call.op(), &spec)
}

pub(super) fn umount(call: &Call<'_>, target: Either<Held<Mount>, PathArg>) -> Result<()> {
    match target {
        Either::Left(mount) => call.session().close_handle(mount.id()),
        Either::Right(path) => mounts::umount(call.session(), &path.0),
    }
}

pub(super) fn propagation(
    call: &Call<'_>,
    path: PathArg,
    mode: String,
    options: OrEmpty<PropagationOptions>,
) -> Result<()> {
    mounts::propagation(call.session(), &path.0, &mode, options.0.recursive)
}

pub(super) fn mounts(call: &Call<'_>, ns: Option<Open<NsSet>>) -> Result<Vec<Value>> {
    let listed = mountinfo::list(call.op(), ns.map(|ns| ns.pid))?;
    listed.iter().map(|mount| facts_of(call, mount)).collect()
}

pub(super) fn merged(_: &Call<'_>, overlay: Open<Overlay>) -> Result<PathText> {
    Ok(PathText(overlay.merged.clone()))
}

pub(super) fn upperdir(_: &Call<'_>, overlay: Open<Overlay>) -> Result<Option<PathText>> {
    Ok(overlay.upperdir.clone().map(PathText))
}

pub(super) fn lowerdir(_: &Call<'_>, overlay: Open<Overlay>) -> Result<Vec<PathText>> {
    Ok(texts(overlay.lowerdir.clone()))
}

pub(super) fn overlay_path(
    call: &Call<'_>,
    overlay: Open<Overlay>,
    path: PathBuf,
    options: OrEmpty<PathOptions>,
) -> Result<PathText> {
    inside::resolve(call.op(), &overlay.merged, &path, options.0.follow).map(PathText)
}

pub(super) fn dir_at(_: &Call<'_>, dir: Open<Dir>) -> Result<PathText> {
    Ok(PathText(dir.path.clone()))
}

pub(super) fn dir_size(_: &Call<'_>, dir: Open<Dir>) -> Result<Option<u64>> {
    Ok(dir.size)
}

pub(super) fn dir_path(
    call: &Call<'_>,
    dir: Open<Dir>,
    path: PathBuf,
    options: OrEmpty<PathOptions>,
) -> Result<PathText> {
    inside::resolve(call.op(), &dir.path, &path, options.0.follow).map(PathText)
}

pub(super) fn mount_target(_: &Call<'_>, mount: Open<Mount>) -> Result<PathText> {
    Ok(PathText(mount.target.clone()))
}

pub(super) fn mount_source(_: &Call<'_>, mount: Open<Mount>) -> Result<String> {
    Ok(mount.source.clone())
}

pub(super) fn mount_type(_: &Call<'_>, mount: Open<Mount>) -> Result<String> {
    Ok(mount.kind.clone())
}

/// Facts of the runtime as a map.
pub(super) fn facts_of(call: &Call<'_>, facts: &impl Serialize) -> Result<Value> {
    serde_json::to_value(facts).map_err(|source| {
        Error::new(ErrorKind::Internal, call.op(), "facts without a form").caused_by(source)
    })
}

pub(super) fn change_map(change: changes::Change) -> Map {
    let path = PathText(change.path).into_script();
    Map::from_iter([("path".into(), path), ("kind".into(), change.kind.name().into())])
}
