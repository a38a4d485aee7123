//! Where entries come from: a person at a terminal, or lines of a pipe or a terminal that cannot be edited on.

use crate::error::{Error, Result};
use crate::repl::editor::Editor;
use crate::runtime::attend;
use crate::runtime::cancel;
use crate::runtime::proc::background;
use crate::script::shell::Shell;
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::Signal;
use rustyline::completion::Pair;
use std::io::{IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

const OP: &str = "prompt";

/// How often events are looked for that the kernel does not tell of: a person waits.
pub(super) const PACE: Duration = Duration::from_millis(100);

/// What came.
#[derive(Debug)]
pub(super) enum Typed {
    /// A whole entry.
    Line(String),
    /// The entry was given up: Ctrl-C.
    Cancelled,
    /// There are no more: Ctrl-D, or the end of the pipe.
    End,
    /// A signal ends the program.
    Stopped,
}

/// What knows the language and the session, for those who read entries.
pub(super) trait Guide {
    /// What the word at `pos` may become: where it starts, and the candidates.
    fn complete(&self, line: &str, pos: usize) -> (usize, Vec<Pair>);
    /// What is shown behind the cursor.
    fn hint(&self, line: &str, pos: usize) -> Option<String>;
    /// Whether an entry needs more lines.
    fn is_incomplete(&self, text: &str) -> bool;
    /// Shows what a function that was called at an event raised.
    fn show_raised(&self);
}

/// Calls the functions whose events have come.
pub(super) fn attend_to(shell: &Shell, guide: &dyn Guide) {
    match background::written(shell.session()) {
        Ok(written) if written.is_empty() => {}
        Ok(written) => shell.write_out(&written),
        // Its handle tells of it as well.
        Err(error) => shell.write_err(format!("{error}\n").as_bytes()),
    }
    // What a function raised is kept, and shown as an error of the prompt.
    if attend::turn(shell.session()).is_err() {
        guide.show_raised();
    }
}

/// Where entries come from.
#[derive(Debug)]
pub(super) enum Input {
    /// A terminal that can be edited on.
    Editor(Editor),
    /// Lines as they come.
    Plain(Plain),
}

impl Input {
    /// Whether somebody types on a terminal.
    pub(super) fn is_person(&self) -> bool {
        matches!(self, Self::Editor(_))
    }

    /// Reads one entry; `initial` is there already.
    ///
    /// # Errors
    /// When the terminal or pipe fails.
    pub(super) fn read(
        &mut self,
        prompt: &str,
        initial: &str,
        shell: &Shell,
        guide: &dyn Guide,
    ) -> Result<Typed> {
        match self {
            Self::Editor(editor) => editor.read(prompt, initial, shell, guide),
            Self::Plain(plain) => plain.read(prompt, shell, guide),
        }
    }
}

/// Lines as they come: of a pipe, or typed at a terminal that knows no cursor.
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// What was read and not yet used.
    rest: Vec<u8>,
    ended: bool,
}

impl Plain {
    fn read(&mut self, prompt: &str, shell: &Shell, guide: &dyn Guide) -> Result<Typed> {
        let mut entry = String::new();
        let ask = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        loop {
            if ask {
                let dots = " ".repeat(prompt.len().saturating_sub(4)) + "... ";
                say(if entry.is_empty() { prompt } else { &dots });
            }
            match self.line(shell, guide)? {
                Typed::Line(line) => {
                    entry.push_str(&line);
                    entry.push('\n');
                    if !guide.is_incomplete(&entry) {
                        return Ok(Typed::Line(entry.trim_end_matches('\n').to_owned()));
                    }
                }
                // What was not finished is told as the error that it is.
                Typed::End if !entry.trim().is_empty() => return Ok(Typed::Line(entry)),
                Typed::Cancelled => {
                    say("\n");
                    return Ok(Typed::Cancelled);
                }
                other => return Ok(other),
            }
        }
    }

    fn line(&mut self, shell: &Shell, guide: &dyn Guide) -> Result<Typed> {
        let mut stdin = std::io::stdin().lock();
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Ok(Typed::Line(text(&line[..end])));
            }
            if self.ended {
                let line = std::mem::take(&mut self.rest);
                return Ok(if line.is_empty() { Typed::End } else { Typed::Line(text(&line)) });
            }
            let wait = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
            let session = shell.session();
            let ready =
                background::with_poll_set(session, &wait, |fds| attend::idle(session, OP, fds, PACE))?;
            match cancel::requested() {
                Some(signal) if signal == Signal::SIGINT as i32 => {
                    cancel::clear();
                    return Ok(Typed::Cancelled);
                }
                Some(_) => return Ok(Typed::Stopped),
                None => {}
            }
            if ready[0] {
                self.fill(&mut stdin)?;
            } else {
                attend_to(shell, guide);
            }
        }
    }

    fn fill(&mut self, stdin: &mut impl Read) -> Result<()> {
        let mut buffer = [0; 4096];
        match stdin.read(&mut buffer) {
            Ok(0) => self.ended = true,
            Ok(count) => self.rest.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // The terminal is gone.
            Err(error) if error.raw_os_error() == Some(nix::libc::EIO) => self.ended = true,
            Err(error) => return Err(Error::io(OP, "cannot read the standard input", error)),
        }
        Ok(())
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end_matches('\r').to_owned()
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody is left to be told when this fails.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
