//! Mechanism: one family of system calls per file, typed, `OwnedFd` in and out.
//!
//! Every wrapper goes through `call`, which gives three things at once: the error that prints the call as
//! strace would, the record that `--trace` shows, and the place where a test makes a call fail. There is no
//! policy here: nothing retries, logs or falls back. The only unsafe code of the program is below this module.

pub mod bpf;
pub mod calls;
pub mod child;
pub mod clone;
pub mod fault;
pub mod feature;
pub mod file;
pub mod fork;
pub mod holder;
pub mod inode;
pub mod keyring;
pub mod lock;
pub mod loopdev;
pub mod mount;
mod netlink;
pub mod nft;
pub mod nsfd;
pub mod passing;
pub mod payload;
pub mod process;
mod raw;
pub mod record;
pub mod route;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod stage;
pub mod sysv;
pub mod tty;

pub use nix::errno::Errno;
use std::fmt;

/// A failed system call, with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SysError {
    name: &'static str,
    args: String,
    errno: Errno,
}

impl SysError {
    /// The call `name(args)` failed with `errno`.
    #[must_use]
    pub fn new(name: &'static str, args: String, errno: Errno) -> Self {
        Self { name, args, errno }
    }

    /// A step of a child, written as a call, failed with `errno`. Shown as having happened in the child.
    #[must_use]
    pub fn of_child(call: &str, errno: Errno) -> Self {
        Self { name: "child", args: call.to_owned(), errno }
    }

    /// The errno.
    #[must_use]
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// The name of the call.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The call as written in C: `mount("overlay", "/x")`.
    #[must_use]
    pub fn call(&self) -> String {
        match self.name {
            "child" => self.args.clone(),
            name => format!("{name}({})", self.args),
        }
    }
}

impl fmt::Display for SysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let child = if self.name == "child" { ", in the new process" } else { "" };
        write!(f, "{} = -1 {:?} ({}){child}", self.call(), self.errno, describe(self.errno))
    }
}

impl std::error::Error for SysError {}

/// The text of an errno, as libc has it.
fn describe(errno: Errno) -> &'static str {
    errno.desc()
}

/// The names of flags as C has them, with the prefix that a crate leaves out; `0` for none.
pub(crate) fn flag_names<'a, F>(prefix: &str, names: impl Iterator<Item = (&'a str, F)>) -> String {
    let names: Vec<String> = names.map(|(name, _)| format!("{prefix}{name}")).collect();
    if names.is_empty() { "0".into() } else { names.join("|") }
}

/// The result of a wrapper.
pub type Result<T> = std::result::Result<T, SysError>;

/// How a result is shown in a trace.
pub trait Outcome {
    /// The text after the `=`.
    fn show(&self) -> String;
}

impl Outcome for () {
    fn show(&self) -> String {
        "0".into()
    }
}

macro_rules! outcome_by_display {
    ($($t:ty),*) => { $(impl Outcome for $t { fn show(&self) -> String { self.to_string() } })* };
}
outcome_by_display!(i32, u32, i64, u64, usize, bool, String);

impl Outcome for std::os::fd::OwnedFd {
    fn show(&self) -> String {
        use std::os::fd::AsRawFd;
        self.as_raw_fd().to_string()
    }
}

impl Outcome for Vec<u8> {
    fn show(&self) -> String {
        self.len().to_string()
    }
}

impl<A: Outcome, B: Outcome> Outcome for (A, B) {
    fn show(&self) -> String {
        format!("[{}, {}]", self.0.show(), self.1.show())
    }
}

impl<T: Outcome> Outcome for Option<T> {
    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "0".into(), Outcome::show)
    }
}

/// Runs one system call: the gate that all wrappers pass.
///
/// `args` is only rendered when the call fails or is being recorded.
pub(crate) fn call<T: Outcome, E: Into<Fail>>(
    name: &'static str,
    args: impl Fn() -> String,
    body: impl FnOnce() -> std::result::Result<T, E>,
) -> Result<T> {
    let started = record::clock();
    let outcome = match fault::strike(name) {
        Some(errno) => Err(errno),
        None => body().map_err(|error| error.into().0),
    };
    record::finish(started, name, &args, outcome.as_ref().map(Outcome::show).map_err(|errno| *errno));
    outcome.map_err(|errno| SysError::new(name, args(), errno))
}

/// An errno from whichever crate made the call.
pub(crate) struct Fail(Errno);

impl From<Errno> for Fail {
    fn from(errno: Errno) -> Self {
        Self(errno)
    }
}

impl From<rustix::io::Errno> for Fail {
    fn from(errno: rustix::io::Errno) -> Self {
        Self(Errno::from_raw(errno.raw_os_error()))
    }
}

impl From<std::io::Error> for Fail {
    fn from(error: std::io::Error) -> Self {
        Self(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    }
}
