//! The same tests with containers of other runtimes.

use super::{WHATEVER_IT_TAKES, events, tests};
use crate::support;
use crate::support::{Ended, cshell};
use serde_json::Value;
use std::path::Path;

/// Those that do not start a bundle with these namespaces without root: every test is skipped, with what they say.
const OF_ROOT: [&str; 3] = ["crun", "runc", "podman"];

/// What a runtime is not told, or cannot be: the test is skipped, and says which.
const NOT_EXPRESSED: [(&str, &[&str]); 4] = [
    ("crun", &["bytes arrive"]),
    ("runc", &["bytes arrive"]),
    // Without groups of its own it joins no namespaces.
    ("podman", &["a set is joined", "a terminal is one", "bytes arrive"]),
    ("bwrap", &["a set is joined", "a terminal is one", "no programs run from a file system"]),
];

fn is_installed(runtime: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .chain(["/usr/sbin".into(), "/usr/bin".into()])
        .any(|folder| folder.join(runtime).exists())
}

fn comparisons(all: &[Value]) -> Vec<&Value> {
    all.iter().filter(|event| event["event"] == "comparison").collect()
}

#[test]
fn what_a_start_asks_for_is_asked_of_others() {
    let text = std::fs::read_to_string("tests/testrun/files/asked_for.rhai").unwrap();
    for (runtime, skipped) in NOT_EXPRESSED {
        if !is_installed(runtime) {
            support::skip::skip(
                "what_a_start_asks_for_is_asked_of_others",
                &format!("there is no {runtime}"),
            );
            continue;
        }
        let run = tests(&["--runtime", runtime], &text).output();
        assert_eq!(run.ended, Ended::Exit(0), "{runtime}: {}", run.stdout);
        let all = events(&run);
        let found = comparisons(&all);
        assert_eq!(found.len(), 17, "{runtime}: {}", run.stdout);
        let none_starts = support::user::stands_in() && OF_ROOT.contains(&runtime);
        for one in found {
            let is_skipped = none_starts || skipped.iter().any(|name| one["name"] == *name);
            assert_eq!(one["result"], if is_skipped { "SKIP" } else { "PASS" }, "{runtime}: {one}");
            assert_eq!(one["message"] == "", !is_skipped, "{runtime}: {one}");
        }
        assert_eq!(left(), Vec::<String>::new(), "{runtime}");
    }
}

/// What the runtimes keep of containers that run.
fn left() -> Vec<String> {
    let folders = ["/run/crun", "/run/runc", "/run/youki"];
    let states = folders.into_iter().flat_map(std::fs::read_dir).flatten().flatten();
    states.map(|entry| entry.path().display().to_string()).collect()
}

#[test]
fn other_runtimes_are_compared() {
    let name = "other_runtimes_are_compared";
    if !Path::new("/usr/bin/crun").exists() {
        support::skip::skip(name, "there is no crun");
        return;
    }
    let text = r#"
        import "std/sees" as sees;
        let box = #{ rootfs: image::host(["sh"]), security: "default" };
        test::check("is alone", || assert::eq(sees::pids(box), [1]));
        test::check("has no keys", || assert::is_denied("EPERM", syscall::run([["keyctl", 0, -3, 0]], box).of.keyctl));
        test::check("has other ids", || proc::exec("true", box + #{ userns: "auto:size=9" }));
        test::check("leaves a file", || proc::exec(["touch", "/tmp/cshell-left-runtime"]));
        test::check("is not there", || assert::throws("not_found", || proc::exec(["nothing"], box)));
        let others = box + #{ userns: "auto:size=9" };
        test::check("is not there for others", || assert::throws("not_found", || proc::exec(["nothing"], others)));
        "#;
    let run = tests(&["--runtime", "crun"], text).output();
    let all = events(&run);
    let found = |name: &str| {
        let found = comparisons(&all).into_iter().find(|event| event["name"] == name);
        found.map(|event| (event["result"].as_str().unwrap(), event["differs"].as_bool().unwrap())).unwrap()
    };
    // What crun's own defaults leave open is a difference, and no failure.
    let none_starts = support::user::stands_in();
    let keys = if none_starts { ("SKIP", false) } else { ("FAIL", true) };
    assert_eq!(found("has no keys"), keys);
    for name in ["is alone", "is not there"] {
        assert_eq!(found(name), (if none_starts { "SKIP" } else { "PASS" }, false), "{name}");
    }
    // What was not asked of it is no difference, also where an error is expected.
    assert_eq!(found("is not there for others"), ("SKIP", false));
    assert_eq!(found("has other ids"), ("SKIP", false));
    // What a test leaves is removed with each runtime, and told with ours.
    assert_eq!(found("leaves a file"), ("PASS", false));
    assert!(!Path::new("/tmp/cshell-left-runtime").exists());
    assert_eq!(run.ended, Ended::Exit(100));
    let words = [&["test", "--runtime", "crun"], WHATEVER_IT_TAKES].concat();
    let table = cshell(words).file("a_test.rhai", text).output().stdout;
    assert_eq!(table.contains("  a_test.rhai > has no keys  PASS     FAIL\n"), keys.1, "{table}");
    let unknown = cshell(["test", "--runtime", "docker"]).output();
    assert!(unknown.stderr.contains("there is no adapter for the runtime \"docker\""), "{}", unknown.stderr);
    assert_eq!(unknown.ended, Ended::Exit(2));
}
