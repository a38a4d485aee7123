//! Some hundred attempts from inside a container, each with what the kernel must answer.

use crate::probe;
use crate::support::{Ended, code};
use std::collections::BTreeMap;

/// What each attempt is answered in a default container whose user is root.
const EXPECTED: &str = include_str!("expected.txt");

/// What differs from that, by name.
type Differences<'a> = &'a [(&'a str, &'a str)];

fn table(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    pairs
        .map(|line| line.split_once(' ').unwrap_or_else(|| panic!("{line:?} in {text}")))
        .map(|(name, answer)| (name.to_owned(), answer.trim().to_owned()))
        .collect()
}

/// Runs the attempts with these options of `proc::exec` and compares the answers.
#[track_caller]
fn attempts(options: &str, differences: Differences<'_>) {
    let path = probe().display().to_string();
    let run = code(&format!(
        r#"
        let base = image::host(["sh"], #{{ include: ["{path}"] }});
        let o = #{{ rootfs: base, security: "default" }};
        {options}
        print(proc::exec(["{path}"], o).stdout);
        "#
    ))
    .output();
    assert_eq!((run.ended, run.stderr.as_str()), (Ended::Exit(0), ""), "{options}");
    let mut expected = table(EXPECTED);
    for (name, answer) in differences {
        let before = expected.insert((*name).to_owned(), (*answer).to_owned());
        assert!(before.is_some_and(|before| before != *answer), "{name} is no difference");
    }
    let held = table(&run.stdout);
    let wrong: Vec<String> = expected
        .iter()
        .filter(|(name, answers)| {
            !held.get(*name).is_some_and(|held| answers.split('|').any(|one| one == held))
        })
        .map(|(name, answer)| format!("{name}: {:?} instead of {answer}", held.get(name)))
        .collect();
    assert!(wrong.is_empty(), "{options}\n{}", wrong.join("\n"));
    assert_eq!(held.len(), expected.len(), "{options}: an attempt is not in the table");
}

/// An ordinary user has no capabilities, whatever the bounding set.
const USER: Differences<'_> = &[
    ("node_null", "EPERM"),
    ("write_core_pattern", "EACCES"),
    ("write_hostname", "EACCES"),
    ("write_cgroup", "EACCES"),
    ("write_irq", "EACCES"),
    ("read_kmsg", "EACCES"),
    ("chmod_stdin", "EPERM"),
    ("setuid_root", "EPERM"),
    ("chroot", "EPERM"),
];

#[test]
fn root_in_a_default_container() {
    attempts("", &[]);
}

#[test]
fn a_user_in_a_default_container() {
    attempts(r#"o.user = "1000";"#, USER);
}

#[test]
fn root_of_a_user_namespace() {
    attempts(r#"o.ns = ["user", "pid", "mount", "net", "uts", "ipc", "cgroup"];"#, &[("node_null", "EPERM")]);
}

#[test]
fn root_that_joins_a_set_of_namespaces() {
    attempts(r#"o.ns = ns::new(["pid", "mount", "net", "uts", "ipc"]);"#, &[]);
}

#[test]
fn a_group_that_was_given_gets_rules_on_devices() {
    attempts("o.cgroup = cgroup::limit(#{ memory: \"64M\" });", &[]);
}

#[test]
fn root_in_a_strict_container() {
    attempts(
        r#"o.security = "strict";"#,
        &[("node_null", "EPERM"), ("ptrace_me", "EPERM"), ("chroot", "EPERM")],
    );
}

#[test]
fn a_process_that_is_not_confined_can_do_more() {
    let path = probe().display().to_string();
    // In a user namespace, where nothing that works does harm to the machine.
    let run = code(&format!(
        r#"
        let base = image::host(["sh"], #{{ include: ["{path}"] }});
        let all = ["user", "pid", "mount", "net", "uts", "ipc", "cgroup"];
        print(proc::exec(["{path}"], #{{ rootfs: base, ns: all, mounts: ["proc", "dev", "tmp"] }}).stdout);
        "#
    ))
    .output();
    assert_eq!((run.ended, run.stderr.as_str()), (Ended::Exit(0), ""));
    let held = table(&run.stdout);
    for name in ["unshare_user", "unshare_mount", "mount_tmpfs", "af_packet", "sethostname"] {
        assert_eq!(held.get(name).map(String::as_str), Some("OK"), "{name}");
    }
}
