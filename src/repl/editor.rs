//! A line from a person at a terminal: keys, history, completion, colours (rustyline).
//!
//! The editor blocks on the keys, so it has a thread of its own for the time of one line, and asks the main thread, which
//! alone knows the language and the session, for completions and hints. The main thread also hears of events and signals
//! meanwhile: what is written then goes above the line. While anything runs there is one thread, which the
//! kernel asks for (setns(2) into time and mount namespaces).

use crate::error::{Error, Result};
use crate::repl::highlight;
use crate::repl::input::{Guide, PACE, Typed, attend_to};
use crate::runtime::attend;
use crate::runtime::cancel;
use crate::runtime::proc::background;
use crate::script::shell::{Out, Shell};
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{
    Cmd, ColorMode, CompletionType, Config, Context, EventHandler, ExternalPrinter, Helper, KeyCode,
    KeyEvent, Modifiers,
};
use std::borrow::Cow;
use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::JoinHandle;

const OP: &str = "prompt";

type Rustyline = rustyline::Editor<Asker, FileHistory>;
type Ended = (Box<Rustyline>, rustyline::Result<String>);

/// What the editor asks while a line is typed.
enum Ask {
    Complete(String, usize, mpsc::Sender<(usize, Vec<Pair>)>),
    Hint(String, usize, mpsc::Sender<Option<String>>),
    More(String, mpsc::Sender<bool>),
    /// The line is there: the thread ends.
    Done,
}

/// The editor's side of the questions.
struct Asker {
    ask: mpsc::Sender<Ask>,
    /// Wakes the main thread.
    wake: UnixStream,
    colour: bool,
}

impl Asker {
    /// The answer of the main thread; `None` when that no longer listens.
    fn ask<T>(&self, question: impl FnOnce(mpsc::Sender<T>) -> Ask) -> Option<T> {
        let (reply, answer) = mpsc::channel();
        self.ask.send(question(reply)).ok()?;
        (&self.wake).write_all(&[0]).ok()?;
        answer.recv().ok()
    }
}

impl Helper for Asker {}

impl Completer for Asker {
    type Candidate = Pair;
    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let found = self.ask(|reply| Ask::Complete(line.to_owned(), pos, reply));
        Ok(found.unwrap_or((pos, Vec::new())))
    }
}

impl Hinter for Asker {
    type Hint = Shown;
    fn hint(&self, line: &str, pos: usize, _: &Context<'_>) -> Option<Shown> {
        if pos < line.len() || line.is_empty() {
            return None;
        }
        self.ask(|reply| Ask::Hint(line.to_owned(), pos, reply)).flatten().map(Shown)
    }
}

/// A hint is looked at: no key takes it over.
struct Shown(String);

impl rustyline::hint::Hint for Shown {
    fn display(&self) -> &str {
        &self.0
    }
    fn completion(&self) -> Option<&str> {
        None
    }
}

impl Validator for Asker {
    fn validate(&self, ctx: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = ctx.input().to_owned();
        // Two empty lines end an entry that cannot be ended otherwise: its error is then told.
        if text.ends_with("\n\n") {
            return Ok(ValidationResult::Valid(None));
        }
        let more = self.ask(|reply| Ask::More(text, reply)).unwrap_or(false);
        Ok(if more { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

impl Highlighter for Asker {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if self.colour { highlight::line(line).into() } else { line.into() }
    }
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        if self.colour { format!("\x1b[1;32m{prompt}\x1b[0m").into() } else { prompt.into() }
    }
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        if self.colour { format!("\x1b[2m{hint}\x1b[0m").into() } else { hint.into() }
    }
    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        self.colour && kind != CmdKind::MoveCursor
    }
}

/// See the [module](self).
pub(super) struct Editor {
    /// With us while no line is typed.
    inner: Option<Box<Rustyline>>,
    thread: Option<JoinHandle<Ended>>,
    asks: mpsc::Receiver<Ask>,
    wake: UnixStream,
    history: Option<PathBuf>,
}

impl std::fmt::Debug for Editor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "editor with history {:?}", self.history)
    }
}

impl Editor {
    /// An editor at the standard input. Lines are kept in the file `history`, if there is one.
    ///
    /// # Errors
    /// When the terminal cannot be used.
    pub(super) fn new(history: Option<PathBuf>, colour: bool) -> Result<Self> {
        let (wake, theirs) =
            UnixStream::pair().map_err(|error| Error::io(OP, "cannot make a socket", error))?;
        let nonblocking = wake.set_nonblocking(true);
        nonblocking.map_err(|error| Error::io(OP, "cannot set up a socket", error))?;
        let (ask, asks) = mpsc::channel();
        let mut inner = Rustyline::with_config(config(colour)).map_err(|error| failed(&error))?;
        inner.set_helper(Some(Asker { ask, wake: theirs, colour }));
        let newline = KeyEvent(KeyCode::Enter, Modifiers::ALT);
        inner.bind_sequence(newline, EventHandler::Simple(Cmd::Newline));
        if let Some(file) = &history {
            // The first time there is none.
            let _ = inner.load_history(file);
        }
        Ok(Self { inner: Some(Box::new(inner)), thread: None, asks, wake, history })
    }

    /// Reads one entry, which may be of more lines; `initial` is there already.
    ///
    /// # Errors
    /// When the terminal fails.
    pub(super) fn read(
        &mut self,
        prompt: &str,
        initial: &str,
        shell: &Shell,
        guide: &dyn Guide,
    ) -> Result<Typed> {
        let Some(mut inner) = self.inner.take() else { return Ok(Typed::End) };
        let printer = inner.create_external_printer().map_err(|error| failed(&error))?;
        shell.redirect(Some(Box::new(Above(RefCell::new(Box::new(printer))))));
        let (prompt, initial) = (prompt.to_owned(), initial.to_owned());
        self.thread = Some(self.start(inner, prompt, initial)?);
        let ended = self.serve(shell, guide);
        shell.redirect(None);
        match ended? {
            Some(result) => self.typed(result),
            // The thread still reads; the program ends.
            None => Ok(Typed::Stopped),
        }
    }

    /// Starts the thread. Signals are for the main thread, but for the one that tells of a new window size.
    fn start(&self, mut inner: Box<Rustyline>, prompt: String, initial: String) -> Result<JoinHandle<Ended>> {
        let mut blocked = SigSet::all();
        blocked.remove(Signal::SIGWINCH);
        let failed = |errno: nix::Error| Error::io(OP, "cannot block signals", errno.into());
        let before = blocked.thread_swap_mask(SigmaskHow::SIG_SETMASK).map_err(failed)?;
        let thread = std::thread::Builder::new().name("editor".into()).spawn(move || {
            let result = inner.readline_with_initial(prompt.as_str(), (&initial, ""));
            // The main thread sees that we are done.
            if let Some(helper) = inner.helper() {
                let _ = helper.ask.send(Ask::Done);
                let _ = (&helper.wake).write_all(&[0]);
            }
            (inner, result)
        });
        before.thread_set_mask().map_err(failed)?;
        thread.map_err(|error| Error::io(OP, "cannot start a thread", error))
    }

    /// Answers what the editor asks, and attends to events, until the line is there; `None` when a signal ends it all.
    fn serve(&mut self, shell: &Shell, guide: &dyn Guide) -> Result<Option<rustyline::Result<String>>> {
        loop {
            let wait = [PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
            let session = shell.session();
            background::with_poll_set(session, &wait, |fds| attend::idle(session, OP, fds, PACE))?;
            match cancel::requested() {
                Some(signal) if signal == Signal::SIGINT as i32 => cancel::clear(),
                Some(_) => return Ok(None),
                None => {}
            }
            // What is not there is no error of ours.
            let _ = self.wake.read(&mut [0; 64]);
            while let Ok(ask) = self.asks.try_recv() {
                match ask {
                    Ask::Done => return Ok(self.join()),
                    ask => answer(ask, guide),
                }
            }
            attend_to(shell, guide);
        }
    }

    fn join(&mut self) -> Option<rustyline::Result<String>> {
        // A panic there was told by the hook.
        let (inner, result) = self.thread.take()?.join().ok()?;
        self.inner = Some(inner);
        Some(result)
    }

    fn typed(&mut self, result: rustyline::Result<String>) -> Result<Typed> {
        match result {
            Ok(line) => {
                self.remember(&line);
                Ok(Typed::Line(line))
            }
            Err(ReadlineError::Interrupted) => Ok(Typed::Cancelled),
            Err(ReadlineError::Eof) => Ok(Typed::End),
            // The window has a new size: the line is typed anew.
            Err(ReadlineError::Signal(_)) => Ok(Typed::Cancelled),
            // The terminal is gone.
            Err(ReadlineError::Io(error)) if error.raw_os_error() == Some(nix::libc::EIO) => Ok(Typed::End),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Adds a line to the history, and to its file at once: other prompts may add to that as well.
    fn remember(&mut self, line: &str) {
        let Some(inner) = &mut self.inner else { return };
        let added = inner.add_history_entry(line).unwrap_or(false);
        if let Some(file) = self.history.as_ref().filter(|_| added) {
            // A history that cannot be written is none; the session goes on.
            let _ = inner.append_history(file);
        }
    }
}

fn config(colour: bool) -> Config {
    let builder = Config::builder()
        .completion_type(CompletionType::List)
        .completion_prompt_limit(200)
        .color_mode(if colour { ColorMode::Enabled } else { ColorMode::Disabled })
        .history_ignore_space(true)
        .tab_stop(4)
        .indent_size(4)
        .bracketed_paste(true);
    match builder.clone().max_history_size(10_000).and_then(|builder| builder.history_ignore_dups(true)) {
        Ok(builder) => builder.build(),
        Err(_) => builder.build(),
    }
}

fn answer(ask: Ask, guide: &dyn Guide) {
    // An editor that no longer waits needs no answer.
    let _ = match ask {
        Ask::Complete(line, pos, reply) => reply.send(guide.complete(&line, pos)).is_ok(),
        Ask::Hint(line, pos, reply) => reply.send(guide.hint(&line, pos)).is_ok(),
        Ask::More(text, reply) => reply.send(guide.is_incomplete(&text)).is_ok(),
        Ask::Done => true,
    };
}

fn failed(error: &ReadlineError) -> Error {
    Error::io(OP, "the terminal failed", std::io::Error::other(error.to_string()))
}

/// Writes above the line that is being typed.
struct Above(RefCell<Box<dyn ExternalPrinter>>);

impl std::fmt::Debug for Above {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("above the line")
    }
}

impl Out for Above {
    fn write(&self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let text = if text.ends_with('\n') { text.into_owned() } else { format!("{text}\n") };
        // The terminal may be gone.
        let _ = self.0.borrow_mut().print(text);
    }
}
