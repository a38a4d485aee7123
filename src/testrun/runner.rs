//! Decides what runs when: so many tests at once as there are places, those of a group one after the other, those that run alone at
//! the end, each in a process of the file that declares it.

mod conclude;
mod hear;

use super::discover::Found;
use super::message::{Limits, Lines, Order, STANDSTILL, Test, Verdict, collect_child, go_on, send};
use super::output::Output;
use super::report::{Record, Told};
use super::select::{self, Job, full_name};
use super::summary::Summary;
use super::{Plan, file};
use crate::error::{Result, SysContext};
use crate::runtime::cancel;
use crate::runtime::cgroup::nest;
use crate::runtime::session::{Session, StepId};
use crate::script::report::full_text;
use crate::script::suite::CaseOptions;
use crate::sys::fork;
use crate::sys::process;
use nix::libc::{SIGKILL, SIGTERM};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const OP: &str = "test";
/// How much longer than its tests may take a file may be silent: what is called before all of them runs in its own process.
const SILENCE: Duration = Duration::from_secs(30);
/// How many times as long as a test a file may run from its top: it may make images there.
const TOP: u32 = 5;
/// How long a file has to take back what it made.
const CLOSING: Duration = Duration::from_secs(60);

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Not begun.
    Waiting,
    /// It runs from its top.
    Collecting,
    /// Its tests can be run.
    Ready,
    /// It was told to end.
    Closing,
    /// It has ended.
    Gone,
}

/// A test file and its process.
struct File {
    path: PathBuf,
    name: String,
    state: State,
    process: Option<Process>,
    tests: Vec<Test>,
    /// Whether the tests are known.
    collected: bool,
    deadline: Option<Instant>,
    told_to_end: bool,
    /// Whether it could not be run from its top.
    is_broken: bool,
    /// Its control group.
    group: Option<StepId>,
}

struct Process {
    pid: i32,
    pidfd: OwnedFd,
    control: OwnedFd,
    lines: Lines,
    /// What it writes itself: at its top, and in what is called around all tests.
    written: OwnedFd,
    output: Output,
}

/// A test that runs.
struct Flight {
    ticket: usize,
    job: Job,
    options: CaseOptions,
    began: Instant,
    deadline: Instant,
}

struct Run<'a> {
    plan: &'a Plan,
    session: &'a Session,
    files: Vec<File>,
    flights: Vec<Flight>,
    queue: VecDeque<Job>,
    tickets: usize,
    summary: Summary,
    told: &'a mut Told,
    stopping: bool,
    /// When it was last looked at whether something has stopped a process.
    looked: Instant,
}

/// Runs all files.
pub(super) fn run(plan: &Plan, found: &Found, told: &mut Told) -> Result<Summary> {
    let began = Instant::now();
    cancel::install()?;
    process::set_subreaper(true).context(OP, "cannot take orphans in")?;
    let file = |path: &PathBuf| File {
        path: path.clone(),
        name: path.display().to_string(),
        state: State::Waiting,
        process: None,
        tests: Vec::new(),
        collected: false,
        deadline: None,
        told_to_end: false,
        is_broken: false,
        group: None,
    };
    let session = Session::new(plan.dirs.clone())?;
    let nest = if plan.list { None } else { nest::make(&session) };
    let plan = &Plan { nest, ..plan.clone() };
    let mut run = Run {
        plan,
        session: &session,
        files: found.files.iter().map(file).collect(),
        flights: Vec::new(),
        queue: VecDeque::new(),
        tickets: 0,
        summary: Summary::default(),
        told,
        stopping: false,
        looked: began,
    };
    run.refuse(found);
    run.collect()?;
    run.choose();
    if plan.list {
        run.list();
    } else {
        run.perform()?;
    }
    run.close()?;
    run.summary.took = began.elapsed();
    run.summary.signal = cancel::requested();
    let summary = run.summary;
    // A second signal does not stop the clean-up.
    match cancel::shielded(|| session.close()).into_iter().next() {
        Some(error) => Err(error),
        None => Ok(summary),
    }
}

impl Run<'_> {
    /// Tells of what cannot be run.
    fn refuse(&mut self, found: &Found) {
        for (path, error) in &found.unusable {
            self.summary.broken += 1;
            let verdict = Verdict::failed(full_text(error));
            self.told.finished(&Record::of_file(path.display().to_string(), verdict));
        }
    }

    /// Runs every file from its top.
    fn collect(&mut self) -> Result<()> {
        loop {
            self.obey_signal();
            let busy = self.files.iter().filter(|file| file.state == State::Collecting).count();
            let free = if self.stopping { 0 } else { self.plan.jobs.saturating_sub(busy) };
            let waiting = self.files.iter().enumerate().filter(|(_, file)| file.state == State::Waiting);
            let next: Vec<usize> = waiting.map(|(index, _)| index).take(free).collect();
            for index in next {
                self.begin(index)?;
            }
            if !self.files.iter().any(|file| file.state == State::Collecting) {
                return Ok(());
            }
            self.turn();
        }
    }

    /// Makes the process of a file.
    fn begin(&mut self, index: usize) -> Result<()> {
        let (own, theirs) = fork::pair().context(OP, "cannot make a pair of sockets")?;
        let (written, writes) = fork::pipe().context(OP, "cannot make a pipe")?;
        let mark = format!("\0{}\0", self.session.token());
        let plan = self.plan;
        let path = self.files[index].path.clone();
        let group = plan.nest.as_ref().map(|nest| nest::group(self.session, nest)).transpose()?;
        let (step, group) = group.unzip();
        self.files[index].group = step;
        match fork::fork().context(OP, "cannot start the process of a file")? {
            fork::Side::Child => {
                drop((own, written));
                for file in &mut self.files {
                    file.process = None;
                }
                file::run(&path, plan, group.as_deref(), (&theirs, writes, mark))
            }
            fork::Side::Parent(pid) => {
                let pidfd = process::open(pid).context(OP, "cannot watch the process of a file")?;
                let file = &mut self.files[index];
                let (lines, output) = (Lines::default(), Output::after(&mark));
                file.process = Some(Process { pid, pidfd, control: own, lines, written, output });
                file.state = State::Collecting;
                file.told_to_end = false;
                file.deadline = Some(Instant::now() + plan.timeout * TOP);
                Ok(())
            }
        }
    }

    /// Chooses the tests that are run.
    fn choose(&mut self) {
        let known: Vec<(String, Vec<Test>)> =
            self.files.iter().map(|file| (file.name.clone(), file.tests.clone())).collect();
        self.summary.known = known.iter().map(|(_, tests)| tests.len()).sum();
        let empty = self.files.iter().filter(|file| file.collected && file.tests.is_empty());
        self.summary.empty = empty.map(|file| file.name.clone()).collect();
        let mut jobs = select::select(self.plan, &known);
        self.summary.chosen = jobs.len();
        self.summary.left_out = self.summary.known - jobs.iter().filter(|job| job.turn == 1).count();
        self.summary.only = known.iter().any(|(_, tests)| tests.iter().any(|test| test.options.only));
        // Those that run alone come last, so that nothing waits for them.
        jobs.sort_by_key(|job| self.files[job.file].tests[job.test].options.exclusive.as_deref() == Some(""));
        self.queue = jobs.into();
        self.told.planned(self.queue.len());
    }

    fn list(&mut self) {
        self.summary.listed = true;
        let jobs = std::mem::take(&mut self.queue);
        let mut lines: Vec<(String, String)> = Vec::new();
        for job in jobs.iter().filter(|job| job.turn == 1) {
            let file = &self.files[job.file];
            let test = &file.tests[job.test];
            lines.push((full_name(&file.name, test), format!("{}:{}", test.source, test.line)));
        }
        self.told.listed(&lines);
    }

    fn perform(&mut self) -> Result<()> {
        loop {
            self.obey_signal();
            self.start_what_fits()?;
            if self.flights.is_empty() && (self.queue.is_empty() || self.stopping) {
                return Ok(());
            }
            self.told.running(self.flights.iter().map(|flight| {
                let file = &self.files[flight.job.file];
                (file.tests[flight.job.test].name.as_str(), flight.began)
            }));
            self.turn();
        }
    }

    /// Begins every test that has a place, in order.
    fn start_what_fits(&mut self) -> Result<()> {
        let mut later = VecDeque::new();
        while let Some(job) = self.queue.pop_front() {
            if self.stopping || self.is_halted() {
                later.clear();
                self.queue.clear();
                break;
            }
            let file = &self.files[job.file];
            let test = &file.tests[job.test];
            if let Some(verdict) = conclude::without_running(test) {
                self.conclude(job, verdict);
                continue;
            }
            if file.state == State::Gone {
                if file.is_broken {
                    let message = "its file could not be run again after its process was ended";
                    self.conclude(job, Verdict::failed(message.to_owned()));
                    continue;
                }
                self.begin(job.file)?;
                later.push_back(job);
                continue;
            }
            if file.state != State::Ready || !self.fits(&job, &test.options) {
                later.push_back(job);
                continue;
            }
            self.launch(job);
        }
        self.queue.append(&mut later);
        Ok(())
    }

    fn fits(&self, job: &Job, options: &CaseOptions) -> bool {
        let alone = |job: &Job, options: &CaseOptions| job.alone || options.exclusive.as_deref() == Some("");
        let is_taken = self.flights.iter().any(|flight| alone(&flight.job, &flight.options));
        if is_taken || (alone(job, options) && !self.flights.is_empty()) {
            return false;
        }
        let same =
            |flight: &Flight| options.exclusive.is_some() && flight.options.exclusive == options.exclusive;
        let weight = |options: &CaseOptions| (options.weight.unwrap_or(1) as usize).min(self.plan.jobs);
        let used: usize = self.flights.iter().map(|flight| weight(&flight.options)).sum();
        !self.flights.iter().any(same) && used + weight(options) <= self.plan.jobs
    }

    fn launch(&mut self, job: Job) {
        let file = &self.files[job.file];
        let options = file.tests[job.test].options.clone();
        self.tickets += 1;
        let timeout = options.timeout.unwrap_or(self.plan.timeout);
        let limits =
            Limits { timeout, leak_check: self.plan.looks_for_leaks(), tells_leaks: self.plan.tells_leaks() };
        if let Some(process) = &file.process {
            send(&process.control, &Order::Run { ticket: self.tickets, test: job.test, limits });
        }
        let began = Instant::now();
        self.flights.push(Flight {
            ticket: self.tickets,
            job,
            options,
            began,
            deadline: began + timeout + SILENCE,
        });
    }

    /// Waits for one of the processes to say something, and hears it.
    fn turn(&mut self) {
        let flights = self.flights.iter().map(|flight| flight.deadline);
        let deadline = self.files.iter().filter_map(|file| file.deadline).chain(flights).min();
        let now = Instant::now();
        let pause =
            deadline.map_or(Duration::from_secs(1), |deadline| deadline.saturating_duration_since(now));
        let pause = pause.min(self.told.pace()).min(Duration::from_millis(STANDSTILL.into()))
            + Duration::from_millis(1);
        let mut fds: Vec<PollFd<'_>> = Vec::new();
        for process in self.files.iter().filter_map(|file| file.process.as_ref()) {
            fds.push(PollFd::new(process.control.as_fd(), PollFlags::POLLIN));
            fds.push(PollFd::new(process.pidfd.as_fd(), PollFlags::POLLIN));
            fds.push(PollFd::new(process.written.as_fd(), PollFlags::POLLIN));
        }
        if !self.stopping {
            fds.extend(cancel::fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        }
        // What came, or nothing: everything is looked at.
        let _ = poll(&mut fds, PollTimeout::try_from(pause).unwrap_or(PollTimeout::MAX));
        if self.looked.elapsed() >= Duration::from_millis(STANDSTILL.into()) {
            self.looked = Instant::now();
            let processes = self.files.iter().filter_map(|file| file.process.as_ref());
            processes.for_each(|process| go_on(process.pid, &process.pidfd));
        }
        for index in 0..self.files.len() {
            self.hear(index);
        }
        self.end_the_late();
    }

    /// Ends what has come here because the process that had made it was ended. They were told so themselves; those that do not
    /// end are killed.
    fn end_orphans(&self) {
        let known: Vec<i32> =
            self.files.iter().filter_map(|file| file.process.as_ref()).map(|process| process.pid).collect();
        for pid in process::children().into_iter().filter(|pid| !known.contains(pid)) {
            collect_child(pid, 10_000);
        }
    }

    /// Ends files that are silent for too long.
    fn end_the_late(&mut self) {
        let now = Instant::now();
        for index in 0..self.files.len() {
            let flights = self.flights.iter().filter(|flight| flight.job.file == index);
            // While it does what comes before all tests it passes nothing on: the last of its tests counts.
            let late = flights.map(|flight| flight.deadline).max().is_some_and(|at| at <= now)
                || self.files[index].deadline.is_some_and(|at| at <= now);
            if !late {
                continue;
            }
            let file = &mut self.files[index];
            let Some(process) = &file.process else { continue };
            let _ = process::signal(&process.pidfd, if file.told_to_end { SIGKILL } else { SIGTERM });
            file.told_to_end = true;
            file.deadline = Some(now + Duration::from_secs(10));
            for flight in self.flights.iter_mut().filter(|flight| flight.job.file == index) {
                flight.deadline = now + Duration::from_secs(10);
            }
        }
    }

    /// A signal asks the run to stop: no test is begun any more, and those that run are ended.
    fn obey_signal(&mut self) {
        if cancel::requested().is_none() || self.stopping {
            return;
        }
        self.stopping = true;
        self.queue.clear();
        for file in &mut self.files {
            if let Some(process) = &file.process {
                let _ = process::signal(&process.pidfd, SIGTERM);
                file.deadline = Some(Instant::now() + CLOSING);
                file.told_to_end = true;
            } else {
                file.state = State::Gone;
            }
        }
        for flight in &mut self.flights {
            flight.deadline = Instant::now() + CLOSING;
        }
    }

    /// Has every file take back what it made.
    fn close(&mut self) -> Result<()> {
        for file in &mut self.files {
            if let Some(process) = &file.process {
                send(&process.control, &Order::Finish);
                file.deadline = Some(Instant::now() + CLOSING);
            }
        }
        while self.files.iter().any(|file| file.process.is_some()) {
            self.obey_signal();
            self.turn();
        }
        Ok(())
    }

    /// Whether nothing more is begun, because something has failed.
    fn is_halted(&self) -> bool {
        self.plan.fail_fast && self.summary.failures() > 0
    }
}

fn silent(timeout: Duration) -> String {
    format!("it had not run from its top after {}, and was ended", super::units::duration(timeout))
}
