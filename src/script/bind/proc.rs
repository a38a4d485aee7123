//! `proc`: processes.

use crate::error::Result;
use crate::runtime::ns::NsSet;
use crate::runtime::proc::spec::Namespaces;
use crate::runtime::proc::{self, Command, Outcome, ProcSpec, Process};
use crate::runtime::security::seccomp::Profile;
use crate::runtime::session::HandleId;
use crate::script::bind::proc_options::{Spec, to_bytes};
use crate::script::call::Call;
use crate::script::convert::{At, Either, FromScript, OrEmpty};
use crate::script::handle::{Kind, Open};
use crate::script::native::natives;
use crate::script::options::{FromOptions, Key, Options, Opts};
use crate::script::returned::script_value;
use rhai::{Blob, Dynamic};
use serde_json::json;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::rc::Rc;
use std::time::Duration;

natives! {
    /// Processes: started in any namespaces, groups and root, fed, watched and ended.
    pub const PROC = "proc";

    /// Runs a command and waits for its end.
    ///
    /// `command` is a list, the exact arguments (text or blobs, the first names the program), or a text for `/bin/sh -c`
    /// of the root it runs in. Without options it is a plain command on the host; without root it sees itself as root there, who
    /// is the user outside (as under `podman unshare`; see `sys::rootless`). Returns an `ExecResult`.
    ///
    /// Errors: `not_found` (code 127) for a command that does not exist, `permission_denied` (126) for one that cannot
    /// be run; the failing step (125) for one that cannot be started; unless `check: false`, `exit_status` for a status
    /// other than 0, `timeout`, and `limit_reached` when memory or `output_max` ran out. Source: clone3(2), execve(2).
    fn "proc::exec"(command: Command, options: OrEmpty<Spec>) -> ExecResult = exec;
    /// Starts a command and returns at once; it is killed when its handle is closed or the script ends.
    ///
    /// `input: "pipe"` gives it a standard input that `.write` feeds.
    fn "proc::spawn"(command: Command, options: OrEmpty<Spec>) -> (HandleId, Rc<Process>) = spawn;
    /// Sends a signal to a process of this script, by name or number: `"TERM"`, `"SIGKILL"`, `9`.
    fn "proc::signal"(process: Open<Process>, signal: Signal) = signal;

    /// Runs a command in the namespaces of the set: `proc::exec` with `ns`.
    method "Ns.exec"(set: Open<NsSet>, command: Command, options: OrEmpty<Spec>) -> ExecResult = exec_in;
    /// Starts a command in the namespaces of the set: `proc::spawn` with `ns`.
    method "Ns.spawn"(set: Open<NsSet>, command: Command, options: OrEmpty<Spec>) -> (HandleId, Rc<Process>) = spawn_in;

    /// The process id, as seen from here.
    get "Process.pid"(process: Open<Process>) -> i32 = pid;
    /// The command, as one line.
    get "Process.command"(process: Open<Process>) -> String = command_of;
    /// Whether it has not ended.
    get "Process.is_running"(process: Open<Process>) -> bool = is_running;
    /// Waits for its end. How it ended is in the result, and no error.
    method "Process.wait"(process: Open<Process>) -> ExecResult = wait;
    /// Ends it: SIGTERM, and SIGKILL after its `kill_grace`. Waits for that.
    method "Process.kill"(process: Open<Process>) -> ExecResult = kill;
    /// Sends it a signal, by name or number.
    method "Process.signal"(process: Open<Process>, signal: Signal) = signal;
    /// Writes to its standard input; needs `input: "pipe"`.
    method "Process.write"(process: Open<Process>, data: Either<Blob, String>) = write;
    /// Closes its standard input once it has read what was written.
    method "Process.close_stdin"(process: Open<Process>) = close_stdin;
    /// The next line of its standard output, without the line end; `()` at the end. Waits for it.
    method "Process.next_line"(process: Open<Process>) -> Option<String> = next_line;
    /// The lines of its standard output, all that it writes until its end.
    method "Process.lines"(process: Open<Process>) -> Vec<String> = lines;
    /// Waits until its standard output contains `text`, and returns the output up to and with it.
    ///
    /// Errors: `timeout`; `not_found` when it ends without.
    method "Process.expect"(process: Open<Process>, text: String, options: OrEmpty<Expect>) -> String = expect;
    /// The inode of its namespace of a kind.
    method "Process.ns"(process: Open<Process>, kind: String) -> u64 = ns_of;

    /// Whether it ended by itself with status 0.
    get "ExecResult.ok"(result: ExecResult) -> bool = ok;
    /// The exit code; 128 + n after signal n.
    get "ExecResult.code"(result: ExecResult) -> i32 = code;
    /// The name of the signal that ended it, or `()`.
    get "ExecResult.signal"(result: ExecResult) -> Option<String> = ended_by;
    /// Why it ended: `exited signaled timeout oom output`.
    get "ExecResult.reason"(result: ExecResult) -> String = reason;
    /// What it wrote to its standard output, as text; what is not UTF-8 is replaced, and `lossy` says so.
    get "ExecResult.stdout"(result: ExecResult) -> String = stdout;
    /// What it wrote to its standard error, as text.
    get "ExecResult.stderr"(result: ExecResult) -> String = stderr;
    /// What it wrote to its standard output, exactly.
    get "ExecResult.stdout_bytes"(result: ExecResult) -> Blob = stdout_bytes;
    /// What it wrote to its standard error, exactly.
    get "ExecResult.stderr_bytes"(result: ExecResult) -> Blob = stderr_bytes;
    /// Whether `stdout` or `stderr` is not exact, because it was not UTF-8.
    get "ExecResult.lossy"(result: ExecResult) -> bool = lossy;
    /// What it used: `cpu`, `wall` (seconds), `memory_peak` (bytes), `pids_peak`.
    ///
    /// `()` is what nothing counts: without a memory limit `memory_peak` is known only where it is above this program's own,
    /// because the kernel counts the memory that a process starts in.
    get "ExecResult.usage"(result: ExecResult) -> serde_json::Value = usage;
    /// The profile that allows the system calls it made and no others, after `seccomp: "record"`; else `()`.
    get "ExecResult.seccomp_profile"(result: ExecResult) -> Option<serde_json::Value> = seccomp_profile;
    /// The lines of `stdout`.
    method "ExecResult.lines"(result: ExecResult) -> Vec<String> = result_lines;
    /// All of it as a map.
    method "ExecResult.inspect"(result: ExecResult) -> serde_json::Value = inspect;
    /// One useful line.
    method "to_string"(result: ExecResult) -> String = show;
    /// One useful line.
    method "to_debug"(result: ExecResult) -> String = show;
}

impl Kind for Process {
    const NAME: &'static str = "Process";
    const DOC: &'static str = "A process that was started, with its input and output: it can be waited for, signalled and looked into.";
}

/// How a command ended, as a value of the language.
#[derive(Clone, Debug)]
pub struct ExecResult(Rc<Outcome>);

script_value!(ExecResult, "ExecResult");

impl FromScript for Command {
    fn expected() -> String {
        "a text for /bin/sh, or a list of arguments".into()
    }
    fn accepts(value: &Dynamic) -> bool {
        value.is_string() || value.is_array()
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        if value.is_string() {
            return Ok(Self::Shell(value.to_string()));
        }
        if !value.is_array() {
            return Err(at.expected(&Self::expected(), &value));
        }
        let words = Vec::<OsString>::from_script(value, at)?;
        Ok(Self::Argv(words.into_iter().map(OsString::into_vec).collect()))
    }
}

/// A signal by name or number.
#[derive(Clone, Copy, Debug)]
pub struct Signal(i32);

impl FromScript for Signal {
    fn expected() -> String {
        "a signal by name or number (\"TERM\", 15)".into()
    }
    fn accepts(value: &Dynamic) -> bool {
        value.is_string() || value.is_int()
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        let number = Self::accepts(&value).then(|| proc::signal_number(&value.to_string())).flatten();
        number.map(Self).ok_or_else(|| at.expected(&Self::expected(), &value))
    }
}

const EXPECT: Options = Options {
    of: "Process.expect",
    open: None,
    keys: &[Key::new("timeout", "duration", "\"10s\"", "How long to wait.")],
};

/// The options of `Process.expect`.
#[derive(Clone, Copy, Debug)]
pub struct Expect(Duration);

impl FromOptions for Expect {
    const OPTIONS: &'static Options = &EXPECT;
    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        Ok(Self(opts.or("timeout", Duration::from_secs(10))?))
    }
}

fn exec(call: &Call<'_>, command: Command, options: OrEmpty<Spec>) -> Result<ExecResult> {
    let spec = ProcSpec { command, ..options.0.0 };
    proc::exec(call.session(), &spec).map(ExecResult)
}

fn spawn(call: &Call<'_>, command: Command, options: OrEmpty<Spec>) -> Result<(HandleId, Rc<Process>)> {
    let spec = ProcSpec { command, ..options.0.0 };
    proc::spawn(call.session(), &spec)
}

fn inside(call: &Call<'_>, set: &Open<NsSet>, options: OrEmpty<Spec>) -> Result<OrEmpty<Spec>> {
    if options.0.0.ns.is_some() {
        return Err(call.invalid("`ns` is given by the set itself"));
    }
    Ok(OrEmpty(Spec(ProcSpec { ns: Some(Namespaces::Of(set.shared())), ..options.0.0 })))
}

fn exec_in(
    call: &Call<'_>,
    set: Open<NsSet>,
    command: Command,
    options: OrEmpty<Spec>,
) -> Result<ExecResult> {
    exec(call, command, inside(call, &set, options)?)
}

fn spawn_in(
    call: &Call<'_>,
    set: Open<NsSet>,
    command: Command,
    options: OrEmpty<Spec>,
) -> Result<(HandleId, Rc<Process>)> {
    spawn(call, command, inside(call, &set, options)?)
}

fn signal(_: &Call<'_>, process: Open<Process>, signal: Signal) -> Result<()> {
    process.signal(signal.0)
}

fn pid(_: &Call<'_>, process: Open<Process>) -> Result<i32> {
    Ok(process.pid)
}

fn command_of(_: &Call<'_>, process: Open<Process>) -> Result<String> {
    Ok(process.command.clone())
}

fn is_running(call: &Call<'_>, process: Open<Process>) -> Result<bool> {
    process.is_running(call.session())
}

fn wait(call: &Call<'_>, process: Open<Process>) -> Result<ExecResult> {
    process.wait_or_interrupt(call.session(), call.op()).map(ExecResult)
}

fn kill(call: &Call<'_>, process: Open<Process>) -> Result<ExecResult> {
    process.kill(call.session()).map(ExecResult)
}

fn write(_: &Call<'_>, process: Open<Process>, data: Either<Blob, String>) -> Result<()> {
    process.write(&to_bytes(data))
}

fn close_stdin(_: &Call<'_>, process: Open<Process>) -> Result<()> {
    process.close_stdin();
    Ok(())
}

fn next_line(call: &Call<'_>, process: Open<Process>) -> Result<Option<String>> {
    Ok(process.next_line(call.session())?.map(|line| lossy_text(&line)))
}

fn lines(call: &Call<'_>, process: Open<Process>) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    while let Some(line) = process.next_line(call.session())? {
        lines.push(lossy_text(&line));
    }
    Ok(lines)
}

fn expect(call: &Call<'_>, process: Open<Process>, text: String, options: OrEmpty<Expect>) -> Result<String> {
    let found = process.expect(call.session(), text.as_bytes(), options.0.0)?;
    Ok(lossy_text(&found))
}

fn ns_of(call: &Call<'_>, process: Open<Process>, kind: String) -> Result<u64> {
    crate::runtime::ns::list::one(call.op(), process.pid, &kind)
}

fn lossy_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn ok(_: &Call<'_>, result: ExecResult) -> Result<bool> {
    Ok(result.0.is_ok())
}

fn code(_: &Call<'_>, result: ExecResult) -> Result<i32> {
    Ok(result.0.code)
}

fn ended_by(_: &Call<'_>, result: ExecResult) -> Result<Option<String>> {
    Ok(result.0.signal.clone())
}

fn reason(_: &Call<'_>, result: ExecResult) -> Result<String> {
    Ok(result.0.reason.name().to_owned())
}

fn stdout(_: &Call<'_>, result: ExecResult) -> Result<String> {
    Ok(lossy_text(&result.0.stdout))
}

fn stderr(_: &Call<'_>, result: ExecResult) -> Result<String> {
    Ok(lossy_text(&result.0.stderr))
}

fn stdout_bytes(_: &Call<'_>, result: ExecResult) -> Result<Blob> {
    Ok(result.0.stdout.clone())
}

fn stderr_bytes(_: &Call<'_>, result: ExecResult) -> Result<Blob> {
    Ok(result.0.stderr.clone())
}

fn lossy(_: &Call<'_>, result: ExecResult) -> Result<bool> {
    Ok(std::str::from_utf8(&result.0.stdout).is_err() || std::str::from_utf8(&result.0.stderr).is_err())
}

fn usage(_: &Call<'_>, result: ExecResult) -> Result<serde_json::Value> {
    let used = result.0.usage;
    Ok(json!({
        "cpu": (used.user + used.system).as_secs_f64(),
        "wall": result.0.wall.as_secs_f64(),
        "memory_peak": result.0.memory_peak,
        "pids_peak": result.0.pids_peak,
    }))
}

fn seccomp_profile(_: &Call<'_>, result: ExecResult) -> Result<Option<serde_json::Value>> {
    Ok(result.0.seccomp_profile.as_ref().map(Profile::to_json))
}

fn result_lines(_: &Call<'_>, result: ExecResult) -> Result<Vec<String>> {
    Ok(lossy_text(&result.0.stdout).lines().map(str::to_owned).collect())
}

fn inspect(call: &Call<'_>, result: ExecResult) -> Result<serde_json::Value> {
    let outcome = &result.0;
    Ok(json!({
        "ok": outcome.is_ok(), "code": outcome.code, "signal": outcome.signal, "reason": outcome.reason.name(),
        "stdout": lossy_text(&outcome.stdout), "stderr": lossy_text(&outcome.stderr),
        "usage": usage(call, result.clone())?,
    }))
}

fn show(_: &Call<'_>, result: ExecResult) -> Result<String> {
    Ok(result.line())
}

impl ExecResult {
    /// How it ended, as one line.
    #[must_use]
    pub fn line(&self) -> String {
        let sizes = format!("{} B out, {} B err", self.0.stdout.len(), self.0.stderr.len());
        let (how, wall) = (proc::process::show(&self.0), self.0.wall.as_secs_f64() * 1e3);
        format!("ExecResult {how} ({sizes}, {wall:.1} ms)")
    }

    /// What it wrote: to its standard output, and to its standard error.
    #[must_use]
    pub fn output(&self) -> (String, String) {
        (lossy_text(&self.0.stdout), lossy_text(&self.0.stderr))
    }
}
