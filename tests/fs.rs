//! What is left of the files and mounts of a script when the program has ended. What the calls of `fs` do is tested in
//! `tests/rhai/fs`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use support::user::root_or_refused;
use support::{Cshell, Ended, Run, code};

/// Runs it and checks that it left no session, no scratch folder and no mount.
#[track_caller]
fn run(program: &Cshell) -> Run {
    let run = program.output();
    for folder in ["run", "root/scratch"] {
        let left: Vec<_> = std::fs::read_dir(program.folder().join(folder)).into_iter().flatten().collect();
        assert!(left.is_empty(), "left {left:?}");
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(program.folder().to_str().unwrap()), "left a mount:\n{mounts}");
    run
}

#[test]
fn a_temp_dir_is_gone_at_the_end() {
    let program = code(
        r#"let d = fs::temp_dir(); fs::write(d.path("left"), "z"); print([fs::exists(d.path("left")), d.path]);"#,
    );
    let run = run(&program);
    assert_eq!((run.ended, run.stderr.as_str()), (Ended::Exit(0), ""));
    assert!(run.stdout.starts_with("[true, "), "{}", run.stdout);
    let scratch = program.folder().join("root/scratch");
    assert!(run.stdout.contains(scratch.to_str().unwrap()), "{}", run.stdout);
}

#[test]
fn what_a_script_made_goes_when_it_fails() {
    let program = code(
        r#"
        let d = fs::temp_dir(#{ size: "1MiB" }); let o = fs::overlay("/usr/bin"); fs::tmpfs(fs::temp_dir());
        fs::write("stays", "x"); throw "stop";
        "#,
    );
    let run = run(&program);
    assert_eq!(run.ended, Ended::Exit(1), "{}", run.stderr);
    assert!(run.stderr.contains("stop"), "{}", run.stderr);
    assert!(program.folder().join("work/stays").exists());
}

#[test]
fn the_queues_of_the_machine_are_not_an_ordinary_users_to_mount() {
    let mqueue = r#"fs::mount(#{ type: "mqueue", target: fs::temp_dir() })"#;
    if root_or_refused("mqueue", mqueue, "permission_denied", "the kernel refuses the mount of mqueue") {
        let run = run(&code(&format!("print({mqueue}.type)")));
        assert_eq!((run.ended, run.stdout.as_str()), (Ended::Exit(0), "mqueue\n"), "{}", run.stderr);
    }
}
