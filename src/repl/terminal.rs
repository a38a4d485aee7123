//! The terminal that a person sits at.

use crate::repl::show::Screen;
use crate::text::colour;
use rustix::stdio::{stdin, stdout};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::Write;

/// The state of the terminal before the prompt: given back at the end, whatever happened to the editor.
#[derive(Debug)]
pub(super) struct Saved(Option<Termios>);

impl Saved {
    /// The state now.
    pub(super) fn now() -> Self {
        Self(tcgetattr(stdin()).ok())
    }

    /// Puts it back: also where an editor was stopped while a line was typed.
    pub(super) fn restore(&self) {
        let Some(state) = &self.0 else { return };
        if tcgetattr(stdin()).is_ok_and(|now| now.local_modes != state.local_modes) {
            // Pasted text is no longer marked.
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(b"\x1b[?2004l\r\n").and_then(|()| out.flush());
        }
        // The terminal may be gone; then there is nothing to restore.
        let _ = tcsetattr(stdin(), OptionalActions::Drain, state);
    }
}

/// The size of the screen, and whether it has colours.
pub(super) fn screen() -> Screen {
    let columns = tcgetwinsize(stdout()).ok().map(|size| usize::from(size.ws_col)).filter(|width| *width > 0);
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let asked = || set("COLUMNS").and_then(|columns| columns.parse().ok());
    let width = columns.or_else(asked).unwrap_or(80).max(20);
    Screen { width, colour: colour::fits(&std::io::stdout()) && can_edit() }
}

/// How many lines the screen has.
pub(super) fn height() -> usize {
    tcgetwinsize(stdout()).ok().map(|size| usize::from(size.ws_row)).filter(|rows| *rows > 0).unwrap_or(24)
}

/// Whether the terminal knows a cursor.
pub(super) fn can_edit() -> bool {
    let term = std::env::var("TERM").unwrap_or_default();
    !["", "dumb", "cons25", "emacs"].contains(&term.as_str())
}

/// Each key is told at once and not shown, until dropped.
#[derive(Debug)]
pub(super) struct Keys(Option<Termios>);

impl Keys {
    /// From now on.
    pub(super) fn start() -> Self {
        let before = tcgetattr(stdin()).ok();
        if let Some(before) = &before {
            let mut keys = before.clone();
            keys.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            let _ = tcsetattr(stdin(), OptionalActions::Drain, &keys);
        }
        Self(before)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // What was typed meanwhile is not for the prompt.
            let _ = tcsetattr(stdin(), OptionalActions::Flush, before);
        }
    }
}
