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
fn a_slow_test_has_passed_and_is_told() {
    let text = r#"
        test::check("by its own measure", #{ slow: "1ms" }, || sys::sleep("2ms"));
        test::check("by none", || sys::sleep("2ms"));
        test::check("fails", #{ slow: "1ms" }, || { sys::sleep("2ms"); throw "no"; });
        "#;
    let run = tests(&[], text).output();
    let all = events(&run);
    for (name, expected) in [("by its own measure", "SLOW"), ("by none", "PASS"), ("fails", "FAIL")] {
        let found = all.iter().find(|event| event["name"] == name).unwrap();
        assert_eq!(found["result"], expected, "{found}");
    }
    let summary = all.last().unwrap();
    assert_eq!((summary["passed"].as_u64(), summary["slow"].as_u64()), (Some(2), Some(1)), "{summary}");
    let slow = cshell(["test", "--slow", "1ms"]).file("a_test.rhai", "fn test_a() { sys::sleep(\"2ms\"); }");
    let run = slow.output();
    assert!(run.stdout.starts_with("SLOW    a_test.rhai > test_a"), "{}", run.stdout);
    assert!(run.stdout.contains("1 passed, 1 slow"), "{}", run.stdout);
    assert_eq!(run.ended, Ended::Exit(0));
}

#[test]
fn nothing_that_a_test_writes_reaches_the_terminal_as_it_is() {
    let text = "test::check(\"n\\x1b[2J\\x07\", || { print(\"\\x1b[2J\\x1b[31mred\\x1b[0m\"); throw \"x\" });\n\
                test::check(\"s\", || test::skip(\"a\\nb\\x1b[2J\"));";
    let run = |words: &[&str]| {
        cshell([&["test"], words].concat())
            .file("nl\nx_test.rhai", text)
            .file("a_test.rhai", text)
            .output()
            .stdout
    };
    for words in [&[] as &[&str], &["--list"], &["--format", "tap"]] {
        let shown = run(words);
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    }
    let shown = run(&[]);
    assert!(shown.contains("FAIL    a_test.rhai > n\\u{1b}[2J\\u{7}  "), "{shown}");
    assert!(shown.contains("SKIP    a_test.rhai > s (a\\nb\\u{1b}[2J)"), "{shown}");
    assert!(shown.contains("      \\u{1b}[2Jred\n"), "{shown}");
    let tap = run(&["--format", "tap", "--no-skip"]);
    assert!(tap.contains("  at: 'nl x_test.rhai:1'\n"), "{tap}");
    // A directive would make it none for whoever reads it.
    assert!(tap.contains(" - a_test.rhai > s\n  ---\n  result: SKIP\n") && !tap.contains("# SKIP"), "{tap}");
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
