//! The option maps and values that the natives of `fs` take.

use crate::error::Result;
use crate::runtime::fs::mounts::MountSpec;
use crate::runtime::fs::overlay::OverlaySpec;
use crate::runtime::image::Image;
use crate::script::bind::path::PathArg;
use crate::script::convert::{At, Either, FromScript, Size};
use crate::script::handle::Open;
use crate::script::options::{FromOptions, Key, Options, Opts};
use rhai::{Blob, Dynamic};
use std::path::PathBuf;

/// Permission bits: a whole number, or a text of octal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl FromScript for FileMode {
    fn expected() -> String {
        "a file mode (0o644, or a text of octal digits such as \"644\")".into()
    }
    fn accepts(value: &Dynamic) -> bool {
        value.is_int() || value.is_string()
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        let number = match value.as_int() {
            Ok(number) => u32::try_from(number).ok(),
            Err(_) if value.is_string() => u32::from_str_radix(&value.to_string(), 8).ok(),
            Err(_) => None,
        };
        let mode = number.filter(|mode| *mode <= 0o7777).map(Self);
        mode.ok_or_else(|| at.expected(&Self::expected(), &value))
    }
}

/// What a file is to hold: a text or a blob.
#[derive(Clone, Debug)]
pub struct Content(pub Vec<u8>);

impl FromScript for Content {
    fn expected() -> String {
        "a text or a blob".into()
    }
    fn accepts(value: &Dynamic) -> bool {
        value.is_string() || value.is_blob()
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        if !Self::accepts(&value) {
            return Err(at.expected(&Self::expected(), &value));
        }
        match Either::<String, Blob>::from_script(value, at)? {
            Either::Left(text) => Ok(Self(text.into_bytes())),
            Either::Right(blob) => Ok(Self(blob)),
        }
    }
}

/// Declares an option map: its type, what it belongs to, and how each key is read.
macro_rules! options {
    ($($(#[doc = $doc:literal])* $name:ident of $of:literal { $($key:ident: $ty:ty = $read:expr, $shown:literal, $default:literal, $help:literal;)* })*) => { $(
        $(#[doc = $doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            $(#[doc = $help] pub $key: $ty,)*
        }
        impl FromOptions for $name {
            const OPTIONS: &'static Options = &Options {
                of: $of,
                open: None,
                keys: &[$(Key::new(stringify!($key), $shown, $default, $help)),*],
            };
            fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
                Ok(Self { $($key: {
                    let read: fn(&mut Opts<'_, '_>) -> Result<$ty> = $read;
                    read(opts)?
                }),* })
            }
        }
    )* };
}

fn mode(opts: &mut Opts<'_, '_>) -> Result<Option<u32>> {
    Ok(opts.take::<FileMode>("mode")?.map(|mode| mode.0))
}

fn size(opts: &mut Opts<'_, '_>) -> Result<Option<u64>> {
    Ok(opts.take::<Size>("size")?.map(|size| size.0))
}

options! {
    /// Options of `fs::write`.
    WriteOptions of "fs::write" {
        mode: Option<u32> = mode, "mode", "that of the old file, or 0o666 less the umask", "The permission bits.";
    }
    /// Options of `fs::copy`.
    CopyOptions of "fs::copy" {
        chmod: Option<u32> = |opts| Ok(opts.take::<FileMode>("chmod")?.map(|mode| mode.0)), "mode", "their own",
            "The permission bits of every file that is copied; folders keep theirs.";
    }
    /// Options of `fs::mkdir`.
    MkdirOptions of "fs::mkdir" {
        mode: Option<u32> = mode, "mode", "0o777 less the umask", "The permission bits of the folder when it is made.";
        parents: bool = |opts| opts.or("parents", true), "true or false", "true",
            "Makes the folders above it too, and takes one that is there.";
    }
    /// Options of `fs::stat`.
    StatOptions of "fs::stat" {
        follow: bool = |opts| opts.or("follow", false), "true or false", "false", "Looks at what a link leads to.";
    }
    /// Options of `fs::chown`.
    ChownOptions of "fs::chown" {
        recursive: bool = |opts| opts.or("recursive", false), "true or false", "false",
            "Everything below as well; links themselves, not what they lead to.";
    }
    /// Options of `fs::temp_dir`.
    TempDirOptions of "fs::temp_dir" {
        size: Option<u64> = size, "size", "a folder on disk", "A tmpfs of this size is mounted on it.";
    }
    /// Options of `fs::bind`.
    BindOptions of "fs::bind" {
        readonly: bool = |opts| opts.or("readonly", false), "true or false", "false",
            "Nothing can be written through it; read back.";
        recursive: bool = |opts| opts.or("recursive", true), "true or false", "true",
            "With what is mounted below the source.";
    }
    /// Options of `fs::tmpfs`.
    TmpfsOptions of "fs::tmpfs" {
        size: Option<u64> = size, "size", "half of the memory", "How many bytes fit in it; 0 is no limit.";
        mode: Option<u32> = mode, "mode", "0o1777", "The permission bits of its root.";
        readonly: bool = |opts| opts.or("readonly", false), "true or false", "false", "Nothing can be written to it.";
    }
    /// Options of `fs::proc` and `fs::sysfs`.
    KernelFsOptions of "fs::proc and fs::sysfs" {
        readonly: bool = |opts| opts.or("readonly", false), "true or false", "false", "Nothing can be written to it.";
    }
    /// Options of `fs::propagation`.
    PropagationOptions of "fs::propagation" {
        recursive: bool = |opts| opts.or("recursive", false), "true or false", "false", "All mounts below as well.";
    }
    /// Options of `Overlay.path` and `Dir.path`.
    PathOptions of "path" {
        follow: bool = |opts| opts.or("follow", true), "true or false", "true", "Follows a link at the end of the path.";
    }
}

const MOUNT: Options = Options {
    of: "fs::mount",
    open: None,
    keys: &[
        Key::new(
            "type",
            "text",
            "",
            "The file system, such as \"tmpfs\" or \"ext4\"; \"bind\" or \"rbind\" for a folder.",
        ),
        Key::new("source", "path", "the type", "The device, or the folder or file to bind."),
        Key::new("target", "path", "", "Where: a folder that exists, or for a bind a file."),
        Key::new(
            "options",
            "text or list of text",
            "none",
            "Flags (ro nosuid nodev noexec noatime nodiratime relatime strictatime nosymfollow) and those of the file system (size=16m).",
        ),
    ],
};

impl FromOptions for MountSpec {
    const OPTIONS: &'static Options = &MOUNT;
    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        let options = match opts.take::<Either<String, Vec<String>>>("options")? {
            None => Vec::new(),
            Some(Either::Left(text)) => text.split(',').map(str::to_owned).collect(),
            Some(Either::Right(list)) => list,
        };
        Ok(Self {
            kind: opts.need("type")?,
            source: opts.take::<PathArg>("source")?.map(|path| path.0),
            target: opts.need::<PathArg>("target")?.0,
            options,
            size: None,
        })
    }
}

pub(super) const OVERLAY: Options = Options {
    of: "fs::overlay",
    open: None,
    keys: &[
        Key::new("lowerdir", "path or list of paths", "", "The read-only layers, topmost first."),
        Key::new("image", "Image", "", "In place of lowerdir: the layers of an image."),
        Key::new("upperdir", "path", "made in scratch", "The writable layer; it keeps what was written."),
        Key::new(
            "workdir",
            "path",
            "made beside upperdir",
            "A folder for the kernel, on the file system of upperdir.",
        ),
        Key::new("merged", "path", "made in scratch", "Where the tree appears; made if it is missing."),
        Key::new("readonly", "true or false", "false", "No writable layer at all."),
        Key::new(
            "volatile",
            "true or false",
            "false",
            "Never synced: faster, and lost when the machine crashes.",
        ),
    ],
};

impl FromOptions for OverlaySpec {
    const OPTIONS: &'static Options = &OVERLAY;
    const SHORTHAND: &'static str = "an Image, a path or a list of paths";

    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        let base = match opts.take::<Open<Image>>("image")? {
            Some(_) if opts.has("lowerdir") => {
                return Err(opts.at().key("image").wrong("does not go with `lowerdir`"));
            }
            Some(image) => of_image(&image, opts.at())?,
            None => Self { lowerdir: layers(opts.need("lowerdir")?), ..Self::default() },
        };
        let mut path = |key| -> Result<Option<PathBuf>> { Ok(opts.take::<PathArg>(key)?.map(|path| path.0)) };
        let (upperdir, workdir, merged) = (path("upperdir")?, path("workdir")?, path("merged")?);
        let (readonly, volatile) = (opts.or("readonly", false)?, opts.or("volatile", false)?);
        Ok(Self { upperdir, workdir, merged, readonly, volatile, ..base })
    }

    /// What stands for layers as it is: an image, a path, or a folder's handle.
    fn from_shorthand(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        if Open::<Image>::accepts(&value) {
            return of_image(&Open::from_script(value, at)?, at);
        }
        if !Layers::accepts(&value) {
            return Err(at.expected("an Image, a path, a list of paths or a map of options", &value));
        }
        Ok(Self { lowerdir: layers(Layers::from_script(value, at)?), ..Self::default() })
    }
}

/// One layer, or several.
type Layers = Either<PathArg, Vec<PathArg>>;

fn layers(layers: Layers) -> Vec<PathBuf> {
    match layers {
        Either::Left(one) => vec![one.0],
        Either::Right(list) => list.into_iter().map(|path| path.0).collect(),
    }
}

fn of_image(image: &Open<Image>, at: &At<'_, '_>) -> Result<OverlaySpec> {
    let lowerdir = image.lowerdirs(at.call().session())?;
    Ok(OverlaySpec { lowerdir, origin: Some(image.shared()), ..OverlaySpec::default() })
}
