//! What users hold: things by number, owned by the session, closed one by one or kept.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::session::{Session, StepId};
use std::any::Any;
use std::rc::Rc;

/// The number of a handle in its session, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandleId(u64);

impl HandleId {
    /// The number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl std::fmt::Display for HandleId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A thing that users hold: a namespace set, a group, an overlay, a link, a process.
pub trait Handle: Any + std::fmt::Debug {
    /// Its kind as users see it, such as `Overlay`.
    fn kind(&self) -> &'static str;
    /// Its name: chosen by the user, or a path or number that says which one it is.
    fn name(&self) -> String;
    /// Live facts in one line, for the prompt.
    fn line(&self) -> String;
    /// All facts.
    fn inspect(&self) -> serde_json::Value;
    /// Why it cannot be kept beyond the session, if it cannot.
    fn keep_refusal(&self) -> Option<&'static str> {
        None
    }
}

#[derive(Debug)]
pub(super) struct Slot {
    /// The thing, until it is closed: what it holds open goes with it.
    pub(super) handle: Option<Rc<dyn Handle>>,
    kind: &'static str,
    name: String,
    steps: Vec<StepId>,
    made_at: Option<String>,
    closed_at: Option<String>,
}

/// A live object, as listed for users.
#[derive(Debug, Clone)]
pub struct Live {
    /// The handle's id.
    pub id: HandleId,
    /// Its kind.
    pub kind: &'static str,
    /// One line of facts.
    pub line: String,
    /// The script line that made it.
    pub at: Option<String>,
}

impl Session {
    /// Hands a thing over to users. Its steps, in order, are undone in reverse when it is closed.
    pub fn adopt<T: Handle>(&self, handle: T, steps: Vec<StepId>) -> (HandleId, Rc<T>) {
        let id = HandleId(self.serial());
        let handle = Rc::new(handle);
        let slot = Slot {
            kind: handle.kind(),
            name: handle.name(),
            handle: Some(handle.clone()),
            steps,
            made_at: self.at.borrow().clone(),
            closed_at: None,
        };
        self.handles.borrow_mut().insert(id, slot);
        (id, handle)
    }

    /// Takes a thing back from users, and returns its steps: for what becomes a part of something else.
    pub fn disown(&self, id: HandleId) -> Vec<StepId> {
        self.handles.borrow_mut().remove(&id).map(|slot| slot.steps).unwrap_or_default()
    }

    /// Adds a step to those of a handle: undone first when it is closed.
    pub fn add_step(&self, id: HandleId, step: StepId) {
        if let Some(slot) = self.handles.borrow_mut().get_mut(&id) {
            slot.steps.push(step);
        }
    }

    /// The handle of a thing, while it is open.
    #[must_use]
    pub fn id_of<T: Handle>(&self, thing: &Rc<T>) -> Option<HandleId> {
        let same = |slot: &Slot| {
            slot.handle
                .as_ref()
                .is_some_and(|handle| std::ptr::addr_eq(Rc::as_ptr(handle), Rc::as_ptr(thing)))
        };
        self.handles.borrow().iter().find(|(_, slot)| same(slot)).map(|(id, _)| *id)
    }

    /// The thing behind a handle, when it is open and of type `T`.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] with the line that closed it; [`ErrorKind::Internal`] for a wrong type.
    pub fn handle<T: Handle>(&self, id: HandleId, op: &'static str) -> Result<Rc<T>> {
        let handle = self.any_handle(id, op)?;
        let any: Rc<dyn Any> = handle;
        any.downcast::<T>()
            .map_err(|_| Error::new(ErrorKind::Internal, op, format!("handle {id} has another type")))
    }

    /// The thing behind a handle, whatever its type, when it is open.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] with the line that closed it.
    pub fn any_handle(&self, id: HandleId, op: &'static str) -> Result<Rc<dyn Handle>> {
        let handles = self.handles.borrow();
        let Some(slot) = handles.get(&id) else {
            return Err(Error::new(ErrorKind::Internal, op, format!("there is no handle {id}")));
        };
        if let Some(handle) = &slot.handle {
            return Ok(handle.clone());
        }
        let place = slot.closed_at.as_ref().map_or_else(String::new, |at| format!(" at {at}"));
        Err(Error::new(ErrorKind::Closed, op, format!("it was closed{place}"))
            .subject(format!("{} {}", slot.kind, slot.name)))
    }

    /// The thing behind a handle, if it is open.
    #[must_use]
    pub fn peek_handle(&self, id: HandleId) -> Option<Rc<dyn Handle>> {
        self.handles.borrow().get(&id).and_then(|slot| slot.handle.clone())
    }

    /// The name of a thing, also after it was closed.
    #[must_use]
    pub fn name_of(&self, id: HandleId) -> String {
        let handles = self.handles.borrow();
        let Some(slot) = handles.get(&id) else { return String::new() };
        slot.handle.as_ref().map_or_else(|| slot.name.clone(), |handle| handle.name())
    }

    /// Whether a handle is open.
    #[must_use]
    pub fn is_open(&self, id: HandleId) -> bool {
        self.handles.borrow().get(&id).is_some_and(|slot| slot.handle.is_some())
    }

    /// Undoes what a handle stands for. Closing twice is fine.
    ///
    /// # Errors
    /// The first step that could not be undone; the handle stays open then.
    pub fn close_handle(&self, id: HandleId) -> Result<()> {
        let steps = match self.handles.borrow().get(&id) {
            Some(slot) if slot.handle.is_some() => slot.steps.clone(),
            _ => return Ok(()),
        };
        for n in steps.into_iter().rev() {
            self.undo_step(n)?;
        }
        self.mark_closed(id);
        Ok(())
    }

    /// Marks a handle as closed without undoing anything: for a process that has ended.
    pub fn mark_closed(&self, id: HandleId) {
        if let Some(slot) = self.handles.borrow_mut().get_mut(&id) {
            let handle = slot.handle.take();
            slot.name = handle.map_or_else(|| std::mem::take(&mut slot.name), |handle| handle.name());
            slot.closed_at = self.at.borrow().clone();
        }
    }

    /// Hands the objects of a handle over: they outlive the session, until `cshell gc --kept` or `cshell rm`.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for what cannot outlive the program, with the reason.
    pub fn keep(&self, id: HandleId) -> Result<()> {
        const KEEP: &str = "keep";
        let handle = self.any_handle(id, KEEP)?;
        if let Some(reason) = handle.keep_refusal() {
            return Err(Error::new(ErrorKind::Unsupported, KEEP, reason).subject(handle.name()));
        }
        let steps = self.handles.borrow().get(&id).map(|slot| slot.steps.clone()).unwrap_or_default();
        steps.into_iter().try_for_each(|n| self.keep_step(n))
    }

    /// The open handles, newest first.
    #[must_use]
    pub fn live(&self) -> Vec<Live> {
        let handles = self.handles.borrow();
        let open = handles.iter().rev().filter_map(|(id, slot)| Some((id, slot, slot.handle.as_ref()?)));
        open.map(|(id, slot, handle)| Live {
            id: *id,
            kind: slot.kind,
            line: handle.line(),
            at: slot.made_at.clone(),
        })
        .collect()
    }
}
