//! Where state lives: ledgers on a memory file system, images and scratch space on disk.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::rootless;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The two state folders. `CSHELL_RUN` and `CSHELL_ROOT` override them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDirs {
    /// Ledgers and locks: `/run/cshell`; without root `$XDG_RUNTIME_DIR/cshell`, else `/run/user/UID/cshell`, else
    /// `/tmp/cshell-UID`.
    pub run: PathBuf,
    /// Images, layers and scratch space: `/var/lib/cshell`, or `$XDG_DATA_HOME/cshell` without root.
    pub root: PathBuf,
}

impl StateDirs {
    /// The folders that the environment asks for.
    #[must_use]
    pub fn from_env() -> Self {
        let env = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let (run, root) = (env("CSHELL_RUN"), env("CSHELL_ROOT"));
        let Some(uid) = ordinary_user() else {
            let run = run.unwrap_or_else(|| PathBuf::from("/run/cshell"));
            return Self { run, root: root.unwrap_or_else(|| PathBuf::from("/var/lib/cshell")) };
        };
        let run = run.unwrap_or_else(|| match env("XDG_RUNTIME_DIR") {
            Some(dir) => dir.join("cshell"),
            None => runtime_dir(uid),
        });
        let root = root.unwrap_or_else(|| {
            let data = env("XDG_DATA_HOME").or_else(|| env("HOME").map(|home| home.join(".local/share")));
            data.map_or_else(|| PathBuf::from(format!("/var/tmp/cshell-{uid}")), |data| data.join("cshell"))
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

/// The id of the user outside whose folders these are; `None` for the root of the machine.
///
/// Root of a user namespace is an ordinary user as well, who cannot write to `/run`: it is told by whose that folder is,
/// so that nothing has to be looked up for root.
fn ordinary_user() -> Option<u32> {
    if let Some(entered) = rootless::entered() {
        return Some(entered.owner.uid);
    }
    let uid = nix::unistd::geteuid();
    if !uid.is_root() {
        return Some(uid.as_raw());
    }
    let foreign = std::fs::metadata("/run").is_ok_and(|data| data.uid() != 0);
    foreign.then(rootless::outer_uid).flatten()
}

fn runtime_dir(uid: u32) -> PathBuf {
    let dir = PathBuf::from(format!("/run/user/{uid}"));
    let own = nix::unistd::geteuid().as_raw();
    match std::fs::symlink_metadata(&dir) {
        Ok(data) if data.is_dir() && data.uid() == own => dir.join("cshell"),
        _ => PathBuf::from(format!("/tmp/cshell-{uid}")),
    }
}

/// Makes a state folder and its parents, private to the user (0700), or verifies the one that is there.
///
/// # Errors
/// When a folder cannot be made; [`ErrorKind::PermissionDenied`] as of [`verify`].
pub fn make_private(path: &Path) -> Result<()> {
    let error = |source| {
        Error::io("session", format!("cannot create the state folder {}", path.display()), source)
            .hint("set CSHELL_RUN and CSHELL_ROOT to folders that you may write")
    };
    if path.symlink_metadata().is_ok() {
        return verify(path);
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(error)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(source) if source.kind() != std::io::ErrorKind::AlreadyExists => Err(error(source)),
        // Another program was faster, of this user or of another.
        Err(_) => verify(path),
        Ok(()) => Ok(()),
    }
}

/// Whether a state folder is the user's own: what is in a ledger there is done, and so nobody else may write one.
///
/// In a folder that everybody may write to, such as `/tmp`, another user can be there first: with a folder, or with a link
/// to one of ours. Once it is ours the sticky bit keeps it so.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`] for a folder of another user, one that others may write to, or a link of another user.
pub fn verify(path: &Path) -> Result<()> {
    let own = nix::unistd::geteuid().as_raw();
    let cannot =
        |source| Error::io("session", format!("cannot examine {}", path.display()), source).path(path);
    let refuse = |what: &str| {
        let what = format!("the state folder {} {what}", path.display());
        Err(Error::new(ErrorKind::PermissionDenied, "session", what).path(path).hint(
            "remove it if you know whose it is, or set CSHELL_RUN and CSHELL_ROOT to folders of your own",
        ))
    };
    let data = std::fs::symlink_metadata(path).map_err(cannot)?;
    if data.is_symlink() && data.uid() != own {
        let parent = path.parent().unwrap_or(path);
        if std::fs::metadata(parent).map_err(cannot)?.permissions().mode() & 0o002 != 0 {
            return refuse("is a link that another user made");
        }
    }
    let data = if data.is_symlink() { std::fs::metadata(path).map_err(cannot)? } else { data };
    if !data.is_dir() {
        return refuse("is not a folder");
    }
    if data.uid() != own {
        return refuse(&format!("belongs to another user ({})", data.uid()));
    }
    // The group that a user has alone is no other (Debian and Fedora make folders so).
    let others = if data.gid() == nix::unistd::getegid().as_raw() { 0o002 } else { 0o022 };
    if data.permissions().mode() & others != 0 {
        return refuse(&format!("can be written by others (mode {:o})", data.permissions().mode() & 0o7777));
    }
    Ok(())
}

/// An unguessable token of 16 hexadecimal digits.
///
/// # Errors
/// When the kernel gives no random bytes.
pub fn token() -> Result<String> {
    let bytes = crate::sys::file::random::<8>().context("session", "cannot read random bytes")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
