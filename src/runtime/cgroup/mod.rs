//! Control groups.

pub mod reclaim;
