//! Whether a stream takes colours: a terminal that has them, unless the user wants none (no-color.org).

use std::io::IsTerminal;

/// Whether text for this stream may be coloured.
#[must_use]
pub fn fits(stream: &impl IsTerminal) -> bool {
    takes_moves(stream) && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether it is a terminal on which lines can be written anew.
#[must_use]
pub fn takes_moves(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
