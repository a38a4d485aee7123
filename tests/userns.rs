//! User namespaces whose ids are chosen by the program, as root of the machine sees them: several programs at once, one that
//! was killed, and users of their own. What the calls do is in `tests/rhai/userns`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "support/outside.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
#[allow(clippy::allow_attributes, reason = "what is unused differs between the test files")]
mod outside;
mod support;

use nix::sys::signal::Signal;
use outside::{around, eventually, is_alive, read, watch_in};
use std::io::BufRead;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use support::user::{NAME, SUBORDINATE, UID, User, outer_id, stands_in};
use support::{Cshell, Ended, code, kill};

/// Where root's ranges begin on a machine whose `/etc/subuid` names none for containers.
const HIGH: u64 = 1 << 31;

/// Where ranges begin in this run: an ordinary user's are its own.
fn first() -> u64 {
    if stands_in() { SUBORDINATE.into() } else { HIGH }
}

/// As [`code`], where the user has ids for many containers.
fn with_ids(script: &str) -> Cshell {
    let program = code(script);
    match User::of_every_run() {
        Some(user) => {
            program.by_user_with(User { subordinate: format!("{NAME}:{SUBORDINATE}:1000000\n"), ..user })
        }
        None => program,
    }
}

/// A folder of whoever runs the program.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(folder.path(), Some(outer_id(0)), Some(outer_id(0))).unwrap();
    folder
}

/// The map of a process as three numbers a range.
fn map(pid: &str, name: &str) -> Vec<u64> {
    read(format!("/proc/{pid}/{name}")).split_whitespace().map(|word| word.parse().unwrap()).collect()
}

fn owner(path: impl AsRef<Path>) -> (u32, u32) {
    let data = std::fs::symlink_metadata(path).unwrap();
    (data.uid(), data.gid())
}

/// The files that stand for ranges in use.
fn in_use(run: &Path) -> usize {
    let names = std::fs::read_dir(run).into_iter().flatten().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().starts_with("ids-")).count()
}

#[test]
fn each_container_has_ids_that_no_other_has() {
    let run = folder();
    let in_run = |program: Cshell| program.env("CSHELL_RUN", run.path().to_str().unwrap());
    let script = r#"
        let o = #{ userns: "auto", ns: ["pid"], input: "pipe" };
        print(proc::spawn("cat", o).pid);
        print(ns::new(#{ kinds: ["pid"], userns: "auto:size=1000" }).pid);
    "#;
    watch_in(in_run(with_ids(&around(script))), |_, facts| {
        watch_in(in_run(with_ids(&around(script))), |_, others| {
            let all = facts.iter().chain(others);
            let mut maps: Vec<Vec<u64>> = all.map(|pid| map(pid, "uid_map")).collect();
            let groups: Vec<Vec<u64>> = facts.iter().chain(others).map(|pid| map(pid, "gid_map")).collect();
            assert_eq!(maps, groups);
            maps.sort();
            assert!(maps.iter().all(|map| map[0] == 0 && map[1] >= first()), "{maps:?}");
            for pair in maps.windows(2) {
                assert!(pair[0][1] + pair[0][2] <= pair[1][1], "{maps:?} overlap");
            }
            assert_eq!(maps.iter().filter(|map| map[2] == 65_536).count(), 2);
            assert_eq!(in_use(run.path()), 4);
        });
    });
    assert_eq!(in_use(run.path()), 0);
}

#[test]
fn ids_of_a_killed_program_are_given_again() {
    let program = with_ids(&around(
        r#"print(proc::spawn("cat", #{ userns: "auto", ns: ["pid"], input: "pipe" }).pid);"#,
    ));
    let run = program.folder().join("run");
    program.after_line_leaving("ready", |pid, stdout| {
        let child = stdout.lines().map_while(Result::ok).next().unwrap();
        assert_eq!(map(&child, "uid_map")[1], first());
        kill(pid, Signal::SIGKILL);
        eventually("it ended with the program", || !is_alive(&child));
    });
    assert_eq!(in_use(&run), 1);
    // The next start reclaims it, and finds the range free from then on.
    let again = r#"
        let map = || proc::exec("cat /proc/self/uid_map", #{ userns: "auto", ns: ["pid"] }).stdout;
        map.call();
        print(map.call());
    "#;
    let second = with_ids(again).env("CSHELL_RUN", run.to_str().unwrap()).output();
    // Seen from within the user's own ids.
    let first = if stands_in() { 1 } else { HIGH };
    assert_eq!(
        second.stdout.split_whitespace().nth(1),
        Some(first.to_string().as_str()),
        "{}",
        second.stderr
    );
    assert_eq!(in_use(&run), 0);
    program.reclaim();
}

#[test]
fn a_user_keeps_its_ids() {
    let script = r#"
        let kept = #{ userns: "keep-id", ns: ["pid"] };
        print(proc::spawn("cat", kept + #{ input: "pipe" }).pid);
        proc::exec("touch kept", kept);
    "#;
    let program = code(&around(script));
    let kept = program.folder().join("work/kept");
    watch_in(program.by_user(), |_, facts| {
        let status = read(format!("/proc/{}/status", facts[0]));
        assert!(status.contains(&format!("\nUid:\t{UID}\t{UID}\t{UID}\t{UID}\n")), "{status}");
        assert_eq!(owner(&kept), (UID, UID));
    });
}

#[test]
fn without_root_ranges_come_from_the_users_own() {
    let script = r#"
        print(proc::spawn("cat", #{ userns: "auto", ns: ["pid"], input: "pipe" }).pid);
        try { proc::exec("true", #{ userns: "auto", ns: ["pid"] }); } catch (e) { print(e.kind); }
        print(proc::exec("cat /proc/self/uid_map", #{ userns: "auto:size=100", ns: ["pid"] }).stdout);
    "#;
    let lines = format!("{UID}:{SUBORDINATE}:65700\n");
    let user = User { subordinate: lines, ..User::default() };
    watch_in(code(&around(script)).by_user_with(user), |_, facts| {
        // As the machine sees it, and from where it was started.
        let status = read(format!("/proc/{}/status", facts[0]));
        assert!(status.contains(&format!("\nUid:\t{SUBORDINATE}\t{SUBORDINATE}")), "{status}");
        assert_eq!(facts[1], "limit_reached");
        assert_eq!(facts[2].split_whitespace().collect::<Vec<_>>(), ["0", "65537", "100"]);
    });
}

#[test]
fn without_subordinate_ids_nothing_weaker_is_started() {
    let script = r#"
        for userns in ["auto", "keep-id"] {
            try { proc::exec("true", #{ userns: userns, ns: ["pid"] }); print("no error"); } catch (e) { print(`${e.kind}: ${e.hint}`); }
        }
    "#;
    let user = User { subordinate: String::new(), ..User::default() };
    let run = code(script).by_user_with(user).output();
    assert_eq!(run.ended, Ended::Exit(0), "{}", run.stderr);
    assert_eq!(run.stdout.lines().count(), 2);
    for line in run.stdout.lines() {
        assert!(
            line.starts_with("permission_denied: ") && line.contains("usermod --add-subuids 100000-165535"),
            "{line}"
        );
    }
}
