//! Lists of what is below a folder, and pictures of it. Links are never followed.

use crate::error::Result;
use crate::runtime::cancel;
use crate::runtime::fs::files::cannot_io;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The paths of everything below a folder, relative to it, each folder before what is in it, sorted.
///
/// # Errors
/// When a folder cannot be listed.
pub fn walk(path: &Path) -> Result<Vec<PathBuf>> {
    list("fs::walk", path)
}

pub(super) fn list(op: &'static str, path: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        cancel::check(op)?;
        for (name, is_folder) in entries(op, &path.join(&folder))? {
            let below = folder.join(name);
            if is_folder {
                folders.push(below.clone());
            }
            found.push(below);
        }
    }
    // By components, so that `a/b` comes before `a-c`.
    found.sort();
    Ok(found)
}

/// The names in a folder, sorted, and whether each is a folder itself.
pub(super) fn entries(op: &'static str, path: &Path) -> Result<Vec<(OsString, bool)>> {
    let fail = |source| cannot_io(op, "list", path)(source);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        found.push((entry.file_name(), entry.file_type().map_err(fail)?.is_dir()));
    }
    found.sort();
    Ok(found)
}

/// A picture of a folder and everything below it, a line each.
///
/// # Errors
/// When a folder cannot be listed.
pub fn tree(path: &Path) -> Result<String> {
    let mut text = format!("{}\n", path.display());
    draw(path, "", &mut text)?;
    Ok(text)
}

fn draw(path: &Path, indent: &str, text: &mut String) -> Result<()> {
    const OP: &str = "fs::tree";
    cancel::check(OP)?;
    let entries = entries(OP, path)?;
    let last = entries.len().saturating_sub(1);
    for (index, (name, is_folder)) in entries.into_iter().enumerate() {
        let (branch, below) = if index == last { ("└── ", "    ") } else { ("├── ", "│   ") };
        let whole = path.join(&name);
        let shown = name.display().to_string().replace(char::is_control, "?");
        let target = std::fs::read_link(&whole).map_or_else(
            |_| String::new(),
            |target| format!(" -> {}", target.display().to_string().replace(char::is_control, "?")),
        );
        text.push_str(&format!("{indent}{branch}{shown}{target}\n"));
        if is_folder {
            draw(&whole, &format!("{indent}{below}"), text)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_listed_and_drawn() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["a/b", "a-c"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        std::fs::write(dir.path().join("a/b/x\n"), "").unwrap();
        std::os::unix::fs::symlink("..", dir.path().join("a/up")).unwrap();
        let found = walk(dir.path()).unwrap();
        let shown: Vec<_> = found.iter().map(|path| path.display().to_string()).collect();
        assert_eq!(shown, ["a", "a/b", "a/b/x\n", "a/up", "a-c"]);
        let picture = tree(dir.path()).unwrap();
        let (_, picture) = picture.split_once('\n').unwrap();
        assert_eq!(picture, "├── a\n│   ├── b\n│   │   └── x?\n│   └── up -> ..\n└── a-c\n");
        assert!(walk(&dir.path().join("none")).is_err());
    }
}
