//! What a command speaks of, read roughly as a shell reads it: its words, the files that it writes to, what variables stand for.

use std::borrow::Cow;
use std::path::Path;

/// Programs that make files.
pub(super) const MAKERS: [&str; 22] = [
    "touch",
    "mkdir",
    "mkfifo",
    "mknod",
    "mktemp",
    "cp",
    "mv",
    "tee",
    "dd",
    "ln",
    "tar",
    "install",
    "truncate",
    "rsync",
    "add",
    "link",
    "init",
    "clone",
    "fallocate",
    "sqlite3",
    "mksquashfs",
    "split",
];

/// Programs that run code which they are given.
const INTERPRETERS: [&str; 6] = ["python", "perl", "ruby", "node", "lua", "php"];

/// How such code opens a file to write it, or what it calls to make one.
const WRITES: [&str; 20] = [
    "w",
    "wb",
    "wt",
    "w+",
    "a",
    "ab",
    "at",
    "a+",
    "x",
    "xb",
    "xt",
    "makedirs",
    "write_text",
    "write_bytes",
    "writeFileSync",
    "file_put_contents",
    "mkdir",
    "touch",
    "mknod",
    "symlink",
];

/// Whether a text gives an interpreter code that makes files.
pub(super) fn writes_by_code(text: &str) -> bool {
    let interprets = |word: &str| INTERPRETERS.iter().any(|name| base(word).starts_with(name));
    words(text).any(interprets)
        && words(text).flat_map(|word| word.rsplit('.').next()).any(|word| WRITES.contains(&word))
}

/// The commands that a text is made of, roughly.
pub(super) fn commands(text: &str) -> impl Iterator<Item = &str> {
    let mut before = ' ';
    // Not at the `&` of `2>&1`.
    let ends = move |c: char| {
        let last = std::mem::replace(&mut before, c);
        matches!(c, ';' | '&' | '|' | '\n') && (c, last) != ('&', '>')
    };
    text.split(ends).filter(|command| !command.trim().is_empty())
}

/// What a shell writes to because of `>`.
pub(super) fn redirections(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('>').filter_map(|(at, _)| {
        let target = text[at + 1..].trim_start_matches(['>', '|']).trim_start();
        words(target).next().filter(|_| !target.starts_with('&'))
    })
}

/// What programs write to because an option says so: `-o`, as that of sort(1), cc(1) and curl(1), `-O` of wget(1), `-out` of
/// openssl(1).
pub(super) fn outputs(text: &str) -> impl Iterator<Item = &str> {
    let mut before = "";
    words(text).filter_map(move |word| {
        let option = std::mem::replace(&mut before, word);
        match word.split_once('=') {
            Some(("--output", file)) => Some(file),
            _ if word.starts_with("-o/") => word.strip_prefix("-o"),
            _ => matches!(option, "-o" | "--output" | "-O" | "-out").then_some(word),
        }
    })
}

/// A program without the folder that it lies in.
pub(super) fn base(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// Whether a text has this word, not as a part of a longer one, or of a longer path.
pub(super) fn mentions(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let mut after = text[at + word.len()..].chars();
        let (next, second) = (after.next(), after.next());
        let begins = before.is_none_or(|c| !is_part(c) && c != '.' && (c != '/' || word.starts_with('/')));
        let ends = next.is_none_or(|c| !(is_part(c) || c == '.' && second.is_some_and(is_part)));
        begins && ends
    })
}

/// The words of a command, as a shell takes them apart, roughly.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    let ends = |c: char| c.is_whitespace() || "\"'`;|&<>,[]()".contains(c);
    text.split(ends).filter(|word| !word.is_empty())
}

/// A text with the values that it gives to variables of the shell itself, once each: `d=/tmp; touch $d/x`.
pub(super) fn spelled_out(text: &str) -> Cow<'_, str> {
    if !text.contains('$') || !text.contains('=') {
        return text.into();
    }
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let all: Vec<&str> = words(text).collect();
    let mut given: Vec<(&str, &str)> = Vec::new();
    for (index, word) in all.iter().enumerate() {
        let Some((name, value)) = word.split_once('=').filter(|(name, _)| is_name(name)) else { continue };
        // In quotes it is a word of its own.
        let value = if value.is_empty() { all.get(index + 1).copied().unwrap_or_default() } else { value };
        given.push((name, value));
    }
    let once = |name: &str| given.iter().filter(|(other, _)| *other == name).count() == 1;
    let mut whole = text.to_owned();
    for (name, value) in given.iter().filter(|(name, value)| once(name) && !value.contains('$')) {
        whole = whole.replace(&format!("${{{name}}}"), value);
        let plain = format!("${name}");
        let mut rest = std::mem::take(&mut whole);
        while let Some(at) = rest.find(&plain) {
            let after = rest.split_off(at + plain.len());
            // Not `$dir` where `$d` is known.
            let longer = after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            whole.push_str(if longer { &rest } else { &rest[..at] });
            whole.push_str(if longer { "" } else { value });
            rest = after;
        }
        whole.push_str(&rest);
    }
    whole.into()
}

/// Whether a text goes into the folder of a file: `cd /tmp; touch x`.
pub(super) fn enters_folder_of(text: &str, path: &Path) -> bool {
    let folder = path.parent().and_then(Path::to_str);
    // `cwd` is the option of `proc::exec`.
    let mut before = "";
    words(text).filter(|word| *word != ":").any(|word| {
        let enters = matches!(std::mem::replace(&mut before, word), "cd" | "cwd" | "cwd:" | "#{cwd:");
        enters && Some(word.trim_end_matches('/')) == folder
    })
}

/// Whether a command copies, moves or links a file of this name into the folder of a path: `cp /etc/hostname /tmp`.
pub(super) fn copies_into_folder_of(command: &str, path: &Path) -> bool {
    const COPIERS: [&str; 5] = ["cp", "mv", "ln", "install", "rsync"];
    let (folder, name) =
        (path.parent().and_then(Path::to_str), path.file_name().and_then(|name| name.to_str()));
    let has = |is: &dyn Fn(&str) -> bool| words(command).any(is);
    has(&|word| COPIERS.contains(&base(word)))
        && has(&|word| Some(word.trim_end_matches('/')) == folder)
        && has(&|word| Some(base(word.trim_end_matches('/'))) == name)
}

/// The verb of an ip(8), which may be as short as it is clear: the word behind the object.
pub(super) fn verb_of_ip(command: &str) -> Option<&str> {
    let mut words = words(command).skip_while(|word| base(word) != "ip").skip(1);
    // Of the options only that for a namespace has a value, and what is made there is not looked at.
    let mut plain = words.by_ref().filter(|word| !word.starts_with('-'));
    plain.nth(1)
}

/// Whether a word is a file, by its path, by its name `inside` of its folder, or by what the shell completes to it: `/tmp/job-$n`.
/// Of the name itself there has to be enough then. A name that is made up, `/tmp/job.XXXX` of mktemp(1) or `/tmp/job-$$`, may be that of
/// any test which runs the same.
pub(super) fn names(word: &str, path: &Path, inside: bool) -> bool {
    const ENOUGH: usize = 4;
    let (Some(folder), Some(name)) = (path.parent().and_then(Path::to_str), path.file_name()) else {
        return false;
    };
    let name = name.to_string_lossy();
    let word = &without_detours(word);
    // Of what is made below it the folder counts.
    let relative =
        if inside && !word.starts_with('/') { word.split('/').next().unwrap_or(word) } else { word };
    let word = relative;
    let (above, last) = word.rsplit_once('/').unwrap_or(("", word));
    let is_there = above == folder || (above.is_empty() && inside);
    is_there && (last == name || literal(last) >= ENOUGH && completes(last, &name))
}

/// A path without `..`, `.` and empty parts, as if none of its folders were a link.
fn without_detours(word: &str) -> Cow<'_, str> {
    if !word.contains("//") && !word.contains("/.") {
        return word.into();
    }
    let mut whole: Vec<&str> = Vec::new();
    for part in word.split('/') {
        match part {
            ".." if whole.len() > 1 => whole.truncate(whole.len() - 1),
            "" | "." | ".." if !whole.is_empty() => {}
            part => whole.push(part),
        }
    }
    whole.join("/").into()
}

/// A part of a word of the shell.
#[derive(Clone, Copy)]
enum Part<'a> {
    /// As it stands there.
    Literal(&'a str),
    /// A variable.
    Variable,
    /// Something that is another each time: letters that `mktemp` replaces, the pid of a shell.
    MadeUp,
}

/// How much of a word is there as it stands.
fn literal(word: &str) -> usize {
    let len = |part| if let Part::Literal(text) = part { text.len() } else { 0 };
    parts(word).map(len).sum()
}

/// Whether a name is what a word becomes once the shell is through with it.
fn completes(word: &str, name: &str) -> bool {
    let mut rest = name;
    let mut open = false;
    for part in parts(word) {
        match part {
            Part::Variable => open = true,
            Part::MadeUp => return false,
            Part::Literal(text) => {
                let Some(at) = rest.find(text).filter(|at| open || *at == 0) else { return false };
                (rest, open) = (&rest[at + text.len()..], false);
            }
        }
    }
    open || rest.is_empty()
}

/// A word taken apart.
fn parts(word: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let template = rest.bytes().take_while(|byte| *byte == b'X').count();
        let (len, part) = if first == '$' {
            let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let braced = rest.starts_with("${").then(|| rest.find('}').map(|end| end + 1)).flatten();
            let plain = rest[1..].find(|c| !name(c)).map_or(rest.len(), |end| end + 1);
            let len = braced.unwrap_or(plain);
            match rest[1..len].trim_matches(['{', '}']) {
                "" if rest.starts_with("$$") => (2, Part::MadeUp),
                "RANDOM" | "BASHPID" | "$" => (len, Part::MadeUp),
                _ => (len, Part::Variable),
            }
        } else if template >= 3 {
            (template, Part::MadeUp)
        } else {
            let start = template.max(first.len_utf8());
            let end = rest[start..].find(['$', 'X']).map_or(rest.len(), |end| start + end);
            (end, Part::Literal(&rest[..end]))
        };
        rest = &rest[len..];
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_stand_for_anything() {
        assert!(completes("a$b-${c}x", "a1-2x"));
        assert!(!completes("a$b-", "a1-2"));
        assert!(!completes("$b.log", "x.logs"));
    }

    #[test]
    fn variables_that_are_given_once_are_spelled_out() {
        for (text, whole) in [
            ("d=/tmp; touch $d/x ${d}/y", "d=/tmp; touch /tmp/x /tmp/y"),
            ("d=/tmp; touch $dir/x", "d=/tmp; touch $dir/x"),
            ("d='/a b'; touch $d", "d='/a b'; touch /a"),
            ("d=/a; d=/b; touch $d", "d=/a; d=/b; touch $d"),
            ("d=$e; touch $d", "d=$e; touch $d"),
            ("touch $d", "touch $d"),
        ] {
            assert_eq!(spelled_out(text), whole);
        }
    }
}
