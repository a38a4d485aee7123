//! Some hundred attempts from inside a container, each with what the kernel must answer.

use crate::probe::{self, EXPECTED, table};
use crate::support::user::stands_in;
use crate::support::{Cshell, Ended, Run, code};

/// What differs from that, by name.
type Differences<'a> = &'a [(&'a str, &'a str)];

/// A script that makes the attempts with these options of `proc::exec`.
fn script(options: &str) -> Cshell {
    let path = probe::program().display().to_string();
    code(&format!(
        r#"
        let base = image::host(["sh"], #{{ include: ["{path}"] }});
        let o = #{{ rootfs: base, security: "default" }};
        let probe = "{path}";
        {options}
        print(proc::exec([probe], o).stdout);
        "#
    ))
}

/// The program where a fresh `/tmp` does not hide it: it was built in a folder that may lie there.
const OUT_OF_TMP: &str =
    r#"o.rootfs = fs::overlay(base); fs::copy(probe, `${o.rootfs.merged}/probe`); probe = "/probe";"#;

/// Runs the attempts with these options of `proc::exec` and compares the answers.
#[track_caller]
fn attempts(options: &str, differences: Differences<'_>) {
    let run = script(options).output();
    if !stands_in() {
        return compare(options, &run, differences);
    }
    let beyond = differences.iter().filter(|(name, _)| MAPPED.iter().all(|(mapped, _)| mapped != name));
    compare(options, &run, &[&MAPPED[..], &beyond.copied().collect::<Vec<_>>()].concat());
}

#[track_caller]
fn compare(options: &str, run: &Run, differences: Differences<'_>) {
    assert_eq!((run.ended, run.stderr.as_str()), (Ended::Exit(0), ""), "{options}");
    let mut expected = table(EXPECTED);
    for (name, answer) in differences {
        let before = expected.insert((*name).to_owned(), (*answer).to_owned());
        assert!(before.is_some_and(|before| before != *answer), "{name} is no difference");
    }
    let held = table(&run.stdout);
    let wrong = probe::wrong(&expected, &held);
    assert!(wrong.is_empty(), "{options}\n{}", wrong.join("\n"));
    assert_eq!(held.len(), expected.len(), "{options}: an attempt is not in the table");
}

/// Root of a user namespace that maps no root of the machine owns none of the kernel's files, and makes no device nodes.
const MAPPED: [(&str, &str); 7] = [
    ("node_null", "EPERM"),
    ("write_core_pattern", "EACCES"),
    ("write_hostname", "EACCES"),
    // A group that is delegated to the user is its own, below a read-only mount; of other groups there may be no mount.
    ("write_cgroup", "EACCES|EROFS|ENOENT"),
    ("write_irq", "EACCES"),
    ("read_kmsg", "EACCES"),
    ("chmod_stdin", "EPERM|EROFS"),
];

/// An ordinary user has no capabilities either, whatever the bounding set.
fn user() -> Vec<(&'static str, &'static str)> {
    [&MAPPED[..], &[("setuid_root", "EPERM"), ("chroot", "EPERM")]].concat()
}

#[test]
fn root_in_a_default_container() {
    attempts("", &[]);
}

#[test]
fn a_user_in_a_default_container() {
    attempts(r#"o.user = "1000";"#, &user());
}

#[test]
fn root_of_a_user_namespace() {
    attempts(
        r#"o.ns = ["user", "pid", "mount", "net", "uts", "ipc", "cgroup"];"#,
        &[("node_null", "EPERM"), ("chmod_stdin", "EROFS")],
    );
}

#[test]
fn root_of_a_user_namespace_with_ids_of_its_own() {
    attempts(r#"o.userns = "auto";"#, &MAPPED);
}

#[test]
fn root_in_a_container_of_an_ordinary_user() {
    let run = script("").by_user().output();
    compare("without root", &run, &MAPPED);
}

#[test]
fn a_user_in_a_container_of_an_ordinary_user() {
    let options = r#"o.user = "1000";"#;
    compare("without root, as a user", &script(options).by_user().output(), &user());
}

#[test]
fn root_that_joins_a_set_of_namespaces() {
    // The first process there is ours, and has the host's root: it is out of reach.
    let differences = &[("root_of_init", "EACCES")];
    attempts(r#"o.ns = ns::new(["pid", "mount", "net", "uts", "ipc"]);"#, differences);
}

#[test]
fn a_group_that_was_given_gets_rules_on_devices() {
    attempts("o.cgroup = cgroup::limit(#{ memory: \"64M\" });", &[]);
}

#[test]
fn root_in_a_strict_container() {
    attempts(
        &format!("{OUT_OF_TMP} o.security = \"strict\";"),
        &[("node_null", "EPERM"), ("ptrace_me", "EPERM"), ("chroot", "EPERM")],
    );
}

#[test]
fn a_root_that_is_the_callers() {
    let path = probe::program().display().to_string();
    for options in [
        r#"security: "default""#,
        r#"security: "default", ns: ["pid"]"#,
        r#"security: "default", ns: ns::new(["pid", "net"])"#,
    ] {
        let run = code(&format!(
            r#"
            print(proc::exec(["{path}"], #{{ {options} }}).stdout);
            print(proc::exec("echo $HOST; cat /proc/self/mounts | grep -c ' /proc/keys '; ls /dev/kmsg; echo /proc/[0-9]* | wc -w", #{{ {options}, check: false }}).stdout);
            "#
        ))
        .env("HOST", "x")
        .output();
        assert_eq!((run.ended, run.stderr.as_str()), (Ended::Exit(0), ""), "{options}");
        let held =
            table(&run.stdout.lines().filter(|line| line.contains(' ')).collect::<Vec<_>>().join("\n"));
        for (name, answer) in [
            ("mount_tmpfs", "EPERM"),
            ("node_disk", "EPERM"),
            ("read_keys", "ENODATA"),
            ("write_core_pattern", if stands_in() { "EACCES" } else { "EROFS" }),
        ] {
            assert_eq!(held.get(name).map(String::as_str), Some(answer), "{options}: {name}");
        }
        let rest: Vec<&str> =
            run.stdout.lines().skip_while(|line| !line.is_empty()).filter(|line| !line.is_empty()).collect();
        assert_eq!(rest[0], "1", "{options}: {rest:?}");
        assert!(
            rest[1].parse::<usize>().unwrap() < 5,
            "{options}: the host's processes are in sight: {rest:?}"
        );
    }
}

#[test]
fn a_process_that_is_not_confined_can_do_more() {
    let path = probe::program().display().to_string();
    // In a user namespace, where nothing that works does harm to the machine.
    let run = code(&format!(
        r#"
        let base = image::host(["sh"], #{{ include: ["{path}"] }});
        let o = #{{ ns: ["user", "pid", "mount", "net", "uts", "ipc", "cgroup"], mounts: ["proc", "dev", "tmp"] }};
        let probe = "{path}";
        {OUT_OF_TMP}
        print(proc::exec([probe], o).stdout);
        "#
    ))
    .output();
    assert_eq!((run.ended, run.stderr.as_str()), (Ended::Exit(0), ""));
    let held = table(&run.stdout);
    for name in ["unshare_user", "unshare_mount", "mount_tmpfs", "af_packet", "sethostname"] {
        assert_eq!(held.get(name).map(String::as_str), Some("OK"), "{name}");
    }
}
