//! What a try of a test comes to: its result, or another try.

use super::super::message::{Order, Outcome, Test, Verdict, send};
use super::super::report::Record;
use super::super::select::Job;
use super::{CLOSING, Run, State};
use std::time::{Duration, Instant};

impl Run<'_> {
    /// What keeps a test was told to end, and not by the run: its file may have been so as well. It is run anew for what is to come.
    pub(super) fn was_told_to_end(&mut self, job: Job) {
        let flights = self.flights.iter().filter(|flight| flight.job.file == job.file);
        let last = flights.map(|flight| flight.deadline).max().unwrap_or_else(Instant::now);
        let file = &mut self.files[job.file];
        if let Some(process) = &file.process {
            send(&process.control, &Order::Finish);
            file.state = State::Closing;
            file.deadline = Some(last + CLOSING);
        }
        self.again_alone(job, "what keeps the test was told to end, and not by the run");
    }

    /// A test was ended from outside. Another may have done that, or one that has just come to its end: it runs once more, alone, and
    /// fails if that comes again.
    pub(super) fn again_alone(&mut self, job: Job, message: &str) {
        if self.stopping {
            // It may have had no time to say how it stood.
            self.conclude(job, Verdict { outcome: Outcome::Stopped, ..Verdict::default() });
        } else if job.alone || self.is_halted() {
            self.conclude(job, Verdict::failed(message.to_owned()));
        } else {
            self.queue.push_front(Job { alone: true, ..job });
        }
    }

    /// What a try of a test means: another one, or its result.
    pub(super) fn conclude(&mut self, job: Job, mut verdict: Verdict) {
        let file = &self.files[job.file];
        let test = &file.tests[job.test];
        if test.todo {
            match verdict.outcome {
                Outcome::Pass => {
                    verdict =
                        Verdict::failed("it passes: it is time to declare it with `test::check`".to_owned());
                }
                Outcome::Fail | Outcome::Leak | Outcome::Timeout => verdict.outcome = Outcome::Todo,
                _ => {}
            }
        }
        let is_failure = matches!(verdict.outcome, Outcome::Fail | Outcome::Leak | Outcome::Timeout);
        let retries = test.options.retries.unwrap_or(self.plan.retries);
        // What is called before all tests is called once; and what is to be declared otherwise stays so.
        let may_differ = is_failure && !verdict.not_begun && !test.todo;
        if may_differ && job.attempt <= retries && !self.stopping && !self.is_halted() {
            self.told.retried(&file.name, &test.name, job.attempt, &verdict);
            self.queue.push_front(Job { attempt: job.attempt + 1, ..job });
            return;
        }
        let name = match self.plan.repeat {
            0 | 1 => test.name.clone(),
            all => format!("{} ({} of {all})", test.name, job.turn),
        };
        let slow = test.options.slow.unwrap_or(self.plan.slow);
        let record = Record {
            name,
            place: (test.source.clone(), test.line),
            attempt: job.attempt,
            ..Record::of_file(file.name.clone(), verdict)
        };
        self.record(record, slow);
    }

    pub(super) fn record(&mut self, record: Record, slow: Duration) {
        let verdict = &record.verdict;
        let slow = verdict.outcome == Outcome::Pass && verdict.took >= slow;
        let record = Record { slow, no_skip: self.plan.no_skip, ..record };
        self.summary.count(&record);
        self.summary.concluded += usize::from(!record.name.is_empty());
        self.told.finished(&record);
    }
}

/// The verdict on a test for which nothing is to be run.
pub(super) fn without_running(test: &Test) -> Option<Verdict> {
    let verdict = |outcome, message: String| Some(Verdict { outcome, message, ..Verdict::default() });
    match &test.options.skip {
        Some(reason) => verdict(Outcome::Skip, reason.clone()),
        None if !test.has_body => verdict(Outcome::Todo, "nothing is written yet".to_owned()),
        None => None,
    }
}
