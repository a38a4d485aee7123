//! Removing a group, from what the ledger knows of it: kill its processes, remove its folders, children first.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::cgroup::freeze;
use crate::runtime::cgroup::subtree::{self, children};
use crate::runtime::object::FileId;
use crate::sys::{Errno, file, process};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::{CWD, Mode, OFlags};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

const OP: &str = "undo";
/// How often processes may be born while the group is being killed before that is given up.
const ROUNDS: u32 = 100;
const PATIENCE_MS: u16 = 10_000;
/// After how long it may be a freezer that holds a process.
const SOON_MS: u16 = 200;
/// The last pause before a group that is busy is given up, some two seconds after the first.
const BUSY_MOST: std::time::Duration = std::time::Duration::from_secs(1);

/// Kills the members of the group and removes its folders, if they are ours: by identity, or, where none was recorded
/// yet, by a name that bears the session's token.
///
/// # Errors
/// When it is ours and cannot be removed.
pub fn group(dirs: &[PathBuf], ids: &[FileId], token: bool) -> Result<()> {
    let ours = |index: usize, path: &Path| match (ids.get(index), file::identify(CWD, path)) {
        (Some(id), Ok(found)) => (found.dev, found.ino) == (id.dev, id.ino),
        (None, Ok(_)) => token,
        (_, Err(_)) => false,
    };
    let mine: Vec<&PathBuf> =
        dirs.iter().enumerate().filter(|(index, dir)| ours(*index, dir)).map(|(_, dir)| dir).collect();
    // Most are empty by now, and gone at the first try.
    let mut left: Vec<&PathBuf> = mine;
    left.retain(|dir| file::unlinkat(CWD, dir, true).is_err());
    if left.is_empty() {
        return Ok(());
    }
    kill_all(&left)?;
    for dir in left.into_iter().rev() {
        remove(dir)?;
    }
    Ok(())
}

/// Kills every process of a group, which has these folders, and of the groups below it, and waits until they are gone.
///
/// # Errors
/// When processes do not end.
pub fn kill_all(dirs: &[&PathBuf]) -> Result<()> {
    // First where that is one act: what is born meanwhile dies as well. The others are empty then.
    let rank = |dir: &PathBuf| match () {
        () if dir.join("cgroup.kill").exists() => 0,
        () if dir.join(FREEZER).exists() => 1,
        () => 2,
    };
    let mut sorted = dirs.to_vec();
    if sorted.len() > 1 {
        sorted.sort_by_cached_key(|dir| rank(dir));
    }
    // A frozen process of version 1 does not die of a signal until it is thawed.
    sorted.iter().try_for_each(|dir| step_out(dir).and_then(|()| kill(dir)))
}

/// Leaves the group, for the one above, if this program is in it: it must not kill itself.
fn step_out(dir: &Path) -> Result<()> {
    let mut pids = Vec::new();
    collect(dir, &mut pids);
    if !pids.iter().any(|pid| u32::try_from(*pid) == Ok(std::process::id())) {
        return Ok(());
    }
    let above = dir.parent().unwrap_or(dir);
    // Where the one above gives controllers to those below it, its processes are in a leaf.
    let leaf = children(above).into_iter().find(|child| {
        child.file_name().is_some_and(|name| name.to_string_lossy().starts_with(subtree::LEAF))
    });
    let to = leaf.as_deref().unwrap_or(above).join("cgroup.procs");
    write(&to, std::process::id().to_string().as_bytes())
        .context(OP, format!("cannot leave the group {}", dir.display()))
}

/// The file that freezes a version 1 group.
const FREEZER: &str = "freezer.state";

/// Kills every process of the group at `dir` and of the groups below it, and waits until they are gone.
fn kill(dir: &Path) -> Result<()> {
    for _ in 0..ROUNDS {
        let members = members(dir);
        if members.is_empty() {
            return Ok(());
        }
        if write(&dir.join("cgroup.kill"), b"1").is_err() {
            // Nothing is born while the group stands still.
            let freezer = dir.join(FREEZER);
            let stands = write(&freezer, b"FROZEN").is_ok();
            let members = if stands { self::members(dir) } else { Vec::new() };
            for (_, pidfd) in &members {
                let _ = process::signal(pidfd, libc::SIGKILL);
            }
            if stands {
                write(&freezer, b"THAWED").context(OP, format!("cannot thaw {}", dir.display()))?;
            }
        }
        for (_, pidfd) in &members {
            // One that has ended meanwhile is what we want.
            let _ = process::signal(pidfd, libc::SIGKILL);
        }
        await_end(dir, &members)?;
    }
    Err(Error::new(ErrorKind::Busy, OP, "processes are born faster than they can be killed")
        .subject(dir.display())
        .hint("set pids.max of the group to 1 and try again"))
}

/// The processes of the group and of those below it, each with a descriptor.
fn members(dir: &Path) -> Vec<(i32, OwnedFd)> {
    let mut pids = Vec::new();
    collect(dir, &mut pids);
    pids.sort_unstable();
    pids.dedup();
    pids.into_iter().filter_map(|pid| Some((pid, process::open(pid).ok()?))).collect()
}

/// Adds the processes of a group and of those below it.
pub(super) fn collect(dir: &Path, pids: &mut Vec<i32>) {
    let text = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    // 0 is a process of a pid namespace that we do not see.
    pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
    for child in children(dir) {
        collect(&child, pids);
    }
}

/// Waits until they have ended. The status of one that is our child is left to the handle that waits for it.
fn await_end(dir: &Path, members: &[(i32, OwnedFd)]) -> Result<()> {
    for (pid, pidfd) in members {
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::from(SOON_MS)) == Ok(0) {
            freeze::release(OP, *pid);
        }
        loop {
            match poll(&mut fds, PollTimeout::from(PATIENCE_MS)) {
                Ok(0) => {
                    return Err(Error::new(
                        ErrorKind::Timeout,
                        OP,
                        format!("process {pid} was killed and does not end"),
                    )
                    .subject(dir.display())
                    .hint("the kernel holds it in an uninterruptible wait; run `cshell gc` later"));
                }
                Err(Errno::EINTR) => {}
                _ => break,
            }
        }
    }
    Ok(())
}

/// Removes the folder of a group and those of the groups below it.
///
/// # Errors
/// When it is not empty and does not become so.
pub fn remove(dir: &Path) -> Result<()> {
    let mut pause = std::time::Duration::from_micros(100);
    loop {
        match file::unlinkat(CWD, dir, true) {
            Err(error) if error.errno() == Errno::ENOENT => return Ok(()),
            // Groups below it; or a process that has ended and is not quite gone.
            Err(error) if error.errno() == Errno::EBUSY && pause < BUSY_MOST => {
                children(dir).iter().try_for_each(|child| remove(child))?;
                std::thread::sleep(pause);
                pause *= 2;
            }
            Err(error) if error.errno() == Errno::EBUSY => {
                return Err(Error::sys(OP, format!("cannot remove the group {}", dir.display()), error)
                    .path(dir)
                    .hint(
                        "someone keeps starting processes or groups in it: end that, then run `cshell gc`",
                    ));
            }
            other => return other.context(OP, format!("cannot remove the group {}", dir.display())),
        }
    }
}

fn write(path: &Path, data: &[u8]) -> crate::sys::Result<()> {
    let fd = file::openat(CWD, path, OFlags::WRONLY, Mode::empty())?;
    file::write_once(&fd, data).map(drop)
}
