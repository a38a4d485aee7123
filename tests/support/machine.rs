//! The machine as outside tools see it: what there is before and after a run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the kernel may take to let go of what was ended: network namespaces are taken down in the background.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was there at one moment, a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    lines: BTreeSet<String>,
}

/// One program of the machine, and what it prints, a line each, after a word that says what it is.
#[expect(clippy::disallowed_methods, reason = "outside tools look at the result")]
fn tool(what: &str, program: &str, args: &[&str]) -> Vec<String> {
    let output =
        Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    // lsns and findmnt end with 1 where there is nothing to show.
    String::from_utf8_lossy(&output.stdout).lines().map(|line| format!("{what} {}", line.trim())).collect()
}

impl Machine {
    /// Looks, with `findmnt`, `ip`, `lsns` and the file system, and at the state folders in `state`.
    pub(crate) fn look(state: &Path) -> Self {
        let mut lines = BTreeSet::new();
        lines.extend(tool("mount", "findmnt", &["-rno", "TARGET,FSTYPE"]));
        lines.extend(tool("link", "ip", &["-o", "-br", "link"]).into_iter().map(|line| {
            // The name alone: the state of others' links changes by itself.
            line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
        }));
        lines.extend(tool("route", "ip", &["-o", "route"]));
        lines.extend(
            tool("namespace", "lsns", &["-rno", "NS,TYPE,COMMAND"])
                .into_iter()
                .filter(|line| line.contains("cshell") || line.contains("busybox") || line.contains("httpd")),
        );
        lines.extend(
            groups(Path::new("/sys/fs/cgroup")).into_iter().map(|path| format!("cgroup {}", path.display())),
        );
        lines.extend(processes(state));
        lines.extend(files(state));
        // Other programs of this kind may be at work on the machine; what is theirs bears their sessions' tokens.
        let foreign = foreign_tokens(state);
        lines.retain(|line| !foreign.iter().any(|token| line.contains(token)));
        Self { lines }
    }

    /// Fails with what is there now and was not before, once the kernel has had time to let go.
    #[track_caller]
    pub(crate) fn same_as_before(&self, state: &Path, after: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = Self::look(state);
            let more: Vec<&String> = now.lines.difference(&self.lines).collect();
            if more.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "left behind after {after}: {more:#?}");
            std::thread::yield_now();
        }
    }
}

/// The groups whose name says that they are ours: others' come and go.
fn groups(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name().to_string_lossy().starts_with("cshell-") {
                found.push(entry.path());
            }
            found.extend(groups(&entry.path()));
        }
    }
    found
}

/// The folders below `/proc` that are processes.
fn all_processes() -> impl Iterator<Item = PathBuf> {
    let number = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
    };
    std::fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path()).filter(number)
}

/// Whether a process is a cshell that works in other state folders than these.
fn is_foreign(process: &Path, state: &Path) -> bool {
    let read = |name: &str| std::fs::read(process.join(name)).unwrap_or_default();
    let folder = state.as_os_str().as_encoded_bytes();
    read("comm") == b"cshell\n" && !read("environ").windows(folder.len()).any(|window| window == folder)
}

/// The tokens of the sessions of other programs: the names of the folders whose locks they hold.
fn foreign_tokens(state: &Path) -> Vec<String> {
    let foreign = all_processes().filter(|process| is_foreign(process, state));
    let files =
        foreign.flat_map(|process| std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten());
    let targets = files.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let token = |path: PathBuf| Some(path.to_str()?.split_once("/session-")?.1.split('/').next()?.to_owned());
    targets.filter_map(token).collect()
}

/// The processes that a run may have started: in a group of ours, or keeping namespaces. Each with its group, which
/// says whose it is.
fn processes(state: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for process in all_processes().filter(|process| !is_foreign(process, state)) {
        let read = |name: &str| std::fs::read_to_string(process.join(name)).unwrap_or_default();
        let group =
            read("cgroup").lines().find(|line| line.contains("/cshell-")).unwrap_or_default().to_owned();
        if !group.is_empty() || read("comm") == "cshell\n" {
            found.push(format!("process {} {} {group}", process.display(), read("comm").trim()));
        }
    }
    found
}

/// The files in the state folders. The empty folders of the store itself are part of it.
pub(crate) fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let below = files(&path);
            let scratch =
                path.parent().is_some_and(|parent| parent.ends_with("scratch") || parent.ends_with("run"));
            if scratch && below.is_empty() {
                found.push(format!("folder {}", path.display()));
            }
            found.extend(below);
        } else {
            found.push(format!("file {}", path.display()));
        }
    }
    found
}
