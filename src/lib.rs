//! cshell: a container shell.
//!
//! The kernel's container primitives (namespaces, control groups, overlays, network links, processes, image layers)
//! as a Rust library and as functions of an embedded script language. The layers, outermost first:
//!
//! ```text
//! main -> cli -> { repl, testrun } -> text -> script -> runtime -> sys
//!                               error  <- everyone
//! ```
//!
//! * [`sys`]: one family of system calls per file; the only unsafe code.
//! * [`runtime`]: the container engine. Every change is a step of a [`runtime::session::Session`].
//! * `script`: the only place that knows the language (feature `shell`).
//! * `text`: errors and traces as people read them (feature `shell`).
//! * `repl`: the prompt (feature `shell`).
//! * `testrun`: runs test files (feature `shell`).
//! * `cli`: the command line (feature `shell`).
//!
//! Everything a script can do, a Rust program can do:
//!
//! ```no_run
//! use cshell::runtime::{session::Session, state::StateDirs};
//! let session = Session::new(StateDirs::from_env())?;
//! // … calls of cshell::runtime::{ns, cgroup, fs, net, proc, image} with `&session` …
//! let errors = session.close();
//! assert!(errors.is_empty());
//! # Ok::<(), cshell::error::Error>(())
//! ```

pub mod error;
pub mod runtime;
pub mod sys;

#[cfg(feature = "shell")]
pub mod cli;
#[cfg(feature = "shell")]
pub mod repl;
#[cfg(feature = "shell")]
pub mod script;
#[cfg(feature = "shell")]
pub mod testrun;
#[cfg(feature = "shell")]
pub mod text;
