//! The process of a test: runs it and says how that went. What it made is taken back before it ends.

use super::message::{Body, Left, Outcome, Report, send};
use crate::error::ErrorKind;
use crate::runtime::cancel;
use crate::runtime::leaks::{self, Ground, Kind, Sight};
use crate::runtime::proc::orphans;
use crate::script::report::{Report as Told, full_text};
use crate::script::scene::{Failure, Scene};
use crate::script::shell::{Shell, Watcher};
use crate::script::suite::{Case, Group};
use crate::sys::fork;
use crate::sys::process;
use crate::text::report;
use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a process may take to end that a command has left, before it counts as left behind: the first of a pipeline
/// may end a moment after the last.
const PATIENCE: Duration = Duration::from_millis(200);

/// Hears of what a script does and looks at what came of it, after each native call that may have changed something. It tells both
/// at once: a test may be killed.
pub(super) struct Witness {
    ground: Ground,
    tell: Box<dyn Fn(Body)>,
    last: RefCell<Sight>,
    starts: RefCell<Vec<Began>>,
    rests_until: Cell<Option<Instant>>,
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Witness").field("ground", &self.ground).finish_non_exhaustive()
    }
}

/// A call that has begun.
#[derive(Debug)]
struct Began {
    ticks: u64,
    at: String,
    text: String,
}

/// How much of the arguments of a call is kept for as long as the test runs.
const TEXT_OF_A_START: usize = 512;

/// Calls that change nothing: modules, and single functions.
const READING: &[&str] = &[
    "assert::",
    "test::",
    "gen::",
    "sys::",
    "security::",
    "exit",
    "fs::read",
    "fs::exists",
    "fs::stat",
    "fs::glob",
    "fs::walk",
    "fs::digest",
    "fs::mounts",
    "net::links",
    "net::routes",
    "ns::of",
    "ns::host",
    "ns::list",
    "ns::same",
    "image::list",
];
/// Calls that make files and nothing else.
const FILES: &[&str] = &[
    "fs::write",
    "fs::append",
    "fs::copy",
    "fs::move",
    "fs::remove",
    "fs::mkdir",
    "fs::chmod",
    "fs::chown",
    "fs::symlink",
    "Dir.path",
];
/// How much is told of the arguments of one call.
const TEXT: usize = 16 * 1024;

/// What changes nothing, whatever it is called on.
const LOOKING: &[&str] = &["inspect", "to_string", "to_debug", "stats", "limits", "events", "procs"];

/// Methods by which a test follows a process. What the process makes meanwhile is seen now and then: there may be many of these.
const FOLLOWING: &[&str] =
    &["Process.wait", "Process.next_line", "Process.lines", "Process.expect", "Process.close_stdin"];
/// How many times as long as a look takes nothing is looked at, at the least, between two of those.
const PAUSE: u32 = 20;

fn changes(op: &str) -> bool {
    let reads = |reading: &str| if reading.ends_with("::") { op.starts_with(reading) } else { op == reading };
    let method = op.split_once('.').map_or(op, |(_, method)| method);
    !READING.iter().any(|reading| reads(reading)) && !LOOKING.contains(&method)
}

impl Watcher for Witness {
    fn begins(&self, op: &str, at: &str, args: &dyn Fn() -> String) {
        if changes(op) && !FOLLOWING.contains(&op) {
            let mut text = args();
            text.truncate(text.floor_char_boundary(TEXT));
            let whole = text.len().min(TEXT_OF_A_START);
            let began = Began {
                ticks: ticks(),
                at: at.to_owned(),
                text: text[..text.floor_char_boundary(whole)].to_owned(),
            };
            self.starts.borrow_mut().push(began);
            let writes = FILES.contains(&op) || op == "image::save";
            let lasts = op.ends_with("spawn") || text.contains('&');
            (self.tell)(Body::Deed { text, at: at.to_owned(), writes, lasts });
        }
    }

    fn returned(&self, op: &str, at: &str) {
        // What is written by path is told by the path.
        if !changes(op) || FILES.contains(&op) {
            return;
        }
        if FOLLOWING.contains(&op) && self.rests_until.get().is_some_and(|time| Instant::now() < time) {
            return;
        }
        self.look(at);
    }
}

impl Witness {
    pub(super) fn install(
        shell: &Shell,
        (ground, before): (&Ground, &Sight),
        tell: impl Fn(Body) + 'static,
    ) -> Rc<Self> {
        let (last, starts, rests_until) = (RefCell::new(before.clone()), RefCell::default(), Cell::default());
        let (ground, tell) = (ground.clone(), Box::new(tell));
        let witness = Rc::new(Self { ground, tell, last, starts, rests_until });
        shell.watch(Some(witness.clone()));
        witness
    }

    /// Looks at what has come since the last time, after a call in the line `at`.
    fn look(&self, at: &str) {
        let began = Instant::now();
        let now = leaks::look(&self.ground);
        for (id, _) in now.since(&self.last.borrow()) {
            (self.tell)(Body::Seen(id, at.to_owned()));
        }
        self.last.replace(now);
        let ended = Instant::now();
        self.rests_until.set(Some(ended + (ended - began) * PAUSE));
    }

    /// Looks once more at the end, where there was a call: what it started may have gone on.
    pub(super) fn look_at_the_end(&self) {
        let last = self.starts.borrow().last().map(|began| began.at.clone());
        if let Some(at) = last {
            self.look(&at);
        }
    }

    /// The line of the first call that has this word.
    pub(super) fn line_that_says(&self, word: &str) -> Option<String> {
        let starts = self.starts.borrow();
        starts.iter().find(|began| began.text.contains(word)).map(|began| began.at.clone())
    }

    /// The line of the last call that began before a process was started.
    pub(super) fn line_of(&self, pid: i32) -> Option<String> {
        let start = process::start_time(pid).ok()?;
        let starts = self.starts.borrow();
        // Those that began within the same tick of the clock may have begun after it: it is from one of them or from the one before.
        let close = starts.iter().rposition(|began| began.ticks < start).unwrap_or(0);
        let mut candidates = starts.get(close..)?.iter().rev().filter(|began| began.ticks <= start + 1);
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let speaks = candidates.clone().find(|began| began.text.contains(name.trim()));
        let found = speaks.or_else(|| candidates.next())?;
        Some(found.at.clone()).filter(|at| !at.is_empty())
    }
}

/// What was mounted over /proc, and is taken away already.
pub(super) fn mount_over_proc(at: Option<String>) -> Left {
    Left { kind: Kind::Mount.name().into(), text: "something over /proc".into(), at, remains: None }
}

/// Now, in clock ticks since boot, as start times are counted.
fn ticks() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let per_second = rustix::param::clock_ticks_per_second();
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * per_second + u64::try_from(now.tv_nsec).unwrap_or(0) * per_second / 1_000_000_000
}

/// What the process of a test is given.
pub(super) struct Task<'a> {
    pub(super) shell: &'a Rc<Shell>,
    pub(super) scene: &'a Scene<'a>,
    pub(super) case: &'a Case,
    pub(super) groups: &'a [Group],
    /// Where to look for what is left, and what there was before; nothing when nobody looks.
    pub(super) looks: Option<(&'a Ground, &'a Sight)>,
}

/// Runs the test in this process, tells how it went, and ends the process.
pub(super) fn run(task: &Task<'_>, to: &OwnedFd) -> ! {
    let shell = task.shell;
    let renewed = shell.session().renew();
    shell.session().set_at(None);
    leaks::own_keys();
    send(to, &Body::Token(shell.session().token().to_owned()));
    let open = leaks::open_files();
    let mut witness = task
        .looks
        .zip(to.try_clone().ok())
        .map(|(looks, to)| Witness::install(shell, looks, move |message| send(&to, &message)));
    shell.suite().begin();
    let started = Instant::now();
    let outcome = match renewed {
        Ok(()) => task.scene.perform(task.case, task.groups),
        Err(error) => {
            Err(Failure { report: Told::of_error(&error).into(), in_call: true, ended: false, kind: None })
        }
    };
    let took = started.elapsed();
    shell.watch(None);
    // What would not be seen otherwise is seen from here on.
    let covered = task.looks.is_some_and(|(ground, _)| leaks::uncover(ground));
    let mut told = conclude(shell, outcome);
    told.took = took;
    let left: Vec<i32> =
        if witness.is_some() { lasting(|| orphans::strays(shell.session())) } else { Vec::new() };
    if let Some(witness) = &witness {
        witness.look_at_the_end();
    }
    let line_of = |pid: i32| witness.as_ref().and_then(|witness| witness.line_of(pid));
    told.left = left.into_iter().map(|pid| process_left(pid, line_of(pid))).collect();
    if covered {
        told.left.push(mount_over_proc(witness.as_ref().and_then(|witness| witness.line_that_says("/proc"))));
    }
    cancel::ignore();
    for error in shell.session().close() {
        told.notes.push(format!("could not undo: {}", full_text(&error)));
        told.outcome = if told.outcome == Outcome::Pass { Outcome::Leak } else { told.outcome };
    }
    shell.hooks().clear();
    if witness.take().is_some() {
        told.left.extend(descriptors_left(&open));
    }
    told.notes.extend(shell.suite().notes());
    send(to, &Body::Done(Box::new(told)));
    fork::leave(0)
}

/// Processes that are still there after a moment.
pub(super) fn lasting(find: impl Fn() -> Vec<i32>) -> Vec<i32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = find();
        let left = deadline.saturating_duration_since(Instant::now());
        if found.is_empty() || left.is_zero() {
            return found;
        }
        for pid in found {
            use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
            use std::os::fd::AsFd;
            let Ok(pidfd) = process::open(pid) else { continue };
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            // Its end, the time or a signal: all are looked at above.
            let _ = poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], left);
        }
    }
}

pub(super) fn process_left(pid: i32, at: Option<String>) -> Left {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<String> = command
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    let words = match words.is_empty() {
        true => std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned(),
        false => words.join(" "),
    };
    Left { kind: "process".into(), text: format!("{pid} ({words})"), at, remains: None }
}

fn descriptors_left(before: &[(i32, String)]) -> Vec<Left> {
    let new = leaks::open_files().into_iter().filter(|entry| !before.contains(entry));
    new.map(|(number, target)| Left {
        kind: "fd".into(),
        text: format!("{number} ({target})"),
        at: None,
        remains: None,
    })
    .collect()
}

/// What the end of the work means.
fn conclude(shell: &Shell, outcome: Result<(), Failure>) -> Report {
    // A failure is one, whatever is called after it.
    let outcome = match outcome {
        Err(failure) if !failure.ended => return failed_or_not_expressed(shell, failure),
        other => other,
    };
    if let Some(reason) = shell.suite().skipped() {
        return Report { outcome: Outcome::Skip, message: reason, ..Report::default() };
    }
    if let Some(code) = shell.exit_code() {
        let at = shell.session().at().map(|at| format!(" at {at}")).unwrap_or_default();
        let message = format!("the test called exit({code}){at}: it ends by itself when all holds");
        return Report { text: format!("error: {message}\n"), message, ..Report::default() };
    }
    match outcome {
        Ok(()) => Report { outcome: Outcome::Pass, ..Report::default() },
        Err(failure) => failed(shell, failure),
    }
}

fn failed_or_not_expressed(shell: &Shell, failure: Failure) -> Report {
    // What the adapter does not express says nothing about the runtime.
    let refused = shell.session().foreign().is_some_and(|foreign| foreign.refused() > 0);
    if refused && failure.kind == Some(ErrorKind::Unsupported) {
        return Report { outcome: Outcome::Skip, message: failure.report.message, ..Report::default() };
    }
    failed(shell, failure)
}

fn failed(shell: &Shell, failure: Failure) -> Report {
    let told = match cancel::requested() {
        Some(signal) => stopped(shell, failure, signal),
        None => *failure.report,
    };
    let text = report::render(&told, &|name| shell.source(name));
    Report { message: told.message, text, ..Report::default() }
}

/// What is told of a test that was stopped: where it was.
fn stopped(shell: &Shell, failure: Failure, signal: i32) -> Told {
    let name = process::signal_name(signal);
    let told = *failure.report;
    // Inside of a call its place is known. Elsewhere the language tells that of the outermost call alone.
    let (message, place) = match (failure.in_call, shell.session().at()) {
        (true, _) => (format!("it was stopped by {name} here"), told.place),
        (false, Some(at)) => (format!("it was stopped by {name}; its last call was at {at}"), None),
        (false, None) => (format!("it was stopped by {name}, before it called anything"), None),
    };
    Told { message, place, causes: Vec::new(), hint: None, ..told }
}

#[cfg(test)]
mod tests {
    use super::changes;

    #[test]
    fn who_only_reads_is_not_looked_after() {
        for op in ["to_string", "Image.inspect", "Cgroup.stats", "fs::stat", "net::links"] {
            assert!(!changes(op), "{op}");
        }
        for op in ["proc::exec", "Process.wait", "fs::write", "Cgroup.limit", "image::host"] {
            assert!(changes(op), "{op}");
        }
    }
}
