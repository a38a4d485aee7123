//! The program as an ordinary user: one that is made for the run, in a mount namespace where `/etc/passwd`, `/etc/subuid`
//! and `/etc/subgid` are the test's own. Nothing of the machine is changed.
//!
//! With `CSHELL_TEST_AS=user` every run of a test file is one of these, in groups of its own: see [`stands_in`].

use std::cell::RefCell;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The id of the user, and of its group.
pub(crate) const UID: u32 = 65533;
/// The first of its subordinate ids.
pub(crate) const SUBORDINATE: u32 = 500_000;
/// Its name.
pub(crate) const NAME: &str = "cshell-tester";

/// The id outside that the user's run calls `id`; root's run calls it so as well.
pub(crate) fn outer_id(id: u32) -> u32 {
    match id {
        id if !stands_in() => id,
        0 => UID,
        id => SUBORDINATE + (id - 1),
    }
}

/// Where the groups of the run with this pid are, below those of the test.
pub(crate) fn group_of(pid: u32) -> PathBuf {
    if stands_in() { format!("delegated-{pid}").into() } else { PathBuf::new() }
}

/// Whether a test goes on to what root alone can do. As an ordinary user it does not: then `limit` is in the list of what
/// cannot work, `attempt` is refused with an error of this kind and these words in it, and that is counted in the file
/// `CSHELL_REFUSED`.
#[track_caller]
pub(crate) fn root_or_refused(limit: &str, attempt: &str, kind: &str, said: &str) -> bool {
    if !stands_in() {
        return true;
    }
    let run = super::code(&format!(
        "print(sys::rootless().limits.some(|limit| limit.name == \"{limit}\"));
         try {{ {attempt}; print(\"it works\"); }} catch (e) {{ print(`${{e.kind}}: ${{e.message}} ${{e.hint}}`); }}"
    ))
    .output();
    let expected = format!("true\n{kind}: ");
    assert!(
        run.stdout.starts_with(&expected) && run.stdout.contains(said),
        "{attempt}: {}{}",
        run.stdout,
        run.stderr
    );
    super::skip::count("CSHELL_REFUSED", &format!("{limit}: {attempt}"));
    false
}

/// Whether the runs of these tests are an ordinary user's (`CSHELL_TEST_AS=user`): the same files, another who.
pub(crate) fn stands_in() -> bool {
    std::env::var_os("CSHELL_TEST_AS").is_some_and(|who| who == "user")
}

/// What the user has.
#[derive(Clone, Debug)]
pub(crate) struct User {
    /// The lines of `/etc/subuid` and `/etc/subgid`.
    pub(crate) subordinate: String,
    /// Shell code that runs as root in the mount namespace, before the user takes over; `GROUPS_ARE='--groups 999'` gives it
    /// groups.
    pub(crate) before: String,
    /// The process whose network namespace stands for the machine's.
    pub(crate) network: Option<String>,
    /// Whether it has groups, as the user of a machine with systemd does.
    pub(crate) groups: bool,
}

impl Default for User {
    fn default() -> Self {
        let subordinate = format!("{NAME}:{SUBORDINATE}:65536\n");
        Self { subordinate, before: String::new(), network: None, groups: false }
    }
}

const BECOME: &str = r#"
set -e
SETPRIV=$(command -v setpriv)
folder=$1; uid=$2; shift 2
# shellcheck disable=SC2086 # words: what BEFORE may have said instead
become() { exec "$SETPRIV" --reuid "$uid" --regid "$uid" ${GROUPS_ARE:---clear-groups} -- "$@"; }
mount --bind "$folder/passwd" /etc/passwd
mount --bind "$folder/subordinate" /etc/subuid
mount --bind "$folder/subordinate" /etc/subgid
mount --bind "$CSHELL_BINARY" "$folder/cshell"
unset CSHELL_BINARY
[ -z "$STATE" ] || export CSHELL_RUN="$STATE/run" CSHELL_ROOT="$STATE/root"
eval "$BEFORE"
unset BEFORE
become "$folder/cshell" "$@"
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

/// Makes a group below the shell's own in each tree, gives it to the user and goes into it. The pid stays the run's.
const GROUPS: &str = r#"
while IFS=: read -r number controllers path; do
    case "$controllers" in
    "") tree=/sys/fs/cgroup/unified; [ -d "$tree" ] || tree=/sys/fs/cgroup ;;
    name=*) continue ;;
    *) tree=/sys/fs/cgroup/$controllers ;;
    esac
    group=$tree$path/delegated-$$
    mkdir "$group"
    for name in cpuset.cpus cpuset.mems; do
        [ ! -e "$group/$name" ] || cat "$tree$path/$name" >"$group/$name"
    done
    for name in "" cgroup.procs tasks cgroup.threads cgroup.subtree_control; do
        [ ! -e "$group/$name" ] || chown "$uid:$uid" "$group/$name"
    done
    echo $$ >"$group/cgroup.procs"
done </proc/self/cgroup
"#;

/// The groups that [`GROUPS`] made for runs: they go with this value, and what a run has left in them is found.
#[derive(Debug, Default)]
pub(crate) struct Groups(RefCell<Vec<u32>>);

impl Groups {
    /// Those of the run that has this pid.
    pub(crate) fn add(&self, pid: u32) {
        self.0.borrow_mut().push(pid);
    }

    fn paths(pid: u32) -> Vec<PathBuf> {
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let path = |line: &str| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let trees: &[&str] = if controllers.is_empty() { &["unified", ""] } else { &[controllers] };
            let group = format!("{}/delegated-{pid}", path.trim_matches('/'));
            let paths = trees
                .iter()
                .map(|tree| Path::new("/sys/fs/cgroup").join(tree).join(group.trim_start_matches('/')));
            paths.into_iter().find(|path| path.exists())
        };
        own.lines().filter_map(path).collect()
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        // What was killed leaves its group in its own time.
        let deadline = Instant::now() + Duration::from_secs(20);
        for path in self.0.take().into_iter().flat_map(Self::paths) {
            while let Err(error) = std::fs::remove_dir(&path) {
                if std::thread::panicking() {
                    break;
                }
                assert!(Instant::now() < deadline, "left behind in {}: {error}", path.display());
                std::thread::yield_now();
            }
        }
    }
}

impl User {
    /// The user that every run is of, where [`stands_in`] says so: with groups.
    pub(crate) fn of_every_run() -> Option<Self> {
        stands_in().then(|| Self { groups: true, ..Self::default() })
    }

    /// The command that runs `binary` as the user, whose folder `folder` becomes.
    #[expect(clippy::disallowed_methods, reason = "the program under test")]
    pub(crate) fn command(&self, binary: &OsStr, folder: &Path) -> Command {
        let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let line = format!("{NAME}:x:{UID}:{UID}::{}:/bin/sh\n", folder.display());
        std::fs::write(folder.join("passwd"), format!("{known}{line}")).expect("the folder can be written");
        std::fs::write(folder.join("subordinate"), &self.subordinate).expect("the folder can be written");
        std::fs::write(folder.join("cshell"), "").expect("the folder can be written");
        // The first time: later there may be files in it that belong to the user's other ids.
        if std::fs::metadata(folder).is_ok_and(|data| data.uid() != UID) {
            own(folder);
        }
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
        let before = if self.groups { format!("{GROUPS}\n{}", self.before) } else { self.before.clone() };
        command.env("CSHELL_BINARY", binary).env("BEFORE", before).env("HOME", folder);
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
