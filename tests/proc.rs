//! What a started process is: its arguments, environment, identity, signals, descriptors and root.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "support/outside.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
#[allow(clippy::allow_attributes, reason = "what is unused differs between the test files")]
mod outside;
mod support;

use nix::sys::signal::Signal;
use outside::{eventually, is_alive, link, root, shell, watch};
use std::io::BufRead;
use support::user::stands_in;
use support::{Ended, code, kill};

#[test]
fn arguments_arrive_to_the_byte() {
    code(
        r#"
        let odd = blob(); for byte in [255, 254, 10, 32, 128] { odd.push(byte); }
        let r = proc::exec(["printf", "%s\\0", "a b", "", "new\nline", "$HOME `x` 'q' \"", odd, "ü", "-n"]);
        let want = blob();
        for part in ["a b", "", "new\nline", "$HOME `x` 'q' \"", odd, "ü", "-n"] { want += if type_of(part) == "blob" { part } else { part.to_blob() }; want.push(0); }
        print(r.stdout_bytes == want);
        print(r.lossy);
        print(proc::exec(["sh", "-c", "echo $#", "name", "", ""]).stdout);
        print(proc::exec("echo \"$0\"; echo ~ | wc -l").lines());
        "#,
    )
    .stdout("true\ntrue\n2\n\n[\"/bin/sh\", \"1\"]\n")
    .check();
}

#[test]
fn the_environment_is_what_was_asked() {
    code(
        r#"
        let odd = blob(); for byte in [255, 61, 10] { odd.push(byte); }
        let r = proc::exec(["/usr/bin/env", "-0"], #{ env: #{ A: "1=2", EMPTY: "", ODD: odd, N: 3 } });
        print(r.stdout_bytes.len() == "A=1=2".len() + "EMPTY=".len() + 7 + "N=3".len() + 4);
        print(proc::exec(["/usr/bin/env"], #{ env: #{} }).stdout == "");
        print(proc::exec(["/usr/bin/env"]).lines().contains("INHERITED=yes"));
        "#,
    )
    .env("INHERITED", "yes")
    .stdout("true\ntrue\ntrue\n")
    .check();
    let root = root();
    let path = root.path().display();
    code(&format!(
        r#"
        print(proc::exec(["env"], #{{ rootfs: "{path}" }}).stdout);
        print(proc::exec(["env"], #{{ rootfs: "{path}", env: #{{ B: "2" }} }}).stdout);
        "#
    ))
    .env("SECRET", "of the caller")
    .stdout("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\nB=2\n\n")
    .check();
    code("let e = #{}; for n in 0..10000 { e[`V${n}`] = `${n}`; } print(proc::exec([\"/usr/bin/env\"], #{ env: e }).lines().len())")
        .stdout("10000\n")
        .check();
}

#[test]
fn programs_are_found_in_the_path_that_they_are_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    for (name, text, mode) in [("a/tool", "", 0o644), ("b/tool", "#!/bin/sh\necho b\n", 0o755)] {
        let file = folder.path().join(name);
        std::fs::create_dir(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&file, mode).unwrap();
    }
    code(&format!(
        r#"
        print(proc::exec(["tool"], #{{ env: #{{ PATH: "{path}/a:{path}/b" }} }}).stdout);
        print(proc::exec(["tool"], #{{ env: #{{ PATH: "" }}, cwd: "{path}/b", check: false }}).stdout);
        try {{ proc::exec(["tool"], #{{ env: #{{ PATH: "{path}/a:/none" }} }}) }} catch (e) {{ print([e.kind, e.code, e.exit_code]) }}
        try {{ proc::exec(["tool"]) }} catch (e) {{ print([e.kind, e.code, e.exit_code]) }}
        "#
    ))
    .stdout("b\n\nb\n\n[\"permission_denied\", \"EACCES\", 126]\n[\"not_found\", \"ENOENT\", 127]\n")
    .check();
}

#[test]
fn the_working_folder_and_the_user_are_those_of_the_root() {
    let root = root();
    std::fs::write(root.path().join("etc/passwd"), "root:x:0:0::/:/bin/sh\nweb:x:1000:1001::/:/bin/sh\n")
        .unwrap();
    std::fs::write(root.path().join("etc/group"), "web:x:1001:\nlog:x:5:web\n").unwrap();
    let path = root.path().display();
    code(&format!(
        r#"
        let id = |o| {{ o.rootfs = "{path}"; o.mounts = ["proc"]; proc::exec("id -u; id -g; id -G", o).lines() }};
        print(id.call(#{{ user: "web" }}));
        print(id.call(#{{ user: "1000" }}));
        print(id.call(#{{ user: "web:log" }}));
        print(id.call(#{{ user: 4711 }}));
        print(id.call(#{{ user: "4711:12", additional_gids: [13, 14] }}));
        print(proc::exec(["pwd"], #{{ rootfs: "{path}" }}).stdout);
        print(proc::exec(["pwd"], #{{ rootfs: "{path}", cwd: "/tmp" }}).stdout);
        print(proc::exec(["pwd"], #{{ cwd: "/usr/lib" }}).stdout);
        "#
    ))
    .stdout(
        r#"
        ["1000", "1001", "1001 5"]
        ["1000", "1001", "1001 5"]
        ["1000", "5", "5"]
        ["4711", "0", "0"]
        ["4711", "12", "12 13 14"]
        /

        /tmp

        /usr/lib

        "#,
    )
    .check();
}

#[test]
fn a_hostile_user_database_stops_nothing() {
    let root = root();
    let passwd = root.path().join("etc/passwd");
    let path = root.path().display();
    let attempt = || {
        let script = format!(r#"proc::exec(["true"], #{{ rootfs: "{path}", user: "web" }})"#);
        let run = code(&script).output();
        assert_eq!(run.ended, Ended::Exit(1), "{}", run.stderr);
        run.stderr.lines().next().unwrap().to_owned()
    };
    nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::from_bits_retain(0o644)).unwrap();
    assert_eq!(attempt(), "error: proc::exec: /etc/passwd of the root is not a regular file");
    std::fs::remove_file(&passwd).unwrap();
    std::os::unix::fs::symlink("passwd", &passwd).unwrap();
    assert_eq!(attempt(), "error: proc::exec: cannot open /etc/passwd of the root");
    std::fs::remove_file(&passwd).unwrap();
    std::os::unix::fs::symlink("../../../../../../etc/passwd", &passwd).unwrap();
    // Links end at the root: this one leads to itself.
    assert_eq!(attempt(), "error: proc::exec: cannot open /etc/passwd of the root");
    std::fs::remove_file(&passwd).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &passwd).unwrap();
    assert_eq!(attempt(), "error: proc::exec: user \"web\" is not in /etc/passwd of the root");
    std::fs::remove_file(&passwd).unwrap();
    std::fs::File::create(&passwd).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(attempt(), "error: proc::exec: /etc/passwd of the root is larger than 1 MiB");
    for user in ["4294967296", "2147483648", "-1", "", "web:", "99999999999999999999"] {
        let run = code(&format!(r#"proc::exec(["true"], #{{ user: "{user}" }})"#)).output();
        assert_eq!(run.ended, Ended::Exit(1), "{user}");
        assert!(run.stderr.contains("user"), "{}", run.stderr);
    }
}

/// The line of `/proc/self/status` with this name.
fn status(text: &str, name: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_owned()
}

#[test]
fn privileges_are_those_asked_for() {
    let of = |options: &str| {
        let run =
            code(&format!("print(proc::exec([\"cat\", \"/proc/self/status\"], #{{ {options} }}).stdout)"))
                .output();
        assert_eq!(run.ended, Ended::Exit(0), "{}", run.stderr);
        move |name: &str| status(&run.stdout, name)
    };
    let none = "0000000000000000";
    let some = of(r#"capabilities: ["NET_BIND_SERVICE", "cap_chown"]"#);
    let names = ["CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb", "NoNewPrivs"];
    let set = "0000000000000401";
    assert_eq!(names.map(&some), [set, set, set, none, none, "0"]);
    assert_eq!(names.map(of("capabilities: [], no_new_privs: true")), [none, none, none, none, none, "1"]);
    let user = of(r#"capabilities: ["CHOWN"], user: "1000""#);
    assert_eq!(names.map(user), ["0000000000000001", none, none, none, none, "0"]);
    let plain = of("");
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    // Root of a user namespace has all that there are.
    let last: u32 = outside::read("/proc/sys/kernel/cap_last_cap").parse().unwrap();
    let all = format!("{:016x}", (1_u64 << (last + 1)) - 1);
    for name in ["CapEff", "CapBnd"] {
        assert_eq!(plain(name), if stands_in() { all.clone() } else { status(&own, name) });
    }
}

#[test]
fn resources_are_limited() {
    code(
        r#"
        let o = #{ rlimits: #{ nofile: 5, core: 0, RLIMIT_FSIZE: #{ soft: "1K", hard: "2K" } } };
        print(proc::exec("ulimit -Sn; ulimit -Hn; ulimit -Sc", o).lines());
        for line in proc::exec(["cat", "/proc/self/limits"], o).lines() { if line.starts_with("Max file size") { print(line.contains("1024                 2048")); } }
        try { proc::exec("true", #{ rlimits: #{ nofile: #{ soft: 5, hard: 4 } } }) } catch (e) { print(e.message) }
        try { proc::exec("true", #{ rlimits: #{ files: 4 } }) } catch (e) { print(e.kind) }
        "#,
    )
    .stdout(
        r#"
        ["5", "5", "0"]
        true
        proc::exec: `rlimits.nofile.soft` must not be greater than `hard`
        invalid_argument
        "#,
    )
    .check();
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
    code("print(proc::exec(\"(yes; echo $? >&2) | head -1\").inspect().stderr)").stdout("141\n\n").check();
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

#[test]
fn the_old_root_is_out_of_reach() {
    let root = root();
    let path = root.path().display();
    for ns in ["", ", ns: [\"pid\"]", ", ns: [\"user\", \"pid\"]"] {
        let run = code(&format!(
            r#"print(proc::exec("ls -a /proc/1/root/..  /..; ls /; cat /proc/self/mountinfo; readlink /proc/self/cwd /proc/self/root",
                #{{ rootfs: "{path}", mounts: ["proc"]{ns}, check: false }}).stdout)"#
        ))
        .output();
        assert_eq!((run.ended, run.stderr.as_str()), (Ended::Exit(0), ""));
        let targets: Vec<&str> = run
            .stdout
            .lines()
            .filter(|line| line.contains(" - "))
            .filter_map(|line| line.split(' ').nth(4))
            .collect();
        assert_eq!(targets, ["/", "/proc"], "{}", run.stdout);
        // In a pid namespace of the host, process 1 is not the command's own.
        if !ns.is_empty() {
            assert!(!run.stdout.contains("usr"), "{}", run.stdout);
        }
    }
    let host = link("/proc/self/ns/mnt");
    watch(&format!(r#"print(proc::spawn(["sleep", "1000"], #{{ rootfs: "{path}" }}).pid);"#), |_, facts| {
        assert_ne!(link(format!("/proc/{}/ns/mnt", facts[0])), host);
        let seen = outside::read(format!("/proc/{}/mountinfo", facts[0]));
        assert_eq!(seen.lines().count(), 1, "{seen}");
    });
}

#[test]
fn commands_with_different_roots_share_a_set() {
    let (one, two) = (root(), root());
    std::fs::write(one.path().join("mark"), "one").unwrap();
    std::fs::write(two.path().join("mark"), "two").unwrap();
    for kinds in [r#""pid", "uts""#, r#""mount", "pid""#, r#""user", "mount", "pid", "net""#] {
        code(&format!(
            r#"
            let set = ns::new([{kinds}]);
            let it = set.spawn("read line; cat /mark", #{{ rootfs: "{}", mounts: ["proc", "dev"], input: "pipe" }});
            let r = set.exec("cat /mark; echo; echo x > /dev/null && id -u && ls /proc/1/cmdline", #{{ rootfs: "{}", mounts: ["proc", "dev"] }});
            print(r.lines());
            it.write("\n");
            print(it.wait().stdout);
            print(set.exec("test -e /mark", #{{ check: false }}).code);
            "#,
            one.path().display(),
            two.path().display()
        ))
        .stdout("[\"two\", \"0\", \"/proc/1/cmdline\"]\none\n1\n")
        .check();
    }
}

#[test]
fn what_cannot_be_a_root_is_named() {
    for (rootfs, what) in [
        ("/bin/busybox", "rootfs: /bin/busybox is not a folder"),
        ("/no/such/root", "rootfs: cannot open /no/such/root"),
    ] {
        let run = code(&format!(r#"proc::exec(["true"], #{{ rootfs: "{rootfs}" }})"#)).output();
        assert_eq!(run.ended, Ended::Exit(1), "{}", run.stderr);
        assert!(run.stderr.contains(what), "{}", run.stderr);
    }
    let root = root();
    std::fs::remove_dir(root.path().join("proc")).unwrap();
    let path = root.path().display();
    let run = code(&format!(r#"proc::exec(["true"], #{{ rootfs: "{path}", mounts: ["proc"] }})"#)).output();
    assert_eq!(run.ended, Ended::Exit(125));
    assert!(run.stderr.contains("the mount point does not exist in the root"), "{}", run.stderr);
    assert!(!root.path().join("proc").exists(), "the root was changed");
}

#[test]
fn nothing_is_started_in_a_frozen_group() {
    code(
        r#"
        let g = cgroup::create("frozen-start");
        g.freeze();
        try { proc::exec("true", #{ cgroup: g, timeout: "5s" }) } catch (e) { print(`${e.kind}: ${e.hint}`) }
        g.thaw();
        print(proc::exec("echo ran", #{ cgroup: g, timeout: "5s" }).stdout);
        "#,
    )
    .stdout("busy: let it go on first: .thaw()\nran\n\n")
    .check();
}
