//! The escape catalogue by several programs at once and at a terminal; `tests/rhai/isolation` and `tests/rhai/security` try each
//! attempt, and each control.

#[path = "support/machine.rs"]
mod machine;
mod support;

use machine::Machine;
use support::{Ended, code};

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

/// Every control, behind them: what did not get out and has no reason, and how many did.
const CONTROLS: &str = r#"
let out = 0;
for e in escape::list() {
    let r = escape::control(e.name);
    if r.contained == false { out += 1; }
    if r.contained == true || (r.contained == () && r.skipped in [(), ""]) { print(r); }
}
print(out);
"#;

#[test]
fn several_at_once_leave_nothing() {
    let state = tempfile::tempdir().unwrap();
    let before = Machine::look(state.path());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let run = code(&[ATTEMPTS, CONTROLS].concat()).output();
                assert_eq!((run.stderr.as_str(), run.ended), ("", Ended::Exit(0)), "{}", run.stdout);
                let out =
                    run.stdout.strip_prefix("tried true\n").and_then(|out| out.trim().parse::<u32>().ok());
                assert!(out.is_some_and(|out| out >= 30), "{}", run.stdout);
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
