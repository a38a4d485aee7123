//! The prompt: entries are run as they come, objects of the kernel are shown as living values, and everything that was
//! made is taken back at the end.
//!
//! * [`input`], [`editor`]: where entries come from. [`scan`], [`highlight`], [`complete`]: what helps while typing.
//! * [`command`]: the commands, which begin with a colon. One file for each group; **a new one is a line of its table.**
//! * [`show`]: how values look. [`log`]: what was entered, and what it made. [`recent`]: the steps of the last entry.

mod command;
mod complete;
mod editor;
mod highlight;
mod input;
mod log;
pub mod recent;
mod recipe;
mod scan;
mod show;
mod terminal;

use crate::error::Result;
use crate::runtime::cancel;
use crate::runtime::session::HandleId;
use crate::script::interactive::{Answer, Interactive};
use crate::script::report::{Report, full_text};
use crate::script::shell::Shell;
use crate::text::report;
use input::{Guide, Input, Plain, Typed};
use log::{Entry, Log};
use recent::{Recent, Told};
use rustyline::completion::Pair;
use show::Screen;
use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How a prompt is opened.
#[derive(Debug, Default)]
pub struct Options {
    /// What is run before the first entry: its name and its text.
    pub first: Option<(String, String)>,
    /// Where lines are kept for the next time, if they are.
    pub history: Option<PathBuf>,
}

/// How a prompt ended. What it made is still there: the session is closed by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was left, or `exit` was called, with this code.
    Exit(u8),
    /// A signal ended it.
    Stopped,
}

/// What goes on after an entry.
enum Next {
    Entry,
    End(Ending),
}

/// See the [module](self).
struct Prompt {
    script: Interactive,
    recent: Recent,
    screen: Screen,
    log: Log,
    /// The steps of the last entry that had any, and how many more there were.
    steps: (Vec<Told>, usize),
    /// Whether the last entry had any.
    fresh: bool,
    /// How long the last entry ran.
    took: Duration,
    /// What is typed already when the next entry is asked for.
    initial: String,
    /// Whether each entry's steps are shown.
    tracing: bool,
}

const PROMPT: &str = "cshell> ";

/// Runs a prompt until it is left.
///
/// # Errors
/// When the terminal cannot be used.
pub fn run(shell: &Rc<Shell>, recent: Recent, options: Options) -> Result<Ending> {
    let saved = terminal::Saved::now();
    let mut prompt = Prompt {
        script: Interactive::new(shell),
        recent,
        screen: terminal::screen(),
        log: Log::default(),
        steps: Default::default(),
        fresh: false,
        took: Duration::ZERO,
        initial: String::new(),
        tracing: false,
    };
    let person = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let mut input = match person && terminal::can_edit() {
        true => Input::Editor(editor::Editor::new(options.history, prompt.screen.colour)?),
        false => Input::Plain(Plain::default()),
    };
    if person {
        let version = env!("CARGO_PKG_VERSION");
        prompt.say(&format!("cshell {version}: `:help` explains, Tab completes, Ctrl-D leaves\n"));
    }
    if let Some((name, text)) = options.first
        && let Next::End(ending) = prompt.run_file(&name, &text)
    {
        return Ok(prompt.leave(ending, person));
    }
    let ending = prompt.entries(&mut input);
    saved.restore();
    ending.map(|ending| prompt.leave(ending, person))
}

impl Prompt {
    fn entries(&mut self, input: &mut Input) -> Result<Ending> {
        loop {
            self.screen.width = terminal::screen().width;
            let initial = std::mem::take(&mut self.initial);
            let shell = self.script.shell().clone();
            let text = match input.read(PROMPT, &initial, &shell, self)? {
                Typed::Line(text) => text,
                Typed::Cancelled => continue,
                Typed::End => return Ok(Ending::Exit(0)),
                Typed::Stopped => return Ok(Ending::Stopped),
            };
            if let Next::End(ending) = self.entry(&text) {
                return Ok(ending);
            }
        }
    }

    /// Runs an entry: a command, or code.
    fn entry(&mut self, text: &str) -> Next {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Next::Entry;
        }
        match trimmed.strip_prefix(':') {
            Some(words) => command::run(self, words),
            None => self.run_code(text),
        }
    }

    /// Runs code that was typed.
    fn run_code(&mut self, text: &str) -> Next {
        let (answer, made) = self.observe(|script| script.run(text));
        let valued = matches!(answer, Answer::Value(_));
        let ok = valued || matches!(answer, Answer::Nothing);
        self.log.add(Entry { text: text.to_owned(), ok, valued, made, undone: false });
        self.tell(answer)
    }

    /// Runs a file as if it had been typed.
    fn run_file(&mut self, name: &str, text: &str) -> Next {
        let (answer, made) = self.observe(|script| script.run_file(name, text));
        let ok = matches!(answer, Answer::Value(_) | Answer::Nothing);
        self.log.add(Entry { text: text.to_owned(), ok, valued: false, made, undone: false });
        self.tell(answer)
    }

    /// Runs something, and notes its steps, its time and what it made that is still there. What is stopped by Ctrl-C
    /// leaves nothing.
    fn observe(&mut self, run: impl FnOnce(&mut Interactive) -> Answer) -> (Answer, Vec<HandleId>) {
        let before = self.live();
        let mark = self.script.mark();
        self.recent.clear();
        let started = Instant::now();
        let answer = run(&mut self.script);
        self.took = started.elapsed();
        let mut made: Vec<HandleId> = self.live().difference(&before).copied().collect();
        if matches!(answer, Answer::Stopped(signal) if is_interrupt(signal)) {
            cancel::shielded(|| self.take_back(&std::mem::take(&mut made)));
            self.script.forget_since(mark);
            cancel::clear();
        }
        self.note_steps();
        (answer, made)
    }

    /// The handles that are open.
    fn live(&self) -> BTreeSet<HandleId> {
        self.script.shell().session().live().iter().map(|live| live.id).collect()
    }

    /// Takes objects back, newest first. How many there were.
    fn take_back(&mut self, made: &[HandleId]) -> usize {
        let session = self.script.shell().session().clone();
        for id in made.iter().rev() {
            if let Err(error) = session.close_handle(*id) {
                self.complain(&report::warning(&format!("could not undo: {}", full_text(&error))));
            }
        }
        made.len()
    }

    /// Keeps the steps of what just ran. An entry that changed nothing leaves those before it.
    fn note_steps(&mut self) {
        let steps = self.recent.take();
        self.fresh = !steps.0.is_empty();
        if self.fresh {
            self.steps = steps;
        }
    }

    /// Says how an entry ended.
    fn tell(&mut self, answer: Answer) -> Next {
        if self.tracing && self.fresh {
            let text: String = self.steps.0.iter().map(|told| told.text.as_str()).collect();
            self.say(&self.screen.dim(&text));
        }
        match answer {
            Answer::Value(look) => self.page(&show::show(&look, self.screen)),
            Answer::Nothing => {}
            Answer::Failed(report) => self.fail(&report),
            Answer::Stopped(signal) if is_interrupt(signal) => self.say("interrupted\n"),
            Answer::Stopped(_) => return Next::End(Ending::Stopped),
            Answer::Exit(code) => return Next::End(Ending::Exit(code)),
        }
        Next::Entry
    }

    /// Says what is removed now, to a person.
    fn leave(&self, ending: Ending, person: bool) -> Ending {
        let live = self.script.shell().session().live();
        if person && !live.is_empty() {
            let count = if live.len() == 1 { "1 object".into() } else { format!("{} objects", live.len()) };
            let lines =
                live.iter().map(|live| format!("  {}\n", show::fit(&live.line, self.screen.width - 2)));
            self.say(&format!("removing {count}:\n{}", lines.collect::<String>()));
        }
        ending
    }

    /// Shows a text; the rest of a long one is only counted.
    fn page(&self, text: &str) {
        let (shown, more) = show::cut(text, show::LINES);
        self.say(shown);
        if more > 0 && std::io::stdout().is_terminal() {
            self.say(&self.screen.dim(&format!("… {more} more lines: `:page` shows all\n")));
        } else {
            self.say(&text[shown.len()..]);
        }
    }

    fn fail(&self, report: &Report) {
        self.complain(&report::render(report, &|name| self.script.shell().source(name)));
    }

    fn say(&self, text: &str) {
        self.script.shell().write_out(text.as_bytes());
    }

    fn complain(&self, text: &str) {
        // What was said before comes before.
        let _ = std::io::stdout().flush();
        self.script.shell().write_err(text.as_bytes());
    }
}

fn is_interrupt(signal: i32) -> bool {
    signal == nix::libc::SIGINT
}

impl Guide for Prompt {
    fn complete(&self, line: &str, pos: usize) -> (usize, Vec<Pair>) {
        complete::complete(&self.script.names(), self.script.shell().session().dirs(), line, pos)
    }

    fn hint(&self, line: &str, pos: usize) -> Option<String> {
        complete::hint(&self.script.names(), line, pos)
    }

    fn is_incomplete(&self, text: &str) -> bool {
        !text.trim_start().starts_with(':')
            && !text.trim().is_empty()
            && (scan::is_open(&scan::tokens(text)) || self.script.is_incomplete(text))
    }

    fn show_raised(&self) {
        if let Some(report) = self.script.raised() {
            self.fail(&report);
        }
    }
}
