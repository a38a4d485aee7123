//! Folders of the session's own: made in its scratch folder, or on a tmpfs of a fixed size, and gone at the end.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::fs::claim::{self, New};
use crate::runtime::fs::mounts::{self, MountSpec};
use crate::runtime::fs::private;
use crate::runtime::session::{Handle, HandleId, Session};
use crate::runtime::units::show_bytes;
use serde_json::json;
use std::path::PathBuf;
use std::rc::Rc;

const OP: &str = "fs::temp_dir";

/// A folder that the session made.
#[derive(Debug)]
pub struct Dir {
    /// Where it is.
    pub path: PathBuf,
    /// How many bytes fit in it, when it lies on a file system of its own.
    pub size: Option<u64>,
}

/// Makes an empty folder that only this user may enter. With `size`, a tmpfs of that many bytes is mounted on it.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for a size of 0, which the kernel takes for no limit; what the mount is refused for.
pub fn temp_dir(session: &Session, size: Option<u64>) -> Result<(HandleId, Rc<Dir>)> {
    if size == Some(0) {
        let what = "the size 0 would be no limit at all";
        return Err(
            Error::new(ErrorKind::InvalidArgument, OP, what).hint("leave it out for a folder on disk")
        );
    }
    let scratch = private::scratch(session, OP)?;
    let path = scratch.join(format!("dir-{}", session.serial()));
    let mut steps = vec![claim::make(session, OP, &path, New::Folder(0o700))?];
    if let Some(size) = size {
        let spec = MountSpec::tmpfs(&path, Some(size), Some(0o700));
        match mounts::make(session, OP, &spec) {
            Ok((step, _)) => steps.push(step),
            Err(error) => return Err(session.roll_back(steps, error)),
        }
    }
    Ok(session.adopt(Dir { path, size }, steps))
}

impl Handle for Dir {
    fn kind(&self) -> &'static str {
        "Dir"
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn line(&self) -> String {
        let size = self.size.map_or_else(String::new, |size| format!(" ({})", show_bytes(size)));
        format!("Dir {}{size}", self.path.display())
    }

    fn inspect(&self) -> serde_json::Value {
        json!({ "path": self.path.display().to_string(), "size": self.size })
    }

    fn keep_refusal(&self) -> Option<&'static str> {
        Some("it lies in the session's scratch folder: copy what is to stay with fs::copy")
    }
}
