//! How errors look: one look for parse errors, errors of the language, of natives, and of the command line.
//!
//! ```text
//! error: net::veth csx: name is taken
//!   --> build.rhai:12:5
//!    |
//! 12 |     net::veth(#{ name: "csx" });
//!    |     ^^^^^^^^^
//!    |
//!    = caused by: RTM_NEWLINK(…) = -1 EEXIST (File exists)
//!    = in call to make_root at build.rhai:30:9
//!
//! hint: …
//! ```
//!
//! Colour only on a terminal, never with `NO_COLOR`, and never the only signal.

use crate::script::error::Place;
use crate::script::report::Report;
use crate::text::colour;
use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use std::ops::Range;
use std::rc::Rc;

/// Looks up the text of a source by its name.
pub type Sources<'a> = &'a dyn Fn(&str) -> Option<Rc<str>>;

/// The text of a report, for the standard error.
#[must_use]
pub fn render(report: &Report, sources: Sources<'_>) -> String {
    let title = Level::ERROR.primary_title(one_line(&report.message));
    let mut group = Group::with_title(title);
    let text = report.place.as_ref().and_then(|place| sources(&place.source));
    if let Some(place) = &report.place {
        group = match text.as_deref().and_then(|text| Some((text, span(text, place)?))) {
            Some((text, span)) => group.element(
                Snippet::source(text)
                    .path(place.source.as_str())
                    .annotation(AnnotationKind::Primary.span(span)),
            ),
            None => group.element(Origin::path(at(place))),
        };
    }
    for cause in &report.causes {
        group = group.element(Level::NOTE.no_name().message(format!("caused by: {}", one_line(cause))));
    }
    for (frame, place) in &report.frames {
        group = group.element(Level::NOTE.no_name().message(format!("{frame} at {}", at(place))));
    }
    let mut out = renderer().render(&[group]);
    out.push('\n');
    if let Some(detail) = &report.detail {
        out.push('\n');
        detail.lines().for_each(|line| out.push_str(&format!("  {line}\n")));
    }
    if let Some(hint) = &report.hint {
        out.push_str(&format!("\n{} {hint}\n", bold("hint:")));
    }
    for other in &report.others {
        out.push_str(&warning(&format!("could not undo: {other}")));
    }
    out
}

/// A line of warning.
#[must_use]
pub fn warning(text: &str) -> String {
    format!("{} {}\n", bold("warning:"), one_line(text))
}

fn renderer() -> Renderer {
    let renderer = if coloured() { Renderer::styled() } else { Renderer::plain() };
    // A line is never cut: it may be pasted into a report.
    renderer.decor_style(DecorStyle::Ascii).term_width(10_000)
}

fn coloured() -> bool {
    colour::fits(&std::io::stderr())
}

fn bold(text: &str) -> String {
    if coloured() { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
}

fn at(place: &Place) -> String {
    match (place.position.line(), place.position.position()) {
        (Some(line), Some(column)) => format!("{}:{line}:{column}", place.source),
        (Some(line), None) => format!("{}:{line}", place.source),
        _ => place.source.clone(),
    }
}

/// A text on one line: line ends are written `\n`.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.replace('\n', "\\n")
}

/// The bytes that the caret goes under: the language gives a start only, so it is widened to the word there.
fn span(text: &str, place: &Place) -> Option<Range<usize>> {
    let line = place.position.line()?;
    let line_start = match line {
        1 => 0,
        _ => text.match_indices('\n').nth(line - 2).map(|(index, _)| index + 1)?,
    };
    let line_text = text[line_start..].lines().next().unwrap_or("");
    let column = place.position.position().unwrap_or(1).max(1) - 1;
    let offset = line_text.char_indices().nth(column).map_or(line_text.len(), |(index, _)| index);
    let (before, after) = line_text.split_at(offset);
    // The position of a call in a module is that of the module or of the function, so it is widened both ways.
    let start = match after.starts_with(is_word) {
        true => before.rfind(|c| !is_word(c) && c != ':').map_or(0, |at| at + char_at(before, at)),
        false => offset,
    };
    let start = if line_text[start..offset].starts_with(':') { offset } else { start };
    let length = word_length(after);
    Some(line_start + start..line_start + offset + length)
}

fn char_at(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(1, char::len_utf8)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length in bytes of the word, path (`net::veth`) or text in quotes that starts here; at least one character.
fn word_length(text: &str) -> usize {
    if let Some(inner) = text.strip_prefix('"') {
        return inner.find('"').map_or(1, |end| end + 2);
    }
    let mut end = text.find(|c| !is_word(c)).unwrap_or(text.len());
    while end > 0 && text[end..].starts_with("::") && text[end + 2..].starts_with(is_word) {
        end += 2 + text[end + 2..].find(|c| !is_word(c)).unwrap_or(text.len() - end - 2);
    }
    end.max(text.chars().next().map_or(0, char::len_utf8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rhai::Position;

    #[test]
    fn a_report_looks_as_documented() {
        let place =
            |line, column| Place { source: "build.rhai".into(), position: Position::new(line, column) };
        let report = Report {
            causes: vec!["RTM_NEWLINK(…) = -1 EEXIST (File exists)".into()],
            frames: vec![("in call to make_root".into(), place(30, 9))],
            hint: Some("choose another name".into()),
            others: vec!["net::veth: busy".into()],
            place: Some(place(2, 5)),
            ..Report::plain("net::veth csx: name is taken", 1)
        };
        let text = "fn make_root() {\n    net::veth(#{ name: \"csx\" });\n}\n";
        let expected = "\
error: net::veth csx: name is taken
 --> build.rhai:2:5
  |
2 |     net::veth(#{ name: \"csx\" });
  |     ^^^^^^^^^
  |
  = caused by: RTM_NEWLINK(…) = -1 EEXIST (File exists)
  = in call to make_root at build.rhai:30:9

hint: choose another name
warning: could not undo: net::veth: busy
";
        assert_eq!(render(&report, &|_| Some(text.into())), expected);
        let unknown = render(&report, &|_| None);
        assert_eq!(unknown.lines().nth(1), Some("--> build.rhai:2:5"), "{unknown}");
    }

    #[test]
    fn the_caret_goes_under_the_whole_word() {
        let text = "let a = 1;\n  ä; net::veth(\"x y\") + b::c;\n";
        for (line, column, expected) in [
            (1, 5, "a"),
            (2, 6, "net::veth"),
            (2, 11, "net::veth"),
            (2, 15, "("),
            (2, 16, "\"x y\""),
            (2, 28, "b::c"),
            (2, 3, "ä"),
            (2, 99, ""),
        ] {
            let place = Place { source: String::new(), position: Position::new(line, column) };
            assert_eq!(&text[span(text, &place).unwrap()], expected, "{line}:{column}");
        }
    }
}
