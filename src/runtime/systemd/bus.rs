//! A connection to systemd's manager: to its private socket where there is one, as systemctl(1) does it, else to the bus.
//!
//! Both speak D-Bus. On the private socket there is nobody else: no name is asked for, and news come without asking.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cancel;
use crate::runtime::rootless;
use crate::runtime::systemd::Manager;
use crate::runtime::systemd::wire::{self, HEAD, Kind, Message, Target, Writer};
use crate::sys::{Errno, SysError, socket};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the manager may take for one piece of work, the waiting for a job included.
const PATIENCE: Duration = Duration::from_secs(30);

/// The manager's own object.
pub const MANAGER: Target = Target {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};
/// The bus itself.
const BUS: Target = Target {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};
/// What is passed on to us.
const JOBS: &str = "type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";

/// An open connection.
#[derive(Debug)]
pub struct Bus {
    op: &'static str,
    manager: Manager,
    fd: OwnedFd,
    input: Vec<u8>,
    /// Those that came while an answer was waited for.
    signals: Vec<Message>,
    serial: u32,
    deadline: Instant,
}

impl Bus {
    /// What the connection is for.
    #[must_use]
    pub fn op(&self) -> &'static str {
        self.op
    }

    /// Whom it leads to.
    #[must_use]
    pub fn manager(&self) -> Manager {
        self.manager
    }

    /// Connects to a manager.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when it cannot be reached; [`ErrorKind::PermissionDenied`] when it may not be.
    pub fn open(op: &'static str, manager: Manager) -> Result<Self> {
        let (private, bus) = places(manager);
        let (fd, is_bus) = match socket::unix(&private) {
            Ok(fd) => (fd, false),
            Err(first) => match socket::unix(&bus) {
                Ok(fd) => (fd, true),
                Err(second) => return Err(unreachable(op, manager, &private, &bus, [first, second])),
            },
        };
        Self::greet(op, manager, fd, is_bus)
    }

    fn greet(op: &'static str, manager: Manager, fd: OwnedFd, is_bus: bool) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        let (input, signals) = (Vec::new(), Vec::new());
        let mut bus = Self { op, manager, fd, input, signals, serial: 0, deadline };
        bus.authenticate()?;
        if is_bus {
            let mut rule = Writer::default();
            rule.text(JOBS);
            bus.call(BUS, "Hello", "", &Writer::default())?;
            bus.call(BUS, "AddMatch", "s", &rule)?;
            bus.call(MANAGER, "Subscribe", "", &Writer::default())?;
        }
        Ok(bus)
    }

    /// Says who we are, which the socket proves (D-Bus specification, "Authentication Protocol").
    fn authenticate(&mut self) -> Result<()> {
        let id: String = rootless::user().to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
        self.send(format!("\0AUTH EXTERNAL {id}\r\nBEGIN\r\n").as_bytes())?;
        let end = loop {
            if let Some(end) = self.input.windows(2).position(|bytes| bytes == b"\r\n") {
                break end + 2;
            }
            self.receive()?;
        };
        let line: Vec<u8> = self.input.drain(..end).collect();
        if line.starts_with(b"OK ") {
            return Ok(());
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let what = format!("systemd's manager does not take this user: {line}");
        Err(Error::new(ErrorKind::PermissionDenied, self.op, what).hint(WITHOUT))
    }

    /// Calls a method and returns its answer.
    ///
    /// # Errors
    /// The refusal; [`ErrorKind::Timeout`]; a failed call.
    pub fn call(&mut self, to: Target, member: &str, signature: &str, body: &Writer) -> Result<Message> {
        self.serial += 1;
        let serial = self.serial;
        self.send(&wire::call(serial, to, member, signature, body))?;
        loop {
            let message = self.next()?;
            match message.kind {
                Kind::Return if message.reply_to == serial => return Ok(message),
                Kind::Error if message.reply_to == serial => return Err(self.refused(member, &message)),
                Kind::Signal => self.signals.push(message),
                _ => {}
            }
        }
    }

    /// Waits until a job is over, and returns its result: `done`, or how it failed.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`]; a failed call.
    pub fn job(&mut self, job: &str) -> Result<String> {
        loop {
            for signal in std::mem::take(&mut self.signals) {
                let mut body = signal.read();
                if signal.member == "JobRemoved"
                    && signal.signature == "uoss"
                    && body.number().is_some()
                    && body.text() == Some(job)
                    && body.text().is_some()
                    && let Some(result) = body.text()
                {
                    return Ok(result.to_owned());
                }
            }
            let message = self.next()?;
            self.signals.extend((message.kind == Kind::Signal).then_some(message));
        }
    }

    fn next(&mut self) -> Result<Message> {
        loop {
            if let Some(head) = self.input.first_chunk::<HEAD>() {
                let len = wire::length(head).ok_or_else(|| self.malformed())?;
                if self.input.len() >= len {
                    let bytes: Vec<u8> = self.input.drain(..len).collect();
                    return wire::parse(&bytes).ok_or_else(|| self.malformed());
                }
            }
            self.receive()?;
        }
    }

    fn send(&mut self, mut data: &[u8]) -> Result<()> {
        while !data.is_empty() {
            match socket::send(&self.fd, data) {
                Ok(sent) => data = &data[sent..],
                Err(error) if error.errno() == Errno::EAGAIN => self.wait(PollFlags::POLLOUT)?,
                Err(error) => return Err(self.lost(error)),
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        let mut buf = [0; 4096];
        loop {
            match socket::recv(&self.fd, &mut buf) {
                Ok(0) => {
                    let call = SysError::new("recv", "…".into(), Errno::ECONNRESET);
                    return Err(self.lost(call));
                }
                Ok(len) => {
                    self.input.extend(&buf[..len]);
                    return Ok(());
                }
                Err(error) if error.errno() == Errno::EAGAIN => self.wait(PollFlags::POLLIN)?,
                Err(error) => return Err(self.lost(error)),
            }
        }
    }

    /// Waits until the socket is ready, or has failed. Attends to nothing meanwhile: what an attendant does may want the
    /// scope that is being made.
    fn wait(&self, flags: PollFlags) -> Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let mut fds = vec![PollFd::new(self.fd.as_fd(), flags)];
        fds.extend(cancel::fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        match ppoll(&mut fds, Some(TimeSpec::from_duration(left)), None) {
            Ok(0) => {
                let what = format!("systemd's manager has not finished within {} s", PATIENCE.as_secs());
                let systemctl = self.manager.systemctl();
                Err(Error::new(ErrorKind::Timeout, self.op, what)
                    .hint(format!("`{systemctl} list-jobs` tells what it is waiting for")))
            }
            Ok(_) | Err(Errno::EINTR) => cancel::check(self.op),
            Err(errno) => {
                let call = SysError::new("ppoll", format!("{} descriptors", fds.len()), errno);
                Err(Error::sys(self.op, "cannot wait for systemd's manager", call))
            }
        }
    }

    fn lost(&self, source: SysError) -> Error {
        Error::sys(self.op, "systemd's manager has hung up", source)
            .kind_is(ErrorKind::Unsupported)
            .hint(WITHOUT)
    }

    fn malformed(&self) -> Error {
        Error::new(
            ErrorKind::Corrupt,
            self.op,
            "systemd's manager sent what is no D-Bus message of this machine",
        )
    }

    /// The error for a call that was answered with one.
    fn refused(&self, member: &str, answer: &Message) -> Error {
        let text = if answer.signature.starts_with('s') { answer.read().text() } else { None };
        let name = answer.error.as_str();
        let kind = match name.rsplit('.').next().unwrap_or_default() {
            "AccessDenied" | "AuthFailed" | "InteractiveAuthorizationRequired" => ErrorKind::PermissionDenied,
            "NoSuchUnit" => ErrorKind::NotFound,
            "UnitExists" => ErrorKind::AlreadyExists,
            "NoReply" | "Timeout" | "TimedOut" => ErrorKind::Timeout,
            "InvalidArgs" | "BadUnitSetting" => ErrorKind::InvalidArgument,
            "LimitsExceeded" => ErrorKind::LimitReached,
            _ => ErrorKind::Unsupported,
        };
        let what = format!("systemd refused {member}: {} ({name})", text.unwrap_or("no reason given"));
        Error::new(kind, self.op, what).hint(WITHOUT)
    }
}

/// What goes on without the manager.
pub const WITHOUT: &str =
    "CSHELL_CGROUP_DRIVER=cgroupfs makes groups below this program's own, without asking systemd";

/// The manager's private socket, and that of the bus which it is on.
fn places(manager: Manager) -> (PathBuf, PathBuf) {
    let runtime = match manager {
        Manager::System => return ("/run/systemd/private".into(), "/run/dbus/system_bus_socket".into()),
        Manager::User => std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()),
    };
    let runtime =
        runtime.map_or_else(|| PathBuf::from(format!("/run/user/{}", rootless::user())), PathBuf::from);
    let address = std::env::var("DBUS_SESSION_BUS_ADDRESS").unwrap_or_default();
    let bus = address.split(';').find_map(|address| address.strip_prefix("unix:path=")?.split(',').next());
    (runtime.join("systemd/private"), bus.map_or_else(|| runtime.join("bus"), PathBuf::from))
}

fn unreachable(
    op: &'static str,
    manager: Manager,
    private: &Path,
    bus: &Path,
    failed: [SysError; 2],
) -> Error {
    let denied = failed.iter().any(|error| matches!(error.errno(), Errno::EACCES | Errno::EPERM));
    let [_, last] = failed;
    let what = format!("systemd's manager cannot be reached at {} or {}", private.display(), bus.display());
    let hint = match manager {
        Manager::System => format!("is the host's /run in sight here? {WITHOUT}"),
        Manager::User => format!(
            "`loginctl enable-linger` starts a manager for this user, XDG_RUNTIME_DIR says where it listens; {WITHOUT}"
        ),
    };
    let kind = if denied { ErrorKind::PermissionDenied } else { ErrorKind::Unsupported };
    Error::sys(op, what, last).kind_is(kind).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::systemd::unit;
    use crate::runtime::systemd::wire::tests::sent;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    /// A connection to a peer that takes whatever comes, and has said all this already.
    fn told(lines: &[u8]) -> (Result<Bus>, UnixStream) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.write_all(lines).unwrap();
        (Bus::greet("test", Manager::System, ours.into(), false), theirs)
    }

    #[test]
    fn who_we_are_is_said_and_a_refusal_heard() {
        let (bus, mut peer) = told(b"OK 0123\r\n");
        let bus = bus.unwrap();
        drop(bus);
        let mut said = String::new();
        peer.read_to_string(&mut said).unwrap();
        let uid: String =
            nix::unistd::geteuid().to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(said, format!("\0AUTH EXTERNAL {uid}\r\nBEGIN\r\n"));
        let error = told(b"REJECTED EXTERNAL\r\n").0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.to_string().ends_with("does not take this user: REJECTED EXTERNAL"), "{error}");
    }

    #[test]
    fn a_refused_unit_says_why() {
        for (name, kind) in [
            ("org.freedesktop.DBus.Error.AccessDenied", ErrorKind::PermissionDenied),
            ("org.freedesktop.systemd1.UnitExists", ErrorKind::AlreadyExists),
            ("org.freedesktop.systemd1.TransactionIsDestructive", ErrorKind::Unsupported),
        ] {
            let answers = [b"OK 0123\r\n".to_vec(), sent(3, 1, name, "s", &["because"])].concat();
            let error = unit::start_scope(&mut told(&answers).0.unwrap(), "a.scope", 7).unwrap_err();
            assert_eq!(error.kind(), kind);
            let wanted = format!("test: systemd refused StartTransientUnit: because ({name})");
            assert_eq!(error.to_string(), wanted);
        }
    }

    /// News about other jobs, and news that come before the answer, are told apart.
    #[test]
    fn a_failed_job_is_an_error() {
        let removed = |job: &str, result: &str| sent(4, 0, "JobRemoved", "uoss", &[job, "a.scope", result]);
        let run = |result: &str| {
            let answers = [
                b"OK 0123\r\n".to_vec(),
                removed("/job/1", "done"),
                sent(4, 0, "UnitNew", "so", &["a.scope", "/unit/a"]),
                sent(2, 1, "", "o", &["/job/2"]),
                removed("/job/3", "done"),
                removed("/job/2", result),
            ];
            unit::start_scope(&mut told(&answers.concat()).0.unwrap(), "a.scope", 7)
        };
        run("done").unwrap();
        let error = run("failed").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(error.to_string(), "test a.scope: systemd did not start it: the job ended as \"failed\"");
        assert_eq!(run("timeout").unwrap_err().kind(), ErrorKind::Timeout);
    }

    #[test]
    fn a_manager_that_says_nothing_is_given_up_and_one_that_hangs_up_is_named() {
        let (bus, peer) = told(b"OK 0123\r\n");
        let mut bus = bus.unwrap();
        bus.deadline = Instant::now();
        let error = unit::start_scope(&mut bus, "a.scope", 7).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(error.hint_text(), Some("`systemctl list-jobs` tells what it is waiting for"));
        drop(peer);
        // A child of another test may have a copy of it until its exec.
        bus.deadline = Instant::now() + PATIENCE;
        let error = unit::start_scope(&mut bus, "a.scope", 7).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::Unsupported, "test: systemd's manager has hung up")
        );
    }
}
