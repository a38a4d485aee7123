//! Errors as scripts see them.
//!
//! [`raise`] is the only way an error of the runtime leaves a binding: as a value of type [`ScriptError`] with the
//! position of the call. In a script, `catch (e)` then reads `e.kind`, `e.code` and the others of [`FIELDS`].
//! Errors of the language itself are given the same shape by [`shape_caught`].

use crate::error::{Error, ErrorKind};
use crate::script::report::own_words;
use rhai::{Array, Dynamic, EvalAltResult, Map, Position};
use std::fmt;
use std::rc::Rc;

/// The properties of a caught error, with what they hold.
pub const FIELDS: &[(&str, &str)] = &[
    ("kind", "one of the closed list of kinds, such as `\"permission_denied\"`"),
    ("message", "the error as one line"),
    ("op", "the function that failed, such as `\"net::veth\"`"),
    ("code", "the errno by name, such as `\"EBUSY\"`, or `()`"),
    ("errno", "the errno as a number, or `()`"),
    ("syscall", "the failed system call as strace would show it, or `()`"),
    ("path", "the path the error is about, or `()`"),
    ("hint", "how to mend it, or `()`"),
    ("detail", "more on it in several lines, such as in what two values differ, or `()`"),
    ("causes", "the chain of causes, outermost first, as a list of text"),
    ("source", "the file of the call"),
    ("line", "its line"),
    ("position", "its column"),
    ("exit_code", "the exit code of a command that failed, or `()`"),
    ("signal", "the signal that ended it, or `()`"),
    ("reason", "why it ended, such as `\"timeout\"`, or `()`"),
    ("stderr", "the end of what it wrote to its standard error, or `()`"),
];

/// Where an error was raised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The source: a path, or a name such as `<stdin>`.
    pub source: String,
    /// The position in it.
    pub position: Position,
}

#[derive(Debug)]
enum Cause {
    Runtime(Error),
    Language { kind: ErrorKind, message: String, fields: Map },
}

/// An error as a value of the language.
#[derive(Clone, Debug)]
pub struct ScriptError {
    cause: Rc<Cause>,
    place: Place,
}

impl ScriptError {
    /// The error of the runtime behind it, if it is not one of the language.
    #[must_use]
    pub fn runtime(&self) -> Option<&Error> {
        match &*self.cause {
            Cause::Runtime(error) => Some(error),
            Cause::Language { .. } => None,
        }
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match &*self.cause {
            Cause::Runtime(error) => error.kind(),
            Cause::Language { kind, .. } => *kind,
        }
    }

    /// Where it was raised.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// A property, as the script reads it. A name that is none reads as `()`.
    pub fn field(&self, name: &str) -> Dynamic {
        match (name, &*self.cause) {
            ("kind", _) => self.kind().name().into(),
            ("message", _) => self.to_string().into(),
            ("line", _) => number(self.place.position.line()),
            ("position", _) => number(self.place.position.position()),
            ("source", _) => self.place.source.clone().into(),
            (_, Cause::Runtime(error)) => runtime_field(error, name),
            ("op", Cause::Language { fields, .. }) => {
                // The function without the types it was called with. A closure has no name.
                let called = fields.get("function").map(ToString::to_string).unwrap_or_default();
                let name =
                    called.split(" (").next().filter(|name| !name.is_empty() && !name.starts_with("anon$"));
                text(name)
            }
            ("causes", Cause::Language { .. }) => Array::new().into(),
            (_, Cause::Language { fields, .. }) => fields.get(name).cloned().unwrap_or(Dynamic::UNIT),
        }
    }
}

fn number(value: Option<usize>) -> Dynamic {
    value.and_then(|value| i64::try_from(value).ok()).map_or(Dynamic::UNIT, Dynamic::from)
}

fn text(value: Option<&str>) -> Dynamic {
    value.map_or(Dynamic::UNIT, |value| value.to_owned().into())
}

fn runtime_field(error: &Error, name: &str) -> Dynamic {
    match name {
        "op" => error.op().into(),
        "code" => error.errno().map_or(Dynamic::UNIT, |errno| format!("{errno:?}").into()),
        "errno" => error.errno().map_or(Dynamic::UNIT, |errno| Dynamic::from(errno as i64)),
        "syscall" => error.syscall().map_or(Dynamic::UNIT, |call| call.to_string().into()),
        "path" => text(error.path_text()),
        "hint" => text(error.hint_text()),
        "detail" => text(error.detail_text()),
        "causes" => error.chain().into_iter().map(Dynamic::from).collect::<Array>().into(),
        _ => error.failure().map_or(Dynamic::UNIT, |failure| match name {
            "exit_code" => i64::from(failure.code).into(),
            "signal" => text(failure.signal.as_deref()),
            "reason" => failure.reason.clone().into(),
            "stderr" => failure.stderr.clone().into(),
            _ => Dynamic::UNIT,
        }),
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.cause {
            Cause::Runtime(error) => {
                write!(f, "{error}")?;
                error.chain().iter().try_for_each(|cause| write!(f, ": {cause}"))
            }
            Cause::Language { message, .. } => f.write_str(message),
        }
    }
}

/// An error of the runtime as the engine carries it: the one way an error leaves a binding.
pub fn raise(error: Error, source: Option<&str>, position: Position) -> Box<EvalAltResult> {
    let place = Place { source: source.unwrap_or_default().to_owned(), position };
    let value = ScriptError { cause: Rc::new(Cause::Runtime(error)), place };
    EvalAltResult::ErrorRuntime(Dynamic::from(value), position).into()
}

/// Gives an error of the language that a script caught, which is a map, the shape of all others.
///
/// Everything else (what the script itself threw, our own errors) passes as it is.
pub fn shape_caught(caught: Dynamic) -> Dynamic {
    let Some(map) = caught.read_lock::<Map>() else { return caught };
    let get = |key: &str| map.get(key).cloned().unwrap_or(Dynamic::UNIT);
    let (Ok(name), Ok(message)) = (get("error").into_string(), get("message").into_string()) else {
        drop(map);
        return caught;
    };
    let Some(kind) = kind_of(&name) else {
        drop(map);
        return caught;
    };
    let coordinate = |key: &str| get(key).as_int().ok().and_then(|value| u16::try_from(value).ok());
    let outer = Place {
        source: get("source").into_string().unwrap_or_default(),
        position: coordinate("line")
            .map_or(Position::NONE, |line| Position::new(line, coordinate("position").unwrap_or(0))),
    };
    let (message, inner) = cut_place(&message);
    let cause = Cause::Language { kind, message: own_words(message), fields: map.clone() };
    drop(map);
    Dynamic::from(ScriptError { cause: Rc::new(cause), place: inner.unwrap_or(outer) })
}

/// Cuts what the language appends when the error came out of a function:
/// `… @ 'lib.rhai' (line 2, position 27)` and a line for each call.
fn cut_place(message: &str) -> (&str, Option<Place>) {
    let line = message.lines().next().unwrap_or_default();
    let cut = || {
        let (text, place) = line.strip_suffix(')')?.rsplit_once(" (line ")?;
        let (row, column) = place.split_once(", position ")?;
        let position = Position::new(row.parse().ok()?, column.parse().ok()?);
        let (text, source) = match text.strip_suffix('\'').and_then(|text| text.rsplit_once(" @ '")) {
            Some((text, source)) => (text, source.to_owned()),
            None => (text, String::new()),
        };
        Some((text, Some(Place { source, position })))
    };
    cut().unwrap_or((line, None))
}

/// The kind of an error of the language, by the name of its variant.
fn kind_of(variant: &str) -> Option<ErrorKind> {
    Some(match variant {
        "ErrorVariableNotFound"
        | "ErrorFunctionNotFound"
        | "ErrorPropertyNotFound"
        | "ErrorModuleNotFound"
        | "ErrorIndexNotFound" => ErrorKind::NotFound,
        "ErrorDataTooLarge" | "ErrorTooManyVariables" | "ErrorStackOverflow" => ErrorKind::LimitReached,
        _ if variant.starts_with("Error") => ErrorKind::InvalidArgument,
        _ => return None,
    })
}
