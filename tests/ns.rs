//! Namespaces, looked at from outside.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "support/outside.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
#[allow(clippy::allow_attributes, reason = "what is unused differs between the test files")]
mod outside;
mod support;

use outside::{around, eventually, is_alive, link, read, tool, try_tool, watch, watch_in};
use support::user::{outer_id, root_or_refused, stands_in};
use support::{Ended, code, kill};

const KINDS: [(&str, &str); 8] = [
    ("user", "user"),
    ("mount", "mnt"),
    ("pid", "pid"),
    ("net", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

fn namespace(pid: &str, file: &str) -> String {
    link(format!("/proc/{pid}/ns/{file}"))
}

#[test]
fn each_kind_is_new_and_the_others_are_the_callers() {
    for (kind, file) in KINDS {
        let script = format!(r#"let set = ns::new(["{kind}"]); print(set.pid); print(set.inode("{kind}"));"#);
        watch(&script, |program, facts| {
            let (pid, inode) = (facts[0].as_str(), facts[1].as_str());
            // A user's program is in a user and a mount namespace already.
            let caller = if stands_in() { program.to_string() } else { "self".into() };
            assert_eq!(namespace(pid, file), format!("{file}:[{inode}]"));
            for (_, other) in KINDS {
                let same = namespace(pid, other) == namespace(&caller, other);
                assert_eq!(same, other != file, "{other} of a set with {kind}");
            }
            // lsns fails when any process of the machine ends while it looks.
            eventually("lsns shows it", || {
                try_tool("lsns", &["-rno", "NS", "-p", pid])
                    .is_ok_and(|text| text.lines().any(|line| line == inode))
            });
        });
    }
}

#[test]
fn all_kinds_together_are_joined_by_a_command() {
    let (_time, others) = KINDS.split_last().unwrap();
    let join = "ns::new([\"time\"]).exec(\"true\")";
    let all = root_or_refused("time_join", join, "unsupported", "time");
    let kinds = if all { &KINDS[..] } else { others };
    let names = kinds.iter().map(|(kind, _)| format!("{kind:?}")).collect::<Vec<_>>().join(", ");
    let script = format!(
        r#"
        let set = ns::new([{names}]);
        print(set.pid);
        let it = set.spawn("read line", #{{ input: "pipe" }});
        print(it.pid);
        "#
    );
    watch(&script, |_, facts| {
        for (kind, file) in kinds {
            assert_eq!(namespace(&facts[1], file), namespace(&facts[0], file), "{kind}");
            assert_ne!(namespace(&facts[1], file), namespace("self", file), "{kind}");
        }
    });
}

#[test]
fn names_and_parameters_are_set_inside_alone() {
    let host = (read("/proc/sys/kernel/hostname"), read("/proc/sys/net/ipv4/ip_forward"));
    let forward = if host.1 == "0" { "1" } else { "0" };
    let script = format!(
        r#"
        let set = ns::new(#{{ kinds: ["uts", "net", "ipc"], hostname: "lab", domainname: "example",
            sysctl: #{{ "net.ipv4.ip_forward": {forward}, "kernel.msgmax": "4096", "net.ipv4.ping_group_range": "7   9" }} }});
        print(set.pid);
        print(set.hostname);
        print(set.sysctl("net.ipv4.ping_group_range"));
        print(set.sysctl("kernel.shmmni", 77));
        "#
    );
    watch(&script, |_, facts| {
        let inside = |path: &str| tool("nsenter", &["-t", &facts[0], "-u", "-n", "-i", "cat", path]);
        assert_eq!(inside("/proc/sys/kernel/hostname"), "lab");
        assert_eq!(inside("/proc/sys/kernel/domainname"), "example");
        assert_eq!(inside("/proc/sys/net/ipv4/ip_forward"), forward);
        assert_eq!(inside("/proc/sys/kernel/msgmax"), "4096");
        assert_eq!(inside("/proc/sys/kernel/shmmni"), "77");
        assert_eq!(facts[1..], ["lab", "7 9", "77"]);
        let lo = tool("nsenter", &["-t", &facts[0], "-n", "ip", "-o", "addr", "show", "lo"]);
        assert!(lo.contains("inet 127.0.0.1/8"), "{lo}");
        assert_eq!((read("/proc/sys/kernel/hostname"), read("/proc/sys/net/ipv4/ip_forward")), host);
    });
}

/// A map as it is seen from outside the user namespace of the program.
fn outer_map(map: &str) -> String {
    let numbers: Vec<u32> = map.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let ranges = numbers.chunks(3).map(|range| format!("{} {} {}", range[0], outer_id(range[1]), range[2]));
    ranges.collect::<Vec<_>>().join(" ")
}

#[test]
fn ids_are_mapped_as_asked() {
    let words = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for (options, uids, gids, root) in [
        ("", "0 0 1", "0 0 1", "0"),
        (", map_root: true", "0 0 1", "0 0 1", "0"),
        (", map_root: false", "", "", "65534"),
        (
            ", uid_map: [#{ container: 0, host: 1000, size: 10 }, #{ container: 500, host: 0 }],
               gid_map: [#{ container: 0, host: 2000, size: 5 }]",
            "0 1000 10 500 0 1",
            "0 2000 5",
            "0",
        ),
        (", uid_map: [#{ container: 7, host: 1000 }]", "7 1000 1", "0 0 1", "65534"),
    ] {
        let script = format!(
            r#"
            let set = ns::new(#{{ kinds: ["user"]{options} }});
            print(set.pid);
            print(set.exec(["id", "-u"]).stdout);
            "#
        );
        let look = |_, facts: &[String]| {
            assert_eq!(words(read(format!("/proc/{}/uid_map", facts[0]))), outer_map(uids), "{options}");
            assert_eq!(words(read(format!("/proc/{}/gid_map", facts[0]))), outer_map(gids), "{options}");
            assert_eq!(facts[1], if uids.contains("500 0 1") { "0" } else { root }, "{options}");
        };
        watch(&script, look);
    }
}

#[test]
fn mounts_travel_as_asked() {
    for (asked, held) in [
        ("", "private"),
        (", propagation: \"private\"", "private"),
        (", propagation: \"unbindable\"", "private,unbindable"),
        (", propagation: \"shared\"", "shared"),
    ] {
        let script = format!("let set = ns::new(#{{ kinds: [\"mount\"]{asked} }}); print(set.pid);");
        watch(&script, |_, facts| {
            let seen = tool("findmnt", &["-N", &facts[0], "-rno", "PROPAGATION", "/"]);
            assert_eq!(seen, held, "{asked}");
        });
    }
}

#[test]
fn namespaces_are_pinned_to_a_file_or_a_folder() {
    let pin = "ns::new(#{ kinds: [\"net\"], pin: \"pin\" })";
    if !root_or_refused("host_mounts", pin, "unsupported", "others find the namespaces in /proc/") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (file, dir) = (folder.path().join("one"), folder.path().join("many"));
    let (file, dir) = (file.to_str().unwrap(), dir.to_str().unwrap());
    let script = format!(
        r#"
        let one = ns::new(#{{ kinds: ["net"], pin: "{file}" }});
        let many = ns::new(#{{ kinds: ["net", "uts", "mount", "pid", "user", "ipc"], hostname: "pinned", pin: "{dir}" }});
        print(one.inode("net"));
        print(many.inode("net"));
        "#
    );
    watch(&script, |_, facts| {
        let inside = |pin: &str| tool("nsenter", &[&format!("--net={pin}"), "readlink", "/proc/self/ns/net"]);
        assert_eq!(inside(file), format!("net:[{}]", facts[0]));
        assert_eq!(inside(&format!("{dir}/net")), format!("net:[{}]", facts[1]));
        assert_eq!(tool("nsenter", &[&format!("--uts={dir}/uts"), "hostname"]), "pinned");
        assert_eq!(tool("findmnt", &["-rno", "FSTYPE", file]), "nsfs");
    });
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "pins are left");
    let mounts = read("/proc/self/mountinfo");
    assert!(!mounts.contains(folder.path().to_str().unwrap()), "{mounts}");
}

#[test]
fn the_keeper_is_a_sealed_program_that_holds_nothing() {
    watch("let set = ns::new([\"pid\", \"mount\"]); print(set.pid);", |_, facts| {
        let proc = format!("/proc/{}", facts[0]);
        assert!(link(format!("{proc}/exe")).starts_with("/memfd:cshell-ns"));
        let mut fds: Vec<String> = std::fs::read_dir(format!("{proc}/fd"))
            .unwrap()
            .map(|entry| link(entry.unwrap().path()))
            .collect();
        fds.sort();
        assert_eq!(fds, ["/dev/null"; 3]);
        assert_eq!(read(format!("{proc}/environ")), "");
        // It names itself, in its first instructions.
        eventually("it has its name", || read(format!("{proc}/comm")) == "cshell-ns");
        let write = std::fs::File::options().write(true).open(format!("{proc}/exe"));
        assert!(write.is_err(), "it can be overwritten");
        let status = read(format!("{proc}/status"));
        assert!(status.contains("NSpid:") && status.lines().any(|line| line.ends_with("\t1")), "{status}");
    });
}

#[test]
fn orphans_leave_no_zombies() {
    let script = r#"
        let set = ns::new(["pid"]);
        for n in 0..5 { set.exec("(sh -c 'exit 3' &) ; (setsid sh -c 'exit 4' &)"); }
        print(set.pid);
    "#;
    watch(script, |_, facts| {
        let children = format!("/proc/{0}/task/{0}/children", facts[0]);
        eventually("no orphan is left", || read(&children).is_empty());
    });
}

#[test]
fn namespaces_end_with_a_killed_program() {
    let script = r#"
        let set = ns::new(["pid", "net"]);
        print(set.pid);
        print(set.spawn("trap '' TERM INT HUP; while :; do sleep 1000; done").pid);
    "#;
    let program = code(&around(script));
    let run = program.after_line_leaving("ready", |pid, stdout| {
        use std::io::BufRead;
        let facts: Vec<String> = stdout.lines().map_while(Result::ok).take(2).collect();
        kill(pid, nix::sys::signal::Signal::SIGKILL);
        for pid in &facts {
            eventually("it ended with the program", || !is_alive(pid));
        }
    });
    assert_eq!(run.ended, Ended::Signal(9));
    program.reclaim();
}

#[test]
fn a_set_that_is_gone_says_so() {
    code(
        r#"
        let set = ns::new(["uts", "net"]);
        proc::exec(`kill -9 ${set.pid}; while grep -qs '^State:.[^ZX]' /proc/${set.pid}/status; do :; done`);
        for ask in [|| set.exec("true"), || set.sysctl("net.ipv4.ip_forward"), || set.hostname] {
            try { ask.call(); print("no error"); } catch (e) {
                print(e.kind + ": " + e.message.contains("the namespaces are gone: process " + set.pid));
            }
        }
        set.close();
        try { set.exec("true") } catch (e) { print(e.kind + " " + e.message.contains("it was closed at <code>:8")) }
        "#,
    )
    .stdout("not_found: true\nnot_found: true\nnot_found: true\nclosed true\n")
    .check();
}

#[test]
fn handles_of_sets_and_processes_are_looked_at() {
    let program = code(
        r#"
        let set = ns::new(["uts"]);
        let it = proc::spawn("read line", #{ input: "pipe" });
        print(ns::of(set).uts == set.inode("uts"));
        print(ns::of(it) == ns::host());
        print(ns::same(set, it, "uts"));
        print(ns::same(set, it, "net"));
        print(it.ns("uts") == ns::host().uts);
        print(ns::list().filter(|n| n.inode == set.inode("uts")).len());
        "#,
    );
    program.stdout("true\ntrue\nfalse\ntrue\ntrue\n1\n").check();
}

#[test]
fn two_programs_do_not_disturb_each_other() {
    let script = r#"let set = ns::new(["uts"]); print(set.pid);"#;
    watch(script, |_, facts| {
        watch_in(code(&around(script)), |_, others| {
            assert_ne!(namespace(&facts[0], "uts"), namespace(&others[0], "uts"));
        });
        assert!(is_alive(&facts[0]));
    });
}
