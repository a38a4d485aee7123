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

    /// The arguments after the script, as a list of text. Also `sys::args[0]`, without the parentheses.
    fn "sys::args"() -> Array = args;
    /// Whether `--name` is among the arguments.
    fn "sys::flag"(name: String) -> bool = flag;
    /// The value of `--name VALUE` or `--name=VALUE` among the arguments, or `default`, or `()`.
    fn "sys::option"(name: String, default: Option<Dynamic>) -> Dynamic = option;
    /// The value of an environment variable, or `default`, or `()`; without a name, all of them as a map.
    fn "sys::env"(name: Option<String>, default: Option<Dynamic>) -> Dynamic = env;
    /// Facts about the program and its host: `version`, `script`, `pid`, `uid`, `kernel`, `hostname`, `arch`,
    /// `cpus`, `run` and `root` (the state folders).
    fn "sys::info"() -> serde_json::Value = info;
    /// What this host lets the program do: a list, one entry a check, of `name`, `for` (what it is for), `state` (`ok`,
    /// `warn` for what some calls need, `missing` for what every container needs), `found` and `fix` (or `()`).
    ///
    /// Each is really tried, or read from the kernel; nothing is left of it.
    fn "sys::doctor"() -> serde_json::Value = doctor;
    /// Without root: who root is outside, and what cannot work; `()` as root.
    ///
    /// A map: `user`, `uid`, `ids` (how many there are, root with them), and `limits`, a list of maps with `name`, `what`,
    /// `why` and `fix` (or `()`). An ordinary user's script runs in a user and a mount namespace that the program enters
    /// before it: commands on the host see `root` there, who is the user (as under `podman unshare`).
    fn "sys::rootless"() -> Option<serde_json::Value> = is_rootless;
    /// The seconds since 1970, with a fraction.
    fn "sys::now"() -> f64 = now;
    /// Waits. A signal ends the wait and the script; callbacks of events run meanwhile.
    fn "sys::sleep"(duration: Duration) = sleep;
    /// The next line of the standard input, without the line end; `()` at its end.
    fn "sys::read_line"() -> Option<String> = read_line;
    /// Writes a line to the standard error.
    fn "sys::log"(value: Dynamic) = log;
    /// Writes a value to the standard output as one line of JSON.
    fn "sys::emit"(value: Dynamic) = emit;
    /// Whether a person is at the terminal: standard input and output are one.
    fn "sys::interactive"() -> bool = interactive;
    /// Ends the script from wherever it is: what it made is taken back, and the program ends with `code`.
    fn "exit"(code: Option<Int<0, 255>>) = exit;
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
