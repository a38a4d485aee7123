//! Waiting for what happens to a group, and knowing what has happened since a script last heard of it.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::cancel;
use crate::runtime::cgroup::dir::Dir;
use crate::runtime::cgroup::group::Cgroup;
use crate::runtime::cgroup::stats;
use crate::runtime::units;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// The events that are counted.
pub const COUNTED: [&str; 7] = ["low", "high", "max", "oom", "oom_kill", "oom_group_kill", "pids_max"];
/// The events that are states.
pub const STATES: [&str; 4] = ["frozen", "thawed", "populated", "empty"];
/// The events that come when processes wait for too long.
pub const PRESSURES: [&str; 3] = ["cpu_pressure", "memory_pressure", "io_pressure"];

/// How often a counter is looked at that the kernel does not tell about.
const LOOK: Duration = Duration::from_millis(5);

/// Something that happened to a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// The event.
    pub event: String,
    /// How often it came since it was last heard of; 1 for a state.
    pub count: u64,
    /// How often it came in all.
    pub total: u64,
}

/// When pressure is an event: processes waited `stall` in a window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// Whether all of them have to wait at the same time.
    pub full: bool,
    /// How long they waited.
    pub stall: Duration,
    /// In which time: 500 ms to 10 s.
    pub window: Duration,
}

impl Default for Threshold {
    fn default() -> Self {
        Self { full: false, stall: Duration::from_millis(100), window: Duration::from_secs(1) }
    }
}

/// Whether a point in time is over.
#[must_use]
pub fn expired(until: Instant) -> bool {
    Instant::now() >= until
}

/// Waits for the kernel to say that a file has changed, or for a while where it does not say so.
#[derive(Debug)]
pub struct Waiter {
    fd: Option<OwnedFd>,
}

impl Waiter {
    /// Is told by the kernel.
    #[must_use]
    pub fn on(fd: OwnedFd) -> Self {
        Self { fd: Some(fd) }
    }

    /// Waits until the file has changed, until `until`, or until the program is to stop. May return for nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`].
    pub fn wait(&mut self, op: &'static str, until: Option<Instant>) -> Result<bool> {
        cancel::check(op)?;
        let Some(fd) = &self.fd else {
            let next = Instant::now() + LOOK;
            return cancel::sleep(op, until.map_or(next, |until| until.min(next))).map(|()| true);
        };
        let mut fds = vec![PollFd::new(fd.as_fd(), PollFlags::POLLPRI)];
        fds.extend(cancel::fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let left = until.map(|until| until.saturating_duration_since(Instant::now()).as_millis() + 1);
        // A change between the caller's look and this poll is not told again by every kernel: look now and then.
        let most = left.unwrap_or(100).min(100);
        let _ = poll(&mut fds, PollTimeout::try_from(most).unwrap_or(PollTimeout::MAX));
        let told = fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLPRI));
        cancel::check(op)?;
        Ok(told)
    }
}

impl Cgroup {
    /// Whether this event exists at all, and on this host for this group.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a name that is no event; [`ErrorKind::Unsupported`] where it is not counted.
    pub fn check_event(&self, op: &'static str, event: &str) -> Result<()> {
        if STATES.contains(&event) || PRESSURES.contains(&event) {
            return Ok(());
        }
        if !COUNTED.contains(&event) {
            let what = format!("{event:?} is not an event of a group");
            let known = [&COUNTED[..], &STATES[..], &PRESSURES[..]].concat();
            return Err(Error::new(ErrorKind::InvalidArgument, op, what)
                .hint(format!("events are: {}", known.join(" "))));
        }
        if self.count(event).is_some() {
            return Ok(());
        }
        let controller = if event == "pids_max" { "pids" } else { "memory" };
        let what = format!("the event {event:?} is not counted for this group");
        let hint = match self.has(controller) {
            true => format!("version 1 of the {controller} controller does not count it"),
            false => format!("give the group a limit of the {controller} controller"),
        };
        Err(Error::new(ErrorKind::Unsupported, op, what).hint(hint))
    }

    /// How often an event has come.
    fn count(&self, event: &str) -> Option<u64> {
        self.events().get(event)?.as_u64()
    }

    fn holds(&self, state: &str) -> bool {
        match state {
            "frozen" => self.is_frozen(),
            "thawed" => !self.is_frozen(),
            "populated" => self.is_populated(),
            _ => !self.is_populated(),
        }
    }

    /// What has happened since `listener` last heard of it, if anything has. A state is heard of when it begins.
    #[must_use]
    pub fn heard(&self, listener: &str, event: &str) -> Option<Happened> {
        let now = match STATES.contains(&event) {
            true => u64::from(self.holds(event)),
            false => self.count(event)?,
        };
        let key = format!("{listener} {event}");
        let before = self.heard.borrow_mut().insert(key, now).unwrap_or(0);
        let count = now.checked_sub(before).filter(|count| *count > 0)?;
        Some(Happened { event: event.to_owned(), count, total: now })
    }

    /// Waits for an event: one that came since it was last heard of, a state that holds, or pressure.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`]; [`ErrorKind::Interrupted`]; as [`check_event`](Self::check_event).
    pub fn wait(&self, event: &str, timeout: Option<Duration>, threshold: Threshold) -> Result<Happened> {
        const OP: &str = "cgroup.wait";
        self.check_event(OP, event)?;
        let until = timeout.map(|timeout| Instant::now() + timeout);
        let pressed = PRESSURES.contains(&event);
        let mut waiter = if pressed { self.press(OP, event, threshold)? } else { self.waiter(OP, event)? };
        loop {
            if !pressed && let Some(happened) = self.now(event) {
                return Ok(happened);
            }
            if until.is_some_and(expired) {
                let shown = units::show_duration(timeout.unwrap_or_default());
                let what = format!("{event:?} did not come within {shown}");
                return Err(Error::new(ErrorKind::Timeout, OP, what).subject(self.group_name()));
            }
            if waiter.wait(OP, until)? && pressed {
                return Ok(Happened { event: event.to_owned(), count: 1, total: 1 });
            }
        }
    }

    fn now(&self, event: &str) -> Option<Happened> {
        let heard = self.heard("", event);
        let state = STATES.contains(&event) && self.holds(event);
        heard.or_else(|| state.then(|| Happened { event: event.to_owned(), count: 1, total: 1 }))
    }

    /// What tells about an event: the file of version 2, where there is one.
    fn waiter(&self, op: &'static str, event: &str) -> Result<Waiter> {
        let (controller, file) = match event {
            "pids_max" => ("pids", "pids.events"),
            state if STATES.contains(&state) => ("cgroup", "cgroup.events"),
            _ => ("memory", "memory.events"),
        };
        let told = |dir: &Dir| dir.version == 2 || controller == "pids";
        let fd = match self.find(controller).filter(|dir| told(dir)) {
            Some(dir) => Some(dir.open_for_reading(op, file)?),
            None => None,
        };
        Ok(Waiter { fd })
    }

    /// Asks the kernel to tell about pressure (psi.rst): `some 100000 1000000`, in microseconds.
    fn press(&self, op: &'static str, event: &str, threshold: Threshold) -> Result<Waiter> {
        use rustix::fs::{Mode, OFlags};
        let dir = self.unified_or(op, "pressure is measured")?;
        let file = event.replace('_', ".");
        dir.read(op, &file).map_err(stats::no_psi)?;
        let fd = crate::sys::file::openat(dir.fd(), std::path::Path::new(&file), OFlags::RDWR, Mode::empty())
            .context(op, format!("cannot open {file}"))?;
        let kind = if threshold.full { "full" } else { "some" };
        let text = format!("{kind} {} {}", threshold.stall.as_micros(), threshold.window.as_micros());
        crate::sys::file::write_once(&fd, text.as_bytes()).map_err(|source| {
            Error::sys(op, format!("the kernel does not take the threshold {text:?}"), source)
                .hint("stall must be less than window, and window from 500ms to 10s (without CAP_SYS_RESOURCE a multiple of 2s)")
        })?;
        Ok(Waiter::on(fd))
    }
}
