//! `ns`: namespaces.

use crate::error::Result;
use crate::runtime::ns::Propagation;
use crate::runtime::ns::idmap::{IdMap, IdMaps};
use crate::runtime::ns::userns::Userns;
use crate::runtime::ns::{self, Kind as NsKind, Kinds, NsSet, NsSpec, list, set, sysctl};
use crate::runtime::proc::Process;
use crate::runtime::session::HandleId;
use crate::script::call::Call;
use crate::script::convert::{At, FromScript};
use crate::script::handle::{Kind, Open};
use crate::script::native::natives;
use crate::script::options::{FromOptions, Key, Options, Opts};
use rhai::Dynamic;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::rc::Rc;

natives! {
    /// Namespaces: made, looked at and compared (namespaces(7)).
    pub const NS = "ns";

    /// Makes new namespaces that live until the handle is closed or the script ends.
    ///
    /// `options` is a list of kinds, or a map. Kinds: `user mount pid net ipc uts cgroup time`. A process that does
    /// nothing else keeps them: `.pid`, which is PID 1 of a new pid namespace. A new net namespace has `lo` up; a new
    /// mount namespace is private; root of a new user namespace is the caller unless maps say otherwise. `userns: "auto"`
    /// takes ids that no other container has: a command in the set finds the files of its root and of its `idmap` volumes
    /// owned by who owns them outside. Ids outside are those that this program has (without root see `sys::rootless`).
    ///
    /// Errors: `invalid_argument` for options that contradict each other, `permission_denied` without CAP_SYS_ADMIN
    /// (or `"user"` among the kinds), `limit_reached` at a limit of `user.max_*_namespaces`. Kernel: 5.6, clone3(2);
    /// time namespaces 6.1.
    fn "ns::new"(options: NsSpec) -> (HandleId, Rc<NsSet>) = new;
    /// The namespaces of a process (its id, or a handle), by kind: a map of inode numbers, as `lsns` shows them.
    ///
    /// Errors: `not_found` when there is no such process. Source: namespaces(7), /proc/PID/ns.
    fn "ns::of"(process: Subject) -> BTreeMap<String, u64> = of;
    /// The namespaces of this program, by kind: a map of inode numbers.
    fn "ns::host"() -> BTreeMap<String, u64> = host;
    /// All namespaces that some process is in: a list of maps `#{kind, inode, pids, pid}`.
    ///
    /// Source: /proc/PID/ns, as lsns(8).
    fn "ns::list"() -> Vec<serde_json::Value> = all;
    /// Whether two processes, sets or one of each are in the same namespace of a kind.
    fn "ns::same"(a: Subject, b: Subject, kind: String) -> bool = same;

    /// The process that keeps the set alive, as seen from here.
    get "Ns.pid"(set: Open<NsSet>) -> i32 = pid;
    /// The kinds that are new in this set.
    get "Ns.kinds"(set: Open<NsSet>) -> Vec<String> = kinds;
    /// The host name of the set.
    get "Ns.hostname"(set: Open<NsSet>) -> String = hostname;
    /// The inode of one kind, as `lsns` shows it; this program's where the set has none of its own.
    method "Ns.inode"(set: Open<NsSet>, kind: String) -> u64 = inode;
    /// Reads a kernel parameter as the set sees it, or sets it with a second argument: `"net.ipv4.ip_forward"`.
    ///
    /// Errors: `invalid_argument` for one that belongs to no namespace of the set. Source: sysctl(8), proc_sys(5).
    method "Ns.sysctl"(set: Open<NsSet>, name: String, value: Option<OsString>) -> String = sysctl_of;
}

impl Kind for NsSet {
    const NAME: &'static str = "Ns";
    const DOC: &'static str = "A set of namespaces that processes can be started in.";
}

pub(super) const RANGE: Options = Options {
    of: "uid_map and gid_map",
    open: None,
    keys: &[
        Key::new("container", "id", "", "The first id inside."),
        Key::new("host", "id", "", "The first id outside."),
        Key::new("size", "number", "1", "How many ids."),
    ],
};

impl FromOptions for IdMap {
    const OPTIONS: &'static Options = &RANGE;
    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        Ok(Self { container: opts.need("container")?, host: opts.need("host")?, size: opts.or("size", 1)? })
    }
}

pub(super) const USERNS: Key = Key::new(
    "userns",
    "text",
    "none",
    "A user namespace whose ids are chosen: \"auto\" (65536 that no other container has; \"auto:size=N\"), \"keep-id\" (without root: the caller's ids are the same inside), \"host\" (none).",
);

/// A user namespace as a script asks for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct UsernsArg(pub Userns);

impl FromScript for UsernsArg {
    const OPEN: bool = true;

    fn expected() -> String {
        "\"auto\", \"auto:size=N\", \"keep-id\" or \"host\"".into()
    }
    fn accepts(value: &Dynamic) -> bool {
        value.is_string()
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        let asked = value.is_string().then(|| value.to_string().parse().ok()).flatten();
        asked.map(Self).ok_or_else(|| at.expected(&Self::expected(), &value))
    }
}

/// What is asked of the user namespace, where the maps are not given one by one.
pub(super) fn userns(opts: &mut Opts<'_, '_>) -> Result<Option<Userns>> {
    let asked = opts.take::<UsernsArg>("userns")?.map(|asked| asked.0);
    if asked.is_some() && ["uid_map", "gid_map", "map_root"].iter().any(|key| opts.has(key)) {
        return Err(opts.at().key("userns").wrong("does not go with uid_map, gid_map or map_root"));
    }
    Ok(asked)
}

const NEW: Options = Options {
    of: "ns::new",
    open: None,
    keys: &[
        Key::new("kinds", "list of text", "", "The kinds: user mount pid net ipc uts cgroup time."),
        Key::new("hostname", "text", "the caller's", "The host name; needs uts."),
        Key::new("domainname", "text", "the caller's", "The NIS domain name; needs uts."),
        Key::new("uid_map", "list of maps", "root is the caller", "User ids inside and outside; needs user.")
            .map(&RANGE),
        Key::new(
            "gid_map",
            "list of maps",
            "root is the caller",
            "Group ids inside and outside; needs user.",
        )
        .map(&RANGE),
        USERNS,
        Key::new("map_root", "true or false", "true without maps", "Root inside is the caller; needs user."),
        Key::new("propagation", "text", "\"private\"", "private, slave, shared or unbindable; needs mount."),
        Key::new(
            "pin",
            "path",
            "none",
            "Where to bind them: a file for one kind, a folder for several. Must not exist.",
        ),
        Key::new(
            "sysctl",
            "map",
            "none",
            "Kernel parameters of the new namespaces: #{\"net.ipv4.ip_forward\": 1}.",
        ),
    ],
};

impl FromOptions for NsSpec {
    const OPTIONS: &'static Options = &NEW;
    const SHORTHAND: &'static str = "a list of kinds";

    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        let kinds: Vec<String> = opts.need("kinds")?;
        let mut spec = Self::new(kinds_of(&kinds, opts.at())?);
        spec.userns = userns(opts)?;
        spec.maps = id_maps(opts)?;
        match opts.take("map_root")? {
            Some(true) if spec.maps.is_some() => {
                return Err(opts.at().key("map_root").wrong("does not go with uid_map or gid_map"));
            }
            Some(true) => spec.maps = Some(IdMaps::root()),
            // Nobody inside is anybody outside.
            Some(false) if spec.maps.is_none() => spec.maps = Some(IdMaps::default()),
            _ => {}
        }
        spec.hostname = opts.take("hostname")?;
        spec.domainname = opts.take("domainname")?;
        spec.propagation = opts.take("propagation")?;
        spec.pin = opts.take("pin")?;
        let settings: BTreeMap<String, OsString> = opts.or("sysctl", BTreeMap::new())?;
        let text = |(key, value): (String, OsString)| (key, value.to_string_lossy().into_owned());
        spec.sysctl = settings.into_iter().map(text).collect();
        Ok(spec)
    }

    fn from_shorthand(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        if !value.is_array() {
            return Err(at.expected(&Self::expected_text(), &value));
        }
        Ok(Self::new(kinds_of(&Vec::<String>::from_script(value, at)?, at)?))
    }
}

/// The set of kinds with these names.
pub(super) fn kinds_of(names: &[String], at: &At<'_, '_>) -> Result<Kinds> {
    let kind = |name: &String| NsKind::of_name(name).ok_or_else(|| set::unknown_kind(at.call().op(), name));
    names.iter().map(kind).collect()
}

/// The id maps of an option map that has the keys for them.
pub(super) fn id_maps(opts: &mut Opts<'_, '_>) -> Result<Option<IdMaps>> {
    let uid: Option<Vec<IdMap>> = opts.take("uid_map")?;
    let gid: Option<Vec<IdMap>> = opts.take("gid_map")?;
    if uid.is_none() && gid.is_none() {
        return Ok(None);
    }
    let root = IdMaps::root();
    Ok(Some(IdMaps { uid: uid.unwrap_or(root.uid), gid: gid.unwrap_or(root.gid), ..IdMaps::default() }))
}

impl FromScript for Propagation {
    fn expected() -> String {
        "\"private\", \"slave\", \"shared\" or \"unbindable\"".into()
    }
    fn accepts(value: &Dynamic) -> bool {
        value.is_string()
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        match value.to_string().as_str() {
            "private" => Ok(Self::Private),
            "slave" => Ok(Self::Slave),
            "shared" => Ok(Self::Shared),
            "unbindable" => Ok(Self::Unbindable),
            _ => Err(at.expected(&Self::expected(), &value)),
        }
    }
}

/// A process by id or handle, or the one that keeps a set alive.
#[derive(Clone, Copy, Debug)]
pub struct Subject(i32);

impl FromScript for Subject {
    const OPEN: bool = true;

    fn expected() -> String {
        "a process id or a handle of type Ns or Process".into()
    }
    fn accepts(value: &Dynamic) -> bool {
        value.is_int() || Open::<NsSet>::accepts(value) || Open::<Process>::accepts(value)
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        if value.is_int() {
            return i32::from_script(value, at).map(Self);
        }
        if Open::<Process>::accepts(&value) {
            return Open::<Process>::from_script(value, at).map(|process| Self(process.pid));
        }
        if !Open::<NsSet>::accepts(&value) {
            return Err(at.expected(&Self::expected(), &value));
        }
        let set = Open::<NsSet>::from_script(value, at)?;
        set.alive(at.call().op()).map(|()| Self(set.pid))
    }
}

fn new(call: &Call<'_>, options: NsSpec) -> Result<(HandleId, Rc<NsSet>)> {
    ns::new(call.session(), &options)
}

fn of(call: &Call<'_>, process: Subject) -> Result<BTreeMap<String, u64>> {
    list::of(call.op(), process.0)
}

fn host(call: &Call<'_>) -> Result<BTreeMap<String, u64>> {
    list::of(call.op(), 0)
}

fn all(call: &Call<'_>) -> Result<Vec<serde_json::Value>> {
    list::all(call.op())
}

fn same(call: &Call<'_>, a: Subject, b: Subject, kind: String) -> Result<bool> {
    list::same(call.op(), a.0, b.0, &kind)
}

fn pid(_: &Call<'_>, set: Open<NsSet>) -> Result<i32> {
    Ok(set.pid)
}

fn kinds(_: &Call<'_>, set: Open<NsSet>) -> Result<Vec<String>> {
    Ok(set.kinds.iter().map(|kind| kind.name.to_owned()).collect())
}

fn hostname(call: &Call<'_>, set: Open<NsSet>) -> Result<String> {
    sysctl::get(call.op(), &set, "kernel.hostname")
}

fn inode(_: &Call<'_>, set: Open<NsSet>, kind: String) -> Result<u64> {
    set.inode(&kind)
}

fn sysctl_of(call: &Call<'_>, set: Open<NsSet>, name: String, value: Option<OsString>) -> Result<String> {
    if let Some(value) = value {
        sysctl::set(call.op(), &set, &name, &value.to_string_lossy())?;
    }
    sysctl::get(call.op(), &set, &name)
}
