//! One call of a native function: where it was written, on which session it works, and how an error leaves it.

use crate::error::{Error, ErrorKind};
use crate::runtime::session::Session;
use crate::script::error::{At as _, Place};
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

    /// The script line of the call: `build.rhai:12`.
    #[must_use]
    pub fn place(&self) -> String {
        let source = self.ctx.call_source().unwrap_or_else(|| self.shell.script());
        let place = Place { source: source.to_owned(), position: self.ctx.call_position() };
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
            Err(Raised::Error(error)) => Err(error).at(&self.ctx),
            Err(Raised::Script(thrown)) => Err(thrown),
        }
    }
}
