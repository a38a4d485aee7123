//! What cannot work without root, in one place.

use crate::runtime::rootless::entered;

/// Something that this program cannot do here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What, as a short name for programs: `idmap`.
    pub name: &'static str,
    /// What cannot be done, for people.
    pub what: &'static str,
    /// Why.
    pub why: String,
}

/// What cannot work in the user namespace that this program entered. Empty as root.
#[must_use]
pub fn report() -> Vec<Limit> {
    let Some(_) = entered() else { return Vec::new() };
    Vec::new()
}
