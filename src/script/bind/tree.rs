//! What can be the root of a process: a folder by path, an overlay, or the layers of one.

use crate::error::Result;
use crate::runtime::fs::overlay::{Overlay, OverlaySpec};
use crate::runtime::image::Image;
use crate::runtime::proc::spec::Root;
use crate::script::bind::path::PathArg;
use crate::script::convert::{At, FromScript};
use crate::script::handle::Open;
use crate::script::options::{FromOptions, Options};
use rhai::Dynamic;

impl FromScript for Root {
    const OPEN: bool = true;
    const OPTIONS: Option<&'static Options> = Some(<OverlaySpec as FromOptions>::OPTIONS);

    fn expected() -> String {
        format!("{}, an Image, or a map of options as fs::overlay takes it", PathArg::expected())
    }
    fn accepts(value: &Dynamic) -> bool {
        PathArg::accepts(value) || value.is_map() || Open::<Image>::accepts(value)
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        if value.is_map() || Open::<Image>::accepts(&value) {
            return OverlaySpec::from_script(value, at).map(Self::Overlay);
        }
        if !PathArg::accepts(&value) {
            return Err(at.expected(&Self::expected(), &value));
        }
        if Open::<Overlay>::accepts(&value) {
            let overlay = Open::<Overlay>::from_script(value, at)?;
            let writable = overlay.upperdir.is_some();
            return Ok(Self::Folder { path: overlay.merged.clone(), writable });
        }
        Ok(Self::Folder { path: PathArg::from_script(value, at)?.0, writable: false })
    }
}
