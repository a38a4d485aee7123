//! What the processes of a run tell each other: a line of JSON each, over pipes and sockets.

use crate::script::suite::CaseOptions;
use crate::sys::process;
use nix::libc::{SIGCONT, SIGKILL};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What the runner wants of the process of a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Run a test, by its number in the file.
    Run { ticket: usize, test: usize, limits: Limits },
    /// Take back what the file made, and end. Whether a test of each group was run is known there.
    Finish,
}

/// What a test may take.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Limits {
    pub(super) timeout: Duration,
    /// Whether what it leaves is looked for, and whether that is told.
    pub(super) leak_check: bool,
    pub(super) tells_leaks: bool,
}

/// What the process of a file tells.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Told {
    /// What it declares, once its top has run.
    Collected(Vec<Test>),
    /// It cannot be run: what is wrong.
    Broken { message: String, text: String },
    /// It skips itself.
    Skipped { reason: String },
    /// It does what comes before all tests or after them, which may take so long; it hears nothing meanwhile.
    Busy { most: Duration },
    /// A test has begun.
    Started { ticket: usize },
    /// How a test came out.
    Result { ticket: usize, verdict: Box<Verdict> },
    /// It has taken everything back. What went wrong with that, and what was left nevertheless.
    Closed { problems: Vec<Verdict>, left: Vec<Left> },
}

/// A test, as the runner knows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Test {
    pub(super) name: String,
    pub(super) source: String,
    pub(super) line: usize,
    pub(super) todo: bool,
    /// Whether there is something to run.
    pub(super) has_body: bool,
    pub(super) options: CaseOptions,
}

/// How a test came out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Outcome {
    /// As it should.
    Pass,
    /// It threw, or ended in another way than by itself.
    #[default]
    Fail,
    /// It passed and left something behind.
    Leak,
    /// It was not run, or ended itself.
    Skip,
    /// It took longer than it may.
    Timeout,
    /// It is yet to be made to pass.
    Todo,
    /// The run was stopped.
    Stopped,
}

/// Something that a test left behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Left {
    pub(super) kind: String,
    pub(super) text: String,
    /// The line that made it.
    pub(super) at: Option<String>,
    /// Why it is still there, if it is.
    pub(super) remains: Option<String>,
}

/// All about how a test came out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    /// What was wrong, as one line; the reason of a skip.
    pub(super) message: String,
    /// What was wrong, as people read it.
    pub(super) text: String,
    /// What it wrote.
    pub(super) output: String,
    pub(super) left: Vec<Left>,
    pub(super) notes: Vec<String>,
    /// Whether it was not begun, because what is called before all tests failed.
    pub(super) not_begun: bool,
    /// How long its own work took, and all around it.
    pub(super) took: Duration,
    pub(super) around: Duration,
}

impl Verdict {
    /// A failure that is told by one line.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        let message = message.into();
        Self { text: format!("error: {message}\n"), message, ..Self::default() }
    }

    /// What was wrong, as one line, with what was left behind.
    pub(super) fn line(&self) -> String {
        let left: Vec<String> = self.left.iter().map(|left| format!("{} {}", left.kind, left.text)).collect();
        if left.is_empty() { self.message.clone() } else { format!("{}: {}", self.message, left.join(", ")) }
    }
}

/// What the process of a test tells the one that keeps it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Body {
    /// Its session's token, before anything else.
    Token(String),
    /// It calls something, with these arguments, in this line: the names of things are in them.
    Deed {
        text: String,
        at: String,
        /// Whether it makes files and nothing else.
        writes: bool,
        /// Whether something may go on once it has returned.
        lasts: bool,
    },
    /// What appeared right after the call in a line, by identity.
    Seen(String, String),
    /// How it came out.
    Done(Box<Report>),
}

/// What a test says of itself at its end.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) outcome: Outcome,
    pub(super) message: String,
    pub(super) text: String,
    pub(super) notes: Vec<String>,
    pub(super) took: Duration,
    /// The processes that it left running, and the descriptors.
    pub(super) left: Vec<Left>,
}

/// Writes a message. Nobody is left to be told when this fails.
pub(super) fn send(to: impl AsFd, message: &impl Serialize) {
    let Ok(mut line) = serde_json::to_vec(message) else { return };
    line.push(b'\n');
    let fd = to.as_fd();
    let mut rest = line.as_slice();
    while !rest.is_empty() {
        match rustix::io::write(fd, rest) {
            Ok(len) => rest = &rest[len..],
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => wait_writable(fd),
            Err(_) => return,
        }
    }
}

fn wait_writable(fd: std::os::fd::BorrowedFd<'_>) {
    // Whatever it answers, writing is tried again.
    let _ = poll(&mut [PollFd::new(fd, PollFlags::POLLOUT)], PollTimeout::NONE);
}

/// Whether there is something to read, or the end.
pub(super) fn readable(fd: impl AsFd) -> bool {
    poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

/// How long, in milliseconds, a process may be silent before it is looked at whether something has stopped it.
pub(super) const STANDSTILL: u16 = 500;

/// Has a process go on that something has stopped: a test may send SIGSTOP to what keeps it.
pub(super) fn go_on(pid: i32, pidfd: &OwnedFd) {
    if process::is_stopped(pid) {
        let _ = process::signal(pidfd, SIGCONT);
    }
}

/// Waits so long for the end of a child, kills it if it has not come, and collects it.
pub(super) fn collect_child(pid: i32, patience: u16) {
    let Ok(pidfd) = process::open(pid) else { return };
    go_on(pid, &pidfd);
    let mut one = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    if poll(&mut one, patience).is_ok_and(|count| count == 0) {
        let _ = process::signal(&pidfd, SIGKILL);
        let _ = poll(&mut one, 1000u16);
    }
    let _ = process::wait(&pidfd, false);
}

/// Lines that come in pieces.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// How much of it has no end of a line.
    searched: usize,
}

impl Lines {
    /// Reads what is there, without waiting. `false` at the end of the input.
    pub(super) fn fill(&mut self, from: impl AsFd) -> bool {
        let mut chunk = [0; 16384];
        match rustix::io::read(&from, &mut chunk) {
            Ok(0) => false,
            Ok(len) => {
                self.buffer.extend(&chunk[..len]);
                true
            }
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => true,
            Err(_) => false,
        }
    }

    /// The next whole message. What is none is passed over.
    pub(super) fn next<T: for<'a> Deserialize<'a>>(&mut self) -> Option<T> {
        loop {
            let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                return None;
            };
            let line: Vec<u8> = self.buffer.drain(..=self.searched + end).collect();
            self.searched = 0;
            if let Ok(message) = serde_json::from_slice(&line) {
                return Some(message);
            }
        }
    }
}

static LOST: AtomicBool = AtomicBool::new(false);

/// Whether something could not be said.
pub(super) fn lost() -> bool {
    LOST.load(Ordering::Relaxed)
}

/// Writes to a stream of this program that may be closed.
pub(super) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    // A reader that went away has seen enough; a disk that is full has lost the report.
    if written.is_err_and(|error| error.kind() != std::io::ErrorKind::BrokenPipe) {
        LOST.store(true, Ordering::Relaxed);
    }
}
