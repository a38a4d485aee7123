//! Control groups on another kernel, where they are version 2 alone or version 1 alone, and where systemd arranges them:
//! the tests of `tests/rhai/cgroup`, and the recipes, which use everything else as well.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "support/vm.rs"]
mod vm;

use std::path::{Path, PathBuf};
use vm::{Mode, Outcome, Vm};

/// The recipe that needs perl or python, and the test that needs the mount(8) of util-linux, which the machine does not have.
const WITHOUT: [&str; 2] = ["limit-memory.rhai", "readonly_test.rhai"];

/// What is the same in a scope of systemd's, where a machine takes long to start and to end.
const AS_ANYWHERE: [&str; 4] =
    ["bounds_test.rhai", "files_test.rhai", "names_test.rhai", "processes_test.rhai"];

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

fn is_test(path: &Path) -> bool {
    path.to_str().unwrap().ends_with("_test.rhai")
}

/// The last line that a script has to print: what its header says, or `done`.
fn last_line(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("// expect: "));
    line.unwrap_or("done").to_owned()
}

/// What is wrong with a script's run: nothing, if it ended well with its last line and left nothing behind.
fn complaint(outcome: &Outcome, path: &Path) -> Option<String> {
    let last = outcome.stdout.lines().last();
    let said = match is_test(path) {
        true => last.is_some_and(|last| last.contains(" passed")),
        false => last == Some(&last_line(path)),
    } && outcome.stderr.is_empty();
    // systemd makes and removes the group of its slice as it likes, where a controller is on version 1.
    let left = outcome.left.iter().filter(|line| !line.ends_with("/system.slice")).count();
    let well = outcome.status == 0 && said && left == 0;
    (!well).then(|| format!("{outcome:#?}"))
}

#[track_caller]
fn run(title: &str, machine: fn(&str) -> Vm, mode: &str, driver: &str) {
    let mut paths = scripts("tests/rhai/cgroup");
    paths.extend(scripts("scripts"));
    paths.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm/io.rhai"));
    paths.retain(|path| !WITHOUT.iter().any(|name| path.ends_with(name)));
    // How the groups come about is another matter there; what files and names they have is not.
    paths.retain(|path| driver != "systemd" || !AS_ANYWHERE.iter().any(|name| path.ends_with(name)));
    let mut vm = machine(title)
        .modules(&["overlay", "veth", "bridge"])
        .disk(64)
        .seconds(600)
        // The first run makes the state folders, which stay.
        .prepare("cshell -c 'cgroup::limit(#{ pids: 9 }); image::list();'")
        .job("mode", "cshell -c 'let i = cgroup::info(); print(i.mode); print(i.driver)'")
        .job("doctor", "cshell doctor");
    for path in &paths {
        let name = path.file_name().unwrap().to_str().unwrap();
        let verb = if is_test(path) { "test " } else { "" };
        vm = vm.file(&format!("/work/{name}"), path).job(name, &format!("cd /work; cshell {verb}{name}"));
    }
    let Some(outcomes) = vm.run() else { return };
    assert_eq!(outcomes.len(), paths.len() + 2);
    assert_eq!(outcomes[0].stdout, format!("{mode}\n{driver}\n"), "{:#?}", outcomes[0]);
    let doctor = &outcomes[1];
    assert_eq!((doctor.status, &doctor.left), (0, &Vec::new()), "{doctor:#?}");
    let told = [mode, driver].into_iter().all(|name| doctor.stdout.contains(&format!(" {name}: ")));
    assert!(told, "{doctor:#?}");
    let complaints: Vec<String> =
        outcomes[2..].iter().zip(&paths).filter_map(|(outcome, path)| complaint(outcome, path)).collect();
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

/// Makes the group `/sys/fs/cgroup/mine` with the controllers of the machine, runs `job` in it, and takes all of that back.
fn in_a_group(job: &str) -> String {
    format!(
        "
        export CSHELL_RUN=/tmp/mine/run CSHELL_ROOT=/tmp/mine/root
        root=/sys/fs/cgroup mine=/sys/fs/cgroup/mine
        mkdir -p /tmp/mine $mine
        chown 1000:1000 /tmp/mine
        echo '+cpu +memory +pids' >$root/cgroup.subtree_control
        echo $$ >$mine/cgroup.procs
        {job}
        code=$?
        cat $mine/cgroup.subtree_control >&2
        find $mine -mindepth 1 -type d >&2
        grep -qx 0::/mine /proc/self/cgroup || cat /proc/self/cgroup >&2
        echo $$ >$root/cgroup.procs
        rmdir $mine
        rm -r /tmp/mine
        echo '-cpu -memory -pids' >$root/cgroup.subtree_control
        exit $code
        "
    )
}

/// A limit that has to be refused: the error's kind, path and hint.
const REFUSED: &str = "try { cgroup::limit(#{ pids: 5 }); print(`limited`); } catch (e) { print(e.kind); print(e.path); print(e.hint); }";
/// A limit that has to be set, and where another process is then.
const INSIDE: &str = "print(cgroup::limit(#{ pids: 3, memory: `4MiB` }).path); print(proc::exec(`cat /proc/self/cgroup`).stdout);";
/// The files of a group that are handed over when it is delegated.
const HAND_OVER: &str =
    "chown 1000 $mine $mine/cgroup.procs $mine/cgroup.subtree_control $mine/cgroup.threads";
/// A container of which `mine` is the root.
const CONTAINER: &str = "/bin/unshare -C -m sh -c '
    umount /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; cshell /work/inside.rhai'";

/// A group that is kept has its limit still when the session has ended.
const KEPT: &str = "
    export CSHELL_RUN=/tmp/kept/run CSHELL_ROOT=/tmp/kept/root
    group=$(cshell -c 'let g = cgroup::limit(#{ pids: 9 }); g.keep(); print(g.path);')
    cat $group/pids.max
    cshell gc --kept >/dev/null
    rm -r /tmp/kept
    echo -pids >/sys/fs/cgroup/cgroup.subtree_control";

fn delegation() -> Vm {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm/delegated.rhai");
    let refused = "su user -c 'cshell /work/refused.rhai'";
    Vm::new("delegation on version 2", Mode::V2)
        .program("/usr/bin/unshare")
        .file("/work/delegated.rhai", &script)
        .text("/work/refused.rhai", REFUSED)
        .text("/work/inside.rhai", INSIDE)
        .prepare("echo user:x:1000:1000::/tmp:/bin/sh >>/etc/passwd; echo user:x:1000: >>/etc/group")
        .job("not ours", &in_a_group("cshell /work/refused.rhai"))
        .job("not delegated", &in_a_group(refused))
        .job("half delegated", &in_a_group(&format!("chown 1000 $mine; {refused}")))
        .job("delegated", &in_a_group(&format!("{HAND_OVER}; su user -c 'cshell /work/delegated.rhai'")))
        .job("container", &in_a_group(CONTAINER))
        .job("kept", KEPT)
}

/// What a group with processes of its own can do, and whose it has to be for that.
#[test]
fn groups_with_processes_of_their_own_on_version_2() {
    let Some(outcomes) = delegation().run() else { return };
    let [not_ours, not_delegated, half, delegated, container, kept] = &outcomes[..] else {
        panic!("{outcomes:#?}")
    };
    for outcome in &outcomes {
        // Nothing is left, and the group is as it was: no controllers for groups below it, no groups, the job in it.
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{outcome:#?}");
        assert_eq!(outcome.left, Vec::<String>::new(), "{outcome:#?}");
    }
    let says = |outcome: &Outcome, kind: &str, path: &str, hints: &[&str]| {
        let lines: Vec<&str> = outcome.stdout.lines().collect();
        assert_eq!(lines[..2], [kind, path], "{outcome:#?}");
        assert!(hints.iter().all(|hint| lines[2].contains(hint)), "{outcome:#?}");
    };
    let group = "/sys/fs/cgroup/mine";
    says(
        not_ours,
        "busy",
        group,
        &["systemd-run --scope -p Delegate=yes cshell", "mkdir /sys/fs/cgroup/mine/leaf"],
    );
    let user = ["systemd-run --user --scope -p Delegate=yes", "chown 1000 /sys/fs/cgroup/mine/user-1000 "];
    says(not_delegated, "permission_denied", &format!("{group}/cgroup.subtree_control"), &user);
    says(half, "permission_denied", &format!("{group}/cgroup.subtree_control"), &user);
    assert_eq!(delegated.stdout, "done\n");
    assert_eq!(kept.stdout, "9\n");
    let lines: Vec<&str> = container.stdout.lines().collect();
    assert!(
        lines[0].starts_with("/sys/fs/cgroup/cshell-") && lines[1].starts_with("0::/cshell-"),
        "{lines:?}"
    );
}
