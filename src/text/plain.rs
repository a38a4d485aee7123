//! Texts that may come from anywhere, without what would move the cursor of a terminal, change its colours or its title.

use std::borrow::Cow;

/// A text on one line: every control character is written out.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    clean(text, false)
}

/// A text of several lines: ends of lines and tabs stay.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    clean(text, true)
}

/// Colours (`ESC [ … m`) are left out, and the carriage return of an end of a line; other control characters are written out.
fn clean(text: &str, lines: bool) -> Cow<'_, str> {
    let stays = |c: char| !c.is_control() || (lines && matches!(c, '\n' | '\t'));
    if text.chars().all(stays) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(behind) = behind_colour(rest) {
            rest = behind;
            continue;
        }
        rest = &rest[c.len_utf8()..];
        if stays(c) {
            out.push(c);
        } else if !(lines && c == '\r' && rest.starts_with('\n')) {
            out.extend(c.escape_default());
        }
    }
    out.into()
}

/// What follows a sequence that sets colours, if the text begins with one.
fn behind_colour(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("\x1b[")?;
    rest.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, ';' | ':')).strip_prefix('m')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(line("a\u{1b}[2Jb\u{7}\r\n\u{9b}1m"), "a\\u{1b}[2Jb\\u{7}\\r\\n\\u{9b}1m");
        assert_eq!(lines("a\u{1b}[1;31mred\u{1b}[0m\tb\r\nc\rd\n"), "ared\tb\nc\\rd\n");
        assert_eq!(lines("\u{1b}]0;title\u{7}"), "\\u{1b}]0;title\\u{7}");
        assert!(matches!(lines("plain\n"), Cow::Borrowed(_)));
    }
}
