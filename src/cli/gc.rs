//! `cshell gc`: takes back what killed sessions left behind.

use crate::cli::{complain, render, say};
use crate::runtime::gc::{self, Found, Options};
use crate::runtime::state::StateDirs;
use crate::script::report::{EXIT_SCRIPT, Report, full_text};
use std::fmt::Write;

/// Collects, and tells what was done: a line for each object. The code is 1 when something could not be taken back.
pub(super) fn gc(options: Options) -> u8 {
    let found = match gc::collect(&StateDirs::from_env(), options) {
        Ok(found) => found,
        Err(error) => {
            let report = Report::of_error(&error);
            complain(&render::render(&report, &|_| None));
            return report.exit_code;
        }
    };
    let (out, failed) = tell(&found, options);
    say(&out);
    if failed { EXIT_SCRIPT } else { 0 }
}

fn tell(found: &[Found], options: Options) -> (String, bool) {
    let verb = if options.dry_run { "would reclaim" } else { "reclaimed" };
    let mut out = String::new();
    let mut failed = false;
    for session in found {
        for entry in &session.entries {
            let error = session.errors.iter().find(|(n, _)| *n == entry.n);
            if let Some((_, error)) = error {
                failed = true;
                complain(&render::warning(&format!(
                    "could not reclaim {}: {}",
                    entry.object,
                    full_text(error)
                )));
                continue;
            }
            let place = entry.at.as_ref().map_or_else(String::new, |at| format!(", made at {at}"));
            let _ =
                writeln!(out, "{verb} {} ({} of session {}{place})", entry.object, entry.op, session.session);
        }
    }
    if out.is_empty() && !failed {
        out.push_str("nothing to reclaim\n");
    }
    (out, failed)
}
