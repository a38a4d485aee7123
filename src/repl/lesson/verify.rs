//! `cshell tutorial --verify`: the solution of each page, and its check, run without anybody.

use crate::repl::Prompt;
use crate::repl::input::{Input, Plain};
use crate::repl::lesson::{judge, text};
use crate::repl::recent::Recent;
use crate::repl::show::Screen;
use crate::script::interactive::Answer;
use crate::script::report::{EXIT_HOST, Report};
use crate::script::shell::Shell;
use std::path::Path;
use std::rc::Rc;

/// Why a page does not hold.
enum Lack {
    /// The machine, or this user on it, cannot.
    Here(String),
    /// The page is wrong.
    Page(String),
}

/// Runs every page: its check must fail before anything is made, and hold after its solution. What each has made is taken
/// back. What the machine cannot do is left out, and why. Calls `tell` with a line for each, and one that counts; whether
/// all is well.
pub fn verify(shell: &Rc<Shell>, tell: &mut dyn FnMut(&str)) -> bool {
    let pages = text::pages();
    let (mut held, mut skipped, mut failed) = (0, 0, 0);
    for (index, page) in pages.iter().enumerate() {
        let name = format!("{:>2} {}", index + 1, page.title);
        match verify_page(shell, &pages, page) {
            Ok(()) => {
                held += 1;
                tell(&format!("ok   {name}"));
            }
            Err(Lack::Here(what)) => {
                skipped += 1;
                tell(&format!("SKIP {name}: {what}"));
            }
            Err(Lack::Page(what)) => {
                failed += 1;
                tell(&format!("FAIL {name}: {what}"));
            }
        }
    }
    let mend = if skipped > 0 { ": `cshell doctor` says how to mend what is lacking" } else { "" };
    tell(&format!("{held} ok, {skipped} skipped, {failed} failed{mend}"));
    failed == 0
}

fn verify_page(shell: &Rc<Shell>, pages: &[text::Page], page: &text::Page) -> Result<(), Lack> {
    let installed = |program: &&&str| {
        ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|dir| Path::new(dir).join(program).exists())
    };
    if let Some(lacking) = page.needs.iter().find(|program| !installed(program)) {
        return Err(Lack::Here(format!("{lacking} is not installed")));
    }
    let screen = Screen { width: 80, colour: false };
    let mut prompt = Prompt::new(shell, Recent::default(), Input::Plain(Plain::default()), screen);
    let before = page.before.and_then(|(name, _)| pages.iter().find(|page| page.name == name));
    let tries = before.iter().flat_map(|page| &page.tries).chain(&page.tries);
    let outcome = solve(&mut prompt, page, tries.copied());
    let live: Vec<_> = prompt.live().into_iter().collect();
    prompt.take_back(&live);
    outcome
}

fn solve<'a>(
    prompt: &mut Prompt,
    page: &text::Page,
    tries: impl Iterator<Item = &'a str>,
) -> Result<(), Lack> {
    for entry in tries {
        quietly(prompt, entry)?;
    }
    if judge(prompt, page.check).is_ok() {
        return Err(Lack::Page("the check holds before the task is done".into()));
    }
    page.solution.iter().try_for_each(|entry| quietly(prompt, entry))?;
    judge(prompt, page.check).map_err(Lack::Page)
}

/// Runs an entry without showing its value. Commands are for people.
fn quietly(prompt: &mut Prompt, entry: &str) -> Result<(), Lack> {
    if entry.starts_with(':') {
        return Ok(());
    }
    match prompt.script.run(entry) {
        Answer::Failed(report) if report.exit_code == EXIT_HOST => Err(Lack::Here(whole(&report))),
        Answer::Failed(report) => Err(Lack::Page(format!("`{entry}`: {}", whole(&report)))),
        Answer::Stopped(_) => Err(Lack::Page("stopped by a signal".into())),
        _ => Ok(()),
    }
}

/// What is wrong, and the call that failed, in one line.
fn whole(report: &Report) -> String {
    let cause = report.causes.last().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{}{cause}", report.message)
}
