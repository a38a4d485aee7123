//! User namespaces whose ids are chosen by the program: who is who, inside and outside.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "support/outside.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
#[allow(clippy::allow_attributes, reason = "what is unused differs between the test files")]
mod outside;
mod support;

use nix::sys::signal::Signal;
use outside::{around, eventually, is_alive, read, tool, watch, watch_in};
use std::io::BufRead;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use support::user::{NAME, SUBORDINATE, UID, User, outer_id, root_or_refused, stands_in};
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

/// Whether owners on the machine's file systems may be mapped.
#[track_caller]
fn may_map() -> bool {
    root_or_refused(
        "idmap",
        "proc::exec(\"true\", #{ userns: \"auto:size=9\", ns: [\"pid\"], mounts: [#{ type: \"bind\", source: \"/etc\", target: \"/mnt\", options: [\"idmap\"] }] })",
        "unsupported",
        "whose owners only its root may map",
    )
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
        for it in [proc::spawn("cat", o), proc::spawn("cat", o)] { print(it.pid); }
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
            assert_eq!(maps.iter().filter(|map| map[2] == 65_536).count(), 4);
            assert_eq!(in_use(run.path()), 6);
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
fn files_belong_inside_to_who_they_belong_to_outside() {
    if !may_map() {
        return;
    }
    let volume = tempfile::tempdir().unwrap();
    std::fs::write(volume.path().join("roots"), "").unwrap();
    std::fs::write(volume.path().join("users"), "").unwrap();
    std::os::unix::fs::chown(volume.path().join("users"), Some(1000), Some(1001)).unwrap();
    let script = format!(
        r#"
        let base = image::host(["sh", "stat", "touch", "chown", "id"]);
        let o = #{{ userns: "auto", ns: ["pid"], rootfs: base, mounts: ["proc",
            #{{ type: "bind", source: "{0}", target: "/mapped", options: ["idmap"] }},
            #{{ type: "bind", source: "{0}", target: "/plain", options: ["ro"] }},
        ] }};
        print(proc::exec(`id -u; stat -c '%u:%g' / /bin/sh /mapped/roots /mapped/users /plain/roots; touch /made; stat -c %u /made;
            touch /mapped/by-root /mapped/by-user; chown 7:8 /mapped/by-user; stat -c '%u:%g' /mapped/by-user`, o).lines());
        "#,
        volume.path().display()
    );
    let expected = r#"["0", "0:0", "0:0", "0:0", "1000:1001", "65534:65534", "0", "7:8"]"#;
    code(&script).stdout(&format!("{expected}\n")).check();
    assert_eq!(owner(volume.path().join("by-root")), (0, 0));
    assert_eq!(owner(volume.path().join("by-user")), (7, 8));
}

#[test]
fn a_folder_as_root_is_mapped_and_written_by_its_owner() {
    if !may_map() {
        return;
    }
    let root = outside::root();
    let script = format!(
        r#"
        let set = ns::new(#{{ kinds: ["pid", "mount"], userns: "auto" }});
        for o in [#{{ userns: "auto", ns: ["pid"] }}, #{{ ns: set }}] {{
            o.rootfs = "{}";
            print(proc::exec("ls -ln /bin/busybox; echo x > /tmp/made; ls -ln /tmp/made", o).lines().map(|l| l.split()[2]));
        }}
        "#,
        root.path().display()
    );
    code(&script).stdout("[\"0\", \"0\"]\n[\"0\", \"0\"]\n").check();
    assert_eq!(owner(root.path().join("tmp/made")), (0, 0));
}

#[test]
fn what_cannot_be_mapped_is_said() {
    for (options, kind, parts) in [
        (
            r#"userns: "auto", ns: ["pid"], rootfs: fs::overlay(image::host(["sh"]))"#,
            "unsupported",
            ["(overlay) does not support idmapped mounts", "its layers can"],
        ),
        (
            r#"ns: ["mount"], mounts: [#{ type: "bind", source: "/tmp", target: "/tmp", options: ["idmap"] }]"#,
            "invalid_argument",
            ["idmap needs a user namespace", "userns: \"auto\""],
        ),
        (
            r#"userns: "auto", ns: ["mount"], mounts: [#{ type: "bind", source: "/proc/self", target: "/tmp", options: ["idmap"] }]"#,
            "unsupported",
            ["(proc) does not support idmapped mounts", "ext4, xfs, btrfs and tmpfs do"],
        ),
        (r#"userns: "keep-id""#, "invalid_argument", ["keep-id as root", "use \"auto\""]),
        (r#"userns: "host", ns: ["user"]"#, "invalid_argument", ["does not go with \"user\"", ""]),
        (
            r#"userns: "auto", uid_map: [#{ container: 0, host: 0 }]"#,
            "invalid_argument",
            ["does not go with uid_map", ""],
        ),
        (
            r#"userns: "auto:size=0""#,
            "invalid_argument",
            ["\"auto\", \"auto:size=N\", \"keep-id\" or \"host\"", ""],
        ),
        (r#"ns: ns::new(["pid"]), userns: "auto""#, "invalid_argument", ["give it to ns::new", ""]),
    ] {
        if stands_in() && parts[0] == "keep-id as root" {
            continue;
        }
        let script = format!(
            "try {{ proc::exec(\"true\", #{{ {options} }}); print(\"no error\"); }} catch (e) {{ print(e.kind); print(e.message); print(e.hint); }}"
        );
        let run = code(&script).output();
        assert_eq!(run.stdout.lines().next(), Some(kind), "{options}: {}{}", run.stdout, run.stderr);
        for part in parts {
            assert!(run.stdout.contains(part), "{part} is not in {}", run.stdout);
        }
    }
}

#[test]
fn ranges_of_containers_are_used_and_run_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("subuid");
    std::fs::write(&file, "root:700000:1000\ncontainers:300000:131072\n").unwrap();
    let inner = r#"
        let o = #{ userns: "auto", ns: ["pid"], input: "pipe" };
        let held = [];
        for n in 0..2 { held.push(proc::spawn("cat /proc/self/uid_map; cat", o)); print(held[n].next_line()); }
        try { proc::spawn("cat", o); } catch (e) { print(`${e.kind} ${e.message} ${e.hint}`); }
        held[0].close();
        print(proc::exec("cat /proc/self/uid_map", #{ userns: "auto", ns: ["pid"] }).stdout);
    "#;
    let script = folder.path().join("inner.rhai");
    std::fs::write(&script, inner).unwrap();
    let outer = format!(
        r#"print(proc::exec("mount --bind {0} /etc/subuid && mount --bind {0} /etc/subgid && exec $CSHELL {1}", #{{ ns: ["mount"] }}).stdout);"#,
        file.display(),
        script.display()
    );
    // The machine's root has those of `containers`; a user's are looked at below.
    let run = code(&outer).by_root().env("CSHELL", env!("CARGO_BIN_EXE_cshell")).output();
    let lines: Vec<String> =
        run.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines[..2], ["0 300000 65536", "0 365536 65536"], "{}", run.stderr);
    assert!(lines[2].starts_with("limit_reached proc::spawn: userns: no 65536 ids are left (131072 from 300000 in all, 2 ranges in use)"));
    assert!(
        lines[2].contains("add a longer range for `containers` to /etc/subuid and /etc/subgid"),
        "{}",
        lines[2]
    );
    assert_eq!(lines[3], "0 300000 65536");
}

#[test]
fn a_user_keeps_its_ids() {
    let script = r#"
        let it = proc::spawn("cat", #{ userns: "keep-id", ns: ["pid"], input: "pipe" });
        print(it.pid);
        print(proc::exec("id -u; id -g; touch kept; stat -c %u kept", #{ userns: "keep-id", ns: ["pid"] }).lines());
        print(proc::exec("id -u", #{ userns: "keep-id", ns: ["pid"], user: "0:0" }).stdout);
        print(ns::new(#{ kinds: ["pid"], userns: "keep-id" }).exec("id -u").stdout);
        print(proc::exec("id -u", #{ userns: "host", ns: ["pid"] }).stdout);
    "#;
    let program = code(&around(script));
    let kept = program.folder().join("work/kept");
    watch_in(program.by_user(), |_, facts| {
        let status = read(format!("/proc/{}/status", facts[0]));
        assert!(status.contains(&format!("\nUid:\t{UID}\t{UID}\t{UID}\t{UID}\n")), "{status}");
        assert_eq!(facts[1], format!("[\"{UID}\", \"{UID}\", \"{UID}\"]"));
        let words = [facts[2].as_str(), &facts[4], &facts[6]].map(str::to_owned);
        assert_eq!(words, ["0".to_owned(), UID.to_string(), "0".to_owned()], "{facts:?}");
        assert_eq!(owner(&kept), (UID, UID));
    });
}

#[test]
fn without_root_ranges_come_from_the_users_own() {
    let script = r#"
        let base = image::host(["sh", "stat", "touch", "sleep", "cat"]);
        let it = proc::spawn("stat -c %u:%g / /bin/sh; touch /made; stat -c %u /made; cat", #{ userns: "auto", ns: ["pid"], rootfs: base, input: "pipe" });
        print(it.pid);
        print([it.next_line(), it.next_line(), it.next_line()]);
        try { proc::exec("true", #{ userns: "auto", ns: ["pid"] }); } catch (e) { print(`${e.kind} ${e.hint}`); }
        print(proc::exec("cat /proc/self/uid_map", #{ userns: "auto:size=100", ns: ["pid"] }).stdout);
    "#;
    let lines = format!("{UID}:{SUBORDINATE}:65700\n");
    let user = User { subordinate: lines, ..User::default() };
    watch_in(code(&around(script)).by_user_with(user), |_, facts| {
        // As the machine sees it, and from where it was started.
        let status = read(format!("/proc/{}/status", facts[0]));
        assert!(status.contains(&format!("\nUid:\t{SUBORDINATE}\t{SUBORDINATE}")), "{status}");
        assert_eq!(facts[1], r#"["0:0", "0:0", "0"]"#);
        assert!(
            facts[2].starts_with("limit_reached ") && facts[2].contains("usermod --add-subuids"),
            "{}",
            facts[2]
        );
        assert_eq!(facts[3].split_whitespace().collect::<Vec<_>>(), ["0", "65537", "100"]);
    });
}

#[test]
fn the_kernel_shows_a_mapped_mount() {
    if !may_map() {
        return;
    }
    let script = r#"print(proc::spawn("cat", #{ userns: "auto", ns: ["pid"], input: "pipe",
        mounts: [#{ type: "bind", source: "/etc", target: "/mnt", options: ["idmap", "ro"] }] }).pid);"#;
    watch(script, |_, facts| {
        let options = tool("findmnt", &["-N", &facts[0], "-rno", "VFS-OPTIONS", "/mnt"]);
        assert!(options.split(',').any(|option| option == "idmapped"), "{options}");
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

/// Root of a set tries to look into each process that joins it, while that still shares the memory of the program.
#[test]
fn who_is_in_a_set_does_not_see_the_program() {
    let script = r#"
        let set = ns::new(#{ kinds: ["user", "pid", "mount"] });
        let spy = set.spawn(["perl", "-e", `$| = 1; print "spying\n";
            while (1) { for (glob "/proc/[0-9]*/exe") { my $to = readlink; print("sees $to\n"), exit if defined $to && $to =~ m{/cshell$}; } }`],
            #{ mounts: ["proc"] });
        spy.expect("spying\n");
        for n in 0..40 { set.exec("true"); }
        if spy.is_running { spy.signal("KILL"); }
        print(spy.wait().stdout);
    "#;
    for user in [false, true] {
        let program = if user { code(script).by_user() } else { code(script) };
        let run = program.output();
        assert_eq!((run.stdout.trim(), run.stderr.as_str()), ("", ""), "as a user: {user}");
    }
}
