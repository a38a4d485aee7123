//! The process that keeps one test: it starts the test's own process, limits its time, takes its output, ends what it leaves
//! running, looks at what else it left behind, removes that, and tells all about it.
//!
//! It has a mount and an IPC namespace of its own where the kernel lets it, so that what a test mounts is that of nobody else.
//! Orphans among the test's descendants come to it.

use super::body::{self, Task, process_left};
use super::message::{Body, Left, Limits, Lines, Outcome, Report, Verdict, readable, send};
use crate::error::SysContext as _;
use crate::runtime::leaks::{self, Ground, Kind, Sight, Thing};
use crate::runtime::ledger::Ledger;
use crate::runtime::session::Session;
use crate::runtime::{cancel, gc};
use crate::script::report::full_text;
use crate::script::scene::Scene;
use crate::script::shell::Shell;
use crate::script::suite::{Case, Group};
use crate::sys::fork;
use crate::sys::process;
use crate::sys::process::Exit;
use nix::libc::{SIGKILL, SIGTERM};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a test has to take back what it made once it was told to end.
const GRACE: Duration = Duration::from_secs(5);
/// How much is kept of what a test writes: its beginning and its end.
const OUTPUT: usize = 64 * 1024;
/// How long things may take to go by themselves, and how often they are looked at meanwhile.
const PATIENCE: Duration = Duration::from_millis(100);
const LOOK: Duration = Duration::from_millis(5);
/// How long processes may take to die.
const DEATH: Duration = Duration::from_secs(10);

/// What the keeper is given.
pub(super) struct Charge<'a> {
    pub(super) shell: &'a Rc<Shell>,
    pub(super) scene: &'a Scene<'a>,
    pub(super) case: &'a Case,
    pub(super) groups: &'a [Group],
    pub(super) limits: Limits,
    /// Folders that are looked at by nobody.
    pub(super) apart: &'a [PathBuf],
    /// The folder for temporary files that is the test's own.
    pub(super) folder: Option<&'a Path>,
}

/// Keeps one test in this process, tells its verdict, and ends the process.
pub(super) fn keep(charge: &Charge<'_>, file: i32, to: &OwnedFd) -> ! {
    let began = Instant::now();
    let verdict = match tend(charge, file) {
        Ok(verdict) => verdict,
        Err(error) => Verdict::failed(format!("the test could not be started: {}", full_text(&error))),
    };
    let around = began.elapsed();
    send(to, &Verdict { around, ..verdict });
    fork::leave(0)
}

/// The process of the test, watched.
struct Ward {
    pidfd: OwnedFd,
    output: OwnedFd,
    told: OwnedFd,
}

fn tend(charge: &Charge<'_>, file: i32) -> crate::error::Result<Verdict> {
    const OP: &str = "test";
    let session = charge.shell.session();
    session.renew()?;
    let mut ground = Ground::new(session.dirs().clone(), charge.apart.iter().cloned());
    leaks::apart(&mut ground, charge.folder);
    let before = charge.limits.leak_check.then(|| leaks::look(&ground));
    let (output, output_child) = fork::pipe().context(OP, "cannot make a pipe")?;
    let (told, told_child) = fork::pipe().context(OP, "cannot make a pipe")?;
    let pid = match fork::fork().context(OP, "cannot start the process of the test")? {
        fork::Side::Child => {
            drop((output, told));
            let ready = process_of_test(&output_child);
            drop(output_child);
            if ready.is_err() {
                fork::leave(125);
            }
            let looks = before.as_ref().map(|before| (&ground, before));
            let Charge { shell, scene, case, groups, .. } = charge;
            body::run(&Task { shell, scene, case, groups, looks }, &told_child)
        }
        fork::Side::Parent(pid) => pid,
    };
    drop((output_child, told_child));
    let pidfd = process::open(pid).context(OP, "cannot watch the process of the test")?;
    let ward = Ward { pidfd, output, told };
    let mut watch = Watch::default();
    watch.until_the_end(&ward, charge.limits.timeout, file);
    let mut verdict = watch.verdict(charge.limits.timeout);
    let told = watch.report.take();
    let last = watch.deeds.last().map(|deed| deed.at.clone());
    end_all(told.as_deref(), last.as_deref(), &mut verdict);
    watch.take_output(&ward.output);
    verdict.output = watch.output.text();
    if let Some(token) = &watch.token {
        handed_over(session, token, watch.exit == Some(Exit::Code(0)), &mut verdict);
    }
    if let Some(before) = &before {
        look_after(session, &ground, before, &watch, told.is_some(), &mut verdict);
    }
    let may = &charge.case.options.leaves;
    verdict.left.retain(|left| !may.iter().any(|kind| *kind == left.kind || kind == "all"));
    if !verdict.left.is_empty() && verdict.outcome == Outcome::Pass {
        verdict.outcome = Outcome::Leak;
    }
    if verdict.outcome == Outcome::Leak && verdict.message.is_empty() {
        verdict.message = "it left something behind".to_owned();
    }
    for error in session.close() {
        verdict.notes.push(full_text(&error));
    }
    Ok(verdict)
}

/// Prepares the process that a test is run in: a group of processes of its own, its output in a pipe, nothing to read.
fn process_of_test(output: &OwnedFd) -> crate::error::Result<()> {
    const WHAT: &str = "cannot prepare the process of the test";
    fork::set_death_signal(SIGTERM).context("test", WHAT)?;
    let null = std::fs::File::options().read(true).open("/dev/null");
    if let Ok(null) = null {
        fork::replace(null, 0).context("test", WHAT)?;
    }
    fork::replace(output, 1).and_then(|()| fork::replace(output, 2)).context("test", WHAT)
}

/// A call that a test has made.
struct Deed {
    text: String,
    at: String,
    writes: bool,
}

impl Deed {
    /// Whether it may have made a thing: it speaks of it, and of making such a thing. One that only looks at what others make does not.
    fn may_have_made(&self, thing: &Thing) -> bool {
        let verbs: &[&str] = match thing.kind {
            Kind::Link | Kind::Address => &["add", "name", "veth", "set", "replace"],
            Kind::Nft => &["add", "create", "insert", "replace", "-f"],
            Kind::Cgroup => &["mkdir", "cgcreate"],
            Kind::File | Kind::Namespace => {
                &[">", "touch", "mk", "cp", "mv", "tee", "dd", "ln", "tar", "install", "truncate", "add"]
            }
            _ => &[""],
        };
        let speaks = thing.words.iter().any(|word| mentions(&self.text, word));
        speaks && (self.writes || verbs.iter().any(|verb| self.text.contains(verb)))
    }
}

/// What was heard of a test so far.
#[derive(Default)]
struct Watch {
    lines: Lines,
    output: Output,
    token: Option<String>,
    report: Option<Box<Report>>,
    /// What it did, in words, and what appeared right after which line.
    deeds: Vec<Deed>,
    seen: Vec<(String, String)>,
    exit: Option<Exit>,
    timed_out: bool,
    stopped: bool,
}

impl Watch {
    /// Waits for the end of the test's process, and ends it when its time is over or the run is stopped.
    fn until_the_end(&mut self, ward: &Ward, timeout: Duration, file: i32) {
        let mut deadline = Instant::now() + timeout;
        let mut asked = false;
        let parent = process::open(file).ok();
        let (mut speaks, mut tells) = (true, true);
        loop {
            if let Ok(Some(exit)) = process::wait(&ward.pidfd, false) {
                self.exit = Some(exit);
                self.hear(&ward.told);
                return;
            }
            let orphaned = nix::unistd::getppid().as_raw() != file;
            let stop = cancel::requested().is_some() || orphaned;
            if !asked && (stop || Instant::now() >= deadline) {
                (asked, self.stopped, self.timed_out) = (true, stop, !stop);
                deadline = Instant::now() + GRACE;
                // One that has ended is collected above.
                let _ = process::signal(&ward.pidfd, SIGTERM);
            } else if asked && Instant::now() >= deadline {
                let _ = process::signal(&ward.pidfd, SIGKILL);
                deadline = Instant::now() + DEATH;
            }
            let mut fds = vec![PollFd::new(ward.pidfd.as_fd(), PollFlags::POLLIN)];
            fds.extend(speaks.then(|| PollFd::new(ward.output.as_fd(), PollFlags::POLLIN)));
            fds.extend(tells.then(|| PollFd::new(ward.told.as_fd(), PollFlags::POLLIN)));
            if !asked {
                fds.extend(cancel::fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
                fds.extend(parent.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
            }
            let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            // What came, or nothing: everything is looked at.
            let _ = poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
            if speaks && readable(&ward.output) {
                speaks = self.output.fill(&ward.output);
            }
            if tells && readable(&ward.told) {
                tells = self.lines.fill(&ward.told);
                self.sort();
            }
        }
    }

    /// What is in the pipe of a process that has ended.
    fn hear(&mut self, told: &OwnedFd) {
        while readable(told) && self.lines.fill(told) {}
        self.sort();
    }

    fn sort(&mut self) {
        while let Some(message) = self.lines.next::<Body>() {
            match message {
                Body::Token(token) => self.token = Some(token),
                Body::Deed { text, at, writes } => self.deeds.push(Deed { text, at, writes }),
                Body::Seen(id, at) => self.seen.push((id, at)),
                Body::Done(report) => self.report = Some(report),
            }
        }
    }

    fn take_output(&mut self, output: &OwnedFd) {
        while readable(output) && self.output.fill(output) {}
    }

    fn verdict(&self, timeout: Duration) -> Verdict {
        let told = self.report.as_deref();
        let text = told.map(|told| told.text.clone()).unwrap_or_default();
        let mut verdict = Verdict {
            text,
            notes: told.map(|told| told.notes.clone()).unwrap_or_default(),
            took: told.map(|told| told.took).unwrap_or_default(),
            message: told.map(|told| told.message.clone()).unwrap_or_default(),
            ..Verdict::default()
        };
        match (self.stopped, self.timed_out, told) {
            (true, _, _) => verdict.outcome = Outcome::Stopped,
            (_, true, _) => {
                verdict.outcome = Outcome::Timeout;
                verdict.took = timeout;
                verdict.message = format!("it took longer than {}", super::units::duration(timeout));
                if told.is_none() {
                    verdict.text = format!(
                        "error: {} and did not end when it was told to: it was killed\n",
                        verdict.message
                    );
                }
            }
            (_, _, Some(told)) => verdict.outcome = told.outcome,
            (_, _, None) => {
                verdict.message = match self.exit {
                    Some(Exit::Signal(signal)) => {
                        format!("its process was ended by {}", process::signal_name(signal))
                    }
                    Some(Exit::Code(code)) => {
                        format!("its process ended with the code {code} and told nothing")
                    }
                    None => "its process was lost".to_owned(),
                };
                verdict.text = format!("error: {}\n", verdict.message);
            }
        }
        verdict
    }
}

/// The beginning and the end of what a test wrote.
#[derive(Default)]
struct Output {
    head: Vec<u8>,
    tail: std::collections::VecDeque<u8>,
    dropped: u64,
}

impl Output {
    /// Takes what is there. `false` at the end.
    fn fill(&mut self, from: &OwnedFd) -> bool {
        let mut chunk = [0; 16384];
        match rustix::io::read(from, &mut chunk) {
            Ok(0) => false,
            Ok(len) => {
                self.take(&chunk[..len]);
                true
            }
            Err(error) => error == rustix::io::Errno::INTR || error == rustix::io::Errno::AGAIN,
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let (head, tail) = bytes.split_at(bytes.len().min(OUTPUT - self.head.len()));
        self.head.extend(head);
        self.tail.extend(tail);
        let over = self.tail.len().saturating_sub(OUTPUT);
        self.tail.drain(..over);
        self.dropped += over as u64;
    }

    fn text(&mut self) -> String {
        let mut text = String::from_utf8_lossy(&self.head).into_owned();
        if self.dropped > 0 {
            text.push_str(&format!("\n… {} bytes left out …\n", self.dropped));
        }
        text.push_str(&String::from_utf8_lossy(self.tail.make_contiguous()));
        text
    }
}

/// Ends every process that the test left, and says so. Those that it told of itself are known already.
fn end_all(told: Option<&Report>, last: Option<&str>, verdict: &mut Verdict) {
    verdict.left.extend(told.into_iter().flat_map(|told| told.left.iter().cloned()));
    let deadline = Instant::now() + DEATH;
    loop {
        let found: Vec<i32> = process::children();
        if found.is_empty() || Instant::now() >= deadline {
            return;
        }
        for pid in found {
            if process::is_running(pid) && !process::is_being_killed(pid) {
                // Of a test that was killed, the last call is the likeliest.
                let left = process_left(pid, last.filter(|_| told.is_none()).map(ToOwned::to_owned));
                let known = verdict.left.iter().any(|known| known.text == left.text);
                // Of a test that was ended by force nothing is to be expected but that.
                if !known && !matches!(verdict.outcome, Outcome::Timeout | Outcome::Stopped) {
                    verdict.left.push(left);
                }
            }
            let Ok(pidfd) = process::open(pid) else { continue };
            let _ = process::signal(&pidfd, SIGKILL);
            let left = deadline.saturating_duration_since(Instant::now());
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let _ = poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], left);
            let _ = process::wait(&pidfd, false);
        }
    }
}

/// What the session of the test handed over with `keep()`, or could not take back, is taken back now.
fn handed_over(session: &Session, token: &str, ended_well: bool, verdict: &mut Verdict) {
    let home = session.dirs().run.join(format!("session-{token}"));
    if !home.exists() {
        return;
    }
    let entries = Ledger::load(&home.join("ledger")).unwrap_or_default();
    let outcome = gc::reclaim_one(&home);
    for entry in entries {
        let failed = match &outcome {
            Ok(found) => found.errors.iter().find(|(n, _)| *n == entry.n).map(|(_, error)| full_text(error)),
            Err(error) => Some(full_text(error)),
        };
        // Of a process that was killed, its session's things are no fault of the script.
        if !ended_well && failed.is_none() {
            continue;
        }
        let text = format!("{}: {}", entry.op, entry.text);
        verdict.left.push(Left { kind: Kind::Kept.name().into(), text, at: entry.at, remains: failed });
    }
}

/// Looks at what is there that was not, tells whose it is, and removes what is the test's.
fn look_after(
    session: &Session,
    ground: &Ground,
    before: &Sight,
    heard: &Watch,
    ended_well: bool,
    verdict: &mut Verdict,
) {
    let deadline = Instant::now() + PATIENCE;
    let found = loop {
        let now = leaks::look(ground);
        let found = of_test(session, &now, before, heard, ended_well);
        if found.iter().all(|(thing, _)| thing.own) || Instant::now() >= deadline {
            break found;
        }
        // The kernel lets go of keys, and of what was in a network namespace, a moment after their end.
        std::thread::sleep(LOOK);
    };
    for (thing, at) in found {
        let remains = leaks::remove(session, &thing).err().map(|error| full_text(&error));
        verdict.left.push(Left { kind: thing.kind.name().into(), text: thing.text, at, remains });
    }
}

/// What is there of the test, with the line that made it, in the order in which it is to be removed.
fn of_test(
    session: &Session,
    now: &Sight,
    before: &Sight,
    heard: &Watch,
    ended_well: bool,
) -> Vec<(Thing, Option<String>)> {
    let new = now.since(before);
    if new.is_empty() {
        return Vec::new();
    }
    let others = gc::tokens(session.dirs());
    let mut found: Vec<(Thing, Option<String>)> = Vec::new();
    for (id, thing) in new {
        let seen = heard.seen.iter().find(|(seen, _)| *seen == id).map(|(_, at)| at.clone());
        let maker = heard.deeds.iter().find(|deed| deed.may_have_made(thing));
        // A test that was killed in the middle of a call could not see what came of that one.
        let last = heard.deeds.last().filter(|deed| !ended_well && deed.may_have_made(thing));
        let is_seen = seen.is_some() || maker.is_some_and(|deed| deed.writes) || last.is_some();
        let is_its = thing.own || (maker.is_some() && is_seen);
        let at = maker.map(|deed| deed.at.clone()).or(seen);
        let is_others = !thing.own
            && thing.words.iter().any(|word| others.iter().any(|token| word.contains(token.as_str())));
        if is_its && !is_others {
            found.push((thing.clone(), at));
        }
    }
    let whole: Vec<Thing> = found.iter().map(|(thing, _)| thing.clone()).collect();
    found.retain(|(thing, _)| !whole.iter().any(|other| thing.is_part_of(other)));
    found.sort_by_key(|(thing, _)| leaks::rank(thing));
    found
}

/// Whether a text has this word, not as a part of a longer one, or of a longer path.
fn mentions(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let mut after = text[at + word.len()..].chars();
        let (next, second) = (after.next(), after.next());
        let begins = before.is_none_or(|c| !is_part(c) && c != '.' && (c != '/' || word.starts_with('/')));
        let ends = next.is_none_or(|c| !(is_part(c) || c == '.' && second.is_some_and(is_part)));
        begins && ends
    })
}
