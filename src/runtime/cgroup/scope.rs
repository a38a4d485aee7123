//! The scope of a session under systemd's driver: `cshell-TOKEN.scope`, below which all of its groups are.
//!
//! A scope is made around a process, and ends when the last one has left. The process in this one does nothing but
//! wait: this program stays in its own unit, under the limits and the `systemctl stop` of that. It dies with this
//! program, whatever happens, and then systemd takes an empty scope down by itself.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::cgroup::host::Host;
use crate::runtime::object::Object;
use crate::runtime::proc::reclaim;
use crate::runtime::session::{Done, Intent, Session, StepId};
use crate::runtime::start::{self, Running, Start, StepFailure, Steps};
use crate::runtime::systemd::bus::Bus;
use crate::runtime::systemd::{Manager, unit};
use crate::sys::process;
use std::ffi::CString;
use std::path::PathBuf;

/// Has `manager` make the scope, and returns the host as it is seen from inside: our own groups are the scope's where
/// systemd has the controller, and what they were elsewhere.
///
/// # Errors
/// Those of [`Bus::open`] and [`unit::start_scope`]; a failed start of the process in it.
pub fn open(session: &Session, op: &'static str, manager: Manager, host: &Host) -> Result<Host> {
    let name = format!("cshell-{}.scope", session.token());
    let (step, running) = hold(session, op, &name)?;
    let home = host.hierarchies.iter().map(|hierarchy| hierarchy.own.clone()).collect();
    let start_time = process::start_time(running.pid).context(op, "cannot identify the new process");
    let start_time = start_time.map_err(|error| session.roll_back(vec![step], error))?;
    let object = Object::Unit { name: name.clone(), manager, home, holder: (running.pid, start_time) };
    let intent = Intent { op, text: format!("have systemd make {name}"), claim: Object::Nothing };
    let made = session.step(intent, |progress| {
        let mut bus = Bus::open(op, manager)?;
        progress.made(object.clone())?;
        unit::start_scope(&mut bus, &name, running.pid)?;
        let seen = Host::seen_by(op, &running.pid.to_string())?;
        let inside: Vec<String> = seen
            .hierarchies
            .iter()
            .filter(|hierarchy| hierarchy.own.ends_with(&name))
            .map(|hierarchy| hierarchy.own.display().to_string())
            .collect();
        if inside.is_empty() {
            let what = format!("systemd says that it has made {name}, and there is no such group");
            return Err(Error::new(ErrorKind::Unsupported, op, what).hint(format!(
                "is /sys/fs/cgroup that of the host? see `{} status {name}`",
                manager.systemctl()
            )));
        }
        Ok(Done { value: seen, object, effect: format!("{name} at {}", inside.join(", ")) })
    });
    made.map(|(_, seen)| seen).map_err(|error| session.roll_back(vec![step], error))
}

/// Starts the process that the scope is made around.
fn hold(session: &Session, op: &'static str, name: &str) -> Result<(StepId, Running)> {
    let mut steps = Steps::default();
    steps.hold(session, op)?;
    let start = Start {
        argv: vec![CString::from(c"cshell-scope")],
        ..Start::of(op, format!("start a process for {name}"), steps)
    };
    start::start(session, start, |StepFailure { what, call, .. }| {
        Error::sys(op, format!("cannot {what}"), call)
    })
}

/// Has `manager` end the scope and waits until it is gone; this program goes back to `home` first, should it be in it.
///
/// # Errors
/// Those of [`Bus::open`] and [`unit::stop`]; a failed way back.
pub fn close(manager: Manager, name: &str, home: &[PathBuf], holder: (i32, u64)) -> Result<()> {
    const OP: &str = "undo";
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    if own.split(['/', '\n']).any(|part| part == name) {
        for dir in home {
            std::fs::write(dir.join("cgroup.procs"), std::process::id().to_string())
                .context(OP, format!("cannot go back to the group {}", dir.display()))?;
        }
    }
    // An empty scope is stopped at once; else systemd waits for the kernel to tell, which does so once in 10 ms.
    reclaim::process(Some(holder.0), Some(holder.1))?;
    unit::stop(&mut Bus::open(OP, manager)?, name)
}
