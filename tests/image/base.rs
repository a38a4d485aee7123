//! Bases of this machine's own binaries.

use crate::support::{Bench, fails, tool, tree};
use cshell::error::ErrorKind;
use cshell::runtime::image::{self, HostSpec, Lower};
use cshell::runtime::session::Handle;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

fn spec(binaries: &[&str], include: &[&Path]) -> HostSpec {
    HostSpec {
        binaries: binaries.iter().map(ToString::to_string).collect(),
        include: include.iter().map(|path| path.display().to_string()).collect(),
    }
}

fn root_of(image: &image::Image) -> PathBuf {
    match image.layers() {
        [Lower::Dir(path)] => path.clone(),
        other => panic!("{other:?}"),
    }
}

/// Runs a command line in `root`.
fn inside(root: &Path, line: &str) -> String {
    let mut command = Command::new("chroot");
    command.arg(root).args(["/bin/sh", "-c", line]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn a_base_runs_what_was_asked_for() {
    let bench = Bench::new();
    let session = bench.session();
    let (id, image) = image::host(&session, &spec(&["sh", "ls", "cat"], &[])).unwrap();
    let root = root_of(&image);
    let listed = inside(&root, "/bin/ls / && /bin/cat /etc/passwd /etc/group");
    for part in ["bin\n", "dev\n", "proc\n", "sys\n", "tmp\n", "root:x:0:0:", "nobody:x:65534:", "nogroup:"] {
        assert!(listed.contains(part), "{part:?} is not in {listed}");
    }
    assert_eq!(root.join("tmp").metadata().unwrap().mode() & 0o7777, 0o1777);
    assert_eq!(root.metadata().unwrap().mode() & 0o7777, 0o755);
    for link in ["bin", "lib", "lib64", "sbin"] {
        let here = std::fs::read_link(Path::new("/").join(link)).ok();
        assert_eq!(std::fs::read_link(root.join(link)).ok(), here, "{link}");
    }
    let (ours, theirs) =
        (std::fs::metadata("/bin/cat").unwrap(), std::fs::metadata(root.join("bin/cat")).unwrap());
    assert_eq!((ours.mode(), ours.mtime(), ours.len()), (theirs.mode(), theirs.mtime(), theirs.len()));
    assert!(image.line().starts_with("Image host base, 1 layer, "), "{}", image.line());
    assert_eq!(image.inspect()["config"]["config"]["Cmd"][0], "/bin/sh");
    assert_eq!(image.lowerdirs(&session).unwrap(), std::slice::from_ref(&root));
    session.close_handle(id).unwrap();
    assert!(!root.exists());
    assert!(session.close().is_empty());
    assert_eq!(bench.scratch(), [""; 0]);
}

#[test]
fn scripts_bring_their_interpreters() {
    let bench = Bench::new();
    let dir = bench.folder(
        "own",
        &[("one", "#!/usr/bin/env -S X=1 sh -e\ncat /data/text\n"), ("two", "#! /bin/sh\necho two\n")],
    );
    let data = bench.folder("data", &[("text", "from data\n")]);
    for name in ["one", "two"] {
        std::fs::set_permissions(dir.join(name), PermissionsExt::from_mode(0o755)).unwrap();
    }
    symlink("two", dir.join("three")).unwrap();
    let session = bench.session();
    let (one, three) = (dir.join("one"), dir.join("three"));
    let names = [one.to_str().unwrap(), three.to_str().unwrap(), "cat"];
    let (_, image) = image::host(&session, &spec(&names, &[&data])).unwrap();
    let root = root_of(&image);
    // It is where it was, below the root.
    std::os::unix::fs::symlink(data.strip_prefix("/").unwrap(), root.join("data")).unwrap();
    assert_eq!(inside(&root, names[0]), "from data\n");
    assert_eq!(inside(&root, names[1]), "two\n");
    assert_eq!(std::fs::read_link(root.join(three.strip_prefix("/").unwrap())).unwrap(), Path::new("two"));
}

#[test]
fn included_folders_keep_what_they_are() {
    let bench = Bench::new();
    let dir = bench.folder("lib", &[("a/file", "x"), ("a/b/", ""), ("setuid", "s")]);
    let outside = bench.folder("outside", &[("target", "t"), ("folder/file", "f")]);
    std::fs::set_permissions(dir.join("setuid"), PermissionsExt::from_mode(0o4711)).unwrap();
    std::fs::set_permissions(dir.join("a/b"), PermissionsExt::from_mode(0o1770)).unwrap();
    std::os::unix::fs::chown(dir.join("a/file"), Some(1234), Some(4321)).unwrap();
    symlink(outside.join("target"), dir.join("out")).unwrap();
    symlink(outside.join("folder"), dir.join("out-folder")).unwrap();
    symlink("/nowhere", dir.join("dangling")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, dir.join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    // A library whose own libraries come along: the one that `ls` needs.
    let session = bench.session();
    let (_, image) = image::host(&session, &spec(&[], &[&dir])).unwrap();
    let root = root_of(&image);
    let copy = root.join(dir.strip_prefix("/").unwrap());
    assert_eq!(tree(&copy), tree(&dir));
    let there = |path: &Path| root.join(path.strip_prefix("/").unwrap()).exists();
    assert!(there(&outside.join("target")));
    assert!(!there(&outside.join("folder")));
}

#[test]
fn libraries_of_included_objects_follow() {
    let bench = Bench::new();
    let dir = bench.folder("modules", &[]);
    std::fs::copy("/bin/ls", dir.join("module.so")).unwrap();
    let session = bench.session();
    let (_, image) = image::host(&session, &spec(&["sh"], &[&dir])).unwrap();
    let root = root_of(&image);
    inside(&root, &format!("{}/module.so /", dir.display()));
    assert_eq!(image.inspect()["unresolved"], serde_json::json!([]));
}

#[test]
fn what_is_missing_is_named() {
    let bench = Bench::new();
    let session = bench.session();
    let host = |binaries: &[&str], include: &[&str]| {
        let include: Vec<&Path> = include.iter().map(Path::new).collect();
        image::host(&session, &spec(binaries, &include))
    };
    fails(
        host(&["sh", "no-such-program-x"], &[]),
        ErrorKind::NotFound,
        &["no-such-program-x", "PATH (", "/bin"],
    );
    fails(host(&["/nowhere/x"], &[]), ErrorKind::NotFound, &["/nowhere/x"]);
    fails(host(&["hostnam"], &[]), ErrorKind::NotFound, &["there is `hostname`"]);
    fails(host(&["./x"], &[]), ErrorKind::InvalidArgument, &["absolute path"]);
    fails(host(&[""], &[]), ErrorKind::InvalidArgument, &["not the name"]);
    fails(host(&["/etc/passwd"], &[]), ErrorKind::InvalidArgument, &["not a program that can be run"]);
    fails(host(&[], &["lib"]), ErrorKind::InvalidArgument, &["must be absolute"]);
    fails(host(&[], &["/nowhere"]), ErrorKind::NotFound, &["/nowhere", "`include`"]);
    let dir = bench.folder("bad", &[("script", "#!/no/interpreter\n"), ("loop", "")]);
    std::fs::set_permissions(dir.join("script"), PermissionsExt::from_mode(0o755)).unwrap();
    let script = dir.join("script").display().to_string();
    fails(host(&[&script], &[]), ErrorKind::NotFound, &["/no/interpreter", "first line of"]);
    std::fs::remove_file(dir.join("loop")).unwrap();
    symlink("loop", dir.join("loop")).unwrap();
    let looped = dir.join("loop").display().to_string();
    fails(host(&[], &[&looped]), ErrorKind::InvalidArgument, &["ELOOP"]);
    if tool("busybox", &["true"]).is_some() && tool("httpd", &["--help"]).is_none() {
        fails(host(&["httpd"], &[]), ErrorKind::NotFound, &["busybox has it", "[\"busybox\", \"httpd\""]);
    }
    assert_eq!(bench.scratch(), [""; 0]);
}
