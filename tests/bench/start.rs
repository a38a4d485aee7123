//! How long a start takes: `cargo bench --bench start`.
//!
//! Start to exit of a static `true`, runs of all contenders interleaved, medians and 90th percentiles, as a table:
//!
//! * from a running cshell, in six new namespaces with an overlay, `pivot_root` and `/proc`, against the floor: the same
//!   system calls in a loop of this program;
//! * what each part of `security: "default"` adds to such a start, and all of it together;
//! * a command on the host, from a small program and from one with 512 MB touched;
//! * as a whole command, against `bwrap` and `crun`, without and with limits on memory and processes;
//! * the cold start: `cshell -c 1`, against the static `true` itself.
//!
//! Needs root, and the Debian packages bubblewrap and crun for the comparison: without them their rows say so.
#![expect(
    unsafe_code,
    clippy::multiple_unsafe_ops_per_block,
    reason = "the floor is made of raw system calls"
)]
#![expect(clippy::disallowed_methods, reason = "whole commands are timed from outside")]
#![expect(clippy::print_stdout, reason = "it prints a table")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot run ends")]

use std::ffi::CString;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 40;
const CSHELL: &str = env!("CARGO_BIN_EXE_cshell");
const SIX: &str = r#"["pid", "mount", "net", "ipc", "uts", "cgroup"]"#;

fn main() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIP: the bench needs root");
        return;
    }
    let place = Place::new();
    running(&place);
    hardening(&place);
    large(&place);
    whole(&place);
}

/// A root with a static `true`, and folders for state.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        // /dev and /sys are for crun, which wants them.
        for folder in
            ["root/proc", "root/dev", "root/sys", "upper", "work", "merged", "own/upper", "own/work"]
        {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let source = dir.path().join("true.c");
        std::fs::write(&source, "int main(void) { return 0; }\n").unwrap();
        let built =
            Command::new("cc").args(["-static", "-O2", "-o"]).arg(root.join("true")).arg(&source).status();
        assert!(built.unwrap().success(), "cc -static is needed for the static true");
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn cshell(&self) -> Command {
        let mut command = Command::new(CSHELL);
        command.env("CSHELL_RUN", self.path("run")).env("CSHELL_ROOT", self.path("state"));
        command
    }
}

/// Times of one contender.
struct Row {
    name: String,
    times: Vec<Duration>,
}

impl Row {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), times: Vec::new() }
    }

    fn at(&self, percent: usize) -> f64 {
        let mut times = self.times.clone();
        times.sort();
        let index = (times.len() * percent / 100).min(times.len().saturating_sub(1));
        times.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }

    fn print(&self, base: &Row) {
        let (median, p90) = (self.at(50), self.at(90));
        let ratio = median / base.at(50);
        println!("{:<58} {median:>8.2} {p90:>8.2} {:>7.2} {:>5}", self.name, ratio, self.times.len());
    }
}

fn header(title: &str, base: &str) {
    println!("\n{title}");
    println!("{:<58} {:>8} {:>8} {:>7} {:>5}", "", "median", "p90 ms", base, "runs");
}

/// A cshell that runs one start for each line it reads, and answers with the time it took.
struct Running {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Running {
    fn new(place: &Place, body: &str) -> Self {
        Self::prepared(place, "", body)
    }

    fn prepared(place: &Place, before: &str, body: &str) -> Self {
        let loop_script = format!(
            "{before} loop {{ if sys::read_line() == () {{ break; }} \
             let start = sys::now(); {body} print((sys::now() - start) * 1000000.0); }}"
        );
        let mut command = place.cshell();
        let child = command.arg("-c").arg(loop_script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output) }
    }

    fn once(&mut self) -> Duration {
        self.input.write_all(b"go\n").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let micros: f64 = line.trim().parse().unwrap_or_else(|_| panic!("cshell answered {line:?}"));
        Duration::from_secs_f64(micros / 1e6)
    }

    fn end(mut self) {
        drop(self.input);
        assert!(self.child.wait().unwrap().success());
    }
}

fn running(place: &Place) {
    let root = place.path("root");
    let root = root.display();
    let exec = format!("proc::exec([\"/true\"], #{{ ns: {SIX}, rootfs: root, mounts: [\"proc\"] }});");
    let own = place.path("own");
    let layers =
        format!("lowerdir: \"{root}\", upperdir: \"{0}/upper\", workdir: \"{0}/work\"", own.display());
    let given = format!("let root = #{{ {layers} }}; {exec}");
    let throw_away = format!("let root = #{{ lowerdir: \"{root}\" }}; {exec}");
    let handle = format!("let root = fs::overlay(#{{ lowerdir: \"{root}\" }}); {exec} root.close();");
    let bound = format!("let root = \"{root}\"; {exec}");
    let mut rows = [
        Row::new("floor: clone(VM), overlay, pivot_root, /proc, exec, wait"),
        Row::new("cshell: proc::exec, the same: rootfs with given layers"),
        Row::new("cshell: proc::exec, rootfs: #{ lowerdir }, layers made"),
        Row::new("cshell: fs::overlay, proc::exec, close"),
        Row::new("floor: a bind mount in place of the overlay"),
        Row::new("cshell: proc::exec, rootfs: a folder"),
    ];
    let mut running = [&given, &throw_away, &handle, &bound].map(|body| Running::new(place, body));
    for round in 0..=ROUNDS {
        let times = [
            floor(place, true),
            running[0].once(),
            running[1].once(),
            running[2].once(),
            floor(place, false),
            running[3].once(),
        ];
        // The first round warms up.
        if round > 0 {
            rows.iter_mut().zip(times).for_each(|(row, time)| row.times.push(time));
        }
    }
    running.into_iter().for_each(Running::end);
    header("From a running program: six namespaces, start to exit of a static true", "/floor");
    let (overlaid, folders) = rows.split_at(4);
    overlaid.iter().for_each(|row| row.print(&overlaid[0]));
    folders.iter().for_each(|row| row.print(&folders[0]));
}

/// The rules on devices of the default policy.
const DEVICES: &str = r#"["deny all", "allow c *:* m", "allow b *:* m", "allow c 1:3 rwm", "allow c 1:5 rwm", "allow c 1:7 rwm",
    "allow c 1:8 rwm", "allow c 1:9 rwm", "allow c 5:0 rwm", "allow c 5:1 rwm", "allow c 5:2 rwm", "allow c 136:* rwm"]"#;

fn hardening(place: &Place) {
    let (root, own) = (place.path("root"), place.path("own"));
    let root = format!(
        "rootfs: #{{ lowerdir: \"{}\", upperdir: \"{1}/upper\", workdir: \"{1}/work\" }}",
        root.display(),
        own.display()
    );
    let bare = format!("ns: {SIX}, {root}, mounts: [\"proc\", \"dev\", \"sys\"]");
    let policy = "let p = security::policy(#{ security: \"default\" });";
    let bodies = [
        ("without: six namespaces, overlay, /proc, /dev, /sys", bare.clone()),
        ("capabilities", format!("{bare}, capabilities: p.capabilities")),
        ("no_new_privs", format!("{bare}, no_new_privs: true")),
        ("system calls filtered, no_new_privs", format!("{bare}, no_new_privs: true, seccomp: \"default\"")),
        ("masked paths", format!("{bare}, masked_paths: p.masked_paths")),
        ("read-only paths", format!("{bare}, readonly_paths: p.readonly_paths")),
        ("a group with rules on devices", format!("{bare}, cgroup: #{{ devices: {DEVICES} }}")),
        ("security: \"default\", confirmed", format!("{root}, security: \"default\"")),
        ("security: \"default\", a group given", format!("{root}, security: \"default\", cgroup: g")),
    ];
    let before = format!("{policy} let g = cgroup::limit(#{{ devices: {DEVICES} }});");
    let mut rows: Vec<Row> = bodies.iter().map(|(name, _)| Row::new(name)).collect();
    let start = |options: &String| format!("proc::exec([\"/true\"], #{{ {options} }});");
    let mut running: Vec<Running> =
        bodies.iter().map(|(_, options)| Running::prepared(place, &before, &start(options))).collect();
    for round in 0..=ROUNDS {
        for (row, running) in rows.iter_mut().zip(&mut running) {
            let time = running.once();
            if round > 0 {
                row.times.push(time);
            }
        }
    }
    running.into_iter().for_each(Running::end);
    println!("\nWhat each part of a policy adds to a start");
    println!("{:<58} {:>8} {:>8} {:>7} {:>5}", "", "median", "p90 ms", "adds", "runs");
    for row in &rows {
        let adds = row.at(50) - rows[0].at(50);
        println!(
            "{:<58} {:>8.2} {:>8.2} {adds:>7.2} {:>5}",
            row.name,
            row.at(50),
            row.at(90),
            row.times.len()
        );
    }
}

fn floor(place: &Place, overlay: bool) -> Duration {
    let text = |path: PathBuf| CString::new(path.into_os_string().into_encoded_bytes()).unwrap();
    let (root, upper, work) = (place.path("root"), place.path("upper"), place.path("work"));
    let options =
        format!("lowerdir={},upperdir={},workdir={}", root.display(), upper.display(), work.display());
    let plan = Floor {
        root: text(root),
        merged: text(place.path("merged")),
        options: CString::new(options).unwrap(),
        overlay,
    };
    let mut stack = vec![0u8; 64 * 1024];
    let kinds = libc::CLONE_NEWPID
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | kinds | libc::SIGCHLD;
    let started = Instant::now();
    // SAFETY: the caller sleeps until the child, on its own stack, has exec'ed or ended; both outlive that.
    let pid = unsafe {
        libc::clone(
            floor_child,
            stack.as_mut_ptr().add(stack.len()).cast(),
            flags,
            (&raw const plan).cast_mut().cast(),
        )
    };
    assert!(pid > 0, "clone: {}", std::io::Error::last_os_error());
    let mut status = 0;
    // SAFETY: a status to fill in.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    let time = started.elapsed();
    assert!(waited == pid && status == 0, "the floor's child ended with {status:#x}");
    time
}

struct Floor {
    root: CString,
    merged: CString,
    options: CString,
    overlay: bool,
}

extern "C" fn floor_child(plan: *mut libc::c_void) -> i32 {
    // SAFETY: the plan outlives the child; each call gets C strings that live as long.
    unsafe {
        let plan = &*plan.cast::<Floor>();
        let none = std::ptr::null();
        let private = libc::MS_REC | libc::MS_PRIVATE;
        let merged = plan.merged.as_ptr();
        let mounted = libc::mount(none, c"/".as_ptr(), none, private, none.cast()) == 0
            && if plan.overlay {
                libc::mount(c"floor".as_ptr(), merged, c"overlay".as_ptr(), 0, plan.options.as_ptr().cast())
                    == 0
            } else {
                libc::mount(plan.root.as_ptr(), merged, none, libc::MS_BIND | libc::MS_REC, none.cast()) == 0
            };
        let moved = mounted
            && libc::chdir(merged) == 0
            && libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) == 0
            && libc::umount2(c".".as_ptr(), libc::MNT_DETACH) == 0
            && libc::chdir(c"/".as_ptr()) == 0
            && libc::mount(c"proc".as_ptr(), c"/proc".as_ptr(), c"proc".as_ptr(), 14, none.cast()) == 0;
        if moved {
            let argv = [c"true".as_ptr(), std::ptr::null()];
            libc::execve(c"/true".as_ptr(), argv.as_ptr(), argv.as_ptr().add(1));
        }
        libc::_exit(125)
    }
}

/// A row and how to make its command, where that is installed.
type Contender<'a> = (Row, Box<dyn Fn() -> Option<Command> + 'a>);

/// Whether a start costs more when the program that starts is large.
fn large(place: &Place) {
    let root = place.path("root");
    let body = format!("proc::exec([\"{}/true\"]);", root.display());
    let mut rows =
        [Row::new("cshell, small: proc::exec"), Row::new("cshell with 512 MB touched: proc::exec")];
    let mut small = Running::new(place, &body);
    // One list may not be that long.
    let heap: String = (0..32).map(|n| format!("let heap{n} = blob(16 * 1024 * 1024, 1); ")).collect();
    let mut large = Running::prepared(place, &heap, &body);
    for round in 0..=ROUNDS {
        let times = [small.once(), large.once()];
        if round > 0 {
            rows.iter_mut().zip(times).for_each(|(row, time)| row.times.push(time));
        }
    }
    small.end();
    large.end();
    header("From a small and a large program: a command on the host", "/small");
    rows.iter().for_each(|row| row.print(&rows[0]));
}

/// Whole commands.
fn whole(place: &Place) {
    let root = place.path("root");
    let exec = |options: &str| {
        format!(
            "proc::exec([\"/true\"], #{{ ns: {SIX}, rootfs: \"{}\", mounts: [\"proc\"]{options} }})",
            root.display()
        )
    };
    let limits = r#", cgroup: #{ memory: "64MiB", pids: 32 }"#;
    let view = View::new();
    let mut contenders: Vec<Contender<'_>> = vec![
        (Row::new("host: static true"), Box::new(|| Some(Command::new(root.join("true"))))),
        (Row::new("cshell -c 1"), Box::new(|| Some(code(place, "1")))),
        (Row::new("cshell -c proc::exec, six namespaces"), Box::new(|| Some(code(place, &exec(""))))),
        (Row::new("bwrap --unshare-all"), Box::new(|| bwrap(&root))),
        (Row::new("crun, no group"), Box::new(|| crun(place, &view, false))),
        (
            Row::new("cshell -c proc::exec, memory and pids limits"),
            Box::new(|| Some(code(place, &exec(limits)))),
        ),
        (Row::new("crun, memory and pids limits (v1)"), Box::new(|| crun(place, &view, true))),
    ];
    let mut missing = Vec::new();
    for round in 0..=ROUNDS {
        for (row, command) in &mut contenders {
            match command() {
                Some(command) if round > 0 => row.times.push(time(command, &row.name)),
                Some(command) => drop(time(command, &row.name)),
                None if round == 0 => missing.push(row.name.clone()),
                None => {}
            }
        }
    }
    header("As a whole command", "/bwrap");
    let base = contenders.iter().position(|(row, _)| row.name.starts_with("bwrap")).unwrap_or(0);
    for (row, _) in contenders.iter().filter(|(row, _)| !row.times.is_empty()) {
        row.print(&contenders[base].0);
    }
    for name in missing {
        println!("SKIP {name}: not installed");
    }
}

fn time(mut command: Command, name: &str) -> Duration {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    let started = Instant::now();
    let status = command.status().unwrap();
    let time = started.elapsed();
    assert!(status.success(), "{name}: {status}");
    time
}

fn code(place: &Place, code: &str) -> Command {
    let mut command = place.cshell();
    command.arg("-c").arg(code);
    command
}

fn installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).exists())
}

fn bwrap(root: &Path) -> Option<Command> {
    let mut command = Command::new("bwrap");
    command.arg("--unshare-all").arg("--bind").arg(root).args(["/", "--proc", "/proc", "/true"]);
    installed("bwrap").then_some(command)
}

/// A mount namespace without the bare version 2 tree, beside which crun refuses to work.
struct View {
    holder: Child,
    mounts: OwnedFd,
}

impl View {
    fn new() -> Self {
        let script = "umount /sys/fs/cgroup/unified 2>/dev/null; echo ready; exec cat";
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mounts = std::fs::File::open(format!("/proc/{}/ns/mnt", holder.id())).unwrap().into();
        Self { holder, mounts }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn crun(place: &Place, view: &View, limited: bool) -> Option<Command> {
    if !installed("crun") {
        return None;
    }
    let bundle = place.path(if limited { "limited" } else { "bundle" });
    if !bundle.exists() {
        std::fs::create_dir(&bundle).unwrap();
        let kinds = ["pid", "mount", "network", "ipc", "uts", "cgroup"]
            .map(|kind| serde_json::json!({ "type": kind }));
        let resources = if limited {
            serde_json::json!({ "memory": { "limit": 64 << 20 }, "pids": { "limit": 32 } })
        } else {
            serde_json::json!({})
        };
        let config = serde_json::json!({
            "ociVersion": "1.0.0",
            "process": { "terminal": false, "user": { "uid": 0, "gid": 0 }, "args": ["/true"], "cwd": "/" },
            "root": { "path": place.path("root"), "readonly": false },
            "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
            "linux": { "namespaces": kinds, "resources": resources },
        });
        std::fs::write(bundle.join("config.json"), config.to_string()).unwrap();
    }
    let mut command = Command::new("crun");
    command.arg(format!("--root={}", place.path("crun").display()));
    command.arg(if limited { "--cgroup-manager=cgroupfs" } else { "--cgroup-manager=disabled" });
    command.args(["run", "--bundle"]).arg(&bundle).arg(format!("bench-{}", std::process::id()));
    let mounts = view.mounts.as_raw_fd();
    // SAFETY: setns is async-signal-safe, and the descriptor is open until the view is dropped.
    unsafe {
        command.pre_exec(move || match libc::setns(mounts, libc::CLONE_NEWNS) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    Some(command)
}
