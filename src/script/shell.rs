//! What one run of a script shares: the session, the arguments, the sources read so far.

use crate::runtime::session::Session;
use crate::script::hooks::Hooks;
use crate::script::lines::Lines;
use crate::script::suite::Suite;
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
    sources: RefCell<BTreeMap<String, Rc<str>>>,
    exit: Cell<Option<u8>>,
    pipe_closed: Cell<bool>,
    hooks: Hooks,
    lines: Lines,
    suite: Suite,
    out: RefCell<Option<Box<dyn Out>>>,
    watcher: RefCell<Option<Rc<dyn Watcher>>>,
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
        self.sources.borrow_mut().insert(name.to_owned(), text.into());
    }

    /// The text of a source that was read.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<Rc<str>> {
        self.sources.borrow().get(name).cloned()
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
