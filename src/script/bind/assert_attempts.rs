//! Assertions on what a function of the script does: that it fails, or comes to hold.

use crate::error::ErrorKind;
use crate::runtime::attend;
use crate::script::assertion::shown;
use crate::script::bind::assert_calls::{Patience, failed};
use crate::script::call::{Call, Outcome, Raised};
use crate::script::convert::Either;
use crate::script::error::{ScriptError, shape_caught};
use rhai::{Dynamic, EvalAltResult, FnPtr, Map};
use std::time::{Duration, Instant};

/// What a function of the script threw, as `catch` gives it; or what it returned. What ends the script passes, and so does that
/// another runtime was not asked: nothing is known of it then.
pub(super) fn attempt(call: &Call<'_>, f: &FnPtr) -> Outcome<std::result::Result<Dynamic, Dynamic>> {
    let refused = || call.session().foreign().map_or(0, |foreign| foreign.refused());
    let before = refused();
    match call.invoke(f, []) {
        Err(raised) if refused() > before => Err(raised),
        Ok(value) => Ok(Ok(value)),
        Err(Raised::Error(error)) => Err(error.into()),
        Err(Raised::Script(error)) => match error.unwrap_inner() {
            EvalAltResult::ErrorTerminated(..) | EvalAltResult::Exit(..) => Err(Raised::Script(error)),
            EvalAltResult::ErrorRuntime(value, _) => Ok(Err(value.clone())),
            other => {
                // As the language itself would give it to `catch`.
                let mut map = Map::new();
                let debug = format!("{other:?}");
                let name: String = debug.chars().take_while(|c| c.is_alphanumeric()).collect();
                map.insert("error".into(), name.into());
                map.insert("message".into(), other.to_string().into());
                Ok(Err(shape_caught(map.into())))
            }
        },
    }
}

/// The kind of what was thrown.
fn kind_of(thrown: &Dynamic) -> String {
    if let Some(error) = thrown.read_lock::<ScriptError>() {
        return error.kind().name().to_owned();
    }
    let map = thrown.read_lock::<Map>();
    map.and_then(|map| map.get("kind").map(ToString::to_string)).unwrap_or_default()
}

/// What was thrown, in the words of its message.
fn thrown_text(thrown: &Dynamic) -> String {
    match thrown.read_lock::<ScriptError>() {
        Some(error) => error.to_string(),
        None => shown(thrown),
    }
}

/// What is said of it: the message and the hint.
fn said(thrown: &Dynamic) -> String {
    if let Some(error) = thrown.read_lock::<ScriptError>() {
        let hint = error.runtime().and_then(crate::error::Error::hint_text).unwrap_or_default();
        return format!("{}\n{hint}", &*error);
    }
    let map = thrown.read_lock::<Map>();
    let of =
        |key: &str| map.as_ref().and_then(|map| map.get(key)).map(ToString::to_string).unwrap_or_default();
    if map.is_some() { format!("{}\n{}", of("message"), of("hint")) } else { thrown.to_string() }
}

pub(super) fn throws(
    call: &Call<'_>,
    kind: String,
    words: Either<FnPtr, String>,
    f: Option<FnPtr>,
) -> Outcome<Dynamic> {
    let (words, f) = match (words, f) {
        (Either::Left(f), None) => (String::new(), f),
        (Either::Right(words), Some(f)) => (words, f),
        _ => return Err(call.invalid("is written (kind, f) or (kind, words, f)").into()),
    };
    let known = ErrorKind::ALL.map(ErrorKind::name);
    if kind != "any" && !known.contains(&kind.as_str()) {
        let near = crate::script::options::did_you_mean(&kind, known);
        return Err(call.invalid(format!("there is no kind of error {kind:?}{near}")).into());
    }
    match attempt(call, &f)? {
        Ok(value) => Err(failed(call, format!("it did not fail, it returned {}", shown(&value))).into()),
        Err(thrown) if kind == "any" || kind_of(&thrown) == kind => {
            if said(&thrown).contains(&words) {
                return Ok(thrown);
            }
            let error = failed(call, format!("it failed, but {words:?} is not in what is said"));
            Err(error.detail(format!("said: {}", said(&thrown).trim_end())).into())
        }
        Err(thrown) => {
            let came = kind_of(&thrown);
            let what = match came.is_empty() {
                true => format!("it failed, but not with {kind}"),
                false => format!("it failed with {came}, not with {kind}"),
            };
            Err(failed(call, what).detail(format!("thrown: {}", thrown_text(&thrown))).into())
        }
    }
}

pub(super) fn eventually(
    call: &Call<'_>,
    options: Either<FnPtr, Patience>,
    f: Option<FnPtr>,
) -> Outcome<Dynamic> {
    let (patience, f) = match (options, f) {
        (Either::Left(f), None) => {
            (Patience { timeout: Duration::from_secs(5), every: Duration::from_millis(20) }, f)
        }
        (Either::Right(patience), Some(f)) => (patience, f),
        _ => return Err(call.invalid("is written (f) or (options, f)").into()),
    };
    let deadline = Instant::now() + patience.timeout;
    loop {
        let last = match attempt(call, &f)? {
            Ok(value) if !value.is_unit() && value.as_bool() != Ok(false) => return Ok(value),
            Ok(value) => format!("it returned {}", shown(&value)),
            Err(thrown) => format!("it threw {}", thrown_text(&thrown)),
        };
        if Instant::now() >= deadline {
            let what = format!(
                "it does not come to hold within {}",
                crate::runtime::units::show_duration(patience.timeout)
            );
            let error = failed(call, what).detail(format!("last: {last}"));
            let error = match last == "it returned ()" {
                true => {
                    error.hint("what returns nothing has not come to hold: behind an assertion, return true")
                }
                false => error,
            };
            return Err(error.into());
        }
        attend::sleep(call.session(), call.op(), deadline.min(Instant::now() + patience.every))?;
    }
}
