//! Reclaiming what dead sessions left: after `kill -9`, a crash or a failed clean-up.
//!
//! A session holds the lock of its folder while it lives; the kernel releases it whatever happens. A folder whose
//! lock can be taken belongs to a dead session, and its ledger says what is to be taken back.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::cancel;
use crate::runtime::ledger::{Entry, Ledger};
use crate::runtime::state::{StateDirs, verify};
use crate::runtime::undo;
use crate::runtime::units::is_hex;
use crate::sys::lock::{self, Lock};
use crate::sys::process;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const OP: &str = "gc";
const LOCK: &str = "lock";
const LEDGER: &str = "ledger";
/// How long the children of a dead session may take to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was found of one dead session.
#[derive(Debug)]
pub struct Found {
    /// The session's token.
    pub session: String,
    /// Its open steps, newest first: the order in which they are undone.
    pub entries: Vec<Entry>,
    /// What could not be taken back, by the number of its step.
    pub errors: Vec<(u64, Error)>,
}

/// What to do about dead sessions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Only report.
    pub dry_run: bool,
    /// Reclaim what was handed over with `keep()` as well.
    pub kept: bool,
}

/// Looks at every dead session and takes back what it left.
///
/// # Errors
/// When the run folder cannot be read. Errors of single objects are in the report.
pub fn collect(dirs: &StateDirs, options: Options) -> Result<Vec<Found>> {
    collect_by(dirs, options, lock_of_dead)
}

fn collect_by(
    dirs: &StateDirs,
    options: Options,
    take: fn(&Path) -> Result<Option<Lock>>,
) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for home in homes(dirs)? {
        let Some(lock) = take(&home)? else { continue };
        let report = reclaim(&home, options)?;
        drop(lock);
        if !report.entries.is_empty() || !report.errors.is_empty() {
            found.push(report);
        }
    }
    Ok(found)
}

/// The quiet sweep at the start of a session, which waits for nobody: what it cannot reclaim stays for an explicit
/// `cshell gc`.
pub fn sweep(dirs: &StateDirs) {
    let _ = collect_by(dirs, Options::default(), try_lock);
}

fn homes(dirs: &StateDirs) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(&dirs.run) {
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.context(OP, format!("cannot read {}", dirs.run.display()))?,
    };
    // A ledger is followed to the letter: never one that somebody else wrote.
    verify(&dirs.run)?;
    let mut homes = Vec::new();
    for entry in entries {
        let entry = entry.context(OP, format!("cannot read {}", dirs.run.display()))?;
        if entry.file_name().to_string_lossy().starts_with("session-") {
            homes.push(entry.path());
        }
    }
    homes.sort();
    Ok(homes)
}

/// Takes the lock of a session's folder if its owner is dead.
fn try_lock(home: &Path) -> Result<Option<Lock>> {
    let path = home.join(LOCK);
    let file = match File::options().create(true).truncate(false).write(true).open(&path) {
        // Another program removed it meanwhile.
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.context(OP, format!("cannot open {}", path.display()))?,
    };
    let opened = file.metadata();
    let lock = Lock::try_take(file).context(OP, format!("cannot lock {}", path.display()))?;
    // The folder may have been removed, or removed and made again, between the open and the lock.
    let is_there = match (opened, std::fs::symlink_metadata(&path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    };
    Ok(lock.filter(|_| is_there))
}

/// As [`try_lock`], where a start that was under way when the owner was killed may have the lock for a moment more: that child
/// ends, and is waited for.
fn lock_of_dead(home: &Path) -> Result<Option<Lock>> {
    let deadline = Instant::now() + PATIENCE;
    let mut unseen = false;
    loop {
        if let Some(lock) = try_lock(home)? {
            return Ok(Some(lock));
        }
        let holder = lock::holder(&home.join(LOCK));
        let may_live = holder.map_or(unseen, process::is_running);
        if may_live || Instant::now() >= deadline {
            return Ok(None);
        }
        // It may have let go since it was tried: once more, then.
        unseen = holder.is_none();
        cancel::sleep(OP, Instant::now() + Duration::from_millis(1))?;
    }
}

/// Makes a session's folder and takes its lock.
///
/// # Errors
/// When that is not possible.
pub fn make_locked(home: &Path) -> Result<Lock> {
    // A sweep of another program may remove the folder before its lock is taken: try again then, and less and less often where
    // many sessions begin at once.
    for turn in 0..400u32 {
        if turn >= 16 {
            std::thread::sleep(std::time::Duration::from_micros(u64::from(turn) * 20));
        }
        std::fs::create_dir(home)
            .or_else(|source| match source.kind() {
                std::io::ErrorKind::AlreadyExists => Ok(()),
                _ => Err(source),
            })
            .context("session", format!("cannot create {}", home.display()))?;
        match try_lock(home) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) => {}
            Err(error) => {
                // Nothing is in it but, perhaps, the lock: no other program can be at work there.
                let left = remove_home(home).err();
                return Err(error.also(left.into_iter().collect()));
            }
        }
    }
    Err(Error::new(ErrorKind::Busy, "session", format!("cannot lock {}", home.display())))
}

/// The tokens of the sessions that are at work, or have left something.
#[must_use]
pub fn tokens(dirs: &StateDirs) -> Vec<String> {
    let homes = homes(dirs).unwrap_or_default();
    let name = |home: PathBuf| home.file_name()?.to_str()?.strip_prefix("session-").map(ToOwned::to_owned);
    homes.into_iter().filter_map(name).collect()
}

/// The token of the session whose mark a name bears: `cshell-` and sixteen digits. It may have other state folders than this one.
#[must_use]
pub fn token_in(name: &str) -> Option<&str> {
    const DIGITS: usize = 16;
    name.match_indices("cshell-").find_map(|(at, mark)| {
        let rest = &name[at + mark.len()..];
        let (token, behind) = rest.split_at_checked(DIGITS)?;
        (is_hex(token) && !behind.starts_with(|c: char| c.is_ascii_alphanumeric())).then_some(token)
    })
}

/// Takes back what a dead session left, what it handed over as well.
///
/// # Errors
/// When its folder cannot be read, or when it lives.
pub fn reclaim_one(home: &Path) -> Result<Found> {
    let Some(_lock) = lock_of_dead(home)? else {
        return Err(Error::new(ErrorKind::Busy, OP, "the session is at work").subject(home.display()));
    };
    reclaim(home, Options { dry_run: false, kept: true })
}

fn reclaim(home: &Path, options: Options) -> Result<Found> {
    let session = home.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let session = session.trim_start_matches("session-").to_owned();
    let path = home.join(LEDGER);
    let mut entries = if path.exists() { Ledger::load(&path)? } else { Vec::new() };
    let kept = entries.iter().any(|entry| entry.kept);
    if !options.kept {
        entries.retain(|entry| !entry.kept);
    }
    entries.reverse();
    entries.sort_by_key(|entry| entry.object.is_undone_last());
    let mut report = Found { session, entries, errors: Vec::new() };
    if options.dry_run {
        return Ok(report);
    }
    let mut file = if report.entries.is_empty() { None } else { Some(Ledger::reopen(&path)?) };
    for entry in &report.entries {
        match undo::undo(&entry.object) {
            Ok(()) => {
                if let Some(file) = &mut file {
                    file.undone(entry.n)?;
                }
            }
            Err(error) => report.errors.push((entry.n, error)),
        }
    }
    if report.errors.is_empty() && (options.kept || !kept) {
        remove_home(home)?;
    }
    Ok(report)
}

/// Removes a session's own folder: its ledger and, last, its lock.
///
/// # Errors
/// When a file cannot be removed.
pub fn remove_home(home: &Path) -> Result<()> {
    for name in [LEDGER, LOCK] {
        match std::fs::remove_file(home.join(name)) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(OP, format!("cannot remove {}", home.join(name).display()), source));
            }
            _ => {}
        }
    }
    match std::fs::remove_dir(home) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(OP, format!("cannot remove {}", home.display()), source))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_known_by_its_digits() {
        let of = |name| token_in(name);
        assert_eq!(of("/sys/fs/cgroup/pids/cshell-0112660db7edacbd-436"), Some("0112660db7edacbd"));
        assert_eq!(of("cshell-leaky/cshell-34e3934441382fe3"), Some("34e3934441382fe3"));
        assert_eq!(of("cshell-34e3934441382fe3a"), None);
        assert_eq!(of("cshell-left"), None);
        assert_eq!(of("cshell-34e3934441382ä"), None);
    }
}
