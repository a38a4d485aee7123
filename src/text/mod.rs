//! Texts for people, which all front ends share: errors, traces, findings.
//!
//! Nothing here writes: what is made is a `String`, and the front end knows where it goes.

pub mod colour;
pub mod doctor;
pub mod plain;
pub mod report;
pub mod trace;
