//! What can be the root of a process: a folder by path, or an overlay.

use crate::error::Result;
use crate::runtime::fs::overlay::Overlay;
use crate::script::convert::{At, FromScript};
use crate::script::handle::{Kind, Open};
use rhai::Dynamic;
use std::path::PathBuf;

/// A tree of files that a process can have as its root.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it has a writable layer of this session, where missing mount points may be made.
    pub writable: bool,
}

impl Kind for Overlay {
    const NAME: &'static str = "Overlay";
}

impl FromScript for Tree {
    fn expected() -> String {
        "a path or an Overlay".into()
    }
    fn accepts(value: &Dynamic) -> bool {
        PathBuf::accepts(value) || Open::<Overlay>::accepts(value)
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        if PathBuf::accepts(&value) {
            return Ok(Self { path: PathBuf::from_script(value, at)?, writable: false });
        }
        if !Open::<Overlay>::accepts(&value) {
            return Err(at.expected(&Self::expected(), &value));
        }
        let overlay = Open::<Overlay>::from_script(value, at)?;
        Ok(Self { path: overlay.merged.clone(), writable: overlay.upperdir.is_some() })
    }
}
