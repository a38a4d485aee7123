//! Help from one source: the doc comments of the natives and of the standard library.
//!
//! * [`doc`]: the convention of the comments, and a comment taken apart. Nothing is parsed before help is asked for.
//! * [`topic`]: what there is to read about; [`library`], [`concept`]: the topics that are no natives.
//! * [`mod@page`]: a topic as a page; [`text`], [`markdown`], [`roff`]: a page as text; [`mod@reference`]: all of them.
//! * [`definitions`]: files for editors.

pub mod concept;
pub mod definitions;
pub mod doc;
pub mod library;
pub mod markdown;
pub mod page;
pub mod reference;
pub mod roff;
pub mod text;
pub mod topic;

pub use text::Style;

use crate::script::options::nearest;
use doc::Doc;
use topic::Topic;

/// The page of what is called `name`, as text; without a name the list of what there is.
///
/// `name` is a module (`net`), a function (`net::veth`), a type (`Ns`), a method or property (`Ns.exec`, or `exec`), a key of
/// an option map (`net::veth.mtu`), a module or function of the standard library, a kind of error, or a page about a concept.
///
/// # Errors
/// When nothing is called so.
pub fn page(name: &str, style: Style) -> Result<String, Unknown> {
    if name.trim().is_empty() {
        return Ok(text::render(&page::index(), style));
    }
    let found = topic::find(name).ok_or_else(|| Unknown::new(name))?;
    Ok(text::render(&page::of(&found), style))
}

/// Every name that there is a page for, but for option keys.
#[must_use]
pub fn names() -> Vec<String> {
    topic::names()
}

/// The system calls and man pages of a native, by its `op`: `clone3(2)`.
#[must_use]
pub fn calls_of(op: &str) -> Vec<String> {
    let native = match topic::find(op) {
        Some(Topic::Native(native)) => Some(native),
        Some(Topic::Natives(natives)) => natives.into_iter().next(),
        _ => None,
    };
    native.and_then(|native| Doc::parse(native.doc.iter().copied()).calls).unwrap_or_default()
}

/// The first sentence about a thing, by its full name.
#[must_use]
pub fn summary(op: &str) -> Option<String> {
    topic::summary(op)
}

/// Nothing has this name. Displays with what was perhaps meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    name: String,
    near: Option<String>,
}

impl Unknown {
    fn new(name: &str) -> Self {
        let names = names();
        let known = names.iter().map(String::as_str);
        // What was meant may also be the last part of a longer name.
        let parts = names.iter().filter_map(|name| name.rsplit(['.', ':', '/']).next());
        let near = nearest(name, known).or_else(|| nearest(name, parts)).map(str::to_owned);
        Self { name: name.to_owned(), near }
    }

    /// The name that was perhaps meant.
    #[must_use]
    pub fn near(&self) -> Option<&str> {
        self.near.as_deref()
    }
}

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "nothing is called `{}`", self.name)?;
        self.near.as_ref().map_or(Ok(()), |near| write!(f, ", did you mean `{near}`?"))
    }
}

impl std::error::Error for Unknown {}
