//! The cshell program.
fn main() {}
