//! The script layer: the only place that knows the language.
//!
//! * [`engine`]: builds the interpreter, every limit explicit.
//! * [`source`], [`resolver`]: the texts of scripts and of what they import.
//! * [`shell`]: what one run of a script shares: the session, the arguments, the sources.
//! * [`interactive`]: a script that grows entry by entry; [`look`]: its values as data; [`debug`]: stops in it.
//! * [`run`]: compiles and runs; [`report`]: what people are told about an error.
//! * [`suite`], [`scene`]: the tests that a file declares, and how they are run.
//! * [`bind`]: the native functions, one file for each module. **Start reading there to add one.**
//! * [`help`]: what the doc comments of the natives say, as pages.
//! * [`native`], [`call`], [`convert`], [`returned`], [`options`], [`handle`], [`error`]: what bindings are written with.
//!
//! Nothing here decides what a container is: a binding converts its arguments, calls one function of the
//! runtime, and the error it gets back leaves with the position of the call.

pub mod assertion;
pub mod bind;
pub mod call;
mod catch;
pub mod chance;
pub mod check;
pub mod convert;
pub mod debug;
pub mod engine;
pub mod error;
pub mod generate;
pub mod handle;
pub mod help;
pub mod hooks;
pub mod interactive;
pub mod lines;
pub mod look;
pub mod lookup;
pub mod native;
pub mod options;
pub mod report;
pub mod resolver;
pub mod returned;
pub mod run;
pub mod scene;
pub mod shell;
pub mod source;
pub mod suite;
