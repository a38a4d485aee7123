//! `cshell doc`: what there is to read about the language, from the same tables that the interpreter is built from.

use crate::cli::{complain, say};
use crate::script::help::{self, Style};
use crate::script::report::{EXIT_USAGE, Report};
use crate::text::report;

/// The columns of a page where no terminal says otherwise.
const WIDTH: usize = 80;

/// Shows the list of what there is, or the page of a name.
pub(super) fn doc(name: Option<&str>) -> u8 {
    match help::page(name.unwrap_or_default(), Style { width: WIDTH, colour: false }) {
        Ok(text) => say(&text),
        Err(unknown) => {
            let mut report = Report::plain(unknown.to_string(), EXIT_USAGE);
            report.hint = Some("`cshell doc` lists what there is".into());
            complain(&report::render(&report, &|_| None));
            EXIT_USAGE
        }
    }
}
