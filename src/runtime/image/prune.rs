//! Removing what nothing names: blobs that no image of the index reaches, and unpacked layers of no image.
//!
//! An image that a running session holds counts as named, because the session holds a shared lock on its manifest, and
//! so does an unpacked layer that it uses. The kernel takes the locks back when the program dies, however it does.

use crate::error::{Result, SysContext};
use crate::runtime::fs::tree;
use crate::runtime::image::digest;
use crate::runtime::image::store::{Store, hex_of};
use crate::runtime::state::StateDirs;
use crate::sys::lock::Lock;
use crate::sys::{file, inode};
use oci_spec::image::{Descriptor, DescriptorBuilder, MediaType};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

const OP: &str = "image::prune";
/// Begins the name of a layer that is being removed.
const GONE: &str = ".gone-";

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Blobs removed.
    pub blobs: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Unpacked layers removed.
    pub layers: u64,
    /// Manifests and layers that nothing names but that a running session uses: they stay until it ends.
    pub in_use: u64,
}

/// Removes what no image names, such as what a killed program left.
///
/// # Errors
/// When the store cannot be locked or read, or when something cannot be removed.
pub fn prune(dirs: &StateDirs) -> Result<Pruned> {
    match Store::change(dirs, OP)? {
        Some(store) => prune_locked(&store, OP),
        None => Ok(Pruned::default()),
    }
}

/// What images need.
#[derive(Default)]
struct Live {
    blobs: BTreeSet<String>,
    chains: BTreeSet<String>,
}

/// [`prune`] for a caller that has the store locked to change it.
pub(super) fn prune_locked(store: &Store, op: &'static str) -> Result<Pruned> {
    let mut live = Live::default();
    for descriptor in store.index()?.manifests() {
        // An image that cannot be read keeps everything: what it needs is unknown.
        if mark(store, descriptor, &mut live, op).is_err() {
            return Ok(Pruned::default());
        }
    }
    let mut pruned = Pruned::default();
    let blobs = store.path().join("blobs/sha256");
    let unnamed: Vec<String> =
        names(&blobs, op)?.into_iter().filter(|name| !live.blobs.contains(name)).collect();
    for name in &unnamed {
        if is_used(&blobs.join(name)) && mark_held(store, name, &mut live, op) {
            pruned.in_use += 1;
        }
    }
    for name in unnamed.iter().filter(|name| !live.blobs.contains(*name)) {
        let path = blobs.join(name);
        let Ok(data) = std::fs::symlink_metadata(&path) else { continue };
        file::unlinkat(rustix::fs::CWD, &path, data.is_dir())
            .context(op, format!("cannot remove {}", path.display()))?;
        pruned.blobs += 1;
        pruned.bytes += data.len();
    }
    prune_layers(store, &live, &mut pruned, op)?;
    Ok(pruned)
}

fn names(folder: &Path, op: &'static str) -> Result<Vec<String>> {
    let fail = || format!("cannot read {}", folder.display());
    let entries = match std::fs::read_dir(folder) {
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.context(op, fail())?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.context(op, fail())?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Marks what the manifest or index behind `descriptor` needs.
fn mark(store: &Store, descriptor: &Descriptor, live: &mut Live, op: &'static str) -> Result<()> {
    if !live.blobs.insert(hex_of(descriptor, op)?) {
        return Ok(());
    }
    match descriptor.media_type() {
        MediaType::ImageIndex => {
            let index = store.load_index(descriptor)?;
            index.manifests().iter().try_for_each(|child| mark(store, child, live, op))
        }
        MediaType::ImageManifest => {
            let found = store.load(descriptor)?;
            live.blobs.insert(hex_of(found.manifest.config(), op)?);
            for layer in found.manifest.layers() {
                live.blobs.insert(hex_of(layer, op)?);
            }
            let ids = found.config.rootfs().diff_ids();
            for count in 1..=ids.len() {
                let chain = digest::chain_id(&ids[..count]);
                live.chains.extend(chain.as_deref().and_then(digest::hex).map(str::to_owned));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Marks a manifest that the index does not name but that a session holds.
fn mark_held(store: &Store, hex: &str, live: &mut Live, op: &'static str) -> bool {
    let Ok(size) = std::fs::metadata(store.blob(hex)).map(|data| data.len()) else { return false };
    let descriptor = DescriptorBuilder::default()
        .media_type(MediaType::ImageManifest)
        .digest(match format!("sha256:{hex}").parse::<oci_spec::image::Digest>() {
            Ok(digest) => digest,
            Err(_) => return false,
        })
        .size(size)
        .build();
    descriptor.is_ok_and(|descriptor| mark(store, &descriptor, live, op).is_ok())
}

fn is_used(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(Lock::try_take(file), Ok(None)))
}

fn prune_layers(store: &Store, live: &Live, pruned: &mut Pruned, op: &'static str) -> Result<()> {
    for name in names(store.layers(), op)? {
        let path = store.layers().join(&name);
        let gone = if name.starts_with(GONE) {
            path
        } else {
            if live.chains.contains(&name) {
                continue;
            }
            if is_used(&path) {
                pruned.in_use += 1;
                continue;
            }
            // First out of the way: a folder under its own name is always whole.
            let gone = store.layers().join(format!("{GONE}{name}"));
            tree::remove(&gone).context(op, format!("cannot remove {}", gone.display()))?;
            inode::rename_over(&path, &gone).context(op, format!("cannot rename {}", path.display()))?;
            gone
        };
        tree::remove(&gone).context(op, format!("cannot remove {}", gone.display()))?;
        pruned.layers += 1;
    }
    Ok(())
}

/// The locks that a session holds on the images and layers that it uses.
#[derive(Debug)]
pub(super) struct Uses {
    dirs: StateDirs,
    held: RefCell<BTreeMap<PathBuf, Lock>>,
    /// Something was left only because a session uses it: look again when this one ends.
    again: Cell<bool>,
}

impl Uses {
    pub(super) fn new(dirs: StateDirs) -> Self {
        Self { dirs, held: RefCell::default(), again: Cell::new(false) }
    }

    /// Holds a shared lock on a blob or folder until the session ends.
    pub(super) fn hold(&self, path: &Path, op: &'static str) -> Result<()> {
        if self.held.borrow().contains_key(path) {
            return Ok(());
        }
        let fail = || format!("cannot lock {}", path.display());
        let lock = Lock::take(File::open(path).context(op, fail())?, true).context(op, fail())?;
        self.held.borrow_mut().insert(path.to_owned(), lock);
        Ok(())
    }

    /// Lets go of one.
    pub(super) fn release(&self, path: &Path) {
        self.held.borrow_mut().remove(path);
    }

    /// Takes note of what a pruning left.
    pub(super) fn left(&self, pruned: Pruned) {
        if pruned.in_use > 0 {
            self.again.set(true);
        }
    }
}

impl Drop for Uses {
    /// The session has undone everything: nothing of it uses a layer any more.
    fn drop(&mut self) {
        self.held.borrow_mut().clear();
        if self.again.get() {
            // What cannot be removed now is found by the next change of the store.
            let _ = prune(&self.dirs);
        }
    }
}
