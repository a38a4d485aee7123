//! What a process may do: the policy that it is started with, and what the kernel says is in force.
//!
//! A [`Policy`] is decided before anything is made: a [`Level`] by name, and each opt-out spelled. [`facts`] reads back
//! from the kernel, [`confirm`] compares the two before the command runs, and [`audit`] explains any process, which
//! [`find`] finds by the name of its container as well.

pub mod audit;
pub mod caps;
pub mod confirm;
pub mod facts;
pub mod find;
pub mod ground;
pub mod landlock;
pub mod policy;
pub mod seccomp;

pub use facts::Facts;
pub use landlock::Landlock;
pub use policy::{Level, Opened, Policy, SeccompChoice};
