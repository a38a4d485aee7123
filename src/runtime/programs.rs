//! Programs of the machine that this one calls, in the folders of the caller's `PATH`.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where programs are looked for when there is no `PATH`.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `PATH`, as it is written.
#[must_use]
pub fn search_path() -> OsString {
    std::env::var_os("PATH").filter(|path| !path.is_empty()).unwrap_or_else(|| PATH.into())
}

/// The folders of `PATH`, other than those that depend on the working folder.
pub fn folders() -> impl Iterator<Item = PathBuf> {
    let folders: Vec<PathBuf> =
        std::env::split_paths(&search_path()).filter(|folder| folder.is_absolute()).collect();
    folders.into_iter()
}

/// Where a program is, the first of its name.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    folders().map(|folder| folder.join(name)).find(|path| is_program(path))
}

/// Whether a file can be run.
#[must_use]
pub fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}
