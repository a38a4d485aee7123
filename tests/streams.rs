//! What goes into a process and comes out, how long it may take, and how it ends.
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
fn input_is_fed() {
    code(
        r#"
        let odd = blob(); for byte in [0, 255, 10, 13] { odd.push(byte); }
        print(proc::exec("cat", #{ stdin: odd }).stdout_bytes == odd);
        print(proc::exec("cat", #{ stdin: "text ü" }).stdout);
        print(proc::exec("cat").stdout == "");
        let large = "x"; large.pad(1000000, "x");
        print(proc::exec("wc -c", #{ stdin: large }).stdout);
        print(proc::exec("true", #{ stdin: large }).ok);
        print(proc::exec("head -c 3; exec 0<&-; echo", #{ stdin: large }).stdout);
        let it = proc::spawn("while read line; do echo got $line; done; echo end", #{ input: "pipe" });
        it.write("one\n");
        print(it.next_line());
        it.write("two\nthree\n");
        print(it.expect("three"));
        it.close_stdin();
        print(it.lines());
        print(it.next_line() == ());
        try { it.write("x") } catch (e) { print(e.kind) }
        print(it.wait().code);
        "#,
    )
    .stdout(
        r#"
        true
        text ü
        true
        1000000

        true
        xxx

        got one
        got two
        got three
        ["", "end"]
        true
        closed
        0
        "#,
    )
    .check();
}

#[test]
fn a_terminal_is_one() {
    code(
        r#"
        let r = proc::exec("tty; tty <&1; test -t 2 && echo three; echo err >&2; ps -o tty= -p $$", #{ tty: true });
        let lines = r.lines();
        print(lines[0].starts_with("/dev/pts/") && lines[0] == lines[1]);
        print(lines.len() == 5 && lines[2] == "three" && lines[3] == "err" && "/dev/" + lines[4].split(" ")[0] == lines[0]);
        print(r.stderr == "");
        print(proc::exec("cat", #{ tty: true, timeout: "20s" }).stdout == "");
        print(proc::exec("stty -echo; cat", #{ tty: true, stdin: "a\nno end", timeout: "20s" }).stdout.contains("no end"));
        let it = proc::spawn("stty -echo; echo ready; cat", #{ tty: true, input: "pipe", timeout: "20s" });
        it.expect("ready");
        it.write("line\n");
        it.expect("line\r\n");
        it.close_stdin();
        print(it.wait().code);
        print(proc::exec("tty", #{ check: false }).stdout);
        "#,
    )
    .stdout("true\ntrue\ntrue\ntrue\ntrue\n0\nnot a tty\n\n")
    .check();
    let (ended, stdout, stderr) = shell(
        r#"echo passed | "$CSHELL" -c 'proc::exec("cat", #{ tty: true, input: "inherit", output: "inherit", timeout: "20s" })'"#,
    );
    assert_eq!((ended, stderr.as_str()), (Ended::Exit(0), ""));
    assert!(stdout.ends_with("passed\r\n"), "{stdout}");
}

#[test]
fn output_goes_where_it_is_sent() {
    code(
        r#"
        let r = proc::exec("echo out; echo err >&2");
        print([r.stdout, r.stderr, r.lines()]);
        let r = proc::exec("echo out; echo err >&2", #{ output: "null" });
        print([r.stdout, r.stderr]);
        print("before");
        proc::exec("echo inherited", #{ output: "inherit" });
        let r = proc::exec("printf '\\377x'");
        print([r.lossy, r.stdout_bytes.len(), r.stdout.len()]);
        "#,
    )
    .stdout(
        "
        [\"out\\n\", \"err\\n\", [\"out\"]]
        [\"\", \"\"]
        before
        inherited
        [true, 2, 2]
        ",
    )
    .check();
}

#[test]
fn endless_output_is_bounded() {
    let script = r#"
        let r = proc::exec(["yes"], #{ output_max: "2MiB", check: false });
        print([r.reason, r.stdout.len(), r.signal]);
        try { proc::exec(["yes"]) } catch (e) { print(e.kind + " " + e.reason) }
        print(proc::exec("head -c 1000000000 /dev/zero", #{ output: "null" }).ok);
        let r = proc::exec("yes", #{ output_max: 10, check: false });
        print([r.reason, r.stdout.len()]);
    "#;
    watch(script, |pid, facts| {
        assert_eq!(facts[0], "[\"output\", 2097152, \"SIGKILL\"]");
        assert_eq!(facts[1..], ["limit_reached output", "true", "[\"output\", 10]"]);
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
fn a_timeout_ends_the_whole_tree() {
    code(
        r#"
        let r = proc::exec("trap '' TERM; sleep 1000 & echo $!; wait; sleep 1000", #{ timeout: "50ms", kill_grace: "50ms", check: false });
        print([r.ok, r.reason, r.signal, r.code]);
        print(r.stdout.trim() == ());
        let r2 = proc::exec("sleep 1000", #{ timeout: "50ms", check: false });
        print([r2.reason, r2.signal, r2.code]);
        let r3 = proc::exec("sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1000; done' & wait", #{ timeout: "50ms", check: false });
        print(r3.reason);
        print(alive(r.lines()) + alive(r3.lines()));
        try { proc::exec("sleep 1000", #{ timeout: "50ms" }) } catch (e) { print(e.kind + ", " + e.reason + ": " + e.message) }
        print(proc::exec("kill -STOP $$; sleep 1000", #{ timeout: "50ms", kill_grace: "50ms", check: false }).reason);
        print(proc::exec("trap '' TERM; sleep 1000", #{ ns: ["pid"], timeout: "50ms", kill_grace: "50ms", check: false }).reason);

        fn alive(pids) {
            pids.filter(|pid| proc::exec(`grep -qs '^State:.[^ZX]' /proc/${pid}/status`, #{ check: false }).ok)
        }
        "#,
    )
    .stdout(
        r#"
        [false, "timeout", "SIGKILL", 137]
        true
        ["timeout", "SIGTERM", 143]
        timeout
        []
        timeout, timeout: proc::exec `sleep 1000`: it ran longer than its timeout of 50ms
        timeout
        timeout
        "#,
    )
    .check();
}

#[test]
fn a_pipe_held_open_by_a_grandchild_is_not_waited_for() {
    code(
        r#"
        let r = proc::exec("echo first; setsid sleep 1000 & exit 0");
        print(r.stdout);
        let it = proc::spawn("setsid sleep 1000 & echo started");
        print(it.lines());
        print(it.wait().ok);
        "#,
    )
    .stdout("first\n\n[\"started\"]\ntrue\n")
    .check();
}

#[test]
fn ends_are_told_apart() {
    code(
        r#"
        let ask = |c| { let r = proc::exec(c, #{ check: false }); [r.ok, r.code, r.signal, r.reason] };
        print(ask.call("true"));
        print(ask.call("exit 3"));
        print(ask.call("kill -9 $$"));
        print(ask.call("kill -PIPE $$"));
        print(ask.call("kill -40 $$"));
        print(ask.call("no-such-command 2>/dev/null"));
        try { proc::exec("echo why >&2; exit 3") } catch (e) { print([e.kind, e.exit_code, e.signal, e.reason, e.stderr, e.hint]) }
        try { proc::exec("kill -TERM $$") } catch (e) { print([e.kind, e.exit_code, e.signal, e.reason]) }
        let it = proc::spawn("exec sleep 1000");
        print(it.is_running);
        it.signal("USR1");
        print(it.wait().signal);
        print(it.is_running);
        try { it.signal("TERM") } catch (e) { print(e.kind) }
        print(proc::spawn("exec sleep 1000").kill().signal);
        "#,
    )
    .stdout(
        r#"
        [true, 0, (), "exited"]
        [false, 3, (), "exited"]
        [false, 137, "SIGKILL", "signaled"]
        [false, 141, "SIGPIPE", "signaled"]
        [false, 168, "SIGRTMIN+6", "signaled"]
        [false, 127, (), "exited"]
        ["exit_status", 3, (), "exited", "why\n", "it wrote: why"]
        ["exit_status", 143, "SIGTERM", "signaled"]
        true
        SIGUSR1
        false
        not_found
        SIGTERM
        "#,
    )
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
fn memory_that_is_not_the_childs_is_not_its_peak() {
    code(
        r#"
        let large = "x"; large.pad(50000000, "x");
        print(proc::exec(["true"]).usage.memory_peak == ());
        print(proc::exec(["true"], #{ cgroup: #{ memory: "50M" } }).usage.memory_peak < 5000000);
        "#,
    )
    .stdout("true\ntrue\n")
    .check();
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
