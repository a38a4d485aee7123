//! What files declare, what is found, and what they write outside of their tests.

use super::{events, list, result, results, tests};
use crate::support::Ended;

/// The event of a file itself.
#[track_caller]
fn of_file(run: &crate::support::Cshell) -> serde_json::Value {
    let run = run.output();
    let found = events(&run).into_iter().find(|event| event["event"] == "result" && event["name"] == "");
    found.unwrap_or_else(|| panic!("{}", run.stdout))
}

#[test]
fn what_a_declaration_leaves_out_is_the_rest_alone() {
    let text = r#"
        fn test_function() { throw "never"; }
        test::group("g", || {
            test::check("before", || throw 1);
            test::skip("no kvm");
            test::check("never", || throw 2);
        });
        test::check("beside", || ());
        test::skip("no more");
        test::check("never", || throw 2);
        "#;
    let expected =
        [("g > before", "FAIL"), ("g > (the rest)", "SKIP"), ("beside", "PASS"), ("(the rest)", "SKIP")];
    assert_eq!(results(&tests(&[], text)), (list(&expected), Ended::Exit(100)));
    let whole =
        tests(&[], "fn test_function() { throw 1; } test::skip(\"all of it\"); test::check(\"a\", || ());");
    assert_eq!(results(&whole), (list(&[("a_test.rhai", "SKIP")]), Ended::Exit(4)));
}

#[test]
fn a_test_that_returns_false_has_not_held() {
    let text = r#"
        fn test_function() { 1 == 2 }
        test::check("false", || 1 == 2);
        test::check("true", || 1 == 1);
        test::check("nothing", || { 1 == 2; () });
        test::prop("below", gen::int(0, 10), |n| n < 5);
        "#;
    let run = tests(&[], text);
    let expected = [
        ("test_function", "FAIL"),
        ("false", "FAIL"),
        ("true", "PASS"),
        ("nothing", "PASS"),
        ("below", "FAIL"),
    ];
    assert_eq!(results(&run), (list(&expected), Ended::Exit(100)));
    assert!(result(&run, "false")["text"].as_str().unwrap().contains("a_test.rhai:2:"));
    assert_eq!(result(&run, "below")["notes"][0], "it fails for 5");
}

#[test]
fn a_property_that_does_not_end_shows_its_value() {
    let text = "test::prop(\"p\", gen::int(7, 7), #{ timeout: \"1s\" }, |n| { sys::sleep(\"60s\"); });";
    let found = result(&tests(&["--seed", "3"], text), "p");
    assert_eq!(found["result"], "TIMEOUT");
    assert_eq!(found["notes"], serde_json::json!(["it was at 7", "that is value 1 with --seed 3"]));
}

#[test]
fn what_does_not_fit_is_told_at_its_declaration() {
    for (text, message) in [
        ("test::check(\"a\", |x| 1);", "test::check: the function takes one value, and is given none"),
        (
            "test::each(\"a\", [[1, 2]], |x, y| 1);",
            "test::each: the function takes 2 values, and is given one value",
        ),
        (
            "test::prop(\"a\", gen::bool(), || 1);",
            "test::prop: the function takes 0 values, and is given one value",
        ),
        ("test::before(|x| 1);", "test::before: the function takes one value, and is given none"),
        (
            "fn test_a(x, y) { }",
            "`test_a` takes 2 values, and is given at most what `setup` or `setup_file` returned",
        ),
        ("fn setup_file(x) { }", "`setup_file` takes 1 values, and is given nothing"),
        (
            "fn test_a() { }\nfn test_a(x) { }",
            "there is another function `test_a`, and which one is meant cannot be told",
        ),
        ("test::check(\"a\", || 1); return;", "the file returned from its top before its tests were run"),
    ] {
        let run = tests(&[], text);
        assert_eq!(of_file(&run)["message"], message);
        assert_eq!(run.output().ended, Ended::Exit(100));
    }
    let last = "for n in 0..3 { test::check(`t${n}`, || n); }";
    let message = "test::check: the function uses a variable that has another value by now: each test would see its last one";
    assert_eq!(of_file(&tests(&[], last))["message"], message);
    let each = "fn declare(n) { test::check(`t${n}`, || assert::eq(n, n)); }\n\
                for n in 0..2 { declare(n); }\nlet all = []; for n in 2..4 { all.push(n); test::check(`t${n}`, || all.len()); }\n\
                let m = 1; test::before(|| m += 1); test::check(\"m\", || assert::eq(m, 2)); test::check(\"n\", || assert::eq(m, 2));";
    let expected = ["t0", "t1", "t2", "t3", "m", "n"].map(|name| (name, "PASS"));
    assert_eq!(results(&tests(&[], each)), (list(&expected), Ended::Exit(0)));
    let captured = "let n = 1; test::check(\"a\", || n); test::each(\"b\", [1], |x| n + x);";
    assert_eq!(results(&tests(&[], captured)), (list(&[("a", "PASS"), ("b 1", "PASS")]), Ended::Exit(0)));
}

#[test]
fn what_is_written_around_all_tests_is_shown_where_that_fails() {
    let before = tests(
        &[],
        "print(\"top\"); test::before_all(|| { print(\"before\"); throw \"y\" }); test::check(\"a\", || ());",
    );
    assert_eq!(result(&before, "a")["output"], "before\n");
    let text = r#"
        print("top");
        test::before_all(|| print("before"));
        test::after_all(|| { print("after"); assert::eq(1, 2); });
        test::check("a", || print("inside"));
        "#;
    let after = of_file(&tests(&[], text));
    assert_eq!(after["output"], "after\n");
    assert_eq!(after["message"], "after all tests: assert::eq: the values differ at line 3");
    assert!(after["text"].as_str().unwrap().contains("is:       1\n  expected: 2"), "{after}");
    // As much as a test may write, and no more.
    let much =
        of_file(&tests(&[], "let s = \"\"; s.pad(100000, \"x\"); for n in 0..50 { print(s); } throw 1;"));
    let output = much["output"].as_str().unwrap();
    assert!(output.len() < 200_000 && output.contains("bytes left out"), "{}", output.len());
}

#[test]
fn what_has_the_name_of_a_test_file_is_run_or_told() {
    use std::os::unix::ffi::OsStrExt;
    let run = tests(&[], "test::check(\"a\", || ());");
    let folder = run.folder().join("work");
    let odd = std::ffi::OsStr::from_bytes(b"odd\xff_test.rhai");
    std::fs::write(folder.join(odd), "\u{feff}test::check(\"b\", || throw 1);").unwrap();
    std::os::unix::fs::symlink("nowhere", folder.join("link_test.rhai")).unwrap();
    std::os::unix::fs::symlink("loop_test.rhai", folder.join("loop_test.rhai")).unwrap();
    nix::unistd::mkfifo(&folder.join("fifo_test.rhai"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::create_dir(folder.join("folder_test.rhai")).unwrap();
    let expected = [
        ("a", "PASS"),
        ("b", "FAIL"),
        ("fifo_test.rhai", "FAIL"),
        ("link_test.rhai", "FAIL"),
        ("loop_test.rhai", "FAIL"),
    ];
    assert_eq!(results(&run), (list(&expected), Ended::Exit(100)));
}

#[test]
fn what_a_closure_does_is_told_where_it_is_written() {
    let text = r#"
        import "lib" as lib;
        // A comment.
        test::check("asserts", || lib::twice(|| assert::eq(1, 2)));
        test::check("throws", || lib::twice(|| throw "mine"));
        test::check("leaks", || lib::twice(|| {
            proc::exec("touch $TMPDIR/x");
        }));
        test::check("hangs", #{ timeout: "1s" }, || lib::twice(|| {
            sys::sleep("60s");
        }));
        test::check("golden", || lib::twice(|| assert::golden("x", "gold.txt")));
        "#;
    let run = tests(&[], text)
        .file("sub/c_test.rhai", "import \"../lib\" as lib; test::check(\"beside\", || lib::twice(|| assert::golden(\"x\", \"gold.txt\")));")
        .file("sub/gold.txt", "x")
        .file("lib.rhai", "// Calls it twice.\nfn twice(f) {\n    f.call();\n    f.call()\n}\n");
    let text = |name: &str| result(&run, name)["text"].as_str().unwrap().to_owned();
    for (name, place) in [
        ("asserts", "--> a_test.rhai:3:41"),
        ("throws", "--> a_test.rhai:4:40"),
        ("hangs", "--> a_test.rhai:9:5"),
        ("golden", "--> a_test.rhai:11:40"),
    ] {
        assert!(text(name).contains(place), "{name}: {}", text(name));
        assert!(text(name).contains("= in a closure called at lib.rhai:3:7"), "{name}: {}", text(name));
    }
    assert_eq!(result(&run, "leaks")["left"][0]["at"], "a_test.rhai:6");
    assert_eq!(result(&run, "beside")["result"], "PASS");
}
