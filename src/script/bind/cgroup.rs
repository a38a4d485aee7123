//! `cgroup`: control groups and their limits.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cgroup::limits::Max;
use crate::runtime::cgroup::{self, Cgroup, Limit};
use crate::runtime::session::HandleId;
use crate::script::call::Call;
use crate::script::convert::{At, Cpus, Either, FromScript, Int, Size};
use crate::script::handle::{Held, Kind, Open};
use crate::script::native::natives;
use crate::script::options::{FromOptions, Key, OpenKeys, Options, Opts};
use rhai::Dynamic;
use std::rc::Rc;

natives! {
    /// Control groups: limits that are in force (cgroups(7), cgroup-v2.rst of the kernel).
    pub const CGROUP = "cgroup";

    /// Sets limits, each read back from the kernel: on a group, or, given a map alone, on a new anonymous group.
    ///
    /// Returns the group. On a host with version 1 controllers the values are translated; what has no counterpart there
    /// is an `unsupported` error that names it. A new group lies below this program's own and is removed, its processes
    /// killed, when the handle is closed or the script ends.
    ///
    /// Errors: `invalid_argument`, `unsupported` (controller not mounted), `permission_denied`, `busy`.
    fn "cgroup::limit"(group: Either<Held<Cgroup>, Limits>, options: Option<Limits>) -> Held<Cgroup> = limit;
    /// Makes a group called `name` below this program's own, with the limits of `options`.
    ///
    /// Errors: `already_exists`, `invalid_argument` for a name with a slash, and those of `cgroup::limit`.
    fn "cgroup::create"(name: String, options: OrNone) -> (HandleId, Rc<Cgroup>) = create;
    /// What this host has: `mode` (`v1`, `hybrid`, `v2` or `none`), `why`, and `controllers`, each with its version and
    /// the folder of this program's own group.
    fn "cgroup::info"() -> serde_json::Value = info;

    /// The folders of the group, one a hierarchy.
    get "Cgroup.paths"(group: Open<Cgroup>) -> Vec<String> = paths;
    /// The folder of the group in its first hierarchy (version 2 where there is one).
    get "Cgroup.path"(group: Open<Cgroup>) -> String = path;
    /// Sets limits, as `cgroup::limit`. Returns the group.
    method "Cgroup.limit"(group: Held<Cgroup>, options: Limits) -> Held<Cgroup> = limit_method;
    /// The limits in force, by the names of version 2: bytes and counts as numbers.
    method "Cgroup.limits"(group: Open<Cgroup>) -> serde_json::Value = limits;
    /// What the group uses: `memory` (`current peak oom_kills`, bytes), `cpu` (microseconds, `throttled_periods`) and
    /// `pids` (`current peak`). `()` where the kernel does not count it.
    method "Cgroup.stats"(group: Open<Cgroup>) -> serde_json::Value = stats;
    /// The processes in the group.
    method "Cgroup.procs"(group: Open<Cgroup>) -> Vec<i64> = procs;
    /// Moves a process, with all its threads, into the group.
    ///
    /// Errors: `not_found` when it is gone.
    method "Cgroup.add"(group: Open<Cgroup>, pid: i32) = add;
    /// Kills every process of the group and of groups below it, and waits until they are gone.
    method "Cgroup.kill"(group: Open<Cgroup>) = kill;
}

impl Kind for Cgroup {
    const NAME: &'static str = "Cgroup";
}

/// Limits as an option map.
#[derive(Clone, Debug)]
pub struct Limits(pub Vec<Limit>);

/// Limits that may be left out.
type OrNone = Option<Limits>;

pub(super) const LIMIT: Options = Options {
    of: "cgroup::limit",
    open: Some(OpenKeys {
        names: "any file name of cgroup version 2, such as \"memory.max\"",
        takes: is_file_name,
    }),
    keys: &[
        Key::new("memory", "size or \"max\"", "no limit", "Memory; above it the kernel kills (memory.max)."),
        Key::new(
            "memory_swap",
            "size or \"max\"",
            "no limit",
            "Memory and swap together, as `docker run --memory-swap`.",
        ),
        Key::new(
            "memory_high",
            "size or \"max\"",
            "no limit",
            "Memory above which processes are throttled (memory.high).",
        ),
        Key::new("cpus", "number or percent", "no limit", "Processors: 0.5 or \"50%\" (cpu.max)."),
        Key::new("cpu_weight", "number 1 to 10000", "100", "The share under contention (cpu.weight)."),
        Key::new("cpuset", "text", "all", "The processors that may be used: \"0-2,4\" (cpuset.cpus)."),
        Key::new("pids", "number or \"max\"", "no limit", "Processes and threads (pids.max)."),
        Key::new("io", "map", "no limit", "Limits on devices. Not supported yet."),
        Key::new("devices", "list", "all", "Rules on devices. Not supported yet."),
        Key::new("hugetlb", "map", "no limit", "Huge pages. Not supported yet."),
    ],
};

/// Whether a key is written as version 2 names its files: a controller, a dot, a name.
fn is_file_name(key: &str) -> bool {
    let word = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.')
    };
    key.split_once('.').is_some_and(|(controller, name)| word(controller) && word(name))
}

impl FromOptions for Limits {
    const OPTIONS: &'static Options = &LIMIT;

    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        let op = opts.at().call().op();
        for key in ["io", "devices", "hugetlb"] {
            if opts.has(key) {
                let what = format!("limits on {key} are not supported yet");
                return Err(Error::new(ErrorKind::Unsupported, op, what));
            }
        }
        let mut limits = Vec::new();
        let memory: Option<MaxSize> = opts.take("memory")?;
        limits.extend(memory.map(|size| Limit::Memory(size.0)));
        if let Some(together) = opts.take::<MaxSize>("memory_swap")? {
            limits.push(Limit::Swap(swap_alone(opts, memory, together)?));
        }
        limits.extend(opts.take("memory_high")?.map(|size: MaxSize| Limit::MemoryHigh(size.0)));
        limits.extend(opts.take("cpus")?.map(|cpus: Cpus| Limit::cpus(op, cpus.0)).transpose()?);
        limits.extend(
            opts.take("cpu_weight")?.map(|weight: Int<1, 10_000>| Limit::CpuWeight(weight.0.unsigned_abs())),
        );
        limits.extend(opts.take("cpuset")?.map(Limit::CpusetCpus));
        limits.extend(opts.take("pids")?.map(|count: MaxCount| Limit::Pids(count.0)));
        for (key, value) in opts.rest() {
            limits.push(of_file(&key, value, &opts.at().key(&key))?);
        }
        limits.iter().try_for_each(|limit| limit.check(op))?;
        Ok(Self(limits))
    }
}

/// Version 2 limits swap alone; Docker's option is the sum.
fn swap_alone(opts: &Opts<'_, '_>, memory: Option<MaxSize>, together: MaxSize) -> Result<Max> {
    let at = opts.at().key("memory_swap");
    match (memory.and_then(|memory| memory.0), together.0) {
        (_, None) => Ok(None),
        (Some(memory), Some(together)) if together >= memory => Ok(Some(together - memory)),
        (Some(_), Some(_)) => {
            Err(at.wrong("is memory and swap together, and must not be less than `memory`"))
        }
        (None, Some(_)) => Err(at.wrong("needs `memory` beside it; for swap alone use \"memory.swap.max\"")),
    }
}

/// A limit by the name of its file in version 2.
fn of_file(key: &str, value: Dynamic, at: &At<'_, '_>) -> Result<Limit> {
    let size = |value| MaxSize::from_script(value, at).map(|size| size.0);
    Ok(match key {
        "memory.max" => Limit::Memory(size(value)?),
        "memory.swap.max" => Limit::Swap(size(value)?),
        "memory.high" => Limit::MemoryHigh(size(value)?),
        "pids.max" => Limit::Pids(MaxCount::from_script(value, at)?.0),
        "cpu.weight" => Limit::CpuWeight(u64::from_script(value, at)?),
        "cpu.max" => cpu_max(value, at)?,
        "cpuset.cpus" => Limit::CpusetCpus(String::from_script(value, at)?),
        "cpuset.mems" => Limit::CpusetMems(String::from_script(value, at)?),
        _ => {
            let what = format!("the file {key} cannot be set yet");
            return Err(Error::new(ErrorKind::Unsupported, at.call().op(), what).hint(
                "files are: memory.max memory.swap.max memory.high pids.max cpu.max cpu.weight cpuset.cpus cpuset.mems",
            ));
        }
    })
}

/// `cpu.max`: `"50000 100000"`, `"max"`, or a share such as `"50%"`.
fn cpu_max(value: Dynamic, at: &At<'_, '_>) -> Result<Limit> {
    let text = value.to_string();
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let number = |text: &str| {
        text.parse::<u64>().map_err(|_| at.wrong("must be \"QUOTA PERIOD\" in us, \"max\" or a percent"))
    };
    let period = words.get(1).map_or(Ok(cgroup::limits::PERIOD), |period| number(period))?;
    match words[..] {
        ["max"] | ["max", _] => Ok(Limit::Cpu { quota: None, period }),
        [share] if share.ends_with('%') => Limit::cpus(at.call().op(), Cpus::from_script(value, at)?.0),
        [quota] | [quota, _] => Ok(Limit::Cpu { quota: Some(number(quota)?), period }),
        _ => Err(at.wrong("must be \"QUOTA PERIOD\" in us, \"max\" or a percent")),
    }
}

/// A size, or `"max"`.
#[derive(Clone, Copy, Debug)]
struct MaxSize(Max);

impl FromScript for MaxSize {
    fn expected() -> String {
        format!("{} or \"max\"", Size::expected())
    }
    fn accepts(value: &Dynamic) -> bool {
        Size::accepts(value)
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        if value.is_string() && value.to_string() == "max" {
            return Ok(Self(None));
        }
        let shown = value.clone();
        let wrong = |_| at.expected(&Self::expected(), &shown);
        Size::from_script(value, at).map(|size| Self(Some(size.0))).map_err(wrong)
    }
}

/// A number of processes, or `"max"`.
#[derive(Clone, Copy, Debug)]
struct MaxCount(Max);

impl FromScript for MaxCount {
    fn expected() -> String {
        "a whole number from 1 or \"max\"".into()
    }
    fn accepts(value: &Dynamic) -> bool {
        value.is_int() || value.is_string()
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        if value.is_string() && value.to_string() == "max" {
            return Ok(Self(None));
        }
        match value.as_int() {
            Ok(count) if count > 0 => Ok(Self(Some(count.unsigned_abs()))),
            _ => Err(at.expected(&Self::expected(), &value)),
        }
    }
}

fn limit(call: &Call<'_>, group: Either<Held<Cgroup>, Limits>, options: OrNone) -> Result<Held<Cgroup>> {
    match (group, options) {
        (Either::Left(group), Some(limits)) => limit_method(call, group, limits),
        (Either::Left(_), None) => Err(call.invalid("a group was given, and no map of limits")),
        (Either::Right(limits), None) => Ok(Held::new(cgroup::limit_new(call.session(), &limits.0)?.0)),
        (Either::Right(_), Some(_)) => Err(call.invalid("two maps of limits were given, and no group")),
    }
}

fn limit_method(call: &Call<'_>, group: Held<Cgroup>, options: Limits) -> Result<Held<Cgroup>> {
    cgroup::limit(call.session(), group.id(), &options.0)?;
    Ok(group)
}

fn create(call: &Call<'_>, name: String, options: OrNone) -> Result<(HandleId, Rc<Cgroup>)> {
    let limits = options.map_or_else(Vec::new, |limits| limits.0);
    cgroup::create(call.session(), &name, &limits)
}

fn info(_: &Call<'_>) -> Result<serde_json::Value> {
    cgroup::info()
}

fn paths(_: &Call<'_>, group: Open<Cgroup>) -> Result<Vec<String>> {
    Ok(group.paths().iter().map(|path| path.display().to_string()).collect())
}

fn path(call: &Call<'_>, group: Open<Cgroup>) -> Result<String> {
    Ok(paths(call, group)?.into_iter().next().unwrap_or_default())
}

fn limits(_: &Call<'_>, group: Open<Cgroup>) -> Result<serde_json::Value> {
    Ok(group.limits().into())
}

fn stats(_: &Call<'_>, group: Open<Cgroup>) -> Result<serde_json::Value> {
    Ok(group.stats())
}

fn procs(_: &Call<'_>, group: Open<Cgroup>) -> Result<Vec<i64>> {
    Ok(group.procs().into_iter().map(i64::from).collect())
}

fn add(call: &Call<'_>, group: Open<Cgroup>, pid: i32) -> Result<()> {
    if pid < 1 {
        return Err(call.invalid(format!("`pid` must be the id of a process, not {pid}")));
    }
    group.add(pid)
}

fn kill(_: &Call<'_>, group: Open<Cgroup>) -> Result<()> {
    group.kill()
}
