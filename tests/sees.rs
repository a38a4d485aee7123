//! What a container sees and can do, as lists: closed as the policy says, and more of it with one part opened.

mod support;

use support::code;

#[test]
fn a_closed_container_sees_itself() {
    code(
        r#"
        import "std/sees" as sees;
        let box = #{ rootfs: image::scratch(), security: "default" };
        print(sees::pids(box));
        print(sees::network(box));
        print(sees::keyrings(box));
        print(sees::sysctls(box));
        print(sees::cgroup_files(box));
        print(sees::kernel_log(box));
        print(sees::abstract_sockets(box));
        print(sees::capabilities(box).contains("NET_RAW"));
        print(sees::shared_namespaces(box).contains("pid"));
        print(sees::mounts(box).filter(|m| m.target == "/proc/sys").map(|m| m.options.contains("ro")));
        print(sees::descriptors(box).map(|f| f.fd));
        let calls = sees::syscalls(box);
        print(["read", "clone", "reboot", "mount", "bpf", "keyctl", "clone3"].map(|name| calls.contains(name)));
        "#,
    )
    .stdout("[1]\n[\"lo\"]\n[]\n[]\n[]\n[]\n[]\nfalse\nfalse\n[true]\n[0, 1, 2]\n[true, true, false, false, false, false, false]\n")
    .check();
}

#[test]
fn what_is_opened_is_seen() {
    code(
        r#"
        import "std/sees" as sees;
        let with = |o| #{ rootfs: image::scratch(), security: "default" } + o;
        print(sees::pids(with.call(#{ ns: ["mount", "net", "uts", "ipc", "cgroup"] })).len() > 1);
        print(sees::keyrings(with.call(#{ masked_paths: [] })).len() > 0);
        print(sees::capabilities(with.call(#{ cap_add: ["NET_RAW"] })).contains("NET_RAW"));
        print(sees::shared_namespaces(with.call(#{ ns: ["mount", "net", "uts", "ipc", "cgroup"] })).contains("pid"));
        let all = sees::syscalls(with.call(#{ seccomp: "unconfined" }));
        print(all.len() == syscall::names().len() - 3);
        print(sees::syscalls(with.call(#{ cap_add: ["SYS_ADMIN"] })).contains("mount"));
        print(sees::network(#{ ns: ns::new(["net"]) }));
        let p = syscall::spawn([["write", 1, "ready\n", 6], ["pause"]], with.call(#{}));
        p.next_line();
        print(sees::capabilities(p) == sees::capabilities(with.call(#{})));
        try { sees::pids(p); } catch (e) { print(e.message); }
        "#,
    )
    .stdout("true\ntrue\ntrue\ntrue\ntrue\ntrue\n[\"lo\"]\ntrue\nsees: expected the options of a start or an Ns, not a Process: what a process may do is tried by one like it\n")
    .check();
}
