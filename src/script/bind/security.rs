//! `security`: what a process may do, and what is in force.

use crate::error::Result;
use crate::runtime::proc::Process;
use crate::runtime::security::seccomp::Profile;
use crate::runtime::security::{Facts, Landlock, Level, Opened, Policy, SeccompChoice, audit, caps, find};
use crate::script::bind::proc_options::Spec;
use crate::script::call::Call;
use crate::script::convert::{At, Either, FromScript, OrEmpty};
use crate::script::handle::Open;
use crate::script::native::natives;
use crate::script::options::{FromOptions, Key, Options, Opts};
use crate::script::returned::to_json;
use rhai::Dynamic;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::rc::Rc;

natives! {
    /// What a process may do: the policies that one is started with, and what the kernel says is in force.
    pub const SECURITY = "security";

    /// The policy that these options of `proc::exec` ask for. Nothing is started.
    ///
    /// Returns: `level capabilities no_new_privs seccomp masked_paths readonly_paths readonly_root new_keyring keep_groups devices
    /// oom_score_adj apparmor landlock`; `()` is what stays the caller's.
    /// Errors: `invalid_argument` for options that do not go together, a capability or a profile that is none; `not_found` for a
    /// profile that does not exist.
    /// Needs: nothing.
    /// Calls: capabilities(7), seccomp(2), landlock(7)
    /// Undo: nothing.
    /// Example:
    ///     let policy = security::policy(#{ security: "default" });
    ///     policy.no_new_privs                       // => true
    ///     "SYS_ADMIN" in policy.capabilities        // => false
    ///     security::policy(#{ cap_add: ["FLY"] })   // throws invalid_argument
    fn "security::policy"(options: OrEmpty<Spec>) -> Value = policy;
    /// In what the policy of these options of `proc::exec` differs from `security: "default"`.
    ///
    /// Returns: a line each; `+` stands before what there is more, `-` before what there is less.
    /// Errors: `invalid_argument` and `not_found` as `security::policy`.
    /// Needs: nothing.
    /// Calls: capabilities(7)
    /// Undo: nothing.
    /// Example:
    ///     security::diff(#{ security: "default", cap_add: ["NET_ADMIN"] }) // => ["capabilities: +NET_ADMIN"]
    ///     security::diff(#{ security: "default" })                         // => []
    fn "security::diff"(options: OrEmpty<Spec>) -> Vec<String> = diff;
    /// The default profile of system calls, as Docker and OCI write one: to be changed and given as `seccomp`.
    ///
    /// Returns: `defaultAction`, `architectures` and `syscalls`, a list of rules.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: seccomp(2), syscalls(2)
    /// Undo: nothing.
    /// Example:
    ///     let profile = security::seccomp_profile();
    ///     profile.defaultAction // => "SCMP_ACT_ERRNO"
    ///     profile.syscalls += #{ names: ["reboot"], action: "SCMP_ACT_ERRNO" };
    ///     proc::exec(["true"], #{ security: "default", seccomp: profile }).ok // => true
    fn "security::seccomp_profile"() -> Value = seccomp_profile;
    /// What is in force for a process, read from the kernel, whoever started it.
    ///
    /// Returns: `pid exe uid gid groups capabilities (inheritable permitted effective bounding ambient) no_new_privs seccomp
    /// seccomp_filters namespaces shared mounts fds cgroups oom_score_adj limits label uid_map`; `()` is what may not be read.
    /// Errors: `not_found` when there is no such process; `permission_denied` for one that this user may not look at.
    /// Needs: nothing for processes of one's own; CAP_SYS_PTRACE for those of others.
    /// Calls: proc_pid_status(5), proc_pid_mountinfo(5), proc_pid_fd(5), namespaces(7)
    /// Undo: nothing.
    /// Example:
    ///     let facts = security::of(sys::info().pid);
    ///     facts.pid == sys::info().pid  // => true
    ///     security::of(0)               // throws invalid_argument
    fn "security::of"(
        /// The process: its id, a handle, or the name, the id or the beginning of the id of a container of podman, docker,
        /// containerd, crun, runc, youki, systemd-nspawn or a session of this program.
        process: Subject
    ) -> Value = of;
    /// What a process may do, explained, as `cshell audit` shows it.
    ///
    /// Returns: a list of maps: `part`, `grade` (`closed`, `note` or `open`), `held` (what the kernel says) and `means`.
    /// Errors: `not_found` when there is no such process; `permission_denied` for one that this user may not look at.
    /// Needs: nothing for processes of one's own; CAP_SYS_PTRACE for those of others.
    /// Calls: proc_pid_status(5), capabilities(7), namespaces(7)
    /// Undo: nothing.
    /// Example:
    ///     let sleep = proc::spawn(["sleep", "60"], #{ no_new_privs: true });
    ///     let found = security::audit(sleep).filter(|part| part.part == "no_new_privs");
    ///     found[0].grade // => "closed"
    fn "security::audit"(
        /// The process, as `security::of` takes it.
        process: Subject
    ) -> Value = explain;
    /// What is in force for it, read from the kernel now.
    ///
    /// Returns: a map as of `security::of`.
    /// Errors: `not_found` when it has ended; `permission_denied` for what runs as someone else.
    /// Needs: nothing for what runs as the caller; else CAP_SYS_PTRACE.
    /// Calls: proc_pid_status(5), proc_pid_mountinfo(5), proc_pid_fd(5), namespaces(7)
    /// Undo: nothing.
    /// Example:
    ///     let sleep = proc::spawn(["sleep", "60"], #{ no_new_privs: true });
    ///     sleep.security().no_new_privs // => true
    method "Process.security"(process: Open<Process>) -> Value = of_process;
}

/// Which system calls are filtered, as an option says it.
#[derive(Clone, Debug)]
pub struct Seccomp(SeccompChoice);

impl FromScript for Seccomp {
    fn expected() -> String {
        "\"default\", \"strict\", \"unconfined\", \"record\", the path of a profile, or a profile as a map"
            .into()
    }
    fn accepts(value: &Dynamic) -> bool {
        value.is_string() || value.is_map()
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        let op = at.call().op();
        if value.is_map() {
            let text = to_json(&value).to_string();
            return Profile::parse(op, &text).map(|profile| Self(SeccompChoice::Profile(Rc::new(profile))));
        }
        let choice = match value.to_string().as_str() {
            _ if !value.is_string() => return Err(at.expected(&Self::expected(), &value)),
            "default" => SeccompChoice::Default,
            "strict" => SeccompChoice::Strict,
            "unconfined" => SeccompChoice::Unconfined,
            "record" => SeccompChoice::Record,
            path if path.contains('/') || has_ending(path) => {
                SeccompChoice::Profile(Rc::new(Profile::read(op, Path::new(path))?))
            }
            _ => return Err(at.expected(&Self::expected(), &value)),
        };
        Ok(Self(choice))
    }
}

fn has_ending(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|ending| ending == "json")
}

/// The keys of `landlock`.
pub const LANDLOCK: Options = Options {
    of: "landlock",
    open: None,
    keys: &[
        Key::new("read", "list of paths", "none", "What it may read and execute, with all below."),
        Key::new(
            "write",
            "list of paths",
            "none",
            "What it may read, execute, write, make and remove, with all below.",
        ),
    ],
};

impl FromOptions for Landlock {
    const OPTIONS: &'static Options = &LANDLOCK;

    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        let read = absolute(opts, "read")?.unwrap_or_default();
        let write = absolute(opts, "write")?.unwrap_or_default();
        if read.is_empty() && write.is_empty() {
            return Err(opts.at().wrong("allows nothing: not even the command could be run"));
        }
        Ok(Self { read, write })
    }
}

/// The policy of the options of a start.
///
/// # Errors
/// For a value that does not fit.
pub fn read(opts: &mut Opts<'_, '_>) -> Result<Policy> {
    let op = opts.at().call().op();
    let level = match opts.take::<String>("security")? {
        None => Level::None,
        Some(name) => Level::of_name(&name)
            .ok_or_else(|| opts.at().key("security").wrong("must be \"default\", \"strict\" or \"none\""))?,
    };
    let mut set = |key: &str| {
        let names: Option<Vec<String>> = opts.take(key)?;
        names.map(|names| caps::set_of(op, &names)).transpose()
    };
    let (capabilities, add, drop) = (set("capabilities")?, set("cap_add")?, set("cap_drop")?);
    let opened = Opened {
        level,
        capabilities,
        cap_add: add.unwrap_or(0),
        cap_drop: drop.unwrap_or(0),
        no_new_privs: opts.take("no_new_privs")?,
        seccomp: opts.take::<Seccomp>("seccomp")?.map(|choice| choice.0),
        masked_paths: absolute(opts, "masked_paths")?,
        readonly_paths: absolute(opts, "readonly_paths")?,
        readonly_root: opts.take("readonly_root")?,
        keep_groups: opts.take("keep_groups")?,
        oom_score_adj: opts.take("oom_score_adj")?,
        apparmor: opts.take("apparmor")?,
        landlock: opts.take("landlock")?,
    };
    Policy::resolve(op, opened)
}

fn absolute(opts: &mut Opts<'_, '_>, key: &str) -> Result<Option<Vec<PathBuf>>> {
    let paths: Option<Vec<PathBuf>> = opts.take(key)?;
    match paths.iter().flatten().find(|path| !path.is_absolute()) {
        None => Ok(paths),
        Some(path) => {
            let what = format!("holds {path:?}, which does not start with /");
            Err(opts.at().key(key).wrong(what))
        }
    }
}

fn policy(_: &Call<'_>, options: OrEmpty<Spec>) -> Result<Value> {
    Ok(options.0.policy().to_json())
}

fn diff(_: &Call<'_>, options: OrEmpty<Spec>) -> Result<Vec<String>> {
    Ok(options.0.policy().differences(&Policy::of_level(Level::Default)))
}

fn seccomp_profile(call: &Call<'_>) -> Result<Value> {
    Profile::default_profile(call.op()).map(|profile| profile.to_json())
}

fn of(call: &Call<'_>, process: Subject) -> Result<Value> {
    facts(call, pid(call, process)?)
}

fn of_process(call: &Call<'_>, process: Open<Process>) -> Result<Value> {
    facts(call, process.pid)
}

fn facts(call: &Call<'_>, pid: i32) -> Result<Value> {
    Facts::of(call.op(), pid).map(|facts| facts.to_json())
}

/// A process that is looked at: one of ours, or any by its id or by its container.
type Subject = Either<Open<Process>, Either<i32, String>>;

fn pid(call: &Call<'_>, process: Subject) -> Result<i32> {
    Ok(match process {
        Either::Left(process) => process.pid,
        Either::Right(Either::Left(pid)) => pid,
        Either::Right(Either::Right(word)) => find::subject(call.op(), call.session().dirs(), &word)?.pid,
    })
}

fn explain(call: &Call<'_>, process: Subject) -> Result<Value> {
    let pid = pid(call, process)?;
    audit::audit(call.op(), pid).map(|findings| audit::to_json(&findings))
}
