//! What a person waits for: `cargo bench --bench prompt`.
//!
//! From the start of the program to its first prompt, on a pseudo-terminal, in turns with the prompts of bash and Python; and
//! from Tab to the completed name, with 5,000 variables.
#![expect(clippy::print_stdout, reason = "it prints a table")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot run ends")]
#![expect(clippy::disallowed_methods, reason = "the programs are measured from outside")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

const ROUNDS: usize = 40;
const NAMES: usize = 5000;

/// A program on a terminal of its own.
struct Session {
    child: Child,
    terminal: File,
    seen: String,
}

impl Session {
    fn start(program: &str, args: &[&str], folder: &std::path::Path) -> Self {
        let size = nix::pty::Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = nix::pty::openpty(Some(&size), None).unwrap();
        let side = || pair.slave.try_clone().unwrap();
        let mut command = Command::new(program);
        command.args(args).env_clear().env("TERM", "xterm").env("NO_COLOR", "1");
        command.env("PS1", "$ ").env("PATH", "/usr/bin:/bin");
        command.env("CSHELL_RUN", folder.join("run")).env("CSHELL_ROOT", folder.join("root"));
        command.env("CSHELL_HISTORY", folder.join("history"));
        let child = command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
        let terminal: OwnedFd = pair.master;
        Self { child, terminal: terminal.into(), seen: String::new() }
    }

    /// Reads until what was written since the last time has `text`.
    fn until(&mut self, text: &str) {
        let mut buffer = [0; 65536];
        while !self.seen.contains(text) {
            let read = self.terminal.read(&mut buffer).unwrap();
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        self.seen.clear();
    }

    /// Reads until nothing more comes.
    fn settle(&mut self) {
        use nix::poll::{PollFd, PollFlags, poll};
        use std::os::fd::AsFd;
        let mut buffer = [0; 65536];
        while poll(&mut [PollFd::new(self.terminal.as_fd(), PollFlags::POLLIN)], 30u8) == Ok(1) {
            let _ = self.terminal.read(&mut buffer).unwrap();
        }
        self.seen.clear();
    }

    fn keys(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).unwrap();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Its end is not measured.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_cshell");
    println!("{:<44} {:>8} {:>8} {:>5}", "", "median", "p90 ms", "runs");
    let programs: [(&str, &str, &[&str], &str); 3] = [
        ("the first prompt of cshell", program, &[], "cshell> "),
        ("of bash --norc", "bash", &["--norc", "--noprofile", "-i"], "$ "),
        ("of python3 -I -q", "python3", &["-I", "-q"], ">>> "),
    ];
    let mut times: [Vec<Duration>; 3] = Default::default();
    for _ in 0..ROUNDS {
        for (which, (_, program, args, prompt)) in programs.iter().enumerate() {
            let started = Instant::now();
            let mut session = Session::start(program, args, folder.path());
            session.until(prompt);
            times[which].push(started.elapsed());
        }
    }
    for ((name, ..), times) in programs.iter().zip(times) {
        row(name, times);
    }
    completion(program, folder.path());
}

fn completion(program: &str, folder: &std::path::Path) {
    let names: String = (0..NAMES).map(|n| format!("let name_{n:04} = {n};\n")).collect();
    let file = folder.join("names.rhai");
    std::fs::write(&file, format!("{names}let unmistakable = 1;\n")).unwrap();
    let mut session = Session::start(program, &["-i", file.to_str().unwrap()], folder);
    session.until("cshell> ");
    for (what, typed, completed) in [
        ("Tab: one of 5,000 variables", "unmist", "unmistakable"),
        ("Tab: a function of a module", "net::ve", "net::veth("),
        ("Tab: a key of an option map", "net::veth(#{ pe", "peer:"),
    ] {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            session.keys(typed);
            session.settle();
            let started = Instant::now();
            session.keys("\t");
            session.until(completed);
            times.push(started.elapsed());
            // The line is given up.
            session.keys("\x15");
            session.settle();
        }
        row(what, times);
    }
}

fn row(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    println!("{name:<44} {:>8.2} {:>8.2} {:>5}", at(50), at(90), times.len());
}
