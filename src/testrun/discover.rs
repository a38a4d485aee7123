//! Which files are run.

use crate::error::{Error, ErrorKind, Result, SysContext};
use std::path::{Path, PathBuf};

const OP: &str = "test";
/// How the name of a test file ends.
pub(super) const SUFFIX: &str = "_test.rhai";

/// The files among `paths`, and the test files in the folders among them, each once, in order. Folders whose names begin with
/// a dot, `target` and links to folders are passed over.
pub(super) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = Vec::new();
    for path in paths {
        let data = std::fs::metadata(path).map_err(|source| {
            let error = Error::io(OP, "cannot find what to test", source).subject(path.display()).path(path);
            error.hint(format!("give files, or folders with files named *{SUFFIX}"))
        })?;
        if data.is_dir() {
            walk(path, &mut found)?;
        } else if data.is_file() {
            found.push(path.clone());
        } else {
            return Err(Error::new(ErrorKind::InvalidArgument, OP, "is neither a file nor a folder")
                .subject(path.display()));
        }
    }
    let mut once = std::collections::BTreeSet::new();
    found.retain(|path| once.insert(std::fs::canonicalize(path).unwrap_or_else(|_| path.clone())));
    Ok(found)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).context(OP, format!("cannot read {}", folder.display()))?;
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        // `.` itself was given by its user.
        let path = if folder == Path::new(".") { PathBuf::from(&name) } else { entry.path() };
        let kind = entry.file_type().context(OP, format!("cannot read {}", path.display()))?;
        if kind.is_dir() && !name.starts_with('.') && name != "target" {
            walk(&path, found)?;
        } else if name.ends_with(SUFFIX) && path.is_file() {
            found.push(path);
        }
    }
    Ok(())
}
