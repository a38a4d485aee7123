//! `proc`: processes.

use crate::error::Result;
use crate::runtime::cgroup::Cgroup;
use crate::runtime::ns::NsSet;
use crate::runtime::proc::spec::{Input, Mount, Namespaces, Output, Rlimit};
use crate::runtime::proc::{self, Command, Outcome, ProcSpec, Process, mounts, user};
use crate::runtime::security::seccomp::Profile;
use crate::runtime::security::{Policy, ground};
use crate::runtime::session::HandleId;
use crate::script::bind::cgroup::Limits;
use crate::script::bind::ns::{id_maps, kinds_of, userns};
use crate::script::call::Call;
use crate::script::convert::{At, Either, FromScript, OrEmpty, Size};
use crate::script::handle::{Kind, Open};
use crate::script::native::natives;
use crate::script::options::{FromOptions, Key, Options, Opts};
use crate::script::returned::script_value;
use rhai::{Blob, Dynamic};
use serde_json::json;
use std::collections::BTreeMap;
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

const MOUNT: Options = Options {
    of: "mounts",
    open: None,
    keys: &[
        Key::new(
            "type",
            "text",
            "",
            "bind, proc, sysfs, tmpfs, devpts, mqueue, cgroup2, or dev for a minimal /dev.",
        ),
        Key::new("source", "path", "none", "What is bound."),
        Key::new("target", "path", "", "Where, in the root."),
        Key::new(
            "options",
            "list of text",
            "none",
            "As mount(8) writes them: \"ro\", \"nosuid\", \"size=16m\"; for a bind also \"idmap\": its files belong inside to who they belong to outside.",
        ),
    ],
};

impl FromOptions for Mount {
    const OPTIONS: &'static Options = &MOUNT;
    const SHORTHAND: &'static str = "\"proc\", \"sys\", \"dev\", \"tmp\", \"shm\"";

    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        Ok(Self {
            kind: opts.need("type")?,
            source: opts.take("source")?,
            target: opts.need("target")?,
            options: opts.or("options", Vec::new())?,
        })
    }

    fn from_shorthand(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        let named = value.is_string().then(|| mounts::of_name(&value.to_string())).flatten();
        named.ok_or_else(|| at.expected(&Self::expected_text(), &value))
    }
}

const RLIMIT: Options = Options {
    of: "rlimits",
    open: None,
    keys: &[
        Key::new("soft", "number", "", "The limit in force."),
        Key::new("hard", "number", "the soft one", "What the process may raise it to."),
    ],
};

/// A soft and a hard limit: one number for both, or a map.
#[derive(Clone, Copy, Debug)]
struct Bounds(u64, u64);

impl FromOptions for Bounds {
    const OPTIONS: &'static Options = &RLIMIT;
    const SHORTHAND: &'static str = "a number or size";

    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        let soft: Size = opts.need("soft")?;
        let hard = opts.or("hard", soft)?;
        if soft.0 > hard.0 {
            return Err(opts.at().key("soft").wrong("must not be greater than `hard`"));
        }
        Ok(Self(soft.0, hard.0))
    }

    fn from_shorthand(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        Size::from_script(value, at).map(|size| Self(size.0, size.0))
    }
}

/// The options of `proc::exec` and `proc::spawn`.
#[derive(Clone, Debug)]
pub struct Spec(ProcSpec);

impl Spec {
    /// What the process may do.
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy { devices: ground::device_rules(&self.0), ..self.0.security.clone() }
    }
}

const EXEC: Options = Options {
    of: "proc::exec",
    open: None,
    keys: &[
        Key::new("ns", "list of kinds, or Ns", "the caller's", "New namespaces for it, or those of a set."),
        Key::new(
            "uid_map",
            "list of maps",
            "root is the caller",
            "With a new user namespace: #{container, host, size}.",
        )
        .map(&super::ns::RANGE),
        Key::new(
            "gid_map",
            "list of maps",
            "root is the caller",
            "With a new user namespace: #{container, host, size}.",
        )
        .map(&super::ns::RANGE),
        super::ns::USERNS,
        Key::new("cgroup", "Cgroup, or map of limits", "the caller's", "Its control group.")
            .map(&super::cgroup_limits::LIMIT),
        Key::new(
            "rootfs",
            "path, Overlay, Image or map",
            "the caller's",
            "Its root, in a mount namespace of its own; a map as of fs::overlay, or an Image, is a throw-away overlay.",
        )
        .map(&super::fs_options::OVERLAY),
        Key::new(
            "mounts",
            "list",
            "none",
            "In its root: \"proc\", \"dev\", \"sys\", \"tmp\", \"shm\", or maps.",
        )
        .map(&MOUNT),
        Key::new("cwd", "path", "/ of its root, or the caller's", "Its working directory."),
        Key::new("env", "map", "the caller's; with rootfs a PATH alone", "Its environment, exactly."),
        Key::new("user", "text", "the caller's", "name, uid, name:group or uid:gid, looked up in its root."),
        Key::new("additional_gids", "list of numbers", "none", "Further groups."),
        Key::new(
            "security",
            "text",
            "\"none\"",
            "\"default\", \"strict\" or \"none\": what it may do, see security::policy; the next ten open or close a part.",
        ),
        Key::new(
            "capabilities",
            "list of text",
            "the caller's",
            "The capabilities it keeps: [\"NET_BIND_SERVICE\"]. A user other than root has none in force: they bound what programs give.",
        ),
        Key::new("cap_add", "list of text", "none", "Capabilities beside those of the policy."),
        Key::new("cap_drop", "list of text", "none", "Capabilities of the policy that it does not keep; \"ALL\"."),
        Key::new("no_new_privs", "true or false", "false", "Setuid programs give it nothing."),
        Key::new(
            "seccomp",
            "text or map",
            "\"unconfined\"",
            "Which system calls it can make: \"default\", \"strict\", \"unconfined\", a path, a profile as OCI has it; \"record\" notes them.",
        ),
        Key::new("masked_paths", "list of paths", "none", "What it does not see."),
        Key::new("readonly_paths", "list of paths", "none", "What it cannot change."),
        Key::new("readonly_root", "true or false", "false", "Whether it cannot change its root."),
        Key::new("oom_score_adj", "number", "the caller's", "How readily it is ended when memory runs out, -1000 to 1000."),
        Key::new("apparmor", "text", "the caller's", "The AppArmor profile it changes to."),
        Key::new("landlock", "map", "none", "What it may read and write, whatever modes say: #{read: [\"/\"], write: [\"/tmp\"]}.")
            .map(&super::security::LANDLOCK),
        Key::new(
            "rlimits",
            "map",
            "the caller's",
            "Resource limits: #{nofile: 64, core: #{soft: 0, hard: 0}}.",
        ),
        Key::new("hostname", "text", "the caller's", "The host name; needs a uts namespace."),
        Key::new(
            "tty",
            "true or false",
            "false",
            "It runs on a terminal of its own; standard error joins the output.",
        ),
        Key::new("stdin", "text or blob", "nothing", "What it reads."),
        Key::new("input", "text", "\"null\"", "\"null\", \"pipe\" (for .write) or \"inherit\"."),
        Key::new("output", "text", "\"capture\"", "\"capture\", \"inherit\" or \"null\"."),
        Key::new("timeout", "duration", "none", "Then SIGTERM, and SIGKILL after kill_grace."),
        Key::new("kill_grace", "duration", "\"10s\"", "Between SIGTERM and SIGKILL."),
        Key::new("check", "true or false", "true", "Whether any end but status 0 is an error."),
        Key::new("output_max", "size", "\"16MiB\"", "How much of each stream is kept; more ends it."),
    ],
};

impl FromOptions for Spec {
    const OPTIONS: &'static Options = &EXEC;

    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        let mut spec = ProcSpec::new(Command::Argv(Vec::new()));
        places(&mut spec, opts)?;
        identity(&mut spec, opts)?;
        streams(&mut spec, opts)?;
        spec.cwd = opts.take("cwd")?;
        spec.hostname = opts.take("hostname")?;
        spec.timeout = opts.take("timeout")?;
        spec.kill_grace = opts.or("kill_grace", spec.kill_grace)?;
        spec.check = opts.or("check", true)?;
        Ok(Self(spec))
    }
}

/// Namespaces, group, root.
fn places(spec: &mut ProcSpec, opts: &mut Opts<'_, '_>) -> Result<()> {
    spec.ns = match opts.take::<Either<Open<NsSet>, Vec<String>>>("ns")? {
        Some(Either::Left(set)) => Some(Namespaces::Of(set.shared())),
        Some(Either::Right(names)) => Some(Namespaces::Fresh(kinds_of(&names, &opts.at().key("ns"))?)),
        None => None,
    };
    spec.userns = userns(opts)?;
    spec.maps = id_maps(opts)?;
    match opts.take::<Either<Open<Cgroup>, Limits>>("cgroup")? {
        Some(Either::Left(group)) => spec.cgroup = Some(group.shared()),
        Some(Either::Right(limits)) => spec.limits = limits.0,
        None => {}
    }
    spec.rootfs = opts.take("rootfs")?;
    spec.mounts = opts.or("mounts", Vec::new())?;
    Ok(())
}

/// User, capabilities, limits.
fn identity(spec: &mut ProcSpec, opts: &mut Opts<'_, '_>) -> Result<()> {
    let op = opts.at().call().op();
    spec.user = opts.take::<OsString>("user")?.map(|user| user.to_string_lossy().into_owned());
    spec.additional_gids = opts.or("additional_gids", Vec::new())?;
    spec.security = super::security::read(opts)?;
    for (name, Bounds(soft, hard)) in opts.or::<BTreeMap<String, Bounds>>("rlimits", BTreeMap::new())? {
        spec.rlimits.push(Rlimit { resource: user::rlimit_number(op, &name)?, soft, hard });
    }
    Ok(())
}

/// Environment, input, output.
fn streams(spec: &mut ProcSpec, opts: &mut Opts<'_, '_>) -> Result<()> {
    let env: Option<BTreeMap<String, OsString>> = opts.take("env")?;
    spec.env =
        env.map(|env| env.into_iter().map(|(key, value)| (key.into_bytes(), value.into_vec())).collect());
    spec.tty = opts.or("tty", false)?;
    spec.output_max = opts.or("output_max", Size(spec.output_max))?.0;
    if let Some(output) = opts.take::<String>("output")? {
        spec.output = match output.as_str() {
            "capture" => Output::Capture,
            "inherit" => Output::Inherit,
            "null" => Output::Null,
            _ => return Err(opts.at().key("output").wrong("must be \"capture\", \"inherit\" or \"null\"")),
        };
    }
    let bytes: Option<Either<Blob, String>> = opts.take("stdin")?;
    let input: Option<String> = opts.take("input")?;
    spec.stdin = match (bytes, input.as_deref()) {
        (Some(_), Some(_)) => return Err(opts.at().key("input").wrong("does not go with `stdin`")),
        (Some(bytes), None) => Input::Bytes(to_bytes(bytes)),
        (None, None | Some("null")) => Input::Null,
        (None, Some("pipe")) => Input::Pipe,
        (None, Some("inherit")) => Input::Inherit,
        (None, Some(_)) => {
            return Err(opts.at().key("input").wrong("must be \"null\", \"pipe\" or \"inherit\""));
        }
    };
    Ok(())
}

fn to_bytes(data: Either<Blob, String>) -> Vec<u8> {
    match data {
        Either::Left(blob) => blob,
        Either::Right(text) => text.into_bytes(),
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
    let sizes = format!("{} B out, {} B err", result.0.stdout.len(), result.0.stderr.len());
    Ok(format!(
        "ExecResult {} ({sizes}, {:.1} ms)",
        proc::process::show(&result.0),
        result.0.wall.as_secs_f64() * 1e3
    ))
}
