//! A terminal that a person would sit at: keys are typed, the screen is read. It is tmux's, so that what is drawn is drawn
//! by somebody else.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the screen may take to show something.
const PATIENCE: Duration = Duration::from_secs(20);

/// A terminal with a shell in it, from which the program is started. Its state folders are its own.
pub(crate) struct Terminal {
    folder: tempfile::TempDir,
}

impl Terminal {
    /// A terminal of 80 columns and 24 lines.
    pub(crate) fn new() -> Self {
        Self::with_env(&[])
    }

    /// A terminal with further variables in its environment.
    #[track_caller]
    pub(crate) fn with_env(env: &[(&str, &str)]) -> Self {
        let terminal = Self { folder: tempfile::tempdir().unwrap() };
        let folder = terminal.folder.path().to_str().unwrap().to_owned();
        let shell = terminal.folder.path().join("shell");
        let variables: String =
            env.iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect();
        let binary = env!("CARGO_BIN_EXE_cshell");
        let script = format!(
            "#!/bin/sh\nexport CSHELL_RUN={folder}/run CSHELL_ROOT={folder}/root CSHELL_HISTORY={folder}/history\n\
             export CSHELL={binary} PS1='$ ' EDITOR=false\n{variables}cd {folder}\nexec bash --norc --noprofile\n"
        );
        std::fs::write(&shell, script).unwrap();
        let start = format!("sh {}", shell.display());
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", &start]);
        terminal.tmux(&["set", "-g", "escape-time", "0"]);
        terminal.until("the shell", |screen| screen.trim_end().ends_with('$'));
        terminal
    }

    /// A terminal in which a prompt waits.
    #[track_caller]
    pub(crate) fn prompt() -> Self {
        let terminal = Self::new();
        terminal.open("$CSHELL");
        terminal
    }

    /// Starts a prompt by this command of the shell.
    #[track_caller]
    pub(crate) fn open(&self, command: &str) {
        self.entry(command);
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("tmux")
    }

    /// The folder that the shell is in, with the state folders.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "the terminal is not the program under test")]
    fn tmux(&self, args: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.socket()).args(args);
        // A terminal of its own, whatever the tests run in.
        command.env_remove("TMUX").env("TERM", "screen-256color").env("LC_ALL", "C.UTF-8");
        let output = command.output().expect("tmux is installed by tests/run.sh");
        assert!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Types text as it is.
    #[track_caller]
    pub(crate) fn text(&self, text: &str) {
        // A semicolon at the end would be tmux's own.
        let text = text.strip_suffix(';').map_or_else(|| text.to_owned(), |start| format!("{start}\\;"));
        self.tmux(&["send-keys", "-l", "--", &text]);
    }

    /// Presses keys by the names that tmux has for them: `Tab`, `C-c`, `Up`.
    #[track_caller]
    pub(crate) fn keys(&self, keys: &[&str]) {
        let mut args = vec!["send-keys"];
        args.extend(keys);
        self.tmux(&args);
    }

    /// Types a line and Enter.
    #[track_caller]
    pub(crate) fn line(&self, text: &str) {
        self.text(text);
        self.keys(&["Enter"]);
    }

    /// Types a line and waits until the prompt is there again.
    #[track_caller]
    pub(crate) fn entry(&self, text: &str) {
        self.then("cshell>", || self.line(text));
    }

    /// Does something, and waits until `prompt` is there, and nothing behind it, below where the cursor was before.
    #[track_caller]
    pub(crate) fn then(&self, prompt: &str, act: impl FnOnce()) {
        let before = self.row();
        act();
        self.until(prompt, |screen| screen.trim_end().lines().last() == Some(prompt) && self.row() > before);
    }

    /// Gives up what is typed, and waits until `prompt` is there again: what is typed at once behind Ctrl-C is lost, as at
    /// any terminal.
    #[track_caller]
    pub(crate) fn give_up(&self, prompt: &str) {
        self.then(prompt, || self.keys(&["C-c"]));
    }

    /// The row of the cursor, with what has scrolled away.
    #[track_caller]
    fn row(&self) -> usize {
        let text = self.tmux(&["display-message", "-p", "#{history_size} #{cursor_y}"]);
        text.split_whitespace().map(|number| number.parse::<usize>().unwrap()).sum()
    }

    /// Clears the screen.
    #[track_caller]
    pub(crate) fn clear(&self) {
        self.keys(&["C-l"]);
        self.until("an empty screen", |screen| screen.trim_end().lines().count() <= 1);
    }

    /// Pastes text, marked as pasted where the program has asked for that.
    #[track_caller]
    pub(crate) fn paste(&self, text: &str) {
        self.tmux(&["set-buffer", "--", text]);
        self.tmux(&["paste-buffer", "-p"]);
    }

    /// Gives the terminal another size.
    #[track_caller]
    pub(crate) fn resize(&self, columns: u16, lines: u16) {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &lines.to_string()]);
    }

    /// What the screen shows.
    #[track_caller]
    pub(crate) fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// What the screen shows, with lines that were too long for it in one piece.
    #[track_caller]
    fn unwrapped(&self) -> String {
        let joined = self.tmux(&["capture-pane", "-p", "-J"]);
        joined.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }

    /// What the screen shows, with the sequences for its colours.
    #[track_caller]
    pub(crate) fn coloured(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e"])
    }

    /// The column of the cursor, from 0.
    #[track_caller]
    pub(crate) fn column(&self) -> usize {
        self.tmux(&["display-message", "-p", "#{cursor_x}"]).trim().parse().unwrap()
    }

    /// Waits until the screen shows a text.
    #[track_caller]
    pub(crate) fn shows(&self, text: &str) -> String {
        self.until(text, |screen| screen.contains(text) || self.unwrapped().contains(text))
    }

    /// Waits until the screen is as `is_so` says, and returns it.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let started = Instant::now();
        loop {
            let screen = self.screen();
            if is_so(&screen) {
                return screen;
            }
            assert!(started.elapsed() < PATIENCE, "the screen never showed {what}:\n{screen}");
            std::thread::yield_now();
        }
    }

    /// The process id of the program that was started from the shell last.
    #[track_caller]
    pub(crate) fn pid(&self) -> String {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let shell = shell.trim();
        let path = format!("/proc/{shell}/task/{shell}/children");
        std::fs::read_to_string(path).unwrap().trim().to_owned()
    }
}

impl Drop for Terminal {
    #[expect(clippy::disallowed_methods, reason = "the terminal is not the program under test")]
    fn drop(&mut self) {
        // What runs in it is hung up. A test that failed must not leave it.
        let _ = Command::new("tmux").arg("-S").arg(self.socket()).arg("kill-server").output();
    }
}
