//! The README says nothing that is not so: its scripts check, its commands exist, its tables match the program.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::path::Path;
use support::{Ended, cshell};

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// The fenced blocks of a language.
fn fences(text: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(name)) => open = (name == language).then(String::new).or(Some("\0".into())),
            (Some(_), Some(_)) => found.extend(open.take().filter(|block| !block.starts_with('\0'))),
            (Some(block), None) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

#[test]
fn each_script_checks() {
    let scripts = fences(&readme(), "rhai");
    assert!(!scripts.is_empty());
    for script in scripts {
        cshell(["check", "script.rhai"]).file("script.rhai", &script).check();
    }
}

#[test]
fn the_tour_runs() {
    let script = fences(&readme(), "rhai").remove(0);
    let script = format!("{script}\nimage::remove(\"localhost/demo:1\");");
    let run = cshell(["script.rhai"]).file("script.rhai", &script).output();
    assert_eq!(run.ended, Ended::Exit(0), "{}", run.stderr);
    assert!(run.stdout.starts_with("lab\n"), "{}", run.stdout);
    assert!(run.stdout.contains("10.9.0.2/24"), "{}", run.stdout);
    assert!(run.stdout.contains("sha256:"), "{}", run.stdout);
}

#[test]
fn each_error_shown_is_what_is_printed() {
    let mut seen = 0;
    for block in fences(&readme(), "console") {
        let Some((command, output)) = block.split_once('\n') else { continue };
        let Some(code) = command.strip_prefix("# cshell -c '").and_then(|rest| rest.strip_suffix('\''))
        else {
            continue;
        };
        let run = cshell(["-c", code]).output();
        assert_eq!(run.stderr, output, "{command}");
        seen += 1;
    }
    assert!(seen > 0);
}

#[test]
fn the_first_line_says_what_it_is() {
    let text = readme();
    let first = text.lines().find(|line| !line.is_empty() && !line.starts_with('#')).unwrap();
    assert!(first.starts_with("A container shell:"), "{first}");
}
