//! What the library does with images beyond scripts (those are in `tests/rhai/image`): sessions at once, kills, faults.
#![expect(clippy::disallowed_methods, reason = "outside tools check the result")]
#![expect(clippy::print_stdout, reason = "a skipped check says why")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod commits;
mod faults;
mod kills;
mod store;
mod support;
