//! The image store: an OCI image layout (image-spec, image-layout.md) that is only ever changed whole.
//!
//! Everything that changes is staged in a folder of the session, written through to the disk and renamed, blobs before
//! the index that names them. The folder's lock keeps programs apart. What a killed program left (blobs that no index
//! names, layers half removed) is found by what is *not* reachable, and goes at the next change: see `prune`.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::cancel;
use crate::runtime::image::digest;
use crate::runtime::state::{StateDirs, make_private};
use crate::sys::lock::Lock;
use crate::sys::{Errno, inode};
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The annotation that names an image in the index.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The largest manifest, configuration or index that is read (as other tools have it).
pub(super) const DOCUMENT_MAX: u64 = 4 << 20;
const LAYOUT: &str = "oci-layout";
/// The file that names the images of a layout.
pub(super) const INDEX: &str = "index.json";
const VERSION: (u32, u32, u32) = (1, 0, 0);

/// The store, locked while this value lives.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    layers: PathBuf,
    op: &'static str,
    _lock: Lock,
}

/// A manifest with what it names.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) descriptor: Descriptor,
    pub(super) manifest: ImageManifest,
    pub(super) config: ImageConfiguration,
}

/// The digest of a descriptor, in hexadecimal digits.
pub(super) fn hex_of(descriptor: &Descriptor, op: &'static str) -> Result<String> {
    let digest = descriptor.digest().to_string();
    let hex = digest::hex(&digest).map(str::to_owned);
    hex.ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, op, "only sha256 digests are supported").subject(digest)
    })
}

/// The name of a manifest in the index.
pub(super) fn ref_name(descriptor: &Descriptor) -> Option<&str> {
    descriptor.annotations().as_ref()?.get(REF_NAME).map(String::as_str)
}

impl Store {
    /// Opens the store to read it; nothing when there is none.
    pub(super) fn read(dirs: &StateDirs, op: &'static str) -> Result<Option<Self>> {
        let path = dirs.images();
        if !path.join(LAYOUT).exists() {
            return Ok(None);
        }
        let store = Self::lock(dirs, op, true)?;
        store.check_version()?;
        Ok(Some(store))
    }

    /// Opens the store to change it; nothing when there is none.
    pub(super) fn change(dirs: &StateDirs, op: &'static str) -> Result<Option<Self>> {
        if !dirs.images().join(LAYOUT).exists() {
            return Ok(None);
        }
        let store = Self::lock(dirs, op, false)?;
        store.check_version()?;
        Ok(Some(store))
    }

    /// Opens the store to change it, and makes it if there is none.
    pub(super) fn create(dirs: &StateDirs, staging: &Path, op: &'static str) -> Result<Self> {
        make_private(&dirs.root)?;
        make_private(&dirs.images())?;
        let store = Self::lock(dirs, op, false)?;
        if !store.path.join(LAYOUT).exists() {
            init_layout(&store.path, staging, op)?;
        }
        store.check_version()?;
        Ok(store)
    }

    fn lock(dirs: &StateDirs, op: &'static str, shared: bool) -> Result<Self> {
        let path = dirs.images();
        loop {
            let folder =
                File::open(&path).context(op, format!("cannot open the image store {}", path.display()))?;
            match Lock::take(folder, shared) {
                Err(error) if error.errno() == Errno::EINTR => cancel::check(op)?,
                other => {
                    let lock =
                        other.context(op, format!("cannot lock the image store {}", path.display()))?;
                    return Ok(Self { path, layers: dirs.layers(), op, _lock: lock });
                }
            }
        }
    }

    /// The folder of the store.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of unpacked layers.
    pub(super) fn layers(&self) -> &Path {
        &self.layers
    }

    fn check_version(&self) -> Result<()> {
        let path = self.path.join(LAYOUT);
        let fail = |kind, what: String| Error::new(kind, self.op, what).subject(path.display()).path(&path);
        let text = self.document(&path)?;
        let value: serde_json::Value = serde_json::from_slice(&text)
            .map_err(|source| fail(ErrorKind::Corrupt, "it is not JSON".into()).caused_by(source))?;
        let version = value["imageLayoutVersion"].as_str().unwrap_or_default();
        let mut numbers = version.split('.').map(|part| part.parse::<u32>().ok());
        let (Some(Some(major)), Some(Some(minor)), Some(Some(patch)), None) =
            (numbers.next(), numbers.next(), numbers.next(), numbers.next())
        else {
            return Err(fail(ErrorKind::Corrupt, "it has no `imageLayoutVersion` such as \"1.0.0\"".into()));
        };
        if (major, minor, patch) > VERSION {
            let what = format!("the image store has the layout version {version}; this program knows 1.0.0");
            return Err(fail(ErrorKind::Unsupported, what).hint("use the newer program that wrote it"));
        }
        Ok(())
    }

    fn document(&self, path: &Path) -> Result<Vec<u8>> {
        let file = File::open(path).context(self.op, format!("cannot read {}", path.display()))?;
        let mut text = Vec::new();
        let limit = DOCUMENT_MAX + 1;
        file.take(limit)
            .read_to_end(&mut text)
            .context(self.op, format!("cannot read {}", path.display()))?;
        if u64::try_from(text.len()).is_ok_and(|len| len < limit) {
            return Ok(text);
        }
        let what = format!("it has more than {DOCUMENT_MAX} bytes");
        Err(Error::new(ErrorKind::Corrupt, self.op, what).subject(path.display()).path(path))
    }

    /// The index.
    pub(super) fn index(&self) -> Result<ImageIndex> {
        let path = self.path.join(INDEX);
        if !path.exists() {
            return Ok(ImageIndex::default());
        }
        serde_json::from_slice(&self.document(&path)?).map_err(|source| {
            Error::new(ErrorKind::Corrupt, self.op, "the index of the image store is malformed")
                .subject(path.display())
                .path(&path)
                .caused_by(source)
        })
    }

    /// Replaces the index.
    pub(super) fn set_index(&self, index: &ImageIndex, staging: &Path) -> Result<()> {
        let text = encode(index, self.op)?;
        replace(staging, &self.path, INDEX, &text, self.op)
    }

    /// Where a blob is or would be.
    pub(super) fn blob(&self, hex: &str) -> PathBuf {
        self.path.join("blobs/sha256").join(hex)
    }

    /// Opens a blob, whose size must be the one that its descriptor says.
    pub(super) fn open_blob(&self, descriptor: &Descriptor) -> Result<File> {
        let hex = hex_of(descriptor, self.op)?;
        let path = self.blob(&hex);
        let file = File::open(&path).map_err(|source| {
            Error::io(self.op, "a blob of the image is missing from the store", source)
                .subject(format!("sha256:{hex}"))
                .path(&path)
                .hint("the image was removed or replaced meanwhile, or the store is damaged")
        })?;
        let size = file.metadata().context(self.op, format!("cannot read {}", path.display()))?.len();
        if size == descriptor.size() {
            return Ok(file);
        }
        let what = format!("the blob has {size} bytes; its descriptor says {}", descriptor.size());
        Err(Error::new(ErrorKind::Corrupt, self.op, what).subject(format!("sha256:{hex}")).path(path))
    }

    /// Reads a small blob and checks its digest.
    fn read_document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let hex = hex_of(descriptor, self.op)?;
        drop(self.open_blob(descriptor)?);
        let path = self.blob(&hex);
        let text = self.document(&path)?;
        if digest::of(&text) == format!("sha256:{hex}") {
            return Ok(text);
        }
        Err(Error::new(ErrorKind::Corrupt, self.op, "the content of the blob does not match its digest")
            .subject(format!("sha256:{hex}"))
            .path(path))
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, descriptor: &Descriptor, what: &str) -> Result<T> {
        serde_json::from_slice(&self.read_document(descriptor)?).map_err(|source| {
            Error::new(ErrorKind::Corrupt, self.op, format!("the {what} is malformed"))
                .subject(descriptor.digest())
                .caused_by(source)
        })
    }

    /// Reads the manifest that `descriptor` names, and its configuration.
    pub(super) fn load(&self, descriptor: &Descriptor) -> Result<Found> {
        if *descriptor.media_type() != MediaType::ImageManifest {
            let what = format!("it is of the type {}, not a single image", descriptor.media_type());
            return Err(Error::new(ErrorKind::Unsupported, self.op, what).subject(descriptor.digest()));
        }
        let manifest: ImageManifest = self.parse(descriptor, "manifest")?;
        let config: ImageConfiguration = self.parse(manifest.config(), "configuration")?;
        let (layers, diff_ids) = (manifest.layers().len(), config.rootfs().diff_ids().len());
        if layers != diff_ids || !config.rootfs().diff_ids().iter().all(|id| digest::hex(id).is_some()) {
            let what =
                format!("the manifest has {layers} layers; the configuration has {diff_ids} valid ones");
            return Err(Error::new(ErrorKind::Corrupt, self.op, what).subject(descriptor.digest()));
        }
        Ok(Found { descriptor: descriptor.clone(), manifest, config })
    }

    /// Reads the index that `descriptor` names: images for several platforms.
    pub(super) fn load_index(&self, descriptor: &Descriptor) -> Result<ImageIndex> {
        self.parse(descriptor, "index")
    }

    /// Moves a staged blob to its place.
    pub(super) fn adopt(&self, staged: &Path, hex: &str) -> Result<()> {
        adopt_blob(&self.path, staged, hex, self.op)
    }

    /// Writes the folder of blobs through to the disk: before an index names them.
    pub(super) fn sync_blobs(&self) -> Result<()> {
        sync_folder(&self.path.join("blobs/sha256"), self.op)
    }
}

/// Encodes a document so that the same value gives the same bytes: keys are sorted.
pub(super) fn encode(value: &impl serde::Serialize, op: &'static str) -> Result<Vec<u8>> {
    let fail = |source| Error::new(ErrorKind::Internal, op, "cannot encode a document").caused_by(source);
    let value = serde_json::to_value(value).map_err(fail)?;
    serde_json::to_vec(&sorted(value)).map_err(fail)
}

fn sorted(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<(String, Value)> = map.into_iter().map(|(k, v)| (k, sorted(v))).collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(pairs.into_iter().collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// Makes an empty layout in `folder`, piece by piece: a half made one is completed by the next call.
pub(super) fn init_layout(folder: &Path, staging: &Path, op: &'static str) -> Result<()> {
    make_private(&folder.join("blobs"))?;
    make_private(&folder.join("blobs/sha256"))?;
    let index = folder.join(INDEX);
    if !index.exists() {
        let mut empty = ImageIndex::default();
        empty.set_media_type(Some(MediaType::ImageIndex));
        replace(staging, folder, INDEX, &encode(&empty, op)?, op)?;
    }
    // Last: a folder with this file is a whole layout.
    replace(staging, folder, LAYOUT, br#"{"imageLayoutVersion":"1.0.0"}"#, op)
}

/// Moves a staged blob into the layout `folder`.
///
/// A small blob that is there and whole stays the file that it is, because sessions hold locks on manifests. Any other
/// is replaced: that mends a damaged one.
pub(super) fn adopt_blob(folder: &Path, staged: &Path, hex: &str, op: &'static str) -> Result<()> {
    let to = folder.join("blobs/sha256").join(hex);
    let small = std::fs::symlink_metadata(&to).is_ok_and(|data| data.is_file() && data.len() <= DOCUMENT_MAX);
    if small && std::fs::read(&to).is_ok_and(|data| digest::of(&data) == format!("sha256:{hex}")) {
        return Ok(());
    }
    inode::rename_over(staged, &to).context(op, format!("cannot store the blob {}", to.display()))
}

/// Writes `data` as a new file `name` in `staging`, down to the disk.
pub(super) fn stage(staging: &Path, name: &str, data: &[u8], op: &'static str) -> Result<PathBuf> {
    use std::io::Write;
    let path = staging.join(name);
    let fail = || format!("cannot write {}", path.display());
    let mut file = File::create(&path).context(op, fail())?;
    file.write_all(data).context(op, fail())?;
    inode::sync(&file).context(op, fail())?;
    Ok(path)
}

/// Replaces `name` in `folder` by `data`, whole.
fn replace(staging: &Path, folder: &Path, name: &str, data: &[u8], op: &'static str) -> Result<()> {
    let staged = stage(staging, name, data, op)?;
    let to = folder.join(name);
    inode::rename_over(&staged, &to).context(op, format!("cannot replace {}", to.display()))?;
    sync_folder(folder, op)
}

/// Writes the names in a folder through to the disk.
pub(super) fn sync_folder(folder: &Path, op: &'static str) -> Result<()> {
    let fail = || format!("cannot sync {}", folder.display());
    let file = File::open(folder).context(op, fail())?;
    inode::sync(&file).context(op, fail())
}
