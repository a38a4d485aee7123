//! Nothing is left, however a script ends: looked at from outside, before and after.
//!
//! The script is the recipe of the README's first command, which makes one of everything.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "support/machine.rs"]
mod machine;
mod support;

use machine::Machine;
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use support::user::{Groups, User};
use support::{Ended, kill, program};

/// One of these tests at a time: they compare the whole machine.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place for state, and the machine as it was.
struct Stage {
    folder: tempfile::TempDir,
    before: Machine,
    groups: Groups,
    _alone: MutexGuard<'static, ()>,
}

impl Stage {
    fn new() -> Self {
        let alone = alone();
        let folder = tempfile::tempdir().unwrap();
        // The store makes its own files once; they are not leftovers of a run.
        let stage =
            Self { before: Machine::look(folder.path()), folder, groups: Groups::default(), _alone: alone };
        let commit = "image::commit(fs::overlay(image::scratch()), \"localhost/first:1\"); image::remove(\"localhost/first:1\")";
        let made = stage.run(&["-c", commit], &[]);
        assert_eq!(made.0, Ended::Exit(0), "{}", made.2);
        Self { before: Machine::look(stage.folder.path()), ..stage }
    }

    /// An image that was committed stays when its script fails later: that is what a commit is for.
    fn remove_image(&self) {
        let remove = "for image in image::list() { image::remove(image.reference); } image::prune();";
        let (ended, _, stderr) = self.run(&["-c", remove], &[]);
        assert_eq!(ended, Ended::Exit(0), "{stderr}");
    }

    fn spawn(&self, args: &[&str], env: &[(&str, &str)]) -> Child {
        let child = program(User::of_every_run().as_ref(), self.folder.path())
            .args(args)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("CSHELL_RUN", self.folder.path().join("run"))
            .env("CSHELL_ROOT", self.folder.path().join("root"))
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        self.groups.add(child.id());
        child
    }

    fn run(&self, args: &[&str], env: &[(&str, &str)]) -> (Ended, String, String) {
        let output = self.spawn(args, env).wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (output.status.into(), text(output.stdout), text(output.stderr))
    }

    /// Runs the program under strace(1), which is told `how`. Without what its user's run begins with: that is not ours.
    #[expect(clippy::disallowed_methods, reason = "an outside tool kills the program")]
    fn run_under_strace(&self, how: &str, args: &[&str]) -> (Ended, String) {
        let binary = Path::new(env!("CARGO_BIN_EXE_cshell"));
        let mut command = match User::of_every_run() {
            Some(user) => {
                let before = format!(
                    "become() {{ exec \"$SETPRIV\" --reuid $uid --regid $uid --clear-groups -- strace {how} \"$@\"; }}"
                );
                User { before, ..user }.command(binary.as_os_str(), self.folder.path())
            }
            None => {
                let mut command = Command::new("strace");
                command.args(how.split(' ')).arg(binary);
                command
            }
        };
        let child = command
            .args(args)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("CSHELL_RUN", self.folder.path().join("run"))
            .env("CSHELL_ROOT", self.folder.path().join("root"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        self.groups.add(child.id());
        let output = child.wait_with_output().unwrap();
        (output.status.into(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// What is in the state folders.
    fn files(&self) -> BTreeSet<String> {
        machine::files(self.folder.path()).into_iter().collect()
    }

    #[track_caller]
    fn clean(&self, after: &str) {
        self.before.same_as_before(self.folder.path(), after);
    }
}

fn recipe() -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/build.rhai");
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_recipe_leaves_nothing() {
    let stage = Stage::new();
    let (ended, stdout, stderr) = stage.run(&[&recipe()], &[]);
    assert_eq!(ended, Ended::Exit(0), "{stderr}");
    assert_eq!(
        stdout.lines().last(),
        Some("done: the same page from the base and from the image"),
        "{stdout}"
    );
    stage.clean("the recipe");
}

#[test]
fn a_throw_leaves_nothing() {
    let stage = Stage::new();
    let script = r#"
        let box = ns::new(["pid", "net", "mount"]);
        let group = cgroup::limit(#{ memory: "64MiB" });
        let link = net::veth(#{ peer: #{ ns: box } });
        let root = fs::overlay(image::host(["sh"]));
        let web = proc::spawn("exec sleep 1000", #{ ns: box, cgroup: group });
        let stray = proc::exec("setsid sleep 1000 & echo $!");
        throw "enough";
    "#;
    let (ended, _, stderr) = stage.run(&["-c", script], &[]);
    assert_eq!(ended, Ended::Exit(1), "{stderr}");
    assert!(stderr.contains("enough"), "{stderr}");
    stage.clean("a throw");
}

/// Every step of the recipe is made to fail, before it acts and after it acted.
#[cfg(feature = "_fault")]
#[test]
fn each_failing_step_leaves_nothing() {
    let stage = Stage::new();
    let recipe = recipe();
    for when in ["step", "after"] {
        let mut failed = 0;
        for n in 1.. {
            let fault = format!("{when}:{n}");
            let (ended, _, stderr) = stage.run(&[&recipe], &[("CSHELL_FAULT", &fault)]);
            stage.remove_image();
            stage.clean(&fault);
            if ended == Ended::Exit(0) {
                break;
            }
            assert_eq!(ended, Ended::Exit(1), "{fault}: {stderr}");
            assert!(stderr.contains("made to fail by a test"), "{fault}: {stderr}");
            failed += 1;
        }
        // Fewer would mean that the recipe no longer does what it says.
        assert!(failed > 20, "only {failed} steps");
    }
}

#[test]
fn a_kill_at_any_step_is_reclaimed_by_gc() {
    let stage = Stage::new();
    let recipe = recipe();
    let mut kills = 0;
    for steps in (1..).step_by(2) {
        let mut child = stage.spawn(&["--trace", &recipe], &[]);
        let trace = BufReader::new(child.stderr.take().unwrap());
        // A step is shown when it has acted: the kill falls into the next one.
        let shown =
            trace.lines().map_while(Result::ok).filter(|line| line.starts_with('[')).take(steps).count();
        if shown < steps {
            assert!(child.wait().unwrap().success());
            break;
        }
        kill(child.id(), Signal::SIGKILL);
        child.wait().unwrap();
        kills += 1;
        let (ended, _, stderr) = stage.run(&["gc"], &[]);
        assert_eq!(ended, Ended::Exit(0), "gc after {steps} steps: {stderr}");
        stage.remove_image();
        stage.clean(&format!("a kill after {steps} steps, and gc"));
    }
    assert!(kills > 10, "only {kills} kills");
}

/// The calls that change something: what lies between two of them is one state in which the program can die.
const CHANGES: &[&str] = &[
    "write",
    "mkdirat",
    "renameat",
    "renameat2",
    "unlinkat",
    "rmdir",
    "clone3",
    "sendto",
    "unshare",
    "setns",
    "move_mount",
    "umount2",
    "fchown",
];

/// A kill before each of these calls, by `strace`, whose counter never misses what lies between two lines of the trace.
#[test]
fn a_kill_before_any_change_is_reclaimed_by_gc() {
    let stage = Stage::new();
    let script = r#"
        let group = cgroup::limit(#{ pids: 32 });
        let box = ns::new(#{ kinds: ["pid", "net", "mount"], userns: "auto" });
        let link = net::veth(#{ peer: #{ ns: box } });
        let root = fs::overlay(image::host(["busybox"]));
        proc::exec(["busybox", "touch", "/made"], #{ cgroup: group, rootfs: root });
        image::commit(root, "localhost/kill:1");
        image::remove("localhost/kill:1");
    "#;
    let state = stage.files();
    let mut kills = 0;
    // An ordinary user's run begins with a second of its own.
    let step = if support::user::stands_in() { 3 } else { 1 };
    for call in CHANGES {
        for n in (1..).step_by(step) {
            let inject = format!("inject={call}:signal=SIGKILL:when={n}");
            let how = format!("-o /dev/null -e trace={call} -e {inject}");
            let (ended, stderr) = stage.run_under_strace(&how, &["-c", script]);
            if ended == Ended::Exit(0) {
                break;
            }
            assert_eq!(ended, Ended::Signal(Signal::SIGKILL as i32), "{inject}: {stderr}");
            kills += 1;
            let (ended, _, stderr) = stage.run(&["gc"], &[]);
            assert_eq!(ended, Ended::Exit(0), "gc after {inject}: {stderr}");
            if stage.files() != state {
                stage.remove_image();
            }
            assert_eq!(stage.files(), state, "after {inject}, and gc");
        }
        stage.clean(&format!("kills before {call}, and gc"));
    }
    // Fewer would mean that the calls have other names now.
    assert!(kills * step > 80, "only {kills} kills");
}

#[test]
fn signals_end_the_script_clean_up_and_kill_the_program() {
    let stage = Stage::new();
    let script = r#"
        let box = ns::new(["pid", "net", "mount"]);
        let link = net::veth(#{ peer: #{ ns: box } });
        print("ready");
        proc::exec("sleep 1000", #{ ns: box });
    "#;
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut child = stage.spawn(&["-c", script], &[]);
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        kill(child.id(), signal);
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let ended: Ended = child.wait().unwrap().into();
        assert_eq!(ended, Ended::Signal(signal as i32), "{stderr}");
        stage.clean(signal.as_str());
    }
}

#[test]
fn the_next_start_reclaims_what_a_killed_one_left() {
    let stage = Stage::new();
    let script = r#"
        let group = cgroup::limit(#{ pids: 10 });
        let dir = fs::overlay(image::host(["sh"]));
        let stray = proc::exec("setsid sleep 1000 & echo $!");
        print("ready");
        sys::sleep("1000s");
    "#;
    let mut child = stage.spawn(&["-c", script], &[]);
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    kill(child.id(), Signal::SIGKILL);
    child.wait().unwrap();
    let (ended, _, stderr) = stage.run(&["-c", "proc::exec(\"true\")"], &[]);
    assert_eq!(ended, Ended::Exit(0), "{stderr}");
    stage.clean("the next start");
}

#[test]
fn a_thousand_commands_keep_no_descriptor() {
    let stage = Stage::new();
    let script = r#"
        let pid = sys::info().pid;
        let now = || proc::exec(["ls", `/proc/${pid}/fd`], #{ check: false });
        // The least of a few: `ls` may look while the other side of its own start is still being closed, and while the
        // program lets no ordinary user look at it, as it does during each start.
        let fds = || {
            let least = 1000;
            for n in 0..20 { let seen = now.call(); if seen.ok && seen.lines().len() < least { least = seen.lines().len(); } }
            least
        };
        // What is made once a session: its mount namespace, the holding program, its own groups opened.
        proc::exec("true", #{ ns: ["pid", "mount"], cgroup: #{ pids: 10 } });
        ns::new(["uts"]).close();
        let before = fds.call();
        if before == 1000 { throw "never seen"; }
        for n in 0..200 {
            proc::exec(["true"]);
            proc::exec(["true"], #{ ns: ["pid", "mount", "net"], cgroup: #{ pids: 10 } });
            try { proc::exec(["no such program"]); } catch { }
            ns::new(["uts"]).close();
        }
        print(fds.call() - before);
    "#;
    let (ended, stdout, stderr) = stage.run(&["-c", script], &[]);
    assert_eq!(ended, Ended::Exit(0), "{stderr}");
    assert_eq!(stdout, "0\n");
    stage.clean("a thousand commands");
}
