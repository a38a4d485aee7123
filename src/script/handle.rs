//! Handles: what scripts hold in place of namespaces, groups, overlays, links and processes.
//!
//! A [`Held`] is an id into the session and nothing else: scripts copy it freely and drop it in any order. The
//! session owns the thing. A native takes [`Held`] where a closed handle is fine, and [`Open`] where the thing
//! itself is needed: using a closed one is then an error that names the line that closed it.

use crate::error::Result;
use crate::runtime::session::{Handle, HandleId};
use crate::script::call::Call;
use crate::script::convert::{At, FromScript, ListElement};
use crate::script::returned::IntoScript;
use rhai::Dynamic;
use std::any::TypeId;
use std::marker::PhantomData;
use std::ops::Deref;
use std::rc::Rc;

/// A thing of the runtime that scripts can hold.
pub trait Kind: Handle {
    /// The name of its type in scripts, the same as [`Handle::kind`] returns: `Ns`.
    const NAME: &'static str;

    /// What it is, as one sentence for the help.
    const DOC: &'static str;
}

/// A handle as a value of the language.
pub struct Held<T> {
    id: HandleId,
    kind: PhantomData<fn() -> T>,
}

// Not derived: a derive would ask for the same of `T`.
impl<T> Clone for Held<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Held<T> {}
impl<T> std::fmt::Debug for Held<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "handle {}", self.id)
    }
}

impl<T: Kind> Held<T> {
    /// The handle with this id. The caller knows that it is a `T`.
    #[must_use]
    pub fn new(id: HandleId) -> Self {
        Self { id, kind: PhantomData }
    }

    /// Its id in the session.
    #[must_use]
    pub fn id(&self) -> HandleId {
        self.id
    }

    /// The thing itself.
    ///
    /// # Errors
    /// When it is closed.
    pub fn open(&self, call: &Call<'_>) -> Result<Rc<T>> {
        call.session().handle(self.id, call.op())
    }
}

impl<T: Kind> FromScript for Held<T> {
    fn expected() -> String {
        format!("a handle of type {}", T::NAME)
    }
    fn accepts(value: &Dynamic) -> bool {
        value.is::<Self>()
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        value.try_cast_result().map_err(|value| at.expected(&Self::expected(), &value))
    }
    fn type_id() -> TypeId {
        TypeId::of::<Self>()
    }
}

impl<T: Kind> IntoScript for Held<T> {
    fn returns() -> String {
        T::NAME.into()
    }
    fn into_script(self) -> Dynamic {
        Dynamic::from(self)
    }
}

/// What [`crate::runtime::session::Session::adopt`] returns is returned to scripts as the handle.
impl<T: Kind> IntoScript for (HandleId, Rc<T>) {
    fn returns() -> String {
        T::NAME.into()
    }
    fn into_script(self) -> Dynamic {
        Held::<T>::new(self.0).into_script()
    }
}

impl<T: Kind> ListElement for Held<T> {}
impl<T: Kind> ListElement for Open<T> {}

/// The thing behind a handle that is open.
#[derive(Debug)]
pub struct Open<T> {
    id: HandleId,
    thing: Rc<T>,
}

impl<T> Open<T> {
    /// Its id in the session.
    #[must_use]
    pub fn id(&self) -> HandleId {
        self.id
    }

    /// The thing, shared with the session.
    #[must_use]
    pub fn shared(&self) -> Rc<T> {
        self.thing.clone()
    }
}

impl<T> Deref for Open<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.thing
    }
}

impl<T: Kind> FromScript for Open<T> {
    const OPEN: bool = true;

    fn expected() -> String {
        Held::<T>::expected()
    }
    fn accepts(value: &Dynamic) -> bool {
        Held::<T>::accepts(value)
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        let held = Held::<T>::from_script(value, at)?;
        Ok(Self { id: held.id, thing: held.open(at.call())? })
    }
    fn type_id() -> TypeId {
        TypeId::of::<Held<T>>()
    }
}
