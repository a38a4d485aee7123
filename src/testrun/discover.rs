//! Which files are run.

use crate::error::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

const OP: &str = "test";
/// How the name of a test file ends.
pub(super) const SUFFIX: &str = "_test.rhai";

/// What is to be run, and what was found that cannot be, with why.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) files: Vec<PathBuf>,
    pub(super) unusable: Vec<(PathBuf, Error)>,
}

/// The files among `paths`, and the test files in the folders among them, each once, in order. Folders whose names begin with
/// a dot, `target` and links to folders are passed over.
pub(super) fn files(paths: &[PathBuf]) -> Result<Found> {
    let mut found = Found::default();
    for path in paths {
        let data = std::fs::metadata(path).map_err(|source| {
            let error = Error::io(OP, "cannot find what to test", source).subject(path.display()).path(path);
            error.hint(format!("give files, or folders with files named *{SUFFIX}"))
        })?;
        if data.is_dir() {
            found.walk(path);
        } else if data.is_file() {
            found.files.push(path.clone());
        } else {
            return Err(Error::new(ErrorKind::InvalidArgument, OP, "is neither a file nor a folder")
                .subject(path.display()));
        }
    }
    let mut once = std::collections::BTreeSet::new();
    found.files.retain(|path| once.insert(std::fs::canonicalize(path).unwrap_or_else(|_| path.clone())));
    Ok(found)
}

impl Found {
    fn walk(&mut self, folder: &Path) {
        let mut entries: Vec<_> = match std::fs::read_dir(folder) {
            Ok(entries) => entries.flatten().collect(),
            Err(source) => {
                let error = Error::io(OP, "cannot look for test files in this folder", source);
                self.unusable.push((folder.to_owned(), error));
                return;
            }
        };
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            // `.` itself was given by its user.
            let path = if folder == Path::new(".") { PathBuf::from(&name) } else { entry.path() };
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if !name.as_encoded_bytes().starts_with(b".") && name != "target" {
                    self.walk(&path);
                }
            } else if name.as_encoded_bytes().ends_with(SUFFIX.as_bytes()) {
                self.take(path);
            }
        }
    }

    /// Takes in what has the name of a test file.
    fn take(&mut self, path: PathBuf) {
        match std::fs::metadata(&path) {
            Ok(data) if data.is_file() => self.files.push(path),
            Ok(data) if data.is_dir() => {}
            Ok(_) => {
                let what = "it is named as a test file is, and is no file";
                self.unusable.push((path, Error::new(ErrorKind::InvalidArgument, OP, what)));
            }
            Err(source) => {
                self.unusable.push((path, Error::io(OP, "cannot find what it leads to", source)));
            }
        }
    }
}
