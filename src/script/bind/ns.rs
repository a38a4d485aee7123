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
    /// Returns: the set; commands are started in it with `.exec`, or with `ns` of `proc::exec`.
    /// Errors: `invalid_argument` for an unknown kind, and for options that contradict each other or need a kind that is not
    /// there; `permission_denied` without the privilege, for ids that the caller may not map, or where user namespaces are
    /// forbidden; `limit_reached` at a limit of `user.max_*_namespaces`, and when no range of ids is left; `already_exists` for
    /// a `pin` that exists; `unsupported` for `pin` without root, and for a kind that the kernel lacks.
    /// Needs: CAP_SYS_ADMIN, or `"user"` among the kinds; Linux 5.6, for time namespaces 6.1.
    /// Calls: clone3(2), setns(2), namespaces(7), user_namespaces(7), pid_namespaces(7), sethostname(2), newuidmap(1)
    /// Undo: the process that keeps them is killed, and with it everything in a pid namespace of the set; pins are unmounted.
    /// Example:
    ///     let box = ns::new(#{ kinds: ["pid", "uts", "net"], hostname: "lab" });
    ///     box.exec("hostname").stdout     // => "lab\n"
    ///     box.kinds                       // => ["pid", "net", "uts"]
    ///     box.hostname                    // => "lab"
    ///     ns::of(box.pid).uts == box.inode("uts") // => true
    ///     ns::new(["dreams"])             // throws invalid_argument
    fn "ns::new"(options: NsSpec) -> (HandleId, Rc<NsSet>) = new;
    /// The namespaces of a process, as `lsns` shows them.
    ///
    /// Returns: for each kind the inode number of the namespace.
    /// Errors: `not_found` when there is no such process; `permission_denied` for one that this user may not look at.
    /// Needs: nothing for processes of one's own; CAP_SYS_PTRACE for those of others.
    /// Calls: namespaces(7), stat(2), lsns(8)
    /// Undo: nothing.
    /// Example:
    ///     ns::of(sys::info().pid) == ns::host() // => true
    ///     ns::of(-1)                            // throws invalid_argument
    fn "ns::of"(
        /// The process: its id, an `Ns` (the process that keeps it) or a `Process`.
        process: Subject
    ) -> BTreeMap<String, u64> = of;
    /// The namespaces of this program.
    ///
    /// Returns: for each kind the inode number of the namespace.
    /// Errors: `not_found` where `/proc` is not mounted.
    /// Needs: nothing.
    /// Calls: namespaces(7), stat(2)
    /// Undo: nothing.
    /// Example:
    ///     ns::host().keys() // => ["cgroup", "ipc", "mount", "net", "pid", "time", "user", "uts"]
    fn "ns::host"() -> BTreeMap<String, u64> = host;
    /// All namespaces that some process is in, as far as this user may look.
    ///
    /// Returns: one map a namespace: `kind`, `inode`, `pids` (how many processes are in it) and `pid` (the lowest of them).
    /// Errors: `not_found` where `/proc` is not mounted.
    /// Needs: nothing for processes of one's own; CAP_SYS_PTRACE for those of others.
    /// Calls: namespaces(7), proc(5), lsns(8)
    /// Undo: nothing.
    /// Example:
    ///     let box = ns::new(["uts"]);
    ///     let found = ns::list().filter(|ns| ns.inode == box.inode("uts"));
    ///     [found.len(), found[0].kind, found[0].pid == box.pid] // => [1, "uts", true]
    fn "ns::list"() -> Vec<serde_json::Value> = all;
    /// Whether two processes, sets or one of each are in the same namespace of a kind.
    ///
    /// Returns: `true` when both have the same inode.
    /// Errors: `not_found` when one of them has ended; `permission_denied` for a process that this user may not look at;
    /// `invalid_argument` for an unknown kind.
    /// Needs: nothing for processes of one's own; CAP_SYS_PTRACE for those of others.
    /// Calls: namespaces(7), stat(2)
    /// Undo: nothing.
    /// Example:
    ///     let box = ns::new(["uts"]);
    ///     ns::same(box, sys::info().pid, "uts") // => false
    ///     ns::same(box, sys::info().pid, "net") // => true
    fn "ns::same"(
        /// A process id, an `Ns` or a `Process`.
        a: Subject,
        /// The other.
        b: Subject,
        /// The kind: `"net"`.
        kind: String
    ) -> bool = same;

    /// The process that keeps the set alive, as seen from here.
    get "Ns.pid"(set: Open<NsSet>) -> i32 = pid;
    /// The kinds that are new in this set.
    get "Ns.kinds"(set: Open<NsSet>) -> Vec<String> = kinds;
    /// The host name of the set, read from the kernel.
    ///
    /// Errors: `not_found` when the process that keeps the set was killed from outside.
    get "Ns.hostname"(set: Open<NsSet>) -> String = hostname;
    /// The inode of one kind, as `lsns` shows it.
    ///
    /// Returns: the inode; this program's where the set has none of its own.
    /// Errors: `invalid_argument` for an unknown kind.
    /// Needs: nothing.
    /// Calls: namespaces(7)
    /// Undo: nothing.
    /// Example:
    ///     let box = ns::new(["uts"]);
    ///     box.inode("uts") == ns::host().uts // => false
    ///     box.inode("net") == ns::host().net // => true
    method "Ns.inode"(
        set: Open<NsSet>,
        /// The kind: `"net"`.
        kind: String
    ) -> u64 = inode;
    /// Reads a kernel parameter as the set sees it, or sets it.
    ///
    /// What is set is read back. Only parameters of a namespace that is new in the set can be set.
    ///
    /// Returns: the value that the kernel holds, its words parted by one space.
    /// Errors: `not_found` for no such parameter, and when the process that keeps the set was killed; `invalid_argument` for one
    /// that belongs to no namespace of the set, a name without dots, or a value that the kernel does not take;
    /// `permission_denied` without the privilege.
    /// Needs: nothing to read; to set one, root of the user namespace that owns the namespace.
    /// Calls: setns(2), proc_sys(5), sysctl(8)
    /// Undo: nothing; the value goes with the namespaces.
    /// Example:
    ///     let box = ns::new(["net"]);
    ///     box.sysctl("net.ipv4.ip_forward", 1)  // => "1"
    ///     box.sysctl("net.ipv4.ip_forward")     // => "1"
    ///     box.sysctl("vm.swappiness", 10)       // throws invalid_argument
    method "Ns.sysctl"(
        set: Open<NsSet>,
        /// The name, with dots: `"net.ipv4.ip_forward"`.
        name: String,
        /// The value to set. Without it, the parameter is only read.
        value: Option<OsString>
    ) -> String = sysctl_of;
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
pub struct Subject(pub(super) i32);

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
