//! A program that is killed in the middle of a commit, at many places: the store stays whole, and nothing is left.

use crate::support::{Bench, names, spec};
use cshell::runtime::session::Session;
use cshell::runtime::state::StateDirs;
use cshell::runtime::{gc, image};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROOT: &str = "CSHELL_TEST_KILL_ROOT";

/// Not a test of its own: commits and unpacks until it is killed.
#[test]
#[ignore = "run by a_killed_commit_leaves_nothing"]
fn commit_for_ever() {
    let Some(root) = std::env::var_os(ROOT).map(PathBuf::from) else { return };
    let session = Session::new(StateDirs { run: root.join("run"), root: root.join("state") }).unwrap();
    for round in 0u64.. {
        std::fs::write(root.join("upper/file"), round.to_string()).unwrap();
        let (_, image) = image::commit(&session, &spec(&session, &root.join("upper"), "t:1")).unwrap();
        image.lowerdirs(&session).unwrap();
    }
}

/// Everything in the state folders that comes and goes: the finer the moment, the more places are hit.
fn moment(dirs: &StateDirs) -> Vec<Vec<String>> {
    let scratch = dirs.scratch();
    let mut all = vec![names(&dirs.images().join("blobs/sha256")), names(&dirs.layers())];
    all.extend(names(&scratch).iter().map(|name| names(&scratch.join(name))));
    all
}

#[test]
fn a_killed_commit_leaves_nothing() {
    let bench = Bench::new();
    let root = bench.dir.path();
    bench.folder("upper", &[("big", &"x".repeat(300_000)), ("file", "")]);
    let dirs = StateDirs { run: root.join("run"), root: root.join("state") };
    for changes in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 19, 24, 30, 37] {
        kill_after(root, &dirs, changes);
        let found = gc::collect(&dirs, gc::Options::default()).unwrap();
        assert!(found.iter().all(|session| session.errors.is_empty()), "{found:?}");
        assert_eq!(names(&dirs.scratch()), [""; 0], "after {changes} changes");
        assert_eq!(names(&dirs.run), [""; 0]);
        image::prune(&dirs).unwrap();
        let listed = image::list(&dirs).unwrap();
        // The image is the old one, the new one, or there was none yet; it is always whole.
        let blobs = names(&dirs.images().join("blobs/sha256"));
        assert_eq!(blobs.len(), 3 * listed.len(), "{blobs:?}");
        assert!(names(&dirs.layers()).len() <= listed.len());
        if let [one] = &listed[..] {
            let session = Session::new(dirs.clone()).unwrap();
            let (_, image) = image::from(&session, "t:1").unwrap();
            assert_eq!(image.digest(), Some(one.digest.as_str()));
            assert!(image.lowerdirs(&session).unwrap()[0].join("big").exists());
            assert!(session.close().is_empty());
        }
    }
    assert_eq!(image::list(&dirs).unwrap().len(), 1);
}

/// Starts the program and kills it when the state folders have changed so many times.
fn kill_after(root: &Path, dirs: &StateDirs, changes: u32) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["kills::commit_for_ever", "--exact", "--ignored"])
        .env(ROOT, root)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let (mut before, mut seen) = (moment(dirs), 0);
    while seen < changes {
        assert!(Instant::now() < deadline, "only {seen} changes");
        assert_eq!(child.try_wait().unwrap(), None, "it ended by itself");
        let now = moment(dirs);
        if now != before {
            (before, seen) = (now, seen + 1);
        }
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
