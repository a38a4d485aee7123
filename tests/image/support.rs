//! Folders of a test's own, trees as text, and outside tools.

use cshell::error::{Error, ErrorKind};
use cshell::runtime::image::{self, CommitSpec, Image};
use cshell::runtime::session::Session;
use cshell::runtime::state::StateDirs;
use cshell::sys::inode;
use rustix::fs::CWD;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

/// A temporary folder with state folders in it.
pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) dirs: StateDirs,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let dirs = StateDirs { run: dir.path().join("state-run"), root: dir.path().join("state-root") };
        Self { dir, dirs }
    }

    pub(crate) fn session(&self) -> Session {
        Session::new(self.dirs.clone()).unwrap()
    }

    /// A new folder with `files` in it: a name that ends in `/` is a folder.
    pub(crate) fn folder(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let root = self.dir.path().join(name);
        std::fs::create_dir(&root).unwrap();
        std::fs::set_permissions(&root, PermissionsExt::from_mode(0o755)).unwrap();
        for (path, text) in files {
            let path = root.join(path);
            if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
                std::fs::create_dir_all(&path).unwrap();
                continue;
            }
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
        }
        root
    }

    /// Names below the scratch folder: what sessions have not cleaned up.
    pub(crate) fn scratch(&self) -> Vec<String> {
        names(&self.dirs.scratch())
    }

    pub(crate) fn blobs(&self) -> Vec<String> {
        names(&self.dirs.images().join("blobs/sha256"))
    }

    pub(crate) fn layers(&self) -> Vec<String> {
        names(&self.dirs.layers())
    }
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A commit of `upper` on nothing.
pub(crate) fn spec(session: &Session, upper: &Path, reference: &str) -> CommitSpec {
    let (_, base) = image::scratch(session);
    CommitSpec::new(&base, upper, reference)
}

pub(crate) fn commit(session: &Session, upper: &Path, reference: &str) -> Rc<Image> {
    image::commit(session, &spec(session, upper, reference)).unwrap().1
}

/// Every file below `root` as one line: all that an image keeps of it.
pub(crate) fn tree(root: &Path) -> String {
    let mut text = String::new();
    let mut links = BTreeMap::new();
    walk(root, Path::new(""), &mut links, &mut text);
    text
}

fn walk(root: &Path, at: &Path, links: &mut BTreeMap<u64, PathBuf>, text: &mut String) {
    let path = root.join(at);
    let data = path.symlink_metadata().unwrap();
    // The time of a mark of overlayfs means nothing.
    let mark = data.file_type().is_char_device() && data.rdev() == 0;
    let time = if mark { 0 } else { data.mtime() };
    write!(text, "/{} {:o} {}:{} {time}", at.display(), data.mode(), data.uid(), data.gid()).unwrap();
    for name in inode::xattr_names(CWD, &path).unwrap() {
        let value = inode::xattr(CWD, &path, &name).unwrap().unwrap();
        let name = String::from_utf8(name).unwrap();
        // A machine with a security module labels everything.
        if name != "security.selinux" {
            write!(text, " {name}={value:x?}").unwrap();
        }
    }
    let kind = data.file_type();
    if kind.is_file() {
        write!(text, " {:?}", String::from_utf8_lossy(&std::fs::read(&path).unwrap())).unwrap();
    } else if kind.is_symlink() {
        write!(text, " -> {}", std::fs::read_link(&path).unwrap().display()).unwrap();
    } else if !kind.is_dir() {
        write!(text, " dev {:x}", data.rdev()).unwrap();
    }
    if data.nlink() > 1 && !kind.is_dir() {
        let first = links.entry(data.ino()).or_insert_with(|| at.to_owned());
        write!(text, " = /{}", first.display()).unwrap();
    }
    text.push('\n');
    if kind.is_dir() {
        for name in names(&path) {
            walk(root, &at.join(name), links, text);
        }
    }
}

/// The output of an outside tool that must succeed; nothing, with a word about it, when this machine lacks it.
pub(crate) fn tool_ok(program: &str, args: &[&str]) -> Option<String> {
    let output = match Command::new(program).args(args).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("SKIP: {program} is not installed");
            return None;
        }
        other => other.unwrap(),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {}", text(&output.stderr));
    Some(text(&output.stdout))
}

/// The error of `result`, of the given kind, with all of `parts` in its text, causes or hint.
#[track_caller]
pub(crate) fn fails<T>(result: Result<T, Error>, kind: ErrorKind, parts: &[&str]) -> Error {
    let error = match result {
        Ok(_) => panic!("it did not fail"),
        Err(error) => error,
    };
    let text = format!("{error:?} hint: {}", error.hint_text().unwrap_or_default());
    assert_eq!(error.kind(), kind, "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    error
}
