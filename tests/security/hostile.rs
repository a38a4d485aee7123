//! Images and commands that want to get out: each is an attack that worked on some runtime.

use crate::probe;
use crate::support::user::{User, root_or_refused, stands_in};
use crate::support::{Cshell, Ended, Run, code};
use std::path::Path;

/// A root made of busybox and a script that changes it, and a run in it; `DIR` is a folder of the host's with a file `secret`.
#[track_caller]
fn run(prepare: &str, call: &str) -> Run {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secret"), "SECRET\n").unwrap();
    let script = format!(
        r#"
        let dir = "{dir}";
        let base = image::host(["sh", "busybox"]);
        let root = fs::overlay(base);
        proc::exec(`{prepare}`, #{{ env: #{{ PATH: "/usr/bin:/bin", R: root.merged, DIR: dir }} }});
        let o = #{{ rootfs: root, security: "default", check: false }};
        {call}
        "#,
        dir = dir.path().display(),
    );
    let run = code(&script).output();
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["secret"], "something was made on the host: {}", run.stderr);
    assert!(!run.stdout.contains("SECRET"), "the host was read: {}", run.stdout);
    run
}

#[track_caller]
fn refused(prepare: &str, call: &str, said: &str, hint: &str) {
    let run = run(prepare, call);
    let first = run.stderr.lines().next().unwrap_or_default().to_owned();
    assert!(first.contains(said), "{}", run.stderr);
    assert!(run.stderr.contains(hint), "{}", run.stderr);
    assert_ne!(run.ended, Ended::Exit(0));
}

const MKNOD: &str = r#"proc::exec("mknod zero c 1 5")"#;
const LINK: &str = "a link stands in the way";

#[test]
fn the_kernels_folders_are_no_links() {
    for name in ["proc", "sys", "dev"] {
        for target in ["/tmp", "$DIR", "../../../../../../$DIR", "/proc/self/fd/5"] {
            let prepare = format!("rmdir $R/{name} 2>/dev/null; ln -s {target} $R/{name}");
            refused(&prepare, r#"proc::exec(["busybox", "ls", "/"], o);"#, "cannot mount", LINK);
        }
    }
}

#[test]
fn no_working_folder_leads_out() {
    // CVE-2024-21626: descriptors of the host that the start still holds.
    for fd in 3..20 {
        let call = format!(
            r#"o.cwd = "/proc/self/fd/{fd}"; print(proc::exec("busybox ls; busybox cat ../../../../secret", o).stdout);"#
        );
        refused(":", &call, "cannot change to the working directory", "");
    }
    let call = r#"o.cwd = "/link"; proc::exec("true", o);"#;
    refused("ln -s /proc/self/fd/7 $R/link", call, "cannot change to the working directory", LINK);
    let inside =
        run("mkdir $R/home; ln -s /home $R/link", r#"o.cwd = "/link"; print(proc::exec("pwd", o).stdout);"#);
    assert_eq!(inside.stdout, "/home\n\n", "{}", inside.stderr);
}

#[test]
fn no_mount_point_leads_out() {
    // CVE-2024-45310, CVE-2021-30465: folders made, and mounts put, through links of the image.
    let call = r#"o.mounts = [#{ type: "bind", source: "/etc/hostname", target: "/link/a/b" }]; proc::exec("true", o);"#;
    for target in ["/proc/self/fd/5", "/proc/1/root", "/proc/self/cwd"] {
        refused(&format!("ln -s {target} $R/link"), call, "cannot make", LINK);
    }
    let below = run("ln -s $DIR $R/link", call);
    assert_eq!(
        below.stderr.lines().next(),
        Some("error: proc::exec `true`: cannot make /link/a"),
        "{}",
        below.stderr
    );
}

#[test]
fn masks_use_the_null_device_and_nothing_else() {
    // CVE-2025-31133: /dev/null of the image is a link to what is then bound over the masked file.
    let call = r#"
        o.mounts = [#{ type: "bind", source: root.merged + "/fake", target: "/dev" }];
        proc::exec("true", o);"#;
    refused("mkdir $R/fake; ln -s /proc/sys/kernel/core_pattern $R/fake/null", call, "cannot mask", LINK);
    refused("mkdir $R/fake; echo text >$R/fake/null", call, "cannot mask", "not the null device");
    if root_or_refused("device_nodes", MKNOD, "exit_status", "Operation not permitted") {
        refused("mkdir $R/fake; mknod $R/fake/null c 1 5", call, "cannot mask", "not the null device");
    }
}

#[test]
fn the_program_cannot_be_reached_from_inside() {
    // CVE-2019-5736: a command that is the runtime itself, and one that overwrites whatever started it.
    let me = Path::new(env!("CARGO_BIN_EXE_cshell"));
    let before = std::fs::read(me).unwrap();
    let overwrite = r#"
        printf '#!/proc/self/exe\n' >$R/self; chmod +x $R/self
        printf '#!/bin/sh\nfor p in /proc/[0-9]*; do readlink $p/exe; for f in $p/fd/*; do readlink $f; done; (echo x >$p/exe) 2>/dev/null && echo WRITTEN; exec 9<$p/exe; (echo x >/proc/self/fd/9) 2>/dev/null && echo WRITTEN; done; true\n' >$R/write; chmod +x $R/write"#;
    let call = r#"
        print(proc::exec(["/self"], o).code);
        print(proc::exec(["/proc/self/exe"], o).code);
        let box = ns::new(["pid", "mount", "net", "uts", "ipc"]);
        o.ns = box;
        let inside = proc::spawn("while :; do /write; done", o);
        for i in 0..20 { print(proc::exec(["/self"], o).code); }
        inside.kill();
        for line in inside.lines() { if line.contains("cshell") || line == "WRITTEN" || line.starts_with("/tmp") { print(line); } }"#;
    let run = run(overwrite, call);
    assert!(run.stderr.is_empty(), "{}", run.stderr);
    let name = me.file_name().unwrap().to_str().unwrap();
    let seen: Vec<&str> =
        run.stdout.lines().filter(|line| line.ends_with(name) || *line == "WRITTEN").collect();
    assert!(seen.is_empty(), "{}", run.stdout);
    assert!(run.stdout.lines().take(2).all(|code| code != "0"), "{}", run.stdout);
    assert!(std::fs::read(me).unwrap() == before, "the program was changed");
}

#[test]
fn nothing_of_the_caller_is_handed_on() {
    let dir = tempfile::tempdir().unwrap();
    let out = |script: &str| {
        let run = code(&format!(
            "let o = #{{ rootfs: image::host([\"sh\", \"busybox\"]), security: \"default\" }}; print(proc::exec(`{script}`, o).stdout);"
        ))
        .env("HOST_SECRET", "x")
        .cwd(dir.path())
        .output();
        assert_eq!((run.ended, run.stderr.as_str()), (Ended::Exit(0), ""));
        run.stdout.trim_end().to_owned() + "\n"
    };
    assert_eq!(
        out("busybox ls /proc/self/fd").split_whitespace().collect::<Vec<_>>(),
        ["0", "1", "2", "3"],
        "3 is the folder that ls reads"
    );
    assert_eq!(
        out("busybox env | busybox sort"),
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nPWD=/\n"
    );
    assert_eq!(out("busybox id"), "uid=0(root) gid=0(root)\n");
    assert_eq!(out("busybox ls /sys/class/net"), "lo\n");
    assert_eq!(out("busybox hostname"), out("busybox cat /proc/sys/kernel/hostname"));
    assert_eq!(out("ulimit -c; ulimit -Hc; ulimit -n"), "0\n0\n1024\n");
    assert_eq!(out("echo /proc/[0-9]*"), "/proc/1\n", "the shell alone");
    // The mask of signals, and SIGPIPE, are as at birth.
    assert_eq!(
        out("busybox grep -E 'Sig(Blk|Ign)' /proc/self/status"),
        "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
    );
}

#[test]
fn the_user_database_is_hostile() {
    let fifo = "mkdir -p $R/etc; rm -f $R/etc/passwd; mkfifo $R/etc/passwd";
    refused(fifo, r#"o.user = "web"; proc::exec("true", o);"#, "is not a regular file", "");
    let endless = "mkdir -p $R/etc; rm -f $R/etc/passwd; truncate -s 100G $R/etc/passwd";
    refused(endless, r#"o.user = "web"; proc::exec("true", o);"#, "is larger than 1 MiB", "");
    let link = "mkdir -p $R/etc; rm -f $R/etc/passwd; ln -s $DIR/secret $R/etc/passwd";
    refused(link, r#"o.user = "SECRET"; proc::exec("true", o);"#, "is not in /etc/passwd", "");
    if root_or_refused("device_nodes", MKNOD, "exit_status", "Operation not permitted") {
        let device = "mkdir -p $R/etc; rm -f $R/etc/passwd; mknod $R/etc/passwd c 1 5";
        refused(device, r#"o.user = "web"; proc::exec("true", o);"#, "is not a regular file", "");
    }
    for user in ["4294967296", "2147483648", "-1"] {
        let call = format!(r#"o.user = "{user}"; proc::exec("true", o);"#);
        assert_eq!(run(":", &call).ended, Ended::Exit(1));
    }
    if !stands_in() {
        // To open the device would be to use it: a node without a driver fails by ENXIO when it is.
        let tty = "mkdir -p $R/etc; rm -f $R/etc/passwd; mknod $R/etc/passwd c 250 250";
        refused(tty, r#"o.user = "web"; proc::exec("true", o);"#, "is not a regular file", "");
    }
    // -1 leaves an id as it is: root's (setresuid(2)).
    let root = "mkdir -p $R/etc; echo 'web:x:4294967295:0::/:/bin/sh' >$R/etc/passwd; echo 'g:x:4294967295:' >$R/etc/group";
    for user in ["web", "1000:g"] {
        let call = format!(r#"o.user = "{user}"; print(proc::exec("busybox id", o).stdout);"#);
        refused(root, &call, "is none", "ids are numbers");
    }
    let digits = "mkdir -p $R/etc; echo '1000:x:0:0::/:/bin/sh' >$R/etc/passwd";
    let run = run(digits, r#"o.user = "1000"; print(proc::exec("busybox id -u", o).stdout);"#);
    assert_eq!(run.stdout, "1000\n\n", "{}", run.stderr);
}

#[test]
fn the_session_keyring_is_its_own() {
    let path = probe::program().display().to_string();
    let run = code(&format!(
        r#"
        let base = image::host(["sh"], #{{ include: ["{path}"] }});
        print(proc::exec(["{path}", "keyring"]).stdout);
        let o = #{{ rootfs: base, security: "default", seccomp: "unconfined" }};
        print(proc::exec(["{path}", "keyring"], o).stdout);
        print(proc::exec(["{path}", "keyring"], o).stdout);
        "#
    ))
    .output();
    let ids: std::collections::BTreeSet<&str> = run.stdout.split_whitespace().collect();
    assert_eq!((ids.len(), run.stderr.as_str()), (3, ""), "{ids:?}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "script makes the terminal of the caller")]
fn nothing_is_typed_into_the_callers_terminal() {
    let path = probe::program().display().to_string();
    let dir = tempfile::tempdir().unwrap();
    let me = env!("CARGO_BIN_EXE_cshell");
    for (level, answer) in [("default", "tiocsti EPERM"), ("none", "tiocsti OK")] {
        let script = format!(
            r#"proc::exec(["{path}", "tiocsti"], #{{ rootfs: image::host(["sh"], #{{ include: ["{path}"] }}), security: "{level}", input: "inherit", output: "inherit" }});"#
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
fn a_terminal_is_made_inside() {
    let out = |options: &str, script: &str| {
        let run = code(&format!(
            r#"
            let o = #{{ rootfs: image::host(["sh", "busybox"]), security: "default", tty: true }};
            {options}
            print(proc::exec(`{script}`, o).stdout);
            "#
        ))
        .output();
        assert_eq!((run.ended, run.stderr.as_str()), (Ended::Exit(0), ""));
        run.stdout.replace('\r', "")
    };
    let script = "busybox tty; echo one >/dev/tty; echo two >/dev/console; echo three >/dev/stdout; busybox stat -c '%t:%T %u' /dev/console; busybox ls -1 /dev/pts";
    assert_eq!(out("", script), "/dev/pts/0\none\ntwo\nthree\n88:0 0\n0\nptmx\n\n");
    assert_eq!(out(r#"o.user = "1000";"#, script), "/dev/pts/0\none\ntwo\nthree\n88:0 1000\n0\nptmx\n\n");
    // Another one in the same set of namespaces has a /dev/pts of its own.
    assert_eq!(out(r#"o.ns = ns::new(["pid", "mount"]);"#, "busybox tty"), "/dev/pts/0\n\n");
}

#[test]
fn streams_can_be_opened_again_by_a_user() {
    let run = code(
        r#"
        let o = #{ rootfs: image::host(["sh", "busybox"]), security: "default", user: "1000" };
        print(proc::exec("echo out >/dev/stdout; echo err >/dev/stderr; busybox stat -Lc %u /dev/stdin /dev/stdout", o).stdout);
        "#,
    )
    .output();
    // The machine's root has no id in a user's namespace.
    let root = if stands_in() { 65534 } else { 0 };
    assert_eq!(
        (run.stdout, run.stderr.as_str()),
        (format!("out\n{root}\n1000\n\n"), ""),
        "the null device stays root's"
    );
}

#[test]
fn a_volume_that_changes_while_it_is_mounted() {
    // CVE-2021-30465: a container swaps a folder of a shared volume for a link while another one is started on it.
    let prepare = "mkdir -p $R/v $R/data; mkdir -p $R/../v-shared; mkdir $R/../data-shared; echo inside >$R/../data-shared/file";
    let call = r#"
        let volume = #{ type: "bind", source: root.merged + "/../v-shared", target: "/v" };
        let other = fs::overlay(base);
        print(proc::exec("busybox ls /v/x", #{ rootfs: base, security: "default", mounts: [volume, #{ type: "bind", source: root.merged + "/../data-shared", target: "/v/x" }] }).stdout);
        let swaps = proc::spawn("while :; do busybox rm -rf /v/x; busybox ln -s / /v/x; busybox rm -f /v/x; busybox mkdir /v/x; done", #{ rootfs: other, security: "default", mounts: [volume] });
        let data = #{ type: "bind", source: root.merged + "/../data-shared", target: "/v/x" };
        let met = #{};
        for i in 0..25 {
            try {
                let r = proc::exec("busybox ls /v/x", #{ rootfs: base, security: "default", mounts: [volume, data], check: false });
                met[r.stdout] = true;
            } catch (e) { met[e.code] = true; }
        }
        swaps.kill();
        for seen in met.keys() { print(seen); }"#;
    let run = run(prepare, call);
    assert!(run.stderr.is_empty(), "{}", run.stderr);
    // The folder that was mounted, nothing, or the container's own root; the host's has a folder that no image has.
    assert!(run.stdout.contains("file"), "it was never mounted: {}", run.stdout);
    assert!(!run.stdout.lines().any(|line| line == "boot" || line == "home"), "{}", run.stdout);
}

/// A start in a set of namespaces that a hostile process is in already: it sees the child while that is a part of the program,
/// and the last stage of its start, and must not trace either.
#[track_caller]
fn traced_while_starting(kinds: &str, by: fn(Cshell) -> Cshell) {
    let path = probe::program().display().to_string();
    let run = by(code(&format!(
        r#"
        let base = image::host(["sh", "busybox"], #{{ include: ["{path}"] }});
        let o = #{{ rootfs: base, security: "default", ns: ns::new([{kinds}]) }};
        let tracer = proc::spawn(["{path}", "trace"], o);
        print(tracer.next_line());
        for i in 0..40 {{ proc::exec(["busybox", "true"], o); }}
        tracer.signal("KILL");
        for line in tracer.lines() {{ print(line); }}
        "#
    )))
    .output();
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("ready\n", ""), "{kinds}");
}

#[test]
fn a_process_cannot_be_traced_while_it_starts() {
    traced_while_starting(r#""pid""#, |run| run);
    traced_while_starting(r#""pid", "mount", "net", "uts", "ipc", "cgroup""#, |run| run);
    traced_while_starting(r#""pid", "mount""#, Cshell::by_user);
}

#[test]
fn device_nodes_of_an_image_cannot_be_opened() {
    if !root_or_refused("device_nodes", MKNOD, "exit_status", "Operation not permitted") {
        return;
    }
    let nodes = "mkdir $R/nodes; mknod -m 666 $R/nodes/loop b 7 0; mknod -m 666 $R/nodes/kvm c 10 232; mknod -m 666 $R/nodes/mem c 1 1";
    for options in [
        "",
        r#"o.userns = "auto";"#,
        r#"o.ns = ["user", "pid", "mount", "net"];"#,
        r#"o.ns = ns::new(["user", "pid"]);"#,
    ] {
        let call = format!(
            r#"{options} o.rootfs = base; o.mounts = [#{{ type: "bind", source: root.merged + "/nodes", target: "/nodes" }}];
            print(proc::exec("for n in loop kvm mem; do (exec 3</nodes/$n) 2>/dev/null && echo open $n; done; echo end", o).stdout);"#
        );
        let run = run(nodes, &call);
        assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("end\n\n", ""), "{options}");
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
fn what_was_asked_of_paths_holds_everywhere() {
    code(
        r#"
        let tries = "touch /etc/x 2>/dev/null && echo wrote; cat /etc/hostname; (: >>/proc/sys/kernel/core_pattern) 2>/dev/null && echo writable; true";
        let asked = #{ readonly_root: true, masked_paths: ["/etc/hostname"] };
        for o in [#{}, #{ ns: ["uts"] }, #{ ns: ns::new(["pid", "mount", "net", "uts", "ipc", "cgroup"]), security: "default" }, #{ security: "default" }, #{ security: "strict" }] {
            o.mixin(asked);
            o.readonly_paths = ["/proc/sys"];
            print(proc::exec(tries, o).stdout);
        }
        print(proc::exec("touch /etc/x 2>/dev/null && echo wrote; true", #{ readonly_paths: ["/"] }).stdout);
        let other = #{ rootfs: image::host(["sh", "busybox"]), security: "default", mounts: [#{ type: "proc", target: "/other" }, #{ type: "sysfs", target: "/kernel" }, "sys"] };
        print(proc::exec("busybox cat /other/keys; (: >>/other/sys/kernel/core_pattern) 2>/dev/null && echo writable; (: >>/kernel/kernel/rcu_expedited) 2>/dev/null && echo writable; true", other).stdout);
        try { proc::exec("true", #{ masked_paths: ["/"] }) } catch (e) { print(e.kind) }
        "#,
    )
    .cwd("/")
    .stdout("\n\n\n\n\n\n\n\ninvalid_argument\n")
    .check();
}

#[test]
fn groups_and_pipes_in_a_user_namespace() {
    code(
        r#"
        let o = #{ rootfs: image::host(["sh", "busybox"]), security: "default" };
        for userns in [(), "auto"] {
            o.userns = userns;
            for user in [(), "0", "1000"] {
                o.user = user;
                print(proc::exec("echo out >/dev/stdout; busybox id -u", o).stdout);
            }
        }
        o.user = (); o.additional_gids = [5];
        print(proc::exec("busybox id -G", o).stdout);
        "#,
    )
    .stdout("out\n0\n\nout\n0\n\nout\n1000\n\nout\n0\n\nout\n0\n\nout\n1000\n\n0 5\n\n")
    .check();
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
