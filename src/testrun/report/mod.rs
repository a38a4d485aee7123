//! What people and programs are told of a run.

mod human;
mod json;
mod junit;
mod tap;

use super::Plan;
use super::message::{Outcome, Verdict, say};
use super::runner::Summary;
use crate::error::{Result, SysContext};
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
}

impl Told {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            format: plan.format,
            human: Human::new(),
            records: Vec::new(),
            planned: 0,
            done: 0,
            junit: plan.junit.clone(),
            seed: plan.seed,
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
        self.planned = count;
        match self.format {
            Format::Tap => say("TAP version 14\n"),
            Format::Json => say(&json::planned(count, self.seed)),
            Format::Human | Format::Junit => {}
        }
    }

    pub(super) fn listed(&mut self, tests: &[(String, String)]) {
        match self.format {
            Format::Json => tests.iter().for_each(|(name, place)| say(&json::listed(name, place))),
            _ => tests.iter().for_each(|(name, _)| say(&format!("{name}\n"))),
        }
    }

    pub(super) fn running<'a>(&mut self, tests: impl Iterator<Item = (&'a str, Instant)>) {
        if self.format == Format::Human {
            self.human.progress(self.done, self.planned, tests);
        }
    }

    pub(super) fn retried(&mut self, name: &str, attempt: u32, verdict: &Verdict) {
        match self.format {
            Format::Human => self.human.retried(name, attempt, verdict),
            Format::Json => say(&json::retried(name, attempt, verdict)),
            Format::Tap => {
                say(&format!("# try {attempt} of {name} failed: {}\n", tap::line(&verdict.message)));
            }
            Format::Junit => {}
        }
    }

    pub(super) fn finished(&mut self, record: &Record) {
        self.done += usize::from(!record.name.is_empty());
        self.records.push(record.clone());
        match self.format {
            Format::Human => self.human.finished(record),
            Format::Tap => say(&tap::point(self.records.len(), record)),
            Format::Json => say(&json::finished(record)),
            Format::Junit => {}
        }
    }

    pub(super) fn finish(&mut self, summary: &Summary) -> Result<()> {
        match self.format {
            Format::Human => self.human.finish(summary, &self.records, self.seed),
            Format::Tap if !summary.listed => say(&tap::end(self.records.len(), summary)),
            Format::Json if !summary.listed => say(&json::end(summary)),
            Format::Junit if !summary.listed => say(&junit::document(&self.records, summary)),
            _ => {}
        }
        if let Some(path) = &self.junit {
            let written = std::fs::write(path, junit::document(&self.records, summary));
            written.context("test", format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}
