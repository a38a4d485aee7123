//! `fs`: files and folders, mounts, overlays. The maps that its natives take are in [`super::fs_options`].

use crate::runtime::fs::dir::Dir;
use crate::runtime::fs::mounts::{Mount, MountSpec};
use crate::runtime::fs::overlay::{Overlay, OverlaySpec};
use crate::runtime::ns::NsSet;
use crate::script::bind::fs_calls as calls;
use crate::script::bind::fs_options::{
    BindOptions, ChownOptions, Content, CopyOptions, FileMode, KernelFsOptions, MkdirOptions, PathOptions,
    PropagationOptions, StatOptions, TempDirOptions, TmpfsOptions, WriteOptions,
};
use crate::script::bind::path::{PathArg, PathText};
use crate::script::convert::{Either, OrEmpty};
use crate::script::handle::{Held, Open};
use crate::script::native::natives;
use rhai::{Blob, Map};
use serde_json::Value;
use std::path::PathBuf;

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
    /// Returns: the text, all of it.
    /// Errors: `not_found` when it does not exist; `corrupt` when it is not UTF-8; `limit_reached` over 256 MiB;
    /// `invalid_argument` for a folder or a FIFO; `permission_denied` for what this user may not read.
    /// Needs: nothing.
    /// Calls: open(2), read(2)
    /// Undo: nothing.
    /// Example:
    ///     let dir = fs::temp_dir();
    ///     fs::write(dir.path("note"), "hello\n");
    ///     fs::read(dir.path("note"))     // => "hello\n"
    ///     fs::read(dir.path("missing"))  // throws not_found
    fn "fs::read"(#[doc = "The file."] path: PathArg) -> String = calls::read;
    /// The content of a file as a blob.
    ///
    /// Returns: the bytes, at most 256 MiB.
    /// Errors: `not_found` when it does not exist; `limit_reached` over 256 MiB; `invalid_argument` for a folder or a FIFO;
    /// `permission_denied` for what this user may not read.
    /// Needs: nothing.
    /// Calls: open(2), read(2)
    /// Undo: nothing.
    /// Example:
    ///     fs::read_bytes("/proc/self/comm").len() > 0 // => true
    fn "fs::read_bytes"(#[doc = "The file."] path: PathArg) -> Blob = calls::read_bytes;
    /// Writes a text or a blob to a file, which is made, or replaced whole: a reader sees the old or the new content.
    ///
    /// Mode and owner of a file that is there are kept unless `mode` is given; a link at `path` is replaced, not followed.
    /// Devices, files of the kernel (`/proc`, `/sys`, cgroups) and files that are mounts are written in place.
    ///
    /// Errors: `not_found` when the folder is missing; `permission_denied` for what this user may not write;
    /// `invalid_argument` for a folder; `limit_reached` when the disk is full.
    /// Needs: nothing.
    /// Calls: open(2), rename(2), fsync(2)
    /// Undo: nothing; the file stays.
    /// Example:
    ///     let dir = fs::temp_dir();
    ///     fs::write(dir.path("run.sh"), "#!/bin/sh\necho hi\n", #{ mode: 0o755 });
    ///     proc::exec([dir.path("run.sh")]).stdout // => "hi\n"
    fn "fs::write"(
        /// The file.
        path: PathArg,
        /// A text, or a blob for exact bytes.
        content: Content,
        options: OrEmpty<WriteOptions>
    ) = calls::write;
    /// Adds a text or a blob to the end of a file, which is made if it is missing. A link is followed.
    ///
    /// Errors: `not_found` when the folder is missing; `permission_denied` for what this user may not write;
    /// `invalid_argument` for a folder or a FIFO; `limit_reached` when the disk is full.
    /// Needs: nothing.
    /// Calls: open(2), write(2)
    /// Undo: nothing; the file stays.
    /// Example:
    ///     let log = fs::temp_dir().path("log");
    ///     fs::append(log, "one\n");
    ///     fs::append(log, "two\n");
    ///     fs::read(log) // => "one\ntwo\n"
    fn "fs::append"(
        /// The file.
        path: PathArg,
        /// A text, or a blob for exact bytes.
        content: Content
    ) = calls::append;
    /// Copies a file, or a folder with everything below it, to the path `to` (not into it).
    ///
    /// Modes, times, devices and, as root, owners come along; links below `from` stay links. A file at `to` is replaced, a
    /// folder is filled. Extended attributes are not copied. As `cp -rTHp`. What was copied before an error stays.
    ///
    /// Errors: `not_found` when `from` or the folder of `to` is missing; `already_exists` where a folder meets something else;
    /// `invalid_argument` for a copy into itself; `permission_denied` for what this user may not read or write;
    /// `limit_reached` when the disk is full.
    /// Needs: nothing; CAP_CHOWN for owners, CAP_MKNOD for devices.
    /// Calls: copy_file_range(2), cp(1)
    /// Undo: nothing; the copy stays.
    /// Example:
    ///     let dir = fs::temp_dir();
    ///     fs::write(dir.path("a"), "x");
    ///     fs::copy(dir.path("none"), dir)     // throws not_found
    ///     fs::copy(dir.path("a"), dir.path("b"));
    ///     fs::read(dir.path("b"))             // => "x"
    fn "fs::copy"(
        /// The file or folder.
        from: PathArg,
        /// Where the copy is.
        to: PathArg,
        options: OrEmpty<CopyOptions>
    ) = calls::copy;
    /// Moves a file or folder to the path `to`, also to another file system. A file at `to` is replaced.
    ///
    /// Errors: `not_found` when `from` or the folder of `to` is missing; `busy` for a folder at `to` that is not empty;
    /// `already_exists` where a folder meets something else, and for such a folder on another file system; `permission_denied` for
    /// what this user may not write.
    /// Needs: nothing.
    /// Calls: rename(2), mv(1)
    /// Undo: nothing; it stays moved.
    /// Example:
    ///     let dir = fs::temp_dir();
    ///     fs::write(dir.path("a"), "x");
    ///     fs::move(dir.path("a"), dir.path("b"));
    ///     fs::walk(dir) // => ["b"]
    fn "fs::move"(
        /// The file or folder.
        from: PathArg,
        /// Where it is then.
        to: PathArg
    ) = calls::rename;
    /// Removes a file, or a folder with everything below it. Never through a link, never across a mount.
    ///
    /// Errors: `not_found` when it does not exist; `busy` when something is mounted there or below; `permission_denied` for what
    /// this user may not write.
    /// Needs: nothing.
    /// Calls: unlinkat(2), openat2(2)
    /// Undo: nothing; it stays removed.
    /// Example:
    ///     let dir = fs::temp_dir();
    ///     fs::mkdir(dir.path("a/b/c"));
    ///     fs::remove(dir.path("a"));
    ///     fs::walk(dir)             // => []
    ///     fs::remove(dir.path("a")) // throws not_found
    fn "fs::remove"(#[doc = "The file or folder."] path: PathArg) = calls::remove;
    /// Makes a folder, and those above it; one that is there already is fine.
    ///
    /// Errors: `already_exists` for a file, and with `parents: false` for a folder too; `not_found` with `parents: false` when the
    /// one above is missing; `permission_denied` where this user may not write.
    /// Needs: nothing.
    /// Calls: mkdir(2), mkdir(1)
    /// Undo: nothing; the folder stays.
    /// Example:
    ///     let dir = fs::temp_dir();
    ///     fs::mkdir(dir.path("a/b"), #{ mode: 0o700 });
    ///     fs::exists(dir.path("a/b"))                    // => true
    ///     fs::mkdir(dir.path("a/b"), #{ parents: false }) // throws already_exists
    fn "fs::mkdir"(
        /// The folder.
        path: PathArg,
        options: OrEmpty<MkdirOptions>
    ) = calls::mkdir;
    /// Whether there is something at a path. A link counts when it leads somewhere.
    ///
    /// Returns: `true` or `false`.
    /// Errors: `permission_denied` where this user may not look.
    /// Needs: nothing.
    /// Calls: stat(2)
    /// Undo: nothing.
    /// Example:
    ///     [fs::exists("/proc"), fs::exists("/no/such/path")] // => [true, false]
    fn "fs::exists"(#[doc = "The path."] path: PathArg) -> bool = calls::exists;
    /// What is known of a file; of a link itself unless `follow`.
    ///
    /// Returns: `type` (`file directory symlink fifo socket char_device block_device`), `size` in bytes, `mode` (the permission
    /// bits: compare with `0o644`), `uid`, `gid`, `mtime` (seconds since 1970), `ino`, `nlink`, `target` (of a link) and `device`
    /// (`"1:3"`).
    /// Errors: `not_found` when it does not exist; `permission_denied` where this user may not look.
    /// Needs: nothing.
    /// Calls: statx(2), inode(7)
    /// Undo: nothing.
    /// Example:
    ///     let facts = fs::stat("/dev/null");
    ///     [facts.type, facts.device]     // => ["char_device", "1:3"]
    ///     fs::stat("/dev/null").mode == 0o666 // => true
    fn "fs::stat"(
        /// The file.
        path: PathArg,
        options: OrEmpty<StatOptions>
    ) -> Value = calls::stat;
    /// The paths that match a pattern.
    ///
    /// As in a shell, names that begin with a dot are matched only by patterns that do; what does not exist does not
    /// match. `**` does not follow links.
    ///
    /// Returns: the paths, sorted.
    /// Errors: `invalid_argument` for a bad pattern; `permission_denied` for a folder that this user may not list.
    /// Needs: nothing.
    /// Calls: glob(7)
    /// Undo: nothing.
    /// Example:
    ///     fs::glob("/proc/self/n?") // => ["/proc/self/ns"]
    ///     fs::glob("/proc/[")       // throws invalid_argument
    fn "fs::glob"(
        /// `*`, `?`, `[a-z]`, `[!a-z]`, `\` before a character, `**` for any folders.
        pattern: String
    ) -> Vec<PathText> = calls::glob;
    /// The paths of everything below a folder. Links are listed, not followed.
    ///
    /// Returns: the paths, relative to the folder and sorted.
    /// Errors: `not_found` when it does not exist, or is no folder; `permission_denied` for a folder that this user may not list.
    /// Needs: nothing.
    /// Calls: getdents(2)
    /// Undo: nothing.
    /// Example:
    ///     let dir = fs::temp_dir();
    ///     fs::mkdir(dir.path("a/b"));
    ///     fs::walk(dir) // => ["a", "a/b"]
    fn "fs::walk"(#[doc = "The folder."] path: PathArg) -> Vec<PathText> = calls::walk;
    /// A picture of a folder and everything below it.
    ///
    /// Returns: a text of several lines.
    /// Errors: `not_found` when it does not exist, or is no folder; `permission_denied` for a folder that this user may not list.
    /// Needs: nothing.
    /// Calls: getdents(2)
    /// Undo: nothing.
    /// Example:
    ///     let dir = fs::temp_dir();
    ///     fs::mkdir(dir.path("a"));
    ///     fs::tree(dir).contains("a") // => true
    fn "fs::tree"(#[doc = "The folder."] path: PathArg) -> String = calls::tree;
    /// Sets the permission bits of a file or folder. Links are followed.
    ///
    /// Errors: `not_found` when it does not exist; `permission_denied` for what belongs to someone else; `unsupported` when the
    /// file system does not hold them, which is read back.
    /// Needs: nothing for files of one's own; else CAP_FOWNER.
    /// Calls: chmod(2)
    /// Undo: nothing; they stay.
    /// Example:
    ///     let dir = fs::temp_dir();
    ///     fs::write(dir.path("a"), "x");
    ///     fs::chmod(dir.path("a"), "600");
    ///     fs::stat(dir.path("a")).mode == 0o600 // => true
    fn "fs::chmod"(
        /// The file or folder.
        path: PathArg,
        /// `0o644`, or a text of octal digits such as `"644"`.
        mode: FileMode
    ) = calls::chmod;
    /// Sets the owner of a file or folder.
    ///
    /// Errors: `not_found` when it does not exist, and for an unknown name; `permission_denied` without CAP_CHOWN;
    /// `unsupported` when the file system does not hold it, which is read back.
    /// Needs: CAP_CHOWN.
    /// Calls: chown(2), chown(1)
    /// Undo: nothing; it stays.
    /// Example:
    ///     let dir = fs::temp_dir();
    ///     fs::write(dir.path("a"), "x");
    ///     fs::chown(dir.path("a"), "0:0");
    ///     fs::stat(dir.path("a")).uid               // => 0
    ///     fs::chown(dir.path("a"), "no-such-user")  // throws not_found
    fn "fs::chown"(
        /// The file or folder.
        path: PathArg,
        /// `"uid"`, `"uid:gid"`, or names of this machine, `"www-data:adm"`; without a group the file keeps its own.
        owner: String,
        options: OrEmpty<ChownOptions>
    ) = calls::chown;
    /// Makes a symbolic link, as `ln -s` does.
    ///
    /// Errors: `already_exists` when there is something at the path; `not_found` when the folder is missing;
    /// `permission_denied` where this user may not write.
    /// Needs: nothing.
    /// Calls: symlink(2), symlink(7)
    /// Undo: nothing; the link stays.
    /// Example:
    ///     let dir = fs::temp_dir();
    ///     fs::symlink("elsewhere", dir.path + "/link");
    ///     fs::readlink(dir.path + "/link")        // => "elsewhere"
    ///     fs::symlink("again", dir.path + "/link") // throws already_exists
    fn "fs::symlink"(
        /// Where it leads, as it is written; it need not exist.
        target: PathBuf,
        /// Where the link is.
        path: PathArg
    ) = calls::symlink;
    /// Where a symbolic link leads, as it is written.
    ///
    /// Returns: the path.
    /// Errors: `invalid_argument` for what is no link; `not_found` when it does not exist.
    /// Needs: nothing.
    /// Calls: readlink(2)
    /// Undo: nothing.
    /// Example:
    ///     fs::readlink("/proc/self") == `${sys::info().pid}` // => true
    fn "fs::readlink"(#[doc = "The link."] path: PathArg) -> PathText = calls::readlink;
    /// Makes an empty folder that only this user may enter: on disk, or with `size` on a tmpfs.
    ///
    /// Returns: the folder, which goes wherever a path does.
    /// Errors: `permission_denied` for a `size` without the privilege; `invalid_argument` for a size of 0; `limit_reached` when
    /// the disk is full.
    /// Needs: nothing; CAP_SYS_ADMIN with `size`, which is read back.
    /// Calls: mkdir(2), tmpfs(5)
    /// Undo: it is removed with all that is in it.
    /// Example:
    ///     let dir = fs::temp_dir(#{ size: "1MiB" });
    ///     [dir.size, fs::exists(dir.path)] // => [1048576, true]
    ///     fs::stat(dir).mode == 0o700      // => true
    fn "fs::temp_dir"(options: OrEmpty<TempDirOptions>) -> Held<Dir> = calls::temp_dir;
    /// The digest of a file's content. The file is streamed, and may have any size.
    ///
    /// Returns: `"sha256:…"`, as images name their blobs.
    /// Errors: `not_found` when it does not exist; `invalid_argument` for a folder or a FIFO; `permission_denied` for what this
    /// user may not read.
    /// Needs: nothing.
    /// Calls: sha256sum(1)
    /// Undo: nothing.
    /// Example:
    ///     fs::digest("/dev/null") // => "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    fn "fs::digest"(#[doc = "The file."] path: PathArg) -> String = calls::digest;

    /// Mounts an overlay: read-only layers below, a writable one on top, seen as one tree at `merged`.
    ///
    /// Folders that are not given are made in the session's scratch folder and go with the handle; a path in place of
    /// the map is the one lower layer. Where the kernel has no overlays for an ordinary user, fuse-overlayfs mounts it, if it is
    /// installed.
    ///
    /// Returns: the overlay, which is a `rootfs` for commands and a base for `image::commit`.
    /// Errors: `not_found` for a missing layer; `invalid_argument` for an upper and a work folder on different file systems, and
    /// for what overlayfs refuses, in its own words; `unsupported` where the kernel has none or does not allow it;
    /// `permission_denied` without CAP_SYS_ADMIN; `limit_reached` for too many layers; `busy` for an upper folder in use.
    /// Needs: CAP_SYS_ADMIN, or root in a user namespace; Linux 5.11 there.
    /// Calls: fsopen(2), fsconfig(2), move_mount(2), mount(8)
    /// Undo: it is unmounted; folders that were made for it are removed, a given `upperdir` keeps what was written.
    /// Example:
    ///     let root = fs::overlay(image::host(["sh", "cat"]));
    ///     fs::write(root.path("etc/motd"), "hello\n");
    ///     proc::exec(["cat", "/etc/motd"], #{ rootfs: root }).stdout // => "hello\n"
    ///     fs::exists(root.merged)                                    // => true
    ///     [root.lowerdir.len(), fs::exists(root.upperdir)]           // => [1, true]
    ///     fs::overlay("/no/such/layer")                              // throws not_found
    fn "fs::overlay"(
        /// An image, a path or a list of paths for the layers below, or a map.
        layers: OverlaySpec
    ) -> Held<Overlay> = calls::overlay;
    /// What the writable layer of an overlay changes.
    ///
    /// Returns: a sorted list of maps: `path` begins with `/`; `kind` is `"added"`, `"modified"` or `"deleted"`. A folder is not
    /// modified by what happens in it. The same as `overlay.changes()`.
    /// Errors: `invalid_argument` for an overlay without a writable layer; `permission_denied` for what this user may not read.
    /// Needs: nothing beside the overlay.
    /// Calls: getdents(2), getxattr(2)
    /// Undo: nothing.
    /// Example:
    ///     let root = fs::overlay(image::host(["sh"]));
    ///     fs::write(root.path("new"), "x");
    ///     fs::diff(root) // => [#{"kind": "added", "path": "/new"}]
    fn "fs::diff"(
        /// The overlay.
        overlay: Open<Overlay>
    ) -> Vec<Map> = calls::diff;
    /// Makes a folder or file appear at another place as well. Both must exist.
    ///
    /// Returns: the mount.
    /// Errors: `not_found` when one is missing; `invalid_argument` when one is a folder and the other is not; `permission_denied`
    /// without CAP_SYS_ADMIN; `unsupported` for flags that the kernel does not hold.
    /// Needs: CAP_SYS_ADMIN, or root in a user namespace; Linux 5.2, for `readonly` 5.12.
    /// Calls: open_tree(2), move_mount(2), mount_setattr(2), mount(8)
    /// Undo: it is unmounted.
    /// Example:
    ///     let from = fs::temp_dir();
    ///     let to = fs::temp_dir();
    ///     fs::write(from.path("a"), "x");
    ///     let bound = fs::bind(from, to, #{ readonly: true });
    ///     fs::read(to.path("a"))        // => "x"
    ///     fs::write(to.path("b"), "y")  // throws permission_denied
    ///     [bound.type, bound.target == to.path, bound.source == from.path] // => ["bind", true, true]
    fn "fs::bind"(
        /// What is seen.
        source: PathArg,
        /// Where it is seen as well.
        target: PathArg,
        options: OrEmpty<BindOptions>
    ) -> Held<Mount> = calls::bind;
    /// Mounts a file system in memory on a folder, with nosuid and nodev.
    ///
    /// Returns: the mount; flags and size are read back.
    /// Errors: `not_found` when the folder is missing; `permission_denied` without CAP_SYS_ADMIN; `unsupported` for what the kernel
    /// does not hold.
    /// Needs: CAP_SYS_ADMIN, or root in a user namespace; Linux 5.2.
    /// Calls: fsopen(2), fsmount(2), move_mount(2), tmpfs(5)
    /// Undo: it is unmounted, and what is in it is gone.
    /// Example:
    ///     let dir = fs::temp_dir();
    ///     fs::tmpfs(dir, #{ size: "1MiB" });
    ///     fs::mounts().filter(|m| m.target == dir.path)[0].type // => "tmpfs"
    fn "fs::tmpfs"(
        /// The folder.
        target: PathArg,
        options: OrEmpty<TmpfsOptions>
    ) -> Held<Mount> = calls::tmpfs;
    /// Mounts proc on a folder, with nosuid, nodev and noexec.
    ///
    /// It shows the pid namespace of the program: a command in a container gets its own by `mounts` of `proc::exec`.
    ///
    /// Returns: the mount.
    /// Errors: `not_found` when the folder is missing; `permission_denied` without CAP_SYS_ADMIN, and in a user namespace where parts
    /// of the outer proc are masked; `unsupported` for what the kernel does not hold.
    /// Needs: CAP_SYS_ADMIN, or root in a user namespace; Linux 5.2.
    /// Calls: fsopen(2), move_mount(2), proc(5)
    /// Undo: it is unmounted.
    /// Example:
    ///     let dir = fs::temp_dir();
    ///     fs::proc(dir);
    ///     fs::exists(dir.path("self/status")) // => true
    fn "fs::proc"(
        /// The folder.
        target: PathArg,
        options: OrEmpty<KernelFsOptions>
    ) -> Held<Mount> = calls::proc;
    /// Mounts sysfs on a folder, with nosuid, nodev and noexec.
    ///
    /// It shows the network namespace of the program, and root can write to it unless `readonly`.
    ///
    /// Returns: the mount.
    /// Errors: `not_found` when the folder is missing; `permission_denied` without CAP_SYS_ADMIN, and in a user namespace without a
    /// network namespace of its own; `unsupported` for what the kernel does not hold.
    /// Needs: CAP_SYS_ADMIN; Linux 5.2.
    /// Calls: fsopen(2), move_mount(2), sysfs(5)
    /// Undo: it is unmounted.
    /// Example:
    ///     let dir = fs::temp_dir();
    ///     fs::sysfs(dir, #{ readonly: true });
    ///     fs::exists(dir.path("class/net/lo")) // => true
    fn "fs::sysfs"(
        /// The folder.
        target: PathArg,
        options: OrEmpty<KernelFsOptions>
    ) -> Held<Mount> = calls::sysfs;
    /// Mounts a new instance of devpts on a folder, with nosuid and noexec.
    ///
    /// Returns: the mount.
    /// Errors: `not_found` when the folder is missing; `permission_denied` without CAP_SYS_ADMIN; `unsupported` for what the kernel
    /// does not hold.
    /// Needs: CAP_SYS_ADMIN, or root in a user namespace; Linux 5.2.
    /// Calls: fsopen(2), move_mount(2), pts(4)
    /// Undo: it is unmounted.
    /// Example:
    ///     let dir = fs::temp_dir();
    ///     fs::devpts(dir);
    ///     fs::walk(dir) // => ["ptmx"]
    fn "fs::devpts"(
        /// The folder.
        target: PathArg
    ) -> Held<Mount> = calls::devpts;
    /// Mounts any file system that the kernel has, or binds one: the map names it.
    ///
    /// Returns: the mount; its flags are read back.
    /// Errors: `unsupported` for a type that the kernel lacks, and for an option that it takes and does not hold;
    /// `invalid_argument` for an option that it does not know, in its own words; `not_found` for a missing target or source;
    /// `permission_denied` without CAP_SYS_ADMIN; `busy` for a device in use.
    /// Needs: CAP_SYS_ADMIN, or root in a user namespace for the types that the kernel allows there; Linux 5.2.
    /// Calls: fsopen(2), fsconfig(2), move_mount(2), mount(8)
    /// Undo: it is unmounted.
    /// Example:
    ///     let dir = fs::temp_dir();
    ///     fs::mount(#{ type: "tmpfs", target: dir, options: ["size=1m", "noexec"] });
    ///     fs::mount(#{ type: "no-such-fs", target: dir })                     // throws unsupported
    ///     fs::mount(#{ type: "tmpfs", target: dir, options: "size=lots" })    // throws invalid_argument
    fn "fs::mount"(options: MountSpec) -> Held<Mount> = calls::mount;
    /// Unmounts what this session mounted.
    ///
    /// Errors: `permission_denied` for a mount that is not this session's; `not_found` when nothing is mounted there; `busy` when
    /// it is in use.
    /// Needs: what the mount needed.
    /// Calls: umount2(2), umount(8)
    /// Undo: nothing.
    /// Example:
    ///     let dir = fs::temp_dir();
    ///     let mem = fs::tmpfs(dir);
    ///     fs::umount(dir);
    ///     mem.is_open          // => false
    ///     fs::umount("/proc")  // throws permission_denied
    fn "fs::umount"(
        /// A path, a `Mount`, or an `Overlay`, which is closed with that.
        target: Either<Held<Mount>, PathArg>
    ) = calls::umount;
    /// Sets how mounts at a path travel to copies of the mount namespace. Read back.
    ///
    /// Errors: `invalid_argument` for a path that is no mount point, and for an unknown word; `permission_denied` without
    /// CAP_SYS_ADMIN; `not_found` when the path is missing; `unsupported` for what the kernel does not hold.
    /// Needs: CAP_SYS_ADMIN, or root in a user namespace; Linux 5.12.
    /// Calls: mount_setattr(2), mount_namespaces(7)
    /// Undo: nothing; it holds for the mount namespace of the program, which goes with it.
    /// Example:
    ///     let dir = fs::temp_dir();
    ///     fs::propagation(dir, "shared") // throws invalid_argument
    ///     fs::tmpfs(dir);
    ///     fs::propagation(dir, "shared");
    ///     fs::mounts().filter(|m| m.target == dir.path)[0].propagation.starts_with("shared") // => true
    fn "fs::propagation"(
        /// The mount point.
        path: PathArg,
        /// `"private"`, `"slave"`, `"shared"` or `"unbindable"`.
        mode: String,
        options: OrEmpty<PropagationOptions>
    ) = calls::propagation;
    /// What is mounted, in the order of the kernel: for the program, or as the first process of an `Ns` sees it.
    ///
    /// Returns: a list of maps: `target source type options super_options propagation root id parent`; both options are lists.
    /// Errors: `not_found` when the process that keeps the set has ended; `corrupt` for a line that the kernel has never written.
    /// Needs: nothing.
    /// Calls: proc_pid_mountinfo(5)
    /// Undo: nothing.
    /// Example:
    ///     fs::mounts().some(|m| m.target == "/proc" && m.type == "proc") // => true
    ///     fs::mounts(ns::new(["mount"])).len() > 0                       // => true
    fn "fs::mounts"(
        /// A set of namespaces. Without it, those of the program.
        ns: Option<Open<NsSet>>
    ) -> Vec<Value> = calls::mounts;

    /// Where the tree is.
    get "Overlay.merged"(overlay: Open<Overlay>) -> PathText = calls::merged;
    /// The writable layer, or `()`.
    get "Overlay.upperdir"(overlay: Open<Overlay>) -> Option<PathText> = calls::upperdir;
    /// The read-only layers, topmost first.
    get "Overlay.lowerdir"(overlay: Open<Overlay>) -> Vec<PathText> = calls::lowerdir;
    /// The path on this machine of a path inside the overlay, as a program in it would find it.
    ///
    /// Links are followed inside the overlay, and never out of it; with `follow: false` a last one is not. What
    /// does not exist yet is fine.
    ///
    /// Returns: the path.
    /// Errors: `invalid_argument` for a path with `..`, and for too many links.
    /// Needs: nothing.
    /// Calls: openat2(2), path_resolution(7)
    /// Undo: nothing.
    /// Example:
    ///     let root = fs::overlay(image::host(["sh"]));
    ///     root.path("/etc/hosts") == root.merged + "/etc/hosts" // => true
    ///     root.path("../etc")                                   // throws invalid_argument
    method "Overlay.path"(
        overlay: Open<Overlay>,
        /// A path inside, with or without a slash before it.
        path: PathBuf,
        options: OrEmpty<PathOptions>
    ) -> PathText = calls::overlay_path;
    /// What the writable layer changes. The same as `fs::diff(overlay)`.
    ///
    /// Returns: a sorted list of maps with `path` and `kind`.
    /// Errors: `invalid_argument` for an overlay without a writable layer; `permission_denied` for what this user may not read.
    /// Needs: nothing beside the overlay.
    /// Calls: getdents(2), getxattr(2)
    /// Undo: nothing.
    /// Example:
    ///     let root = fs::overlay(image::host(["sh"]));
    ///     fs::remove(root.path("etc/passwd"));
    ///     root.changes() // => [#{"kind": "deleted", "path": "/etc/passwd"}]
    method "Overlay.changes"(overlay: Open<Overlay>) -> Vec<Map> = calls::diff;
    /// Where the folder is.
    get "Dir.path"(dir: Open<Dir>) -> PathText = calls::dir_at;
    /// How many bytes fit in it when it was made with a size, or `()`.
    get "Dir.size"(dir: Open<Dir>) -> Option<u64> = calls::dir_size;
    /// The path of something in the folder. Links are followed inside it, and never out of it.
    ///
    /// Returns: the path; what does not exist yet is fine.
    /// Errors: `invalid_argument` for a path with `..`, and for too many links.
    /// Needs: nothing.
    /// Calls: openat2(2), path_resolution(7)
    /// Undo: nothing.
    /// Example:
    ///     let dir = fs::temp_dir();
    ///     dir.path("a/b") == dir.path + "/a/b" // => true
    ///     dir.path("../x")                     // throws invalid_argument
    method "Dir.path"(
        dir: Open<Dir>,
        /// A path inside, with or without a slash before it.
        path: PathBuf,
        options: OrEmpty<PathOptions>
    ) -> PathText = calls::dir_path;
    /// Where it is mounted.
    get "Mount.target"(mount: Open<Mount>) -> PathText = calls::mount_target;
    /// What is mounted there.
    get "Mount.source"(mount: Open<Mount>) -> String = calls::mount_source;
    /// The type of the file system, or `bind`.
    get "Mount.type"(mount: Open<Mount>) -> String = calls::mount_type;
}
