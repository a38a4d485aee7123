//! Control groups, looked at from outside.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "support/outside.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
#[allow(clippy::allow_attributes, reason = "what is unused differs between the test files")]
mod outside;
mod support;

use outside::{eventually, is_alive, read, shell_of_root, tool, watch};
use std::path::{Path, PathBuf};
use support::{Ended, code};

/// What a limit is held as: in a file of version 1, or one of version 2.
struct Held(&'static str, &'static str, &'static str, &'static str);

/// The text of the first of the files that one of the folders has.
#[track_caller]
fn held(folders: &[PathBuf], names: [&str; 2]) -> (String, usize) {
    for folder in folders {
        for (index, name) in names.iter().enumerate() {
            if folder.join(name).exists() {
                return (read(folder.join(name)), index);
            }
        }
    }
    panic!("none of {names:?} in {folders:?}");
}

#[test]
fn limits_are_held_by_the_kernel() {
    const V1_NONE: &str = "9223372036854771712";
    for (limits, expected) in [
        ("memory: \"64MiB\"", vec![Held("memory.limit_in_bytes", "67108864", "memory.max", "67108864")]),
        ("memory: 10000000", vec![Held("memory.limit_in_bytes", "9998336", "memory.max", "9998336")]),
        ("memory: \"max\"", vec![Held("memory.limit_in_bytes", V1_NONE, "memory.max", "max")]),
        (
            "\"memory.max\": \"1.5G\"",
            vec![Held("memory.limit_in_bytes", "1610612736", "memory.max", "1610612736")],
        ),
        (
            "memory: \"32M\", memory_swap: \"48M\"",
            vec![
                Held("memory.limit_in_bytes", "33554432", "memory.max", "33554432"),
                Held("memory.memsw.limit_in_bytes", "50331648", "memory.swap.max", "16777216"),
            ],
        ),
        (
            "memory: \"32M\", \"memory.swap.max\": 0",
            vec![Held("memory.memsw.limit_in_bytes", "33554432", "memory.swap.max", "0")],
        ),
        ("pids: 7", vec![Held("pids.max", "7", "pids.max", "7")]),
        ("\"pids.max\": \"max\"", vec![Held("pids.max", "max", "pids.max", "max")]),
        (
            "cpus: 0.5",
            vec![
                Held("cpu.cfs_quota_us", "50000", "cpu.max", "50000 100000"),
                Held("cpu.cfs_period_us", "100000", "cpu.max", "50000 100000"),
            ],
        ),
        ("cpus: \"150%\"", vec![Held("cpu.cfs_quota_us", "150000", "cpu.max", "150000 100000")]),
        (
            "\"cpu.max\": \"20000 50000\"",
            vec![
                Held("cpu.cfs_quota_us", "20000", "cpu.max", "20000 50000"),
                Held("cpu.cfs_period_us", "50000", "cpu.max", "20000 50000"),
            ],
        ),
        ("cpu_weight: 50", vec![Held("cpu.shares", "512", "cpu.weight", "50")]),
        ("\"cpu.weight\": 10000", vec![Held("cpu.shares", "102400", "cpu.weight", "10000")]),
        ("cpuset: \"0\"", vec![Held("cpuset.cpus", "0", "cpuset.cpus", "0")]),
    ] {
        let script =
            format!("let group = cgroup::limit(#{{ {limits} }}); for path in group.paths {{ print(path); }}");
        watch(&script, |_, facts| {
            let folders: Vec<PathBuf> = facts.iter().map(PathBuf::from).collect();
            for Held(name1, value1, name2, value2) in &expected {
                let (text, version) = held(&folders, [name1, name2]);
                assert_eq!(text, [*value1, *value2][version], "{limits}: {name1} or {name2}");
            }
        });
    }
}

#[test]
fn limits_are_read_by_the_names_of_version_2() {
    code(
        r#"
        let group = cgroup::limit(#{ memory: "32M", memory_swap: "48M", pids: 9, cpus: 0.25, cpu_weight: 33 });
        let l = group.limits();
        print([l["memory.max"], l["memory.swap.max"], l["pids.max"], l["cpu.max"], l["cpu.weight"]]);
        group.limit(#{ memory: "64M" }).limit(#{ pids: "max" });
        print(cgroup::limit(group, #{ memory: "16M" }) == group);
        let l = group.limits();
        print([l["memory.max"], l["memory.swap.max"], l["pids.max"]]);
        "#,
    )
    .stdout(
        "
        [33554432, 16777216, 9, \"25000 100000\", 33]
        true
        [16777216, 16777216, \"max\"]
        ",
    )
    .check();
}

/// `0,1` and `1,0` are `0-1` for the kernel.
#[test]
fn a_list_of_processors_may_be_written_in_any_form() {
    let all = read("/sys/devices/system/cpu/online");
    if !all.starts_with("0-") {
        outside::skip("one processor");
        return;
    }
    for list in ["0,1", "1,0", "0-1", "0,0-1"] {
        code(&format!("print(cgroup::limit(#{{ cpuset: \"{list}\" }}).limits()[\"cpuset.cpus\"])"))
            .stdout("0-1\n")
            .check();
    }
}

#[test]
fn a_limit_on_memory_kills_and_says_so() {
    code(
        r#"
        let group = cgroup::limit(#{ memory: "20MiB", memory_swap: "20MiB" });
        let r = proc::exec("tail /dev/zero", #{ cgroup: group, check: false });
        print([r.ok, r.reason, r.usage.memory_peak <= 20 * 1024 * 1024, r.usage.memory_peak > 10 * 1024 * 1024]);
        print(group.stats().memory.oom_kills);
        try { proc::exec(["tail", "/dev/zero"], #{ cgroup: group }) } catch (e) { print(e.kind + ", " + e.reason) }
        try { proc::exec(["tail", "/dev/zero"], #{ cgroup: #{ memory: "20MiB", memory_swap: "20MiB" } }) } catch (e) { print(e.kind) }
        print(proc::exec("echo fine", #{ cgroup: group }).lines());
        "#,
    )
    .stdout("[false, \"oom\", true, true]\n1\nlimit_reached, oom\nlimit_reached\n[\"fine\"]\n")
    .check();
}

#[test]
fn a_limit_on_processes_refuses_the_next() {
    code(
        r#"
        let group = cgroup::limit(#{ pids: 3 });
        let r = proc::exec("sleep 1000 & sleep 1000 & (sleep 1000 & ) ; echo not reached", #{ cgroup: group, check: false });
        print(r.ok);
        print(r.stderr.to_lower().contains("fork"));
        print(r.stdout);
        "#,
    )
    .stdout("false\ntrue\n\n")
    .check();
}

#[test]
fn a_limit_on_processors_throttles() {
    let script = r#"
        let group = cgroup::limit(#{ cpus: 0.1 });
        let it = proc::spawn("while :; do :; done", #{ cgroup: group });
        for path in group.paths { print(path); }
    "#;
    watch(script, |_, facts| {
        let throttled = || {
            facts.iter().any(|path| {
                let text = std::fs::read_to_string(Path::new(path).join("cpu.stat")).unwrap_or_default();
                text.lines().any(|line| line.starts_with("nr_throttled ") && line != "nr_throttled 0")
            })
        };
        eventually("it is throttled", throttled);
    });
}

#[test]
fn what_the_host_cannot_limit_is_named() {
    let mode = code("print(cgroup::info().controllers.memory.version)").output().stdout;
    let mut cases = vec![("hugetlb: #{ \"3MB\": \"3M\" }", "hugetlb"), ("\"rdma.max\": \"mlx 1\"", "rdma")];
    if mode == "1\n" {
        cases.push(("memory_high: \"10M\"", "memory.high has no counterpart in control groups version 1"));
    }
    for (limits, what) in cases {
        let run = code(&format!("cgroup::limit(#{{ {limits} }})")).output();
        assert_eq!(run.ended, Ended::Exit(3), "{limits}: {}", run.stderr);
        assert!(run.stderr.contains(what), "{limits}: {}", run.stderr);
    }
}

/// The folder of this test's own group, where the program makes its own below.
fn own(controller: &str) -> PathBuf {
    let run = code(&format!("print(cgroup::info().controllers.{controller}.own)")).output();
    PathBuf::from(run.stdout.trim())
}

#[test]
fn a_foreign_group_is_left_alone() {
    let run = code(
        r#"
        let name = `foreign-${sys::info().pid}`;
        let path = cgroup::info().controllers.pids.own + "/" + name;
        let inode = || proc::exec(["stat", "-c", "%i", path]).stdout;
        proc::exec(["mkdir", path]);
        let before = inode.call();
        let group = cgroup::limit(#{ pids: 5 });
        proc::exec("true", #{ cgroup: group });
        group.close();
        try { cgroup::create(name); } catch (e) { print(`${e.code} ${e.message} ${e.hint}`); }
        print(inode.call() == before);
        proc::exec(["rmdir", path]);
        "#,
    )
    .output();
    assert_eq!((run.stderr.as_str(), run.ended), ("", Ended::Exit(0)));
    assert!(run.stdout.starts_with("EEXIST ") && run.stdout.contains("the name is taken"), "{}", run.stdout);
    assert!(run.stdout.ends_with("\ntrue\n"), "{}", run.stdout);
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
fn names_are_checked() {
    let long = "x".repeat(256);
    for name in ["a/b", "/", "..", ".", "", "cgroup.procs", "a\\nb", &long] {
        let run = code(&format!("cgroup::create(\"{name}\")")).output();
        assert_eq!(run.ended, Ended::Exit(1), "{name}");
        assert!(run.stderr.contains("is not a name for a group"), "{name}: {}", run.stderr);
    }
    let name = format!("named ü {}", std::process::id());
    watch(
        &format!("let group = cgroup::create(\"{name}\", #{{ pids: 4 }}); print(group.path);"),
        |_, facts| {
            assert!(facts[0].ends_with(&format!("/{name}")), "{facts:?}");
            assert!(Path::new(&facts[0]).is_dir());
        },
    );
}

#[test]
fn a_closed_group_ends_its_processes() {
    code(
        r#"
        let group = cgroup::limit(#{ pids: 20 });
        let it = proc::spawn("trap '' TERM; (trap '' TERM; sleep 1000) & sleep 1000", #{ cgroup: group });
        group.close();
        let r = it.wait();
        print([r.signal, r.code, r.reason]);
        try { proc::exec("true", #{ cgroup: group }) } catch (e) { print(`${e.kind} ${e.message.contains("at <code>:3")}`) }
        print(group.is_open);
        group.close();
        "#,
    )
    .stdout("[\"SIGKILL\", 137, \"signaled\"]\nclosed true\nfalse\n")
    .check();
}

#[test]
fn processes_are_added_counted_and_killed() {
    let script = r#"
        let group = cgroup::limit(#{ pids: 20 });
        let it = proc::spawn("sleep 1000 & echo $!; wait");
        let child = parse_int(it.next_line());
        group.add(it.pid);
        print(group.procs() == [it.pid]);
        group.add(child);
        print(group.procs().len());
        group.kill();
        print(group.procs());
        print(it.wait().signal);
        print(child);
    "#;
    watch(script, |_, facts| {
        assert_eq!(facts[..4], ["true", "2", "[]", "SIGKILL"]);
        assert!(!is_alive(&facts[4]));
    });
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
    for pid in ["0", "-1"] {
        let run = code(&format!("cgroup::limit(#{{ pids: 5 }}).add({pid})")).output();
        assert_eq!(run.ended, Ended::Exit(1), "{}", run.stderr);
        assert!(run.stderr.contains("`process` must be the id of a process"), "{}", run.stderr);
    }
}

#[test]
fn a_group_removed_from_outside_is_no_error_at_the_end() {
    code(
        r#"
        let group = cgroup::limit(#{ pids: 5 });
        for path in group.paths { proc::exec(["rmdir", path]); }
        try { proc::exec("true", #{ cgroup: group }) } catch (e) { print(e.hint) }
        group.close();
        print(group.is_open);
        "#,
    )
    .stdout("the control group was removed from outside\nfalse\n")
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

/// Until its exec a child shares the program's memory: where there is too little for it, the kernel must not end both.
#[test]
fn a_limit_too_small_to_start_anything_does_not_end_the_program() {
    code(
        r#"
        fn try_start(limit) {
            let end = "";
            try { end = proc::exec(["true"], #{ cgroup: #{ memory: limit }, check: false }).reason; } catch (e) { end = e.kind; }
            end
        }
        print(try_start(4096));
        for limit in [8192, 16384, 32768] {
            let end = try_start(limit);
            if !["limit_reached", "oom"].contains(end) { print(end); }
        }
        let full = cgroup::limit(#{ memory: "8M", memory_swap: "8M" });
        let eater = proc::spawn("busybox tail -f /dev/zero", #{ cgroup: full });
        eater.wait();
        for i in 0..20 { proc::exec(["true"], #{ cgroup: full, check: false }); }
        print("alive");
        "#,
    )
    .stdout("limit_reached\nalive\n")
    .check();
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
