//! Runs the program and compares exactly: standard output, standard error, how it ended, what it left.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::allow_attributes, reason = "what is unused differs between the test files")]

pub(crate) mod skip;
pub(crate) mod user;

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long a run may take before it is killed and the test fails.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A run of `cshell` that is being described. Its state folders and its working folder are its own.
#[must_use]
pub(crate) struct Cshell {
    folder: tempfile::TempDir,
    cwd: PathBuf,
    args: Vec<OsString>,
    env: Vec<(String, String)>,
    stdin: Vec<u8>,
    stdout: Option<String>,
    stderr: Option<String>,
    timeout: Duration,
    status: Ended,
    user: Option<user::User>,
    groups: user::Groups,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Exit(i32),
    Signal(i32),
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Self {
        match status.signal() {
            Some(signal) => Self::Signal(signal),
            None => Self::Exit(status.code().unwrap()),
        }
    }
}

/// What a run wrote and how it ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) ended: Ended,
}

/// The program under test, run by root or by `user` with this folder, in an empty environment.
#[expect(clippy::disallowed_methods, reason = "the program under test")]
pub(crate) fn program(user: Option<&user::User>, folder: &std::path::Path) -> Command {
    let binary = env!("CARGO_BIN_EXE_cshell");
    if let Some(user) = user {
        return user.command(binary.as_ref(), folder);
    }
    let mut command = Command::new(binary);
    command.env_clear();
    command
}

/// `cshell` with these arguments.
pub(crate) fn cshell<A: Into<OsString>>(args: impl IntoIterator<Item = A>) -> Cshell {
    let folder = tempfile::tempdir().unwrap();
    let cwd = folder.path().join("work");
    std::fs::create_dir(&cwd).unwrap();
    Cshell {
        folder,
        cwd,
        args: args.into_iter().map(Into::into).collect(),
        env: Vec::new(),
        stdin: Vec::new(),
        stdout: None,
        stderr: None,
        timeout: TIMEOUT,
        status: Ended::Exit(0),
        user: user::User::of_every_run(),
        groups: user::Groups::default(),
    }
}

/// `cshell -c CODE`.
pub(crate) fn code(code: &str) -> Cshell {
    cshell(["-c", &unindent(code)])
}

impl Cshell {
    pub(crate) fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// How long it may take, where that is not a minute.
    pub(crate) fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Writes a file in the working folder.
    #[track_caller]
    pub(crate) fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.cwd.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = text.as_ref();
        let text = std::str::from_utf8(text).map_or_else(|_| text.to_vec(), |text| unindent(text).into());
        std::fs::write(path, text).unwrap();
        self
    }

    /// Works in this folder instead of an empty one.
    pub(crate) fn cwd(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cwd = folder.into();
        self
    }

    /// Runs as root, whoever runs the others.
    pub(crate) fn by_root(mut self) -> Self {
        self.user = None;
        self
    }

    /// Runs as an ordinary user with subordinate ids.
    pub(crate) fn by_user(self) -> Self {
        self.by_user_with(user::User::default())
    }

    /// Runs as an ordinary user.
    pub(crate) fn by_user_with(mut self, user: user::User) -> Self {
        self.user = Some(user);
        self
    }

    /// The folder that holds the state folders and the working folder: the home of an ordinary user.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub(crate) fn stdin(mut self, text: &str) -> Self {
        self.stdin = unindent(text).into();
        self
    }

    /// What the standard output must be; without this, anything.
    pub(crate) fn stdout(mut self, text: &str) -> Self {
        self.stdout = Some(unindent(text));
        self
    }

    /// What the standard error must be; without this, nothing.
    pub(crate) fn stderr(mut self, text: &str) -> Self {
        self.stderr = Some(unindent(text));
        self
    }

    pub(crate) fn exit(mut self, code: i32) -> Self {
        self.status = Ended::Exit(code);
        self
    }

    fn spawn(&self) -> Child {
        let mut command = program(self.user.as_ref(), self.folder.path());
        command
            .args(&self.args)
            .current_dir(&self.cwd)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("CSHELL_RUN", self.folder.path().join("run"))
            .env("CSHELL_ROOT", self.folder.path().join("root"))
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        if self.user.as_ref().is_some_and(|user| user.groups) {
            self.groups.add(child.id());
        }
        child
    }

    /// Runs it and returns what came, compared with nothing.
    #[track_caller]
    pub(crate) fn output(&self) -> Run {
        let mut child = self.spawn();
        // A program that does not read its input closes it: that is its right.
        let _ = child.stdin.take().unwrap().write_all(&self.stdin);
        let pid = child.id();
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || send.send(child.wait_with_output()));
        let Ok(output) = receive.recv_timeout(self.timeout) else {
            kill(pid, nix::sys::signal::Signal::SIGKILL);
            panic!("{:?} did not end in {:?}", self.args, self.timeout);
        };
        let output = output.unwrap();
        Run {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            ended: output.status.into(),
        }
    }

    /// Runs it as the user in control groups that root has delegated to it, on version 1 and 2: made by another run of the
    /// program, which takes them back.
    #[track_caller]
    pub(crate) fn delegated(mut self) -> Run {
        let user = self.user.get_or_insert_default();
        user.before = format!("{}\n{}", user::DELEGATE, user.before);
        let group =
            "let options = #{ cgroup: cgroup::create(`delegated-${sys::info().pid}`, #{ cpuset: \"0\" }) };";
        self.under(group)
    }

    /// Runs it as the user from another run of the program, as root, which starts it with the `options` that the script
    /// `setup` makes.
    #[track_caller]
    pub(crate) fn under(self, setup: &str) -> Run {
        let driver = format!(
            "{setup} options.check = false; let run = proc::exec(sys::args(), options); \
             print(run.stdout); sys::log(run.stderr); exit(run.code);"
        );
        let user = self.user.clone().unwrap();
        let command = user.command(env!("CARGO_BIN_EXE_cshell").as_ref(), self.folder.path());
        let mut outer = code(&driver).by_root();
        outer.args.push(command.get_program().into());
        outer.args.extend(command.get_args().map(Into::into));
        outer.args.extend(self.args.iter().cloned());
        for (name, value) in command.get_envs() {
            outer.env.push((name.to_str().unwrap().into(), value.unwrap().to_str().unwrap().into()));
        }
        outer.env.push(("STATE".into(), self.folder.path().to_str().unwrap().into()));
        outer.cwd.clone_from(&self.cwd);
        outer.output()
    }

    /// Runs it, and looks at something before its folder goes.
    #[track_caller]
    pub(crate) fn output_with<T>(self, look: impl FnOnce() -> T) -> (Run, T) {
        let run = self.output();
        (run, look())
    }

    /// Runs it and compares everything.
    #[track_caller]
    pub(crate) fn check(self) {
        let run = self.output();
        let all = format!("--- stdout\n{}--- stderr\n{}", run.stdout, run.stderr);
        if let Some(stdout) = &self.stdout {
            assert_eq!(&run.stdout, stdout, "standard output of {:?}\n{all}", self.args);
        }
        assert_eq!(
            run.stderr,
            self.stderr.as_deref().unwrap_or(""),
            "standard error of {:?}\n{all}",
            self.args
        );
        assert_eq!(run.ended, self.status, "end of {:?}\n{all}", self.args);
        self.nothing_left();
    }

    /// Runs it until it has written `line`, then calls `then` with its pid and the rest of its output.
    #[track_caller]
    pub(crate) fn after_line(
        self,
        line: &str,
        then: impl FnOnce(u32, BufReader<std::process::ChildStdout>),
    ) -> Run {
        let run = self.after_line_leaving(line, then);
        self.nothing_left();
        run
    }

    /// As [`after_line`](Self::after_line), for a program that is killed and leaves its ledger behind.
    #[track_caller]
    pub(crate) fn after_line_leaving(
        &self,
        line: &str,
        then: impl FnOnce(u32, BufReader<std::process::ChildStdout>),
    ) -> Run {
        let mut child = self.spawn();
        drop(child.stdin.take());
        let pid = child.id();
        let (done, timer) = mpsc::channel::<()>();
        let watch = std::thread::spawn(move || {
            if timer.recv_timeout(TIMEOUT) == Err(mpsc::RecvTimeoutError::Timeout) {
                kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut read = String::new();
        stdout.read_line(&mut read).unwrap();
        assert_eq!(read, format!("{line}\n"));
        if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| then(pid, stdout))) {
            // A failed test must not leave it running, with all that it made.
            kill(pid, nix::sys::signal::Signal::SIGTERM);
            child.wait().unwrap();
            std::panic::resume_unwind(panic);
        }
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let ended = child.wait().unwrap().into();
        done.send(()).unwrap();
        watch.join().unwrap();
        Run { stdout: read, stderr, ended }
    }

    /// Runs `cshell gc` on the state folders of a run that was killed: then nothing is left.
    #[track_caller]
    pub(crate) fn reclaim(mut self) {
        self.args = vec!["gc".into()];
        let run = self.output();
        assert_eq!((run.stderr.as_str(), run.ended), ("", Ended::Exit(0)), "{}", run.stdout);
        self.nothing_left();
    }

    /// No session is left in the run folder.
    #[track_caller]
    fn nothing_left(&self) {
        let run = self.folder.path().join("run");
        if run.exists() {
            let left: Vec<_> =
                std::fs::read_dir(run).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert!(left.is_empty(), "left behind: {left:?}");
        }
    }
}

/// Sends a signal to a process of this test.
pub(crate) fn kill(pid: u32, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(pid.try_into().unwrap());
    nix::sys::signal::kill(pid, signal).unwrap();
}

/// Removes the indentation that all lines share, and a first line that is empty.
pub(crate) fn unindent(text: &str) -> String {
    let Some(text) = text.strip_prefix('\n') else { return text.to_owned() };
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let shared = text.lines().filter(|line| !line.trim().is_empty()).map(indent).min().unwrap_or(0);
    let mut lines: Vec<&str> = text.split('\n').map(|line| line.get(shared..).unwrap_or("")).collect();
    // The last line holds the indentation of the closing quote.
    if lines.last().is_some_and(|line| line.trim().is_empty()) {
        lines.pop();
        lines.push("");
    }
    lines.join("\n")
}
