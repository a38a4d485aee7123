//! `cshell test`: runs test files and tells what came of them.
//!
//! ```text
//! runner -> a process for each file -> a process that keeps a test -> the test
//! ```
//!
//! Each is a copy (`fork(2)`) of the one before, so that a test finds everything alive that its file made before it, and nothing
//! that another test did.
//!
//! * `runner` decides what runs when; `select` which tests there are to run, out of the files that `discover` finds.
//! * `file` runs a file from its top and makes the processes of its tests; `keeper` watches one test and looks at what it left
//!   behind; `body` runs it.
//! * `summary` counts; `message` is what they tell each other, `output` what they write; `report` what people and programs are told.

mod body;
mod discover;
mod file;
mod keeper;
mod message;
mod output;
mod report;
mod runner;
mod select;
mod summary;
mod trail;
mod units;

pub use report::Format;
pub use select::Shard;

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cancel;
use crate::runtime::proc::foreign::Foreign;
use crate::runtime::state::StateDirs;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// All tests passed.
pub const EXIT_OK: u8 = 0;
/// There was no test to run, or each of them was skipped.
pub const EXIT_NONE: u8 = 4;
/// A test failed, left something behind or took too long; a file could not be run; with `no_skip`, one was skipped.
pub const EXIT_FAILED: u8 = 100;

/// What is to be run, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Files, and folders in which `*_test.rhai` are looked for.
    pub paths: Vec<PathBuf>,
    /// The arguments of the files: `sys::args`.
    pub args: Vec<OsString>,
    /// The state folders.
    pub dirs: StateDirs,
    /// How many tests run at once.
    pub jobs: usize,
    /// How long a test may take that does not say so.
    pub timeout: Duration,
    /// From how long on a test is called slow.
    pub slow: Duration,
    /// How often a test is tried again after a failure.
    pub retries: u32,
    /// How often each is run.
    pub repeat: u32,
    /// Parts of names: a test is run whose `file > name` has one of them.
    pub filter: Vec<String>,
    /// A test is run that has one of them.
    pub tags: Vec<String>,
    /// A test is not run that has one of them.
    pub not_tags: Vec<String>,
    /// Which part of the tests is run.
    pub shard: Option<Shard>,
    /// Whether none is begun after a failure.
    pub fail_fast: bool,
    /// The seed of what is chosen by chance.
    pub seed: u64,
    /// Whether the order is by chance.
    pub shuffle: bool,
    /// Whether the tests are only listed.
    pub list: bool,
    /// Whether a skipped test is a failure.
    pub no_skip: bool,
    /// Whether golden files are written rather than compared.
    pub update: bool,
    /// Whether what a test leaves behind is looked for.
    pub leak_check: bool,
    /// The other runtimes that the tests are run with as well, for comparison.
    pub runtimes: Vec<Foreign>,
    /// The one that this run is with.
    pub runtime: Option<Foreign>,
    /// The folder in which each file and each test gets a control group of its own.
    pub nest: Option<PathBuf>,
    /// How results are told on the standard output.
    pub format: Format,
    /// Where they are written as JUnit as well.
    pub junit: Option<PathBuf>,
}

impl Plan {
    /// Whether what is left behind is looked for, and removed.
    const fn looks_for_leaks(&self) -> bool {
        self.leak_check && !self.list
    }

    /// Whether that is told. What is left with another runtime is no fault of the test.
    const fn tells_leaks(&self) -> bool {
        self.looks_for_leaks() && self.runtime.is_none()
    }

    /// What is looked at by no leak check of a file: where it lies, and where the program works.
    fn apart(&self, file: &Path) -> Vec<PathBuf> {
        let whole = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        std::env::current_dir().into_iter().chain([whole]).collect()
    }
}

/// Runs the plan and returns the exit code.
///
/// # Errors
/// [`crate::error::ErrorKind::NotFound`] for a path that is not there; when no process can be made, or the JUnit file cannot be
/// written.
pub fn run(plan: &Plan) -> Result<u8> {
    let found = discover::files(&plan.paths)?;
    let mut told = report::Told::new(plan);
    let summary = runner::run(plan, &found, &mut told)?;
    told.finish(&summary);
    for runtime in plan.runtimes.iter().filter(|_| !plan.list) {
        if cancel::requested().is_some() {
            break;
        }
        told.begin(runtime.name());
        runner::run(&Plan { runtime: Some(runtime.clone()), ..plan.clone() }, &found, &mut told)?;
    }
    told.compare();
    told.close(&summary)?;
    if message::lost() {
        let what = "the report could not be written to the standard output";
        return Err(Error::new(ErrorKind::LimitReached, "test", what));
    }
    Ok(summary.exit_code(plan))
}
