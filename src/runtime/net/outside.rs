//! The world outside for a network namespace of an ordinary user: by `pasta` or `slirp4netns`, which copy packets between
//! the namespace and sockets of the machine's network.
//!
//! The helper is a process of the session and ends with its handle. It forwards nothing inwards, and does not lead to the
//! machine's own loopback: what listens there alone stays out of reach.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::cancel;
use crate::runtime::fs::claim::{self, New};
use crate::runtime::fs::private;
use crate::runtime::net::{Netns, home, links, routes};
use crate::runtime::ns::NsSet;
use crate::runtime::object::Object;
use crate::runtime::proc::{self, Command, ProcSpec, Process};
use crate::runtime::programs;
use crate::runtime::session::{Done, HandleId, Intent, Session, StepId};
use crate::sys::{file, mount};
use rustix::fs::CWD;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

const OP: &str = "net::outside";
/// How long a helper may take until the namespace has a link and a route.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(2);

/// A program that connects a namespace to the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Helper {
    /// Of the package `passt`.
    Pasta,
    /// Of the package of the same name.
    Slirp4netns,
}

impl Helper {
    /// In the order in which they are looked for.
    pub const ALL: [Self; 2] = [Self::Pasta, Self::Slirp4netns];

    /// The name of the program.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pasta => "pasta",
            Self::Slirp4netns => "slirp4netns",
        }
    }

    fn find(self) -> Option<PathBuf> {
        programs::find(self.name())
    }

    /// The arguments for a network namespace, and for the user namespace that owns it where that is not ours.
    fn args(self, program: &Path, netns: &Path, userns: Option<&Path>) -> Vec<String> {
        let shown = |path: &Path| path.display().to_string();
        let mut args = vec![shown(program)];
        let mut add = |more: &[&str]| args.extend(more.iter().map(|arg| (*arg).to_owned()));
        match self {
            Self::Pasta => {
                add(&["--foreground", "--quiet", "--config-net", "--no-map-gw"]);
                // Its own default is to forward whatever listens, in both directions.
                add(&["-t", "none", "-u", "none", "-T", "none", "-U", "none"]);
                match userns {
                    Some(userns) => add(&["--userns", &shown(userns)]),
                    None => add(&["--netns-only"]),
                }
                add(&["--netns", &shown(netns)]);
            }
            Self::Slirp4netns => {
                add(&["--configure", "--mtu=65520", "--disable-host-loopback"]);
                if let Some(userns) = userns {
                    add(&["--userns-path", &shown(userns)]);
                }
                add(&["--netns-type=path", &shown(netns), "tap0"]);
            }
        }
        args
    }
}

/// Connects the network namespace of `set`, or without one the session's own, to the outside. Cut by closing the handle.
///
/// # Errors
/// [`ErrorKind::Unsupported`] where no helper is installed; [`ErrorKind::Timeout`] when it does not connect, and what it
/// says when it ends.
pub fn outside(
    session: &Session,
    set: Option<&NsSet>,
    helper: Option<Helper>,
) -> Result<(HandleId, Rc<Process>)> {
    let (helper, program) = choose(helper)?;
    let mut steps = Vec::new();
    match connect(session, set, (helper, &program), &mut steps) {
        Ok((id, process)) => {
            // The places of the namespaces go when it is cut: the helper watches them.
            steps.into_iter().for_each(|step| session.add_step(id, step));
            Ok((id, process))
        }
        Err(error) => Err(session.roll_back(steps, error)),
    }
}

fn choose(asked: Option<Helper>) -> Result<(Helper, PathBuf)> {
    let candidates = asked.map_or_else(|| Helper::ALL.to_vec(), |helper| vec![helper]);
    let found = candidates.iter().find_map(|helper| Some((*helper, helper.find()?)));
    found.ok_or_else(|| {
        let names: Vec<&str> = candidates.iter().map(|helper| helper.name()).collect();
        let what = format!(
            "{} is not installed: without it a namespace has its loopback and its links alone",
            names.join(" or ")
        );
        Error::new(ErrorKind::Unsupported, OP, what).hint("install the package passt or slirp4netns")
    })
}

fn connect(
    session: &Session,
    set: Option<&NsSet>,
    (helper, program): (Helper, &Path),
    steps: &mut Vec<StepId>,
) -> Result<(HandleId, Rc<Process>)> {
    let own_kind = |name| set.filter(|set| set.kinds.has(name)).zip(crate::runtime::ns::Kind::of_name(name));
    let netns = match own_kind("net") {
        Some((set, kind)) => Netns::new(OP, set.open(kind)?, set.network())?,
        None => home::make(session, OP)?.ok_or_else(as_root)?,
    };
    let place = show(session, &netns.fd, "net", steps)?;
    let userns = match own_kind("user") {
        Some((set, kind)) => Some(show(session, &set.open(kind)?, "user", steps)?),
        None => None,
    };
    let args = helper.args(program, &place, userns.as_deref());
    let command = Command::Argv(args.into_iter().map(String::into_bytes).collect());
    let spec = ProcSpec { machine_network: true, check: false, ..ProcSpec::new(command) };
    let (id, process) = proc::spawn(session, &spec).map_err(|error| error.in_op(OP))?;
    match wait(session, &netns, helper, &process) {
        Ok(()) => Ok((id, process)),
        Err(error) => Err(session.roll_back(session.disown(id), error)),
    }
}

fn as_root() -> Error {
    Error::new(ErrorKind::Unsupported, OP, "as root the program is in the machine's network already")
        .hint("give the Ns that is to be connected")
}

/// Binds a namespace to a file that the helper can open: what is below `/proc` of a process with more power than it has
/// left is closed to it.
fn show(
    session: &Session,
    fd: &std::os::fd::OwnedFd,
    name: &str,
    steps: &mut Vec<StepId>,
) -> Result<PathBuf> {
    let mount_ns = private::mounts(session, OP)?;
    let path = private::scratch(session, OP)?.join(format!("{name}-{}", session.serial()));
    steps.push(claim::make(session, OP, &path, New::File(0o600))?);
    let claim = Object::Mount { target: path.clone(), mount_id: None, mount_ns };
    let text = format!("show the {name} namespace to the helper");
    let source = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    let (step, ()) = session.step(Intent { op: OP, text, claim }, |_| {
        let mount_id = mount::clone_tree(CWD, &source, false)
            .and_then(|tree| mount::attach(&tree, CWD, &path))
            .and_then(|()| file::identify(CWD, &path))
            .context(OP, format!("cannot bind the {name} namespace"))?
            .mount_id;
        let object = Object::Mount { target: path.clone(), mount_id: Some(mount_id), mount_ns };
        Ok(Done { value: (), object, effect: path.display().to_string() })
    })?;
    steps.push(step);
    Ok(path)
}

/// Waits until the namespace has a link that is up and a way out.
fn wait(session: &Session, netns: &Netns, helper: Helper, process: &Process) -> Result<()> {
    let started = Instant::now();
    loop {
        if !process.is_running(session)? {
            return Err(ended(helper, &process.wait(session)?.stderr));
        }
        let up = links(Some(netns))?.iter().any(|link| link.kind != "veth" && link.name != "lo" && link.up);
        if up && routes(Some(netns))?.iter().any(|route| route.dst.is_none()) {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            let what = format!(
                "{} has not connected the namespace in {} seconds",
                helper.name(),
                PATIENCE.as_secs()
            );
            return Err(Error::new(ErrorKind::Timeout, OP, what).hint("see what it says: run it by hand"));
        }
        cancel::sleep(OP, Instant::now() + PAUSE)?;
    }
}

fn ended(helper: Helper, stderr: &[u8]) -> Error {
    let said = String::from_utf8_lossy(stderr).trim().replace('\n', "; ");
    let error = Error::new(ErrorKind::Unsupported, OP, format!("{} ended: {said}", helper.name()));
    let tun = Path::new("/dev/net/tun");
    match std::fs::File::options().read(true).write(true).open(tun) {
        Err(source) if source.kind() == std::io::ErrorKind::PermissionDenied => error.hint(
            "/dev/net/tun is closed to you, which udev opens to all: run as root: chmod 0666 /dev/net/tun",
        ),
        Err(_) => error.hint("/dev/net/tun is missing: run as root: modprobe tun"),
        Ok(_) => error,
    }
}
