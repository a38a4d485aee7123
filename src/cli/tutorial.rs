//! `cshell tutorial`: the pages at the prompt, their list, and all of them run without anybody.

use crate::cli::args::Lesson;
use crate::cli::prompt::{history, open, run_prompt};
use crate::cli::run::{fail_early, finish};
use crate::cli::{complain, say};
use crate::repl::recent::Recent;
use crate::repl::{Options, lesson};
use crate::runtime::rootless;
use crate::script::report::{EXIT_SCRIPT, EXIT_USAGE, Report};
use crate::script::run::Ending;
use crate::text::report;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Does what is wanted of the tutorial.
pub(super) fn tutorial(wish: &Lesson) -> u8 {
    let titles = lesson::titles();
    if wish.page.is_some_and(|page| !(1..=titles.len()).contains(&page)) {
        let mut report =
            Report::plain(format!("the tutorial has the pages 1 to {}", titles.len()), EXIT_USAGE);
        report.hint = Some("`cshell tutorial --list` shows them".into());
        complain(&report::render(&report, &|_| None));
        return EXIT_USAGE;
    }
    let history = history();
    if wish.list {
        let lines = titles.iter().enumerate().map(|(index, title)| format!("{:>2}  {title}\n", index + 1));
        return say(&lines.collect::<String>());
    }
    if wish.reset {
        // Where nothing was done there is nothing to forget.
        let _ = history.map(|history| std::fs::remove_file(history.with_file_name("tutorial-done")));
        return say("the tutorial begins at its first page again\n");
    }
    if wish.verify {
        return verify();
    }
    run_prompt(Options { first: None, history, tutorial: Some(wish.page) }, Vec::new(), None)
}

fn verify() -> u8 {
    if let Err(error) = rootless::enter() {
        let report = Report::of_error(&error);
        complain(&report::render(&report, &|_| None));
        return report.exit_code;
    }
    let shell = match open("tutorial", Vec::new(), Recent::default(), None) {
        Ok(shell) => shell,
        Err(error) => return fail_early(&error),
    };
    let ending = catch_unwind(AssertUnwindSafe(|| {
        let well = lesson::verify(&shell, &mut |line| {
            say(&format!("{line}\n"));
        });
        Ending::Exit(if well { 0 } else { EXIT_SCRIPT })
    }));
    finish(&shell, &ending)
}
