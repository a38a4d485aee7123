//! Tests that cannot run here: said, counted, and an error where everything has to run.

use std::io::Write;

/// Says that a test does not run, and why: on the standard error, past the capture of the test harness, and in the file
/// `CSHELL_SKIPPED`, which `tests/run.sh` counts.
///
/// # Panics
/// Where `CI` is `true`: there, nothing may be left out.
#[track_caller]
pub(crate) fn skip(test: &str, reason: &str) {
    let line = format!("SKIP: {test}: {reason}");
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{line}");
    let _ = writeln!(std::io::stderr(), "{line}");
    count("CSHELL_SKIPPED", &line);
}

/// Adds a line to the file that this variable names, if it does.
pub(crate) fn count(variable: &str, line: &str) {
    if let Some(path) = std::env::var_os(variable) {
        let open = std::fs::OpenOptions::new().append(true).create(true).open(path);
        open.and_then(|mut file| writeln!(file, "{line}"))
            .unwrap_or_else(|error| panic!("{variable}: {error}"));
    }
}
