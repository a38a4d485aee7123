//! `assert`: what must hold, with what differs where it does not.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::attend;
use crate::runtime::cgroup::Cgroup;
use crate::runtime::leaks::{self, Ground};
use crate::runtime::net;
use crate::runtime::ns::list;
use crate::runtime::proc::Process;
use crate::script::assertion::{differences, lines, order, same, told};
use crate::script::bind::net_calls::NetnsArg;
use crate::script::bind::ns::Subject;
use crate::script::bind::proc::ExecResult;
use crate::script::call::{Call, Outcome, Raised};
use crate::script::convert::{Either, OrEmpty};
use crate::script::error::{ScriptError, shape_caught};
use crate::script::handle::Open;
use crate::script::native::natives;
use crate::script::options::{FromOptions, Key, Options, Opts};
use rhai::{Array, Blob, Dynamic, EvalAltResult, FnPtr, ImmutableString, Map};
use std::cmp::Ordering;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use crate::script::assertion::shown;

natives! {
    /// What must hold. What does not is an error of kind `assertion_failed`, which fails a test and ends a script, and shows what differs.
    pub const ASSERT = "assert";

    /// A condition holds.
    ///
    /// Errors: `assertion_failed` when it does not.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     assert::that(1 < 2);
    ///     assert::that(2 < 1, "two is less"); // throws assertion_failed
    fn "assert::that"(
        /// The condition.
        condition: bool,
        /// What it means that it does not hold. Without it "it does not hold".
        message: Option<Dynamic>
    ) = that;
    /// Two values are equal, with all that is in them.
    ///
    /// Errors: `assertion_failed`, with each place at which they differ, or the lines of texts that do.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     assert::eq(#{ a: [1, 2] }, #{ a: [1, 2] });
    ///     assert::eq(#{ a: [1, 2] }, #{ a: [1, 3] }); // throws assertion_failed
    fn "assert::eq"(
        /// What is.
        is: Dynamic,
        /// What is expected.
        expected: Dynamic,
        /// What it is about, for the report. Without it nothing.
        message: Option<Dynamic>
    ) = eq;
    /// Two values differ.
    ///
    /// Errors: `assertion_failed` when they are equal.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     assert::ne(1, 2);
    ///     assert::ne([1], [1]); // throws assertion_failed
    fn "assert::ne"(
        /// What is.
        is: Dynamic,
        /// What it must not be.
        other: Dynamic,
        /// What it is about, for the report. Without it nothing.
        message: Option<Dynamic>
    ) = ne;
    /// A number, or a text, is less than another.
    ///
    /// Errors: `assertion_failed` when it is not; `invalid_argument` for what has no order.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     assert::lt(1, 2.5);
    ///     assert::lt(2, 2); // throws assertion_failed
    fn "assert::lt"(
        /// What is.
        is: Dynamic,
        /// The bound.
        bound: Dynamic,
        /// What it is about, for the report. Without it nothing.
        message: Option<Dynamic>
    ) = lt;
    /// A number, or a text, is less than another or equal to it.
    ///
    /// Errors: `assertion_failed` when it is not; `invalid_argument` for what has no order.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     assert::le(2, 2);
    ///     assert::le(3, 2); // throws assertion_failed
    fn "assert::le"(
        /// What is.
        is: Dynamic,
        /// The bound.
        bound: Dynamic,
        /// What it is about, for the report. Without it nothing.
        message: Option<Dynamic>
    ) = le;
    /// A number, or a text, is greater than another.
    ///
    /// Errors: `assertion_failed` when it is not; `invalid_argument` for what has no order.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     assert::gt("b", "a");
    ///     assert::gt(2, 2); // throws assertion_failed
    fn "assert::gt"(
        /// What is.
        is: Dynamic,
        /// The bound.
        bound: Dynamic,
        /// What it is about, for the report. Without it nothing.
        message: Option<Dynamic>
    ) = gt;
    /// A number, or a text, is greater than another or equal to it.
    ///
    /// Errors: `assertion_failed` when it is not; `invalid_argument` for what has no order.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     assert::ge(2, 2);
    ///     assert::ge("a", 2); // throws invalid_argument
    fn "assert::ge"(
        /// What is.
        is: Dynamic,
        /// The bound.
        bound: Dynamic,
        /// What it is about, for the report. Without it nothing.
        message: Option<Dynamic>
    ) = ge;
    /// A number, or a text, is not outside of two bounds.
    ///
    /// Errors: `assertion_failed` when it is; `invalid_argument` for what has no order.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     assert::between(5, 1, 5);
    ///     assert::between(6, 1, 5); // throws assertion_failed
    fn "assert::between"(
        /// What is.
        is: Dynamic,
        /// The least that it may be.
        least: Dynamic,
        /// The most that it may be.
        most: Dynamic
    ) = between;
    /// A text has a part, a list an element, or a map a key.
    ///
    /// Errors: `assertion_failed` when it has not; `invalid_argument` for what has no parts.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     assert::contains([1, [2]], [2]);
    ///     assert::contains("network", "net");
    ///     assert::contains(#{ a: 1 }, "b"); // throws assertion_failed
    fn "assert::contains"(
        /// The text, list or map.
        whole: Dynamic,
        /// The part, element or key.
        part: Dynamic
    ) = contains;
    /// A text has not a part, a list not an element, or a map not a key.
    ///
    /// Errors: `assertion_failed` when it has; `invalid_argument` for what has no parts.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     assert::not_contains([1, 2], 3);
    ///     assert::not_contains("network", "net"); // throws assertion_failed
    fn "assert::not_contains"(
        /// The text, list or map.
        whole: Dynamic,
        /// The part, element or key.
        part: Dynamic
    ) = not_contains;
    /// A regular expression is found in a text.
    ///
    /// Errors: `assertion_failed` when it is not; `invalid_argument` for one that cannot be read.
    /// Needs: nothing.
    /// Calls: regex(7)
    /// Undo: nothing.
    /// Example:
    ///     assert::matches("eth0@if7", "^eth[0-9]+@");
    ///     assert::matches("lo", "^eth");           // throws assertion_failed
    fn "assert::matches"(
        /// The text.
        text: String,
        /// The expression, in the syntax of Rust's regex crate.
        pattern: String
    ) = matches;
    /// A function fails with an error of a kind.
    ///
    /// Returns: the error, or what was thrown.
    /// Errors: `assertion_failed` when it does not fail, or with another kind.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     assert::throws("not_found", || fs::read("/no/file")).code // => "ENOENT"
    ///     assert::throws("any", || 1);                              // throws assertion_failed
    fn "assert::throws"(
        /// The kind, such as `"permission_denied"`, or `"any"`.
        kind: String,
        /// The function, without parameters.
        f: FnPtr
    ) -> Dynamic = throws;
    /// A function comes to return something else than `false` and `()` within a time. Errors count as not yet.
    ///
    /// Returns: what the function returned.
    /// Errors: `assertion_failed` when it does not in time, with what it last returned or threw; `interrupted` when a signal ends the wait.
    /// Needs: nothing.
    /// Calls: ppoll(2)
    /// Undo: nothing.
    /// Example:
    ///     let turns = 0;
    ///     assert::eventually(|| { turns += 1; turns > 3 })                     // => true
    ///     assert::eventually(#{ timeout: "20ms", every: "5ms" }, || false)     // throws assertion_failed
    fn "assert::eventually"(
        /// How long and how often, or the function.
        options: Either<FnPtr, Patience>,
        /// The function, without parameters, behind options. Without it, it is in their place.
        f: Option<FnPtr>
    ) -> Dynamic = eventually;
    /// Something was refused by the kernel with an errno.
    ///
    /// It is an answer of `syscall::run`, a result of `proc::exec` with `check: false` whose last words say so, or a function that fails.
    ///
    /// Errors: `assertion_failed` when it was not refused, or in another way.
    /// Needs: nothing.
    /// Calls: errno(3)
    /// Undo: nothing.
    /// Example:
    ///     let told = syscall::run([["reboot", 0, 0, 0, 0]], #{ security: "default" });
    ///     assert::is_denied("EPERM", told.of.reboot);
    ///     assert::is_denied("ENOENT", || fs::read("/no/file"));
    ///     assert::is_denied("EPERM", || 1); // throws assertion_failed
    fn "assert::is_denied"(
        /// The errno by name, or a list of those that will do.
        errno: Either<String, Vec<String>>,
        /// The answer, the result or the function.
        what: Dynamic
    ) = is_denied;
    /// A limit was met: a command was killed or refused by a controller.
    ///
    /// A `Cgroup` is asked for what the kernel counted: a process killed for memory, one refused, time held back. A result of
    /// `proc::exec` tells it by its `reason`, or, for `"pids"`, by its last words.
    ///
    /// Errors: `assertion_failed` when it was not; `invalid_argument` for another controller.
    /// Needs: nothing.
    /// Calls: cgroups(7)
    /// Undo: nothing.
    /// Example:
    ///     let group = cgroup::limit(#{ memory: "24MiB", "memory.swap.max": 0 });
    ///     let result = proc::exec(["dd", "if=/dev/zero", "of=/dev/null", "bs=48M", "count=1"], #{ cgroup: group, check: false });
    ///     assert::limited("memory", result);
    ///     assert::limited("memory", group);
    ///     assert::limited("pids", group);  // throws assertion_failed
    fn "assert::limited"(
        /// `"memory"`, `"pids"` or `"cpu"`.
        controller: String,
        /// The group, or the result of the command.
        what: Either<Open<Cgroup>, Dynamic>
    ) = limited;
    /// Two processes or sets share a namespace.
    ///
    /// Errors: `assertion_failed` when they do not; as `ns::same`.
    /// Needs: as `ns::same`.
    /// Calls: namespaces(7)
    /// Undo: nothing.
    /// Example:
    ///     assert::same_ns("net", ns::host(), sys::info().pid);
    ///     assert::same_ns("net", ns::new(["net"]), ns::host()); // throws assertion_failed
    fn "assert::same_ns"(
        /// The kind, such as `"net"`.
        kind: String,
        /// An `Ns`, a `Process`, a process id, or what `ns::of` and `ns::host` return.
        a: Side,
        /// The same.
        b: Side
    ) = same_ns;
    /// Two processes or sets do not share a namespace.
    ///
    /// Errors: `assertion_failed` when they do; as `ns::same`.
    /// Needs: as `ns::same`.
    /// Calls: namespaces(7)
    /// Undo: nothing.
    /// Example:
    ///     assert::different_ns("net", ns::new(["net"]), ns::host());
    ///     assert::different_ns("net", ns::host(), ns::host()); // throws assertion_failed
    fn "assert::different_ns"(
        /// The kind, such as `"net"`.
        kind: String,
        /// An `Ns`, a `Process`, a process id, or what `ns::of` and `ns::host` return.
        a: Side,
        /// The same.
        b: Side
    ) = different_ns;
    /// Nothing is left of what a function made.
    ///
    /// Looked at are mounts, namespaces, links, addresses, rules of nftables, groups, queues, loop devices, keys, temporary files and
    /// images. What other programs make meanwhile on the machine is taken for the function's, unless it bears the mark of another session.
    ///
    /// Returns: what the function returned.
    /// Errors: `assertion_failed` with what is left; what the function throws comes out of here.
    /// Needs: nothing.
    /// Calls: proc(5), netlink(7)
    /// Undo: nothing: what is left is left to whom it belongs.
    /// Example:
    ///     assert::no_leaks(|| { let link = net::veth(#{}); link.close(); });
    ///     assert::no_leaks(|| { cgroup::limit(#{ pids: 4 }); }); // throws assertion_failed
    fn "assert::no_leaks"(
        /// The function, without parameters.
        f: FnPtr
    ) -> Dynamic = no_leaks;
    /// A file is there, and as it should be.
    ///
    /// Errors: `assertion_failed` when it is not there, or another; `invalid_argument` for options that mean nothing.
    /// Needs: the right to look at it.
    /// Calls: stat(2), read(2)
    /// Undo: nothing.
    /// Example:
    ///     assert::file("/etc/passwd", #{ type: "file", mode: "644", owner: "0:0", contains: "root:" });
    ///     assert::file("/etc/passwd", #{ type: "folder" }); // throws assertion_failed
    fn "assert::file"(
        /// Its path.
        path: PathBuf,
        options: OrEmpty<FileFacts>
    ) = file;
    /// Nothing has this path.
    ///
    /// Errors: `assertion_failed` when something has.
    /// Needs: the right to look.
    /// Calls: stat(2)
    /// Undo: nothing.
    /// Example:
    ///     assert::no_file("/no/file");
    ///     assert::no_file("/etc"); // throws assertion_failed
    fn "assert::no_file"(
        /// The path.
        path: PathBuf
    ) = no_file;
    /// A process runs.
    ///
    /// Errors: `assertion_failed` when it has ended.
    /// Needs: nothing.
    /// Calls: proc_pid_stat(5)
    /// Undo: nothing.
    /// Example:
    ///     assert::running(sys::info().pid);
    ///     let command = proc::spawn(["true"]);
    ///     command.wait();
    ///     assert::running(command.pid); // throws assertion_failed
    fn "assert::running"(
        /// A process id.
        pid: i32
    ) = running;
    /// A process does not run: it has ended, or never was.
    ///
    /// Errors: `assertion_failed` when it runs.
    /// Needs: nothing.
    /// Calls: proc_pid_stat(5)
    /// Undo: nothing.
    /// Example:
    ///     let command = proc::spawn(["true"]);
    ///     command.wait();
    ///     assert::not_running(command.pid);
    ///     assert::not_running(sys::info().pid); // throws assertion_failed
    fn "assert::not_running"(
        /// A process id.
        pid: i32
    ) = not_running;
    /// Something accepts connections on a TCP port within a time.
    ///
    /// Errors: `assertion_failed` when nothing does; `invalid_argument` for a place that is none; `interrupted` when a signal ends the wait.
    /// Needs: nothing.
    /// Calls: connect(2)
    /// Undo: nothing.
    /// Example:
    ///     assert::port(ns::new(["net"]), 80, #{ timeout: "10ms" }); // throws assertion_failed
    fn "assert::port"(
        /// An `Ns`, or an address.
        place: Either<NetnsArg, String>,
        /// The port.
        port: u16,
        options: OrEmpty<Patience>
    ) = port;
    /// A text is that of a file that is kept beside the test: `cshell test --update` writes it.
    ///
    /// Errors: `assertion_failed` when it differs, with the lines that do; `not_found` when the file is not there yet.
    /// Needs: the right to read the file, and with `--update` to write it.
    /// Calls: read(2), write(2)
    /// Undo: nothing.
    /// Example:
    ///     assert::golden("a text", "/no/file"); // throws not_found
    fn "assert::golden"(
        /// The text.
        text: String,
        /// The file, relative to that of the test.
        path: PathBuf
    ) = golden;
}

/// How long to wait for something.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    timeout: Duration,
    every: Duration,
}

const PATIENCE: Options = Options {
    of: "an assertion that waits",
    open: None,
    keys: &[
        Key::new("timeout", "duration", "\"5s\"", "How long to wait at most."),
        Key::new("every", "duration", "\"20ms\"", "How long between two looks."),
    ],
};

impl FromOptions for Patience {
    const OPTIONS: &'static Options = &PATIENCE;
    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        let timeout = opts.or("timeout", Duration::from_secs(5))?;
        Ok(Self { timeout, every: opts.or("every", Duration::from_millis(20))? })
    }
}

/// How a file should be.
#[derive(Clone, Debug)]
pub struct FileFacts {
    kind: Option<String>,
    mode: Option<u32>,
    owner: Option<String>,
    size: Option<u64>,
    content: Option<Either<String, Blob>>,
    contains: Option<String>,
}

const FILE: Options = Options {
    of: "assert::file",
    open: None,
    keys: &[
        Key::new("type", "text", "any", "file, folder, link, socket, fifo, block or char."),
        Key::new("mode", "text", "any", "Its permissions in octal: \"644\", \"4755\"."),
        Key::new("owner", "text", "any", "The ids of its user and its group: \"0:0\"."),
        Key::new("size", "number", "any", "Its length in bytes."),
        Key::new("content", "text or blob", "any", "All that is in it."),
        Key::new("contains", "text", "any", "A part of it."),
    ],
};

impl FromOptions for FileFacts {
    const OPTIONS: &'static Options = &FILE;
    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        let mode: Option<String> = opts.take("mode")?;
        let mode = mode
            .map(|text| u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o7777))
            .map(|mode| mode.ok_or_else(|| opts.at().key("mode").wrong("must be octal, such as \"644\"")))
            .transpose()?;
        let kind: Option<String> = opts.take("type")?;
        let known = ["file", "folder", "link", "socket", "fifo", "block", "char"];
        if kind.as_deref().is_some_and(|kind| !known.contains(&kind)) {
            return Err(opts.at().key("type").wrong(format!("must be one of {}", known.join(", "))));
        }
        Ok(Self {
            kind,
            mode,
            owner: opts.take("owner")?,
            size: opts.take("size")?,
            content: opts.take("content")?,
            contains: opts.take("contains")?,
        })
    }
}

fn failed(call: &Call<'_>, what: impl Into<String>) -> Error {
    Error::new(ErrorKind::AssertionFailed, call.op(), what)
}

/// The text of a failure, behind what it is about.
fn about(message: Option<Dynamic>, what: &str) -> String {
    message.map_or_else(|| what.to_owned(), |message| format!("{message}: {what}"))
}

fn that(call: &Call<'_>, condition: bool, message: Option<Dynamic>) -> Result<()> {
    if condition {
        Ok(())
    } else {
        Err(failed(
            call,
            message.map_or_else(|| "it does not hold".to_owned(), |message| message.to_string()),
        ))
    }
}

fn eq(call: &Call<'_>, is: Dynamic, expected: Dynamic, message: Option<Dynamic>) -> Result<()> {
    let found = differences(call, &is, &expected);
    if found.is_empty() {
        return Ok(());
    }
    Err(failed(call, about(message, "the values differ")).detail(told(&is, &expected, &found)))
}

fn ne(call: &Call<'_>, is: Dynamic, other: Dynamic, message: Option<Dynamic>) -> Result<()> {
    if !same(call, &is, &other) {
        return Ok(());
    }
    Err(failed(call, about(message, &format!("both are {}", shown(&is)))))
}

fn ordered(
    call: &Call<'_>,
    (is, bound): (&Dynamic, &Dynamic),
    holds: fn(Ordering) -> bool,
    words: &str,
    message: Option<Dynamic>,
) -> Result<()> {
    match order(is, bound) {
        Some(order) if holds(order) => Ok(()),
        Some(_) => {
            Err(failed(call, about(message, &format!("{} is not {words} {}", shown(is), shown(bound)))))
        }
        None => Err(call.invalid(format!("{} and {} have no order", shown(is), shown(bound)))),
    }
}

fn lt(call: &Call<'_>, is: Dynamic, bound: Dynamic, message: Option<Dynamic>) -> Result<()> {
    ordered(call, (&is, &bound), Ordering::is_lt, "less than", message)
}

fn le(call: &Call<'_>, is: Dynamic, bound: Dynamic, message: Option<Dynamic>) -> Result<()> {
    ordered(call, (&is, &bound), Ordering::is_le, "less than or equal to", message)
}

fn gt(call: &Call<'_>, is: Dynamic, bound: Dynamic, message: Option<Dynamic>) -> Result<()> {
    ordered(call, (&is, &bound), Ordering::is_gt, "greater than", message)
}

fn ge(call: &Call<'_>, is: Dynamic, bound: Dynamic, message: Option<Dynamic>) -> Result<()> {
    ordered(call, (&is, &bound), Ordering::is_ge, "greater than or equal to", message)
}

fn between(call: &Call<'_>, is: Dynamic, least: Dynamic, most: Dynamic) -> Result<()> {
    ordered(call, (&is, &least), Ordering::is_ge, "greater than or equal to", None)?;
    ordered(call, (&is, &most), Ordering::is_le, "less than or equal to", None)
}

fn has(call: &Call<'_>, whole: &Dynamic, part: &Dynamic) -> Result<bool> {
    if let Some(text) = whole.read_lock::<ImmutableString>() {
        return match part.is_string() || part.is_char() {
            true => Ok(text.contains(part.to_string().as_str())),
            false => Err(call.invalid(format!("a part of a text is a text, not {}", shown(part)))),
        };
    }
    if let Some(list) = whole.read_lock::<Array>() {
        return Ok(list.iter().any(|element| same(call, element, part)));
    }
    if let Some(map) = whole.read_lock::<Map>() {
        return Ok(map.contains_key(part.to_string().as_str()));
    }
    Err(call.invalid(format!("`whole` must be a text, a list or a map, not {}", shown(whole))))
}

fn contains(call: &Call<'_>, whole: Dynamic, part: Dynamic) -> Result<()> {
    if has(call, &whole, &part)? {
        return Ok(());
    }
    Err(failed(call, format!("{} is not in it", shown(&part))).detail(format!("in: {}", shown(&whole))))
}

fn not_contains(call: &Call<'_>, whole: Dynamic, part: Dynamic) -> Result<()> {
    if !has(call, &whole, &part)? {
        return Ok(());
    }
    Err(failed(call, format!("{} is in it", shown(&part))).detail(format!("in: {}", shown(&whole))))
}

fn matches(call: &Call<'_>, text: String, pattern: String) -> Result<()> {
    let regex = regex_lite::Regex::new(&pattern)
        .map_err(|error| call.invalid(format!("`pattern` cannot be read: {error}")))?;
    if regex.is_match(&text) {
        return Ok(());
    }
    Err(failed(call, format!("{pattern:?} is not found in it"))
        .detail(format!("in: {}", shown(&text.into()))))
}

/// What a function of the script threw, as `catch` gives it; or what it returned. What ends the script passes.
fn attempt(call: &Call<'_>, f: &FnPtr) -> Outcome<std::result::Result<Dynamic, Dynamic>> {
    match call.invoke(f, []) {
        Ok(value) => Ok(Ok(value)),
        Err(Raised::Error(error)) => Err(error.into()),
        Err(Raised::Script(error)) => match error.unwrap_inner() {
            EvalAltResult::ErrorTerminated(..) | EvalAltResult::Exit(..) => Err(Raised::Script(error)),
            EvalAltResult::ErrorRuntime(value, _) => Ok(Err(value.clone())),
            other => {
                // As the language itself would give it to `catch`.
                let mut map = Map::new();
                let debug = format!("{other:?}");
                let name: String = debug.chars().take_while(|c| c.is_alphanumeric()).collect();
                map.insert("error".into(), name.into());
                map.insert("message".into(), other.to_string().into());
                Ok(Err(shape_caught(map.into())))
            }
        },
    }
}

/// The kind of what was thrown.
fn kind_of(thrown: &Dynamic) -> String {
    if let Some(error) = thrown.read_lock::<ScriptError>() {
        return error.kind().name().to_owned();
    }
    let map = thrown.read_lock::<Map>();
    map.and_then(|map| map.get("kind").map(ToString::to_string)).unwrap_or_default()
}

fn throws(call: &Call<'_>, kind: String, f: FnPtr) -> Outcome<Dynamic> {
    let known = ErrorKind::ALL.map(ErrorKind::name);
    if kind != "any" && !known.contains(&kind.as_str()) {
        let near = crate::script::options::did_you_mean(&kind, known);
        return Err(call.invalid(format!("there is no kind of error {kind:?}{near}")).into());
    }
    match attempt(call, &f)? {
        Ok(value) => Err(failed(call, format!("it did not fail, it returned {}", shown(&value))).into()),
        Err(thrown) if kind == "any" || kind_of(&thrown) == kind => Ok(thrown),
        Err(thrown) => {
            let came = kind_of(&thrown);
            let what = match came.is_empty() {
                true => format!("it failed, but not with {kind}"),
                false => format!("it failed with {came}, not with {kind}"),
            };
            Err(failed(call, what).detail(format!("thrown: {thrown}")).into())
        }
    }
}

fn eventually(call: &Call<'_>, options: Either<FnPtr, Patience>, f: Option<FnPtr>) -> Outcome<Dynamic> {
    let (patience, f) = match (options, f) {
        (Either::Left(f), None) => {
            (Patience { timeout: Duration::from_secs(5), every: Duration::from_millis(20) }, f)
        }
        (Either::Right(patience), Some(f)) => (patience, f),
        _ => return Err(call.invalid("is written (f) or (options, f)").into()),
    };
    let deadline = Instant::now() + patience.timeout;
    loop {
        let last = match attempt(call, &f)? {
            Ok(value) if !value.is_unit() && value.as_bool() != Ok(false) => return Ok(value),
            Ok(value) => format!("it returned {}", shown(&value)),
            Err(thrown) => format!("it threw {thrown}"),
        };
        if Instant::now() >= deadline {
            let what = format!(
                "it does not come to hold within {}",
                crate::runtime::units::show_duration(patience.timeout)
            );
            return Err(failed(call, what).detail(format!("last: {last}")).into());
        }
        attend::sleep(call.session(), call.op(), deadline.min(Instant::now() + patience.every))?;
    }
}

fn is_denied(call: &Call<'_>, errno: Either<String, Vec<String>>, what: Dynamic) -> Outcome<()> {
    let names = match errno {
        Either::Left(name) => vec![name],
        Either::Right(names) => names,
    };
    let known: Vec<_> = names.iter().map(|name| errno_of(name)).collect();
    if let Some(at) = known.iter().position(Option::is_none) {
        return Err(call.invalid(format!("there is no errno {:?}", names[at])).into());
    }
    let wanted = names.join(" or ");
    let came = if let Some(f) = what.clone().try_cast::<FnPtr>() {
        match attempt(call, &f)? {
            Ok(value) => {
                return Err(failed(call, format!("it was not refused, it returned {}", shown(&value))).into());
            }
            Err(thrown) => match thrown.read_lock::<ScriptError>() {
                Some(error) => error.field("code").to_string(),
                None => thrown.to_string(),
            },
        }
    } else if let Some(error) = what.read_lock::<Map>().and_then(|map| map.get("error").cloned()) {
        // An answer to a system call.
        if error.is_unit() { String::new() } else { error.to_string() }
    } else if let Some(ending) = Ending::of(&what) {
        ending.errno(&known.into_iter().flatten().collect::<Vec<_>>())
    } else {
        return Err(call.invalid("`what` must be an answer, a result of a command or a function").into());
    };
    if names.contains(&came) {
        return Ok(());
    }
    let what = match came.is_empty() {
        true => "it was not refused".to_owned(),
        false => format!("it was answered {came}, not {wanted}"),
    };
    Err(failed(call, what).into())
}

/// How a command ended, of what tells of one: a result of `proc::exec`, or the map of `syscall::run`.
struct Ending {
    ok: bool,
    reason: String,
    stderr: String,
}

impl Ending {
    fn of(value: &Dynamic) -> Option<Self> {
        if let Some(result) = value.read_lock::<ExecResult>() {
            let outcome = result.outcome();
            return Some(Self {
                ok: outcome.is_ok(),
                reason: outcome.reason.name().to_owned(),
                stderr: String::from_utf8_lossy(&outcome.stderr).into_owned(),
            });
        }
        let map = value.read_lock::<Map>()?;
        let text = |key: &str| map.get(key).map(ToString::to_string);
        Some(Self {
            ok: map.get("complete")?.as_bool().ok()?,
            reason: text("reason")?,
            stderr: text("stderr").unwrap_or_default(),
        })
    }

    /// The errno of which its last words tell, if it is one of these.
    fn errno(&self, wanted: &[nix::errno::Errno]) -> String {
        if self.ok {
            return String::new();
        }
        let said = wanted.iter().find(|errno| self.stderr.contains(errno.desc()));
        said.map_or_else(|| format!("by a command that said {:?}", self.stderr), |errno| format!("{errno:?}"))
    }
}

/// An errno by name.
fn errno_of(name: &str) -> Option<nix::errno::Errno> {
    (1..200).map(nix::errno::Errno::from_raw).find(|errno| format!("{errno:?}") == name)
}

fn limited(call: &Call<'_>, controller: String, what: Either<Open<Cgroup>, Dynamic>) -> Result<()> {
    if !["memory", "pids", "cpu"].contains(&controller.as_str()) {
        return Err(
            call.invalid(format!("`controller` must be \"memory\", \"pids\" or \"cpu\", not {controller:?}"))
        );
    }
    let counted = match what {
        Either::Left(group) => {
            let (events, stats) = (group.events(), group.stats());
            let event = |name: &str| events.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0);
            match controller.as_str() {
                "memory" => stats["memory"]["oom_kills"].as_u64().unwrap_or(0) + event("memory_max"),
                "pids" => event("pids_max"),
                _ => stats["cpu"]["throttled_periods"].as_u64().unwrap_or(0),
            }
        }
        Either::Right(result) => {
            let Some(Ending { reason, stderr, .. }) = Ending::of(&result) else {
                return Err(
                    call.invalid(format!("`what` must be a Cgroup or a result, not {}", shown(&result)))
                );
            };
            let refused = ["Resource temporarily unavailable", "can't fork", "Cannot fork", "EAGAIN"];
            let bites = match controller.as_str() {
                "memory" => reason == "oom",
                "pids" => refused.iter().any(|words| stderr.contains(words)),
                _ => {
                    return Err(call.invalid(
                        "what a result of a command tells of is \"memory\" and \"pids\": give the group",
                    ));
                }
            };
            u64::from(bites)
        }
    };
    if counted > 0 { Ok(()) } else { Err(failed(call, format!("the limit on {controller} was not met"))) }
}

/// Somebody's namespaces.
type Side = Either<Subject, Map>;

/// The inode of a namespace of somebody.
fn inode(call: &Call<'_>, kind: &str, side: Side) -> Result<i64> {
    let found = match side {
        Either::Left(subject) => {
            list::of(call.op(), subject.0)?.get(kind).and_then(|inode| i64::try_from(*inode).ok())
        }
        Either::Right(map) => map.get(kind).and_then(|inode| inode.as_int().ok()),
    };
    found.ok_or_else(|| {
        call.invalid(format!("`kind` must be one of user mount pid net ipc uts cgroup time, not {kind:?}"))
    })
}

fn same_ns(call: &Call<'_>, kind: String, a: Side, b: Side) -> Result<()> {
    match inode(call, &kind, a)? == inode(call, &kind, b)? {
        true => Ok(()),
        false => Err(failed(call, format!("their {kind} namespaces are different"))),
    }
}

fn different_ns(call: &Call<'_>, kind: String, a: Side, b: Side) -> Result<()> {
    match inode(call, &kind, a)? == inode(call, &kind, b)? {
        false => Ok(()),
        true => Err(failed(call, format!("they share the {kind} namespace"))),
    }
}

fn no_leaks(call: &Call<'_>, f: FnPtr) -> Outcome<Dynamic> {
    let ground = Ground::new(call.session().dirs().clone(), std::env::current_dir());
    let before = leaks::look(&ground);
    let value = call.invoke(&f, [])?;
    let now = leaks::look(&ground);
    let own = call.session().token();
    let is_foreign = |words: &[String]| {
        crate::runtime::gc::tokens(call.session().dirs())
            .iter()
            .any(|token| token != own && words.iter().any(|word| word.contains(token.as_str())))
    };
    let left = now.since(&before).into_iter().filter(|(_, thing)| !is_foreign(&thing.words));
    let left: Vec<String> = left.map(|(_, thing)| format!("{} {}", thing.kind.name(), thing.text)).collect();
    if left.is_empty() {
        Ok(value)
    } else {
        Err(failed(call, "something is left").detail(left.join("\n")).into())
    }
}

fn file(call: &Call<'_>, path: PathBuf, options: OrEmpty<FileFacts>) -> Result<()> {
    let facts = options.0;
    let shown = path.display().to_string();
    let Ok(data) = std::fs::symlink_metadata(&path) else {
        return Err(failed(call, "it is not there").subject(shown));
    };
    let kind = data.file_type();
    let is = match () {
        () if kind.is_file() => "file",
        () if kind.is_dir() => "folder",
        () if kind.is_symlink() => "link",
        () if kind.is_socket() => "socket",
        () if kind.is_fifo() => "fifo",
        () if kind.is_block_device() => "block",
        () => "char",
    };
    let mut wrong = Vec::new();
    let mut compare = |what: &str, is: String, wanted: Option<String>| {
        if let Some(wanted) = wanted.filter(|wanted| *wanted != is) {
            wrong.push(format!("{what}: {is}, expected {wanted}"));
        }
    };
    compare("type", is.to_owned(), facts.kind);
    compare("mode", format!("{:o}", data.mode() & 0o7777), facts.mode.map(|mode| format!("{mode:o}")));
    compare("owner", format!("{}:{}", data.uid(), data.gid()), facts.owner);
    compare("size", data.len().to_string(), facts.size.map(|size| size.to_string()));
    let wants_content = facts.content.is_some() || facts.contains.is_some();
    let content = if wants_content { std::fs::read(&path).unwrap_or_default() } else { Vec::new() };
    let text = String::from_utf8_lossy(&content);
    if let Some(part) = facts.contains.filter(|part| !text.contains(part.as_str())) {
        wrong.push(format!("{part:?} is not in it"));
    }
    match facts.content {
        Some(Either::Left(expected)) if *expected != *text => wrong.push(lines(&text, &expected)),
        Some(Either::Right(expected)) if expected != content => {
            wrong.push(format!(
                "content: {} bytes that differ from the {} expected",
                content.len(),
                expected.len()
            ));
        }
        _ => {}
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(failed(call, "it is not as it should be").subject(shown).detail(wrong.join("\n"))),
    }
}

fn no_file(call: &Call<'_>, path: PathBuf) -> Result<()> {
    match std::fs::symlink_metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io(call.op(), "cannot look", error).subject(path.display())),
        Ok(_) => Err(failed(call, "it is there").subject(path.display())),
    }
}

fn running(call: &Call<'_>, pid: i32) -> Result<()> {
    match Process::runs(pid) {
        true => Ok(()),
        false => Err(failed(call, "it does not run").subject(format!("process {pid}"))),
    }
}

fn not_running(call: &Call<'_>, pid: i32) -> Result<()> {
    match Process::runs(pid) {
        false => Ok(()),
        true => Err(failed(call, "it runs").subject(format!("process {pid}"))),
    }
}

fn port(
    call: &Call<'_>,
    place: Either<NetnsArg, String>,
    port: u16,
    options: OrEmpty<Patience>,
) -> Result<()> {
    let timeout = options.0.timeout;
    let (ns, host) = match &place {
        Either::Left(ns) => (Some(&ns.0), "127.0.0.1"),
        Either::Right(host) => (None, host.as_str()),
    };
    match net::wait_port(call.session(), ns, host, port, timeout) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::Timeout => {
            Err(failed(call, format!("nothing accepts connections on port {port} of {host}"))
                .caused_by(error))
        }
        Err(error) => Err(error.in_op(call.op())),
    }
}

fn golden(call: &Call<'_>, text: String, path: PathBuf) -> Result<()> {
    let (source, _) = call.source_line();
    let folder = std::path::Path::new(&source).parent().filter(|_| !source.starts_with('<'));
    let path = folder.map_or_else(|| path.clone(), |folder| folder.join(&path));
    if call.shell().suite().updates() {
        let parent = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        parent.and_then(|()| std::fs::write(&path, &text)).map_err(|error| {
            Error::io(call.op(), "cannot write the golden file", error).subject(path.display()).path(&path)
        })?;
        call.shell().suite().note(format!("{} is written", path.display()));
        return Ok(());
    }
    let expected = std::fs::read(&path).map_err(|error| {
        let error = Error::io(call.op(), "cannot read the golden file", error).subject(path.display());
        error.path(&path).hint("`cshell test --update` writes it")
    })?;
    let expected = String::from_utf8_lossy(&expected);
    if *expected == *text {
        return Ok(());
    }
    let error = failed(call, "it differs from the golden file").subject(path.display());
    Err(error
        .detail(lines(&text, &expected))
        .hint("`cshell test --update` writes it anew, when the change is meant"))
}
