//! File systems: overlays, binds, tmpfs; the everyday calls; removing trees without crossing a mount.

pub mod changes;
pub mod claim;
pub mod copy;
pub mod dir;
pub mod files;
pub mod fuse;
pub mod glob;
pub mod idmapped;
pub mod inside;
pub mod mountinfo;
pub mod mounts;
pub mod overlay;
pub mod private;
pub mod reclaim;
pub mod replace;
mod shifted;
pub mod tree;
pub mod walk;
