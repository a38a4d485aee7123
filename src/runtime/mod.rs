//! The container engine as a plain library: no script language, no printing, no exit.
//!
//! Everything a script can do, a Rust program can do: open a [`session::Session`], call the functions of the modules
//! with it, and close it. What they made is then gone, in reverse order.

pub mod attend;
pub mod cancel;
pub mod cgroup;
pub mod doctor;
pub mod fs;
pub mod gc;
pub mod handle;
pub mod image;
pub mod leaks;
pub mod ledger;
pub mod near;
pub mod net;
pub mod ns;
pub mod object;
pub mod proc;
pub mod programs;
pub mod rootless;
pub mod sample;
pub mod security;
pub mod session;
pub mod start;
pub mod state;
pub mod systemd;
pub mod trace;
pub mod undo;
pub mod units;
