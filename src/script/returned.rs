//! Rust types to values of the language: what a native can return.

use crate::script::convert::ListElement;
use rhai::{Array, Blob, Dynamic, FnPtr, Map};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// A type that a native returns.
pub trait IntoScript {
    /// What it is, for the help; empty for nothing.
    fn returns() -> String;

    /// Converts.
    fn into_script(self) -> Dynamic;
}

macro_rules! returned {
    ($($ty:ty, $name:literal, $into:expr;)*) => { $(
        impl IntoScript for $ty {
            fn returns() -> String {
                $name.into()
            }
            fn into_script(self) -> Dynamic {
                let into: fn($ty) -> Dynamic = $into;
                into(self)
            }
        }
    )* };
}

returned! {
    (), "", |()| Dynamic::UNIT;
    Dynamic, "any value", |value| value;
    String, "text", Dynamic::from;
    &'static str, "text", Dynamic::from;
    bool, "true or false", Dynamic::from;
    i64, "number", Dynamic::from;
    f64, "number", Dynamic::from;
    u64, "number", |value| Dynamic::from(i64::try_from(value).unwrap_or(i64::MAX));
    usize, "number", |value| Dynamic::from(i64::try_from(value).unwrap_or(i64::MAX));
    u32, "number", |value| Dynamic::from(i64::from(value));
    i32, "number", |value| Dynamic::from(i64::from(value));
    u16, "number", |value| Dynamic::from(i64::from(value));
    PathBuf, "path", |value| Dynamic::from(value.to_string_lossy().into_owned());
    OsString, "text", |value| Dynamic::from(value.to_string_lossy().into_owned());
    Blob, "blob", Dynamic::from_blob;
    Map, "map", Dynamic::from_map;
    Array, "list", Dynamic::from_array;
    FnPtr, "function", Dynamic::from;
    serde_json::Value, "map", |value| from_json(&value);
}

impl<T: IntoScript> IntoScript for Option<T> {
    fn returns() -> String {
        format!("{}, or ()", T::returns())
    }
    fn into_script(self) -> Dynamic {
        self.map_or(Dynamic::UNIT, T::into_script)
    }
}

impl<T: IntoScript + ListElement> IntoScript for Vec<T> {
    fn returns() -> String {
        format!("list of {}", T::returns())
    }
    fn into_script(self) -> Dynamic {
        self.into_iter().map(T::into_script).collect::<Array>().into()
    }
}

impl ListElement for serde_json::Value {}
impl ListElement for Map {}

impl<T: IntoScript> IntoScript for BTreeMap<String, T> {
    fn returns() -> String {
        format!("map of {}", T::returns())
    }
    fn into_script(self) -> Dynamic {
        let map: Map = self.into_iter().map(|(key, value)| (key.into(), value.into_script())).collect();
        map.into()
    }
}

/// Makes a type that can be cloned a value of the language: `script_value!(Image, "Image");`, and a line in
/// [`crate::script::bind::handles::VALUES`] for its name. Its methods and properties are natives as any other.
macro_rules! script_value {
    ($ty:ty, $name:literal) => {
        impl $crate::script::convert::FromScript for $ty {
            fn expected() -> String {
                concat!("a value of type ", $name).into()
            }
            fn accepts(value: &rhai::Dynamic) -> bool {
                value.is::<$ty>()
            }
            fn from_script(
                value: rhai::Dynamic,
                at: &$crate::script::convert::At<'_, '_>,
            ) -> $crate::error::Result<Self> {
                value.try_cast_result().map_err(|value| at.expected(&Self::expected(), &value))
            }
            fn type_id() -> std::any::TypeId {
                std::any::TypeId::of::<$ty>()
            }
        }
        impl $crate::script::returned::IntoScript for $ty {
            fn returns() -> String {
                $name.into()
            }
            fn into_script(self) -> rhai::Dynamic {
                rhai::Dynamic::from(self)
            }
        }
        impl $crate::script::convert::ListElement for $ty {}
    };
}
pub(crate) use script_value;

/// A JSON value as the language has it. Whole numbers beyond 64 bits with sign become floating point.
pub fn from_json(value: &serde_json::Value) -> Dynamic {
    use serde_json::Value;
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            (None, Some(float)) => float.into(),
            (None, None) => number.to_string().into(),
        },
        Value::String(text) => text.clone().into(),
        Value::Array(list) => list.iter().map(from_json).collect::<Array>().into(),
        Value::Object(map) => {
            let map: Map = map.iter().map(|(key, value)| (key.into(), from_json(value))).collect();
            map.into()
        }
    }
}

/// A value of the language as JSON. What JSON has no word for becomes its text.
#[must_use]
pub fn to_json(value: &Dynamic) -> serde_json::Value {
    use serde_json::Value;
    if value.is_unit() {
        Value::Null
    } else if let Ok(flag) = value.as_bool() {
        flag.into()
    } else if let Ok(number) = value.as_int() {
        number.into()
    } else if let Ok(number) = value.as_float() {
        number.into()
    } else if let Some(list) = value.read_lock::<Array>() {
        list.iter().map(to_json).collect::<Vec<_>>().into()
    } else if let Some(map) = value.read_lock::<Map>() {
        map.iter()
            .map(|(key, value)| (key.to_string(), to_json(value)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    } else {
        value.to_string().into()
    }
}
