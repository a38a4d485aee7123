//! Functions of the script that are called at events: between native calls, and inside those that block.

#![expect(
    deprecated,
    reason = "stored contexts are marked so because they are volatile, not because they go: the version is pinned"
)]

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::attend::{self, Attendant, Watched};
use crate::runtime::cgroup::Cgroup;
use crate::runtime::cgroup::watch::{LOOK, Waiter};
use crate::runtime::session::HandleId;
use crate::script::bind::cgroup::told;
use crate::script::call::{Call, Outcome, Raised};
use crate::script::handle::Held;
use crate::script::returned::{self, IntoScript as _};
use crate::script::shell::Shell;
use rhai::{Dynamic, Engine, EvalAltResult, FnPtr, Map, NativeCallContextStore};
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

const OP: &str = "cgroup.on";

/// What is to be called, and when.
struct Hook {
    group: HandleId,
    event: String,
    /// Tells it from others that hear of the same event.
    listener: String,
    waiter: Waiter,
    function: FnPtr,
    /// Where it was asked for: what the function can see.
    context: NativeCallContextStore,
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {} of {}", self.function, self.event, self.group)
    }
}

/// The functions of one run.
#[derive(Debug, Default)]
pub struct Hooks {
    list: RefCell<Vec<Rc<Hook>>>,
    serial: Cell<u64>,
    calling: Cell<bool>,
    /// The engine that calls them.
    engine: RefCell<Weak<Engine>>,
    /// The script line of the native call under way.
    at: RefCell<Option<String>>,
    /// What one of them raised inside a native call, until that call is left.
    raised: RefCell<Option<Box<EvalAltResult>>>,
}

impl Hooks {
    /// Says which engine runs the script.
    pub fn set_engine(&self, engine: &Rc<Engine>) {
        self.engine.replace(Rc::downgrade(engine));
    }

    /// What a function raised while no native was there to pass it on.
    pub(super) fn take_raised(&self) -> Option<Box<EvalAltResult>> {
        self.raised.take()
    }

    /// Forgets all of them, and what was open for them.
    pub fn clear(&self) {
        self.list.borrow_mut().clear();
    }

    /// Says which line of the script makes the next native call.
    pub fn set_at(&self, at: &str) {
        if !self.list.borrow().is_empty() {
            self.at.replace(Some(at.to_owned()));
        }
    }
}

/// Has `function` called at each `event` of `group` from now on.
///
/// # Errors
/// The failed open of what tells about the event.
pub fn register(
    call: &Call<'_>,
    group: HandleId,
    cgroup: &Cgroup,
    event: &str,
    function: FnPtr,
) -> Result<()> {
    let hooks = call.shell().hooks();
    let waiter = cgroup.waiter(OP, event)?;
    let listener = format!("on {}", hooks.serial.replace(hooks.serial.get() + 1));
    waiter.arm(OP)?;
    // What came before is not told.
    let _ = cgroup.heard(&listener, event);
    let context = call.ctx.store_data();
    let hook = Hook { group, event: event.to_owned(), listener, waiter, function, context };
    hooks.list.borrow_mut().push(Rc::new(hook));
    attend::install(call.session(), Rc::new(Caller(Rc::downgrade(call.shell()))))
}

/// After a native call: what a function raised inside it takes the place of its result, and what has come meanwhile is
/// told.
///
/// # Errors
/// What a function raised; what the call failed with.
pub fn leave<T>(call: &Call<'_>, outcome: Outcome<T>) -> Outcome<T> {
    let hooks = call.shell().hooks();
    let raised = || hooks.raised.take().map_or(Ok(()), |raised| Err(Raised::Script(raised)));
    raised()?;
    let value = outcome?;
    if hooks.list.borrow().is_empty() {
        return Ok(value);
    }
    let turned = attend::turn(call.session());
    raised()?;
    turned?;
    Ok(value)
}

/// Calls the functions whose events have come.
#[derive(Debug)]
struct Caller(Weak<Shell>);

impl Attendant for Caller {
    fn watched(&self) -> Watched {
        let Some(shell) = self.0.upgrade() else { return Watched::default() };
        let hooks = shell.hooks();
        if hooks.calling.get() || hooks.raised.borrow().is_some() {
            return Watched::default();
        }
        // A group that was closed has no more events.
        hooks.list.borrow_mut().retain(|hook| shell.session().is_open(hook.group));
        let list = hooks.list.borrow();
        let untold = list.iter().any(|hook| hook.waiter.told().is_none());
        let told = list.iter().filter_map(|hook| hook.waiter.told().cloned()).collect();
        Watched { told, look: untold.then_some(LOOK) }
    }

    fn turn(&self) -> Result<()> {
        let Some(shell) = self.0.upgrade() else { return Ok(()) };
        let hooks = shell.hooks();
        let Some(engine) = hooks.engine.borrow().upgrade() else { return Ok(()) };
        if hooks.raised.borrow().is_some() || hooks.calling.replace(true) {
            return Ok(());
        }
        let at = hooks.at.borrow().clone();
        let list = hooks.list.borrow().clone();
        let outcome = list.iter().try_for_each(|hook| tell(&shell, &engine, hook));
        hooks.calling.set(false);
        // Calls in the functions have set their own place.
        hooks.at.replace(at.clone());
        shell.session().set_at(at);
        outcome.map_err(|raised| {
            hooks.raised.replace(Some(raised));
            Error::new(ErrorKind::Interrupted, OP, "ended by a function that is called at an event")
        })
    }
}

fn tell(shell: &Shell, engine: &Engine, hook: &Rc<Hook>) -> std::result::Result<(), Box<EvalAltResult>> {
    let Ok(group) = shell.session().handle::<Cgroup>(hook.group, OP) else { return Ok(()) };
    if hook.waiter.arm(OP).is_err() {
        // Removed from outside: the kernel would tell of that for ever.
        shell.hooks().list.borrow_mut().retain(|other| !Rc::ptr_eq(other, hook));
        return Ok(());
    }
    let Some(happened) = group.heard(&hook.listener, &hook.event) else { return Ok(()) };
    let mut event: Dynamic = returned::from_json(&told(&group, &happened));
    // A closure cannot have the variable that it is given to by: the language holds that for the time of the call.
    if let Some(mut map) = event.write_lock::<Map>() {
        map.insert("cgroup".into(), Held::<Cgroup>::new(hook.group).into_script());
    }
    let context = hook.context.create_context(engine);
    // What it returns means nothing.
    hook.function.call_raw(&context, None, [event]).map(drop)
}
