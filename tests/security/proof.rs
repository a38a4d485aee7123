//! What the kernel says is in force, compared with what was asked, by our own words and by outside tools.

use crate::support::skip::skip;
use crate::support::user::{User, root_or_refused};
use crate::support::{Ended, code, cshell};

/// Starts a confined process that waits, and runs `script` with it as `p`.
#[track_caller]
fn with(options: &str, script: &str) -> String {
    let run = code(&format!(
        r#"
        let o = #{{ rootfs: image::host(["sh", "busybox"]), security: "default", input: "pipe" }};
        {options}
        let p = proc::spawn(["busybox", "cat"], o);
        let s = p.security();
        {script}
        p.kill();
        "#
    ))
    .output();
    assert_eq!((run.ended, run.stderr.as_str()), (Ended::Exit(0), ""), "{script}");
    run.stdout
}

#[test]
fn the_process_tells_what_is_in_force() {
    let told = with(
        "",
        r#"
        print(s.capabilities.effective.len());
        print(s.capabilities.effective == s.capabilities.bounding);
        print(s.capabilities.effective.contains("NET_RAW"));
        print(s.capabilities.inheritable.len() + s.capabilities.ambient.len());
        print(s.no_new_privs);
        print(`${s.seccomp} ${s.seccomp_filters}`);
        print(s.shared);
        print(s.fds.map(|f| f.fd));
        print(s.limits["max core file size"]);
        print(s.mounts.filter(|m| m.target == "/proc/sys").map(|m| m.options.contains("ro")));
        print(s.exe.contains("busybox"));
        "#,
    );
    let expected =
        "13\ntrue\nfalse\n0\ntrue\nfilter 1\n[\"time\", \"user\"]\n[0, 1, 2]\n[\"0\", \"0\"]\n[true]\ntrue\n";
    assert_eq!(told, expected);
}

#[test]
fn outside_tools_see_the_same() {
    let told = with(
        "",
        r#"
        let status = fs::read(`/proc/${p.pid}/status`);
        for name in ["CapEff", "CapBnd", "CapInh", "NoNewPrivs", "Seccomp"] {
            for line in status.split("\n") { if line.starts_with(name + ":") { print(line); } }
        }
        print(proc::exec(["capsh", "--decode=00000000a80405fb"]).stdout.contains("cap_mknod"));
        print(proc::exec(`findmnt -N ${p.pid} -rno TARGET,OPTIONS /proc/sys`, #{ check: false }).stdout.contains("/proc/sys ro"));
        "#,
    );
    assert_eq!(
        told,
        "CapEff:\t00000000a80405fb\nCapBnd:\t00000000a80405fb\nCapInh:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\ntrue\ntrue\n"
    );
}

#[test]
fn each_part_can_be_opened_by_name() {
    let told = with(
        r#"o.cap_add = ["NET_ADMIN"]; o.cap_drop = ["MKNOD"]; o.no_new_privs = false; o.seccomp = "unconfined"; o.masked_paths = []; o.readonly_paths = ["/sys"]; o.oom_score_adj = 500;"#,
        r#"
        print(`${s.capabilities.effective.contains("NET_ADMIN")} ${s.capabilities.effective.contains("MKNOD")}`);
        print(`${s.no_new_privs} ${s.seccomp} ${s.oom_score_adj}`);
        print(s.mounts.filter(|m| m.target == "/proc/keys").len());
        print(s.mounts.filter(|m| m.target == "/proc/sys").len());
        "#,
    );
    assert_eq!(told, "true false\nfalse none 500\n0\n0\n");
}

#[test]
fn rules_on_devices_change_those_of_the_policy() {
    if !root_or_refused(
        "device_rules",
        "cgroup::limit(#{ devices: [\"deny all\"] })",
        "permission_denied",
        "devices",
    ) {
        return;
    }
    code(
        r#"
        let o = #{ rootfs: image::host(["sh", "busybox"]), security: "default", check: false, mounts: ["tmp"] };
        let opened = |o| proc::exec("busybox mknod /dev/zero2 c 1 5; busybox mknod /dev/tun2 c 10 200; for d in zero2 tun2; do (: </dev/$d) 2>/dev/null && echo $d; done", o).stdout;
        o.cgroup = #{ devices: ["deny b 8:0 rw"] };
        print(opened.call(o));
        o.cgroup = #{ devices: ["allow c 10:200 r"] };
        print(opened.call(o));
        print(security::diff(o));
        o.cgroup = #{ devices: ["deny all", "allow c 1:3 rw", "allow c 10:200 rm", "allow c *:* m"] };
        print(opened.call(o));
        let g = cgroup::limit(#{ devices: ["deny b 8:0 rwm"] });
        o.cgroup = g;
        print(opened.call(o));
        "#,
    )
    .stdout("zero2\n\nzero2\ntun2\n\n[\"devices: +allow c 10:200 r\"]\ntun2\n\nzero2\n\n")
    .check();
}

#[test]
fn a_limit_on_files_that_is_too_low_for_the_start_is_named() {
    for (files, hint) in [(10, true), (64, false)] {
        let run = code(&format!(
            r#"proc::exec("true", #{{ rootfs: image::host(["sh"]), security: "default", rlimits: #{{ nofile: {files} }} }})"#
        ))
        .output();
        assert_eq!(run.stderr.contains("give nofile 64 or more"), hint, "{files}: {}", run.stderr);
        assert_eq!(run.ended == Ended::Exit(0), !hint, "{files}: {}", run.stderr);
    }
}

#[test]
fn an_ordinary_user_has_an_early_filter() {
    let told = |options: &str| {
        let run = code(&format!(
            r#"
            let o = #{{ rootfs: image::host(["sh", "busybox"]), user: "1000", mounts: ["proc"], seccomp: "default", no_new_privs: false }};
            {options}
            print(proc::exec("busybox grep -E '^(CapPrm|CapEff|NoNewPrivs|Seccomp):' /proc/self/status", o).stdout);
            "#
        ))
        .output();
        assert_eq!((run.ended, run.stderr.as_str()), (Ended::Exit(0), ""), "{options}");
        run.stdout
    };
    let expected = "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nNoNewPrivs:\t0\nSeccomp:\t2\n\n";
    assert_eq!(told(r#"o.security = "default"; o.mounts = [];"#), expected);
    assert_eq!(told(""), expected, "without a level");
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
fn a_bind_of_one_mount_is_of_one_however_it_is_written() {
    let bind = r#"proc::exec("true", #{ rootfs: image::host(["sh"]), mounts: [#{ type: "bind", source: "/sys", target: "/mnt", options: ["bind"] }] })"#;
    if !root_or_refused("covered_folders", bind, "invalid_argument", "rbind") {
        return;
    }
    let run = code(
        r#"
        let o = #{ rootfs: image::host(["sh", "busybox"]), security: "default", check: false };
        for options in [["rbind", "ro"], ["bind", "ro"], ["bind,ro"]] {
            o.mounts = [#{ type: "bind", source: "/sys", target: "/mnt", options: options }];
            print(proc::exec("busybox grep -c ' /mnt/' /proc/self/mounts", o).stdout == "0\n");
        }
        "#,
    )
    .output();
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("false\ntrue\ntrue\n", ""));
}

#[test]
fn the_difference_to_the_default_is_told() {
    code(
        r#"
        for line in security::diff(#{ security: "default", cap_add: ["NET_ADMIN"], cap_drop: ["KILL"], seccomp: "unconfined", readonly_root: true }) { print(line); }
        print(security::diff(#{ security: "default" }));
        print(security::diff(#{ security: "strict" }).contains("readonly_root: true instead of false"));
        print(security::policy(#{ security: "strict" }).capabilities);
        print(security::policy().level);
        "#,
    )
    .stdout(
        r#"
        capabilities: +NET_ADMIN
        capabilities: -KILL
        readonly_root: true instead of false
        seccomp: unconfined instead of default
        []
        true
        []
        none
        "#,
    )
    .check();
}

#[test]
fn profiles_of_system_calls_are_taken_from_files_and_maps() {
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}"#;
    cshell(["-c", r#"
        let base = image::host(["sh", "busybox"]);
        let run = |seccomp| proc::exec("busybox mkdir /tmp/x", #{ rootfs: base, security: "default", seccomp: seccomp, check: false }).stderr;
        print(run.call("profile.json"));
        let p = security::seccomp_profile();
        p.syscalls.insert(0, #{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 30 });
        print(run.call(p));
        print(proc::exec(["mkdir", "/proc/x"], #{ seccomp: "./profile.json", no_new_privs: true, check: false }).stderr.contains("No space left"));
    "#])
    .file("profile.json", profile)
    .stdout("mkdir: can't create directory '/tmp/x': No space left on device\n\nmkdir: can't create directory '/tmp/x': Read-only file system\n\ntrue\n")
    .check();
}

#[test]
fn broken_profiles_and_names_are_refused() {
    let refused = |options: &str, said: &str| {
        let run = cshell(["-c", &format!("proc::exec(\"true\", #{{ {options} }})")])
            .file("broken.json", "{\n  \"defaultAction\": \"SCMP_ACT_ERRNO\",\n  \"sycalls\": []\n}\n")
            .output();
        assert!(run.stderr.contains(said), "{options}: {}", run.stderr);
        assert_ne!(run.ended, Ended::Exit(0), "{options}");
    };
    refused("seccomp: \"broken.json\"", "unknown field `sycalls`");
    refused("seccomp: \"/dev/zero\"", "is not a file");
    refused("seccomp: \"missing.json\"", "cannot read the profile missing.json");
    refused("seccomp: #{ defaultAction: \"SCMP_ACT_ERRNO\" }", "denies execve");
    // What the start itself calls behind the filter, which is early without no_new_privs.
    let denies = |calls: &str, rest: &str| {
        format!(
            "seccomp: #{{ defaultAction: \"SCMP_ACT_ALLOW\", syscalls: [#{{ names: [{calls}], action: \"SCMP_ACT_ERRNO\" }}] }}, {rest}"
        )
    };
    let early = "security: \"default\", no_new_privs: false, timeout: \"5s\"";
    refused(&denies("\"exit_group\", \"capset\"", early), "denies exit_group,");
    refused(&denies("\"write\"", early), "denies write,");
    refused(&denies("\"read\"", early), "denies read, and so the start of the command itself");
    refused(&denies("\"read\"", early), "or add no_new_privs: true");
    let only = "seccomp: #{ defaultAction: \"SCMP_ACT_ERRNO\", syscalls: [#{ names: [\"execve\"], action: \"SCMP_ACT_ALLOW\" }] }";
    refused(&format!("{only}, no_new_privs: false"), "denies exit_group,");
    refused(&format!("{only}, security: \"default\""), "denies exit_group,");
    refused("cap_add: [\"NET_EVERYTHING\"]", "\"NET_EVERYTHING\" is none");
    refused("security: \"default\", apparmor: \"web\"", "runs without AppArmor");
    refused("security: \"default\", oom_score_adj: -900", "cannot set oom_score_adj");
    refused(
        "seccomp: \"default\", user: \"1000\", no_new_privs: false, capabilities: [], ns: [\"user\"], uid_map: [#{container: 1000, host: 1000, size: 1}]",
        "",
    );
}

#[test]
fn any_process_is_explained() {
    let told = with(
        "",
        r#"
        let mine = security::audit(p);
        print(mine.filter(|f| f.grade == "open").len());
        let host = security::audit(sys::info().pid);
        for part in ["seccomp", "capabilities", "namespace"] { print(host.some(|f| f.part == part && f.grade == "open")); }
        try { security::audit(999999) } catch (e) { print(e.kind) }
        try { security::of(0) } catch (e) { print(e.kind) }
        "#,
    );
    assert_eq!(told, "0\ntrue\ntrue\ntrue\nnot_found\ninvalid_argument\n");
}

#[test]
fn a_profile_is_recorded_from_a_run() {
    code(
        r#"
        let base = image::host(["sh", "busybox"]);
        let o = #{ rootfs: base, security: "default", seccomp: "record" };
        let r = proc::exec("busybox ls / >/dev/null; echo ran", o);
        print(r.stdout);
        let p = r.seccomp_profile;
        print(p.syscalls[0].names.contains("getdents64"));
        o.seccomp = p; o.check = false;
        print(proc::exec("busybox ls / >/dev/null; echo ran", o).stdout);
        print(proc::exec("busybox mkdir /tmp/x", o).stderr);
        print(proc::exec("true", #{ rootfs: base, security: "default" }).seccomp_profile);
        // What outlives the command does not keep the record open.
        print(proc::exec("busybox sleep 1000 & echo over", #{ rootfs: base, security: "default", seccomp: "record", ns: ["mount"] }).stdout);
        try { proc::exec("true", #{ seccomp: "record" }) } catch (e) { print(e.hint) }
        try { proc::spawn("true", #{ seccomp: "record", no_new_privs: true }) } catch (e) { print(e.hint) }
        "#,
    )
    .stdout(
        r#"
        ran

        true
        ran

        mkdir: can't create directory '/tmp/x': Operation not permitted


        over

        add no_new_privs: true, or security: "default"
        use proc::exec, and .seccomp_profile of its result
        "#,
    )
    .check();
}

#[test]
fn landlock_holds_even_root() {
    code(
        r#"
        let o = #{ rootfs: image::host(["sh", "busybox"]), security: "default", check: false, landlock: #{ read: ["/"], write: ["/tmp", "/dev/null"] }, mounts: ["tmp"] };
        print(proc::exec("echo x >/tmp/x && busybox cat /tmp/x; echo x >/x; busybox mkdir /y; echo x >/dev/null && echo null", o).inspect().stdout);
        print(proc::exec("echo x >/x", o).stderr.contains("Permission denied"));
        o.landlock = #{ read: ["/bin", "/lib", "/lib64", "/usr"] };
        print(proc::exec("busybox ls /etc", o).stderr.contains("Permission denied"));
        try { proc::exec("true", #{ landlock: #{} }) } catch (e) { print(e.message) }
        "#,
    )
    .stdout("x\nnull\n\ntrue\ntrue\nproc::exec: `landlock` allows nothing: not even the command could be run\n")
    .check();
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
