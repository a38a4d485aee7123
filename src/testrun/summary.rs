//! The numbers of a run, and the exit code that they mean.

use super::message::Outcome;
use super::report::Record;
use super::{EXIT_FAILED, EXIT_NONE, EXIT_OK, Plan};
use std::time::Duration;

/// How the whole run came out.
#[derive(Clone, Debug, Default)]
pub(super) struct Summary {
    pub(super) passed: usize,
    pub(super) slow: usize,
    pub(super) flaky: usize,
    pub(super) failed: usize,
    pub(super) leaked: usize,
    pub(super) timed_out: usize,
    pub(super) skipped: usize,
    pub(super) todo: usize,
    pub(super) stopped: usize,
    /// Files that could not be run, and those without tests.
    pub(super) broken: usize,
    pub(super) empty: Vec<String>,
    /// What went wrong at the end of files.
    pub(super) problems: usize,
    /// How many tests there are, chosen or not.
    pub(super) known: usize,
    pub(super) chosen: usize,
    /// How many of those that there are were not chosen, and whether `test::only` is why.
    pub(super) left_out: usize,
    pub(super) only: bool,
    /// How many of the chosen have a result. The others were not begun.
    pub(super) concluded: usize,
    pub(super) listed: bool,
    pub(super) took: Duration,
    /// The time of all tests themselves, and of all that is around them.
    pub(super) inside: Duration,
    pub(super) around: Duration,
    pub(super) signal: Option<i32>,
}

impl Summary {
    /// How many of the chosen were not begun: something failed before, or the run was stopped.
    pub(super) fn not_begun(&self) -> usize {
        if self.listed { 0 } else { self.chosen.saturating_sub(self.concluded) }
    }

    pub(super) fn failures(&self) -> usize {
        self.failed + self.leaked + self.timed_out + self.broken + self.problems
    }

    pub(super) fn exit_code(&self, plan: &Plan) -> u8 {
        if self.failures() > 0 || (plan.no_skip && self.skipped + self.todo > 0) {
            EXIT_FAILED
        } else if self.listed && self.chosen > 0 || self.passed > 0 {
            EXIT_OK
        } else {
            EXIT_NONE
        }
    }

    pub(super) fn count(&mut self, record: &Record) {
        let verdict = &record.verdict;
        self.inside += verdict.took;
        self.around += verdict.around;
        match verdict.outcome {
            Outcome::Pass => {
                self.passed += 1;
                self.slow += usize::from(record.slow);
                self.flaky += usize::from(record.attempt > 1);
            }
            Outcome::Fail => self.failed += 1,
            Outcome::Leak => self.leaked += 1,
            Outcome::Timeout => self.timed_out += 1,
            Outcome::Skip => self.skipped += 1,
            Outcome::Todo => self.todo += 1,
            Outcome::Stopped => self.stopped += 1,
        }
    }
}
