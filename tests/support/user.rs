//! The program as an ordinary user: one that is made for the run, in a mount namespace where `/etc/passwd`, `/etc/subuid`
//! and `/etc/subgid` are the test's own. Nothing of the machine is changed.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// The id of the user, and of its group.
pub(crate) const UID: u32 = 65533;
/// The first of its subordinate ids.
pub(crate) const SUBORDINATE: u32 = 500_000;
/// Its name.
pub(crate) const NAME: &str = "cshell-tester";

/// What the user has.
#[derive(Clone, Debug)]
pub(crate) struct User {
    /// The lines of `/etc/subuid` and `/etc/subgid`.
    pub(crate) subordinate: String,
    /// Shell code that runs as root in the mount namespace, before the user takes over.
    pub(crate) before: String,
    /// The process whose network namespace stands for the machine's.
    pub(crate) network: Option<String>,
}

impl Default for User {
    fn default() -> Self {
        Self { subordinate: format!("{NAME}:{SUBORDINATE}:65536\n"), before: String::new(), network: None }
    }
}

const BECOME: &str = r#"
set -e
SETPRIV=$(command -v setpriv)
folder=$1; uid=$2; shift 2
mount --bind "$folder/passwd" /etc/passwd
mount --bind "$folder/subordinate" /etc/subuid
mount --bind "$folder/subordinate" /etc/subgid
mount --bind "$CSHELL_BINARY" "$folder/cshell"
unset CSHELL_BINARY
[ -z "$STATE" ] || export CSHELL_RUN="$STATE/run" CSHELL_ROOT="$STATE/root"
eval "$BEFORE"
unset BEFORE
exec "$SETPRIV" --reuid "$uid" --regid "$uid" --clear-groups -- "$folder/cshell" "$@"
"#;

/// Gives the groups that the shell is in, below one called `delegated-…`, to the user.
pub(crate) const DELEGATE: &str = r#"
while IFS=: read -r number controllers path; do
    case "$controllers" in
    "") tree=/sys/fs/cgroup/unified; [ -d "$tree" ] || tree=/sys/fs/cgroup ;;
    name=*) continue ;;
    *) tree=/sys/fs/cgroup/$controllers ;;
    esac
    case "$path" in
    */delegated-*)
        for name in "" cgroup.procs tasks cgroup.threads cgroup.subtree_control; do
            [ ! -e "$tree$path/$name" ] || chown "$uid:$uid" "$tree$path/$name"
        done ;;
    esac
done </proc/self/cgroup
"#;

impl User {
    /// The command that runs `binary` as the user, whose folder `folder` becomes.
    #[expect(clippy::disallowed_methods, reason = "the program under test")]
    pub(crate) fn command(&self, binary: &OsStr, folder: &Path) -> Command {
        let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let line = format!("{NAME}:x:{UID}:{UID}::{}:/bin/sh\n", folder.display());
        std::fs::write(folder.join("passwd"), format!("{known}{line}")).expect("the folder can be written");
        std::fs::write(folder.join("subordinate"), &self.subordinate).expect("the folder can be written");
        std::fs::write(folder.join("cshell"), "").expect("the folder can be written");
        own(folder);
        let mut command = match &self.network {
            Some(pid) => {
                let mut command = Command::new("nsenter");
                command.args(["-t", pid, "--net", "unshare"]);
                command
            }
            None => Command::new("unshare"),
        };
        command.args(["--mount", "sh", "-c", BECOME, "sh"]).arg(folder).arg(UID.to_string());
        command.env_clear();
        command.env("CSHELL_BINARY", binary).env("BEFORE", &self.before).env("HOME", folder);
        command
    }
}

/// Gives a folder and all below it to the user.
fn own(path: &Path) {
    std::os::unix::fs::lchown(path, Some(UID), Some(UID)).expect("root may give files away");
    let is_folder = std::fs::symlink_metadata(path).is_ok_and(|data| data.is_dir());
    for entry in is_folder.then(|| std::fs::read_dir(path)).into_iter().flatten().flatten().flatten() {
        own(&entry.path());
    }
}
