//! Images: bases made of this machine's own binaries, commits of overlays, and the store that keeps them.
//!
//! The store is an OCI image layout (`oci-layout`, `index.json`, `blobs/sha256/…`) in the state folder `images`, which
//! other tools read as it is (`skopeo inspect oci:FOLDER:localhost/demo:1`). Beside it, `layers` holds unpacked layers,
//! named by their chain ids. Images outlive sessions; everything else here does not.

mod catalog;
mod commit;
mod config;
mod digest;
mod elf;
mod handle;
mod host;
mod layers;
mod mirror;
mod near;
mod pack;
mod prune;
pub mod reference;
mod save;
mod store;
mod tarfile;
mod unpack;
mod xattr;

pub use catalog::{Listed, Removed, from, inspect, list, names, remove, scratch};
pub use commit::{CommitSpec, Compression, commit};
pub use config::Changes;
pub use handle::{Image, Lower};
pub use host::{HostSpec, host};
pub use prune::{Pruned, prune};
pub use save::{Saved, save};
