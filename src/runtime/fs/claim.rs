//! Making files and folders at paths that users choose, so that they can be told apart from those of others.
//!
//! A new file is made under a name that bears the session's token, its identity and both names are recorded, and then it is
//! renamed to its place without replacing anything. At no instant is there a file of ours that the ledger cannot recognise.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::object::{FileId, Object};
use crate::runtime::session::{Done, Intent, Progress, Session, StepId};
use crate::sys::{Errno, file};
use rustix::fs::{CWD, Mode, OFlags};
use std::path::{Path, PathBuf};

/// What to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum New {
    /// A folder with these mode bits.
    Folder(u32),
    /// An empty file with these mode bits.
    File(u32),
}

/// Makes a file or folder at `path`, which must not exist, as a step of the session.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`]; [`ErrorKind::NotFound`] when the parent is missing.
pub fn make(session: &Session, op: &'static str, path: &Path, new: New) -> Result<StepId> {
    let path = std::path::absolute(path).context(op, format!("cannot resolve {}", path.display()))?;
    let Some((parent, name)) = path.parent().zip(path.file_name()) else {
        return Err(Error::new(ErrorKind::AlreadyExists, op, "it exists")
            .subject(path.display())
            .path(&path));
    };
    let birth = parent.join(format!(".cshell-{}-{}", session.token(), name.to_string_lossy()));
    let noun = if matches!(new, New::File(_)) { "file" } else { "folder" };
    let intent = Intent {
        op,
        text: format!("make the {noun} {}", path.display()),
        claim: Object::Folder { path: birth.clone(), from: None, id: None },
    };
    let (step, ()) = session.step(intent, |progress| act(progress, op, new, &birth, &path))?;
    Ok(step)
}

fn act(
    progress: &Progress<'_>,
    op: &'static str,
    new: New,
    birth: &Path,
    path: &PathBuf,
) -> Result<Done<()>> {
    let made = match new {
        New::Folder(mode) => file::mkdirat(CWD, birth, mode),
        New::File(mode) => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
            file::openat(CWD, birth, flags, Mode::from_bits_retain(mode)).map(drop)
        }
    };
    made.map_err(|source| Error::sys(op, format!("cannot create {}", path.display()), source).path(path))?;
    let found = file::identify(CWD, birth).context(op, format!("cannot identify {}", path.display()))?;
    let id = Some(FileId { dev: found.dev, ino: found.ino });
    progress.made(Object::Folder { path: path.clone(), from: Some(birth.to_owned()), id })?;
    file::rename_new(birth, path).map_err(|source| {
        let taken = source.errno() == Errno::EEXIST;
        let error = Error::sys(op, format!("cannot create {}", path.display()), source).path(path);
        if taken { error.hint("it exists already: choose another path, or remove it first") } else { error }
    })?;
    let object = Object::Folder { path: path.clone(), from: None, id };
    Ok(Done { value: (), effect: format!("inode {}", found.ino), object })
}
