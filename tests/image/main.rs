//! Images on a real machine: bases, commits, the store, hostile archives, kills. Outside tools check the results.
#![expect(clippy::disallowed_methods, reason = "outside tools check the result")]
#![expect(clippy::print_stdout, reason = "a skipped check says why")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod base;
mod commits;
mod evil;
mod faults;
mod kills;
mod overlay;
mod store;
mod support;
