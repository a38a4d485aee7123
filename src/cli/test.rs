//! `cshell test`: which tests are wanted, and how.

use crate::cli::args::TestWish;
use crate::cli::complain;
use crate::cli::run::fail_early;
use crate::error::ErrorKind;
use crate::runtime::proc::foreign::Foreign;
use crate::runtime::rootless;
use crate::runtime::state::{self, StateDirs};
use crate::script::report::Report;
use crate::sys::signal;
use crate::testrun::{self, Plan};
use crate::text::report;

/// Runs the tests and returns the exit code; does not return when a signal stopped it.
pub(super) fn test(wish: TestWish) -> u8 {
    // While there is one thread, and before anything is opened or made.
    if let Err(error) = rootless::enter() {
        let report = Report::of_error(&error);
        complain(&report::render(&report, &|_| None));
        return report.exit_code;
    }
    // Short enough to be typed again.
    let seed = wish.seed.unwrap_or_else(|| {
        state::token().ok().and_then(|token| u64::from_str_radix(&token[..8], 16).ok()).unwrap_or(1)
    });
    let jobs =
        wish.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let others = wish.runtime.iter().filter(|name| *name != "cshell");
    let runtimes = match others.map(|name| Foreign::of_name(name)).collect() {
        Ok(runtimes) => runtimes,
        Err(error) => return fail_early(&error),
    };
    let plan = Plan {
        paths: if wish.paths.is_empty() { vec![".".into()] } else { wish.paths },
        args: wish.args,
        dirs: StateDirs::from_env(),
        jobs,
        timeout: wish.timeout,
        slow: wish.slow,
        retries: wish.retries,
        repeat: wish.repeat,
        filter: wish.filter,
        tags: wish.tag,
        not_tags: wish.not_tag,
        shard: wish.shard,
        fail_fast: wish.fail_fast,
        seed,
        shuffle: wish.shuffle,
        list: wish.list,
        no_skip: wish.no_skip,
        update: wish.update,
        leak_check: !wish.no_leak_check,
        runtimes,
        runtime: None,
        nest: None,
        format: wish.format,
        junit: wish.junit,
    };
    let code = match testrun::run(&plan) {
        Ok(code) => code,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidArgument) => {
            return fail_early(&error);
        }
        Err(error) => {
            let report = Report::of_error(&error);
            complain(&report::render(&report, &|_| None));
            return report.exit_code;
        }
    };
    if let Some(number) = crate::runtime::cancel::requested() {
        // When even that is not possible, the code tells.
        let _ = signal::die_by(number);
    }
    code
}
