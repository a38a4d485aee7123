//! The proof that a limit bites: a throw-away group has it, and a program of a few instructions runs against it.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::cancel;
use crate::runtime::cgroup::group::{self, Cgroup};
use crate::runtime::cgroup::host::Ground;
use crate::runtime::cgroup::io::{Device, IoMax};
use crate::runtime::cgroup::limits::Limit;
use crate::runtime::cgroup::watch::expired;
use crate::runtime::session::{Session, StepId};
use crate::runtime::start::{self, Start, Steps};
use crate::sys::child::Op;
use crate::sys::payload::Payload;
use crate::sys::process::{self, Exit};
use serde::Serialize;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

const OP: &str = "cgroup::probe";
/// How long one probe may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How far above its quota a measured share may be: the kernel hands quota out in slices of 5 ms for each processor.
const TOLERANCE: f64 = 0.25;

/// What came of the probe of one limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proof {
    /// The limit, as `memory.max=67108864`.
    pub limit: String,
    /// `true` when it bites; nothing when that could not be tried. One that does not bite is an error.
    pub bites: Option<bool>,
    /// What was seen, or `SKIP: ` and why it was not tried.
    pub text: String,
}

/// A limit that was seen to bite, or why that cannot be tried here.
enum Seen {
    Bites(String),
    Skip(String),
}

/// Proves for each limit, in a throw-away group of its own, that it bites.
///
/// # Errors
/// [`ErrorKind::Unsupported`] when one does not, and as for setting it.
pub fn probe(session: &Session, limits: &[Limit]) -> Result<Vec<Proof>> {
    limits.iter().map(|limit| prove(session, limit)).collect()
}

fn prove(session: &Session, limit: &Limit) -> Result<Proof> {
    limit.check(OP)?;
    let seen = match limit {
        Limit::Memory(Some(bytes)) => memory(session, limit, *bytes)?,
        Limit::Pids(Some(count)) => pids(session, limit, *count)?,
        Limit::Cpu { quota: Some(quota), period } => cpu(session, limit, *quota, *period)?,
        Limit::CpusetCpus(list) => cpuset(session, limit, list)?,
        Limit::Io(device, max) => io(session, *device, max)?,
        _ => set_only(session, limit)?,
    };
    let limit = limit.to_string();
    Ok(match seen {
        Seen::Bites(text) => Proof { limit, bites: Some(true), text },
        Seen::Skip(why) => Proof { limit, bites: None, text: format!("SKIP: {why}") },
    })
}

fn fails(what: String) -> Error {
    Error::new(ErrorKind::Unsupported, OP, what)
        .hint("the limit is set and read back, and not in force: look at the groups above (cgroup::current().limits())")
}

/// A group and the programs that run in it, gone together.
struct Trial<'a> {
    session: &'a Session,
    group: std::rc::Rc<Cgroup>,
    id: crate::runtime::session::HandleId,
    running: Vec<(StepId, OwnedFd, i32)>,
}

impl<'a> Trial<'a> {
    fn new(session: &'a Session, limits: &[Limit], more: &[&str]) -> Result<Self> {
        let (id, group) = group::anonymous(session, OP, limits, more)?;
        Ok(Self { session, group, id, running: Vec::new() })
    }

    /// Starts a program in the group.
    fn start(&mut self, payload: Payload<'_>) -> Result<()> {
        let program = payload
            .make()
            .map_err(|source| start::explain_program(OP, "cannot make the probing program", source))?;
        let mut steps = Steps::default();
        for tasks in self.group.entries(OP)? {
            steps.push(Op::EnterGroup(tasks), "enter the group");
        }
        let null = std::fs::File::options().read(true).write(true).open("/dev/null");
        let null = null.context(OP, "cannot open /dev/null")?;
        for number in 0..3 {
            steps.push(Op::Stdio(start::duplicate(OP, &null)?, number), "let go of the terminal");
        }
        steps.push(Op::NewSession, "leave the terminal's session");
        steps.push(Op::DeathSignal(libc::SIGKILL), "die with the session");
        steps.push(Op::Wait, "wait for the ledger");
        steps.push(Op::Clean, "let go of descriptors and signals");
        steps.push(Op::ExecFd(program), "run the probing program");
        let birth = self.group.birth(OP)?;
        let start = Start {
            argv: vec![CString::from(c"cshell-probe")],
            cgroup: birth.as_ref().map(AsFd::as_fd),
            limited: self.group.limits_memory(),
            ..Start::of(OP, format!("probe with {payload:?}"), steps)
        };
        let explain =
            |failure: start::StepFailure| Error::sys(OP, format!("cannot {}", failure.what), failure.call);
        let (step, running) = start::start(self.session, start, explain)?;
        self.running.push((step, running.pidfd, running.pid));
        Ok(())
    }

    /// Runs a program to its end.
    fn run(&mut self, payload: Payload<'_>) -> Result<Exit> {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        self.start(payload)?;
        let until = Instant::now() + PATIENCE;
        let Some((step, pidfd, _)) = self.running.pop() else { return Ok(Exit::Code(0)) };
        loop {
            if let Some(exit) = process::wait(&pidfd, false).context(OP, "cannot collect the status")? {
                self.session.ended(step, &format!("ended: {exit:?}"))?;
                return Ok(exit);
            }
            cancel::check(OP)?;
            if expired(until) {
                let what = format!("the probing program did not end within {} s", PATIENCE.as_secs());
                return Err(Error::new(ErrorKind::Timeout, OP, what));
            }
            let mut fds = vec![PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
            fds.extend(cancel::fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
            let _ = poll(&mut fds, PollTimeout::from(1000u16));
        }
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        // What runs is killed with the group. What cannot be removed now is tried again at the end of the session.
        let _ = self.group.kill();
        for (step, pidfd, _) in &self.running {
            let _ = process::wait(pidfd, false);
            let _ = self.session.ended(*step, "ended with its group");
        }
        let _ = self.session.close_handle(self.id);
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.trim_start_matches(':').split_ascii_whitespace().next()?.parse().ok()
}

/// Half of the limit is touched and lives, 16 MiB more than the limit are touched and killed.
fn memory(session: &Session, limit: &Limit, bytes: u64) -> Result<Seen> {
    const MORE: u64 = 16 << 20;
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = field(&text, "MemAvailable").unwrap_or(0) * 1024;
    if bytes.saturating_add(MORE) > available / 2 {
        let what = format!("{bytes} bytes are more than half of what this machine has free ({available})");
        return Ok(Seen::Skip(what));
    }
    let mut limits = vec![limit.clone()];
    // What goes to swap does not count as memory.
    let swap = field(&text, "SwapTotal").unwrap_or(0) > 0;
    limits.extend(swap.then_some(Limit::Swap(Some(0))));
    let mut trial = Trial::new(session, &limits, &[])?;
    let small = trial.run(Payload::Allocate(bytes / 2))?;
    if small != Exit::Code(0) {
        return Err(fails(format!(
            "memory.max={bytes}: a program that touches half of it ended with {small:?}"
        )));
    }
    let large = trial.run(Payload::Allocate(bytes + MORE))?;
    let (kills, peak) = (trial.group.oom_kills(), trial.group.memory_peak());
    if large != Exit::Signal(libc::SIGKILL) || kills == 0 {
        return Err(fails(format!(
            "memory.max={bytes}: a program touched 16 MiB more and ended with {large:?}"
        )));
    }
    let peak = peak.map_or_else(String::new, |peak| format!(", peak {peak} bytes"));
    Ok(Seen::Bites(format!(
        "{} bytes live, {} bytes are killed ({kills} oom_kill){peak}",
        bytes / 2,
        bytes + MORE
    )))
}

fn pids(session: &Session, limit: &Limit, count: u64) -> Result<Seen> {
    const MOST: u64 = 2000;
    if count > MOST {
        return Ok(Seen::Skip(format!("it would take {count} processes; up to {MOST} are tried")));
    }
    let mut trial = Trial::new(session, std::slice::from_ref(limit), &[])?;
    match trial.run(Payload::Fork(count))? {
        Exit::Code(0) => Ok(Seen::Bites(format!("{count} processes live, fork of one more gives EAGAIN"))),
        Exit::Code(1) => Err(fails(format!("pids.max={count}: fork was not refused"))),
        Exit::Code(3) => {
            let what = format!("pids.max={count}: fork was refused before that");
            Err(fails(what).hint("a group above, or kernel.pid_max, allows less"))
        }
        other => Err(fails(format!("pids.max={count}: the program that forks ended with {other:?}"))),
    }
}

fn cpu(session: &Session, limit: &Limit, quota: u64, period: u64) -> Result<Seen> {
    let there = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // One more than the quota is worth, so that it is what holds them back.
    let needed = usize::try_from(quota / period + 1).unwrap_or(usize::MAX);
    if needed > there {
        return Ok(Seen::Skip(format!(
            "a quota of {quota}/{period} us cannot be reached on {there} processors"
        )));
    }
    let mut trial = Trial::new(session, std::slice::from_ref(limit), &[])?;
    (0..needed).try_for_each(|_| trial.start(Payload::Burn))?;
    let used = |trial: &Trial<'_>| {
        let usec = trial.group.cpu_usec();
        usec.ok_or_else(|| Error::new(ErrorKind::Unsupported, OP, "this host does not count processor time"))
    };
    let (from, started) = (used(&trial)?, Instant::now());
    let window = Duration::from_micros(period * 5).max(Duration::from_millis(500));
    let until = started + PATIENCE;
    while trial.group.throttled_periods().unwrap_or(0) < 3 || started.elapsed() < window {
        if expired(until) {
            return Err(fails(format!(
                "cpu.max={quota} {period}: never held back in {} s",
                PATIENCE.as_secs()
            )));
        }
        cancel::sleep(OP, Instant::now() + Duration::from_millis(50))?;
    }
    let elapsed = started.elapsed().as_secs_f64();
    let micros = u32::try_from(used(&trial)? - from).unwrap_or(u32::MAX);
    let share = f64::from(micros) / 1e6 / elapsed;
    let asked = Duration::from_micros(quota).as_secs_f64() / Duration::from_micros(period).as_secs_f64();
    // One period may be counted more than once in a window.
    let edge = Duration::from_micros(quota).as_secs_f64() / elapsed;
    if share > asked * (1.0 + TOLERANCE) + edge {
        return Err(fails(format!(
            "cpu.max={quota} {period}: {share:.2} processors were used, not {asked:.2}"
        )));
    }
    let periods = trial.group.throttled_periods().unwrap_or(0);
    Ok(Seen::Bites(format!("{share:.2} processors used of {asked:.2}, held back in {periods} periods")))
}

fn cpuset(session: &Session, limit: &Limit, list: &str) -> Result<Seen> {
    let mut trial = Trial::new(session, std::slice::from_ref(limit), &[])?;
    trial.start(Payload::Burn)?;
    let pid = trial.running.last().map_or(0, |(_, _, pid)| *pid);
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).context(OP, format!("cannot read {path}"))?;
    let held =
        text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default().trim();
    let numbers = |list: &str| super::limits::parse_list(OP, "cpuset.cpus", list);
    if numbers(held)? != numbers(list)? {
        return Err(fails(format!("cpuset.cpus={list}: a process may use the processors {held}")));
    }
    Ok(Seen::Bites(format!("a process may use the processors {held} and no others")))
}

/// A second's worth is read, without the limit and with it: the quickest of three, and the quicker of two, so that what else
/// the machine does is not taken for the limit.
fn io(session: &Session, device: Device, max: &IoMax) -> Result<Seen> {
    let (chunk, count, asked) = match (max.rbps, max.riops) {
        (Some(Some(bytes @ 16_384..=536_870_912)), _) => {
            let chunk = (bytes / 16).clamp(4096, 1 << 20) / 4096 * 4096;
            (chunk, (bytes / chunk).max(2), format!("rbps={bytes}"))
        }
        (_, Some(Some(reads @ 4..=20_000))) => (4096, reads, format!("riops={reads}")),
        (None, None) => return Ok(Seen::Skip("writing to a device would destroy what is on it".into())),
        _ => {
            return Ok(Seen::Skip(
                "no limit on reads between 16 KiB/s and 512 MiB/s, or 4 and 20000 reads/s".into(),
            ));
        }
    };
    let path = format!("/dev/block/{device}");
    let name = std::fs::read_link(format!("/sys/dev/block/{device}")).ok();
    let node = name.and_then(|link| Some(Path::new("/dev").join(link.file_name()?)));
    let Some(node) = node
        .filter(|node| node.exists())
        .or_else(|| Some(path.into()).filter(|path: &std::path::PathBuf| path.exists()))
    else {
        return Ok(Seen::Skip(format!("there is no device file for {device} in /dev")));
    };
    let payload = Payload::Read { path: &node, chunk, count };
    let time = |limits: &[Limit]| -> Result<(Exit, Duration)> {
        let mut trial = Trial::new(session, limits, &["io"])?;
        let started = Instant::now();
        Ok((trial.run(payload)?, started.elapsed()))
    };
    let (exit, mut free) = time(&[])?;
    if exit != Exit::Code(0) {
        return Ok(Seen::Skip(format!("{} cannot be read past the page cache ({exit:?})", node.display())));
    }
    for _ in 0..2 {
        free = free.min(time(&[])?.1);
    }
    if free > Duration::from_millis(450) {
        return Ok(Seen::Skip(format!("the device is no faster than the limit: {free:.0?} without it")));
    }
    let limits = [Limit::Io(device, *max)];
    let held = time(&limits)?.1.min(time(&limits)?.1);
    // The first slice of 100 ms is free.
    if held < free + Duration::from_millis(450) {
        return Err(fails(format!(
            "io.max={device} {asked}: reading took {held:.0?}, without the limit {free:.0?}"
        )));
    }
    Ok(Seen::Bites(format!("{} bytes read in {held:.0?}, without the limit in {free:.0?}", chunk * count)))
}

/// What has no probe is set and read back.
fn set_only(session: &Session, limit: &Limit) -> Result<Seen> {
    let _trial = Trial::new(session, std::slice::from_ref(limit), &[])?;
    let _ = Ground::of(session, OP)?;
    Ok(Seen::Skip("set and read back; there is no probe for it".into()))
}
