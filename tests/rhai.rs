//! The tests of `tests/rhai`: how the functions of the language behave on this host. A folder is an area, and a test here.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::{Ended, cshell};

/// How long an area may take on a machine that does other things as well.
const TIMEOUT: Duration = Duration::from_secs(300);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rhai")
}

/// Runs an area. Of its tests so many pass at the least, run by root and by an ordinary user, who can remove fewer protections and has
/// no rules for devices.
#[track_caller]
fn passes(area: &str, by_root: usize, by_user: usize) {
    let run = cshell(["test".into(), folder().join(area)]).within(TIMEOUT).output();
    assert_eq!((run.stderr.as_str(), run.ended), ("", Ended::Exit(0)), "{}", run.stdout);
    let has_passed = |line: &&str| line.starts_with("PASS ") || line.starts_with("SLOW ");
    let passed = run.stdout.lines().filter(has_passed).count();
    let least = if support::user::stands_in() { by_user } else { by_root };
    assert!(passed >= least, "only {passed} passed: {}", run.stdout);
}

macro_rules! areas {
    ($($area:ident $by_root:literal $by_user:literal,)*) => {
        $(#[test] fn $area() { passes(stringify!($area), $by_root, $by_user); })*

        #[test]
        fn none_is_left_out() {
            let there = std::fs::read_dir(folder()).expect("the tests").flatten();
            let there: BTreeSet<String> =
                there.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            assert_eq!(there, BTreeSet::from([$(stringify!($area).to_owned(),)*]));
        }
    };
}

areas! {
    cgroup 62 60,
    fs 48 48,
    image 142 142,
    isolation 228 200,
    net 75 75,
    ns 31 29,
    proc 52 52,
    security 345 345,
    streams 33 33,
    userns 27 26,
}
