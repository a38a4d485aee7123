//! A page as plain text, fitted to a width.

use crate::script::help::page::{Item, Page, Term};
use unicode_width::UnicodeWidthStr;

/// How a page is fitted to where it is read.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// The columns.
    pub width: usize,
    /// Whether names and headings are told apart by the attributes of a terminal.
    pub colour: bool,
}

/// How far what is below a heading is indented.
const INDENT: usize = 4;
/// The narrowest text that is still wrapped: below this, lines run over.
const NARROW: usize = 20;
/// The widest name that text is set beside; it goes below a wider one.
const BESIDE: usize = 18;

const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// The text.
#[must_use]
pub fn render(page: &Page, style: Style) -> String {
    let mut out = Writer { style, out: String::new() };
    let title = if page.signature.is_empty() { &page.name } else { &page.signature };
    out.wrapped(title, 0, 4, true);
    out.gap();
    out.wrapped(&page.summary, INDENT, INDENT, false);
    let mut before: Option<&Item> = None;
    for item in &page.items {
        let together =
            matches!((before, item), (Some(Item::Point(_)), Item::Point(_)) | (Some(Item::Heading(_)), _));
        if !together {
            out.gap();
        }
        out.item(item);
        before = Some(item);
    }
    out.out
}

struct Writer {
    style: Style,
    out: String,
}

impl Writer {
    fn gap(&mut self) {
        self.out.push('\n');
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Heading(text) => self.wrapped(&text.to_uppercase(), 0, 0, true),
            Item::Text(text) => self.wrapped(text, INDENT, INDENT, false),
            Item::Point(text) => self.wrapped(&format!("* {text}"), INDENT, INDENT + 2, false),
            Item::Code(lines) => {
                for line in lines {
                    let line = format!("{:indent$}{line}", "", indent = INDENT + 2);
                    self.out.push_str(line.trim_end());
                    self.out.push('\n');
                }
            }
            Item::Terms(terms) => self.terms(terms),
        }
    }

    fn terms(&mut self, terms: &[Term]) {
        let widths = terms.iter().map(|term| 2 * term.depth + term.name.width());
        let column = INDENT + 2 + widths.filter(|width| *width <= BESIDE).max().unwrap_or(0);
        for term in terms {
            let start = INDENT + 2 * term.depth;
            let about = [term.about.as_str(), term.text.as_str()];
            let texts: Vec<&str> = about.into_iter().filter(|text| !text.is_empty()).collect();
            let beside = start + term.name.width() + 2 <= column;
            let indent = if beside { column } else { (INDENT + 4).max(column.min(start + 4)) };
            self.out.push_str(&" ".repeat(start));
            self.bold(&term.name);
            let mut texts = texts.into_iter();
            if let Some(text) = texts.next().filter(|_| beside) {
                let lines = self.dressed(self.lines(text, column, column));
                self.out.push_str(&" ".repeat(column - start - term.name.width()));
                self.out.push_str(lines.trim_start());
                self.rest(texts, indent);
            } else {
                self.out.push('\n');
                let first = Some(term.about.as_str()).filter(|text| !text.is_empty() && !beside);
                let all = first.into_iter().chain(texts);
                if term.about.is_empty() && !beside {
                    self.wrapped(&term.text, indent, indent, false);
                }
                self.rest(all, indent);
            }
        }
    }

    fn rest<'a>(&mut self, texts: impl Iterator<Item = &'a str>, indent: usize) {
        for text in texts {
            self.wrapped(text, indent, indent, false);
        }
    }

    fn bold(&mut self, text: &str) {
        if self.style.colour {
            self.out.push_str(&format!("{BOLD}{text}{PLAIN}"));
        } else {
            self.out.push_str(text);
        }
    }

    fn wrapped(&mut self, text: &str, first: usize, rest: usize, bold: bool) {
        let lines = self.lines(text, first, rest);
        if bold && self.style.colour {
            for line in lines.lines() {
                self.out.push_str(&format!("{BOLD}{}{PLAIN}\n", line.replace('`', "")));
            }
        } else {
            let dressed = self.dressed(lines);
            self.out.push_str(&dressed);
        }
    }

    /// What is code, told apart: by attributes in place of the marks, where there are some.
    fn dressed(&self, text: String) -> String {
        if !self.style.colour {
            return text;
        }
        let parts = text.split('`').enumerate();
        parts
            .map(
                |(index, part)| if index % 2 == 0 { part.to_owned() } else { format!("{BOLD}{part}{PLAIN}") },
            )
            .collect()
    }

    /// The text in lines of the width, the first indented by `first` and the others by `rest`.
    fn lines(&self, text: &str, first: usize, rest: usize) -> String {
        let width = self.style.width.max(rest + NARROW);
        let mut out = " ".repeat(first);
        let mut column = first;
        let mut start = true;
        for word in text.split_whitespace() {
            if !start && column + 1 + word.width() > width {
                out.push('\n');
                out.push_str(&" ".repeat(rest));
                column = rest;
                start = true;
            }
            if !start {
                out.push(' ');
                column += 1;
            }
            out.push_str(word);
            column += word.width();
            start = false;
        }
        out.push('\n');
        out
    }
}
