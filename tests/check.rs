//! `cshell check`: what it finds, and that it runs nothing.

mod support;

use support::cshell;

#[test]
fn a_good_script_passes_and_does_not_run() {
    let script = "
        #!/usr/bin/env cshell
        import \"lib\" as lib;
        import \"std/retry\" as again;
        const NAME = \"x\";
        fn add(a, b) { a + b }
        print(add(1, 2) + lib::twice(3) + lib::FOUR);
        let handlers = #{ start: |n| n + 1 };
        handlers.start(1);
        let f = |x| x.to_string();
        f.call(1);
        again::retry(3, || sys::env(\"HOME\"));
        for arg in sys::args { print(arg); }
        if sys::flag(\"x\") { exit(1) }
        [1, 2].map(|x| add(x, 1)).filter(|x| x > 1).len();
        print(global::NAME);
        throw #{ code: 1 };
        ";
    cshell(["check", "good.rhai"])
        .file("good.rhai", script)
        .file("lib.rhai", "export const FOUR = 4; fn twice(n) { n * 2 } print(\"loaded\");")
        .stdout("")
        .check();
}

#[test]
fn all_findings_are_told() {
    let script = "
        import \"lib\" as lib;
        import \"gone\" as gone;
        import \"std/retri\" as again;
        fn helper(a, b) { a + nowhere }
        let x = undefined;
        nett::veth(1);
        sys::slep(\"1s\");
        sys::sleep(\"1s\", 2);
        helper(1);
        helpr(1, 2);
        lib::twice(1, 2);
        lib::thrice(1);
        lib::hidden(1);
        \"abc\".to_uper();
        sys::arg[0];
        let y = [|q| sys::nwo(q)];
        ";
    let findings = "
        error: import gone.rhai: there is no such file
        error: import std/retri: the standard library has no module of this name, did you mean `std/retry`?
        error: undefined variable: nowhere
        error: undefined variable: undefined
        error: there is no module `nett`
        error: there is no function `sys::slep`
        error: `sys::sleep` takes 1 argument, not 2
        error: `helper` takes 2 arguments, not 1
        error: there is no function `helpr`
        error: `lib::twice` takes 1 argument, not 2
        error: there is no function `lib::thrice`
        error: there is no function `lib::hidden`
        error: nothing has a method `to_uper`
        error: there is no variable `sys::arg`
        error: there is no function `sys::nwo`
        ";
    let run = cshell(["check", "bad.rhai"])
        .file("bad.rhai", script)
        .file("lib.rhai", "fn twice(n) { n * 2 } private fn hidden(n) { n }")
        .output();
    let titles: String = run
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(titles, support::unindent(findings), "{}", run.stderr);
    assert_eq!((run.stdout.as_str(), run.ended), ("", support::Ended::Exit(2)));
}

#[test]
fn a_finding_shows_its_line() {
    cshell(["check", "a.rhai"])
        .file("a.rhai", "let a = 1;\nprint(sys::nwo() + a);\n")
        .stderr(
            "
            error: there is no function `sys::nwo`
             --> a.rhai:2:7
              |
            2 | print(sys::nwo() + a);
              |       ^^^^^^^^

            hint: did you mean `sys::now`?
            ",
        )
        .exit(2)
        .check();
}

#[test]
fn imported_files_are_checked_once() {
    cshell(["check", "a.rhai", "b.rhai"])
        .file("a.rhai", "import \"lib/c\" as c; c::f();")
        .file("b.rhai", "import \"lib/c\" as c; import \"a\" as a; c::f();")
        .file("lib/c.rhai", "fn f() { sys::nwo() }\nlet = 1;\n")
        .stderr(
            "
            error: expecting name of a variable
             --> lib/c.rhai:2:5
              |
            2 | let = 1;
              |     ^
            ",
        )
        .exit(2)
        .check();
}

#[test]
fn files_that_import_each_other_end() {
    cshell(["check", "a.rhai"])
        .file("a.rhai", "import \"b\" as b;\nfn f() { sys::nwo() }\n")
        .file("b.rhai", "import \"a\" as a;\nfn g() { a::f() }\n")
        .stderr(
            "
            error: there is no function `sys::nwo`
             --> a.rhai:2:10
              |
            2 | fn f() { sys::nwo() }
              |          ^^^^^^^^

            hint: did you mean `sys::now`?
            ",
        )
        .exit(2)
        .check();
}

#[test]
fn a_missing_file_is_told() {
    let run = cshell(["check", "none.rhai"]).output();
    assert!(run.stderr.starts_with("error: script none.rhai: cannot read the script\n"), "{}", run.stderr);
    assert_eq!(run.ended, support::Ended::Exit(2));
    assert_eq!(cshell(["check"]).output().ended, support::Ended::Exit(2));
}
