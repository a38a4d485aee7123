//! The command line: where scripts come from, their arguments, their ends.

mod support;

use nix::sys::signal::{SigHandler, Signal, signal};
use support::{Ended, code, cshell, kill};

#[test]
fn a_file_is_a_script() {
    cshell(["hello.rhai"]).file("hello.rhai", "print(6 * 7)").stdout("42\n").check();
    cshell(["./hello"]).file("hello", "print(6 * 7)").stdout("42\n").check();
    cshell(["hello"]).file("hello", "print(6 * 7)").stdout("42\n").check();
}

#[test]
fn the_first_line_may_name_the_program() {
    let script = "#!/usr/bin/env cshell\nprint(1);\nthrow 2";
    cshell(["s.rhai"])
        .file("s.rhai", script)
        .stdout("1\n")
        .stderr(
            "
            error: 2
             --> s.rhai:3:1
              |
            3 | throw 2
              | ^^^^^
            ",
        )
        .exit(1)
        .check();
    cshell(["s.rhai"]).file("s.rhai", "#!/usr/bin/env cshell").stdout("").check();
}

#[test]
fn the_standard_input_is_a_script() {
    cshell(["-"]).stdin("print(sys::info().script)").stdout("<stdin>\n").check();
    cshell::<&str>([]).stdin("print(1)").stdout("1\n").check();
    cshell(["-", "--x"]).stdin("print(sys::args)").stdout("[\"--x\"]\n").check();
}

#[test]
fn arguments_reach_the_script_untouched() {
    let script = "fn f() { sys::args[1] } print(sys::args()); print(f()); print(sys::flag(\"trace\"))";
    let out = "[\"--trace\", \"-c\", \"\", \"a b\", \"--\"]\n-c\ntrue\n";
    cshell(["s.rhai", "--trace", "-c", "", "a b", "--"]).file("s.rhai", script).stdout(out).check();
    cshell(["-c", script, "--trace", "-c", "", "a b", "--"]).stdout(out).check();
}

#[test]
fn wrong_use_is_told_with_the_nearest_command() {
    cshell(["chek", "x"])
        .stderr(
            "
            error: there is no command and no script `chek`, did you mean `check`?

            hint: `cshell --help` shows what can be given
            ",
        )
        .exit(2)
        .check();
    cshell(["none.rhai"])
        .stderr(
            "
            error: script none.rhai: cannot read the script
             |
             = caused by: No such file or directory (os error 2)
            ",
        )
        .exit(2)
        .check();
    cshell(["bad.rhai"])
        .file("bad.rhai", b"print(1); // \xff")
        .stderr("error: script bad.rhai: the script is not UTF-8: the byte at offset 13 is not\n")
        .exit(2)
        .check();
    let run = cshell(["--nope"]).output();
    assert_eq!(run.ended, Ended::Exit(2));
    assert!(run.stderr.starts_with("error: unexpected argument '--nope' found"), "{}", run.stderr);
}

#[test]
fn exit_ends_from_anywhere() {
    code("fn f() { exit(3) } try { f(); } catch { print(1) } print(2)").stdout("").exit(3).check();
    code("[1].for_each(|x| exit(4)); print(2)").stdout("").exit(4).check();
    code("try { [1].for_each(|x| exit(5)); } catch { print(1) } print(2)").stdout("").exit(5).check();
    code("print(1); exit(); print(2)").stdout("1\n").check();
    code("7").check();
    cshell(["s.rhai"]).file("s.rhai", "import \"m\" as m;").file("m.rhai", "exit(6)").exit(6).check();
    code("exit(256)")
        .stderr(
            "
            error: exit: `code` must be a whole number from 0 to 255, not 256
             --> <code>:1:1
              |
            1 | exit(256)
              | ^^^^
            ",
        )
        .exit(1)
        .check();
}

#[test]
#[expect(
    unsafe_code,
    reason = "a signal of the test itself: no handler, so nothing that could run at a wrong time"
)]
fn signals_end_the_script_and_then_the_program() {
    // Under nohup(1) the programs that the test starts would ignore it, as they should.
    // SAFETY: the action is the default one.
    unsafe { signal(Signal::SIGHUP, SigHandler::SigDfl) }.unwrap();
    for (script, signal) in [
        ("print(\"ready\"); loop {}", Signal::SIGINT),
        ("print(\"ready\"); loop {}", Signal::SIGTERM),
        ("print(\"ready\"); try { loop {} } catch { loop {} }", Signal::SIGINT),
        ("print(\"ready\"); loop {}", Signal::SIGHUP),
        ("print(\"ready\"); sys::sleep(\"1h\");", Signal::SIGINT),
        ("print(\"ready\"); try { sys::sleep(\"1h\") } catch {} loop {}", Signal::SIGTERM),
        ("fn f() { loop {} } print(\"ready\"); [1].for_each(|| f());", Signal::SIGINT),
    ] {
        let run = code(script).after_line("ready", |pid, _stdout| kill(pid, signal));
        assert_eq!((run.ended, run.stderr.as_str()), (Ended::Signal(signal as i32), ""), "{script}");
    }
}

#[test]
fn a_reader_that_went_away_ends_it_quietly() {
    for script in ["loop { print(\"line\") }", "try { loop { print(\"line\") } } catch { loop {} }"] {
        let run = code(script).after_line("line", |_, stdout| drop(stdout));
        assert_eq!((run.ended, run.stderr.as_str()), (Ended::Signal(Signal::SIGPIPE as i32), ""), "{script}");
    }
}

#[test]
fn output_goes_where_it_belongs() {
    code("print(1); debug(2); sys::log(3); sys::emit(#{ a: [1, 2.5, (), true, \"x\"] })")
        .stdout("1\n{\"a\":[1,2.5,null,true,\"x\"]}\n")
        .stderr("<code>:1: 2\n3\n")
        .check();
}

#[test]
fn deep_recursion_is_an_error() {
    let run = code("fn f(n) { for i in 0..1 { try { if n >= 0 { f(n + 1) } } catch (e) { throw e } } } f(0)")
        .output();
    assert_eq!(run.ended, Ended::Exit(1));
    assert!(run.stderr.starts_with("error: stack overflow\n"), "{}", run.stderr);
    code("fn f(n) { if n == 0 { 0 } else { 1 + f(n - 1) } } print(f(190))").stdout("190\n").check();
}

#[test]
fn imports_are_relative_to_the_importing_file() {
    cshell(["a/main.rhai"])
        .file("a/main.rhai", "import \"lib/one\" as one; print(one::name());")
        .file("a/lib/one.rhai", "import \"two\" as two; fn name() { \"one and \" + two::name() }")
        .file("a/lib/two.rhai", "fn name() { \"two\" }")
        .stdout("one and two\n")
        .check();
    code("import \"std/retry\" as again; let n = 0; print(again::retry(3, || { n += 1; if n < 3 { throw n } n }))")
        .stdout("3\n")
        .check();
}

#[test]
fn gc_says_when_there_is_nothing() {
    cshell(["gc"]).stdout("nothing to reclaim\n").check();
    cshell(["gc", "--dry-run", "--kept"]).stdout("nothing to reclaim\n").check();
}

#[test]
fn doc_shows_what_there_is() {
    let run = cshell(["doc"]).output();
    assert!(run.stdout.contains("    sys       The running script"), "{}", run.stdout);
    let run = cshell(["doc", "sys::sleep"]).output();
    assert!(run.stdout.starts_with("sys::sleep(duration)\n\n    Waits."), "{}", run.stdout);
    for heading in ["ARGUMENTS", "ERRORS", "NEEDS", "SYSTEM CALLS AND MAN PAGES", "EXAMPLE"] {
        assert!(run.stdout.contains(&format!("\n{heading}\n")), "{heading}: {}", run.stdout);
    }
    for (name, part) in [
        ("Ns", "ns::new(options) -> Ns"),
        ("net::veth.mtu", "number of bytes"),
        ("busy", "RAISED BY"),
        ("std/retry", "retry(times, f)"),
        ("errors", "permission_denied"),
        ("exec", "proc::exec"),
    ] {
        let run = cshell(["doc", name]).output();
        assert!(run.stdout.contains(part), "{name}: {}{}", run.stdout, run.stderr);
        assert!(run.stdout.lines().all(|line| line.chars().count() <= 80), "{name}: {}", run.stdout);
    }
    cshell(["doc", "sys::slep"])
        .stderr(
            "
            error: nothing is called `sys::slep`, did you mean `sys::sleep`?

            hint: `cshell doc` lists what there is
            ",
        )
        .exit(2)
        .check();
}

#[test]
fn doc_is_searched_and_written_for_other_readers() {
    let run = cshell(["doc", "--search", "overlay"]).output();
    assert!(run.stdout.lines().any(|line| line.starts_with("fs::overlay ")), "{}", run.stdout);
    let run = cshell(["doc", "--search", "nosuchword"]).output();
    assert_eq!(run.ended, Ended::Exit(1), "{}", run.stdout);
    let run = cshell(["doc", "--markdown"]).output();
    for part in
        ["# cshell reference\n", "\n## net\n", "\n### `net::veth([options]) -> Veth`\n", "\n```rhai\n"]
    {
        assert!(run.stdout.contains(part), "{part}");
    }
    let run = cshell(["doc", "net::veth", "--markdown"]).output();
    assert!(run.stdout.starts_with("# `net::veth([options]) -> Veth`\n\nMakes"), "{}", run.stdout);
    let program = cshell(["doc", "--definitions", "defs"]);
    let folder = program.folder().join("work/defs");
    let (run, text) = program.output_with(|| std::fs::read_to_string(folder.join("net.d.rhai")).unwrap());
    assert!(run.stdout.ends_with(" files in defs\n"), "{}{}", run.stdout, run.stderr);
    assert!(text.contains("module net;") && text.contains("\nfn veth(options: Map) -> Veth;"), "{text}");
    let run = cshell(["doc", "--definitions", "/proc/defs"]).output();
    assert!(run.stderr.contains("cannot write definitions to /proc/defs"), "{}", run.stderr);
    let run = cshell(["doc", "net", "--man", "--markdown"]).output();
    assert_eq!(run.ended, Ended::Exit(2), "{}", run.stderr);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "groff reads what is written for it")]
fn the_manual_page_is_one_without_warnings() {
    let run = cshell(["doc", "--man"]).output();
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("cshell.1");
    std::fs::write(&page, &run.stdout).unwrap();
    let read = std::process::Command::new("groff")
        .args(["-man", "-Tutf8", "-ww", "-P-cbou"])
        .arg(&page)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&read.stderr), "");
    let text = String::from_utf8_lossy(&read.stdout);
    for part in [
        "CSHELL(1)",
        "EXIT STATUS",
        ":undo [N]",
        "net::veth([options]) -> Veth",
        "CSHELL_HISTORY",
        "--private",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn help_and_version_are_output() {
    cshell(["--version"]).stdout(&format!("cshell {}\n", env!("CARGO_PKG_VERSION"))).check();
    let run = cshell(["--help"]).output();
    assert_eq!((run.ended, run.stderr.as_str()), (Ended::Exit(0), ""));
    assert!(run.stdout.contains("Exit codes: 0 ok; 1 script error;"), "{}", run.stdout);
}
