//! `cshell gc`: takes back what killed sessions left behind.

use crate::cli::{complain, say};
use crate::runtime::gc::{self, Found, Options};
use crate::runtime::image::{self, Pruned};
use crate::runtime::rootless;
use crate::runtime::state::StateDirs;
use crate::runtime::units::show_bytes;
use crate::script::report::{EXIT_SCRIPT, Report, full_text};
use crate::text::report;
use std::fmt::Write;

/// Collects, and tells what was done: a line for each object. The code is 1 when something could not be taken back.
pub(super) fn gc(options: Options) -> u8 {
    // The files of an ordinary user's containers may belong to its subordinate ids. Where no namespace can be had, what
    // can be reclaimed without is reclaimed, and the rest is said.
    let _ = rootless::enter();
    let dirs = StateDirs::from_env();
    let done = gc::collect(&dirs, options).and_then(|found| {
        // What a killed commit had moved into the store already: no image names it.
        let pruned = if options.dry_run { Pruned::default() } else { image::prune(&dirs)? };
        Ok((found, pruned))
    });
    match done {
        Ok((found, pruned)) => {
            let (out, failed) = tell(&found, &pruned, options);
            say(&out);
            if failed { EXIT_SCRIPT } else { 0 }
        }
        Err(error) => {
            let report = Report::of_error(&error);
            complain(&report::render(&report, &|_| None));
            report.exit_code
        }
    }
}

fn tell(found: &[Found], pruned: &Pruned, options: Options) -> (String, bool) {
    let verb = if options.dry_run { "would reclaim" } else { "reclaimed" };
    let mut out = String::new();
    let mut failed = false;
    for session in found {
        for entry in &session.entries {
            let error = session.errors.iter().find(|(n, _)| *n == entry.n);
            if let Some((_, error)) = error {
                failed = true;
                complain(&report::warning(&format!(
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
    if pruned.blobs + pruned.layers > 0 {
        let size = show_bytes(pruned.bytes);
        let _ = writeln!(
            out,
            "{verb} {} blobs ({size}) and {} layers that no image names",
            pruned.blobs, pruned.layers
        );
    }
    if out.is_empty() && !failed {
        out.push_str("nothing to reclaim\n");
    }
    (out, failed)
}
