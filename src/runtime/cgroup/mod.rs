//! Control groups: limits that are in force, on version 1, version 2 and both.

pub mod dir;
pub mod group;
pub mod host;
pub mod limits;
pub mod reclaim;
pub mod version;

pub use group::{Cgroup, create, info, limit, limit_new};
pub use limits::Limit;
