//! Control groups on another kernel, where they are version 2 alone or version 1 alone: the scripts of
//! `tests/rhai/cgroup`, and the recipe of the README's first command.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "support/vm.rs"]
mod vm;

use std::path::{Path, PathBuf};
use vm::{Mode, Outcome, Vm};

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rhai/cgroup");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path| path.to_string_lossy().ends_with("_test.rhai")).collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

/// What is wrong with a script's run: nothing, if it ended well with `done` and left nothing behind.
fn complaint(outcome: &Outcome) -> Option<String> {
    let well = outcome.status == 0 && outcome.stdout.lines().last() == Some("done") && outcome.stderr.is_empty();
    (!well || !outcome.left.is_empty()).then(|| format!("{outcome:#?}"))
}

#[track_caller]
fn run(mode: Mode) {
    let title = format!("cgroup scripts with {mode:?}");
    let mut vm = Vm::new(&title, mode).modules(&["overlay", "veth", "bridge"]);
    for path in scripts() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let inside = format!("/work/{name}");
        vm = vm.file(&inside, &path).job(name, &format!("cd /work; cshell {inside}"));
    }
    let info = "print(cgroup::info().mode);";
    vm = vm.job("mode", &format!("cshell -c '{info}'"));
    let Some(mut outcomes) = vm.run() else { return };
    let info = outcomes.pop().unwrap();
    assert_eq!(info.stdout, if mode == Mode::V2 { "v2\n" } else { "v1\n" }, "{info:#?}");
    let complaints: Vec<String> = outcomes.iter().filter_map(complaint).collect();
    assert!(complaints.is_empty(), "{title}: {}", complaints.join("\n"));
}

#[test]
fn scripts_pass_on_version_2_alone() {
    run(Mode::V2);
}

#[test]
fn scripts_pass_on_version_1_alone() {
    run(Mode::V1);
}
