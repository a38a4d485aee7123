//! `cshell audit`: what a process may do, explained, whoever started it.

use crate::cli::doctor::Format;
use crate::cli::{complain, say};
use crate::error::Result;
use crate::runtime::security::audit::{self, Finding, Grade};
use crate::runtime::security::find::{self, Subject};
use crate::runtime::state::StateDirs;
use crate::script::report::Report;
use crate::text::report;
use serde_json::json;

const OP: &str = "audit";

/// Shows the findings about a process, the most open first: by its id, or by its container.
pub(super) fn audit(process: &str, format: Format) -> u8 {
    match look(process) {
        Ok((subject, findings)) => say(&match format {
            Format::Json => format!("{}\n", to_json(&subject, &findings)),
            Format::Text => table(&subject, findings),
        }),
        Err(error) => {
            let told = Report::of_error(&error);
            complain(&report::render(&told, &|_| None));
            told.exit_code
        }
    }
}

fn look(process: &str) -> Result<(Subject, Vec<Finding>)> {
    let subject = find::subject(OP, &StateDirs::from_env(), process)?;
    let findings = audit::audit(OP, subject.pid)?;
    Ok((subject, findings))
}

fn to_json(subject: &Subject, findings: &[Finding]) -> serde_json::Value {
    let container = subject.container.as_ref();
    json!({
        "pid": subject.pid,
        "container": container.map(|it| json!({
            "runtime": it.runtime,
            "id": it.id,
            "names": it.names,
            "state": it.state,
        })),
        "findings": audit::to_json(findings),
    })
}

fn table(subject: &Subject, mut findings: Vec<Finding>) -> String {
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.grade));
    let open = findings.iter().filter(|finding| finding.grade == Grade::Open).count();
    let pid = subject.pid;
    let of = subject.container.as_ref().map_or_else(String::new, |container| {
        let id = if container.name() == container.id { String::new() } else { format!(", {}", container.id) };
        format!(" (container {} of {}{id})", container.name(), container.runtime)
    });
    let mut out = match open {
        0 => format!("process {pid}{of}: nothing is open\n\n"),
        1 => format!("process {pid}{of}: one part is open\n\n"),
        _ => format!("process {pid}{of}: {open} parts are open\n\n"),
    };
    for finding in &findings {
        let Finding { part, grade, held, means } = finding;
        out.push_str(&format!("{:<7} {part:<16} {}\n", grade.name(), report::one_line(held)));
        means.split("; ").for_each(|line| out.push_str(&format!("{:<24} {line}\n", "")));
    }
    out
}
