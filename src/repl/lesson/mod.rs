//! The tutorial: pages that explain the parts of a container, tried at the prompt and checked by assertions.

mod text;
mod verify;

use crate::repl::show::{self, Screen};
use crate::repl::{Next, Prompt, terminal, watch};
use crate::script::interactive::Answer;
use crate::script::look::Look;
use crate::script::report::Report;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;
use text::Page;

pub use verify::verify;

/// Where somebody is in the tutorial.
#[derive(Debug)]
pub(super) struct Lesson {
    pages: Vec<Page>,
    at: usize,
    hints: usize,
    done: BTreeSet<String>,
    /// Where that is kept for the next time.
    file: Option<PathBuf>,
}

impl Lesson {
    /// The tutorial at a page (from 1), or where it was left.
    pub(super) fn open(page: Option<usize>, file: Option<PathBuf>) -> Self {
        let pages = text::pages();
        let kept = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        let done: BTreeSet<String> = kept.lines().map(ToOwned::to_owned).collect();
        let left = pages.iter().position(|page| !done.contains(page.name)).unwrap_or(0);
        let at = page.map_or(left, |page| page.saturating_sub(1).min(pages.len() - 1));
        Self { pages, at, hints: 0, done, file }
    }

    fn page(&self) -> &Page {
        &self.pages[self.at]
    }

    /// Notes that the page is done.
    fn finish(&mut self) {
        self.done.insert(self.page().name.to_owned());
        if let Some(file) = &self.file {
            let text: String = self.done.iter().map(|name| format!("{name}\n")).collect();
            // Progress that cannot be kept is none; the session goes on.
            let _ = std::fs::write(file, text);
        }
    }

    fn turn(&mut self, to: usize) {
        (self.at, self.hints) = (to, 0);
    }
}

/// The titles of all pages, with their numbers.
#[must_use]
pub fn titles() -> Vec<String> {
    text::pages().iter().map(|page| page.title.to_owned()).collect()
}

impl Prompt {
    /// Shows the page. A person reads the explanation first where the screen has no room for all of it.
    pub(super) fn show_page(&self) {
        let Some(lesson) = &self.lesson else { return };
        let screen = self.desk.screen.get();
        let text = explained(lesson.page(), lesson.at + 1, lesson.pages.len(), screen);
        let rest = asked(lesson.page(), screen);
        self.say(&text);
        // The prompt has a line of its own.
        let lines = text.lines().chain(rest.lines()).count() + 1;
        if self.desk.input.borrow().is_person() && lines > terminal::height() {
            self.say(&screen.dim("any key shows what to try"));
            watch::any_key(self.script.shell().session());
            self.say("\r\x1b[K");
        }
        self.say(&rest);
    }
}

/// What a page explains.
fn explained(page: &Page, number: usize, count: usize, screen: Screen) -> String {
    let width = screen.width.min(80);
    let mut out = format!("\n{}\n", screen.bold(&format!("{number}/{count}  {}", page.title)));
    for block in &page.text {
        out.push('\n');
        if block.starts_with("    ") {
            let _ = writeln!(out, "{}", screen.style("36", block));
        } else {
            let _ = writeln!(out, "{}", marked(&show::wrap(block, width).join("\n"), screen));
        }
    }
    out
}

/// What is to be tried and done.
fn asked(page: &Page, screen: Screen) -> String {
    let width = screen.width.min(80);
    let mut out = format!("\n{}\n", screen.bold("Try"));
    for line in page.tries.iter().flat_map(|entry| entry.lines()) {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        // A long line goes on below itself.
        for (index, part) in show::wrap(code, width.saturating_sub(6 + indent)).iter().enumerate() {
            let indent = indent + if index == 0 { 2 } else { 6 };
            let _ = writeln!(out, "{:indent$}{}", "", screen.style("36", part));
        }
    }
    let _ = writeln!(out, "\n{}", screen.bold("Task"));
    let _ = writeln!(out, "{}", marked(&show::wrap(&page.task, width).join("\n"), screen));
    let _ = writeln!(
        out,
        "\n{}",
        screen.dim(":try runs what is above, :check looks at what you made, :hint helps, :next")
    );
    out
}

/// What is code stands out where the terminal has colours; else its marks stay.
fn marked(text: &str, screen: Screen) -> String {
    if !screen.colour {
        return text.to_owned();
    }
    let parts = text.split('`').enumerate();
    let styled = parts.map(|(index, part)| match index % 2 {
        0 => part.to_owned(),
        // Each line by itself.
        _ => part.split('\n').map(|line| screen.style("36", line)).collect::<Vec<_>>().join("\n"),
    });
    styled.collect()
}

fn lesson(prompt: &mut Prompt) -> Option<&mut Lesson> {
    if prompt.lesson.is_none() {
        prompt.refuse("no lesson is open", "`:tutorial` opens where you left it, `:tutorial 4` page 4");
    }
    prompt.lesson.as_mut()
}

/// Opens the tutorial at a page.
pub(super) fn open(prompt: &mut Prompt, words: &str) -> Next {
    let file = prompt.progress.clone();
    let count = text::TEXTS.len();
    match words.parse::<usize>() {
        _ if words.is_empty() => prompt.lesson = Some(Lesson::open(None, file)),
        Ok(page) if (1..=count).contains(&page) => prompt.lesson = Some(Lesson::open(Some(page), file)),
        _ => {
            prompt.refuse(
                &format!(":tutorial takes a page from 1 to {count}, not `{words}`"),
                "`:steps` lists them",
            );
            return Next::Entry;
        }
    }
    prompt.show_page();
    Next::Entry
}

/// Lists the pages.
pub(super) fn steps(prompt: &mut Prompt, _: &str) -> Next {
    let lesson = Lesson::open(None, prompt.progress.clone());
    let here = prompt.lesson.as_ref().map(|lesson| lesson.at);
    let mut out = String::new();
    for (index, page) in lesson.pages.iter().enumerate() {
        let mark = if lesson.done.contains(page.name) { "done" } else { "" };
        let arrow = if here == Some(index) { "->" } else { "  " };
        let _ = writeln!(out, "{arrow} {:>2}  {mark:<4}  {}", index + 1, page.title);
    }
    prompt.say(&out);
    Next::Entry
}

/// Runs what the page shows.
pub(super) fn try_it(prompt: &mut Prompt, _: &str) -> Next {
    let Some(lesson) = lesson(prompt) else { return Next::Entry };
    let page = lesson.page().clone();
    let before = page.before.and_then(|(name, variable)| {
        lesson.pages.iter().find(|page| page.name == name).cloned().map(|page| (page, variable))
    });
    // What the page builds on is made if it is not there.
    if let Some((before, variable)) = before
        && prompt.script.judge(&format!("let seen = {variable}; true")).is_err()
    {
        prompt.say(&prompt.screen.dim(&format!("first what \"{}\" has made:\n", before.title)));
        if let Next::End(ending) = run(prompt, &before.tries) {
            return Next::End(ending);
        }
    }
    run(prompt, &page.tries)
}

fn run(prompt: &mut Prompt, entries: &[&'static str]) -> Next {
    for entry in entries {
        for (index, line) in entry.lines().enumerate() {
            let sign = if index == 0 { ">" } else { " " };
            prompt.say(&format!("{}\n", prompt.screen.style("36", &format!("{sign} {line}"))));
        }
        let before = prompt.log.entries().len();
        if let Next::End(ending) = prompt.entry(entry) {
            return Next::End(ending);
        }
        // What comes after needs what came before.
        if prompt.log.entries()[before..].iter().any(|entry| !entry.ok) {
            break;
        }
    }
    Next::Entry
}

/// Looks at what was made.
pub(super) fn check(prompt: &mut Prompt, _: &str) -> Next {
    let Some(lesson) = lesson(prompt) else { return Next::Entry };
    let code = lesson.page().check;
    match judge(prompt, code) {
        Ok(()) => {
            if let Some(lesson) = &mut prompt.lesson {
                lesson.finish();
                let last = lesson.at + 1 == lesson.pages.len();
                let more = if last { "that was the last page" } else { "`:next` goes on" };
                prompt.say(&format!("{}: {more}\n", prompt.screen.style("1;32", "done")));
            }
        }
        Err(what) => prompt.say(&format!("{}: {what}\n", prompt.screen.style("1;33", "not yet"))),
    }
    Next::Entry
}

/// Runs the code of a check, which leaves nothing. What is missing, if something is.
fn judge(prompt: &mut Prompt, code: &str) -> Result<(), String> {
    let before = prompt.live();
    let verdict = prompt.script.judge(code);
    let made: Vec<_> = prompt.live().difference(&before).copied().collect();
    prompt.take_back(&made);
    match verdict {
        Ok(Answer::Value(Look::Bool(true))) => Ok(()),
        Ok(Answer::Value(Look::Text(what))) => Err(what),
        Ok(other) => Err(format!("the check gave {other:?}")),
        Err(report) => Err(missing(&report)),
    }
}

/// What an error of the check means to who is checked.
fn missing(report: &Report) -> String {
    match report.message.strip_prefix("undefined variable: ") {
        Some(name) => format!("there is no variable `{name}`"),
        None => report.message.clone(),
    }
}

/// Helps a little, and then a little more.
pub(super) fn hint(prompt: &mut Prompt, _: &str) -> Next {
    let Some(lesson) = lesson(prompt) else { return Next::Entry };
    let page = lesson.page().clone();
    let shown = lesson.hints;
    lesson.hints = (shown + 1).min(page.hints.len());
    let text = match page.hints.get(shown) {
        Some(hint) => {
            let left = page.hints.len() - shown;
            let hint = show::wrap(hint, prompt.screen.width.min(80)).join("\n");
            format!("{hint}\n{}\n", prompt.screen.dim(&format!("{left} more: :hint")))
        }
        None => {
            page.solution.iter().flat_map(|entry| entry.lines()).map(|line| format!("  {line}\n")).collect()
        }
    };
    prompt.say(&text);
    Next::Entry
}

/// Turns the page.
pub(super) fn turn(prompt: &mut Prompt, forward: bool) -> Next {
    let Some(lesson) = lesson(prompt) else { return Next::Entry };
    let to = if forward { Some(lesson.at + 1) } else { lesson.at.checked_sub(1) };
    match to.filter(|to| *to < lesson.pages.len()) {
        Some(to) => {
            lesson.turn(to);
            prompt.show_page();
        }
        None => prompt.say("there is no page in this direction\n"),
    }
    Next::Entry
}

/// The page before.
pub(super) fn back(prompt: &mut Prompt, _: &str) -> Next {
    turn(prompt, false)
}
