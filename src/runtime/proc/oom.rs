//! `oom_score_adj` of a child that cannot write its own (proc_pid_oom_score_adj(5)).

use crate::error::{ErrorKind, Result, SysContext};
use crate::runtime::rootless;
use std::fs::File;
use std::io::{Read, Seek, Write};

const PATH: &str = "/proc/self/oom_score_adj";

/// This program's own value, changed until this is dropped: a child that is born meanwhile inherits it.
///
/// In a user namespace a child's files below `/proc` are out of its reach: while the memory that it shares with this program may not
/// be dumped, they belong to root of the machine.
#[derive(Debug)]
pub(super) struct Inherited {
    file: File,
    before: String,
}

impl Inherited {
    /// Sets `adj`, where a child cannot do so by itself.
    ///
    /// # Errors
    /// What the kernel refuses: a lower value needs `CAP_SYS_RESOURCE`.
    pub(super) fn set(op: &'static str, adj: Option<i32>) -> Result<Option<Self>> {
        let Some(adj) = adj.filter(|_| rootless::in_user_ns()) else { return Ok(None) };
        let change = || -> std::io::Result<Self> {
            let mut file = File::options().read(true).write(true).open(PATH)?;
            let mut before = String::new();
            file.read_to_string(&mut before)?;
            file.rewind()?;
            file.write_all(adj.to_string().as_bytes())?;
            Ok(Self { file, before })
        };
        change().map(Some).context(op, "cannot set oom_score_adj").map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => error.hint(LOWERED),
            _ => error,
        })
    }
}

/// What is needed to be protected from the end of memory.
pub(super) const LOWERED: &str = "it is lowered only with CAP_SYS_RESOURCE";

impl Drop for Inherited {
    fn drop(&mut self) {
        // The value before is never below what this program may have.
        let _ = self.file.rewind().and_then(|()| self.file.write_all(self.before.trim().as_bytes()));
    }
}
