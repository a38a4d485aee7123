//! The session as a recipe that runs again: the entries that went well and were not undone.

use crate::repl::log::Entry;
use crate::repl::scan::{self, Kind, Token};
use crate::script::interactive::IT;
use std::collections::BTreeSet;

/// The text of the recipe. `last_statement` says where the last statement of code begins.
pub(super) fn recipe(entries: &[Entry], last_statement: &dyn Fn(&str) -> Option<usize>) -> String {
    let kept = kept(entries);
    let mut out = String::from("#!/usr/bin/env cshell\n// Saved from a prompt.\n\n");
    let mut defined = BTreeSet::new();
    let mut parts: Vec<String> = Vec::new();
    for (index, entry) in kept.iter().enumerate().rev() {
        // Of a function that was defined anew, the last one counts: a script has each once.
        let text = without_functions(&entry.text, &mut defined);
        if text.trim().is_empty() {
            continue;
        }
        // The value is named where the next entries use it, until the next value.
        let after = kept[index + 1..].iter();
        let until = after.clone().position(|entry| entry.valued).map_or(after.len(), |at| at + 1);
        let used = entry.valued && after.take(until).any(|entry| mentions_it(&entry.text));
        let text = if used { named(&text, last_statement) } else { text };
        parts.push(terminated(text.trim_end()));
    }
    parts.iter().rev().for_each(|part| {
        out.push_str(part);
        out.push('\n');
    });
    out
}

/// The entries that went well and need nothing of those that did not, or were undone.
fn kept(entries: &[Entry]) -> Vec<&Entry> {
    let (mut there, mut missing) = (BTreeSet::new(), BTreeSet::new());
    let mut kept = Vec::new();
    for entry in entries {
        let (declared, used) = names(&entry.text);
        if entry.ok && used.is_disjoint(&missing) {
            declared.iter().for_each(|name| {
                missing.remove(name);
            });
            there.extend(declared);
            kept.push(entry);
        } else {
            let lost = |name: &String| entry.undone || !there.contains(name);
            missing.extend(declared.into_iter().filter(lost));
        }
    }
    kept
}

/// The variables that a text declares, and the names that it uses.
fn names(text: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let tokens = scan::tokens(text);
    let (mut declared, mut used) = (BTreeSet::new(), BTreeSet::new());
    for (index, token) in tokens.iter().enumerate().filter(|(_, token)| token.kind == Kind::Word) {
        let near = |index: Option<usize>| {
            index.and_then(|index| tokens.get(index)).map_or("", |token| token.text(text))
        };
        let (before, after) = (near(index.checked_sub(1)), near(Some(index + 1)));
        if ["let", "const", "as"].contains(&before) {
            declared.insert(token.text(text).to_owned());
        } else if ![".", "?.", "::"].contains(&before) && after != ":" {
            used.insert(token.text(text).to_owned());
        }
    }
    used.retain(|name| !declared.contains(name));
    (declared, used)
}

fn mentions_it(text: &str) -> bool {
    scan::tokens(text).iter().any(|token| token.kind == Kind::Word && token.text(text) == IT)
}

fn named(text: &str, last_statement: &dyn Fn(&str) -> Option<usize>) -> String {
    match last_statement(text) {
        Some(at) => format!("{}let {IT} = {}", &text[..at], &text[at..]),
        None => text.to_owned(),
    }
}

/// A statement ends with a semicolon, unless a block or a comment is its end.
fn terminated(text: &str) -> String {
    let tokens = scan::tokens(text);
    let code = tokens.iter().rev().find(|token| !matches!(token.kind, Kind::Comment { .. }));
    let Some(last) = code else { return text.to_owned() };
    let block = last.text(text) == "}" && begins_block(text, &tokens);
    if last.text(text) == ";" || block {
        return text.to_owned();
    }
    format!("{};{}", &text[..last.range.end], &text[last.range.end..])
}

/// Whether a text begins with a statement that ends with its block.
fn begins_block(text: &str, tokens: &[Token]) -> bool {
    const BLOCKS: &[&str] = &["fn", "private", "if", "while", "for", "loop", "switch", "try", "{"];
    tokens.first().is_some_and(|token| BLOCKS.contains(&token.text(text)))
}

/// The text without the definitions of functions that are in `defined`; the others are added to it.
fn without_functions(text: &str, defined: &mut BTreeSet<(String, usize)>) -> String {
    let tokens = scan::tokens(text);
    let mut out = String::new();
    let mut at = 0;
    for (index, token) in tokens.iter().enumerate() {
        if token.text(text) != "fn" || token.range.start < at {
            continue;
        }
        let Some((name, count, end)) = function(text, &tokens[index..]) else { continue };
        if !defined.insert((name, count)) {
            out.push_str(&text[at..token.range.start]);
            at = end;
        }
    }
    out.push_str(&text[at..]);
    out
}

/// The name, the number of parameters and the end of a function whose definition begins here.
fn function(text: &str, tokens: &[Token]) -> Option<(String, usize, usize)> {
    let name = tokens.get(1).filter(|token| token.kind == Kind::Word)?.text(text).to_owned();
    let close = tokens.iter().position(|token| token.text(text) == ")")?;
    let count = tokens[2..close].iter().filter(|token| token.kind == Kind::Word).count();
    let mut depth = 0usize;
    for token in &tokens[close..] {
        match token.text(text) {
            "{" | "#{" | "${" => depth += 1,
            "}" => depth = depth.checked_sub(1)?,
            _ => continue,
        }
        if depth == 0 {
            return Some((name, count, token.range.end));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str, ok: bool, valued: bool) -> Entry {
        Entry { title: text.into(), text: text.into(), ok, valued, made: Vec::new(), undone: false }
    }

    #[test]
    fn a_recipe_has_what_went_well() {
        let entries = [
            entry("fn f(a) { a + 1 }", true, false),
            entry("let x = 1", true, false),
            entry("nope(", false, false),
            entry("x + 1 // two", true, true),
            entry("print(it);", true, false),
            entry("fn f(b) { #{ b: b } } f(it)", true, true),
            entry("if x > 0 { print(x) }", true, false),
        ];
        let start = |_: &str| Some(0);
        let undone = Entry { undone: true, ..entry("let gone = 1", false, false) };
        let lost = [
            undone,
            entry("gone", true, true),
            entry("let b = gone + 1", true, false),
            entry("b", true, true),
        ];
        assert_eq!(recipe(&lost, &start).lines().count(), 3);
        let again =
            [entry("let a = 1", true, false), entry("let a = f(", false, false), entry("a", true, true)];
        assert_eq!(recipe(&again, &start).lines().last(), Some("a;"));
        let expected = "\
#!/usr/bin/env cshell
// Saved from a prompt.

let x = 1;
let it = x + 1; // two
print(it);
fn f(b) { #{ b: b } } f(it);
if x > 0 { print(x) }
";
        assert_eq!(recipe(&entries, &start), expected);
    }
}
