//! The options of `proc::exec` and `proc::spawn`.

use crate::error::Result;
use crate::runtime::cgroup::Cgroup;
use crate::runtime::ns::NsSet;
use crate::runtime::proc::spec::{Input, Mount, Namespaces, Output, Rlimit};
use crate::runtime::proc::{Command, ProcSpec, mounts, user};
use crate::runtime::security::{Policy, ground};
use crate::script::bind::cgroup::Limits;
use crate::script::bind::ns::{id_maps, kinds_of, userns};
use crate::script::bind::path::PathArg;
use crate::script::convert::{At, Either, FromScript, Size};
use crate::script::handle::Open;
use crate::script::options::{FromOptions, Key, Options, Opts};
use rhai::{Blob, Dynamic};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

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
            source: opts.take::<PathArg>("source")?.map(|path| path.0),
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
pub struct Spec(pub(super) ProcSpec);

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
            "\"default\", \"strict\" or \"none\": what it may do, see security::policy; the next eleven open or close a part.",
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
        Key::new(
            "keep_groups",
            "true or false",
            "false",
            "Whether the caller's groups may stay, where an ordinary user cannot let go of them.",
        ),
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
        spec.cwd = opts.take::<PathArg>("cwd")?.map(|path| path.0);
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

pub(super) fn to_bytes(data: Either<Blob, String>) -> Vec<u8> {
    match data {
        Either::Left(blob) => blob,
        Either::Right(text) => text.into_bytes(),
    }
}
