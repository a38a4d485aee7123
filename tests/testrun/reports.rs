//! What is told of a run, and of wrong words.

use super::{events, tests};
use crate::support;
use crate::support::{Ended, cshell};

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
