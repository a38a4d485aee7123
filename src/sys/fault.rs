//! Fault injection, for the tests that prove that a failing call or step leaves nothing behind.
//!
//! Compiled in only with the feature `_fault`: `CSHELL_FAULT=step:7` makes the seventh step fail before it
//! acts, `after:7` after it acted and before it was read back, and `call:mount:2` the second call of `mount`.
//! Without the feature these functions are constant and vanish.

use crate::sys::Errno;

/// The errno with which a system call of this name shall fail now, if any.
#[must_use]
pub fn strike(name: &str) -> Option<Errno> {
    imp::call(name)
}

/// Whether the step that is about to act shall fail.
#[must_use]
pub fn step() -> Option<Errno> {
    imp::count("step")
}

/// Whether the step that has just acted shall fail.
#[must_use]
pub fn after() -> Option<Errno> {
    imp::count("after")
}

#[cfg(not(feature = "_fault"))]
mod imp {
    use crate::sys::Errno;

    pub(super) const fn call(_name: &str) -> Option<Errno> {
        None
    }
    pub(super) const fn count(_what: &str) -> Option<Errno> {
        None
    }
}

#[cfg(feature = "_fault")]
mod imp {
    use crate::sys::Errno;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Plan {
        what: String,
        left: AtomicU64,
    }

    fn plan() -> Option<&'static Plan> {
        static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
        PLAN.get_or_init(|| {
            let text = std::env::var("CSHELL_FAULT").ok()?;
            let (what, n) = text.rsplit_once(':')?;
            Some(Plan { what: what.to_owned(), left: AtomicU64::new(n.parse().ok()?) })
        })
        .as_ref()
    }

    fn hit(plan: &Plan) -> Option<Errno> {
        (plan.left.fetch_sub(1, Ordering::Relaxed) == 1).then_some(Errno::EIO)
    }

    pub(super) fn call(name: &str) -> Option<Errno> {
        let plan = plan()?;
        let wanted = plan.what.strip_prefix("call:")?;
        if wanted == name { hit(plan) } else { None }
    }

    pub(super) fn count(what: &str) -> Option<Errno> {
        let plan = plan()?;
        if plan.what == what { hit(plan) } else { None }
    }
}
