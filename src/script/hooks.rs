//! Functions of the script that are called at events: between native calls, never inside one.

use crate::runtime::cgroup::Cgroup;
use crate::runtime::session::HandleId;
use crate::script::bind::cgroup::told;
use crate::script::call::{Call, Outcome};
use crate::script::returned;
use crate::script::shell::Shell;
use rhai::FnPtr;
use std::cell::{Cell, RefCell};

/// What is to be called, and when.
#[derive(Clone, Debug)]
struct Hook {
    group: HandleId,
    event: String,
    /// Tells it from others that hear of the same event.
    listener: String,
    function: FnPtr,
}

/// The functions of one run.
#[derive(Debug, Default)]
pub struct Hooks {
    list: RefCell<Vec<Hook>>,
    calling: Cell<bool>,
}

/// Has `function` called at each `event` of `group` from now on.
pub fn register(shell: &Shell, id: HandleId, group: &Cgroup, event: &str, function: FnPtr) {
    let mut list = shell.hooks().list.borrow_mut();
    let listener = format!("on {}", list.len());
    // What came before is not told.
    let _ = group.heard(&listener, event);
    list.push(Hook { group: id, event: event.to_owned(), listener, function });
}

/// Calls the functions whose events have come since they were last called.
///
/// # Errors
/// What one of them throws.
pub fn dispatch(call: &Call<'_>) -> Outcome<()> {
    let hooks = call.shell().hooks();
    if hooks.list.borrow().is_empty() || hooks.calling.replace(true) {
        return Ok(());
    }
    let list = hooks.list.borrow().clone();
    let outcome = list.iter().try_for_each(|hook| dispatch_one(call, hook));
    hooks.calling.set(false);
    outcome
}

fn dispatch_one(call: &Call<'_>, hook: &Hook) -> Outcome<()> {
    // A group that was closed has no more events.
    let Ok(group) = call.session().handle::<Cgroup>(hook.group, call.op()) else { return Ok(()) };
    if let Some(happened) = group.heard(&hook.listener, &hook.event) {
        let event = returned::from_json(&told(&group, &happened));
        // What it returns means nothing.
        drop(call.invoke(&hook.function, [event])?);
    }
    Ok(())
}
