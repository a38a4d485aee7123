//! Paths as natives take and return them.

use crate::error::Result;
use crate::runtime::fs::dir::Dir;
use crate::runtime::fs::mounts::Mount;
use crate::runtime::fs::overlay::Overlay;
use crate::script::convert::{At, FromScript, ListElement};
use crate::script::handle::{Held, Open};
use crate::script::returned::IntoScript;
use rhai::Dynamic;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// A path: a text, a blob for exact bytes, or a handle that stands for a folder.
#[derive(Clone, Debug)]
pub struct PathArg(pub PathBuf);

impl FromScript for PathArg {
    const OPEN: bool = true;

    fn expected() -> String {
        "a path, an Overlay, a Dir or a Mount".into()
    }
    fn accepts(value: &Dynamic) -> bool {
        PathBuf::accepts(value) || is_place(value)
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        let path = if Held::<Overlay>::accepts(&value) {
            Open::<Overlay>::from_script(value, at)?.merged.clone()
        } else if Held::<Dir>::accepts(&value) {
            Open::<Dir>::from_script(value, at)?.path.clone()
        } else if Held::<Mount>::accepts(&value) {
            Open::<Mount>::from_script(value, at)?.target.clone()
        } else if PathBuf::accepts(&value) {
            PathBuf::from_script(value, at)?
        } else {
            return Err(at.expected(&Self::expected(), &value));
        };
        Ok(Self(path))
    }
}

impl ListElement for PathArg {}

fn is_place(value: &Dynamic) -> bool {
    Held::<Overlay>::accepts(value) || Held::<Dir>::accepts(value) || Held::<Mount>::accepts(value)
}

/// A path as it is returned: a text, or a blob where it is not UTF-8, so that it leads to the same file.
#[derive(Clone, Debug)]
pub struct PathText(pub PathBuf);

impl IntoScript for PathText {
    fn returns() -> String {
        "path".into()
    }
    fn into_script(self) -> Dynamic {
        match self.0.into_os_string().into_string() {
            Ok(text) => text.into(),
            Err(name) => Dynamic::from_blob(name.into_vec()),
        }
    }
}

impl ListElement for PathText {}

/// Paths as they are returned.
#[must_use]
pub fn texts(paths: Vec<PathBuf>) -> Vec<PathText> {
    paths.into_iter().map(PathText).collect()
}
