//! `cshell check`: finds mistakes without running.

use crate::cli::complain;
use crate::script::check;
use crate::script::report::{EXIT_USAGE, Report};
use crate::text::report;
use std::path::PathBuf;

/// Checks scripts and what they import. The code is 2 when anything was found.
pub(super) fn check(files: &[PathBuf]) -> u8 {
    let checked = match check::check(files) {
        Ok(checked) => checked,
        Err(error) => {
            let report = Report::of_error(&error);
            complain(&report::render(&report, &|_| None));
            return report.exit_code;
        }
    };
    for report in &checked.reports {
        complain(&report::render(report, &|name| checked.source(name)));
    }
    if checked.reports.is_empty() { 0 } else { EXIT_USAGE }
}
