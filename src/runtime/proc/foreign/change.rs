//! What a policy opens or closes, compared with the default one: another runtime's own defaults are changed by as much.

use crate::runtime::security::caps;
use crate::runtime::security::seccomp::Profile;
use crate::runtime::security::{Level, Policy, SeccompChoice};
use std::path::PathBuf;
use std::rc::Rc;

/// The difference between a policy and the default one.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Capabilities that it has as well, as `CAP_…`.
    pub(super) cap_add: Vec<String>,
    /// Capabilities that it has not.
    pub(super) cap_drop: Vec<String>,
    /// Exactly these, where the set was given as a whole.
    pub(super) exactly: Option<Vec<String>>,
    pub(super) may_gain_privileges: bool,
    /// No system call is filtered.
    pub(super) unfiltered: bool,
    pub(super) profile: Option<Rc<Profile>>,
    pub(super) mask: Vec<PathBuf>,
    pub(super) unmask: Vec<PathBuf>,
    pub(super) protect: Vec<PathBuf>,
    pub(super) unprotect: Vec<PathBuf>,
    pub(super) oom_score_adj: Option<i32>,
    pub(super) apparmor: Option<String>,
}

impl Change {
    /// The difference, or what of the policy no other runtime is asked for.
    pub(super) fn of(policy: &Policy) -> Result<Self, &'static str> {
        let base = Policy::of_level(Level::Default);
        let (held, usual) = (policy.capabilities.unwrap_or(caps::ALL), base.capabilities.unwrap_or_default());
        let names = |set: u64| -> Vec<String> {
            caps::names(set).into_iter().map(|name| format!("CAP_{name}")).collect()
        };
        let less = |from: &[PathBuf], what: &[PathBuf]| {
            from.iter().filter(|path| !what.contains(path)).cloned().collect::<Vec<_>>()
        };
        // All were taken away, or the set was given as a whole; which of ours a runtime has is not known.
        let (fewer, more) = (usual & !held, held & !usual);
        let whole = held & usual == 0 || policy.capabilities_asked && fewer != 0 && more == 0;
        let (unfiltered, profile) = match &policy.seccomp {
            SeccompChoice::Default => (false, None),
            SeccompChoice::Unconfined => (true, None),
            SeccompChoice::Profile(profile) => (false, Some(profile.clone())),
            SeccompChoice::Strict => return Err("seccomp: \"strict\""),
            SeccompChoice::Record => return Err("seccomp: \"record\""),
        };
        if policy.landlock.is_some() {
            return Err("landlock");
        }
        if policy.keep_groups {
            return Err("keep_groups");
        }
        Ok(Self {
            cap_add: names(more),
            cap_drop: names(fewer),
            exactly: whole.then(|| names(held)),
            may_gain_privileges: !policy.no_new_privs,
            unfiltered,
            profile,
            mask: less(&policy.masked_paths, &base.masked_paths),
            unmask: less(&base.masked_paths, &policy.masked_paths),
            protect: less(&policy.readonly_paths, &base.readonly_paths),
            unprotect: less(&base.readonly_paths, &policy.readonly_paths),
            oom_score_adj: policy.oom_score_adj,
            apparmor: policy.apparmor.clone(),
        })
    }
}
