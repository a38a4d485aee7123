//! Processes by pidfd: signal, wait, identify.

use crate::sys::{Errno, Outcome, Result, SysError, call, flag_names};
use nix::poll::PollTimeout;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus};
use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

/// How long poll(2) is to wait so that the time is over when nothing has come: it counts whole milliseconds.
#[must_use]
pub fn poll_timeout(until: Option<Instant>) -> PollTimeout {
    until.map_or(PollTimeout::NONE, |until| {
        let left = until.saturating_duration_since(Instant::now()).as_millis().saturating_add(1);
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    })
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal (its number: real-time signals have no name).
    Signal(i32),
}

impl Outcome for Exit {
    fn show(&self) -> String {
        format!("{self:?}")
    }
}

/// What a process and the children that it waited for have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time in programs.
    pub user: std::time::Duration,
    /// Processor time in the kernel.
    pub system: std::time::Duration,
    /// The greatest resident size of one process, in bytes.
    pub memory_peak: u64,
}

impl Outcome for (Exit, Usage) {
    fn show(&self) -> String {
        self.0.show()
    }
}

/// Collects the status and the usage of the child behind `pidfd`, or `None` while it runs.
///
/// # Errors
/// The failed `waitid`; `ECHILD` when it is not a child of ours.
pub fn wait_usage(pidfd: impl AsFd) -> Result<Option<(Exit, Usage)>> {
    let fd = pidfd.as_fd().as_raw_fd();
    call(
        "waitid",
        || format!("P_PIDFD, {fd}, {{…}}, WEXITED|WNOHANG, {{…}}"),
        || super::raw::wait_usage(fd, libc::WEXITED | libc::WNOHANG),
    )
}

/// Whether others of this user, and root of a namespace that a process with our memory is in, may look into our memory.
///
/// # Errors
/// The failed `prctl`.
pub fn set_dumpable(dumpable: bool) -> Result<()> {
    call(
        "prctl",
        || format!("PR_SET_DUMPABLE, {}", i32::from(dumpable)),
        || nix::sys::prctl::set_dumpable(dumpable),
    )
}

/// Whether orphans among our descendants become our children, rather than those of the machine's init.
///
/// # Errors
/// The failed `prctl`.
pub fn set_subreaper(on: bool) -> Result<()> {
    call(
        "prctl",
        || format!("PR_SET_CHILD_SUBREAPER, {}", i32::from(on)),
        || nix::sys::prctl::set_child_subreaper(on),
    )
}

/// The children of this process, zombies among them. While some of them end the list may lack others.
#[must_use]
pub fn children() -> Vec<i32> {
    let folders = |path: &str| {
        let names = std::fs::read_dir(path).into_iter().flatten().flatten();
        names.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
    };
    // Each thread has its own. A kernel without CONFIG_PROC_CHILDREN has no such file.
    let lists: Option<Vec<String>> = folders("/proc/self/task")
        .map(|thread| std::fs::read_to_string(format!("/proc/self/task/{thread}/children")).ok())
        .collect();
    if let Some(lists) = lists {
        return lists.iter().flat_map(|list| list.split_ascii_whitespace()).flat_map(str::parse).collect();
    }
    let own = i32::try_from(std::process::id()).ok();
    folders("/proc").filter(|pid| own.is_some() && parent(*pid) == own).collect()
}

/// Whether it exists and is no zombie.
#[must_use]
pub fn is_running(pid: i32) -> bool {
    stat_field(pid, 0).is_some_and(|state| !matches!(state.as_str(), "Z" | "X"))
}

/// Whether a signal has stopped it, as SIGSTOP does.
#[must_use]
pub fn is_stopped(pid: i32) -> bool {
    stat_field(pid, 0).is_some_and(|state| state == "T")
}

/// Whether it has a terminal, from which keys may stop it.
#[must_use]
pub fn has_terminal(pid: i32) -> bool {
    stat_field(pid, 4).is_some_and(|device| device != "0")
}

/// The process that is told of its end.
#[must_use]
pub fn parent(pid: i32) -> Option<i32> {
    stat_field(pid, 1)?.parse().ok()
}

/// Whether it is PID 1 of its pid namespace.
#[must_use]
pub fn is_first(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    ids.and_then(|ids| ids.split_ascii_whitespace().next_back()) == Some("1")
}

/// A field of `/proc/PID/stat`, counted behind the command, which is in brackets and may hold anything.
fn stat_field(pid: i32, index: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(index).map(ToOwned::to_owned)
}

/// The greatest resident size of this process so far, in bytes.
#[must_use]
pub fn own_memory_peak() -> u64 {
    use nix::sys::resource::{UsageWho, getrusage};
    let peak = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.max_rss());
    u64::try_from(peak).unwrap_or(0).saturating_mul(1024)
}

/// Sends `signal` to every process of the group that `leader` leads. The leader must not have been waited for: its id
/// is not given to another until then.
///
/// # Errors
/// The failed `kill`; `ESRCH` when there is no such group.
pub fn signal_group(leader: i32, signal: i32) -> Result<()> {
    call(
        "kill",
        || format!("-{leader}, {}", signal_name(signal)),
        || {
            let group = nix::unistd::Pid::from_raw(leader);
            nix::sys::signal::killpg(group, Signal::try_from(signal).ok())
        },
    )
}

/// Opens a process by id.
///
/// # Errors
/// The failed `pidfd_open`; `ESRCH` when it is gone.
pub fn open(pid: i32) -> Result<OwnedFd> {
    call(
        "pidfd_open",
        || format!("{pid}, 0"),
        || {
            let pid = rustix::process::Pid::from_raw(pid).ok_or(rustix::io::Errno::INVAL)?;
            rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
        },
    )
}

/// Sends `signal` (a number) to the process behind `pidfd`.
///
/// # Errors
/// The failed `pidfd_send_signal`; `ESRCH` when it has ended.
pub fn signal(pidfd: impl AsFd, signal: i32) -> Result<()> {
    let fd = pidfd.as_fd();
    let name = signal_name(signal);
    call(
        "pidfd_send_signal",
        || format!("{}, {name}, NULL, 0", fd.as_raw_fd()),
        || super::raw::pidfd_send_signal(fd.as_raw_fd(), signal),
    )
}

/// Collects the status of the child behind `pidfd`, or `None` while it runs and `block` is false.
///
/// # Errors
/// The failed `waitid`; `ECHILD` when it is not a child of ours.
pub fn wait(pidfd: impl AsFd, block: bool) -> Result<Option<Exit>> {
    let fd = pidfd.as_fd();
    let mut flags = WaitPidFlag::WEXITED;
    if !block {
        flags |= WaitPidFlag::WNOHANG;
    }
    call(
        "waitid",
        || format!("P_PIDFD, {}, {{…}}, {}", fd.as_raw_fd(), flag_names("", flags.iter_names())),
        || loop {
            return match nix::sys::wait::waitid(Id::PIDFd(fd), flags) {
                Ok(WaitStatus::Exited(_, code)) => Ok(Some(Exit::Code(code))),
                Ok(WaitStatus::Signaled(_, signal, _)) => Ok(Some(Exit::Signal(signal as i32))),
                Ok(_) => Ok(None),
                Err(Errno::EINTR) => continue,
                Err(errno) => Err(errno),
            };
        },
    )
}

/// When the process started, in clock ticks since boot: with its pid, an identity.
///
/// # Errors
/// The failed read of `/proc/PID/stat`.
pub fn start_time(pid: i32) -> Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let fd = super::file::openat(rustix::fs::CWD, Path::new(&path), OFlags::RDONLY, Mode::empty())?;
    // A kernel file of one line, given whole to the first read that has room for it.
    let mut line = [0; 1024];
    let len = super::file::read(&fd, &mut line)?;
    let text = String::from_utf8_lossy(&line[..len]);
    // The second field is the command in brackets and may hold anything: count from its end.
    let fields = text.rsplit_once(')').map(|(_, rest)| rest.split_ascii_whitespace());
    let field = fields.and_then(|mut fields| fields.nth(19)).and_then(|field| field.parse().ok());
    field.ok_or_else(|| gone(pid))
}

/// Whether a SIGKILL is on its way to the process: it is as good as dead (proc_pid_status(5), `SigPnd` and `ShdPnd`).
#[must_use]
pub fn is_being_killed(pid: i32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let masks = text.lines().filter_map(|line| {
        let mask = line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    });
    masks.into_iter().any(|mask| mask & 1 << (libc::SIGKILL - 1) != 0)
}

/// The name of a signal: `SIGTERM`, `SIGRTMIN+3`.
#[must_use]
pub fn signal_name(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) if (34..=64).contains(&number) => format!("SIGRTMIN+{}", number - 34),
        Err(_) => format!("signal {number}"),
    }
}

/// The number of a signal by name, with or without `SIG`, or written as a number.
#[must_use]
pub fn signal_number(name: &str) -> Option<i32> {
    use std::str::FromStr;
    if let Ok(number) = name.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    Signal::from_str(&full).ok().map(|signal| signal as i32)
}

/// An error of our own about a process, in the shape of a failed call.
#[must_use]
pub fn gone(pid: i32) -> SysError {
    SysError::new("pidfd_open", format!("{pid}, 0"), Errno::ESRCH)
}
