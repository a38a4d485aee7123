//! The program as an ordinary user, looked at from outside.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "support/outside.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
#[allow(clippy::allow_attributes, reason = "what is unused differs between the test files")]
mod outside;
mod support;

use outside::{around, link, read, watch_in};
use std::os::unix::fs::MetadataExt;
use support::user::{NAME, SUBORDINATE, UID, User};
use support::{Cshell, Ended, code};

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A user with these lines of `/etc/subuid` and `/etc/subgid`.
fn with_ids(program: Cshell, lines: &str) -> Cshell {
    program.by_user_with(User { subordinate: lines.into(), ..User::default() })
}

/// A user before whom root has changed something, in the mount namespace of the run.
fn after(program: Cshell, before: &str) -> Cshell {
    program.by_user_with(User { before: before.into(), ..User::default() })
}

#[test]
fn root_inside_is_the_user_outside() {
    let program =
        code(&around("print(proc::exec(\"id -u; id -g; pwd\").stdout); fs::write(\"made\", \"\");"));
    let folder = program.folder().to_owned();
    watch_in(program.by_user(), |pid, facts| {
        let pid = pid.to_string();
        assert_eq!(facts[..3], ["0".to_owned(), "0".to_owned(), folder.join("work").display().to_string()]);
        let map = format!("0 {UID} 1 1 {SUBORDINATE} 65536");
        for name in ["uid_map", "gid_map"] {
            assert_eq!(words(&read(format!("/proc/{pid}/{name}"))), map);
        }
        let status = read(format!("/proc/{pid}/status"));
        assert!(status.contains(&format!("\nUid:\t{UID}\t{UID}\t{UID}\t{UID}\n")), "{status}");
        for kind in ["user", "mnt"] {
            assert_ne!(link(format!("/proc/{pid}/ns/{kind}")), link(format!("/proc/self/ns/{kind}")));
        }
        for kind in ["net", "pid", "ipc", "uts", "cgroup"] {
            assert_eq!(link(format!("/proc/{pid}/ns/{kind}")), link(format!("/proc/self/ns/{kind}")));
        }
        assert_eq!(std::fs::metadata(folder.join("work/made")).unwrap().uid(), UID);
    });
}

/// Runs a shell script where user namespaces are forbidden, as the user `$USER_ID`: in a user namespace of root that maps
/// enough ids, so that nothing of the machine is changed.
fn forbidden(script: &str) -> support::Run {
    let driver = format!(
        r#"
        let ids = [#{{ container: 0, host: 0, size: 70000 }}];
        let run = proc::exec(["sh", "-c", `
            echo 0 > /proc/sys/user/max_user_namespaces
            export CSHELL_RUN=/nonexistent/run CSHELL_ROOT=/nonexistent/root
            {script}
        `], #{{ ns: ["user", "mount"], uid_map: ids, gid_map: ids, check: false }});
        print(run.stdout);
        sys::log(run.stderr);
        exit(run.code);
        "#
    );
    let program = code(&driver).env("CSHELL", env!("CARGO_BIN_EXE_cshell"));
    program.env("AS_USER", &format!("setpriv --reuid {UID} --regid {UID} --clear-groups")).output()
}

#[test]
fn what_runs_no_script_enters_nothing() {
    let run = forbidden(
        "cd /; echo 'print(1);' > /tmp/a.rhai; for args in --version 'doc net::veth' 'check /tmp/a.rhai' gc; do \
         $AS_USER $CSHELL $args > /dev/null || exit 9; done; rm /tmp/a.rhai",
    );
    assert_eq!((run.stderr.trim(), run.ended), ("", Ended::Exit(0)));
}

#[test]
fn forbidden_user_namespaces_are_said_with_the_setting() {
    let text = "user namespaces are forbidden: user.max_user_namespaces is 0";
    let fix = "hint: run as root: sysctl -w user.max_user_namespaces=15000";
    let run = forbidden("$AS_USER $CSHELL -c 'print(1)'");
    assert_eq!(run.ended, Ended::Exit(3), "{}", run.stderr);
    assert!(run.stderr.contains(text) && run.stderr.contains(fix), "{}", run.stderr);
    assert!(!run.stderr.contains("No space left") || run.stderr.contains("= -1 ENOSPC"), "{}", run.stderr);
    assert_eq!(run.stdout.trim(), "", "no script runs with less than was asked");
    // As root of a namespace, where nothing has to be entered.
    let run = forbidden(
        "export CSHELL_RUN=/tmp/forbidden-$$; $CSHELL -c 'ns::new([\"user\"])'; code=$?; rmdir $CSHELL_RUN; exit $code",
    );
    assert_eq!(run.ended, Ended::Exit(3), "{}", run.stderr);
    assert!(run.stderr.contains(&format!("ns::new: {text}")) && run.stderr.contains(fix), "{}", run.stderr);
}

/// What a user sees who asks for more ids than there are: the error, and how it is mended.
#[track_caller]
fn refused(program: impl FnOnce(Cshell) -> Cshell, parts: &[&str]) {
    let script = r#"
        print(proc::exec("cat /proc/self/uid_map").stdout);
        ns::new(#{ kinds: ["user"], uid_map: [#{ container: 0, host: 0, size: 1000 }] });
    "#;
    let run = program(code(script)).output();
    assert_eq!(words(&run.stdout), format!("0 {UID} 1"), "{}", run.stderr);
    assert_eq!(run.ended, Ended::Exit(3), "{}", run.stderr);
    let message = "ns::new: uid_map: ids 0-999 were asked for, and this program has 0-0";
    for part in [&[message][..], parts].concat() {
        assert!(run.stderr.contains(part), "{part} is not in {}", run.stderr);
    }
}

#[test]
fn a_user_without_subordinate_ids_is_root_alone() {
    let fix = format!("usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {NAME}");
    refused(|program| with_ids(program, ""), &["has no subordinate ids in /etc/subuid", &fix]);
    refused(|program| with_ids(program, "somebody:100000:65536\n"), &["has no subordinate ids"]);
}

#[test]
fn without_newuidmap_a_user_is_root_alone() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["sh", "cat"] {
        std::os::unix::fs::symlink(format!("/bin/{name}"), folder.path().join(name)).unwrap();
    }
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let hide = format!("PATH={}", folder.path().display());
    let parts = ["newuidmap is not installed", "the package is `uidmap`"];
    refused(|program| after(program, &hide), &parts);
}

#[test]
fn newuidmap_without_privilege_is_said() {
    let copy = "cp /usr/bin/newuidmap $folder/copy; mount --bind $folder/copy /usr/bin/newuidmap";
    let parts = ["it is neither setuid root nor has cap_setuid", "chmod u+s /usr/bin/newuidmap"];
    refused(|program| after(program, copy), &parts);
}

#[test]
fn ranges_of_a_user_are_found_by_name_and_by_id() {
    for (lines, map) in [
        (format!("{UID}:{SUBORDINATE}:1000\n"), format!("0 {UID} 1 1 {SUBORDINATE} 1000")),
        (
            format!("other:1:5\n{NAME}:{SUBORDINATE}:10\n{UID}:600000:20\n{NAME}:{SUBORDINATE}:5\n"),
            format!("0 {UID} 1 1 {SUBORDINATE} 10 11 600000 20"),
        ),
    ] {
        let run = with_ids(code("print(proc::exec(\"cat /proc/self/uid_map\").stdout);"), &lines).output();
        assert_eq!((words(&run.stdout), run.stderr.as_str()), (map, ""), "{lines}");
    }
}
