//! What the process of a file tells the runner, and what follows from that.

use super::super::message::{Order, Outcome, Test, Told as Heard, Verdict, readable, send};
use super::super::report::Record;
use super::{CLOSING, Process, Run, SILENCE, State, TOP, silent};
use crate::runtime::gc;
use crate::sys::process::{self, Exit};
use std::time::{Duration, Instant};

impl Process {
    /// Takes what it has written, as far as it is there.
    fn take_output(&mut self) {
        // It may write faster than this reads.
        const TURNS: usize = 64;
        for _ in 0..TURNS {
            if !readable(&self.written) || !self.output.fill(&self.written) {
                return;
            }
        }
    }
}

impl Run<'_> {
    pub(super) fn hear(&mut self, index: usize) {
        let Some(process) = &mut self.files[index].process else { return };
        // The other end of the socket may be open in a copy of it, such as one that was stopped.
        let has_ended = readable(&process.pidfd);
        let mut is_open = !has_ended;
        process.take_output();
        while readable(&process.control) {
            let more = process.lines.fill(&process.control);
            is_open &= more;
            if !more || !has_ended {
                break;
            }
        }
        let mut heard = Vec::new();
        while let Some(message) = process.lines.next::<Heard>() {
            heard.push(message);
        }
        for message in heard {
            self.take(index, message);
        }
        if !is_open {
            self.lost(index);
        }
    }

    /// What the process of a file has written: at its top, else in what it called last before or after all tests.
    fn written(&mut self, index: usize) -> String {
        let Some(process) = &mut self.files[index].process else { return String::new() };
        process.take_output();
        process.output.text()
    }

    fn take(&mut self, index: usize, message: Heard) {
        let file = &mut self.files[index];
        match message {
            Heard::Collected(tests) => {
                file.state = State::Ready;
                file.deadline = None;
                let names = |tests: &[Test]| tests.iter().map(|test| test.name.clone()).collect::<Vec<_>>();
                if !file.collected {
                    (file.tests, file.collected) = (tests, true);
                } else if names(&file.tests) != names(&tests) {
                    // Run again, it declares other tests: a number would mean another one.
                    (file.state, file.is_broken) = (State::Closing, true);
                    if let Some(process) = &file.process {
                        send(&process.control, &Order::Finish);
                    }
                }
            }
            Heard::Skipped { reason } => {
                file.state = State::Closing;
                let wanted = |part: &String| file.name.contains(part.as_str());
                let chosen = self.plan.filter.is_empty() || self.plan.filter.iter().any(wanted);
                if self.plan.list || !chosen || !self.plan.tags.is_empty() {
                    return;
                }
                let verdict = Verdict { outcome: Outcome::Skip, message: reason, ..Verdict::default() };
                let name = file.name.clone();
                self.record(Record::of_file(name, verdict), Duration::MAX);
            }
            Heard::Broken { message, text } => {
                file.state = State::Closing;
                file.is_broken = true;
                self.summary.broken += 1;
                let name = file.name.clone();
                let output = self.written(index);
                let verdict = Verdict { message, text, output, ..Verdict::default() };
                self.told.finished(&Record::of_file(name, verdict));
            }
            Heard::Busy { most } => self.wait_longer(index, most),
            Heard::Started { ticket } => {
                let timeout = self.plan.timeout;
                if let Some(flight) = self.flights.iter_mut().find(|flight| flight.ticket == ticket) {
                    flight.deadline = Instant::now() + flight.options.timeout.unwrap_or(timeout) + SILENCE;
                }
            }
            Heard::Result { ticket, mut verdict } => {
                if verdict.not_begun {
                    verdict.output = self.written(index);
                }
                let file = &mut self.files[index];
                let Some(at) = self.flights.iter().position(|flight| flight.ticket == ticket) else { return };
                // It was ended while it did what comes before all tests: it would be again.
                file.is_broken |= verdict.not_begun && file.told_to_end;
                let flight = self.flights.remove(at);
                match verdict.outcome {
                    Outcome::Stopped if !self.stopping => self.was_told_to_end(flight.job),
                    _ => self.conclude(flight.job, *verdict),
                }
            }
            Heard::Closed { problems, left } => {
                let was = std::mem::replace(&mut file.state, State::Closing);
                if was == State::Collecting && !self.stopping {
                    file.is_broken = true;
                    self.summary.broken += 1;
                    let name = file.name.clone();
                    let verdict = Verdict::failed(silent(self.plan.timeout * TOP));
                    self.told.finished(&Record::of_file(name, verdict));
                }
                let leak = (!left.is_empty()).then(|| Verdict {
                    outcome: Outcome::Leak,
                    message: "its top, or what is called before or after all tests, left something behind"
                        .into(),
                    left,
                    ..Verdict::default()
                });
                let output = self.written(index);
                for verdict in problems.into_iter().chain(leak) {
                    self.summary.problems += 1;
                    let verdict = Verdict { output: output.clone(), ..verdict };
                    let name = self.files[index].name.clone();
                    self.told.finished(&Record::of_file(name, verdict));
                }
            }
        }
    }

    /// The process of a file has ended.
    fn lost(&mut self, index: usize) {
        let file = &mut self.files[index];
        let Some(process) = file.process.take() else { return };
        let exit = process::wait(&process.pidfd, true).ok().flatten();
        let how = match exit {
            Some(Exit::Signal(signal)) => format!("by {}", process::signal_name(signal)),
            Some(Exit::Code(code)) => format!("with the code {code}"),
            None => "without a trace".to_owned(),
        };
        let (was, late) = (std::mem::replace(&mut file.state, State::Gone), file.told_to_end);
        file.deadline = None;
        let message = match late {
            true if was == State::Collecting => silent(self.plan.timeout * TOP),
            true => "the process of the file gave no answer in time, and was ended".to_owned(),
            false => format!("the process of the file was ended {how}"),
        };
        if was == State::Collecting && !self.stopping {
            file.is_broken = true;
            self.summary.broken += 1;
            let name = self.files[index].name.clone();
            self.told.finished(&Record::of_file(name, Verdict::failed(message.clone())));
        }
        let mut lost = Vec::new();
        self.flights.retain(|flight| {
            let is_lost = flight.job.file == index;
            if is_lost {
                lost.push(flight.job);
            }
            !is_lost
        });
        for job in lost {
            self.again_alone(job, &message);
        }
        // What it leaves comes to this process, and what its session has made is taken back as that of any that was killed.
        self.end_orphans();
        if matches!(exit, Some(Exit::Signal(_))) {
            // What cannot be taken back now is tried again at the start of the next session.
            let _ = gc::collect(&self.plan.dirs, gc::Options::default());
        }
        if let Some(step) = self.files[index].group.take() {
            // What cannot be removed now is tried again at the end, and told then.
            let _ = self.session.undo_steps(&[step]);
        }
    }

    /// A file does what comes before tests or after them, and hears nothing meanwhile.
    fn wait_longer(&mut self, index: usize, most: Duration) {
        let now = Instant::now();
        let file = &mut self.files[index];
        if let Some(deadline) = file.deadline.as_mut().filter(|_| !file.told_to_end) {
            *deadline = (*deadline).max(now + most + CLOSING);
        }
        for flight in self.flights.iter_mut().filter(|flight| flight.job.file == index) {
            flight.deadline = flight.deadline.max(now + most + SILENCE);
        }
    }
}
