//! What people and programs are told of a run.

mod human;
mod json;
mod junit;
mod tap;

use super::Plan;
use super::message::{Outcome, Verdict, say};
use super::summary::Summary;
use crate::error::{Result, SysContext};
use crate::text::plain;
use human::Human;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How results are told on the standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Human,
    /// Test Anything Protocol, version 14.
    Tap,
    /// JUnit XML, as CI systems read it.
    Junit,
    /// A line of JSON for each event.
    Json,
}

/// A result.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) file: String,
    /// The name of the test; empty for what is about the file itself.
    pub(super) name: String,
    pub(super) place: (String, usize),
    pub(super) slow: bool,
    pub(super) attempt: u32,
    pub(super) verdict: Verdict,
    pub(super) no_skip: bool,
}

impl Record {
    /// That of a file that could not be run.
    pub(super) fn of_file(file: String, verdict: Verdict) -> Self {
        let place = (file.clone(), 1);
        Self { file, name: String::new(), place, slow: false, attempt: 1, verdict, no_skip: false }
    }

    /// The word for it.
    pub(super) fn word(&self) -> &'static str {
        match self.verdict.outcome {
            Outcome::Pass if self.slow => "SLOW",
            Outcome::Pass => "PASS",
            Outcome::Fail => "FAIL",
            Outcome::Leak => "LEAK",
            Outcome::Skip => "SKIP",
            Outcome::Timeout => "TIMEOUT",
            Outcome::Todo => "TODO",
            Outcome::Stopped => "STOPPED",
        }
    }

    /// The word for it, whether it was fast or slow.
    fn result(&self) -> &'static str {
        if self.verdict.outcome == Outcome::Pass { "PASS" } else { self.word() }
    }

    /// What is compared with another runtime, where nobody looks at what is left behind.
    fn compared(&self) -> &'static str {
        if self.verdict.outcome == Outcome::Leak { "PASS" } else { self.result() }
    }

    /// Whether it makes the run fail.
    pub(super) fn is_failure(&self) -> bool {
        match self.verdict.outcome {
            Outcome::Fail | Outcome::Leak | Outcome::Timeout => true,
            Outcome::Skip | Outcome::Todo => self.no_skip,
            Outcome::Pass | Outcome::Stopped => false,
        }
    }

    /// `limits_test.rhai > memory bites`.
    pub(super) fn full_name(&self) -> String {
        if self.name.is_empty() { self.file.clone() } else { format!("{} > {}", self.file, self.name) }
    }
}

/// Tells of a run while it goes on, and at its end.
#[derive(Debug)]
pub(super) struct Told {
    format: Format,
    human: Human,
    records: Vec<Record>,
    planned: usize,
    done: usize,
    junit: Option<PathBuf>,
    seed: u64,
    /// The other runtime that tests are run with, and what came of the tests there.
    runtime: Option<&'static str>,
    others: Vec<(&'static str, Record)>,
}

impl Told {
    pub(super) fn new(plan: &Plan) -> Self {
        if plan.format == Format::Tap && !plan.list {
            say("TAP version 14\n");
        }
        Self {
            format: plan.format,
            human: Human::new(),
            records: Vec::new(),
            planned: 0,
            done: 0,
            junit: plan.junit.clone(),
            seed: plan.seed,
            runtime: None,
            others: Vec::new(),
        }
    }

    /// How long nothing may be told.
    pub(super) fn pace(&self) -> Duration {
        if self.format == Format::Human && self.human.is_live() {
            Duration::from_millis(200)
        } else {
            Duration::from_secs(1)
        }
    }

    pub(super) fn planned(&mut self, count: usize) {
        (self.planned, self.done) = (count, 0);
        if self.runtime.is_some() {
            return;
        }
        match self.format {
            Format::Tap => {}
            Format::Json => say(&json::planned(count, self.seed)),
            Format::Human | Format::Junit => {}
        }
    }

    pub(super) fn listed(&mut self, tests: &[(String, String)]) {
        match self.format {
            Format::Json => tests.iter().for_each(|(name, place)| say(&json::listed(name, place))),
            _ => tests.iter().for_each(|(name, _)| say(&format!("{}\n", plain::line(name)))),
        }
    }

    pub(super) fn running<'a>(&mut self, tests: impl Iterator<Item = (&'a str, Instant)>) {
        if self.format == Format::Human {
            self.human.progress(self.done, self.planned, tests);
        }
    }

    pub(super) fn retried(&mut self, file: &str, name: &str, attempt: u32, verdict: &Verdict) {
        if self.runtime.is_some() {
            return;
        }
        match self.format {
            Format::Human => self.human.retried(name, attempt, verdict),
            Format::Json => say(&json::retried(file, name, attempt, verdict)),
            Format::Tap => {
                let name = tap::line(name);
                say(&format!("# try {attempt} of {name} failed: {}\n", tap::line(&verdict.line())));
            }
            Format::Junit => {}
        }
    }

    pub(super) fn finished(&mut self, record: &Record) {
        self.done += usize::from(!record.name.is_empty());
        if let Some(runtime) = self.runtime {
            return self.finished_by(runtime, record);
        }
        self.records.push(record.clone());
        match self.format {
            Format::Human => self.human.finished(record),
            Format::Tap => say(&tap::point(self.records.len(), record)),
            Format::Json => say(&json::finished(record)),
            Format::Junit => {}
        }
    }

    /// From now on results are those of another runtime.
    pub(super) fn begin(&mut self, runtime: &'static str) {
        self.runtime = Some(runtime);
        if self.format == Format::Human {
            say(&format!("\nwith {runtime}:\n"));
        }
    }

    /// A result of another runtime is compared with the one here: it says how that one differs, and is no verdict on it.
    fn finished_by(&mut self, runtime: &'static str, record: &Record) {
        let here =
            self.records.iter().find(|here| here.full_name() == record.full_name()).map(Record::compared);
        let differs =
            here.is_some_and(|here| here != record.compared()) && record.verdict.outcome != Outcome::Skip;
        match self.format {
            Format::Human => self.human.compared(record, here.filter(|_| differs)),
            Format::Json => say(&json::compared(runtime, record, here, differs)),
            Format::Tap if differs => {
                let message = tap::line(&record.verdict.message);
                let name = tap::line(&record.full_name());
                say(&format!("# {runtime} differs: {name}: {} {message}\n", record.result()));
            }
            Format::Tap | Format::Junit => {}
        }
        self.others.push((runtime, record.clone()));
    }

    /// Shows where runtimes differ.
    pub(super) fn compare(&mut self) {
        if self.others.is_empty() || self.format != Format::Human {
            return;
        }
        let mut runtimes: Vec<&str> = self.others.iter().map(|(runtime, _)| *runtime).collect();
        runtimes.dedup();
        let mut rows = Vec::new();
        for here in &self.records {
            let of = |runtime: &&str| {
                let found = self
                    .others
                    .iter()
                    .find(|(name, other)| name == runtime && other.full_name() == here.full_name());
                match found {
                    Some((_, other)) if other.verdict.outcome == Outcome::Skip => "-".to_owned(),
                    found => found.map_or_else(|| "-".to_owned(), |(_, other)| other.compared().to_owned()),
                }
            };
            let words: Vec<String> =
                std::iter::once(here.compared().to_owned()).chain(runtimes.iter().map(of)).collect();
            let differ = words.iter().any(|word| *word != words[0] && word != "-");
            if differ {
                rows.push((here.full_name(), words));
            }
        }
        let tried = self.others.iter().any(|(_, other)| other.verdict.outcome != Outcome::Skip);
        self.human.table(&runtimes, &rows, tried);
    }

    pub(super) fn finish(&mut self, summary: &Summary) {
        match self.format {
            Format::Human => self.human.finish(summary, &self.records, self.seed),
            Format::Tap if !summary.listed => say(&tap::end(self.records.len(), summary)),
            Format::Json if !summary.listed => say(&json::end(summary)),
            _ => {}
        }
    }

    /// Writes JUnit, with what came of the tests with other runtimes.
    pub(super) fn close(&mut self, summary: &Summary) -> Result<()> {
        let document = || junit::document(&self.records, &self.others, summary);
        if self.format == Format::Junit && !summary.listed {
            say(&document());
        }
        if let Some(path) = &self.junit {
            let written = std::fs::write(path, document());
            written.context("test", format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}
