//! Runs a script: compile, evaluate, say how it ended.

use crate::script::engine;
use crate::script::report::Report;
use crate::script::shell::Shell;
use crate::script::source;
use rhai::EvalAltResult;
use std::rc::Rc;

/// How a script ended. What it made is still there: the session is closed by the caller.
#[derive(Debug)]
pub enum Ending {
    /// It ran to its end, or called `exit`.
    Exit(u8),
    /// A signal, or the reader of its output that went away, stopped it.
    Stopped,
    /// An error that nothing caught.
    Failed(Box<Report>),
}

/// Compiles and runs the script of `shell` with this text.
#[must_use]
pub fn run(shell: &Rc<Shell>, text: &str) -> Ending {
    let engine = Rc::new(engine::build(shell));
    shell.hooks().set_engine(&engine);
    let ast = match source::compile(&engine, shell, shell.script(), text) {
        Ok(ast) => ast,
        Err(error) => return Ending::Failed(Report::of_parse(&error, shell.script()).into()),
    };
    let result = engine.run_ast(&ast);
    shell.session().set_at(None);
    if let Some(code) = shell.exit_code() {
        return Ending::Exit(code);
    }
    match result {
        Ok(()) => Ending::Exit(0),
        Err(error) if matches!(error.unwrap_inner(), EvalAltResult::ErrorTerminated(..)) => Ending::Stopped,
        Err(error) => Ending::Failed(Report::of_eval(*error, shell.script()).into()),
    }
}
