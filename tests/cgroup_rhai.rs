//! The tests of `tests/rhai/cgroup`, which need the program and busybox alone, on hosts of other kinds than this one: with version 1
//! alone, and in groups that were delegated. `tests/rhai.rs` runs them as it is.

mod support;

use std::path::{Path, PathBuf};
use support::user::{User, stands_in};
use support::{Ended, Run, cshell};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rhai/cgroup").join(format!("{name}_test.rhai"))
}

/// Tests passed, and none failed; those with rules for devices may be skipped where the user is none.
#[track_caller]
fn ends(run: &Run) {
    let (stdout, stderr) = (run.stdout.trim_end(), run.stderr.trim_end());
    assert_eq!((stderr, run.ended), ("", Ended::Exit(0)), "{stdout}");
    assert!(stdout.lines().any(|line| line.starts_with("PASS ")), "{stdout}");
}

/// In a mount namespace of its own, after this.
#[track_caller]
fn seen_after(prepare: &str, name: &str) {
    if stands_in() {
        if is_roots(name) {
            return;
        }
        // What hides the machine's mounts is root of the machine.
        let user = User { before: prepare.into(), ..User::of_every_run().expect("the runs are a user's") };
        return ends(&cshell(["test".into(), script(name)]).by_user_with(user).output());
    }
    let code = format!(
        "let r = proc::exec(\"set -e; {prepare}; exec $CSHELL test {}\", \
         #{{ ns: [\"mount\"], check: false }}); print(r.stdout); sys::log(r.stderr); exit(r.code);",
        script(name).display()
    );
    ends(&cshell(["-c", &code]).env("CSHELL", env!("CARGO_BIN_EXE_cshell")).output());
}

/// Whether all tests of a file are skipped for an ordinary user: a run without a test that passed is none.
fn is_roots(name: &str) -> bool {
    name == "devices"
}

/// Without the version 2 tree.
#[track_caller]
fn version_1(name: &str) {
    seen_after(
        "if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi; ! grep -q cgroup2 /proc/mounts",
        name,
    );
}

/// Without the list of version 1, devices are asked of a program in the version 2 tree.
#[test]
fn devices_by_a_program() {
    seen_after("if mountpoint -q /sys/fs/cgroup/devices; then umount /sys/fs/cgroup/devices; fi", "devices");
}

/// As an ordinary user, in groups that root has delegated to it.
#[track_caller]
fn delegated(name: &str) {
    if is_roots(name) {
        return;
    }
    let text = std::fs::read_to_string(script(name)).expect("a file of this folder");
    ends(&cshell(["test", "a_test.rhai"]).file("a_test.rhai", text).by_user().delegated());
}

macro_rules! scripts {
    ($($name:ident)*) => {
        mod delegated {
            $(#[test] fn $name() { super::delegated(stringify!($name)); })*
        }
        mod version_1 {
            $(#[test] fn $name() { super::version_1(stringify!($name)); })*
        }
        /// No file is left out.
        #[test]
        fn none_is_left_out() {
            let mut known = vec![$(stringify!($name)),*];
            known.sort_unstable();
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rhai/cgroup");
            let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut found: Vec<String> = names.map(|name| name.trim_end_matches("_test.rhai").to_owned()).collect();
            found.sort();
            assert_eq!(found, known);
        }
    };
}
scripts!(basic beside bite bounds devices files limits names processes tree freeze events hooks probe readonly refused);
