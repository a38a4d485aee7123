//! The option map of limits: short names, and every file name of version 2.

use crate::error::Result;
use crate::runtime::cgroup::Limit;
use crate::runtime::cgroup::devices::Rule;
use crate::runtime::cgroup::io::{Device, IoMax};
use crate::runtime::cgroup::limits::{self, Max};
use crate::script::convert::{At, Cpus, FromScript, Int, Size};
use crate::script::options::{FromOptions, Key, OpenKeys, Options, Opts};
use rhai::Dynamic;
use std::collections::BTreeMap;

/// Limits as an option map.
#[derive(Clone, Debug)]
pub struct Limits(pub Vec<Limit>);

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
        Key::new("memory_low", "size", "0", "Memory that is protected while others have something to give (memory.low)."),
        Key::new("memory_min", "size", "0", "Memory that is protected in any case (memory.min; not in version 1)."),
        Key::new("oom_group", "true or false", "false", "Whether all are killed where one is (memory.oom.group)."),
        Key::new("cpuset", "text", "all", "The processors that may be used: \"0-2,4\" (cpuset.cpus)."),
        Key::new("cpuset_mems", "text", "all", "The memory nodes that may be used: \"0\" (cpuset.mems)."),
        Key::new("pids", "number or \"max\"", "no limit", "Processes and threads (pids.max)."),
        Key::new(
            "io",
            "map",
            "no limit",
            "`weight` (1 to 10000), and for each device (\"/dev/sda\", \"8:0\") a map of rbps, wbps (sizes a second), riops, wiops (numbers a second) and weight, each also \"max\" (io.max, io.weight).",
        ),
        Key::new(
            "devices",
            "list",
            "all",
            "Rules on device files, the last that fits decides: [\"deny all\", \"allow c 1:3 rwm\", \"allow /dev/zero r\"], or maps of allow, path, type, major, minor, access. Replaces those before.",
        )
        .map(&RULE),
        Key::new("hugetlb", "map", "no limit", "Huge pages by their size: #{\"2MB\": \"64MiB\"} (hugetlb.SIZE.max)."),
        Key::new("rdma", "map", "no limit", "Handles of RDMA devices: #{mlx5_0: \"hca_handle=2 hca_object=max\"} (rdma.max)."),
        Key::new("misc", "map", "no limit", "Counted resources by name: #{sev: 3} (misc.max)."),
    ],
};

/// Whether a key is written as version 2 names its files: a controller, a dot, a name.
fn is_file_name(key: &str) -> bool {
    let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    key.contains('.') && key.split('.').all(word)
}

impl FromOptions for Limits {
    const OPTIONS: &'static Options = &LIMIT;

    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        let op = opts.at().call().op();
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
        limits.extend(opts.take("memory_low")?.map(|size: MaxSize| Limit::MemoryLow(size.0)));
        limits.extend(opts.take("memory_min")?.map(|size: MaxSize| Limit::MemoryMin(size.0)));
        limits.extend(opts.take("oom_group")?.map(Limit::OomGroup));
        limits.extend(opts.take("cpuset")?.map(Limit::CpusetCpus));
        limits.extend(opts.take("cpuset_mems")?.map(Limit::CpusetMems));
        limits.extend(opts.take("pids")?.map(|count: MaxCount| Limit::Pids(count.0)));
        limits.extend(of_devices(opts)?);
        for (key, value) in opts.rest() {
            limits.push(of_file(&key, value, &opts.at().key(&key))?);
        }
        limits.iter().try_for_each(|limit| limit.check(op))?;
        Ok(Self(limits))
    }
}

/// The keys that hold maps and lists: devices, huge pages, rdma, misc.
fn of_devices(opts: &mut Opts<'_, '_>) -> Result<Vec<Limit>> {
    let mut limits = Vec::new();
    let at = opts.at().key("io");
    for (key, value) in opts.or::<BTreeMap<String, Dynamic>>("io", BTreeMap::new())? {
        limits.extend(of_io(&key, value, &at)?);
    }
    if let Some(rules) = opts.take::<Vec<RuleArg>>("devices")? {
        limits.push(Limit::Devices(rules.into_iter().map(|rule| rule.0).collect()));
    }
    let huge: BTreeMap<String, MaxSize> = opts.or("hugetlb", BTreeMap::new())?;
    limits.extend(huge.into_iter().map(|(size, max)| Limit::Hugetlb(size, max.0)));
    for (device, text) in opts.or::<BTreeMap<String, String>>("rdma", BTreeMap::new())? {
        limits.push(Limit::Raw("rdma.max".into(), format!("{device} {text}")));
    }
    for (name, count) in opts.or::<BTreeMap<String, MaxCount>>("misc", BTreeMap::new())? {
        let count = count.0.map_or_else(|| "max".to_owned(), |count| count.to_string());
        limits.push(Limit::Raw("misc.max".into(), format!("{name} {count}")));
    }
    Ok(limits)
}

/// One key of `io`: the weight of all devices, or a device with its limits.
fn of_io(key: &str, value: Dynamic, at: &At<'_, '_>) -> Result<Vec<Limit>> {
    if key == "weight" {
        let weight = Int::<1, 10_000>::from_script(value, &at.key(key))?;
        return Ok(vec![Limit::IoWeight(None, weight.0.unsigned_abs())]);
    }
    let device = Device::block(at.call().op(), key)?;
    let (max, weight) = IoArg::from_script(value, &at.key(key)).map(|arg| (arg.max, arg.weight))?;
    let mut limits = Vec::new();
    limits.extend((max != IoMax::default()).then_some(Limit::Io(device, max)));
    limits.extend(weight.map(|weight| Limit::IoWeight(Some(device), weight)));
    if limits.is_empty() {
        return Err(at.key(key).wrong("is empty: give rbps, wbps, riops, wiops or weight"));
    }
    Ok(limits)
}

/// What one device is limited to.
#[derive(Clone, Copy, Debug)]
struct IoArg {
    max: IoMax,
    weight: Option<u64>,
}

const IO: Options = Options {
    of: "cgroup::limit io",
    open: None,
    keys: &[
        Key::new("rbps", "size or \"max\"", "no limit", "Bytes read in a second."),
        Key::new("wbps", "size or \"max\"", "no limit", "Bytes written in a second."),
        Key::new("riops", "number or \"max\"", "no limit", "Reads in a second."),
        Key::new("wiops", "number or \"max\"", "no limit", "Writes in a second."),
        Key::new("weight", "number 1 to 10000", "100", "The share under contention."),
    ],
};

impl FromOptions for IoArg {
    const OPTIONS: &'static Options = &IO;

    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        let max = IoMax {
            rbps: opts.take("rbps")?.map(|size: MaxSize| size.0),
            wbps: opts.take("wbps")?.map(|size: MaxSize| size.0),
            riops: opts.take("riops")?.map(|count: MaxCount| count.0),
            wiops: opts.take("wiops")?.map(|count: MaxCount| count.0),
        };
        let zero = max.parts().into_iter().find(|(_, _, value)| *value == Some(0));
        if let Some((name, _, _)) = zero {
            return Err(opts.at().key(name).wrong("must not be 0: nothing could be read or written"));
        }
        let weight = opts.take("weight")?.map(|weight: Int<1, 10_000>| weight.0.unsigned_abs());
        Ok(Self { max, weight })
    }
}

/// A rule on devices.
#[derive(Clone, Copy, Debug)]
struct RuleArg(Rule);

const RULE: Options = Options {
    of: "cgroup::limit devices",
    open: None,
    keys: &[
        Key::new("allow", "true or false", "", "Whether the access is allowed."),
        Key::new("path", "text", "none", "The device file, in place of type, major and minor."),
        Key::new("type", "\"c\", \"b\" or \"a\"", "\"a\"", "Character or block devices, or all."),
        Key::new("major", "number", "all", "The major number."),
        Key::new("minor", "number", "all", "The minor number."),
        Key::new("access", "text of r, w, m", "\"rwm\"", "To read, to write, to make (mknod)."),
    ],
};

impl FromOptions for RuleArg {
    const OPTIONS: &'static Options = &RULE;
    const SHORTHAND: &'static str = "a text such as \"deny all\" or \"allow c 1:3 rwm\"";

    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        let word = if opts.need("allow")? { "allow" } else { "deny" };
        let access: String = opts.or("access", "rwm".into())?;
        let number = |value: Option<u32>| value.map_or_else(|| "*".to_owned(), |value| value.to_string());
        let (major, minor) = (number(opts.take("major")?), number(opts.take("minor")?));
        let kind: String = opts.or("type", "a".into())?;
        let text = match (opts.take::<String>("path")?, kind.as_str()) {
            (Some(path), _) => format!("{word} {path} {access}"),
            (None, "a") => format!("{word} all"),
            (None, kind) => format!("{word} {kind} {major}:{minor} {access}"),
        };
        Rule::parse(opts.at().call().op(), &text).map(Self)
    }

    fn from_shorthand(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        let text = String::from_script(value, at)?;
        Rule::parse(at.call().op(), &text).map(Self)
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
        "memory.low" => Limit::MemoryLow(size(value)?),
        "memory.min" => Limit::MemoryMin(size(value)?),
        "memory.oom.group" => Limit::OomGroup(on_or_off(value, at)?),
        "io.max" => io_max(value, at)?,
        _ => match key.strip_prefix("hugetlb.").and_then(|rest| rest.strip_suffix(".max")) {
            Some(page) if !page.contains('.') => Limit::Hugetlb(page.to_owned(), size(value)?),
            _ => Limit::Raw(key.to_owned(), raw(value, at)?),
        },
    })
}

/// `io.max` as the kernel writes it: `"254:0 rbps=1048576 wiops=max"`.
fn io_max(value: Dynamic, at: &At<'_, '_>) -> Result<Limit> {
    let wrong =
        || at.wrong("must be \"MAJOR:MINOR rbps=… wbps=… riops=… wiops=…\", each a number or \"max\"");
    let text = String::from_script(value, at)?;
    let (device, rest) = text.split_once(' ').ok_or_else(wrong)?;
    let mut max = IoMax::default();
    for part in rest.split_ascii_whitespace() {
        let (name, number) = part.split_once('=').ok_or_else(wrong)?;
        let number = if number == "max" { None } else { Some(number.parse().map_err(|_| wrong())?) };
        match name {
            "rbps" => max.rbps = Some(number),
            "wbps" => max.wbps = Some(number),
            "riops" => max.riops = Some(number),
            "wiops" => max.wiops = Some(number),
            _ => return Err(wrong()),
        }
    }
    Ok(Limit::Io(Device::block(at.call().op(), device)?, max))
}

fn on_or_off(value: Dynamic, at: &At<'_, '_>) -> Result<bool> {
    match (value.as_bool(), value.as_int()) {
        (Ok(on), _) => Ok(on),
        (_, Ok(number @ 0..=1)) => Ok(number == 1),
        _ => Err(at.expected("true, false, 1 or 0", &value)),
    }
}

/// The text that is written to a file.
fn raw(value: Dynamic, at: &At<'_, '_>) -> Result<String> {
    if let Ok(on) = value.as_bool() {
        return Ok(u8::from(on).to_string());
    }
    if value.is_string() || value.is_int() || value.is_float() {
        return Ok(value.to_string());
    }
    Err(at.expected("a text or a number, as the kernel's file takes it", &value))
}

/// `cpu.max`: `"50000 100000"`, `"max"`, or a share such as `"50%"`.
fn cpu_max(value: Dynamic, at: &At<'_, '_>) -> Result<Limit> {
    let text = value.to_string();
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let number = |text: &str| {
        text.parse::<u64>().map_err(|_| at.wrong("must be \"QUOTA PERIOD\" in us, \"max\" or a percent"))
    };
    let period = words.get(1).map_or(Ok(limits::PERIOD), |period| number(period))?;
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
