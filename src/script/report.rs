//! What is told to people about an error: plain data, made here because only this layer knows the language, and
//! rendered by the command line.

use crate::error::{Error, ErrorKind};
use crate::script::bind;
use crate::script::error::{Place, ScriptError};
use crate::script::lines::Lines;
use crate::script::native::Native;
use crate::script::options::nearest;
use crate::script::source::home_of;
use rhai::{Dynamic, EvalAltResult, Map, ParseError, ParseErrorType, Position};

/// An error as people are told.
#[derive(Debug)]
pub struct Report {
    /// What is wrong, as one line.
    pub message: String,
    /// Where.
    pub place: Option<Place>,
    /// The chain of causes, outermost first.
    pub causes: Vec<String>,
    /// How the script came there, innermost first: `in call to f`, and where that call is.
    pub frames: Vec<(String, Place)>,
    /// What is shown in several lines: a difference.
    pub detail: Option<String>,
    /// How to mend it.
    pub hint: Option<String>,
    /// Errors of the clean-up that followed.
    pub others: Vec<String>,
    /// The exit code it leads to, see [`exit_code`].
    pub exit_code: u8,
}

/// What helps where a function that a method is given uses the value that the method belongs to.
const RACE: &str = "take what the function needs out of the value before: `let name = g.name; g.paths.map(|path| path.split(name))`";

/// What is likely where calls are too deep.
const ENDLESS: &str = "a function calls itself, or functions each other, without coming to an end";

/// A script error.
pub const EXIT_SCRIPT: u8 = 1;
/// Wrong use of the command line, or a script that does not parse.
pub const EXIT_USAGE: u8 = 2;
/// The host cannot: an uncaught error of kind `permission_denied` or `unsupported`.
pub const EXIT_HOST: u8 = 3;

/// The exit code of an uncaught error of the runtime.
///
/// 125, 126 and 127 for a command that could not be started, run or found, or that says so itself; 3 when the host
/// does not permit or support it; 1 for all others.
#[must_use]
pub fn exit_code(error: &Error) -> u8 {
    let command = error.failure().and_then(|failure| u8::try_from(failure.code).ok());
    match (command, error.kind()) {
        (Some(code @ 125..=127), _) => code,
        (_, ErrorKind::PermissionDenied | ErrorKind::Unsupported) => EXIT_HOST,
        _ => EXIT_SCRIPT,
    }
}

impl Report {
    /// A message without a place in a script.
    #[must_use]
    pub fn plain(message: impl Into<String>, exit_code: u8) -> Self {
        Self {
            message: message.into(),
            place: None,
            causes: Vec::new(),
            frames: Vec::new(),
            detail: None,
            hint: None,
            others: Vec::new(),
            exit_code,
        }
    }

    /// A message about a place.
    #[must_use]
    pub fn at(message: impl Into<String>, source: &str, position: Position, exit_code: u8) -> Self {
        let place = Place { source: source.to_owned(), position };
        Self { place: Some(place), ..Self::plain(message, exit_code) }
    }

    /// An error of the runtime.
    #[must_use]
    pub fn of_error(error: &Error) -> Self {
        Self {
            causes: error.chain(),
            detail: error.detail_text().map(ToOwned::to_owned),
            hint: error.hint_text().map(ToOwned::to_owned),
            others: error.others().iter().map(full_text).collect(),
            ..Self::plain(error.to_string(), exit_code(error))
        }
    }

    /// A script that does not parse.
    #[must_use]
    pub fn of_parse(error: &ParseError, source: &str) -> Self {
        Self::of_syntax(error.err_type(), source, error.position())
    }

    fn of_syntax(kind: &ParseErrorType, source: &str, position: Position) -> Self {
        let hint = match kind {
            ParseErrorType::ModuleUndefined(name) => {
                let near = nearest(name, bind::BINDINGS.iter().map(|binding| binding.name));
                near.map(|near| format!("did you mean `{near}`?"))
            }
            _ => None,
        };
        Self { hint, ..Self::at(own_words(&kind.to_string()), source, position, EXIT_USAGE) }
    }

    /// What ended a script whose main source is `source`.
    #[must_use]
    pub fn of_eval(error: EvalAltResult, source: &str) -> Self {
        let mut frames = Vec::new();
        let (mut error, mut source) = (error, source.to_owned());
        loop {
            let (frame, position, inside, inner) = match error {
                EvalAltResult::ErrorInFunctionCall(name, inside, inner, position) => {
                    (call_frame(&name), position, home_of(&name).unwrap_or(inside), inner)
                }
                EvalAltResult::ErrorInModule(name, inner, position) => {
                    (format!("in import of {name}"), position, name, inner)
                }
                other => {
                    error = other;
                    break;
                }
            };
            if !position.is_none() {
                frames.push((frame, Place { source: source.clone(), position }));
            }
            if !inside.is_empty() {
                source = inside;
            }
            error = *inner;
        }
        frames.reverse();
        let report = Self::of_innermost(error, &source);
        Self { frames, ..report }.told_to_its_caller()
    }

    /// An error that the standard library raises is one of the line that calls it: that comes first, and where it was raised after it.
    fn told_to_its_caller(mut self) -> Self {
        let is_std = |place: &Place| place.source.starts_with("<std/");
        if self.place.as_ref().is_some_and(is_std)
            && let Some(caller) = self.frames.iter().position(|(_, place)| !is_std(place))
        {
            let (_, place) = self.frames.remove(caller);
            if let Some(raised) = self.place.replace(place) {
                self.frames.insert(0, ("raised".to_owned(), raised));
            }
        }
        self
    }

    /// Names the places of an interactive run by what the user knows: the prompt, or a file.
    pub(super) fn relocate(&mut self, lines: &Lines) {
        self.place = self.place.take().map(|place| lines.real(place));
        for (_, place) in &mut self.frames {
            *place = lines.real(place.clone());
        }
    }

    fn of_innermost(mut error: EvalAltResult, source: &str) -> Self {
        if let EvalAltResult::ErrorParsing(kind, position) = error {
            return Self::of_syntax(&kind, source, position);
        }
        if let EvalAltResult::ErrorRuntime(value, position) = &error {
            return Self::of_thrown(value, source, *position);
        }
        let position = error.take_position();
        let (message, hint) = match &error {
            EvalAltResult::ErrorFunctionNotFound(signature, _) => missing_function(signature),
            EvalAltResult::ErrorDataRace(name, _) => (
                format!("a value is changed or looked into by a method while a function uses it ({name})"),
                Some(RACE.to_owned()),
            ),
            EvalAltResult::ErrorStackOverflow(_) => (error.to_string(), Some(ENDLESS.to_owned())),
            _ => (error.to_string(), None),
        };
        Self { hint, ..Self::at(own_words(&message), source, position, EXIT_SCRIPT) }
    }

    fn of_thrown(value: &Dynamic, source: &str, position: Position) -> Self {
        if let Some(error) = value.read_lock::<ScriptError>() {
            let report = match error.runtime() {
                Some(error) => Self::of_error(error),
                None => Self::plain(error.to_string(), EXIT_SCRIPT),
            };
            let mut place = error.place().clone();
            if place.source.is_empty() {
                source.clone_into(&mut place.source);
            }
            return Self { place: Some(place), ..report };
        }
        // A thrown map may have a message of its own; all of it is shown.
        let message = match value.read_lock::<Map>() {
            Some(map) => match map.get("message").filter(|message| message.is_string()) {
                Some(message) => message.to_string(),
                None => format!("thrown: {value}"),
            },
            None if value.is_unit() => "thrown without a value".to_owned(),
            None => value.to_string(),
        };
        Self::at(message, source, position, EXIT_SCRIPT)
    }
}

/// An error with its causes in one line.
#[must_use]
pub fn full_text(error: &Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain() {
        text.push_str(": ");
        text.push_str(&cause);
    }
    text
}

fn call_frame(name: &str) -> String {
    if name.starts_with("anon$") { "in a closure called".into() } else { format!("in call to {name}") }
}

/// A call of a module's function that was not found: what is wrong, and which one may have been meant.
fn missing_function(signature: &str) -> (String, Option<String>) {
    let (name, types) = signature.split_once(" (").unwrap_or((signature, ""));
    let types = types.trim_end_matches(')');
    let count = if types.is_empty() { 0 } else { types.split(", ").count() };
    match unknown_function(name, count) {
        Some((message, hint)) => (message, hint),
        None => (format!("there is no function {name} for ({types})"), None),
    }
}

/// What is wrong about a call of a native `module::name` with so many arguments, and what may have been meant.
///
/// `None` when the module is none of ours, or when nothing is wrong.
#[must_use]
pub fn unknown_function(name: &str, count: usize) -> Option<(String, Option<String>)> {
    let (module, function) = name.split_once("::")?;
    let binding = bind::BINDINGS.iter().find(|binding| binding.name == module)?;
    let Some(native) = binding.function(function) else {
        let known = binding.natives.iter().filter(|native| native.op.contains("::")).map(Native::name);
        let hint = nearest(function, known).map(|near| format!("did you mean `{module}::{near}`?"));
        return Some((format!("there is no function `{name}`"), hint));
    };
    let arity = native.arity();
    let takes = match (*arity.start(), *arity.end()) {
        _ if arity.contains(&count) => return None,
        (0, 0) => "no argument".into(),
        (1, 1) => "1 argument".into(),
        (least, most) if least == most => format!("{least} arguments"),
        (least, most) => format!("{least} to {most} arguments"),
    };
    let hint = format!("it is written {}", native.signature());
    Some((format!("`{name}` takes {takes}, not {count}"), Some(hint)))
}

/// The message of an error of the language as we put it: one line, without the position, our names of types.
#[must_use]
pub(super) fn own_words(text: &str) -> String {
    let text = text.replace("&str | ImmutableString | String", "text");
    lower_first(&text.replace("i64", "number").replace("f64", "number"))
}

/// The messages of the language start with a capital letter, ours do not.
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}
