//! `cshell doctor`: what this host lets the program do, and how to mend what it does not.

use crate::cli::say;
use crate::runtime::doctor::{self, Finding, State};
use crate::runtime::rootless;
use crate::script::report::EXIT_HOST;
use crate::text::doctor as findings;

/// How it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// As one JSON document.
    Json,
}

/// Looks at everything, and tells it. The code is 3 when something is not there that every container needs.
pub(super) fn doctor(format: Format) -> u8 {
    let found = doctor::examine();
    match format {
        Format::Text => say(&findings::table(&found)),
        Format::Json => say(&json(&found)),
    };
    if doctor::worst(&found) == State::Missing { EXIT_HOST } else { 0 }
}

fn json(findings: &[Finding]) -> String {
    let ok = doctor::worst(findings) != State::Missing;
    let cannot = rootless::report();
    format!("{:#}\n", serde_json::json!({ "ok": ok, "checks": findings, "cannot": cannot }))
}
