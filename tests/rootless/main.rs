//! The program as an ordinary user, looked at from outside.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod network;
#[path = "../support/outside.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
#[allow(clippy::allow_attributes, reason = "what is unused differs between the test files")]
mod outside;
#[path = "../support/mod.rs"]
mod support;

use outside::{around, eventually, is_alive, link, read, try_tool, watch_in};
use std::io::BufRead;
use std::os::unix::fs::MetadataExt;
use support::user::{NAME, SUBORDINATE, UID, User};
use support::{Cshell, Ended, code, kill};

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

/// The names of what cannot work for an ordinary user, each with an attempt at it that must fail.
const LIMITS: [(&str, &str); 11] = [
    ("host_network", "proc::exec(\"ip link set lo mtu 1000\")"),
    ("host_mounts", "ns::new(#{ kinds: [\"net\"], pin: \"pin\" })"),
    ("block_devices", "fs::mount(#{ type: \"ext4\", source: \"/dev/vda\", target: \"/mnt\" })"),
    ("mqueue", "fs::mount(#{ type: \"mqueue\", target: fs::temp_dir() })"),
    ("covered_folders", "fs::overlay(\"/etc\")"),
    ("device_nodes", "proc::exec(\"mknod node c 1 3\")"),
    (
        "idmap",
        "proc::exec(\"true\", #{ userns: \"auto:size=9\", mounts: [#{ type: \"bind\", source: \"/etc\", target: \"/mnt\", options: [\"idmap\"] }] })",
    ),
    ("device_rules", "cgroup::limit(#{ devices: [\"deny all\"] })"),
    ("time_join", "ns::new([\"time\"]).exec(\"true\")"),
    ("raise_limits", "proc::exec(\"true\", #{ rlimits: #{ nofile: 2000000000 } })"),
    ("cgroup", "cgroup::limit(#{ pids: 10 })"),
];

#[test]
fn what_cannot_work_is_listed_and_nothing_else() {
    let attempts: String = LIMITS
        .iter()
        .map(|(name, attempt)| format!("try {{ {attempt}; print(\"works: {name}\"); }} catch {{ }}\n"))
        .collect();
    let names: Vec<&str> = LIMITS.iter().map(|(name, _)| *name).collect();
    let script = format!(
        r#"
        let here = sys::rootless();
        print(`${{here.user}} ${{here.uid}} ${{here.ids}}`);
        print(here.limits.map(|limit| limit.name));
        for limit in here.limits {{ if limit.what == "" || limit.why == "" {{ print(`nothing said of ${{limit.name}}`); }} }}
        {attempts}
        "#
    );
    let expected = format!("{NAME} {UID} 65537\n{names:?}\n");
    code(&script).by_user().stdout(&expected).check();
    // One more, where there are no ids.
    let run =
        with_ids(code("print(sys::rootless().limits.filter(|limit| limit.name == \"ids\")[0].fix);"), "")
            .output();
    assert!(run.stdout.contains("usermod --add-subuids"), "{}{}", run.stdout, run.stderr);
    code("print(sys::rootless() == ());").stdout("true\n").check();
}

#[test]
fn what_is_not_listed_works() {
    let script = r#"
        let base = image::host(["sh", "ls", "cat", "id", "tty", "stat", "mount", "true", "chown"]);
        // Every kind of namespace, alone and together.
        for kind in ["user", "mount", "pid", "net", "ipc", "uts", "cgroup", "time"] {
            if ns::new([kind]).inode(kind) == ns::host()[kind] { throw kind; }
            proc::exec("true", #{ ns: [kind] });
        }
        let box = ns::new(#{ kinds: ["mount", "pid", "net", "ipc", "uts", "cgroup"], hostname: "box", sysctl: #{ "net.ipv4.ip_forward": 1 } });
        let o = #{ rootfs: base, mounts: ["proc", "sys", "dev", "tmp"] };
        print(box.exec(`[ -e /proc/1 ] && [ -d /sys/class/net/lo ] && echo x > /dev/null && cat /proc/sys/net/ipv4/ip_forward`, o).stdout);
        print(proc::exec("tty > /dev/null; [ -t 0 ] && [ -t 1 ] && echo terminal", #{ ns: ["pid", "mount"], rootfs: base, mounts: ["dev", "proc"], tty: true }).stdout.split()[0]);
        print(proc::exec(`stat -c %u:%g /bin/sh; chown 5:6 /tmp; stat -c %u:%g /tmp; id -u`, #{ rootfs: base, user: "7:8", ns: ["pid"], check: false }).stdout.split());
        print(proc::exec(`chown 5:6 /tmp; stat -c %u:%g /tmp`, #{ rootfs: base, ns: ["pid"] }).stdout);
        // Views of the kernel of namespaces that are the machine's.
        let at = fs::temp_dir();
        let seen = fs::proc(at); print(fs::exists(at.path("self/status"))); seen.close();
        let seen = fs::sysfs(at, #{ readonly: true }); print(fs::exists(at.path("kernel"))); seen.close();
        for make in [|at| fs::tmpfs(at), |at| fs::devpts(at), |at| fs::bind("/etc", at)] { make.call(at).close(); }
        print(proc::exec("ls -d /mnt/self", #{ ns: ["mount"], mounts: [#{ type: "proc", target: "/mnt" }] }).stdout);
        print(proc::exec("ls -d /mnt", #{ ns: ["mount", "ipc"], mounts: [#{ type: "mqueue", target: "/mnt" }] }).stdout);
        print(proc::exec("ls -d /mnt/class", #{ ns: ["mount"], mounts: [#{ type: "sysfs", target: "/mnt" }] }).stdout);
        // Layers, whiteouts and folders that hide what is below.
        let root = fs::overlay(base);
        fs::mkdir(root.path("etc/kept")); fs::write(root.path("etc/kept/a"), "a"); fs::chown(root.path("etc/kept/a"), "12:13");
        let one = image::commit(root, "localhost/one:1");
        let root = fs::overlay(one);
        fs::remove(root.path("etc/kept")); fs::mkdir(root.path("etc/kept")); fs::write(root.path("etc/kept/b"), "b"); fs::remove(root.path("etc/hosts"));
        print(root.changes().map(|change| `${change.kind} ${change.path}`));
        let two = image::commit(root, "localhost/two:1");
        print(proc::exec("ls /etc/kept; ls /etc/hosts 2>/dev/null; true", #{ rootfs: image::from("localhost/two:1"), ns: ["pid"] }).stdout);
        print(proc::exec("stat -c %u:%g /etc/kept/a", #{ rootfs: image::from("localhost/one:1"), ns: ["pid"] }).stdout);
    "#;
    let run = code(script).by_user().output();
    assert_eq!((run.stderr.as_str(), run.ended), ("", Ended::Exit(0)), "{}", run.stdout);
    let lines: Vec<&str> = run.stdout.lines().filter(|line| !line.is_empty()).collect();
    let expected = [
        "1",
        "terminal",
        r#"["0:0", "0:0", "7"]"#,
        "5:6",
        "true",
        "true",
        "/mnt/self",
        "/mnt",
        "/mnt/class",
        r#"["deleted /etc/hosts", "deleted /etc/kept/a", "added /etc/kept/b"]"#,
        "b",
        "12:13",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn what_a_killed_user_left_is_reclaimed() {
    let script = r#"
        let box = ns::new(["pid", "net"]);
        print(box.pid);
        print(box.spawn("trap '' TERM; while :; do sleep 1000; done").pid);
        let root = fs::overlay(image::host(["sh"]));
        fs::write(root.path("tmp/theirs"), ""); fs::chown(root.path("tmp/theirs"), "9:9");
    "#;
    let program = code(&around(script)).by_user();
    let run = program.after_line_leaving("ready", |pid, stdout| {
        let facts: Vec<String> =
            stdout.lines().map_while(Result::ok).take_while(|line| line != "done").collect();
        kill(pid, nix::sys::signal::Signal::SIGKILL);
        for pid in &facts[..2] {
            eventually("it ended with the program", || !is_alive(pid));
        }
    });
    assert_eq!(run.ended, Ended::Signal(9));
    program.reclaim();
}

#[test]
fn state_folders_of_others_are_refused() {
    let make = "mkdir -m 1777 $folder/everybodys; cd $folder/everybodys; ";
    for (before, what) in [
        ("mkdir theirs", "belongs to another user"),
        (
            "mkdir $folder/mine; chown $uid $folder/mine; ln -s $folder/mine theirs",
            "is a link that another user made",
        ),
        ("mkdir -m 777 theirs; chown $uid theirs", "can be written by others (mode 777)"),
        ("mkdir -m 770 theirs; chown $uid:0 theirs", "can be written by others (mode 770)"),
        ("touch theirs", "is not a folder"),
    ] {
        for gc in [false, true] {
            let program = if gc { support::cshell(["gc"]) } else { code("proc::exec(\"true\")") };
            let run_folder = program.folder().join("everybodys/theirs");
            let program = program.env("CSHELL_RUN", run_folder.to_str().unwrap());
            let run = after(program, &format!("{make}{before}; cd - > /dev/null")).output();
            if gc && what == "is not a folder" {
                assert_ne!(run.ended, Ended::Exit(0), "{}", run.stdout);
                continue;
            }
            assert!(run.stderr.contains(what), "{before}: {}{}", run.stdout, run.stderr);
            assert_eq!(run.ended, Ended::Exit(3), "{before}");
        }
    }
    let program =
        code("print(sys::info().run); print(sys::info().root);").env("CSHELL_RUN", "").env("CSHELL_ROOT", "");
    let home = program.folder().display().to_string();
    program.by_user().stdout(&format!("/tmp/cshell-{UID}\n{home}/.local/share/cshell\n")).check();
}

#[test]
fn the_helper_that_writes_maps_holds_nothing_of_ours() {
    // In place of newuidmap: a program that says which descriptors it has, and then does what it has to.
    let spy = "printf '#!/bin/sh\\nls -l /proc/self/fd >> '$folder'/work/fds\\nexec '$folder'/real \"$@\"\\n' > $folder/spy; \
               cp -p /usr/bin/newuidmap $folder/real; chmod 755 $folder/spy; mount --bind $folder/spy /usr/bin/newuidmap";
    let program = code("print(proc::exec(\"cat /proc/self/uid_map\").stdout);");
    let fds = program.folder().join("work/fds");
    let run = after(program.env("SECRET", "1"), spy).output_with(|| read(&fds));
    assert_eq!(words(&run.0.stdout), format!("0 {UID} 1 1 {SUBORDINATE} 65536"), "{}", run.0.stderr);
    let targets: Vec<&str> =
        run.1.lines().filter_map(|line| line.split_once(" -> ")).map(|(_, target)| target).collect();
    let known = |target: &&&str| {
        target.starts_with("/dev/null")
            || target.starts_with("pipe:")
            || target.contains("/fd")
            || target.ends_with("/spy")
    };
    assert_eq!(targets.iter().filter(known).count(), targets.len(), "{}", run.1);
    assert!(targets.len() >= 3 && !run.1.contains("session-"), "{}", run.1);
}

#[test]
fn a_layer_that_needs_more_than_a_user_has_says_so() {
    // An image with a file of another user, taken to a user who has no ids for it.
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let make = r#"
        let root = fs::overlay(image::host(["sh"]));
        fs::write(root.path("etc/theirs"), ""); fs::chown(root.path("etc/theirs"), "7:7");
        image::commit(root, "localhost/owned:1");
        let root = fs::overlay(image::host(["sh"]));
        proc::exec(["mknod", `${root.merged}/dev/disk`, "b", "1", "3"]);
        image::commit(root, "localhost/disk:1");
    "#;
    code(make).env("CSHELL_ROOT", store.to_str().unwrap()).check();
    let take = |name: &str, lines: &str| {
        // The layers alone are unpacked anew: those that root has unpacked are its own.
        let before = format!(
            "cp -a {0} $folder/taken; rm -rf $folder/taken/layers $folder/taken/scratch; chown -R $uid:$uid $folder/taken",
            store.display()
        );
        let script = format!(
            "proc::exec(\"true\", #{{ rootfs: image::from(\"localhost/{name}:1\"), ns: [\"pid\"] }});"
        );
        let program = code(&script);
        let root = program.folder().join("taken").to_str().unwrap().to_owned();
        let user = User { before, subordinate: lines.into(), ..User::default() };
        program.env("CSHELL_ROOT", &root).by_user_with(user).output()
    };
    let run = take("owned", "");
    assert!(run.stderr.contains("cannot make \"etc/theirs\""), "{}", run.stderr);
    assert!(run.stderr.contains("usermod --add-subuids"), "{}", run.stderr);
    let run = take("owned", &format!("{NAME}:{SUBORDINATE}:5\n"));
    assert!(run.stderr.contains("its owner is beyond the ids of this user namespace"), "{}", run.stderr);
    let run = take("disk", &format!("{NAME}:{SUBORDINATE}:65536\n"));
    assert!(run.stderr.contains("device nodes need root of the machine"), "{}", run.stderr);
    let run = take("owned", &format!("{NAME}:{SUBORDINATE}:65536\n"));
    assert_eq!((run.stderr.as_str(), run.ended), ("", Ended::Exit(0)));
}

/// A kernel that lets no user namespace have an overlay: a filter refuses the call that begins one.
const NO_OVERLAYS: &str = r#"let options = #{ seccomp: #{ defaultAction: "SCMP_ACT_ALLOW",
    syscalls: [#{ names: ["fsopen"], action: "SCMP_ACT_ERRNO", errnoRet: 1 }] } };"#;

#[test]
fn overlays_are_served_where_the_kernel_refuses_them() {
    let name = "overlays_are_served_where_the_kernel_refuses_them";
    if try_tool("which", &["fuse-overlayfs"]).is_err() {
        support::skip::skip(name, "fuse-overlayfs is not installed");
        return;
    }
    let script = r#"
        let base = image::host(["sh", "ls", "cat"]);
        let root = fs::overlay(base);
        fs::mkdir(root.path("etc/kept")); fs::write(root.path("etc/kept/a"), "a"); fs::chown(root.path("etc/kept/a"), "12:13");
        let one = image::commit(root, "localhost/one:1");
        root.close();
        let root = fs::overlay(one);
        fs::remove(root.path("etc/kept")); fs::mkdir(root.path("etc/kept")); fs::write(root.path("etc/kept/b"), "b"); fs::remove(root.path("etc/hosts"));
        print(root.changes().map(|change| `${change.kind} ${change.path}`));
        let two = image::commit(root, "localhost/two:1");
        print(proc::exec("cat /proc/mounts").stdout.contains("fuse.fuse-overlayfs"));
        root.close();
        print(proc::exec("ls -a /etc/kept; ls /etc/hosts 2>/dev/null; echo > /made", #{ rootfs: image::from("localhost/two:1") }).lines());
        print(proc::exec("cat /proc/mounts").stdout.contains("fuse.fuse-overlayfs"));
    "#;
    let fuse = "mkdir -p /run/fuse-$$ && mount -t tmpfs none /run/fuse-$$ && mknod -m 666 /run/fuse-$$/fuse c 10 229 && \
                mount --bind /run/fuse-$$/fuse /dev/fuse && umount -l /run/fuse-$$ && rmdir /run/fuse-$$";
    let run = after(code(script), fuse).under(NO_OVERLAYS);
    assert_eq!((run.stderr.trim(), run.ended), ("", Ended::Exit(0)), "{}", run.stdout);
    let expected = [
        r#"["deleted /etc/hosts", "deleted /etc/kept/a", "added /etc/kept/b"]"#,
        "true",
        r#"[".", "..", "b"]"#,
        "false",
    ];
    assert_eq!(run.stdout.trim().lines().collect::<Vec<_>>(), expected);
    // Where it cannot serve one either, and where it is not there.
    let script = "fs::overlay(image::host([\"sh\"]));";
    let run = after(code(script), "mknod -m 600 $folder/fuse c 10 229; mount --bind $folder/fuse /dev/fuse")
        .under(NO_OVERLAYS);
    assert!(
        run.stderr.contains("fuse-overlayfs ended: ") && run.stderr.contains("chmod 0666 /dev/fuse"),
        "{}",
        run.stderr
    );
    let run = after(code(script), "mkdir $folder/bin; ln -s /bin/sh $folder/bin/; PATH=$folder/bin")
        .under(NO_OVERLAYS);
    assert!(run.stderr.contains("install fuse-overlayfs"), "{}", run.stderr);
}

/// A kernel that refuses to make a namespace: a filter refuses the call.
const NO_NAMESPACES: &str = r#"let options = #{ seccomp: #{ defaultAction: "SCMP_ACT_ALLOW",
    syscalls: [#{ names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: 1 }] } };"#;

#[test]
fn what_forbids_user_namespaces_is_found_in_the_settings() {
    for (setting, value, what, fix) in [
        (
            "apparmor_restrict_unprivileged_userns",
            "1",
            "AppArmor takes the power from user namespaces of ordinary users",
            "a profile with `userns,` in /etc/apparmor.d",
        ),
        (
            "unprivileged_userns_clone",
            "0",
            "user namespaces are forbidden to ordinary users: kernel.unprivileged_userns_clone is 0",
            "sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (
            "unprivileged_userns_clone",
            "1",
            "cannot make a user namespace",
            "a seccomp filter or a chroot forbids",
        ),
    ] {
        let before =
            format!("mount -t tmpfs none /proc/sys/kernel; echo {value} > /proc/sys/kernel/{setting}");
        let run = after(code("print(1);"), &before).under(NO_NAMESPACES);
        assert_eq!((run.stdout.trim(), run.ended), ("", Ended::Exit(3)), "{}", run.stderr);
        assert!(run.stderr.contains(what) && run.stderr.contains(fix), "{setting}: {}", run.stderr);
    }
}

#[test]
fn a_users_program_runs_itself_on_the_same_state() {
    let script = r#"
        print(sys::info().run);
        let inner = `print(sys::info().run); print(proc::exec("id -u; echo $$", #{ ns: ["pid", "mount"], mounts: ["proc"] }).lines()); fs::overlay("/usr").close();`;
        print(proc::exec([sys::env("HOME") + "/cshell", "-c", inner]).lines());
    "#;
    let program = code(script).env("CSHELL_RUN", "").env("CSHELL_ROOT", "");
    let home = program.folder().display().to_string();
    let run = format!("{home}/state/cshell");
    let expected = format!("{run}\n[{run:?}, {:?}]\n", r#"["0", "1"]"#);
    let program = program.env("XDG_RUNTIME_DIR", &format!("{home}/state"));
    after(program, "mkdir -m 700 $folder/state; chown $uid:$uid $folder/state").stdout(&expected).check();
}

#[test]
fn a_layer_that_covers_something_says_what_is_mounted_below_it() {
    let run =
        code("try { fs::overlay(\"/etc\"); } catch (e) { print(e.kind); print(e.hint); }").by_user().output();
    assert!(run.stdout.contains(" is mounted below /etc, and without root"), "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("fs::copy"), "{}", run.stdout);
}

/// What runs with this word in its command line, as the user.
fn with_word(word: &str) -> Vec<String> {
    try_tool("pgrep", &["-u", &UID.to_string(), "-f", word])
        .unwrap_or_default()
        .lines()
        .map(Into::into)
        .collect()
}

#[test]
fn tests_run_without_groups() {
    let text = r#"
        test::check("a container", || assert::eq(proc::exec("echo $$", #{ ns: ["pid"] }).stdout, "1\n"));
        test::check("left", || proc::exec("sleep 1000 >/dev/null 2>&1 &"));
        "#;
    let run = support::cshell(["test", "-j", "1"]).file("a_test.rhai", text).by_user().output();
    assert_eq!((run.stderr.as_str(), run.ended), ("", Ended::Exit(100)), "{}", run.stdout);
    assert!(run.stdout.starts_with("PASS    a_test.rhai > a container"), "{}", run.stdout);
    assert!(run.stdout.contains("(sleep 1000), made at a_test.rhai:2; removed"), "{}", run.stdout);
}

#[test]
fn without_groups_orphans_end_with_the_script() {
    let word = format!("77{}", std::process::id());
    let script = format!(
        r#"
        // One that starts a session of its own and hears no SIGTERM, one in a tree of them, and one by a spawned command.
        proc::exec(`setsid sh -c 'trap "" TERM HUP; sleep {word} & while :; do sleep {word}; done' > /dev/null 2>&1 &`);
        proc::exec(`setsid sh -c 'setsid sh -c "setsid sleep {word} & sleep {word}" & sleep {word}' > /dev/null 2>&1 &`);
        let it = proc::spawn(`setsid sleep {word} & exec sleep {word}`);
        // Those that end meanwhile are collected.
        for n in 0..5 {{ proc::exec("setsid true & setsid sh -c 'exit 3' &"); }}
        proc::exec("true");
        it.close();
        print("ready");
        proc::exec("true");
        print("done");
        sys::sleep("1h");
        "#
    );
    let run = code(&script).by_user().after_line("ready", |pid, mut stdout| {
        eventually("all of them run", || with_word(&format!("^sleep {word}$")).len() >= 5);
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n");
        kill(pid, nix::sys::signal::Signal::SIGTERM);
    });
    assert_eq!((run.stderr.as_str(), run.ended), ("", Ended::Signal(15)));
    assert_eq!(with_word(&word), Vec::<String>::new());
    // Also where a command starts new ones all the time, and where its time is over.
    let script = format!(
        r#"
        try {{ proc::exec(`setsid sleep {word} & sleep {word}`, #{{ timeout: "100ms" }}); }} catch (e) {{ print(e.kind); }}
        proc::exec(`cat > hop <<'END'
exec 2> /dev/null
: {word}
( sh ./hop {word} & )
END
        setsid sh ./hop {word} > /dev/null 2>&1 &`);
        "#
    );
    code(&script).by_user().stdout("timeout\n").check();
    assert_eq!(with_word(&word), Vec::<String>::new());
}

#[test]
fn orphans_of_others_and_what_was_there_before_are_left_alone() {
    let word = format!("78{}", std::process::id());
    // A shell that has a child of its own becomes the program: its child is none of a command's, and neither are orphans that
    // cannot be told from that child's.
    let before = format!("{{ sleep {word} & sh -c 'sleep {word} & exec sleep {word}' & }} > /dev/null 2>&1");
    let run = after(code("proc::exec(\"true\"); print(\"fine\");"), &before).output();
    let left = with_root_word(&word);
    left.iter().for_each(|pid| kill(pid.parse().unwrap(), nix::sys::signal::Signal::SIGKILL));
    assert_eq!((run.stdout.as_str(), run.stderr.as_str(), run.ended), ("fine\n", "", Ended::Exit(0)));
    assert_eq!(left.len(), 3);
    // A set that a script has: its holder is a child as well, and lives until its own turn.
    code("let set = ns::new([\"net\"]); set.exec(\"setsid sleep 1000 & true\"); print(set.exec(\"echo in\").stdout);")
        .by_user()
        .stdout("in\n\n")
        .check();
}

fn with_root_word(word: &str) -> Vec<String> {
    try_tool("pgrep", &["-f", &format!("^sleep {word}$")])
        .unwrap_or_default()
        .lines()
        .map(Into::into)
        .collect()
}
