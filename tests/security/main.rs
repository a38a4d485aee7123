//! A confined process whose caller is set up from outside: its terminal, its folder, its groups, its mounts and its settings.
//! What scripts see of a confined process is in `tests/rhai/security`.

#[path = "../support/mod.rs"]
mod support;

use support::code;
use support::skip::skip;
use support::user::User;

#[test]
#[expect(clippy::disallowed_methods, reason = "script makes the terminal of the caller")]
fn nothing_is_typed_into_the_callers_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let me = env!("CARGO_BIN_EXE_cshell");
    for (level, answer) in [("default", "answer EPERM"), ("none", "answer 0")] {
        // TIOCSTI of a letter.
        let script = format!(
            r#"
            let o = #{{ rootfs: image::scratch(), security: "{level}", input: "inherit" }};
            let told = syscall::run([["ioctl", 0, 0x5412, "x"]], o).of.ioctl;
            print(`answer ${{if told.error == () {{ told.value }} else {{ told.error }}}}`);
            "#
        );
        let file = dir.path().join("script.rhai");
        std::fs::write(&file, script).unwrap();
        let output = std::process::Command::new("script")
            .args(["-qec", &format!("{me} {}", file.display()), "/dev/null"])
            .env("CSHELL_RUN", dir.path().join("run"))
            .env("CSHELL_ROOT", dir.path().join("root"))
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(answer), "{level}: {text}");
    }
}

#[test]
fn no_folder_of_the_caller_lies_beside_what_covers_it() {
    for folder in ["/proc/sys/kernel", "/proc", "/sys/fs/cgroup"] {
        for level in ["default", "strict"] {
            let script = "(: >>core_pattern) 2>/dev/null && echo pattern; (: >>sys/kernel/core_pattern) 2>/dev/null && echo pattern; busybox cat keys 2>/dev/null; busybox mkdir memory/escaped 2>/dev/null && echo made; true";
            let run = code(&format!(r#"print(proc::exec(`{script}`, #{{ security: "{level}" }}).stdout);"#))
                .cwd(folder)
                .output();
            assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("\n", ""), "{folder} {level}");
        }
    }
}

#[test]
fn groups_that_the_kernel_keeps_are_told() {
    // Without subordinate ids the kernel lets nobody let go of groups.
    let confined = |more: &str| {
        let user = User {
            subordinate: String::new(),
            before: "GROUPS_ARE='--groups 999'".into(),
            ..User::default()
        };
        let script = format!(r#"print(proc::exec("true", #{{ security: "default"{more} }}).ok)"#);
        code(&script).by_user_with(user).output()
    };
    let refused = confined("");
    assert!(refused.stderr.contains("the caller's groups stay with it"), "{}", refused.stderr);
    assert!(refused.stderr.contains("keep_groups: true"), "{}", refused.stderr);
    assert_eq!(confined(", keep_groups: true").stdout, "true\n");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "unshare makes the mounts of a host that systemd runs")]
fn a_folder_as_root_where_everything_is_shared() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        r#"let root = fs::overlay(image::host(["sh", "busybox"])); print(proc::exec("echo ran", #{{ rootfs: root.merged, security: "default" }}).stdout); proc::exec("true", #{{ rootfs: "{}", check: false }});"#,
        "/"
    );
    let output = std::process::Command::new("unshare")
        .args(["-m", "--propagation", "shared", "sh", "-c", "mount --make-rshared /; exec \"$0\" -c \"$1\""])
        .args([env!("CARGO_BIN_EXE_cshell"), &script])
        .env("CSHELL_RUN", dir.path().join("run"))
        .env("CSHELL_ROOT", dir.path().join("root"))
        .output()
        .unwrap();
    assert_eq!(
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
        ("ran\n\n".into(), "".into())
    );
}

#[test]
fn programs_in_memory_files_may_have_to_be_asked_for() {
    if !std::path::Path::new("/proc/sys/vm/memfd_noexec").exists() {
        skip("programs_in_memory_files_may_have_to_be_asked_for", "this kernel has no vm.memfd_noexec");
        return;
    }
    let me = env!("CARGO_BIN_EXE_cshell");
    let run = |value: u8| {
        let inner = r#"proc::exec("true", #{ security: "default" }); ns::new(["uts"]); print("started")"#;
        // The setting is that of a pid namespace, which ends with it.
        code(&format!(
            r#"
            let script = `echo {value} >/proc/sys/vm/memfd_noexec && exec {me} -c '{inner}'`;
            let r = proc::exec(script, #{{ ns: ["pid", "mount"], mounts: ["proc"], check: false, env: #{{ PATH: "/usr/bin:/bin", CSHELL_RUN: sys::info().root + "/run", CSHELL_ROOT: sys::info().root }} }});
            print(r.stdout + r.stderr);
            "#
        ))
        .by_root() // Only root sets it.
        .output()
        .stdout
    };
    assert_eq!(run(1), "started\n\n");
    let refused = run(2);
    assert!(refused.contains("`sysctl vm.memfd_noexec=1` allows them"), "{refused}");
}

#[test]
fn the_callers_umask_and_execution_domain_are_not_its_own() {
    let under = r#"umask 077; exec setarch -R "$SETPRIV" --reuid "$uid" --regid "$uid" --clear-groups -- "$folder/cshell" "$@""#;
    let user = User { before: under.into(), ..User::default() };
    code(
        r#"
        let o = #{ rootfs: image::host(["sh", "busybox"]), ns: ["pid", "mount"], mounts: ["proc"] };
        for level in ["default", "none"] {
            o.security = level;
            print(proc::exec("umask; busybox cat /proc/self/personality", o).stdout);
        }
        "#,
    )
    .by_user_with(user)
    .stdout("0022\n00000000\n\n0077\n00040000\n\n")
    .check();
}
