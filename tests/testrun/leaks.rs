//! What tests leave behind, and what others make meanwhile.

use super::outside::{eventually, tool};
use super::{events, list, results, tests};
use crate::support::Ended;
use crate::support::user::root_or_refused;
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

/// Runs tests side by side, of which each leaves something of a kind that is named and removed, and others are clean.
#[track_caller]
fn told_and_removed(text: &str, expected: &[(&str, &str)], clean: &[&str]) {
    let run = tests(&["-j", "4"], text).output();
    let of = |name: &str| events(&run).into_iter().find(|event| event["name"] == name).unwrap();
    for (name, kind) in expected {
        let found = of(name);
        assert_eq!(found["result"], "LEAK", "{found}");
        let left = found["left"].as_array().unwrap();
        assert!(left.iter().any(|left| left["kind"] == *kind), "{found}");
        assert!(left.iter().all(|left| left["remains"].is_null()), "{found}");
    }
    for name in clean {
        let found = of(name);
        assert_eq!(found["result"], "PASS", "{found}");
    }
}

#[test]
fn what_a_test_leaves_in_the_network_is_told_from_what_others_make() {
    let link = "proc::exec(\"ip link add cslk9 type bridge\")";
    if !root_or_refused("host_network", link, "exit_status", "not permitted") {
        return;
    }
    let text = r#"
        test::check("a link", || proc::exec("ip link add cslk0 type veth peer name cslk1"));
        test::check("an address", || proc::exec("ip addr add 10.213.7.9/32 dev lo"));
        test::check("a namespace", || proc::exec("ip netns add cslkns"));
        test::check("another spelling", || proc::exec("ip addr add fd5a:0:0::77/128 dev lo"));
        test::check("a short word", || proc::exec("ip l a cslk2 type bridge"));
        test::check("a tunnel", || proc::exec("ip tuntap add dev cslk4 mode tun"));
        test::check("a labelled address", || proc::exec("ip addr add 10.213.7.10/32 dev lo label lo:cslk"));
        test::check("a namespace by a variable", || proc::exec("n=cslkns2; ip netns add $n"));
        test::check("a table of iptables", || proc::exec("iptables -N CSLKCHAIN; iptables -A CSLKCHAIN -j ACCEPT"));
        test::check("a route", || proc::exec("ip route add 10.213.8.0/24 dev lo"));
        test::check("a default route of a table", || proc::exec("ip -6 route add default dev lo table 7711"));
        test::check("a rule", || proc::exec("ip rule add from 10.213.9.0/24 fwmark 7 lookup 7712"));
        test::check("a rule by a list", || proc::exec(["ip", "rule", "add", "from", "10.213.11.0/24", "table", "7713"]));
        test::check("a route by a list", || proc::exec(["ip", "-6", "route", "add", "default", "dev", "lo", "table", "7714"]));
        test::check("a route that is gone", || proc::exec("ip route add 10.213.10.0/24 dev lo; ip route del 10.213.10.0/24"));
        test::check("who looks at routes", || proc::exec("ip route show 10.213.8.0/24; ip rule | grep 10.213.9.0/24 || true; sleep 0.2"));
        "#;
    let expected = [
        ("a link", "link"),
        ("an address", "address"),
        ("a namespace", "namespace"),
        ("another spelling", "address"),
        ("a short word", "link"),
        ("a tunnel", "link"),
        ("a labelled address", "address"),
        ("a namespace by a variable", "file"),
        ("a table of iptables", "nft"),
        ("a route", "route"),
        ("a default route of a table", "route"),
        ("a rule", "rule"),
        ("a rule by a list", "rule"),
        ("a route by a list", "route"),
    ];
    told_and_removed(text, &expected, &["a route that is gone", "who looks at routes"]);
    let links = std::fs::read_dir("/sys/class/net").unwrap().flatten();
    assert!(links.into_iter().all(|link| !link.file_name().to_string_lossy().starts_with("cslk")));
    assert!(!std::path::Path::new("/run/netns/cslkns").exists());
    assert!(!std::path::Path::new("/run/netns/cslkns2").exists());
    assert!(!std::fs::read_to_string("/proc/net/fib_trie").unwrap().contains("10.213.7."));
    let routes = tool("ip", &["route", "show", "table", "all"])
        + &tool("ip", &["-6", "route", "show", "table", "all"]);
    assert!(!routes.contains("10.213."), "{routes}");
    assert!(!routes.contains("default dev lo"), "{routes}");
    assert!(!tool("ip", &["rule"]).contains("10.213."));
}

#[test]
fn what_a_test_leaves_in_shared_places_is_told_from_what_others_make() {
    let text = r#"
        test::check("a group", || {
            let paths = cgroup::current().paths.filter(|path| path.contains("/pids"));
            if paths.len() == 0 { paths = cgroup::current().paths; }
            proc::exec(["mkdir", paths[0] + "/cshell-leaky"]);
        });
        test::check("a key", || syscall::run([["add_key", "user", "cslkkey", "data", 4, -4]]));
        test::check("a queue", || syscall::run([["mq_open", "cslkqueue", 66, 384, 0]]));
        test::check("an image", || image::commit(fs::overlay(image::scratch()), "localhost/leak:1"));
        test::check("a kept thing", || cgroup::limit(#{ pids: 5 }).keep());
        test::check("a file", || fs::write("/tmp/cshell-left-file", "x"));
        test::check("a file of a folder", || proc::exec("cd /tmp && echo x > cshell-left-here"));
        test::check("a file that is named by the shell", || proc::exec("for n in 1 2; do touch /tmp/cshell-left-n$n; done"));
        test::check("a file by another way", || fs::write("/tmp/../tmp//cshell-left-way", "x"));
        test::check("a file by code", || proc::exec(["perl", "-e", "mkdir '/tmp/cshell-left-code'"]));
        test::check("a file that is gone", || proc::exec("file=$(mktemp -p /tmp cshell-gone-XXXXXX); sleep 0.3; rm $file"));
        test::check("another of its kind", || proc::exec("file=$(mktemp -p /tmp cshell-gone-XXXXXX); sleep 0.4; rm $file"));
        test::check("a folder that is entered", || proc::exec("touch cshell-left-cwd", #{ cwd: "/tmp" }));
        test::check("a copy", || {
            let from = fs::temp_dir().path("cshell-left-copy");
            fs::write(from, "x");
            proc::exec(["cp", from, "/tmp/"]);
        });
        test::check("a folder below it", || proc::exec("cd /tmp; mkdir -p cshell-left-below/x"));
        test::check("a saved image", || {
            image::commit(fs::overlay(image::scratch()), "localhost/leak:2");
            image::save("localhost/leak:2", "/tmp/cshell-left-image");
            image::remove("localhost/leak:2");
        });
        test::check("a strange name", || proc::exec("touch $TMPDIR/$(printf '\\377')"));
        test::check("something over proc", || proc::exec("setsid sleep 4567 >/dev/null 2>&1 & mount -t tmpfs none /proc"));
        test::check("none of those", || proc::exec("sleep 0.2"));
        "#;
    let expected = [
        ("a group", "cgroup"),
        ("a key", "key"),
        ("a queue", "ipc"),
        ("an image", "image"),
        ("a kept thing", "kept"),
        ("a file", "file"),
        ("a file of a folder", "file"),
        ("a file that is named by the shell", "file"),
        ("a file by another way", "file"),
        ("a file by code", "file"),
        ("a folder that is entered", "file"),
        ("a copy", "file"),
        ("a folder below it", "file"),
        ("a saved image", "file"),
        ("a strange name", "file"),
        ("something over proc", "mount"),
        ("something over proc", "process"),
    ];
    told_and_removed(text, &expected, &["none of those", "a file that is gone", "another of its kind"]);
    let files = std::fs::read_dir("/tmp").unwrap().flatten();
    assert!(files.into_iter().all(|file| !file.file_name().to_string_lossy().starts_with("cshell-left-")));
    assert!(!std::fs::read_to_string("/proc/keys").unwrap().contains("cslkkey"));
}

#[test]
fn a_loop_device_is_let_go() {
    let attach =
        "let file = fs::temp_dir().path(`img`); proc::exec(`truncate -s 1M ${file}; losetup -f ${file}`)";
    if !root_or_refused("block_devices", attach, "exit_status", "Permission denied") {
        return;
    }
    let text = "test::check(\"a\", || proc::exec(\"truncate -s 1M $TMPDIR/img; losetup -f $TMPDIR/img\"));";
    told_and_removed(text, &[("a", "loop")], &[]);
    assert!(!std::fs::read_dir("/sys/block").unwrap().flatten().any(|device| {
        let file = std::fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
        file.contains("cshell-test-")
    }));
}

/// What others mount arrives in the namespace of a test, where the machine's mounts are shared.
#[test]
#[expect(clippy::disallowed_methods, reason = "an outside tool mounts what arrives")]
fn what_others_mount_is_not_the_tests() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"
        test::check("clean", || {
            let dir = sys::args()[0];
            fs::write(dir + "/waits", "");
            assert::eventually(#{ timeout: "20s" }, || fs::exists(dir + "/mounted"));
            assert::that(fs::mounts().some(|mount| mount.target == dir + "/foreign"));
            proc::exec("true");
        });
        test::check("leaks", #{ exclusive: true }, || proc::exec(["mount", "--bind", "/usr", sys::args()[0] + "/own"]));
        test::check("mends", || proc::exec("ip netns add csarr; ip netns del csarr"));
        "#;
    std::fs::write(folder.path().join("a_test.rhai"), text).unwrap();
    for name in ["foreign", "own"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    let script = r#"
        cd "$1"; export CSHELL_RUN=$1/run CSHELL_ROOT=$1/root
        (until [ -e waits ]; do :; done; mount -t tmpfs none foreign; : > mounted) &
        "$2" test --format json a_test.rhai -- "$1"
        echo "rc $?"; wait; umount foreign
        "#;
    let output = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "shared", "sh", "-c", script, "sh"])
        .arg(folder.path())
        .arg(env!("CARGO_BIN_EXE_cshell"))
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let results: Vec<Value> = told.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for (name, expected) in [("clean", "PASS"), ("leaks", "LEAK"), ("mends", "PASS")] {
        let found = results.iter().find(|event| event["event"] == "result" && event["name"] == name);
        assert_eq!(found.unwrap_or_else(|| panic!("{told}"))["result"], expected, "{told}");
    }
    assert!(told.contains("/own"), "{told}");
    assert!(!told.contains("/foreign"), "{told}");
}

/// What a file does outside of its tests is looked at as well, once everything that its session made is taken back.
#[test]
fn what_a_file_leaves_is_named_and_removed() {
    let text = r#"
        let dir = fs::temp_dir();
        let mounted = if sys::rootless() == () { fs::tmpfs(dir.path) };
        proc::exec("echo x > $TMPDIR/top; touch /tmp/cshell-top-left; sleep 1000 >/dev/null 2>&1 &");
        test::before_all(|| fs::write("/tmp/cshell-before-left", "x"));
        test::after_all(|| fs::write("/tmp/cshell-after-left", "x"));
        test::check("sees what the top made", || assert::that(fs::exists("/tmp/cshell-top-left"), "the file"));
        "#;
    let (all, ended) = results(&tests(&[], text));
    assert_eq!(all, list(&[("a_test.rhai", "LEAK"), ("sees what the top made", "PASS")]));
    assert_eq!(ended, Ended::Exit(100));
    let left = super::result(&tests(&[], text), "");
    let found: Vec<(&str, &str)> = left["left"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["text"].as_str().unwrap(), one["at"].as_str().unwrap()))
        .map(|(text, at)| (text.rsplit(['/', '(']).next().unwrap(), at.rsplit(':').next().unwrap()))
        .collect();
    let lines = |name: &str| found.iter().find(|(text, _)| *text == name).map(|(_, line)| *line);
    assert_eq!(lines("top"), Some("3"), "{left}");
    assert_eq!(lines("cshell-top-left"), Some("3"), "{left}");
    assert_eq!(lines("sleep 1000)"), Some("3"), "{left}");
    assert_eq!(lines("cshell-before-left"), Some("4"), "{left}");
    assert_eq!(lines("cshell-after-left"), Some("5"), "{left}");
    assert_eq!(found.len(), 5, "{left}");
    for name in ["top", "before", "after"] {
        assert!(!std::path::Path::new(&format!("/tmp/cshell-{name}-left")).exists(), "{name}");
    }
    let may = "test::configure(#{ leaves: [\"file\"] });
        fs::write(\"/tmp/cshell-may-left\", \"\");
        test::check(\"a\", || ());";
    assert_eq!(results(&tests(&[], may)), (list(&[("a", "PASS")]), Ended::Exit(0)));
    let quiet = "fs::write(\"/tmp/cshell-quiet-left\", \"\");
        test::check(\"a\", || proc::exec(\"sleep 1000 >/dev/null 2>&1 &\"));
        test::check(\"b\", || cgroup::limit(#{ pids: 5 }).keep());";
    assert_eq!(results(&tests(&["--no-leak-check"], quiet)).1, Ended::Exit(0));
    std::fs::remove_file("/tmp/cshell-quiet-left").unwrap();
}

/// What others make on the machine while a test runs is theirs, though the test speaks of something like it, or only looks.
#[test]
fn what_others_make_meanwhile_stays() {
    let folder = std::path::Path::new("/tmp/cshell-foreign-data");
    let text = r#"
        test::check("a longer name", || {
            fs::write("/tmp/cshell-foreign-data.log", "x");
            proc::exec("until [ -e /sys/class/net/csforn0 ]; do sleep 0.01; done; touch /tmp/cshell-foreign-data.lock");
            for path in ["/tmp/cshell-foreign-data.log", "/tmp/cshell-foreign-data.lock"] { fs::remove(path); }
        });
        test::check("looks in other ways", || {
            let there = "until [ -e /tmp/cshell-foreign-data ]; do sleep 0.01; done";
            proc::exec(`${there}; ip addr show dev csforn0 || true; cat /tmp/cshell-foreign-data 2>/dev/null || echo started; ls > /dev/null`);
            proc::exec("mktemp /tmp/cshell-foreign-XXXXX | xargs rm");
        });
        test::check("only looks", || {
            proc::exec("until ip link show csforn0; do sleep 0.01; done; ls /tmp/cshell-foreign-data || true");
        });
        "#;
    let maker = std::thread::spawn(move || {
        eventually("the test is at work", || std::path::Path::new("/tmp/cshell-foreign-data.log").exists());
        std::fs::create_dir(folder).unwrap();
        tool("ip", &["link", "add", "csforn0", "type", "bridge"]);
    });
    let run = tests(&["-j", "2"], text).output();
    maker.join().unwrap();
    let link = std::path::Path::new("/sys/class/net/csforn0");
    let there = (folder.exists(), link.exists());
    tool("ip", &["link", "del", "csforn0"]);
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
    eventually("the folder goes", || {
        folders().iter().all(|folder| before.contains(folder) || !folder.join("left").exists())
    });
}

fn folders() -> Vec<std::path::PathBuf> {
    let all = std::fs::read_dir("/tmp").unwrap().flatten().map(|entry| entry.path());
    all.filter(|path| path.to_string_lossy().contains("cshell-test-")).collect()
}
