//! Unpacked layers: one folder for each stack of layers, named by its chain id, whole or not there at all.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::cancel;
use crate::runtime::image::digest::{self, Hashed};
use crate::runtime::image::handle::{Lower, make_scratch, scratch_path, uses};
use crate::runtime::image::store::Store;
use crate::runtime::image::unpack::{Unpacked, unpack};
use crate::runtime::object::Object;
use crate::runtime::session::{Done, Intent, Progress, Session};
use crate::runtime::state::make_private;
use crate::runtime::units::show_bytes;
use crate::sys::{Errno, file, inode, record};
use flate2::read::MultiGzDecoder;
use oci_spec::image::{Descriptor, MediaType};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

const OP: &str = "image::unpack";

/// The folders of `layers` (bottom first), top first; unpacks what is missing.
pub(super) fn lowerdirs(session: &Session, layers: &[Lower]) -> Result<Vec<PathBuf>> {
    let mut dirs: Vec<PathBuf> = Vec::new();
    // What the unpacked form of a layer depends on: the layers of the store below it, never a folder.
    let (mut diff_ids, mut below): (Vec<&str>, Vec<PathBuf>) = (Vec::new(), Vec::new());
    for layer in layers {
        let dir = match layer {
            Lower::Dir(path) => path.clone(),
            Lower::Stored { diff_id, descriptor } => {
                diff_ids.push(diff_id);
                let chain = digest::chain_id(&diff_ids).unwrap_or_default();
                let hex = digest::hex(&chain)
                    .ok_or_else(|| Error::new(ErrorKind::Corrupt, OP, "not a diff id").subject(diff_id))?;
                let dir = stored(session, hex, diff_id, descriptor, &below)?;
                below.insert(0, dir.clone());
                dir
            }
        };
        dirs.insert(0, dir);
    }
    if dirs.is_empty() {
        dirs.push((*session.fact("image empty", || empty_folder(session))?).clone());
    }
    Ok(dirs)
}

fn empty_folder(session: &Session) -> Result<PathBuf> {
    let path = scratch_path(session, "empty")?;
    let intent = Intent {
        op: OP,
        text: "make an empty folder as the layer of an empty image".into(),
        claim: Object::Folder { path: path.clone(), from: None, id: None },
    };
    let (_, path) = session.step(intent, |progress| {
        let object = make_scratch(session, &path, OP)?;
        progress.made(object.clone())?;
        let fail = || format!("cannot open {} to others", path.display());
        let fd = File::open(&path).context(OP, fail())?;
        inode::set_perm(&fd, 0o755).context(OP, fail())?;
        Ok(Done { effect: format!("folder {}", path.display()), value: path, object })
    })?;
    Ok(path)
}

fn stored(
    session: &Session,
    hex: &str,
    diff_id: &str,
    descriptor: &Descriptor,
    lowers: &[PathBuf],
) -> Result<PathBuf> {
    let dir = session.dirs().layers().join(hex);
    if !dir.is_dir() {
        let temp = scratch_path(session, "unpack")?;
        let intent = Intent {
            op: OP,
            text: format!("unpack the layer {} to {}", descriptor.digest(), dir.display()),
            claim: Object::Folder { path: temp.clone(), from: None, id: None },
        };
        session.step(intent, |progress| {
            let job = Job { session, temp: &temp, dir: &dir, diff_id, descriptor, lowers };
            job.run(progress)
        })?;
    }
    uses(session)?.hold(&dir, OP)?;
    Ok(dir)
}

struct Job<'a> {
    session: &'a Session,
    temp: &'a Path,
    dir: &'a Path,
    diff_id: &'a str,
    descriptor: &'a Descriptor,
    lowers: &'a [PathBuf],
}

impl Job<'_> {
    fn run(&self, progress: &Progress<'_>) -> Result<Done<()>> {
        progress.made(make_scratch(self.session, self.temp, OP)?)?;
        // The blob stays open from here on: the store may change meanwhile.
        let blob = match Store::read(self.session.dirs(), OP)? {
            Some(store) => store.open_blob(self.descriptor)?,
            None => return Err(Error::new(ErrorKind::NotFound, OP, "there is no image store")),
        };
        let started = record::clock();
        let unpacked = record::paused(|| self.extract(blob))?;
        let Unpacked { members, bytes } = unpacked;
        let text = || format!("unpack {members} members, {}", show_bytes(bytes));
        record::note(text, Ok("0".into()), started);
        make_private(&self.session.dirs().layers())?;
        match file::rename_new(self.temp, self.dir) {
            // Another program was faster; this copy goes with the step.
            Err(error) if error.errno() == Errno::EEXIST => {
                crate::runtime::fs::tree::remove(self.temp)
                    .context(OP, format!("cannot remove {}", self.temp.display()))?;
            }
            other => other.context(OP, format!("cannot move the layer to {}", self.dir.display()))?,
        }
        let effect = format!("{members} members, {} in {}", show_bytes(bytes), self.dir.display());
        // A cache of the store from here on: it stays while an image needs it.
        Ok(Done { value: (), object: Object::Nothing, effect })
    }

    fn extract(&self, blob: File) -> Result<Unpacked> {
        let blob = BufReader::with_capacity(1 << 17, Hashed::new(blob));
        match self.descriptor.media_type() {
            MediaType::ImageLayerGzip | MediaType::ImageLayerNonDistributableGzip => {
                let stream = Hashed::new(MultiGzDecoder::new(blob));
                self.verified(stream, |gzip| gzip.into_inner())
            }
            MediaType::ImageLayer | MediaType::ImageLayerNonDistributable => {
                self.verified(Hashed::new(blob), |blob| blob)
            }
            MediaType::Other(name) if name == "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
                let stream = Hashed::new(MultiGzDecoder::new(blob));
                self.verified(stream, |gzip| gzip.into_inner())
            }
            other => Err(Error::new(
                ErrorKind::Unsupported,
                OP,
                format!("layers of the type {other} are not supported"),
            )
            .subject(format!("layer {}", self.descriptor.digest()))
            .hint("only tar and gzip are: convert the image first")),
        }
    }

    /// Unpacks `stream`, then reads both streams to their ends: what follows the archive counts for the digests too.
    fn verified<R: Read>(
        &self,
        stream: Hashed<R>,
        inner: impl FnOnce(R) -> BufReader<Hashed<File>>,
    ) -> Result<Unpacked> {
        let name = self.descriptor.digest().to_string();
        let (mut stream, unpacked) = unpack(stream, self.temp, self.lowers, &name, OP)?;
        self.drain(&mut stream)?;
        let (stream, diff_id, _) = stream.finish();
        let mut blob = inner(stream);
        self.drain(&mut blob)?;
        let (_, digest, _) = blob.into_inner().finish();
        let wrong = |what: &str, found: &str, expected: &str| {
            Error::new(ErrorKind::Corrupt, OP, format!("its {what} is {found}, not {expected}"))
                .subject(format!("layer {name}"))
        };
        if digest != name {
            return Err(wrong("digest", &digest, &name));
        }
        if diff_id != self.diff_id {
            return Err(wrong("diff id", &diff_id, self.diff_id));
        }
        Ok(unpacked)
    }

    fn drain(&self, from: &mut impl Read) -> Result<()> {
        let mut buf = vec![0; 1 << 16];
        loop {
            cancel::check(OP)?;
            let len = from.read(&mut buf).map_err(|source| {
                Error::io(OP, "cannot read the archive to its end", source)
                    .subject(format!("layer {}", self.descriptor.digest()))
            })?;
            if len == 0 {
                return Ok(());
            }
        }
    }
}
