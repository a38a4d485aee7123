//! Processes: start, wait, capture, end.

pub mod reclaim;
