//! `cshell test`: what runs, how it comes out, what is told of it, and that no test harms another.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use serde_json::Value;
use std::collections::BTreeMap;
use support::{Cshell, Ended, Run, cshell, kill};

/// `cshell test` with these words, and one file.
fn tests(words: &[&str], text: &str) -> Cshell {
    cshell([&["test", "--format", "json"], words].concat()).file("a_test.rhai", text)
}

/// The events of a run in JSON.
fn events(run: &Run) -> Vec<Value> {
    assert_eq!(run.stderr, "", "{}", run.stdout);
    run.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

/// The results by name, and how the run ended.
#[track_caller]
fn results(run: &Cshell) -> (BTreeMap<String, String>, Ended) {
    let run = run.output();
    let all = events(&run);
    let of = |event: &Value| {
        let text = |key: &str| event[key].as_str().unwrap().to_owned();
        let name = if text("name").is_empty() { text("file") } else { text("name") };
        (name, text("result"))
    };
    (all.iter().filter(|event| event["event"] == "result").map(of).collect(), run.ended)
}

/// The result of the test of this name.
#[track_caller]
fn result(run: &Cshell, name: &str) -> Value {
    let run = run.output();
    let found = events(&run).into_iter().find(|event| event["event"] == "result" && event["name"] == name);
    found.unwrap_or_else(|| panic!("{name}: {}", run.stdout))
}

fn list(words: &[(&str, &str)]) -> BTreeMap<String, String> {
    words.iter().map(|(name, word)| ((*name).to_owned(), (*word).to_owned())).collect()
}

#[test]
fn functions_and_checks_are_tests() {
    let run = tests(
        &[],
        r#"
        const LIMIT = 3;
        import "std/retry" as again;
        fn setup_file() { 40 }
        fn setup(base) { base + 2 }
        fn teardown(given) { assert::eq(given, 42); }
        fn helper() { 1 }
        fn test_given(given) { assert::eq(given, 42); }
        fn test_constant() { assert::eq(global::LIMIT, 3); }
        fn test_import() { assert::eq(again::retry(1, || helper()), 1); }
        fn test_wrong() { assert::eq(helper(), 2); }
        let made = ns::new(["uts"]);
        test::group("outer", || {
            test::group("inner", || test::check("sees what the file made", || assert::that(made.is_open)));
            test::each("row", [1, #{ name: "two", n: 2 }], |row| ());
            test::each("number", 3..=3, |n| assert::eq(n, 3));
        });
        "#,
    );
    let expected = [
        ("test_given", "PASS"),
        ("test_constant", "PASS"),
        ("test_import", "PASS"),
        ("test_wrong", "FAIL"),
        ("outer > inner > sees what the file made", "PASS"),
        ("outer > row 1", "PASS"),
        ("outer > row two", "PASS"),
        ("outer > number 3", "PASS"),
    ];
    assert_eq!(results(&run), (list(&expected), Ended::Exit(100)));
}

#[test]
fn each_test_has_a_process_of_its_own() {
    let run = tests(
        &["-j", "1"],
        r#"
        let shared = [];
        test::check("a", || { shared.push(1); assert::eq(shared, [1]); });
        test::check("b", || { shared.push(2); assert::eq(shared, [2]); });
        test::check("closes what the file made", || ());
        "#,
    );
    let expected = [("a", "PASS"), ("b", "PASS"), ("closes what the file made", "PASS")];
    assert_eq!(results(&run), (list(&expected), Ended::Exit(0)));
}

#[test]
fn what_is_called_around_tests_is_called_in_order() {
    let run = tests(
        &["-j", "1"],
        r#"
        let log = sys::args()[0];
        let note = |word| fs::append(log, word + " ");
        test::before_all(|| note.call("all"));
        test::after_all(|| note.call("end"));
        test::before(|| note.call("before"));
        test::after(|| note.call("after"));
        test::group("g", || {
            test::before_all(|| note.call("g-all"));
            test::before(|| note.call("g-before"));
            test::after(|| note.call("g-after"));
            test::check("inside", || note.call("inside"));
        });
        test::check("outside", || { note.call("outside"); throw "no"; });
        "#,
    );
    let log = run.folder().join("work/log");
    let run = run.arg("--").arg(&log);
    let (found, _) = results(&run);
    assert_eq!(found, list(&[("g > inside", "PASS"), ("outside", "FAIL")]));
    let expected = "all g-all before g-before inside g-after after before outside after g-all-end";
    let written = std::fs::read_to_string(log).unwrap();
    assert_eq!(written.trim(), expected.replace("g-all-end", "end"));
}

#[test]
fn a_failure_before_or_after_is_told() {
    let run = tests(
        &[],
        r#"
        test::group("broken", || {
            test::before_all(|| throw "no ground");
            test::check("a", || ());
            test::check("b", || ());
        });
        test::group("after", || {
            test::after(|| throw "not tidy");
            test::check("c", || ());
        });
        test::check("d", || ());
        test::after_all(|| throw "the end");
        "#,
    );
    let (found, ended) = results(&run);
    let expected = [
        ("a_test.rhai", "FAIL"),
        ("broken > a", "FAIL"),
        ("broken > b", "FAIL"),
        ("after > c", "FAIL"),
        ("d", "PASS"),
    ];
    assert_eq!((found, ended), (list(&expected), Ended::Exit(100)));
    assert_eq!(result(&run, "broken > a")["message"], "before all tests: no ground");
    assert_eq!(result(&run, "after > c")["message"], "not tidy");
}

#[test]
fn skips_are_never_passes() {
    let text = r#"
        test::check("a", || test::skip("needs kvm"));
        test::skip("b", "not yet", || throw "never run");
        test::todo("c");
        test::todo("d", || throw "still");
        test::check("e", #{ skip: "here" }, || ());
        try { test::check("f", || ()); } catch { }
        "#;
    let run = tests(&[], text);
    let expected = [("a", "SKIP"), ("b", "SKIP"), ("c", "TODO"), ("d", "TODO"), ("e", "SKIP"), ("f", "PASS")];
    assert_eq!(results(&run), (list(&expected), Ended::Exit(0)));
    assert_eq!(result(&run, "a")["message"], "needs kvm");
    assert_eq!(results(&tests(&["--no-skip"], text)).1, Ended::Exit(100));
    // Where nothing but skips is left, nothing was tested.
    assert_eq!(results(&tests(&["-f", "> a"], text)).1, Ended::Exit(4));
    // One to do that passes is no longer one.
    let before = tests(&[], "test::before_all(|| exit(0)); test::check(\"x\", || ());");
    assert_eq!(result(&before, "x")["message"], "before all tests: it called exit(0): a run ends by itself");
    let passes = tests(&[], "test::todo(\"x\", || ());");
    assert_eq!(results(&passes), (list(&[("x", "FAIL")]), Ended::Exit(100)));
    // A file may skip itself.
    let file = tests(&[], "test::skip(\"not on this machine\"); fn test_x() { }");
    assert_eq!(results(&file), (list(&[("a_test.rhai", "SKIP")]), Ended::Exit(4)));
}

#[test]
fn tests_are_chosen() {
    let text = r#"
        test::check("one", #{ tags: ["net"] }, || ());
        test::check("two", || ());
        test::group("g", #{ tags: ["slow"] }, || test::check("three", #{ tags: ["net"] }, || ()));
        "#;
    let names = |words: &[&str]| results(&tests(words, text)).0.into_keys().collect::<Vec<_>>();
    assert_eq!(names(&["-f", "two", "-f", "three"]), ["g > three", "two"]);
    assert_eq!(names(&["--tag", "net"]), ["g > three", "one"]);
    assert_eq!(names(&["--tag", "net", "--not-tag", "slow"]), ["one"]);
    let (first, second) = (names(&["--shard", "1/2"]), names(&["--shard", "2/2"]));
    assert_eq!((first, second), (vec!["g > three".into(), "one".into()], vec!["two".to_owned()]));
    let only = tests(&[], "test::check(\"a\", || throw 1); test::only(\"b\", || ());");
    assert_eq!(results(&only), (list(&[("b", "PASS")]), Ended::Exit(0)));
    let listed = tests(&["--list"], text).output();
    let names: Vec<Value> = events(&listed).into_iter().filter(|event| event["event"] == "test").collect();
    assert_eq!(names.len(), 3);
    assert_eq!(names[0]["name"], "a_test.rhai > one");
    assert_eq!(names[0]["at"], "a_test.rhai:1");
    let nothing = tests(&["-f", "nothing"], text).output();
    assert_eq!(
        (nothing.ended, events(&nothing).last().unwrap()["known"].as_u64()),
        (Ended::Exit(4), Some(3))
    );
}

#[test]
fn repeated_tried_again_and_stopped_at_the_first_failure() {
    let repeated = tests(&["--repeat", "3"], "test::check(\"a\", || ());");
    let expected = [("a (1 of 3)", "PASS"), ("a (2 of 3)", "PASS"), ("a (3 of 3)", "PASS")];
    assert_eq!(results(&repeated), (list(&expected), Ended::Exit(0)));
    let flaky = r#"
        let seen = sys::args()[0];
        test::check("a", #{ retries: 2 }, || { fs::append(seen, "x"); assert::eq(fs::read(seen), "xxx"); });
        "#;
    let run = tests(&[], flaky);
    let seen = run.folder().join("work/seen");
    let found = result(&run.arg("--").arg(seen), "a");
    assert_eq!((&found["result"], &found["try"]), (&"PASS".into(), &3.into()));
    let fails = "for n in 0..9 { test::check(`${n}`, || assert::ne(n, 2)); }";
    let fails = fails.replace("|| assert::ne(n, 2)", "if n == 2 { || throw 1 } else { || () }");
    let run = tests(&["-x", "-j", "1"], &fails);
    assert_eq!(results(&run), (list(&[("0", "PASS"), ("1", "PASS"), ("2", "FAIL")]), Ended::Exit(100)));
}

#[test]
fn the_order_by_chance_is_that_of_the_seed() {
    let text = "for n in 0..8 { test::check(`${n}`, || ()); }";
    let order = |seed: &str| {
        let run = tests(&["-j", "1", "--shuffle", "--seed", seed], text).output();
        let all = events(&run).into_iter().filter(|event| event["event"] == "result");
        all.map(|event| event["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(order("1"), order("1"));
    assert_ne!(order("1"), order("2"));
}

#[test]
fn exclusive_tests_never_run_at_once() {
    let text = r#"
        let dir = sys::args()[0];
        let alone = |name, others| {
            fs::write(`${dir}/${name}`, "");
            sys::sleep("60ms");
            let there = fs::glob(`${dir}/*`);
            assert::eq(there.filter(|path| others.some(|other| path.ends_with(other))), []);
            fs::remove(`${dir}/${name}`);
        };
        test::check("a", #{ exclusive: "one" }, || alone.call("a", ["b", "d", "e"]));
        test::check("b", #{ exclusive: "one" }, || alone.call("b", ["a", "d", "e"]));
        test::check("c", || alone.call("c", ["d", "e"]));
        test::check("d", #{ exclusive: true }, || alone.call("d", ["a", "b", "c", "e"]));
        test::check("e", #{ weight: 99 }, || alone.call("e", ["a", "b", "c", "d"]));
        "#;
    let run = tests(&["-j", "4"], text);
    let dir = run.folder().join("work/dir");
    std::fs::create_dir(&dir).unwrap();
    let (found, ended) = results(&run.arg("--").arg(dir));
    assert_eq!(ended, Ended::Exit(0), "{found:?}");
}

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

#[test]
fn a_test_that_takes_too_long_ends_with_all_that_it_started() {
    let text = r#"
        test::configure(#{ timeout: "300ms" });
        test::check("sleeps", || proc::exec("sleep 4321 & sleep 4321"));
        test::check("does nothing else", || loop { let n = 1; });
        test::check("does not listen", || proc::exec("trap '' TERM; setsid sleep 4321 & while :; do sleep 1; done"));
        "#;
    let run = tests(&[], text).output();
    for event in events(&run).iter().filter(|event| event["event"] == "result") {
        assert_eq!(event["result"], "TIMEOUT", "{event}");
    }
    let found = events(&run).into_iter().find(|event| event["name"] == "sleeps").unwrap();
    assert!(found["text"].as_str().unwrap().contains("a_test.rhai:2:"), "{found}");
    let left = std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        command == b"sleep\x004321\x00"
    });
    assert_eq!(left.count(), 0);
    assert_eq!(run.ended, Ended::Exit(100));
}

#[test]
fn a_test_that_misbehaves_harms_no_other() {
    let text = r#"
        fn parent(pid) { proc::exec(`cut -d' ' -f4 /proc/${pid}/stat`).stdout.trim() }
        fn above(n) {
            let pid = `${sys::info().pid}`;
            for level in 0..n { pid = fs::read(`/proc/${pid}/stat`).split(" ")[3]; }
            pid
        }
        test::check("good", || ());
        test::check("kills itself", || proc::exec(`kill -9 ${above(0)}; sleep 9`));
        test::check("kills its keeper", || proc::exec(`kill -9 ${above(1)}; sleep 9`));
        test::check("kills its file", || proc::exec(`kill -9 ${above(2)}; sleep 9`));
        test::check("exits", || exit(0));
        test::check("exits in a catch", || { try { exit(0); } catch { } });
        test::check("writes much", || { for n in 0..20000 { print("0123456789012345678901234567890123456789"); } throw "end"; });
        test::check("forks away", || proc::exec("setsid sh -c 'setsid sleep 1000 >/dev/null 2>&1 &'"));
        test::check("fills its disk", || {
            let dir = fs::temp_dir().path("disk");
            fs::mkdir(dir);
            proc::exec(`mount -t tmpfs -o size=1m none ${dir} && ! cat /dev/zero > ${dir}/full 2>/dev/null && umount ${dir}`);
        });
        test::check("throws", || throw #{ a: 1 });
        test::check("recurses", || above2());
        test::check("last", || ());
        fn above2() { above2() }
        "#;
    let run = tests(&["-j", "3"], text);
    let expected = [
        ("good", "PASS"),
        ("kills itself", "FAIL"),
        ("kills its keeper", "FAIL"),
        ("kills its file", "FAIL"),
        ("exits", "FAIL"),
        ("exits in a catch", "FAIL"),
        ("writes much", "FAIL"),
        ("forks away", "LEAK"),
        ("fills its disk", "PASS"),
        ("throws", "FAIL"),
        ("recurses", "FAIL"),
        ("last", "PASS"),
    ];
    assert_eq!(results(&run), (list(&expected), Ended::Exit(100)));
    let much = result(&run, "writes much");
    assert!(much["output"].as_str().unwrap().len() < 200_000);
    assert!(much["output"].as_str().unwrap().contains("bytes left out"));
    assert_eq!(result(&run, "kills itself")["message"], "its process was ended by SIGKILL");
}

#[test]
fn a_file_that_cannot_be_run_harms_no_other() {
    let run = tests(&["--timeout", "300ms"], "test::check(\"good\", || ());")
        .file("syntax_test.rhai", "fn test_x() { let = 4; }")
        .file("throws_test.rhai", "print(\"hello\"); throw \"no ground\";")
        .file("exits_test.rhai", "exit(0);")
        .file("hangs_test.rhai", "loop { }")
        .file("twice_test.rhai", "test::check(\"a\", || ()); test::check(\"a\", || ());")
        .file("sub/none_test.rhai", "let x = 1;")
        .file("sub/.hidden/x_test.rhai", "throw 1;")
        .file("helper.rhai", "throw 1;");
    let expected = [
        ("good", "PASS"),
        ("syntax_test.rhai", "FAIL"),
        ("throws_test.rhai", "FAIL"),
        ("exits_test.rhai", "FAIL"),
        ("hangs_test.rhai", "FAIL"),
        ("twice_test.rhai", "FAIL"),
    ];
    assert_eq!(results(&run), (list(&expected), Ended::Exit(100)));
    let all = events(&run.output());
    let of = |file: &str| all.iter().find(|event| event["file"] == file).unwrap();
    assert_eq!(of("throws_test.rhai")["output"], "hello\n");
    assert!(of("syntax_test.rhai")["text"].as_str().unwrap().contains("--> syntax_test.rhai:1:"));
    assert_eq!(all.last().unwrap()["empty_files"], serde_json::json!(["sub/none_test.rhai"]));
}

#[test]
fn wrong_words_are_told() {
    cshell(["test", "no-such-folder"])
        .stderr(
            "error: test no-such-folder: cannot find what to test\n |\n = caused by: No such file or directory (os error 2)\n\n\
             hint: give files, or folders with files named *_test.rhai\n",
        )
        .exit(2)
        .check();
    for (words, part) in [
        (["--shard", "3/2"], "is not I/N"),
        (["--timeout", "soon"], "it is a time such as"),
        (["--jobs", "0"], "it is a whole number from 1"),
        (["--format", "xml"], "possible values: human, tap, junit, json"),
    ] {
        let run = cshell([&["test"], &words[..]].concat()).output();
        assert!(run.stderr.contains(part), "{}", run.stderr);
        assert_eq!(run.ended, Ended::Exit(2));
    }
    let nothing = cshell(["test"]).output();
    assert_eq!(nothing.ended, Ended::Exit(4));
    assert!(nothing.stdout.starts_with("\nthere is no test in"), "{}", nothing.stdout);
    let outside = support::code("test::check(\"a\", || ())").exit(3);
    let run = outside.output();
    assert!(run.stderr.contains("`cshell test` runs"), "{}", run.stderr);
    for (line, part) in [
        ("test::check(\"a\", #{ timeot: \"1s\" }, || ())", "did you mean `timeout`?"),
        ("test::check(\"a\", #{ leaves: [\"mounts\"] }, || ())", "there is no kind"),
        ("test::check(\"a\", #{ timeout: \"1s\" })", "a function expected behind the options"),
        ("test::check(\"\", || ())", "must be one line"),
        ("test::configure(\"test_no\", #{})", "no function of this name"),
        ("test::prop(\"a\", 5, |n| ())", "must be a generator"),
        ("test::each(\"a\", [], |n| ())", "must be a list with a row"),
    ] {
        let part = part.replace("there is no kind", "has no kind \"mounts\"");
        let run = tests(&[], line).output();
        assert!(run.stdout.contains(&part.replace('"', "\\\"")), "{line}: {}", run.stdout);
    }
}

#[test]
fn the_report_for_people_shows_what_is_needed() {
    let run = cshell(["test", "--seed", "7"]).file(
        "a_test.rhai",
        r#"
        fn test_maps() { print("only here"); assert::eq(#{ a: [1, 2] }, #{ a: [1, 3], b: 1 }, "the map"); }
        fn test_good() { print("never shown"); }
        "#,
    );
    let run = run.output();
    let text: Vec<&str> = run.stdout.lines().filter(|line| !line.starts_with("PASS")).collect();
    let text = text.join("\n");
    let (before, summary) = text.rsplit_once("\n\n").unwrap();
    let expected = r#"
    error: assert::eq: the map: the values differ
     --> a_test.rhai:1:38
      |
    1 | fn test_maps() { print("only here"); assert::eq(#{ a: [1, 2] }, #{ a: [1, 3], b: 1 }, "the map"); }
      |                                      ^^^^^^^^^^

      is:       #{"a": [1, 2]}
      expected: #{"a": [1, 3], "b": 1}
      at .a[1]: 2, expected 3
      at .b: missing, expected 1
    output:
      only here"#;
    let shown = before.split_once('\n').unwrap().1;
    assert_eq!(format!("\n{shown}"), expected);
    assert!(summary.starts_with("1 passed, 1 failed in ") && summary.contains("(seed 7; "), "{summary}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "script makes a terminal")]
fn a_terminal_shows_what_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a_test.rhai");
    std::fs::write(&file, "test::check(\"the long one\", || sys::sleep(\"300ms\"));").unwrap();
    let line = format!("{} test {}", env!("CARGO_BIN_EXE_cshell"), file.display());
    let output = std::process::Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "xterm")
        .env("CSHELL_RUN", folder.path().join("run"))
        .env("CSHELL_ROOT", folder.path().join("root"))
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("\r\x1b[K[0/1] the long one"), "{text:?}");
    assert!(text.contains("\x1b[32mPASS   \x1b[0m"), "{text:?}");
    assert!(output.status.success());
}

#[test]
fn other_programs_read_the_reports() {
    let text = "fn test_a() { }\nfn test_b() { throw \"<&>\"; }\ntest::skip(\"c # d\", \"why\", || ());";
    let tap = cshell(["test", "--format", "tap", "-j", "1"]).file("a_test.rhai", text).output().stdout;
    let lines: Vec<&str> = tap.lines().collect();
    assert_eq!(lines[0], "TAP version 14");
    let broken = cshell(["test", "--format", "tap"]).file("a_test.rhai", "let = 1").output().stdout;
    assert!(broken.starts_with("TAP version 14\nnot ok 1 - a_test.rhai\n"), "{broken}");
    assert!(lines.contains(&"ok 2 - a_test.rhai > test_a"), "{tap}");
    assert!(lines.contains(&"not ok 3 - a_test.rhai > test_b"), "{tap}");
    assert!(lines.contains(&"ok 1 - a_test.rhai > c \\# d # SKIP why"), "{tap}");
    assert_eq!(lines.last(), Some(&"1..3"));
    let run = cshell(["test", "--junit", "out.xml"]).file("a_test.rhai", text);
    let file = run.folder().join("work/out.xml");
    let (_, xml) = run.output_with(|| std::fs::read_to_string(file).unwrap());
    assert!(xml.contains("tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\""), "{xml}");
    assert!(xml.contains("<failure message=\"&lt;&amp;&gt;\" type=\"FAIL\">"), "{xml}");
    let full = cshell(["test", "--junit", "/dev/full"]).file("a_test.rhai", text).output();
    assert!(full.stderr.contains("cannot write /dev/full"), "{}", full.stderr);
    assert_eq!(full.ended, Ended::Exit(1));
}

#[test]
fn properties_are_made_smaller() {
    let text = "test::prop(\"p\", #{ n: gen::int(0, 100000), list: gen::list(gen::bool(), 0, 5) }, |v| assert::lt(v.n, 1234));";
    let found = result(&tests(&["--seed", "5"], text), "p");
    assert_eq!(found["result"], "FAIL");
    assert_eq!(found["notes"][0], "it fails for #{\"list\": [], \"n\": 1234}");
    assert!(found["notes"][1].as_str().unwrap().contains("--seed 5"), "{found}");
    let holds = "let tried = 0; test::prop(\"p\", gen::limits(), #{ cases: 20 }, |limits| { let group = cgroup::limit(limits); \
                 if \"pids\" in limits { assert::eq(group.limits()[\"pids.max\"], limits.pids); } });";
    if support::user::stands_in() {
        return;
    }
    assert_eq!(results(&tests(&[], holds)), (list(&[("p", "PASS")]), Ended::Exit(0)));
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
fn a_failure_is_not_hidden_by_what_comes_after_it() {
    let text = r#"
        test::group("skips", || { test::after(|| test::skip("x")); test::check("a", || throw "no"); });
        test::group("exits", || { test::after(|| exit(0)); test::check("b", || throw "no"); });
        "#;
    let run = tests(&[], text);
    assert_eq!(results(&run).0, list(&[("skips > a", "FAIL"), ("exits > b", "FAIL")]));
    assert_eq!(result(&run, "exits > b")["message"], "no");
}

/// A file that declares other tests when it is run again is not asked for a test by its number.
#[test]
fn a_file_that_changes_is_not_trusted() {
    let text = r#"
        let again = fs::exists(sys::args()[0]);
        fs::write(sys::args()[0], "x");
        fn above(n) {
            let pid = `${sys::info().pid}`;
            for level in 0..n { pid = fs::read(`/proc/${pid}/stat`).split(" ")[3]; }
            pid
        }
        test::check("kills its file", || proc::exec(`kill -9 ${above(2)}; sleep 9`));
        if again { test::check("another", || ()); } else { test::check("must fail", || throw "no"); }
        test::check("last", || ());
        "#;
    let run = tests(&["-j", "1"], text);
    let mark = run.folder().join("work/mark");
    let (found, _) = results(&run.arg("--").arg(mark));
    assert_eq!(found["must fail"], "FAIL");
}

#[test]
fn nothing_is_begun_after_the_first_failure() {
    let text = r#"
        test::check("a", #{ retries: 5 }, || { fs::append(sys::args()[0], "x"); throw "no"; });
        "#;
    let run = tests(&["-x", "-j", "1"], &format!("{text} test::check(\"b\", || ());"))
        .file("0_test.rhai", "test::check(\"first\", || throw \"no\");");
    let log = run.folder().join("work/log");
    let (found, _) = results(&run.arg("--").arg(&log));
    assert_eq!(found, list(&[("first", "FAIL")]));
    assert!(!log.exists());
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

#[test]
fn golden_files_are_written_when_asked_for() {
    let text = "test::check(\"g\", || assert::golden(\"a\\nb\\n\", \"golden/g.txt\"));";
    let run = tests(&["--update"], text);
    let golden = run.folder().join("work/golden/g.txt");
    assert_eq!(results(&run).0, list(&[("g", "PASS")]));
    assert_eq!(std::fs::read_to_string(&golden).unwrap(), "a\nb\n");
    let missing = result(&tests(&[], text), "g");
    assert!(missing["text"].as_str().unwrap().contains("`cshell test --update` writes it"), "{missing}");
    let differs = tests(&[], text).file("golden/g.txt", "a\nc\n");
    assert!(result(&differs, "g")["text"].as_str().unwrap().contains("- c\n  + b"));
}

#[test]
fn other_runtimes_are_compared() {
    let name = "other_runtimes_are_compared";
    if support::user::stands_in() {
        return;
    }
    if !std::path::Path::new("/usr/bin/crun").exists() {
        support::skip::skip(name, "there is no crun");
        return;
    }
    let text = r#"
        import "std/sees" as sees;
        let box = #{ rootfs: image::host(["sh"]), security: "default" };
        test::check("runs", || assert::eq(proc::exec("echo $0 $A; exit 3", box + #{ env: #{ A: "b" }, check: false }).code, 3));
        test::check("is alone", || assert::eq(sees::pids(box), [1]));
        test::check("has no keys", || assert::is_denied("EPERM", syscall::run([["keyctl", 0, -3, 0]], box).of.keyctl));
        test::check("is limited", || proc::exec("true", box + #{ cgroup: #{ pids: 9 } }));
        "#;
    let run = tests(&["--runtime", "crun"], text).output();
    let all = events(&run);
    let found = |name: &str| {
        let found = all.iter().find(|event| event["event"] == "comparison" && event["name"] == name);
        found.map(|event| (event["result"].as_str().unwrap(), event["differs"].as_bool().unwrap())).unwrap()
    };
    assert_eq!(found("runs"), ("PASS", false));
    assert_eq!(found("is alone"), ("PASS", false));
    // What crun's own defaults leave open is a difference, and no failure.
    assert_eq!(found("has no keys"), ("FAIL", true));
    assert_eq!(found("is limited"), ("SKIP", false));
    assert_eq!(run.ended, Ended::Exit(0));
    let table = cshell(["test", "--runtime", "crun"]).file("a_test.rhai", text).output().stdout;
    assert!(table.contains("  a_test.rhai > has no keys  PASS     FAIL\n"), "{table}");
    let unknown = cshell(["test", "--runtime", "docker"]).output();
    assert!(unknown.stderr.contains("there is no adapter for the runtime \"docker\""), "{}", unknown.stderr);
    assert_eq!(unknown.ended, Ended::Exit(2));
}

/// A run that is stopped in the middle of a test leaves nothing, and says how far it came.
#[test]
fn a_stopped_run_takes_everything_back() {
    let text = "fn test_a() { let box = ns::new([\"net\"]); proc::exec(\"sleep 7654\"); }";
    for signal in [nix::sys::signal::Signal::SIGINT, nix::sys::signal::Signal::SIGKILL] {
        let run = cshell(["test", "--format", "json"]).file("a_test.rhai", text);
        let first = "{\"event\":\"plan\",\"seed\":3,\"tests\":1}";
        let run = run.arg("--seed").arg("3");
        let ended = run.after_line_leaving(first, |pid, _| {
            until(|| sleepers() == 1);
            kill(pid, signal);
            until(|| sleepers() == 0);
        });
        assert_eq!(ended.ended, Ended::Signal(signal as i32));
        let folder = run.folder().to_str().unwrap().to_owned();
        // What the runner had started goes by itself; its own session is taken back by the next program.
        until(|| of_run(&folder) == 0);
        run.reclaim();
    }
}

/// How many processes of a run there are: those with its folder in their environment.
fn of_run(folder: &str) -> usize {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let environment =
        |entry: &std::fs::DirEntry| std::fs::read(entry.path().join("environ")).unwrap_or_default();
    all.filter(|entry| String::from_utf8_lossy(&environment(entry)).contains(folder)).count()
}

fn sleepers() -> usize {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let command = |entry: &std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
    all.filter(|entry| command(entry) == b"sleep\x007654\x00").count()
}

#[track_caller]
fn until(holds: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "it does not come to hold");
        std::thread::yield_now();
    }
}
