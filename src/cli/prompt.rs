//! `cshell` at a terminal, and `cshell -i`: one session, a prompt, and its end.

use crate::cli::args::{Program, TraceTo};
use crate::cli::complain;
use crate::cli::run::{fail_early, finish, load, sink};
use crate::error::Result;
use crate::repl::recent::Recent;
use crate::repl::{self, Ending, Options};
use crate::runtime::session::Session;
use crate::runtime::state::StateDirs;
use crate::runtime::trace::{Event, Sink};
use crate::runtime::{cancel, rootless};
use crate::script::report::Report;
use crate::script::run;
use crate::script::shell::Shell;
use crate::text::report;
use std::ffi::OsString;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;

/// Opens a prompt, after running `program`, and returns the exit code; does not return when a signal ended it.
pub(super) fn prompt(
    program: Option<Program>,
    args: Vec<OsString>,
    trace: Option<&TraceTo>,
    private: bool,
) -> u8 {
    let first = match program.map(load).transpose() {
        Ok(first) => first,
        Err(error) => return fail_early(&error),
    };
    let history = if private { None } else { history() };
    run_prompt(Options { first, history, tutorial: None }, args, trace)
}

/// Runs a prompt and its end.
pub(super) fn run_prompt(options: Options, args: Vec<OsString>, trace: Option<&TraceTo>) -> u8 {
    // While there is one thread, and before anything is opened or made.
    if let Err(error) = rootless::enter() {
        let report = Report::of_error(&error);
        complain(&report::render(&report, &|_| None));
        return report.exit_code;
    }
    let recent = Recent::default();
    let name = options.first.as_ref().map_or("prompt", |(name, _)| name).to_owned();
    let shell = match open(&name, args, recent.clone(), trace) {
        Ok(shell) => shell,
        Err(error) => return fail_early(&error),
    };
    let ending = catch_unwind(AssertUnwindSafe(|| repl::run(&shell, recent, options)));
    let ending = ending.map(|ended| match ended {
        Ok(Ending::Exit(code)) => run::Ending::Exit(code),
        Ok(Ending::Stopped) => run::Ending::Stopped,
        Err(error) => run::Ending::Failed(Report::of_error(&error).into()),
    });
    finish(&shell, &ending)
}

pub(super) fn open(
    name: &str,
    args: Vec<OsString>,
    recent: Recent,
    trace: Option<&TraceTo>,
) -> Result<Rc<Shell>> {
    cancel::install()?;
    let session = Session::new(StateDirs::from_env())?.owning_children();
    let sink: Box<dyn Sink> = match trace {
        Some(to) => Box::new(Both(recent, sink(to)?)),
        None => Box::new(recent),
    };
    let session = session.interactive().traced(sink);
    if trace.is_some() {
        rootless::tell(&session)?;
    }
    Ok(Shell::new(Rc::new(session), name, args))
}

/// Events for the prompt and for the trace that was asked for.
#[derive(Debug)]
struct Both(Recent, Box<dyn Sink>);

impl Sink for Both {
    fn event(&self, event: &Event<'_>) {
        self.0.event(event);
        self.1.event(event);
    }
}

/// Where the lines of a user's prompts are kept: `$CSHELL_HISTORY` (none where that is empty), else
/// `$XDG_STATE_HOME/cshell/history`, else `~/.local/state/cshell/history`.
pub(super) fn history() -> Option<PathBuf> {
    if let Some(file) = std::env::var_os("CSHELL_HISTORY") {
        return Some(PathBuf::from(file)).filter(|file| !file.as_os_str().is_empty());
    }
    let env = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = env("XDG_STATE_HOME").or_else(|| env("HOME").map(|home| home.join(".local/state")))?;
    let folder = state.join("cshell");
    // What was typed is nobody else's to read. Without a folder there is no history.
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).ok()?;
    Some(folder.join("history"))
}
