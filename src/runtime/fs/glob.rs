//! Paths by pattern: `*`, `?`, `[a-z]`, `[!a-z]`, `\` before a character meant as itself, and `**` for any folders.
//!
//! As in a shell, a name that begins with a dot is only matched by a pattern that does, and what does not exist does
//! not match. `**` does not follow links: they may lead in circles, and out of a container's root.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cancel;
use crate::runtime::fs::walk;
use crate::sys::Errno;
use std::path::{Path, PathBuf};

const OP: &str = "fs::glob";

/// One character of a name, or any number of them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Star,
    One,
    Set { negated: bool, ranges: Vec<(char, char)> },
    Char(char),
}

/// One part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Name(String),
    Match(Vec<Token>),
    Deep,
}

/// The paths that match, sorted.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for a bad pattern; when a folder cannot be listed.
pub fn glob(pattern: &str) -> Result<Vec<PathBuf>> {
    let parts = parse(pattern)?;
    let base = if pattern.starts_with('/') { PathBuf::from("/") } else { PathBuf::new() };
    let mut found = Vec::new();
    expand(&base, &parts, &mut found)?;
    found.sort();
    found.dedup();
    Ok(found)
}

fn parse(pattern: &str) -> Result<Vec<Part>> {
    let invalid = |what: &str| {
        Err(Error::new(ErrorKind::InvalidArgument, OP, format!("the pattern {pattern:?} {what}")))
    };
    let mut parts = Vec::new();
    for text in pattern.split('/').filter(|text| !text.is_empty()) {
        if text == "**" {
            parts.push(Part::Deep);
            continue;
        }
        if text.contains("**") {
            return invalid("has ** beside other characters: it stands for whole folders, as in a/**/b");
        }
        let Some(tokens) = tokens(text) else { return invalid("has a [ without its ], or ends in \\") };
        let plain = tokens.iter().map(|token| if let Token::Char(c) = token { Some(*c) } else { None });
        match plain.collect::<Option<String>>() {
            Some(name) => parts.push(Part::Name(name)),
            None => parts.push(Part::Match(tokens)),
        }
    }
    if parts.is_empty() && !pattern.starts_with('/') {
        return invalid("is empty");
    }
    if parts.last() == Some(&Part::Deep) {
        parts.push(Part::Match(vec![Token::Star]));
    }
    Ok(parts)
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::Star,
            '?' => Token::One,
            '\\' => Token::Char(chars.next()?),
            '[' => {
                let negated = chars.next_if(|c| matches!(c, '!' | '^')).is_some();
                let mut ranges = Vec::new();
                loop {
                    let low = match chars.next()? {
                        // First, it is one of the set.
                        ']' if !ranges.is_empty() => break,
                        '\\' => chars.next()?,
                        low => low,
                    };
                    let mut ahead = chars.clone();
                    let range = ahead.next() == Some('-') && ahead.peek().is_some_and(|c| *c != ']');
                    let high = if range { chars.by_ref().nth(1)? } else { low };
                    ranges.push((low, high));
                }
                Token::Set { negated, ranges }
            }
            c => Token::Char(c),
        });
    }
    Some(tokens)
}

/// Whether a name matches. The last `*` is the only one that ever has to be tried again.
fn matches(tokens: &[Token], name: &str) -> bool {
    if name.starts_with('.') && tokens.first() != Some(&Token::Char('.')) {
        return false;
    }
    let name: Vec<char> = name.chars().collect();
    let (mut t, mut n, mut retry) = (0, 0, None);
    while n < name.len() {
        match tokens.get(t) {
            Some(Token::Star) => {
                retry = Some((t, n));
                t += 1;
            }
            Some(token) if takes(token, name[n]) => {
                t += 1;
                n += 1;
            }
            _ => {
                let Some((star, from)) = retry else { return false };
                retry = Some((star, from + 1));
                (t, n) = (star + 1, from + 1);
            }
        }
    }
    tokens[t..].iter().all(|token| *token == Token::Star)
}

fn takes(token: &Token, c: char) -> bool {
    match token {
        Token::Star => false,
        Token::One => true,
        Token::Set { negated, ranges } => {
            ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
        }
        Token::Char(own) => *own == c,
    }
}

fn expand(base: &Path, parts: &[Part], found: &mut Vec<PathBuf>) -> Result<()> {
    cancel::check(OP)?;
    let Some((part, rest)) = parts.split_first() else {
        found.push(base.to_owned());
        return Ok(());
    };
    match part {
        Part::Name(name) => {
            let path = base.join(name);
            if std::fs::symlink_metadata(&path).is_ok() { expand(&path, rest, found) } else { Ok(()) }
        }
        Part::Match(tokens) => {
            for (name, _) in list(base)? {
                if matches(tokens, &name.to_string_lossy()) {
                    expand(&base.join(name), rest, found)?;
                }
            }
            Ok(())
        }
        Part::Deep => {
            expand(base, rest, found)?;
            for (name, is_folder) in list(base)? {
                if is_folder && !name.to_string_lossy().starts_with('.') {
                    expand(&base.join(name), parts, found)?;
                }
            }
            Ok(())
        }
    }
}

/// The names in a folder; none for what is no folder.
fn list(base: &Path) -> Result<Vec<(std::ffi::OsString, bool)>> {
    let folder = if base.as_os_str().is_empty() { Path::new(".") } else { base };
    match walk::entries(OP, folder) {
        Err(error) if matches!(error.errno(), Some(Errno::ENOTDIR | Errno::ENOENT | Errno::ELOOP)) => {
            Ok(Vec::new())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.d", false),
            ("*.conf", ".conf", false),
            (".*", ".conf", true),
            ("a*b*c", "axxbxbxc", true),
            ("a*b*c", "axxbxbx", false),
            ("?", "é", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]x]", "]", true),
            ("[a-]", "-", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
        ] {
            assert_eq!(matches(&tokens(pattern).unwrap(), name), expected, "{pattern} {name}");
        }
        for pattern in ["", "[a", "a\\", "a**"] {
            assert!(glob(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn paths_are_found_and_links_are_no_folders() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["a/b/c", "d/.hidden"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for file in ["a/1.rs", "a/b/2.rs", "a/b/c/3.rs", "d/.hidden/4.rs", "5.txt"] {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        std::os::unix::fs::symlink("..", dir.path().join("a/up")).unwrap();
        let shown = |pattern: &str| {
            let found = glob(&format!("{}/{pattern}", dir.path().display())).unwrap();
            let names = found.iter().map(|path| path.strip_prefix(dir.path()).unwrap().display().to_string());
            names.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(shown("**/*.rs"), "a/1.rs a/b/2.rs a/b/c/3.rs");
        assert_eq!(shown("*/*.rs"), "a/1.rs");
        assert_eq!(shown("a/up/*.txt"), "a/up/5.txt");
        assert_eq!(shown("a/b/**"), "a/b/2.rs a/b/c a/b/c/3.rs");
        assert_eq!(shown("5.txt/*"), "");
        assert_eq!(shown("none"), "");
        assert_eq!(shown("d/.h*/[0-9].rs"), "d/.hidden/4.rs");
    }
}
