//! For people: a line for each test, all about those that failed, and a live line at a terminal.

use super::super::message::{Left, Outcome, Verdict, say};
use super::super::summary::Summary;
use super::super::units::duration;
use super::Record;
use crate::text::{colour, plain};
use std::time::Instant;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// From how long on a running test is shown with its time.
const LONG: u64 = 2;

/// How many lines are shown of what a failed test wrote: the last ones. JSON and JUnit have more.
const LINES: usize = 60;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Human {
    live: bool,
    coloured: bool,
    shown: bool,
}

impl Human {
    pub(super) fn new() -> Self {
        let out = std::io::stdout();
        Self { live: colour::takes_moves(&out), coloured: colour::fits(&out), shown: false }
    }

    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn word(&self, record: &Record) -> String {
        let code = match record.verdict.outcome {
            Outcome::Pass if record.slow => "33",
            Outcome::Pass => "32",
            Outcome::Skip | Outcome::Todo if !record.no_skip => "36",
            Outcome::Stopped => "33",
            _ => "1;31",
        };
        self.paint(code, &format!("{:<7}", record.word()))
    }

    /// Takes the live line away.
    fn clear(&mut self) {
        if self.shown {
            say("\r\x1b[K");
            self.shown = false;
        }
    }

    pub(super) fn progress<'a>(
        &mut self,
        done: usize,
        planned: usize,
        tests: impl Iterator<Item = (&'a str, Instant)>,
    ) {
        if !self.live {
            return;
        }
        let names: Vec<String> = tests
            .map(|(name, began)| match began.elapsed().as_secs() {
                seconds @ LONG.. => format!("{} ({seconds} s)", plain::line(name)),
                _ => plain::line(name).into_owned(),
            })
            .collect();
        let columns = columns();
        let line = cut(&format!("[{done}/{planned}] {}", names.join(", ")), columns.saturating_sub(1));
        say(&format!("\r\x1b[K{line}"));
        self.shown = true;
    }

    pub(super) fn retried(&mut self, name: &str, attempt: u32, verdict: &Verdict) {
        self.clear();
        say(&format!(
            "{} {}: try {attempt}: {}\n",
            self.paint("33", "RETRY  "),
            plain::line(name),
            plain::line(&verdict.line())
        ));
    }

    pub(super) fn finished(&mut self, record: &Record) {
        self.clear();
        let verdict = &record.verdict;
        let mut line = format!("{} {}", self.word(record), plain::line(&record.full_name()));
        match verdict.outcome {
            Outcome::Skip | Outcome::Todo => line.push_str(&format!(" ({})", plain::line(&verdict.message))),
            _ if record.name.is_empty() => {}
            _ => line.push_str(&format!("  {}", self.paint("2", &duration(verdict.took)))),
        }
        if record.attempt > 1 {
            line.push_str(&format!(", at try {}", record.attempt));
        }
        line.push('\n');
        say(&line);
        if record.is_failure() && !matches!(verdict.outcome, Outcome::Skip | Outcome::Todo) {
            say(&detail(record));
        }
        if verdict.outcome == Outcome::Pass {
            say(&indented(&notes(verdict)));
        }
    }

    /// A result of another runtime, beside the one here where they differ.
    pub(super) fn compared(&mut self, record: &Record, here: Option<&str>) {
        self.clear();
        let full_name = record.full_name();
        let name = plain::line(&full_name);
        say(&match here {
            Some(here) => {
                let word = self.paint("33", "DIFFERS");
                let told =
                    if record.is_failure() { detail(record) } else { indented(&notes(&record.verdict)) };
                format!("{word} {name}: {} there, {here} here\n{told}", record.result())
            }
            None if record.verdict.outcome == Outcome::Skip => {
                format!("{} {name} ({})\n", self.paint("36", "SKIP   "), plain::line(&record.verdict.message))
            }
            None => format!("{} {name}\n", self.paint("32", "same   ")),
        });
    }

    /// The tests of which not all runtimes have the same result.
    pub(super) fn table(&mut self, runtimes: &[&str], rows: &[(String, Vec<String>)], tried: bool) {
        self.clear();
        if !tried {
            return say("\nno test could be tried with another runtime\n");
        }
        if rows.is_empty() {
            return say("\nno test came out otherwise with another runtime\n");
        }
        let name = rows.iter().map(|(name, _)| name.width()).max().unwrap_or(0).max("test".len());
        let pad = |text: &str, width: usize| {
            format!("{text}{}", " ".repeat(width.saturating_sub(text.width()) + 2))
        };
        let mut text =
            String::from("\nwhere runtimes differ (no verdict on either; - where it could not be tried):\n");
        let row = |first: &str, words: &[&str]| {
            let words: String = words.iter().map(|word| pad(word, 7)).collect();
            format!("  {}{}\n", pad(first, name), words.trim_end())
        };
        text.push_str(&row("test", &[&["cshell"], runtimes].concat()));
        for (test, words) in rows {
            text.push_str(&row(&plain::line(test), &words.iter().map(String::as_str).collect::<Vec<_>>()));
        }
        say(&text);
    }

    pub(super) fn finish(&mut self, summary: &Summary, records: &[Record], seed: u64) {
        self.clear();
        if summary.listed {
            return;
        }
        let failures: Vec<&Record> = records.iter().filter(|record| record.is_failure()).collect();
        if failures.len() > 1 || (!failures.is_empty() && records.len() > 20) {
            say("\nfailures:\n");
            for record in failures {
                say(&format!("  {} {}\n", self.word(record), plain::line(&record.full_name())));
            }
        }
        for file in &summary.empty {
            let file = plain::line(file);
            say(&format!("note: {file} declares no tests: name a function test_…, or call test::check\n"));
        }
        if summary.only && summary.left_out > 0 {
            say("note: test::only is declared: no other test is run\n");
        }
        say(&format!("\n{}\n", self.counts(summary, seed)));
    }

    fn counts(&self, summary: &Summary, seed: u64) -> String {
        let mut parts = Vec::new();
        let mut count = |number: usize, what: &str, code: &str| {
            if number > 0 {
                parts.push(self.paint(code, &format!("{number} {what}")));
            }
        };
        count(summary.passed, "passed", "32");
        count(summary.failed, "failed", "1;31");
        count(summary.leaked, "leaked", "1;31");
        count(summary.timed_out, "timed out", "1;31");
        count(
            summary.broken,
            if summary.broken == 1 { "file could not be run" } else { "files could not be run" },
            "1;31",
        );
        count(
            summary.problems,
            if summary.problems == 1 {
                "problem at the end of a file"
            } else {
                "problems at the end of files"
            },
            "1;31",
        );
        count(summary.skipped, "skipped", "36");
        count(summary.todo, "to do", "36");
        count(summary.stopped, "stopped", "33");
        count(summary.not_begun(), "not begun", "33");
        count(summary.slow, "slow", "33");
        count(summary.flaky, "passed only when tried again", "33");
        if !parts.is_empty() && summary.left_out > 0 {
            parts.push(self.paint("2", &format!("{} not chosen", summary.left_out)));
        }
        let text = match (parts.is_empty(), summary.known) {
            (false, _) => parts.join(", "),
            (true, 0) => "there is no test".to_owned(),
            (true, known) => format!("none of {known} tests is chosen"),
        };
        let ran = summary.passed + summary.failed + summary.leaked + summary.timed_out;
        let each = summary.around.saturating_sub(summary.inside).as_secs_f64() * 1000.0 / ran.max(1) as f64;
        let overhead = if ran > 0 { format!("; {each:.1} ms around each test") } else { String::new() };
        format!("{text} in {} (seed {seed}{overhead})", duration(summary.took))
    }
}

/// All about a failure.
fn detail(record: &Record) -> String {
    let verdict = &record.verdict;
    let mut text = verdict.text.clone();
    if verdict.outcome == Outcome::Timeout && !verdict.message.is_empty() {
        text = format!("{}\n{text}", verdict.message);
    }
    text.push_str(&verdict.left.iter().map(left).collect::<String>());
    text.push_str(&notes(verdict));
    if !verdict.output.is_empty() {
        let lines: Vec<&str> = verdict.output.lines().collect();
        let left_out = lines.len().saturating_sub(LINES);
        text.push_str(&match left_out {
            0 => "output:\n".to_owned(),
            count => format!("output, without the first {count} lines:\n"),
        });
        text.push_str(&lines[left_out..].iter().map(|line| format!("  {line}\n")).collect::<String>());
    }
    indented(&plain::lines(&text))
}

fn notes(verdict: &Verdict) -> String {
    verdict.notes.iter().map(|note| format!("note: {}\n", plain::line(note))).collect()
}

/// One thing that was left behind, as a line.
pub(super) fn left(left: &Left) -> String {
    let at = left.at.as_ref().map(|at| format!(", made at {at}")).unwrap_or_default();
    let what = match &left.remains {
        None => "removed".to_owned(),
        Some(why) => format!("STILL THERE: {why}"),
    };
    format!("left behind: {} {}{at}; {what}\n", left.kind, left.text)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") }).collect()
}

/// How wide the terminal is.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(80)
}

/// The beginning of a text that fits.
fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut used = 0;
    let fits = |c: &char| {
        used += c.width().unwrap_or(0);
        used < columns
    };
    text.chars().take_while(fits).chain(['…']).collect()
}
