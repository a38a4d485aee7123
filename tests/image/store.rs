//! The store between sessions: what one uses, another may take away.

use crate::support::{Bench, commit, names, spec};
use cshell::runtime::image;
use cshell::runtime::session::Session;
use std::os::unix::fs::MetadataExt;

#[test]
fn images_outlive_their_session_in_folders_of_the_user() {
    let bench = Bench::new();
    let root = bench.folder("root", &[("file", "x")]);
    let session = bench.session();
    let digest = commit(&session, &root, "t:1").digest().unwrap().to_owned();
    for folder in [&bench.dirs.root, &bench.dirs.images(), &bench.dirs.scratch()] {
        assert_eq!(folder.metadata().unwrap().mode() & 0o777, 0o700, "{}", folder.display());
    }
    assert!(session.close().is_empty());
    // Another session has the store alone.
    let session = bench.session();
    let (_, image) = image::from(&session, "t:1").unwrap();
    assert_eq!(image.digest(), Some(digest.as_str()));
    assert_eq!(names(&image.lowerdirs(&session).unwrap()[0]), ["file"]);
    assert!(session.close().is_empty());
    assert_eq!(bench.scratch(), [""; 0]);
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
