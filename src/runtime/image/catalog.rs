//! Finding, listing and removing images of the store.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::image::handle::{Image, drop_scratch, hold, make_scratch, scratch_path, uses};
use crate::runtime::image::prune::{Pruned, prune_locked};
use crate::runtime::image::reference::Wanted;
use crate::runtime::image::store::{Found, REF_NAME, Store, ref_name};
use crate::runtime::image::{config, digest, near};
use crate::runtime::object::Object;
use crate::runtime::session::{Done, Handle, HandleId, Intent, Session};
use crate::runtime::state::StateDirs;
use oci_spec::image::{Descriptor, ImageIndex};
use std::rc::Rc;

/// An image of the store, as listed for users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name and tag; nothing for one that another tool put there without a name.
    pub reference: Option<String>,
    /// The digest of its manifest.
    pub digest: String,
    /// The size of its blobs in bytes, as stored.
    pub size: u64,
    /// The number of its layers.
    pub layers: usize,
    /// When it was made, as RFC 3339 text.
    pub created: Option<String>,
}

/// What a removal did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The names that were taken away.
    pub untagged: Vec<String>,
    /// What nothing named any more.
    pub pruned: Pruned,
}

/// The image that `reference` names: `localhost/demo:1`, or `sha256:` with at least 12 digits.
///
/// # Errors
/// [`ErrorKind::NotFound`] with the names that are near; [`ErrorKind::InvalidArgument`] for a malformed or ambiguous
/// name; [`ErrorKind::Corrupt`] when its manifest or configuration is damaged.
pub fn from(session: &Session, reference: &str) -> Result<(HandleId, Rc<Image>)> {
    const OP: &str = "image::from";
    let wanted = Wanted::parse(reference, OP)?;
    let Some(store) = Store::read(session.dirs(), OP)? else {
        return Err(missing(&wanted, &ImageIndex::default(), OP));
    };
    let image = load(&store, &wanted, OP)?;
    hold(session, &store, &image, OP)?;
    Ok(session.adopt(image, Vec::new()))
}

/// An image without layers: the ground to build one from nothing.
pub fn scratch(session: &Session) -> (HandleId, Rc<Image>) {
    let image = Image {
        name: "scratch".into(),
        reference: None,
        digest: None,
        config: config::empty(),
        layers: Vec::new(),
        size: 0,
        facts: serde_json::Value::Null,
    };
    session.adopt(image, Vec::new())
}

/// The names of the images of the store; none where there is no store or it cannot be read.
#[must_use]
pub fn names(dirs: &StateDirs) -> Vec<String> {
    let index = Store::read(dirs, "image::list").ok().flatten().and_then(|store| store.index().ok());
    let index = index.unwrap_or_default();
    index.manifests().iter().filter_map(|descriptor| ref_name(descriptor).map(ToOwned::to_owned)).collect()
}

/// The images of the store, in the order in which they were put there.
///
/// # Errors
/// When the store cannot be read.
pub fn list(dirs: &StateDirs) -> Result<Vec<Listed>> {
    const OP: &str = "image::list";
    let Some(store) = Store::read(dirs, OP)? else { return Ok(Vec::new()) };
    let mut listed = Vec::new();
    for descriptor in store.index()?.manifests() {
        // One that this program cannot run is listed all the same.
        let found = store.load(descriptor).ok();
        let layers = found.as_ref().map_or(0, |found| found.manifest.layers().len());
        let created = found.as_ref().and_then(|found| found.config.created().clone());
        let reference = ref_name(descriptor).map(str::to_owned);
        let size =
            found.map_or_else(|| descriptor.size(), |found| Image::stored(reference.clone(), found).size());
        let digest = descriptor.digest().to_string();
        listed.push(Listed { reference, digest, size, layers, created });
    }
    Ok(listed)
}

/// All facts about an image of the store.
///
/// # Errors
/// As [`from`].
pub fn inspect(dirs: &StateDirs, reference: &str) -> Result<serde_json::Value> {
    const OP: &str = "image::inspect";
    let wanted = Wanted::parse(reference, OP)?;
    match Store::read(dirs, OP)? {
        Some(store) => Ok(load(&store, &wanted, OP)?.inspect()),
        None => Err(missing(&wanted, &ImageIndex::default(), OP)),
    }
}

/// Takes the name `reference` away (every name, if it is a digest), and removes what no other name needs.
///
/// # Errors
/// [`ErrorKind::NotFound`] with the names that are near; else when the store cannot be changed.
pub fn remove(session: &Session, reference: &str) -> Result<Removed> {
    const OP: &str = "image::remove";
    let wanted = Wanted::parse(reference, OP)?;
    let staging = scratch_path(session, "remove")?;
    let intent = Intent {
        op: OP,
        text: format!("remove the image {wanted}"),
        claim: Object::Folder { path: staging.clone(), from: None, id: None },
    };
    let (_, removed) = session.step(intent, |progress| {
        let Some(store) = Store::change(session.dirs(), OP)? else {
            return Err(missing(&wanted, &ImageIndex::default(), OP));
        };
        let mut index = store.index()?;
        let target = select(&index, &wanted, OP)?.clone();
        let goes = |entry: &Descriptor| match &wanted {
            Wanted::Tag(reference) => ref_name(entry) == Some(reference.to_string().as_str()),
            Wanted::Digest(_) => entry.digest() == target.digest(),
        };
        let (gone, stay): (Vec<_>, Vec<_>) = index.manifests().iter().cloned().partition(goes);
        index.set_manifests(stay);
        let made = make_scratch(session, &staging, OP)?;
        progress.made(made.clone())?;
        store.set_index(&index, &staging)?;
        let uses = uses(session)?;
        if let Some(hex) = digest::hex(target.digest().as_ref()) {
            uses.release(&store.blob(hex));
        }
        let pruned = prune_locked(&store, OP)?;
        uses.left(pruned);
        let untagged: Vec<String> = gone.iter().filter_map(ref_name).map(str::to_owned).collect();
        let effect =
            format!("{} names, {} blobs, {} layers removed", gone.len(), pruned.blobs, pruned.layers);
        Ok(Done { value: Removed { untagged, pruned }, object: drop_scratch(made), effect })
    })?;
    Ok(removed)
}

/// The image that `wanted` means.
fn load(store: &Store, wanted: &Wanted, op: &'static str) -> Result<Image> {
    let found = find(store, wanted, op)?;
    let reference = ref_name(&found.descriptor).map(str::to_owned);
    Ok(Image::stored(reference, found))
}

/// The manifest and configuration that `wanted` means.
pub(super) fn find(store: &Store, wanted: &Wanted, op: &'static str) -> Result<Found> {
    let index = store.index()?;
    store.load(select(&index, wanted, op)?)
}

fn select<'a>(index: &'a ImageIndex, wanted: &Wanted, op: &'static str) -> Result<&'a Descriptor> {
    match wanted {
        Wanted::Tag(reference) => {
            let name = reference.to_string();
            let mut named = index.manifests().iter().filter(|entry| ref_name(entry) == Some(name.as_str()));
            named.next_back().ok_or_else(|| missing(wanted, index, op))
        }
        Wanted::Digest(prefix) => {
            let starts = |entry: &&Descriptor| {
                digest::hex(entry.digest().as_ref()).is_some_and(|hex| hex.starts_with(prefix.as_str()))
            };
            let found: Vec<&Descriptor> = index.manifests().iter().filter(starts).collect();
            let first = found.first().copied().ok_or_else(|| missing(wanted, index, op))?;
            if found.iter().all(|entry| entry.digest() == first.digest()) {
                return Ok(first);
            }
            let what = format!("{} images have digests that begin so", found.len());
            Err(Error::new(ErrorKind::InvalidArgument, op, what)
                .subject(format!("image {wanted}"))
                .hint("give more digits"))
        }
    }
}

fn missing(wanted: &Wanted, index: &ImageIndex, op: &'static str) -> Error {
    let error = Error::new(ErrorKind::NotFound, op, "there is no such image in the store")
        .subject(format!("image {wanted}"));
    let names: Vec<&str> = index.manifests().iter().filter_map(ref_name).collect();
    match near::hint(&wanted.to_string(), names.iter().copied()) {
        Some(hint) => error.hint(hint),
        None if names.is_empty() => error.hint("the store is empty: `image::commit` puts images there"),
        None => error,
    }
}

/// Puts `reference` on the manifest `descriptor` in the index, and takes it from the one that had it.
pub(super) fn tag(index: &mut ImageIndex, mut descriptor: Descriptor, reference: &str) {
    let mut manifests: Vec<Descriptor> =
        index.manifests().iter().filter(|entry| ref_name(entry) != Some(reference)).cloned().collect();
    let mut annotations = descriptor.annotations().clone().unwrap_or_default();
    annotations.insert(REF_NAME.to_owned(), reference.to_owned());
    descriptor.set_annotations(Some(annotations));
    manifests.push(descriptor);
    index.set_manifests(manifests);
}
