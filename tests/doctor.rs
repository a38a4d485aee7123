//! `cshell doctor` and `sys::doctor()`: what is there is said to be, and what is taken away is missed, with its fix.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "support/outside.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
#[allow(clippy::allow_attributes, reason = "what is unused differs between the test files")]
mod outside;
mod support;

use cshell::runtime::doctor::CHECKS;
use outside::shell_of_root;
use serde_json::Value;
use support::user::stands_in;
use support::{Ended, cshell};

/// The checks of a run with `--format json`, by name.
#[track_caller]
fn checks(json: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    all["checks"].as_array().unwrap().clone()
}

#[track_caller]
fn named(checks: &[Value], name: &str) -> Value {
    checks
        .iter()
        .find(|check| check["name"] == name)
        .unwrap_or_else(|| panic!("no {name}: {checks:#?}"))
        .clone()
}

/// Runs a script of the shell in which `$CSHELL doctor` is asked, and returns how that ended and the checks.
#[track_caller]
fn after(script: &str) -> (Ended, Vec<Value>) {
    let (ended, stdout, stderr) =
        shell_of_root(&script.replace("DOCTOR", "exec \"$CSHELL\" doctor --format json"));
    assert_eq!(stderr, "", "{stdout}");
    (ended, checks(&stdout))
}

#[track_caller]
fn lacks(checks: &[Value], name: &str, state: &str, found: &str, fix: &str) {
    let check = named(checks, name);
    assert_eq!(check["state"], state, "{check:#}");
    assert!(check["found"].as_str().unwrap().contains(found), "{check:#}");
    assert!(check["fix"].as_str().unwrap().contains(fix), "{check:#}");
}

#[test]
fn what_is_there_is_said_in_all_three_forms() {
    let text = cshell(["doctor"]).output();
    assert_eq!((text.ended, text.stderr.as_str()), (Ended::Exit(0), ""), "{}", text.stdout);
    let json = cshell(["doctor", "--format", "json"]).output();
    assert_eq!(json.ended, Ended::Exit(0));
    assert_eq!(serde_json::from_str::<Value>(&json.stdout).unwrap()["ok"], true);
    let checks = checks(&json.stdout);
    let names: Vec<&str> = checks.iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(names, CHECKS.iter().map(|check| check.name).collect::<Vec<_>>());
    let mut lines = text.stdout.lines();
    for check in &checks {
        let line = lines.next().unwrap();
        let [state, found] = [&check["state"], &check["found"]].map(|value| value.as_str().unwrap());
        // The root of an ordinary user's run is another mount each time.
        let found = if check["name"] == "unique mount ids" { "" } else { found };
        assert!(line.starts_with(state) && line.ends_with(found), "{line:?}: {check:#}");
        // What is not there has a fix, and what is there has none.
        assert_eq!(state == "ok", check["fix"].is_null(), "{check:#}");
        if let Some(fix) = check["fix"].as_str() {
            assert!(
                lines.next().unwrap().ends_with(&format!("for {}: {fix}", check["for"].as_str().unwrap()))
            );
        }
    }
    let script = cshell(["-c", "sys::emit(sys::doctor())"]).output();
    let told: Vec<Value> = serde_json::from_str(&script.stdout).unwrap();
    if stands_in() {
        // A script is in the namespaces that it has entered, where more works than before.
        let names = |checks: &[Value]| checks.iter().map(|check| check["name"].clone()).collect::<Vec<_>>();
        assert_eq!(names(&told), names(&checks));
        return;
    }
    assert_eq!(told, checks);
}

#[test]
fn nothing_is_left_of_what_was_tried() {
    let look =
        || outside::tool("/bin/sh", &["-c", "cat /proc/self/mountinfo; pgrep -x cshell-doctor || true"]);
    let before = look();
    assert_eq!(cshell(["doctor"]).output().ended, Ended::Exit(0));
    assert_eq!(look(), before);
}

#[test]
fn missing_control_groups_are_missed() {
    let (ended, checks) = after("exec unshare -m sh -c 'umount -R -l /sys/fs/cgroup; DOCTOR'");
    lacks(
        &checks,
        "cgroup mode",
        "missing",
        "no cgroup file system",
        "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
    );
    lacks(&checks, "cgroup delegation", "warn", "no cgroup file system", "mount -t cgroup2");
    assert_eq!(ended, Ended::Exit(3));
}

#[test]
fn a_limit_on_namespaces_is_met_and_told() {
    for (kind, file, state, code) in
        [("net", "net", "missing", 3), ("mount", "mnt", "missing", 3), ("time", "time", "warn", 0)]
    {
        let limit = format!("user.max_{file}_namespaces");
        let path = limit.replace('.', "/");
        let (ended, checks) = after(&format!("exec unshare -Ur sh -c 'echo 0 >/proc/sys/{path}; DOCTOR'"));
        lacks(&checks, &format!("namespace {kind}"), state, "ENOSPC", &format!("sysctl -w {limit}="));
        if kind != "mount" {
            assert_eq!(ended, Ended::Exit(code), "{kind}");
        }
    }
}

#[test]
fn no_more_user_namespaces_are_told_to_one_who_needs_them() {
    let (ended, checks) = after(
        "exec unshare -Ur sh -c 'echo 0 >/proc/sys/user/max_user_namespaces
            exec setpriv --bounding-set=-all --inh-caps=-all \"$CSHELL\" doctor --format json'",
    );
    lacks(&checks, "namespace user", "warn", "ENOSPC", "sysctl -w user.max_user_namespaces=");
    lacks(
        &checks,
        "user namespaces allowed",
        "warn",
        "user.max_user_namespaces=0",
        "sysctl -w user.max_user_namespaces=",
    );
    lacks(&checks, "overlay without root", "warn", "ENOSPC", "sysctl -w user.max_user_namespaces=");
    // Without capabilities nothing can be made, and root is told what it lacks.
    lacks(&checks, "namespace pid", "missing", "EPERM", "CAP_SYS_ADMIN");
    lacks(&checks, "overlay", "missing", "EPERM", "modprobe overlay");
    lacks(&checks, "nftables", "warn", "EPERM", "CAP_NET_ADMIN");
    assert_eq!(ended, Ended::Exit(3));
}

#[test]
fn helpers_that_are_not_in_the_path_are_told_with_their_package() {
    let (ended, checks) = after("PATH=/nowhere; DOCTOR");
    lacks(&checks, "pasta", "warn", "not in PATH", "apt install passt");
    lacks(&checks, "slirp4netns", "warn", "not in PATH", "apt install slirp4netns");
    lacks(&checks, "fuse-overlayfs", "warn", "not in PATH", "apt install fuse-overlayfs");
    assert_eq!(ended, Ended::Exit(0));
}

#[test]
fn an_ordinary_user_is_told_how_to_be_given_groups() {
    let (ended, checks) = after(
        r#"
        chmod 755 "$FOLDER"
        cp "$CSHELL" "$FOLDER/cshell"
        exec setpriv --reuid 4242 --regid 4242 --clear-groups "$FOLDER/cshell" doctor --format json
        "#,
    );
    lacks(&checks, "cgroup delegation", "warn", "cannot be written by this user", "user-4242; chown 4242 ");
    lacks(&checks, "subordinate ids", "warn", "0 user ids and 0 group ids for 4242", "usermod --add-subuids");
    for kind in ["user", "mount", "pid", "net"] {
        assert_eq!(named(&checks, &format!("namespace {kind}"))["state"], "ok", "{kind}");
    }
    assert_eq!(named(&checks, "overlay without root")["state"], "ok");
    assert_eq!(ended, Ended::Exit(0));
}

#[test]
fn an_ordinary_user_is_told_what_cannot_work() {
    let doctor = |format: &str| {
        let run = cshell(["doctor", "--format", format]).by_user().output();
        assert_eq!(run.stderr, "");
        run.stdout
    };
    let all: Value = serde_json::from_str(&doctor("json")).unwrap();
    let cannot = all["cannot"].as_array().unwrap();
    let text = doctor("text");
    assert!(cannot.iter().any(|limit| limit["name"] == "host_network"), "{cannot:#?}");
    for limit in cannot {
        assert!(text.contains(limit["what"].as_str().unwrap()), "{limit:#}: {text}");
    }
    let root = cshell(["doctor"]).by_root().output().stdout;
    assert!(!root.contains("Without root"), "{root}");
}
