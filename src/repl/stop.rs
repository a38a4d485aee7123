//! Where a script has stopped: its line, its variables, and how to go on.

use crate::repl::complete;
use crate::repl::desk::Desk;
use crate::repl::input::{Guide, Typed};
use crate::repl::{command, is_interrupt, scan, show};
use crate::runtime::cancel;
use crate::script::debug::{Resume, Stopped, Stopper};
use crate::script::error::Place;
use crate::script::interactive::Answer;
use crate::script::options::did_you_mean;
use rustyline::completion::Pair;
use std::collections::BTreeSet;
use std::fmt::Write;

/// Words that go on from a stop; the first letter is enough.
const WAYS: &[(&str, Resume, &str)] = &[
    ("next", Resume::Next, "Runs to the next statement of this function."),
    ("step", Resume::Step, "Runs to the next statement, into functions."),
    ("out", Resume::Out, "Runs to the end of this function."),
    ("continue", Resume::Continue, "Runs to the next breakpoint."),
    ("quit", Resume::Quit, "Gives the run up; what it made stays in the session."),
];
/// The other words, with what they do.
const OTHERS: &[(&str, &str)] = &[
    ("vars", "Lists the variables of this place."),
    ("where", "Lists the functions that were called, and where they are."),
    ("list", "Shows the lines around."),
    ("ls", "Lists the living objects."),
    ("break", "Sets a breakpoint, or lists them: `:break fs::overlay`, `:break 12`."),
    ("clear", "Removes a breakpoint by its number."),
    ("help", "Shows this, or explains a name."),
];
/// How many variables are shown at each stop.
const VARIABLES: usize = 8;

impl Stopper for Desk {
    fn stopped(&self, at: &mut dyn Stopped) -> Resume {
        self.show_stop(at);
        let place = at.place();
        let prompt = format!("{}> ", short(&place));
        loop {
            let guide = Reader { desk: self, at };
            let typed = self.input.borrow_mut().read(&prompt, "", &self.shell, &guide);
            let text = match typed {
                Ok(Typed::Line(text)) => text,
                Ok(Typed::Cancelled) => continue,
                // As in other debuggers: nobody is left to go on.
                Ok(Typed::End | Typed::Stopped) | Err(_) => return Resume::Quit,
            };
            match text.trim() {
                "" => return self.resume.get(),
                words if words.starts_with(':') => {
                    if let Some(resume) = self.stop_command(at, words.trim_start_matches(':')) {
                        self.resume.set(resume);
                        return resume;
                    }
                }
                _ => {
                    if let Some(resume) = self.evaluate(at, &text) {
                        return resume;
                    }
                }
            }
        }
    }
}

impl Desk {
    fn show_stop(&self, at: &dyn Stopped) {
        let place = at.place();
        let spot = at.breakpoint().map_or_else(String::new, |spot| format!(", breakpoint {spot}"));
        let function = at.calls().into_iter().next().map(|(name, _)| name).filter(|name| !name.is_empty());
        let inside = function.map_or_else(String::new, |name| format!(" in {}", name_of(&name)));
        let screen = self.screen.get();
        self.say(&screen.bold(&format!("stopped{inside} at {}{spot}\n", named(&place))));
        self.say(&self.excerpt(&place, 2));
        let variables = at.names().variables();
        let mut out = String::new();
        let widest =
            variables.iter().take(VARIABLES).map(|known| known.name.len()).max().unwrap_or(0).min(20);
        for known in variables.iter().take(VARIABLES) {
            let room = screen.width.saturating_sub(widest + 5);
            let value = show::fit(&show::line(&known.look), room);
            let _ = writeln!(out, "  {:<widest$} = {value}", show::fit(&known.name, 20));
        }
        if variables.len() > VARIABLES {
            let _ = writeln!(out, "  … {} more: :vars", variables.len() - VARIABLES);
        }
        self.say(&screen.dim(&out));
    }

    /// The lines around a place, the line itself marked.
    pub(super) fn excerpt(&self, place: &Place, around: usize) -> String {
        let (Some(text), Some(line)) = (self.shell.source(&place.source), place.position.line()) else {
            return String::new();
        };
        let first = line.saturating_sub(around).max(1);
        let screen = self.screen.get();
        let mut out = String::new();
        for (index, code) in text.lines().enumerate().skip(first - 1).take(line - first + around + 1) {
            let number = index + 1;
            let mark = if number == line { "->" } else { "  " };
            let code = show::fit(code, screen.width.saturating_sub(10));
            let shown = format!("{mark} {number:>4} | {code}");
            let _ = writeln!(out, "{}", if number == line { screen.bold(&shown) } else { shown });
        }
        out
    }

    fn stop_command(&self, at: &mut dyn Stopped, words: &str) -> Option<Resume> {
        let (name, rest) = words.trim().split_once(char::is_whitespace).unwrap_or((words.trim(), ""));
        let ways = WAYS.iter().map(|(name, ..)| *name);
        let all: Vec<&str> = ways.chain(OTHERS.iter().map(|(name, _)| *name)).collect();
        let Some(found) = all.iter().find(|known| !name.is_empty() && known.starts_with(name)) else {
            let near = did_you_mean(name, all);
            self.refuse(&format!("there is no command `:{name}` at a stop{near}"), "`:help` lists them");
            return None;
        };
        if let Some((_, resume, _)) = WAYS.iter().find(|(name, ..)| name == found) {
            return Some(*resume);
        }
        match *found {
            "vars" => self.page(&command::objects::variables(&at.names().variables(), self.screen.get())),
            "where" => self.say(&calls(&at.calls())),
            "list" => self.say(&self.excerpt(&at.place(), 8)),
            "ls" => self.page(&command::objects::living(&self.shell, &at.names(), self.screen.get())),
            "break" => command::stops::set(self, rest.trim(), Some(&at.place().source)),
            "clear" => command::stops::clear(self, rest.trim()),
            _ if rest.is_empty() => self.say(&help()),
            _ => command::view::topic(self, &at.names(), rest.trim()),
        }
        None
    }

    /// Runs code with the variables of the stop. What is stopped by Ctrl-C leaves nothing.
    fn evaluate(&self, at: &mut dyn Stopped, text: &str) -> Option<Resume> {
        let session = self.shell.session();
        let live = || -> BTreeSet<_> { session.live().iter().map(|live| live.id).collect() };
        let before = live();
        match at.evaluate(text) {
            Answer::Value(look) => self.page(&show::show(&look, self.screen.get())),
            Answer::Nothing | Answer::Left => {}
            Answer::Failed(report) => self.fail(&report),
            Answer::Stopped(signal) if is_interrupt(signal) => {
                cancel::shielded(|| {
                    for id in live().iter().rev().filter(|id| !before.contains(id)) {
                        if let Err(error) = session.close_handle(*id) {
                            self.fail(&crate::script::report::Report::of_error(&error));
                        }
                    }
                });
                cancel::clear();
                self.say("interrupted\n");
            }
            Answer::Stopped(_) | Answer::Exit(_) => return Some(Resume::Quit),
        }
        None
    }
}

/// A place as a person names it: `build.rhai:12`.
pub(super) fn named(place: &Place) -> String {
    match place.position.line() {
        Some(line) => format!("{}:{line}", place.source),
        None => place.source.clone(),
    }
}

/// A place for a prompt: without its folders.
pub(super) fn short(place: &Place) -> String {
    let text = named(place);
    text.rsplit('/').next().unwrap_or(&text).to_owned()
}

/// A function as a person names it.
pub(super) fn name_of(name: &str) -> String {
    match name {
        "" => "the script".to_owned(),
        name if name.starts_with("anon$") => "a closure".to_owned(),
        name => name.to_owned(),
    }
}

/// The functions that were called, innermost first.
fn calls(calls: &[(String, Place)]) -> String {
    let mut out = String::new();
    for (index, (name, place)) in calls.iter().enumerate() {
        let mark = if index == 0 { "->" } else { "  " };
        let _ = writeln!(out, "{mark} {} at {}", name_of(name), named(place));
    }
    out
}

fn help() -> String {
    let mut out = String::from(
        "Code runs with the variables of this place. An empty line goes on as the last time.\n\n",
    );
    let ways = WAYS.iter().map(|(name, _, about)| (name, about));
    for (name, about) in ways.chain(OTHERS.iter().map(|(name, about)| (name, about))) {
        let _ = writeln!(out, "  :{name:<10} {about}");
    }
    out
}

/// Completes with the names of a stop.
struct Reader<'a> {
    desk: &'a Desk,
    at: &'a dyn Stopped,
}

impl Guide for Reader<'_> {
    fn complete(&self, line: &str, pos: usize) -> (usize, Vec<Pair>) {
        if let Some(word) = line[..pos].strip_prefix(':').filter(|word| !word.contains(' ')) {
            let names = WAYS.iter().map(|(name, ..)| *name).chain(OTHERS.iter().map(|(name, _)| *name));
            let fits = names.filter(|name| name.starts_with(word));
            let pair = |name: &str| Pair { display: name.to_owned(), replacement: format!("{name} ") };
            return (1, fits.map(pair).collect());
        }
        complete::complete(&self.at.names(), self.desk.shell.session().dirs(), line, pos)
    }

    fn hint(&self, line: &str, pos: usize) -> Option<String> {
        if line.starts_with(':') { None } else { complete::hint(&self.at.names(), line, pos) }
    }

    fn is_incomplete(&self, text: &str) -> bool {
        let tokens = scan::tokens(text);
        !text.trim_start().starts_with(':')
            && (scan::is_open(&tokens) || scan::has_open_bracket(text, &tokens))
    }

    fn show_raised(&self) {
        // The error of a function that is called at an event is told by the run.
    }
}
