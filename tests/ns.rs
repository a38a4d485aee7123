//! Namespaces of programs that are looked at as programs: killed, two at once, and what the machine has of their pins. What
//! the calls do is in `tests/rhai/ns`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "support/outside.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
#[allow(clippy::allow_attributes, reason = "what is unused differs between the test files")]
mod outside;
mod support;

use outside::{around, eventually, is_alive, link, read, tool, watch, watch_in};
use std::os::unix::fs::MetadataExt;
use support::{Ended, code, kill};

fn namespace(pid: &str, file: &str) -> String {
    link(format!("/proc/{pid}/ns/{file}"))
}

/// A program in the machine's own mount namespace: `tests/rhai/ns` has one of its own for each test.
#[test]
fn pins_are_the_machines_and_go_with_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let (file, dir) = (folder.path().join("one"), folder.path().join("many"));
    let (file, dir) = (file.to_str().unwrap(), dir.to_str().unwrap());
    let script = format!(
        r#"
        let one = ns::new(#{{ kinds: ["net"], pin: "{file}" }});
        let many = ns::new(#{{ kinds: ["net", "uts", "mount", "pid", "user", "ipc"], hostname: "pinned", pin: "{dir}" }});
        print(one.inode("net"));
        print(many.inode("net"));
        print(many.inode("mount"));
        "#
    );
    // An ordinary user is refused: see tests/rhai/ns/pins_test.rhai.
    watch_in(code(&around(&script)).by_root(), |_, facts| {
        let inode = |pin: &str| std::fs::metadata(pin).unwrap().ino().to_string();
        assert_eq!(inode(file), facts[0]);
        assert_eq!([inode(&format!("{dir}/net")), inode(&format!("{dir}/mnt"))], facts[1..]);
        let net = tool("nsenter", &[&format!("--net={file}"), "readlink", "/proc/self/ns/net"]);
        assert_eq!(net, format!("net:[{}]", facts[0]));
        assert_eq!(tool("nsenter", &[&format!("--uts={dir}/uts"), "hostname"]), "pinned");
        assert_eq!(tool("findmnt", &["-rno", "FSTYPE", file]), "nsfs");
    });
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "pins are left");
    let mounts = read("/proc/self/mountinfo");
    assert!(!mounts.contains(folder.path().to_str().unwrap()), "{mounts}");
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
fn two_programs_do_not_disturb_each_other() {
    let script = r#"let set = ns::new(["uts"]); print(set.pid);"#;
    watch(script, |_, facts| {
        watch_in(code(&around(script)), |_, others| {
            assert_ne!(namespace(&facts[0], "uts"), namespace(&others[0], "uts"));
        });
        assert!(is_alive(&facts[0]));
    });
}
