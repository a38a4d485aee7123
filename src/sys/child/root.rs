//! Steps in a root that may be hostile: an image can hold symbolic links in any place, and other containers may change
//! a volume while we look.
//!
//! So a path is resolved once, to a descriptor, and never through the magic links of `/proc`, which lead out of the root
//! by descriptors that this process still holds (CVE-2024-21626, CVE-2024-45310); what is mounted, made or entered goes by
//! that descriptor. The root is the child's own by then: other links, and `..`, stay inside. What belongs to the kernel
//! (`/proc`, `/sys`, `/dev`) lies on an ordinary folder, without any link on the way (CVE-2019-16884, CVE-2025-31133,
//! CVE-2025-52565).

use super::{AT_FDCWD, MountCall, Outcome, Spot, existing, syscall, text};
use std::ffi::{CStr, CString};

/// `struct open_how` of openat2(2).
#[repr(C)]
struct How {
    flags: u64,
    mode: u64,
    resolve: u64,
}

const OPEN_TREE_CLONE: usize = 1;
const OPEN_TREE_CLOEXEC: usize = libc::O_CLOEXEC as usize;
const AT_RECURSIVE: usize = 0x8000;
const MOVE_EMPTY: usize = 0x04 | 0x40;
/// Commands of fsconfig(2).
const SET_FLAG: usize = 0;
const SET_STRING: usize = 1;
const CREATE: usize = 6;
/// `MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC`.
const BLANK: u64 =
    libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
/// The device number of `/dev/null`.
const NULL: (u32, u32) = (1, 3);

/// What steps of this kind share: descriptors that are opened at the first use, and close at exec.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shared {
    /// An empty, read-only folder that is mounted somewhere.
    blank: Option<usize>,
    /// The `/dev/null` of the root.
    null: Option<usize>,
}

/// Opens what is at `path`, to be mounted on or entered.
pub(super) fn find(path: usize, flags: i32, no_links: bool) -> Outcome {
    let links = if no_links { libc::RESOLVE_NO_SYMLINKS } else { libc::RESOLVE_NO_MAGICLINKS };
    let flags = (libc::O_PATH | libc::O_CLOEXEC | flags) as u64;
    let how = How { flags, mode: 0, resolve: links };
    let how_at = (&raw const how).addr();
    syscall(libc::SYS_openat2, [AT_FDCWD, path, how_at, size_of::<How>(), 0, 0])
}

/// Opens a file of the kernel's, which no link leads to.
pub(super) fn open(path: &CStr, flags: i32) -> Outcome {
    let how = How { flags: flags as u64, mode: 0, resolve: libc::RESOLVE_NO_SYMLINKS };
    let how_at = (&raw const how).addr();
    syscall(libc::SYS_openat2, [AT_FDCWD, path.as_ptr().addr(), how_at, size_of::<How>(), 0, 0])
}

/// Closing a descriptor of ours cannot fail in a way that matters.
pub(super) fn close(fd: usize) {
    let _ = syscall(libc::SYS_close, [fd, 0, 0, 0, 0, 0]);
}

/// Runs `act` with the folder of a spot and its name.
fn at(spot: &Spot, act: impl FnOnce(usize, usize) -> Outcome) -> Outcome {
    let dir = find(text(&spot.dir), libc::O_DIRECTORY, false)?;
    let outcome = act(dir, text(&spot.name));
    close(dir);
    outcome
}

/// Makes a folder; an existing one, or a link to one, is fine.
pub(super) fn folder(spot: &Spot, mode: u32) -> Outcome {
    existing(at(spot, |dir, name| syscall(libc::SYS_mkdirat, [dir, name, mode as usize, 0, 0, 0])))
}

/// Makes a device node, or an empty file; an existing file is fine.
pub(super) fn node(spot: &Spot, mode: u32, dev: u64) -> Outcome {
    at(spot, |dir, name| {
        match syscall(libc::SYS_mknodat, [dir, name, mode as usize, dev as usize, 0, 0]) {
            Err(libc::EEXIST) => Ok(0),
            // The mask of the caller does not apply to what was asked.
            Ok(_) => syscall(libc::SYS_fchmodat, [dir, name, (mode & 0o7777) as usize, 0, 0, 0]),
            other => other,
        }
    })
}

/// Makes a symbolic link; an existing file is fine.
pub(super) fn link(target: &CString, spot: &Spot) -> Outcome {
    existing(at(spot, |dir, name| syscall(libc::SYS_symlinkat, [text(target), dir, name, 0, 0, 0])))
}

pub(super) fn move_to(mount: usize, target: usize) -> Outcome {
    let empty = c"".as_ptr().addr();
    syscall(libc::SYS_move_mount, [mount, empty, target, empty, MOVE_EMPTY, 0])
}

/// Attaches a detached mount at a path.
pub(super) fn attach(mount: usize, path: &CString) -> Outcome {
    let target = find(text(path), 0, false)?;
    let outcome = move_to(mount, target);
    close(target);
    outcome
}

/// Makes a file system and mounts it at a path.
pub(super) fn mount(call: &MountCall) -> Outcome {
    let target = find(text(&call.target), libc::O_DIRECTORY, call.no_links)?;
    let outcome = detached(call).and_then(|mount| {
        let moved = move_to(mount, target);
        close(mount);
        moved
    });
    close(target);
    outcome
}

fn detached(call: &MountCall) -> Outcome {
    let context = syscall(libc::SYS_fsopen, [text(&call.kind), 1, 0, 0, 0, 0])?;
    let outcome = configure(context, call);
    close(context);
    outcome
}

fn configure(context: usize, call: &MountCall) -> Outcome {
    let set = |command: usize, key: usize, value: usize| {
        syscall(libc::SYS_fsconfig, [context, command, key, value, 0, 0])
    };
    set(SET_STRING, c"source".as_ptr().addr(), text(&call.source))?;
    for (key, value) in &call.options {
        match value {
            Some(value) => set(SET_STRING, text(key), text(value))?,
            None => set(SET_FLAG, text(key), 0)?,
        };
    }
    set(CREATE, 0, 0)?;
    syscall(libc::SYS_fsmount, [context, 1, call.attributes as usize, 0, 0, 0])
}

/// A detached copy of what is mounted, or lies, at a descriptor.
pub(super) fn copy(fd: usize, recursive: usize) -> Outcome {
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH as usize | recursive;
    syscall(libc::SYS_open_tree, [fd, c"".as_ptr().addr(), flags, 0, 0, 0])
}

fn set_attributes(mount: usize, attributes: u64, recursive: usize) -> Outcome {
    // struct mount_attr: set, clear, propagation, user namespace.
    let attributes: [u64; 4] = [attributes, 0, 0, 0];
    let (path, at) = (c"".as_ptr().addr(), attributes.as_ptr().addr());
    let flags = libc::AT_EMPTY_PATH as usize | recursive;
    syscall(libc::SYS_mount_setattr, [mount, path, flags, at, size_of_val(&attributes), 0])
}

/// What is there cannot be changed through this mount any more. What is not there is left so.
pub(super) fn protect(path: &CString) -> Outcome {
    let Some(target) = sought(path)? else { return Ok(0) };
    let outcome = copy(target, AT_RECURSIVE).and_then(|mount| {
        let done =
            set_attributes(mount, libc::MOUNT_ATTR_RDONLY, AT_RECURSIVE).and_then(|_| move_to(mount, target));
        close(mount);
        done
    });
    close(target);
    outcome
}

/// The mount at a path cannot be changed any more; what is mounted in it can.
pub(super) fn freeze(path: &CString) -> Outcome {
    let target = find(text(path), libc::O_DIRECTORY, true)?;
    let outcome = set_attributes(target, libc::MOUNT_ATTR_RDONLY, 0);
    close(target);
    outcome
}

fn sought(path: &CString) -> Result<Option<usize>, i32> {
    match find(text(path), 0, true) {
        Ok(fd) => Ok(Some(fd)),
        Err(libc::ENOENT | libc::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Puts nothing over what is there: an empty folder over a folder, `/dev/null` over a file. What is not there is left so.
pub(super) fn mask(path: &CString, shared: &mut Shared) -> Outcome {
    let Some(target) = sought(path)? else { return Ok(0) };
    let outcome = stat(target).and_then(|found| {
        let folder = u32::from(found.stx_mode) & libc::S_IFMT == libc::S_IFDIR;
        if folder { blank_over(target, shared) } else { null_over(target, shared) }
    });
    close(target);
    outcome
}

fn stat(fd: usize) -> Result<libc::statx, i32> {
    // SAFETY: a plain C structure, for which all zeroes is a value.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    let (path, flags, mask) =
        (c"".as_ptr().addr(), libc::AT_EMPTY_PATH as usize, libc::STATX_BASIC_STATS as usize);
    syscall(libc::SYS_statx, [fd, path, flags, mask, (&raw mut found).addr(), 0])?;
    Ok(found)
}

fn blank_over(target: usize, shared: &mut Shared) -> Outcome {
    // Kernels before 6.15 copy only what is attached: the first is made, the others are copies of it.
    if let Some(blank) = shared.blank {
        let mount = copy(blank, 0)?;
        let outcome = move_to(mount, target);
        close(mount);
        return outcome;
    }
    let context = syscall(libc::SYS_fsopen, [c"tmpfs".as_ptr().addr(), 1, 0, 0, 0, 0])?;
    let set =
        |command, key: usize, value: usize| syscall(libc::SYS_fsconfig, [context, command, key, value, 0, 0]);
    set(SET_STRING, c"mode".as_ptr().addr(), c"0555".as_ptr().addr())?;
    set(CREATE, 0, 0)?;
    let mount = syscall(libc::SYS_fsmount, [context, 1, BLANK as usize, 0, 0, 0])?;
    close(context);
    shared.blank = Some(mount);
    move_to(mount, target)
}

fn null_over(target: usize, shared: &mut Shared) -> Outcome {
    let null = null(shared)?;
    let mount = copy(null, 0)?;
    let outcome = move_to(mount, target);
    close(mount);
    outcome
}

/// The `/dev/null` of the root, which is one: an image or a volume could put anything there (CVE-2025-31133).
fn null(shared: &mut Shared) -> Outcome {
    if let Some(null) = shared.null {
        return Ok(null);
    }
    let null = find(c"/dev/null".as_ptr().addr(), 0, true)?;
    match is_null(null) {
        Ok(true) => {
            shared.null = Some(null);
            Ok(null)
        }
        other => {
            close(null);
            Err(other.err().unwrap_or(libc::ENODEV))
        }
    }
}

/// Puts the root's own `/dev/null` at a descriptor from 0 to 2, so that none of the host's is in reach of fchmod(2).
pub(super) fn null_at(number: i32, shared: &mut Shared) -> Outcome {
    let opened = open_null(shared)?;
    let outcome = syscall(libc::SYS_dup3, [opened, number as usize, 0, 0, 0, 0]);
    close(opened);
    outcome
}

fn open_null(shared: &mut Shared) -> Outcome {
    // Looked at before it is opened, for what opening alone does, and after, for what the name leads to by then.
    null(shared)?;
    let opened = open(c"/dev/null", libc::O_RDWR | libc::O_CLOEXEC | libc::O_NOCTTY)?;
    match is_null(opened) {
        Ok(true) => Ok(opened),
        other => {
            close(opened);
            Err(other.err().unwrap_or(libc::ENODEV))
        }
    }
}

fn is_null(fd: usize) -> Result<bool, i32> {
    let found = stat(fd)?;
    let device = u32::from(found.stx_mode) & libc::S_IFMT == libc::S_IFCHR;
    Ok(device && (found.stx_rdev_major, found.stx_rdev_minor) == NULL)
}

/// Enters a folder of the root.
pub(super) fn enter(path: &CString) -> Outcome {
    let dir = find(text(path), libc::O_DIRECTORY, false)?;
    let outcome = syscall(libc::SYS_fchdir, [dir, 0, 0, 0, 0, 0]);
    close(dir);
    outcome
}
