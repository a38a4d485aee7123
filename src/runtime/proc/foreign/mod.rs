//! Commands in a container of another runtime, so that what holds there can be compared with what holds here.
//!
//! A start with the default policy (`security: "default"`) says: as a container is by default. With a foreign runtime in the session
//! it is made by that one, as *it* is by default: what its own `spec` or its command line gives where nothing is said. What a start
//! asks beyond that, a root, mounts, namespaces, limits, a policy opened or closed, changes those defaults by as much, as far as the
//! runtime can be told; what it cannot be told is refused.
//!
//! A container is in a control group of its own, which ends with it, whatever the runtime leaves. Where the host has controllers of
//! version 1 a runtime sees the groups from that one downwards, in a cgroup namespace of its own: so it makes none elsewhere.

mod bwrap;
mod change;
mod oci;
mod podman;

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::cgroup::{self, Cgroup, Host};
use crate::runtime::fs::dir;
use crate::runtime::fs::overlay::{self, OverlaySpec};
use crate::runtime::ns::{Kinds, NsSet};
use crate::runtime::proc::exec::{self, exec_for};
use crate::runtime::proc::mounts;
use crate::runtime::proc::process::{self, Outcome, Process, Reason};
use crate::runtime::proc::spec::{Command, Input, Mount, Namespaces, ProcSpec, Root};
use crate::runtime::programs;
use crate::runtime::security::Level;
use crate::runtime::session::{HandleId, Session, StepId};
use serde_json::Value;
use std::cell::Cell;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A runtime, by the name of its program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    name: &'static str,
    /// How many starts it has refused, or its adapter.
    refused: Cell<usize>,
}

/// What is run on the host.
struct Ready {
    run: ProcSpec,
    /// What ends what is left of it where it was stopped.
    end: Option<ProcSpec>,
    /// There once the container runs: its first process, by number or in bubblewrap's words.
    pid_file: PathBuf,
    /// The program of a list of system calls, which may lie in a folder of the caller's.
    calls: Option<PathBuf>,
    /// What the runtime says, where that is not mixed with what the command says.
    log: PathBuf,
}

/// Where the runtime is started.
struct Place {
    cgroup: Option<Rc<Cgroup>>,
    /// What is done with the mounts of groups before, as a script of the shell that ends in `exec "$@"`.
    script: &'static str,
    kinds: Kinds,
}

/// The runtimes that there are adapters for.
pub const KNOWN: [&str; 5] = ["crun", "runc", "youki", "podman", "bwrap"];

/// Where the program of a list of system calls lies in the root.
const CALLS: &str = "/cshell-calls";

/// How long a command may seem to be the runtime still: it may be one.
const START: Duration = Duration::from_secs(5);
/// How often a runtime that starts is asked for its container.
const LOOK: Duration = Duration::from_millis(2);

/// A script that does something with each mount, of which `rest` says what it is and `at` where, and then runs its arguments. Without
/// root a mount that cannot be taken away is covered.
macro_rules! each_mount {
    ($body:literal) => {
        concat!(
            "mounts=$(cat /proc/self/mountinfo)\n",
            "while read -r _ _ _ _ at rest; do\n",
            $body,
            "done <<END\n$mounts\nEND\n",
            "exec \"$@\""
        )
    };
}

/// Shows the groups from the own ones downwards, and no tree that has no controller: crun refuses hosts with both versions.
const BELOW: &str = each_mount!(
    r#"    options=${rest##* }; options=${options#r[wo],}; options=${options#seclabel,}
    case "$rest" in
    *" - cgroup2 "* | *" - cgroup "*name=*) umount "$at" 2>/dev/null || mount -t tmpfs none "$at" ;;
    *" - cgroup "*) umount "$at" && mount -t cgroup -o "$options" cgroup "$at" ;;
    esac || exit
"#
);

/// Takes the version 2 tree away.
const APART: &str = each_mount!(
    r#"    case "$rest" in *" - cgroup2 "*) umount "$at" 2>/dev/null || mount -t tmpfs none "$at" || exit ;; esac
"#
);

/// Opens the file that bubblewrap tells of its container in.
const TOLD: &str = r#"told=$1; shift; exec 3>"$told" "$@""#;

impl Foreign {
    /// The runtime of this name, when its program is installed.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a name that there is no adapter for; [`ErrorKind::NotFound`] when it is not installed.
    pub fn of_name(name: &str) -> Result<Self> {
        const OP: &str = "test";
        let Some(name) = KNOWN.into_iter().find(|known| *known == name) else {
            let what = format!("there is no adapter for the runtime {name:?}: they are {}", KNOWN.join(", "));
            return Err(Error::new(ErrorKind::InvalidArgument, OP, what));
        };
        match programs::find(name) {
            Some(_) => Ok(Self { name, refused: Cell::new(0) }),
            None => Err(Error::new(ErrorKind::NotFound, OP, "the runtime is not installed").subject(name)),
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// How many starts were refused so far, which says nothing about what holds in its containers.
    #[must_use]
    pub const fn refused(&self) -> usize {
        self.refused.get()
    }

    /// Takes note of why a start failed.
    pub(super) fn note(&self, error: &Error) {
        self.refused.update(|n| n + usize::from(error.kind() == ErrorKind::Unsupported));
    }

    /// Whether a start is one that it makes: with the default policy.
    #[must_use]
    pub fn makes(spec: &ProcSpec) -> bool {
        spec.security.level == Level::Default
    }

    /// Runs a command in a container of the runtime, and waits for its end.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for options that it is not given; those of `proc::exec` for the runtime's own program.
    pub fn exec(&self, session: &Session, op: &'static str, asked: &ProcSpec) -> Result<Rc<Outcome>> {
        let mut own = Vec::new();
        let outcome = self.prepare(session, op, asked, &mut own).and_then(|ready| {
            let met = || ready.run.cgroup.as_ref().map_or(0, |group| group.memory_limit_met());
            let before = met();
            let outcome = exec_for(session, op, &ready.run).map(|outcome| {
                // Which of its own groups killed it is not known any more: this one had no memory left.
                let killed = outcome.code == 137 && outcome.reason == Reason::Exited && met() > before;
                if killed { Rc::new(Outcome { reason: Reason::Oom, ..(*outcome).clone() }) } else { outcome }
            });
            // One that was killed had no time to clean up.
            let ended =
                matches!(&outcome, Ok(outcome) if outcome.reason == Reason::Exited && outcome.code != 137);
            if let Some(end) = ready.end.as_ref().filter(|_| !ended) {
                // It may have nothing to delete, and says so.
                let _ = exec_for(session, op, end);
            }
            if let Some(calls) = &ready.calls {
                // Mostly it goes with the layer that it lies in.
                let _ = std::fs::remove_file(calls);
            }
            outcome.and_then(|outcome| self.started(op, asked, &ready, outcome))
        });
        let outcome = match outcome {
            Ok(outcome) => session.undo_steps(&own).map(|()| outcome)?,
            Err(error) => return Err(session.roll_back(own, error)),
        };
        if asked.check && !outcome.is_ok() {
            return Err(process::failure(op, &asked.command.show(), &outcome, ""));
        }
        Ok(outcome)
    }

    /// Starts a command in a container of the runtime, and returns once it runs. What is looked at and signalled is the command;
    /// what is waited for is the runtime, which ends as it does.
    ///
    /// # Errors
    /// As of [`exec`](Self::exec).
    pub fn spawn(
        &self,
        session: &Session,
        op: &'static str,
        asked: &ProcSpec,
    ) -> Result<(HandleId, Rc<Process>)> {
        if asked.cgroup.is_some() && matches!(self.name, "runc" | "youki") {
            return Err(self.refusal(op, "a start in the background in a group"));
        }
        let mut own = Vec::new();
        let started = self.prepare(session, op, asked, &mut own).and_then(|ready| {
            let process = exec::launch(session, op, &ready.run, session.is_interactive(), &mut own)?;
            own.push(process.step());
            let inner = self.wait_for_start(session, asked, &ready, &process)?;
            Ok(process.stands_for(asked.command.show(), inner))
        });
        match started {
            Ok(process) => Ok(session.adopt(process, own)),
            Err(error) => Err(session.roll_back(own, error)),
        }
    }

    /// Waits until the container runs. Returns its command's process, or nothing when that has ended already.
    fn wait_for_start(
        &self,
        session: &Session,
        asked: &ProcSpec,
        ready: &Ready,
        process: &Process,
    ) -> Result<Option<i32>> {
        let op = "proc::spawn";
        let began = Instant::now();
        loop {
            let running = process.is_running(session)?;
            // Some tell of it before the command has taken the place of their own program.
            let told = self.told(&ready.pid_file);
            if let Some(pid) = told.filter(|pid| !is_runtime(*pid) || began.elapsed() > START) {
                return Ok(Some(pid));
            }
            if !running {
                let outcome = process.wait_or_interrupt(session, op)?;
                return self.started(op, asked, ready, outcome).map(|_| None);
            }
            crate::runtime::cancel::check(op)?;
            std::thread::sleep(LOOK);
        }
    }

    /// The command's process, where the file says it.
    fn told(&self, pid_file: &Path) -> Option<i32> {
        let text = std::fs::read_to_string(pid_file).ok()?;
        if self.name != "bwrap" {
            return text.trim().parse().ok();
        }
        let told: Value = serde_json::from_str(&text).ok()?;
        let first = i32::try_from(told["child-pid"].as_i64()?).ok()?;
        // With a pid namespace its own program comes first, and the command is its child.
        if !told["pid-namespace"].is_null() {
            let below = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children")).ok()?;
            return below.split_ascii_whitespace().next()?.parse().ok();
        }
        Some(first)
    }

    /// Tells a command that failed from a container that was never started.
    fn started(
        &self,
        op: &'static str,
        asked: &ProcSpec,
        ready: &Ready,
        outcome: Rc<Outcome>,
    ) -> Result<Rc<Outcome>> {
        let mut words = String::from_utf8_lossy(&outcome.stderr).into_owned();
        if asked.tty {
            words.push_str(&String::from_utf8_lossy(&outcome.stdout));
        }
        let log = std::fs::read_to_string(&ready.log).unwrap_or_default();
        words.push_str(&log);
        // A list of system calls always tells what came of it, unless it was killed.
        let silent = matches!(asked.command, Command::Calls(_)) && outcome.stdout.is_empty();
        // One that ends itself has nothing to tell either, and neither has who started it.
        let silent = silent && !(ready.pid_file.exists() && words.trim().is_empty() && self.name != "youki");
        let ended = outcome.reason == Reason::Exited && matches!(outcome.code, 0..=127 | 255);
        let failed = match self.name {
            _ if silent && ended => true,
            "podman" => {
                matches!(outcome.code, 125..=127) && words.lines().any(|line| line.starts_with("Error:"))
            }
            "bwrap" => outcome.code == 1 && words.starts_with("bwrap:"),
            "youki" if outcome.code == 255 && !log.is_empty() => true,
            _ => !ready.pid_file.exists(),
        };
        if !failed {
            return Ok(self.own_words_left_out(outcome));
        }
        let words = if words.trim().is_empty() { "it says nothing" } else { words.trim() };
        let what = format!("{} does not start it: {words}", self.name);
        let lower = words.to_lowercase();
        let program = asked.command.argv().first().map(|word| lossy(word).to_lowercase()).unwrap_or_default();
        let missing = ["not found", "no such file"].iter().any(|said| lower.contains(said));
        let kind = match missing && lower.contains(&program) {
            true => ErrorKind::NotFound,
            false => ErrorKind::Unsupported,
        };
        Err(Error::new(kind, op, what))
    }

    /// Without what youki says of itself where the machine has no system log.
    fn own_words_left_out(&self, outcome: Rc<Outcome>) -> Rc<Outcome> {
        const SAID: &[u8] = b"failed to initialize syslog logging";
        match outcome.stderr.strip_prefix(SAID) {
            Some(rest) if self.name == "youki" => {
                let line = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
                Rc::new(Outcome { stderr: rest[line..].to_vec(), ..(*outcome).clone() })
            }
            _ => outcome,
        }
    }

    fn refusal(&self, op: &'static str, what: &str) -> Error {
        Error::new(
            ErrorKind::Unsupported,
            op,
            format!("the adapter of {} does not express {what}", self.name),
        )
    }

    /// Refuses what no adapter expresses.
    fn check(&self, op: &'static str, asked: &ProcSpec) -> Result<()> {
        let stray = match () {
            () if asked.maps.is_some() || asked.userns.is_some() => "a user namespace",
            () if asked.rootfs.is_none() => "a start without a rootfs",
            () if self.name != "bwrap" && !is_text(asked) => "bytes that are no text",
            () if asked.tty && asked.stdin == Input::Pipe => "a terminal that is written to",
            () => return Ok(()),
        };
        Err(self.refusal(op, stray))
    }

    /// The command on the host that makes the container, and the one that ends what is left of it.
    fn prepare(
        &self,
        session: &Session,
        op: &'static str,
        asked: &ProcSpec,
        own: &mut Vec<StepId>,
    ) -> Result<Ready> {
        self.check(op, asked)?;
        asked.check(op)?;
        let place = self.place(session, op, asked, own)?;
        let root = self.root(session, op, asked, own)?;
        let calls =
            matches!(asked.command, Command::Calls(_)).then(|| root.join(CALLS.trim_start_matches('/')));
        let args = match &asked.command {
            Command::Calls(_) => vec![CALLS.as_bytes().to_vec()],
            command => command.argv(),
        };
        let (id, folder) = dir::temp_dir(session, None)?;
        own.extend(session.disown(id));
        let folder = folder.path.clone();
        let name = format!("cshell-{}-{}", session.token(), session.serial());
        let (pid_file, log) = (folder.join("pid"), folder.join("log"));
        let refused = |what| self.refusal(op, what);
        let (argv, end) = match self.name {
            "podman" => {
                let globals = podman::globals(&folder);
                let run = podman::run(asked, &root, &pid_file, &folder, args).map_err(refused)?;
                ([&globals[..], &run].concat(), Some([globals, words(&["rm", "--force", "--all"])].concat()))
            }
            "bwrap" => {
                let run = bwrap::run(asked, &root, args).map_err(refused)?;
                (shell(TOLD, [words(&[&text(&pid_file)]), run].concat()), None)
            }
            _ => {
                self.bundle(session, op, asked, (&folder, &root, &args))?;
                let state = self.globals(asked, &folder, &log, &place);
                let run = words(&["run", "--bundle", &text(&folder), "--pid-file", &text(&pid_file), &name]);
                let delete = words(&["delete", "--force", &name]);
                ([&state[..], &run].concat(), Some([&state[..], &delete].concat()))
            }
        };
        let limits = if self.name == "bwrap" { asked.rlimits.clone() } else { Vec::new() };
        let run = ProcSpec {
            stdin: asked.stdin.clone(),
            output: asked.output,
            tty: asked.tty,
            timeout: asked.timeout,
            kill_grace: asked.kill_grace,
            output_max: asked.output_max,
            rlimits: limits,
            // It takes no long path for what it keeps while it runs.
            cwd: (self.name == "podman").then(|| folder.clone()),
            ..place.host(argv)
        };
        let end = end.map(|argv| ProcSpec { cwd: run.cwd.clone(), ..place.host(argv) });
        Ok(Ready { run, end, pid_file, log, calls })
    }

    /// Options of an OCI runtime before its command.
    fn globals(&self, asked: &ProcSpec, folder: &Path, log: &Path, place: &Place) -> Vec<Vec<u8>> {
        let mut state = words(&[self.name, "--root", &text(&folder.join("state"))]);
        let limited = asked.cgroup.is_some() || !asked.limits.is_empty();
        match self.name {
            // It is in the group whose limits count, so that it is known which one it met.
            "crun" if limited || place.script != BELOW => state.push(b"--cgroup-manager=disabled".to_vec()),
            "crun" => state.push(b"--cgroup-manager=cgroupfs".to_vec()),
            "youki" => state.extend(words(&["--log", &text(log), "--log-level", "error"])),
            _ => {}
        }
        state
    }

    /// A group of its own, or below the one that is given, and the view of groups that the runtime gets.
    fn place(
        &self,
        session: &Session,
        op: &'static str,
        asked: &ProcSpec,
        own: &mut Vec<StepId>,
    ) -> Result<Place> {
        let hierarchies = Host::detect(op)?.hierarchies;
        // Those that make no groups themselves are in no more of them than they are asked to be.
        let makes_groups = !matches!(self.name, "podman" | "bwrap");
        let old: Vec<&str> = hierarchies
            .iter()
            .filter(|hierarchy| hierarchy.version == 1)
            .flat_map(|hierarchy| hierarchy.controllers.iter().map(String::as_str))
            .collect();
        let more = if makes_groups { &old[..] } else { &[] };
        let group = match &asked.cgroup {
            Some(group) => Ok(group.clone()),
            None => cgroup::group::anonymous(session, op, &asked.limits, more).map(|(id, group)| {
                own.extend(session.disown(id));
                group
            }),
        };
        let cgroup = match group {
            Ok(group) => Some(group),
            // Where none can be made it is where everybody is.
            Err(_) if asked.limits.is_empty() => None,
            Err(error) => return Err(error),
        };
        let (script, kinds) = match self.name {
            _ if old.is_empty() => ("", Kinds::NONE),
            "bwrap" => ("", Kinds::NONE),
            "podman" => (APART, Kinds::NONE.with_name("mount")),
            _ if cgroup.is_none() => (APART, Kinds::NONE.with_name("mount")),
            _ => (BELOW, Kinds::NONE.with_name("mount").with_name("cgroup")),
        };
        Ok(Place { cgroup, script, kinds })
    }

    /// A folder with the root, in which a list of system calls lies as a program.
    fn root(
        &self,
        session: &Session,
        op: &'static str,
        asked: &ProcSpec,
        own: &mut Vec<StepId>,
    ) -> Result<PathBuf> {
        let calls = match &asked.command {
            Command::Calls(program) => Some(program.image()),
            _ => None,
        };
        let layers = match &asked.rootfs {
            Some(Root::Folder { path, .. }) if calls.is_none() => return Ok(whole(path)),
            Some(Root::Folder { path, .. }) => {
                OverlaySpec { lowerdir: vec![whole(path)], ..OverlaySpec::default() }
            }
            Some(Root::Overlay(spec)) => OverlaySpec { readonly: false, ..spec.clone() },
            None => return Err(Error::new(ErrorKind::Unsupported, op, "there is no rootfs")),
        };
        let (id, overlay) = overlay::overlay(session, &layers)?;
        own.extend(session.disown(id));
        if let Some(calls) = calls {
            let file = overlay.merged.join(CALLS.trim_start_matches('/'));
            let what = || format!("cannot write {}", file.display());
            std::fs::write(&file, calls).context(op, what())?;
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).context(op, what())?;
        }
        Ok(overlay.merged.clone())
    }

    /// Writes what an OCI runtime is given: its own `spec`, with the command and the root.
    fn bundle(
        &self,
        session: &Session,
        op: &'static str,
        asked: &ProcSpec,
        (folder, root, args): (&Path, &Path, &[Vec<u8>]),
    ) -> Result<()> {
        let spec = ProcSpec {
            cwd: Some(folder.to_owned()),
            ..ProcSpec::new(Command::Argv(words(&[self.name, "spec"])))
        };
        exec_for(session, op, &spec)?;
        let path = folder.join("config.json");
        let what = || format!("cannot use the spec of {}", self.name);
        let read = std::fs::read(&path).context(op, what())?;
        let mut config: Value = serde_json::from_slice(&read)
            .map_err(|error| Error::new(ErrorKind::Corrupt, op, what()).caused_by(error))?;
        oci::configure(&mut config, asked, root, args).map_err(|what| self.refusal(op, what))?;
        std::fs::write(&path, config.to_string()).context(op, what())
    }
}

impl Place {
    /// A command on the host, in this place.
    fn host(&self, argv: Vec<Vec<u8>>) -> ProcSpec {
        let argv = if self.script.is_empty() { argv } else { shell(self.script, argv) };
        let ns = (!self.kinds.is_empty()).then_some(Namespaces::Fresh(self.kinds));
        let cgroup = self.cgroup.clone();
        ProcSpec { check: false, ns, cgroup, ..ProcSpec::new(Command::Argv(argv)) }
    }
}

/// The command with a script before it that ends in `exec "$@"`.
fn shell(script: &str, argv: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    [words(&["/bin/sh", "-c", script, "sh"]), argv].concat()
}

/// The namespaces of a set, as files; or what none of the runtimes joins.
fn joined(set: &NsSet) -> std::result::Result<Vec<(&'static str, String)>, &'static str> {
    if set.kinds.has("user") {
        return Err("a set with a user namespace");
    }
    // What has a root has mounts of its own.
    let kinds = set.kinds.without("mount");
    Ok(kinds.iter().map(|kind| (kind.name, format!("/proc/{}/ns/{}", set.pid, kind.file))).collect())
}

/// A user by number, as `uid` or `uid:gid`: names are looked up in the root, by whoever knows it.
fn numbers(user: &str) -> std::result::Result<(u32, u32), &'static str> {
    let (uid, gid) = user.split_once(':').unwrap_or((user, "0"));
    uid.parse().ok().zip(gid.parse().ok()).ok_or("a user by name")
}

/// Whether arguments and environment are text, as the documents are that a runtime reads.
fn is_text(asked: &ProcSpec) -> bool {
    let env = asked.env.iter().flatten().flat_map(|(key, value)| [key, value]);
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
    asked.command.argv().iter().all(|word| text(word)) && env.into_iter().all(|word| text(word))
}

/// Whether a process is a program that starts containers: by the file, since its path is not seen from here.
fn is_runtime(pid: i32) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |path: &Path| std::fs::metadata(path).ok().map(|data| (data.dev(), data.ino()));
    let exe = id(Path::new(&format!("/proc/{pid}/exe")));
    let mut programs = programs::folders().flat_map(|folder| KNOWN.map(|name| folder.join(name)));
    // Some run from a sealed copy in memory.
    let link = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    link.to_string_lossy().starts_with("/memfd:")
        || exe.is_some() && programs.any(|program| id(&program) == exe)
}

/// Whether nothing can be written to the root: because its layers are read-only, or because the policy says so.
fn has_readonly_root(asked: &ProcSpec) -> bool {
    let layers = matches!(&asked.rootfs, Some(Root::Overlay(spec)) if spec.readonly);
    layers || asked.security.readonly_root
}

/// The options of a mount, one by one.
fn options(mount: &Mount) -> impl Iterator<Item = &str> {
    mounts::words(&mount.options).filter(|word| !word.is_empty())
}

/// A path from where this program works: a runtime works elsewhere.
fn whole(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn lossy(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}
