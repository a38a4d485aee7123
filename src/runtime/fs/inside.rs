//! Paths inside a root, as a program whose root folder that is would see them.
//!
//! A tree may come from anybody: a link in it to `/etc` means the `/etc` of the tree, never that of the host. The
//! answer is a path without links, good until the tree is changed.

use crate::error::{Error, ErrorKind, Result};
use crate::sys::{Errno, inode};
use rustix::fs::CWD;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel follows in one path.
const MOST_LINKS: usize = 40;

/// The path on this machine of `path` inside `root`. What does not exist yet is taken as it is written.
///
/// Links are followed inside the root; a last one only with `follow`.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for a path with `..` in it, or one of too many links.
pub fn resolve(op: &'static str, root: &Path, path: &Path, follow: bool) -> Result<PathBuf> {
    if path.components().any(|part| part == Component::ParentDir) {
        let what = format!("the path {} has .. in it", path.display());
        return Err(Error::new(ErrorKind::InvalidArgument, op, what)
            .path(path)
            .hint("write the path from the root of the tree"));
    }
    let mut left: VecDeque<OsString> = VecDeque::new();
    put_first(&mut left, path);
    let (mut found, mut links) = (PathBuf::new(), 0);
    while let Some(name) = left.pop_front() {
        if name == ".." {
            // Of a link: at the top it stays there.
            found.pop();
            continue;
        }
        let whole = root.join(&found).join(&name);
        if left.is_empty() && !follow {
            found.push(name);
            break;
        }
        match inode::read_link(CWD, &whole) {
            Ok(target) => {
                links += 1;
                if links > MOST_LINKS {
                    let what = format!("the path {} goes through too many links", path.display());
                    return Err(Error::new(ErrorKind::InvalidArgument, op, what).path(path));
                }
                if target.is_absolute() {
                    found.clear();
                }
                put_first(&mut left, &target);
            }
            Err(source) if matches!(source.errno(), Errno::EINVAL | Errno::ENOENT | Errno::ENOTDIR) => {
                found.push(name);
            }
            Err(source) => {
                return Err(Error::sys(op, format!("cannot follow {}", whole.display()), source).path(&whole));
            }
        }
    }
    Ok(if found.as_os_str().is_empty() { root.to_owned() } else { root.join(found) })
}

fn put_first(left: &mut VecDeque<OsString>, path: &Path) {
    for part in path.components().rev() {
        match part {
            Component::Normal(name) => left.push_front(name.to_owned()),
            Component::ParentDir => left.push_front("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_in_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("usr/lib")).unwrap();
        for (target, link) in [
            ("usr/lib", "lib"),
            ("/usr", "abs"),
            ("../../../../etc", "usr/up"),
            ("/run/none", "dangling"),
            ("loop", "loop"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        let shown = |path: &str, follow| {
            let found = resolve("t", &root, Path::new(path), follow).map_err(|error| error.to_string())?;
            Ok::<_, String>(found.strip_prefix(&root).unwrap().display().to_string())
        };
        for (path, follow, expected) in [
            ("/", true, ""),
            ("etc/hosts", true, "etc/hosts"),
            ("/lib/x", true, "usr/lib/x"),
            ("abs/lib/../x", true, "the path abs/lib/../x has .. in it"),
            ("abs/lib/x", true, "usr/lib/x"),
            ("usr/up/passwd", true, "etc/passwd"),
            ("dangling", true, "run/none"),
            ("dangling", false, "dangling"),
            ("abs/dangling", false, "usr/dangling"),
            ("lib", false, "lib"),
            ("loop", true, "the path loop goes through too many links"),
            ("loop", false, "loop"),
        ] {
            let found = shown(path, follow).unwrap_or_else(|error| error.trim_start_matches("t: ").into());
            assert_eq!(found, expected, "{path}");
        }
    }
}
