//! `cshell test`: what runs, how it comes out, what is told of it, and that no test harms another.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod declared;
mod hostile;
mod leaks;
#[path = "../support/outside.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
#[allow(clippy::allow_attributes, reason = "what is unused differs between the test files")]
mod outside;
mod reports;
mod runtimes;
#[path = "../support/mod.rs"]
mod support;

use serde_json::Value;
use std::collections::BTreeMap;
use support::{Cshell, Ended, Run, cshell};

/// No test is SLOW, which it may be by what else the machine does.
const WHATEVER_IT_TAKES: &[&str] = &["--slow", "1h"];

/// `cshell test` with these words, and one file.
fn tests(words: &[&str], text: &str) -> Cshell {
    cshell([&["test", "--format", "json"], WHATEVER_IT_TAKES, words].concat()).file("a_test.rhai", text)
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
            test::each("alike", ["", ()], |row| ());
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
        ("outer > alike ", "PASS"),
        ("outer > alike  (2)", "PASS"),
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
    // Where a function is, whatever else speaks of it.
    let text = "// fn test_a() { }\nlet s = `\nfn test_a() { }\n`;\nfn test_a(\n    x\n) { }\nprivate fn test_b() { }\n";
    let listed = events(&tests(&["--list"], text).output());
    let places: Vec<&str> = listed.iter().filter_map(|event| event["at"].as_str()).collect();
    assert_eq!(places, ["a_test.rhai:5", "a_test.rhai:8"]);
    let nothing = tests(&["-f", "nothing"], text).output();
    assert_eq!(
        (nothing.ended, events(&nothing).last().unwrap()["known"].as_u64()),
        (Ended::Exit(4), Some(2))
    );
}

#[test]
fn calls_without_an_end_are_placed() {
    let text = "fn deeper(n) {\n    deeper(n + 1)\n}\ntest::check(\"deep\", || deeper(0));\nfn test_deep() {\n    deeper(0)\n}\n";
    let run = tests(&[], text);
    for (name, line) in [("deep", 4), ("test_deep", 5)] {
        let told = result(&run, name);
        let text = told["text"].as_str().unwrap();
        assert!(text.contains(&format!("error: stack overflow\n --> a_test.rhai:{line}:")), "{told}");
        assert!(text.contains("a function calls itself"), "{told}");
    }
}

#[test]
fn what_is_called_before_all_tests_skips_them() {
    let text = r#"
        test::group("g", || {
            test::before_all(|| test::skip("there is no kvm"));
            test::after_all(|| throw "there was nothing before");
            test::check("a", || throw 1);
            test::check("b", || throw 1);
        });
        test::group("h", || {
            test::before_all(|| { fs::append(sys::args()[0], "x"); throw "broken"; });
            test::check("c", || ());
        });
        test::check("d", || ());
        "#;
    let run = tests(&["--retries", "3"], text);
    let log = run.folder().join("work/log");
    let run = run.arg("--").arg(&log);
    let (found, ended) = results(&run);
    assert_eq!(found, list(&[("d", "PASS"), ("g > a", "SKIP"), ("g > b", "SKIP"), ("h > c", "FAIL")]));
    assert_eq!(ended, Ended::Exit(100));
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "x");
    assert_eq!(result(&run, "g > a")["message"], "there is no kvm");
    assert_eq!(result(&run, "h > c")["try"], 1);
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
fn properties_are_made_smaller() {
    let text = "test::prop(\"p\", #{ n: gen::int(0, 100000), list: gen::list(gen::bool(), 0, 5) }, |v| assert::lt(v.n, 1234));";
    let found = result(&tests(&["--seed", "5"], text), "p");
    assert_eq!(found["result"], "FAIL");
    assert_eq!(found["notes"][0], "it fails for #{\"list\": [], \"n\": 1234}");
    assert!(found["notes"][1].as_str().unwrap().contains("--seed 5"), "{found}");
    let holds = "let tried = 0; test::prop(\"p\", gen::limits(), #{ cases: 20 }, |limits| { let group = cgroup::limit(limits); \
                 if \"pids\" in limits { assert::eq(group.limits()[\"pids.max\"], limits.pids); } });";
    assert_eq!(results(&tests(&[], holds)), (list(&[("p", "PASS")]), Ended::Exit(0)));
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
