//! Looking at the machine from outside, with its own tools, while a script runs.

use crate::support::user::{Groups, User};
use crate::support::{Cshell, Ended, code, kill};
use nix::sys::signal::Signal;
use std::io::BufRead;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a program of the machine prints. It must succeed.
#[track_caller]
pub(crate) fn tool(program: &str, args: &[&str]) -> String {
    try_tool(program, args).unwrap_or_else(|stderr| panic!("{program} {args:?}: {stderr}"))
}

/// What a program of the machine prints, or what it complains of.
#[expect(clippy::disallowed_methods, reason = "outside tools look at the result")]
pub(crate) fn try_tool(program: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// Runs a script of `/bin/sh` that finds the program in `$CSHELL`, with state folders of its own. Returns how it ended
/// and what it wrote.
pub(crate) fn shell(script: &str) -> (Ended, String, String) {
    shell_of(User::of_every_run(), script)
}

/// As [`shell`], for a script that takes something from the machine: root's, whoever runs the others.
pub(crate) fn shell_of_root(script: &str) -> (Ended, String, String) {
    shell_of(None, script)
}

#[expect(clippy::disallowed_methods, reason = "the program under test, started by a shell")]
fn shell_of(user: Option<User>, script: &str) -> (Ended, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let groups = Groups::default();
    let script = super::support::unindent(script);
    let binary = env!("CARGO_BIN_EXE_cshell");
    let mut command = Command::new("/bin/sh");
    if let Some(mut user) = user {
        user.before = "export CSHELL=\"$folder/cshell\"; become sh -c \"$SCRIPT\"".into();
        command = user.command(binary.as_ref(), folder.path());
        command.env("SCRIPT", &script).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    } else {
        command.args(["-c", &script]).env("CSHELL", binary);
    }
    let child = command
        .env("CSHELL_RUN", folder.path().join("run"))
        .env("CSHELL_ROOT", folder.path().join("root"))
        .env("FOLDER", folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    groups.add(child.id());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.into(), text(output.stdout), text(output.stderr))
}

/// Runs `script`, whose last act is to print facts; calls `look` with the program's pid and the facts while it
/// lives, then ends it by SIGTERM.
#[track_caller]
pub(crate) fn watch(script: &str, look: impl FnOnce(u32, &[String])) {
    watch_in(code(&around(script)), look);
}

/// The script with the lines around its facts.
pub(crate) fn around(script: &str) -> String {
    format!("print(\"ready\");\n{script}\nprint(\"done\"); sys::sleep(\"1h\");")
}

/// As [`watch`], for a program that was set up otherwise.
#[track_caller]
pub(crate) fn watch_in(program: Cshell, look: impl FnOnce(u32, &[String])) {
    let run = program.after_line("ready", |pid, stdout| {
        let facts: Vec<String> =
            stdout.lines().map_while(Result::ok).take_while(|line| line != "done").collect();
        look(pid, &facts);
        kill(pid, Signal::SIGTERM);
    });
    assert_eq!((run.stderr.as_str(), run.ended), ("", Ended::Signal(Signal::SIGTERM as i32)));
}

/// Waits until `is_so`: what the kernel does in its own time has no other event.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "not so: {what}");
        std::thread::yield_now();
    }
}

/// Whether a process runs: a zombie does not.
pub(crate) fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// A root with busybox alone, and the folders that mounts need.
pub(crate) fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for name in ["bin", "proc", "dev", "sys", "tmp", "etc"] {
        std::fs::create_dir(root.path().join(name)).unwrap();
    }
    std::fs::copy("/bin/busybox", root.path().join("bin/busybox")).unwrap();
    for name in ["sh", "cat", "echo", "env", "id", "ls", "pwd", "readlink", "sleep", "true", "tty"] {
        std::os::unix::fs::symlink("busybox", root.path().join("bin").join(name)).unwrap();
    }
    // The folder of a test is its own user's alone; a root is everybody's.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(root.path(), open).unwrap();
    root
}

/// The link at `path`, as text.
#[track_caller]
pub(crate) fn link(path: impl AsRef<Path>) -> String {
    std::fs::read_link(path).unwrap().to_str().unwrap().to_owned()
}

/// The text of the file at `path`, without the line end.
#[track_caller]
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    std::fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .trim_end()
        .into()
}

/// Says that this machine cannot show what a test is for.
#[expect(clippy::print_stderr, reason = "a test that was skipped must be seen")]
pub(crate) fn skip(why: &str) {
    eprintln!("SKIP: {why}");
}
