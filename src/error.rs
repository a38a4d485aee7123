//! The one error type of the library.
//!
//! An [`Error`] says what was attempted (`op`), on what (`subject`), what went wrong (`what`), of which
//! closed [`ErrorKind`] it is, and what would mend it (`hint`). Its source is usually a [`SysError`], which
//! prints the failed call as strace would show it. Errors are values: nothing here logs.

use crate::sys::{Errno, SysError};
use std::fmt;

/// The result of every fallible call of the runtime.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What an error is, for programs: scripts read it as `e.kind`. The list is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// An argument or option has the wrong type, value or name.
    InvalidArgument,
    /// A file, image, command, process or interface does not exist.
    NotFound,
    /// The name or object is taken.
    AlreadyExists,
    /// The kernel or the file system denies it.
    PermissionDenied,
    /// This kernel, host or build cannot do it.
    Unsupported,
    /// Something still uses it.
    Busy,
    /// The handle was closed before.
    Closed,
    /// A deadline passed.
    Timeout,
    /// A signal asked the program to stop.
    Interrupted,
    /// A command ended with a status other than 0, or by a signal.
    ExitStatus,
    /// Stored data does not match its digest or its format.
    Corrupt,
    /// A limit of the kernel, of the session or of the caller was reached.
    LimitReached,
    /// What a test asserts does not hold.
    AssertionFailed,
    /// A bug of this program.
    Internal,
}

impl ErrorKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 14] = [
        Self::InvalidArgument,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::Unsupported,
        Self::Busy,
        Self::Closed,
        Self::Timeout,
        Self::Interrupted,
        Self::ExitStatus,
        Self::Corrupt,
        Self::LimitReached,
        Self::AssertionFailed,
        Self::Internal,
    ];

    /// The name that scripts compare with, such as `permission_denied`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::PermissionDenied => "permission_denied",
            Self::Unsupported => "unsupported",
            Self::Busy => "busy",
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::Interrupted => "interrupted",
            Self::ExitStatus => "exit_status",
            Self::Corrupt => "corrupt",
            Self::LimitReached => "limit_reached",
            Self::AssertionFailed => "assertion_failed",
            Self::Internal => "internal",
        }
    }

    /// The kind an errno usually means. A call where it means something else sets the kind itself.
    #[must_use]
    pub const fn of_errno(errno: Errno) -> Self {
        match errno {
            Errno::ENOENT | Errno::ESRCH | Errno::ENODEV | Errno::ENXIO | Errno::ENOTDIR => Self::NotFound,
            Errno::EEXIST | Errno::EADDRINUSE => Self::AlreadyExists,
            Errno::EPERM | Errno::EACCES | Errno::EROFS => Self::PermissionDenied,
            Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT => {
                Self::Unsupported
            }
            Errno::EBUSY | Errno::ETXTBSY | Errno::ENOTEMPTY => Self::Busy,
            Errno::ETIMEDOUT => Self::Timeout,
            Errno::EINTR => Self::Interrupted,
            Errno::ENOSPC
            | Errno::EMFILE
            | Errno::ENFILE
            | Errno::ENOMEM
            | Errno::EDQUOT
            | Errno::EAGAIN
            | Errno::EXFULL
            | Errno::E2BIG => Self::LimitReached,
            _ => Self::InvalidArgument,
        }
    }
}

/// What mends an errno that means the same wherever it comes from.
fn usual_hint(errno: Errno) -> Option<String> {
    let hint = match errno {
        Errno::EMFILE => "this program may have no more open files: see `ulimit -n`, and close handles",
        Errno::ENFILE => "the machine may have no more open files: see fs.file-max",
        _ => return None,
    };
    Some(hint.to_owned())
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a command ended, carried by errors of kind [`ErrorKind::ExitStatus`] and by failed starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandFailure {
    /// The exit code; 128 + n after signal n; 126 or 127 when it could not be run or found.
    pub code: i32,
    /// The name of the signal, if one ended it.
    pub signal: Option<String>,
    /// Why it ended: `exited`, `signaled`, `timeout`, `oom`, `output`, `cancelled`.
    pub reason: String,
    /// The last part of what it wrote to its standard error.
    pub stderr: String,
}

#[derive(Debug)]
struct Inner {
    op: &'static str,
    subject: String,
    what: String,
    kind: ErrorKind,
    hint: Option<String>,
    detail: Option<String>,
    path: Option<String>,
    command: Option<CommandFailure>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    also: Vec<Error>,
}

/// An error of the runtime. Displays as `op subject: what`, without its causes; see [`Error::chain`].
pub struct Error(Box<Inner>);

impl Error {
    /// An error of `kind` in the script-visible operation `op` (`fs::overlay`).
    pub fn new(kind: ErrorKind, op: &'static str, what: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            op,
            subject: String::new(),
            what: what.into(),
            kind,
            hint: None,
            detail: None,
            path: None,
            command: None,
            source: None,
            also: Vec::new(),
        }))
    }

    /// An error whose cause is a failed system call; the kind follows from its errno.
    #[must_use]
    pub fn sys(op: &'static str, what: impl Into<String>, source: SysError) -> Self {
        let mut error = Self::new(ErrorKind::of_errno(source.errno()), op, what);
        error.0.hint = usual_hint(source.errno());
        error.0.source = Some(Box::new(source));
        error
    }

    /// An error whose cause is a failed call of the standard library.
    #[must_use]
    pub fn io(op: &'static str, what: impl Into<String>, source: std::io::Error) -> Self {
        let kind =
            source.raw_os_error().map_or(ErrorKind::Corrupt, |n| ErrorKind::of_errno(Errno::from_raw(n)));
        let mut error = Self::new(kind, op, what);
        error.0.hint = source.raw_os_error().and_then(|n| usual_hint(Errno::from_raw(n)));
        error.0.source = Some(Box::new(source));
        error
    }

    /// Names the thing the operation was about: a path, a name, an id.
    #[must_use]
    pub fn subject(mut self, subject: impl fmt::Display) -> Self {
        self.0.subject = subject.to_string();
        self
    }

    /// Says how to mend it, as one sentence without a full stop.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Shows more than a line of it: a difference. Not part of the message.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Replaces the kind, where an errno means something else than usual.
    #[must_use]
    pub fn kind_is(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Names the path that scripts read as `e.path`.
    #[must_use]
    pub fn path(mut self, path: impl AsRef<std::path::Path>) -> Self {
        self.0.path = Some(path.as_ref().display().to_string());
        self
    }

    /// Attaches a cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Box::new(source));
        self
    }

    /// Attaches how a command ended.
    #[must_use]
    pub fn command(mut self, failure: CommandFailure) -> Self {
        self.0.command = Some(failure);
        self
    }

    /// Attaches errors of the clean-up that followed this one.
    #[must_use]
    pub fn also(mut self, mut others: Vec<Error>) -> Self {
        self.0.also.append(&mut others);
        self
    }

    /// Replaces the operation: for helpers that several calls share.
    #[must_use]
    pub fn in_op(mut self, op: &'static str) -> Self {
        self.0.op = op;
        self
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The script-visible operation, such as `fs::overlay`.
    #[must_use]
    pub fn op(&self) -> &'static str {
        self.0.op
    }

    /// How to mend it, if that is known.
    #[must_use]
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// What is shown of it in several lines.
    #[must_use]
    pub fn detail_text(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// The path the error is about, if any.
    #[must_use]
    pub fn path_text(&self) -> Option<&str> {
        self.0.path.as_deref()
    }

    /// How the command ended, if the error is about one.
    #[must_use]
    pub fn failure(&self) -> Option<&CommandFailure> {
        self.0.command.as_ref()
    }

    /// Errors of the clean-up that followed.
    #[must_use]
    pub fn others(&self) -> &[Error] {
        &self.0.also
    }

    /// The failed system call at the end of the cause chain, if there is one.
    #[must_use]
    pub fn syscall(&self) -> Option<&SysError> {
        let mut next: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(self);
        while let Some(source) = next {
            if let Some(call) = source.downcast_ref::<SysError>() {
                return Some(call);
            }
            next = source.source();
        }
        None
    }

    /// The errno at the end of the cause chain, if there is one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        self.syscall().map(SysError::errno).or_else(|| {
            let source = self.0.source.as_ref()?.downcast_ref::<std::io::Error>()?;
            source.raw_os_error().map(Errno::from_raw)
        })
    }

    /// The texts of the causes, outermost first, without this error's own.
    #[must_use]
    pub fn chain(&self) -> Vec<String> {
        let mut texts = Vec::new();
        let mut next = std::error::Error::source(self);
        while let Some(source) = next {
            texts.push(source.to_string());
            next = source.source();
        }
        texts
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.op)?;
        if !self.0.subject.is_empty() {
            write!(f, " {}", self.0.subject)?;
        }
        write!(f, ": {}", self.0.what)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} [{}]", self.0.kind)?;
        for cause in self.chain() {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| {
            let source: &(dyn std::error::Error + 'static) = source.as_ref();
            source
        })
    }
}

impl From<SysError> for Error {
    /// For calls between threads, where the operation is named afterwards with [`Error::in_op`].
    fn from(source: SysError) -> Self {
        Self::sys("sys", "a system call failed", source)
    }
}

/// Turns the error of a system call into an [`Error`] with its context, by value and once.
pub trait SysContext<T> {
    /// Says what was attempted: `sys::mount::move_mount(…).context("fs::overlay", "cannot attach the mount")`.
    ///
    /// # Errors
    /// The same failure, with the context.
    fn context(self, op: &'static str, what: impl Into<String>) -> Result<T>;
}

impl<T> SysContext<T> for std::result::Result<T, SysError> {
    fn context(self, op: &'static str, what: impl Into<String>) -> Result<T> {
        self.map_err(|source| Error::sys(op, what, source))
    }
}

impl<T> SysContext<T> for std::io::Result<T> {
    fn context(self, op: &'static str, what: impl Into<String>) -> Result<T> {
        self.map_err(|source| Error::io(op, what, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_ends_at_the_system_call() {
        let call = SysError::new("mount", "\"overlay\", \"/x\"".into(), Errno::EBUSY);
        let error = Error::sys("fs::overlay", "cannot mount", call).subject("/x");
        assert_eq!(error.to_string(), "fs::overlay /x: cannot mount");
        assert_eq!(error.chain(), ["mount(\"overlay\", \"/x\") = -1 EBUSY (Device or resource busy)"]);
        assert_eq!(error.kind(), ErrorKind::Busy);
        assert_eq!(error.errno(), Some(Errno::EBUSY));
    }
}
