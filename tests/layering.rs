//! Who may import whom, who may use the language, and where unsafe code may be.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::{Path, PathBuf};

/// For each layer, what it may name after `crate::`. A path allows itself and what is below it.
const MAY: &[(&str, &[&str])] = &[
    ("sys", &["sys"]),
    ("error", &["sys", "error"]),
    ("runtime", &["sys", "error", "runtime"]),
    ("script", &["error", "runtime", "script"]),
    ("text", &["error", "runtime", "script", "text"]),
    ("repl", &["error", "runtime", "script", "text", "repl"]),
    // Its processes are copies of itself.
    ("testrun", &["error", "runtime", "script", "text", "testrun", "sys::fork", "sys::process"]),
    // Dying by a signal is the last act of the program.
    ("cli", &["error", "runtime", "script", "text", "repl", "testrun", "cli", "sys::signal"]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The lines of code of a file, without comments and without its unit tests, with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().take_while(|line| *line != "#[cfg(test)]");
    let code = lines.enumerate().map(|(index, line)| (index + 1, line.split("//").next().unwrap_or("")));
    code.filter(|(_, line)| !line.trim().is_empty())
}

/// The paths after `crate::` in a line, two segments deep: `use crate::{a, b::c}` names `a` and `b::c`.
fn named(line: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        let list = rest.strip_prefix('{').map_or(vec![rest], |group| group.split(',').collect());
        for path in list {
            let path: String =
                path.trim().chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c)).collect();
            names.push(path.split("::").take(2).collect::<Vec<_>>().join("::"));
        }
    }
    names
}

fn complaints(layer: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let may = MAY.iter().find(|(name, _)| *name == layer).map(|(_, may)| *may);
    for (number, line) in code(text) {
        for name in named(line) {
            let allowed = may.is_none_or(|may| {
                may.iter().any(|may| {
                    name == *may || name.strip_prefix(may).is_some_and(|rest| rest.starts_with("::"))
                })
            });
            if !allowed {
                complaints.push(format!("{number}: {layer} may not use {name}"));
            }
        }
        let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        if words.contains(&"rhai") && layer != "script" && !line.contains(".rhai") {
            complaints.push(format!("{number}: only script knows the language"));
        }
        if words.contains(&"unsafe") && layer != "sys" {
            complaints.push(format!("{number}: unsafe code belongs to sys"));
        }
    }
    complaints
}

#[test]
fn each_layer_uses_only_what_is_below() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 20, "the sources are gone");
    let mut all = Vec::new();
    for file in files {
        let path = file.strip_prefix(&root).unwrap();
        let layer = path.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        let text = std::fs::read_to_string(&file).unwrap();
        all.extend(
            complaints(layer, &text).into_iter().map(|complaint| format!("{}:{complaint}", path.display())),
        );
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn a_broken_layer_is_told() {
    for (layer, line) in [
        ("runtime", "use crate::script::engine;"),
        ("script", "use crate::sys::signal;"),
        ("script", "use crate::{error::Error, sys};"),
        ("sys", "    let x = crate::error::Error::new();"),
        ("error", "use crate::runtime::session;"),
        ("cli", "use rhai::Engine;"),
        ("cli", "    let x = unsafe { y() };"),
    ] {
        assert_eq!(complaints(layer, line).len(), 1, "{layer}: {line}");
    }
    for (layer, line) in [
        ("runtime", "// use crate::script::engine;"),
        ("script", "use rhai::Engine;"),
        ("cli", "use crate::sys::signal;"),
        ("sys", "unsafe { x() }"),
    ] {
        assert_eq!(complaints(layer, line), Vec::<String>::new(), "{layer}: {line}");
    }
}
