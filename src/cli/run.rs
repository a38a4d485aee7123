//! `cshell FILE`, `-c CODE`, standard input: one session, one script, and its end.

use crate::cli::args::{Program, TraceTo};
use crate::cli::complain;
use crate::error::{Error, Result};
use crate::runtime::cancel;
use crate::runtime::rootless;
use crate::runtime::session::Session;
use crate::runtime::state::StateDirs;
use crate::runtime::trace::Sink;
use crate::script::report::{EXIT_SCRIPT, EXIT_USAGE, Report, full_text};
use crate::script::run::{self, Ending};
use crate::script::shell::Shell;
use crate::script::source;
use crate::sys::signal;
use crate::text::{report, trace};
use std::ffi::OsString;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::rc::Rc;

/// Runs a script and returns the exit code; does not return when a signal stopped it.
pub(super) fn run(program: Program, args: Vec<OsString>, trace: Option<&TraceTo>) -> u8 {
    let (name, text) = match load(program) {
        Ok(loaded) => loaded,
        Err(error) => return fail_early(&error),
    };
    // While there is one thread, and before anything is opened or made.
    if let Err(error) = rootless::enter() {
        let report = Report::of_error(&error);
        complain(&report::render(&report, &|_| None));
        return report.exit_code;
    }
    let shell = match open(&name, args, trace) {
        Ok(shell) => shell,
        Err(error) => return fail_early(&error),
    };
    // A panic must not skip the clean-up; its text was written by the hook.
    let ending = catch_unwind(AssertUnwindSafe(|| run::run(&shell, &text)));
    finish(&shell, &ending)
}

/// Says what went wrong, takes back what was made, and returns the exit code; does not return when a signal ended it.
pub(super) fn finish(shell: &Shell, ending: &std::thread::Result<Ending>) -> u8 {
    // From here on signals are only counted, so that the clean-up runs to its end.
    let stopped_by = cancel::requested();
    cancel::ignore();
    let report = match ending {
        Ok(Ending::Failed(report)) if stopped_by.is_none() => Some(report),
        _ => None,
    };
    if let Some(report) = report {
        complain(&report::render(report, &|name| shell.source(name)));
    }
    let errors = shell.session().close();
    for error in &errors {
        complain(&report::warning(&format!("could not undo: {}", full_text(error))));
    }
    let code = match (ending, report) {
        (Err(_), _) => 101,
        (_, Some(report)) => report.exit_code,
        (Ok(Ending::Exit(0)), _) if !errors.is_empty() => EXIT_SCRIPT,
        (Ok(Ending::Exit(code)), _) => *code,
        _ => EXIT_SCRIPT,
    };
    let pipe = (shell.pipe_closed() && shell.exit_code().is_none()).then_some(nix::libc::SIGPIPE);
    if let Some(number) = stopped_by.or(pipe) {
        // When even that is not possible, the code tells.
        let _ = signal::die_by(number);
    }
    code
}

fn open(name: &str, args: Vec<OsString>, trace: Option<&TraceTo>) -> Result<Rc<Shell>> {
    cancel::install()?;
    let mut session = Session::new(StateDirs::from_env())?.owning_children();
    if let Some(to) = trace {
        session = session.traced(sink(to)?);
        rootless::tell(&session)?;
    }
    Ok(Shell::new(Rc::new(session), name, args))
}

/// Where a trace goes.
pub(super) fn sink(to: &TraceTo) -> Result<Box<dyn Sink>> {
    Ok(match to {
        TraceTo::Stderr => Box::new(trace::Human),
        TraceTo::File(path) => Box::new(trace::Json::create(path)?),
    })
}

pub(super) fn load(program: Program) -> Result<(String, String)> {
    match program {
        Program::Code(code) => Ok(("<code>".into(), code)),
        Program::File(path) => Ok((path.display().to_string(), source::read(Path::new(&path))?)),
        Program::Stdin => {
            let mut bytes = Vec::new();
            std::io::stdin()
                .lock()
                .read_to_end(&mut bytes)
                .map_err(|source| Error::io("script", "cannot read the standard input", source))?;
            Ok(("<stdin>".into(), source::decode(bytes, "<stdin>")?))
        }
    }
}

/// An error before the script could begin is one of use.
pub(super) fn fail_early(error: &Error) -> u8 {
    complain(&report::render(&Report::of_error(error), &|_| None));
    EXIT_USAGE
}
