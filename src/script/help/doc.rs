//! The doc comment of a native or of a function of the standard library, as a value.
//!
//! # The convention
//!
//! The first line is the summary, one sentence. Paragraphs of details follow, each after an empty line; lines indented
//! by four are shown as they are, and lines that begin with `* ` are a list. Then, each at the start of a line:
//!
//! ```text
//! Arguments: `times`, a whole number from 1: how often; `f`, a function. Of the standard library alone: those of a native
//!     are doc comments of its parameters, with the types from the table.
//! Returns: what is in the result; its type comes from the table. Left out where nothing is returned.
//! Errors: `kind` when …; `kind` when … — of the closed list; `nothing` where nothing of its own can fail.
//! Needs: privileges and kernel: `CAP_NET_ADMIN; Linux 2.6.24`; `nothing` where any process on any kernel may.
//! Calls: system calls and man pages: `clone3(2), namespaces(7)`; `nothing` where none is worth reading.
//! Undo: what is taken back when the handle closes or the script ends; `nothing` where nothing is made.
//! Example:
//!     lines of a script, indented by four; `// => value` after an expression that is then shown,
//!     `// prints text` after what prints it, `// throws kind` after what fails.
//! ```
//!
//! `Errors:` need not say what the types of the parameters say already: an argument of the wrong type is always
//! `invalid_argument`, a handle that was closed is always `closed`.
//!
//! A property has a summary, and of the labels at least `Errors:` where reading it asks the kernel: the others say
//! `nothing` when they are not there. Everything else has all of them.

/// A doc comment, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doc {
    /// The first sentence.
    pub summary: String,
    /// The paragraphs after it.
    pub details: Vec<Block>,
    /// What is passed, by name, for functions that have no table of parameters.
    pub arguments: Vec<(String, String)>,
    /// What is in the result.
    pub returns: Option<String>,
    /// What fails, by kind.
    pub errors: Option<Vec<Failure>>,
    /// Privileges and kernel.
    pub needs: Option<String>,
    /// System calls and man pages.
    pub calls: Option<Vec<String>>,
    /// What is taken back.
    pub undo: Option<String>,
    /// The examples, each the lines of a script.
    pub examples: Vec<Vec<String>>,
}

/// A part of the details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// Running text.
    Text(String),
    /// A point of a list.
    Point(String),
    /// Lines that stay as they are.
    Code(Vec<String>),
}

/// One way in which a call fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind, as scripts read it in `e.kind`.
    pub kind: String,
    /// When, continuing the sentence: `when the name is taken`.
    pub when: String,
}

/// What is written where a label has nothing to say.
pub const NOTHING: &str = "nothing";

/// The labels, in the order of the convention.
pub const LABELS: [&str; 7] = ["Arguments", "Returns", "Errors", "Needs", "Calls", "Undo", "Example"];

impl Doc {
    /// Takes a doc comment apart.
    #[must_use]
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let mut doc = Self::default();
        let mut label = None;
        let mut part: Vec<&str> = Vec::new();
        for line in lines {
            let line = line.strip_prefix(' ').unwrap_or(line).trim_end();
            let labelled = LABELS.iter().find_map(|label| Some((*label, line.strip_prefix(*label)?)));
            match labelled.and_then(|(label, rest)| Some((label, rest.strip_prefix(':')?))) {
                Some((next, rest)) => {
                    doc.take(label, &part);
                    label = Some(next);
                    part = vec![rest];
                }
                None => part.push(line),
            }
        }
        doc.take(label, &part);
        doc
    }

    /// Its first example that reads the property `name` of something.
    #[must_use]
    pub fn example_reading(&self, name: &str) -> Option<&Vec<String>> {
        self.examples.iter().find(|lines| lines.iter().any(|line| reads(line, name)))
    }

    fn take(&mut self, label: Option<&str>, lines: &[&str]) {
        let text = || joined(lines);
        match label {
            None => {
                let mut blocks = blocks(lines);
                if let Some(Block::Text(summary)) = blocks.first() {
                    self.summary.clone_from(summary);
                    blocks.remove(0);
                }
                self.details = blocks;
            }
            Some("Arguments") => self.arguments = named(&text()),
            Some("Returns") => self.returns = Some(text()),
            Some("Errors") => self.errors = Some(failures(&text())),
            Some("Needs") => self.needs = Some(text()),
            Some("Calls") => self.calls = Some(calls(&text())),
            Some("Undo") => self.undo = Some(text()),
            Some(_) => self.examples.push(code(lines)),
        }
    }
}

/// The running text of some lines, without its last stop where it is one word.
fn joined(lines: &[&str]) -> String {
    let text =
        lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    if text.trim_end_matches('.') == NOTHING { NOTHING.into() } else { text }
}

/// Paragraphs, points and code.
#[must_use]
pub fn blocks(lines: &[&str]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    // An empty line ends a paragraph; inside code it is a line of it.
    let mut gap = true;
    for line in lines {
        if line.trim().is_empty() {
            gap = true;
            continue;
        }
        let indented = line.strip_prefix("    ");
        let point = line.strip_prefix("* ");
        match (indented, point, blocks.last_mut()) {
            (Some(line), _, Some(Block::Code(code))) => {
                if gap {
                    code.push(String::new());
                }
                code.push(line.to_owned());
            }
            (Some(line), _, _) if gap => blocks.push(Block::Code(vec![line.to_owned()])),
            (_, Some(point), _) => blocks.push(Block::Point(point.trim().to_owned())),
            (_, None, Some(Block::Text(text) | Block::Point(text))) if !gap => {
                text.push(' ');
                text.push_str(line.trim());
            }
            _ => blocks.push(Block::Text(line.trim().to_owned())),
        }
        gap = false;
    }
    blocks
}

/// `` `kind` when …; `kind` when … ``.
fn failures(text: &str) -> Vec<Failure> {
    if text == NOTHING {
        return Vec::new();
    }
    named(text).into_iter().map(|(kind, when)| Failure { kind, when }).collect()
}

/// `` `name` text; `name` text ``.
fn named(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.trim_end_matches('.');
    while !rest.is_empty() {
        let (one, after) = rest.split_once("; `").map_or((rest, None), |(one, after)| (one, Some(after)));
        let (name, text) = one.trim_start_matches('`').split_once('`').unwrap_or((one, ""));
        found.push((name.trim().to_owned(), text.trim_start_matches(',').trim().to_owned()));
        rest = after.unwrap_or("");
    }
    found
}

/// Whether a line of a script has `.name` that is no call.
#[must_use]
pub fn reads(line: &str, name: &str) -> bool {
    line.match_indices(&format!(".{name}")).any(|(at, found)| {
        let next = line[at + found.len()..].chars().next();
        next.is_none_or(|next| !next.is_alphanumeric() && next != '_' && next != '(')
    })
}

fn calls(text: &str) -> Vec<String> {
    let names = text.trim_end_matches('.').split(',').map(str::trim);
    names.filter(|name| !name.is_empty() && *name != NOTHING).map(str::to_owned).collect()
}

/// The lines of an example, without the indentation and the empty lines around.
fn code(lines: &[&str]) -> Vec<String> {
    let mut code: Vec<String> =
        lines.iter().map(|line| line.strip_prefix("    ").unwrap_or(line).trim_end().to_owned()).collect();
    while code.last().is_some_and(String::is_empty) {
        code.pop();
    }
    let start = code.iter().position(|line| !line.is_empty()).unwrap_or(code.len());
    code.split_off(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_taken_apart() {
        let text = " Makes it.\n\n More of\n it.\n\n * one\n   more\n * two\n\n     let x;\n\n     x\n\n Returns: the end;\n its\n name.\n\
            Errors: `busy` when it is; always; `not_found` for none.\n Needs: nothing.\n Calls: clone3(2), ns(7).\n\
            Undo: it goes.\n Example:\n     let a = 1;\n\n     a // => 1\n";
        let doc = Doc::parse(text.lines());
        assert_eq!(doc.summary, "Makes it.");
        let code = Block::Code(vec!["let x;".into(), String::new(), "x".into()]);
        let point = |text: &str| Block::Point(text.into());
        assert_eq!(doc.details, [Block::Text("More of it.".into()), point("one more"), point("two"), code]);
        assert_eq!(doc.returns.as_deref(), Some("the end; its name."));
        let failure = |kind: &str, when: &str| Failure { kind: kind.into(), when: when.into() };
        assert_eq!(
            doc.errors,
            Some(vec![failure("busy", "when it is; always"), failure("not_found", "for none")])
        );
        assert_eq!(doc.needs.as_deref(), Some(NOTHING));
        assert_eq!(doc.calls, Some(vec!["clone3(2)".to_owned(), "ns(7)".to_owned()]));
        assert_eq!(doc.undo.as_deref(), Some("it goes."));
        assert_eq!(doc.examples, [["let a = 1;", "", "a // => 1"]]);
    }

    #[test]
    fn a_property_is_no_call() {
        assert!(reads("x.mtu", "mtu") && reads("[x.mtu]", "mtu"));
        assert!(!reads("x.mtus", "mtu") && !reads("x.mtu()", "mtu"));
        let doc = Doc::parse([" A.", " Example:", "     let b = 1;", " Example:", "     a.b"]);
        assert_eq!(doc.example_reading("b"), Some(&vec!["a.b".to_owned()]));
    }

    #[test]
    fn what_is_not_there_is_none() {
        let doc = Doc::parse([" Just this."]);
        assert_eq!(doc, Doc { summary: "Just this.".into(), ..Doc::default() });
        assert_eq!(Doc::parse([" A.", " Errors: nothing."]).errors, Some(Vec::new()));
        let named =
            Doc::parse([" A.", " Arguments: `n`, a number: how many;", " `f`, a function."]).arguments;
        assert_eq!(named, [("n".into(), "a number: how many".into()), ("f".into(), "a function".into())]);
    }
}
