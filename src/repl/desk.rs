//! Where a person sits: what is asked and told goes through here, at the prompt and where a script has stopped.

use crate::repl::input::Input;
use crate::repl::show::{self, Screen};
use crate::repl::terminal;
use crate::runtime::proc::io;
use crate::script::debug::{Debug, Resume};
use crate::script::report::Report;
use crate::script::shell::Shell;
use crate::text::report;
use std::cell::{Cell, RefCell};
use std::io::{IsTerminal, Write};
use std::rc::Rc;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) shell: Rc<Shell>,
    pub(super) debug: Rc<Debug>,
    pub(super) input: RefCell<Input>,
    pub(super) screen: Cell<Screen>,
    /// The last way on from a stop, which an empty line repeats.
    pub(super) resume: Cell<Resume>,
}

impl Desk {
    /// Begins a new line where a command that wrote to the terminal itself has left the cursor behind a text. Where the
    /// cursor is can only be asked for, and the answer may never come: so a sign and a line of spaces are written, which
    /// stay on the line before if that is not empty, and are written over else.
    pub(super) fn fresh_line(&self) {
        let screen = self.screen.get();
        if io::take_lent() && std::io::stdout().is_terminal() && terminal::can_edit() {
            let spaces = " ".repeat(screen.width.saturating_sub(1));
            self.say(&format!("{}{spaces}\r\x1b[K", screen.dim("⏎")));
        }
    }

    /// Shows a text.
    pub(super) fn say(&self, text: &str) {
        self.shell.write_out(text.as_bytes());
    }

    /// Shows an error.
    pub(super) fn complain(&self, text: &str) {
        // What was said before comes before.
        let _ = std::io::stdout().flush();
        self.shell.write_err(text.as_bytes());
    }

    /// Shows what went wrong.
    pub(super) fn fail(&self, report: &Report) {
        self.complain(&report::render(report, &|name| self.shell.source(name)));
    }

    /// Says that a command cannot be done as it was written.
    pub(super) fn refuse(&self, what: &str, hint: &str) {
        let mut report = Report::plain(what, 2);
        report.hint = (!hint.is_empty()).then(|| hint.to_owned());
        self.fail(&report);
    }

    /// Shows a text; to a person, the rest of a long one is only counted.
    pub(super) fn page(&self, text: &str) {
        let (shown, more) = show::cut(text, show::LINES);
        self.say(shown);
        if more > 0 && std::io::stdout().is_terminal() {
            self.say(&self.screen.get().dim(&format!("… {more} more lines: `:page` shows all\n")));
        } else {
            self.say(&text[shown.len()..]);
        }
    }
}
