//! Every recipe in `scripts/` says what it needs and what it ends with, checks without findings, and runs to that end.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::path::{Path, PathBuf};
use support::{Ended, cshell};

fn recipes() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    assert!(found.len() >= 6, "{found:?}");
    found
}

/// The value of a line `// NAME: VALUE` of the header.
fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let head = text.lines().take_while(|line| line.starts_with("//") || line.starts_with("#!"));
    head.filter_map(|line| line.strip_prefix("// ")?.strip_prefix(name)?.strip_prefix(": ")).next()
}

#[test]
fn each_recipe_has_a_header_and_checks() {
    for path in recipes() {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("#!/usr/bin/env cshell\n// "), "{path:?} starts with its purpose");
        for name in ["needs", "expect", "see"] {
            assert!(header(&text, name).is_some(), "{path:?} has no line `// {name}: …` in its header");
        }
        cshell(["check".into(), path.into_os_string()]).check();
    }
}

#[test]
fn each_recipe_ends_as_its_header_says() {
    for path in recipes() {
        let text = std::fs::read_to_string(&path).unwrap();
        let run = cshell([path.clone()]).output();
        assert_eq!(run.ended, Ended::Exit(0), "{path:?}: {}", run.stderr);
        assert_eq!(run.stdout.lines().last(), header(&text, "expect"), "{path:?}: {}", run.stdout);
        assert_eq!(run.stderr, "", "{path:?}");
    }
}
