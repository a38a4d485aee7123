//! Control groups: limits that are in force, on version 1, version 2 and both.

pub mod devices;
pub mod dir;
pub mod driver;
pub mod freeze;
pub mod group;
pub mod host;
pub mod info;
pub mod io;
pub mod limits;
pub mod nest;
pub mod probe;
pub mod reclaim;
pub mod scope;
pub mod stats;
pub mod subtree;
pub mod tree;
pub mod v1;
pub mod v2;
pub mod version;
pub mod watch;

pub use group::{Cgroup, create, limit, limit_new};
pub use host::Host;
pub use info::info;
pub use limits::Limit;
