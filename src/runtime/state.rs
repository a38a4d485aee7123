//! Where state lives: ledgers on a memory file system, images and scratch space on disk.

use crate::error::{Result, SysContext};
use std::path::{Path, PathBuf};

/// The two state folders. `CSHELL_RUN` and `CSHELL_ROOT` override them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDirs {
    /// Ledgers and locks: `/run/cshell`, or `$XDG_RUNTIME_DIR/cshell` without root.
    pub run: PathBuf,
    /// Images, layers and scratch space: `/var/lib/cshell`, or `$XDG_DATA_HOME/cshell` without root.
    pub root: PathBuf,
}

impl StateDirs {
    /// The folders that the environment asks for.
    #[must_use]
    pub fn from_env() -> Self {
        let rootless = !nix::unistd::geteuid().is_root();
        let env = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let run = env("CSHELL_RUN").unwrap_or_else(|| match env("XDG_RUNTIME_DIR") {
            Some(dir) if rootless => dir.join("cshell"),
            _ => PathBuf::from("/run/cshell"),
        });
        let root = env("CSHELL_ROOT").unwrap_or_else(|| {
            if !rootless {
                return PathBuf::from("/var/lib/cshell");
            }
            let data = env("XDG_DATA_HOME").or_else(|| env("HOME").map(|home| home.join(".local/share")));
            data.unwrap_or_else(|| PathBuf::from("/var/tmp")).join("cshell")
        });
        Self { run, root }
    }

    /// The folder of the image store.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// The folder of unpacked layers, keyed by chain id.
    #[must_use]
    pub fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    /// The folder that holds the scratch folder of each session.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        self.root.join("scratch")
    }
}

/// Makes a state folder and its parents, private to the user (0700).
///
/// # Errors
/// When a folder cannot be made.
pub fn make_private(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if path.is_dir() {
        return Ok(());
    }
    let error = |source| {
        crate::error::Error::io(
            "session",
            format!("cannot create the state folder {}", path.display()),
            source,
        )
        .hint("set CSHELL_RUN and CSHELL_ROOT to folders that you may write")
    };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(error)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(source) if source.kind() != std::io::ErrorKind::AlreadyExists => Err(error(source)),
        _ => Ok(()),
    }
}

/// An unguessable token of 16 hexadecimal digits.
///
/// # Errors
/// When the kernel gives no random bytes.
pub fn token() -> Result<String> {
    let bytes = crate::sys::file::random::<8>().context("session", "cannot read random bytes")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
