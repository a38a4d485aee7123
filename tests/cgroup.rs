//! Control groups, looked at from outside while a program lives, and when it has ended. What scripts see of them is in
//! `tests/rhai/cgroup`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "support/outside.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
#[allow(clippy::allow_attributes, reason = "what is unused differs between the test files")]
mod outside;
mod support;

use outside::{eventually, shell_of_root, tool, watch};
use std::path::{Path, PathBuf};
use support::{Ended, code};

#[test]
fn what_the_host_cannot_limit_ends_the_program_with_3() {
    let run = code("cgroup::limit(#{ hugetlb: #{ \"3MB\": \"3M\" } })").output();
    assert_eq!(run.ended, Ended::Exit(3), "{}", run.stderr);
    assert!(run.stderr.contains("hugetlb"), "{}", run.stderr);
}

/// The folder of this test's own group, where the program makes its own below.
fn own(controller: &str) -> PathBuf {
    let run = code(&format!("print(cgroup::info().controllers.{controller}.own)")).output();
    PathBuf::from(run.stdout.trim())
}

#[test]
fn a_folder_below_an_unmounted_controller_is_no_group() {
    if own("pids").starts_with("/sys/fs/cgroup/unified") || !Path::new("/sys/fs/cgroup/pids/tasks").exists() {
        outside::skip("pids is not a version 1 controller here");
        return;
    }
    let (ended, stdout, stderr) = shell_of_root(
        r#"
        exec unshare -m --propagation private sh -c '
            umount -l /sys/fs/cgroup/pids
            "$CSHELL" -c "try { cgroup::limit(#{ pids: 5 }) } catch (e) { print(e.kind); print(e.message) }"
            find /sys/fs/cgroup/pids -mindepth 1'
        "#,
    );
    assert_eq!((ended, stderr.as_str()), (Ended::Exit(0), ""));
    assert_eq!(stdout, "unsupported\ncgroup::limit: the pids controller is not mounted on this host\n");
}

#[test]
fn a_program_in_its_own_group_survives_the_end_of_it() {
    code(
        r#"
        let group = cgroup::limit(#{ pids: 50 });
        group.add(sys::info().pid);
        proc::exec("true");
        group.kill();
        print("alive");
        group.add(sys::info().pid);
        "#,
    )
    .stdout("alive\n")
    .check();
}

/// What it throws is shown where it is thrown, whatever the call was that it ended; and that ends at once.
#[test]
fn a_callback_that_throws_ends_the_call_that_blocks() {
    for blocks in ["sys::sleep(\"1h\")", "proc::exec(\"sleep 1000\")", "g.wait(\"frozen\")"] {
        code(&format!(
            r#"
            let g = cgroup::create("throws-{}", #{{ pids: 2 }});
            g.on("pids_max", |e| {{
                fs::read("/none");
            }});
            let p = proc::spawn("exec 2> /dev/null; sleep 1000 & sleep 1000 & wait", #{{ cgroup: g }});
            {blocks};
            "#,
            std::process::id()
        ))
        .exit(1)
        .stderr(
            r#"
            error: fs::read: cannot open /none
             --> <code>:3:5
              |
            3 |     fs::read("/none");
              |     ^^^^^^^^
              |
              = caused by: openat(AT_FDCWD, "/none", O_RDONLY|O_NONBLOCK|O_CLOEXEC, 0o0) = -1 ENOENT (No such file or directory)
              = in a closure called at <code>:2:3
            "#,
        )
        .check();
    }
}

#[test]
fn nothing_is_left_in_any_tree() {
    let mut seen = String::new();
    watch(
        "let group = cgroup::limit(#{ pids: 5, memory: \"8M\", cpus: 1 }); print(group.name);",
        |_, facts| seen = find_groups(&facts[0]),
    );
    assert!(seen.lines().count() > 1, "{seen}");
    eventually("no group is left", || seen.lines().all(|path| !Path::new(path).exists()));
}

/// The folders of the group of this name, in all trees. Groups of tests beside this one come and go meanwhile.
fn find_groups(name: &str) -> String {
    let find = format!("find /sys/fs/cgroup -type d -name {name} 2>/dev/null || true");
    tool("/bin/sh", &["-c", &find])
}

/// The groups are mounted for a process that is in none, and systemd, be it there or not, is not asked for a scope.
#[test]
fn a_process_without_a_group_looks_at_the_groups() {
    code(
        r#"
        let options = #{ rootfs: fs::overlay(image::host(["ls"])), security: "default" };
        print(proc::exec(["ls", "/sys/fs/cgroup"], options).stdout != "");
        "#,
    )
    // Whose processes are in no group of their own: rules on devices are root's.
    .by_user()
    .env("CSHELL_CGROUP_DRIVER", "systemd")
    .stdout("true\n")
    .check();
}
