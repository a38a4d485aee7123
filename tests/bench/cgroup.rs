//! What a group costs: `cargo bench --bench cgroup`.
//!
//! Create, limit (memory, cpus, pids), add a process and delete, 1,000 times, in turns with the bare file system calls that
//! do the same; 1,000 groups alive at once, and the bare ones beside them; the stats of 1,000 groups against the bare
//! reads. Needs root.
#![expect(clippy::print_stdout, reason = "it prints a table")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot run ends")]
#![expect(clippy::disallowed_methods, reason = "a process to be moved is started from outside")]

use cshell::runtime::cgroup::{self, Limit, host::Host};
use cshell::runtime::session::Session;
use cshell::runtime::state::StateDirs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const ROUNDS: usize = 1000;
const MEMORY: u64 = 64 << 20;

fn main() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIP: the bench needs root");
        return;
    }
    // A memory file system, as /run is.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let dirs = StateDirs { run: dir.path().join("run"), root: dir.path().join("root") };
    let session = Session::new(dirs).unwrap();
    let mut sleeper = Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = i32::try_from(sleeper.id()).unwrap();
    println!("{:<58} {:>9} {:>9} {:>7}", "", "cshell us", "bare us", "ratio");
    cycles(&session, pid);
    alive(&session);
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    assert!(session.close().is_empty());
}

fn limits() -> Vec<Limit> {
    vec![Limit::Memory(Some(MEMORY)), Limit::cpus("bench", 500).unwrap(), Limit::Pids(Some(32))]
}

/// The folders of a group in which these limits are, the version 2 tree first.
fn folders(host: &Host, name: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = host.unified().map(|hierarchy| hierarchy.own.clone()).into_iter().collect();
    for controller in ["memory", "cpu", "pids"] {
        let own = host.with("bench", controller).unwrap().own.clone();
        if !found.contains(&own) {
            found.push(own);
        }
    }
    found.into_iter().map(|own| own.join(name)).collect()
}

fn write(folders: &[PathBuf], file: &str, value: &str) {
    let folder = folders.iter().find(|folder| folder.join(file).exists()).unwrap();
    std::fs::write(folder.join(file), value).unwrap();
}

/// The bare calls of one cycle, on a host with version 1.
fn bare_make(folders: &[PathBuf], v1: bool) {
    folders.iter().for_each(|folder| std::fs::create_dir(folder).unwrap());
    if v1 {
        std::fs::write(folders[1].join("memory.limit_in_bytes"), MEMORY.to_string()).unwrap();
        std::fs::write(folders[2].join("cpu.cfs_quota_us"), "50000").unwrap();
        std::fs::write(folders[3].join("pids.max"), "32").unwrap();
    } else {
        write(folders, "memory.max", &MEMORY.to_string());
        write(folders, "cpu.max", "50000 100000");
        write(folders, "pids.max", "32");
    }
}

fn add(folders: &[PathBuf], pid: i32) {
    folders.iter().for_each(|folder| std::fs::write(folder.join("cgroup.procs"), pid.to_string()).unwrap());
}

fn back(folders: &[PathBuf], pid: i32) {
    let above: Vec<PathBuf> = folders.iter().map(|folder| folder.parent().unwrap().to_owned()).collect();
    add(&above, pid);
}

fn remove(folders: &[PathBuf]) {
    folders.iter().rev().for_each(|folder| std::fs::remove_dir(folder).unwrap());
}

fn cycles(session: &Session, pid: i32) {
    let host = Host::detect("bench").unwrap();
    let v1 = host.with("bench", "memory").unwrap().version == 1;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    let (limits, name) = (limits(), format!("bench-{}", std::process::id()));
    for round in 0..=ROUNDS {
        let started = Instant::now();
        let (id, group) = cgroup::limit_new(session, &limits).unwrap();
        group.add(pid).unwrap();
        let made = started.elapsed();
        // Moving it out again is no part of the cycle: closing would kill it.
        let paths = group.paths();
        drop(group);
        back(&paths, pid);
        let started = Instant::now();
        session.close_handle(id).unwrap();
        let cshell = made + started.elapsed();
        let folders = folders(&host, &name);
        let started = Instant::now();
        bare_make(&folders, v1);
        add(&folders, pid);
        let made = started.elapsed();
        back(&folders, pid);
        let started = Instant::now();
        remove(&folders);
        if round > 0 {
            ours.push(cshell);
            bare.push(made + started.elapsed());
        }
    }
    row("create + limit + add + delete, 1,000 times, median", median(ours), median(bare));
}

/// How long something took.
fn timed<T>(total: &mut Duration, what: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let value = what();
    *total += started.elapsed();
    value
}

/// Ours and theirs in turns, so that neither finds the machine warmer than the other.
fn alive(session: &Session) {
    let host = Host::detect("bench").unwrap();
    let v1 = host.with("bench", "memory").unwrap().version == 1;
    let (limits, files) = (limits(), stat_files(v1));
    let count = u32::try_from(ROUNDS).unwrap();
    let zero = || (Duration::ZERO, Duration::ZERO);
    let (mut made, mut stats, mut deleted) = (zero(), zero(), zero());
    let mut groups = Vec::new();
    for n in 0..ROUNDS {
        let group = timed(&mut made.0, || cgroup::limit_new(session, &limits).unwrap());
        let bare = folders(&host, &format!("bench-{}-{n}", std::process::id()));
        timed(&mut made.1, || bare_make(&bare, v1));
        groups.push((group, bare));
    }
    for ((_, group), bare) in &groups {
        let all = timed(&mut stats.0, || group.stats());
        assert!(all.is_object());
        let read_all = || bare.iter().for_each(|path| files.iter().for_each(|file| drop(read(path, file))));
        timed(&mut stats.1, read_all);
    }
    for ((id, group), bare) in groups {
        drop(group);
        timed(&mut deleted.0, || session.close_handle(id).unwrap());
        timed(&mut deleted.1, || remove(&bare));
    }
    for (name, (ours, bare)) in [("create + limit", made), ("stats", stats), ("delete", deleted)] {
        row(&format!("1,000 alive at once: {name}, each"), ours / count, bare / count);
    }
}

/// What the stats are made of; a file that a folder does not have is left out.
fn stat_files(v1: bool) -> &'static [&'static str] {
    if v1 {
        &[
            "memory.usage_in_bytes",
            "memory.max_usage_in_bytes",
            "memory.memsw.usage_in_bytes",
            "memory.oom_control",
            "cpu.stat",
            "pids.current",
            "pids.peak",
            "cgroup.events",
        ]
    } else {
        &[
            "memory.current",
            "memory.peak",
            "memory.swap.current",
            "memory.events.local",
            "cpu.stat",
            "pids.current",
            "pids.peak",
            "io.stat",
            "cgroup.events",
        ]
    }
}

fn read(folder: &Path, file: &str) -> Option<String> {
    std::fs::read_to_string(folder.join(file)).ok()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn row(name: &str, ours: Duration, bare: Duration) {
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    println!("{name:<58} {:>9.1} {:>9.1} {:>7.2}", micros(ours), micros(bare), micros(ours) / micros(bare));
}
