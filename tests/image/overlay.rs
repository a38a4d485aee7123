//! Commits of real overlays: what the kernel writes into an upper folder, and what it shows of the unpacked layers.

use crate::support::{Bench, fails, names, tool, tree};
use cshell::error::{ErrorKind, Result};
use cshell::runtime::image::{self, CommitSpec};
use cshell::runtime::rootless::in_user_ns;
use cshell::sys::mount::{self, FsContext};
use rustix::fs::CWD;
use rustix::mount::MountAttrFlags;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Runs `body` with an overlay at `merged`, in a mount namespace of a thread that ends with it.
fn with_overlay<T: Send>(
    lowers: &[PathBuf],
    upper: Option<(&Path, &Path)>,
    merged: &Path,
    redirect: &str,
    body: impl FnOnce() -> T + Send,
) -> T {
    let run = || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        mount::set_propagation(Path::new("/"), mount::Propagation::Private, true).unwrap();
        let context = FsContext::open("overlay").unwrap();
        let list: Vec<String> = lowers.iter().map(|path| path.display().to_string()).collect();
        context.set("lowerdir", Path::new(&list.join(":"))).unwrap();
        if let Some((upper, work)) = upper {
            context.set("upperdir", upper).unwrap();
            context.set("workdir", work).unwrap();
            if !in_user_ns() {
                context.set("redirect_dir", Path::new(redirect)).unwrap();
            }
        }
        if in_user_ns() {
            context.flag("userxattr").unwrap();
        }
        let fd = context.mount(MountAttrFlags::empty()).unwrap();
        mount::attach(&fd, CWD, merged).unwrap();
        body()
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}

/// A change of a container's root, of every kind.
fn change(root: &Path) {
    use std::fs;
    fs::remove_file(root.join("gone")).unwrap();
    fs::remove_file(root.join("dir/a")).unwrap();
    fs::remove_file(root.join("swap/a")).unwrap();
    fs::remove_dir(root.join("swap")).unwrap();
    fs::create_dir(root.join("swap")).unwrap();
    fs::write(root.join("swap/new"), "new").unwrap();
    fs::remove_file(root.join("file-to-dir")).unwrap();
    fs::create_dir(root.join("file-to-dir")).unwrap();
    fs::remove_file(root.join("dir-to-file/a")).unwrap();
    fs::remove_dir(root.join("dir-to-file")).unwrap();
    fs::write(root.join("dir-to-file"), "file").unwrap();
    fs::write(root.join("changed"), "changed").unwrap();
    fs::set_permissions(root.join("mode"), PermissionsExt::from_mode(0o4711)).unwrap();
    fs::hard_link(root.join("linked"), root.join("link")).unwrap();
    fs::write(root.join("deep/er/new"), "n").unwrap();
}

fn lower(bench: &Bench) -> PathBuf {
    bench.folder(
        "lower",
        &[
            ("gone", "x"),
            ("dir/a", "a"),
            ("dir/b", "b"),
            ("swap/a", "a"),
            ("file-to-dir", "x"),
            ("dir-to-file/a", "a"),
            ("changed", "before"),
            ("mode", "m"),
            ("linked", "l"),
            ("deep/er/old", "o"),
        ],
    )
}

#[test]
fn an_overlay_and_its_image_show_the_same() {
    let bench = Bench::new();
    let lower = lower(&bench);
    let [upper, work, merged] = ["upper", "work", "merged"].map(|name| bench.folder(name, &[]));
    let overlay = (std::slice::from_ref(&lower), Some((upper.as_path(), work.as_path())));
    with_overlay(overlay.0, overlay.1, &merged, "off", || change(&merged));
    // Mounted anew: in a user namespace, a file that was linked while it was copied has two numbers until then.
    let shown = with_overlay(overlay.0, overlay.1, &merged, "off", || tree(&merged));
    let (dirs, one) = (bench.dirs.clone(), upper.clone());
    let session = bench.session();
    let (_, base) = image::scratch(&session);
    let mut spec = CommitSpec::new(&base, &one, "t:1");
    spec.lowers = vec![image::Lower::Dir(lower)];
    let (_, committed) = image::commit(&session, &spec).unwrap();
    assert_eq!(committed.layers().len(), 2);
    // Another session starts from the store alone.
    assert!(session.close().is_empty());
    let session = cshell::runtime::session::Session::new(dirs).unwrap();
    let (_, image) = image::from(&session, "t:1").unwrap();
    let lowers = image.lowerdirs(&session).unwrap();
    assert_eq!(with_overlay(&lowers, None, &merged, "off", || tree(&merged)), shown);
    // The same, squashed.
    spec.squash = true;
    spec.reference = "t:flat".into();
    spec.lowers = image.layers()[..1].to_vec();
    let (_, flat) = image::commit(&session, &spec).unwrap();
    let dirs = flat.lowerdirs(&session).unwrap();
    assert_eq!(dirs.len(), 1);
    assert_eq!(tree(&dirs[0]), shown);
    // And as another tool sees it.
    let bundle = bench.dir.path().join("bundle");
    let from = format!("{}:t:1", bench.dirs.images().display());
    if let Some(output) = tool("umoci", &["unpack", "--image", &from, bundle.to_str().unwrap()]) {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(tree(&bundle.join("rootfs")), shown);
    }
}

#[test]
fn redirects_are_refused() {
    let bench = Bench::new();
    let lower = lower(&bench);
    let [upper, work, merged] = ["upper", "work", "merged"].map(|name| bench.folder(name, &[]));
    with_overlay(std::slice::from_ref(&lower), Some((&upper, &work)), &merged, "on", || {
        let moved = std::fs::rename(merged.join("dir"), merged.join("moved"));
        // There are none in a user namespace: what moves a folder copies it.
        if in_user_ns() {
            assert_eq!(moved.unwrap_err().kind(), std::io::ErrorKind::CrossesDevices);
        } else {
            moved.unwrap();
        }
    });
    if in_user_ns() {
        return;
    }
    let session = bench.session();
    let (_, base) = image::scratch(&session);
    let spec = CommitSpec::new(&base, &upper, "t:1");
    let result: Result<_> = image::commit(&session, &spec);
    fails(result, ErrorKind::Unsupported, &["moved", "overlay.redirect", "redirect_dir=off"]);
}

#[test]
fn folders_that_a_layer_does_not_mention_keep_their_attributes() {
    let bench = Bench::new();
    let lower = bench.folder("lower", &[("tmp/x", "x")]);
    std::fs::set_permissions(lower.join("tmp"), PermissionsExt::from_mode(0o1777)).unwrap();
    let session = bench.session();
    let base = crate::support::commit(&session, &lower, "t:base");
    // An archive with one file and no folders, as `tar -cf x.tar tmp/y` by some tools gives it.
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(1);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1);
    builder.append_data(&mut header, "tmp/y", &b"y"[..]).unwrap();
    let archive = builder.into_inner().unwrap();
    let layers = [crate::evil::stored(&bench, &archive), base.layers()[0].clone()];
    let _ = crate::evil::plant_layers(&bench, "t:two", &[layers[1].clone(), layers[0].clone()]);
    let (_, image) = image::from(&session, "t:two").unwrap();
    let dirs = image.lowerdirs(&session).unwrap();
    assert_eq!(names(&dirs[0]), ["tmp"]);
    assert_eq!(dirs[0].join("tmp").metadata().unwrap().mode() & 0o7777, 0o1777);
    assert_eq!(
        dirs[0].join("tmp").metadata().unwrap().mtime(),
        lower.join("tmp").metadata().unwrap().mtime()
    );
}
