//! Option maps, declared once as data.
//!
//! An [`Options`] set is read by the parser of the map ([`Opts`]), by `cshell check` and by the help: what is not
//! declared does not exist. An unknown key is an error that names the nearest known one.

use crate::error::{Error, ErrorKind, Result};
use crate::script::convert::{At, FromScript};
use rhai::{Dynamic, Map};

pub use crate::runtime::near::{did_you_mean, nearest};

/// One key of an option map.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Its type, for people: `size`, `text`, `list of text`.
    pub ty: &'static str,
    /// What applies when it is not given, for people; empty when it is required.
    pub default: &'static str,
    /// What it does, as one sentence.
    pub doc: &'static str,
    /// The keys of the map that it takes, if it takes one.
    pub keys: Option<&'static Options>,
}

impl Key {
    /// A key.
    #[must_use]
    pub const fn new(name: &'static str, ty: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self { name, ty, default, doc, keys: None }
    }

    /// A key whose value is, or may be, a map of `keys`, or a list of such maps.
    #[must_use]
    pub const fn map(mut self, keys: &'static Options) -> Self {
        self.keys = Some(keys);
        self
    }
}

/// The keys that one option map knows.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What it belongs to, as errors name it: `cgroup::limit`.
    pub of: &'static str,
    /// The keys.
    pub keys: &'static [Key],
    /// Which keys it takes beside those.
    pub open: Option<OpenKeys>,
}

/// Keys that are not declared one by one.
#[derive(Clone, Copy, Debug)]
pub struct OpenKeys {
    /// How the help names them: `any file name of cgroup v2`.
    pub names: &'static str,
    /// Whether this is one.
    pub takes: fn(&str) -> bool,
}

impl Options {
    /// The declared key of this name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// Whether the map may have a key of this name.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.key(name).is_some() || self.open.is_some_and(|open| (open.takes)(name))
    }

    /// What is wrong about a key that is not known.
    #[must_use]
    pub fn unknown(&self, name: &str) -> String {
        let names = self.keys.iter().map(|key| key.name);
        format!("unknown option `{name}` for {}{}", self.of, did_you_mean(name, names))
    }
}

/// A type that a script writes as an option map.
pub trait FromOptions: Sized {
    /// The keys.
    const OPTIONS: &'static Options;

    /// What else it may be written as, for help and errors: `a list of kinds`. Empty for nothing.
    const SHORTHAND: &'static str = "";

    /// Reads the keys.
    ///
    /// # Errors
    /// When a value does not fit.
    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self>;

    /// Reads what is not a map.
    ///
    /// # Errors
    /// When it does not fit; unless overridden, always.
    fn from_shorthand(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        Err(at.expected(&Self::expected_text(), &value))
    }

    /// What a script may write, for help and errors.
    #[must_use]
    fn expected_text() -> String {
        match Self::SHORTHAND {
            "" => "a map of options".into(),
            short => format!("{short} or a map of options"),
        }
    }
}

/// An option map that is being read. Unknown keys were refused when it was opened.
#[derive(Debug)]
pub struct Opts<'a, 'c> {
    at: &'a At<'a, 'c>,
    set: &'static Options,
    map: Map,
}

impl<'a, 'c> Opts<'a, 'c> {
    /// Opens a map.
    ///
    /// # Errors
    /// For the first unknown key.
    pub fn new(map: Map, set: &'static Options, at: &'a At<'a, 'c>) -> Result<Self> {
        match map.keys().find(|key| !set.knows(key)) {
            None => Ok(Self { at, set, map }),
            Some(key) => Err(Error::new(ErrorKind::InvalidArgument, at.call().op(), set.unknown(key))),
        }
    }

    /// The place of this map: for errors about keys that do not go together.
    #[must_use]
    pub fn at(&self) -> &At<'a, 'c> {
        self.at
    }

    /// The value of a key, if it is given and not `()`.
    ///
    /// # Errors
    /// When it is not a `T`: the error names the key, what was expected and what came.
    pub fn take<T: FromScript>(&mut self, key: &str) -> Result<Option<T>> {
        debug_assert!(self.set.knows(key), "{key} is not declared for {}", self.set.of);
        match self.map.remove(key) {
            None => Ok(None),
            Some(value) if value.is_unit() => Ok(None),
            Some(value) => T::from_script(value, &self.at.key(key)).map(Some),
        }
    }

    /// The value of a key, or `default`.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn or<T: FromScript>(&mut self, key: &str, default: T) -> Result<T> {
        Ok(self.take(key)?.unwrap_or(default))
    }

    /// The value of a key that must be given.
    ///
    /// # Errors
    /// As [`take`](Self::take), and when it is missing.
    pub fn need<T: FromScript>(&mut self, key: &str) -> Result<T> {
        self.take(key)?.ok_or_else(|| {
            let what = format!("`{}` is missing: {} expected", self.at.key(key).name(), T::expected());
            Error::new(ErrorKind::InvalidArgument, self.at.call().op(), what)
        })
    }

    /// Whether a key is given and not `()`.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_unit())
    }

    /// The keys not taken yet, with their values: for sets that are open.
    #[must_use]
    pub fn rest(&mut self) -> Vec<(String, Dynamic)> {
        std::mem::take(&mut self.map).into_iter().map(|(key, value)| (key.to_string(), value)).collect()
    }
}
