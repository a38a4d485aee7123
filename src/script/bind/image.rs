//! `image`: root file systems made of this machine, commits, and the store.

use crate::error::Result;
use crate::runtime::fs::overlay::Overlay;
use crate::runtime::image::{self, Changes, CommitSpec, Compression, HostSpec, Image};
use crate::runtime::session::HandleId;
use crate::script::call::Call;
use crate::script::convert::{Int, OrEmpty};
use crate::script::handle::{Kind, Open};
use crate::script::native::natives;
use crate::script::options::{FromOptions, Key, Options, Opts};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

natives! {
    /// Images: bases made of this machine's own binaries, commits of overlays, and the store, an OCI image layout.
    pub const IMAGE = "image";

    /// Makes a base of this machine's own binaries, with the libraries and interpreters they need.
    ///
    /// `binaries` are names in PATH or absolute paths. ELF dependencies, the loader and `#!` lines are followed; what a
    /// program opens while it runs (plug-ins, an interpreter's library) is added with `include`. The base also has
    /// `/proc /sys /dev /tmp /run /root /etc` and a minimal user database. It goes when the script ends.
    ///
    /// Errors: `not_found` for a binary or path that does not exist. Source: ld.so(8), execve(2).
    fn "image::host"(binaries: Vec<String>, options: OrEmpty<Include>) -> (HandleId, Rc<Image>) = host;
    /// An image without layers, to start from nothing.
    fn "image::scratch"() -> (HandleId, Rc<Image>) = scratch;
    /// The image of the store with this name and tag, or this digest.
    ///
    /// Errors: `not_found`, with near names; `invalid_argument` for a malformed name.
    fn "image::from"(reference: String) -> (HandleId, Rc<Image>) = from;
    /// Writes an overlay to the store as the image `reference`: its layers below, and its writable layer as one on top,
    /// with whiteouts for what was deleted.
    ///
    /// The image outlives the script; `image::remove` takes it away. Errors: `invalid_argument` for a malformed name or a
    /// read-only overlay, `unsupported` for a layer with redirects. Source: OCI image-spec, layer.md and config.md.
    fn "image::commit"(overlay: Open<Overlay>, reference: String, options: OrEmpty<Commit>) -> (HandleId, Rc<Image>) = commit;
    /// The images of the store: a list of maps `#{reference, digest, size, layers, created}`.
    fn "image::list"() -> Vec<serde_json::Value> = list;
    /// All that the store knows of an image: manifest and configuration.
    fn "image::inspect"(reference: String) -> serde_json::Value = inspect;
    /// Takes a name away, and with the last one the blobs and layers that nothing else uses: `#{untagged, blobs, bytes, layers}`.
    fn "image::remove"(reference: String) -> serde_json::Value = remove;
    /// Removes blobs and unpacked layers that no image uses: `#{blobs, bytes, layers}`.
    fn "image::prune"() -> serde_json::Value = prune;
    /// Writes an image to an OCI layout of its own, a folder: for `skopeo`, `umoci` and others.
    ///
    /// Errors: `already_exists`. Returns `#{path, tag, digest, size}`.
    fn "image::save"(reference: String, path: PathBuf, options: OrEmpty<Save>) -> serde_json::Value = save;

    /// The name and tag, or `()`.
    get "Image.reference"(image: Open<Image>) -> Option<String> = reference_of;
    /// The name and tag, or `()`: the same as `reference`.
    get "Image.tag"(image: Open<Image>) -> Option<String> = reference_of;
    /// The digest of the manifest, `sha256:…`; `()` for an image that is not in the store.
    get "Image.digest"(image: Open<Image>) -> Option<String> = digest;
    /// How many bytes it takes in the store, or on disk.
    get "Image.size"(image: Open<Image>) -> u64 = size;
    /// How many layers it has.
    get "Image.layers"(image: Open<Image>) -> usize = layers;
    /// The command that it runs: entrypoint, then cmd.
    get "Image.args"(image: Open<Image>) -> Vec<String> = args;
    /// Its folders, topmost first, unpacked where they are not yet.
    method "Image.lowerdirs"(image: Open<Image>) -> Vec<PathBuf> = lowerdirs;
}

impl Kind for Image {
    const NAME: &'static str = "Image";
    const DOC: &'static str = "An image in the store, under the reference that it was found by.";
}

const HOST: Options = Options {
    of: "image::host",
    open: None,
    keys: &[Key::new(
        "include",
        "list of paths",
        "none",
        "Files and folders of this machine to add, at the same place.",
    )],
};

/// The options of `image::host`.
#[derive(Clone, Debug, Default)]
pub struct Include(Vec<String>);

impl FromOptions for Include {
    const OPTIONS: &'static Options = &HOST;
    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        Ok(Self(opts.or("include", Vec::new())?))
    }
}

const COMMIT: Options = Options {
    of: "image::commit",
    open: None,
    keys: &[
        Key::new(
            "cmd",
            "list of text",
            "the base's",
            "The default command, or the arguments of the entrypoint.",
        ),
        Key::new("entrypoint", "list of text", "the base's", "The program that always runs."),
        Key::new("env", "map", "the base's", "Variables to add or replace."),
        Key::new("workdir", "path", "the base's", "The working directory."),
        Key::new("user", "text", "the base's", "name, uid, name:group or uid:gid."),
        Key::new("labels", "map", "the base's", "Labels to add or replace."),
        Key::new("exposed_ports", "list of text", "the base's", "Ports, such as \"8080/tcp\"."),
        Key::new("stop_signal", "text", "the base's", "The signal that stops it."),
        Key::new("author", "text", "none", "Who made it."),
        Key::new("comment", "text", "none", "A remark for the history."),
        Key::new("compression", "text", "\"gzip\"", "\"gzip\" or \"none\"."),
        Key::new("compression_level", "number 1 to 9", "3", "1 is fast, 9 is small."),
        Key::new("squash", "true or false", "false", "One layer of all."),
        Key::new(
            "source_date_epoch",
            "number",
            "none",
            "Seconds since 1970; nothing is younger: same content, same digest.",
        ),
    ],
};

/// The options of `image::commit`.
#[derive(Clone, Debug)]
pub struct Commit {
    changes: Changes,
    compression: Compression,
    squash: bool,
    source_date_epoch: Option<i64>,
}

impl FromOptions for Commit {
    const OPTIONS: &'static Options = &COMMIT;

    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        let env: BTreeMap<String, String> = opts.or("env", BTreeMap::new())?;
        let changes = Changes {
            cmd: opts.take("cmd")?,
            entrypoint: opts.take("entrypoint")?,
            env: env.into_iter().collect(),
            cwd: opts.take("workdir")?,
            user: opts.take("user")?,
            labels: opts.or("labels", BTreeMap::new())?,
            exposed_ports: opts.or("exposed_ports", Vec::new())?,
            stop_signal: opts.take("stop_signal")?,
            author: opts.take("author")?,
            comment: opts.take("comment")?,
            created: None,
        };
        let level: Int<1, 9> = opts.or("compression_level", Int(3))?;
        let compression = match opts.or("compression", "gzip".to_owned())?.as_str() {
            "gzip" => Compression::Gzip(u32::try_from(level.0).unwrap_or(3)),
            "none" => Compression::None,
            _ => return Err(opts.at().key("compression").wrong("must be \"gzip\" or \"none\"")),
        };
        Ok(Self {
            changes,
            compression,
            squash: opts.or("squash", false)?,
            source_date_epoch: opts.take("source_date_epoch")?,
        })
    }
}

const SAVE: Options = Options {
    of: "image::save",
    open: None,
    keys: &[Key::new("tag", "text", "the image's tag", "The name of the image in the layout.")],
};

/// The options of `image::save`.
#[derive(Clone, Debug, Default)]
pub struct Save(Option<String>);

impl FromOptions for Save {
    const OPTIONS: &'static Options = &SAVE;
    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        Ok(Self(opts.take("tag")?))
    }
}

fn host(call: &Call<'_>, binaries: Vec<String>, options: OrEmpty<Include>) -> Result<(HandleId, Rc<Image>)> {
    image::host(call.session(), &HostSpec { binaries, include: options.0.0 })
}

fn scratch(call: &Call<'_>) -> Result<(HandleId, Rc<Image>)> {
    Ok(image::scratch(call.session()))
}

fn from(call: &Call<'_>, reference: String) -> Result<(HandleId, Rc<Image>)> {
    image::from(call.session(), &reference)
}

fn commit(
    call: &Call<'_>,
    overlay: Open<Overlay>,
    reference: String,
    options: OrEmpty<Commit>,
) -> Result<(HandleId, Rc<Image>)> {
    let Commit { changes, compression, squash, source_date_epoch } = options.0;
    let spec = CommitSpec::of_overlay(&overlay, reference)?;
    image::commit(call.session(), &CommitSpec { changes, compression, squash, source_date_epoch, ..spec })
}

fn list(call: &Call<'_>) -> Result<Vec<serde_json::Value>> {
    let images = image::list(call.session().dirs())?;
    let shown = images.into_iter().map(|image| {
        json!({
            "reference": image.reference, "digest": image.digest, "size": image.size,
            "layers": image.layers, "created": image.created,
        })
    });
    Ok(shown.collect())
}

fn inspect(call: &Call<'_>, reference: String) -> Result<serde_json::Value> {
    image::inspect(call.session().dirs(), &reference)
}

fn remove(call: &Call<'_>, reference: String) -> Result<serde_json::Value> {
    let removed = image::remove(call.session(), &reference)?;
    let pruned = removed.pruned;
    Ok(json!({
        "untagged": removed.untagged, "blobs": pruned.blobs, "bytes": pruned.bytes, "layers": pruned.layers,
    }))
}

fn prune(call: &Call<'_>) -> Result<serde_json::Value> {
    let pruned = image::prune(call.session().dirs())?;
    Ok(json!({ "blobs": pruned.blobs, "bytes": pruned.bytes, "layers": pruned.layers }))
}

fn save(
    call: &Call<'_>,
    reference: String,
    path: PathBuf,
    options: OrEmpty<Save>,
) -> Result<serde_json::Value> {
    let saved = image::save(call.session(), &reference, &path, options.0.0.as_deref())?;
    Ok(json!({
        "path": saved.path.display().to_string(), "tag": saved.tag, "digest": saved.digest, "size": saved.size,
    }))
}

fn reference_of(_: &Call<'_>, image: Open<Image>) -> Result<Option<String>> {
    Ok(image.reference().map(str::to_owned))
}

fn digest(_: &Call<'_>, image: Open<Image>) -> Result<Option<String>> {
    Ok(image.digest().map(str::to_owned))
}

fn size(_: &Call<'_>, image: Open<Image>) -> Result<u64> {
    Ok(image.size())
}

fn layers(_: &Call<'_>, image: Open<Image>) -> Result<usize> {
    Ok(image.layers().len())
}

fn args(_: &Call<'_>, image: Open<Image>) -> Result<Vec<String>> {
    Ok(image.args())
}

fn lowerdirs(call: &Call<'_>, image: Open<Image>) -> Result<Vec<PathBuf>> {
    image.lowerdirs(call.session())
}
