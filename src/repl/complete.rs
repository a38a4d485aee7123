//! What a word may become, and what is shown behind the cursor.

use crate::repl::command;
use crate::repl::scan::{self, Context, Frame};
use crate::runtime::image;
use crate::runtime::state::StateDirs;
use crate::script::help;
use crate::script::lookup::{self, Name, Names, Sort};
use crate::script::native::{Form, Native};
use rustyline::completion::Pair;
use std::path::Path;

/// Texts that are one of a few words, by the name of the key or parameter.
const WORDS: &[(&str, &[&str])] = &[
    ("kinds", &["user", "mount", "pid", "net", "ipc", "uts", "cgroup", "time"]),
    ("kind", &["user", "mount", "pid", "net", "ipc", "uts", "cgroup", "time"]),
    ("security", &["default", "strict", "none"]),
    ("userns", &["auto", "keep-id", "host"]),
    ("propagation", &["private", "slave", "shared", "unbindable"]),
    ("mode", &["private", "slave", "shared", "unbindable"]),
    ("event", &["oom", "max", "high", "low", "populated"]),
    ("signal", &["TERM", "KILL", "INT", "HUP", "STOP", "CONT", "USR1", "USR2"]),
];
/// Parameters and keys that name a network interface.
const INTERFACES: &[&str] = &["dev", "bridge", "master"];
/// Parameters and keys that name an image.
const IMAGES: &[&str] = &["reference", "image", "base"];

/// Where the word at `pos` starts, and what it may become.
pub(super) fn complete(script: &Names<'_>, dirs: &StateDirs, line: &str, pos: usize) -> (usize, Vec<Pair>) {
    let before = &line[..pos];
    if let Some(words) = before.trim_start().strip_prefix(':') {
        return of_command(script, before, words);
    }
    let context = scan::context(line, pos);
    if context.comment {
        return (pos, Vec::new());
    }
    if let Some(quote) = context.quote {
        let candidates = in_text(script, dirs, &context, quote);
        // A path is completed from its last part on.
        let start = if candidates.iter().any(|pair| pair.replacement.starts_with(&context.word)) {
            context.start
        } else {
            context.start + context.word.rfind('/').map_or(0, |slash| slash + 1)
        };
        return (start, candidates);
    }
    let open = line[pos..].starts_with('(');
    let pair = |name: Name| candidate(name, open);
    (context.start, names(script, &context).into_iter().map(pair).collect())
}

fn candidate(name: Name, open: bool) -> Pair {
    let end = match name.sort {
        Sort::Function | Sort::Method if !open => "(",
        Sort::Module => "::",
        _ => "",
    };
    Pair { display: name.text.clone(), replacement: name.text + end }
}

fn names(script: &Names<'_>, context: &Context) -> Vec<Name> {
    let word = context.word.as_str();
    let fits = |names: Vec<Name>| names.into_iter().filter(|name| name.text.starts_with(word)).collect();
    if let Some(module) = context.chain.strip_suffix("::") {
        return fits(script.of_module(module));
    }
    if context.chain.ends_with('.') {
        let chain: Vec<&str> = context.chain.split(['.', '?']).filter(|name| !name.is_empty()).collect();
        return fits(script.members(context.result_of.as_deref(), &chain));
    }
    match context.frames.last() {
        Some(frame) if frame.bracket == "#{" && frame.key.is_none() => option_keys(script, context, frame),
        _ if word.starts_with(|c: char| c.is_ascii_digit()) => Vec::new(),
        _ => script.names(word),
    }
}

/// The call around the cursor: what is called, which argument the cursor is in, and the keys that lead to it there.
fn call<'a>(script: &Names<'_>, frames: &'a [Frame]) -> Option<(&'static Native, usize, Vec<&'a str>)> {
    let at = frames.iter().rposition(|frame| frame.bracket == "(" && !frame.callee.is_empty())?;
    let native = script.native(&frames[at].callee)?;
    let keys = frames[at + 1..].iter().filter_map(|frame| frame.key.as_deref()).collect();
    Some((native, frames[at].commas, keys))
}

fn option_keys(script: &Names<'_>, context: &Context, frame: &Frame) -> Vec<Name> {
    let Some((native, index, keys)) = call(script, &context.frames) else { return Vec::new() };
    let keys: Vec<String> = keys.into_iter().map(ToOwned::to_owned).collect();
    // A function may take its options in place of an earlier argument.
    let last = native.params.len();
    let set = (index..last).find_map(|index| lookup::options(native, index, &keys));
    let known = set.map(|set| set.keys).unwrap_or_default().iter();
    let free = known
        .filter(|key| key.name.starts_with(&context.word))
        .filter(|key| !frame.keys.iter().any(|there| there == key.name));
    free.map(|key| Name {
        // Names of files of version 2 have a point: they are written in quotes.
        text: if key.name.contains('.') { format!("\"{}\": ", key.name) } else { format!("{}: ", key.name) },
        sort: Sort::Property,
        about: key.ty.to_owned(),
    })
    .collect()
}

fn in_text(script: &Names<'_>, dirs: &StateDirs, context: &Context, quote: char) -> Vec<Pair> {
    let word = context.word.as_str();
    let close = |name: &str| Pair { display: name.to_owned(), replacement: format!("{name}{quote}") };
    let all = |names: Vec<String>| -> Vec<Pair> {
        names.iter().filter(|name| name.starts_with(word)).map(|name| close(name)).collect()
    };
    let call = call(script, &context.frames);
    let expected = call.as_ref().and_then(|(native, index, keys)| match keys.last() {
        Some(key) => Some(*key),
        None => {
            let skip = usize::from(native.form != Form::Function);
            native.params.get(index + skip).map(|param| param.name)
        }
    });
    let words = expected.and_then(|name| WORDS.iter().find(|(known, _)| *known == name));
    let kinds = call.as_ref().is_some_and(|(native, _, keys)| native.op == "ns::new" && keys.is_empty());
    match (expected, words) {
        _ if kinds => all(WORDS[0].1.iter().map(|kind| (*kind).to_owned()).collect()),
        (_, Some((_, words))) => all(words.iter().map(|word| (*word).to_owned()).collect()),
        (Some(name), _) if INTERFACES.contains(&name) => all(interfaces()),
        (Some(name), _) if IMAGES.contains(&name) => all(images(dirs)),
        _ => paths(word, quote),
    }
}

/// The network interfaces of the machine.
fn interfaces() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The images of the store.
fn images(dirs: &StateDirs) -> Vec<String> {
    let listed = image::list(dirs).unwrap_or_default();
    listed.into_iter().filter_map(|image| image.reference).collect()
}

/// Files whose path begins with `word`: their last part, with a `/` after a folder and the quote after a file.
fn paths(word: &str, quote: char) -> Vec<Pair> {
    let (folder, start) = word.rsplit_once('/').map_or(("", word), |(folder, start)| (folder, start));
    let folder = match (folder, word.starts_with('/')) {
        ("", true) => "/",
        ("", false) => ".",
        (folder, _) => folder,
    };
    let hidden = start.starts_with('.');
    let mut found: Vec<Pair> = std::fs::read_dir(Path::new(folder))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let fits = name.starts_with(start) && (hidden || !name.starts_with('.'));
            let end = if entry.path().is_dir() { '/' } else { quote };
            fits.then(|| Pair { display: name.clone(), replacement: format!("{name}{end}") })
        })
        .collect();
    found.sort_by(|a, b| a.display.cmp(&b.display));
    found
}

fn of_command(script: &Names<'_>, before: &str, words: &str) -> (usize, Vec<Pair>) {
    let pair = |text: String, end: &str| Pair { replacement: format!("{text}{end}"), display: text };
    let Some((name, rest)) = words.split_once(char::is_whitespace) else {
        let names =
            command::COMMANDS.iter().map(|command| command.name).filter(|name| name.starts_with(words));
        return (before.len() - words.len(), names.map(|name| pair(name.to_owned(), " ")).collect());
    };
    let word = rest.rsplit(char::is_whitespace).next().unwrap_or(rest);
    let start = before.len() - word.len();
    let fits =
        |names: Vec<String>| names.into_iter().filter(|name| name.starts_with(word)).collect::<Vec<_>>();
    let takes = command::COMMANDS.iter().find(|command| command.name == name).map(|command| command.takes);
    match takes {
        Some(command::Takes::Topic) => {
            (start, fits(help::names()).into_iter().map(|name| pair(name, "")).collect())
        }
        Some(command::Takes::File) => {
            let from = start + word.rfind('/').map_or(0, |slash| slash + 1);
            (from, paths(word, ' '))
        }
        Some(command::Takes::Handle) => {
            let names = script.handles().into_iter().map(|(name, _)| name).collect();
            (start, fits(names).into_iter().map(|name| pair(name, " ")).collect())
        }
        Some(command::Takes::Code) => {
            let code = before.len() - rest.len();
            let (at, found) = complete_code(script, rest);
            (code + at, found)
        }
        _ => (start, Vec::new()),
    }
}

fn complete_code(script: &Names<'_>, code: &str) -> (usize, Vec<Pair>) {
    let context = scan::context(code, code.len());
    (context.start, names(script, &context).into_iter().map(|name| candidate(name, false)).collect())
}

/// The rest of the signature of the call that is being typed.
pub(super) fn hint(script: &Names<'_>, line: &str, pos: usize) -> Option<String> {
    if line.trim_start().starts_with(':') {
        return command_hint(line);
    }
    let context = scan::context(line, pos);
    if context.comment {
        return None;
    }
    let frame = context.frames.last()?;
    // Of an argument that is being written nothing is left to say.
    let begins = line[..pos].trim_end().ends_with(['(', ',', '{']);
    if !begins {
        return None;
    }
    if frame.bracket == "(" && context.quote.is_none() && context.word.is_empty() {
        let params = script.parameters(&frame.callee);
        if let Some(params) = params.filter(|params| frame.commas < params.len().max(1)) {
            return Some(format!("{})", params[frame.commas.min(params.len())..].join(", ")));
        }
    }
    let (native, index, _) = call(script, &context.frames)?;
    match frame.bracket.as_str() {
        "(" if context.quote.is_none() && context.word.is_empty() => {
            let skip = usize::from(native.form != Form::Function);
            let left: Vec<String> = native
                .params
                .iter()
                .skip(skip + index)
                .map(|param| if param.optional { format!("[{}]", param.name) } else { param.name.to_owned() })
                .collect();
            let returns = match (native.returns)() {
                none if none.is_empty() => String::new(),
                some => format!(" -> {some}"),
            };
            Some(format!("{}){returns}", left.join(", ")))
        }
        "#{" if frame.key.is_none() && context.word.is_empty() => {
            let keys = option_keys(script, &context, frame);
            let names: Vec<&str> = keys.iter().map(|key| key.text.trim_end_matches(": ")).collect();
            (!names.is_empty()).then(|| format!(" {}", short(&names, 60)))
        }
        _ => None,
    }
}

/// The names that fit, and a sign when there are more.
fn short(names: &[&str], width: usize) -> String {
    let mut out = String::new();
    for name in names {
        if out.len() + name.len() > width {
            out.push_str(" …");
            break;
        }
        out.push_str(if out.is_empty() { "" } else { " " });
        out.push_str(name);
    }
    out
}

fn command_hint(line: &str) -> Option<String> {
    let word = line.trim_start().strip_prefix(':')?;
    let command = command::COMMANDS.iter().find(|command| command.name == word.trim_end())?;
    let space = if word.ends_with(' ') { "" } else { " " };
    (!command.usage.is_empty()).then(|| format!("{space}{}", command.usage))
}
