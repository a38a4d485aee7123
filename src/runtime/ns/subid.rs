//! Subordinate ids: the ranges of `/etc/subuid` and `/etc/subgid` that an ordinary user may give to user namespaces, and
//! the setuid programs `newuidmap` and `newgidmap` that write maps of them (subuid(5), newuidmap(1)).

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::ns::idmap::IdMap;
use crate::runtime::programs;
use crate::sys::child::{Op, Plan};
use crate::sys::clone::Said;
use crate::sys::process::Exit;
use crate::sys::{clone, file, inode, process};
use nix::sched::CloneFlags;
use rustix::fs::CWD;
use std::ffi::CString;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// User or group ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdKind {
    /// User ids.
    User,
    /// Group ids.
    Group,
}

impl IdKind {
    /// The file that lists the ranges. Both are keyed by user.
    #[must_use]
    pub const fn file(self) -> &'static str {
        match self {
            Self::User => "/etc/subuid",
            Self::Group => "/etc/subgid",
        }
    }

    /// The map of a process, and the option of a script.
    #[must_use]
    pub const fn map(self) -> &'static str {
        match self {
            Self::User => "uid_map",
            Self::Group => "gid_map",
        }
    }

    /// The program that writes the map for a user who may not.
    #[must_use]
    pub const fn helper(self) -> &'static str {
        match self {
            Self::User => "newuidmap",
            Self::Group => "newgidmap",
        }
    }
}

/// A range of subordinate ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first id.
    pub start: u32,
    /// How many.
    pub count: u32,
}

/// The user whose ranges they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The id, as the machine has it.
    pub uid: u32,
    /// The login name, if the machine knows one.
    pub name: Option<String>,
}

impl Owner {
    /// The user with this id. The name is that of `/etc/passwd`: the library call would load the name service's modules,
    /// which a static program cannot.
    #[must_use]
    pub fn of_uid(uid: u32) -> Self {
        let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let name = text.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (name, id) = (fields.next()?, fields.nth(1)?);
            (id.parse() == Ok(uid)).then(|| name.to_owned())
        });
        Self { uid, name }
    }

    /// The name, or the id where there is none.
    #[must_use]
    pub fn shown(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.uid.to_string())
    }
}

/// The ranges of a user, in the order of the file, as `getsubids` lists them. A file that is missing has none.
///
/// # Errors
/// When the file exists and cannot be read.
pub fn ranges(op: &'static str, kind: IdKind, owner: &Owner) -> Result<Vec<Range>> {
    match std::fs::read_to_string(kind.file()) {
        Ok(text) => Ok(parse(&text, owner)),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(Error::io(op, format!("cannot read {}", kind.file()), source)),
    }
}

/// Lines that are broken, ranges that wrap, and ranges that overlap an earlier one are left out: the kernel takes none of
/// them.
fn parse(text: &str, owner: &Owner) -> Vec<Range> {
    let uid = owner.uid.to_string();
    let mut found: Vec<Range> = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.trim().split(':').collect();
        let [who, start, count] = fields[..] else { continue };
        if who != uid && owner.name.as_deref() != Some(who) {
            continue;
        }
        let (Ok(start), Ok(count)) = (start.parse::<u32>(), count.parse::<u32>()) else { continue };
        let range = Range { start, count };
        let own = Range { start: owner.uid, count: 1 };
        let clash = |other: &Range| start < other.start + other.count && other.start < start + count;
        if count > 0 && start.checked_add(count).is_some() && !clash(&own) && !found.iter().any(clash) {
            found.push(range);
        }
    }
    found
}

/// What gives a user ranges, as a command.
#[must_use]
pub fn grant(owner: &Owner) -> String {
    format!("run as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {}", owner.shown())
}

/// Where the helper is, in the caller's PATH.
///
/// # Errors
/// [`ErrorKind::Unsupported`] when it is in none of its folders, with the package that has it.
pub fn find(op: &'static str, kind: IdKind) -> Result<PathBuf> {
    programs::find(kind.helper()).ok_or_else(|| {
        let what = format!("{} is not installed: it gives subordinate ids to user namespaces", kind.helper());
        Error::new(ErrorKind::Unsupported, op, what)
            .hint("install it: the package is `uidmap` on Debian and Ubuntu, `shadow-utils` on Fedora")
    })
}

/// Has the helper write a map for the process `pid`, which must be a child that nobody has waited for: then no other
/// process can have its id.
///
/// # Errors
/// A missing helper, one that is not setuid, ranges that are not the user's: each with what mends it.
pub fn write(op: &'static str, kind: IdKind, pid: i32, map: &[IdMap]) -> Result<()> {
    let owner = Owner::of_uid(nix::unistd::getuid().as_raw());
    let allowed = ranges(op, kind, &owner)?;
    let own = match kind {
        IdKind::User => nix::unistd::getuid().as_raw(),
        IdKind::Group => nix::unistd::getgid().as_raw(),
    };
    if let Some(range) = map.iter().find(|range| !is_allowed(range, own, &allowed)) {
        return Err(exceeds(op, kind, range, own, &allowed, &owner));
    }
    let program = find(op, kind)?;
    let mut args = vec![kind.helper().to_owned(), pid.to_string()];
    args.extend(
        map.iter().flat_map(|range| [range.container, range.host, range.size]).map(|n| n.to_string()),
    );
    let (exit, said) = run(op, &program, &args)?;
    if exit == Exit::Code(0) {
        return Ok(());
    }
    let what = format!("{} refused: {}", program.display(), said.trim());
    Err(Error::new(ErrorKind::PermissionDenied, op, what).hint(unprivileged(kind, &program).unwrap_or_else(
        || format!("{} must list the ids for {}; {}", kind.file(), owner.shown(), grant(&owner)),
    )))
}

fn is_allowed(range: &IdMap, own: u32, allowed: &[Range]) -> bool {
    let end = |start: u32, count: u32| u64::from(start) + u64::from(count);
    (range.host == own && range.size == 1)
        || allowed.iter().any(|known| {
            range.host >= known.start && end(range.host, range.size) <= end(known.start, known.count)
        })
}

fn exceeds(
    op: &'static str,
    kind: IdKind,
    range: &IdMap,
    own: u32,
    allowed: &[Range],
    owner: &Owner,
) -> Error {
    let shown = |start: u32, count: u32| format!("{start}-{}", u64::from(start) + u64::from(count) - 1);
    let asked = shown(range.host, range.size);
    if allowed.is_empty() {
        let what = format!(
            "{}: ids {asked} were asked for, and {} has no subordinate ids in {}",
            kind.map(),
            owner.shown(),
            kind.file()
        );
        return Error::new(ErrorKind::PermissionDenied, op, what).hint(grant(owner));
    }
    let known: Vec<String> = allowed.iter().map(|range| shown(range.start, range.count)).collect();
    let what = format!(
        "{}: ids {asked} were asked for, and {} may give {own} and {} ({})",
        kind.map(),
        owner.shown(),
        known.join(", "),
        kind.file()
    );
    Error::new(ErrorKind::PermissionDenied, op, what)
        .hint("ask for ids that are listed, or add a line for them")
}

/// Why the helper has no privilege, if that can be seen.
#[must_use]
pub fn unprivileged(kind: IdKind, program: &Path) -> Option<String> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let data = std::fs::metadata(program).ok()?;
    let setuid = data.permissions().mode() & libc::S_ISUID != 0 && data.uid() == 0;
    let capable = inode::xattr(CWD, program, b"security.capability").is_ok_and(|found| found.is_some());
    if !setuid && !capable {
        let capability = match kind {
            IdKind::User => "cap_setuid",
            IdKind::Group => "cap_setgid",
        };
        let path = program.display();
        return Some(format!(
            "it is neither setuid root nor has {capability}: run as root: chmod u+s {path} (or setcap {capability}+ep {path})"
        ));
    }
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().any(|line| line == "NoNewPrivs:\t1").then(|| {
        "this program was started with no_new_privs, under which setuid programs have no power: start it without".into()
    })
}

/// Runs a helper with nothing of ours but a pipe for what it says, and waits for it.
fn run(op: &'static str, program: &Path, args: &[String]) -> Result<(Exit, String)> {
    let fail = || format!("cannot run {}", program.display());
    let null = || -> Result<OwnedFd> {
        let null = std::fs::File::options().read(true).write(true).open("/dev/null");
        Ok(null.context(op, "cannot open /dev/null")?.into())
    };
    let (said, says) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(std::io::Error::from)
        .context(op, "cannot make a pipe")?;
    let text = |bytes: &[u8]| {
        CString::new(bytes).map_err(|_| Error::new(ErrorKind::InvalidArgument, op, "a path with a NUL byte"))
    };
    let ops = vec![
        Op::Stdio(null()?, 0),
        Op::Stdio(null()?, 1),
        Op::Stdio(says, 2),
        Op::Clean,
        Op::Exec(vec![text(program.as_os_str().as_bytes())?]),
    ];
    let argv = args.iter().map(|arg| text(arg.as_bytes())).collect::<Result<_>>()?;
    let plan = Plan::new(ops, argv, vec![c"LC_ALL=C".to_owned()]);
    let mut child = clone::start(plan, CloneFlags::empty(), None).context(op, fail())?;
    if let Said::Failed(failure) = child.hear().context(op, fail())? {
        let _ = process::wait(&child.pidfd, true);
        let call = crate::sys::SysError::of_child("execve", failure.errno);
        return Err(Error::sys(op, fail(), call));
    }
    // Its own copy of the writing end went with the plan: the pipe ends with the helper.
    let mut text = Vec::new();
    let mut said = std::fs::File::from(said).take(4096);
    said.read_to_end(&mut text).context(op, fail())?;
    let exit = process::wait(&child.pidfd, true).context(op, fail())?;
    Ok((exit.unwrap_or(Exit::Code(127)), String::from_utf8_lossy(&text).into_owned()))
}

/// The ids that the namespace of this program maps, as `[container, size]` of its own map: what it may give to others.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn held(op: &'static str, kind: IdKind) -> Result<Vec<Range>> {
    let path = format!("/proc/self/{}", kind.map());
    let fd = file::openat(CWD, Path::new(&path), rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty())
        .context(op, format!("cannot read {path}"))?;
    let text = std::io::read_to_string(std::fs::File::from(fd)).context(op, format!("cannot read {path}"))?;
    let range = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        let (start, _, count) = (numbers.next()?.ok()?, numbers.next()?, numbers.next()?.ok()?);
        Some(Range { start, count })
    };
    Ok(text.lines().filter_map(range).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_by_id() {
        let owner = Owner { uid: 1000, name: Some("alice".into()) };
        let text = "alice:100000:65536\nbob:165536:65536\n1000:300000:1000\nalice:100500:10\nalice:x:1\nalice:1:0\n\
                    alice:4294967295:2\nalice:999:5\nalice:400000:-1\n 1000:500000:1 \n";
        let range = |start, count| Range { start, count };
        let expected = [range(100_000, 65_536), range(300_000, 1000), range(500_000, 1)];
        assert_eq!(parse(text, &owner), expected);
        assert_eq!(parse(text, &Owner { uid: 7, name: None }), []);
    }

    #[test]
    fn a_range_must_lie_in_one_that_is_given() {
        let allowed = [Range { start: 100_000, count: 65_536 }];
        let map = |host, size| IdMap { container: 0, host, size };
        for (range, good) in [
            (map(1000, 1), true),
            (map(1000, 2), false),
            (map(100_000, 65_536), true),
            (map(100_000, 65_537), false),
            (map(99_999, 1), false),
            (map(u32::MAX, u32::MAX), false),
        ] {
            assert_eq!(is_allowed(&range, 1000, &allowed), good, "{range:?}");
        }
    }
}
