//! `cshell doctor`: what this host lets the program do, and how to mend what it does not.

use crate::cli::say;
use crate::runtime::doctor::{self, Finding, State};
use crate::runtime::rootless;
use crate::script::report::EXIT_HOST;
use std::fmt::Write;

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
    let findings = doctor::examine();
    match format {
        Format::Text => say(&table(&findings)),
        Format::Json => say(&json(&findings)),
    };
    if doctor::worst(&findings) == State::Missing { EXIT_HOST } else { 0 }
}

fn json(findings: &[Finding]) -> String {
    let ok = doctor::worst(findings) != State::Missing;
    let cannot = rootless::report();
    format!("{:#}\n", serde_json::json!({ "ok": ok, "checks": findings, "cannot": cannot }))
}

fn table(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.name.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for finding in findings {
        let _ = writeln!(out, "{:<7}  {:<width$}  {}", finding.state.name(), finding.name, finding.found);
        if let Some(fix) = &finding.fix {
            let _ = writeln!(out, "{:<7}  {:<width$}  for {}: {fix}", "", "", finding.purpose);
        }
    }
    let count = |state| findings.iter().filter(|finding| finding.state == state).count();
    let _ = writeln!(
        out,
        "\n{} ok, {} that some calls need, {} that every container needs",
        count(State::Ok),
        count(State::Warn),
        count(State::Missing)
    );
    let cannot = rootless::report();
    if !cannot.is_empty() {
        out.push_str("\nWithout root this cannot work here:\n");
    }
    for limit in cannot {
        let _ = writeln!(out, "  {}\n    {}", limit.what, limit.why);
        if let Some(fix) = limit.fix {
            let _ = writeln!(out, "    {fix}");
        }
    }
    out
}
