//! Tests, files and runs that end badly.

use super::outside::eventually;
use super::{events, list, result, results, tests};
use crate::support::{Ended, cshell, kill};

#[test]
fn a_test_that_takes_too_long_ends_with_all_that_it_started() {
    let text = r#"
        test::configure(#{ timeout: "1s" });
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
fn what_follows_a_test_is_called_though_that_took_too_long() {
    let text = r#"
        fn teardown() { print("torn down"); }
        test::after(|| print("after"));
        test::check("sleeps", || sys::sleep("60s"));
        test::group("g", || {
            test::after(|| { print("begins"); loop { } });
            test::check("with what hangs", || loop { });
        });
        "#;
    let run = tests(&["--timeout", "1s"], text);
    for (name, output) in [("sleeps", "after\ntorn down\n"), ("g > with what hangs", "begins\n")] {
        let found = result(&run, name);
        assert_eq!(found["result"], "TIMEOUT", "{found}");
        assert_eq!(found["output"], output, "{found}");
        assert!(found["text"].as_str().unwrap().contains("it was stopped by SIGTERM"), "{found}");
    }
}

#[test]
fn what_is_called_around_all_tests_has_the_time_of_a_test() {
    let text = r#"
        test::group("hangs", || {
            test::before_all(|| sys::sleep("1000s"));
            test::check("one", || ());
            test::check("two", || ());
        });
        test::group("loops", || {
            test::before_all(|| loop { let n = 1; });
            test::check("one", || ());
        });
        test::group("catches", || {
            test::before_all(|| { try { sys::sleep("1000s"); } catch { } });
            test::check("one", || ());
        });
        test::after_all(|| proc::exec("sleep 1000"));
        test::check("other", || ());
        "#;
    let run = tests(&["--timeout", "1s"], text);
    let expected = [
        ("a_test.rhai", "FAIL"),
        ("hangs > one", "TIMEOUT"),
        ("hangs > two", "TIMEOUT"),
        ("loops > one", "TIMEOUT"),
        ("catches > one", "TIMEOUT"),
        ("other", "PASS"),
    ];
    assert_eq!(results(&run), (list(&expected), Ended::Exit(100)));
    let why = result(&run, "hangs > one");
    assert_eq!(why["message"], "what is called before all tests was not done after 1 s, and was stopped");
    assert!(why["text"].as_str().unwrap().contains("a_test.rhai:2:"), "{why}");
    let after = result(&run, "");
    assert_eq!(after["message"], "after all tests: proc::exec: stopped: its time is over at line 14");
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
        test::check("kills its group", || proc::exec(`kill -9 -$(ps -o pgid= -p ${above(0)} | tr -d ' ')`));
        test::check("kills its keeper", || proc::exec(`kill -9 ${above(1)}; sleep 9`));
        test::check("kills its file", || proc::exec(`kill -9 ${above(2)}; sleep 9`));
        test::check("tells its keeper to end", || { proc::exec(["kill", "-TERM", above(1)]); sys::sleep("9s"); });
        test::check("tells its file to end", || { proc::exec(["kill", "-TERM", above(2)]); sys::sleep("9s"); });
        test::check("stops its keeper", || proc::exec(["kill", "-STOP", above(1)]));
        test::check("stops its file", || proc::exec(["kill", "-STOP", above(2)]));
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
        ("kills its group", "FAIL"),
        ("kills its keeper", "FAIL"),
        ("kills its file", "FAIL"),
        ("tells its keeper to end", "FAIL"),
        ("tells its file to end", "FAIL"),
        ("stops its keeper", "PASS"),
        ("stops its file", "PASS"),
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
    for name in ["kills itself", "kills its group"] {
        assert_eq!(result(&run, name)["message"], "its process was ended by SIGKILL");
    }
    let message = "what keeps the test was ended from outside, by SIGKILL";
    assert_eq!(result(&run, "kills its keeper")["message"], message);
}

/// A process that the freezer of version 1 holds does not die: it is thawed.
#[test]
fn a_frozen_process_is_ended() {
    if !std::path::Path::new("/sys/fs/cgroup/freezer").exists() {
        return;
    }
    let text = r#"
        test::check("freezes", || {
            let own = cgroup::current().paths.filter(|path| path.contains("/freezer/") || path.ends_with("/freezer"))[0];
            let group = own + "/cshell-frozen";
            proc::exec(`mkdir ${group}; sh -c 'echo $$ > ${group}/cgroup.procs; exec setsid sleep 4403' >/dev/null 2>&1 &
                until grep -q cshell-frozen /proc/$!/cgroup; do :; done; echo FROZEN > ${group}/freezer.state`);
        });
        "#;
    let run = tests(&["--timeout", "10s"], text);
    let found = result(&run, "freezes");
    assert_eq!(found["result"], "LEAK", "{found}");
    let left = found["left"].as_array().unwrap();
    for kind in ["process", "cgroup"] {
        assert!(left.iter().any(|left| left["kind"] == kind && left["remains"].is_null()), "{found}");
    }
    assert!(found["around_ms"].as_f64().unwrap() < 5000.0, "{found}");
}

/// What keeps a test and was stopped goes on, also where others come to their end all the time.
#[test]
fn a_stopped_keeper_waits_for_no_pause() {
    let text = r#"
        fn above() { fs::read(`/proc/${sys::info().pid}/stat`).split(" ")[3] }
        test::check("stops its keeper", || proc::exec(["kill", "-STOP", above()]));
        test::each("ends", 1..=60, |n| sys::sleep("50ms"));
        "#;
    let run = tests(&["-j", "2"], text).output();
    let ended: Vec<String> = events(&run)
        .iter()
        .filter(|event| event["event"] == "result")
        .map(|event| event["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ended.len(), 61, "{ended:?}");
    let place = ended.iter().position(|name| name == "stops its keeper").unwrap();
    assert!(place < 50, "{ended:?}");
    assert_eq!(run.ended, Ended::Exit(0));
}

/// The runner itself goes on, where no key of a terminal can have stopped it.
#[test]
#[expect(clippy::disallowed_methods, reason = "an outside tool takes the terminal away")]
fn a_stopped_runner_without_a_terminal_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"
        test::check("stops the runner", || {
            let pid = `${sys::info().pid}`;
            for level in 0..3 { pid = fs::read(`/proc/${pid}/stat`).split(" ")[3]; }
            proc::exec(["kill", "-STOP", pid]);
        });
        "#;
    std::fs::write(folder.path().join("a_test.rhai"), text).unwrap();
    let output = std::process::Command::new("setsid")
        .args(["-w", env!("CARGO_BIN_EXE_cshell"), "test", "--format", "json"])
        .arg(folder.path())
        .env("CSHELL_RUN", folder.path().join("run"))
        .env("CSHELL_ROOT", folder.path().join("root"))
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("\"result\":\"PASS\""), "{told}");
    assert_eq!(output.status.code(), Some(0), "{told}");
}

#[test]
fn a_file_that_cannot_be_run_harms_no_other() {
    let run = tests(&["--timeout", "2s"], "test::check(\"good\", || ());")
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
            eventually("the test is at work", || sleepers() == 1);
            kill(pid, signal);
            eventually("what it started ends", || sleepers() == 0);
        });
        assert_eq!(ended.ended, Ended::Signal(signal as i32));
        let folder = run.folder().to_str().unwrap().to_owned();
        // What the runner had started goes by itself; its own session is taken back by the next program.
        eventually("what the runner started ends", || of_run(&folder) == 0);
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
