//! Whether a process id in a file still means the process that the file was written about.

use crate::runtime::rootless;
use crate::sys::process;

/// The ticks of a second in `/proc`: the same on all architectures that this runs on.
const TICKS: i64 = 100;
/// By how much a clock that is set, or a time rounded to seconds, may be off.
const SLACK: i64 = 2;

/// What a file says of a process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) pid: i64,
    /// When it started, in ticks since the machine did, where the file says it.
    pub(super) start: Option<u64>,
    /// Who wrote the file.
    pub(super) owner: u32,
    /// When, in seconds since 1970.
    pub(super) written: i64,
}

/// The process of a claim, while it runs.
pub(super) fn process(claim: &Claim) -> Option<i32> {
    let pid = i32::try_from(claim.pid).ok().filter(|pid| *pid > 0)?;
    let started = process::start_time(pid).ok()?;
    let fits = match claim.start {
        Some(start) => start == started,
        // One that is younger than the file is another that was given the number.
        None => i64::try_from(started).is_ok_and(|ticks| boot() + ticks / TICKS <= claim.written + SLACK),
    };
    (fits && may_own(pid, claim.owner)).then_some(pid)
}

/// Whether a process runs, and could be one that this user's state tells of: a user has none of root's.
fn may_own(pid: i32, owner: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let is_root = field("Uid:").and_then(|ids| ids.split('\t').next()) == Some("0");
    let runs = field("State:").is_some_and(|state| !state.starts_with(['Z', 'X']));
    // Within a user namespace root is somebody else.
    runs && (owner == 0 || !is_root || rootless::in_user_ns())
}

/// When the machine started, in seconds since 1970.
fn boot() -> i64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("btime "));
    line.and_then(|time| time.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Claim {
        let pid = i32::try_from(std::process::id()).unwrap();
        let start = process::start_time(pid).unwrap();
        let written = boot() + i64::try_from(start).unwrap() / TICKS;
        Claim { pid: pid.into(), start: Some(start), owner: 0, written }
    }

    #[test]
    fn the_process_that_was_meant_and_no_other() {
        let claim = own();
        let pid = i32::try_from(claim.pid).unwrap();
        assert_eq!(process(&claim), Some(pid));
        assert_eq!(process(&Claim { start: None, ..claim }), Some(pid));
        assert_eq!(process(&Claim { start: claim.start.map(|start| start + 1), ..claim }), None);
        assert_eq!(process(&Claim { start: None, written: claim.written - 10, ..claim }), None);
        for pid in [0, -1, i64::MAX, 1 << 32] {
            assert_eq!(process(&Claim { pid, ..claim }), None, "{pid}");
        }
    }

    #[test]
    fn a_users_state_tells_of_no_process_of_root() {
        let claim = Claim { pid: 1, start: None, owner: 1000, written: i64::MAX - SLACK };
        let is_root = std::fs::read_to_string("/proc/1/status").unwrap().contains("\nUid:\t0\t");
        if is_root && !rootless::in_user_ns() {
            assert_eq!(process(&claim), None);
            assert_eq!(process(&Claim { owner: 0, ..claim }), Some(1));
        }
    }
}
