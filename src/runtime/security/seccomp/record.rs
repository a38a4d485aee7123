//! A profile made from a run: a filter asks us about every call, we note it and have it made (seccomp_unotify(2)).
//!
//! A thread does it beside the run: each call of the process waits for us, whatever this program does meanwhile. `write`
//! alone is not asked about, because the start itself tells its failures by it; a profile has it in any case.

use super::assemble::{self, Verdict};
use super::compile::{Filter, arch_of};
use super::profile::{Action, Profile, Rule, When};
use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::sys::seccomp::{self, Asked};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::thread::JoinHandle;

/// What is always in a profile, because a start needs it.
const ALWAYS: [&str; 3] = ["execve", "exit_group", "write"];

/// The filter that asks about everything.
#[must_use]
pub fn filter() -> Filter {
    let asks = seccomp::RET_USER_NOTIF;
    let section = |name: &str| {
        let arch = arch_of(name);
        let write = arch
            .and_then(|arch| (arch.number)("write"))
            .map(|number| (number, Verdict::new(seccomp::RET_ALLOW)));
        let table: BTreeMap<u32, Verdict> = write.into_iter().collect();
        (arch.map_or(0, |arch| arch.audit), assemble::section(&table, asks))
    };
    let sections = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"].map(section);
    // A call of the x32 kind is asked about as well: the kernel refuses it, or it shows in the profile as unknown.
    let program = assemble::program(sections.into(), 0, asks);
    Filter { program, flags: seccomp::FLAG_NEW_LISTENER }
}

/// A run that is being recorded.
#[derive(Debug)]
pub struct Recorder {
    thread: JoinHandle<BTreeSet<Asked>>,
    /// The thread ends when this is closed.
    stop: PipeWriter,
}

impl Recorder {
    /// Begins to answer the filter of a process that has told the number of its descriptor.
    ///
    /// # Errors
    /// When the descriptor cannot be taken, or no thread can be made.
    pub fn begin(op: &'static str, pidfd: impl AsFd, number: i32) -> Result<Self> {
        let listener =
            seccomp::take(pidfd, number).context(op, "cannot listen to the system calls of the process")?;
        let (stopped, stop) = std::io::pipe().context(op, "cannot make a pipe")?;
        let thread = std::thread::Builder::new().name("cshell-record".into());
        let thread = thread.spawn(move || listen(&listener, &stopped));
        let thread = thread.context(op, "cannot make the thread that records")?;
        Ok(Self { thread, stop })
    }

    /// Makes the profile of what was called so far. Processes that are still there can make no calls from now on.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when the thread has panicked.
    pub fn end(self, op: &'static str) -> Result<Profile> {
        drop(self.stop);
        let calls = self.thread.join();
        let calls =
            calls.map_err(|_| Error::new(ErrorKind::Internal, op, "the thread that records has failed"))?;
        Ok(profile(&calls))
    }
}

fn listen(listener: &OwnedFd, stopped: &PipeReader) -> BTreeSet<Asked> {
    let mut calls = BTreeSet::new();
    loop {
        let mut fds = [listener.as_fd(), stopped.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut fds, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            Err(_) => return calls,
            Ok(_) => {}
        }
        let [asked, stop] = fds.map(|fd| fd.revents().unwrap_or(PollFlags::POLLHUP));
        if !asked.contains(PollFlags::POLLIN) && !(asked | stop).is_empty() {
            // Nobody is left whom the filter is on, or the run is over.
            return calls;
        }
        // A process that was killed meanwhile takes its question with it.
        calls.extend(seccomp::pass(listener).ok());
    }
}

fn profile(calls: &BTreeSet<Asked>) -> Profile {
    let named = calls.iter().filter_map(|call| super::compile::name_of(call.arch, call.number));
    let names: BTreeSet<String> = named.chain(ALWAYS.map(str::to_owned)).collect();
    let mut kinds: BTreeSet<&str> =
        calls.iter().filter_map(|call| super::compile::kind_of(call.arch)).collect();
    kinds.insert("SCMP_ARCH_X86_64");
    Profile {
        default_action: Action::Errno,
        default_errno_ret: Some(1),
        default_errno: None,
        architectures: kinds.into_iter().map(str::to_owned).collect(),
        arch_map: Vec::new(),
        flags: Vec::new(),
        syscalls: vec![Rule {
            names: names.into_iter().collect(),
            name: None,
            action: Action::Allow,
            errno_ret: None,
            errno: None,
            args: Vec::new(),
            includes: When::default(),
            excludes: When::default(),
            comment: "recorded from a run".into(),
        }],
    }
}
