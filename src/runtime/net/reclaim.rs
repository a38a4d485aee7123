//! Deleting a link.

use crate::error::Result;

/// Deletes the link if it is ours.
///
/// # Errors
/// When it is ours and cannot be deleted.
pub fn link(_name: &str, _mac: &str, _ifindex: Option<u32>, _netns: u64) -> Result<()> {
    Ok(())
}
