//! The scripts of `tests/rhai/cgroup`, which need the program and busybox alone: on this host as it is, and with version 1
//! alone. Each ends with `done`, and leaves no group.

mod support;

use std::path::{Path, PathBuf};
use support::user::{User, stands_in};
use support::{Ended, Run, cshell};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rhai/cgroup").join(format!("{name}_test.rhai"))
}

#[track_caller]
fn ends(stdout: &str, stderr: &str, ended: Ended) {
    assert_eq!(ended, Ended::Exit(0), "{stdout}{stderr}");
    assert_eq!(stdout.lines().last(), Some("done"), "{stdout}{stderr}");
    assert!(stdout.lines().any(|line| line.starts_with("ok ")), "{stdout}");
    assert_eq!(stderr, "");
}

#[track_caller]
fn as_it_is(name: &str) {
    let run = cshell([script(name)]).output();
    if stands_in() && no_device_rules(name, &run) {
        return;
    }
    ends(&run.stdout, &run.stderr, run.ended);
}

/// In a mount namespace of its own, after this.
#[track_caller]
fn seen_after(prepare: &str, name: &str) {
    if stands_in() {
        // What hides the machine's mounts is root of the machine.
        let user = User { before: prepare.into(), ..User::of_every_run().expect("the runs are a user's") };
        let run = cshell([script(name)]).by_user_with(user).output();
        if !no_device_rules(name, &run) {
            ends(run.stdout.trim_end(), run.stderr.trim_end(), run.ended);
        }
        return;
    }
    let code = format!(
        "let r = proc::exec(\"set -e; {prepare}; exec $CSHELL {}\", \
         #{{ ns: [\"mount\"], check: false }}); print(r.stdout); sys::log(r.stderr); exit(r.code);",
        script(name).display()
    );
    let run = cshell(["-c", &code]).env("CSHELL", env!("CARGO_BIN_EXE_cshell")).output();
    ends(run.stdout.trim_end(), run.stderr.trim_end(), run.ended);
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
    let text = std::fs::read_to_string(script(name)).expect("a script of this folder");
    let run = cshell(["script.rhai"]).file("script.rhai", text).by_user().delegated();
    if !no_device_rules(name, &run) {
        ends(run.stdout.trim_end(), run.stderr.trim_end(), run.ended);
    }
}

/// Whether a script is one with rules for devices, which root of the machine alone may make: then it ended there.
#[track_caller]
fn no_device_rules(name: &str, run: &Run) -> bool {
    match name {
        // All but the last part.
        "probe" => {
            assert!(
                run.stdout.contains("ok memory, pids, cpu and cpuset bite"),
                "{}{}",
                run.stdout,
                run.stderr
            );
            assert!(run.stderr.contains("devices"), "{}", run.stderr);
        }
        "devices" => {
            assert!(run.stderr.contains("devices"), "{}", run.stderr);
            assert_eq!(run.ended, Ended::Exit(3));
        }
        _ => return false,
    }
    true
}

macro_rules! scripts {
    ($($name:ident)*) => {
        mod as_it_is {
            $(#[test] fn $name() { super::as_it_is(stringify!($name)); })*
        }
        mod delegated {
            $(#[test] fn $name() { super::delegated(stringify!($name)); })*
        }
        mod version_1 {
            $(#[test] fn $name() { super::version_1(stringify!($name)); })*
        }
        /// Every script has its tests.
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
scripts!(basic beside bite devices limits tree freeze events hooks probe refused);
