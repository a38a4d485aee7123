//! The store: finding, listing, removing, sharing, and stores of other versions.

use crate::support::{Bench, commit, fails, names, spec};
use cshell::error::ErrorKind;
use cshell::runtime::image::{self, Pruned};
use cshell::runtime::session::{Handle, Session};
use std::os::unix::fs::MetadataExt;

#[test]
fn images_are_found_by_name_and_digest() {
    let bench = Bench::new();
    let root = bench.folder("root", &[("file", "x")]);
    let session = bench.session();
    assert_eq!(image::list(&bench.dirs).unwrap(), []);
    fails(
        image::from(&session, "t:1"),
        ErrorKind::NotFound,
        &["image::from image t:1", "the store is empty"],
    );
    let first = commit(&session, &root, "localhost/demo:1");
    std::fs::write(root.join("file"), "y").unwrap();
    let second = commit(&session, &root, "localhost/demo");
    assert_eq!(second.reference(), Some("localhost/demo:latest"));
    let digest = first.digest().unwrap();
    for name in ["localhost/demo:1", digest, &digest[..19], &format!("localhost/demo@{digest}")] {
        let (_, found) = image::from(&session, name).unwrap();
        assert_eq!(found.digest(), Some(digest), "{name}");
        assert_eq!(found.reference(), Some("localhost/demo:1"));
    }
    assert_eq!(image::from(&session, "localhost/demo").unwrap().1.digest(), second.digest());
    fails(image::from(&session, "localhost/dem:1"), ErrorKind::NotFound, &["there is `localhost/demo:1`"]);
    fails(image::from(&session, &digest[..18]), ErrorKind::InvalidArgument, &["12 to 64"]);
    fails(image::from(&session, "Demo"), ErrorKind::InvalidArgument, &["upper-case"]);
    let listed = image::list(&bench.dirs).unwrap();
    let names: Vec<_> = listed.iter().map(|image| image.reference.as_deref().unwrap()).collect();
    assert_eq!(names, ["localhost/demo:1", "localhost/demo:latest"]);
    assert_eq!((listed[0].digest.as_str(), listed[0].layers), (digest, 1));
    assert_eq!(listed[0].size, first.size());
    let facts = image::inspect(&bench.dirs, "localhost/demo:1").unwrap();
    assert_eq!((&facts["digest"], &facts["config"]["os"]), (&digest.into(), &"linux".into()));
    assert_eq!(facts, first.inspect());
    assert!(first.line().contains(&digest[7..19]), "{}", first.line());
    for folder in [&bench.dirs.root, &bench.dirs.images(), &bench.dirs.scratch()] {
        assert_eq!(folder.metadata().unwrap().mode() & 0o777, 0o700, "{}", folder.display());
    }
    // Images outlive their session.
    assert!(session.close().is_empty());
    let session = bench.session();
    assert_eq!(image::from(&session, "localhost/demo:1").unwrap().1.digest(), Some(digest));
}

#[test]
fn removing_takes_what_no_other_image_needs() {
    let bench = Bench::new();
    let (one, two) = (bench.folder("one", &[("file", "1")]), bench.folder("two", &[("file", "2")]));
    let session = bench.session();
    let first = commit(&session, &one, "t:1");
    let spec = image::CommitSpec::new(&first, &two, "t:2");
    let (_, second) = image::commit(&session, &spec).unwrap();
    second.lowerdirs(&session).unwrap();
    // Two layers, two configurations, two manifests.
    assert_eq!((bench.blobs().len(), bench.layers().len()), (6, 2));
    assert!(session.close().is_empty());

    let session = bench.session();
    let removed = image::remove(&session, "t:2").unwrap();
    assert_eq!(removed.untagged, ["t:2"]);
    assert_eq!((removed.pruned.blobs, removed.pruned.layers, removed.pruned.in_use), (3, 1, 0));
    assert_eq!((bench.blobs().len(), bench.layers().len()), (3, 1));
    fails(image::remove(&session, "t:2"), ErrorKind::NotFound, &["t:2", "there is `t:1`"]);
    let digest = first.digest().unwrap();
    let removed = image::remove(&session, &digest[..30]).unwrap();
    assert_eq!(removed.untagged, ["t:1"]);
    assert_eq!((bench.blobs(), bench.layers()), (Vec::new(), Vec::new()));
    assert_eq!(image::list(&bench.dirs).unwrap(), []);
    assert_eq!(bench.scratch(), [""; 0]);
}

#[test]
fn what_a_session_uses_stays_until_it_ends() {
    let bench = Bench::new();
    let root = bench.folder("root", &[("file", "1")]);
    let session = bench.session();
    commit(&session, &root, "t:1");
    assert!(session.close().is_empty());

    let user = bench.session();
    let (_, image) = image::from(&user, "t:1").unwrap();
    let other = bench.session();
    std::fs::write(root.join("file"), "2").unwrap();
    // Another session takes the name away, and would take the image with it.
    commit(&other, &root, "t:1");
    assert_eq!(bench.blobs().len(), 6);
    let dirs = image.lowerdirs(&user).unwrap();
    assert_eq!(std::fs::read_to_string(dirs[0].join("file")).unwrap(), "1");
    let removed = image::remove(&other, "t:1").unwrap();
    assert_eq!((removed.pruned.blobs, removed.pruned.in_use), (3, 1));
    assert!(dirs[0].join("file").exists());
    assert!(user.close().is_empty());
    // The session that had to leave something looks again at its end.
    assert!(other.close().is_empty());
    assert_eq!((bench.blobs(), bench.layers()), (Vec::new(), Vec::new()));
}

#[test]
fn a_session_that_removes_its_own_image_leaves_nothing() {
    let bench = Bench::new();
    let root = bench.folder("root", &[("file", "1")]);
    let session = bench.session();
    let image = commit(&session, &root, "t:1");
    let dirs = image.lowerdirs(&session).unwrap();
    let removed = image::remove(&session, "t:1").unwrap();
    assert_eq!((removed.pruned.blobs, removed.pruned.in_use), (3, 1));
    // It may still be mounted here.
    assert!(dirs[0].exists());
    assert!(session.close().is_empty());
    assert_eq!((bench.blobs(), bench.layers(), bench.scratch()), (Vec::new(), Vec::new(), Vec::new()));
}

#[test]
fn a_commit_sweeps_what_a_killed_one_left() {
    let bench = Bench::new();
    let root = bench.folder("root", &[("file", "1")]);
    let session = bench.session();
    commit(&session, &root, "t:1");
    let blobs = bench.dirs.images().join("blobs/sha256");
    std::fs::write(blobs.join("a".repeat(64)), "orphan").unwrap();
    std::fs::create_dir_all(bench.dirs.layers().join("b".repeat(64)).join("x")).unwrap();
    std::fs::create_dir_all(bench.dirs.layers().join(".gone-c")).unwrap();
    let pruned = image::prune(&bench.dirs).unwrap();
    assert_eq!(pruned, Pruned { blobs: 1, bytes: 6, layers: 2, in_use: 0 });
    assert_eq!((bench.blobs().len(), bench.layers()), (3, Vec::new()));
    std::fs::write(blobs.join("a".repeat(64)), "orphan").unwrap();
    commit(&session, &root, "t:2");
    assert!(!bench.blobs().contains(&"a".repeat(64)));
    // A damaged image keeps everything: what it needs is not known.
    let manifest = commit(&session, &root, "t:3").digest().unwrap()[7..].to_owned();
    std::fs::write(blobs.join(manifest), "{}").unwrap();
    std::fs::write(blobs.join("a".repeat(64)), "orphan").unwrap();
    assert_eq!(image::prune(&bench.dirs).unwrap(), Pruned::default());
    // Committing the same again mends it.
    let broken = commit(&session, &root, "t:4");
    assert!(image::from(&session, broken.digest().unwrap()).is_ok());
}

#[test]
fn stores_of_other_versions_are_told_apart() {
    let bench = Bench::new();
    let root = bench.folder("root", &[("file", "1")]);
    let session = bench.session();
    commit(&session, &root, "t:1");
    let layout = bench.dirs.images().join("oci-layout");
    let before = names(&bench.dirs.images());
    assert_eq!(before, ["blobs", "index.json", "oci-layout"]);
    for version in ["2.0.0", "1.0.1", "1.1.0"] {
        std::fs::write(&layout, format!(r#"{{"imageLayoutVersion":"{version}"}}"#)).unwrap();
        let parts = ["oci-layout", version, "1.0.0"];
        fails(image::from(&session, "t:1"), ErrorKind::Unsupported, &parts);
        fails(image::commit(&session, &spec(&session, &root, "t:2")), ErrorKind::Unsupported, &parts);
        fails(image::remove(&session, "t:1"), ErrorKind::Unsupported, &parts);
        fails(image::list(&bench.dirs), ErrorKind::Unsupported, &parts);
        fails(image::prune(&bench.dirs), ErrorKind::Unsupported, &parts);
    }
    for text in ["", "{}", r#"{"imageLayoutVersion":"one"}"#, r#"{"imageLayoutVersion":"1.0"}"#] {
        std::fs::write(&layout, text).unwrap();
        fails(image::from(&session, "t:1"), ErrorKind::Corrupt, &["oci-layout"]);
    }
    std::fs::write(&layout, r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    assert!(image::from(&session, "t:1").is_ok());
    assert_eq!(bench.scratch(), [""; 0]);
}

#[test]
fn sessions_at_once_do_not_lose_images() {
    let bench = Bench::new();
    let root = bench.folder("root", &[("file", "1")]);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (dirs, root) = (bench.dirs.clone(), root.clone());
            scope.spawn(move || {
                let session = Session::new(dirs).unwrap();
                for round in 0..5 {
                    let mut spec = spec(&session, &root, &format!("t:{worker}-{round}"));
                    spec.changes.comment = Some(format!("{worker} {round}"));
                    let (_, image) = image::commit(&session, &spec).unwrap();
                    // All have the same layer: one unpacks it first.
                    assert!(image.lowerdirs(&session).unwrap()[0].join("file").exists());
                    if round % 2 == 1 {
                        image::remove(&session, &format!("t:{worker}-{round}")).unwrap();
                    }
                }
                assert!(session.close().is_empty());
            });
        }
    });
    let listed = image::list(&bench.dirs).unwrap();
    assert_eq!(listed.len(), 4 * 3);
    assert_eq!((bench.scratch(), bench.layers().len()), (Vec::new(), 1));
    // Layer, and a configuration and a manifest for each.
    assert_eq!(bench.blobs().len(), 1 + 2 * listed.len());
}
