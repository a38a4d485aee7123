//! The image as a value: its layers, its configuration, and what users see of it.

use crate::error::{Error, Result};
use crate::runtime::fs::tree;
use crate::runtime::image::prune::Uses;
use crate::runtime::image::store::{Found, Store};
use crate::runtime::image::{digest, layers};
use crate::runtime::object::{FileId, Object};
use crate::runtime::session::{Handle, Session};
use crate::runtime::state::make_private;
use crate::runtime::units::show_bytes;
use crate::sys::file;
use oci_spec::image::{Descriptor, ImageConfiguration};
use rustix::fs::CWD;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lower {
    /// A layer of the store.
    Stored {
        /// The digest of the layer's archive, uncompressed.
        diff_id: String,
        /// The blob: its type, digest and size.
        descriptor: Box<Descriptor>,
    },
    /// A folder as it is.
    Dir(PathBuf),
}

/// An image: read-only layers and how to run a program in them.
#[derive(Clone, Debug)]
pub struct Image {
    pub(super) name: String,
    pub(super) reference: Option<String>,
    pub(super) digest: Option<String>,
    pub(super) config: ImageConfiguration,
    pub(super) layers: Vec<Lower>,
    /// The size in bytes: of the blobs as stored, or of the files of a folder.
    pub(super) size: u64,
    /// Further facts for [`Handle::inspect`].
    pub(super) facts: serde_json::Value,
}

impl Image {
    /// The image that the store has.
    pub(super) fn stored(reference: Option<String>, found: Found) -> Self {
        let Found { descriptor, manifest, config } = found;
        let digest = descriptor.digest().to_string();
        let size = manifest.layers().iter().map(Descriptor::size).fold(0, u64::saturating_add);
        let diff_ids = config.rootfs().diff_ids().iter().cloned();
        let layers = diff_ids
            .zip(manifest.layers().iter().cloned().map(Box::new))
            .map(|(diff_id, descriptor)| Lower::Stored { diff_id, descriptor })
            .collect();
        Self {
            name: reference.clone().unwrap_or_else(|| digest.clone()),
            reference,
            digest: Some(digest),
            size: size.saturating_add(manifest.config().size()).saturating_add(descriptor.size()),
            config,
            layers,
            facts: serde_json::Value::Null,
        }
    }

    /// The reference, digest or description that users know it by.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.name
    }

    /// Its name and tag in the store, such as `localhost/demo:1`.
    #[must_use]
    pub fn reference(&self) -> Option<&str> {
        self.reference.as_deref()
    }

    /// The digest of its manifest, such as `sha256:…`; nothing for an image that is not in the store.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Its configuration: command, environment, working folder, user, history.
    #[must_use]
    pub fn config(&self) -> &ImageConfiguration {
        &self.config
    }

    /// The command that it runs: entrypoint, then cmd.
    #[must_use]
    pub fn args(&self) -> Vec<String> {
        let Some(config) = self.config.config() else { return Vec::new() };
        let parts = [config.entrypoint(), config.cmd()];
        parts.into_iter().flatten().flatten().cloned().collect()
    }

    /// Its layers, bottom first: what a commit on top of it starts from.
    #[must_use]
    pub fn layers(&self) -> &[Lower] {
        &self.layers
    }

    /// The size in bytes: of the blobs as stored, or of the files of a folder.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The folders of its layers, **top first**, as the option `lowerdir` of overlayfs wants them. Layers of the store
    /// are unpacked when they are not yet; they then stay, for all sessions. An image without layers has an empty
    /// folder, because an overlay needs at least one.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::error::ErrorKind::Corrupt) when a blob does not match its digest or is no valid
    /// archive: nothing is left then; [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) when the image was
    /// removed meanwhile.
    pub fn lowerdirs(&self, session: &Session) -> Result<Vec<PathBuf>> {
        layers::lowerdirs(session, &self.layers)
    }

    /// Twelve digits of the digest.
    fn short(&self) -> Option<&str> {
        digest::hex(self.digest.as_deref()?)?.get(..12)
    }
}

impl Handle for Image {
    fn kind(&self) -> &'static str {
        "Image"
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn line(&self) -> String {
        let digest = self.short().map_or_else(String::new, |short| format!(" {short}"));
        let count = self.layers.len();
        let plural = if count == 1 { "layer" } else { "layers" };
        format!("Image {}{digest}, {count} {plural}, {}", self.name, show_bytes(self.size))
    }

    fn inspect(&self) -> serde_json::Value {
        let layers: Vec<serde_json::Value> = self
            .layers
            .iter()
            .map(|layer| match layer {
                Lower::Stored { diff_id, descriptor } => serde_json::json!({
                    "diff_id": diff_id,
                    "digest": descriptor.digest().to_string(),
                    "media_type": descriptor.media_type().to_string(),
                    "size": descriptor.size(),
                }),
                Lower::Dir(path) => serde_json::json!({ "path": path.display().to_string() }),
            })
            .collect();
        let mut value = serde_json::json!({
            "name": self.name,
            "reference": self.reference,
            "digest": self.digest,
            "size": self.size,
            "layers": layers,
            "config": serde_json::to_value(&self.config).unwrap_or_default(),
        });
        if let (Some(value), serde_json::Value::Object(facts)) = (value.as_object_mut(), &self.facts) {
            value.extend(facts.clone());
        }
        value
    }
}

/// The locks that the session holds on what it uses of the store.
pub(super) fn uses(session: &Session) -> Result<Rc<Uses>> {
    session.fact("image uses", || Ok(Uses::new(session.dirs().clone())))
}

/// Makes sure that the manifest of `image` stays while the session lives. The store is locked.
pub(super) fn hold(session: &Session, store: &Store, image: &Image, op: &'static str) -> Result<()> {
    match image.digest.as_deref().and_then(digest::hex) {
        Some(hex) => uses(session)?.hold(&store.blob(hex), op),
        None => Ok(()),
    }
}

/// A path for a new folder of this session below the scratch folder; its name bears the session's token.
pub(super) fn scratch_path(session: &Session, what: &str) -> Result<PathBuf> {
    let count = session.fact("image folders", || Ok(Cell::new(0u64)))?;
    count.set(count.get() + 1);
    Ok(session.dirs().scratch().join(format!("{}-{what}-{}", session.token(), count.get())))
}

/// Makes the folder that a step has claimed, private to the user, and its parents.
pub(super) fn make_scratch(session: &Session, path: &Path, op: &'static str) -> Result<Object> {
    make_private(&session.dirs().root)?;
    make_private(&session.dirs().scratch())?;
    let fail = |source| {
        Error::sys(op, format!("cannot make the folder {}", path.display()), source)
            .path(path)
            .hint("set CSHELL_ROOT to a folder that you may write")
    };
    file::mkdirat(CWD, path, 0o700).map_err(fail)?;
    let id = file::identify(CWD, path).map_err(fail)?;
    Ok(Object::Folder { path: path.to_owned(), from: None, id: Some(FileId { dev: id.dev, ino: id.ino }) })
}

/// Removes the folder of a step that has done its work. One that cannot be removed now is no failure of the step: it
/// stays an object of the session, which tries again at its end.
pub(super) fn drop_scratch(made: Object) -> Object {
    match &made {
        Object::Folder { path, .. } if tree::remove(path).is_ok() => Object::Nothing,
        _ => made,
    }
}
