//! A confined process: what it can do, seen from inside by attempts, and from outside by what the kernel tells.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod hostile;
mod probe;
mod probes;
mod proof;
#[path = "../support/mod.rs"]
mod support;
