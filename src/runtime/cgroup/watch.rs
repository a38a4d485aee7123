//! Waiting for what happens to a group, and knowing what has happened since a script last heard of it.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::attend;
use crate::runtime::cgroup::group::Cgroup;
use crate::runtime::cgroup::stats;
use crate::runtime::session::Session;
use crate::runtime::units;
use crate::sys::file;
use nix::poll::{PollFd, PollFlags};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The events that are counted.
pub const COUNTED: [&str; 7] = ["low", "high", "max", "oom", "oom_kill", "oom_group_kill", "pids_max"];
/// The events that are states.
pub const STATES: [&str; 4] = ["frozen", "thawed", "populated", "empty"];
/// The events that come when processes wait for too long.
pub const PRESSURES: [&str; 3] = ["cpu_pressure", "memory_pressure", "io_pressure"];

/// How often a counter is looked at that the kernel does not tell about.
pub const LOOK: Duration = Duration::from_millis(5);

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

/// Hears from the kernel that a file has changed, or looks now and then where the kernel does not say so.
#[derive(Debug)]
pub struct Waiter {
    fd: Option<Rc<OwnedFd>>,
}

impl Waiter {
    /// Is told by the kernel.
    #[must_use]
    pub fn on(fd: OwnedFd) -> Self {
        Self { fd: Some(Rc::new(fd)) }
    }

    /// What the kernel tells by, if it does.
    #[must_use]
    pub fn told(&self) -> Option<&Rc<OwnedFd>> {
        self.fd.as_ref()
    }

    /// Has the kernel tell of what comes from now on: to be called before one looks at what there is.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the group was removed from outside.
    pub fn arm(&self, op: &'static str) -> Result<()> {
        let Some(fd) = &self.fd else { return Ok(()) };
        // What is told is a difference to what was last read through this descriptor (kernfs_generic_poll).
        file::read_at(fd, &mut [0; 256], 0).map(drop).map_err(|source| {
            Error::sys(op, "cannot read the events of the group", source)
                .kind_is(ErrorKind::NotFound)
                .hint("the control group was removed from outside")
        })
    }

    /// Waits until the file has changed since it was [armed](Self::arm), until `until`, or until the program is to stop.
    /// May return for nothing. Whether the kernel has told.
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`]; what the session's attendant fails with.
    pub fn wait(&self, session: &Session, op: &'static str, until: Option<Instant>) -> Result<bool> {
        let fds: Vec<PollFd<'_>> =
            self.fd.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLPRI)).collect();
        let look = fds.is_empty().then(|| Instant::now() + LOOK);
        let ready = attend::wait(session, op, &fds, [until, look].into_iter().flatten().min())?;
        Ok(ready.contains(&true))
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
    /// [`ErrorKind::Timeout`]; [`ErrorKind::Interrupted`]; what the session's attendant fails with;
    /// [`ErrorKind::NotFound`] when the group was removed from outside; as [`check_event`](Self::check_event).
    pub fn wait(
        &self,
        session: &Session,
        event: &str,
        timeout: Option<Duration>,
        threshold: Threshold,
    ) -> Result<Happened> {
        const OP: &str = "cgroup.wait";
        self.check_event(OP, event)?;
        let until = timeout.map(|timeout| Instant::now() + timeout);
        let pressed = PRESSURES.contains(&event);
        let waiter = if pressed { self.press(OP, event, threshold)? } else { self.waiter(OP, event)? };
        loop {
            waiter.arm(OP)?;
            if !pressed && let Some(happened) = self.now(event) {
                return Ok(happened);
            }
            if until.is_some_and(expired) {
                let shown = units::show_duration(timeout.unwrap_or_default());
                let what = format!("{event:?} did not come within {shown}");
                return Err(Error::new(ErrorKind::Timeout, OP, what).subject(self.group_name()));
            }
            if waiter.wait(session, OP, until)? && pressed {
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
    ///
    /// # Errors
    /// The failed open.
    pub fn waiter(&self, op: &'static str, event: &str) -> Result<Waiter> {
        let (controller, file) = match event {
            "pids_max" => ("pids", "pids.events"),
            state if STATES.contains(&state) => ("cgroup", "cgroup.events"),
            _ => ("memory", "memory.events"),
        };
        // Version 1 has pids.events as well, and does not tell of it (seen on Linux 6.18).
        let fd = match self.find(controller).filter(|dir| dir.version == 2) {
            Some(dir) => Some(dir.open_for_reading(op, file)?),
            None => None,
        };
        Ok(Waiter { fd: fd.map(Rc::new) })
    }

    /// Asks the kernel to tell about pressure (psi.rst): `some 100000 1000000`, in microseconds.
    fn press(&self, op: &'static str, event: &str, threshold: Threshold) -> Result<Waiter> {
        use rustix::fs::{Mode, OFlags};
        let dir = self.unified_or(op, "pressure is measured")?;
        let file = event.replace('_', ".");
        dir.read(op, &file).map_err(stats::no_psi)?;
        let fd = file::openat(dir.fd(), std::path::Path::new(&file), OFlags::RDWR, Mode::empty())
            .context(op, format!("cannot open {file}"))?;
        let kind = if threshold.full { "full" } else { "some" };
        let text = format!("{kind} {} {}", threshold.stall.as_micros(), threshold.window.as_micros());
        file::write_once(&fd, text.as_bytes()).map_err(|source| {
            Error::sys(op, format!("the kernel does not take the threshold {text:?}"), source)
                .hint("stall must be less than window, and window from 500ms to 10s (without CAP_SYS_RESOURCE a multiple of 2s)")
        })?;
        Ok(Waiter::on(fd))
    }
}
