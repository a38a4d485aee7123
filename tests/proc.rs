//! What a started process has of the program and its caller: environment, signals, descriptors, memory; and that it does not
//! outlive them. What scripts ask of processes is tested in `tests/rhai/proc`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "support/outside.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
#[allow(clippy::allow_attributes, reason = "what is unused differs between the test files")]
mod outside;
mod support;

use nix::sys::signal::Signal;
use outside::{eventually, is_alive, shell};
use std::io::BufRead;
use support::user::stands_in;
use support::{Ended, code, kill};

#[test]
fn the_environment_is_the_programs() {
    code(r#"print(proc::exec(["/usr/bin/env"]).lines().contains("INHERITED=yes")); print(sys::env("INHERITED"));"#)
        .env("INHERITED", "yes")
        .stdout("true\nyes\n")
        .check();
}

/// The line of `/proc/self/status` with this name.
fn status(text: &str, name: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_owned()
}

#[test]
fn signals_and_their_mask_are_as_at_birth() {
    for (how, script) in [
        ("plainly", "exec \"$CSHELL\""),
        ("with signals ignored", "trap '' PIPE INT CHLD USR1 HUP; exec \"$CSHELL\""),
        ("with signals blocked", "exec env --block-signal=TERM,INT,PIPE,USR2 \"$CSHELL\""),
        ("with SIGCHLD ignored", "exec env --ignore-signal=CHLD \"$CSHELL\""),
    ] {
        for options in ["", ", #{ ns: [\"pid\"] }", ", #{ tty: true }", ", #{ output: \"inherit\" }"] {
            let (ended, stdout, stderr) = shell(&format!(
                "{script} -c 'print(proc::exec([\"cat\", \"/proc/self/status\"]{options}).stdout)'"
            ));
            assert_eq!((ended, stderr.as_str()), (Ended::Exit(0), ""), "{how}{options}");
            for name in ["SigIgn", "SigBlk", "SigCgt", "SigPnd"] {
                assert_eq!(status(&stdout, name), "0000000000000000", "{name}, started {how}{options}");
            }
        }
    }
}

#[test]
fn descriptors_above_2_are_closed() {
    let (ended, stdout, stderr) = shell(
        r#"
        exec 7</etc/passwd 9>"$FOLDER/secret" 5</
        exec "$CSHELL" -c '
            let o = proc::exec("ls -l /proc/self/fd");
            for r in [o, proc::exec("ls -l /proc/self/fd", #{ ns: ["pid", "mount"] }), ns::new(["uts"]).exec("ls -l /proc/self/fd")] {
                print(r.lines().filter(|line| line.contains(" -> ")).map(|line| line.split(" -> ")[0].split(" ").pop()));
            }'
        "#,
    );
    assert_eq!((ended, stderr.as_str()), (Ended::Exit(0), ""));
    // 3 is the folder that ls reads.
    assert_eq!(stdout, "[\"0\", \"1\", \"2\", \"3\"]\n".repeat(3));
}

#[test]
fn a_program_without_standard_streams_gives_its_children_three() {
    for closed in ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"] {
        let (ended, ..) = shell(&format!(
            r#"
            exec "$CSHELL" -c '
                let r = proc::exec("cat; echo out; echo err >&2; readlink /proc/self/fd/0");
                if r.stdout != "out\n/dev/null\n" || r.stderr != "err\n" {{ exit(7) }}
                if proc::exec("cat", #{{ stdin: "in" }}).stdout != "in" {{ exit(8) }}
                proc::exec("readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2", #{{ output: "inherit", input: "inherit" }});
                let set = ns::new(["uts"]);
                if set.exec("echo x").stdout != "x\n" {{ exit(9) }}
                ' {closed}
            "#
        ));
        assert_eq!(ended, Ended::Exit(0), "{closed}");
    }
}

#[test]
fn children_die_with_a_killed_program() {
    let program = code(
        r#"
        print("ready");
        let it = proc::spawn("trap '' TERM HUP INT; echo $$; sleep 1000 & echo $!; while :; do wait; done");
        print(it.next_line());
        print(proc::spawn("trap '' TERM HUP INT; while :; do sleep 1000; done", #{ ns: ["pid", "user"] }).pid);
        print(proc::spawn(["sleep", "1000"], #{ user: "1000" }).pid);
        print(it.next_line());
        sys::sleep("1h");
        "#,
    );
    let mut grandchild = String::new();
    program.after_line_leaving("ready", |pid, stdout| {
        let mut pids: Vec<String> = stdout.lines().map_while(Result::ok).take(4).collect();
        assert!(pids.iter().all(|pid| is_alive(pid)));
        grandchild = pids.pop().unwrap();
        kill(pid, Signal::SIGKILL);
        for pid in &pids {
            eventually("a child ended with the program", || !is_alive(pid));
        }
    });
    // What a child had started on the host is in the session's group, for gc.
    assert!(is_alive(&grandchild));
    program.reclaim();
    assert!(!is_alive(&grandchild), "gc left what a child had started");
}

#[test]
fn orphans_end_with_the_script() {
    let run = code("print(proc::exec(\"setsid sh -c 'trap \\\"\\\" TERM; while :; do sleep 1000; done' >/dev/null 2>&1 & echo $!\").stdout)").output();
    assert_eq!((run.ended, run.stderr.as_str()), (Ended::Exit(0), ""));
    let pid = run.stdout.trim();
    assert!(pid.parse::<u32>().is_ok(), "{pid}");
    assert!(!is_alive(pid), "an orphan lives on");
}

#[test]
fn a_start_shares_memory_whatever_its_size() {
    if std::path::Path::new("/usr/bin/strace").exists() {
        let (ended, _, stderr) = shell(
            r#"
            strace -f -e trace=clone3,clone,fork,vfork -o "$FOLDER/trace" "$CSHELL" -c '
                let big = "x"; big.pad(100000000, "x");
                proc::exec(["true"]); proc::exec(["true"], #{ ns: ["pid", "mount", "net"] }); ns::new(["uts"]);'
            cat "$FOLDER/trace" >&2
            "#,
        );
        assert_eq!(ended, Ended::Exit(0), "{stderr}");
        // Once it has entered its namespace, strace may not read its memory: the argument stays an address.
        let closed = |line: &str| stands_in() && line.contains("clone3(0x");
        let starts: Vec<&str> =
            stderr.lines().filter(|line| line.contains("exit_signal=SIGCHLD") || closed(line)).collect();
        // A user's namespace, the newuidmap that strace makes powerless, and a namespace without its ids.
        let entering = if stands_in() { 3 } else { 0 };
        assert_eq!(starts.len(), entering + 3, "{stderr}");
        let shares = |line: &&str| line.contains("clone3(") && (line.contains("CLONE_VM|") || closed(line));
        assert!(starts.iter().all(shares), "{stderr}");
        assert!(!stderr.contains("fork("), "{stderr}");
    } else {
        outside::skip("no strace");
    }
}
