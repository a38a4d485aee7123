//! The process of a test file: runs it from its top, tells which tests it declares, and makes a process for each test that is to
//! be run. Everything that the file made is there for its tests, because their processes are copies of this one.

use super::Plan;
use super::keeper::{self, Charge};
use super::message::{Lines, Order, Test, Told, Verdict, collect_child, readable, send};
use crate::error::SysContext as _;
use crate::runtime::cancel;
use crate::runtime::cgroup::nest;
use crate::runtime::leaks;
use crate::runtime::session::{Session, StepId};
use crate::script::report::{Report, full_text};
use crate::script::scene::{self, Scene};
use crate::script::shell::Shell;
use crate::script::suite::{self, Body, Case, Group};
use crate::sys::fork;
use crate::sys::process;
use crate::text::report;
use nix::libc::{SIGKILL, SIGTERM};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

/// How long the keepers have to end once the run is stopped.
const GRACE: Duration = Duration::from_secs(30);

/// Runs a file in this process, and ends the process.
pub(super) fn run(path: &Path, plan: &Plan, group: Option<&Path>, control: &OwnedFd) -> ! {
    if let Some(group) = group {
        // Where that is refused its groups are made where they would be without one.
        let _ = nest::enter(group);
    }
    // Away from the terminal: what is typed there is for the runner.
    let prepared = fork::new_session()
        .and_then(|()| process::set_subreaper(true))
        .and_then(|()| fork::set_death_signal(SIGTERM));
    let output = tempfile_in_memory();
    if let (Ok(()), Some(output)) = (prepared, &output) {
        let silent = fork::replace(output, 1).and_then(|()| fork::replace(output, 2));
        if silent.is_err() {
            fork::leave(125);
        }
    }
    let name = path.display().to_string();
    let session = match Session::new(plan.dirs.clone()) {
        Ok(session) => Rc::new(session),
        Err(error) => {
            broken(control, &Report::of_error(&error), None, output.as_ref());
            fork::leave(0)
        }
    };
    session.set_foreign(plan.runtime.clone().map(Rc::new));
    let shell = Shell::new(session, name, plan.args.clone());
    let ended = collect(path, &shell, plan, control);
    cancel::ignore();
    let mut problems: Vec<String> = shell.session().close().iter().map(full_text).collect();
    match ended {
        Ok(()) => problems.extend(shell.suite().notes()),
        Err(Ended::Broken(report)) => broken(control, &report, Some(&shell), output.as_ref()),
        Err(Ended::Skipped(reason)) => send(control, &Told::Skipped { reason }),
    }
    send(control, &Told::Closed { problems });
    fork::leave(0)
}

/// Why a file has no tests to run.
enum Ended {
    Broken(Box<Report>),
    Skipped(String),
}

fn broken(control: &OwnedFd, report: &Report, shell: Option<&Rc<Shell>>, output: Option<&OwnedFd>) {
    let text = report::render(report, &|name| shell.and_then(|shell| shell.source(name)));
    let output = output.map(written).unwrap_or_default();
    send(control, &Told::Broken { message: report.message.clone(), text, output });
}

fn tempfile_in_memory() -> Option<OwnedFd> {
    rustix::fs::memfd_create("output", rustix::fs::MemfdFlags::CLOEXEC).ok()
}

/// The end of what a file wrote while it ran from its top.
fn written(output: &OwnedFd) -> String {
    const MOST: u64 = 64 * 1024;
    let end = rustix::fs::fstat(output).map_or(0, |data| u64::try_from(data.st_size).unwrap_or(0));
    let mut bytes = vec![0; usize::try_from(end.min(MOST)).unwrap_or(0)];
    let len = rustix::io::pread(output, &mut bytes, end.saturating_sub(MOST)).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..len]).into_owned()
}

/// Runs the file from its top, and serves its tests from inside of that.
fn collect(path: &Path, shell: &Rc<Shell>, plan: &Plan, control: &OwnedFd) -> Result<(), Ended> {
    let broken = |report: Report| Ended::Broken(report.into());
    shell.suite().set_run(plan.seed, plan.update);
    let file = File {
        shell: shell.clone(),
        control: control.try_clone().ok(),
        apart: plan.apart(path),
        nest: plan.nest.clone(),
    };
    let result = scene::open(path, shell, move |scene| serve(&file, scene));
    if let Some(reason) = shell.suite().skipped() {
        return Err(Ended::Skipped(reason));
    }
    if let Some(code) = shell.exit_code() {
        let at = shell.session().at().map(|at| format!(" at {at}")).unwrap_or_default();
        let message = format!("the file called exit({code}){at} before its tests were run");
        return Err(broken(Report::plain(message, 1)));
    }
    result.map_err(Ended::Broken)
}

/// A file that serves its tests.
struct File {
    shell: Rc<Shell>,
    control: Option<OwnedFd>,
    /// Folders that no leak check looks at.
    apart: Vec<PathBuf>,
    /// Where each test gets a control group.
    nest: Option<PathBuf>,
}

/// A keeper at work.
struct Running {
    ticket: usize,
    pid: i32,
    pidfd: OwnedFd,
    told: OwnedFd,
    lines: Lines,
    /// What is there for it alone: its group and its folder.
    steps: Vec<StepId>,
}

/// What was called before all tests of groups, and how that went.
#[derive(Default)]
struct Begun {
    groups: BTreeSet<usize>,
    failed: Vec<(usize, String, String)>,
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
    let mut running: Vec<Running> = Vec::new();
    let mut begun = Begun::default();
    let mut is_open = true;
    let mut finish = false;
    while is_open && !(finish && running.is_empty()) && cancel::requested().is_none() {
        wait(control, &running);
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
                    if let Err((message, text)) = begin(file, scene, &groups, case, &mut begun) {
                        let verdict = Verdict { message, text, not_begun: true, ..Verdict::default() };
                        send(control, &Told::Result { ticket, verdict: verdict.into() });
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
                    match start(&charge, ticket, file.nest.as_deref(), &mut running) {
                        Ok(one) => running.push(one),
                        Err(error) => {
                            let verdict = Verdict::failed(format!("the test could not be started: {error}"));
                            send(control, &Told::Result { ticket, verdict: verdict.into() });
                        }
                    }
                }
            }
        }
        collect_results(control, &mut running, file.shell.session());
    }
    stop(control, &mut running, file.shell.session());
    begun.groups.iter().rev().for_each(|index| scene.end(&groups, *index));
}

/// Makes the keeper of a test: a copy of this process.
fn start(
    charge: &Charge<'_>,
    ticket: usize,
    nest: Option<&Path>,
    running: &mut Vec<Running>,
) -> crate::error::Result<Running> {
    const WHAT: &str = "cannot start the process that keeps the test";
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let (told, told_child) = fork::pipe().context("test", WHAT)?;
    let session = charge.shell.session();
    let (step, group) = nest.map(|nest| nest::group(session, nest)).transpose()?.unzip();
    // Where there can be none, it has that of everybody.
    let (folder_step, folder) = leaks::folder(session).ok().unzip();
    let charge = &Charge { folder: folder.as_deref(), ..*charge };
    match fork::fork().context("test", WHAT)? {
        fork::Side::Child => {
            drop(told);
            running.clear();
            let _ = fork::new_session();
            if let Some(group) = &group {
                let _ = nest::enter(group);
            }
            keeper::keep(charge, own, &told_child)
        }
        fork::Side::Parent(pid) => {
            let pidfd = process::open(pid).context("test", WHAT)?;
            Ok(Running {
                ticket,
                pid,
                pidfd,
                told,
                lines: Lines::default(),
                steps: step.into_iter().chain(folder_step).collect(),
            })
        }
    }
}

/// Waits until there is something to read, or a keeper has ended.
fn wait(control: &OwnedFd, running: &[Running]) {
    let mut fds = vec![PollFd::new(control.as_fd(), PollFlags::POLLIN)];
    fds.extend(running.iter().map(|one| PollFd::new(one.told.as_fd(), PollFlags::POLLIN)));
    fds.extend(cancel::fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
    // A signal is asked for by the caller.
    let _ = poll(&mut fds, PollTimeout::NONE);
}

/// Passes on what keepers have told that have come to their end.
fn collect_results(control: &OwnedFd, running: &mut Vec<Running>, session: &Session) {
    let known: Vec<i32> = running.iter().map(|one| one.pid).collect();
    running.retain_mut(|one| {
        if !readable(&one.told) || one.lines.fill(&one.told) {
            return true;
        }
        let verdict = one.lines.next::<Verdict>();
        // Its pipe is closed: it has ended, or is about to.
        let exit = process::wait(&one.pidfd, true);
        let verdict = verdict.unwrap_or_else(|| {
            end_orphans(&known, session);
            Verdict::failed(format!("what keeps the test was ended from outside ({exit:?})"))
        });
        // What cannot be removed now is tried again when the file is at its end, and told then.
        let _ = session.undo_steps(&std::mem::take(&mut one.steps));
        send(control, &Told::Result { ticket: one.ticket, verdict: verdict.into() });
        false
    });
}

/// The run is stopped: every keeper ends its test and tells how it stood.
fn stop(control: &OwnedFd, running: &mut Vec<Running>, session: &Session) {
    let deadline = std::time::Instant::now() + GRACE;
    for one in running.iter() {
        let _ = process::signal(&one.pidfd, SIGTERM);
    }
    while !running.is_empty() && std::time::Instant::now() < deadline {
        let mut fds: Vec<PollFd<'_>> =
            running.iter().map(|one| PollFd::new(one.told.as_fd(), PollFlags::POLLIN)).collect();
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let _ = poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
        collect_results(control, running, session);
    }
    for one in running.iter() {
        // Stopped, or held by the kernel.
        let _ = process::signal(&one.pidfd, SIGKILL);
    }
}

/// Tests whose keeper was ended have come to this process: they are told to end, as by their keeper's death, and killed if they
/// do not.
fn end_orphans(keepers: &[i32], session: &Session) {
    let of_step = |pid: i32| session.processes().iter().any(|(known, _)| *known == pid);
    for pid in process::children() {
        if keepers.contains(&pid) || of_step(pid) {
            continue;
        }
        collect_child(pid, 1000);
    }
}

/// Calls what is to be called before all tests of the file and of the groups around a test, the first time.
fn begin(
    file: &File,
    scene: &Scene<'_>,
    groups: &[Group],
    case: &Case,
    begun: &mut Begun,
) -> Result<(), (String, String)> {
    for index in suite::chain(groups, case.group) {
        if let Some((_, message, text)) = begun.failed.iter().find(|(failed, _, _)| *failed == index) {
            return Err((message.clone(), text.clone()));
        }
        if !begun.groups.insert(index) {
            continue;
        }
        if let Err(failure) = scene.begin(groups, index) {
            let text = report::render(&failure.report, &|name| file.shell.source(name));
            let message = format!("before all tests: {}", failure.report.message);
            begun.failed.push((index, message.clone(), text.clone()));
            return Err((message, text));
        }
    }
    Ok(())
}
