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
    /// ELF dependencies, the loader and `#!` lines are followed; what a program opens while it runs (plug-ins, an interpreter's
    /// library) is added with `include`. The base also has `/proc /sys /dev /tmp /run /root /etc` and a minimal user database.
    ///
    /// Returns: an image that is not in the store: `image::commit` of an overlay on it puts one there.
    /// Errors: `not_found` for a binary, a library or a path that does not exist; `corrupt` for an ELF file that is malformed;
    /// `unsupported` for a socket in `include`; `permission_denied` for what this user may not read; `invalid_argument` for what is
    /// no program, and for a relative path in `include`; `limit_reached` for scripts that are each other's interpreters.
    /// Needs: nothing.
    /// Calls: ld.so(8), elf(5), execve(2)
    /// Undo: its folder is removed.
    /// Example:
    ///     let base = image::host(["sh", "echo"]);
    ///     [base.reference, base.tag, base.digest]   // => [(), (), ()]
    ///     [base.layers, base.args]                  // => [1, ["/bin/sh"]]
    ///     proc::exec(["echo", "in"], #{ rootfs: base }).stdout // => "in\n"
    ///     image::host(["no-such-program"])          // throws not_found
    fn "image::host"(
        /// Names that are looked up in PATH, or absolute paths.
        binaries: Vec<String>,
        options: OrEmpty<Include>
    ) -> (HandleId, Rc<Image>) = host;
    /// An image without layers, to start from nothing.
    ///
    /// Returns: an image that is not in the store.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing is on disk.
    /// Example:
    ///     let empty = image::scratch();
    ///     [empty.layers, empty.size] // => [0, 0]
    fn "image::scratch"() -> (HandleId, Rc<Image>) = scratch;
    /// The image of the store with this name and tag, or this digest.
    ///
    /// Returns: the image; its layers are unpacked when they are first used.
    /// Errors: `not_found` when the store has none, with near names; `invalid_argument` for a malformed name; `corrupt` for a
    /// damaged index or manifest.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing; the image stays in the store.
    /// Example:
    ///     image::commit(fs::overlay(image::host(["true"])), "localhost/demo:1");
    ///     let found = image::from("localhost/demo:1");
    ///     found.reference                         // => "localhost/demo:1"
    ///     found.digest.starts_with("sha256:")     // => true
    ///     image::remove("localhost/demo:1");
    ///     image::from("localhost/demo:1")         // throws not_found
    fn "image::from"(
        /// The name: `"localhost/demo:1"`, or `"sha256:…"`.
        reference: String
    ) -> (HandleId, Rc<Image>) = from;
    /// Writes an overlay to the store as an image: its layers below, and its writable layer as one on top.
    ///
    /// What was deleted becomes whiteouts. An image that had the name loses it.
    ///
    /// Returns: the image, in the store.
    /// Errors: `invalid_argument` for a malformed name, a configuration that is none, a read-only overlay, and a file whose name means
    /// something else in a layer; `unsupported` for a layer with redirects, and for a store that a newer version wrote; `busy` when
    /// a file shrinks while it is read; `not_found` when a layer is missing; `corrupt` for a damaged store; `limit_reached` when
    /// the disk is full.
    /// Needs: nothing beside the overlay.
    /// Calls: fsync(2), rename(2), flock(2)
    /// Undo: nothing; the image outlives the script, `image::remove` takes it away.
    /// Example:
    ///     let root = fs::overlay(image::host(["sh"]));
    ///     fs::write(root.path("hello"), "hi");
    ///     let img = image::commit(root, "localhost/demo:1", #{ cmd: ["/bin/sh", "-c", "echo hi"] });
    ///     [img.reference, img.layers]     // => ["localhost/demo:1", 2]
    ///     proc::exec(img.args, #{ rootfs: img }).stdout // => "hi\n"
    ///     image::remove("localhost/demo:1");
    fn "image::commit"(
        /// The overlay; it stays mounted and may be written to afterwards.
        overlay: Open<Overlay>,
        /// The name and tag; `latest` when it has no tag.
        reference: String,
        options: OrEmpty<Commit>
    ) -> (HandleId, Rc<Image>) = commit;
    /// The images of the store.
    ///
    /// Returns: one map an image: `reference`, `digest`, `size` (bytes), `layers` (how many) and `created`.
    /// Errors: `corrupt` for a damaged store; `permission_denied` for a store of another user.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     image::commit(fs::overlay(image::host(["true"])), "localhost/demo:1");
    ///     image::list().map(|img| img.reference) // => ["localhost/demo:1"]
    ///     image::remove("localhost/demo:1");
    fn "image::list"() -> Vec<serde_json::Value> = list;
    /// All that the store knows of an image.
    ///
    /// Returns: `reference`, `digest`, and the `manifest` and the `config` as OCI has them.
    /// Errors: `not_found` when the store has none; `invalid_argument` for a malformed name; `corrupt` for a damaged blob.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     image::commit(fs::overlay(image::host(["true"])), "localhost/demo:1", #{ user: "1000" });
    ///     image::inspect("localhost/demo:1").config.config.User // => "1000"
    ///     image::remove("localhost/demo:1");
    fn "image::inspect"(
        /// The name, or the digest.
        reference: String
    ) -> serde_json::Value = inspect;
    /// Takes a name away, and with the last one what nothing else uses.
    ///
    /// Returns: `untagged` (the names), and how many `blobs`, `bytes` and `layers` went with it.
    /// Errors: `not_found` when the store has none, with near names; `invalid_argument` for a malformed or ambiguous name; `corrupt` for a
    /// damaged store.
    /// Needs: nothing.
    /// Calls: unlink(2), flock(2)
    /// Undo: nothing.
    /// Example:
    ///     image::commit(fs::overlay(image::host(["true"])), "localhost/demo:1");
    ///     image::remove("localhost/demo:1").untagged // => ["localhost/demo:1"]
    ///     image::remove("localhost/demo:1")          // throws not_found
    fn "image::remove"(
        /// The name, or the digest.
        reference: String
    ) -> serde_json::Value = remove;
    /// Removes blobs and unpacked layers that no image uses.
    ///
    /// Returns: how many `blobs`, `bytes` and `layers` went.
    /// Errors: `corrupt` for a damaged store; `permission_denied` for a store of another user.
    /// Needs: nothing.
    /// Calls: unlink(2), flock(2)
    /// Undo: nothing.
    /// Example:
    ///     image::prune() // => #{"blobs": 0, "bytes": 0, "layers": 0}
    fn "image::prune"() -> serde_json::Value = prune;
    /// Writes an image to an OCI layout of its own, a folder: for `skopeo`, `umoci` and others.
    ///
    /// Returns: `path`, `tag`, `digest` and `size` (bytes).
    /// Errors: `already_exists` when there is something at the path; `not_found` when the store has no such image;
    /// `invalid_argument` for a malformed name or tag; `corrupt` for a damaged blob.
    /// Needs: nothing.
    /// Calls: skopeo(1)
    /// Undo: nothing; the folder stays.
    /// Example:
    ///     image::commit(fs::overlay(image::host(["true"])), "localhost/demo:1");
    ///     let dir = fs::temp_dir();
    ///     let saved = image::save("localhost/demo:1", dir.path("layout"));
    ///     saved.tag                                   // => "1"
    ///     fs::exists(dir.path("layout/index.json"))   // => true
    ///     image::remove("localhost/demo:1");
    fn "image::save"(
        /// The name of an image of the store.
        reference: String,
        /// The folder to make.
        path: PathBuf,
        options: OrEmpty<Save>
    ) -> serde_json::Value = save;

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
    ///
    /// Returns: paths in the store, to be read and not to be changed.
    /// Errors: `corrupt` when a blob does not match its digest, or is no valid archive; `not_found` when the image was removed
    /// meanwhile; `limit_reached` when the disk is full.
    /// Needs: nothing.
    /// Calls: openat2(2), tar(5)
    /// Undo: nothing; layers stay unpacked in the store.
    /// Example:
    ///     let base = image::host(["true"]);
    ///     fs::exists(base.lowerdirs()[0] + "/bin/true") // => true
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
