//! The escape catalogue: everything that it tries is contained, and gets out without the one protection against it.

#[path = "support/machine.rs"]
mod machine;
mod support;

use machine::Machine;
use support::user::stands_in;
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
fn every_attempt_is_contained() {
    all_contained(code(ATTEMPTS));
}

#[test]
fn every_attempt_is_contained_for_an_ordinary_user() {
    let user = support::user::User { groups: true, ..support::user::User::default() };
    all_contained(code(ATTEMPTS).by_user_with(user));
}

#[test]
fn every_control_gets_out() {
    controls_get_out(&code(CONTROLS), if stands_in() { 30 } else { 55 });
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
fn the_list_says_what_each_is() {
    code(
        r#"
        import "std/escape" as escape;
        let names = #{};
        for e in escape::list() {
            for key in ["name", "tries", "rule"] { if e[key].len < 3 { print(`${e.name} has no ${key}`); } }
            if e.contained.len() == 0 { print(`${e.name}: nothing counts as contained`); }
            if (e.control == ()) == (e.why == ()) { print(`${e.name}: a control, or why there is none`); }
            if e.name in names { print(`${e.name} is there twice`); }
            names[e.name] = 1;
        }
        print(names.len() >= 40);
        try { escape::attempt("no-such-way"); } catch (e) { print(e.message); }
        "#,
    )
    .stdout("true\nescape: there is no attempt no-such-way; escape::list() has them all\n")
    .check();
}

#[test]
fn an_open_container_is_told() {
    code(
        r#"
        import "std/escape" as escape;
        for name in ["mount-tmpfs", "io-uring", "keys-file", "setuid"] {
            let r = escape::attempt(name, #{ security: "default", cap_add: ["SYS_ADMIN"], seccomp: "unconfined", masked_paths: [], no_new_privs: false });
            print(`${r.name} ${r.contained} ${r.outcome}`);
        }
        "#,
    )
    .stdout("mount-tmpfs false OK\nio-uring false OK\nkeys-file false OK\nsetuid false uid 0\n")
    .check();
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

#[test]
fn calls_are_made_in_any_start() {
    code(
        r#"
        let calls = [["pipe2", #{ buffer: 8, name: "p" }, 0], ["write", #{ int: "p", offset: 4 }, "hello", 5],
            ["read", #{ int: "p" }, #{ buffer: 8, name: "b" }, 8], #{ go: "end", when: "read", is: 5 }, ["getpid"]];
        let made = syscall::program(calls);
        for o in [#{}, #{ rootfs: image::scratch() }, #{ security: "default" }, #{ rootfs: image::scratch(), security: "strict" },
            #{ rootfs: image::scratch(), security: "default", no_new_privs: false }, #{ ns: ["user", "pid"] }] {
            let r = syscall::run(made, o);
            print(`${r.complete} ${r.of.read.value} ${r.of.getpid.made} ${r.buffers.b.extract(0, 5).as_string()} ${r.code}`);
        }
        let r = proc::exec(["/calls"], #{ rootfs: placed(made) });
        print(made.read(r.stdout_bytes).of.read.value);
        fn placed(made) { let root = fs::overlay(image::scratch()); fs::write(root.merged + "/calls", made.bytes); fs::chmod(root.merged + "/calls", 0o755); root }
        "#,
    )
    .stdout(&format!("{}5\n", "true 5 false hello 0\n".repeat(6)))
    .check();
}
