//! Commands in a container of another runtime, so that what holds there can be compared with what holds here.
//!
//! A start with the default policy (`security: "default"`) says: as a container is by default. With a foreign runtime in the session
//! it is run by that one, as *it* is by default: what its own `spec` or its command line gives where nothing is said. What a start asks
//! beyond a root, a command, an environment, a working directory, a user id and a host name is not expressed there, and refused.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::fs::dir;
use crate::runtime::fs::mountinfo;
use crate::runtime::fs::overlay::{self, OverlaySpec};
use crate::runtime::ns::Kinds;
use crate::runtime::proc::exec::exec_for;
use crate::runtime::proc::process::{self, Outcome};
use crate::runtime::proc::spec::{Command, Namespaces, ProcSpec, Root};
use crate::runtime::security::{Level, Policy};
use crate::runtime::session::{Session, StepId};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A runtime, by the name of its program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    name: &'static str,
}

/// What is run on the host.
struct Ready {
    run: ProcSpec,
    end: Option<ProcSpec>,
    /// There once the container runs, of an OCI runtime.
    pid_file: PathBuf,
}

/// The runtimes that there are adapters for.
pub const KNOWN: [&str; 5] = ["crun", "runc", "youki", "podman", "bwrap"];

/// Where the program of a list of system calls lies in the root.
const CALLS: &str = "/cshell-calls";

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
        let path = std::env::var_os("PATH").unwrap_or_default();
        if std::env::split_paths(&path).any(|folder| folder.join(name).is_file()) {
            return Ok(Self { name });
        }
        Err(Error::new(ErrorKind::NotFound, OP, "the runtime is not installed").subject(name))
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
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
        self.check(op, asked)?;
        let mut own = Vec::new();
        let outcome = self.prepare(session, op, asked, &mut own).and_then(|ready| {
            let outcome = exec_for(session, op, &ready.run);
            if let Some(end) = ready.end {
                // What is left of it where it was stopped. It has nothing to delete else, and says so.
                let _ = exec_for(session, op, &end);
            }
            outcome.and_then(|outcome| self.started(op, &ready.pid_file, outcome))
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

    /// Tells a command that failed from a container that was never started.
    fn started(&self, op: &'static str, pid_file: &Path, outcome: Rc<Outcome>) -> Result<Rc<Outcome>> {
        let words = String::from_utf8_lossy(&outcome.stderr);
        let failed = match self.name {
            "podman" => matches!(outcome.code, 125..=127) && words.starts_with("Error:"),
            "bwrap" => outcome.code == 1 && words.starts_with("bwrap:"),
            _ => !pid_file.exists(),
        };
        if !failed {
            return Ok(outcome);
        }
        let what = format!("{} does not start it: {}", self.name, words.trim());
        Err(Error::new(ErrorKind::Unsupported, op, what))
    }

    /// Refuses what the adapter does not express.
    fn check(&self, op: &'static str, asked: &ProcSpec) -> Result<()> {
        let plain = Policy { devices: asked.security.devices.clone(), ..Policy::of_level(Level::Default) };
        let stray = match () {
            () if asked.security != plain => "an opened or closed policy",
            () if matches!(asked.ns, Some(Namespaces::Of(_))) || asked.ns.is_some() => "ns",
            () if asked.cgroup.is_some() || !asked.limits.is_empty() => "cgroup",
            () if !asked.mounts.is_empty() => "mounts",
            () if asked.maps.is_some() || asked.userns.is_some() => "a user namespace",
            () if !asked.rlimits.is_empty() => "rlimits",
            () if !asked.additional_gids.is_empty() => "additional_gids",
            () if asked.tty => "tty",
            () if asked.rootfs.is_none() => "a start without a rootfs",
            () => return Ok(()),
        };
        Err(Error::new(
            ErrorKind::Unsupported,
            op,
            format!("the adapter of {} does not express {stray}", self.name),
        )
        .hint("it runs what has a rootfs and the default policy as it is"))
    }

    /// The command on the host that makes the container, and the one that ends what is left of it.
    fn prepare(
        &self,
        session: &Session,
        op: &'static str,
        asked: &ProcSpec,
        own: &mut Vec<StepId>,
    ) -> Result<Ready> {
        let root = self.root(session, op, asked, own)?;
        let args = match &asked.command {
            Command::Calls(_) => vec![CALLS.as_bytes().to_vec()],
            command => command.argv(),
        };
        let (id, folder) = dir::temp_dir(session, None)?;
        own.extend(session.disown(id));
        let folder = folder.path.clone();
        let name = format!("cshell-{}-{}", session.token(), session.serial());
        let pid_file = folder.join("pid");
        let (argv, end) = match self.name {
            "podman" => {
                let globals = podman_globals(&folder);
                let run = [&globals[..], &podman(asked, &root, args)].concat();
                (run, Some([globals, words(&["rm", "--force", "--all"])].concat()))
            }
            "bwrap" => (bwrap(asked, &root, args), None),
            _ => {
                self.bundle(session, op, asked, (&folder, &root, &args))?;
                let mut state = words(&[self.name, "--root", &text(&folder.join("state"))]);
                if self.name == "crun" {
                    // It knows no host with both versions of groups, and needs none of its own here.
                    state.push(b"--cgroup-manager=disabled".to_vec());
                }
                let run = words(&["run", "--bundle", &text(&folder), "--pid-file", &text(&pid_file), &name]);
                let delete = words(&["delete", "--force", &name]);
                ([&state[..], &run].concat(), Some([&state[..], &delete].concat()))
            }
        };
        let apart = self.apart();
        let host = |argv: Vec<Vec<u8>>| match &apart {
            None => ProcSpec::new(Command::Argv(argv)),
            Some(tree) => ProcSpec {
                ns: Some(Namespaces::Fresh(Kinds::NONE.with_name("mount"))),
                ..without(tree, argv)
            },
        };
        let spec = ProcSpec {
            stdin: asked.stdin.clone(),
            output: asked.output,
            timeout: asked.timeout,
            kill_grace: asked.kill_grace,
            output_max: asked.output_max,
            check: false,
            ..host(argv)
        };
        Ok(Ready { run: spec, end: end.map(|argv| ProcSpec { check: false, ..host(argv) }), pid_file })
    }

    /// The version 2 tree of a host that has controllers of version 1 as well, which crun, that podman uses too, refuses: it is run
    /// where that tree is not mounted.
    fn apart(&self) -> Option<PathBuf> {
        if !matches!(self.name, "crun" | "podman") {
            return None;
        }
        let mounts = mountinfo::list("test", None).ok()?;
        let old = mounts.iter().any(|mount| mount.kind == "cgroup");
        mounts.into_iter().find(|mount| old && mount.kind == "cgroup2").map(|mount| mount.target)
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
            Some(Root::Folder { path, .. }) if calls.is_none() => return Ok(path.clone()),
            Some(Root::Folder { path, .. }) => {
                OverlaySpec { lowerdir: vec![path.clone()], ..OverlaySpec::default() }
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
        let lossy = |word: &Vec<u8>| String::from_utf8_lossy(word).into_owned();
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(args.iter().map(lossy).collect::<Vec<_>>());
        config["root"]["path"] = json!(root);
        if let Some(env) = &asked.env {
            let pair = |(key, value): &(Vec<u8>, Vec<u8>)| format!("{}={}", lossy(key), lossy(value));
            config["process"]["env"] = json!(env.iter().map(pair).collect::<Vec<_>>());
        }
        if let Some(cwd) = &asked.cwd {
            config["process"]["cwd"] = json!(cwd);
        }
        if let Some((uid, gid)) = asked.user.as_deref().map(|user| ids(op, user)).transpose()? {
            config["process"]["user"] = json!({ "uid": uid, "gid": gid });
        }
        if let Some(hostname) = &asked.hostname {
            config["hostname"] = json!(hostname);
        }
        std::fs::write(&path, config.to_string()).context(op, what())
    }
}

/// A command in a mount namespace of its own, of which this tree is taken away first.
fn without(tree: &Path, argv: Vec<Vec<u8>>) -> ProcSpec {
    let mut words = words(&["/bin/sh", "-c", "umount \"$0\" && exec \"$@\"", &text(tree)]);
    words.extend(argv);
    ProcSpec::new(Command::Argv(words))
}

/// A user by number, as `uid` or `uid:gid`: names are looked up in the root, by whoever knows it.
fn ids(op: &'static str, user: &str) -> Result<(u32, u32)> {
    let (uid, gid) = user.split_once(':').unwrap_or((user, "0"));
    uid.parse().ok().zip(gid.parse().ok()).ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, op, format!("the adapter takes a user by number, not {user:?}"))
    })
}

/// Its store is in the folder, and goes with it.
fn podman_globals(folder: &Path) -> Vec<Vec<u8>> {
    let (storage, run) = (text(&folder.join("root")), text(&folder.join("run")));
    words(&[
        "podman",
        "--root",
        &storage,
        "--runroot",
        &run,
        "--storage-driver",
        "vfs",
        "--cgroup-manager",
        "cgroupfs",
        "--events-backend",
        "none",
    ])
}

fn podman(asked: &ProcSpec, root: &Path, args: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    // Its own default limits may be above those of the caller, who could not set them then.
    let mut argv = words(&["run", "--rm", "-i", "--network", "none", "--cgroups", "disabled"]);
    argv.extend(words(&["--ulimit", "nofile=1000:1000", "--ulimit", "nproc=1000:1000"]));
    for (key, value) in asked.env.iter().flatten() {
        argv.push(b"--env".to_vec());
        argv.push([key, b"=".as_slice(), value].concat());
    }
    if let Some(cwd) = &asked.cwd {
        argv.extend(words(&["--workdir", &text(cwd)]));
    }
    if let Some(user) = &asked.user {
        argv.extend(words(&["--user", user]));
    }
    if let Some(hostname) = &asked.hostname {
        argv.extend(words(&["--hostname", hostname]));
    }
    argv.extend(words(&["--rootfs", &text(root)]));
    argv.extend(args);
    argv
}

fn bwrap(asked: &ProcSpec, root: &Path, args: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut argv =
        words(&["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--bind", &text(root), "/"]);
    argv.extend(words(&["--proc", "/proc", "--dev", "/dev", "--clearenv"]));
    for (key, value) in asked.env.iter().flatten() {
        argv.extend([b"--setenv".to_vec(), key.clone(), value.clone()]);
    }
    argv.extend(words(&["--chdir", &asked.cwd.as_deref().map_or_else(|| "/".to_owned(), text)]));
    if let Some((uid, gid)) = asked.user.as_deref().and_then(|user| ids("test", user).ok()) {
        argv.extend(words(&["--uid", &uid.to_string(), "--gid", &gid.to_string()]));
    }
    if let Some(hostname) = &asked.hostname {
        argv.extend(words(&["--hostname", hostname]));
    }
    argv.push(b"--".to_vec());
    argv.extend(args);
    argv
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
