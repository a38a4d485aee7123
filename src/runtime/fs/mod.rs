//! File systems: overlays, binds, tmpfs; the everyday calls; removing trees without crossing a mount.

pub mod claim;
pub mod overlay;
pub mod private;
pub mod reclaim;
pub mod tree;
