//! Colours of a line that is being typed.

use crate::repl::scan::{self, Kind};

const KEYWORDS: &[&str] = &[
    "as", "break", "catch", "const", "continue", "do", "else", "export", "fn", "for", "if", "import", "in",
    "let", "loop", "private", "return", "switch", "this", "throw", "try", "until", "while",
];

/// The line with colours; its width does not change.
pub(super) fn line(line: &str) -> String {
    if let Some(command) = line.trim_start().strip_prefix(':') {
        return command_line(line, command);
    }
    let tokens = scan::tokens(line);
    let mut out = String::with_capacity(line.len() * 2);
    let mut at = 0;
    for (index, token) in tokens.iter().enumerate() {
        let text = token.text(line);
        let next = tokens.get(index + 1).map_or("", |next| next.text(line));
        out.push_str(&line[at..token.range.start]);
        let colour = match token.kind {
            Kind::Comment { .. } => "2",
            Kind::Text { .. } => "32",
            Kind::Number => "35",
            Kind::Word if KEYWORDS.contains(&text) => "1;34",
            Kind::Word if ["true", "false"].contains(&text) => "35",
            Kind::Word if next == "::" => "36",
            Kind::Word if next == "(" => "33",
            Kind::Word | Kind::Symbol => "",
        };
        push(&mut out, colour, text);
        at = token.range.end;
    }
    out.push_str(&line[at..]);
    out
}

fn command_line(line: &str, command: &str) -> String {
    let word = command.find(char::is_whitespace).unwrap_or(command.len());
    let (head, rest) = line.split_at(line.len() - command.len() + word);
    format!("\x1b[1;36m{head}\x1b[0m{rest}")
}

/// A text of more lines is coloured line by line: the editor writes each by itself.
fn push(out: &mut String, colour: &str, text: &str) {
    if colour.is_empty() {
        return out.push_str(text);
    }
    for (index, part) in text.split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        out.push_str(&format!("\x1b[{colour}m{part}\x1b[0m"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_do_not_change_the_text() {
        for text in ["let a = net::veth(#{x: \"ä\"}); // c", ":ls  all", "`a${b}\n/* x\ny", "  :x", ""] {
            let mut plain = String::new();
            let coloured = line(text);
            let mut rest = coloured.as_str();
            while let Some((before, after)) = rest.split_once("\x1b[") {
                plain.push_str(before);
                rest = after.split_once('m').map_or("", |(_, after)| after);
            }
            plain.push_str(rest);
            assert_eq!(plain, text);
        }
        assert!(line("let x").starts_with("\x1b[1;34mlet\x1b[0m x"));
    }
}
