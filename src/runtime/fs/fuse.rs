//! Overlays by `fuse-overlayfs`, where the kernel lets no user namespace have one (before Linux 5.11).

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::cancel;
use crate::runtime::fs::private;
use crate::runtime::object::Object;
use crate::runtime::proc::{self, Command, ProcSpec, Process};
use crate::runtime::programs;
use crate::runtime::rootless;
use crate::runtime::session::{Done, Intent, Session, StepId};
use crate::sys::{Errno, file};
use rustix::fs::CWD;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const OP: &str = "fs::overlay";
const PROGRAM: &str = "fuse-overlayfs";
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(1);

/// What the program leaves in a folder that hides all below it, where it cannot say so by an attribute: a file, and a
/// whiteout of a name that is none.
const MARKS: [&[u8]; 2] = [b".wh..wh..opq", b".wh..opq"];

/// Whether a name in a writable layer is such a mark.
pub(super) fn is_mark(name: &OsStr) -> bool {
    rootless::entered().is_some() && MARKS.contains(&name.as_bytes())
}

/// Takes the marks out of the names of a folder, each with the layer that has it first. Whether the topmost had one.
pub fn take_marks(names: &mut BTreeMap<Vec<u8>, usize>) -> bool {
    if rootless::entered().is_none() {
        return false;
    }
    MARKS.map(|mark| names.remove(mark)).contains(&Some(0))
}

/// Whether `error` says that the kernel lets this user namespace have no overlay: nothing that it says of the layers.
pub(super) fn is_refused(error: &Error) -> bool {
    let Some(call) = error.syscall().filter(|_| rootless::in_user_ns()) else { return false };
    match call.errno() {
        Errno::EPERM | Errno::EACCES | Errno::ENODEV => {
            matches!(call.name(), "fsopen" | "fsconfig" | "fsmount")
        }
        // An older kernel does not know the option.
        Errno::EINVAL => call.name() == "fsconfig" && call.call().contains("\"userxattr\""),
        _ => false,
    }
}

/// Mounts an overlay of `lowerdir` and the writable folders at `target`. Its program ends with the last of `steps`.
/// Returns the id of the mount; `error` is why the kernel has not mounted it.
pub(super) fn mount(
    session: &Session,
    (lowerdir, writable): (&[PathBuf], Option<(&Path, &Path)>),
    target: &Path,
    error: Error,
    steps: &mut Vec<StepId>,
) -> Result<u64> {
    if programs::find(PROGRAM).is_none() {
        return Err(error.hint("this kernel has no overlays for user namespaces: install fuse-overlayfs"));
    }
    let command = Command::Argv(arguments(lowerdir, writable, target)?);
    let before = file::identify(CWD, target).context(OP, "cannot identify the mount point")?.mount_id;
    let spec = ProcSpec { check: false, ..ProcSpec::new(command) };
    let (id, process) = proc::spawn(session, &spec).map_err(|error| error.in_op(OP))?;
    let made = wait(session, &process, target, before);
    steps.extend(session.disown(id));
    let mount_id = match made {
        Ok(mount_id) => mount_id,
        Err(second) => return Err(second.caused_by(error)),
    };
    let mount_ns = private::mounts(session, OP)?;
    let object = Object::Mount { target: target.to_owned(), mount_id: Some(mount_id), mount_ns };
    let text = format!("have {PROGRAM} mount it, as the kernel has not: {error}");
    let (step, ()) = session.step(Intent { op: OP, text, claim: object.clone() }, |_| {
        let effect = format!("{} (mount id {mount_id}), served by process {}", target.display(), process.pid);
        Ok(Done { value: (), object, effect })
    })?;
    steps.push(step);
    Ok(mount_id)
}

fn arguments(lowerdir: &[PathBuf], writable: Option<(&Path, &Path)>, target: &Path) -> Result<Vec<Vec<u8>>> {
    let mut options = b"lowerdir=".to_vec();
    for (index, layer) in lowerdir.iter().enumerate() {
        let layer = layer.as_os_str().as_bytes();
        if layer.iter().any(|byte| b":,\\".contains(byte)) {
            let what = format!("{PROGRAM} takes no layer with a colon, comma or backslash in its path");
            return Err(Error::new(ErrorKind::InvalidArgument, OP, what));
        }
        options.extend((index > 0).then_some(b':'));
        options.extend(layer);
    }
    if let Some((upper, work)) = writable {
        for (key, path) in [("upperdir", upper), ("workdir", work)] {
            options.extend(format!(",{key}=").into_bytes());
            options.extend(path.as_os_str().as_bytes());
        }
    }
    let words = [PROGRAM.as_bytes(), b"-f", b"-o", &options, target.as_os_str().as_bytes()];
    Ok(words.map(<[u8]>::to_vec).to_vec())
}

/// Waits until something else than `before` is mounted at the target.
fn wait(session: &Session, process: &Process, target: &Path, before: u64) -> Result<u64> {
    let started = Instant::now();
    loop {
        let found = file::identify(CWD, target).context(OP, "cannot identify the mount point")?.mount_id;
        if found != before {
            return Ok(found);
        }
        if !process.is_running(session)? {
            let outcome = process.wait(session)?;
            let said = String::from_utf8_lossy(&outcome.stderr).trim().replace('\n', "; ");
            return Err(Error::new(ErrorKind::Unsupported, OP, format!("{PROGRAM} ended: {said}"))
                .hint("it needs /dev/fuse open to all, as udev has it: run as root: chmod 0666 /dev/fuse"));
        }
        if started.elapsed() > PATIENCE {
            return Err(Error::new(ErrorKind::Timeout, OP, format!("{PROGRAM} has mounted nothing")));
        }
        cancel::sleep(OP, Instant::now() + PAUSE)?;
    }
}
