//! `:ls`, `:vars`, `:undo`, `:keep`: what lives.

use crate::repl::show::Screen;
use crate::repl::{Next, Prompt, show};
use crate::runtime::session::HandleId;
use crate::script::look::Look;
use crate::script::lookup::{Names, Variable};
use crate::script::shell::Shell;
use std::fmt::Write;

/// Lists the living objects.
pub(super) fn ls(prompt: &mut Prompt, _: &str) -> Next {
    let shell = prompt.script.shell().clone();
    prompt.page(&living(&shell, &prompt.script.names(), prompt.screen));
    Next::Entry
}

/// The living objects, newest first, with the lines that made them.
pub(in crate::repl) fn living(shell: &Shell, known: &Names<'_>, screen: Screen) -> String {
    let live = shell.session().live();
    if live.is_empty() {
        return "nothing lives\n".to_owned();
    }
    let variables = known.handles();
    let names = |id: HandleId| {
        let held = variables.iter().filter(|(_, held)| *held == id).map(|(name, _)| name.as_str());
        held.collect::<Vec<_>>().join(",")
    };
    let widest = live.iter().map(|live| names(live.id).len()).max().unwrap_or(0).min(20);
    let number = live.iter().map(|live| live.id.to_string().len()).max().unwrap_or(1) + 1;
    let room = screen.width.saturating_sub(number + widest + 4);
    let mut out = String::new();
    for live in &live {
        let (id, name) = (format!("#{}", live.id), show::fit(&names(live.id), 20));
        let line = show::fit(&show::printable(&live.line, false), room);
        let _ = writeln!(out, "{id:<number$}  {}  {line}", screen.style("36", &format!("{name:<widest$}")));
        if let Some(at) = &live.at {
            let source = shell.line_at(at).unwrap_or_default();
            let place = show::fit(&format!("{at}  {}", source.trim()), room);
            let _ = writeln!(out, "{:<number$}  {:<widest$}  {}", "", "", screen.dim(&place));
        }
    }
    out
}

/// Lists the variables.
pub(super) fn vars(prompt: &mut Prompt, _: &str) -> Next {
    prompt.page(&variables(&prompt.script.names().variables(), prompt.screen));
    Next::Entry
}

/// The variables as a table.
pub(in crate::repl) fn variables(variables: &[Variable], screen: Screen) -> String {
    if variables.is_empty() {
        return "there are no variables\n".to_owned();
    }
    let row = |variable: &Variable| {
        let kind = if variable.constant { format!("const {}", variable.kind) } else { variable.kind.clone() };
        vec![
            ("name", Look::Text(variable.name.clone())),
            ("type", Look::Text(kind)),
            ("value", Look::Text(show::line(&variable.look))),
        ]
    };
    let rows: Vec<Vec<(&str, Look)>> = variables.iter().map(row).collect();
    show::rows(&rows, screen)
}

/// Takes back what the newest entries made.
pub(super) fn undo(prompt: &mut Prompt, words: &str) -> Next {
    if let Some(id) = words.strip_prefix('#').or_else(|| prompt.script.names().handle(words).map(|_| words)) {
        return undo_one(prompt, id);
    }
    let count = match words {
        "" => 1,
        words => match words.parse::<usize>() {
            Ok(count) if count > 0 => count,
            _ => {
                let hint =
                    "`:undo` takes back the newest, `:undo 3` three, `:undo NAME` the object of a variable";
                prompt.refuse(&format!(":undo takes a number of entries or a handle, not `{words}`"), hint);
                return Next::Entry;
            }
        },
    };
    for _ in 0..count {
        let session = prompt.script.shell().session().clone();
        let Some((text, made)) = prompt.log.take_newest(|id| session.is_open(id)) else {
            prompt.say("nothing is left to undo\n");
            break;
        };
        let lines: Vec<String> =
            made.iter().rev().filter_map(|id| session.peek_handle(*id)).map(|thing| thing.line()).collect();
        prompt.recent.clear();
        prompt.take_back(&made);
        prompt.note_steps();
        prompt.say(&prompt.screen.dim(&format!("{}\n", show::fit(text.trim(), prompt.screen.width))));
        lines.iter().for_each(|line| prompt.say(&format!("  removed {line}\n")));
    }
    Next::Entry
}

fn undo_one(prompt: &mut Prompt, name: &str) -> Next {
    let session = prompt.script.shell().session().clone();
    let by_number = |live: &crate::runtime::session::Live| live.id.to_string() == name;
    let id = prompt
        .script
        .names()
        .handle(name)
        .or_else(|| session.live().into_iter().find(by_number).map(|live| live.id));
    match id.and_then(|id| Some((id, session.peek_handle(id)?.line()))) {
        Some((id, line)) => {
            prompt.recent.clear();
            prompt.take_back(&[id]);
            prompt.note_steps();
            prompt.say(&format!("removed {line}\n"));
        }
        None => prompt.refuse(&format!("`{name}` is no living object"), "`:ls` lists them"),
    }
    Next::Entry
}

/// Hands an object over.
pub(super) fn keep(prompt: &mut Prompt, words: &str) -> Next {
    let Some(id) = handle(prompt, "keep", words) else { return Next::Entry };
    let session = prompt.script.shell().session().clone();
    match session.keep(id) {
        Ok(()) => {
            let line = session.peek_handle(id).map(|thing| thing.line()).unwrap_or_default();
            prompt.say(&format!("{line} outlives the session; `cshell gc --kept` removes it\n"));
        }
        Err(error) => prompt.fail(&crate::script::interactive::Interactive::report(&error)),
    }
    Next::Entry
}

/// The object that the words of a command name: a variable, or a number as `:ls` shows it.
pub(super) fn handle(prompt: &Prompt, command: &str, words: &str) -> Option<HandleId> {
    let live = prompt.script.shell().session().live();
    let number = words.trim_start_matches('#');
    let by_number = || live.iter().find(|live| live.id.to_string() == number).map(|live| live.id);
    let found = prompt
        .script
        .names()
        .handle(words)
        .filter(|id| live.iter().any(|live| live.id == *id))
        .or_else(by_number);
    if found.is_none() {
        let what = match words {
            "" => format!(":{command} needs an object: a variable, or a number that `:ls` shows"),
            words => format!(":{command}: `{words}` is no living object"),
        };
        prompt.refuse(&what, "`:ls` lists them");
    }
    found
}
