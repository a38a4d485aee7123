//! The process of a test file: runs it from its top, tells which tests it declares, and makes a process for each test that is to
//! be run. Everything that the file made is there for its tests, because their processes are copies of this one.

mod running;

use self::running::Running;
use super::Plan;
use super::body::{Witness, lasting, mount_over_proc, process_left};
use super::keeper::{self, Charge};
use super::message::{Left, Lines, Order, Outcome, Test, Told, Verdict, readable, send};
use super::trail::{self, Trail};
use crate::runtime::cancel;
use crate::runtime::cgroup::nest;
use crate::runtime::leaks::{self, Ground, Sight};
use crate::runtime::proc::orphans;
use crate::runtime::session::Session;
use crate::script::report::{Report, full_text};
use crate::script::scene::{self, Failure, Scene};
use crate::script::shell::Shell;
use crate::script::suite::{self, Body, Case, Group};
use crate::sys::fork;
use crate::sys::process;
use crate::text::report;
use nix::libc::SIGTERM;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

/// Runs a file in this process, and ends the process.
pub(super) fn run(
    path: &Path,
    plan: &Plan,
    group: Option<&Path>,
    (control, output, mark): (&OwnedFd, OwnedFd, String),
) -> ! {
    if let Some(group) = group {
        // Where that is refused its groups are made where they would be without one.
        let _ = nest::enter(group);
    }
    // Away from the terminal: what is typed there is for the runner.
    let prepared = fork::new_session()
        .and_then(|()| process::set_subreaper(true))
        .and_then(|()| fork::set_death_signal(SIGTERM));
    let written = prepared.and_then(|()| fork::replace(&output, 1)).and_then(|()| fork::replace(&output, 2));
    if written.is_err() {
        fork::leave(125);
    }
    drop(output);
    let sessions = Session::new(plan.dirs.clone())
        .and_then(|session| Ok((Rc::new(session), Session::new(plan.dirs.clone())?)));
    let (session, around) = match sessions {
        Ok(sessions) => sessions,
        Err(error) => {
            broken(control, &Report::of_error(&error), None);
            fork::leave(0)
        }
    };
    session.set_foreign(plan.runtime.clone().map(Rc::new));
    let shell = Shell::new(session, path.display().to_string(), plan.args.clone());
    let traces = Traces::begin(&around, &shell, plan, path);
    let failures: Rc<RefCell<Vec<Verdict>>> = Rc::default();
    let ended = collect(path, &shell, plan, control, (&failures, mark));
    cancel::ignore();
    let running = traces.as_ref().map(|traces| traces.still_running(&shell)).unwrap_or_default();
    let not_undone = |session: &Session| -> Vec<Verdict> {
        session.close().iter().map(|error| Verdict::failed(full_text(error))).collect()
    };
    let mut problems = not_undone(shell.session());
    match ended {
        Ok(()) => {
            problems.extend(failures.take());
            problems.extend(shell.suite().notes().into_iter().map(Verdict::failed));
        }
        Err(Ended::Broken(report)) => broken(control, &report, Some(&shell)),
        Err(Ended::Skipped(reason)) => send(control, &Told::Skipped { reason }),
    }
    let mut left = traces.map(|traces| traces.left(&around, &shell, running)).unwrap_or_default();
    if !plan.tells_leaks() {
        left.clear();
    }
    problems.extend(not_undone(&around));
    send(control, &Told::Closed { problems, left });
    fork::leave(0)
}

/// What the file itself does while it runs from its top, before all tests and after them, and what there was before that.
struct Traces {
    ground: Ground,
    before: Sight,
    trail: Rc<RefCell<Trail>>,
    witness: Rc<Witness>,
}

impl Traces {
    /// Gives the file places of its own, and begins to listen; not where nobody looks for leaks.
    fn begin(around: &Session, shell: &Rc<Shell>, plan: &Plan, path: &Path) -> Option<Self> {
        if !plan.looks_for_leaks() {
            return None;
        }
        let mut ground = Ground::new(plan.dirs.clone(), plan.apart(path));
        let folder = leaks::folder(around).ok().map(|(_, folder)| folder);
        leaks::apart(&mut ground, folder.as_deref());
        let before = leaks::look(&ground);
        let trail = Rc::new(RefCell::new(Trail::default()));
        let heard = trail.clone();
        let witness = Witness::install(shell, (&ground, &before), move |message| {
            // It is of no other kind.
            let _ = heard.borrow_mut().take(message);
        });
        Some(Self { ground, before, trail, witness })
    }

    /// What commands of the file have left running, now that all tests have been run.
    fn still_running(&self, shell: &Rc<Shell>) -> Vec<Left> {
        shell.watch(None);
        let covered = leaks::uncover(&self.ground);
        let left = lasting(|| orphans::strays(shell.session()));
        self.witness.look_at_the_end();
        let processes = left.into_iter().map(|pid| process_left(pid, self.witness.line_of(pid)));
        processes.chain(covered.then(|| mount_over_proc(self.witness.line_that_says("/proc")))).collect()
    }

    /// What is there of the file's once its session has taken everything back. It is removed.
    fn left(&self, around: &Session, shell: &Rc<Shell>, mut left: Vec<Left>) -> Vec<Left> {
        let trail = self.trail.borrow();
        leaks::come_back();
        keeper::end_all(|pid| trail.line_of(pid), true, &mut left);
        left.extend(trail::handed_over(around, shell.session().token(), true));
        left.extend(trail.look_after(around, &self.ground, &self.before, true));
        if let Some(whole) = shell.suite().groups().first() {
            keeper::forgive(&mut left, &whole.options.leaves);
        }
        left
    }
}

/// Why a file has no tests to run.
enum Ended {
    Broken(Box<Report>),
    Skipped(String),
}

fn broken(control: &OwnedFd, report: &Report, shell: Option<&Rc<Shell>>) {
    let text = report::render(report, &|name| shell.and_then(|shell| shell.source(name)));
    send(control, &Told::Broken { message: report.message.clone(), text });
}

/// Runs the file from its top, and serves its tests from inside of that.
fn collect(
    path: &Path,
    shell: &Rc<Shell>,
    plan: &Plan,
    control: &OwnedFd,
    (failures, mark): (&Rc<RefCell<Vec<Verdict>>>, String),
) -> Result<(), Ended> {
    let broken = |report: Report| Ended::Broken(report.into());
    shell.suite().set_run(plan.seed, plan.update);
    let file = File {
        shell: shell.clone(),
        control: control.try_clone().ok(),
        apart: plan.apart(path),
        nest: plan.nest.clone(),
        timeout: plan.timeout,
        failures: failures.clone(),
        mark,
    };
    let result = scene::open(path, shell, move |scene| serve(&file, scene));
    if let Some(reason) = shell.suite().skipped() {
        return Err(Ended::Skipped(reason));
    }
    if let Some(code) = shell.exit_code().filter(|_| !shell.suite().is_settled()) {
        let at = shell.session().at().map(|at| format!(" at {at}")).unwrap_or_default();
        let message = format!("the file called exit({code}){at} before its tests were run");
        return Err(broken(Report::plain(message, 1)));
    }
    result.map_err(Ended::Broken)?;
    if shell.suite().is_settled() || cancel::requested().is_some() {
        return Ok(());
    }
    let message = "the file returned from its top before its tests were run";
    let hint = "leave out what follows with test::skip(reason)".to_owned();
    Err(broken(Report { hint: Some(hint), ..Report::plain(message, 1) }))
}

/// A file that serves its tests.
struct File {
    shell: Rc<Shell>,
    control: Option<OwnedFd>,
    /// Folders that no leak check looks at.
    apart: Vec<PathBuf>,
    /// Where each test gets a control group.
    nest: Option<PathBuf>,
    /// How long what is called after all tests may take.
    timeout: Duration,
    /// How that failed.
    failures: Rc<RefCell<Vec<Verdict>>>,
    /// What it writes before what is told of by itself.
    mark: String,
}

impl File {
    /// What was written before is of something else.
    fn mark_output(&self) {
        // Where nobody reads it, nobody asks.
        let _ = rustix::io::write(rustix::stdio::stdout(), self.mark.as_bytes());
    }
}

/// What was called before all tests of groups, and how that went.
#[derive(Default)]
struct Begun {
    groups: BTreeSet<usize>,
    failed: Vec<(usize, Verdict)>,
}

fn serve(file: &File, scene: &Scene<'_>) {
    let Some(control) = &file.control else { return };
    let suite = file.shell.suite();
    suite.settle();
    let (cases, groups) = (suite.cases(), suite.groups());
    let tests = cases.iter().map(|case| Test {
        name: case.name.clone(),
        source: case.place.0.clone(),
        line: case.place.1,
        todo: case.todo,
        has_body: !matches!(case.body, Body::Missing),
        options: case.options.clone(),
    });
    send(control, &Told::Collected(tests.collect()));
    let mut lines = Lines::default();
    let mut running = Running::new();
    let mut begun = Begun::default();
    let mut is_open = true;
    let mut finish = false;
    while is_open && !(finish && running.is_empty()) && cancel::requested().is_none() {
        running.wait(Some(control.as_fd()), None);
        is_open = !readable(control) || lines.fill(control);
        while let Some(order) = lines.next::<Order>() {
            match order {
                Order::Finish => finish = true,
                Order::Run { ticket, test, limits } => {
                    let Some(case) = cases.get(test) else {
                        let message = "the file does not declare it any more".to_owned();
                        let verdict =
                            Verdict { text: format!("error: {message}\n"), message, ..Verdict::default() };
                        send(control, &Told::Result { ticket, verdict: verdict.into() });
                        continue;
                    };
                    if let Err(verdict) = begin(file, scene, &groups, &cases, case, &mut begun) {
                        send(control, &Told::Result { ticket, verdict });
                        continue;
                    }
                    let charge = Charge {
                        shell: &file.shell,
                        scene,
                        case,
                        groups: &groups,
                        limits,
                        apart: &file.apart,
                        folder: None,
                    };
                    match running.start(&charge, ticket, file.nest.as_deref()) {
                        Ok(()) => send(control, &Told::Started { ticket }),
                        Err(error) => {
                            let verdict = Verdict::failed(format!("the test could not be started: {error}"));
                            send(control, &Told::Result { ticket, verdict: verdict.into() });
                        }
                    }
                }
            }
        }
        running.collect(control, file.shell.session());
    }
    running.stop(control, file.shell.session());
    file.mark_output();
    for index in begun.groups.iter().rev() {
        send(control, &Told::Busy { most: file.timeout });
        // What was stopped says so.
        match cancel::within(file.timeout, || scene.end(&groups, *index)) {
            Ok((failures, _)) => file
                .failures
                .borrow_mut()
                .extend(failures.into_iter().map(|failure| unfinished(file, failure))),
            Err(error) => suite.note(full_text(&error)),
        }
    }
}

/// The verdict where what is called after all tests failed.
fn unfinished(file: &File, mut failure: Failure) -> Verdict {
    let place = failure.report.place.as_ref();
    let line = place
        .and_then(|place| place.position.line())
        .map(|line| format!(" at line {line}"))
        .unwrap_or_default();
    failure.report.message = format!("after all tests: {}", failure.report.message);
    let message = format!("{}{line}", failure.report.message);
    let text = report::render(&failure.report, &|name| file.shell.source(name));
    Verdict { message, text, ..Verdict::default() }
}

/// The verdict where what is called before all tests failed, or was stopped after so long: then it may have caught that, but it
/// was its end all the same.
fn unprepared(file: &File, failure: Option<Failure>, most: Option<Duration>) -> Verdict {
    let late = most.map(|most| {
        let most = super::units::duration(most);
        format!("what is called before all tests was not done after {most}, and was stopped")
    });
    let Some(mut failure) = failure else {
        let message = late.unwrap_or_default();
        let text = format!("error: {message}\n");
        return Verdict { outcome: Outcome::Timeout, message, text, ..Verdict::default() };
    };
    if cancel::requested().is_some() {
        return Verdict { outcome: Outcome::Stopped, ..Verdict::default() };
    }
    let (outcome, message) = match late {
        Some(message) => {
            failure.report.message.clone_from(&message);
            (Outcome::Timeout, message)
        }
        None => (Outcome::Fail, format!("before all tests: {}", failure.report.message)),
    };
    let text = report::render(&failure.report, &|name| file.shell.source(name));
    Verdict { outcome, message, text, ..Verdict::default() }
}

/// Calls what is to be called before all tests of the file and of the groups around a test, the first time, which may take as long
/// as the longest of them; or says why the test is not begun.
fn begin(
    file: &File,
    scene: &Scene<'_>,
    groups: &[Group],
    cases: &[Case],
    case: &Case,
    begun: &mut Begun,
) -> Result<(), Box<Verdict>> {
    for index in suite::chain(groups, case.group) {
        if let Some((_, verdict)) = begun.failed.iter().find(|(failed, _)| *failed == index) {
            return Err(verdict.clone().into());
        }
        if !begun.groups.insert(index) {
            continue;
        }
        let inside = cases.iter().filter(|case| suite::chain(groups, case.group).contains(&index));
        let most = inside.map(|case| case.options.timeout.unwrap_or(file.timeout)).max();
        let most = most.unwrap_or(file.timeout);
        if let Some(control) = &file.control {
            send(control, &Told::Busy { most });
        }
        file.mark_output();
        let act = || file.shell.suite().begin_group(|| scene.begin(groups, index));
        let verdict = match cancel::within(most, act) {
            Ok(((_, Some(reason)), _)) => {
                Verdict { outcome: Outcome::Skip, message: reason, ..Verdict::default() }
            }
            Ok(((Ok(()), None), false)) => continue,
            Ok(((outcome, None), late)) => unprepared(file, outcome.err(), late.then_some(most)),
            Err(error) => Verdict::failed(full_text(&error)),
        };
        let verdict = Verdict { not_begun: true, ..verdict };
        // Nothing is called after what was not begun.
        begun.groups.remove(&index);
        begun.failed.push((index, verdict.clone()));
        return Err(verdict.into());
    }
    Ok(())
}
