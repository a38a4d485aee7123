//! The program that tries to get out, and the table of what it must be answered.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// What each attempt is answered in a default container whose user is root.
pub(crate) const EXPECTED: &str = include_str!("expected.txt");

/// The program, made once.
#[expect(clippy::disallowed_methods, reason = "the compiler is no part of the program under test")]
pub(crate) fn program() -> &'static PathBuf {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    PROBE.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/security/probe.c");
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("probe-{}", std::process::id()));
        let made = Command::new("cc").args(["-static", "-O1", "-o"]).arg(&path).arg(source).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        path
    })
}

/// The answers by name; several that are possible are separated by `|`.
pub(crate) fn table(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    pairs
        .map(|line| line.split_once(' ').unwrap_or_else(|| panic!("{line:?} in {text}")))
        .map(|(name, answer)| (name.to_owned(), answer.trim().to_owned()))
        .collect()
}

/// What was answered otherwise than expected, a line each.
pub(crate) fn wrong(expected: &BTreeMap<String, String>, held: &BTreeMap<String, String>) -> Vec<String> {
    let is = |held: Option<&String>, answers: &str| {
        held.is_some_and(|held| answers.split('|').any(|one| one == held))
    };
    expected
        .iter()
        .filter(|(name, answers)| !is(held.get(*name), answers))
        .map(|(name, answers)| format!("{name}: {:?} instead of {answers}", held.get(name)))
        .collect()
}
