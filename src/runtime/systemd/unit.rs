//! Transient scopes: units around processes that are not systemd's own children.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::systemd::bus::{Bus, MANAGER, WITHOUT};
use crate::runtime::systemd::wire::{Message, Value, Writer};

/// Has the manager make the scope `name` around the process `pid`, and waits until it is there.
///
/// It is delegated: below its group, all is ours (systemd's "Control Group APIs and Delegation"). It limits nothing
/// itself, ends at once when it is stopped, and is forgotten then even if it failed.
///
/// # Errors
/// [`ErrorKind::Unsupported`] when the manager refuses or its job fails; [`ErrorKind::PermissionDenied`];
/// [`ErrorKind::Timeout`]; [`ErrorKind::AlreadyExists`].
pub fn start_scope(bus: &mut Bus, name: &str, pid: i32) -> Result<()> {
    let mut body = Writer::default();
    body.text(name);
    body.text("fail");
    body.properties(&[
        ("Description", Value::Text("Control groups of a cshell session")),
        ("PIDs", Value::Numbers(&[pid.cast_unsigned()])),
        ("Delegate", Value::Bool(true)),
        ("TasksMax", Value::Big(u64::MAX)),
        ("KillSignal", Value::Int(libc::SIGKILL)),
        ("CollectMode", Value::Text("inactive-or-failed")),
    ]);
    body.no_structures();
    let answer = bus.call(MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", &body)?;
    finish(bus, &answer, "start", name)
}

/// Has the manager stop a unit, which kills what is in it, and waits until it is gone. One that is not there is fine.
///
/// # Errors
/// As for [`start_scope`].
pub fn stop(bus: &mut Bus, name: &str) -> Result<()> {
    let mut body = Writer::default();
    body.text(name);
    body.text("replace");
    match bus.call(MANAGER, "StopUnit", "ss", &body) {
        Ok(answer) => finish(bus, &answer, "stop", name),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Waits for the job that the manager answered with.
fn finish(bus: &mut Bus, answer: &Message, verb: &str, name: &str) -> Result<()> {
    let job = answer.read().text().unwrap_or_default();
    let result = bus.job(job)?;
    if result == "done" {
        return Ok(());
    }
    let kind = if result == "timeout" { ErrorKind::Timeout } else { ErrorKind::Unsupported };
    let what = format!("systemd did not {verb} it: the job ended as {result:?}");
    let hint = format!("`{} status {name}` may say why; {WITHOUT}", bus.manager().systemctl());
    Err(Error::new(kind, bus.op(), what).subject(name).hint(hint))
}
