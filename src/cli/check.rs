//! `cshell check`: finds mistakes without running.

use crate::cli::{complain, render};
use crate::script::check;
use crate::script::report::EXIT_USAGE;
use std::path::PathBuf;

/// Checks scripts and what they import. The code is 2 when anything was found.
pub(super) fn check(files: &[PathBuf]) -> u8 {
    let checked = check::check(files);
    for report in &checked.reports {
        complain(&render::render(report, &|name| checked.source(name)));
    }
    if checked.reports.is_empty() { 0 } else { EXIT_USAGE }
}
