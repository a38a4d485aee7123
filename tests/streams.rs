//! What goes through the program's own standard streams, what that costs it, and how it ends: its exit codes, signals, limits, and
//! other programs beside it. What scripts feed, read and end is tested in `tests/rhai/streams`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "support/outside.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
#[allow(clippy::allow_attributes, reason = "what is unused differs between the test files")]
mod outside;
mod support;

use nix::sys::signal::Signal;
use outside::{is_alive, read, shell, watch};
use std::io::BufRead;
use support::{Ended, code, kill};

#[test]
fn a_terminal_takes_what_the_program_is_given() {
    let (ended, stdout, stderr) = shell(
        r#"echo passed | "$CSHELL" -c 'proc::exec("cat", #{ tty: true, input: "inherit", output: "inherit", timeout: "20s" })'"#,
    );
    assert_eq!((ended, stderr.as_str()), (Ended::Exit(0), ""));
    assert!(stdout.ends_with("passed\r\n"), "{stdout}");
}

#[test]
fn inherited_output_is_the_programs_in_its_order() {
    code(r#"print("before"); proc::exec("echo inherited", #{ output: "inherit" }); print("after");"#)
        .stdout("before\ninherited\nafter\n")
        .check();
}

#[test]
fn endless_output_takes_no_memory() {
    let script = r#"
        print(proc::exec(["yes"], #{ output_max: "2MiB", check: false }).reason);
        try { proc::exec(["yes"]) } catch (e) { print(e.reason) }
        print(proc::exec("head -c 1000000000 /dev/zero", #{ output: "null" }).ok);
    "#;
    watch(script, |pid, facts| {
        assert_eq!(facts, ["output", "output", "true"]);
        let status = read(format!("/proc/{pid}/status"));
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
        let peak: u64 = peak.split(' ').next().unwrap().parse().unwrap();
        assert!(peak < 128 * 1024, "{peak} KiB");
    });
}

#[test]
fn a_gigabyte_passes_through_without_being_kept() {
    let (ended, stdout, stderr) =
        shell(r#""$CSHELL" -c 'proc::exec("head -c 1000000000 /dev/zero", #{ output: "inherit" })' | wc -c"#);
    assert_eq!((ended, stdout.trim(), stderr.as_str()), (Ended::Exit(0), "1000000000", ""));
}

#[test]
fn many_lines_are_read_in_linear_time() {
    // Moving the rest for each line would take minutes: the time limit of a run is the test.
    code("let it = proc::spawn(\"seq 300000\"); let n = 0; while it.next_line() != () { n += 1; } print(n)")
        .stdout("300000\n")
        .check();
}

#[test]
fn the_exit_codes_are_dockers() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    std::fs::write(&text, "no program").unwrap();
    let text = text.display();
    for (script, exit) in [
        (r#"proc::exec(["/no/such/program"])"#.to_owned(), 127),
        (r#"proc::exec(["no-such-program"])"#.to_owned(), 127),
        (format!(r#"proc::exec(["{text}"])"#), 126),
        (r#"proc::exec(["/tmp"])"#.to_owned(), 126),
        (r#"proc::exec(["true"], #{ cwd: "/no/such/folder" })"#.to_owned(), 125),
        (r#"proc::exec(["true"], #{ rlimits: #{ nofile: 99999999999 } })"#.to_owned(), 125),
        ("proc::exec(\"exit 3\")".to_owned(), 1),
        (r#"let s = "x"; s.pad(200000, "x"); proc::exec(["true", s])"#.to_owned(), 126),
        ("try { proc::exec([\"/no/such\"]) } catch (e) { exit(e.exit_code) }".to_owned(), 127),
    ] {
        let run = code(&script).output();
        assert_eq!(run.ended, Ended::Exit(exit), "{script}: {}", run.stderr);
    }
}

#[test]
fn a_signal_ends_a_command_that_ignores_signals() {
    for options in ["", ", #{ ns: [\"pid\"] }", ", #{ output: \"inherit\" }", ", #{ tty: true }"] {
        let script = format!(
            r#"
            print("ready");
            print(proc::spawn("trap '' INT TERM; while :; do sleep 1000; done").pid);
            proc::exec("trap '' INT TERM HUP; while :; do sleep 1000; done"{options});
            "#
        );
        let mut pid = String::new();
        let run = code(&script).after_line("ready", |program, stdout| {
            pid = stdout.lines().next().unwrap().unwrap();
            kill(program, Signal::SIGINT);
        });
        assert_eq!((run.ended, run.stderr.as_str()), (Ended::Signal(2), ""), "{options}");
        assert!(!is_alive(&pid), "{options}");
    }
}

#[test]
fn descriptors_that_run_out_are_told() {
    for limit in 5..40 {
        let (ended, _, stderr) = shell(&format!(
            r#"
            (ulimit -n {limit}; exec "$CSHELL" -c 'proc::exec("true", #{{ ns: ["pid", "mount"], cgroup: #{{ pids: 5, memory: "20M" }} }})')
            code=$?
            [ -z "$(ls "$FOLDER/run" 2>/dev/null)" ] || echo left >&2
            exit $code
            "#
        ));
        match ended {
            Ended::Exit(0) => assert_eq!(stderr, "", "{limit}"),
            _ => assert!(
                stderr.contains("EMFILE") || stderr.contains("Too many open files"),
                "{limit}: {ended:?} {stderr}"
            ),
        }
        assert!(!stderr.contains("left\n") && !stderr.contains("internal error"), "{limit}: {stderr}");
    }
}

#[test]
fn a_program_runs_itself() {
    let me = env!("CARGO_BIN_EXE_cshell");
    let inner = r#"print(proc::exec("echo inside", #{ ns: ["pid", "uts"], hostname: "deep", cgroup: #{ pids: 5 } }).stdout)"#;
    code(&format!(
        r#"
        let e = #{{ CSHELL_RUN: sys::env("CSHELL_RUN") + "2", CSHELL_ROOT: sys::env("CSHELL_ROOT") + "2", PATH: sys::env("PATH") }};
        print(proc::exec(["{me}", "-c", `{inner}`], #{{ env: e }}).stdout);
        print(proc::exec(["{me}", "-c", `{inner}`], #{{ env: e, ns: ["pid", "mount", "net"], mounts: ["proc"] }}).stdout);
        print(proc::exec(["{me}", "-c", `{inner}`]).stdout);
        "#
    ))
    .stdout("inside\n\n\ninside\n\n\ninside\n\n\n")
    .check();
}

#[test]
fn a_sweep_leaves_a_living_session_alone() {
    let (ended, stdout, stderr) = shell(
        r#"
        "$CSHELL" -c '
            let group = cgroup::limit(#{ pids: 9 });
            let it = proc::spawn("exec sleep 1000", #{ cgroup: group });
            let me = sys::env("CSHELL");
            print(proc::exec([me, "gc"]).stdout);
            print(proc::exec([me, "-c", "proc::exec(`true`); print(1)"]).stdout);
            print([it.is_running, group.procs().len()]);'
        "#,
    );
    assert_eq!((ended, stderr.as_str()), (Ended::Exit(0), ""));
    assert_eq!(stdout, "nothing to reclaim\n\n1\n\n[true, 1]\n");
}
