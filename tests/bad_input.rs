//! Wrong input: a clear error that names it, the documented exit code, nothing left.

mod support;

use nix::sys::signal::Signal;
use support::user::root_or_refused;
use support::{Ended, code, cshell, kill};

/// Runs `script` and compares the first line of the error, its hint, and the exit code.
#[track_caller]
fn refused(script: &str, error: &str, hint: &str, exit: i32) {
    let run = code(script).output();
    let all = format!("{script}\n{}", run.stderr);
    assert_eq!(run.stderr.lines().next().unwrap_or_default(), format!("error: {error}"), "{all}");
    let found = run.stderr.lines().find_map(|line| line.strip_prefix("hint: ")).unwrap_or_default();
    assert_eq!(found, hint, "{all}");
    assert_eq!(run.ended, Ended::Exit(exit), "{all}");
    assert!(run.stderr.contains(" --> <code>:") && run.stderr.contains('^'), "no place: {all}");
}

#[test]
fn limits() {
    let memory =
        "cgroup::limit: `memory` must be a size (bytes, or a text such as \"64MiB\") or \"max\", not";
    for (value, came) in [
        ("\"lots\"", "the text \"lots\""),
        ("-1", "-1"),
        ("[]", "a list"),
        ("true", "true"),
        ("\"\"", "the text \"\""),
    ] {
        refused(&format!("cgroup::limit(#{{ memory: {value} }})"), &format!("{memory} {came}"), "", 1);
    }
    for value in ["-1", "0", "\"ten\"", "1.5"] {
        let came = if value == "\"ten\"" { "the text \"ten\"" } else { value };
        let error = format!("cgroup::limit: `pids` must be a whole number from 1 or \"max\", not {came}");
        refused(&format!("cgroup::limit(#{{ pids: {value} }})"), &error, "", 1);
    }
    refused(
        "cgroup::limit(#{ memroy: 1 })",
        "cgroup::limit: unknown option `memroy` for cgroup::limit, did you mean `memory`?",
        "",
        1,
    );
    refused(
        "proc::exec(\"true\", #{ cgroup: #{ memroy: 1 } })",
        "proc::exec: unknown option `memroy` for cgroup::limit, did you mean `memory`?",
        "",
        1,
    );
    refused(
        "cgroup::limit(#{ cpuset: \"1-0\" })",
        "cgroup::limit: cpuset.cpus: \"1-0\" is not a list of numbers and ranges",
        "write it as \"0-2,4\"",
        1,
    );
    refused(
        "cgroup::limit(#{ memory: \"10M\", memory_swap: \"5M\" })",
        "cgroup::limit: `memory_swap` is memory and swap together, and must not be less than `memory`",
        "",
        1,
    );
}

#[test]
fn namespaces() {
    let kinds = "kinds are: user, mount, pid, net, ipc, uts, cgroup, time";
    refused("ns::new([\"pod\"])", "ns::new: unknown kind of namespace \"pod\"", kinds, 1);
    refused("ns::new([])", "ns::new: no kind of namespace was given", kinds, 1);
    refused(
        "ns::new(#{ kinds: [\"pid\"], hostname: \"x\" })",
        "ns::new: hostname without a new uts namespace would change the host's",
        "add \"uts\" to the kinds",
        1,
    );
    refused(
        "let n = \"\"; n.pad(65, \"x\"); ns::new(#{ kinds: [\"uts\"], domainname: n })",
        "ns::new: domainname: expected 1 to 64 bytes, got 65",
        "",
        1,
    );
    refused(
        "ns::new(#{ kinds: [\"net\"], sysctl: #{ \"kernel.panic\": 1 } })",
        "ns::new: sysctl kernel.panic belongs to no namespace: it would change the whole machine",
        "net.*, fs.mqueue.*, kernel.shm*, kernel.msg*, kernel.sem, kernel.hostname and kernel.domainname can be set",
        1,
    );
    let pin = "ns::new(#{ kinds: [\"net\"], pin: \"/tmp\" })";
    if root_or_refused("host_mounts", pin, "unsupported", "others find the namespaces in /proc/") {
        let hint = "it exists already: choose another path, or remove it first";
        refused(pin, "ns::pin: cannot create /tmp", hint, 1);
    }
    let ranges = "#{ container: 0, host: 0, size: 10 }, #{ container: 5, host: 20, size: 10 }";
    refused(
        &format!("ns::new(#{{ kinds: [\"user\"], uid_map: [{ranges}] }})"),
        "ns::new: uid_map: range 1 overlaps another",
        "",
        1,
    );
}

#[test]
fn commands() {
    refused(
        "proc::exec([\"/no/such/program\"])",
        "proc::exec `/no/such/program`: command not found",
        "it does not exist on the host, or the interpreter or loader that it names does not",
        127,
    );
    refused("proc::exec([])", "proc::exec: the command is empty: its first element names the program", "", 1);
    refused("proc::exec(\" \")", "proc::exec: the command is empty", "", 1);
    refused("proc::exec([\"a\\x00b\"])", "proc::exec: `command[0]` contains a NUL byte", "", 1);
    refused(
        "proc::exec(\"true\", #{ env: #{ \"A=B\": 1 } })",
        "proc::exec: env: \"A=B\" is not a name of a variable, or its value contains a NUL byte",
        "",
        1,
    );
    refused(
        "proc::exec(\"true\", #{ timout: 1 })",
        "proc::exec: unknown option `timout` for proc::exec, did you mean `timeout`?",
        "",
        1,
    );
    refused(
        "proc::exec(\"cat\", #{ input: \"pipe\" })",
        "proc::exec: input: \"pipe\": nobody could write to it: exec waits for the end of the command",
        "use stdin for what it is to read, or proc::spawn and .write",
        1,
    );
    refused(
        "proc::spawn(\"cat\").write(\"x\")",
        "process.write: its standard input is closed",
        "start it with input: \"pipe\", and write before .close_stdin()",
        1,
    );
    refused(
        "proc::exec(\"true\", #{ user: \"4294967296\" })",
        "proc::exec: user: 4294967296 is not within 0 to 2147483647",
        "",
        1,
    );
    refused(
        "proc::exec(\"true\", #{ ns: [\"user\"], user: \"1000\" })",
        "proc::exec `true`: cannot become group 1000",
        "ids of a user namespace are those in its uid_map and gid_map; without maps root alone",
        125,
    );
    refused(
        "proc::exec(\"echo one >&2; echo two >&2; exit 4\")",
        "proc::exec `echo one >&2; echo two >&2; exit 4`: exited with status 4",
        "it wrote: two",
        1,
    );
    refused(
        "proc::exec(\"true\", #{ seccomp: \"defualt\" })",
        "proc::exec: `seccomp` must be \"default\", \"strict\", \"unconfined\", \"record\", the path of a profile, or a profile as a map, not the text \"defualt\"",
        "",
        1,
    );
    // What the terminal would obey is shown, not sent.
    refused(
        "proc::exec([\"/\\x1b[31m\"])",
        "proc::exec `/␛[31m`: command not found",
        "it does not exist on the host, or the interpreter or loader that it names does not",
        127,
    );
}

#[test]
fn scripts() {
    let run = code("let x = ;").output();
    assert_eq!(run.ended, Ended::Exit(2), "{}", run.stderr);
    assert!(run.stderr.contains(" --> <code>:1:9"), "{}", run.stderr);
    let run = cshell(["main.rhai"])
        .file("main.rhai", "import \"lib\" as lib;\nlet set = ns::new([\"uts\"]);\nlib::outer();\n")
        .file("lib.rhai", "fn inner() {\n    proc::exec(\"exit 9\")\n}\nfn outer() {\n    inner()\n}\n")
        .output();
    assert_eq!(run.ended, Ended::Exit(1), "{}", run.stderr);
    assert!(run.stderr.contains(" --> lib.rhai:2:5") && run.stderr.contains("main.rhai:3"), "{}", run.stderr);
}

#[test]
fn endless_loops_stop_at_ctrl_c() {
    for script in [
        "let set = ns::new([\"uts\"]); print(\"ready\"); loop {}",
        "print(\"ready\"); loop { proc::exec([\"true\"]); }",
        "print(\"ready\"); loop { try { proc::exec(\"sleep 1000\") } catch {} }",
        "let g = cgroup::limit(#{ pids: 9 }); print(\"ready\"); loop { ns::new([\"net\"]).close(); }",
        "print(\"ready\"); let it = proc::spawn(\"sleep 1000\"); it.lines();",
        "print(\"ready\"); let it = proc::spawn(\"sleep 1000\"); it.expect(\"x\", #{ timeout: \"1h\" });",
        "print(\"ready\"); let it = proc::spawn(\"sleep 1000\"); it.wait();",
    ] {
        let run = code(script).after_line("ready", |pid, _stdout| kill(pid, Signal::SIGINT));
        assert_eq!((run.ended, run.stderr.as_str()), (Ended::Signal(2), ""), "{script}");
    }
}
