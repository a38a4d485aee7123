//! The document: `linux.seccomp` of an OCI bundle, or the file that `docker run --security-opt seccomp=FILE` takes.
//!
//! Sources: the OCI runtime specification (config-linux.md, seccomp), moby/profiles. A key that is neither's is an error:
//! a misspelt `args` would allow more than was meant.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::security::caps;
use crate::sys::Errno;
use nix::libc;
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What a profile may be large, in bytes.
const MOST_BYTES: u64 = 4 << 20;

/// A profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Profile {
    /// What happens to a call that no rule names.
    pub default_action: Action,
    /// The errno of the default action; EPERM without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u16>,
    /// The same by name, as podman has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_errno: Option<String>,
    /// The kinds of programs that may run, such as `SCMP_ARCH_X86_64`; without it those of the machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<String>,
    /// The same as Docker has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arch_map: Vec<ArchMap>,
    /// `SECCOMP_FILTER_FLAG_LOG`, `…_SPEC_ALLOW`, `…_TSYNC`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// The rules; the first that fits decides.
    #[serde(default)]
    pub syscalls: Vec<Rule>,
}

/// An architecture with those whose programs it runs as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArchMap {
    /// The architecture of the machine.
    pub architecture: String,
    /// The others.
    #[serde(default, deserialize_with = "or_empty")]
    pub sub_architectures: Vec<String>,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// It is made.
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    /// It is made and logged.
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    /// It is not made and returns an errno.
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    /// It is not made, and SIGSYS is sent.
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    /// A tracer decides; without one it returns ENOSYS.
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    /// The thread is killed.
    #[serde(rename = "SCMP_ACT_KILL", alias = "SCMP_ACT_KILL_THREAD")]
    Kill,
    /// The process is killed.
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    /// A supervisor decides. Not supported: there is none.
    #[serde(rename = "SCMP_ACT_NOTIFY")]
    Notify,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// The system calls by name. One that this machine does not have means nothing here.
    #[serde(default)]
    pub names: Vec<String>,
    /// One call, as old profiles of Docker have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What happens.
    pub action: Action,
    /// The errno; EPERM without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno_ret: Option<u16>,
    /// The same by name, as podman has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    /// What the arguments must be, all of them; two conditions on the same argument are alternatives.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "or_empty")]
    pub args: Vec<Condition>,
    /// When the rule applies at all.
    #[serde(default, skip_serializing_if = "When::is_empty", deserialize_with = "or_empty")]
    pub includes: When,
    /// When it does not.
    #[serde(default, skip_serializing_if = "When::is_empty", deserialize_with = "or_empty")]
    pub excludes: When,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

/// A condition on one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Condition {
    /// Which argument, from 0 to 5.
    pub index: u8,
    /// What it is compared with; the mask of a masked comparison.
    pub value: u64,
    /// What is left of it under the mask.
    #[serde(default)]
    pub value_two: u64,
    /// How it is compared.
    pub op: Compare,
}

/// How an argument is compared. All comparisons are of 64 bits, unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Compare {
    /// Not equal.
    ScmpCmpNe,
    /// Less.
    ScmpCmpLt,
    /// Less or equal.
    ScmpCmpLe,
    /// Equal.
    ScmpCmpEq,
    /// Greater or equal.
    ScmpCmpGe,
    /// Greater.
    ScmpCmpGt,
    /// Equal to the second value under the mask of the first.
    ScmpCmpMaskedEq,
}

/// When a rule applies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct When {
    /// With these capabilities in the bounding set.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "or_empty")]
    pub caps: Vec<String>,
    /// On these machines, by Go's names: `amd64`, `x86`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "or_empty")]
    pub arches: Vec<String>,
    /// From this kernel on: `"4.8"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_kernel: Option<String>,
}

impl When {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Go writes an empty list, and an empty map, as `null`.
fn or_empty<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

impl Profile {
    /// The default profile, as `default.json` has it.
    ///
    /// # Errors
    /// None: a test reads it.
    pub fn default_profile(op: &'static str) -> Result<Self> {
        Self::parse(op, include_str!("default.json"))
    }

    /// Reads a document.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] with the line and column.
    pub fn parse(op: &'static str, text: &str) -> Result<Self> {
        let profile: Self = serde_json::from_str(text).map_err(|source| {
            Error::new(ErrorKind::InvalidArgument, op, format!("seccomp: not a profile: {source}")).hint(
                "a profile is linux.seccomp of the OCI runtime specification, or what `docker run --security-opt seccomp=` takes",
            )
        })?;
        profile.check(op)?;
        Ok(profile)
    }

    /// Reads a document from a file.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); the failed read; [`ErrorKind::InvalidArgument`] for what is no file, or too large.
    pub fn read(op: &'static str, path: &Path) -> Result<Self> {
        let invalid = |what: &str| {
            let what = format!("seccomp: {} {what}", path.display());
            Error::new(ErrorKind::InvalidArgument, op, what).path(path)
        };
        let context = |source| {
            Error::io(op, format!("seccomp: cannot read the profile {}", path.display()), source).path(path)
        };
        // A FIFO must not make us wait, nor an endless file fill the memory.
        let file =
            std::fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(context)?;
        if !file.metadata().map_err(context)?.is_file() {
            return Err(invalid("is not a file"));
        }
        let mut text = String::new();
        file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(context)?;
        if text.len() as u64 > MOST_BYTES {
            return Err(invalid("is larger than 4 MiB"));
        }
        Self::parse(op, &text).map_err(|error| error.path(path))
    }

    /// The document.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        // Maps of text and numbers alone: nothing in it could fail.
        serde_json::to_value(self).unwrap_or_default()
    }

    fn check(&self, op: &'static str) -> Result<()> {
        let invalid = |what: String| Error::new(ErrorKind::InvalidArgument, op, format!("seccomp: {what}"));
        let actions = self.syscalls.iter().map(|rule| rule.action).chain([self.default_action]);
        if actions.into_iter().any(|action| action == Action::Notify) {
            let error = Error::new(ErrorKind::Unsupported, op, "seccomp: SCMP_ACT_NOTIFY needs a supervisor");
            return Err(error.hint("there is none: use SCMP_ACT_ERRNO"));
        }
        if !self.architectures.is_empty() && !self.arch_map.is_empty() {
            return Err(invalid("architectures and archMap are given: one of them says which apply".into()));
        }
        check_errno(op, "defaultErrno", self.default_errno.as_deref(), self.default_errno_ret)?;
        for (index, rule) in self.syscalls.iter().enumerate() {
            check_errno(op, &format!("syscalls[{index}].errno"), rule.errno.as_deref(), rule.errno_ret)?;
            if rule.names.is_empty() == rule.name.is_none() {
                return Err(invalid(format!("syscalls[{index}] needs names, or one name")));
            }
            if let Some(bad) = rule.args.iter().find(|arg| arg.index > 5) {
                let what = format!("syscalls[{index}]: a call has arguments 0 to 5, not {}", bad.index);
                return Err(invalid(what));
            }
            for when in [&rule.includes, &rule.excludes] {
                caps::set_of(op, &when.caps)?;
                if let Some(bad) = when.min_kernel.as_ref().filter(|text| kernel_version(text).is_none()) {
                    let what = format!("syscalls[{index}]: minKernel {bad:?} is not MAJOR.MINOR");
                    return Err(invalid(what).hint("write it as \"5.1\""));
                }
            }
        }
        Ok(())
    }
}

/// A kernel's version as `minKernel` has it, MAJOR.MINOR.
pub(super) fn kernel_version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    Some((number(major)?, number(minor)?))
}

/// The number of an errno, by name.
fn errno_number(name: &str) -> Option<u16> {
    let numbers = 1..=Errno::EHWPOISON as u16;
    numbers.into_iter().find(|number| format!("{:?}", Errno::from_raw(i32::from(*number))) == name)
}

fn check_errno(op: &'static str, key: &str, name: Option<&str>, number: Option<u16>) -> Result<()> {
    let Some(name) = name else { return Ok(()) };
    let invalid =
        |what: String| Error::new(ErrorKind::InvalidArgument, op, format!("seccomp: {key}: {what}"));
    match errno_number(name) {
        None => {
            Err(invalid(format!("{name:?} is not an errno")).hint("names are those of errno(3): \"EPERM\""))
        }
        Some(found) if number.is_some_and(|number| number != found) => {
            Err(invalid(format!("{name} is {found}, and the number says otherwise"))
                .hint("leave one of them out"))
        }
        Some(_) => Ok(()),
    }
}

impl Profile {
    /// The errno of the default action, given by number or by name.
    pub(super) fn default_errno_number(&self) -> Option<u16> {
        self.default_errno_ret.or_else(|| errno_number(self.default_errno.as_deref()?))
    }
}

impl Rule {
    /// Its errno, given by number or by name.
    pub(super) fn errno_number(&self) -> Option<u16> {
        self.errno_ret.or_else(|| errno_number(self.errno.as_deref()?))
    }

    /// The names of its calls.
    pub fn all_names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().chain(&self.name).map(String::as_str)
    }
}
