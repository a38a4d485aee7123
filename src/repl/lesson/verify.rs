//! `cshell tutorial --verify`: the solution of each page, and its check, run without anybody.

use crate::repl::Prompt;
use crate::repl::input::{Input, Plain};
use crate::repl::lesson::{judge, text};
use crate::repl::recent::Recent;
use crate::repl::show::Screen;
use crate::script::interactive::Answer;
use crate::script::shell::Shell;
use std::path::Path;
use std::rc::Rc;

/// Runs every page: its check must fail before anything is made, and hold after its solution. What each has made is taken
/// back. Calls `tell` with a line for each; whether all is well.
pub fn verify(shell: &Rc<Shell>, tell: &mut dyn FnMut(&str)) -> bool {
    let pages = text::pages();
    let mut well = true;
    for (index, page) in pages.iter().enumerate() {
        let name = format!("{:>2} {}", index + 1, page.title);
        let installed = |program: &&&str| {
            ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|dir| Path::new(dir).join(program).exists())
        };
        if let Some(lacking) = page.needs.iter().find(|program| !installed(program)) {
            tell(&format!("SKIP {name}: {lacking} is not installed"));
            continue;
        }
        let screen = Screen { width: 80, colour: false };
        let mut prompt = Prompt::new(shell, Recent::default(), Input::Plain(Plain::default()), screen);
        let before = page.before.and_then(|name| pages.iter().find(|page| page.name == name));
        let tries = before.iter().flat_map(|page| &page.tries).chain(&page.tries);
        let outcome = solve(&mut prompt, page, tries.copied());
        let live: Vec<_> = prompt.live().into_iter().collect();
        prompt.take_back(&live);
        match outcome {
            Ok(()) => tell(&format!("ok   {name}")),
            Err(what) => {
                well = false;
                tell(&format!("FAIL {name}: {what}"));
            }
        }
    }
    well
}

fn solve<'a>(
    prompt: &mut Prompt,
    page: &text::Page,
    tries: impl Iterator<Item = &'a str>,
) -> Result<(), String> {
    for entry in tries {
        quietly(prompt, entry)?;
    }
    if judge(prompt, page.check).is_ok() {
        return Err("the check holds before the task is done".into());
    }
    page.solution.iter().try_for_each(|entry| quietly(prompt, entry))?;
    judge(prompt, page.check)
}

/// Runs an entry without showing its value. Commands are for people.
fn quietly(prompt: &mut Prompt, entry: &str) -> Result<(), String> {
    if entry.starts_with(':') {
        return Ok(());
    }
    match prompt.script.run(entry) {
        Answer::Failed(report) => Err(format!("`{entry}`: {}", report.message)),
        Answer::Stopped(_) => Err("stopped by a signal".into()),
        _ => Ok(()),
    }
}
