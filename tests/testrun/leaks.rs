//! What tests leave behind, and what others make meanwhile.

use super::{events, list, results, tests, until};
use crate::support;
use crate::support::Ended;
use serde_json::Value;
use std::collections::BTreeMap;

#[test]
fn what_a_test_leaves_is_named_with_its_line_and_removed() {
    let text = r#"
        test::check("a mount", || proc::exec("mount -t tmpfs none /mnt"));
        test::check("a process", || proc::exec("setsid sleep 1000 >/dev/null 2>&1 &"));
        test::check("a temporary file", || proc::exec("mktemp"));
        test::check("shared memory", || proc::exec("echo > /dev/shm/cshell-left"));
        test::check("a queue", || syscall::run([["msgget", 4711, 0o1600]]));
        test::check("nothing", || { let box = ns::new(["net", "ipc"]); proc::exec("true", #{ ns: box }); });
        test::check("is allowed to", #{ leaves: ["file"] }, || proc::exec("mktemp"));
        "#;
    let run = tests(&[], text).output();
    let found: BTreeMap<String, Value> = events(&run)
        .into_iter()
        .filter(|event| event["event"] == "result")
        .map(|event| (event["name"].as_str().unwrap().to_owned(), event))
        .collect();
    for (name, kind, line) in [
        ("a mount", "mount", 1),
        ("a process", "process", 2),
        ("a temporary file", "file", 3),
        ("shared memory", "ipc", 4),
        ("a queue", "ipc", 5),
    ] {
        let found = &found[name];
        assert_eq!(found["result"], "LEAK", "{found}");
        let left = &found["left"][0];
        assert_eq!((left["kind"].as_str(), left["remains"].as_str()), (Some(kind), None), "{found}");
        assert_eq!(left["at"], format!("a_test.rhai:{line}"), "{found}");
    }
    for name in ["nothing", "is allowed to"] {
        assert_eq!(found[name]["result"], "PASS", "{}", found[name]);
    }
    assert_eq!(run.ended, Ended::Exit(100));
    assert!(!std::path::Path::new("/dev/shm/cshell-left").exists());
}

#[test]
fn what_a_test_leaves_in_shared_places_is_told_from_what_others_make() {
    if support::user::stands_in() {
        // An ordinary user makes none of these.
        return;
    }
    let text = r#"
        test::check("a link", || proc::exec("ip link add cslk0 type veth peer name cslk1"));
        test::check("an address", || proc::exec("ip addr add 10.213.7.9/32 dev lo"));
        test::check("a group", || {
            let paths = cgroup::current().paths.filter(|path| path.contains("/pids"));
            if paths.len() == 0 { paths = cgroup::current().paths; }
            proc::exec(["mkdir", paths[0] + "/cshell-leaky"]);
        });
        test::check("a namespace", || proc::exec("ip netns add cslkns"));
        test::check("a key", || syscall::run([["add_key", "user", "cslkkey", "data", 4, -4]]));
        test::check("an image", || image::commit(fs::overlay(image::scratch()), "localhost/leak:1"));
        test::check("a kept thing", || cgroup::limit(#{ pids: 5 }).keep());
        test::check("a file", || fs::write("/tmp/cshell-left-file", "x"));
        test::check("none of those", || proc::exec("sleep 0.2"));
        "#;
    let run = tests(&["-j", "4"], text).output();
    for (name, kind) in [
        ("a link", "link"),
        ("an address", "address"),
        ("a group", "cgroup"),
        ("a namespace", "namespace"),
        ("a key", "key"),
        ("an image", "image"),
        ("a kept thing", "kept"),
        ("a file", "file"),
    ] {
        let found = events(&run).into_iter().find(|event| event["name"] == name).unwrap();
        assert_eq!(found["result"], "LEAK", "{found}");
        let left = found["left"].as_array().unwrap();
        assert!(left.iter().any(|left| left["kind"] == kind), "{found}");
        assert!(left.iter().all(|left| left["remains"].is_null()), "{found}");
    }
    let found = events(&run).into_iter().find(|event| event["name"] == "none of those").unwrap();
    assert_eq!(found["result"], "PASS", "{found}");
    let links = std::fs::read_dir("/sys/class/net").unwrap().flatten();
    assert!(links.into_iter().all(|link| !link.file_name().to_string_lossy().starts_with("cslk")));
    assert!(!std::path::Path::new("/run/netns/cslkns").exists());
    assert!(!std::path::Path::new("/tmp/cshell-left-file").exists());
    assert!(!std::fs::read_to_string("/proc/keys").unwrap().contains("cslkkey"));
    assert!(!std::fs::read_to_string("/proc/net/fib_trie").unwrap().contains("10.213.7.9"));
}

/// What others make on the machine while a test runs is theirs, though the test speaks of something like it, or only looks.
#[test]
fn what_others_make_meanwhile_stays() {
    if support::user::stands_in() {
        return;
    }
    let folder = std::path::Path::new("/tmp/cshell-foreign-data");
    let text = r#"
        test::check("a longer name", || {
            fs::write("/tmp/cshell-foreign-data.log", "x");
            proc::exec("until [ -e /sys/class/net/csforn0 ]; do sleep 0.01; done; touch /tmp/cshell-foreign-data.lock");
            for path in ["/tmp/cshell-foreign-data.log", "/tmp/cshell-foreign-data.lock"] { fs::remove(path); }
        });
        test::check("only looks", || {
            proc::exec("until ip link show csforn0; do sleep 0.01; done; ls /tmp/cshell-foreign-data || true");
        });
        "#;
    let maker = std::thread::spawn(move || {
        until(|| std::path::Path::new("/tmp/cshell-foreign-data.log").exists());
        std::fs::create_dir(folder).unwrap();
        support::code("proc::exec(\"ip link add csforn0 type bridge\")").output();
    });
    let run = tests(&["-j", "2"], text).output();
    maker.join().unwrap();
    let link = std::path::Path::new("/sys/class/net/csforn0");
    let there = (folder.exists(), link.exists());
    support::code("proc::exec(\"ip link del csforn0\")").output();
    std::fs::remove_dir(folder).unwrap();
    assert_eq!(there, (true, true), "{}", run.stdout);
    assert_eq!(run.ended, Ended::Exit(0), "{}", run.stdout);
}

#[test]
fn a_killed_keeper_leaves_no_folder() {
    let before = folders();
    let text = r#"
        test::check("a", || {
            fs::write(sys::env("TMPDIR") + "/left", "x");
            let pid = fs::read(`/proc/${sys::info().pid}/stat`).split(" ")[3];
            proc::exec(`kill -9 ${pid}; sleep 9`);
        });
        "#;
    assert_eq!(results(&tests(&[], text)).0, list(&[("a", "FAIL")]));
    assert_eq!(
        results(&tests(&["--no-leak-check"], "test::check(\"b\", || proc::exec(\"mktemp\"));")).1,
        Ended::Exit(0)
    );
    // Others of this file have theirs while they run.
    until(|| folders().iter().all(|folder| before.contains(folder) || !folder.join("left").exists()));
}

fn folders() -> Vec<std::path::PathBuf> {
    let all = std::fs::read_dir("/tmp").unwrap().flatten().map(|entry| entry.path());
    all.filter(|path| path.to_string_lossy().contains("cshell-test-")).collect()
}
