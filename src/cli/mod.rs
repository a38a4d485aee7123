//! The command line.
//!
//! # Exit codes
//!
//! They are an interface:
//!
//! | code | when |
//! |---|---|
//! | 0 | all went well |
//! | 1 | the script failed, or what it made could not be taken back |
//! | 2 | wrong use of the command line, or a script that does not parse |
//! | 3 | the host cannot: an uncaught error of kind `permission_denied` or `unsupported`, or what `doctor` misses |
//! | 4 | `test`: there was no test to run, or each was skipped |
//! | 100 | `test`: a test failed, left something behind or took too long, or a file could not be run |
//! | 101 | a bug of this program |
//! | 125, 126, 127 | a contained command could not be started, run, found |
//! | n | the script called `exit(n)` |
//!
//! SIGINT, SIGTERM and SIGHUP end the script; after the clean-up the program dies by the same signal. A reader of the
//! standard output that went away ends it the same way, by SIGPIPE.

mod args;
mod audit;
mod check;
mod doc;
mod doctor;
mod gc;
mod prompt;
mod run;
mod test;
mod tutorial;

use crate::script::report::{EXIT_USAGE, Report};
use crate::text::report;
use args::Plan;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// Runs the program with the arguments after its name.
#[must_use]
pub fn main(args: Vec<OsString>) -> ExitCode {
    std::panic::set_hook(Box::new(report_bug));
    let outcome = std::panic::catch_unwind(|| match args::plan(args) {
        Ok(Plan::Run { program, args, trace }) => run::run(program, args, trace.as_ref()),
        Ok(Plan::Prompt { program, args, trace, private }) => {
            prompt::prompt(program, args, trace.as_ref(), private)
        }
        Ok(Plan::Tutorial(lesson)) => tutorial::tutorial(&lesson),
        Ok(Plan::Check(files)) => check::check(&files),
        Ok(Plan::Gc(options)) => gc::gc(options),
        Ok(Plan::Doc(wish)) => doc::doc(&wish),
        Ok(Plan::Audit { process, format }) => audit::audit(&process, format),
        Ok(Plan::Test(wish)) => test::test(*wish),
        Ok(Plan::Doctor(format)) => doctor::doctor(format),
        Ok(Plan::Say(text)) => say(&text),
        Err(text) => {
            complain(&text);
            EXIT_USAGE
        }
    });
    // The text was written by the hook.
    ExitCode::from(outcome.unwrap_or(101))
}

/// What a panic says. The session that unwinds has cleaned up.
fn report_bug(panic: &std::panic::PanicHookInfo<'_>) {
    let payload = panic.payload();
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a text");
    let place =
        panic.location().map(|place| format!(" ({}:{})", place.file(), place.line())).unwrap_or_default();
    let mut report = Report::plain(format!("internal error: {text}{place}"), 101);
    report.hint = Some("this is a bug of cshell: please report it, with the script and this text".into());
    complain(&report::render(&report, &|_| None));
}

/// Writes to the standard output. Nobody is told when nobody reads.
fn say(text: &str) -> u8 {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    0
}

/// Writes to the standard error.
fn complain(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
