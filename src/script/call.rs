//! One call of a native function: where it was written, on which session it works, and how an error leaves it.

use crate::error::{Error, ErrorKind};
use crate::runtime::session::Session;
use crate::script::error::{Place, raise};
use crate::script::shell::Shell;
use rhai::{Dynamic, EvalAltResult, FnPtr, NativeCallContext};
use std::rc::Rc;

/// Why a native did not return a value: an error of the runtime, or what a callback of the script threw.
#[derive(Debug)]
pub enum Raised {
    /// An error of the runtime: it leaves with the position of the call.
    Error(Error),
    /// What a function of the script raised: it leaves as it is.
    Script(Box<EvalAltResult>),
}

impl From<Error> for Raised {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Box<EvalAltResult>> for Raised {
    fn from(error: Box<EvalAltResult>) -> Self {
        Self::Script(error)
    }
}

/// The result of a native that calls functions of the script.
pub type Outcome<T> = Result<T, Raised>;

/// One call of a native function.
pub struct Call<'a> {
    pub(super) ctx: NativeCallContext<'a>,
    op: &'static str,
    shell: &'a Rc<Shell>,
}

impl std::fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "call of {} at {:?}", self.op, self.ctx.call_position())
    }
}

impl<'a> Call<'a> {
    pub(super) fn new(ctx: NativeCallContext<'a>, op: &'static str, shell: &'a Rc<Shell>) -> Self {
        Self { ctx, op, shell }
    }

    /// The script-visible name of the function: `net::veth`, `Ns.exec`.
    #[must_use]
    pub fn op(&self) -> &'static str {
        self.op
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &Rc<Session> {
        self.shell.session()
    }

    /// What the run shares.
    #[must_use]
    pub fn shell(&self) -> &Rc<Shell> {
        self.shell
    }

    /// The source that the call is written in. The language takes a closure for a part of what calls it.
    #[must_use]
    pub fn source(&self) -> String {
        let claimed = self.ctx.call_source().unwrap_or_else(|| self.shell.script());
        self.shell.source_of_call(claimed, self.ctx.call_position(), self.op)
    }

    /// The script line of the call: `build.rhai:12`.
    #[must_use]
    pub fn place(&self) -> String {
        let place = Place { source: self.source(), position: self.ctx.call_position() };
        let Place { source, position } = self.shell.lines().real(place);
        match position.line() {
            Some(line) => format!("{source}:{line}"),
            None => source,
        }
    }

    /// The source and the line of the call; 0 where it has none.
    #[must_use]
    pub fn source_line(&self) -> (String, usize) {
        let place = self.place();
        let split =
            place.rsplit_once(':').and_then(|(source, line)| Some((source.to_owned(), line.parse().ok()?)));
        split.unwrap_or((place, 0))
    }

    /// An error of kind `invalid_argument` in this call.
    #[must_use]
    pub fn invalid(&self, what: impl Into<String>) -> Error {
        Error::new(ErrorKind::InvalidArgument, self.op, what)
    }

    /// Checks that a function takes so many values; one whose definition is not known passes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`].
    pub fn check_takes(&self, function: &FnPtr, count: usize) -> Result<(), Error> {
        const MOST: usize = 8;
        let given = function.curry().len();
        let takes = |count: usize| {
            let name = function.fn_name();
            self.ctx.iter_namespaces().any(|space| space.get_script_fn(name, count).is_some())
        };
        if takes(given + count) {
            return Ok(());
        }
        let Some(known) = (given..=given + MOST).find(|count| takes(*count)) else { return Ok(()) };
        let number =
            |count: usize| if count == 1 { "one value".to_owned() } else { format!("{count} values") };
        let (takes, gets) =
            (number(known - given), if count == 0 { "none".to_owned() } else { number(count) });
        let error = self.invalid(format!("the function takes {takes}, and is given {gets}"));
        Err(match count {
            0 => error.hint("write it || …"),
            1 => error.hint("write it |value| …; of a list or a map take the parts inside of it"),
            _ => error,
        })
    }

    /// Calls a function of the script. What it throws comes back as [`Raised::Script`]: let it pass with `?`.
    ///
    /// # Errors
    /// What the function throws.
    pub fn invoke(&self, function: &FnPtr, args: impl AsMut<[Dynamic]>) -> Outcome<Dynamic> {
        let result = function.call_raw(&self.ctx, None, args)?;
        // Calls in the function have set their own place.
        self.session().set_at(Some(self.place()));
        Ok(result)
    }

    pub(super) fn leave<T>(&self, result: Outcome<T>) -> Result<T, Box<EvalAltResult>> {
        match result {
            Ok(value) => Ok(value),
            Err(Raised::Error(error)) => Err(raise(error, Some(&self.source()), self.ctx.call_position())),
            Err(Raised::Script(thrown)) => Err(thrown),
        }
    }
}
