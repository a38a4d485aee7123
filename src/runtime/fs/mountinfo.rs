//! What is mounted, as the kernel lists it (`/proc/PID/mountinfo`, proc_pid_mountinfo(5)).

use crate::error::{Error, ErrorKind, Result, SysContext};
use serde::Serialize;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MountInfo {
    /// Its id, which the kernel may give again when the mount is gone.
    pub id: u64,
    /// The id of the mount that it is mounted on.
    pub parent: u64,
    /// Where it is attached.
    #[serde(serialize_with = "lossy")]
    pub target: PathBuf,
    /// What is mounted: a device, or a name that whoever mounted it chose.
    pub source: String,
    /// The type of the file system.
    #[serde(rename = "type")]
    pub kind: String,
    /// The folder of the file system that is its root: not `/` for a bind mount.
    #[serde(serialize_with = "lossy")]
    pub root: PathBuf,
    /// The options of the mount.
    pub options: Vec<String>,
    /// The options of the file system.
    pub super_options: Vec<String>,
    /// `private`, `shared`, `slave`, `shared slave` or `unbindable`.
    pub propagation: String,
    /// The group of mounts from which it receives what is mounted there, for a slave.
    #[serde(skip)]
    pub master: Option<u64>,
}

fn lossy<S: serde::Serializer>(path: &Path, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// The mounts that this thread sees, or those that the process `pid` sees; later ones cover earlier ones.
///
/// # Errors
/// [`ErrorKind::NotFound`] when there is no such process.
pub fn list(op: &'static str, pid: Option<i32>) -> Result<Vec<MountInfo>> {
    let path =
        pid.map_or_else(|| "/proc/thread-self/mountinfo".into(), |pid| format!("/proc/{pid}/mountinfo"));
    let text = std::fs::read(&path).context(op, format!("cannot read {path}"))?;
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            parse(line).ok_or_else(|| {
                let what = format!("{path} has a line of another form: {}", String::from_utf8_lossy(line));
                Error::new(ErrorKind::Corrupt, op, what)
            })
        })
        .collect()
}

fn parse(line: &[u8]) -> Option<MountInfo> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let number = |index: usize| std::str::from_utf8(fields.get(index)?).ok()?.parse().ok();
    let list = |field: &[u8]| text(field).split(',').map(str::to_owned).collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let tags = fields.get(6..dash)?;
    let master =
        tags.iter().find_map(|tag| std::str::from_utf8(tag.strip_prefix(b"master:")?).ok()?.parse().ok());
    let words: Vec<&str> = tags
        .iter()
        .filter_map(|tag| match tag.split(|byte| *byte == b':').next().unwrap_or(tag) {
            b"shared" => Some("shared"),
            b"master" => Some("slave"),
            b"unbindable" => Some("unbindable"),
            _ => None,
        })
        .collect();
    Some(MountInfo {
        id: number(0)?,
        parent: number(1)?,
        root: unescape(fields.get(3)?).into(),
        target: unescape(fields.get(4)?).into(),
        options: list(fields.get(5)?),
        propagation: if words.is_empty() { "private".into() } else { words.join(" ") },
        kind: text(fields.get(dash + 1)?),
        source: unescape(fields.get(dash + 2)?).to_string_lossy().into_owned(),
        super_options: list(fields.get(dash + 3)?),
        master,
    })
}

/// Blanks and backslashes are written as three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let code = (*first == b'\\')
            .then(|| tail.get(..3).and_then(|code| std::str::from_utf8(code).ok()))
            .flatten()
            .and_then(|code| u8::from_str_radix(code, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read() {
        let line = br"36 35 98:0 /sub /mnt/a\040b\134c rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue";
        let mount = parse(line).unwrap();
        assert_eq!(mount.target, PathBuf::from(r"/mnt/a b\c"));
        assert_eq!((mount.id, mount.parent, mount.root.to_str().unwrap()), (36, 35, "/sub"));
        assert_eq!((mount.propagation.as_str(), mount.master), ("shared slave", Some(2)));
        assert_eq!((mount.kind.as_str(), mount.source.as_str()), ("ext3", "/dev/root"));
        assert_eq!(mount.options, ["rw", "noatime"]);
        assert_eq!(mount.super_options, ["rw", "errors=continue"]);
        assert!(parse(b"36 35 98:0 / /mnt rw").is_none());
        let plain = parse(b"1 0 0:1 / / rw - rootfs none rw").unwrap();
        assert_eq!((plain.propagation.as_str(), plain.source.as_str()), ("private", "none"));
    }

    #[test]
    fn the_own_mounts_are_listed() {
        let mounts = list("t", None).unwrap();
        assert!(mounts.iter().any(|mount| mount.target == Path::new("/")), "{mounts:?}");
        assert_eq!(list("t", Some(i32::MAX)).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
