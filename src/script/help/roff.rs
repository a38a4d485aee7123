//! Pages as a manual page (man(7), groff_man(7)).

use crate::script::help::page::{Item, Page, Term};
use std::fmt::Write;

/// The head of a manual page.
#[must_use]
pub fn head(name: &str, section: u8, summary: &str) -> String {
    let upper = name.to_uppercase();
    let version = env!("CARGO_PKG_VERSION");
    format!(
        ".TH {} {section} \"\" \"cshell {version}\" \"cshell\"\n.SH NAME\n{} \\- {}\n",
        quoted(&upper),
        text(name),
        text(summary)
    )
}

/// A section with a title.
#[must_use]
pub fn section(title: &str) -> String {
    format!(".SH {}\n", quoted(&title.to_uppercase()))
}

/// A paragraph of running text.
#[must_use]
pub fn paragraph(paragraph: &str) -> String {
    format!(".PP\n{}\n", text(paragraph))
}

/// A name with what it is.
#[must_use]
pub fn entry(name: &str, about: &str) -> String {
    format!(".TP\n{}\n{}\n", bold(name), text(about))
}

/// Lines that stay as they are.
#[must_use]
pub fn lines<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let inner: String = lines.into_iter().map(|line| format!("{}\n", text(line))).collect();
    format!(".PP\n.RS 4\n.nf\n{inner}.fi\n.RE\n")
}

/// One page of the help, as a part of a section.
#[must_use]
pub fn part(page: &Page) -> String {
    let title = if page.signature.is_empty() { &page.name } else { &page.signature };
    let mut out = format!(".SS {}\n{}\n", quoted(title), text(&page.summary));
    for item in &page.items {
        match item {
            Item::Heading(heading) => {
                let _ = write!(out, ".PP\n.B {heading}\n");
            }
            Item::Text(words) => out.push_str(&paragraph(words)),
            Item::Point(point) => {
                let _ = write!(out, ".IP \\(bu 2\n{}\n", text(point));
            }
            Item::Code(code) => out.push_str(&lines(code.iter().map(String::as_str))),
            Item::Terms(terms) => terms.iter().for_each(|found| term(found, &mut out)),
        }
    }
    out
}

fn term(term: &Term, out: &mut String) {
    let parts = [term.about.as_str(), term.text.as_str()];
    let about = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(". ");
    let about = if about.is_empty() { "\\&".to_owned() } else { text(&about) };
    if term.depth > 0 {
        let _ = writeln!(out, ".RS {}", 4 * term.depth);
    }
    let _ = write!(out, ".TP\n{}\n{about}\n", bold(&term.name));
    if term.depth > 0 {
        out.push_str(".RE\n");
    }
}

fn bold(name: &str) -> String {
    format!("\\fB{}\\fR", escaped(name))
}

/// An argument of a macro.
fn quoted(argument: &str) -> String {
    format!("\"{}\"", escaped(argument).replace('"', "\\(dq"))
}

/// Running text: what is code stands out, and no line is taken for a request.
fn text(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in text.split('`').enumerate() {
        match index % 2 {
            0 => out.push_str(&escaped(part)),
            _ => out.push_str(&format!("\\fB{}\\fR", escaped(part))),
        }
    }
    if out.starts_with(['.', '\'']) { format!("\\&{out}") } else { out }
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '`' => out.push_str("\\(ga"),
            '\'' => out.push_str("\\(aq"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            '…' => out.push_str("..."),
            c if c.is_ascii() => out.push(c),
            c => {
                let _ = write!(out, "\\[u{:04X}]", u32::from(c));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_taken_for_a_request() {
        assert_eq!(paragraph(".x `a-b` \\ 'q'"), ".PP\n\\&.x \\fBa\\-b\\fR \\e \\(aqq\\(aq\n");
        assert_eq!(lines(["'x", "ä"]), ".PP\n.RS 4\n.nf\n\\(aqx\n\\[u00E4]\n.fi\n.RE\n");
        assert_eq!(quoted("a \"b\""), "\"a \\(dqb\\(dq\"");
    }
}
