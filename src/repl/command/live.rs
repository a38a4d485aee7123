//! `:shell` and `:watch`: the terminal, given to something that lives.

use crate::repl::command::objects;
use crate::repl::watch::Watch;
use crate::repl::{Next, Prompt, is_interrupt};
use crate::runtime::cancel;
use crate::runtime::proc::shell as run_shell;
use crate::runtime::units::parse_duration;
use crate::script::report::Report;
use std::time::Duration;

/// Runs a shell.
pub(super) fn shell(prompt: &mut Prompt, words: &str) -> Next {
    let (name, command) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
    let Some(id) = objects::handle(prompt, "shell", name) else { return Next::Entry };
    let session = prompt.script.shell().session().clone();
    let Some(thing) = session.peek_handle(id) else { return Next::Entry };
    prompt.recent.clear();
    let outcome = run_shell::shell(&session, &thing, command.trim());
    prompt.note_steps();
    prompt.desk.fresh_line();
    match outcome {
        Ok(outcome) if outcome.is_ok() => {}
        Ok(outcome) => prompt.say(&format!("the shell ended with status {}\n", outcome.code)),
        Err(error) => prompt.fail(&Report::of_error(&error)),
    }
    interrupted()
}

/// Shows live statistics.
pub(super) fn watch(prompt: &mut Prompt, words: &str) -> Next {
    let (name, rest) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
    let mut pause = Duration::from_secs(1);
    // In a pipe nobody presses a key.
    let mut times = 3;
    for word in rest.split_whitespace() {
        match (word.parse::<usize>(), parse_duration(word)) {
            (Ok(count), _) if count > 0 => times = count,
            (_, Ok(duration)) if duration >= Duration::from_millis(50) => pause = duration,
            _ => {
                let what = format!(":watch takes a duration from 50ms and a number of lines, not `{word}`");
                prompt.refuse(&what, ":watch cg 200ms; :watch cg 5 where nobody can press a key");
                return Next::Entry;
            }
        }
    }
    let Some(id) = objects::handle(prompt, "watch", name) else { return Next::Entry };
    let session = prompt.script.shell().session().clone();
    let Some(thing) = session.peek_handle(id) else { return Next::Entry };
    let watch = Watch { session: &session, desk: &prompt.desk, thing, pause };
    if let Err(error) = watch.run(times) {
        prompt.fail(&Report::of_error(&error));
    }
    interrupted()
}

/// Ctrl-C has ended what had the terminal, and no more.
fn interrupted() -> Next {
    match cancel::requested() {
        Some(signal) if !is_interrupt(signal) => Next::End(crate::repl::Ending::Stopped),
        _ => {
            cancel::clear();
            Next::Entry
        }
    }
}
