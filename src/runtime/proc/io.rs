//! The streams of a process: pipes or a terminal, fed and drained without blocking, kept up to a limit.

use crate::error::{Error, Result, SysContext};
use crate::runtime::proc::plan::{Stdio, has_own_dev};
use crate::runtime::proc::spec::{Input, Output, ProcSpec};
use crate::runtime::start::duplicate;
use crate::sys::{Errno, SysError, call, passing, tty};
use nix::poll::{PollFd, PollFlags};
use rustix::fs::OFlags;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

const CHUNK: usize = 64 * 1024;

/// Whether a process was given our output since the last question.
static LENT: AtomicBool = AtomicBool::new(false);

/// Whether a process was given our output since the last question: where the cursor is then is not known.
pub fn take_lent() -> bool {
    LENT.swap(false, Ordering::Relaxed)
}

/// Bytes that are taken from the front, a part at a time: a line, or what a pipe has room for.
#[derive(Debug, Default)]
pub struct Queue {
    bytes: Vec<u8>,
    taken: usize,
}

impl Queue {
    /// What was not taken yet.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// Adds bytes at the end.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// Takes the first `len` bytes.
    pub fn take(&mut self, len: usize) -> Vec<u8> {
        let taken = self.rest()[..len].to_vec();
        self.skip(len);
        taken
    }

    /// Lets the first `len` bytes go. What remains is moved only once it is the smaller part: a move for each line
    /// would make a million lines take minutes.
    pub fn skip(&mut self, len: usize) {
        self.taken += len;
        if self.taken > self.bytes.len() / 2 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
    }
}

/// Our side of a process's streams.
#[derive(Debug, Default)]
pub struct Streams {
    stdin: Option<OwnedFd>,
    pending: Queue,
    close_when_fed: bool,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    forward: bool,
    raw: Option<tty::Raw>,
    /// Tells when our own terminal has a new size.
    resizes: Option<tty::Resizes>,
    relays: bool,
    tty: bool,
    /// Where a terminal will come from.
    awaited: Option<OwnedFd>,
    limit: usize,
    /// What was read from its standard output and not taken yet.
    pub out: Queue,
    /// What was read from its standard error and not taken yet.
    pub err: Queue,
    /// Whether it wrote more than the limit.
    pub overflow: bool,
}

impl Streams {
    /// Makes both sides: ours, and what becomes descriptors 0 to 2 of the child. `beside` a person who types, what it
    /// writes to our output comes by a pipe.
    ///
    /// # Errors
    /// When a pipe or a terminal cannot be made.
    pub fn open(op: &'static str, spec: &ProcSpec, beside: bool) -> Result<(Self, Stdio)> {
        let limit = usize::try_from(spec.output_max).unwrap_or(usize::MAX);
        let mut streams = Self { limit, tty: spec.tty, ..Self::default() };
        if spec.output == Output::Inherit {
            LENT.store(true, Ordering::Relaxed);
            streams.forward = beside && !spec.tty;
        }
        let stdio = if spec.tty { streams.terminal(op, spec)? } else { streams.pipes(op, spec)? };
        match &spec.stdin {
            Input::Bytes(bytes) => {
                streams.pending.push(bytes);
                streams.end_input();
            }
            Input::Null => streams.end_input(),
            Input::Pipe | Input::Inherit => {}
        }
        Ok((streams, stdio))
    }

    fn pipes(&mut self, op: &'static str, spec: &ProcSpec) -> Result<Stdio> {
        let null = || {
            let file = std::fs::File::options().read(true).write(true).open("/dev/null");
            file.map(OwnedFd::from).context(op, "cannot open /dev/null")
        };
        let input = match &spec.stdin {
            Input::Null => null()?,
            Input::Inherit => duplicate(op, rustix::stdio::stdin())?,
            Input::Bytes(_) | Input::Pipe => {
                let (theirs, ours) = pipe(op)?;
                self.stdin = Some(ours);
                theirs
            }
        };
        let beside = self.forward;
        let mut output =
            |ours: fn(&mut Self) -> &mut Option<OwnedFd>, inherited: BorrowedFd<'_>| match spec.output {
                Output::Null => null(),
                Output::Inherit if !beside => duplicate(op, inherited),
                Output::Inherit | Output::Capture => {
                    let (reading, writing) = pipe(op)?;
                    *ours(self) = Some(reading);
                    Ok(writing)
                }
            };
        let out = output(|streams| &mut streams.stdout, rustix::stdio::stdout())?;
        let err = output(|streams| &mut streams.stderr, rustix::stdio::stderr())?;
        for fd in [&self.stdin, &self.stdout, &self.stderr].into_iter().flatten() {
            unblock(op, fd)?;
        }
        let shares_terminal = spec.stdin == Input::Inherit || (spec.output == Output::Inherit && !beside);
        let own = [self.stdin.is_some(), self.stdout.is_some(), self.stderr.is_some()];
        Ok(Stdio::Files { fds: [input, out, err], own, shares_terminal })
    }

    fn terminal(&mut self, op: &'static str, spec: &ProcSpec) -> Result<Stdio> {
        self.forward = spec.output == Output::Inherit;
        if spec.stdin == Input::Inherit {
            self.raw = tty::Raw::stdin();
            self.relays = true;
        }
        if has_own_dev(spec) {
            let (ours, theirs) = passing::pair().context(op, "cannot make a pair of sockets")?;
            self.awaited = Some(ours);
            return Ok(Stdio::TerminalInside(theirs));
        }
        let (controller, peer) = tty::pair().context(op, "cannot make a terminal")?;
        self.run_on(op, controller)?;
        Ok(Stdio::Terminal([duplicate(op, &peer)?, duplicate(op, &peer)?, peer]))
    }

    fn run_on(&mut self, op: &'static str, controller: OwnedFd) -> Result<()> {
        unblock(op, &controller)?;
        if self.forward {
            // Not a terminal on our side: then there is no size to copy.
            let _ = tty::copy_size(rustix::stdio::stdin(), &controller);
        }
        self.stdin = Some(duplicate(op, &controller)?);
        self.stdout = Some(controller);
        Ok(())
    }

    /// The process has started on a terminal that stands for ours: new sizes are passed on from now on.
    fn follow_size(&mut self, op: &'static str) -> Result<()> {
        if self.tty && self.forward && self.raw.is_some() {
            self.resizes = Some(tty::Resizes::watch().context(op, "cannot watch the size of the terminal")?);
            // It may have changed since.
            self.copy_size();
        }
        Ok(())
    }

    fn copy_size(&self) {
        if let Some(controller) = &self.stdout {
            // A terminal that is gone has no size.
            let _ = tty::copy_size(rustix::stdio::stdin(), controller);
        }
    }

    /// Takes the terminal that the process has made in its root, if it has made one.
    ///
    /// # Errors
    /// When it has sent none.
    pub fn settle(&mut self, op: &'static str) -> Result<()> {
        if let Some(socket) = self.awaited.take() {
            let controller = passing::take(socket).context(op, "cannot take the terminal of the process")?;
            self.run_on(op, controller)?;
        }
        self.follow_size(op)
    }

    /// Adds bytes to what the process is to read.
    ///
    /// # Errors
    /// When its standard input was closed or never was a pipe.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        if self.stdin.is_none() || self.close_when_fed {
            let error =
                Error::new(crate::error::ErrorKind::Closed, "process.write", "its standard input is closed");
            return Err(error.hint("start it with input: \"pipe\", and write before .close_stdin()"));
        }
        self.pending.push(bytes);
        Ok(())
    }

    /// Closes its standard input once it has read what was written.
    pub fn close_stdin(&mut self) {
        self.end_input();
        if self.pending.rest().is_empty() {
            self.stdin = None;
        }
    }

    /// A pipe ends by being closed; a terminal stays open for its output, and ends by a character (termios(3), VEOF):
    /// one that gives up an unfinished line, and one at the beginning of a line.
    fn end_input(&mut self) {
        const END: u8 = 4;
        if self.tty && !self.close_when_fed {
            if !matches!(self.pending.rest().last(), None | Some(b'\n')) {
                self.pending.push(&[END]);
            }
            self.pending.push(&[END]);
        }
        self.close_when_fed = true;
    }

    /// Adds what is to be waited for to a poll set.
    pub fn poll_set<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        for fd in [&self.stdout, &self.stderr].into_iter().flatten() {
            fds.push(PollFd::new(fd.as_fd(), PollFlags::POLLIN));
        }
        // What has nothing to read is to be told so as well.
        let feeds = !self.pending.rest().is_empty() || self.close_when_fed;
        if let Some(fd) = self.stdin.as_ref().filter(|_| feeds) {
            fds.push(PollFd::new(fd.as_fd(), PollFlags::POLLOUT));
        }
        if self.may_relay() {
            fds.push(PollFd::new(rustix::stdio::stdin(), PollFlags::POLLIN));
        }
        if let Some(resizes) = &self.resizes {
            fds.push(PollFd::new(resizes.as_fd(), PollFlags::POLLIN));
        }
    }

    /// Moves what can be moved without waiting.
    ///
    /// # Errors
    /// A failed `read` or `write`.
    pub fn turn(&mut self, op: &'static str) -> Result<()> {
        if self.resizes.as_ref().is_some_and(tty::Resizes::came) {
            self.copy_size();
        }
        self.relay(op)?;
        self.write_pending(op)?;
        let room = self.limit;
        let forward = self.forward;
        for (fd, kept) in [(&mut self.stdout, &mut self.out), (&mut self.stderr, &mut self.err)] {
            let Some(open) = fd else { continue };
            if drain(op, open, kept, room, forward, &mut self.overflow)? {
                *fd = None;
            }
        }
        Ok(())
    }

    /// Not more than it reads.
    fn may_relay(&self) -> bool {
        self.relays && self.pending.rest().len() < CHUNK
    }

    /// What we read goes to the process, when it runs on a terminal of its own with our input.
    fn relay(&mut self, op: &'static str) -> Result<()> {
        use nix::poll::{PollTimeout, poll};
        if !self.may_relay() {
            return Ok(());
        }
        let stdin = rustix::stdio::stdin();
        let mut fds = [PollFd::new(stdin, PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::ZERO) != Ok(1) {
            return Ok(());
        }
        let mut buf = [0; 4096];
        match rustix::io::read(stdin, &mut buf) {
            Ok(0) => {
                self.relays = false;
                self.end_input();
            }
            Ok(len) => self.pending.push(&buf[..len]),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(errno) => return Err(io_error(op, "cannot read the terminal", errno)),
        }
        Ok(())
    }

    fn write_pending(&mut self, op: &'static str) -> Result<()> {
        let Some(fd) = &self.stdin else { return Ok(()) };
        while !self.pending.rest().is_empty() {
            match rustix::io::write(fd, self.pending.rest()) {
                Ok(len) => self.pending.skip(len),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(()),
                // It does not want to read more: as in a pipeline, that is its business.
                Err(rustix::io::Errno::PIPE | rustix::io::Errno::IO) => {
                    self.pending = Queue::default();
                    self.close_when_fed = true;
                }
                Err(errno) => return Err(io_error(op, "cannot write to the process", errno)),
            }
        }
        if self.close_when_fed {
            self.stdin = None;
        }
        Ok(())
    }

    /// Whether what it writes to our output comes by a pipe.
    #[must_use]
    pub fn is_beside(&self) -> bool {
        self.forward && !self.tty && !self.at_end()
    }

    /// The pipes by which it writes to our output and error.
    pub fn outputs(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.stdout, &self.stderr].into_iter().flatten().map(AsFd::as_fd)
    }

    /// Takes what it wrote to our output and error.
    ///
    /// # Errors
    /// A failed `read`.
    pub fn take_written(&mut self, op: &'static str) -> Result<Vec<u8>> {
        let (mut written, mut overflow) = (Queue::default(), false);
        for fd in [&mut self.stdout, &mut self.stderr] {
            let Some(open) = fd else { continue };
            if drain(op, open, &mut written, usize::MAX, false, &mut overflow)? {
                *fd = None;
            }
        }
        Ok(written.rest().to_vec())
    }

    /// Whether nothing more can be read.
    #[must_use]
    pub fn at_end(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }

    /// Gives the terminal back, and closes all that is open.
    pub fn close(&mut self) {
        self.raw = None;
        self.resizes = None;
        self.stdin = None;
        self.stdout = None;
        self.stderr = None;
    }
}

/// Reads what is there. Whether the other side is closed.
fn drain(
    op: &'static str,
    fd: &OwnedFd,
    kept: &mut Queue,
    limit: usize,
    forward: bool,
    overflow: &mut bool,
) -> Result<bool> {
    let mut buf = vec![0; CHUNK];
    // A bound on each turn, so that a fast writer does not keep us from the other streams, or from a deadline.
    for _ in 0..16 {
        match rustix::io::read(fd, &mut buf) {
            // EIO is the end of a terminal.
            Ok(0) | Err(rustix::io::Errno::IO) => return Ok(true),
            Ok(len) if forward => {
                // Our own output may be closed; the process is not to suffer from that.
                let _ = std::io::stdout().write_all(&buf[..len]).and_then(|()| std::io::stdout().flush());
            }
            Ok(len) => {
                let room = limit.saturating_sub(kept.rest().len());
                kept.push(&buf[..len.min(room)]);
                *overflow |= len > room;
            }
            Err(rustix::io::Errno::AGAIN) => return Ok(false),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(io_error(op, "cannot read from the process", errno)),
        }
    }
    Ok(false)
}

fn io_error(op: &'static str, what: &str, errno: rustix::io::Errno) -> Error {
    Error::sys(op, what, SysError::new("read or write", "…".into(), Errno::from_raw(errno.raw_os_error())))
}

fn pipe(op: &'static str) -> Result<(OwnedFd, OwnedFd)> {
    let flags = rustix::pipe::PipeFlags::CLOEXEC;
    call("pipe2", || "O_CLOEXEC".into(), || rustix::pipe::pipe_with(flags)).context(op, "cannot make a pipe")
}

/// Our side does not block. It is another open file than the child's side, which stays as programs expect it.
fn unblock(op: &'static str, fd: &OwnedFd) -> Result<()> {
    call("fcntl", || "F_SETFL, O_NONBLOCK".into(), || rustix::fs::fcntl_setfl(fd, OFlags::NONBLOCK))
        .context(op, "cannot set up a pipe")
}
