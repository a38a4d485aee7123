//! Filters of system calls (seccomp(2)): profiles as Docker and OCI write them, compiled for the machine.
//!
//! A [`Profile`] is the document, [`Filter`] what the kernel takes. The default profile is `default.json` beside this
//! file: an allow list with rules on arguments, for 64-bit and 32-bit programs.

mod assemble;
mod compile;
mod need;
pub mod profile;
pub mod record;
mod shared;

pub use compile::{Facts, Filter};
pub use need::Moment;
pub use profile::Profile;
