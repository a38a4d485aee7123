//! The calls of `fs` as scripts make them, in the program itself. After every script nothing of its own is left.
#![expect(clippy::print_stderr, reason = "a skipped test says why")]

mod support;

use std::path::{Path, PathBuf};
use support::program;
use support::user::{User, root_or_refused, stands_in};

/// A folder of a test's own, with the state folders of its runs.
struct Lab {
    dir: tempfile::TempDir,
}

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Lab {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs `code`, in which `DIR` is the folder of the test, and checks that the run left nothing.
    fn run(&self, code: &str) -> Ran {
        let dir = self.dir.path().display().to_string();
        let user = stands_in().then(User::default);
        let output = program(user.as_ref(), self.dir.path())
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .args(["-c", &code.replace("DIR", &dir)])
            .env("CSHELL_RUN", self.path("run"))
            .env("CSHELL_ROOT", self.path("root"))
            .output()
            .expect("the program");
        for folder in ["run", "root/scratch"] {
            let left: Vec<_> = std::fs::read_dir(self.path(folder)).into_iter().flatten().collect();
            assert!(left.is_empty(), "{code} left {left:?}");
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("the mounts");
        assert!(!mounts.contains(&dir), "{code} left a mount:\n{mounts}");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace(&dir, "DIR");
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Runs `code`, which ends well, and compares what it prints.
    #[track_caller]
    fn prints(&self, code: &str, expected: &str) {
        let ran = self.run(code);
        assert_eq!((ran.code, ran.stdout.trim_end()), (Some(0), expected), "{code}\n{}", ran.stderr);
    }

    /// Runs `code`, which throws, and compares the kind and the message of the error.
    #[track_caller]
    fn throws(&self, code: &str, expected: &str) {
        let whole =
            format!("try {{ {code} }} catch (e) {{ print(`${{e.kind}} ${{e.path}} | ${{e.message}}`) }}");
        let ran = self.run(&whole);
        assert_eq!(ran.code, Some(0), "{code}\n{}", ran.stderr);
        assert!(ran.stdout.starts_with(expected), "{code}\n{} is not\n{expected}", ran.stdout);
    }
}

/// Whether mounts can be made here.
fn can_mount() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("SKIP: it takes root to mount");
    }
    root
}

#[test]
fn files_are_written_read_and_looked_at() {
    let lab = Lab::new();
    lab.prints(
        r#"let f = "DIR/a b/f\n.txt"; fs::mkdir("DIR/a b"); fs::write(f, "one\n", #{ mode: 0o640 }); fs::append(f, "two");
        let s = fs::stat(f); print([fs::read(f), fs::exists(f), fs::exists(f + "x"), s.type, s.size, s.mode == 0o640, s.nlink]);"#,
        r#"["one\ntwo", true, false, "file", 7, true, 1]"#,
    );
    lab.prints(
        r#"let b = blob(2, 0xff); fs::write("DIR/bytes", b); fs::append("DIR/bytes", "\x00"); b.push(0);
        print(fs::read_bytes("DIR/bytes") == b);"#,
        "true",
    );
    lab.prints(
        r#"fs::write("DIR/abc", "abc"); print(fs::digest("DIR/abc"));"#,
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    );
    lab.throws(
        r#"fs::read("DIR/bytes")"#,
        "corrupt DIR/bytes | fs::read: DIR/bytes is not text: byte 0 is not UTF-8",
    );
    lab.throws(r#"fs::read("DIR/none")"#, "not_found DIR/none | fs::read: cannot open DIR/none: openat(");
    lab.throws(r#"fs::read("DIR")"#, "invalid_argument DIR | fs::read: cannot read DIR: ");
    lab.throws(r#"fs::write("DIR/none/x", "")"#, "not_found DIR/none/x | fs::write: cannot write DIR/none/x");
    lab.throws(
        r#"fs::write("DIR/x", 1)"#,
        "invalid_argument  | fs::write: `content` must be a text or a blob, not 1",
    );
    lab.throws(
        r#"fs::write("DIR/x", "", #{ mode: "9" })"#,
        "invalid_argument  | fs::write: `mode` must be a file mode",
    );
    lab.throws(
        r#"fs::mkdir("DIR/x", #{ parent: true })"#,
        "invalid_argument  | fs::mkdir: unknown option `parent` for fs::mkdir, did you mean `parents`?",
    );
    assert!(!lab.path("x").exists());
}

#[test]
fn names_that_are_no_text_lead_to_the_same_file() {
    let lab = Lab::new();
    lab.prints(
        r#"let name = "DIR/n".to_blob(); name.push(0xff); fs::write(name, "x"); fs::mkdir("DIR/sub"); fs::move(name, "DIR/sub/plain");
        fs::write(name, "y"); let found = fs::glob("DIR/n*"); print([found.len(), found[0] == name, fs::read(found[0])]);
        print(fs::walk("DIR").filter(|p| type_of(p) == "blob").len());"#,
        "[1, true, \"y\"]\n1",
    );
}

#[test]
fn trees_are_copied_moved_listed_and_removed() {
    let lab = Lab::new();
    lab.prints(
        r#"fs::mkdir("DIR/t/sub"); fs::write("DIR/t/sub/run", "sh", #{ mode: "755" }); fs::symlink("sub/run", "DIR/t/link");
        fs::copy("DIR/t", "DIR/u"); fs::move("DIR/u", "DIR/v"); print(fs::walk("DIR/v")); print(fs::readlink("DIR/v/link"));
        print(fs::stat("DIR/v/sub/run").mtime == fs::stat("DIR/t/sub/run").mtime);
        fs::copy("DIR/v/link", "DIR/w", #{ chmod: 0o400 }); print([fs::stat("DIR/w").type, fs::stat("DIR/w").mode == 0o400]);
        print(fs::tree("DIR/v").split("\n").len()); print(fs::stat("DIR/v/link").target); print(fs::stat("DIR/v/link", #{ follow: true }).type);
        fs::remove("DIR/v"); print([fs::exists("DIR/v"), fs::exists("DIR/t/sub/run")]); print(fs::glob("DIR/**/r?n").len());"#,
        "[\"link\", \"sub\", \"sub/run\"]\nsub/run\ntrue\n[\"file\", true]\n5\nsub/run\nfile\n[false, true]\n1",
    );
    lab.throws(r#"fs::remove("DIR/v")"#, "not_found DIR/v | fs::remove: cannot remove DIR/v: ");
    lab.throws(
        r#"fs::copy("DIR/t", "DIR/t/sub/t")"#,
        "invalid_argument DIR/t/sub/t | fs::copy: DIR/t/sub/t lies inside DIR/t",
    );
    lab.throws(r#"fs::copy("DIR/w", "DIR/t")"#, "already_exists DIR/t | fs::copy: DIR/t is a folder");
    lab.throws(
        r#"fs::glob("DIR/[a")"#,
        "invalid_argument  | fs::glob: the pattern \"DIR/[a\" has a [ without",
    );
    lab.throws(r#"fs::symlink("x", "DIR/w")"#, "already_exists DIR/w | ");
    lab.throws(
        r#"fs::chown("DIR/w", "no-such-user")"#,
        "not_found  | fs::chown: user \"no-such-user\" is not in",
    );
    lab.throws(r#"fs::chmod("DIR/none", 0o644)"#, "not_found DIR/none | ");
}

#[test]
fn owners_are_set_as_root() {
    if !can_mount() {
        return;
    }
    let lab = Lab::new();
    lab.prints(
        r#"fs::mkdir("DIR/o"); fs::write("DIR/o/f", ""); fs::symlink("/none", "DIR/o/l"); fs::chown("DIR/o", "1234:77", #{ recursive: true });
        fs::chown("DIR/o/f", "root"); fs::chmod("DIR/o/f", "4755");
        for p in ["DIR/o", "DIR/o/f", "DIR/o/l"] { let s = fs::stat(p); print([s.uid, s.gid]); } print(fs::stat("DIR/o/f").mode == 0o4755);"#,
        "[1234, 77]\n[0, 77]\n[1234, 77]\ntrue",
    );
}

#[test]
fn a_temp_dir_is_gone_at_the_end() {
    let lab = Lab::new();
    lab.prints(
        r#"let d = fs::temp_dir(); fs::write(d.path("x"), "y"); fs::symlink("/etc", d.path("out"));
        print([d.kind, d.is_open, fs::walk(d), d.path("out/passwd") == d.path + "/etc/passwd", d.path("out", #{ follow: false }) == d.path + "/out"]);
        let p = d.path; d.close(); print(fs::exists(p)); let e = fs::temp_dir(); fs::write(e.path("left"), "z");"#,
        "[\"Dir\", true, [\"out\", \"x\"], true, true]\nfalse",
    );
    lab.throws(
        "fs::temp_dir().path(\"../x\")",
        "invalid_argument ../x | Dir.path: the path ../x has .. in it",
    );
    lab.throws("fs::temp_dir(#{ size: 0 })", "invalid_argument  | fs::temp_dir: the size 0");
    lab.throws("let d = fs::temp_dir(); d.close(); fs::walk(d)", "closed  | fs::walk Dir");
    lab.throws("fs::temp_dir().keep()", "unsupported  | keep DIR/root/scratch");
}

#[test]
fn an_overlay_keeps_its_layers_and_tells_what_changed() {
    if !can_mount() {
        return;
    }
    let lab = Lab::new();
    let layer = r#"fs::mkdir("DIR/l/etc/d"); fs::write("DIR/l/etc/a", "old"); fs::write("DIR/l/etc/d/b", "b"); fs::write("DIR/l/gone", "g");
        fs::symlink("/etc/a", "DIR/l/abs"); fs::write("DIR/outside", "canary");"#;
    lab.prints(
        &format!(
            r#"{layer} let root = fs::overlay("DIR/l"); fs::write(root.path("abs"), "new"); fs::remove(root.path("gone"));
            fs::remove(root.path("etc/d")); fs::mkdir(root.path("etc/d")); fs::write(root.path("etc/d/c"), "c");
            for c in root.changes() {{ print(`${{c.kind}} ${{c.path}}`); }} print(fs::diff(root) == root.changes());
            print([fs::read("DIR/l/etc/a"), fs::read(root.merged + "/etc/a"), root.lowerdir, fs::exists(root.upperdir)]);"#
        ),
        "modified /etc/a\ndeleted /etc/d/b\nadded /etc/d/c\ndeleted /gone\ntrue\n[\"old\", \"new\", [\"DIR/l\"], true]",
    );
    lab.prints(
        r#"fs::mkdir("DIR/l2"); fs::write("DIR/l2/top", "t"); fs::mkdir("DIR/up"); fs::mkdir("DIR/wk");
        let r = fs::overlay(#{ lowerdir: ["DIR/l2", "DIR/l"], upperdir: "DIR/up", workdir: "DIR/wk", merged: "DIR/merged", volatile: true });
        fs::write(r.path("kept"), "k"); print([r.merged, fs::glob(r.path("/") + "/*").len(), r.inspect().readonly]);
        fs::umount("DIR/merged"); print([r.is_open, fs::exists("DIR/merged"), fs::read("DIR/up/kept")]);
        let ro = fs::overlay(#{ lowerdir: "DIR/l", readonly: true }); print([ro.upperdir, ro.changes()]);
        try { fs::write(ro.path("x"), "") } catch (e) { print(`${e.kind} ${e.code}`) }"#,
        "[\"DIR/merged\", 5, false]\n[false, false, \"k\"]\n[(), []]\npermission_denied EROFS",
    );
}

#[test]
fn a_bad_overlay_is_refused_before_anything_is_made() {
    if !can_mount() {
        return;
    }
    let lab = Lab::new();
    lab.throws(
        r#"fs::overlay(#{ lowerdir: "DIR/nope" })"#,
        "not_found DIR/nope | fs::overlay: lowerdir DIR/nope does not exist",
    );
    lab.throws("fs::overlay(#{})", "invalid_argument  | fs::overlay: `lowerdir` is missing");
    lab.throws("fs::overlay(#{ lowerdir: [] })", "invalid_argument  | fs::overlay: no lower layer was given");
    lab.throws(
        "fs::overlay(3)",
        "invalid_argument  | fs::overlay: `layers` must be an Image, a path, a list of paths or a map of options, not 3",
    );
    lab.throws(
        r#"let t = fs::temp_dir(#{ size: "1MiB" }); fs::mkdir("DIR/up"); fs::overlay(#{ lowerdir: "/etc", upperdir: "DIR/up", workdir: t })"#,
        "invalid_argument DIR/root/scratch/",
    );
    lab.throws(
        r#"fs::overlay(#{ lowerdir: "/etc", uperdir: "DIR/up" })"#,
        "invalid_argument  | fs::overlay: unknown option `uperdir` for fs::overlay, did you mean `upperdir`?",
    );
}

#[test]
fn mounts_are_read_back_and_go() {
    if !can_mount() {
        return;
    }
    let lab = Lab::new();
    lab.prints(
        r#"fs::mkdir("DIR/m"); let m = fs::tmpfs("DIR/m", #{ size: "1MiB", mode: 0o700 }); fs::write("DIR/m/x", "y");
        let seen = fs::mounts().filter(|x| x.target == "DIR/m"); print([seen.len(), seen[0].type, seen[0].options.contains("nosuid"), seen[0].propagation]);
        print([m.target, m.type, fs::stat("DIR/m").mode == 0o700]);
        try { fs::write("DIR/m/big", blob(2 * 1024 * 1024)) } catch (e) { print(`${e.kind} ${e.code}`) } print(fs::walk("DIR/m"));
        try { fs::remove("DIR/m") } catch (e) { print(e.kind) }
        fs::umount("DIR/m"); print([m.is_open, fs::walk("DIR/m")]); fs::umount(m);"#,
        "[1, \"tmpfs\", true, \"private\"]\n[\"DIR/m\", \"tmpfs\", true]\nlimit_reached ENOSPC\n[\"x\"]\nbusy\n[false, []]",
    );
    lab.prints(
        r#"fs::mkdir("DIR/src"); fs::write("DIR/src/x", "y"); let d = fs::temp_dir(); let b = fs::bind("DIR/src", d, #{ readonly: true });
        print([fs::read(b.target + "/x"), b.type, b.source]); try { fs::write(b.target + "/x", "") } catch (e) { print(e.code) }
        fs::write("DIR/src/x", "z"); print(fs::read(d.path("x"))); fs::propagation(b, "shared");
        print(fs::mounts().filter(|m| m.target == b.target)[0].propagation);"#,
        "[\"y\", \"bind\", \"DIR/src\"]\nEROFS\nz\nshared",
    );
    lab.prints(
        r#"let p = fs::proc(fs::temp_dir(), #{ readonly: true }); print(fs::read(p.target + "/self/comm").contains("cshell")); let s = fs::sysfs(fs::temp_dir());
        print(fs::exists(s.target + "/kernel")); print(fs::exists(fs::devpts(fs::temp_dir()).target + "/ptmx"));"#,
        "true\ntrue\ntrue",
    );
    let mqueue = r#"fs::mount(#{ type: "mqueue", target: fs::temp_dir(), options: ["ro,nosuid", "nodev", "noexec"] })"#;
    if root_or_refused("mqueue", mqueue, "permission_denied", "the kernel refuses the mount of mqueue") {
        lab.prints(
            &format!(
                r#"let m = {mqueue}; let held = fs::mounts().filter(|x| x.target == m.target)[0].options;
                print(["ro", "nosuid", "nodev", "noexec"].all(|o| held.contains(o)));"#
            ),
            "true",
        );
    }
    lab.throws(r#"fs::tmpfs("DIR/none")"#, "not_found DIR/none | fs::tmpfs: target: cannot resolve DIR/none");
    lab.throws(
        r#"fs::bind("DIR/none", fs::temp_dir())"#,
        "not_found DIR/none | fs::bind: source: cannot bind DIR/none",
    );
    lab.throws(r#"fs::bind("/etc/passwd", fs::temp_dir())"#, "invalid_argument DIR/root/scratch/");
    lab.throws(
        "fs::mount(#{ type: \"tmpfs\", target: fs::temp_dir(), options: \"sizze=1\" })",
        "invalid_argument DIR/root/scratch/",
    );
    lab.throws(
        "fs::mount(#{ type: \"nofs\", target: fs::temp_dir() })",
        "unsupported  | fs::mount: cannot use the file system \"nofs\"",
    );
    lab.throws(
        "fs::umount(\"/proc\")",
        "permission_denied /proc | fs::umount: /proc was not mounted by this session",
    );
    lab.throws("fs::umount(\"/etc\")", "not_found /etc | fs::umount: nothing is mounted at /etc");
    lab.throws(
        "fs::propagation(fs::temp_dir(), \"odd\")",
        "invalid_argument  | fs::propagation: unknown propagation \"odd\"",
    );
    lab.throws("fs::propagation(\"/etc\", \"shared\")", "invalid_argument /etc | ");
}

#[test]
fn what_a_script_made_goes_when_it_fails() {
    if !can_mount() {
        return;
    }
    let lab = Lab::new();
    let ran = lab.run(
        r#"let d = fs::temp_dir(#{ size: "1MiB" }); let o = fs::overlay("/usr/bin"); fs::tmpfs(fs::temp_dir()); fs::write("DIR/stays", "x"); throw "stop";"#,
    );
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("stop"), "{}", ran.stderr);
    assert!(Path::new(&lab.path("stays")).exists());
}
