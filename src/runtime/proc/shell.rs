//! A shell in what a session has made, on the terminal of the person who asks for it.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cgroup::Cgroup;
use crate::runtime::fs::inside;
use crate::runtime::fs::overlay::{Overlay, OverlaySpec};
use crate::runtime::image::Image;
use crate::runtime::ns::{Kinds, NsSet};
use crate::runtime::proc::mounts;
use crate::runtime::proc::spec::{Input, Namespaces, Output, Root};
use crate::runtime::proc::{Command, Outcome, ProcSpec, Process, exec};
use crate::runtime::session::{Handle, Session};
use std::any::Any;
use std::path::{Path, PathBuf};
use std::rc::Rc;

const OP: &str = "shell";
/// Where shells are looked for, the most comfortable first.
const SHELLS: &[&str] = &["/bin/bash", "/usr/bin/bash", "/bin/ash", "/bin/sh", "/usr/bin/sh"];

/// Runs a shell, or `command` by it, in `thing`: in the namespaces of a set or of a process, in an overlay or an image as its
/// root, in a control group. It has the terminal until it ends.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for what nothing can run in; [`ErrorKind::NotFound`] where there is no shell; as
/// [`exec()`].
pub fn shell(session: &Session, thing: &Rc<dyn Handle>, command: &str) -> Result<Rc<Outcome>> {
    let mut spec = ProcSpec::new(Command::Argv(Vec::new()));
    let root = place(session, thing, &mut spec)?;
    let program = find(&root, &thing.line())?;
    let mut argv = vec![program.into_bytes()];
    if !command.is_empty() {
        argv.extend([b"-c".to_vec(), command.as_bytes().to_vec()]);
    }
    spec.command = Command::Argv(argv);
    if spec.env.is_none() && root.as_os_str() != "/" {
        let variable = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        let term = std::env::var("TERM").unwrap_or_else(|_| "dumb".into());
        let path = variable("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        spec.env = Some(vec![path, variable("HOME", "/"), variable("TERM", &term)]);
    }
    (spec.tty, spec.stdin, spec.output, spec.check) = (true, Input::Inherit, Output::Inherit, false);
    exec(session, &spec)
}

/// Says in the options of a start where a shell of `thing` runs. The root that it will see, as seen from here.
fn place(session: &Session, thing: &Rc<dyn Handle>, spec: &mut ProcSpec) -> Result<PathBuf> {
    let host = PathBuf::from("/");
    if let Some(set) = cast::<NsSet>(thing) {
        spec.ns = Some(Namespaces::Of(set));
        return Ok(host);
    }
    if let Some(process) = cast::<Process>(thing) {
        if process.has_ended() {
            return Err(Error::new(ErrorKind::NotFound, OP, "it has ended").subject(thing.line()));
        }
        let set = NsSet::of_process(OP, process.pid)?;
        let root = PathBuf::from(format!("/proc/{}/root", process.pid));
        let moved = set.kinds.has("mount");
        spec.ns = (!set.kinds.is_empty()).then(|| Namespaces::Of(Rc::new(set)));
        return Ok(if moved { root } else { host });
    }
    if let Some(group) = cast::<Cgroup>(thing) {
        spec.cgroup = Some(group);
        return Ok(host);
    }
    let (root, folder) = match (cast::<Overlay>(thing), cast::<Image>(thing)) {
        (Some(overlay), _) => {
            let (path, writable) = (overlay.merged.clone(), overlay.upperdir.is_some());
            (Root::Folder { path: path.clone(), writable }, path)
        }
        (None, Some(image)) => {
            let lowerdir = image.lowerdirs(session)?;
            // The topmost layer that has a shell tells; a shell of a lower one is found as well.
            let has = |layer: &&PathBuf| find(layer, "").is_ok();
            let folder = lowerdir.iter().find(has).or(lowerdir.first()).cloned().unwrap_or(host);
            (Root::Overlay(OverlaySpec { lowerdir, origin: Some(image), ..OverlaySpec::default() }), folder)
        }
        (None, None) => {
            let error = Error::new(ErrorKind::InvalidArgument, OP, "nothing can run in it");
            let hint = "a shell runs in namespaces, a process, an overlay, an image or a control group";
            return Err(error.subject(thing.line()).hint(hint));
        }
    };
    spec.rootfs = Some(root);
    spec.ns = Some(Namespaces::Fresh(Kinds::NONE.with_name("pid").with_name("mount")));
    spec.mounts = ["proc", "dev"].into_iter().filter_map(mounts::of_name).collect();
    Ok(folder)
}

fn cast<T: Handle>(thing: &Rc<dyn Handle>) -> Option<Rc<T>> {
    let any: Rc<dyn Any> = thing.clone();
    any.downcast::<T>().ok()
}

/// The first shell that there is in `root`.
fn find(root: &Path, what: &str) -> Result<String> {
    let there =
        |shell: &&&str| inside::resolve(OP, root, Path::new(shell), true).is_ok_and(|path| path.is_file());
    SHELLS.iter().find(there).map(|shell| (*shell).to_owned()).ok_or_else(|| {
        let error = Error::new(ErrorKind::NotFound, OP, format!("there is no shell: {}", SHELLS.join(" ")));
        error.subject(what).hint("put one in: image::host([\"sh\"]), or run a program with proc::exec")
    })
}
