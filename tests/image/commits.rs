//! Commits: what other tools read, what comes back, what is refused.

use crate::support::{Bench, commit, device, fails, mark, opaque, spec, tool_ok, tree, whiteout};
use cshell::error::ErrorKind;
use cshell::runtime::image::{self, CommitSpec, Compression, Lower};
use cshell::runtime::rootless::in_user_ns;
use cshell::sys::inode;
use rustix::fs::{CWD, FileType};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// A folder with everything that a layer can hold.
fn rich(bench: &Bench, name: &str) -> std::path::PathBuf {
    let deep = format!("{}deep", "long-folder-name/".repeat(20));
    let root = bench.folder(
        name,
        &[
            ("etc/passwd", "root:x:0:0::/:/bin/sh\n"),
            ("bin/su", "setuid"),
            ("bin/ping", "caps"),
            ("empty/", ""),
            (&deep, "deep"),
            ("näme", "utf-8"),
            ("tmp/", ""),
        ],
    );
    std::fs::set_permissions(root.join("bin/su"), PermissionsExt::from_mode(0o4755)).unwrap();
    std::fs::set_permissions(root.join("tmp"), PermissionsExt::from_mode(0o1777)).unwrap();
    std::fs::set_permissions(root.join("empty"), PermissionsExt::from_mode(0o500)).unwrap();
    // A user has 65536 ids.
    let (uid, gid) = if in_user_ns() { (60_000, 50_000) } else { (70_000, 3_000_000) };
    std::os::unix::fs::lchown(root.join("empty"), Some(uid), Some(gid)).unwrap();
    // cap_net_raw=ep
    let caps = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    inode::set_xattr(CWD, &root.join("bin/ping"), b"security.capability", &caps).unwrap();
    inode::set_xattr(CWD, &root.join("etc/passwd"), b"user.note", b"a=b\nc").unwrap();
    std::fs::hard_link(root.join("bin/su"), root.join("bin/zu")).unwrap();
    symlink("/usr/bin/../bin/su", root.join("bin/link")).unwrap();
    symlink("x".repeat(300), root.join("bin/long-link")).unwrap();
    device(&root.join("null"), FileType::CharacterDevice, 0o666, (1, 3));
    device(&root.join("disk"), FileType::BlockDevice, 0o660, (7, 300));
    inode::make_node(CWD, &root.join("pipe"), FileType::Fifo, 0o622, (0, 0)).unwrap();
    for (path, time) in
        [("etc/passwd", 1_234_567_890), ("bin/su", -5), ("bin/ping", 1), ("empty", 5_000_000_000)]
    {
        inode::set_mtime(CWD, &root.join(path), time, 0).unwrap();
    }
    root
}

#[test]
fn what_goes_in_comes_out() {
    let bench = Bench::new();
    let root = rich(&bench, "rich");
    let session = bench.session();
    for (compression, reference) in [(Compression::Gzip(1), "t:gz"), (Compression::None, "t:plain")] {
        let mut spec = spec(&session, &root, reference);
        spec.compression = compression;
        image::commit(&session, &spec).unwrap();
        let (_, image) = image::from(&session, reference).unwrap();
        let dirs = image.lowerdirs(&session).unwrap();
        assert_eq!(dirs.len(), 1);
        assert_eq!(tree(&dirs[0]), tree(&root), "{reference}");
        std::fs::rename(&dirs[0], bench.dir.path().join(reference)).unwrap();
    }
    assert_eq!(bench.scratch(), [""; 0]);
}

#[test]
fn other_tools_read_the_store() {
    let bench = Bench::new();
    let root = rich(&bench, "rich");
    let session = bench.session();
    let mut spec = spec(&session, &root, "localhost/demo:1");
    spec.changes.cmd = Some(vec!["/bin/sh".into(), "-l".into()]);
    spec.changes.env = vec![("A".into(), "b c".into())];
    spec.changes.labels = [("k".to_owned(), "v".to_owned())].into();
    spec.changes.exposed_ports = vec!["8080".into()];
    spec.changes.user = Some("1000:1000".into());
    spec.changes.cwd = Some("/tmp".into());
    let (_, image) = image::commit(&session, &spec).unwrap();
    let digest = image.digest().unwrap();
    let store = bench.dirs.images();
    let address = format!("oci:{}:localhost/demo:1", store.display());
    if let Some(text) = tool_ok("skopeo", &["inspect", &address]) {
        let found: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(found["Digest"], digest);
        assert_eq!(found["Layers"].as_array().unwrap().len(), 1);
        assert_eq!(found["Labels"]["k"], "v");
        let config = tool_ok("skopeo", &["inspect", "--config", &address]).unwrap();
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        assert_eq!(config["config"]["Cmd"], serde_json::json!(["/bin/sh", "-l"]));
        assert_eq!(config["config"]["ExposedPorts"], serde_json::json!({ "8080/tcp": {} }));
        assert_eq!(config["config"]["User"], "1000:1000");
        assert_eq!(config["config"]["WorkingDir"], "/tmp");
        assert_eq!(config["config"]["Env"], serde_json::json!(["A=b c"]));
        // Reads every blob and checks every digest.
        let copy = format!("oci:{}:x", bench.dir.path().join("copy").display());
        tool_ok("skopeo", &["--insecure-policy", "copy", &address, &copy]).unwrap();
    }
    for (what, place) in [("store", store.clone()), ("saved", bench.dir.path().join("saved"))] {
        let mut tag = "localhost/demo:1";
        if what == "saved" {
            let saved = image::save(&session, tag, &place, None).unwrap();
            assert_eq!((saved.tag.as_str(), saved.digest.as_str()), ("1", digest));
            tag = "1";
        }
        let bundle = bench.dir.path().join(format!("bundle-{what}"));
        let from = format!("{}:{tag}", place.display());
        if tool_ok("umoci", &["unpack", "--image", &from, bundle.to_str().unwrap()]).is_some() {
            assert_eq!(tree(&bundle.join("rootfs")), tree(&root), "{what}");
        }
    }
    fails(
        image::save(&session, "localhost/demo:1", &store, None),
        ErrorKind::AlreadyExists,
        &["something already"],
    );
    fails(
        image::save(&session, "localhost/dmo:1", &bench.dir.path().join("n"), None),
        ErrorKind::NotFound,
        &["demo"],
    );
    fails(
        image::save(&session, "localhost/demo:1", &bench.dir.path().join("n"), Some("a b")),
        ErrorKind::InvalidArgument,
        &["a b"],
    );
    assert!(!bench.dir.path().join("n").exists());
}

#[test]
fn what_was_deleted_is_marked() {
    let bench = Bench::new();
    let base =
        bench.folder("base", &[("gone", "x"), ("dir/old", "x"), ("keep/file", "x"), ("d/sub/file", "x")]);
    let upper = bench.folder("upper", &[("dir/new", "y"), ("d/", "")]);
    whiteout(&upper.join("gone"));
    whiteout(&upper.join("d/sub"));
    opaque(&upper.join("dir"));
    let session = bench.session();
    let mut both = spec(&session, &upper, "t:1");
    both.lowers = vec![Lower::Dir(base)];
    let (_, image) = image::commit(&session, &both).unwrap();
    assert_eq!(image.layers().len(), 2);
    let layer = match &image.layers()[1] {
        Lower::Stored { descriptor, .. } => descriptor.digest().to_string(),
        Lower::Dir(path) => panic!("{}", path.display()),
    };
    let blob = bench.dirs.images().join("blobs/sha256").join(&layer[7..]);
    if let Some(text) = tool_ok("tar", &["tzf", blob.to_str().unwrap()]) {
        let names: Vec<&str> = text.lines().collect();
        let expected = ["./", "d/", "d/.wh.sub", "dir/", "dir/.wh..wh..opq", "dir/new", ".wh.gone"];
        assert_eq!(names, expected);
    }
    // Back in the form that overlayfs reads.
    let dirs = image.lowerdirs(&session).unwrap();
    assert_eq!(tree(&dirs[0]), tree(&upper));
    let bundle = bench.dir.path().join("bundle");
    let from = format!("{}:t:1", bench.dirs.images().display());
    if tool_ok("umoci", &["unpack", "--image", &from, bundle.to_str().unwrap()]).is_some() {
        let root = bundle.join("rootfs");
        let there = |path: &str| root.join(path).exists();
        assert!(there("keep/file") && there("dir/new") && there("d"));
        assert!(!there("gone") && !there("dir/old") && !there("d/sub"));
    }
}

#[test]
fn a_squashed_image_shows_what_the_overlay_showed() {
    let bench = Bench::new();
    let bottom = bench.folder("bottom", &[("gone", "x"), ("dir/old", "x"), ("both/a", "1"), ("file", "1")]);
    let middle = bench.folder("middle", &[("both/b", "2"), ("dir/mid", "2"), ("file", "2"), ("again", "2")]);
    let upper = bench.folder("upper", &[("both/c", "3"), ("dir/new", "3"), ("gone-too/", "")]);
    whiteout(&middle.join("gone"));
    whiteout(&upper.join("again"));
    opaque(&upper.join("dir"));
    let session = bench.session();
    let mut all = spec(&session, &upper, "t:1");
    all.lowers = vec![Lower::Dir(bottom), Lower::Dir(middle)];
    all.squash = true;
    let (_, image) = image::commit(&session, &all).unwrap();
    let dirs = image.lowerdirs(&session).unwrap();
    assert_eq!(dirs.len(), 1);
    let expected = bench.folder(
        "expected",
        &[
            ("both/a", "1"),
            ("both/b", "2"),
            ("both/c", "3"),
            ("dir/new", "3"),
            ("file", "2"),
            ("gone-too/", ""),
        ],
    );
    // Without the times, which are those of this test.
    let plain = |root: &Path| -> Vec<String> {
        tree(root)
            .lines()
            .map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                [&words[..3], &words[4..]].concat().join(" ")
            })
            .collect()
    };
    assert_eq!(plain(&dirs[0]), plain(&expected));
}

#[test]
fn a_layer_is_taken_over_from_the_base() {
    let bench = Bench::new();
    let (one, two) = (bench.folder("one", &[("a", "1")]), bench.folder("two", &[("b", "2")]));
    let session = bench.session();
    let mut first = spec(&session, &one, "t:1");
    first.changes.env = vec![("A".into(), "1".into())];
    let (_, first) = image::commit(&session, &first).unwrap();
    let mut second = CommitSpec::new(&first, &two, "t:2");
    second.changes.comment = Some("second".into());
    second.changes.author = Some("me".into());
    let (_, second) = image::commit(&session, &second).unwrap();
    assert_eq!(second.layers()[0], first.layers()[0]);
    assert_eq!(second.layers().len(), 2);
    assert_eq!(second.config().config().as_ref().unwrap().env().as_ref().unwrap(), &["A=1"]);
    let history = second.config().history().as_ref().unwrap();
    assert_eq!(history.len(), 2);
    assert_eq!(
        (history[1].comment().as_deref(), history[1].author().as_deref()),
        (Some("second"), Some("me"))
    );
    let dirs = second.lowerdirs(&session).unwrap();
    assert!(dirs[0].join("b").exists() && dirs[1].join("a").exists());
    // Only the configuration changes.
    let mut third = CommitSpec::new(&second, "", "t:3");
    third.upper = None;
    third.changes.cmd = Some(vec!["/a".into()]);
    let (_, third) = image::commit(&session, &third).unwrap();
    assert_eq!(third.layers(), second.layers());
    assert_eq!(third.config().history().as_ref().unwrap()[2].empty_layer(), Some(true));
    if let Some(text) = tool_ok("skopeo", &["inspect", &format!("oci:{}:t:3", bench.dirs.images().display())])
    {
        assert!(text.contains(third.digest().unwrap()));
    }
}

#[test]
fn the_same_content_has_the_same_digest() {
    let digest = |later: bool, epoch: Option<i64>| {
        let bench = Bench::new();
        let root = bench.folder("root", &[]);
        let mut names: Vec<String> = (0..40).map(|i| format!("file-{i}")).collect();
        if later {
            names.reverse();
        }
        for name in &names {
            std::fs::write(root.join(name), "x").unwrap();
            inode::set_mtime(CWD, &root.join(name), if later { 2_000_000_000 } else { 1_900_000_000 }, 0)
                .unwrap();
        }
        inode::set_mtime(CWD, &root.join("file-0"), 1_000, 0).unwrap();
        let session = bench.session();
        let mut spec = spec(&session, &root, "t:1");
        spec.source_date_epoch = epoch;
        spec.changes.labels = (0..20).map(|i| (format!("label-{i}"), "x".to_owned())).collect();
        spec.changes.exposed_ports = (1..20).map(|i: u16| i.to_string()).collect();
        let (_, image) = image::commit(&session, &spec).unwrap();
        image.digest().unwrap().to_owned()
    };
    let epoch = Some(1_700_000_000);
    assert_eq!(digest(false, epoch), digest(true, epoch));
    assert_ne!(digest(false, Some(1_700_000_001)), digest(true, epoch));
    assert_ne!(digest(false, Some(3_000_000_000)), digest(true, Some(3_000_000_000)));
}

#[test]
fn what_cannot_be_committed_is_refused() {
    let bench = Bench::new();
    let session = bench.session();
    let root = bench.folder("root", &[("file", "x")]);
    let try_it = |path: &Path, reference: &str| image::commit(&session, &spec(&session, path, reference));
    fails(try_it(Path::new("/nowhere"), "t:1"), ErrorKind::NotFound, &["/nowhere", "ENOENT"]);
    fails(try_it(&root.join("file"), "t:1"), ErrorKind::NotFound, &["ENOTDIR"]);
    for reference in ["../../x", "a//b", "A/b", "x:..", "a\0b", "", &"a".repeat(300)] {
        fails(try_it(&root, reference), ErrorKind::InvalidArgument, &["image::commit", "image "]);
    }
    let mut bad = spec(&session, &root, "t:1");
    bad.compression = Compression::Gzip(10);
    fails(image::commit(&session, &bad), ErrorKind::InvalidArgument, &["compression", "10"]);
    let mut bad = spec(&session, &root, "t:1");
    bad.changes.cwd = Some("x".into());
    fails(image::commit(&session, &bad), ErrorKind::InvalidArgument, &["cwd"]);
    std::fs::write(root.join(".wh.file"), "").unwrap();
    fails(try_it(&root, "t:1"), ErrorKind::InvalidArgument, &[".wh.file", "deleted file"]);
    std::fs::remove_file(root.join(".wh.file")).unwrap();
    let (redirect, metacopy) = (mark("redirect"), mark("metacopy"));
    inode::set_xattr(CWD, &root, redirect.as_bytes(), b"/elsewhere").unwrap();
    fails(try_it(&root, "t:1"), ErrorKind::Unsupported, &[&redirect, "redirect_dir=off"]);
    rustix::fs::lremovexattr(&root, &redirect).unwrap();
    inode::set_xattr(CWD, &root.join("file"), metacopy.as_bytes(), b"").unwrap();
    fails(try_it(&root, "t:1"), ErrorKind::Unsupported, &["metacopy"]);
    // Nothing of all this is left, and no store was begun.
    assert_eq!(bench.scratch(), [""; 0]);
    assert!(!bench.dirs.images().exists());
    rustix::fs::lremovexattr(root.join("file"), &metacopy).unwrap();
    // A socket is left out.
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let image = commit(&session, &root, "t:1");
    let dir = &image.lowerdirs(&session).unwrap()[0];
    assert_eq!(crate::support::names(dir), ["file"]);
}
