//! Removing a group, from what the ledger knows of it: kill its processes, remove its folders, children first.

use crate::error::{Error, ErrorKind, Result, SysContext};
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
    for dir in &mine {
        kill(dir)?;
    }
    for dir in mine.into_iter().rev() {
        remove(dir)?;
    }
    Ok(())
}

/// Kills every process of the group at `dir` and of the groups below it, and waits until they are gone.
///
/// # Errors
/// When processes do not end.
pub fn kill(dir: &Path) -> Result<()> {
    let all_at_once = dir.join("cgroup.kill");
    step_out(dir)?;
    for _ in 0..ROUNDS {
        let members = members(dir);
        if members.is_empty() {
            return Ok(());
        }
        if write(&all_at_once, b"1").is_err() {
            for (_, pidfd) in &members {
                // One that has ended meanwhile is what we want.
                let _ = process::signal(pidfd, libc::SIGKILL);
            }
        }
        await_end(dir, &members)?;
    }
    Err(Error::new(ErrorKind::Busy, OP, "processes are born faster than they can be killed")
        .subject(dir.display())
        .hint("set pids.max of the group to 0 and try again"))
}

/// Leaves the group, for the one above, if this program is in it: it must not kill itself.
fn step_out(dir: &Path) -> Result<()> {
    let mut pids = Vec::new();
    collect(dir, &mut pids);
    if !pids.iter().any(|pid| u32::try_from(*pid) == Ok(std::process::id())) {
        return Ok(());
    }
    let above = dir.parent().unwrap_or(dir).join("cgroup.procs");
    write(&above, std::process::id().to_string().as_bytes())
        .context(OP, format!("cannot leave the group {}", dir.display()))
}

/// The processes of the group and of those below it, each with a descriptor.
fn members(dir: &Path) -> Vec<(i32, OwnedFd)> {
    let mut pids = Vec::new();
    collect(dir, &mut pids);
    pids.sort_unstable();
    pids.dedup();
    pids.into_iter().filter_map(|pid| Some((pid, process::open(pid).ok()?))).collect()
}

fn collect(dir: &Path, pids: &mut Vec<i32>) {
    let text = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    // 0 is a process of a pid namespace that we do not see.
    pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
    for child in children(dir) {
        collect(&child, pids);
    }
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Waits until they have ended. The status of one that is our child is left to the handle that waits for it.
fn await_end(dir: &Path, members: &[(i32, OwnedFd)]) -> Result<()> {
    for (pid, pidfd) in members {
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
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

fn remove(dir: &Path) -> Result<()> {
    for child in children(dir) {
        remove(&child)?;
    }
    match file::unlinkat(CWD, dir, true) {
        Err(error) if error.errno() == Errno::ENOENT => Ok(()),
        other => other.context(OP, format!("cannot remove the group {}", dir.display())),
    }
}

fn write(path: &Path, data: &[u8]) -> crate::sys::Result<()> {
    let fd = file::openat(CWD, path, OFlags::WRONLY, Mode::empty())?;
    file::write_once(&fd, data).map(drop)
}
