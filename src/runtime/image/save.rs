//! Saving one image as an OCI layout of its own, for other tools and other machines.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::cancel;
use crate::runtime::image::catalog::tag;
use crate::runtime::image::digest::{self, Hashed};
use crate::runtime::image::reference::Wanted;
use crate::runtime::image::store::{
    Found, Store, adopt_blob, encode, hex_of, init_layout, stage, sync_folder,
};
use crate::runtime::image::{catalog, store};
use crate::runtime::object::{FileId, Object};
use crate::runtime::session::{Done, Intent, Progress, Session};
use crate::runtime::units::show_bytes;
use crate::sys::{file, inode, record};
use oci_spec::image::{Descriptor, ImageIndex};
use rustix::fs::CWD;
use std::fs::File;
use std::path::{Path, PathBuf};

const OP: &str = "image::save";

/// What was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The folder.
    pub path: PathBuf,
    /// The name of the image there.
    pub tag: String,
    /// The digest of its manifest.
    pub digest: String,
    /// The size of its blobs in bytes.
    pub size: u64,
}

/// Writes the image `reference` as an OCI layout to the folder `path`, which must not exist or be empty, under the name
/// `name` (by default the tag of the reference, or `latest`). Every blob is checked against its digest on the way.
///
/// The folder is the user's: it stays when the session ends. A save that fails leaves nothing.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] when the folder has anything in it; [`ErrorKind::Corrupt`] for a damaged blob; else as
/// [`image::from`](crate::runtime::image::from()).
pub fn save(session: &Session, reference: &str, path: &Path, name: Option<&str>) -> Result<Saved> {
    let wanted = Wanted::parse(reference, OP)?;
    let name = match (name, &wanted) {
        (Some(name), _) => name.to_owned(),
        (None, Wanted::Tag(reference)) => reference.tag().to_owned(),
        (None, Wanted::Digest(_)) => "latest".into(),
    };
    check_name(&name)?;
    let used = path.symlink_metadata().is_ok()
        && !std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    if used {
        return Err(Error::new(
            ErrorKind::AlreadyExists,
            OP,
            "there is something already; name a new folder",
        )
        .subject(path.display())
        .path(path));
    }
    let target = std::path::absolute(path).context(OP, "cannot find the current folder")?;
    let (Some(parent), Some(last)) = (target.parent(), target.file_name()) else {
        return Err(Error::new(ErrorKind::InvalidArgument, OP, "it is not a folder that can be made")
            .subject(path.display()));
    };
    // Beside the target, so that it can be renamed to it; the name bears the session's token.
    let temp = parent.join(format!(".{}.{}", last.display(), session.token()));
    let intent = Intent {
        op: OP,
        text: format!("save the image {wanted} to {}", path.display()),
        claim: Object::Folder { path: temp.clone(), from: None, id: None },
    };
    let job = Job { session, wanted: &wanted, name, temp: &temp, target: &target };
    let (_, saved) = session.step(intent, |progress| job.run(progress))?;
    Ok(saved)
}

/// The names that the image specification allows in an index.
fn check_name(name: &str) -> Result<()> {
    let part = |c: char| c.is_ascii_alphanumeric();
    let allowed = name.chars().all(|c| part(c) || "-._:@/+".contains(c));
    if allowed && name.starts_with(part) && name.ends_with(part) && name.len() <= 255 {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidArgument,
        OP,
        "it cannot name an image in a layout: write a tag such as `1`",
    )
    .subject(format!("name {name:?}")))
}

struct Job<'a> {
    session: &'a Session,
    wanted: &'a Wanted,
    name: String,
    temp: &'a Path,
    target: &'a Path,
}

impl Job<'_> {
    fn run(&self, progress: &Progress<'_>) -> Result<Done<Saved>> {
        let fail = |what: &str, path: &Path| format!("cannot {what} {}", path.display());
        file::mkdirat(CWD, self.temp, 0o755).context(OP, fail("make", self.temp))?;
        let id = file::identify(CWD, self.temp).context(OP, fail("identify", self.temp))?;
        let id = Some(FileId { dev: id.dev, ino: id.ino });
        progress.made(Object::Folder { path: self.temp.to_owned(), from: None, id })?;
        let Some(store) = Store::read(self.session.dirs(), OP)? else {
            return Err(Error::new(ErrorKind::NotFound, OP, "there is no such image in the store")
                .subject(format!("image {}", self.wanted)));
        };
        let found = catalog::find(&store, self.wanted, OP)?;
        // Small files are staged inside, and renamed to where they belong.
        init_layout(self.temp, self.temp, OP)?;
        for folder in ["blobs", "blobs/sha256"] {
            let folder = self.temp.join(folder);
            inode::set_perm_at(CWD, &folder, 0o755).context(OP, fail("open to others", &folder))?;
        }
        let started = record::clock();
        let size = record::paused(|| self.blobs(&store, &found))?;
        record::note(|| format!("copy {}", show_bytes(size)), Ok("0".into()), started);
        let mut index = ImageIndex::default();
        tag(&mut index, found.descriptor.clone(), &self.name);
        let staged = stage(self.temp, store::INDEX, &encode(&index, OP)?, OP)?;
        sync_folder(staged.parent().unwrap_or(self.temp), OP)?;
        inode::rename_over(self.temp, self.target).context(OP, fail("make", self.target))?;
        let digest = found.descriptor.digest().to_string();
        let effect = format!("{digest} as {} in {}", self.name, self.target.display());
        let value = Saved { path: self.target.to_owned(), tag: self.name.clone(), digest, size };
        Ok(Done { value, object: Object::Nothing, effect })
    }

    fn blobs(&self, store: &Store, found: &Found) -> Result<u64> {
        let mut size = 0;
        let blobs = [&found.descriptor, found.manifest.config()];
        for descriptor in blobs.into_iter().chain(found.manifest.layers()) {
            cancel::check(OP)?;
            self.blob(store, descriptor)?;
            size += descriptor.size();
        }
        Ok(size)
    }

    fn blob(&self, store: &Store, descriptor: &Descriptor) -> Result<()> {
        let hex = hex_of(descriptor, OP)?;
        let mut from = store.open_blob(descriptor)?;
        let staged = self.temp.join(format!("blob-{hex}"));
        let fail = || format!("cannot write {}", staged.display());
        let mut out = Hashed::new(File::create(&staged).context(OP, fail())?);
        std::io::copy(&mut from, &mut out).context(OP, fail())?;
        let (out, digest, _) = out.finish();
        inode::sync(&out).context(OP, fail())?;
        if digest::hex(&digest) != Some(hex.as_str()) {
            return Err(Error::new(
                ErrorKind::Corrupt,
                OP,
                "the content of the blob does not match its digest",
            )
            .subject(format!("sha256:{hex}")));
        }
        adopt_blob(self.temp, &staged, &hex, OP)
    }
}
