//! A virtual machine that runs jobs on another kernel, with the control groups arranged as wanted, and hands back what
//! became of each: Debian's kernel, busybox, the program under test, no disk. `tests/vm/init` is its first process.
//!
//! ```ignore
//! let vm = Vm::new("title", Mode::V2).modules(&["overlay"]).text("/work/a", "text").job("name", "cat /work/a");
//! let Some(outcomes) = vm.run() else { return };
//! ```
//!
//! A machine that does not come to its end in time is killed and fails the test with all that its console showed.
//! `CSHELL_VM_ACCEL` is qemu's accelerator (default `tcg,thread=multi`: emulation, which works everywhere; some 50 times
//! slower than the processor, so jobs should wait rather than compute), `CSHELL_VM_SHOW=1` shows the console of machines
//! that ended well.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::allow_attributes, reason = "what is unused differs between the test files")]

#[path = "cpio.rs"]
mod cpio;
#[path = "kernel.rs"]
mod kernel;
#[path = "skip.rs"]
mod skip;

use cpio::Archive;
use kernel::{Kernel, tool};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const QEMU: &str = "qemu-system-x86_64";
const BUSYBOX: &str = "/bin/busybox";
const SYSTEMD: &str = "/lib/systemd/systemd";
/// Has systemd mount version 1; from its release 256 on it wants to be told twice.
const HYBRID: &str = "systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1";
/// The only unit of a machine that systemd runs, but for those that are made while it runs: the jobs, after which the
/// machine switches itself off.
const JOBS: &str = "\
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/init jobs
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
";
/// All programs are in `/bin`, all libraries in `/usr`.
const FOLDERS: [(&str, &str); 5] = [
    ("/sbin", "bin"),
    ("/usr/bin", "../bin"),
    ("/usr/sbin", "../bin"),
    ("/lib", "usr/lib"),
    ("/lib64", "usr/lib64"),
];

/// How the control groups of the machine are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Each controller on a hierarchy of its own, and no version 2 tree.
    V1,
    /// Controllers as in version 1, and a version 2 tree beside them: only as [systemd](Vm::systemd) mounts them.
    Hybrid,
    /// One version 2 tree with all controllers.
    V2,
}

/// A machine that is being described.
#[must_use]
#[derive(Debug)]
pub(crate) struct Vm {
    title: String,
    mode: Mode,
    modules: Vec<String>,
    archive: Archive,
    jobs: Vec<String>,
    seconds: u32,
    disk: Option<u64>,
}

/// What became of a job.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    /// As the shell tells it: 128 and more for a signal.
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Mounts, links, processes, groups, and files of /run and /tmp that were not there before the job.
    pub(crate) left: Vec<String>,
}

impl Vm {
    /// A machine with busybox and the program under test, as `/bin/cshell`.
    pub(crate) fn new(title: &str, mode: Mode) -> Self {
        let mut archive = Archive::new();
        archive.file("/init", 0o755, include_bytes!("../vm/init").to_vec());
        archive.file("/etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n".to_vec());
        archive.file("/etc/group", 0o644, b"root:x:0:\n".to_vec());
        archive.file("/etc/hosts", 0o644, b"127.0.0.1 localhost\n".to_vec());
        // The targets of two of the links below, which must not dangle.
        archive.folder("/usr/lib");
        archive.folder("/usr/lib64");
        for (path, target) in FOLDERS {
            archive.link(path, target);
        }
        Self {
            title: title.into(),
            mode,
            modules: Vec::new(),
            archive,
            jobs: Vec::new(),
            seconds: 240,
            disk: None,
        }
    }

    /// How long the machine may take, instead of 240 seconds.
    pub(crate) fn seconds(mut self, seconds: u32) -> Self {
        self.seconds = seconds;
        self
    }

    /// A disk of this many MiB, as `/dev/vda`: all zeros, and gone with the machine.
    pub(crate) fn disk(mut self, mib: u64) -> Self {
        self.disk = Some(mib << 20);
        self.modules(&["virtio_pci", "virtio_blk"])
    }

    /// Has systemd run the machine: it mounts the control groups, not as version 1 alone, and the jobs run in a service of
    /// it. Its files are those of the machine that runs the tests, which need not be run by it.
    #[track_caller]
    pub(crate) fn systemd(self) -> Self {
        self.text("/etc/systemd/system/default.target", "[Unit]\nRequires=jobs.service\n")
            .text("/etc/systemd/system/jobs.service", JOBS)
            // Without one it is the first start of a machine, which takes longer.
            .text("/etc/machine-id", "00000000000000000000000000000001\n")
            .program(SYSTEMD)
            .program("/bin/systemctl")
            .program("/bin/systemd-run")
    }

    /// Kernel modules to insert, with those that they need.
    pub(crate) fn modules(mut self, names: &[&str]) -> Self {
        self.modules.extend(names.iter().map(|&name| name.to_owned()));
        self
    }

    /// A copy of a file of this machine.
    #[track_caller]
    pub(crate) fn file(mut self, path: &str, source: &Path) -> Self {
        let data = std::fs::read(source).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        self.archive.file(path, 0o755, data);
        self
    }

    /// A program of this machine, in `/bin` in place of busybox's applet, with the libraries that it needs. In shell
    /// scripts it needs its path: busybox's shell prefers its own applets to what PATH has.
    #[track_caller]
    pub(crate) fn program(self, path: &str) -> Self {
        let here = Path::new("/");
        let libraries = tool(here, "ldd", &[path]).unwrap_or_else(|error| panic!("{error}"));
        let name = path.rsplit('/').next().unwrap_or(path);
        let with_program = self.file(&format!("/bin/{name}"), Path::new(path));
        libraries.split_whitespace().filter(|word| word.starts_with('/')).fold(with_program, |vm, library| {
            let link =
                if library.starts_with("/usr/") { library.to_owned() } else { format!("/usr{library}") };
            vm.file(&link, Path::new(library))
        })
    }

    /// A file with this text.
    pub(crate) fn text(mut self, path: &str, text: &str) -> Self {
        self.archive.file(path, 0o755, text.into());
        self
    }

    /// A shell script to run before the jobs. What it writes goes to the console, what it leaves is nobody's fault.
    pub(crate) fn prepare(self, script: &str) -> Self {
        self.text("/vm/prepare", script)
    }

    /// A shell script to run. Jobs run one after the other; the first process looks at what each has left.
    pub(crate) fn job(mut self, name: &str, script: &str) -> Self {
        self.jobs.push(name.to_owned());
        let path = format!("/vm/jobs/{}", self.jobs.len());
        self.text(&path, script)
    }

    /// Runs the machine. `None`, said and counted, where there is no qemu or no kernel.
    ///
    /// # Panics
    /// When the machine does not come to its end in time, with all that it wrote to its console.
    #[track_caller]
    pub(crate) fn run(self) -> Option<Vec<Outcome>> {
        let title = self.title.clone();
        match self.boot() {
            Ok(outcomes) => Some(outcomes),
            Err(reason) => {
                skip::skip(&title, &reason);
                None
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the machine runs outside of the program under test")]
    fn boot(mut self) -> Result<Vec<Outcome>, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = |name: &str| folder.path().join(name);
        let kernel = Kernel::get()?;
        tool(folder.path(), QEMU, &["--version"])?;
        self.fill(&kernel, folder.path())?;
        std::fs::write(path("initrd"), self.archive.pack()).map_err(|error| error.to_string())?;
        let (mode, more) = match self.mode {
            Mode::V1 => ("v1", ""),
            Mode::V2 => ("v2", "cgroup_no_v1=all"),
            Mode::Hybrid => ("hybrid", HYBRID),
        };
        let variable = |name: &str, or: &str| std::env::var(name).unwrap_or_else(|_| or.to_owned());
        let limit = self.seconds.to_string();
        let start = Instant::now();
        // `timeout` ends the machine even where this process is no more.
        let output = Command::new("timeout")
            .args(["--foreground", "--signal=KILL", &limit, QEMU])
            .args(["-M", "q35", "-cpu", "max", "-smp", "1", "-m", "512", "-nodefaults", "-no-user-config"])
            .args(["-accel", &variable("CSHELL_VM_ACCEL", "tcg,thread=multi")])
            .args(["-display", "none", "-monitor", "none", "-no-reboot", "-serial", "stdio", "-serial"])
            .arg(format!("file:{}", path("results").display()))
            .arg("-kernel")
            .arg(kernel.image())
            .arg("-initrd")
            .arg(path("initrd"))
            // On a busy machine the kernel takes a late tick of the emulated timer for a broken one.
            .args(["-append", &format!("console=ttyS0 panic=-1 quiet no_timer_check vm_mode={mode} {more}")])
            .args(self.make_disk(&path("disk"))?)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("timeout: {error}"))?;
        let results = std::fs::read(path("results")).unwrap_or_default();
        let (outcomes, ended) = parse(&self.jobs, &results);
        assert!(
            ended && output.status.success(),
            "{}: the machine did not come to its end ({}) in {:?} of {limit} s\n--- console\n{}\n--- qemu\n{}\n--- jobs that ended\n{outcomes:#?}",
            self.title,
            output.status,
            start.elapsed(),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        if std::env::var_os("CSHELL_VM_SHOW").is_some() {
            let console = String::from_utf8_lossy(&output.stdout);
            let _ = writeln!(std::io::stderr(), "{}: {:?}\n{console}", self.title, start.elapsed());
        }
        Ok(outcomes)
    }

    /// Makes the disk, as a file that takes no room, and says what qemu is told of it.
    fn make_disk(&self, path: &Path) -> Result<Vec<String>, String> {
        let Some(bytes) = self.disk else { return Ok(Vec::new()) };
        let file = std::fs::File::create(path).and_then(|file| file.set_len(bytes));
        file.map_err(|error| format!("{}: {error}", path.display()))?;
        let drive = format!("if=none,id=disk,format=raw,cache=unsafe,file={}", path.display());
        Ok(["-drive", &drive, "-device", "virtio-blk-pci,drive=disk"].map(str::to_owned).to_vec())
    }

    /// Adds busybox with its applets, the program without what only a debugger reads, and the modules.
    fn fill(&mut self, kernel: &Kernel, folder: &Path) -> Result<(), String> {
        let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
        let applets = tool(folder, BUSYBOX, &["--list"])?;
        for applet in applets.lines().filter(|name| *name != "busybox") {
            let path = format!("/bin/{applet}");
            if !self.archive.has(&path) {
                self.archive.link(&path, "busybox");
            }
        }
        self.archive.file("/bin/busybox", 0o755, read(Path::new(BUSYBOX))?);
        tool(folder, "strip", &["-o", "cshell", env!("CARGO_BIN_EXE_cshell")])?;
        self.archive.file("/bin/cshell", 0o755, read(&folder.join("cshell"))?);
        let mut list = String::new();
        for (path, options) in kernel.modules(&self.modules)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            list.push_str(&format!("/vm/{name} {options}\n"));
            self.archive.file(&format!("/vm/{name}"), 0o644, read(&path)?);
        }
        self.archive.file("/vm/modules", 0o644, list.into());
        Ok(())
    }
}

/// The outcomes in what `tests/vm/init` wrote, and whether it came to its end.
fn parse(jobs: &[String], mut results: &[u8]) -> (Vec<Outcome>, bool) {
    let mut outcomes = Vec::new();
    while let Some(end) = results.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(&results[..end]).into_owned();
        results = &results[end + 1..];
        if line == "end" {
            return (outcomes, true);
        }
        let numbers: Vec<usize> = line.split(' ').skip(1).filter_map(|number| number.parse().ok()).collect();
        let [number, status, lengths @ ..] = &numbers[..] else { break };
        let mut texts = lengths.iter().map_while(|length| {
            let (text, rest) = results.split_at_checked(*length)?;
            results = rest;
            Some(String::from_utf8_lossy(text).into_owned())
        });
        let (Some(stdout), Some(stderr), Some(left)) = (texts.next(), texts.next(), texts.next()) else {
            break;
        };
        outcomes.push(Outcome {
            name: number.checked_sub(1).and_then(|index| jobs.get(index)).cloned().unwrap_or(line),
            status: i32::try_from(*status).unwrap_or(-1),
            stdout,
            stderr,
            left: left.lines().map(str::to_owned).collect(),
        });
    }
    (outcomes, false)
}
