//! Landlock: a policy on files that every process may put on itself, for good (landlock(7)).
//!
//! It comes on top of mounts and modes: root of a container is held by it as well.

use crate::error::{Error, ErrorKind, Result};
use crate::sys::feature;
use std::path::PathBuf;

/// `LANDLOCK_ACCESS_FS_*`: to execute and read files and folders.
const READ: u64 = 1 | 1 << 2 | 1 << 3;
/// To write, make and remove, and since the second and third version to link across folders and to truncate.
const WRITE: u64 = 1 << 1 | 0x1ff << 4;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
/// What may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Landlock {
    /// What may be read and executed.
    pub read: Vec<PathBuf>,
    /// What may be read, executed, written, made and removed.
    pub write: Vec<PathBuf>,
}

/// The version of Landlock that this kernel has, if it is active.
#[must_use]
pub fn version() -> Option<i64> {
    feature::landlock_abi().ok()
}

impl Landlock {
    /// The accesses that are ruled, and those that are given below each path.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the kernel has no Landlock, or has it off.
    pub fn rules(&self, op: &'static str) -> Result<(u64, Vec<(PathBuf, u64)>)> {
        let Some(version) = version() else {
            let error = Error::new(ErrorKind::Unsupported, op, "landlock: this kernel runs without it");
            return Err(error
                .hint("it needs CONFIG_SECURITY_LANDLOCK, and landlock in the list of lsm= (landlock(7))"));
        };
        let newer = if version >= 2 { REFER } else { 0 } | if version >= 3 { TRUNCATE } else { 0 };
        let all = READ | WRITE | newer;
        let with = |paths: &[PathBuf], access: u64| {
            paths.iter().map(|path| (path.clone(), access)).collect::<Vec<_>>()
        };
        Ok((all, [with(&self.read, READ), with(&self.write, all)].concat()))
    }
}
