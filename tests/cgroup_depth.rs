//! Control groups of a program as another user, when a signal has ended it, and as the library opens them. What scripts see of
//! them is in `tests/rhai/cgroup`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use cshell::sys::Errno;
use cshell::sys::child::Plan;
use cshell::sys::clone::{self, Patience};
use nix::sched::CloneFlags;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use support::user::group_of;
use support::{Ended, cshell};

/// The folder of our own group in each mounted hierarchy, by controller (`unified` for version 2).
fn own() -> BTreeMap<String, PathBuf> {
    let host = cshell::runtime::cgroup::host::Host::detect("test").unwrap();
    let mut found = BTreeMap::new();
    for hierarchy in host.hierarchies {
        if hierarchy.version == 2 {
            found.insert("unified".to_owned(), hierarchy.own.clone());
        }
        for name in &hierarchy.controllers {
            found.insert(name.clone(), hierarchy.own.clone());
        }
    }
    found
}

/// A folder of this test, which anybody may look into.
fn open_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_cshell"), folder.path().join("cshell")).unwrap();
    folder
}

/// On this host, whose version 2 tree has few controllers; on others in the virtual machine.
#[test]
fn an_ordinary_user_makes_groups_below_one_that_is_theirs() {
    let folder = open_folder();
    let script = r#"
        let g = cgroup::create("mine");
        let p = proc::spawn(["sleep", "1000"], #{ cgroup: g });
        g.freeze();
        print([sys::rootless().uid, g.procs() == [p.pid], g.stats().frozen]);
        g.thaw();
        let leaf = g.create("leaf");
        leaf.add(p);
        g.kill();
        print(p.wait().signal);
        leaf.close();
        let paths = g.paths;
        g.close();
        print(paths.filter(|path| fs::exists(path)));
        try { cgroup::limit(#{ pids: 5 }) } catch (e) { print(e.kind) }
    "#;
    std::fs::write(folder.path().join("script.rhai"), script).unwrap();
    let unified = own().remove("unified").unwrap();
    let group = Foreign::new(unified.join(format!("user-test-{}", std::process::id())));
    let enter = r#"
        set -e
        for dir in /sys/fs/cgroup/*; do
            case "$dir" in */unified) ;; *) if mountpoint -q "$dir"; then umount "$dir"; fi ;; esac
        done
        mkdir -m 777 "$FOLDER/state"
        chown 4242 "$GROUP" "$GROUP/cgroup.procs" "$GROUP/cgroup.subtree_control" "$GROUP/cgroup.threads"
        echo $$ >"$GROUP/cgroup.procs"
        export CSHELL_RUN="$FOLDER/state/run" CSHELL_ROOT="$FOLDER/state/root"
        exec setpriv --reuid 4242 --regid 4242 --clear-groups "$FOLDER/cshell" "$FOLDER/script.rhai"
    "#;
    #[expect(clippy::disallowed_methods, reason = "another user runs the program under test")]
    let output = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", enter])
        .env("FOLDER", folder.path())
        .env("GROUP", &group.0)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(text(&output.stderr), "");
    let expected = "[4242, true, true]\nSIGKILL\n[]\nunsupported\n";
    assert_eq!((text(&output.stdout).as_str(), output.status.code()), (expected, Some(0)));
    assert_eq!(
        std::fs::read_dir(&group.0).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count(),
        0
    );
}

/// A group of somebody else, which goes with the test.
struct Foreign(PathBuf);

impl Foreign {
    fn new(path: PathBuf) -> Self {
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_plain_folder_is_no_group() {
    let folder = tempfile::tempdir().unwrap();
    let error = cshell::runtime::cgroup::dir::Dir::open("test", folder.path(), 1, &[]).unwrap_err();
    assert_eq!(error.kind(), cshell::error::ErrorKind::Unsupported);
    assert!(error.to_string().contains("an ordinary folder"), "{error}");
}

#[test]
fn a_program_that_a_signal_ends_leaves_no_group() {
    let script = r#"
        let g = cgroup::create(sys::args()[0], #{ memory: "64MiB", pids: 20, cpus: 0.25 });
        g.create("below", #{ pids: 3 });
        print("made");
        sys::sleep("100s");
    "#;
    let name = format!("depth-{}", std::process::id());
    let own = own();
    let run =
        cshell(["-c".to_owned(), support::unindent(script), name.clone()]).after_line("made", |pid, _| {
            for controller in ["memory", "pids", "cpu"] {
                let below = own[controller].join(group_of(pid)).join(&name).join("below");
                assert!(below.exists(), "{}", below.display());
            }
            support::kill(pid, nix::sys::signal::Signal::SIGTERM);
        });
    assert_eq!(run.ended, Ended::Signal(15), "{}", run.stderr);
    for path in own.values() {
        assert!(!path.join(&name).exists(), "{path:?} still has {name}");
    }
}

/// A child that is limited from its birth on is waited for until the deadline, or until the program is to stop.
#[test]
fn a_child_that_says_nothing_is_given_up() {
    let group = Foreign::new(own()["unified"].join(format!("silent-test-{}", std::process::id())));
    std::fs::write(group.0.join("cgroup.freeze"), "1").unwrap();
    let folder = std::fs::File::open(&group.0).unwrap();
    let (wake, stop) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let start = |patience: Patience<'_>| {
        let plan = Plan::new(Vec::new(), vec![c"true".into()], Vec::new());
        let error = clone::start_limited(plan, CloneFlags::empty(), Some(folder.as_fd()), None, patience);
        assert_eq!(std::fs::read_to_string(group.0.join("cgroup.procs")).unwrap(), "");
        error.unwrap_err().errno()
    };
    let deadline = Some(Instant::now() + Duration::from_millis(50));
    assert_eq!(start(Patience { deadline, wake: Some(wake.as_fd()) }), Errno::ETIMEDOUT);
    rustix::io::write(&stop, b"x").unwrap();
    assert_eq!(start(Patience { deadline: None, wake: Some(wake.as_fd()) }), Errno::EINTR);
}
