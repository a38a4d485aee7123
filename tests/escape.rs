//! The escape catalogue as others run it; `tests/rhai/isolation` tries each attempt, and each control.

#[path = "support/machine.rs"]
mod machine;
mod support;

use machine::Machine;
use support::{Cshell, Ended, code, cshell};

/// Every attempt: what was not contained, and what was not tried.
const ATTEMPTS: &str = r#"
import "std/escape" as escape;
let tried = 0;
for r in escape::all() {
    if r.contained != true && r.name != "terminal" { print(r); }
    if r.contained == true { tried += 1; }
}
print(`tried ${tried >= 85}`);
"#;

/// Every control: what did not get out and has no reason, and whether enough did.
const CONTROLS: &str = r#"
import "std/escape" as escape;
let out = 0;
for e in escape::list() {
    let r = escape::control(e.name);
    if r.contained == false { out += 1; }
    if r.contained == true || (r.contained == () && r.skipped in [(), ""]) { print(r); }
}
print(out);
"#;

#[track_caller]
fn all_contained(run: Cshell) {
    run.stdout("tried true\n").check();
}

#[track_caller]
fn controls_get_out(run: &Cshell, least: u32) {
    let run = run.output();
    assert_eq!((run.stderr.as_str(), run.ended), ("", Ended::Exit(0)), "{}", run.stdout);
    let out: u32 = run.stdout.trim().parse().unwrap_or_else(|_| panic!("not out: {}", run.stdout));
    assert!(out >= least, "only {out} controls got out");
}

#[test]
fn every_attempt_is_contained_for_an_ordinary_user() {
    let user = support::user::User { groups: true, ..support::user::User::default() };
    all_contained(code(ATTEMPTS).by_user_with(user));
}

#[test]
fn every_control_of_an_ordinary_user_gets_out() {
    let user = support::user::User { groups: true, ..support::user::User::default() };
    controls_get_out(&code(CONTROLS).by_user_with(user), 30);
}

/// In a user namespace of the container's own, with other ids.
#[test]
fn every_attempt_is_contained_in_a_user_namespace() {
    let script = ATTEMPTS.replace("all()", r#"all(#{ userns: "auto" })"#);
    all_contained(code(&script));
}

#[test]
fn strict_contains_what_default_does() {
    // A user of its own cannot become another where no capability is held.
    let script = ATTEMPTS.replace("all()", r#"all(#{ security: "strict" })"#);
    all_contained(code(&script));
}

#[test]
fn several_at_once_leave_nothing() {
    let state = tempfile::tempdir().unwrap();
    let before = Machine::look(state.path());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let script =
                    format!("{}\n{}", ATTEMPTS, CONTROLS.replace("import \"std/escape\" as escape;", ""));
                let run = code(&script).output();
                assert_eq!((run.stderr.as_str(), run.ended), ("", Ended::Exit(0)), "{}", run.stdout);
                assert!(run.stdout.starts_with("tried true\n"), "{}", run.stdout);
            });
        }
    });
    before.same_as_before(state.path(), "three runs of the catalogue");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "script makes the terminal of the caller")]
fn nothing_is_typed_into_the_terminal_of_the_caller() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("script.rhai");
    let script = r#"
        import "std/escape" as escape;
        print(escape::attempt("terminal").contained);
        let r = escape::control("terminal");
        print(`${r.contained} ${r.outcome}`);
    "#;
    std::fs::write(&file, script).unwrap();
    let output = std::process::Command::new("script")
        .args(["-qec", &format!("{} {}", env!("CARGO_BIN_EXE_cshell"), file.display()), "/dev/null"])
        .env("CSHELL_RUN", dir.path().join("run"))
        .env("CSHELL_ROOT", dir.path().join("root"))
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    assert!(text.contains("true\nfalse EFAULT\n"), "{text}");
}

#[test]
fn what_is_wrong_with_a_list_of_calls_is_told() {
    for (calls, said) in [
        (r#"[["opennat", 1]]"#, "there is no system call \"opennat\" of this machine"),
        (r#"[["read", 1, 2, 3, 4, 5, 6, 7]]"#, "at most six arguments, not 7"),
        (r#"[["read", #{ result: "open" }]]"#, "no step before is called \"open\""),
        (r#"[["read", #{ int: "b" }]]"#, "no buffer before is called \"b\""),
        (
            r#"[["pipe2", #{ buffer: 8, name: "p" }], ["close", #{ int: "p", offset: 6 }]]"#,
            "buffer \"p\" has 8 bytes",
        ),
        (r#"[#{ go: "there" }]"#, "there is no label \"there\""),
        (r#"[#{ label: "end" }]"#, "the label \"end\" is there twice"),
        (r#"[#{ syscall: "getpid", child: [] }]"#, "must have one of `syscall`"),
        (r#"[#{ label: "x", compat: true }]"#, "`calls[0].compat` does not go with `label`"),
        (r#"[[]]"#, "`calls[0]` is empty"),
        (r#"[5]"#, "`calls[0]` must be a list [name, arguments…] or a map"),
        (r#"[["read", 1.5]]"#, "`calls[0][1]` must be a number, a text"),
        (r#"[["read", [#{ result: "read" }]]]"#, "no step before is called"),
    ] {
        let run = cshell(["-c".into(), format!("syscall::run({calls})")]).output();
        assert_eq!(run.ended, Ended::Exit(1), "{calls}");
        assert!(run.stderr.contains(said), "{calls}: {}", run.stderr);
    }
}
