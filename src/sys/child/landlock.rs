//! Landlock (landlock(7)): what may be read and written below which folders, whatever the files' modes and the privileges.

use super::root::{close, find};
use super::{Outcome, syscall, text};
use std::ffi::CString;

/// `struct landlock_path_beneath_attr`, packed as the kernel has it.
#[repr(C, packed)]
struct Beneath {
    access: u64,
    parent: i32,
}

const PATH_BENEATH: usize = 1;
/// The accesses that mean something for a file: to execute, write, read and truncate it.
const OF_FILES: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 14;

/// Lets this process use, of the accesses in `handled`, only those that are given below the paths.
pub(super) fn restrict(handled: u64, paths: &[(CString, u64)]) -> Outcome {
    let attributes = [handled];
    let (at, size) = (attributes.as_ptr().addr(), size_of_val(&attributes));
    let ruleset = syscall(libc::SYS_landlock_create_ruleset, [at, size, 0, 0, 0, 0])?;
    for (path, access) in paths {
        // What is not there cannot be used.
        match find(text(path), 0, false) {
            Err(libc::ENOENT | libc::ENOTDIR) => {}
            other => allow(ruleset, other?, *access)?,
        }
    }
    let outcome = syscall(libc::SYS_landlock_restrict_self, [ruleset, 0, 0, 0, 0, 0]);
    close(ruleset);
    outcome
}

fn allow(ruleset: usize, path: usize, access: u64) -> Result<(), i32> {
    let add = |access| {
        let rule = Beneath { access, parent: path as i32 };
        let rule = (&raw const rule).addr();
        syscall(libc::SYS_landlock_add_rule, [ruleset, PATH_BENEATH, rule, 0, 0, 0])
    };
    let outcome = match add(access) {
        // Some accesses are of folders alone.
        Err(libc::EINVAL) => add(access & OF_FILES),
        other => other,
    };
    close(path);
    outcome.map(drop)
}
