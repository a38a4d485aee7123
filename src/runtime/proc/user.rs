//! Users, groups and resource limits by name.
//!
//! The user database of a root is hostile input: it is opened below the root, without following links out of it and
//! without waiting for a FIFO, it must be a regular file, and no more than a bound is read.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::sys::{Errno, file};
use rustix::fs::{CWD, Mode, OFlags};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// A user as a process has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
    /// Further groups, from the group database of the root.
    pub groups: Vec<u32>,
}

/// The greatest id that may be given, as runc and Docker have it: larger ones wrap to root in some programs
/// (CVE-2024-40635).
const GREATEST: u32 = i32::MAX.unsigned_abs();
const MOST_BYTES: usize = 1 << 20;

/// Finds `user`, `uid`, `user:group` or `uid:gid` in the databases of the root `root` (the host's for `None`).
///
/// # Errors
/// [`ErrorKind::NotFound`] for a name that is not there; [`ErrorKind::InvalidArgument`] for an id out of range;
/// [`ErrorKind::Corrupt`] for a database that is no regular file, too large, or without an id where one has to be.
pub fn find(op: &'static str, root: Option<BorrowedFd<'_>>, text: &str) -> Result<User> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    if user.is_empty() || group.is_some_and(str::is_empty) {
        let what = format!("user: {text:?} is not a user");
        return Err(Error::new(ErrorKind::InvalidArgument, op, what)
            .hint("write it as name, uid, name:group or uid:gid"));
    }
    let passwd = Database::read(op, root, "etc/passwd")?;
    let (uid, fields) = match id(op, user)? {
        Some(uid) => (uid, passwd.by_number(2, uid).unwrap_or_default()),
        None => {
            let fields = passwd.by_name(user).ok_or_else(|| unknown(op, "user", user, "/etc/passwd"))?;
            (passwd.id(op, &fields, 2)?, fields)
        }
    };
    let groups = Database::read(op, root, "etc/group")?;
    let gid = match group {
        None if fields.is_empty() => 0,
        None => passwd.id(op, &fields, 3)?,
        Some(group) => match id(op, group)? {
            Some(gid) => gid,
            None => {
                let fields =
                    groups.by_name(group).ok_or_else(|| unknown(op, "group", group, "/etc/group"))?;
                groups.id(op, &fields, 2)?
            }
        },
    };
    let name = fields.first().copied().unwrap_or_default();
    let member_of =
        if group.is_none() && !name.is_empty() { groups.with_member(op, name)? } else { Vec::new() };
    Ok(User { uid, gid, groups: member_of.into_iter().filter(|other| *other != gid).collect() })
}

/// A number, if the text is one: digits are always a number, never a name.
fn id(op: &'static str, text: &str) -> Result<Option<u32>> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    in_range(text).map(Some).ok_or_else(|| {
        let what = format!("user: {text} is not within 0 to {GREATEST}");
        Error::new(ErrorKind::InvalidArgument, op, what)
    })
}

/// The id that digits alone write. The greatest number of the kernel's is none: it means "leave it as it is"
/// (setresuid(2)), and so root.
fn in_range(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id <= GREATEST)
}

/// Checks further groups that were given by number.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for an id out of range.
pub fn check_groups(op: &'static str, groups: &[u32]) -> Result<()> {
    match groups.iter().find(|gid| **gid > GREATEST) {
        None => Ok(()),
        Some(gid) => {
            let what = format!("additional_gids: {gid} is not within 0 to {GREATEST}");
            Err(Error::new(ErrorKind::InvalidArgument, op, what))
        }
    }
}

fn unknown(op: &'static str, noun: &str, name: &str, path: &str) -> Error {
    Error::new(ErrorKind::NotFound, op, format!("{noun} {name:?} is not in {path} of the root"))
        .hint(format!("give the {noun} by number, or add it to {path}"))
}

/// A file of lines of fields, separated by colons.
struct Database {
    name: &'static str,
    text: String,
}

impl Database {
    fn read(op: &'static str, root: Option<BorrowedFd<'_>>, name: &'static str) -> Result<Self> {
        let host;
        let dir = match root {
            Some(root) => root,
            None => {
                let flags = OFlags::PATH | OFlags::DIRECTORY;
                host =
                    file::openat(CWD, Path::new("/"), flags, Mode::empty()).context(op, "cannot open /")?;
                host.as_fd()
            }
        };
        // Looked at before it is opened: to open a device is to act on it.
        let place = match file::open_in_root(dir, Path::new(name), OFlags::PATH, Mode::empty()) {
            Err(error) if matches!(error.errno(), Errno::ENOENT | Errno::ENOTDIR) => {
                return Ok(Self { name, text: String::new() });
            }
            other => other.context(op, format!("cannot open /{name} of the root"))?,
        };
        let found = file::identify(&place, Path::new(""))
            .context(op, format!("cannot examine /{name} of the root"))?;
        let corrupt = |what: &str| Error::new(ErrorKind::Corrupt, op, format!("/{name} of the root {what}"));
        if found.mode & libc::S_IFMT != libc::S_IFREG {
            return Err(corrupt("is not a regular file"));
        }
        let fd = file::reopen(&place, OFlags::RDONLY | OFlags::NONBLOCK)
            .context(op, format!("cannot open /{name} of the root"))?;
        let mut bytes = vec![0; MOST_BYTES + 1];
        let mut len = 0;
        loop {
            match file::read(&fd, &mut bytes[len..])
                .context(op, format!("cannot read /{name} of the root"))?
            {
                0 => break,
                more => len += more,
            }
            if len > MOST_BYTES {
                return Err(corrupt("is larger than 1 MiB"));
            }
        }
        Ok(Self { name, text: String::from_utf8_lossy(&bytes[..len]).into_owned() })
    }

    fn lines(&self) -> impl Iterator<Item = Vec<&str>> {
        self.text.lines().map(|line| line.split(':').collect())
    }

    fn by_name(&self, name: &str) -> Option<Vec<&str>> {
        self.lines().find(|fields| fields.first() == Some(&name))
    }

    fn by_number(&self, field: usize, number: u32) -> Option<Vec<&str>> {
        self.lines().find(|fields| fields.get(field).and_then(|text| in_range(text)) == Some(number))
    }

    /// The groups that `name` is a member of.
    fn with_member(&self, op: &'static str, name: &str) -> Result<Vec<u32>> {
        let has = |fields: &Vec<&str>| {
            fields.get(3).is_some_and(|names| names.split(',').any(|member| member == name))
        };
        self.lines().filter(has).map(|fields| self.id(op, &fields, 2)).collect()
    }

    /// The id in a field of a line. A line without one is nobody: least of all root.
    fn id(&self, op: &'static str, fields: &[&str], at: usize) -> Result<u32> {
        fields.get(at).and_then(|text| in_range(text)).ok_or_else(|| {
            let (entry, held) = (fields.first().unwrap_or(&""), fields.get(at).unwrap_or(&""));
            let what = format!("/{} of the root: the id {held:?} of {entry:?} is none", self.name);
            Error::new(ErrorKind::Corrupt, op, what).hint(format!("ids are numbers from 0 to {GREATEST}"))
        })
    }
}

/// The resources of getrlimit(2), by name as OCI and Docker write them.
const RLIMITS: [(&str, u32); 16] = [
    ("as", libc::RLIMIT_AS),
    ("core", libc::RLIMIT_CORE),
    ("cpu", libc::RLIMIT_CPU),
    ("data", libc::RLIMIT_DATA),
    ("fsize", libc::RLIMIT_FSIZE),
    ("locks", libc::RLIMIT_LOCKS),
    ("memlock", libc::RLIMIT_MEMLOCK),
    ("msgqueue", libc::RLIMIT_MSGQUEUE),
    ("nice", libc::RLIMIT_NICE),
    ("nofile", libc::RLIMIT_NOFILE),
    ("nproc", libc::RLIMIT_NPROC),
    ("rss", libc::RLIMIT_RSS),
    ("rtprio", libc::RLIMIT_RTPRIO),
    ("rttime", libc::RLIMIT_RTTIME),
    ("sigpending", libc::RLIMIT_SIGPENDING),
    ("stack", libc::RLIMIT_STACK),
];

/// The number of a resource limit, by name with or without `RLIMIT_`.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for a name that is none.
pub fn rlimit_number(op: &'static str, name: &str) -> Result<u32> {
    let lower = name.to_ascii_lowercase();
    let short = lower.strip_prefix("rlimit_").unwrap_or(&lower);
    RLIMITS.iter().find(|(known, _)| *known == short).map(|(_, number)| *number).ok_or_else(|| {
        let names: Vec<&str> = RLIMITS.iter().map(|(name, _)| *name).collect();
        Error::new(ErrorKind::InvalidArgument, op, format!("rlimits: {name:?} is none"))
            .hint(format!("names are: {}", names.join(", ")))
    })
}

/// The name of a resource limit.
#[must_use]
pub fn rlimit_name(number: u32) -> &'static str {
    RLIMITS.iter().find(|(_, known)| *known == number).map_or("?", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001::/:/bin/sh\n1234:x:77:77::/:/bin/sh\n";
        std::fs::write(dir.path().join("etc/passwd"), passwd).unwrap();
        std::fs::write(dir.path().join("etc/group"), "root:x:0:\nweb:x:1001:\nlog:x:5:web,other\n").unwrap();
        dir
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        let root = root();
        let dir = std::fs::File::open(root.path()).unwrap();
        let find = |text| super::find("t", Some(dir.as_fd()), text);
        let user = |uid, gid, groups: &[u32]| User { uid, gid, groups: groups.to_vec() };
        assert_eq!(find("web").unwrap(), user(1000, 1001, &[5]));
        assert_eq!(find("1000").unwrap(), user(1000, 1001, &[5]));
        assert_eq!(find("1000:5").unwrap(), user(1000, 5, &[]));
        assert_eq!(find("web:log").unwrap(), user(1000, 5, &[]));
        assert_eq!(find("4711").unwrap(), user(4711, 0, &[]));
        // Digits are a number even where a user is called so.
        assert_eq!(find("1234").unwrap(), user(1234, 0, &[]));
        assert_eq!(find("nobody").unwrap_err().kind(), ErrorKind::NotFound);
        for bad in ["", ":", "web:", "4294967296", "2147483648", "0:4294967295"] {
            assert_eq!(find(bad).unwrap_err().kind(), ErrorKind::InvalidArgument, "{bad}");
        }
    }

    #[test]
    fn ids_of_the_database_are_held_to_the_same_bound() {
        let root = root();
        let dir = std::fs::File::open(root.path()).unwrap();
        let etc = root.path().join("etc");
        let wraps = "4294967295";
        let passwd = [
            ("uid", wraps, "0"),
            ("gid", "1000", wraps),
            ("plus", "+0", "0"),
            ("sign", "-1", "0"),
            ("none", "", "0"),
            ("member", "5", "5"),
        ];
        let lines = passwd.map(|(name, uid, gid)| format!("{name}:x:{uid}:{gid}::/:/bin/sh\n"));
        std::fs::write(etc.join("passwd"), lines.concat() + "short:x:7\n").unwrap();
        std::fs::write(etc.join("group"), format!("g:x:{wraps}:member\nplus:x:+0:\n")).unwrap();
        let find = |text| super::find("t", Some(dir.as_fd()), text);
        for bad in ["uid", "gid", "1000", "plus", "sign", "none", "short", "member", "1:g", "1:plus"] {
            assert_eq!(find(bad).unwrap_err().kind(), ErrorKind::Corrupt, "{bad}");
        }
        assert_eq!(find("0").unwrap(), User { uid: 0, gid: 0, groups: Vec::new() });
        assert_eq!(check_groups("t", &[5, u32::MAX]).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn a_database_that_is_no_file_is_refused_at_once() {
        let root = root();
        let dir = std::fs::File::open(root.path()).unwrap();
        let passwd = root.path().join("etc/passwd");
        std::fs::remove_file(&passwd).unwrap();
        nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(find("t", Some(dir.as_fd()), "web").unwrap_err().kind(), ErrorKind::Corrupt);
        std::fs::remove_file(&passwd).unwrap();
        std::fs::File::create(&passwd).unwrap().set_len(2 << 20).unwrap();
        assert_eq!(find("t", Some(dir.as_fd()), "web").unwrap_err().kind(), ErrorKind::Corrupt);
        std::fs::remove_file(&passwd).unwrap();
        // Leads to the host's file only from outside: inside the root there is none at this place.
        std::os::unix::fs::symlink("/nowhere/../etc/shadow", &passwd).unwrap();
        assert_eq!(find("t", Some(dir.as_fd()), "web").unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn limits_have_names() {
        assert_eq!(rlimit_number("t", "RLIMIT_NOFILE").unwrap(), libc::RLIMIT_NOFILE);
        assert!(rlimit_number("t", "files").is_err());
    }
}
