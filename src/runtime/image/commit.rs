//! Committing: folders become layers, layers and a configuration become an image of the store.
//!
//! All is written to a folder of the session first. Only when it is whole is it moved into the store, blobs before the
//! index; a commit that fails or is killed leaves the store as it was.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::fs::overlay::Overlay;
use crate::runtime::image::catalog::tag;
use crate::runtime::image::config::{self, Changes};
use crate::runtime::image::digest::{self, Hashed};
use crate::runtime::image::handle::{Image, Lower, drop_scratch, hold, make_scratch, scratch_path, uses};
use crate::runtime::image::layers;
use crate::runtime::image::pack::{self, Packed};
use crate::runtime::image::prune::prune_locked;
use crate::runtime::image::reference::Reference;
use crate::runtime::image::store::{Found, Store, encode, hex_of, stage};
use crate::runtime::object::Object;
use crate::runtime::session::{Done, HandleId, Intent, Progress, Session};
use crate::runtime::units::show_bytes;
use crate::sys::{inode, record};
use flate2::Compression as Level;
use flate2::write::GzEncoder;
use oci_spec::image::{
    Descriptor, Digest, History, ImageConfiguration, ImageManifestBuilder, MediaType, SCHEMA_VERSION,
};
use std::any::Any;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;

const OP: &str = "image::commit";

/// How new layers are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip with a level from 1 (fast) to 9 (small).
    Gzip(u32),
}

impl Default for Compression {
    fn default() -> Self {
        // Nearly as small as 6, in two thirds of the time.
        Self::Gzip(3)
    }
}

/// What to commit.
#[derive(Clone, Debug)]
pub struct CommitSpec {
    /// The layers below, bottom first. Layers of the store are taken over; a folder becomes a layer of its own.
    pub lowers: Vec<Lower>,
    /// The folder with the changes: the upper folder of an overlay. It becomes one layer, on top.
    pub upper: Option<PathBuf>,
    /// The name and tag of the new image. An image that has it loses it.
    pub reference: String,
    /// The configuration that the changes start from.
    pub base: Option<ImageConfiguration>,
    /// What is set in the configuration.
    pub changes: Changes,
    /// How new layers are compressed.
    pub compression: Compression,
    /// Makes one layer of all.
    pub squash: bool,
    /// Seconds since 1970: no file and no document is younger, so that the same content gives the same digest.
    pub source_date_epoch: Option<i64>,
}

impl CommitSpec {
    /// Commits the folder `upper` on top of `base`.
    #[must_use]
    pub fn new(base: &Image, upper: impl Into<PathBuf>, reference: impl Into<String>) -> Self {
        Self {
            lowers: base.layers().to_vec(),
            upper: Some(upper.into()),
            reference: reference.into(),
            base: Some(base.config().clone()),
            changes: Changes::default(),
            compression: Compression::default(),
            squash: false,
            source_date_epoch: None,
        }
    }
}

impl CommitSpec {
    /// Commits an overlay: its layers below, those of its image where it has one, and its writable layer on top.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an overlay without a writable layer.
    pub fn of_overlay(overlay: &Overlay, reference: impl Into<String>) -> Result<Self> {
        let Some(upper) = overlay.upperdir.clone() else {
            let what = "the overlay has no writable layer, so there is nothing to commit";
            return Err(Error::new(ErrorKind::InvalidArgument, OP, what).subject(overlay.merged.display()));
        };
        let origin: Option<Rc<dyn Any>> = overlay.origin.clone().map(|origin| -> Rc<dyn Any> { origin });
        if let Some(image) = origin.and_then(|origin| origin.downcast::<Image>().ok()) {
            return Ok(Self::new(&image, upper, reference));
        }
        Ok(Self {
            lowers: overlay.lowerdir.iter().rev().cloned().map(Lower::Dir).collect(),
            upper: Some(upper),
            reference: reference.into(),
            base: None,
            changes: Changes::default(),
            compression: Compression::default(),
            squash: false,
            source_date_epoch: None,
        })
    }
}

/// Writes the image that `spec` describes to the store.
///
/// The image stays when the session ends; nothing takes a successful commit back but `image::remove`.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for a malformed name or value, and for a file whose name means something else in a
/// layer; [`ErrorKind::NotFound`] when a folder or a layer is missing; [`ErrorKind::Unsupported`] for an upper folder
/// with redirects, and for a store of a newer version; [`ErrorKind::Busy`] when a file shrinks while it is read.
pub fn commit(session: &Session, spec: &CommitSpec) -> Result<(HandleId, Rc<Image>)> {
    let reference = Reference::parse(&spec.reference, OP)?;
    spec.changes.check(OP)?;
    if let Compression::Gzip(level) = spec.compression
        && !(1..=9).contains(&level)
    {
        let what = format!("the gzip level {level} is not between 1 and 9");
        return Err(Error::new(ErrorKind::InvalidArgument, OP, what).subject("compression"));
    }
    for path in spec.upper.iter().chain(spec.lowers.iter().filter_map(|lower| match lower {
        Lower::Dir(path) => Some(path),
        Lower::Stored { .. } => None,
    })) {
        pack::check_folder(path, OP)?;
    }
    // Unpacked before the step: each is a step of its own, and stays.
    let squashed = if spec.squash { layers::lowerdirs(session, &spec.lowers)? } else { Vec::new() };
    let staging = scratch_path(session, "commit")?;
    let upper = spec.upper.as_ref().map_or_else(|| "nothing".into(), |path| path.display().to_string());
    let intent = Intent {
        op: OP,
        text: format!("commit {upper} on {} layers as {reference}", spec.lowers.len()),
        claim: Object::Folder { path: staging.clone(), from: None, id: None },
    };
    let job = Job { session, spec, reference: &reference, staging: &staging, squashed };
    let (_, image) = session.step(intent, |progress| job.run(progress))?;
    Ok(session.adopt(image, Vec::new()))
}

struct Job<'a> {
    session: &'a Session,
    spec: &'a CommitSpec,
    reference: &'a Reference,
    staging: &'a Path,
    squashed: Vec<PathBuf>,
}

/// A layer of the new image.
struct Layer {
    diff_id: String,
    descriptor: Descriptor,
    /// The file to move into the store, for a new one.
    staged: Option<PathBuf>,
}

impl Job<'_> {
    fn run(&self, progress: &Progress<'_>) -> Result<Done<Image>> {
        let made = make_scratch(self.session, self.staging, OP)?;
        progress.made(made.clone())?;
        let layers = self.layers()?;
        let config = self.config(&layers);
        let found = self.documents(&layers, config)?;
        self.install(&layers, &found)?;
        let image = Image::stored(Some(self.reference.to_string()), found);
        let fresh = layers.iter().filter(|layer| layer.staged.is_some()).count();
        let effect = format!(
            "{} is {}, {} layers ({fresh} new), {}",
            self.reference,
            image.digest().unwrap_or_default(),
            layers.len(),
            show_bytes(image.size())
        );
        Ok(Done { value: image, object: drop_scratch(made), effect })
    }

    fn layers(&self) -> Result<Vec<Layer>> {
        let spec = self.spec;
        if spec.squash {
            let stack: Vec<&Path> = spec.upper.iter().chain(&self.squashed).map(PathBuf::as_path).collect();
            return Ok(vec![self.pack(&stack, 0)?]);
        }
        let mut layers = Vec::new();
        for lower in &spec.lowers {
            layers.push(match lower {
                Lower::Stored { diff_id, descriptor } => {
                    Layer { diff_id: diff_id.clone(), descriptor: (**descriptor).clone(), staged: None }
                }
                Lower::Dir(path) => self.pack(&[path], layers.len())?,
            });
        }
        if let Some(upper) = &spec.upper {
            layers.push(self.pack(&[upper], layers.len())?);
        }
        Ok(layers)
    }

    /// Writes a folder as a layer: archive, digest, compression, digest, file, in one pass.
    fn pack(&self, stack: &[&Path], number: usize) -> Result<Layer> {
        let path = self.staging.join(format!("layer-{number}"));
        let fail = || format!("cannot write {}", path.display());
        let started = record::clock();
        let file = Hashed::new(File::create(&path).context(OP, fail())?);
        let options = pack::Options { op: OP, clamp: self.spec.source_date_epoch };
        let out = match self.spec.compression {
            Compression::None => Out::Plain(file),
            Compression::Gzip(level) => Out::Gzip(Box::new(GzEncoder::new(file, Level::new(level)))),
        };
        let (out, packed) = record::paused(|| pack::pack(stack, options, Hashed::new(out)))?;
        let (out, diff_id, _) = out.finish();
        let (media_type, file) = match out {
            Out::Plain(file) => (MediaType::ImageLayer, file),
            Out::Gzip(gzip) => (MediaType::ImageLayerGzip, gzip.finish().context(OP, fail())?),
        };
        let (file, digest, size) = file.finish();
        let Packed { members, bytes, whiteouts, sockets } = packed;
        let summary = || {
            let bytes = show_bytes(bytes);
            format!("pack {members} members, {bytes}, {whiteouts} whiteouts, {sockets} sockets left out")
        };
        record::note(summary, Ok(show_bytes(size)), started);
        inode::sync(&file).context(OP, fail())?;
        let descriptor = Descriptor::new(media_type, size, parsed(&digest)?);
        Ok(Layer { diff_id, descriptor, staged: Some(path) })
    }

    fn config(&self, layers: &[Layer]) -> ImageConfiguration {
        let spec = self.spec;
        let base = spec.base.clone().unwrap_or_else(config::empty);
        let mut image = spec.changes.apply(&base);
        let created = spec.changes.created.or(spec.source_date_epoch).unwrap_or_else(config::now);
        let created = config::rfc3339(created);
        let entry = |by: &str, comment: Option<String>| {
            let mut entry = History::default();
            entry.set_created(Some(created.clone()));
            entry.set_created_by(Some(by.to_owned()));
            entry.set_author(spec.changes.author.clone());
            entry.set_comment(comment);
            entry
        };
        let comment = spec.changes.comment.clone();
        let mut history = Vec::new();
        if spec.squash {
            history.push(entry("cshell image::commit, squashed", comment));
        } else {
            let mut known = config::base_history(&base).into_iter().peekable();
            for lower in &spec.lowers {
                match lower {
                    Lower::Dir(_) => history.push(entry("cshell image::commit, from a folder", None)),
                    // One that has a layer, with what came before it.
                    Lower::Stored { .. } => loop {
                        let next = known.next().unwrap_or_default();
                        let layer = next.empty_layer() != Some(true);
                        history.push(next);
                        if layer {
                            break;
                        }
                    },
                }
            }
            history.extend(known.filter(|entry| entry.empty_layer() == Some(true)));
            let mut last = entry("cshell image::commit", comment);
            if spec.upper.is_none() {
                last.set_empty_layer(Some(true));
            }
            history.push(last);
        }
        image.set_history(Some(history));
        image.rootfs_mut().set_diff_ids(layers.iter().map(|layer| layer.diff_id.clone()).collect());
        image.set_created(Some(created));
        image
    }

    /// Stages configuration and manifest.
    fn documents(&self, layers: &[Layer], config: ImageConfiguration) -> Result<Found> {
        let text = encode(&config, OP)?;
        stage(self.staging, "config", &text, OP)?;
        let manifest = ImageManifestBuilder::default()
            .schema_version(SCHEMA_VERSION)
            .media_type(MediaType::ImageManifest)
            .config(described(MediaType::ImageConfig, &text)?)
            .layers(layers.iter().map(|layer| layer.descriptor.clone()).collect::<Vec<_>>())
            .build()
            .map_err(|source| Error::new(ErrorKind::Internal, OP, "incomplete manifest").caused_by(source))?;
        let text = encode(&manifest, OP)?;
        stage(self.staging, "manifest", &text, OP)?;
        Ok(Found { descriptor: described(MediaType::ImageManifest, &text)?, manifest, config })
    }

    /// Moves everything into the store; on failure takes back what was moved.
    fn install(&self, layers: &[Layer], found: &Found) -> Result<()> {
        let store = Store::create(self.session.dirs(), self.staging, OP)?;
        let installed = self.install_locked(&store, layers, found);
        if installed.is_err() {
            uses(self.session)?.release(&store.blob(&hex_of(&found.descriptor, OP)?));
        }
        // After a failure, what the index does not name is what was moved. After a success, an image may have lost its
        // name to the new one. What cannot be removed now goes with the next change of the store.
        if let Ok(pruned) = prune_locked(&store, OP) {
            uses(self.session)?.left(pruned);
        }
        installed
    }

    fn install_locked(&self, store: &Store, layers: &[Layer], found: &Found) -> Result<()> {
        for layer in layers {
            match &layer.staged {
                Some(staged) => store.adopt(staged, &hex_of(&layer.descriptor, OP)?)?,
                None => drop(store.open_blob(&layer.descriptor)?),
            }
        }
        store.adopt(&self.staging.join("config"), &hex_of(found.manifest.config(), OP)?)?;
        store.adopt(&self.staging.join("manifest"), &hex_of(&found.descriptor, OP)?)?;
        store.sync_blobs()?;
        hold(self.session, store, &Image::stored(None, found.clone()), OP)?;
        let mut index = store.index()?;
        tag(&mut index, found.descriptor.clone(), &self.reference.to_string());
        store.set_index(&index, self.staging)
    }
}

fn parsed(digest: &str) -> Result<Digest> {
    digest.parse().map_err(|source| Error::new(ErrorKind::Internal, OP, "not a digest").caused_by(source))
}

fn described(media_type: MediaType, text: &[u8]) -> Result<Descriptor> {
    let size = u64::try_from(text.len())
        .map_err(|source| Error::new(ErrorKind::Internal, OP, "not a size").caused_by(source))?;
    Ok(Descriptor::new(media_type, size, parsed(&digest::of(text))?))
}

/// Where an archive goes.
enum Out {
    Plain(Hashed<File>),
    Gzip(Box<GzEncoder<Hashed<File>>>),
}

impl Write for Out {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(data),
            Self::Gzip(out) => out.write(data),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Gzip(out) => out.flush(),
        }
    }
}
