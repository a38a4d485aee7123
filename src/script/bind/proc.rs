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
    /// Without options it is a plain command on the host; without root it sees itself as root there, who is the user outside
    /// (as under `podman unshare`; see `sys::rootless`). Callbacks of events run meanwhile.
    ///
    /// Returns: how it ended, with what it wrote and used.
    /// Errors: `not_found` (`e.exit_code` is 127) for a command that does not exist; `permission_denied` (126) for one that
    /// cannot be run, and what the step that failed says (125) for one that cannot be started; `exit_status` for a status
    /// other than 0, unless `check: false`; `timeout` when it ran longer than `timeout`; `limit_reached` when memory or
    /// `output_max` ran out; `invalid_argument` for options that do not go together; `unsupported` for what this kernel lacks or
    /// does not hold, and for a file that is no program; `busy` for a frozen group; `corrupt` for a broken user database in the root;
    /// `interrupted` when a signal asks the program to stop.
    /// Needs: nothing for a plain command; CAP_SYS_ADMIN, or `"user"` in `ns`, for namespaces, mounts and a root; Linux 5.7.
    /// Calls: clone3(2), execve(2), pivot_root(2), mount_setattr(2), seccomp(2), capabilities(7), setrlimit(2), waitid(2)
    /// Undo: the command is killed if it has not ended, and what was made for it alone (an overlay, a group) goes with it.
    /// Example:
    ///     let out = proc::exec("echo $0 $GREETING; exit 3", #{ env: #{ GREETING: "hello" }, check: false });
    ///     [out.stdout, out.code, out.ok]              // => ["/bin/sh hello\n", 3, false]
    ///     proc::exec(["echo", "a  b"]).stdout         // => "a  b\n"
    ///     proc::exec(["no-such-command"])             // throws not_found
    ///     proc::exec("sleep 9", #{ timeout: "50ms" }) // throws timeout
    fn "proc::exec"(
        /// A list, the exact arguments (text or blobs, the first names the program), or a text for `/bin/sh -c` of the root that
        /// it runs in.
        command: Command,
        options: OrEmpty<Spec>
    ) -> ExecResult = exec;
    /// Starts a command and returns at once.
    ///
    /// `input: "pipe"` gives it a standard input that `.write` feeds.
    ///
    /// Returns: the running process.
    /// Errors: `not_found` for a command that does not exist; `permission_denied` for one that cannot be run; `invalid_argument`
    /// for options that do not go together; `unsupported` for what this kernel lacks or does not hold; `busy` for a frozen group;
    /// `limit_reached` when no process, memory or open file is left; `corrupt` for a broken user database in the root.
    /// Needs: as `proc::exec`.
    /// Calls: clone3(2), execve(2), pidfd_open(2)
    /// Undo: it is killed, and what was made for it alone goes with it.
    /// Example:
    ///     let cat = proc::spawn(["cat"], #{ input: "pipe" });
    ///     cat.write("one\n");
    ///     cat.next_line()                       // => "one"
    ///     [cat.command, cat.is_running]         // => ["cat", true]
    ///     cat.pid > 1                           // => true
    fn "proc::spawn"(
        /// A list, the exact arguments, or a text for `/bin/sh -c` of the root that it runs in.
        command: Command,
        options: OrEmpty<Spec>
    ) -> (HandleId, Rc<Process>) = spawn;
    /// Sends a signal to a process of this script.
    ///
    /// Errors: `not_found` when it has ended; `invalid_argument` for no signal; `permission_denied` for what runs as someone
    /// else.
    /// Needs: nothing; Linux 5.3.
    /// Calls: pidfd_send_signal(2), signal(7)
    /// Undo: nothing.
    /// Example:
    ///     let sleep = proc::spawn(["sleep", "60"]);
    ///     proc::signal(sleep, "TERM");
    ///     sleep.wait().signal // => "SIGTERM"
    fn "proc::signal"(
        /// The process.
        process: Open<Process>,
        /// Its name or number: `"TERM"`, `"SIGKILL"`, `9`.
        signal: Signal
    ) = signal;

    /// Runs a command in the namespaces of the set: `proc::exec` with `ns`.
    ///
    /// Returns: how it ended, with what it wrote and used.
    /// Errors: `not_found` also when the process that keeps the set was killed; `exit_status` and all others as `proc::exec`.
    /// Needs: CAP_SYS_ADMIN in the user namespace of the set, which who made it has.
    /// Calls: setns(2), clone3(2), execve(2)
    /// Undo: as `proc::exec`.
    /// Example:
    ///     let box = ns::new(#{ kinds: ["uts"], hostname: "lab" });
    ///     box.exec(["hostname"]).stdout // => "lab\n"
    ///     box.exec("exit 4")            // throws exit_status
    method "Ns.exec"(
        set: Open<NsSet>,
        /// A list, the exact arguments, or a text for `/bin/sh -c`.
        command: Command,
        options: OrEmpty<Spec>
    ) -> ExecResult = exec_in;
    /// Starts a command in the namespaces of the set: `proc::spawn` with `ns`.
    ///
    /// Returns: the running process.
    /// Errors: `not_found` also when the process that keeps the set was killed; `permission_denied` and all others as
    /// `proc::spawn`.
    /// Needs: CAP_SYS_ADMIN in the user namespace of the set, which who made it has.
    /// Calls: setns(2), clone3(2), execve(2)
    /// Undo: it is killed.
    /// Example:
    ///     let box = ns::new(["net"]);
    ///     let sleep = box.spawn(["sleep", "60"]);
    ///     sleep.ns("net") == box.inode("net") // => true
    method "Ns.spawn"(
        set: Open<NsSet>,
        /// A list, the exact arguments, or a text for `/bin/sh -c`.
        command: Command,
        options: OrEmpty<Spec>
    ) -> (HandleId, Rc<Process>) = spawn_in;

    /// The process id, as seen from here.
    get "Process.pid"(process: Open<Process>) -> i32 = pid;
    /// The command, as one line.
    get "Process.command"(process: Open<Process>) -> String = command_of;
    /// Whether it has not ended. What a function that is called at an event throws comes out of here.
    get "Process.is_running"(process: Open<Process>) -> bool = is_running;
    /// Waits for its end. How it ended is in the result, and no error.
    ///
    /// Returns: how it ended; the same again each time.
    /// Errors: `interrupted` when a signal asks the program to stop.
    /// Needs: nothing.
    /// Calls: waitid(2), ppoll(2)
    /// Undo: nothing.
    /// Example:
    ///     proc::spawn("exit 7").wait().code // => 7
    method "Process.wait"(process: Open<Process>) -> ExecResult = wait;
    /// Ends it: SIGTERM, and SIGKILL after its `kill_grace`. Waits for that.
    ///
    /// Returns: how it ended.
    /// Errors: `timeout` for one that does not end even so, held by the kernel; `interrupted` when a signal asks the program to
    /// stop.
    /// Needs: nothing.
    /// Calls: pidfd_send_signal(2), waitid(2)
    /// Undo: nothing.
    /// Example:
    ///     let out = proc::spawn(["sleep", "60"]).kill();
    ///     [out.signal, out.code, out.reason] // => ["SIGTERM", 143, "signaled"]
    method "Process.kill"(process: Open<Process>) -> ExecResult = kill;
    /// Sends it a signal.
    ///
    /// Errors: `not_found` when it has ended; `invalid_argument` for no signal; `permission_denied` for what runs as someone
    /// else.
    /// Needs: nothing; Linux 5.3.
    /// Calls: pidfd_send_signal(2), signal(7)
    /// Undo: nothing.
    /// Example:
    ///     let sleep = proc::spawn(["sleep", "60"]);
    ///     sleep.signal(9);
    ///     sleep.wait().code // => 137
    method "Process.signal"(
        process: Open<Process>,
        /// Its name or number: `"TERM"`, `"SIGKILL"`, `9`.
        signal: Signal
    ) = signal;
    /// Writes to its standard input; needs `input: "pipe"`.
    ///
    /// What the pipe does not take at once is written while the script waits for something.
    ///
    /// Errors: `closed` when its standard input is closed, or was never a pipe.
    /// Needs: nothing.
    /// Calls: write(2), pipe(7)
    /// Undo: nothing.
    /// Example:
    ///     let sort = proc::spawn(["sort"], #{ input: "pipe" });
    ///     sort.write("b\na\n");
    ///     sort.close_stdin();
    ///     sort.wait().lines() // => ["a", "b"]
    method "Process.write"(
        process: Open<Process>,
        /// A text, or a blob for exact bytes.
        data: Either<Blob, String>
    ) = write;
    /// Closes its standard input once it has read what was written.
    ///
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: close(2)
    /// Undo: nothing.
    /// Example:
    ///     let cat = proc::spawn(["cat"], #{ input: "pipe" });
    ///     cat.close_stdin();
    ///     cat.wait().ok    // => true
    ///     cat.write("x")   // throws closed
    method "Process.close_stdin"(process: Open<Process>) = close_stdin;
    /// The next line of its standard output, without the line end. Waits for it.
    ///
    /// Returns: the line, or `()` at the end.
    /// Errors: `interrupted` when a signal asks the program to stop.
    /// Needs: nothing.
    /// Calls: read(2), ppoll(2)
    /// Undo: nothing.
    /// Example:
    ///     let out = proc::spawn("echo one; printf two");
    ///     [out.next_line(), out.next_line(), out.next_line()] // => ["one", "two", ()]
    method "Process.next_line"(process: Open<Process>) -> Option<String> = next_line;
    /// The lines of its standard output, all that it writes until its end. Waits for that.
    ///
    /// Returns: the lines, without their ends.
    /// Errors: `interrupted` when a signal asks the program to stop.
    /// Needs: nothing.
    /// Calls: read(2), ppoll(2)
    /// Undo: nothing.
    /// Example:
    ///     proc::spawn(["seq", "3"]).lines() // => ["1", "2", "3"]
    method "Process.lines"(process: Open<Process>) -> Vec<String> = lines;
    /// Waits until its standard output contains a text.
    ///
    /// Returns: the output up to and with it; what comes after is there for the next call.
    /// Errors: `timeout` when it does not write it in time; `not_found` when it ends without; `interrupted` when a signal asks the
    /// program to stop.
    /// Needs: nothing.
    /// Calls: read(2), ppoll(2)
    /// Undo: nothing.
    /// Example:
    ///     let server = proc::spawn("echo starting; echo ready; sleep 60");
    ///     server.expect("ready")                        // => "starting\nready"
    ///     server.expect("done", #{ timeout: "50ms" })   // throws timeout
    method "Process.expect"(
        process: Open<Process>,
        /// What it has to write.
        text: String,
        options: OrEmpty<Expect>
    ) -> String = expect;
    /// The inode of its namespace of a kind.
    ///
    /// Returns: the inode, as `lsns` shows it.
    /// Errors: `not_found` when it has ended; `permission_denied` for what runs as someone else; `invalid_argument` for an
    /// unknown kind.
    /// Needs: nothing for what runs as the caller; else CAP_SYS_PTRACE.
    /// Calls: namespaces(7), stat(2)
    /// Undo: nothing.
    /// Example:
    ///     proc::spawn(["sleep", "60"]).ns("uts") == ns::host().uts // => true
    method "Process.ns"(
        process: Open<Process>,
        /// The kind: `"net"`.
        kind: String
    ) -> u64 = ns_of;

    /// Whether it ended by itself with status 0.
    get "ExecResult.ok"(result: ExecResult) -> bool = ok;
    /// The exit code; 128 + n after signal n.
    get "ExecResult.code"(result: ExecResult) -> i32 = code;
    /// The name of the signal that ended it, or `()`.
    get "ExecResult.signal"(result: ExecResult) -> Option<String> = ended_by;
    /// Why it ended: `exited signaled timeout oom output cancelled`.
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
    ///
    /// Returns: the lines, without their ends.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     let out = proc::exec(["seq", "2"]);
    ///     out.lines()               // => ["1", "2"]
    ///     out.stdout_bytes.len()    // => 4
    ///     out.stderr_bytes.len()    // => 0
    ///     [out.stderr, out.lossy]   // => ["", false]
    ///     out.usage.wall < 60.0     // => true
    method "ExecResult.lines"(result: ExecResult) -> Vec<String> = result_lines;
    /// All of it as a map.
    ///
    /// Returns: `ok code signal reason stdout stderr usage`.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     let out = proc::exec(["true"]).inspect();
    ///     [out.ok, out.code, out.reason]                    // => [true, 0, "exited"]
    ///     let seen = proc::exec(["true"], #{ seccomp: "record", no_new_privs: true });
    ///     seen.seccomp_profile.defaultAction                // => "SCMP_ACT_ERRNO"
    method "ExecResult.inspect"(result: ExecResult) -> serde_json::Value = inspect;
    /// One useful line, as `print` shows it.
    ///
    /// Returns: how it ended, how much it wrote, and how long it took.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     proc::exec(["true"]).to_string().starts_with("ExecResult exited with status 0") // => true
    method "ExecResult.to_string"(result: ExecResult) -> String = show;
    /// One useful line, as it is shown inside lists and maps.
    ///
    /// Returns: the same as `to_string`.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     let out = proc::exec(["true"]);
    ///     out.to_debug() == out.to_string() // => true
    method "ExecResult.to_debug"(result: ExecResult) -> String = show;
}

impl Kind for Process {
    const NAME: &'static str = "Process";
    const DOC: &'static str = "A process that was started, with its input and output: it can be waited for, signalled and looked into.";
}

/// How a command ended, as a value of the language.
#[derive(Clone, Debug)]
pub struct ExecResult(Rc<Outcome>);

script_value!(ExecResult, "ExecResult");

impl ExecResult {
    /// How it ended.
    #[must_use]
    pub fn outcome(&self) -> &Outcome {
        &self.0
    }
}

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
