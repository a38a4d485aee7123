//! Tests, files and runs that end badly.

use super::{events, list, result, results, tests, until};
use crate::support::{Ended, cshell, kill};

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
