//! Network links.

pub mod reclaim;
