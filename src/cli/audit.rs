//! `cshell audit`: what a process may do, explained, whoever started it.

use crate::cli::doctor::Format;
use crate::cli::{complain, say};
use crate::runtime::security::audit::{self, Finding, Grade};
use crate::script::report::{EXIT_USAGE, Report};
use crate::text::report;

/// Shows the findings about a process, the most open first.
pub(super) fn audit(process: &str, format: Format) -> u8 {
    const OP: &str = "audit";
    let Ok(pid) = process.parse::<i32>() else {
        let mut report = Report::plain(format!("audit: {process:?} is not a process id"), EXIT_USAGE);
        report.hint = Some("give the number of a running process, such as $$ of a shell".into());
        complain(&report::render(&report, &|_| None));
        return EXIT_USAGE;
    };
    match audit::audit(OP, pid) {
        Ok(findings) if format == Format::Json => say(&format!("{}\n", audit::to_json(&findings))),
        Ok(findings) => say(&table(pid, findings)),
        Err(error) => {
            let report = Report::of_error(&error);
            complain(&report::render(&report, &|_| None));
            report.exit_code
        }
    }
}

fn table(pid: i32, mut findings: Vec<Finding>) -> String {
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.grade));
    let open = findings.iter().filter(|finding| finding.grade == Grade::Open).count();
    let mut out = match open {
        0 => format!("process {pid}: nothing is open\n\n"),
        1 => format!("process {pid}: one part is open\n\n"),
        _ => format!("process {pid}: {open} parts are open\n\n"),
    };
    for finding in &findings {
        let Finding { part, grade, held, means } = finding;
        out.push_str(&format!("{:<7} {part:<16} {}\n", grade.name(), report::one_line(held)));
        means.split("; ").for_each(|line| out.push_str(&format!("{:<24} {line}\n", "")));
    }
    out
}
