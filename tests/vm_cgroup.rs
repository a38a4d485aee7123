//! Control groups on another kernel, where they are version 2 alone or version 1 alone, and where systemd arranges them:
//! the scripts of `tests/rhai/cgroup`, and the recipes, which use everything else as well.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "support/vm.rs"]
mod vm;

use std::path::{Path, PathBuf};
use vm::{Mode, Outcome, Vm};

/// The recipe that needs perl or python, which the machine does not have.
const WITHOUT: &str = "limit-memory.rhai";

/// The scripts of a folder of the repository.
fn scripts(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "rhai")).collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

/// The last line that a script has to print: `done` for a test, what its header says for a recipe.
fn last_line(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("// expect: "));
    line.unwrap_or("done").to_owned()
}

/// What is wrong with a script's run: nothing, if it ended well with its last line and left nothing behind.
fn complaint(outcome: &Outcome, last: &str) -> Option<String> {
    let said = outcome.stdout.lines().last() == Some(last) && outcome.stderr.is_empty();
    // systemd makes and removes the group of its slice as it likes, where a controller is on version 1.
    let left = outcome.left.iter().filter(|line| !line.ends_with("/system.slice")).count();
    let well = outcome.status == 0 && said && left == 0;
    (!well).then(|| format!("{outcome:#?}"))
}

#[track_caller]
fn run(title: &str, machine: fn(&str) -> Vm, mode: &str, driver: &str) {
    let mut paths = scripts("tests/rhai/cgroup");
    paths.extend(scripts("scripts"));
    paths.retain(|path| !path.ends_with(WITHOUT));
    let mut vm = machine(title)
        .modules(&["overlay", "veth", "bridge"])
        // The first run makes the state folders, which stay.
        .prepare("cshell -c 'cgroup::limit(#{ pids: 9 }); image::list();'")
        .job("mode", "cshell -c 'let i = cgroup::info(); print(i.mode); print(i.driver)'");
    for path in &paths {
        let name = path.file_name().unwrap().to_str().unwrap();
        vm = vm.file(&format!("/work/{name}"), path).job(name, &format!("cd /work; cshell {name}"));
    }
    let Some(outcomes) = vm.run() else { return };
    assert_eq!(outcomes.len(), paths.len() + 1);
    assert_eq!(outcomes[0].stdout, format!("{mode}\n{driver}\n"), "{:#?}", outcomes[0]);
    let complaints: Vec<String> = outcomes[1..]
        .iter()
        .zip(&paths)
        .filter_map(|(outcome, path)| complaint(outcome, &last_line(path)))
        .collect();
    assert!(complaints.is_empty(), "{title}: {}", complaints.join("\n"));
}

#[test]
fn scripts_pass_on_version_2_alone() {
    run("scripts on version 2 alone", |title| Vm::new(title, Mode::V2), "v2", "cgroupfs");
}

#[test]
fn scripts_pass_on_version_1_alone() {
    run("scripts on version 1 alone", |title| Vm::new(title, Mode::V1), "v1", "cgroupfs");
}

#[test]
fn scripts_pass_in_a_scope_on_version_2() {
    run("scripts on systemd's version 2", |title| Vm::new(title, Mode::V2).systemd(), "v2", "systemd");
}

#[test]
fn scripts_pass_in_a_scope_on_both_versions() {
    let machine = |title: &str| Vm::new(title, Mode::Hybrid).systemd();
    run("scripts on systemd's version 1", machine, "hybrid", "systemd");
}
