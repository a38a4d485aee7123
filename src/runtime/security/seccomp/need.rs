//! What a start needs of a profile: the calls that are still to be made behind the filter.

use super::assemble::Verdict;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::seccomp;

/// When a filter is put in force, which decides what it must let through for the start itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the privileges go, by the child that is still to do the rest.
    Early,
    /// By the last stage, right before the command.
    Late,
}

impl Moment {
    /// The calls that the start makes behind the filter: those of the child and of the last stage, and how each of them
    /// tells its failure and ends.
    pub(super) const fn needs(self) -> &'static [&'static str] {
        const CALLS: [&str; 17] = [
            "execve",
            "exit_group",
            "write",
            "capget",
            "capset",
            "chdir",
            "close",
            "close_range",
            "dup3",
            "execveat",
            "fchdir",
            "fcntl",
            "openat2",
            "prctl",
            "read",
            "rt_sigaction",
            "rt_sigprocmask",
        ];
        match self {
            Self::Early => &CALLS,
            Self::Late => CALLS.split_at(3).0,
        }
    }
}

/// Whether a program can be started behind the filter at all.
pub(super) fn can_start<'a>(
    op: &'static str,
    when: Moment,
    verdict_on: impl Fn(&str) -> Option<&'a Verdict>,
) -> Result<()> {
    let passes = |action: u32| matches!(action, seccomp::RET_ALLOW | seccomp::RET_LOG);
    let allowed = |name: &str| {
        // A condition may be about the programs that run later; nothing else that the start calls is anybody's to choose.
        let any = name == "execve";
        verdict_on(name).is_some_and(|verdict| match any {
            true => verdict.outcomes().any(passes),
            false => verdict.outcomes().all(passes),
        })
    };
    let Some(denied) = when.needs().iter().find(|name| !allowed(name)) else { return Ok(()) };
    let what = format!("seccomp: the profile denies {denied}, and so the start of the command itself");
    let error = Error::new(ErrorKind::InvalidArgument, op, what);
    Err(if Moment::Late.needs().contains(denied) {
        error.hint(format!("allow {denied}"))
    } else {
        error.hint(format!(
            "allow {denied}, or add no_new_privs: true: without it the filter is in force before the privileges go"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::security::seccomp::{Facts, Filter, Profile};

    #[test]
    fn what_the_start_itself_needs_must_be_allowed() {
        let needs = Moment::Early.needs();
        for when in [Moment::Early, Moment::Late] {
            for denied in needs {
                let names: Vec<_> = needs.iter().filter(|name| *name != denied).collect();
                let text = format!(
                    r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{"names": {names:?}, "action": "SCMP_ACT_ALLOW"}}]}}"#
                );
                let facts = Facts { capabilities: 0, kernel: (6, 1) };
                let profile = Profile::parse("t", &text).unwrap();
                let compiled = Filter::compile("t", &profile, facts, when);
                let said = format!("denies {denied},");
                let refused = compiled.is_err_and(|error| error.to_string().contains(&said));
                assert_eq!(refused, when.needs().contains(denied), "{denied} {when:?}");
            }
        }
    }
}
