//! The prompt: entries are run as they come, objects of the kernel are shown as living values, and everything that was
//! made is taken back at the end.
//!
//! * `input`, `editor`: where entries come from. `scan`, `highlight`, `complete`: what helps while typing.
//! * `command`: the commands, which begin with a colon. One file for each group; **a new one is a line of its table.**
//! * `desk`: what is asked and told; `stop`: where a script has stopped.
//! * `show`: how values look. `log`: what was entered, and what it made. `recent`: the steps of the last entry.

mod command;
mod complete;
mod desk;
mod editor;
mod highlight;
mod input;
pub mod lesson;
mod log;
pub mod recent;
mod recipe;
mod scan;
mod show;
mod stop;
mod terminal;
mod watch;

use crate::error::Result;
use crate::runtime::cancel;
use crate::runtime::session::HandleId;
use crate::script::debug::Resume;
use crate::script::interactive::{Answer, Interactive};
use crate::script::report::{Report, full_text};
use crate::script::shell::Shell;
use crate::text::report;
use desk::Desk;
use input::{Guide, Input, Plain, Typed};
use log::{Entry, Log};
use recent::{Recent, Told};
use rustyline::completion::Pair;
use show::Screen;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io::IsTerminal;
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
    /// The tutorial, at a page or where it was left.
    pub tutorial: Option<Option<usize>>,
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
    desk: Rc<Desk>,
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
    /// The script that was run last.
    file: Option<String>,
    /// The tutorial, when it is open.
    lesson: Option<lesson::Lesson>,
    /// Where its progress is kept.
    progress: Option<PathBuf>,
}

const PROMPT: &str = "cshell> ";

/// Runs a prompt until it is left.
///
/// # Errors
/// When the terminal cannot be used.
pub fn run(shell: &Rc<Shell>, recent: Recent, options: Options) -> Result<Ending> {
    let saved = terminal::Saved::now();
    let person = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let screen = terminal::screen();
    let progress = options.history.as_ref().map(|history| history.with_file_name("tutorial-done"));
    let input = match person && terminal::can_edit() {
        true => Input::Editor(editor::Editor::new(options.history, screen.colour)?),
        false => Input::Plain(Plain::default()),
    };
    let mut prompt = Prompt::new(shell, recent, input, screen);
    if person {
        let version = env!("CARGO_PKG_VERSION");
        prompt.say(&format!("cshell {version}: `:help` explains, Tab completes, Ctrl-D leaves\n"));
    }
    prompt.progress = progress;
    if let Some(page) = options.tutorial {
        prompt.lesson = Some(lesson::Lesson::open(page, prompt.progress.clone()));
        prompt.show_page();
    }
    if let Some((name, text)) = options.first
        && let Next::End(ending) = prompt.run_file(&name, &text)
    {
        saved.restore();
        return Ok(prompt.leave(ending, person));
    }
    let ending = prompt.entries();
    saved.restore();
    ending.map(|ending| prompt.leave(ending, person))
}

impl Prompt {
    fn new(shell: &Rc<Shell>, recent: Recent, input: Input, screen: Screen) -> Self {
        let script = Interactive::new(shell);
        let debug = script.debug().clone();
        let desk = Rc::new(Desk {
            shell: shell.clone(),
            debug: debug.clone(),
            input: RefCell::new(input),
            screen: Cell::new(screen),
            resume: Cell::new(Resume::Next),
        });
        debug.set_stopper(desk.clone());
        Self {
            desk,
            script,
            recent,
            screen,
            log: Log::default(),
            steps: (Vec::new(), 0),
            fresh: false,
            took: Duration::ZERO,
            initial: String::new(),
            tracing: false,
            file: None,
            lesson: None,
            progress: None,
        }
    }

    fn entries(&mut self) -> Result<Ending> {
        loop {
            self.screen.width = terminal::screen().width;
            self.desk.screen.set(self.screen);
            let initial = std::mem::take(&mut self.initial);
            let desk = self.desk.clone();
            let prompt = self.prompt();
            let typed = desk.input.borrow_mut().read(&prompt, &initial, &desk.shell, self);
            let text = match typed? {
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

    /// What is shown before the cursor: where a script has failed, its place.
    fn prompt(&self) -> String {
        let here = self.script.calls().into_iter().find(|(_, _, here)| *here);
        here.map_or_else(|| PROMPT.to_owned(), |(_, place, _)| format!("{}> ", stop::short(&place)))
    }

    /// Says in which function a script has failed, and what can be looked at.
    fn show_fallen(&self) {
        let Some((name, place, _)) = self.script.calls().into_iter().find(|(_, _, here)| *here) else {
            return;
        };
        let (name, at) = (stop::name_of(&name), stop::named(&place));
        self.say(&format!("in {name} at {at}: its variables are here (:vars), what was made lives (:ls)\n"));
        self.say(&self.desk.excerpt(&place, 2));
        self.say(&self.screen.dim(":where lists the calls, :up and :down choose one, :leave goes back\n"));
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
        self.log.add(Entry {
            title: text.to_owned(),
            text: text.to_owned(),
            ok,
            valued,
            made,
            undone: false,
        });
        self.tell(answer)
    }

    /// Runs a file as if it had been typed.
    fn run_file(&mut self, name: &str, text: &str) -> Next {
        let (answer, made) = self.observe(|script| script.run_file(name, text));
        let ok = matches!(answer, Answer::Value(_) | Answer::Nothing);
        self.log.add(Entry {
            title: format!(":load {name}"),
            text: text.to_owned(),
            ok,
            valued: false,
            made,
            undone: false,
        });
        self.file = Some(name.to_owned());
        // A script that leaves does not take the prompt with it.
        if let (Answer::Exit(code), false) = (&answer, self.desk.shell.pipe_closed()) {
            self.desk.shell.clear_exit();
            self.say(&format!("{name} has called exit({code})\n"));
            return Next::Entry;
        }
        let next = self.tell(answer);
        self.show_fallen();
        next
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
        self.desk.fresh_line();
        if self.tracing && self.fresh {
            let text: String = self.steps.0.iter().map(|told| told.text.as_str()).collect();
            self.say(&self.screen.dim(&text));
        }
        match answer {
            Answer::Value(look) => self.page(&show::show(&look, self.screen)),
            Answer::Nothing => {}
            Answer::Left => self.say("the run was given up; what it made lives\n"),
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

    fn page(&self, text: &str) {
        self.desk.page(text);
    }

    fn fail(&self, report: &Report) {
        self.desk.fail(report);
    }

    fn refuse(&self, what: &str, hint: &str) {
        self.desk.refuse(what, hint);
    }

    fn say(&self, text: &str) {
        self.desk.say(text);
    }

    fn complain(&self, text: &str) {
        self.desk.complain(text);
    }
}

/// The commands of the prompt as they are written, with what they do.
pub fn commands() -> impl Iterator<Item = (String, &'static str)> {
    command::COMMANDS
        .iter()
        .map(|command| (format!(":{} {}", command.name, command.usage).trim_end().to_owned(), command.about))
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
