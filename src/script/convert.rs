//! Values of the language to Rust types: what a native's parameter, or the value of an option, can be.
//!
//! An error names the argument or key, what was expected and what came.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::units;
use crate::script::call::Call;
use crate::script::options::{FromOptions, Options, Opts};
use rhai::{Array, Blob, Dynamic, FnPtr, ImmutableString, Map};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

/// Which argument or key of which call a value is.
#[derive(Debug)]
pub struct At<'a, 'c> {
    call: &'a Call<'c>,
    name: String,
    argument: bool,
}

impl<'a, 'c> At<'a, 'c> {
    /// The argument `name` of `call`.
    #[must_use]
    pub fn argument(call: &'a Call<'c>, name: &str) -> Self {
        Self { call, name: name.to_owned(), argument: true }
    }

    /// The key `key` of the map at this place. The keys of an argument's own map are named without it.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let name = if self.argument { key.to_owned() } else { format!("{}.{key}", self.name) };
        Self { call: self.call, name, argument: false }
    }

    /// The element `index` of the array at this place.
    #[must_use]
    pub fn element(&self, index: usize) -> Self {
        Self { call: self.call, name: format!("{}[{index}]", self.name), argument: false }
    }

    /// The call.
    #[must_use]
    pub fn call(&self) -> &'a Call<'c> {
        self.call
    }

    /// The name, such as `peer.addr`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The error for a value that is not what was expected.
    #[must_use]
    pub fn expected(&self, expected: &str, came: &Dynamic) -> Error {
        self.wrong(format!("must be {expected}, not {}", describe(came)))
    }

    /// The error for a value that does not fit: `what` follows the name.
    #[must_use]
    pub fn wrong(&self, what: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::InvalidArgument, self.call.op(), format!("`{}` {what}", self.name))
    }
}

/// A value for error messages: its type, and itself where it is short.
#[must_use]
pub fn describe(value: &Dynamic) -> String {
    if value.is_unit() {
        "()".into()
    } else if let Some(text) = value.read_lock::<ImmutableString>() {
        let short: String = text.chars().take(40).collect();
        let dots = if short.len() < text.len() { "…" } else { "" };
        format!("the text {:?}", format!("{short}{dots}"))
    } else if value.is_map() {
        "a map".into()
    } else if value.is_array() {
        "a list".into()
    } else if value.is_blob() {
        "a blob".into()
    } else if value.is_int() || value.is_float() || value.is_bool() {
        value.to_string()
    } else if value.is_fnptr() {
        "a function".into()
    } else {
        format!("a value of type {}", short_type(value.type_name()))
    }
}

/// The last part of a Rust type's name, with what it is generic over: `Held<Ns>` is shown as `Ns`.
#[must_use]
pub fn short_type(name: &str) -> &str {
    let inner = name.split_once('<').map_or(name, |(_, inner)| inner.trim_end_matches('>'));
    inner.rsplit("::").next().unwrap_or(inner)
}

/// A type that a native takes as argument, or an option as value.
pub trait FromScript: Sized {
    /// Whether the argument may be left out: only at the end.
    const OPTIONAL: bool = false;

    /// The option map it is read from, if it is: for `cshell check` and the help.
    const OPTIONS: Option<&'static Options> = None;

    /// Whether it takes handles, which must be open.
    const OPEN: bool = false;

    /// What a script writes, as errors and the help say it: `a size`.
    fn expected() -> String;

    /// Whether a value is of the right type; its content may still be wrong.
    fn accepts(value: &Dynamic) -> bool;

    /// Converts.
    ///
    /// # Errors
    /// When the value does not fit.
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self>;

    /// The value of an argument left out, for those that may be.
    ///
    /// # Errors
    /// Unless overridden, always: the number of arguments is checked before.
    fn missing(at: &At<'_, '_>) -> Result<Self> {
        Err(at.wrong("is missing"))
    }

    /// The type by which methods find it, for the first argument of a method.
    fn type_id() -> std::any::TypeId {
        std::any::TypeId::of::<Dynamic>()
    }
}

macro_rules! plain {
    ($($ty:ty, $expected:literal, $is:ident, $get:expr;)*) => { $(
        impl FromScript for $ty {
            fn expected() -> String {
                $expected.into()
            }
            fn accepts(value: &Dynamic) -> bool {
                value.$is()
            }
            fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
                if !value.$is() {
                    return Err(at.expected($expected, &value));
                }
                let get: fn(Dynamic) -> Option<$ty> = $get;
                get(value).ok_or_else(|| at.wrong(concat!("must be ", $expected)))
            }
            fn type_id() -> std::any::TypeId {
                std::any::TypeId::of::<$ty>()
            }
        }
    )* };
}

plain! {
    String, "a text", is_string, |value| value.into_string().ok();
    bool, "true or false", is_bool, |value| value.as_bool().ok();
    i64, "a whole number", is_int, |value| value.as_int().ok();
    Map, "a map", is_map, Dynamic::try_cast;
    Array, "a list", is_array, Dynamic::try_cast;
    Blob, "a blob", is_blob, Dynamic::try_cast;
    FnPtr, "a function", is_fnptr, Dynamic::try_cast;
}

impl FromScript for Dynamic {
    fn expected() -> String {
        "any value".into()
    }
    fn accepts(_: &Dynamic) -> bool {
        true
    }
    fn from_script(value: Dynamic, _: &At<'_, '_>) -> Result<Self> {
        Ok(value)
    }
}

impl FromScript for f64 {
    fn expected() -> String {
        "a number".into()
    }
    fn accepts(value: &Dynamic) -> bool {
        value.is_float() || value.is_int()
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        #[expect(clippy::cast_precision_loss, reason = "a number that large is a mistake anyway")]
        let whole = |number: i64| number as f64;
        value.as_float().or_else(|_| value.as_int().map(whole)).map_err(|_| at.expected("a number", &value))
    }
}

macro_rules! integers {
    ($($ty:ty),*) => { $(
        impl FromScript for $ty {
            fn expected() -> String {
                format!("a whole number from {} to {}", <$ty>::MIN, <$ty>::MAX)
            }
            fn accepts(value: &Dynamic) -> bool {
                value.is_int()
            }
            fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
                let number = value.as_int().ok().and_then(|number| Self::try_from(number).ok());
                number.ok_or_else(|| at.expected(&Self::expected(), &value))
            }
        }
    )* };
}
integers!(u8, u16, u32, i32, u64, usize);

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Int<const MIN: i64, const MAX: i64>(pub i64);

impl<const MIN: i64, const MAX: i64> FromScript for Int<MIN, MAX> {
    fn expected() -> String {
        match MAX {
            i64::MAX => format!("a whole number from {MIN}"),
            _ => format!("a whole number from {MIN} to {MAX}"),
        }
    }
    fn accepts(value: &Dynamic) -> bool {
        value.is_int()
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        match value.as_int() {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            _ => Err(at.expected(&Self::expected(), &value)),
        }
    }
}

/// A size in bytes: a whole number, or a text such as `"64MiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl FromScript for Size {
    fn expected() -> String {
        "a size (bytes, or a text such as \"64MiB\")".into()
    }
    fn accepts(value: &Dynamic) -> bool {
        value.is_int() || value.is_string()
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        if let Some(text) = value.read_lock::<ImmutableString>() {
            return units::parse_bytes(&text).map(Self).map_err(|_| at.expected(&Self::expected(), &value));
        }
        let number = value.as_int().ok().and_then(|number| u64::try_from(number).ok());
        number.map(Self).ok_or_else(|| at.expected(&Self::expected(), &value))
    }
}

impl FromScript for Duration {
    fn expected() -> String {
        "a duration (a text such as \"250ms\" or \"1m30s\")".into()
    }
    fn accepts(value: &Dynamic) -> bool {
        value.is_string()
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        let parsed = value.read_lock::<ImmutableString>().and_then(|text| units::parse_duration(&text).ok());
        parsed.ok_or_else(|| at.expected(&Self::expected(), &value))
    }
}

/// A share of processors in thousandths: `0.5`, `2` or `"50%"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpus(pub u64);

impl FromScript for Cpus {
    fn expected() -> String {
        "a number of processors (0.5, 2 or \"50%\")".into()
    }
    fn accepts(value: &Dynamic) -> bool {
        value.is_int() || value.is_float() || value.is_string()
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        let text = Self::accepts(&value).then(|| value.to_string());
        let parsed = text.and_then(|text| units::parse_cpus(&text).ok());
        parsed.map(Self).ok_or_else(|| at.expected(&Self::expected(), &value))
    }
}

/// A path. Not empty, and without a NUL byte.
impl FromScript for PathBuf {
    fn expected() -> String {
        "a path".into()
    }
    fn accepts(value: &Dynamic) -> bool {
        value.is_string() || value.is_blob()
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        let text = match value.read_lock::<Blob>() {
            Some(blob) => OsString::from_vec(blob.clone()),
            None if value.is_string() => value.to_string().into(),
            None => return Err(at.expected("a path", &value)),
        };
        no_nul(&text, at)?;
        if text.is_empty() { Err(at.wrong("must be a path, not an empty text")) } else { Ok(text.into()) }
    }
}

/// A word of a command: a text, a blob for exact bytes, or a number. Without a NUL byte.
impl FromScript for OsString {
    fn expected() -> String {
        "a text or blob".into()
    }
    fn accepts(value: &Dynamic) -> bool {
        value.is_string() || value.is_blob() || value.is_int() || value.is_float()
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        let word = match value.read_lock::<Blob>() {
            Some(blob) => Self::from_vec(blob.clone()),
            None if Self::accepts(&value) => value.to_string().into(),
            None => return Err(at.expected(&Self::expected(), &value)),
        };
        no_nul(&word, at)?;
        Ok(word)
    }
}

fn no_nul(word: &OsString, at: &At<'_, '_>) -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    if word.as_bytes().contains(&0) { Err(at.wrong("contains a NUL byte")) } else { Ok(()) }
}

/// An argument that may be left out, or given as `()`.
impl<T: FromScript> FromScript for Option<T> {
    const OPTIONAL: bool = true;
    const OPTIONS: Option<&'static Options> = T::OPTIONS;
    const OPEN: bool = T::OPEN;

    fn expected() -> String {
        T::expected()
    }
    fn accepts(value: &Dynamic) -> bool {
        value.is_unit() || T::accepts(value)
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        if value.is_unit() { Ok(None) } else { T::from_script(value, at).map(Some) }
    }
    fn missing(_: &At<'_, '_>) -> Result<Self> {
        Ok(None)
    }
}

/// An option map that may be left out, which is then read as an empty one.
#[derive(Clone, Copy, Debug, Default)]
pub struct OrEmpty<T>(pub T);

impl<T: FromOptions> FromScript for OrEmpty<T> {
    const OPTIONAL: bool = true;
    const OPTIONS: Option<&'static Options> = Some(T::OPTIONS);

    fn expected() -> String {
        T::expected()
    }
    fn accepts(value: &Dynamic) -> bool {
        value.is_unit() || T::accepts(value)
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        if value.is_unit() { Self::missing(at) } else { T::from_script(value, at).map(Self) }
    }
    fn missing(at: &At<'_, '_>) -> Result<Self> {
        T::from_options(&mut Opts::new(Map::new(), T::OPTIONS, at)?).map(Self)
    }
}

/// A list, or one element in its place when that is not a list itself.
impl<T: FromScript + ListElement> FromScript for Vec<T> {
    const OPTIONS: Option<&'static Options> = T::OPTIONS;
    const OPEN: bool = T::OPEN;

    fn expected() -> String {
        format!("a list, each {}", T::expected())
    }
    fn accepts(value: &Dynamic) -> bool {
        value.is_array()
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        match value.try_cast_result::<Array>() {
            Ok(list) => {
                let each = list.into_iter().enumerate();
                each.map(|(index, value)| T::from_script(value, &at.element(index))).collect()
            }
            Err(value) => Err(at.expected(&Self::expected(), &value)),
        }
    }
}

/// What lists can be made of. (`Array` and `Blob` are the lists of any values and of bytes.)
pub trait ListElement {}
impl ListElement for String {}
impl ListElement for i64 {}
impl ListElement for i32 {}
impl ListElement for u16 {}
impl ListElement for u32 {}
impl ListElement for u64 {}
impl ListElement for PathBuf {}
impl ListElement for OsString {}
impl<T: FromOptions> ListElement for T {}

/// A map from names to values.
impl<T: FromScript> FromScript for BTreeMap<String, T> {
    fn expected() -> String {
        format!("a map, each value {}", T::expected())
    }
    fn accepts(value: &Dynamic) -> bool {
        value.is_map()
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        match value.try_cast_result::<Map>() {
            Ok(map) => map
                .into_iter()
                .map(|(key, value)| {
                    let value = T::from_script(value, &at.key(&key))?;
                    Ok((key.to_string(), value))
                })
                .collect(),
            Err(value) => Err(at.expected(&Self::expected(), &value)),
        }
    }
}

/// One of two types, the first that accepts the value.
#[derive(Clone, Debug)]
pub enum Either<A, B> {
    /// The first.
    Left(A),
    /// The second.
    Right(B),
}

impl<A: FromScript, B: FromScript> FromScript for Either<A, B> {
    const OPTIONS: Option<&'static Options> = match (A::OPTIONS, B::OPTIONS) {
        (Some(options), _) | (None, Some(options)) => Some(options),
        (None, None) => None,
    };
    const OPEN: bool = A::OPEN || B::OPEN;

    fn expected() -> String {
        format!("{} or {}", A::expected(), B::expected())
    }
    fn accepts(value: &Dynamic) -> bool {
        A::accepts(value) || B::accepts(value)
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        if A::accepts(&value) {
            A::from_script(value, at).map(Self::Left)
        } else if B::accepts(&value) {
            B::from_script(value, at).map(Self::Right)
        } else {
            Err(at.expected(&Self::expected(), &value))
        }
    }
}

impl<T: FromOptions> FromScript for T {
    const OPTIONS: Option<&'static Options> = Some(T::OPTIONS);

    fn expected() -> String {
        T::expected_text()
    }
    fn accepts(value: &Dynamic) -> bool {
        value.is_map() || !T::SHORTHAND.is_empty()
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        match value.try_cast_result::<Map>() {
            Ok(map) => {
                let mut opts = Opts::new(map, T::OPTIONS, at)?;
                T::from_options(&mut opts)
            }
            Err(value) => T::from_shorthand(value, at),
        }
    }
}
