//! Locks on open files (flock(2)): the kernel lets go of them whatever happens to the program.
//!
//! A lock belongs to the open file, which a child has as well until it execs: it is held until all of them have closed it,
//! or until one says that it is over. So a [`Lock`] says so when it is dropped, and what asks whether the program that took
//! one is alive must not take the lock for its life sign alone: see [`holder`].

use crate::sys::{Result, call};
use rustix::fs::FlockOperation;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A lock that this program has.
#[derive(Debug)]
pub struct Lock(Option<OwnedFd>);

impl Lock {
    /// Takes the lock of an open file or folder, shared with other readers or alone, and waits for it.
    ///
    /// # Errors
    /// The failed `flock`; `EINTR` after a signal.
    pub fn take(file: impl Into<OwnedFd>, shared: bool) -> Result<Self> {
        let fd = file.into();
        let (operation, name) = match shared {
            true => (FlockOperation::LockShared, "LOCK_SH"),
            false => (FlockOperation::LockExclusive, "LOCK_EX"),
        };
        call("flock", || format!("{}, {name}", fd.as_raw_fd()), || rustix::fs::flock(&fd, operation))?;
        Ok(Self(Some(fd)))
    }

    /// Takes the lock alone; nothing when another has it.
    ///
    /// # Errors
    /// The failed `flock`, other than `EWOULDBLOCK`.
    pub fn try_take(file: impl Into<OwnedFd>) -> Result<Option<Self>> {
        let fd = file.into();
        let taken = call(
            "flock",
            || format!("{}, LOCK_EX|LOCK_NB", fd.as_raw_fd()),
            || match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
                Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
                other => other.map(|()| true),
            },
        )?;
        Ok(taken.then_some(Self(Some(fd))))
    }

    /// Closes the file in a copy of the program, while the other keeps the lock.
    pub fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(fd) = &self.0 {
            let _ = rustix::fs::flock(fd.as_fd(), FlockOperation::Unlock);
        }
    }
}

/// The process that took the lock of the file at `path`, as `/proc/locks` says (proc_locks(5)): it may have ended since, while
/// a child has the open file. Nothing where that cannot be seen from here.
#[must_use]
pub fn holder(path: &Path) -> Option<i32> {
    let data = std::fs::symlink_metadata(path).ok()?;
    let (major, minor) = (rustix::fs::major(data.dev()), rustix::fs::minor(data.dev()));
    let file = format!("{major:02x}:{minor:02x}:{}", data.ino());
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        // Such as `1: FLOCK  ADVISORY  WRITE 1234 00:1a:5678 0 EOF`; who waits for it is behind `->`.
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        (words.get(1) == Some(&"FLOCK") && words.get(5) == Some(&file.as_str()))
            .then(|| words[4].parse().ok())
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_lock_that_is_dropped_is_free_though_a_copy_of_the_file_is_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let file = File::create(&path).unwrap();
        let as_a_child_has_it = file.try_clone().unwrap();
        let lock = Lock::try_take(file).unwrap().unwrap();
        assert_eq!(holder(&path), i32::try_from(std::process::id()).ok());
        assert!(Lock::try_take(File::open(&path).unwrap()).unwrap().is_none());
        lock.leave();
        assert!(Lock::try_take(File::open(&path).unwrap()).unwrap().is_none());
        let again = Lock::take(as_a_child_has_it.try_clone().unwrap(), false).unwrap();
        drop(again);
        assert!(Lock::try_take(File::open(&path).unwrap()).unwrap().is_some());
        assert_eq!(holder(&path), None);
    }
}
