//! Namespaces: sets of them that live until closed.

pub mod idmap;
pub mod kinds;
pub mod list;
pub mod pin;
pub mod set;
pub mod subid;
pub mod sysctl;
pub mod userns;

pub use crate::sys::mount::Propagation;
pub use kinds::{Kind, Kinds};
pub use set::{NsSet, NsSpec, hostname_of, new};
