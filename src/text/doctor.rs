//! What this host lets the program do, as a table.

use crate::runtime::doctor::{Finding, State};
use crate::runtime::rootless;
use std::fmt::Write;

/// The findings, what they count up to, and what cannot work without root.
#[must_use]
pub fn table(findings: &[Finding]) -> String {
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
