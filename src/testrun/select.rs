//! Which tests are run, in which order.

use super::Plan;
use super::message::Test;

/// One part of the tests: `2/5` is the second of five.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    count: usize,
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not I/N with I from 1 to N, such as 2/5");
        let (index, count) = text.split_once('/').ok_or_else(wrong)?;
        let (index, count) = (index.parse().map_err(|_| wrong())?, count.parse().map_err(|_| wrong())?);
        if index >= 1 && index <= count { Ok(Self { index, count }) } else { Err(wrong()) }
    }
}

/// A test that is to be run, or told of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    /// The number of its file.
    pub(super) file: usize,
    /// Its number in the file.
    pub(super) test: usize,
    /// Which repetition it is, from 1.
    pub(super) turn: u32,
    /// Which try it is, from 1.
    pub(super) attempt: u32,
    /// Whether it runs alone, because the process of its file was ended while it ran beside others.
    pub(super) alone: bool,
}

/// The name by which tests are filtered: `net_test.rhai > links > a pair`.
pub(super) fn full_name(file: &str, test: &Test) -> String {
    format!("{file} > {}", test.name)
}

/// Chooses among the tests of all files.
pub(super) fn select(plan: &Plan, files: &[(String, Vec<Test>)]) -> Vec<Job> {
    let only = files.iter().any(|(_, tests)| tests.iter().any(|test| test.options.only));
    let mut jobs = Vec::new();
    for (file, (name, tests)) in files.iter().enumerate() {
        for (number, test) in tests.iter().enumerate() {
            if is_wanted(plan, name, test) && (!only || test.options.only) {
                jobs.push(Job { file, test: number, turn: 1, attempt: 1, alone: false });
            }
        }
    }
    if let Some(Shard { index, count }) = plan.shard {
        // Every so-many-th, so that the tests of a slow file are spread.
        jobs = jobs
            .into_iter()
            .enumerate()
            .filter(|(at, _)| at % count == index - 1)
            .map(|(_, job)| job)
            .collect();
    }
    if plan.repeat > 1 {
        let turns = |job: Job| (1..=plan.repeat).map(move |turn| Job { turn, ..job });
        jobs = jobs.into_iter().flat_map(turns).collect();
    }
    if plan.shuffle {
        shuffle(&mut jobs, plan.seed);
    }
    jobs
}

fn is_wanted(plan: &Plan, file: &str, test: &Test) -> bool {
    let name = full_name(file, test);
    let has = |tags: &[String]| tags.iter().any(|tag| test.options.tags.contains(tag));
    (plan.filter.is_empty() || plan.filter.iter().any(|part| name.contains(part.as_str())))
        && (plan.tags.is_empty() || has(&plan.tags))
        && !has(&plan.not_tags)
}

/// The order of Fisher and Yates, by a generator that is the same on every machine.
fn shuffle<T>(list: &mut [T], seed: u64) {
    let mut chance = crate::script::chance::Chance::new(seed);
    for last in (1..list.len()).rev() {
        let most = u64::try_from(last).unwrap_or(0);
        list.swap(last, usize::try_from(chance.below(most + 1)).unwrap_or(0));
    }
}
