//! Pages about what is no function: the kinds of errors, units, handles and their clean-up, privileges.

use crate::error::ErrorKind;

/// A page.
#[derive(Debug)]
pub struct Concept {
    /// Its name.
    pub name: &'static str,
    /// Its text, written as a doc comment is: the summary first.
    pub text: &'static str,
}

impl Concept {
    /// Its first line.
    #[must_use]
    pub fn summary(&self) -> &'static str {
        self.text.lines().next().unwrap_or_default()
    }
}

/// Every page, in the order in which they are worth reading.
pub const ALL: &[Concept] = &[
    Concept { name: "language", text: include_str!("pages/language.txt") },
    Concept { name: "handles", text: include_str!("pages/handles.txt") },
    Concept { name: "errors", text: include_str!("pages/errors.txt") },
    Concept { name: "units", text: include_str!("pages/units.txt") },
    Concept { name: "privileges", text: include_str!("pages/privileges.txt") },
];

/// When an error is of this kind.
#[must_use]
pub const fn of_kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidArgument => "An argument or option has the wrong type, value or name.",
        ErrorKind::NotFound => "A file, image, command, process or interface does not exist.",
        ErrorKind::AlreadyExists => "The name or the object is taken.",
        ErrorKind::PermissionDenied => "The kernel or the file system denies it.",
        ErrorKind::Unsupported => "This kernel, host or build cannot do it.",
        ErrorKind::Busy => "Something still uses it.",
        ErrorKind::Closed => "The handle was closed before; the error names the line that closed it.",
        ErrorKind::Timeout => "A deadline passed.",
        ErrorKind::Interrupted => "A signal asked the program to stop.",
        ErrorKind::ExitStatus => "A command ended with a status other than 0, or by a signal.",
        ErrorKind::Corrupt => "Stored data does not match its digest or its format.",
        ErrorKind::LimitReached => "A limit of the kernel, of the session or of the caller was reached.",
        ErrorKind::AssertionFailed => "What a test asserts does not hold.",
        ErrorKind::Internal => "A bug of this program.",
    }
}
