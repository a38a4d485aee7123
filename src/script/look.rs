//! A value as people look at it: plain data, cut where it is long, for what shows values without knowing the language.

use crate::runtime::session::HandleId;
use crate::script::bind::handles;
use crate::script::convert::short_type;
use crate::script::shell::Shell;
use rhai::{Array, Blob, Dynamic, Engine, FnPtr, ImmutableString, Map};

/// A value, or the beginning of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Look {
    /// `()`.
    Unit,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// A text.
    Text(String),
    /// Bytes: the first ones, and how many there are.
    Blob(Vec<u8>, usize),
    /// A list: the first elements, and how many there are.
    List(Vec<Look>, usize),
    /// A map.
    Map(Vec<(String, Look)>),
    /// A handle: which one, and its line of live facts.
    Handle(HandleId, String),
    /// How a command ended, and what it wrote.
    Ended {
        /// How it ended, as one line.
        line: String,
        /// Its standard output.
        stdout: String,
        /// Its standard error.
        stderr: String,
    },
    /// Anything else, as its own text.
    Other(String),
}

/// How much of a value is looked at: more than a screen shows, less than takes time.
const MOST: usize = 10_000;

/// Looks at a value.
pub(super) fn look(engine: &Engine, shell: &Shell, value: &Dynamic) -> Look {
    let inner = |value: &Dynamic| look(engine, shell, value);
    if value.is_unit() {
        Look::Unit
    } else if let Ok(flag) = value.as_bool() {
        Look::Bool(flag)
    } else if let Ok(number) = value.as_int() {
        Look::Int(number)
    } else if let Ok(number) = value.as_float() {
        Look::Float(number)
    } else if let Some(text) = value.read_lock::<ImmutableString>() {
        Look::Text(text.to_string())
    } else if let Some(list) = value.read_lock::<Array>() {
        Look::List(list.iter().take(MOST).map(inner).collect(), list.len())
    } else if let Some(map) = value.read_lock::<Map>() {
        Look::Map(map.iter().map(|(key, value)| (key.to_string(), inner(value))).collect())
    } else if let Some(blob) = value.read_lock::<Blob>() {
        Look::Blob(blob.iter().take(MOST).copied().collect(), blob.len())
    } else if let Some((id, line)) = handle(shell, value) {
        Look::Handle(id, line)
    } else if let Some(ended) = value.read_lock::<super::bind::proc::ExecResult>() {
        let (stdout, stderr) = ended.output();
        Look::Ended { line: ended.line(), stdout, stderr }
    } else {
        Look::Other(text(engine, value))
    }
}

/// The handle that a value is, with its line.
pub(super) fn handle(shell: &Shell, value: &Dynamic) -> Option<(HandleId, String)> {
    let (kind, id) = handles::KINDS.iter().find_map(|kind| Some((kind.name, (kind.id_of)(value)?)))?;
    let line = match shell.session().peek_handle(id) {
        Some(thing) => thing.line(),
        None => format!("{kind} {} (closed)", shell.session().name_of(id)),
    };
    Some((id, line))
}

/// The type of a value by the name that scripts know.
pub(super) fn type_name(engine: &Engine, value: &Dynamic) -> String {
    match engine.map_type_name(value.type_name()) {
        "string" => "text".into(),
        "i64" | "f64" => "number".into(),
        "array" => "list".into(),
        "bool" => "true or false".into(),
        "()" => "()".into(),
        "Fn" => "function".into(),
        other => short_type(other).into(),
    }
}

fn text(engine: &Engine, value: &Dynamic) -> String {
    if let Some(function) = value.read_lock::<FnPtr>() {
        return match function.fn_name() {
            closure if closure.starts_with("anon$") => "a closure".into(),
            name => format!("the function {name}"),
        };
    }
    let mut copy = value.clone();
    let shown = engine.eval_fn_call::<ImmutableString>("to_string", Some(&mut copy), ());
    shown.map_or_else(|_| value.to_string(), |text| text.to_string())
}
