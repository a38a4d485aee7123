//! The native functions of the language, one file for each module.
//!
//! # How to add a function
//!
//! A module is one `natives!` table and the functions it names. [`sys`] is the model; in short:
//!
//! ```ignore
//! natives! {
//!     /// Links between network namespaces.                  <- the doc comments are the help text
//!     pub const NET = "net";
//!
//!     /// Makes a pair of connected links.
//!     fn "net::veth"(options: VethSpec) -> Held<Veth> = veth;
//!     /// Waits until a port accepts connections.
//!     fn "net::wait_port"(ns: Either<Open<Namespaces>, String>, port: u16, options: OrEmpty<WaitOptions>) = wait_port;
//!     /// The name of the near end.
//!     get "Veth.name"(link: Open<Veth>) -> String = veth_name;
//!     /// Brings both ends up.
//!     method "Veth.up"(link: Open<Veth>) = veth_up;
//! }
//!
//! fn veth(call: &Call<'_>, spec: VethSpec) -> Result<(HandleId, Rc<Veth>)> {
//!     net::veth(call.session(), spec)
//! }
//! ```
//!
//! * The table is data. `fn` is a function of the module, `method` and `get` belong to the type of their first
//!   parameter. The name in quotes is the `op` of every error. Add the table to [`BINDINGS`].
//! * A function takes `&Call` and its parameters, and returns [`crate::error::Result`], or
//!   [`crate::script::call::Outcome`] when it calls functions of the script ([`Call::invoke`]). It has at most ten
//!   lines: convert, call **one** function of the runtime, return. No `if` about containers.
//! * Parameter types are those with [`FromScript`]: `String`, `bool`, `i64`, `u16`…, `Int<MIN, MAX>`, `f64`,
//!   `Size`, `Duration`, `Cpus`, `PathBuf`, `OsString` (exact bytes), `Vec<_>`, `BTreeMap<String, _>`, `Map`,
//!   `Array`, `Blob`, `FnPtr`, `Dynamic`, `Held<T>`, `Open<T>`, `Either<A, B>`, and every type with
//!   [`FromOptions`]. `Option<T>` and `OrEmpty<T>` at the end may be left out by the script.
//! * The wrong type or value is refused before the function runs, with the name of the parameter or key. What
//!   the types cannot say is an error of [`Call::invalid`], or of `opts.at().key("peer").wrong("…")`.
//! * Results are types with [`IntoScript`]; `serde_json::Value` becomes maps and lists; the pair that
//!   `Session::adopt` returns becomes a handle.
//!
//! # What a doc comment says
//!
//! The convention, with its labels, is in [`crate::script::help::doc`]; parameters have comments of their own, and
//! `tests/docs` says what is missing and runs every example.
//!
//! # How to add an option map
//!
//! Declare the keys once and read them into the runtime's own spec:
//!
//! ```ignore
//! const PEER: Options = Options { of: "net::veth peer", open: None, keys: &[
//!     Key::new("name", "text", "\"eth0\"", "The name of the far end."),
//! ] };
//! const VETH: Options = Options { of: "net::veth", open: None, keys: &[
//!     Key::new("name", "text", "chosen free", "The name of the near end."),
//!     Key::new("peer", "map", "", "The far end.").map(&PEER),
//! ] };
//! impl FromOptions for VethSpec {
//!     const OPTIONS: &'static Options = &VETH;
//!     fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
//!         Ok(Self { name: opts.take("name")?, peer: opts.need("peer")?, mtu: opts.or("mtu", 1500)? })
//!     }
//! }
//! ```
//!
//! # How to add a type of handle
//!
//! `impl Kind for Veth { const NAME: &'static str = "Veth"; }` where `Veth` implements the session's `Handle`, and
//! a line in the list of [`handles`]: the common verbs (`id kind name inspect close keep is_open`, `==`, `!=`,
//! printing) come with it.
//!
//! A type that is a value and no handle (an image builder) is `script_value!(Image, "Image")` and a line in
//! [`handles::VALUES`].
//!
//! [`Call::invoke`]: crate::script::call::Call::invoke
//! [`Call::invalid`]: crate::script::call::Call::invalid
//! [`FromScript`]: crate::script::convert::FromScript
//! [`IntoScript`]: crate::script::returned::IntoScript
//! [`FromOptions`]: crate::script::options::FromOptions

#![expect(
    clippy::needless_pass_by_value,
    reason = "a native owns its arguments: they were made for this call"
)]

pub mod assert;
pub mod assert_attempts;
pub mod assert_calls;
pub mod bridge;
pub mod calls;
pub mod cgroup;
pub mod cgroup_limits;
pub mod fs;
mod fs_calls;
pub mod fs_options;
pub mod generate;
pub mod handles;
pub mod image;
pub mod net;
pub mod net_calls;
pub mod ns;
pub mod path;
pub mod proc;
pub mod proc_options;
pub mod security;
pub mod sys;
pub mod test;
pub mod tree;

use crate::script::native::Binding;

/// Every module of native functions, in the order of the help.
pub const BINDINGS: &[Binding] = &[
    ns::NS,
    cgroup::CGROUP,
    fs::FS,
    net::NET,
    proc::PROC,
    calls::SYSCALL,
    security::SECURITY,
    image::IMAGE,
    sys::SYS,
    test::TEST,
    assert::ASSERT,
    generate::GEN,
];
