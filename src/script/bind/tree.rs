//! What can be the root of a process: a folder by path, or an overlay.

use crate::error::Result;
use crate::runtime::fs::overlay::Overlay;
use crate::script::bind::path::PathArg;
use crate::script::convert::{At, FromScript};
use crate::script::handle::Open;
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

impl FromScript for Tree {
    fn expected() -> String {
        PathArg::expected()
    }
    fn accepts(value: &Dynamic) -> bool {
        PathArg::accepts(value)
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        if !Open::<Overlay>::accepts(&value) {
            return Ok(Self { path: PathArg::from_script(value, at)?.0, writable: false });
        }
        let overlay = Open::<Overlay>::from_script(value, at)?;
        Ok(Self { path: overlay.merged.clone(), writable: overlay.upperdir.is_some() })
    }
}
