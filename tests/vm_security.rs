//! A confined process on another kernel: where devices are asked of a program (version 2 control groups), and with AppArmor.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "security/probe.rs"]
mod probe;
#[path = "support/vm.rs"]
mod vm;

use std::path::Path;
use std::process::Command;
use vm::{Mode, Vm};

/// Allows everything but to read one file.
const PROFILE: &str = "
abi <abi/3.0>,
profile cshell-test flags=(attach_disconnected,mediate_deleted) {
  file,
  capability,
  network,
  signal,
  unix,
  deny /secret r,
}
";

const ATTEMPTS: &str = r#"
    let base = image::host(["sh"], #{ include: ["/work/probe"] });
    print(proc::exec(["/work/probe"], #{ rootfs: base, security: "default" }).stdout);
"#;

const APPARMOR: &str = r#"
    let root = fs::overlay(image::host(["sh", "cat"]));
    fs::write(root.merged + "/secret", "SECRET");
    let o = #{ rootfs: root, security: "default", check: false };
    print(proc::exec("cat /secret", o).stdout);
    o.apparmor = "cshell-test";
    print(proc::exec("cat /secret", o).stderr);
    print(proc::exec("cat /proc/self/attr/apparmor/current", o).stdout);
    let p = proc::spawn("read line", #{ rootfs: root, security: "default", apparmor: "cshell-test", input: "pipe" });
    print(p.security().label);
    p.kill();
    o.apparmor = "unknown";
    try { proc::exec("true", o) } catch (e) { print(e.hint) }
"#;

/// The profile as the kernel takes it.
#[expect(
    clippy::disallowed_methods,
    reason = "the compiler of profiles is no part of the program under test"
)]
fn compiled(folder: &Path) -> std::path::PathBuf {
    let (source, target) = (folder.join("profile"), folder.join("profile.bin"));
    std::fs::write(&source, PROFILE).unwrap();
    let output = Command::new("apparmor_parser")
        .args(["--stdout", "--skip-cache", "--kernel-features", "/etc/apparmor.d/abi/3.0"])
        .arg(&source)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(&target, output.stdout).unwrap();
    target
}

#[test]
fn a_default_container_on_version_2_and_with_apparmor() {
    let folder = tempfile::tempdir().unwrap();
    let vm = Vm::new("a confined process", Mode::V2)
        .modules(&["overlay"])
        .file("/work/probe", probe::program())
        .file("/work/profile", &compiled(folder.path()))
        .text("/work/attempts.rhai", ATTEMPTS)
        .text("/work/apparmor.rhai", APPARMOR)
        .prepare(
            "mount -t securityfs securityfs /sys/kernel/security
             cat /work/profile >/sys/kernel/security/apparmor/.load
             cshell -c 'image::list(); cgroup::limit(#{ pids: 9 });'",
        )
        .job("attempts", "cshell /work/attempts.rhai")
        .job("apparmor", "cshell /work/apparmor.rhai");
    let Some(outcomes) = vm.run() else { return };
    for outcome in &outcomes {
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{outcome:#?}");
        assert_eq!(outcome.left, Vec::<String>::new(), "{outcome:#?}");
    }
    let wrong = probe::wrong(&probe::table(probe::EXPECTED), &probe::table(&outcomes[0].stdout));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let lines: Vec<&str> = outcomes[1].stdout.lines().filter(|line| !line.is_empty()).collect();
    let expected = [
        "SECRET",
        "cat: can't open '/secret': Permission denied",
        "cshell-test (enforce)",
        "cshell-test (enforce)",
        "no profile of that name is loaded: see /sys/kernel/security/apparmor/profiles",
    ];
    assert_eq!(lines, expected);
}
