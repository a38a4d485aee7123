//! `:break`, `:clear`, `:step`, `:where`, `:up`, `:down`, `:leave`: stops in scripts, and where one has failed.

use crate::repl::desk::Desk;
use crate::repl::stop::{name_of, named};
use crate::repl::{Next, Prompt, lesson};
use crate::script::bind::BINDINGS;
use crate::script::debug::Spot;
use crate::script::native::Form;
use crate::script::options::nearest;
use crate::script::report::unknown_function;
use crate::script::source;
use std::fmt::Write;
use std::path::Path;

/// Sets a breakpoint, lists them, or removes one.
pub(super) fn command(prompt: &mut Prompt, words: &str) -> Next {
    let file = prompt.file.clone();
    set(&prompt.desk, words, file.as_deref());
    Next::Entry
}

/// Removes a breakpoint.
pub(super) fn clear_command(prompt: &mut Prompt, words: &str) -> Next {
    clear(&prompt.desk, words);
    Next::Entry
}

/// Sets the breakpoint that `words` name, in `file` where only a line is given; without words, lists all.
pub(in crate::repl) fn set(desk: &Desk, words: &str, file: Option<&str>) {
    if words.is_empty() {
        return list(desk);
    }
    if let Some(number) = words.strip_prefix('-') {
        return clear(desk, number);
    }
    let spot = match words.rsplit_once(':') {
        _ if words.parse::<usize>().is_ok() => match file {
            Some(file) => line(desk, file, words),
            None => Err("a line needs a file: no script was run so far".to_owned()),
        },
        Some((file, number)) if !file.ends_with(':') && number.parse::<usize>().is_ok() => {
            line(desk, file, number)
        }
        _ => call(words),
    };
    match spot {
        Ok((spot, note)) => {
            let number = desk.debug.add(spot.clone());
            desk.say(&format!("breakpoint {number} at {spot}{note}\n"));
        }
        Err(what) => {
            desk.refuse(&what, ":break fs::overlay, :break make_root, :break build.rhai:12, :break .exec");
        }
    }
}

fn list(desk: &Desk) {
    let spots = desk.debug.spots();
    if spots.is_empty() {
        desk.say("there are no breakpoints\n");
    }
    spots.iter().for_each(|(number, spot)| desk.say(&format!("{number}  {spot}\n")));
}

/// Removes the breakpoint of a number.
pub(in crate::repl) fn clear(desk: &Desk, words: &str) {
    match words.parse::<usize>() {
        Ok(number) if desk.debug.remove(number) => desk.say(&format!("breakpoint {number} is removed\n")),
        _ => desk.refuse(&format!("there is no breakpoint `{words}`"), "`:break` lists them"),
    }
}

type Found = Result<(Spot, String), String>;

/// A breakpoint at a line, or at the next one that has a statement.
fn line(desk: &Desk, file: &str, number: &str) -> Found {
    let asked: usize = number.parse().map_err(|_| format!("`{number}` is no line"))?;
    let text = match desk.shell.source(file) {
        Some(text) => text.to_string(),
        None => source::read(Path::new(file)).map_err(|error| error.to_string())?,
    };
    let lines = source::statement_lines(&text).map_err(|error| format!("{file} does not parse: {error}"))?;
    let Some(found) = lines.into_iter().find(|line| *line >= asked) else {
        return Err(format!("{file} has no statement at line {asked} or after it"));
    };
    let note = if found == asked { String::new() } else { format!(": line {asked} has no statement") };
    Ok((Spot::Line(file.to_owned(), found), note))
}

/// A breakpoint before a call.
fn call(words: &str) -> Found {
    let name = words.trim_end_matches("()");
    let is_word = |name: &str| !name.is_empty() && name.chars().all(crate::repl::scan::is_word);
    if let Some((owner, method)) = name.rsplit_once('.') {
        let natives = BINDINGS.iter().flat_map(|binding| binding.natives);
        let methods: Vec<_> = natives.filter(|native| native.form == Form::Method).collect();
        let fits = |op: &str| if owner.is_empty() { op.ends_with(&format!(".{method}")) } else { op == name };
        if !methods.iter().any(|native| fits(native.op)) {
            let near = nearest(name, methods.iter().map(|native| native.op));
            let near = near.map_or_else(String::new, |near| format!(", did you mean `{near}`?"));
            return Err(format!("there is no method `{name}`{near}"));
        }
        let note = if owner.is_empty() { "" } else { ": of any value, its type is known when it runs" };
        return Ok((Spot::Call(format!(".{method}")), note.to_owned()));
    }
    if let Some((module, function)) = name.rsplit_once("::") {
        let known = BINDINGS.iter().find(|binding| binding.name == module);
        if let Some(binding) = known
            && binding.function(function).is_none()
        {
            let (what, hint) = unknown_function(name, 0).unwrap_or((format!("there is no `{name}`"), None));
            return Err(format!("{what}{}", hint.map_or_else(String::new, |hint| format!(", {hint}"))));
        }
        let note = if known.is_some() { "" } else { ": where a module is imported by this name" };
        return Ok((Spot::Call(name.to_owned()), note.to_owned()));
    }
    match is_word(name) {
        true => Ok((Spot::Call(name.to_owned()), String::new())),
        false => Err(format!("`{words}` is neither a function nor a line")),
    }
}

/// Runs a script statement by statement, or says that nothing is stopped.
pub(super) fn step(prompt: &mut Prompt, words: &str) -> Next {
    if words.is_empty() {
        return nothing_stopped(prompt, words);
    }
    match source::read(Path::new(words)) {
        Ok(text) => {
            prompt.script.debug().step();
            prompt.run_file(words, &text)
        }
        Err(error) => {
            prompt.fail(&crate::script::interactive::Interactive::report(&error));
            Next::Entry
        }
    }
}

/// Goes back to the session from where a script failed; else nothing is stopped.
pub(super) fn go_on(prompt: &mut Prompt, words: &str) -> Next {
    if prompt.script.leave_fallen() {
        prompt.say("back in the session\n");
        return Next::Entry;
    }
    nothing_stopped(prompt, words)
}

/// The next page, where the tutorial is open; at a stop its own `:next` is heard.
pub(super) fn next(prompt: &mut Prompt, words: &str) -> Next {
    if prompt.lesson.is_some() { lesson::turn(prompt, true) } else { nothing_stopped(prompt, words) }
}

/// Says that nothing is stopped.
pub(super) fn nothing_stopped(prompt: &mut Prompt, _: &str) -> Next {
    prompt.refuse(
        "no script is stopped",
        "`:step FILE` stops at its first line; `:break`, then `:load FILE`, where you say",
    );
    Next::Entry
}

/// Lists the functions in which a script has failed.
pub(super) fn calls(prompt: &mut Prompt, words: &str) -> Next {
    let calls = prompt.script.calls();
    if calls.is_empty() {
        return nothing_stopped(prompt, words);
    }
    let mut out = String::new();
    for (name, place, here) in calls {
        let _ = writeln!(out, "{} {} at {}", if here { "->" } else { "  " }, name_of(&name), named(&place));
    }
    prompt.say(&out);
    Next::Entry
}

/// Looks at the function that called the one that is looked at.
pub(super) fn up(prompt: &mut Prompt, words: &str) -> Next {
    move_frame(prompt, words, true)
}

/// Looks at the function that the one that is looked at had called.
pub(super) fn down(prompt: &mut Prompt, words: &str) -> Next {
    move_frame(prompt, words, false)
}

fn move_frame(prompt: &mut Prompt, words: &str, out: bool) -> Next {
    if prompt.script.calls().is_empty() {
        return nothing_stopped(prompt, words);
    }
    if prompt.script.move_frame(out) {
        prompt.show_fallen();
    } else {
        prompt.say(if out {
            "this is the outermost function: `:leave` goes back to the session\n"
        } else {
            "this is the innermost function\n"
        });
    }
    Next::Entry
}
