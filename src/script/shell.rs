//! What one run of a script shares: the session, the arguments, the sources read so far.

use crate::runtime::session::Session;
use crate::script::hooks::Hooks;
use crate::script::lines::Lines;
use crate::script::suite::Suite;
use rhai::Position;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::rc::Rc;

/// The state behind the natives of one engine. Captured by them; there are no globals.
#[derive(Debug)]
pub struct Shell {
    session: Rc<Session>,
    script: String,
    args: Vec<OsString>,
    sources: RefCell<BTreeMap<String, Source>>,
    exit: Cell<Option<u8>>,
    pipe_closed: Cell<bool>,
    hooks: Hooks,
    lines: Lines,
    suite: Suite,
    out: RefCell<Option<Box<dyn Out>>>,
    watcher: RefCell<Option<Rc<dyn Watcher>>>,
}

/// A text that was read, and where its lines begin.
#[derive(Debug)]
struct Source {
    text: Rc<str>,
    lines: Vec<usize>,
}

impl Source {
    fn new(text: &str) -> Self {
        let behind = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text: text.into(), lines: std::iter::once(0).chain(behind).collect() }
    }

    /// Whether a call of a native stands at a place: of a function behind its module, of a method where its name is.
    fn has(&self, op: &str, at: Position) -> bool {
        let (module, name) = match op.rsplit_once("::") {
            Some((module, name)) => (module, name),
            None => ("", op.rsplit('.').next().unwrap_or(op)),
        };
        let (Some(line), Some(column)) = (at.line(), at.position()) else { return false };
        let Some(line) = self.lines.get(line - 1).and_then(|start| self.text.get(*start..)) else {
            return false;
        };
        // Columns are letters, and nearly all of them bytes.
        let at = line.char_indices().nth(column.saturating_sub(1)).map(|(at, _)| at);
        let Some((before, rest)) = at.and_then(|at| line.split_at_checked(at)) else { return false };
        let before = before.trim_end_matches(':').trim_end();
        rest.starts_with(name) && before.ends_with(module)
    }
}

/// Is told of each native call.
pub trait Watcher: std::fmt::Debug {
    /// It begins: what it is, the line that it is in, and its arguments as text.
    fn begins(&self, op: &str, place: &str, args: &dyn Fn() -> String);
    /// It has returned; the line that it is in.
    fn returned(&self, op: &str, place: &str);
}

/// Takes what is written to the standard output: an editor that has the terminal meanwhile.
pub trait Out: std::fmt::Debug {
    /// Takes text, whole lines or parts.
    fn write(&self, text: &[u8]);
}

impl Shell {
    /// The state of a run of `script`, a path or a name such as `<stdin>`, with the arguments after it.
    #[must_use]
    pub fn new(session: Rc<Session>, script: impl Into<String>, args: Vec<OsString>) -> Rc<Self> {
        Rc::new(Self {
            session,
            script: script.into(),
            args,
            sources: RefCell::default(),
            exit: Cell::new(None),
            pipe_closed: Cell::new(false),
            hooks: Hooks::default(),
            lines: Lines::default(),
            suite: Suite::default(),
            out: RefCell::default(),
            watcher: RefCell::new(None),
        })
    }

    /// The session that owns what the script makes.
    #[must_use]
    pub fn session(&self) -> &Rc<Session> {
        &self.session
    }

    /// What is called at events.
    #[must_use]
    pub fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    /// Where the lines of an interactive run came from.
    #[must_use]
    pub fn lines(&self) -> &Lines {
        &self.lines
    }

    /// The tests that it declares.
    #[must_use]
    pub fn suite(&self) -> &Suite {
        &self.suite
    }

    /// Has someone told of each native call, until it is told otherwise.
    pub fn watch(&self, watcher: Option<Rc<dyn Watcher>>) {
        self.watcher.replace(watcher);
    }

    /// Who is told of each native call.
    #[must_use]
    pub fn watcher(&self) -> Option<Rc<dyn Watcher>> {
        self.watcher.borrow().clone()
    }

    /// Has what is written to the standard output and error go elsewhere, until it is told otherwise.
    pub fn redirect(&self, to: Option<Box<dyn Out>>) {
        self.out.replace(to);
    }

    /// The path of the script as given, or `<code>`, `<stdin>`.
    #[must_use]
    pub fn script(&self) -> &str {
        &self.script
    }

    /// The arguments after the script.
    #[must_use]
    pub fn args(&self) -> &[OsString] {
        &self.args
    }

    /// Remembers the text of a source, for error messages.
    pub fn remember(&self, name: &str, text: &str) {
        self.sources.borrow_mut().insert(name.to_owned(), Source::new(text));
    }

    /// The source that a call of the native `op` is written in, of which the language says that it is `claimed`: the one that has the
    /// call at this place, if only one has.
    pub(super) fn source_of_call(&self, claimed: &str, at: Position, op: &str) -> String {
        let sources = self.sources.borrow();
        if sources.len() > 1 && !sources.get(claimed).is_some_and(|source| source.has(op, at)) {
            let mut found = sources.iter().filter(|(_, source)| source.has(op, at)).map(|(name, _)| name);
            if let (Some(name), None) = (found.next(), found.next()) {
                return name.clone();
            }
        }
        claimed.to_owned()
    }

    /// The text of a source that was read.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<Rc<str>> {
        self.sources.borrow().get(name).map(|source| source.text.clone())
    }

    /// The line of a source that a place such as `build.rhai:12` names.
    #[must_use]
    pub fn line_at(&self, place: &str) -> Option<String> {
        let (name, line) = place.rsplit_once(':')?;
        let line: usize = line.parse().ok()?;
        self.source(name)?.lines().nth(line.checked_sub(1)?).map(ToOwned::to_owned)
    }

    /// Says that the script called `exit(code)`.
    pub fn set_exit(&self, code: u8) {
        self.exit.set(Some(code));
    }

    /// Goes on after a script that called `exit`: for a prompt behind it.
    pub fn clear_exit(&self) {
        self.exit.set(None);
    }

    /// The code of `exit(code)`, if the script called it.
    #[must_use]
    pub fn exit_code(&self) -> Option<u8> {
        self.exit.get()
    }

    /// Writes text to the standard output. A reader that went away ends the script quietly.
    pub fn write_out(&self, text: &[u8]) {
        use std::io::Write;
        if let Some(other) = &*self.out.borrow() {
            return other.write(text);
        }
        let mut out = std::io::stdout().lock();
        if out.write_all(text).and_then(|()| out.flush()).is_err() {
            self.pipe_closed.set(true);
        }
    }

    /// Writes text to the standard error.
    pub fn write_err(&self, text: &[u8]) {
        use std::io::Write;
        if let Some(other) = &*self.out.borrow() {
            return other.write(text);
        }
        // Nobody is left to be told when this fails.
        let _ = std::io::stderr().lock().write_all(text);
    }

    /// Whether the reader of the standard output went away.
    #[must_use]
    pub fn pipe_closed(&self) -> bool {
        self.pipe_closed.get()
    }
}
