//! The session: the one seam through which every change of the kernel or the store goes.
//!
//! A change is a *step*: [`Session::step`] writes its intent to the ledger, lets it act, writes what it made, and
//! keeps the object for the way back. A step that fails is undone at once; everything else is undone in reverse
//! order by [`Session::close`], or one handle at a time by [`Session::close_handle`]. Values that users hold are
//! [`Handle`]s: cheap to copy by id, owned here.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::handle::Slot;
use crate::runtime::ledger::Ledger;
use crate::runtime::object::Object;
use crate::runtime::proc::foreign::Foreign;
use crate::runtime::proc::orphans;
use crate::runtime::state::{StateDirs, make_private, token};
use crate::runtime::trace::{Event, Sink, StepEvent, UndoEvent};
use crate::runtime::{gc, undo};
use crate::sys::lock::Lock;
use crate::sys::{self, fault, record};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

pub use crate::runtime::handle::{Handle, HandleId, Live};

const OP: &str = "session";

/// The number of a step in its session, from 1.
pub type StepId = u64;

/// What a step is about to do.
#[derive(Debug)]
pub struct Intent {
    /// The operation, such as `fs::overlay`.
    pub op: &'static str,
    /// What it is for, in words.
    pub text: String,
    /// What it is about to make: enough to take back a step that died half way.
    pub claim: Object,
}

/// What a step has done.
#[derive(Debug)]
pub struct Done<T> {
    /// The result.
    pub value: T,
    /// What was made, with its identity as read back.
    pub object: Object,
    /// What the kernel now holds, in words for the trace.
    pub effect: String,
}

/// Given to a step while it acts: reports what exists already, for steps that make more than one thing.
#[derive(Debug)]
pub struct Progress<'a> {
    session: &'a Session,
    n: StepId,
    object: RefCell<Object>,
}

impl Progress<'_> {
    /// Says what exists so far: written to the ledger, and undone if the rest of the step fails.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn made(&self, object: Object) -> Result<()> {
        self.session.with_ledger(|ledger| ledger.made(self.n, &object))?;
        self.object.replace(object);
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Gone,
    Kept,
}

#[derive(Debug)]
struct Step {
    n: StepId,
    op: &'static str,
    object: Object,
    state: State,
}

/// The session's folder below the run folder, locked while the program lives.
#[derive(Debug)]
struct Home {
    path: PathBuf,
    ledger: Ledger,
    lock: Lock,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Session {
    /// Never given back: 16 bytes for each copy of the program.
    token: Cell<&'static str>,
    dirs: StateDirs,
    sink: Option<Box<dyn Sink>>,
    owns_children: bool,
    home: RefCell<Option<Home>>,
    steps: RefCell<Vec<Step>>,
    pub(super) handles: RefCell<BTreeMap<HandleId, Slot>>,
    next_handle: Cell<u64>,
    /// The number before that of the first step.
    base: Cell<StepId>,
    foreign: RefCell<Option<Rc<Foreign>>>,
    pub(super) at: RefCell<Option<String>>,
    facts: RefCell<BTreeMap<&'static str, Rc<dyn Any>>>,
    interactive: Cell<bool>,
    closed: Cell<bool>,
}

impl Session {
    /// A session on the state folders `dirs`. Nothing is made until the first step.
    ///
    /// # Errors
    /// When the kernel gives no random bytes.
    pub fn new(dirs: StateDirs) -> Result<Self> {
        Ok(Self {
            token: Cell::new(token()?.leak()),
            dirs,
            sink: None,
            owns_children: false,
            home: RefCell::new(None),
            steps: RefCell::default(),
            handles: RefCell::default(),
            next_handle: Cell::new(1),
            base: Cell::new(0),
            foreign: RefCell::new(None),
            at: RefCell::default(),
            facts: RefCell::default(),
            interactive: Cell::new(false),
            closed: Cell::new(false),
        })
    }

    /// Makes this the session of a copy of the program (`fork(2)`): with a token and a ledger of its own, and nothing to take
    /// back. The handles of before can be used, and closing them here leaves the things as they are.
    ///
    /// # Errors
    /// When the kernel gives no random bytes.
    pub fn renew(&self) -> Result<()> {
        self.token.set(token()?.leak());
        self.base.set(self.steps.borrow().last().map_or(self.base.get(), |step| step.n));
        self.steps.borrow_mut().clear();
        if let Some(home) = self.home.take() {
            home.lock.leave();
        }
        // What they would take back when they are dropped is the other's.
        std::mem::forget(self.facts.take());
        Ok(())
    }

    /// Has starts with the default policy made by another runtime.
    pub fn set_foreign(&self, foreign: Option<Rc<Foreign>>) {
        self.foreign.replace(foreign);
    }

    /// The other runtime that makes starts with the default policy.
    #[must_use]
    pub fn foreign(&self) -> Option<Rc<Foreign>> {
        self.foreign.borrow().clone()
    }

    /// Says that a person types at the terminal meanwhile: what processes in the background write there goes through this
    /// program ([`crate::runtime::proc::background`]).
    #[must_use]
    pub fn interactive(self) -> Self {
        self.interactive.set(true);
        self
    }

    /// Whether a person types at the terminal meanwhile.
    #[must_use]
    pub fn is_interactive(&self) -> bool {
        self.interactive.get()
    }

    /// Sends trace events to `sink`.
    #[must_use]
    pub fn traced(mut self, sink: Box<dyn Sink>) -> Self {
        self.sink = Some(sink);
        self
    }

    /// Says that this process has no children but the session's: orphans of its commands may come to it.
    #[must_use]
    pub fn owning_children(mut self) -> Self {
        self.owns_children = true;
        self
    }

    /// Whether this process has no children but the session's.
    #[must_use]
    pub fn owns_children(&self) -> bool {
        self.owns_children
    }

    /// The processes that steps have made and that are not taken back, kept ones among them: id and start time.
    #[must_use]
    pub fn processes(&self) -> Vec<(i32, u64)> {
        let steps = self.steps.borrow();
        let here = steps.iter().filter(|step| step.state != State::Gone);
        let process = |object: &Object| match object {
            Object::Process { pid: Some(pid), start_time: Some(start) } => Some((*pid, *start)),
            _ => None,
        };
        here.filter_map(|step| process(&step.object)).collect()
    }

    /// The unguessable token that this session's objects bear.
    #[must_use]
    pub fn token(&self) -> &str {
        self.token.get()
    }

    /// The state folders.
    #[must_use]
    pub fn dirs(&self) -> &StateDirs {
        &self.dirs
    }

    /// A number that is given out once a session: for names.
    pub fn serial(&self) -> u64 {
        let n = self.next_handle.get();
        self.next_handle.set(n + 1);
        n
    }

    /// Says which script line asks for the next steps.
    pub fn set_at(&self, at: Option<String>) {
        self.at.replace(at);
    }

    /// The script line that asks for the next steps.
    #[must_use]
    pub fn at(&self) -> Option<String> {
        self.at.borrow().clone()
    }

    /// Runs one step.
    ///
    /// # Errors
    /// What `act` fails with. What it had made by then is undone; errors of that hang off the first.
    pub fn step<T>(
        &self,
        intent: Intent,
        act: impl FnOnce(&Progress<'_>) -> Result<Done<T>>,
    ) -> Result<(StepId, T)> {
        let at = self.at.borrow().clone();
        let n = self.begin(&intent, at.as_deref())?;
        let progress = Progress { session: self, n, object: RefCell::new(intent.claim) };
        let started = Instant::now();
        if self.sink.is_some() {
            record::start();
        }
        let outcome = Self::strike(fault::step(), intent.op)
            .and_then(|()| act(&progress))
            .and_then(|done| self.settle(&progress, done));
        let calls = record::take();
        let undo_text = progress.object.borrow().undo_text();
        self.emit(&Event::Step(StepEvent {
            n,
            op: intent.op,
            intent: &intent.text,
            at: at.as_deref(),
            calls: &calls,
            effect: outcome.as_ref().map(|done| done.effect.as_str()),
            undo: &undo_text,
            took: started.elapsed(),
        }));
        let object = progress.object.into_inner();
        self.set_object(n, object);
        match outcome {
            Ok(done) => Ok((n, done.value)),
            Err(error) => Err(match self.undo_step(n) {
                Ok(()) => error,
                Err(second) => error.also(vec![second]),
            }),
        }
    }

    fn begin(&self, intent: &Intent, at: Option<&str>) -> Result<StepId> {
        if self.closed.get() {
            return Err(Error::new(ErrorKind::Closed, intent.op, "the session is closed"));
        }
        self.open_home()?;
        let mut steps = self.steps.borrow_mut();
        let n = steps.last().map_or_else(|| self.base.get(), |step| step.n) + 1;
        self.with_ledger(|ledger| ledger.intent(n, intent.op, &intent.text, at, &intent.claim))?;
        steps.push(Step { n, op: intent.op, object: intent.claim.clone(), state: State::Open });
        Ok(n)
    }

    fn settle<T>(&self, progress: &Progress<'_>, done: Done<T>) -> Result<Done<T>> {
        if *progress.object.borrow() != done.object {
            progress.object.replace(done.object.clone());
            self.with_ledger(|ledger| ledger.made(progress.n, &done.object))?;
        }
        Self::strike(fault::after(), "session")?;
        Ok(done)
    }

    fn strike(errno: Option<sys::Errno>, op: &'static str) -> Result<()> {
        match errno {
            None => Ok(()),
            Some(errno) => {
                let call = sys::SysError::new("fault", "injected".into(), errno);
                Err(Error::sys(op, "made to fail by a test", call))
            }
        }
    }

    fn set_object(&self, n: StepId, object: Object) {
        if let Some(step) = find_step(&mut self.steps.borrow_mut(), n) {
            step.object = object;
        }
    }

    fn emit(&self, event: &Event<'_>) {
        if let Some(sink) = &self.sink {
            sink.event(event);
        }
    }

    /// Whether steps are being traced.
    #[must_use]
    pub fn is_traced(&self) -> bool {
        self.sink.is_some()
    }

    fn with_ledger(&self, write: impl FnOnce(&mut Ledger) -> Result<()>) -> Result<()> {
        match self.home.borrow_mut().as_mut() {
            Some(home) => write(&mut home.ledger),
            None => Err(Error::new(ErrorKind::Internal, OP, "the ledger is not open")),
        }
    }

    /// Makes the session's folder, lock and ledger, after reclaiming what dead sessions left.
    fn open_home(&self) -> Result<()> {
        if self.home.borrow().is_some() {
            return Ok(());
        }
        make_private(&self.dirs.run)?;
        gc::sweep(&self.dirs);
        let path = self.dirs.run.join(format!("session-{}", self.token.get()));
        let lock = gc::make_locked(&path)?;
        let ledger = match Ledger::create(&path.join("ledger")) {
            Ok(ledger) => ledger,
            Err(error) => return Err(error.also(gc::remove_home(&path).err().into_iter().collect())),
        };
        self.home.replace(Some(Home { path, ledger, lock }));
        Ok(())
    }

    /// Marks a step as ended by itself: a process that exited.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn ended(&self, n: StepId, text: &str) -> Result<()> {
        let op = {
            let mut steps = self.steps.borrow_mut();
            let Some(step) = steps.iter_mut().find(|step| step.n == n && step.state == State::Open) else {
                return Ok(());
            };
            step.state = State::Gone;
            step.op
        };
        let took = std::time::Duration::ZERO;
        self.emit(&Event::Undo(UndoEvent { n, op, text, calls: &[], error: None, took }));
        self.with_ledger(|ledger| ledger.undone(n))?;
        self.forget_gone();
        Ok(())
    }

    /// Drops finished steps from the end, so that a long loop of commands does not grow the list.
    fn forget_gone(&self) {
        let mut steps = self.steps.borrow_mut();
        // The last one stays: its number tells the next.
        while steps.len() > 1 && steps[steps.len() - 2].state == State::Gone {
            let index = steps.len() - 2;
            steps.remove(index);
        }
    }

    /// Undoes steps that belong together, newest first.
    ///
    /// # Errors
    /// The first that could not be undone.
    pub fn undo_steps(&self, steps: &[StepId]) -> Result<()> {
        steps.iter().rev().try_for_each(|n| self.undo_step(*n))?;
        self.forget_gone();
        Ok(())
    }

    /// Undoes steps that belong together, newest first, because a later one failed with `error`.
    #[must_use]
    pub fn roll_back(&self, steps: Vec<StepId>, error: Error) -> Error {
        let failed = steps.into_iter().rev().filter_map(|n| self.undo_step(n).err()).collect();
        error.also(failed)
    }

    pub(super) fn undo_step(&self, n: StepId) -> Result<()> {
        let (op, object) = {
            let mut steps = self.steps.borrow_mut();
            let Some(step) = find_step(&mut steps, n).filter(|step| step.state == State::Open) else {
                return Ok(());
            };
            (step.op, step.object.clone())
        };
        let started = Instant::now();
        if self.is_traced() {
            record::start();
        }
        let outcome = match &object {
            Object::Orphans => orphans::end(&self.processes()),
            object => undo::undo(object),
        };
        let calls = record::take();
        self.emit(&Event::Undo(UndoEvent {
            n,
            op,
            text: &object.undo_text(),
            calls: &calls,
            error: outcome.as_ref().err(),
            took: started.elapsed(),
        }));
        outcome?;
        if let Some(step) = find_step(&mut self.steps.borrow_mut(), n) {
            step.state = State::Gone;
        }
        self.forget_gone();
        self.with_ledger(|ledger| ledger.undone(n))
    }

    /// Has a step outlive the session.
    pub(super) fn keep_step(&self, n: StepId) -> Result<()> {
        self.with_ledger(|ledger| ledger.kept(n))?;
        if let Some(step) = find_step(&mut self.steps.borrow_mut(), n) {
            step.state = State::Kept;
        }
        Ok(())
    }

    /// A value made once a session, such as the scratch folder: `make` runs at the first call for `key`.
    ///
    /// # Errors
    /// What `make` fails with; it is tried again at the next call.
    pub fn fact<T: 'static>(&self, key: &'static str, make: impl FnOnce() -> Result<T>) -> Result<Rc<T>> {
        let known = self.facts.borrow().get(key).cloned();
        if let Some(value) = known {
            return value
                .downcast::<T>()
                .map_err(|_| Error::new(ErrorKind::Internal, OP, format!("fact {key}")));
        }
        let value = Rc::new(make()?);
        self.facts.borrow_mut().insert(key, value.clone());
        Ok(value)
    }

    /// Closes the handles that were made since a number was given out, newest first. What cannot be closed is closed at the end.
    pub fn close_since(&self, mark: u64) {
        let newer: Vec<HandleId> =
            self.handles.borrow().keys().rev().filter(|id| id.number() > mark).copied().collect();
        for id in newer {
            let _ = self.close_handle(id);
        }
    }

    /// The value of a fact that was made before.
    #[must_use]
    pub fn known<T: 'static>(&self, key: &'static str) -> Option<Rc<T>> {
        self.facts.borrow().get(key).cloned()?.downcast::<T>().ok()
    }

    /// Undoes everything that is open, in reverse order, and removes the session's own files.
    ///
    /// Goes on after a failure: what could not be undone stays in the ledger for `cshell gc`.
    pub fn close(&self) -> Vec<Error> {
        if self.closed.replace(true) {
            return Vec::new();
        }
        let steps = self.steps.borrow();
        let open = steps.iter().rev().filter(|step| step.state == State::Open);
        let mut open: Vec<(bool, StepId)> = open.map(|step| (step.object.is_undone_last(), step.n)).collect();
        drop(steps);
        open.sort_by_key(|(last, _)| *last);
        let mut errors: Vec<Error> = open.into_iter().filter_map(|(_, n)| self.undo_step(n).err()).collect();
        for slot in self.handles.borrow_mut().values_mut() {
            slot.handle = None;
        }
        self.facts.borrow_mut().clear();
        let kept = self.steps.borrow().iter().any(|step| step.state == State::Kept);
        if let Some(home) = self.home.borrow_mut().take()
            && errors.is_empty()
            && !kept
            && let Err(error) = gc::remove_home(&home.path)
        {
            errors.push(error);
        }
        errors
    }
}

/// The step of this number: they are in order.
fn find_step(steps: &mut [Step], n: StepId) -> Option<&mut Step> {
    let at = steps.binary_search_by_key(&n, |step| step.n).ok()?;
    steps.get_mut(at)
}

impl Drop for Session {
    fn drop(&mut self) {
        // The net for panics and early returns. Errors stay in the ledger, for gc.
        let _ = self.close();
    }
}
