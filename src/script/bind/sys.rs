//! `sys`: the running script, its arguments, its host and its clock. Also the model of a module, see [`super`].

use crate::error::{Result, SysContext};
use crate::runtime::attend;
use crate::runtime::rootless;
use crate::script::call::{Call, Outcome};
use crate::script::convert::Int;
use crate::script::native::natives;
use crate::script::returned;
use rhai::{Array, Dynamic, EvalAltResult, Position};
use serde_json::json;
use std::time::{Duration, Instant, SystemTime};

natives! {
    /// The running script: its arguments, its environment, its host and its clock.
    pub const SYS = "sys";

    /// The arguments after the script. Also without the parentheses: `sys::args[0]`.
    ///
    /// Returns: the arguments; bytes that are not UTF-8 are replaced.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: execve(2)
    /// Undo: nothing.
    /// Example:
    ///     sys::args() // => []
    fn "sys::args"() -> Array = args;
    /// Whether `--name` is among the arguments.
    ///
    /// Returns: `true` for exactly this argument, anywhere after the script.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     sys::flag("verbose") // => false
    fn "sys::flag"(
        /// The name, without the dashes.
        name: String
    ) -> bool = flag;
    /// The value of `--name VALUE` or `--name=VALUE` among the arguments.
    ///
    /// Returns: the value as text, or else the default.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     sys::option("port", "8080") // => "8080"
    fn "sys::option"(
        /// The name, without the dashes.
        name: String,
        /// What is returned when it is not among the arguments. Without it `()`.
        default: Option<Dynamic>
    ) -> Dynamic = option;
    /// The value of an environment variable, or all of them.
    ///
    /// Returns: the value as text, or else the default; without a name, a map of all.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: getenv(3), environ(7)
    /// Undo: nothing.
    /// Example:
    ///     sys::env("NO_SUCH_NAME", "none") // => "none"
    ///     "PATH" in sys::env()             // => true
    fn "sys::env"(
        /// The name of the variable. Without it, all variables.
        name: Option<String>,
        /// What is returned when it is not set. Without it `()`.
        default: Option<Dynamic>
    ) -> Dynamic = env;
    /// Facts about the program and its host.
    ///
    /// Returns: `version`, `script`, `pid`, `uid`, `kernel` (its release), `hostname`, `arch`, `cpus` (how many this program
    /// may use), `run` and `root` (the state folders).
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: uname(2), getpid(2), sched_getaffinity(2)
    /// Undo: nothing.
    /// Example:
    ///     sys::info().script     // => "example.rhai"
    ///     sys::info().cpus >= 1  // => true
    fn "sys::info"() -> serde_json::Value = info;
    /// What this host lets the program do, as `cshell doctor` shows it.
    ///
    /// Each is really tried, or read from the kernel; nothing is left of it.
    ///
    /// Returns: a list, one map a check: `name`, `for` (what it is for), `state` (`ok`, `warn` for what some calls need,
    /// `missing` for what every container needs), `found` and `fix` (or `()`).
    /// Errors: nothing.
    /// Needs: nothing; what is missing is what it tells.
    /// Calls: clone3(2), mount(2), proc(5)
    /// Undo: nothing.
    /// Example:
    ///     sys::doctor().all(|check| check.state in ["ok", "warn", "missing"]) // => true
    fn "sys::doctor"() -> serde_json::Value = doctor;
    /// Without root: who root is outside, and what cannot work; `()` as root.
    ///
    /// An ordinary user's script runs in a user and a mount namespace that the program enters before it: commands on the
    /// host see `root` there, who is the user (as under `podman unshare`).
    ///
    /// Returns: `user`, `uid`, `ids` (how many there are, root with them), and `limits`, a list of maps with `name`, `what`,
    /// `why` and `fix` (or `()`).
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: user_namespaces(7), subuid(5)
    /// Undo: nothing.
    /// Example:
    ///     let ordinary = sys::rootless();
    ///     if ordinary != () { sys::log(`root here is ${ordinary.user} outside`); }
    ///     type_of(ordinary) in ["()", "map"] // => true
    fn "sys::rootless"() -> Option<serde_json::Value> = is_rootless;
    /// The time, in seconds since the beginning of 1970.
    ///
    /// Returns: seconds, with a fraction.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: clock_gettime(2)
    /// Undo: nothing.
    /// Example:
    ///     let start = sys::now();
    ///     sys::sleep("10ms");
    ///     sys::now() - start >= 0.01 // => true
    fn "sys::now"() -> f64 = now;
    /// Waits. Callbacks of events run meanwhile.
    ///
    /// Errors: `interrupted` when a signal ends the wait, and with it the script; what a callback throws comes out of here.
    /// Needs: nothing.
    /// Calls: ppoll(2)
    /// Undo: nothing.
    /// Example:
    ///     sys::sleep("20ms");
    ///     print("later"); // prints later
    fn "sys::sleep"(
        /// How long.
        duration: Duration
    ) = sleep;
    /// The next line of the standard input, without the line end.
    ///
    /// Returns: the line, or `()` at the end of the input.
    /// Errors: `corrupt` for a line that is not UTF-8; else by what the kernel refuses.
    /// Needs: nothing.
    /// Calls: read(2)
    /// Undo: nothing.
    /// Example:
    ///     // With nothing to read:
    ///     sys::read_line() // => ()
    fn "sys::read_line"() -> Option<String> = read_line;
    /// Writes a line to the standard error.
    ///
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: write(2)
    /// Undo: nothing.
    /// Example:
    ///     sys::log("starting"); // logs starting
    fn "sys::log"(
        /// What is written; what is no text is written as `print` writes it.
        value: Dynamic
    ) = log;
    /// Writes a value to the standard output as one line of JSON, for other programs.
    ///
    /// What JSON has no word for, such as a handle, becomes its text; `()` becomes `null`.
    ///
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: write(2)
    /// Undo: nothing.
    /// Example:
    ///     sys::emit(#{ ok: true, pids: [1, 2] }); // prints {"ok":true,"pids":[1,2]}
    fn "sys::emit"(
        /// The value.
        value: Dynamic
    ) = emit;
    /// Whether a person is at the terminal: standard input and output are one.
    ///
    /// Returns: `true` at a terminal, `false` in a pipe or a service.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: isatty(3)
    /// Undo: nothing.
    /// Example:
    ///     // With its output in a pipe:
    ///     sys::interactive() // => false
    fn "sys::interactive"() -> bool = interactive;
    /// Ends the script from wherever it is: nothing catches it.
    ///
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: exit(3)
    /// Undo: what the script made is taken back first.
    /// Example:
    ///     try { exit(3); } catch { print("never"); } // exits 3
    fn "exit"(
        /// The exit code of the program. Without it 0.
        code: Option<Int<0, 255>>
    ) = exit;
}

fn args(call: &Call<'_>) -> Result<Array> {
    Ok(call.shell().args().iter().map(|arg| Dynamic::from(arg.to_string_lossy().into_owned())).collect())
}

fn flag(call: &Call<'_>, name: String) -> Result<bool> {
    let wanted = format!("--{name}");
    Ok(call.shell().args().iter().any(|arg| *arg == *wanted))
}

fn option(call: &Call<'_>, name: String, default: Option<Dynamic>) -> Result<Dynamic> {
    let (wanted, prefix) = (format!("--{name}"), format!("--{name}="));
    let args: Vec<_> = call.shell().args().iter().map(|arg| arg.to_string_lossy()).collect();
    let found = args.iter().enumerate().find_map(|(at, arg)| match arg.strip_prefix(&prefix) {
        Some(value) => Some(value.to_owned()),
        None if **arg == *wanted => args.get(at + 1).map(|value| value.clone().into_owned()),
        None => None,
    });
    Ok(found.map_or_else(|| default.unwrap_or(Dynamic::UNIT), Dynamic::from))
}

fn env(_: &Call<'_>, name: Option<String>, default: Option<Dynamic>) -> Result<Dynamic> {
    let text = |value: std::ffi::OsString| Dynamic::from(value.to_string_lossy().into_owned());
    let Some(name) = name else {
        let all: rhai::Map =
            std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into(), text(value))).collect();
        return Ok(all.into());
    };
    Ok(std::env::var_os(name).map_or_else(|| default.unwrap_or(Dynamic::UNIT), text))
}

fn info(call: &Call<'_>) -> Result<serde_json::Value> {
    let uname = nix::sys::utsname::uname().ok();
    let field = |get: fn(&nix::sys::utsname::UtsName) -> &std::ffi::OsStr| {
        uname.as_ref().map(|uname| get(uname).to_string_lossy().into_owned())
    };
    let dirs = call.session().dirs();
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "script": call.shell().script(),
        "pid": std::process::id(),
        "uid": nix::unistd::getuid().as_raw(),
        "kernel": field(|uname| uname.release()),
        "hostname": field(|uname| uname.nodename()),
        "arch": field(|uname| uname.machine()),
        "cpus": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "run": dirs.run,
        "root": dirs.root,
    }))
}

fn doctor(_: &Call<'_>) -> Result<serde_json::Value> {
    Ok(json!(crate::runtime::doctor::examine()))
}

fn is_rootless(_: &Call<'_>) -> Result<Option<serde_json::Value>> {
    let Some(entered) = rootless::entered() else { return Ok(None) };
    let limits = rootless::report()
        .into_iter()
        .map(|limit| json!({ "name": limit.name, "what": limit.what, "why": limit.why, "fix": limit.fix }));
    Ok(Some(json!({
        "user": entered.owner.shown(),
        "uid": entered.owner.uid,
        "ids": entered.maps.uid.iter().map(|range| u64::from(range.size)).sum::<u64>(),
        "limits": limits.collect::<Vec<_>>(),
    })))
}

fn now(_: &Call<'_>) -> Result<f64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()))
}

fn sleep(call: &Call<'_>, duration: Duration) -> Result<()> {
    attend::sleep(call.session(), call.op(), Instant::now() + duration)
}

fn read_line(call: &Call<'_>) -> Result<Option<String>> {
    let mut line = String::new();
    let len = std::io::stdin().read_line(&mut line).context(call.op(), "cannot read the standard input")?;
    Ok((len > 0).then(|| line.trim_end_matches(['\n', '\r']).to_owned()))
}

fn log(call: &Call<'_>, value: Dynamic) -> Result<()> {
    call.shell().write_err(format!("{value}\n").as_bytes());
    Ok(())
}

fn emit(call: &Call<'_>, value: Dynamic) -> Result<()> {
    call.shell().write_out(format!("{}\n", returned::to_json(&value)).as_bytes());
    Ok(())
}

fn interactive(_: &Call<'_>) -> Result<bool> {
    use std::io::IsTerminal;
    Ok(std::io::stdin().is_terminal() && std::io::stdout().is_terminal())
}

fn exit(call: &Call<'_>, code: Option<Int<0, 255>>) -> Outcome<()> {
    call.shell().set_exit(code.map_or(0, |code| u8::try_from(code.0).unwrap_or(u8::MAX)));
    // The engine lets nothing catch this.
    Err(Box::new(EvalAltResult::Exit(Dynamic::UNIT, Position::NONE)).into())
}
